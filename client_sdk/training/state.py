"""Everything that decides how training goes on, collected into tensors and JSON, and put back.

Covered: parameters, all buffers (also non-persistent ones), extra state, train/eval flags and
``requires_grad`` of the registered modules; optimizers, schedulers and gradient scalers by their
state dictionaries; objects registered by name; the global generators.
Not covered: what the script keeps elsewhere. `guards` looks for that.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from client_sdk.training import determinism
from client_sdk.training.encoding import JsonValue, decode, encode
from client_sdk.training.errors import (
    CheckpointMismatchError,
    OptionError,
    UnregisteredStateError,
)


@dataclass(frozen=True, slots=True)
class CapturedState:
    """Training state at one step.

    Attributes
    ----------
    tensors
        Every tensor by name; still on its device, and not copied.
    tree
        JSON value with the rest; refers to tensors by name.
    """

    tensors: dict[str, torch.Tensor]
    tree: dict[str, JsonValue]


class StateRegistry:
    """The objects whose state belongs to the run, each under a name.

    Parameters
    ----------
    modules, optimizers, schedulers, scalers
        Objects by name.
    extra
        Other state by name: tensors, generators, modules, dictionaries and lists of plain values,
        or objects with ``state_dict`` and ``load_state_dict``.

    Raises
    ------
    UnregisteredStateError
        When an optimizer moves a tensor that belongs to none of the modules.
    """

    def __init__(
        self,
        *,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        schedulers: Mapping[str, Any],
        scalers: Mapping[str, Any],
        extra: Mapping[str, Any],
    ) -> None:
        self.modules = dict(modules)
        for name, value in extra.items():
            if isinstance(value, nn.Module):
                self.modules[f"state.{name}"] = value
        self.optimizers = dict(optimizers)
        self.has_scalers = bool(scalers)
        self._stateful = {
            **{f"optimizer.{name}": value for name, value in optimizers.items()},
            **{f"scheduler.{name}": value for name, value in schedulers.items()},
            **{f"scaler.{name}": value for name, value in scalers.items()},
        }
        self._extra = {k: v for k, v in extra.items() if not isinstance(v, nn.Module)}
        for name, value in self._extra.items():
            _check_extra(name, value)
        self._check_optimized_tensors()

    def capture(self, position: Mapping[str, int]) -> CapturedState:
        """Collect the state; `position` holds step and segment counters."""
        tensors: dict[str, torch.Tensor] = {}
        devices: dict[str, str] = {}
        tree = {
            "modules": {n: _module_state(m, n, tensors) for n, m in self.modules.items()},
            "stateful": {
                name: encode(value.state_dict(), name, tensors)
                for name, value in self._stateful.items()
            },
            "extra": {
                name: _encode_extra(value, f"extra.{name}", tensors, devices)
                for name, value in self._extra.items()
            },
            "devices": devices,
            "random": encode(determinism.capture_random_state(), "random", tensors),
            "position": dict(position),
        }
        return CapturedState(tensors, tree)

    def restore(self, captured: CapturedState) -> None:
        """Put a captured state back, in place.

        Raises
        ------
        CheckpointMismatchError
            When names, shapes or types differ from those of the registered objects.
        """
        tree, tensors = captured.tree, captured.tensors
        _check_names("modules", self.modules, tree["modules"])
        _check_names("optimizers, schedulers and scalers", self._stateful, tree["stateful"])
        _check_names("registered state", self._extra, tree["extra"])
        for name, module in self.modules.items():
            restore_module(module, name, tree["modules"][name], tensors)
        for name, value in self._stateful.items():
            _load_stateful(name, value, decode(tree["stateful"][name], tensors))
        placed = {**tensors, **_moved(tensors, tree["devices"])}
        for name, value in self._extra.items():
            _restore_extra(value, decode(tree["extra"][name], placed))
        determinism.restore_random_state(decode(tree["random"], tensors))

    def gradients(self) -> Iterator[torch.Tensor]:
        """Every tensor that holds a gradient now."""
        for tensor in self._trained_tensors():
            if tensor.grad is not None:
                yield tensor

    def _trained_tensors(self) -> Iterator[torch.Tensor]:
        for module in self.modules.values():
            yield from module.parameters()
        for value in self._extra.values():
            if isinstance(value, torch.Tensor):
                yield value

    def _check_optimized_tensors(self) -> None:
        known = {id(tensor) for tensor in self._trained_tensors()}
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                for tensor in group["params"]:
                    if id(tensor) not in known:
                        raise UnregisteredStateError(
                            f"optimizer {name!r} moves a tensor of shape {tuple(tensor.shape)} "
                            "that belongs to no registered module: add its module to model=, or "
                            "the tensor to state="
                        )


def _module_state(
    module: nn.Module, name: str, tensors: dict[str, torch.Tensor]
) -> dict[str, JsonValue]:
    for parameter_name, parameter in module.named_parameters():
        tensors[f"{name}.param.{parameter_name}"] = parameter.detach()
    buffers = []
    for buffer_name, buffer in module.named_buffers():
        tensors[f"{name}.buffer.{buffer_name}"] = buffer.detach()
        buffers.append(buffer_name)
    return {
        "params": [n for n, _ in module.named_parameters()],
        "buffers": buffers,
        "extra": encode(_module_extra(module), f"{name}.extra", tensors),
        "eval": [n for n, m in module.named_modules() if not m.training],
        "frozen": [n for n, p in module.named_parameters() if not p.requires_grad],
    }


def _module_extra(module: nn.Module) -> dict[str, Any]:
    """Extra state of all submodules that define it (``get_extra_state``), by submodule name."""
    default = nn.Module.get_extra_state
    return {
        name: submodule.get_extra_state()
        for name, submodule in module.named_modules()
        if type(submodule).get_extra_state is not default
    }


def restore_module(
    module: nn.Module, name: str, saved: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Put a module's saved state back in place; `saved` is its part of the tree."""
    parameters = dict(module.named_parameters())
    _check_names(f"parameters of {name}", parameters, saved["params"])
    with torch.no_grad():
        for parameter_name, parameter in parameters.items():
            key = f"{name}.param.{parameter_name}"
            _copy(parameter, tensors[key], key)
            parameter.requires_grad_(parameter_name not in saved["frozen"])
    buffers = dict(module.named_buffers())
    _check_names(f"buffers of {name}", buffers, saved["buffers"])
    for buffer_name, buffer in buffers.items():
        _restore_buffer(module, buffer_name, buffer, tensors[f"{name}.buffer.{buffer_name}"])
    submodules = dict(module.named_modules())
    for submodule_name, value in decode(saved["extra"], tensors).items():
        submodules[submodule_name].set_extra_state(value)
    for submodule_name, submodule in submodules.items():
        submodule.training = submodule_name not in saved["eval"]


