"""Whether the owner asked for no more new leases: in the journal, so that restarts keep to it."""

from __future__ import annotations

from typing import Final

from worker_agent.journal import Journal

_CONTROL: Final = "control"
_DRAIN: Final = "drain"


def draining(journal: Journal) -> bool:
    """Whether the owner asked for no more new leases."""
    state = journal.get(_CONTROL, _DRAIN)
    return state is not None and bool(state["on"])


def set_draining(journal: Journal, on: bool) -> None:
    """Ask a running or later daemon to take no more leases, or to take them again."""
    journal.put(_CONTROL, _DRAIN, {"on": on})
