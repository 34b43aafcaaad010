"""How the work of a lease is verified."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Verification(StrEnum):
    """Mode of verification; the values are those of the job spec."""

    #: Written with the training helpers: any segment can be re-executed from its checkpoint.
    REPLAY = "replay"
    #: Unmodified deterministic script, re-executed from its start.
    RERUN = "rerun"
    #: Run by two providers whose results are compared.
    REPLICATE = "replicate"
    #: Not verified: paid by the renter's vouchers, segment by segment.
    METERED = "metered"

    @property
    def bit(self) -> int:
        """The mode's bit in the ``verification`` mask of offers and orders."""
        return _BITS[self]


_BITS: Final = {
    Verification.REPLAY: 1,
    Verification.RERUN: 2,
    Verification.REPLICATE: 4,
    Verification.METERED: 8,
}
#: Modes that this release of worker and client carry out.
SUPPORTED: Final = frozenset({Verification.REPLAY, Verification.METERED})


def verification_mask(modes: Iterable[Verification]) -> int:
    """Return the mask with the bits of ``modes``."""
    mask = 0
    for mode in modes:
        mask |= mode.bit
    return mask


def verifications_in(mask: int) -> frozenset[Verification]:
    """Return the modes whose bits are set; bits of later releases are passed over."""
    return frozenset(mode for mode in Verification if mask & mode.bit)