def _restore_buffer(
    module: nn.Module, name: str, buffer: torch.Tensor, saved: torch.Tensor
) -> None:
    if buffer.shape == saved.shape and buffer.dtype == saved.dtype:
        with torch.no_grad():
            buffer.copy_(saved)
        return
    # A buffer may grow during training; parameters may not, the optimizer holds on to them.
    owner_name, _, own_name = name.rpartition(".")
    module.get_submodule(owner_name).register_buffer(own_name, saved.to(buffer.device))


def _load_stateful(name: str, value: Any, state: Any) -> None:
    if name.startswith("scaler.") and not state:
        return  # a scaler that is switched off has an empty state and refuses to load it
    options = _tensor_options(value) if isinstance(value, torch.optim.Optimizer) else []
    try:
        value.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointMismatchError(f"{name} refused its state: {error}") from error
    if isinstance(value, torch.optim.Optimizer):
        _undo_casts(value, state["state"])
        for group, key, device in options:
            value.param_groups[group][key] = value.param_groups[group][key].to(device)


def _tensor_options(optimizer: torch.optim.Optimizer) -> list[tuple[int, str, torch.device]]:
    """Options that are tensors, such as a learning rate on the GPU; load_state_dict moves them."""
    return [
        (index, key, option.device)
        for index, group in enumerate(optimizer.param_groups)
        for key, option in group.items()
        if isinstance(option, torch.Tensor)
    ]


