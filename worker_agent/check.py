"""``gridlease worker check``: tries everything that a worker needs and says what to mend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from client_sdk.chain.errors import ChainError
from client_sdk.protocol.money import format_amount, parse_amount
from worker_agent.context import Context, make_context
from worker_agent.errors import SettingsError, WorkerError
from worker_agent.hardware.facts import read_facts
from worker_agent.sandbox.detect import detect
from worker_agent.sandbox.doctor import examine
from worker_agent.sandbox.settings import SandboxSettings
from worker_agent.settings import Role, WorkerSettings


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check."""

    name: str
    ok: bool
    text: str

    def to_json(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def check_all(settings: WorkerSettings) -> list[Finding]:
    """Run every check; one that fails does not hide the others."""
    try:
        context = make_context(settings)
    except SettingsError as error:
        return [Finding("settings", False, str(error))]
    try:
        checks: list[tuple[str, Callable[[Context], str]]] = [
            ("chain", _chain),
            ("gas", _gas),
            ("money", _money),
            *((f"market {i + 1}", _market_check(url)) for i, url in enumerate(settings.markets)),
            ("machine", _machine),
            ("sandbox", _sandbox),
        ]
        return [Finding("settings", True, f"role {settings.role}")] + [
            _try(name, action, context) for name, action in checks
        ]
    finally:
        context.close()


def _try(name: str, action: Callable[[Context], str], context: Context) -> Finding:
    try:
        return Finding(name, True, action(context))
    except (WorkerError, ChainError, OSError) as error:
        return Finding(name, False, str(error))


def _chain(context: Context) -> str:
    context.chain.check()
    return f"chain {context.settings.chain_id}, block {context.chain.head()}"


def _gas(context: Context) -> str:
    addresses = {"operator": str(context.account.address)}
    if context.settings.role is Role.PROVIDER and context.owner_sender is not None:
        addresses["owner"] = context.owner_sender.address
    for name, address in addresses.items():
        if context.chain.balance(address) == 0:
            raise SettingsError(f"{name} {address} holds no coins: send it some for gas")
    return ", ".join(f"{name} {address}" for name, address in addresses.items())


def _money(context: Context) -> str:
    token, chain = context.token, context.chain
    if context.settings.role is not Role.PROVIDER:
        held = chain.token_balance(token.address, str(context.account.address))
        if held == 0:
            raise SettingsError(f"{context.account.address} holds no {token.symbol} for bonds")
        return f"{format_amount(held, token.decimals)} {token.symbol} for bonds"
    wanted = parse_amount(context.settings.stake, token.decimals)
    stake = chain.view(chain.escrow.stake_of(context.provider, token.address))
    held = chain.token_balance(token.address, context.provider)
    if stake.total - stake.unbonding + held < wanted:
        raise SettingsError(
            f"the provider {context.provider} needs {context.settings.stake} {token.symbol} of "
            f"stake; it has staked {format_amount(stake.total, token.decimals)} and holds "
            f"{format_amount(held, token.decimals)}"
        )
    return f"staked {format_amount(stake.total, token.decimals)} {token.symbol}"


def _market_check(url: str) -> Callable[[Context], str]:
    def check(context: Context) -> str:
        market = context.markets[url]
        facts = market.facts()
        if facts.get("chain_id") != context.settings.chain_id:
            raise SettingsError(f"{url} is for chain {facts.get('chain_id')!r}")
        if str(facts.get("escrow", "")).lower() != context.chain.escrow.address.lower():
            raise SettingsError(f"{url} is for another escrow contract")
        market.get("/v1/audits", role="auditor")  # logs in
        return url

    return check


def _machine(context: Context) -> str:
    facts = read_facts(context.folder("sandbox"))
    gpus = f"{len(facts.offered_gpus)} x {facts.gpu_name}" if facts.offered_gpus else "no GPU"
    return f"{facts.cpu_count} x {facts.cpu_name}, {gpus}"


def _sandbox(context: Context) -> str:
    sandbox = detect(
        SandboxSettings(
            state_dir=context.folder("sandbox"),
            allow_weak=context.settings.allow_weak_isolation,
        )
    )
    try:
        report = examine(sandbox)
    finally:
        sandbox.close()
    if not report.may_list:
        failed = "; ".join(f"{found.name}: {found.detail}" for found in report.failures)
        raise SettingsError(f"this machine does not contain a hostile job: {failed}")
    return f"{sandbox.tier}, isolation {sandbox.isolation}, {len(report.findings)} abuse probes"
