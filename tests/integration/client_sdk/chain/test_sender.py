"""The sender against a real node that is killed, reorganised, and shared."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from client_sdk.chain.chain import Chain
from client_sdk.chain.deployment import Deployment
from client_sdk.chain.errors import (
    CallReverted,
    ChainUnreachable,
    InsufficientFunds,
    KeyConflict,
    NotConfirmed,
    TransactionCancelled,
    TransactionReverted,
    UnknownKey,
)
from client_sdk.chain.journal import TxState
from client_sdk.chain.sender import Sender
from client_sdk.chain.wallet import new_key, save_key_file
from contracts.bindings import Call, LeaseEscrow, Token
from contracts.deploy import deploy

TARGET = "0x00000000000000000000000000000000000000A1"
ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def node(new_anvil: Callable[..., Any]) -> Any:
    """A chain of this file's own, which tests may kill and reorganise."""
    made = new_anvil(block_time_s=0.5)
    made.rpc("anvil_mine", "0x2")  # block 1 tells this chain from others
    return made


@pytest.fixture
def bare(node: Any) -> Iterator[Chain]:
    """That chain without any contract: plain transfers are enough to test sending."""
    deployment = Deployment(
        chain_id=31337,
        escrow=TARGET,
        tokens=(),
        start_block=1,
        abi_version=3,
        arbiter=None,
        audit_pool=TARGET,
        beacon=None,
    )
    with Chain(node.rpc_url, deployment) as chain:
        yield chain


@pytest.fixture
def account(node: Any) -> LocalAccount:
    return node.fund(new_key())


@pytest.fixture
def sender(bare: Chain, account: LocalAccount, tmp_path: Path) -> Sender:
    return Sender(bare, account, tmp_path / "journal.sqlite", confirmations=1, poll_s=0.1)


class Till:
    """An account of this test's own, and calls that pay into it."""

    def __init__(self, chain: Chain) -> None:
        self.address = new_key().address
        self._chain = chain

    def pay(self, wei: int) -> Call:
        return Call(self.address, b"", value=wei, name="pay")

    @property
    def content(self) -> int:
        return self._chain.balance(self.address)


@contextmanager
def held_blocks(node: Any) -> Iterator[None]:
    """No blocks while this lasts: transactions wait."""
    node.rpc("evm_setIntervalMining", 0)
    try:
        yield
    finally:
        node.rpc("evm_setIntervalMining", 1)


@pytest.fixture
def till(bare: Chain) -> Till:
    return Till(bare)


def test_when_the_same_key_is_sent_twice_then_it_is_mined_once(
    sender: Sender, bare: Chain, account: LocalAccount, tmp_path: Path, till: Till
) -> None:
    first = sender.send(till.pay(7), "pay")
    again = Sender(bare, account, tmp_path / "journal.sqlite", confirmations=1)
    assert again.send(till.pay(7), "pay") == first
    assert till.content == 7
    assert again.state("pay") is TxState.CONFIRMED
    assert oct((tmp_path / "journal.sqlite").stat().st_mode & 0o777) == "0o600"


def test_when_a_key_is_used_for_another_call_then_it_is_refused(sender: Sender, till: Till) -> None:
    sender.submit(till.pay(1), "one")
    with pytest.raises(KeyConflict):
        sender.submit(till.pay(2), "one")
    with pytest.raises(UnknownKey):
        sender.wait("never sent")


def test_when_the_account_is_poor_then_nothing_is_sent(bare: Chain, tmp_path: Path) -> None:
    poor = Sender(bare, new_key(), tmp_path / "poor.sqlite")
    with pytest.raises(InsufficientFunds) as failure:
        poor.submit(Call(TARGET, b"", name="nothing"), "x")
    assert poor.address in failure.value.what_to_do
    assert poor.state("x") is None


def test_when_threads_send_at_once_then_each_call_is_mined_once(
    sender: Sender, bare: Chain, till: Till
) -> None:
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            sender.send(till.pay(1), name)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"k{i % 4}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert till.content == 4


def test_when_a_reorganisation_drops_a_transaction_then_it_is_sent_again(
    sender: Sender, bare: Chain, node: Any, till: Till
) -> None:
    sender.send(till.pay(3), "a", confirmations=0)
    sender.send(till.pay(4), "b", confirmations=0)
    depth = bare.head() - bare.receipt(sender.submit(till.pay(3), "a")).block_number + 1  # type: ignore[union-attr]
    node.rpc("anvil_reorg", depth, [])
    assert till.content == 0
    receipts = [sender.wait("a", confirmations=2), sender.wait("b", confirmations=2)]
    assert till.content == 7
    assert receipts[0].block_number <= receipts[1].block_number


def test_when_a_confirmed_transaction_is_reorganised_away_then_it_is_sent_again(
    sender: Sender, bare: Chain, node: Any, till: Till
) -> None:
    receipt = sender.send(till.pay(5), "deep", confirmations=2)
    assert sender.state("deep") is TxState.CONFIRMED
    node.rpc("anvil_reorg", bare.head() - receipt.block_number + 1, [])
    assert till.content == 0
    sender.maintain()
    assert sender.wait("deep", confirmations=1).block_hash != receipt.block_hash
    assert till.content == 5


