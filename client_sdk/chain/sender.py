"""Sending transactions of one key: each intended call is mined once, whatever dies in between.

*Covered:* killed processes (journaled on disk before broadcast), several threads and processes with
one key (a lock per journal), answers lost on the way, dropped and reordered blocks, a development
chain that lost its last blocks, fees that became too low, gaps between nonces, nonces taken by a
program that does not use this journal.
*Not covered:* two journals for one key. They notice each other's nonces and recover, but only a
shared journal keeps one call from being signed twice under two names.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from eth_account.signers.local import LocalAccount
from filelock import FileLock, Timeout

from client_sdk.chain.answers import TxReceipt
from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import (
    BadAnswer,
    CallReverted,
    ChainError,
    ChainUnreachable,
    InsufficientFunds,
    JournalUnusable,
    KeyConflict,
    NotConfirmed,
    TransactionCancelled,
    TransactionReverted,
    UnknownKey,
)
from client_sdk.chain.fees import gas_limit, quote
from client_sdk.chain.journal import Attempt, Journal, TxState
from client_sdk.chain.reconcile import Reconciler, sign_variant
from contracts.bindings import Call

DEFAULT_FEE_CAP_WEI: Final = 500 * 10**9
LOCK_TIMEOUT_S: Final = 60.0
SETTLE_TIMEOUT_S: Final = 60.0
"""How long a call that is refused now waits for the account's earlier calls, which may mend it (an
approval before an opening), and a retry for its own last attempt to be over for good; a sender may
be told another time."""

_OVER: Final = (TxState.REVERTED, TxState.CANCELLED)


class Sender:
    """Sends calls from one account. Thread-safe; several processes may share the journal.

    Parameters
    ----------
    journal_path:
        SQLite file, created with mode 0600. One per key: all who send with the key share it.
    confirmations:
        Blocks on top of a transaction's block before it counts as final.
    bump_after_s:
        Age in seconds at which the first waiting transaction is signed again with higher fees.
    max_fee_per_gas:
        Cap in wei per gas; a node that asks for more is not obeyed.
    poll_s:
        Pause between looks while waiting, in seconds.
    settle_timeout_s:
        How long `submit` waits for earlier calls when one is refused, in seconds.
    """

    def __init__(
        self,
        chain: Chain,
        account: LocalAccount,
        journal_path: Path,
        *,
        confirmations: int = 2,
        bump_after_s: float = 30.0,
        max_fee_per_gas: int = DEFAULT_FEE_CAP_WEI,
        poll_s: float = 0.3,
        settle_timeout_s: float = SETTLE_TIMEOUT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._chain = chain
        self._account = account
        self._journal_path = journal_path
        self._confirmations = confirmations
        self._bump_after_s = bump_after_s
        self._fee_cap = max_fee_per_gas
        self._poll_s = poll_s
        self._settle_timeout_s = settle_timeout_s
        self._sleep = sleep
        self._thread_lock = threading.RLock()
        self._file_lock = FileLock(f"{journal_path}.lock", timeout=LOCK_TIMEOUT_S, mode=0o600)
        self._made: tuple[Journal, Reconciler] | None = None

    def __repr__(self) -> str:
        return f"Sender({self.address}, {self._chain!r})"

    @property
    def address(self) -> str:
        return str(self._account.address)

    def send(
        self,
        call: Call,
        key: str,
        *,
        confirmations: int | None = None,
        timeout_s: float = 120.0,
        retry: bool = False,
    ) -> TxReceipt:
        """Submit a call and wait until it is confirmed; both methods' errors apply.

        The same key sends once, also after a crash: call it again with the same arguments.
        """
        self.submit(call, key, retry=retry)
        return self.wait(key, confirmations=confirmations, timeout_s=timeout_s)

    def submit(self, call: Call, key: str, *, retry: bool = False) -> bytes:
        """Journal and broadcast a call, unless this key was sent already.

        Parameters
        ----------
        key:
            Caller's name for this intention; unique for the account on this chain.
        retry:
            Send a key again whose last attempt was refused or cancelled, once that is final.

        Returns
        -------
        Hash of the transaction, which may still change (fee bump, lost blocks).

        Raises
        ------
        CallReverted
            The contract would refuse it; nothing was signed. It is a `TransactionReverted` when an
            earlier attempt was mined and refused.
        InsufficientFunds, FeeTooHigh, KeyConflict, TransactionCancelled, ChainUnreachable
        """
        deadline = time.monotonic() + self._settle_timeout_s
        while True:
            with self._locked() as (journal, reconciler):
                reconciler.run()
                attempt = journal.latest(key)
                if attempt is not None:
                    _require_same_call(attempt, call)
                    if not _has_ended(attempt):
                        return attempt.tx_hash
                if attempt is None or (retry and attempt.state in _OVER):
                    try:
                        return self._send_new(journal, reconciler, call, key)
                    except CallReverted:
                        if not _has_waiting(journal) or time.monotonic() > deadline:
                            raise
                elif not retry or time.monotonic() > deadline:
                    raise _ending(attempt)
            self._sleep(self._poll_s)

    def wait(
        self, key: str, *, confirmations: int | None = None, timeout_s: float = 120.0
    ) -> TxReceipt:
        """Wait until a submitted call has its confirmations; recovers lost ones meanwhile.

        Parameters
        ----------
        confirmations:
            Blocks on top; 0 means in a block. The sender's own number when not given.

        Raises
        ------
        TransactionReverted
            Mined, and refused by the contract.
        TransactionCancelled, NotConfirmed, UnknownKey, ChainUnreachable
        """
        wanted = self._confirmations if confirmations is None else confirmations
        started = time.monotonic()
        while True:
            failure: ChainError | None = None
            try:
                with self._locked() as (journal, reconciler):
                    reconciler.run()
                    receipt = self._outcome(journal, reconciler, key, wanted)
                if receipt is not None:
                    return receipt
            except (ChainUnreachable, BadAnswer) as error:
                failure = error  # a node that restarts, or a block that goes away while it is read
            if time.monotonic() - started > timeout_s:
                raise failure or self._not_confirmed(key, timeout_s)
            self._sleep(self._poll_s)

    def cancel(self, key: str) -> None:
        """Withdraw a call: a no-op with its nonce is broadcast in its place.

        The call may win all the same: `wait` then returns its receipt, else it raises
        `TransactionCancelled`. Does nothing for a call that is in a block already.
        """
        with self._locked() as (journal, reconciler):
            reconciler.run()
            attempt = journal.latest(key)
            if attempt is None:
                raise UnknownKey(key)
            if attempt.state is TxState.SENT and not attempt.withdrawn:
                reconciler.withdraw(attempt)

    def state(self, key: str) -> TxState | None:
        """Where the newest attempt stood when it was last looked at; `None` for an unknown key."""
        with self._locked() as (journal, _):
            attempt = journal.latest(key)
            return None if attempt is None else attempt.state

    def maintain(self) -> None:
        """Look after everything sent: call it every few seconds in a daemon.

        Broadcasts again what the chain lost, raises fees, fills gaps; so do `submit` and `wait`.
        """
        with self._locked() as (_, reconciler):
            reconciler.run()

    # Inner

    @contextmanager
    def _locked(self) -> Iterator[tuple[Journal, Reconciler]]:
        with self._thread_lock:
            try:
                self._journal_path.parent.mkdir(parents=True, exist_ok=True)
                self._file_lock.acquire()
            except Timeout as error:
                raise JournalUnusable(
                    f"{self._journal_path} was locked by another process for {LOCK_TIMEOUT_S:g} s"
                ) from error
            except OSError as error:
                raise JournalUnusable(f"{self._journal_path}: {error.strerror}") from error
            try:
                yield self._parts()
            finally:
                self._file_lock.release()

    def _parts(self) -> tuple[Journal, Reconciler]:
        """The journal, opened at first use: its scope needs the chain."""
        if self._made is None:
            chain_id = self._chain.deployment.chain_id
            identity = self._chain.identity()
            journal = Journal(self._journal_path, f"{chain_id}:{identity.hex()}", self.address)
            reconciler = Reconciler(
                self._chain,
                self._account,
                journal,
                identity=identity,
                confirmations=self._confirmations,
                bump_after_s=self._bump_after_s,
                fee_cap=self._fee_cap,
            )
            self._made = journal, reconciler
        return self._made

    def _send_new(self, journal: Journal, reconciler: Reconciler, call: Call, key: str) -> bytes:
        estimate = self._chain.estimate_gas(call, self.address)
        fees = quote(self._chain, self._fee_cap)
        gas = gas_limit(estimate, self._chain.latest().gas_limit)
        if estimate > gas:
            raise BadAnswer(f"{call.name} would take {estimate} gas, more than a block holds")
        needed, balance = gas * fees.max_fee + call.value, self._chain.balance(self.address)
        if balance < needed:
            raise InsufficientFunds(self.address, balance, needed)
        nonce = max(journal.next_nonce(), self._chain.nonce(self.address, pending=True))
        variant = sign_variant(
            self._account, self._chain.deployment.chain_id, call, nonce, gas, fees
        )
        journal.add(key, call, gas, variant, withdrawn=False)
        reconciler.broadcast(variant)
        return variant.tx_hash

    def _outcome(
        self, journal: Journal, reconciler: Reconciler, key: str, confirmations: int
    ) -> TxReceipt | None:
        """Receipt when deep enough, `None` when not yet."""
        attempt = journal.latest(key)
        if attempt is None:
            raise UnknownKey(key)
        if attempt.mined_hash is None or attempt.mined_block is None:
            if attempt.state is TxState.CANCELLED:
                raise _ending(attempt)
            return None
        if self._chain.head() - attempt.mined_block < confirmations:
            return None
        receipt = self._chain.receipt(attempt.mined_hash)
        if receipt is None or receipt.succeeded != (attempt.reason is None):
            reconciler.reopen(attempt)  # gone, or mined again with another result
            return None
        if not receipt.succeeded or reconciler.is_no_op(attempt, receipt):
            raise _ending(attempt)
        return receipt

    def _not_confirmed(self, key: str, waited_s: float) -> ChainError:
        with self._locked() as (journal, _):
            attempt = journal.latest(key)
        assert attempt is not None
        return NotConfirmed(key, attempt.tx_hash, waited_s)


def _require_same_call(attempt: Attempt, call: Call) -> None:
    journaled = (attempt.call.to, attempt.call.data, attempt.call.value)
    if journaled != (call.to, call.data, call.value):
        raise KeyConflict(attempt.key, attempt.call.name)


def _has_ended(attempt: Attempt) -> bool:
    """Whether it did not take effect, as things stand; it may not be under enough blocks yet."""
    if attempt.reason is not None:
        return True
    mined = [variant for variant in attempt.variants if variant.tx_hash == attempt.mined_hash]
    return mined[0].no_op if mined else attempt.withdrawn


def _ending(attempt: Attempt) -> ChainError:
    if attempt.reason is None:
        return TransactionCancelled(attempt.key)
    name, values = attempt.reason
    return TransactionReverted(attempt.call.name, name, values, attempt.tx_hash)


def _has_waiting(journal: Journal) -> bool:
    return any(attempt.state is TxState.SENT for attempt in journal.open_attempts())
