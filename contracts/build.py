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
EXTENSION: Final = ("LeaseEscrowExtension", "src/LeaseEscrowExtension.sol")
"""Code that the escrow runs on its own storage; part of the escrow's creation code."""
FACTORY: Final = ("QuorumFactory", "src/registry/QuorumFactory.sol")
"""Part of the registry's creation code; held to the same sizes."""
INTERFACE: Final = ("ILeaseEscrow", "src/interfaces/ILeaseEscrow.sol")
"""What escrow and extension together must implement: each function in exactly one of them."""
MAX_CODE_BYTES: Final = 24_576  # EIP-170
MAX_CREATION_BYTES: Final = 49_152  # EIP-3860

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
            source: {
                contract: [
                    "abi",
                    "evm.bytecode.object",
                    "evm.deployedBytecode.object",
                    "storageLayout",
                ]
            }
            for contract, source in (*CONTRACTS.items(), EXTENSION, FACTORY, INTERFACE)
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
    entries = [*CONTRACTS.values(), EXTENSION[1], FACTORY[1], INTERFACE[1]]
    sources = collect_sources(entries, settings["remappings"])
    output, version = _compile(
        {
            "language": "Solidity",
            "sources": {name: {"content": text} for name, text in sources.items()},
            "settings": settings,
        }
    )
    _check_size(FACTORY[0], output["contracts"][FACTORY[1]][FACTORY[0]])
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    files = {}
    for contract, source in CONTRACTS.items():
        compiled = output["contracts"][source][contract]
        _check_size(contract, compiled)
        content = {
            "abi": compiled["abi"] if contract != "LeaseEscrow" else escrow_abi(output),
            "bytecode": "0x" + compiled["evm"]["bytecode"]["object"],
            "deployedBytecode": "0x" + compiled["evm"]["deployedBytecode"]["object"],
            "solc": version,
            "settingsHash": "0x" + digest,
        }
        files[contract] = json.dumps(content, indent=1) + "\n"
    return files


def escrow_abi(output: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Join the ABIs of the escrow and its extension; users see one contract.

    Raises
    ------
    BuildError
        The two do not implement the interface, both have a function of it, or their storage
        differs.
    """
    contracts = output["contracts"]
    core = contracts[CONTRACTS["LeaseEscrow"]]["LeaseEscrow"]
    extension = contracts[EXTENSION[1]][EXTENSION[0]]
    _check_size(EXTENSION[0], extension)
    if _layout(core) != _layout(extension):
        raise BuildError("escrow and extension do not agree on the storage that they share")
    wanted = _signatures(contracts[INTERFACE[1]][INTERFACE[0]]["abi"])
    parts = [_signatures(core["abi"]), _signatures(extension["abi"])]
    missing = sorted(wanted - (parts[0] | parts[1]))
    twice = sorted(wanted & parts[0] & parts[1])
    # What is not of the interface comes from the library, and both inherit it with its storage.
    stray = sorted((parts[0] ^ parts[1]) - wanted)
    if missing or twice or stray:
        raise BuildError(
            f"functions of the escrow: missing {missing}, in both contracts {twice},"
            f" not of the interface {stray}"
        )
    joined = [*core["abi"], *extension["abi"]]
    joined += contracts[INTERFACE[1]][INTERFACE[0]]["abi"]
    unique = {
        json.dumps([item["type"], item.get("name"), _types(item)]): item
        for item in reversed(joined)
        if item["type"] not in ("constructor", "fallback", "receive")
    }
    constructor = [item for item in core["abi"] if item["type"] == "constructor"]
    return constructor + sorted(unique.values(), key=lambda item: (item["type"], item["name"]))


def _signatures(abi: Sequence[Mapping[str, Any]]) -> set[str]:
    return {
        f"{item['name']}({','.join(_types(item))})" for item in abi if item["type"] == "function"
    }


def _types(item: Mapping[str, Any]) -> list[str]:
    return [
        kind["type"].replace("tuple", f"({','.join(_types({'inputs': kind['components']}))})")
        if kind["type"].startswith("tuple")
        else kind["type"]
        for kind in item["inputs"]
    ]


def _layout(compiled: Mapping[str, Any]) -> list[tuple[str, str, int, str]]:
    types = compiled["storageLayout"]["types"] or {}
    return [
        (entry["label"], entry["slot"], entry["offset"], types[entry["type"]]["label"])
        for entry in compiled["storageLayout"]["storage"]
    ]


def _check_size(contract: str, compiled: Mapping[str, Any]) -> None:
    code = len(compiled["evm"]["deployedBytecode"]["object"]) // 2
    creation = len(compiled["evm"]["bytecode"]["object"]) // 2
    if code > MAX_CODE_BYTES or creation > MAX_CREATION_BYTES:
        raise BuildError(
            f"{contract} has {code} bytes of code (at most {MAX_CODE_BYTES}) and"
            f" {creation} of creation code (at most {MAX_CREATION_BYTES})"
        )


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
