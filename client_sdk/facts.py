"""Facts about listings, stakes and money, read from the chain and from nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import ChainError
from client_sdk.chain.errors import InsufficientFunds as NoGas
from client_sdk.errors import ChainFailed, InsufficientFunds
from client_sdk.policy import ListingFacts
from client_sdk.protocol.addresses import ZERO_ADDRESS, same_address
from client_sdk.protocol.machine import MachineDocument


@contextmanager
def chain_errors(doing: str) -> Iterator[None]:
    """Turn the chain's errors into those of the SDK, saying what was being done."""
    try:
        yield
    except NoGas as error:
        raise InsufficientFunds(f"{doing}: {error}", what_to_do=error.what_to_do) from error
    except ChainError as error:
        raise ChainFailed(f"{doing}: {error}", what_to_do=error.what_to_do) from error


class ChainFacts:
    """What the SDK asks the chain before it believes anybody."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def now(self) -> int:
        """Time of the newest block: the clock that the contract goes by."""
        with chain_errors("reading the chain's time"):
            return self._chain.now()

    def listing(self, listing_id: bytes, machine: MachineDocument | None) -> ListingFacts | None:
        """The chain's record of a listing with its provider's stake; None when there is none.

        Parameters
        ----------
        machine:
            The machine document that a node served. The contract stores its hash only, so the
            document counts when it has that hash, and else as missing.
        """
        with chain_errors("reading the listing"):
            view = self._chain.view(self._chain.escrow.listing_of(listing_id))
            if same_address(view.provider, ZERO_ADDRESS):
                return None
            stake = self._chain.view(self._chain.escrow.stake_of(view.provider, view.token))
        known = machine is not None and machine.machine_hash() == view.machine_hash
        return ListingFacts(
            provider=view.provider,
            operator=view.operator,
            token=view.token,
            machine_hash=view.machine_hash,
            hardware_class=machine.hardware_class if machine is not None and known else b"",
            max_price_per_hour=view.max_price_per_hour,
            active=view.active,
            stake_total=stake.total,
            stake_free=stake.free,
        )
