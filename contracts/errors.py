"""Revert data of the contracts, decoded into the error's name and arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from contracts.codec import BadChainData, Item, decode, load_artifact

_ERROR_STRING: Final = bytes.fromhex("08c379a0")  # Error(string): require with a text
_PANIC: Final = bytes.fromhex("4e487b71")  # Panic(uint256): assert, overflow, bad index
_MAX_TEXT: Final = 500
"""Characters of a revert text that are kept: it comes from whatever contract was called."""


@dataclass(frozen=True, slots=True)
class ContractError:
    """A decoded revert: `name` as in the interface, `args` by parameter name."""

    name: str
    args: dict[str, Any] = field(default_factory=dict)


def decode_error(data: bytes) -> ContractError:
    """Name the error that `data` encodes; data that fits no known error is `Unexplained`.

    Never raises: revert data may come from any contract in the call.
    """
    selector = data[:4]
    try:
        if selector == _ERROR_STRING:
            return ContractError("Error", {"text": decode(("string",), data[4:])[0][:_MAX_TEXT]})
        if selector == _PANIC:
            return ContractError("Panic", {"code": decode(("uint256",), data[4:])[0]})
        item = _known_errors().get(selector)
        if item is not None:
            values = decode(item.inputs, data[4:])
            return ContractError(item.name, dict(zip(item.input_names, values, strict=True)))
    except BadChainData:
        pass  # a known selector with other content: as unexplained as an unknown one
    return ContractError("Unexplained", {"selector": selector} if selector else {})


@lru_cache(maxsize=1)
def _known_errors() -> dict[bytes, Item]:
    names = ("TestToken", "ArbiterQuorum", "AuditorRegistry", "LeaseEscrow")
    return {
        selector: item for name in names for selector, item in load_artifact(name).errors.items()
    }
