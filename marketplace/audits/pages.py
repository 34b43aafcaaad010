"""An account's audits, page by page, the leases taking turns.

First comes the lowest segment of each lease, then the second of each, and so on: however many rows
one lease has, they stand in no other lease's way. Where a row stands is counted among those of its
lease that were listed when the walk began, so none is left out because another one ends meanwhile;
one that becomes the lowest meanwhile may make others come twice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from sqlalchemy import Row, func, select, true, tuple_, union
from sqlalchemy.ext.asyncio import AsyncSession

from marketplace.clock import from_timestamp
from marketplace.models import Audit
from marketplace.scope import Scope

#: How a place is written.
PLACE: Final = r"^[0-9]{1,11}\.[0-9]{1,9}\.[0-9A-Za-z_]{0,40}$"
_LONGEST_WRITE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Place:
    """How far a walk through an account's audits has come."""

    since: datetime
    """What left its state after that still counts."""
    number: int = 0
    """Place of the last row within its lease."""
    audit_id: str = ""

    @classmethod
    def start(cls, now: datetime) -> Self:
        """Begin a walk; what is being written now may be dated a little earlier."""
        return cls(now.replace(microsecond=0) - _LONGEST_WRITE)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote; its form is checked by ``PLACE``."""
        since, number, audit_id = text.split(".")
        return cls(from_timestamp(int(since)), int(number), audit_id)

    def __str__(self) -> str:
        return f"{int(self.since.timestamp())}.{self.number}.{self.audit_id}"


async def page(
    session: AsyncSession,
    scope: Scope,
    account: str,
    *,
    role: str | None,
    states: Collection[str],
    after: Place,
    limit: int,
) -> tuple[list[Audit], Place | None]:
    """Return an account's next audits, and where to go on, if there may be more."""
    columns = {"auditor": [Audit.auditor], "operator": [Audit.operator]}
    mine = [c == account for c in columns.get(role or "", [Audit.auditor, Audit.operator])]
    still = [Audit.state.in_(list(states)), Audit.updated_at >= after.since] if states else [true()]
    # Each part has an index of its own. One condition in their place would be looked up in all
    # audits that the account ever had.
    parts = (
        select(Audit.audit_id, Audit.lease_id, Audit.segment).where(*scope.of(Audit), whose, which)
        for whose in mine
        for which in still
    )
    listed = union(*parts).subquery()
    place = func.row_number().over(
        partition_by=listed.c.lease_id, order_by=(listed.c.segment, listed.c.audit_id)
    )
    places = select(listed.c.audit_id, place.label("place")).subquery()
    query = (
        select(Audit, places.c.place)
        .join(places, places.c.audit_id == Audit.audit_id)
        .where(tuple_(places.c.place, places.c.audit_id) > (after.number, after.audit_id))
        .order_by(places.c.place, places.c.audit_id)
        .limit(limit)
    )
    if states:
        query = query.where(Audit.state.in_(list(states)))
    found: Sequence[Row[Audit, int]] = (await session.execute(query)).all()
    rows = [audit for audit, _ in found]
    if len(found) < limit:
        return rows, None
    return rows, Place(after.since, found[-1].place, rows[-1].audit_id)
