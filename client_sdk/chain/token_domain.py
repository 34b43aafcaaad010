"""The domain under which a token reads signatures: that of its own name, on this chain."""

from __future__ import annotations

from typing import Final

from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import CallReverted, SignatureInvalid
from client_sdk.protocol.eip712 import Domain
from contracts.bindings import Token

_VERSIONS: Final = ("1", "2")
"""OpenZeppelin's tokens, and USDC since its second version."""


def token_domain(chain: Chain, token: str) -> Domain:
    """The domain to sign a token's permits and authorizations for (EIP-2612, EIP-3009).

    It is made here, of this chain and this token, and the token only confirms it: so that no node
    can get a signature for another chain or another token out of us.

    Raises
    ------
    SignatureInvalid
        The token takes no signatures, or names a domain of another form.
    """
    contract = Token(token)
    try:
        name = chain.view(contract.name())
        separator = chain.view(contract.domain_separator())
    except CallReverted as error:
        raise SignatureInvalid(f"the token {token} takes no signatures") from error
    for version in _VERSIONS:
        domain = Domain(chain.deployment.chain_id, token, name=name, version=version)
        if domain.separator == separator:
            return domain
    raise SignatureInvalid(f"the token {token} signs for a domain that is not its own name's")
