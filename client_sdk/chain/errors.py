"""Errors of everything that talks to a chain or holds a key.

::

    ChainError
    ├── ChainUnreachable          the node does not answer (network failed: try again)
    ├── BadAnswer                 the node answered something that cannot be
    ├── RpcRefused                the node answered with a JSON-RPC error
    ├── WrongChain                the node serves another chain, or the contract is not there
    ├── CallReverted              the contract refuses the call; nothing was sent
    │   └── TransactionReverted   the call was sent, mined, and refused
    ├── InsufficientFunds         the account cannot pay value and gas
    ├── FeeTooHigh                the node asks for more than the sender's fee cap
    ├── NotConfirmed              sent, but not confirmed in time
    ├── TransactionCancelled      the caller withdrew it before it was mined
    ├── UnknownKey                nothing was ever sent under this key
    ├── KeyConflict               this key was used for another call
    ├── JournalUnusable           the journal file cannot be read or written
    ├── BeaconUnavailable         this deployment has no beacon that may be used here
    ├── SignatureInvalid          not a signature, or not one the contracts accept
    └── WalletError
        ├── WalletMissing, WalletExists, WalletUnreadable, WrongPassword, KeyTooOpen
"""

from __future__ import annotations

from typing import Any


class ChainError(Exception):
    """The chain could not be used."""

    what_to_do: str = "Try again; if it stays, look at the node's log."

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])

    @property
    def message(self) -> str:
        return str(self.args[0])


class ChainUnreachable(ChainError):
    """The chain's node does not answer."""

    def __init__(self, endpoint: str, cause: str) -> None:
        self.endpoint = endpoint
        self.cause = cause
        self.what_to_do = (
            f"Check that a node runs at {endpoint} and that the RPC URL is right;"
            " on the development chain `gridlease up` starts one."
        )
        super().__init__(f"no answer from the chain's node at {endpoint}: {cause}")


class BadAnswer(ChainError):
    """The chain's node gave an answer that cannot be true."""

    what_to_do = "Use another RPC node: this one is broken, or it lies."


class RpcRefused(ChainError):
    """The chain's node refused the request."""

    def __init__(self, method: str, code: int, text: str, data: bytes | None = None) -> None:
        self.method = method
        self.code = code
        self.text = text
        self.data = data
        self.what_to_do = "The text after the colon is the node's own reason."
        super().__init__(f"{method} was refused by the node ({code}): {text}")


class WrongChain(ChainError):
    """The node serves another chain than the deployment names."""

    what_to_do = "Use an RPC URL of that chain, or the deployment of this one."


class CallReverted(ChainError):
    """The contract refuses this call.

    Attributes
    ----------
    name:
        Name of the contract's custom error, `Error` or `Panic` for Solidity's own, `Unexplained`
        when the chain gives no reason.
    args_by_name:
        The error's arguments, by name.
    call:
        `Contract.function`.
    """

    what_to_do = (
        "Nothing was sent, no money moved. The name is the contract's rule that was broken."
    )

    def __init__(self, call: str, name: str, values: dict[str, Any] | None = None) -> None:
        self.call = call
        self.name = name
        self.args_by_name = dict(values or {})
        shown = ", ".join(f"{key}={_show(value)}" for key, value in self.args_by_name.items())
        super().__init__(f"{call} is refused by the contract: {name}({shown})")


class TransactionReverted(CallReverted):
    """The transaction was mined, but the contract refused it."""

    what_to_do = "Only the gas was spent. Send it again under `retry=True` once its cause is gone."

    def __init__(self, call: str, name: str, values: dict[str, Any], tx_hash: bytes) -> None:
        super().__init__(call, name, values)
        self.tx_hash = tx_hash


class InsufficientFunds(ChainError):
    """The account cannot pay for the transaction's value and gas."""

    def __init__(self, address: str, balance: int, needed: int) -> None:
        self.address = address
        self.balance = balance
        self.needed = needed
        self.what_to_do = f"Send at least {needed - balance} wei to {address}."
        super().__init__(f"{address} holds {balance} wei, the transaction may take {needed} wei")


class FeeTooHigh(ChainError):
    """The chain asks for a higher fee than this sender may pay."""

    def __init__(self, fee: int, cap: int) -> None:
        self.fee = fee
        self.cap = cap
        self.what_to_do = "Wait for calmer times, or raise the sender's fee cap."
        super().__init__(f"the chain asks for {fee} wei per gas, the cap is {cap}")


class NotConfirmed(ChainError):
    """The transaction was not confirmed in time."""

    def __init__(self, key: str, tx_hash: bytes, waited_s: float) -> None:
        self.key = key
        self.tx_hash = tx_hash
        self.what_to_do = "It is journaled and may still be mined: wait for the same key again."
        super().__init__(f"{key!r} (0x{tx_hash.hex()}) is not confirmed after {waited_s:.0f} s")


class TransactionCancelled(ChainError):
    """The transaction was withdrawn before it was mined."""

    what_to_do = "Send it again under `retry=True` if it is wanted after all."

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"{key!r} was cancelled before it was mined")


class UnknownKey(ChainError):
    """Nothing was sent under this key."""

    what_to_do = "Submit the call first."

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"nothing was sent under the key {key!r}")


class KeyConflict(ChainError):
    """The key was used for another call."""

    what_to_do = "Use one key per intended transaction."

    def __init__(self, key: str, journaled: str) -> None:
        self.key = key
        super().__init__(f"the key {key!r} already stands for another call ({journaled})")


class JournalUnusable(ChainError):
    """The journal of sent transactions cannot be used."""

    what_to_do = (
        "Check the path, its owner and the free disk space."
        " Do not delete it while a transaction is open."
    )


class BeaconUnavailable(ChainError):
    """There is no randomness beacon that may be used on this chain."""

    what_to_do = "Use a deployment that names a beacon for its chain."


class SignatureInvalid(ChainError):
    """The signature is malformed, or in a form that the contracts refuse."""

    what_to_do = "Ask the signer for a 65-byte signature with a low s and v of 27 or 28."


class WalletError(ChainError):
    """A key file cannot be used."""

    what_to_do = "Check the file's path, owner and content."


class WalletMissing(WalletError):
    """There is no key file at this path."""

    what_to_do = (
        "Create one with `gridlease wallet new`, or import one with `gridlease wallet import`."
    )


class WalletExists(WalletError):
    """There is a key file at this path already."""

    what_to_do = "Choose another name: a key file is never overwritten."


class WalletUnreadable(WalletError):
    """The file is not a key file."""


class WrongPassword(WalletError):
    """The password does not open this key file."""

    what_to_do = (
        "Try again with the password that the key file was made with; it cannot be recovered."
    )


class KeyTooOpen(WalletError):
    """Other users of this machine can read the key file."""

    what_to_do = "Run `chmod 600` on it; if others could have read it, move the funds to a new key."


def _show(value: Any) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
