"""The domain that a token's signatures are made for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from client_sdk.chain.errors import CallReverted, SignatureInvalid
from client_sdk.chain.token_domain import token_domain
from client_sdk.protocol.eip712 import Domain

TOKEN = "0x" + "70" * 20


def chain(separator: bytes, *, refuses: bool = False):
    def view(view):
        if refuses:
            raise CallReverted(view.name, "Unexplained")
        return "USD Coin" if view.name == "TestToken.name" else separator

    return SimpleNamespace(deployment=SimpleNamespace(chain_id=8453), view=view)


@pytest.mark.parametrize("version", ["1", "2"])
def test_when_the_token_confirms_its_domain_then_it_is_signed_for(version):
    domain = Domain(8453, TOKEN, name="USD Coin", version=version)
    assert token_domain(chain(domain.separator), TOKEN) == domain


@pytest.mark.parametrize(
    "other",
    [
        Domain(1, TOKEN, name="USD Coin", version="2"),
        Domain(8453, "0x" + "71" * 20, name="USD Coin", version="2"),
        Domain(8453, TOKEN, name="Other Coin", version="2"),
        Domain(8453, TOKEN, name="USD Coin", version="3"),
    ],
)
def test_when_a_node_names_another_domain_then_nothing_is_signed(other):
    with pytest.raises(SignatureInvalid, match="not its own name's"):
        token_domain(chain(other.separator), TOKEN)


def test_when_the_token_knows_no_signatures_then_it_is_said():
    with pytest.raises(SignatureInvalid, match="takes no signatures"):
        token_domain(chain(b"", refuses=True), TOKEN)