def test_when_the_node_is_killed_and_loses_blocks_then_all_is_sent_again_in_order(
    sender: Sender, bare: Chain, node: Any, till: Till
) -> None:
    sender.send(till.pay(1), "kept", confirmations=0)
    state = node.dump()
    sender.send(till.pay(10), "lost-1", confirmations=1)
    sender.send(till.pay(100), "lost-2", confirmations=0)
    sender.submit(till.pay(1000), "waiting")
    node.kill()
    with pytest.raises(ChainUnreachable) as failure:
        sender.submit(till.pay(10_000), "while-down")
    assert "RPC URL" in failure.value.what_to_do
    node.start(state=state)
    assert till.content in (1, 0)
    sender.submit(till.pay(10_000), "while-down")
    blocks = [
        sender.wait(key, confirmations=1).block_number
        for key in ("kept", "lost-1", "lost-2", "waiting", "while-down")
    ]
    assert blocks == sorted(blocks)
    assert till.content == 11_111


def test_when_the_node_restarts_during_a_wait_then_the_wait_goes_on(
    sender: Sender, bare: Chain, node: Any, till: Till
) -> None:
    state = node.dump()
    sender.submit(till.pay(1), "over-restart")
    node.kill()
    results: list[Any] = []
    waiter = threading.Thread(target=lambda: results.append(sender.wait("over-restart")))
    waiter.start()
    time.sleep(0.5)
    node.start(state=state)
    waiter.join(60)
    assert results
    assert results[0].succeeded


def test_when_two_processes_share_a_key_then_each_call_is_mined_once(
    bare: Chain, node: Any, account: LocalAccount, tmp_path: Path, till: Till
) -> None:
    program = f"""
import sys
from pathlib import Path
from client_sdk.chain.chain import Chain
from client_sdk.chain.deployment import Deployment
from client_sdk.chain.sender import Sender
from client_sdk.chain.wallet import load_key_file
from contracts.bindings import Call
d = Deployment(chain_id=31337, escrow="{TARGET}", tokens=(), start_block=1, abi_version=3,
               arbiter=None, audit_pool="{TARGET}", beacon=None)
with Chain("{node.rpc_url}", d) as chain:
    sender = Sender(chain, load_key_file(Path(sys.argv[1])), Path(sys.argv[2]), confirmations=0)
    for key in sys.argv[3:]:
        sender.submit(Call("{till.address}", b"", 1, "pay"), key)
    for key in sys.argv[3:]:
        sender.wait(key)
"""
    save_key_file(tmp_path / "key", account)
    common = [sys.executable, "-c", program, str(tmp_path / "key"), str(tmp_path / "journal")]
    runs = [
        subprocess.Popen([*common, "shared", "shared-2", f"own-{i}"], cwd=ROOT) for i in range(2)
    ]
    assert [run.wait(60) for run in runs] == [0, 0]
    assert till.content == 4
    assert bare.nonce(account.address) == 4


def test_when_two_journals_use_one_key_then_both_calls_are_mined(
    bare: Chain, account: LocalAccount, tmp_path: Path, till: Till
) -> None:
    first = Sender(bare, account, tmp_path / "1.sqlite", confirmations=0, poll_s=0.1)
    second = Sender(bare, account, tmp_path / "2.sqlite", confirmations=0, poll_s=0.1)
    first.submit(till.pay(1), "first")
    second.submit(till.pay(2), "second")
    first.wait("first")
    second.wait("second")
    assert till.content == 3


def test_when_a_nonce_was_taken_elsewhere_then_the_call_is_signed_anew(
    sender: Sender, bare: Chain, node: Any, account: LocalAccount, tmp_path: Path, till: Till
) -> None:
    thief = Sender(bare, account, tmp_path / "thief.sqlite", confirmations=0)
    with held_blocks(node):
        tx_hash = sender.submit(till.pay(1), "victim")
        node.rpc("anvil_dropTransaction", "0x" + tx_hash.hex())
        thief.submit(till.pay(2), "thief")
    thief.wait("thief")
    assert sender.wait("victim", timeout_s=60).succeeded
    assert till.content == 3


def test_when_a_nonce_is_missing_below_then_the_gap_is_filled(
    sender: Sender, bare: Chain, node: Any, account: LocalAccount, tmp_path: Path, till: Till
) -> None:
    foreign = Sender(bare, account, tmp_path / "foreign.sqlite")
    with held_blocks(node):
        dropped = foreign.submit(till.pay(50), "dropped")
        sender.submit(till.pay(1), "above")  # takes the nonce after the one that waits
        node.rpc("anvil_dropTransaction", "0x" + dropped.hex())
    assert bare.nonce(account.address) == 0
    assert sender.wait("above", timeout_s=60).succeeded
    assert till.content == 1
    assert bare.nonce(account.address) == 2


