"""Things happening on a real chain: listings, stakes, and leases that end in every way."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount

from client_sdk.chain.chain import Chain
from client_sdk.chain.sender import Sender
from client_sdk.chain.signing import sign
from client_sdk.protocol.consents import FailedProbe
from client_sdk.protocol.terms import Terms, Voucher
from contracts.bindings import Call, LeaseEscrow, Token
from contracts.deploy import DeployOptions, deploy
from contracts.deployments import Deployment
from contracts.events import Listed
from tests.support.market import HARDWARE_CLASS, key, machine

PRICE = 100_000
BOND = 1_000_000
DEPLOYER, OWNER, WORKER, CUSTOMER, JUDGE, WATCHER = (key(n) for n in range(201, 207))
UNBONDING_S = 60


@dataclass
class Story:
    """A chain that mines a block for each transaction, and its parties."""

    anvil: Any
    deployment: Deployment
    chain: Chain
    folder: Path
    senders: dict[str, Sender] = field(default_factory=dict)
    numbers: Any = field(default_factory=itertools.count)

    @classmethod
    def start(cls, anvil: Any) -> Story:
        """Deploy on a fresh chain, then mine at once instead of every second."""
        for account in (DEPLOYER, OWNER, WORKER, CUSTOMER, JUDGE, WATCHER):
            anvil.fund(account)
        made = deploy(
            anvil.rpc_url,
            bytes(DEPLOYER.key),
            DeployOptions(arbiter=JUDGE.address, unbonding_period_s=UNBONDING_S, fee_bps=200),
        )
        anvil.rpc("evm_setIntervalMining", 0)
        anvil.rpc("evm_setAutomine", True)
        story = cls(anvil, made, Chain(anvil.rpc_url, made), anvil.folder)
        token = Token(story.token)
        for account in (OWNER, CUSTOMER, WATCHER):
            story.do(DEPLOYER, token.mint(account.address, 1_000 * 10**6))
            story.do(account, token.approve(made.escrow, 1_000 * 10**6))
        return story

    @property
    def token(self) -> str:
        return self.deployment.tokens[0].address

    @property
    def escrow(self) -> LeaseEscrow:
        return self.chain.escrow

    def do(self, account: LocalAccount, call: Call) -> list[Any]:
        """Send a call; returns its events."""
        if account.address not in self.senders:
            journal = self.folder / f"story-{account.address}.sqlite"
            self.senders[account.address] = Sender(self.chain, account, journal, poll_s=0.02)
        sender = self.senders[account.address]
        receipt = sender.send(call, f"story/{next(self.numbers)}", confirmations=0)
        return list(receipt.events)

    def pass_time(self, seconds: int) -> None:
        self.anvil.rpc("evm_increaseTime", seconds)
        self.mine()

    def mine(self, blocks: int = 1) -> None:
        self.anvil.rpc("anvil_mine", hex(blocks))

    def reorganise(self, depth: int) -> None:
        """Replace the newest blocks by as many empty ones."""
        self.anvil.rpc("anvil_reorg", depth, [])

    # The provider

    def stake(self, amount: int = 20 * BOND) -> None:
        self.do(OWNER, self.escrow.stake(self.token, amount))

    def list_machine(self) -> Listed:
        call = self.escrow.list_machine(
            HARDWARE_CLASS, self.token, 10**9, WORKER.address, machine().canonical()
        )
        (listed,) = self.do(OWNER, call)
        assert isinstance(listed, Listed)
        return listed

    # Leases

    def terms(self, listing: Listed, **values: Any) -> Terms:
        defaults: dict[str, Any] = {
            "renter": CUSTOMER.address,
            "provider": OWNER.address,
            "operator": WORKER.address,
            "token": self.token,
            "arbiter": JUDGE.address,
            "listing_id": listing.listing_id,
            "machine_hash": listing.machine_hash,
            "job_hash": bytes([5]) * 32,
            "price_per_segment": PRICE,
            "bond": BOND,
            "segments": 4,
            "fee_bps": 200,
            "audit_bps": 300,
            "window": 10,
            "commit_grace": 15,
            "dispute_timeout": 20,
            "open_by": self.chain.now() + 600,
            "first_commit_within": 100,
            "max_duration": 1_000,
            "min_segment_seconds": 0,
            "nonce": next(self.numbers),
        }
        return Terms(**(defaults | values))

    def open(self, terms: Terms) -> str:
        signature = sign(terms, self.chain.domain, WORKER)
        self.do(CUSTOMER, self.escrow.open(terms.abi_tuple(), signature))
        return "0x" + terms.lease_id(self.chain.domain).hex()

    def commit(self, terms: Terms, up_to: int) -> None:
        root = bytes([up_to]) * 32
        self.do(WORKER, self.escrow.commit(terms.abi_tuple(), up_to, root))

    def settle(self, terms: Terms) -> None:
        self.do(WATCHER, self.escrow.settle(terms.abi_tuple()))

    def close(self, terms: Terms, account: LocalAccount = WATCHER) -> None:
        self.do(account, self.escrow.close(terms.abi_tuple()))

    def stop(self, terms: Terms) -> None:
        self.do(CUSTOMER, self.escrow.stop(terms.abi_tuple()))

    def challenge(self, terms: Terms, segment: int) -> None:
        self.do(WATCHER, self.escrow.challenge(terms.abi_tuple(), segment))

    def demand(self, terms: Terms, segment: int) -> None:
        self.do(WATCHER, self.escrow.demand_data(terms.abi_tuple(), segment))

    def attest(self, terms: Terms, good: int) -> None:
        self.do(JUDGE, self.escrow.attest_unretrievable(terms.abi_tuple(), good))

    def rule(self, terms: Terms, *, fraud: bool, segment: int) -> None:
        self.do(JUDGE, self.escrow.rule(terms.abi_tuple(), fraud, segment))

    def every_ending(self) -> dict[str, Terms]:
        """Open leases and end each in another way; returns their terms by name."""
        self.stake()
        listing = self.list_machine()
        self.do(OWNER, self.escrow.reprice(listing.listing_id, 2 * 10**9))
        special = {"metered": {"window": 0}, "expired": {"max_duration": 150}}
        names = (
            *("done", "stopped", "fraud", "timed_out", "expired", "silent", "given_up", "live"),
            *("withheld", "missing", "rejected"),
        )
        leases = {
            name: self.terms(listing, **special.get(name, {})) for name in (*names, "metered")
        }
        for terms in leases.values():
            self.open(terms)
        self._commit_and_pay(leases)
        self._dispute(leases)
        self._miss_data(leases)
        self._reject(leases["rejected"])
        voucher = Voucher(lease_id=leases["metered"].lease_id(self.chain.domain), segments=2)
        signature = sign(voucher, self.chain.domain, CUSTOMER)
        call = self.escrow.settle_voucher(leases["metered"].abi_tuple(), 2, signature)
        self.do(WORKER, call)
        self.close(leases["given_up"], WORKER)
        self.commit(leases["expired"], 1)
        self.pass_time(200)
        self.close(leases["expired"])
        self.close(leases["silent"])
        self._unbond_and_withdraw()
        second = self.list_machine()
        self.do(OWNER, self.escrow.set_operator(second.listing_id, WATCHER.address))
        self.do(OWNER, self.escrow.delist(second.listing_id))
        return leases

    def _commit_and_pay(self, leases: dict[str, Terms]) -> None:
        for name in ("done", "stopped", "fraud", "timed_out", "given_up"):
            self.commit(leases[name], 2)
        self.pass_time(11)
        self.settle(leases["done"])
        self.commit(leases["done"], 4)
        self.stop(leases["stopped"])
        self.commit(leases["stopped"], 3)
        self.commit(leases["fraud"], 4)
        self.commit(leases["timed_out"], 3)

    def _dispute(self, leases: dict[str, Terms]) -> None:
        self.challenge(leases["done"], 3)
        self.demand(leases["done"], 2)
        self.pass_time(3)
        self.rule(leases["done"], fraud=False, segment=2)
        self.challenge(leases["fraud"], 3)
        self.rule(leases["fraud"], fraud=True, segment=3)
        self.challenge(leases["timed_out"], 2)
        self.pass_time(21)
        timeout = self.escrow.timeout_dispute(leases["timed_out"].abi_tuple())
        self.do(WATCHER, timeout)
        self.settle(leases["done"])
        self._rule_late(leases)
        self.close(leases["stopped"])

    def _rule_late(self, leases: dict[str, Terms]) -> None:
        """Rule a lease wrong after all, while another keeps most of what would pay for it."""
        free = self.chain.view(self.escrow.free_stake_of(OWNER.address, self.token))
        busy = replace(leases["live"], bond=free - BOND // 4, nonce=next(self.numbers))
        self.open(busy)
        self.do(JUDGE, self.escrow.rule_late(leases["done"].abi_tuple(), 1))
        self._reject(busy)
        self.do(WATCHER, self.escrow.pay_late(leases["done"].abi_tuple()))
        leases["busy"] = busy

    def _miss_data(self, leases: dict[str, Terms]) -> None:
        withheld, missing = leases["withheld"], leases["missing"]
        self.commit(withheld, 3)
        self.demand(withheld, 2)
        self.pass_time(3)
        self.attest(withheld, 1)
        self.commit(missing, 2)
        self.attest(missing, 0)
        self.close(missing)
        self.pass_time(11)
        self.close(withheld)

    def _reject(self, terms: Terms) -> None:
        probe = FailedProbe(lease_id=terms.lease_id(self.chain.domain), report=bytes([7]) * 32)
        signature = sign(probe, self.chain.domain, WORKER)
        call = self.escrow.reject_machine(terms.abi_tuple(), probe.report, signature)
        self.do(WATCHER, call)

    def _unbond_and_withdraw(self) -> None:
        self.do(OWNER, self.escrow.unbond(self.token, BOND))
        self.do(OWNER, self.escrow.unbond(self.token, BOND))
        self.pass_time(UNBONDING_S + 1)
        self.do(OWNER, self.escrow.claim_unbond(self.token))
        self.do(OWNER, self.escrow.unbond(self.token, BOND))
        self.do(WATCHER, self.escrow.collect(self.token))
        self.do(WATCHER, self.escrow.withdraw_to(self.token, CUSTOMER.address))
        self.do(OWNER, self.escrow.withdraw(self.token, WATCHER.address, PRICE))
