"""Public randomness that nobody knows before an event is confirmed.

*Covered:* the same value for every party, fixed once the beacon block is confirmed. *Not covered:*
the development beacon can be chosen by whoever mines, so it is refused outside that chain.
"""

from __future__ import annotations

from typing import Final, Protocol

from client_sdk.chain.answers import Block
from client_sdk.chain.deployment import BeaconKind, Deployment
from client_sdk.chain.errors import BeaconUnavailable
from client_sdk.protocol.keccak import keccak256
from contracts.deployments import DEV_CHAIN_ID

_DEV_DOMAIN: Final = b"gridlease.dev-beacon"


class BlockSource(Protocol):
    """The part of a chain that a block-hash beacon reads."""

    def head(self) -> int:
        """Number of the newest block."""

    def block(self, number: int | None = None) -> Block | None:
        """One block of the chain; `None` when there is none of that number."""


class Beacon(Protocol):
    """Randomness that belongs to a block, and becomes known only after it."""

    def value(self, block_number: int) -> bytes | None:
        """32 bytes; `None` while they cannot be known yet."""


class DevBeacon:
    """Beacon of the development chain.

    `value(n) = keccak256("gridlease.dev-beacon" || hash of block n + delay)`, given out once that
    block lies `delay` deep itself, so that losing a block or two hardly ever changes a value that
    somebody has used.

    Parameters
    ----------
    delay_blocks:
        Blocks between the event and the beacon block, at least 1.
    """

    def __init__(self, source: BlockSource, chain_id: int, delay_blocks: int) -> None:
        if chain_id != DEV_CHAIN_ID:
            raise BeaconUnavailable(
                f"the development beacon is refused on chain {chain_id}: block producers choose it"
            )
        assert delay_blocks >= 1
        self._source = source
        self._delay = delay_blocks

    def value(self, block_number: int) -> bytes | None:
        beacon_block = block_number + self._delay
        if self._source.head() < beacon_block + self._delay:
            return None
        block = self._source.block(beacon_block)
        return None if block is None else keccak256(_DEV_DOMAIN + block.hash)


def beacon_of(deployment: Deployment, source: BlockSource) -> Beacon:
    """Make the beacon that a deployment names.

    Raises
    ------
    BeaconUnavailable
        It names none, or the development beacon on a real chain.
    """
    info = deployment.beacon
    if info is None:
        raise BeaconUnavailable(f"the deployment on chain {deployment.chain_id} names no beacon")
    assert info.kind is BeaconKind.DEV
    return DevBeacon(source, deployment.chain_id, info.delay_blocks)
