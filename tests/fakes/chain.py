"""A chain in memory that speaks the real bindings: the escrow's rules, blocks, reorganisations.

Faithful to ``LeaseEscrow`` in everything that a worker can see: who may call, clocks, windows,
disputes, closing, and the order of events. Money is counted, but not drawn from balances.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from client_sdk.chain.answers import Block, TxReceipt
from client_sdk.chain.errors import CallReverted, ChainUnreachable, TransactionReverted, UnknownKey
from client_sdk.chain.journal import TxState
from client_sdk.chain.signing import is_signed_by
from client_sdk.protocol.addresses import address_bytes
from client_sdk.protocol.consents import FailedProbe
from client_sdk.protocol.eip712 import Domain
from client_sdk.protocol.keccak import keccak256
from client_sdk.protocol.terms import Terms, chained_root
from contracts import events as ev
from contracts.bindings import (
    Call,
    DisputeView,
    LeaseEscrow,
    LeaseStatus,
    LeaseView,
    ListingView,
    StakeView,
    View,
)
from contracts.codec import decode, load_artifact
from contracts.deployments import BeaconInfo, BeaconKind, Deployment, TokenInfo
from worker_agent.history import terms_of

ESCROW = "0x" + "e5" * 20
TOKEN = TokenInfo(symbol="tUSD", address="0x" + "70" * 20, decimals=6)
AUDIT_POOL = "0x" + "a0" * 20
DELAY = 2
UNBONDING_S = 3600
NO_DISPUTE = DisputeView("0x" + "00" * 20, 0, 0, False, "0x" + "00" * 20, False)
NO_LEASE = LeaseView(LeaseStatus.NONE, 0, 0, 0, 0, 0, 0, bytes(32))


@dataclass
class State:
    """Everything that a reorganisation takes back."""

    leases: dict[bytes, LeaseView] = field(default_factory=dict)
    disputes: dict[bytes, DisputeView] = field(default_factory=dict)
    listings: dict[bytes, ListingView] = field(default_factory=dict)
    stakes: dict[str, StakeView] = field(default_factory=dict)
    credits: dict[str, int] = field(default_factory=dict)
    slashed: int = 0


class FakeChain:
    """One deployment; implements the worker's ``ChainPort``."""

    def __init__(self, arbiter: str, start: int = 1_700_000_000) -> None:
        self.deployment = Deployment(
            chain_id=31337,
            escrow=ESCROW,
            tokens=(TOKEN,),
            start_block=0,
            abi_version=3,
            arbiter=arbiter,
            audit_pool=AUDIT_POOL,
            beacon=BeaconInfo(kind=BeaconKind.DEV, delay_blocks=DELAY),
        )
        self.escrow = LeaseEscrow(ESCROW)
        self.domain = Domain(31337, ESCROW)
        self.state = State()
        self.log: list[ev.Event] = []
        self.away = False
        self.lock = threading.RLock()
        self._start = start
        self._salt = 0
        self._blocks: list[Block] = []
        self._states: list[State] = []
        self.mine()

    # What a worker reads

    def check(self) -> None:
        self._reachable()

    def head(self) -> int:
        self._reachable()
        return len(self._blocks) - 1

    def block(self, number: int | None = None) -> Block | None:
        self._reachable()
        index = len(self._blocks) - 1 if number is None else number
        return self._blocks[index] if 0 <= index < len(self._blocks) else None

    def now(self) -> int:
        self._reachable()
        return self._blocks[-1].timestamp

    def events(
        self, from_block: int, to_block: int, *, topic: bytes | None = None
    ) -> list[ev.Event]:
        self._reachable()
        return [
            event
            for event in self.log
            if from_block <= event.block_number <= to_block and topic in (None, _topic(event))
        ]

    def lease(self, lease_id: bytes) -> LeaseView:
        self._reachable()
        return self.state.leases.get(lease_id, NO_LEASE)

    def balance(self, address: str) -> int:
        return 10**18

    def token_balance(self, token: str, address: str) -> int:
        return 10**12

    def close(self) -> None:
        """Nothing is open."""

    def beacon(self, block_number: int) -> bytes | None:
        self._reachable()
        if self.head() < block_number + 2 * DELAY:
            return None
        return keccak256(b"beacon" + self._blocks[block_number + DELAY].hash)

    def view(self, view: View[Any], *, sender: str | None = None) -> Any:
        self._reachable()
        name = view.name.partition(".")[2]
        item = load_artifact(view.name.partition(".")[0]).functions[name]
        args = decode(item.inputs, view.data[4:])
        answers: dict[str, Callable[[], Any]] = {
            "leaseOf": lambda: self.lease(args[0]),
            "disputeOf": lambda: self.state.disputes.get(args[0], NO_DISPUTE),
            "listingOf": lambda: self.state.listings[args[0]],
            "stakeOf": lambda: self.state.stakes.get(args[0].lower(), StakeView(0, 0, 0, 0)),
            "feeBps": lambda: 100,
            "creditOf": lambda: self.state.credits.get(args[1].lower(), 0),
            "allowance": lambda: 1 << 128,
        }
        return answers[name]()

    # Time

    def mine(self, blocks: int = 1, seconds: int = 1) -> None:
        """Add blocks, each some seconds after the one before."""
        with self.lock:
            for _ in range(blocks):
                number = len(self._blocks)
                time = self._blocks[-1].timestamp + seconds if self._blocks else self._start
                parent = self._blocks[-1].hash if self._blocks else bytes(32)
                seed = parent + number.to_bytes(4, "big") + self._salt.to_bytes(4, "big")
                self._blocks.append(
                    Block(
                        number=number,
                        hash=keccak256(seed),
                        parent_hash=parent,
                        timestamp=time,
                        base_fee=1,
                        gas_limit=30_000_000,
                    )
                )
                self._states.append(copy.deepcopy(self.state))

    def reorganise(self, depth: int) -> None:
        """Lose the last blocks; new ones will have other hashes."""
        with self.lock:
            self._salt += 1
            del self._blocks[-depth:], self._states[-depth:]
            self.state = copy.deepcopy(self._states[-1])
            self.log = [event for event in self.log if event.block_number < len(self._blocks)]

    # Transactions

    def execute(self, call: Call, sender: str) -> TxReceipt:
        """Mine one transaction in a block of its own.

        Raises
        ------
        CallReverted
            The escrow refuses it; nothing changes.
        """
        with self.lock:
            self._reachable()
            contract, _, name = call.name.partition(".")
            if contract != "LeaseEscrow":
                self.mine()
                return self._receipt(call, [])
            item = load_artifact(contract).functions[name]
            args = decode(item.inputs, call.data[4:])
            before, count = copy.deepcopy(self.state), len(self.log)
            time = self._blocks[-1].timestamp + 1
            try:
                getattr(self, f"_do_{name}")(sender, time, call, *args)
            except CallReverted:
                self.state = before
                del self.log[count:]
                raise
            self.mine()
            return self._receipt(call, self.log[count:])

    def _do_list(self, sender: str, time: int, call: Call, *args: Any) -> None:
        hardware_class, token, price, operator, document = args
        listing_id = keccak256(b"listing" + len(self.state.listings).to_bytes(4, "big"))
        machine_hash = keccak256(document)
        self.state.listings[listing_id] = ListingView(
            sender, True, token, operator, price, machine_hash
        )
        self._emit(
            ev.Listed,
            call,
            listing_id=listing_id,
            provider=sender,
            operator=operator,
            hardware_class=hardware_class,
            machine_hash=machine_hash,
            token=token,
            max_price_per_hour=price,
            document=document,
        )

    def _do_setOperator(self, sender: str, time: int, call: Call, *args: Any) -> None:
        listing_id, operator = args
        found = self.state.listings[listing_id]
        self.state.listings[listing_id] = replace(found, operator=operator)
        self._emit(ev.OperatorSet, call, listing_id=listing_id, operator=operator)

    def _do_stake(self, sender: str, time: int, call: Call, *args: Any) -> None:
        token, amount = args
        before = self.state.stakes.get(sender.lower(), StakeView(0, 0, 0, 0))
        self.state.stakes[sender.lower()] = replace(before, total=before.total + amount)
        self._emit(ev.Staked, call, provider=sender, token=token, amount=amount)

    def _do_unbond(self, sender: str, time: int, call: Call, *args: Any) -> None:
        token, amount = args
        before = self.state.stakes.get(sender.lower(), StakeView(0, 0, 0, 0))
        self._require(amount != 0, call, "AmountMissing")
        self._require(amount <= before.free, call, "UnbondTooHigh")
        after = replace(
            before, unbonding=before.unbonding + amount, claimable_at=time + UNBONDING_S
        )
        self.state.stakes[sender.lower()] = after
        self._emit(
            ev.UnbondStarted,
            call,
            provider=sender,
            token=token,
            amount=amount,
            unbonding=after.unbonding,
            claimable_at=after.claimable_at,
        )

    def _do_claimUnbond(self, sender: str, time: int, call: Call, *args: Any) -> None:
        account = sender.lower()
        before = self.state.stakes.get(account, StakeView(0, 0, 0, 0))
        amount = before.unbonding
        self._require(amount != 0, call, "NothingUnbonding")
        self._require(time >= before.claimable_at, call, "UnbondingNotOver")
        self._require(before.owed == 0, call, "LateDebt")
        self.state.stakes[account] = replace(
            before, total=before.total - amount, unbonding=0, claimable_at=0
        )
        self.state.credits[account] = self.state.credits.get(account, 0) + amount
        self._emit(ev.UnbondClaimed, call, provider=sender, token=args[0], amount=amount)

    def _do_withdrawTo(self, sender: str, time: int, call: Call, *args: Any) -> None:
        token, account = args
        amount = self.state.credits.pop(account.lower(), 0)
        self._require(amount != 0, call, "AmountMissing")
        self._emit(ev.Withdrawn, call, token=token, account=account, to=account, amount=amount)

    def _do_delist(self, sender: str, time: int, call: Call, *args: Any) -> None:
        (listing_id,) = args
        found = self.state.listings[listing_id]
        self._require(sender == found.provider, call, "NotListingProvider")
        self._require(found.active, call, "ListingInactive")
        self.state.listings[listing_id] = replace(found, active=False)
        self._emit(ev.Delisted, call, listing_id=listing_id)

    def _do_open(self, sender: str, time: int, call: Call, *args: Any) -> None:
        packed, _signature = args
        terms = self._terms(packed)
        lease_id = terms.lease_id(self.domain)
        self._require(sender == terms.renter, call, "NotRenter")
        self._require(time <= terms.open_by, call, "AfterOpenBy")
        self._require(lease_id not in self.state.leases, call, "LeaseExists")
        self.state.leases[lease_id] = LeaseView(
            LeaseStatus.ACTIVE, 0, 0, time, 0, 0, terms.cost, bytes(32)
        )
        self._emit(
            ev.Opened,
            call,
            lease_id=lease_id,
            renter=terms.renter,
            provider=terms.provider,
            terms=packed,
        )

    def _do_commit(self, sender: str, time: int, call: Call, *args: Any) -> None:
        packed, up_to, trace_root = args
        terms, lease_id, lease = self._active(packed, call)
        self._require(sender in (terms.provider, terms.operator), call, "NotProviderOrOperator")
        self._require(not lease.is_unretrievable, call, "LeaseUnretrievable")
        self._require(lease.pending < up_to <= terms.segments, call, "UpToOutOfRange")
        self._check_commit_time(terms, lease, up_to, time, call)
        if self._matured(terms, lease, time):
            lease = self._pay(terms, lease_id, lease, lease.pending, call)
        root = chained_root(lease.root, up_to, trace_root)
        committed = time + 1 if lease.stopped_at == time else time
        self.state.leases[lease_id] = replace(
            lease, pending=up_to, committed_at=committed, root=root
        )
        self._emit(
            ev.Committed, call, lease_id=lease_id, up_to=up_to, trace_root=trace_root, root=root
        )

    def _check_commit_time(
        self, terms: Terms, lease: LeaseView, up_to: int, time: int, call: Call
    ) -> None:
        if lease.stopped_at:
            self._require(lease.committed_at <= lease.stopped_at, call, "FinalCommitMade")
            self._require(time <= lease.stopped_at + terms.commit_grace, call, "AfterDeadline")
            elapsed = lease.stopped_at - lease.opened_at + terms.min_segment_seconds
        else:
            first = min(terms.first_commit_within, terms.max_duration)
            period = terms.max_duration if lease.committed_at else first
            self._require(time <= lease.opened_at + period, call, "AfterCommitDeadline")
            elapsed = time - lease.opened_at
        self._require(up_to * terms.min_segment_seconds <= elapsed, call, "CommitTooFast")

    def _do_settle(self, sender: str, time: int, call: Call, *args: Any) -> None:
        terms, lease_id, lease = self._active(args[0], call)
        self._require(self._matured(terms, lease, time), call, "WindowOpen")
        lease = self._pay(terms, lease_id, lease, lease.pending, call)
        self.state.leases[lease_id] = lease
        if lease.paid == terms.segments:
            self._close(lease_id, lease, ev.CloseCause.COMPLETED, call)

    def _do_settleVoucher(self, sender: str, time: int, call: Call, *args: Any) -> None:
        packed, segments, _signature = args
        terms, lease_id, lease = self._active(packed, call)
        self._require(lease.paid < segments <= terms.segments, call, "VoucherOutOfRange")
        lease = replace(lease, pending=segments, committed_at=time)
        lease = self._pay(terms, lease_id, lease, segments, call)
        self.state.leases[lease_id] = lease
        if lease.paid == terms.segments:
            self._close(lease_id, lease, ev.CloseCause.COMPLETED, call)

    def _do_stop(self, sender: str, time: int, call: Call, *args: Any) -> None:
        terms, lease_id, lease = self._active(args[0], call)
        self._require(sender == terms.renter, call, "NotRenter")
        self.state.leases[lease_id] = replace(lease, stopped_at=time)
        self._emit(ev.Stopped, call, lease_id=lease_id, stopped_at=time)

    def _do_close(self, sender: str, time: int, call: Call, *args: Any) -> None:
        terms, lease_id, lease = self._active(args[0], call)
        if lease.pending > lease.paid:
            self._require(self._matured(terms, lease, time), call, "WindowOpen")
            lease = self._pay(terms, lease_id, lease, lease.pending, call)
        ours = sender in (terms.provider, terms.operator)
        self._require(ours, call, "BeforeCloseTime")
        cause = ev.CloseCause.PROVIDER_CLOSED
        if lease.paid == terms.segments:
            cause = ev.CloseCause.COMPLETED
        elif lease.is_unretrievable:
            cause = ev.CloseCause.UNRETRIEVABLE
        elif lease.stopped_at:
            cause = ev.CloseCause.RENTER_STOPPED
        elif not lease.committed_at and not terms.metered:
            cause = ev.CloseCause.NEVER_COMMITTED
        self._close(lease_id, lease, cause, call)

    def _do_rejectMachine(self, sender: str, time: int, call: Call, *args: Any) -> None:
        packed, report, signature = args
        terms, lease_id, lease = self._active(packed, call)
        self._require(not lease.committed_at, call, "WorkCommitted")
        by_arbiter = sender == terms.arbiter and not terms.metered
        statement = FailedProbe(lease_id=lease_id, report=report)
        signed = is_signed_by(statement, self.domain, signature, terms.operator)
        self._require(by_arbiter or signed, call, "SignatureInvalid")
        self._emit(
            ev.MachineRejected, call, lease_id=lease_id, report=report, by_arbiter=by_arbiter
        )
        self._close(lease_id, lease, ev.CloseCause.ACCEPTANCE_FAILED, call)

    def _do_challenge(self, sender: str, time: int, call: Call, *args: Any) -> None:
        terms, lease_id, segment = self._freeze(sender, time, call, *args)
        bond = 2 * terms.price_per_segment
        self._emit(
            ev.Challenged, call, lease_id=lease_id, challenger=sender, segment=segment, bond=bond
        )

    def _do_demandData(self, sender: str, time: int, call: Call, *args: Any) -> None:
        terms, lease_id, segment = self._freeze(sender, time, call, *args)
        bond = 2 * terms.price_per_segment
        self._emit(
            ev.DataDemanded, call, lease_id=lease_id, demander=sender, segment=segment, bond=bond
        )

    def _freeze(
        self, sender: str, time: int, call: Call, packed: tuple[Any, ...], segment: int
    ) -> tuple[Terms, bytes, int]:
        is_demand = call.name.endswith("demandData")
        lease_id = self._terms(packed).lease_id(self.domain)
        if self.lease(lease_id).status is LeaseStatus.DISPUTED:
            terms, lease_id, lease = self._disputed(packed, call)
            dispute = self.state.disputes[lease_id]
            deadline = dispute.disputed_at + terms.dispute_timeout // 2
            self._require(time < deadline, call, "AfterLowerDeadline")
            end = dispute.lowest_segment
            changes: dict[str, Any] = {"lower_challenger": sender, "is_lower_demand": is_demand}
        else:
            terms, lease_id, lease = self._active(packed, call)
            self._require(time < lease.committed_at + terms.window, call, "AfterWindow")
            dispute = replace(NO_DISPUTE, challenger=sender, disputed_at=time)
            end, changes = lease.pending, {"is_demand": is_demand}
        self._require(lease.paid <= segment < end, call, "SegmentOutOfRange")
        self._require(sender != terms.arbiter, call, "ArbiterMayNotChallenge")
        self.state.leases[lease_id] = replace(lease, status=LeaseStatus.DISPUTED)
        self.state.disputes[lease_id] = replace(dispute, lowest_segment=segment, **changes)
        return terms, lease_id, segment

    def _do_attestUnretrievable(self, sender: str, time: int, call: Call, *args: Any) -> None:
        packed, good = args
        terms, lease_id, lease = self._disputed(packed, call)
        self._require(sender == terms.arbiter, call, "NotArbiter")
        dispute = self.state.disputes.pop(lease_id)
        deadline = dispute.disputed_at + terms.dispute_timeout
        self._require(time < deadline, call, "AfterDisputeTimeout")
        covered = lease.paid <= good <= dispute.lowest_segment
        self._require(covered, call, "GoodSegmentsOutOfRange")
        self._resume(lease_id, lease, time - dispute.disputed_at)
        resumed = replace(self.state.leases[lease_id], pending=good, is_unretrievable=True)
        self.state.leases[lease_id] = resumed
        self._emit(ev.Unretrievable, call, lease_id=lease_id, good_segments=good)

    def _do_rule(self, sender: str, time: int, call: Call, *args: Any) -> None:
        packed, fraud, segment = args
        terms, lease_id, lease = self._disputed(packed, call)
        self._require(sender == terms.arbiter, call, "NotArbiter")
        dispute = self.state.disputes[lease_id]
        deadline = dispute.disputed_at + terms.dispute_timeout
        self._require(time < deadline, call, "AfterDisputeTimeout")
        if fraud:
            self._require(lease.paid <= segment < lease.pending, call, "SegmentOutOfRange")
        else:
            self._require(segment == dispute.lowest_segment, call, "NotLowestSegment")
        del self.state.disputes[lease_id]
        good = segment if fraud else lease.pending
        self._emit(
            ev.Ruled,
            call,
            lease_id=lease_id,
            fraud=fraud,
            good_segments=good,
            slashed_to_renter=terms.bond if fraud else 0,
            challenger=dispute.challenger,
            slashed_to_challenger=0,
            **self._bonds_of(terms, dispute, fraud),
        )
        if fraud:
            self.state.slashed += terms.bond
            if good > lease.paid:
                lease = self._pay(terms, lease_id, lease, good, call)
            self._close(lease_id, lease, ev.CloseCause.FRAUD, call)
            return
        self._resume(lease_id, lease, time - dispute.disputed_at)

    @staticmethod
    def _bonds_of(terms: Terms, dispute: DisputeView, fraud: bool) -> dict[str, int]:
        claims = [dispute.is_demand]
        if dispute.lower_challenger != NO_DISPUTE.lower_challenger:
            claims.append(dispute.is_lower_demand)
        half = 0 if fraud else terms.price_per_segment
        return {
            "bonds_to_provider": half * claims.count(False),
            "bonds_to_audit_pool": half * len(claims),
        }

    def _resume(self, lease_id: bytes, lease: LeaseView, frozen: int) -> None:
        self.state.leases[lease_id] = replace(
            lease,
            status=LeaseStatus.ACTIVE,
            opened_at=lease.opened_at + frozen,
            committed_at=lease.committed_at + frozen,
        )

    def _do_timeoutDispute(self, sender: str, time: int, call: Call, *args: Any) -> None:
        terms, lease_id, lease = self._disputed(args[0], call)
        dispute = self.state.disputes.pop(lease_id)
        deadline = dispute.disputed_at + terms.dispute_timeout
        self._require(time >= deadline, call, "BeforeDisputeTimeout")
        half = terms.price_per_segment * (dispute.lowest_segment - lease.paid) // 2
        self._emit(
            ev.DisputeTimedOut,
            call,
            lease_id=lease_id,
            lowest_segment=dispute.lowest_segment,
            to_provider=half,
            to_treasury=0,
            to_audit_pool=0,
        )
        lease = replace(lease, escrow=lease.escrow - half)
        self._close(lease_id, lease, ev.CloseCause.DISPUTE_TIMED_OUT, call)

    # Inner

    def _reachable(self) -> None:
        if self.away:
            raise ChainUnreachable("http://fake", "switched off")

    def _terms(self, packed: tuple[Any, ...]) -> Terms:
        event = ev.Opened(
            block_number=0,
            block_hash=bytes(32),
            tx_hash=bytes(32),
            log_index=0,
            lease_id=bytes(32),
            renter="",
            provider="",
            terms=packed,
        )
        return terms_of(event)

    def _active(self, packed: tuple[Any, ...], call: Call) -> tuple[Terms, bytes, LeaseView]:
        return self._in_status(packed, call, LeaseStatus.ACTIVE, "LeaseNotActive")

    def _disputed(self, packed: tuple[Any, ...], call: Call) -> tuple[Terms, bytes, LeaseView]:
        return self._in_status(packed, call, LeaseStatus.DISPUTED, "LeaseNotDisputed")

    def _in_status(
        self, packed: tuple[Any, ...], call: Call, status: LeaseStatus, name: str
    ) -> tuple[Terms, bytes, LeaseView]:
        terms = self._terms(packed)
        lease_id = terms.lease_id(self.domain)
        lease = self.state.leases.get(lease_id, NO_LEASE)
        self._require(lease.status is status, call, name)
        return terms, lease_id, lease

    @staticmethod
    def _require(holds: bool, call: Call, name: str) -> None:
        if not holds:
            raise CallReverted(call.name, name)

    @staticmethod
    def _matured(terms: Terms, lease: LeaseView, time: int) -> bool:
        return lease.pending > lease.paid and time >= lease.committed_at + terms.window

    def _pay(
        self, terms: Terms, lease_id: bytes, lease: LeaseView, up_to: int, call: Call
    ) -> LeaseView:
        amount = terms.price_per_segment * (up_to - lease.paid)
        self._emit(
            ev.Settled,
            call,
            lease_id=lease_id,
            paid_segments=up_to,
            to_provider=amount,
            to_treasury=0,
            to_audit_pool=0,
        )
        return replace(lease, paid=up_to, escrow=lease.escrow - amount)

    def _close(self, lease_id: bytes, lease: LeaseView, cause: ev.CloseCause, call: Call) -> None:
        closed = replace(lease, status=LeaseStatus.CLOSED, escrow=0)
        self.state.leases[lease_id] = closed
        self._emit(
            ev.Closed,
            call,
            lease_id=lease_id,
            cause=cause,
            paid_segments=lease.paid,
            refund=lease.escrow,
        )

    def _emit(self, kind: type[ev.Event], call: Call, **values: Any) -> None:
        number = len(self._blocks)
        parent = self._blocks[-1].hash
        seed = parent + number.to_bytes(4, "big") + self._salt.to_bytes(4, "big")
        self.log.append(
            kind(
                block_number=number,
                block_hash=keccak256(seed),
                tx_hash=keccak256(call.data),
                log_index=len(self.log),
                **values,
            )
        )

    def _receipt(self, call: Call, events: list[ev.Event]) -> TxReceipt:
        block = self._blocks[-1]
        return TxReceipt(
            tx_hash=keccak256(call.data),
            block_number=block.number,
            block_hash=block.hash,
            succeeded=True,
            gas_used=1,
            effective_gas_price=1,
            contract_address=None,
            logs=(),
            events=tuple(events),
        )


