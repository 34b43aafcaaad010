"""The daemon: one process, one role, a thread for each loop.

================  =========================================  =======================
thread            what it does                               started by
================  =========================================  =======================
``offers``        keeps the signed offer fresh               provider
``orders``        answers orders with terms or a reason      provider
``leases``        follows leases on the chain, commits       provider
``deliveries``    frames, progress, checkpoints, endings     provider
``serve-audits``  inputs and openings for auditors           provider
``lease-...``     one attempt: the stages of a job           ``leases``
``audits``        looks for audits, a thread for each        auditor
``arbitrations``  looks for challenges, a thread for each    arbiter
================  =========================================  =======================

All loops share one :class:`~worker_agent.loops.Stop`. SIGTERM and SIGINT ask for a stop: what runs
is dropped and goes on from its last verified segment at the next start. The same holds after a
kill.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from filelock import FileLock, Timeout

from client_sdk.chain.errors import ChainError
from worker_agent.arbiter import Arbiter
from worker_agent.attest import describe_machine, register
from worker_agent.audit import Auditor
from worker_agent.context import Context, make_context
from worker_agent.delivery import Deliverer
from worker_agent.errors import SettingsError, Unrecoverable
from worker_agent.examine import Examiner
from worker_agent.hardware.facts import MachineFacts
from worker_agent.heartbeat import Heartbeat
from worker_agent.jobs import Jobs
from worker_agent.layers import remove_unfinished
from worker_agent.lease import LeaseLoop
from worker_agent.loops import Loop, Stop
from worker_agent.orders import Orders
from worker_agent.payments import Payments
from worker_agent.quotes import Machine
from worker_agent.records import Leases
from worker_agent.runner import Runners
from worker_agent.sandbox.base import Sandbox
from worker_agent.sandbox.detect import detect
from worker_agent.sandbox.settings import SandboxSettings
from worker_agent.serve import ServeAudits
from worker_agent.settings import Role, WorkerSettings
from worker_agent.stages.attempt import Machinery

log = logging.getLogger(__name__)
T = TypeVar("T")
_START_PAUSE_S = 1.0


def run_worker(settings: WorkerSettings) -> int:
    """Run one daemon until it is stopped; returns the exit code.

    Raises
    ------
    SettingsError, SandboxUnavailable, HardwareError
        It cannot start, and says what to do.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(settings.data_dir / "worker.lock", timeout=5)
    try:
        lock.acquire()
    except Timeout as error:
        raise SettingsError(f"another worker uses {settings.data_dir}") from error
    stop = Stop()
    _stop_on_signals(stop)
    try:
        return _run(settings, stop)
    finally:
        lock.release()


def _run(settings: WorkerSettings, stop: Stop) -> int:
    context = make_context(settings)
    sandbox = detect(
        SandboxSettings(
            state_dir=context.folder("sandbox"), allow_weak=settings.allow_weak_isolation
        )
    )
    swept = sandbox.sweep()
    if swept:
        log.info("removed what %d jobs of a former process left behind", len(swept))
    remove_unfinished(context.folder("layers"))
    log.info("sandbox %s, isolation %s", sandbox.tier, sandbox.isolation)
    try:
        start = _start_provider if settings.role is Role.PROVIDER else _start_examiner
        loops, finish = start(context, sandbox, stop)
        for loop in loops:
            loop.start()
        while not stop.wait(1.0):
            pass
        log.info("stopping: %s", stop.reason)
        finish()
        for loop in loops:
            loop.join(10)
    finally:
        sandbox.close()
        context.journal.close()
    return 1 if stop.error is not None else 0


Started = tuple[list[Loop], Callable[[], None]]


def _start_provider(context: Context, sandbox: Sandbox, stop: Stop) -> Started:
    settings, interval = context.settings, context.settings.poll_interval_s
    facts, document = describe_machine(context, sandbox)
    listing = _until_chain_answers(lambda: register(context, document), stop)
    jobs = Jobs(sandbox, facts.offered_gpus)
    leases = Leases(context.journal)
    deliverer = Deliverer(
        context.journal,
        leases,
        context.markets,
        context.folder("leases"),
        context.account,
        context.chain.domain,
        settings.upload_limit_s,
    )
    machinery = Machinery(
        context=context, leases=leases, deliverer=deliverer, sandbox=sandbox, jobs=jobs
    )
    runners = Runners(machinery, document)
    payments = Payments(context.chain, context.sender, leases)
    lease_loop = LeaseLoop(
        context.chain, leases, payments, runners, deliverer, settings.confirmations
    )
    heartbeat = Heartbeat(context, listing)
    orders = Orders(context, leases, jobs, heartbeat, _machine(settings, facts))
    serve = ServeAudits(context, leases, deliverer, document.hardware_class)

    def follow_leases() -> None:
        lease_loop.guard()
        maintain(context)
        lease_loop.tick()

    loops = [
        Loop("offers", heartbeat.tick, 2 * interval, stop),
        Loop("orders", orders.tick, interval, stop),
        Loop("leases", follow_leases, interval, stop),
        Loop("deliveries", deliverer.tick, interval, stop),
        Loop("serve-audits", serve.tick, interval, stop),
    ]
    return loops, lambda: runners.cancel_all("the daemon stops")


def _start_examiner(context: Context, sandbox: Sandbox, stop: Stop) -> Started:
    facts, document = describe_machine(context, sandbox)
    jobs = Jobs(sandbox, facts.offered_gpus)
    examiner: Examiner
    if context.settings.role is Role.AUDITOR:
        auditor = Auditor(context, jobs, document.hardware_class)
        _until_chain_answers(auditor.prepare, stop)
        examiner, name = auditor, "audits"
    else:
        examiner, name = Arbiter(context, jobs, document.hardware_class), "arbitrations"
    loop = Loop(name, examiner.tick, context.settings.poll_interval_s, stop)
    return [loop], examiner.close


def maintain(context: Context) -> None:
    """Bring back transactions that the chain lost, of both keys."""
    context.sender.maintain()
    if context.owner_sender is not None:
        context.owner_sender.maintain()


def _machine(settings: WorkerSettings, facts: MachineFacts) -> Machine:
    cores = facts.cpu_count
    return Machine(
        memory_bytes=settings.memory_bytes or facts.memory_bytes * 3 // 4,
        disk_bytes=min(settings.disk_bytes, facts.disk_bytes),
        cpu_cores=min(cores, int(settings.cpu_cores or cores)),
        gpu_name=facts.gpu_name,
        gpu_count=len(facts.offered_gpus),
    )


def _until_chain_answers(action: Callable[[], T], stop: Stop) -> T:
    """Try until the chain can be reached; a worker may be started before its chain."""
    while True:
        try:
            return action()
        except ChainError as error:
            log.warning("%s; trying again", error)
            if stop.wait(_START_PAUSE_S):
                raise Unrecoverable(str(error)) from error


def _stop_on_signals(stop: Stop) -> None:
    def handle(number: int, _frame: FrameType | None) -> None:
        stop.cancel(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
