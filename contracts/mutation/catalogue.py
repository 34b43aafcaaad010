"""All faults."""

from __future__ import annotations

from typing import Final

from contracts.mutation.dispute_faults import DISPUTE_FAULTS
from contracts.mutation.entry_faults import ENTRY_FAULTS
from contracts.mutation.faults import ESCROW_FAULTS, REGISTRY_FAULTS

FAULTS: Final = (*REGISTRY_FAULTS, *ESCROW_FAULTS, *ENTRY_FAULTS, *DISPUTE_FAULTS)
