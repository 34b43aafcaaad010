"""Transition tables: total, closed, and as drawn."""

from __future__ import annotations

import itertools

import pytest

from client_sdk.protocol.errors import IllegalTransition
from client_sdk.protocol.states import (
    ATTEMPT_TRANSITIONS,
    AUDIT_TRANSITIONS,
    JOB_TRANSITIONS,
    LEASE_TRANSITIONS,
    ORDER_TRANSITIONS,
    RELAY_TRANSITIONS,
    AttemptState,
    AuditState,
    JobState,
    LeaseState,
    OrderState,
    RelayState,
    advance,
    is_final,
    successors,
)

TABLES = [
    (OrderState, ORDER_TRANSITIONS, OrderState.PENDING),
    (LeaseState, LEASE_TRANSITIONS, LeaseState.ACTIVE),
    (JobState, JOB_TRANSITIONS, JobState.QUEUED),
    (AttemptState, ATTEMPT_TRANSITIONS, AttemptState.CREATED),
    (AuditState, AUDIT_TRANSITIONS, AuditState.ASSIGNED),
    (RelayState, RELAY_TRANSITIONS, RelayState.QUEUED),
]


@pytest.mark.parametrize(("kind", "table", "first"), TABLES)
def test_when_a_table_is_read_then_every_state_has_a_row_and_can_be_reached(kind, table, first):
    assert set(table) == set(kind)
    assert all(target in kind for row in table.values() for target in row)
    assert all(state not in row for state, row in table.items())
    reached, pending = {first}, [first]
    while pending:
        for target in successors(pending.pop()):
            if target not in reached:
                reached.add(target)
                pending.append(target)
    assert reached == set(kind)


@pytest.mark.parametrize(("kind", "table", "first"), TABLES)
def test_when_a_move_is_asked_for_then_only_those_of_the_table_are_made(kind, table, first):
    for current, target in itertools.product(kind, kind):
        if target in table[current]:
            assert advance(current, target) is target
        else:
            with pytest.raises(IllegalTransition) as caught:
                advance(current, target)
            assert (caught.value.current, caught.value.target) == (current, target)


@pytest.mark.parametrize(("kind", "table", "first"), TABLES)
def test_when_a_machine_runs_then_some_end_can_be_reached_from_every_state(kind, table, first):
    ends = {state for state in kind if is_final(state)}
    good = set(ends)
    while True:
        more = {state for state in kind if table[state] & good} | good
        if more == good:
            break
        good = more
    # An opened order stays opened; only a reorganisation takes it back.
    assert good == set(kind) or (kind is OrderState and OrderState.OPENED not in ends)


def test_when_two_machines_share_a_word_then_their_rows_stay_apart():
    assert AuditState.EXPIRED == "expired" == OrderState.EXPIRED
    assert successors(AuditState.EXPIRED) == {AuditState.RULED}
    assert successors(OrderState.EXPIRED) == {OrderState.OPENED}
