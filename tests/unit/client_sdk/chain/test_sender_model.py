"""Random histories of one key: submits, blocks, lost blocks, dead processes, dropped pools.

Invariants, whatever happens in between:

- no call takes effect twice on the chain;
- when the node behaves again, every submitted call takes effect exactly once, and a cancelled one
  at most once;
- what is waited for is on the chain.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import ChainError, TransactionCancelled
from client_sdk.chain.sender import Sender
from client_sdk.chain.wallet import account_from
from contracts.bindings import Call

TARGET = "0x00000000000000000000000000000000000000A1"
KEYS = st.sampled_from(["a", "b", "c", "d", "e"])


class SenderModel(RuleBasedStateMachine):
    def __init__(self, node: Any, chain: Chain) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.node = node
        self.chain = chain
        self.account = account_from(b"\x22" * 32)
        self.submitted: set[str] = set()
        self.cancelled: set[str] = set()
        self.strangers = 0

    @initialize()
    def first_process(self) -> None:
        self.start_process()

    @rule()
    def start_process(self) -> None:
        """What the old process knew is gone, but for its journal."""
        self.sender = Sender(
            self.chain,
            self.account,
            Path(self.folder.name) / "journal.sqlite",
            confirmations=1,
            bump_after_s=0.0,
            sleep=lambda _: self.node.mine(),
        )

    @rule(key=KEYS)
    def submit(self, key: str) -> None:
        try:
            self.sender.submit(Call(TARGET, key.encode(), name=key), key)
        except TransactionCancelled:
            assert key in self.cancelled
            return
        except ChainError:
            if self.sender_has(key):
                self.submitted.add(key)
            return
        self.submitted.add(key)

    @rule(key=KEYS)
    def cancel(self, key: str) -> None:
        if key in self.submitted:
            self.cancelled.add(key)
            try:
                self.sender.cancel(key)
            except ChainError:
                return

    @rule(count=st.integers(1, 4))
    def mine(self, count: int) -> None:
        self.node.mine(count)

    @rule(depth=st.integers(1, 8))
    def lose_blocks(self, depth: int) -> None:
        self.node.lose(depth)

    @rule()
    def drop_pool(self) -> None:
        self.node.pool.clear()

    @rule(lost=st.integers(1, 3))
    def lose_answers(self, lost: int) -> None:
        self.node.answers_to_lose = lost

    @rule()
    def stranger_uses_the_key(self) -> None:
        nonce = int(self.node._eth_getTransactionCount(self.account.address, "pending"), 16)
        self.strangers += 1
        self.node.put(self.account, nonce, b"foreign%d" % self.strangers)

    @rule()
    def maintain(self) -> None:
        try:
            self.sender.maintain()
        except ChainError:
            return

    @invariant()
    def nothing_takes_effect_twice(self) -> None:
        for key in "abcde":
            assert self.node.executed(key.encode()) <= 1, key

    def sender_has(self, key: str) -> bool:
        self.node.answers_to_lose = 0
        return self.sender.state(key) is not None

    def teardown(self) -> None:
        try:
            self.node.answers_to_lose = 0
            self.start_process()
            for key in sorted(self.submitted):
                try:
                    receipt = self.sender.wait(key, timeout_s=20)
                except TransactionCancelled:
                    assert key in self.cancelled
                else:
                    assert receipt.succeeded
                    assert self.node.executed(key.encode()) == 1, key
            self.nothing_takes_effect_twice()
        finally:
            self.folder.cleanup()


def test_whatever_happens_then_each_call_takes_effect_once(new_chain: Callable[[], Any]) -> None:
    run_state_machine_as_test(
        lambda: SenderModel(*new_chain()),
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
