"""Ids."""

from __future__ import annotations

import pytest

from client_sdk.protocol.errors import MessageError
from client_sdk.protocol.ids import IdKind, check_id, new_id


def test_when_an_id_is_made_then_it_has_prefix_time_and_chance():
    made = new_id(IdKind.JOB, at_ms=1_469_918_176_385, entropy=bytes(10))
    # The time part is the example of the ULID specification.
    assert made == "job_01ARYZ6S41" + "0" * 16
    assert check_id(made, IdKind.JOB) == made
    assert check_id(new_id(IdKind.AUDIT), IdKind.AUDIT).startswith("aud_")
    assert new_id(IdKind.JOB) != new_id(IdKind.JOB)


def test_when_ids_are_sorted_then_they_are_in_order_of_time():
    made = [new_id(IdKind.ORDER, at_ms=moment) for moment in (1, 2, 10**12, 2**48 - 1)]
    assert made == sorted(made)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "job_",
        "ord_" + "0" * 26,
        "job_" + "0" * 25,
        "job_" + "8" + "0" * 25,
        "job_" + "I" * 26,
        5,
    ],
)
def test_when_an_id_is_misspelt_then_it_is_refused(value):
    with pytest.raises(MessageError):
        check_id(value, IdKind.JOB, "job_id")


@pytest.mark.parametrize(("at_ms", "entropy"), [(-1, bytes(10)), (2**48, bytes(10)), (0, b"short")])
def test_when_time_or_chance_do_not_fit_then_no_id_is_made(at_ms, entropy):
    with pytest.raises(MessageError):
        new_id(IdKind.JOB, at_ms=at_ms, entropy=entropy)
