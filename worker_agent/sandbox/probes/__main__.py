"""Runs the probes that /job/probes.json names: ``python -m worker_agent.sandbox.probes``.

Standard library only. Each probe tries one thing that must not work and reports on file
descriptor 3 whether it was contained. Probes are bounded, so that a machine without any
containment survives them: signals are only asked about (signal 0), files are opened and not
written, bombs stop at a few times the limit.

*Covered*: host files, environment, processes, network, devices, kernel interfaces, and what
happens at each limit.
*Not covered*: flaws of the kernel behind an allowed call.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from worker_agent.sandbox.probes import host, kernel, limits
from worker_agent.sandbox.probes.report import Arguments, Verdict, report

PROBES: dict[str, Callable[[Arguments], Verdict]] = {
    probe.__name__: probe
    for probe in (
        host.secret_files,
        host.home_folders,
        host.environment,
        host.kernel_settings,
        host.kernel_messages,
        host.read_only_system,
        host.other_processes,
        host.privileges,
        host.inherited_files,
        host.devices,
        kernel.host_network,
        kernel.socket_families,
        kernel.nested_namespaces,
        kernel.file_systems,
        kernel.tracing,
        kernel.kernel_interfaces,
        kernel.foreign_calls,
        kernel.terminal,
        limits.open_file_limit,
        limits.fork_bomb,
        limits.thread_bomb,
        limits.memory_bomb,
        limits.fill,
        limits.many_files,
        limits.ignore_signals,
        limits.odd_outputs,
    )
}


def main() -> None:
    """Run the probes named in /job/probes.json."""
    plan = json.loads(Path("/job/probes.json").read_text())
    for name in plan["names"]:
        try:
            contained, detail = PROBES[name](plan["arguments"])
        except Exception as error:
            # The edge of one attack: how it broke is the finding.
            contained, detail = False, f"the probe failed: {error!r}"
        report({"event": "probe", "name": name, "contained": contained, "detail": detail})
    sys.exit(0)


if __name__ == "__main__":
    main()
