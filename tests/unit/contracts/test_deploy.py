"""The deploy command's own checks; tests/integration deploys for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.deploy import DeployError, deploy, main, read_key_file

KEY = "0x" + "11" * 32


def key_file(folder: Path, content: str, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_text(content)
    path.chmod(mode)
    return path


def test_when_the_key_file_is_private_then_its_key_is_read(tmp_path: Path) -> None:
    assert read_key_file(key_file(tmp_path, KEY + "\n")) == b"\x11" * 32


@pytest.mark.parametrize(
    ("content", "mode", "complaint"),
    [
        (KEY, 0o644, "chmod 600"),
        ("0x12", 0o600, "does not hold a private key"),
        ("zz" * 32, 0o600, "does not hold a private key"),
    ],
)
def test_when_the_key_file_is_bad_then_the_error_does_not_show_it(
    content: str, mode: int, complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(DeployError, match=complaint) as failure:
        read_key_file(key_file(tmp_path, content, mode))
    assert content not in str(failure.value)
    with pytest.raises(DeployError, match="cannot read"):
        read_key_file(tmp_path / "none")


def test_when_no_node_answers_then_the_command_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--rpc-url", "http://127.0.0.1:1/api-key"]
    arguments += ["--key-file", str(key_file(tmp_path, KEY))]
    assert main([*arguments, "--output", str(tmp_path / "deployments.json")]) == 1
    shown = capsys.readouterr().err
    assert "Check the RPC URL" in shown
    assert "api-key" not in shown
    assert not (tmp_path / "deployments.json").exists()


def test_when_the_url_or_key_is_none_then_it_is_refused() -> None:
    with pytest.raises(DeployError, match="RPC URL"):
        deploy("localhost", b"\x11" * 32)
    with pytest.raises(DeployError, match="private key") as failure:
        deploy("http://127.0.0.1:1", b"\x00" * 31 + b"\x99\x98")
    assert "9998" not in str(failure.value)


def test_when_an_address_is_none_then_the_command_line_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--rpc-url", "http://x", "--key-file", "k", "--owner", "me"])
    assert "'me' is not an address" in capsys.readouterr().err