def test_when_a_waiting_call_is_cancelled_then_it_is_never_executed(
    sender: Sender, bare: Chain, node: Any, till: Till
) -> None:
    with held_blocks(node):
        sender.submit(till.pay(9), "regretted")
        sender.cancel("regretted")
        with pytest.raises(TransactionCancelled):
            sender.submit(till.pay(9), "regretted")
    with pytest.raises(TransactionCancelled):
        sender.wait("regretted")
    assert till.content == 0
    sender.send(till.pay(9), "regretted", retry=True)
    assert till.content == 9


def test_when_fees_rise_then_a_waiting_transaction_is_replaced(
    bare: Chain, node: Any, account: LocalAccount, tmp_path: Path, till: Till
) -> None:
    sender = Sender(bare, account, tmp_path / "j", confirmations=0, bump_after_s=0.0, poll_s=0.1)
    with held_blocks(node):
        first = sender.submit(till.pay(6), "slow")
        sender.maintain()
        second = sender.submit(till.pay(6), "slow")
        assert second != first
        with pytest.raises(NotConfirmed):
            sender.wait("slow", timeout_s=0.0)
    assert sender.wait("slow").succeeded
    assert till.content == 6


def test_when_the_contract_refuses_then_nothing_is_sent(
    chain: Chain, sender_of: Callable[..., Sender], accounts: Any
) -> None:
    sender = sender_of(accounts.stranger)
    nonce = chain.nonce(sender.address)
    with pytest.raises(CallReverted) as failure:
        sender.submit(LeaseEscrow(chain.deployment.escrow).pause(), "pause")
    assert failure.value.name == "OwnableUnauthorizedAccount"
    assert failure.value.args_by_name == {"account": accounts.stranger.address}
    assert not isinstance(failure.value, TransactionReverted)
    assert chain.nonce(sender.address, pending=True) == nonce


def test_when_a_call_depends_on_an_earlier_one_then_it_waits_for_it(
    chain: Chain, sender_of: Callable[..., Sender], accounts: Any
) -> None:
    sender = sender_of(accounts.provider)
    token = chain.deployment.tokens[0].address
    stake = chain.escrow.stake_of(accounts.provider.address, token)
    before = chain.view(stake).free  # the chain is shared: other tests stake as well
    sender.submit(Token(token).approve(chain.escrow.address, 5), "approve")
    sender.send(chain.escrow.stake(token, 5), "stake", confirmations=0)
    assert chain.view(stake).free == before + 5


def test_when_a_mined_call_is_refused_then_it_can_be_retried(
    chain: Chain, anvil: Any, sender_of: Callable[..., Sender], accounts: Any
) -> None:
    sender = sender_of(accounts.auditor)
    token = Token(chain.deployment.tokens[0].address)
    held = chain.token_balance(token.address, accounts.auditor.address)
    call = token.transfer(accounts.auditor.address, held)  # to itself: the next test has it still

    def deal(amount: int) -> None:
        anvil.rpc("anvil_dealERC20", accounts.auditor.address, token.address, hex(amount))

    with held_blocks(anvil):
        sender.submit(call, "too-much")
        deal(1)  # the money goes between the check before sending and the block
    with pytest.raises(TransactionReverted) as failure:
        sender.wait("too-much", confirmations=0)
    assert failure.value.name == "ERC20InsufficientBalance"
    assert failure.value.args_by_name["needed"] == held
    with pytest.raises(TransactionReverted):
        sender.wait("too-much")
    deal(held)
    with pytest.raises(TransactionReverted):
        sender.submit(call, "too-much")
    assert sender.send(call, "too-much", confirmations=0, retry=True).succeeded


def test_when_two_parties_lose_their_calls_then_the_dependent_one_waits_for_the_other(
    node: Any, tmp_path: Path
) -> None:
    """The spender's transfer builds on the owner's approval; the spender comes back first."""
    owner, spender = node.fund(new_key()), node.fund(new_key())
    deployment = deploy(node.rpc_url, bytes(owner.key))
    token = Token(deployment.tokens[0].address)
    with Chain(node.rpc_url, deployment) as chain:
        first = Sender(chain, owner, tmp_path / "owner.sqlite", confirmations=0, poll_s=0.1)
        second = Sender(chain, spender, tmp_path / "spender.sqlite", confirmations=0, poll_s=0.1)
        first.send(token.mint(owner.address, 5), "mint")
        state = node.dump()
        first.send(token.approve(spender.address, 5), "approve")
        pull = token.transfer_from(owner.address, spender.address, 5)
        second.send(pull, "pull")
        node.kill()
        node.start(state=state)
        assert chain.token_balance(token.address, spender.address) == 0
        second.maintain()
        second.maintain()
        assert chain.nonce(spender.address, pending=True) == 0
        first.maintain()
        assert second.wait("pull").succeeded
        assert chain.token_balance(token.address, spender.address) == 5
