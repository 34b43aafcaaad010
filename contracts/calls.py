"""Calls to send and views to ask, encoded from a contract's ABI. No network here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from eth_utils.address import to_checksum_address

from contracts.codec import Artifact, load_artifact

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A transaction to send: target, input data and value in wei."""

    to: str
    data: bytes = field(repr=False)
    value: int = 0
    name: str = ""
    """`Contract.function`, for messages and the journal."""


@dataclass(frozen=True, slots=True)
class View(Generic[T]):
    """A read-only call and how its answer is decoded.

    `decode` raises :class:`BadChainData` on anything that does not fit.
    """

    to: str
    data: bytes = field(repr=False)
    decode: Callable[[bytes], T] = field(repr=False)
    name: str = ""


class Contract:
    """A contract at an address; the subclasses give its functions names and types."""

    _artifact_name: ClassVar[str]

    def __init__(self, address: str) -> None:
        self.address = to_checksum_address(address)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address})"

    @property
    def _artifact(self) -> Artifact:
        return load_artifact(self._artifact_name)

    def _call(self, function: str, *args: Any, value: int = 0) -> Call:
        data = self._artifact.encode_call(function, *args)
        return Call(self.address, data, value, f"{self._artifact_name}.{function}")

    def _view(self, function: str, *args: Any, build: Callable[..., T]) -> View[T]:
        artifact = self._artifact

        def decode(data: bytes) -> T:
            return build(*artifact.decode_result(function, data))

        data = artifact.encode_call(function, *args)
        return View(self.address, data, decode, name=f"{self._artifact_name}.{function}")
