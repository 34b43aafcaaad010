"""Rules that the contracts get step by step; what the ABI does not have is not modelled."""

from __future__ import annotations

from typing import Final

from contracts.codec import load_artifact

_FUNCTIONS = load_artifact("LeaseEscrow").functions

# Orders that get back what a lease did not use, credit before allowance, reputation.
ORDERS: Final = "reputationOf" in _FUNCTIONS
