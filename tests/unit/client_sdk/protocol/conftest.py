"""Terms and domain that the tests of the protocol share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

from client_sdk.protocol.eip712 import Domain
from client_sdk.protocol.terms import Terms

# Machines that run tests are shared and slow at times, and a run must be repeatable.
settings.register_profile(
    "shared",
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("shared")


@pytest.fixture
def domain() -> Domain:
    return Domain(31337, "0x" + "0a" * 20)


@pytest.fixture
def make_terms() -> Callable[..., Terms]:
    def make(**changes: object) -> Terms:
        values: dict[str, object] = {
            "renter": "0x" + "01" * 20,
            "provider": "0x" + "02" * 20,
            "operator": "0x" + "03" * 20,
            "token": "0x" + "04" * 20,
            "arbiter": "0x" + "05" * 20,
            "listing_id": b"\x06" * 32,
            "machine_hash": b"\x07" * 32,
            "job_hash": b"\x08" * 32,
            "price_per_segment": 250_000,
            "bond": 10_000_000,
            "segments": 30,
            "fee_bps": 200,
            "audit_bps": 300,
            "window": 20,
            "commit_grace": 15,
            "dispute_timeout": 20,
            "open_by": 1_900_000_000,
            "first_commit_within": 300,
            "max_duration": 3600,
            "min_segment_seconds": 2,
            "nonce": 9,
        }
        return Terms(**(values | changes))  # type: ignore[arg-type]  # tests pass bad values too

    return make
