"""What the holder of a token signs so that a contract may take an amount (EIP-3009).

Covered: the form that only the named receiver can use. Not covered: the form that anybody can use
(``TransferWithAuthorization``): whoever sees it could send the money without opening the lease.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from client_sdk.protocol.eip712 import Typed


@dataclass(frozen=True, kw_only=True)
class ReceiveWithAuthorization(Typed):
    """The holder lets the receiver take an amount, once. Source: EIP-3009.

    It is signed for the token's domain, not for the escrow's. ``LeaseEscrow`` takes it in
    ``openWithAuthorization``, with the lease's id as nonce: so it pays for that lease alone.
    """

    EIP712_TYPE: ClassVar[str] = (
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
        "uint256 validBefore,bytes32 nonce)"
    )
    SCHEMA: ClassVar[str] = "gridlease/authorization/1"

    from_: str
    to: str
    #: Cost of the lease and relay fee together, in the token's smallest unit.
    value: int
    #: Block time after which it can be used, Unix seconds.
    valid_after: int
    #: Block time from which it is void, Unix seconds.
    valid_before: int
    nonce: bytes
