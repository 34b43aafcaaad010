"""Handed-over inputs that were fetched and refused: they are not fetched again.

Else whoever hands in gigabytes that are not what was committed would have them fetched and hashed
in every turn, until the window or the dispute is over. What this machine's disk or the network does
to inputs is no fault of theirs, and is tried again.
"""

from __future__ import annotations

from typing import Final

from client_sdk.protocol.canonical import canonical_digest
from worker_agent.case import Case
from worker_agent.errors import BadArtifact, BadCheckpoint, OtherBytes, Withheld
from worker_agent.journal import Journal

MAX_ANSWERS: Final = 3
"""So many different inputs of one case are tried: it costs nothing to hand in ever new ones."""
_KIND: Final = "refused"
_MISSING: Final = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class Refusals:
    """What was refused, by case and by what was handed over; kept in the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def check(self, case: Case) -> None:
        """Refuse what was refused before.

        Raises
        ------
        Withheld
            These inputs were, or several others before them.
        """
        known = self._journal.all(_KIND, f"{case.audit.case_id}:")
        digest = _digest(case)
        for refused in known:
            if refused["inputs"] == digest or len(known) >= MAX_ANSWERS:
                raise Withheld(refused["why"])

    def add(self, case: Case, error: BadArtifact | BadCheckpoint) -> None:
        """Remember why a case's inputs were refused, if they are to blame for it."""
        if isinstance(error, OtherBytes) or _of_this_machine(error):
            return
        digest = _digest(case)
        document = {"inputs": digest, "why": str(error)}
        self._journal.put(_KIND, f"{case.audit.case_id}:{digest}", document)


def _digest(case: Case) -> str:
    inputs = case.audit.inputs
    return canonical_digest(inputs.to_json() if inputs else None).hex()


def _of_this_machine(error: BaseException | None) -> bool:
    """Whether a file that is there could not be read or written."""
    while error is not None:
        if isinstance(error, OSError) and not isinstance(error, _MISSING):
            return True
        error = error.__cause__ or error.__context__
    return False