class FakeSender:
    """Transactions of one account, each key once; implements the worker's ``SenderPort``."""

    def __init__(self, chain: FakeChain, address: str) -> None:
        self._chain = chain
        self.address = address
        self.sent: dict[str, tuple[Call, TxReceipt]] = {}
        self.refused: list[str] = []
        self.cancelled: list[str] = []

    def submit(self, call: Call, key: str, *, retry: bool = False) -> bytes:
        if key in self.cancelled and retry:
            self.cancelled.remove(key)
            self.sent.pop(key, None)
        if key not in self.sent:
            try:
                self.sent[key] = (call, self._chain.execute(call, self.address))
            except CallReverted as error:
                self.refused.append(error.name)
                raise
        return self.sent[key][1].tx_hash

    def wait(
        self, key: str, *, confirmations: int | None = None, timeout_s: float = 120
    ) -> TxReceipt:
        return self.sent[key][1]

    def send(
        self,
        call: Call,
        key: str,
        *,
        confirmations: int | None = None,
        timeout_s: float = 120,
        retry: bool = False,
    ) -> TxReceipt:
        self.submit(call, key, retry=retry)
        return self.wait(key)

    def state(self, key: str) -> TxState | None:
        return TxState.CONFIRMED if key in self.sent else None

    def cancel(self, key: str) -> None:
        """Withdraw a call that is in no block (any more)."""
        if key not in self.sent:
            raise UnknownKey(key)
        receipt = self.sent[key][1]
        block = self._chain.block(receipt.block_number)
        if block is None or block.hash != receipt.block_hash:
            self.cancelled.append(key)

    def maintain(self) -> None:
        """Broadcast again what a reorganisation removed."""
        for key, (call, receipt) in list(self.sent.items()):
            block = self._chain.block(receipt.block_number)
            gone = block is None or block.hash != receipt.block_hash
            if not gone or key in self.cancelled:
                continue
            try:
                self.sent[key] = (call, self._chain.execute(call, self.address))
            except (CallReverted, TransactionReverted):
                continue


def _topic(event: ev.Event) -> bytes | None:
    """The first argument, which is indexed in each of the escrow's events about somebody's own."""
    first = getattr(event, fields(event)[len(fields(ev.Event))].name)
    return address_bytes(first).rjust(32, b"\0") if isinstance(first, str) else first
