"""Bringing a journal and the chain together: what was mined, what was lost, what must go out again.

The rules, for each attempt that is not settled (the caller holds the sender's lock):

- A variant has a receipt: it is mined; with enough blocks on top it is settled.
- Its nonce is still free: it goes out again if the node has forgotten it, with higher fees if it is
  the first in line and old. What the contract refuses now is held back for a while: after lost
  blocks it may build on somebody else's transaction, which has to come back first.
- Its nonce is used, but by none of its variants: after some blocks it is signed anew at the end of
  the line.
- Settled attempts whose nonce the chain calls free again were in lost blocks: they go out again,
  unchanged, in their old order.
- A nonce below all ours that nobody uses is filled with a no-op.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from eth_account.signers.local import LocalAccount
from eth_typing import HexStr

from client_sdk.chain.answers import TxReceipt
from client_sdk.chain.chain import Chain
from client_sdk.chain.errors import (
    CallReverted,
    ChainError,
    ChainUnreachable,
    FeeTooHigh,
    RpcRefused,
    WrongChain,
)
from client_sdk.chain.fees import Fees, bumped, quote
from client_sdk.chain.journal import Attempt, Journal, TxState, Variant
from contracts.bindings import Call

TAKEN_BLOCKS: Final = 6
"""Blocks for which a nonce must look taken by a stranger before its call is signed anew: a node
behind a load balancer may serve the count before the receipt."""

GAP_BLOCKS: Final = 3
"""Blocks for which a gap must stay before it is filled: its owner may still be broadcasting."""

HOLD_BACK_S: Final = 30.0
"""Seconds for which a lost call that the contract refuses is not broadcast. Afterwards it is, and
the refusal becomes its result: later nonces must not wait for ever."""

NO_OP_GAS: Final = 21_000

logger = logging.getLogger(__name__)


class Reconciler:
    """See the module's text; parameters as for `Sender`."""

    def __init__(
        self,
        chain: Chain,
        account: LocalAccount,
        journal: Journal,
        *,
        identity: bytes,
        confirmations: int,
        bump_after_s: float,
        fee_cap: int,
    ) -> None:
        self._chain = chain
        self._account = account
        self._journal = journal
        self._identity = identity
        self._confirmations = confirmations
        self._bump_after_s = bump_after_s
        self._fee_cap = fee_cap
        self._gap: tuple[int, int] | None = None  # (free nonce, block at which it was first seen)
        self._held: dict[bytes, float] = {}  # lost transaction -> monotonic time of first refusal

    def run(self) -> None:
        """Apply the rules once."""
        nonce = self._chain.nonce(self._account.address)
        for lost in self._journal.settled_from(nonce):
            self._require_same_chain()
            logger.warning("blocks were lost: %s goes out again", lost.key)
            self.reopen(lost)
        attempts = self._journal.open_attempts()
        if not attempts:
            return
        head = self._chain.head()
        for attempt in attempts:
            self._run_one(attempt, nonce, head)
        self._fill_gap(nonce, head)

    def reopen(self, attempt: Attempt) -> None:
        """Forget that an attempt was mined."""
        self._journal.move(attempt, TxState.SENT)

    def broadcast(self, variant: Variant) -> None:
        """Hand a journaled transaction to the node; a failure is left to the next run."""
        try:
            self._chain.broadcast(variant.raw)
        except (RpcRefused, ChainUnreachable) as error:
            logger.warning("0x%s was not taken yet: %s", variant.tx_hash.hex(), error)

    def withdraw(self, attempt: Attempt) -> None:
        """Replace a waiting call by a no-op with the same nonce."""
        old = Fees(attempt.newest.max_fee, attempt.newest.priority_fee)
        fees = self._higher_fees(attempt.newest) or old
        self._sign_again(attempt, attempt.nonce, fees, no_op=True)

    @staticmethod
    def is_no_op(attempt: Attempt, receipt: TxReceipt) -> bool:
        return any(
            variant.no_op for variant in attempt.variants if variant.tx_hash == receipt.tx_hash
        )

    def _run_one(self, attempt: Attempt, nonce: int, head: int) -> None:
        receipt = self._receipt_of(attempt)
        if receipt is not None:
            self._record(attempt, receipt, head)
            return
        if attempt.state is TxState.MINED:
            logger.warning("%s is in no block any more", attempt.key)
            self.reopen(attempt)
        if attempt.nonce >= nonce:
            self._keep_alive(attempt, first=attempt.nonce == nonce)
        else:
            self._handle_taken(attempt, head)

    def _receipt_of(self, attempt: Attempt) -> TxReceipt | None:
        for variant in reversed(attempt.variants):
            receipt = self._chain.receipt(variant.tx_hash)
            if receipt is not None:
                return receipt
        return None

    def _record(self, attempt: Attempt, receipt: TxReceipt, head: int) -> None:
        if head - receipt.block_number < self._confirmations:
            state = TxState.MINED
        elif self.is_no_op(attempt, receipt):
            state = TxState.CANCELLED
        else:
            state = TxState.CONFIRMED if receipt.succeeded else TxState.REVERTED
        reason = None if receipt.succeeded else attempt.reason or self._explain(attempt, receipt)
        self._journal.move(
            attempt,
            state,
            mined_hash=receipt.tx_hash,
            mined_block=receipt.block_number,
            reason=reason,
        )

    def _explain(self, attempt: Attempt, receipt: TxReceipt) -> tuple[str, dict[str, Any]]:
        """Why the contract refused: receipts do not say, so the call is run again around its block.

        State within the block may have differed; `Unexplained` when the call passes now.
        """
        for block in (receipt.block_number - 1, receipt.block_number, None):
            try:
                self._chain.simulate(attempt.call, self._account.address, block=block)
            except CallReverted as error:
                return error.name, error.args_by_name
            except ChainError:
                continue  # no state of that block any more
        return "Unexplained", {}

    def _keep_alive(self, attempt: Attempt, *, first: bool) -> None:
        newest = attempt.newest
        if not self._chain.knows(newest.tx_hash):
            if not self._is_held_back(attempt):
                self.broadcast(newest)
            return
        if not first or time.time() - newest.signed_at < self._bump_after_s:
            return
        fees = self._higher_fees(newest)
        if fees is None:
            logger.warning("%s waits, and its fees are at the cap", attempt.key)
        else:
            self._sign_again(attempt, attempt.nonce, fees, no_op=newest.no_op)

    def _is_held_back(self, attempt: Attempt) -> bool:
        newest = attempt.newest
        if newest.no_op:
            return False
        try:
            self._chain.simulate(attempt.call, self._account.address)
        except CallReverted as error:
            since = self._held.setdefault(newest.tx_hash, time.monotonic())
            if time.monotonic() - since < HOLD_BACK_S:
                logger.info("%s is held back: %s", attempt.key, error)
                return True
        self._held.pop(newest.tx_hash, None)
        return False

    def _higher_fees(self, old: Variant) -> Fees | None:
        """Fees that replace a waiting transaction; `None` when the cap does not allow any."""
        try:
            fresh = quote(self._chain, self._fee_cap)
        except FeeTooHigh:
            return None
        return bumped(Fees(old.max_fee, old.priority_fee), fresh, self._fee_cap)

    def _handle_taken(self, attempt: Attempt, head: int) -> None:
        if attempt.taken_since is None or head < attempt.taken_since:
            self._journal.mark_taken(attempt, head)
        elif head - attempt.taken_since >= max(TAKEN_BLOCKS, self._confirmations):
            if attempt.withdrawn:
                self._journal.move(attempt, TxState.CANCELLED)
                return
            logger.warning(
                "nonce %d was used elsewhere: %s signed anew", attempt.nonce, attempt.key
            )
            nonce = max(
                self._journal.next_nonce(), self._chain.nonce(self._account.address, pending=True)
            )
            self._sign_again(attempt, nonce, quote(self._chain, self._fee_cap), no_op=False)

    def _fill_gap(self, nonce: int, head: int) -> None:
        waiting = [
            attempt.nonce
            for attempt in self._journal.open_attempts()
            if attempt.state is TxState.SENT and attempt.nonce >= nonce
        ]
        is_gap = bool(waiting) and min(waiting) > nonce
        if not is_gap or self._chain.nonce(self._account.address, pending=True) != nonce:
            self._gap = None
        elif self._gap is None or self._gap[0] != nonce or head < self._gap[1]:
            self._gap = nonce, head
        elif head - self._gap[1] >= GAP_BLOCKS:
            logger.warning("nonce %d is unused below waiting ones: filled", nonce)
            self._gap = None
            call = Call(self._account.address, b"", name="fill a gap")
            fees = quote(self._chain, self._fee_cap)
            variant = self._sign(call, nonce, NO_OP_GAS, fees, no_op=True)
            self._journal.add(f"~fill/{nonce}", call, NO_OP_GAS, variant, withdrawn=True)
            self.broadcast(variant)

    def _sign_again(self, attempt: Attempt, nonce: int, fees: Fees, *, no_op: bool) -> None:
        call = Call(self._account.address, b"", name="no-op") if no_op else attempt.call
        gas = NO_OP_GAS if no_op else attempt.gas
        variant = self._sign(call, nonce, gas, fees, no_op=no_op)
        self._journal.add_variant(attempt, variant, withdrawn=attempt.withdrawn or no_op)
        self.broadcast(variant)

    def _sign(self, call: Call, nonce: int, gas: int, fees: Fees, *, no_op: bool) -> Variant:
        chain_id = self._chain.deployment.chain_id
        return sign_variant(self._account, chain_id, call, nonce, gas, fees, no_op=no_op)

    def _require_same_chain(self) -> None:
        if self._chain.identity() != self._identity:
            raise WrongChain("another chain with the same id answers now: start this program again")


def sign_variant(
    account: LocalAccount,
    chain_id: int,
    call: Call,
    nonce: int,
    gas: int,
    fees: Fees,
    *,
    no_op: bool = False,
) -> Variant:
    """Sign one type-2 transaction (EIP-1559)."""
    signed = account.sign_transaction(
        {
            "type": 2,
            "chainId": chain_id,
            "nonce": nonce,
            "to": HexStr(call.to),
            "value": call.value,
            "data": call.data,
            "gas": gas,
            "maxFeePerGas": fees.max_fee,
            "maxPriorityFeePerGas": fees.priority_fee,
        }
    )
    return Variant(
        tx_hash=bytes(signed.hash),
        nonce=nonce,
        no_op=no_op,
        raw=bytes(signed.raw_transaction),
        max_fee=fees.max_fee,
        priority_fee=fees.priority_fee,
        signed_at=time.time(),
    )
