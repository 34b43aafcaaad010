from __future__ import annotations

import json
import os

import pytest

from client_sdk.embedded import layout
from client_sdk.embedded.layout import DataFolder, Ports
from client_sdk.errors import FolderBroken
from client_sdk.home import write_private


def test_when_the_folder_is_new_then_it_is_made_private(tmp_path):
    folder = layout.prepare(tmp_path / "home")
    assert folder.root.stat().st_mode & 0o777 == 0o700
    assert folder.keys.is_dir()
    assert layout.load_ports(folder) is None


def test_when_ports_are_saved_then_they_are_loaded_again(tmp_path):
    folder = layout.prepare(tmp_path)
    layout.save_ports(folder, Ports(api=1, rpc=2))
    assert layout.load_ports(layout.prepare(tmp_path)) == Ports(api=1, rpc=2)


def test_when_a_file_stands_in_its_place_then_it_is_refused(tmp_path):
    (tmp_path / "home").write_text("")
    with pytest.raises(FolderBroken, match="cannot create"):
        layout.prepare(tmp_path / "home")


def test_when_another_release_wrote_it_then_it_is_refused(tmp_path):
    DataFolder(tmp_path).marker.write_text(json.dumps({"schema": "gridlease/embedded/9"}))
    with pytest.raises(FolderBroken, match="another release"):
        layout.prepare(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "gridlease/embedded/1"}'])
def test_when_the_marker_is_damaged_then_it_is_named(tmp_path, content):
    DataFolder(tmp_path).marker.write_text(content)
    with pytest.raises(FolderBroken, match=r"embedded\.json"):
        layout.prepare(tmp_path)


def test_when_the_chain_is_gone_but_contracts_were_deployed_then_it_is_refused(tmp_path):
    folder = layout.prepare(tmp_path)
    folder.deployment.write_text("{}")
    with pytest.raises(FolderBroken, match=r"state\.json is missing"):
        layout.prepare(tmp_path)


def test_when_the_chain_dump_is_cut_then_it_is_refused(tmp_path):
    folder = layout.prepare(tmp_path)
    folder.chain_state.write_text('{"block": {"num')
    with pytest.raises(FolderBroken, match="damaged"):
        layout.prepare(tmp_path)


def test_when_a_private_file_is_written_then_only_its_owner_can_read_it(tmp_path):
    path = tmp_path / "keys" / "owner.key"
    write_private(path, b"one")
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["owner.key"]


def test_when_the_folder_lies_deep_then_the_socket_path_stays_short(
    tmp_path, tmp_path_factory, monkeypatch
):
    # Short as the real one: the test's own folder has its name, and would take half of the room.
    temporary = str(tmp_path_factory.getbasetemp())
    monkeypatch.setattr(layout.tempfile, "gettempdir", lambda: temporary)
    deep = DataFolder(tmp_path / ("x" * 60) / ("y" * 60))
    other = DataFolder(tmp_path / ("x" * 60) / ("z" * 60))
    assert len(str(deep.valkey_socket())) < 107
    assert deep.valkey_socket() != other.valkey_socket()
    assert deep.valkey_socket().parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("trap", ["link", "file", "open"])
def test_when_the_temporary_folder_is_not_private_then_no_socket_goes_there(
    tmp_path, monkeypatch, trap
):
    monkeypatch.setattr(layout.tempfile, "gettempdir", lambda: str(tmp_path))
    place = tmp_path / f"gridlease-{os.getuid()}"
    if trap == "link":  # to a folder of this very user: its owner alone says nothing
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "elsewhere")
    elif trap == "file":
        place.touch(mode=0o600)
    else:
        place.mkdir()
        place.chmod(0o755)
    deep = DataFolder(tmp_path / ("x" * 60) / ("y" * 60))
    with pytest.raises(FolderBroken, match="only you can enter"):
        deep.valkey_socket()
