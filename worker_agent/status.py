"""What a worker's journal and the chain say about it; reads only, beside a running daemon."""

from __future__ import annotations

from typing import Any

from filelock import FileLock, Timeout

from client_sdk.chain.chain import Chain
from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.money import format_amount
from client_sdk.protocol.units import format_duration
from contracts.deployments import DeploymentError, load_deployment
from contracts.events import Opened, Settled
from worker_agent.context import load_account
from worker_agent.draining import draining
from worker_agent.errors import SettingsError
from worker_agent.heartbeat import find_offer
from worker_agent.journal import Journal
from worker_agent.records import Leases
from worker_agent.settings import WorkerSettings


def read_status(settings: WorkerSettings) -> dict[str, Any]:
    """Collect what the journal knows.

    Raises
    ------
    SettingsError
        This worker was never started.
    """
    path = settings.data_dir / "journal.db"
    if not path.is_file():
        raise SettingsError(f"there is no journal in {settings.data_dir}: start the worker first")
    journal = Journal(path)
    try:
        leases = Leases(journal)
        offer = find_offer(journal)
        return {
            "role": settings.role.value,
            "running": _is_running(settings),
            "draining": draining(journal),
            "offer": offer.to_json() if offer else None,
            "leases": [
                {
                    "lease_id": f"0x{record.lease_id}",
                    "phase": record.phase.value,
                    "segments": len(leases.segments(record.lease_id)),
                    "max_segments": record.terms["segments"],
                    "verdict": record.verdict,
                }
                for record in leases.all()
            ],
        }
    finally:
        journal.close()


def read_earnings(settings: WorkerSettings) -> dict[str, str]:
    """Sum up payments of the provider in the worker's token, from the chain's events.

    Raises
    ------
    SettingsError
        The deployment or the provider's address is not known.
    """
    try:
        deployment = load_deployment(settings.deployments_file, chain_id=settings.chain_id)
        token = deployment.token(settings.token)
    except DeploymentError as error:
        raise SettingsError(str(error)) from error
    provider = settings.provider
    if settings.owner_key_file is not None:
        provider = str(load_account(settings, settings.owner_key_file).address)
    if provider is None:
        raise SettingsError("only a provider earns: set owner_key_file or provider")
    with Chain(settings.rpc_url, deployment) as chain:
        ours: set[bytes] = set()
        paid = segments = 0
        for event in chain.events(deployment.start_block, chain.head()):
            if isinstance(event, Opened) and same_address(event.provider, provider):
                ours.add(event.lease_id)
            elif isinstance(event, Settled) and event.lease_id in ours:
                paid += event.to_provider
                segments += 1
        credit = chain.view(chain.escrow.credit_of(token.address, provider))
        stake = chain.view(chain.escrow.stake_of(provider, token.address))
        period_s = chain.view(chain.escrow.unbonding_period())

    def shown(amount: int) -> str:
        return f"{format_amount(amount, token.decimals)} {token.symbol}"

    return {
        "provider": provider,
        "leases": str(len(ours)),
        "payments": str(segments),
        "earned": shown(paid),
        "withdrawable": shown(credit),
        "staked": shown(stake.total),
        "locked": shown(stake.locked),
        "unbonding": shown(stake.unbonding),
        "unbonding_period": format_duration(period_s),
    }


def _is_running(settings: WorkerSettings) -> bool:
    lock = FileLock(settings.data_dir / "worker.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False
