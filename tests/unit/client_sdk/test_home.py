from __future__ import annotations

import json
from dataclasses import replace

import pytest

from client_sdk.connection import connect
from client_sdk.errors import InputRejected, NotFound
from client_sdk.home import JobRecord, RenterHome, find_home, write_private

RECORD = JobRecord(
    job_id="job_" + "0" * 26,
    order_id="ord_1",
    market="http://m.test",
    name="digits",
    created_at="2026-01-02T03:04:05+00:00",
    chain_id=31337,
    escrow="0x" + "1" * 40,
    job_key="00" * 32,
    spec_folder="/somewhere",
    code="code",
    data={},
    manifest={},
    order={},
    offer={},
    lease_id="0xabc1",
)


@pytest.fixture
def home(tmp_path):
    return RenterHome(tmp_path)


def other(number: int, **changes) -> JobRecord:
    return replace(RECORD, job_id=f"job_{number:026}", **changes)


def test_when_a_job_is_saved_then_it_is_read_again_and_is_private(home):
    home.save_job(RECORD)
    assert home.load_job(RECORD.job_id) == RECORD
    assert home.job_file(RECORD.job_id).stat().st_mode & 0o777 == 0o600


def test_when_jobs_are_looked_up_then_start_lease_and_last_fit(home):
    home.save_job(RECORD)
    home.save_job(other(7, lease_id="0xdef2"))
    assert [job.lease_id for job in home.jobs()] == ["0xabc1", "0xdef2"]
    assert home.find_job("last").lease_id == "0xdef2"
    assert home.find_job("0xabc").job_id == RECORD.job_id
    assert home.find_job(f"job_{7:026}").lease_id == "0xdef2"
    with pytest.raises(InputRejected, match="fits 2 jobs"):
        home.find_job("job_0")


@pytest.mark.parametrize("name", ["", "last", "job_9", "job_" + "9" * 26])
def test_when_no_job_fits_then_it_is_not_found(home, name):
    with pytest.raises(NotFound):
        home.find_job(name)


@pytest.mark.parametrize("name", ["../x", "job_", "job_" + "I" * 26])
def test_when_an_id_is_none_then_it_makes_no_path(home, name):
    with pytest.raises(InputRejected):
        home.job_file(name)
    with pytest.raises(InputRejected):
        home.artifacts(name)


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "gridlease/job-record/1"}'])
def test_when_a_record_is_damaged_then_the_file_is_named(home, content):
    write_private(home.job_file(RECORD.job_id), content.encode())
    with pytest.raises(InputRejected, match=RECORD.job_id):
        home.load_job(RECORD.job_id)


def test_when_the_disk_is_full_then_the_old_file_stays(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_private(path, b"old")

    def fail(descriptor):
        raise OSError(28, "no space")

    monkeypatch.setattr("client_sdk.home.os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_when_no_home_is_named_then_the_nearest_one_upwards_is_used(tmp_path, monkeypatch):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert find_home(None) == tmp_path / "user" / ".gridlease"
    (tmp_path / ".gridlease").mkdir()
    assert find_home(None) == tmp_path / ".gridlease"
    assert find_home(inner) == inner


def deployment(path, *chains: int):
    entry = {
        "escrow": "0x" + "1" * 40,
        "start_block": 1,
        "abi_version": 3,
        "tokens": [],
        "arbiter": None,
        "audit_pool": "0x" + "2" * 40,
        "beacon": None,
    }
    entries = [{"chain_id": chain, **entry} for chain in chains]
    content = {"schema": "gridlease/deployments/1", "deployments": entries}
    path.write_text(json.dumps(content))
    return path


def test_when_everything_is_given_then_nothing_is_looked_up(tmp_path):
    file = deployment(tmp_path / "d.json", 5)
    found = connect(
        home=tmp_path, markets=["http://m.test"], rpc_url="http://c.test", deployment=file
    )
    assert (found.markets, found.rpc_url) == (("http://m.test",), "http://c.test")
    assert found.deployment.chain_id == 5


def test_when_a_file_names_several_chains_then_one_has_to_be_chosen(tmp_path):
    file = deployment(tmp_path / "d.json", 5, 6)
    options = {"home": tmp_path, "markets": ["http://m"], "rpc_url": "http://c", "deployment": file}
    with pytest.raises(InputRejected, match="2 deployments") as caught:
        connect(**options)
    assert "--chain-id" in caught.value.what_to_do
    assert connect(**options, chain_id=6).deployment.chain_id == 6
    with pytest.raises(InputRejected):
        connect(**options, chain_id=7)
