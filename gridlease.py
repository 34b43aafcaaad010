"""Gridlease: rent GPUs, paid per verified segment of training.

The public names; everything else is private. Nothing is imported before it is used, so that a
training script inside the sandbox needs only `training`, and the command line no torch.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client_sdk import errors, training
    from client_sdk.client import Client
    from client_sdk.job import Job
    from client_sdk.policy import Policy

__all__ = ["Client", "Job", "Policy", "errors", "training"]

_MODULES = {"errors": "client_sdk.errors", "training": "client_sdk.training"}
_NAMES = {"Client": "client_sdk.client", "Job": "client_sdk.job", "Policy": "client_sdk.policy"}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use. Source: PEP 562."""
    found: ModuleType | Any
    if name in _MODULES:
        found = import_module(_MODULES[name])
    elif name in _NAMES:
        found = getattr(import_module(_NAMES[name]), name)
    else:
        raise AttributeError(f"module 'gridlease' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
