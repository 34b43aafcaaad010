"""Where the contracts are. The format is defined beside them, in `contracts.deployments`."""

from __future__ import annotations

from contracts.deployments import (
    BeaconInfo,
    BeaconKind,
    Deployment,
    DeploymentError,
    TokenInfo,
    load_deployment,
    load_deployments,
    save_deployment,
)

__all__ = [
    "BeaconInfo",
    "BeaconKind",
    "Deployment",
    "DeploymentError",
    "TokenInfo",
    "load_deployment",
    "load_deployments",
    "save_deployment",
]
