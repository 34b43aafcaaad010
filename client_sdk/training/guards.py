"""Finds training state that no checkpoint holds, as far as it can be seen from outside.

Covered: tensors and small plain values that lie as ordinary attributes on registered modules and
optimizers, and change while training; uninitialised lazy parameters.
Not covered: variables of the script, closures, large containers, anything behind a foreign
object. `replay_check` finds those by running a segment twice.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from client_sdk.training.encoding import encode
from client_sdk.training.errors import UnregisteredStateError, UnsupportedValueError

# Attributes that torch sets on modules and optimizers only while they are used.
_LATE_INTERNALS = frozenset(
    {
        "_compiled_call_impl",
        "_is_full_backward_hook",
        "_opt_called",
        "_step_count",
        "_warned_capturable_if_run_uncaptured",
    }
)

# Larger containers are vocabularies and the like: looking through them at every boundary costs.
_MAX_CONTAINER_ITEMS = 64

_Mark = tuple[Any, ...]


@functools.cache
def _internals() -> frozenset[str]:
    """Attributes that torch itself keeps on every module and optimizer."""
    plain_module = nn.Module()
    plain_optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    return frozenset(vars(plain_module)) | frozenset(vars(plain_optimizer)) | _LATE_INTERNALS


class AttributeGuard:
    """Watches ordinary attributes of modules and optimizers for change.

    Parameters
    ----------
    modules, optimizers
        Objects by registered name.
    caches
        Dotted names of attributes that may change because the code computes them anew when they
        are missing (for instance a rotary table).
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        caches: Collection[str],
    ) -> None:
        self._modules = modules
        self._optimizers = optimizers
        self._caches = frozenset(caches)
        self._check_lazy_parameters()
        self._before = dict(self._marks())

    def check(self, when: str) -> None:
        """Refuse to go on when an attribute changed.

        Parameters
        ----------
        when
            For the message, for instance ``during segment 3``.

        Raises
        ------
        UnregisteredStateError
            Names the attribute and says how to register it.
        """
        now = dict(self._marks())
        for name in sorted(now.keys() | self._before.keys()):
            if now.get(name) != self._before.get(name):
                raise UnregisteredStateError(
                    f"{name} changed {when}, and no checkpoint holds it: make it a buffer "
                    "(register_buffer), pass it in state=, or, when the code computes it anew "
                    f"wherever it is missing, name it in caches=[{name!r}]"
                )

    def _check_lazy_parameters(self) -> None:
        for name, module in self._modules.items():
            for parameter_name, parameter in module.named_parameters():
                if isinstance(parameter, nn.parameter.UninitializedParameter):
                    raise UnregisteredStateError(
                        f"{name}.{parameter_name} is not initialised yet: pass one batch through "
                        "the model before making the Run"
                    )

    def _marks(self) -> Iterator[tuple[str, _Mark]]:
        for name, module in self._modules.items():
            for submodule_name, submodule in module.named_modules():
                prefix = f"{name}.{submodule_name}" if submodule_name else name
                yield from self._marks_of(prefix, submodule)
        for name, optimizer in self._optimizers.items():
            if type(optimizer).__module__.startswith("torch."):
                continue  # torch's own keep nothing outside state_dict() but caches
            yield from self._marks_of(f"optimizer.{name}", optimizer)

    def _marks_of(self, prefix: str, owner: object) -> Iterator[tuple[str, _Mark]]:
        for attribute, value in vars(owner).items():
            name = f"{prefix}.{attribute}"
            if attribute not in _internals() and name not in self._caches:
                mark = _mark(value)
                if mark is not None:
                    yield name, mark


def _mark(value: object) -> _Mark | None:
    """Value that changes when `value` changes; None for what cannot be watched."""
    if isinstance(value, list | tuple | dict) and len(value) > _MAX_CONTAINER_ITEMS:
        return None
    tensors: dict[str, torch.Tensor] = {}
    try:
        encoded = repr(encode(value, "", tensors))
    except UnsupportedValueError:
        return None
    # Parameters found here (an RNN's list of weights) are registered anyway.
    watched = [t for t in tensors.values() if not isinstance(t, nn.Parameter)]
    # The tensors themselves are part of the mark, so that their ids are not used again.
    return encoded, *(_TensorMark(tensor) for tensor in watched)


class _TensorMark:
    """A tensor and the version of its content; torch counts in-place changes."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor
        self._version = -1 if tensor.is_inference() else tensor._version

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _TensorMark):
            return NotImplemented
        return self._tensor is other._tensor and self._version == other._version

    __hash__ = None  # type: ignore[assignment]  # marks are compared, never used as keys
