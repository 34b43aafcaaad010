"""The build of the contracts, without a compiler: `make contracts-check` runs the real one."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from contracts import build

EIP_170_MAX_BYTES = 24_576
"""Longest code that a chain accepts for a contract."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty contracts folder with its ABI folder."""
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    monkeypatch.setattr(build, "ABI_FOLDER", tmp_path / "abi")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_settings_when_read_then_are_those_of_forge() -> None:
    profile = tomllib.loads((build.FOLDER / "foundry.toml").read_text())["profile"]["default"]

    settings = build.compiler_settings()

    assert settings["viaIR"] is profile["via_ir"] is True
    assert settings["optimizer"] == {"enabled": True, "runs": profile["optimizer_runs"]}
    assert settings["evmVersion"] == profile["evm_version"] == "cancun"
    assert settings["metadata"] == {"bytecodeHash": "none", "appendCBOR": False}


def test_sources_when_imported_then_are_followed_through_folders_and_packages(
    project: Path,
) -> None:
    write(project / "src/A.sol", 'import {B} from "./parts/B.sol";\nimport "@lib/C.sol";\n')
    write(
        project / "src/parts/B.sol", 'import {\n    D,\n    E\n} from "../D.sol";\n// import "x";\n'
    )
    write(project / "src/D.sol", "contract D {}")
    write(project / "node_modules/@lib/C.sol", "contract C {}")

    sources = build.collect_sources(["src/A.sol"], ["@lib/=node_modules/@lib/"])

    assert list(sources) == [
        "node_modules/@lib/C.sol",
        "src/A.sol",
        "src/D.sol",
        "src/parts/B.sol",
    ]
    assert sources["src/D.sol"] == "contract D {}"


def test_sources_when_a_package_is_missing_then_says_how_to_get_it(project: Path) -> None:
    write(project / "src/A.sol", 'import "@lib/C.sol";\n')

    with pytest.raises(build.BuildError, match=r"node_modules/@lib/C\.sol.*npm ci"):
        build.collect_sources(["src/A.sol"], ["@lib/=node_modules/@lib/"])


def test_compiler_when_not_installed_then_says_how_to_get_it(project: Path) -> None:
    with pytest.raises(build.BuildError, match="npm ci"):
        build._compile({})


def test_differences_when_files_are_missing_stale_or_left_over_then_are_named(
    project: Path,
) -> None:
    write(project / "abi/Same.json", "same")
    write(project / "abi/Stale.json", "old")
    write(project / "abi/Gone.json", "")

    found = build.differences({"Same": "same", "Stale": "new", "Missing": "new"})

    assert found == [
        "Stale.json differs from the sources",
        "Missing.json is missing",
        "Gone.json belongs to no shipped contract",
    ]


def test_main_when_checking_then_fails_on_a_difference_and_writes_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "build", lambda: {"Token": "{}\n"})

    assert build.main(["--check"]) == 1
    assert "Token.json is missing" in capsys.readouterr().err
    assert not (project / "abi").exists()

    assert build.main([]) == 0
    assert (project / "abi/Token.json").read_text() == "{}\n"
    assert build.main(["--check"]) == 0


def test_main_when_it_cannot_build_then_says_why(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(project / "foundry.toml", (Path(build.__file__).parent / "foundry.toml").read_text())

    assert build.main([]) == 1
    assert "src/" in capsys.readouterr().err


def compiled(*functions: str, slots: tuple[str, ...] = ("0",), size: int = 1) -> dict[str, Any]:
    """What the compiler says of a contract with these functions and storage."""
    code = {"object": "00" * size}
    return {
        "abi": [{"type": "function", "name": name, "inputs": []} for name in functions],
        "evm": {"bytecode": code, "deployedBytecode": code},
        "storageLayout": {
            "storage": [{"label": "x", "slot": s, "offset": 0, "type": "t"} for s in slots],
            "types": {"t": {"label": "uint256"}},
        },
    }


def output_of(core: dict[str, Any], extension: dict[str, Any], *wanted: str) -> dict[str, Any]:
    found = {
        "LeaseEscrow": core,
        "LeaseEscrowExtension": extension,
        "ILeaseEscrow": compiled(*wanted),
    }
    files = {**build.CONTRACTS, **dict([build.EXTENSION, build.INTERFACE])}
    return {"contracts": {files[name]: {name: content} for name, content in found.items()}}


def test_escrow_abi_when_the_two_halves_fit_then_is_one_contract() -> None:
    output = output_of(compiled("open", "owner"), compiled("list", "owner"), "open", "list")

    assert [item["name"] for item in build.escrow_abi(output)] == ["list", "open", "owner"]


@pytest.mark.parametrize(
    ("core", "extension", "message"),
    [
        (compiled("open"), compiled(), r"missing \['list\(\)'\]"),
        (compiled("open", "list"), compiled("list"), r"in both contracts \['list\(\)'\]"),
        (compiled("open"), compiled("list", "extra"), r"not of the interface \['extra\(\)'\]"),
        (compiled("open"), compiled("list", slots=("1",)), "storage"),
        (compiled("open"), compiled("list", size=24_577), "24577 bytes of code"),
    ],
)
def test_escrow_abi_when_the_two_halves_do_not_fit_then_is_refused(
    core: dict[str, Any], extension: dict[str, Any], message: str
) -> None:
    with pytest.raises(build.BuildError, match=message):
        build.escrow_abi(output_of(core, extension, "open", "list"))


@pytest.mark.parametrize("contract", sorted(build.CONTRACTS))
def test_committed_abi_when_read_then_is_complete_and_deployable(contract: str) -> None:
    content = json.loads((build.ABI_FOLDER / f"{contract}.json").read_text())
    pinned = json.loads((build.FOLDER / "package.json").read_text())

    assert set(content) == {"abi", "bytecode", "deployedBytecode", "solc", "settingsHash"}
    assert content["solc"] == pinned["devDependencies"]["solc"]
    assert "__$" not in content["bytecode"], "no library is left to link"
    assert len(bytes.fromhex(content["deployedBytecode"][2:])) <= EIP_170_MAX_BYTES


@pytest.mark.parametrize(("code", "creation"), [(24_577, 24_577), (24_576, 49_153)])
def test_size_when_no_chain_would_take_it_then_is_refused(code: int, creation: int) -> None:
    with pytest.raises(build.BuildError, match=rf"Big has {code} bytes of code.* {creation} of"):
        build._check_size("Big", sized(code, creation))


def test_size_when_at_the_limits_then_is_taken() -> None:
    build._check_size("Fits", sized(24_576, 49_152))


def sized(code: int, creation: int) -> dict[str, Any]:
    """Compiler output of a contract with so many bytes."""
    return {
        "evm": {
            "deployedBytecode": {"object": "00" * code},
            "bytecode": {"object": "00" * creation},
        }
    }


def test_sources_when_two_import_the_same_then_it_is_read_once(project: Path) -> None:
    write(project / "src/A.sol", 'import "./Shared.sol";\nimport "lib/C.sol";')
    write(project / "src/B.sol", 'import "./Shared.sol";')
    write(project / "src/Shared.sol", "")
    write(project / "lib/C.sol", "")
    sources = build.collect_sources(["src/A.sol", "src/B.sol"], ["@other/=elsewhere/"])
    assert list(sources) == ["lib/C.sol", "src/A.sol", "src/B.sol", "src/Shared.sol"]
