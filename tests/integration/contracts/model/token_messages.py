"""What an account signs for the token: EIP-2612 permits and EIP-3009 authorizations."""

from __future__ import annotations

from typing import Any, Final

from eth_account.signers.local import LocalAccount

from client_sdk.protocol.eip712 import Domain
from client_sdk.protocol.terms import Terms
from tests.integration.contracts.model.openings import Authorization, Permit

_NAME: Final = "Gridlease test dollar"
_PERMIT: Final = "address owner,address spender,uint256 value,uint256 nonce,uint256 deadline"
_RECEIVE: Final = (
    "address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce"
)


def sign_permit(
    account: LocalAccount, token: str, escrow: Domain, permit: Permit
) -> tuple[int, bytes, bytes]:
    """Signature as v, r, s over the permit of `account` for the escrow."""
    message = {
        "owner": account.address,
        "spender": escrow.verifying_contract,
        "value": permit.value,
        "nonce": permit.nonce,
        "deadline": permit.deadline,
    }
    return _sign(account, token, escrow.chain_id, {"Permit": _members(_PERMIT)}, message)


def sign_authorization(
    account: LocalAccount, escrow: Domain, terms: Terms, authorization: Authorization
) -> tuple[int, bytes, bytes]:
    """Signature as v, r, s over cost and relay fee of the lease of these terms."""
    message = {
        "from": account.address,
        "to": escrow.verifying_contract,
        "value": terms.cost + authorization.relay_fee,
        "validAfter": authorization.valid_after,
        "validBefore": authorization.valid_before,
        "nonce": terms.lease_id(escrow),
    }
    types = {"ReceiveWithAuthorization": _members(_RECEIVE)}
    return _sign(account, terms.token, escrow.chain_id, types, message)


def _members(text: str) -> list[dict[str, str]]:
    pairs = [member.split(" ") for member in text.split(",")]
    return [{"type": kind, "name": name} for kind, name in pairs]


def _sign(
    account: LocalAccount, token: str, chain_id: int, types: Any, message: dict[str, Any]
) -> tuple[int, bytes, bytes]:
    domain = {"name": _NAME, "version": "1", "chainId": chain_id, "verifyingContract": token}
    signed = account.sign_typed_data(domain, types, message)
    return signed.v, signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")
