"""The one way in which a stored row changes its state: compare-and-set, by the table of its states.

A move names where rows go to. It touches only rows that are in a state from which the table lets
them go there, in one statement, so that of two who move a row at once only one does.

Not covered: leases. A lease is a fold over the chain's events, guarded by the cursor's own
compare-and-set; each step of the fold goes through the table in ``marketplace.domain.ledger``.
Attempts are the worker's; the market stores none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, update
from sqlalchemy.ext.asyncio import AsyncSession

from client_sdk.protocol.errors import IllegalTransition
from client_sdk.protocol.states import (
    AUDIT_TRANSITIONS,
    JOB_TRANSITIONS,
    ORDER_TRANSITIONS,
    AuditState,
    JobState,
    OrderState,
)
from marketplace.domain.states import (
    ARTIFACT_MOVES,
    OFFER_MOVES,
    OUTBOX_MOVES,
    ArtifactState,
    OfferState,
    OutboxState,
)

Table = Mapping[Any, frozenset[Any]]
TABLES: Final[Mapping[type[StrEnum], Table]] = {
    OrderState: ORDER_TRANSITIONS,
    JobState: JOB_TRANSITIONS,
    AuditState: AUDIT_TRANSITIONS,
    OfferState: OFFER_MOVES,
    ArtifactState: ARTIFACT_MOVES,
    OutboxState: OUTBOX_MOVES,
}


async def move(
    session: AsyncSession,
    model: Any,
    where: Iterable[ColumnElement[bool]],
    target: StrEnum,
    *,
    by: Iterable[StrEnum] | None = None,
    table: Table | None = None,
    **values: Any,
) -> int:
    """Move rows to a state, with other values that change together; return how many moved.

    Parameters
    ----------
    where
        Names the rows, and what else must hold: a lock token, a time.
    by
        States to come from; by default all from which the table leads to the target.
    table
        Stands in for the table of the target's kind.

    Raises
    ------
    IllegalTransition
        The table has no move from one of ``by`` to ``target``; nothing was changed.
    """
    known = TABLES[type(target)] if table is None else table
    sources = list(by) if by is not None else [s for s, after in known.items() if target in after]
    for source in sources:
        if target not in known[source]:
            raise IllegalTransition(source, target)
    result = await session.execute(
        update(model)
        .where(*where, model.state.in_([source.value for source in sources]))
        .values(state=target, **values)
    )
    return int(result.rowcount)  # type: ignore[attr-defined]  # an UPDATE gives a cursor result


async def amend(
    session: AsyncSession,
    model: Any,
    where: Iterable[ColumnElement[bool]],
    state: StrEnum,
    **values: Any,
) -> bool:
    """Change a row while it stays in a state; false when it has left it."""
    result = await session.execute(
        update(model).where(*where, model.state == state).values(**values)
    )
    return bool(result.rowcount)  # type: ignore[attr-defined]  # an UPDATE gives a cursor result
