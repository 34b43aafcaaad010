"""The supervisor behind `gridlease up`: starts every part, restarts what dies, ends all of it.

Covered: a child that dies or is killed is started again with a growing pause; Ctrl-C, SIGTERM and
`gridlease down` end every process; processes left behind by a killed supervisor are ended by the
next start or by `down`. Not covered: a machine that loses power loses the blocks since the last
dump, a few seconds of them at most.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock, Timeout

from client_sdk.chain.deployment import save_deployment
from client_sdk.embedded import procs, run_file
from client_sdk.embedded.child import Child, ChildSpec
from client_sdk.embedded.dumper import Dumper
from client_sdk.embedded.provision import provision
from client_sdk.embedded.rpc import DevelopmentChain
from client_sdk.embedded.run_file import Run, RunningChild
from client_sdk.embedded.running import already_up, end_leftovers
from client_sdk.embedded.services import CHAIN, MARKET, WORKERS, Services
from client_sdk.errors import ChildFailed

LOG = logging.getLogger("gridlease.up")
POLL_S = 0.2
MIGRATE_TIMEOUT_S = 120


class StopRequested(Exception):
    """Somebody asked the market to stop while it was still starting."""


class Supervisor:
    """Runs one embedded market until it is told to stop.

    Parameters
    ----------
    services:
        What to run.
    report:
        Receives one line per thing that the user should know.
    """

    def __init__(self, services: Services, report: Callable[[str], None]) -> None:
        self._services = services
        self._folder = services.folder
        self._report = report
        self._children: dict[str, Child] = {}
        self._ready = False
        self._stop = threading.Event()
        self._chain = DevelopmentChain(services.rpc_url)
        self._dumper: Dumper | None = None

    def request_stop(self) -> None:
        """Ask the market to stop; safe to call from a signal handler or another thread."""
        self._stop.set()

    def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Start everything, watch it until a stop is requested, then end everything.

        Raises
        ------
        AlreadyUp
            Another supervisor runs in this folder.
        ChildFailed
            A part does not start; all others have been ended.
        """
        try:
            with FileLock(self._folder.lock_file, timeout=0):
                end_leftovers(self._folder, self._report)
                try:
                    self._start_all()
                    self._ready = True
                    self._save()
                    on_ready()
                    self._watch()
                except StopRequested:
                    self._report("stopped while starting")
                finally:
                    self._stop_all()
        except Timeout:
            raise already_up(self._folder) from None

    def _start_all(self) -> None:
        services = self._services
        self._start([services.chain(), services.queue()])
        deployment = provision(services, self._chain)
        self._dumper = Dumper(self._chain, self._folder.chain_state)
        # The chain is saved before the file that names its contracts: a start that dies between
        # the two begins again, instead of looking for contracts on a chain that was lost.
        self._dumper.dump_once()
        save_deployment(self._folder.deployment, deployment)
        self._dumper.start()
        services.write_configs()
        self._migrate()
        self._start([services.market("api")], wait=False)
        self._start([services.market(name) for name in MARKET if name != "api"], wait=False)
        self._wait_ready(self._children.values())
        self._start([services.worker(name) for name in WORKERS])

    def _start(self, specs: Iterable[ChildSpec], *, wait: bool = True) -> None:
        started = []
        for spec in specs:
            child = Child(spec)
            self._children[spec.name] = child
            child.start()
            started.append(child)
            self._save()
        if wait:
            self._wait_ready(started)

    def _wait_ready(self, children: Iterable[Child]) -> None:
        """Wait for each; a part that dies while starting is tried twice more."""
        for child in children:
            deadline = time.monotonic() + child.spec.ready_within_s
            while not (child.alive() and child.spec.is_ready()):
                if self._stop.is_set():
                    raise StopRequested
                gave_up = not child.alive() and child.restarts >= 2
                if gave_up or time.monotonic() >= deadline:
                    raise _child_failed(child)
                self._revive()
                self._stop.wait(POLL_S)

    def _watch(self) -> None:
        while not self._stop.wait(POLL_S):
            self._revive()

    def _revive(self) -> None:
        for child in list(self._children.values()):
            if child.spec.name == "anvil" and not child.alive():
                # The arguments name the last dump, which the first start of a chain did not have.
                child.spec = self._services.chain()
            if child.revive():
                self._report(f"{child.spec.name} had ended; started again")
                self._save()

    def _migrate(self) -> None:
        log = self._folder.logs / "migrate.log"
        with log.open("ab") as stream:
            done = subprocess.run(
                self._services.migrate_argv(),
                env=self._services.child_environ(),
                cwd=self._folder.root,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=MIGRATE_TIMEOUT_S,
                check=False,
            )
        if done.returncode != 0:
            tail = log.read_text(errors="replace").splitlines()[-10:]
            raise ChildFailed(
                "the marketplace's database cannot be brought to this release:\n" + "\n".join(tail),
                what_to_do=f"Read {log}.",
            )

    def _stop_all(self) -> None:
        """Workers first, so that they can journal; the chain last, with one last dump."""
        for names in (WORKERS, reversed(MARKET)):
            self._stop_children([name for name in names if name in self._children])
        if self._dumper is not None:
            self._dumper.stop()
        self._stop_children([name for name in CHAIN if name in self._children])
        self._chain.close()
        run_file.remove(self._folder.run_file)

    def _stop_children(self, names: Iterable[str]) -> None:
        """End a group of children side by side."""
        threads = [threading.Thread(target=self._children[name].stop) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _save(self) -> None:
        me = os.getpid()
        run = Run(
            pid=me,
            started_at=procs.start_time(me) or 0,
            api_url=self._services.api_url,
            rpc_url=self._services.rpc_url,
            ready=self._ready,
            children={
                name: RunningChild(
                    pid=child.pid,
                    started_at=child.started_at,
                    log=str(child.spec.log),
                    restarts=child.restarts,
                )
                for name, child in self._children.items()
                if child.alive()
            },
        )
        run_file.save(self._folder, run)


def _child_failed(child: Child) -> ChildFailed:
    state = "does not answer" if child.alive() else "ended at once"
    tail = child.log_tail()
    return ChildFailed(
        f"{child.spec.name} {state}" + (f"; the end of its log:\n{tail}" if tail else ""),
        what_to_do=f"Read {Path(child.spec.log)}.",
    )
