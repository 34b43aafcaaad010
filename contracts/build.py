"""Build the committed ABI and bytecode from the pinned sources, or check that they still agree.

`python -m contracts.build` writes `contracts/abi/<Contract>.json`; with `--check` it writes nothing
and fails when a committed file differs from what the sources give. Settings come from
`foundry.toml`, so forge compiles the same code. The compiler and the library are the ones that
`package.json` pins: run `npm ci` in `contracts/` first. Needs the extra `dev`.

Deterministic: equal sources and settings give equal files, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import posixpath
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
ABI_FOLDER: Final = FOLDER / "abi"
COMPILER: Final = FOLDER / "tools" / "solc"
CONTRACTS: Final = {
    "ArbiterQuorum": "src/ArbiterQuorum.sol",
    "AuditorRegistry": "src/AuditorRegistry.sol",
    "LeaseEscrow": "src/LeaseEscrow.sol",
    "TestToken": "src/TestToken.sol",
}
"""Contracts that are shipped, and the source file of each."""

_IMPORT: Final = re.compile(r"""^\s*import\s[^;]*?["']([^"']+)["']\s*;""", re.MULTILINE)


class BuildError(Exception):
    """The contracts cannot be built here; the message says what to do."""


def compiler_settings() -> dict[str, Any]:
    """Read the default profile of `foundry.toml` as settings of the compiler's JSON interface."""
    config = tomllib.loads((FOLDER / "foundry.toml").read_text(encoding="utf-8"))
    profile = config["profile"]["default"]
    return {
        "remappings": list(profile["remappings"]),
        "optimizer": {"enabled": profile["optimizer"], "runs": profile["optimizer_runs"]},
        "viaIR": profile["via_ir"],
        "evmVersion": profile["evm_version"],
        "metadata": {
            "bytecodeHash": profile["bytecode_hash"],
            "appendCBOR": profile["cbor_metadata"],
        },
        "outputSelection": {
            source: {contract: ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}
            for contract, source in CONTRACTS.items()
        },
    }


def collect_sources(entries: Sequence[str], remappings: Sequence[str]) -> dict[str, str]:
    """Read the files that `entries` need, by their path below `contracts/`.

    Raises
    ------
    BuildError
        A file is missing, most likely because `npm ci` did not run.
    """
    prefixes = dict(mapping.split("=", 1) for mapping in remappings)
    sources: dict[str, str] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name in sources:
            continue
        try:
            text = (FOLDER / name).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise BuildError(
                f"source {name} is missing; run `npm ci` in {FOLDER.name}/ first"
            ) from error
        sources[name] = text
        waiting += [_resolve(path, name, prefixes) for path in _IMPORT.findall(text)]
    return dict(sorted(sources.items()))


def _resolve(path: str, importer: str, prefixes: Mapping[str, str]) -> str:
    if path.startswith("."):
        return posixpath.normpath(posixpath.join(posixpath.dirname(importer), path))
    for prefix, target in prefixes.items():
        if path.startswith(prefix):
            return target + path.removeprefix(prefix)
    return path


def build() -> dict[str, str]:
    """Compile all shipped contracts; the content of each ABI file, by contract."""
    settings = compiler_settings()
    sources = collect_sources(list(CONTRACTS.values()), settings["remappings"])
    output, version = _compile(
        {
            "language": "Solidity",
            "sources": {name: {"content": text} for name, text in sources.items()},
            "settings": settings,
        }
    )
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    files = {}
    for contract, source in CONTRACTS.items():
        compiled = output["contracts"][source][contract]
        content = {
            "abi": compiled["abi"],
            "bytecode": "0x" + compiled["evm"]["bytecode"]["object"],
            "deployedBytecode": "0x" + compiled["evm"]["deployedBytecode"]["object"],
            "solc": version,
            "settingsHash": "0x" + digest,
        }
        files[contract] = json.dumps(content, indent=1) + "\n"
    return files


def _compile(standard_input: dict[str, Any]) -> tuple[dict[str, Any], str]:
    try:
        import solcx
        from solcx.exceptions import SolcError
    except ImportError as error:
        raise BuildError("py-solc-x is missing; pip install 'gridlease[dev]'") from error
    if not (FOLDER / "node_modules" / "solc").is_dir():
        raise BuildError(f"the compiler is missing; run `npm ci` in {FOLDER.name}/ first")
    pinned = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))
    version = pinned["devDependencies"]["solc"]
    found = str(solcx.wrapper.get_solc_version(COMPILER))
    if found != version:
        raise BuildError(f"compiler {found} is installed, {version} is pinned; run `npm ci`")
    try:
        output = solcx.compile_standard(standard_input, solc_binary=COMPILER)
    except SolcError as error:
        raise BuildError(f"the contracts do not compile:\n{error.message}") from error
    return output, version


def differences(files: Mapping[str, str]) -> list[str]:
    """Say which committed ABI files are missing, stale or left over."""
    found = []
    for contract, content in files.items():
        path = ABI_FOLDER / f"{contract}.json"
        if not path.exists():
            found.append(f"{path.name} is missing")
        elif path.read_text(encoding="utf-8") != content:
            found.append(f"{path.name} differs from the sources")
    left_over = {path.stem for path in ABI_FOLDER.glob("*.json")} - set(files)
    found += [f"{name}.json belongs to no shipped contract" for name in sorted(left_over)]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when done and as committed, 1 when not."""
    parser = argparse.ArgumentParser(prog="python -m contracts.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; fail on a difference")
    options = parser.parse_args(arguments)
    try:
        files = build()
    except BuildError as error:
        sys.stderr.write(f"contracts.build: {error}\n")
        return 1
    if options.check:
        found = differences(files)
        for line in found:
            sys.stderr.write(f"contracts.build: {line}; run `python -m contracts.build`\n")
        return 1 if found else 0
    ABI_FOLDER.mkdir(exist_ok=True)
    for contract, content in files.items():
        (ABI_FOLDER / f"{contract}.json").write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
