"""Binding of the tokens that leases are paid in."""

from __future__ import annotations

from contracts.calls import Call, Contract, View


class Token(Contract):
    """An ERC-20 token; `mint` only works on the test token."""

    _artifact_name = "TestToken"

    def approve(self, spender: str, amount: int) -> Call:
        return self._call("approve", spender, amount)

    def transfer(self, to: str, amount: int) -> Call:
        return self._call("transfer", to, amount)

    def transfer_from(self, owner: str, to: str, amount: int) -> Call:
        """Move another account's tokens, out of the allowance it gave to the caller."""
        return self._call("transferFrom", owner, to, amount)

    def mint(self, to: str, amount: int) -> Call:
        """Create test money; the caller must be the token's minter."""
        return self._call("mint", to, amount)

    def balance_of(self, account: str) -> View[int]:
        return self._view("balanceOf", account, build=int)

    def allowance(self, owner: str, spender: str) -> View[int]:
        return self._view("allowance", owner, spender, build=int)

    def decimals(self) -> View[int]:
        return self._view("decimals", build=int)

    def symbol(self) -> View[str]:
        return self._view("symbol", build=str)

    def name(self) -> View[str]:
        return self._view("name", build=str)

    def domain_separator(self) -> View[bytes]:
        """Hash of the domain that permits and authorizations are signed for (EIP-712)."""
        return self._view("DOMAIN_SEPARATOR", build=bytes)
