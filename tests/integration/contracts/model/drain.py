"""The way out: time alone ends everything, and nothing stays behind."""

from __future__ import annotations

from contracts.bindings import LeaseStatus
from tests.integration.contracts.model.state import Lease
from tests.integration.contracts.model.twin import Twin


def drain(twin: Twin) -> None:
    """With arbiter, renters and providers' machines silent for ever, let a stranger close every
    lease; then everybody takes out what is theirs, until the escrow is empty.
    """
    model = twin.model
    for lease in list(model.state.leases.values()):
        _end(twin, lease)
    for lease in list(model.state.leases.values()):
        _pay(twin, lease)
    for provider, token in list(model.state.stakes):
        _unstake(twin, provider, token)
    for token in twin.tokens:
        _empty(twin, token)


def _end(twin: Twin, lease: Lease) -> None:
    model, escrow, stranger = twin.model, twin.escrow, twin.of("stranger")
    terms, encoded = lease.terms, lease.terms.abi_tuple()
    lease = model.state.leases[terms.lease_id(twin.domain)]
    if lease.status is LeaseStatus.DISPUTED:
        model.now = max(model.now, model.ruling_deadline(lease))
        assert twin.do(stranger, escrow.timeout_dispute(encoded), model.timeout_dispute, terms)
    elif lease.status is LeaseStatus.ACTIVE:
        over_at = max(model.matures_at(lease), model.claim_deadline(lease) + 1)
        model.now = max(model.now, over_at)
        assert twin.do(stranger, escrow.close(encoded), model.close, terms)


def _pay(twin: Twin, lease: Lease) -> None:
    model, terms = twin.model, lease.terms
    owed = model.state.leases[terms.lease_id(twin.domain)].owed
    if owed and model.staked(terms.provider, terms.token).total:
        call = twin.escrow.pay_late(terms.abi_tuple())
        assert twin.do(twin.of("stranger"), call, model.pay_late, terms)


def _unstake(twin: Twin, provider: str, token: str) -> None:
    model, escrow, held = twin.model, twin.escrow, twin.model.staked(provider, token)
    rest = held.total - held.unbonding
    if rest:
        assert twin.do(provider, escrow.unbond(token, rest), model.unbond, token, rest)
    if held.total:
        model.now = max(model.now, model.staked(provider, token).claimable_at)
        assert twin.do(provider, escrow.claim_unbond(token), model.claim_unbond, token)


def _empty(twin: Twin, token: str) -> None:
    model, escrow, stranger = twin.model, twin.escrow, twin.of("stranger")
    if model.state.fees.get(token, 0) + model.state.audit_shares.get(token, 0):
        assert twin.do(stranger, escrow.collect(token), model.collect, token)
    for account in twin.accounts:
        if model.credit(token, account):
            call = escrow.withdraw_to(token, account)
            assert twin.do(stranger, call, model.withdraw_to, token, account)
    assert model.balance(token, model.address) == 0, "something stays in the escrow"