def _undo_casts(optimizer: torch.optim.Optimizer, saved: Mapping[Any, Any]) -> None:
    """Put back optimizer tensors that load_state_dict cast to their parameter's type.

    Optimizers with fp32 state beside bf16 parameters would lose bits there.
    """
    tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    for index, per_tensor in saved.items():
        if not isinstance(index, int) or not isinstance(per_tensor, dict):
            continue
        loaded = optimizer.state[tensors[index]]
        for key, value in per_tensor.items():
            if isinstance(value, torch.Tensor) and loaded[key].dtype != value.dtype:
                loaded[key] = value.to(loaded[key].device)


def _check_extra(name: str, value: object) -> None:
    plain = isinstance(value, torch.Tensor | torch.Generator | np.random.Generator | random.Random)
    stateful = hasattr(value, "state_dict") and hasattr(value, "load_state_dict")
    if not plain and not stateful and type(value) not in (dict, list):
        raise OptionError(
            f"state[{name!r}] is a {type(value).__name__}: register tensors, modules, generators, "
            "dictionaries, lists, or objects with state_dict() and load_state_dict()"
        )


def _extra_state(value: Any) -> Any:
    match value:
        case torch.Tensor():
            return value.detach()
        case torch.Generator():
            return value.get_state()
        case np.random.Generator():
            return value.bit_generator.state
        case random.Random():
            return value.getstate()
        case dict() | list():
            return value
        case _:
            return value.state_dict()


def _encode_extra(
    value: Any, path: str, tensors: dict[str, torch.Tensor], devices: dict[str, str]
) -> JsonValue:
    """Encode one registered object; `devices` gets the GPU of each tensor in a container.

    Whatever else holds tensors is restored into tensors that are in their place already.
    """
    own: dict[str, torch.Tensor] = {}
    encoded = encode(_extra_state(value), path, own)
    if isinstance(value, dict | list):
        devices.update((k, str(t.device)) for k, t in own.items() if t.device.type != "cpu")
    tensors.update(own)
    return encoded


def _moved(
    tensors: Mapping[str, torch.Tensor], devices: Mapping[str, str]
) -> dict[str, torch.Tensor]:
    """The tensors that belong on a GPU, there."""
    try:
        return {name: tensors[name].to(device) for name, device in devices.items()}
    except (AssertionError, RuntimeError) as error:
        wanted = ", ".join(sorted(set(devices.values())))
        raise CheckpointMismatchError(f"the checkpoint needs {wanted}: {error}") from error


def _restore_extra(value: Any, saved: Any) -> None:
    match value:
        case torch.Tensor():
            with torch.no_grad():
                _copy(value, saved, "registered tensor")
        case torch.Generator():
            value.set_state(saved)
        case np.random.Generator():
            value.bit_generator.state = saved
        case random.Random():
            value.setstate(saved)
        case dict():
            value.clear()
            value.update(saved)
        case list():
            value[:] = saved
        case _:
            value.load_state_dict(saved)


def _copy(target: torch.Tensor, saved: torch.Tensor, name: str) -> None:
    if target.shape != saved.shape or target.dtype != saved.dtype:
        raise CheckpointMismatchError(
            f"{name}: the checkpoint has {tuple(saved.shape)} {saved.dtype}, the script "
            f"{tuple(target.shape)} {target.dtype}"
        )
    target.copy_(saved)


def _check_names(what: str, now: Mapping[str, Any], saved: Any) -> None:
    missing, unknown = sorted(set(saved) - set(now)), sorted(set(now) - set(saved))
    if missing or unknown:
        raise CheckpointMismatchError(
            f"{what} differ from the checkpoint's: only there {missing}, only here {unknown}"
        )


def differences(left: CapturedState, right: CapturedState) -> list[str]:
    """Names of the tensors, and parts of the tree, that are not the same bit for bit."""
    names = [
        name
        for name in sorted(left.tensors.keys() | right.tensors.keys())
        if not _same(left.tensors.get(name), right.tensors.get(name))
    ]
    return names + [key for key in sorted(left.tree) if left.tree[key] != right.tree.get(key)]


def _same(left: torch.Tensor | None, right: torch.Tensor | None) -> bool:
    if left is None or right is None or left.dtype != right.dtype or left.shape != right.shape:
        return False
    return torch.equal(left.reshape(-1).view(torch.uint8), right.reshape(-1).view(torch.uint8))
