"""Pay of metered leases: the renter's vouchers, and when to stop working without them.

At most one segment is ever unpaid on either side: the renter signs after each segment, and the
worker stops when a second one is done and not signed for.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from client_sdk.chain.signing import is_signed_by
from client_sdk.protocol.eip712 import Domain
from client_sdk.protocol.errors import ProtocolError
from client_sdk.protocol.terms import Voucher
from worker_agent.errors import MarketRefused
from worker_agent.market import Market
from worker_agent.records import LeaseRecord, Leases

log = logging.getLogger(__name__)

#: How long a worker goes on with two unsigned segments, in seconds.
PATIENCE_S: Final = 30.0


def refresh_voucher(market: Market, leases: Leases, record: LeaseRecord, domain: Domain) -> None:
    """Fetch the newest voucher and journal it when it is the renter's and covers more.

    Raises
    ------
    NetworkFailed
        The market does not answer.
    """
    try:
        answer = market.get(f"/v1/leases/0x{record.lease_id}/vouchers/latest")
    except MarketRefused as error:
        if error.status == 404:
            return
        raise
    try:
        voucher = Voucher.from_json(answer.get("voucher"), "voucher")
        signature = bytes.fromhex(str(answer.get("signature", "")).removeprefix("0x"))
    except (ProtocolError, ValueError) as error:
        log.warning("lease %s: a market sent a malformed voucher: %s", record.lease_id[:10], error)
        return
    terms = record.parsed_terms
    ours = voucher.lease_id == record.digest and voucher.segments <= terms.segments
    if not ours or not is_signed_by(voucher, domain, signature, terms.renter):
        log.warning("lease %s: a market sent a voucher that is none", record.lease_id[:10])
        return
    if voucher.segments > covered(record):
        newest = {"segments": voucher.segments, "signature": signature.hex()}
        leases.update(record.lease_id, voucher=newest)


def covered(record: LeaseRecord) -> int:
    """Segments that the newest voucher pays."""
    return int(record.voucher["segments"]) if record.voucher else 0


def unpaid_too_long(leases: Leases, record: LeaseRecord) -> bool:
    """Whether the renter owes more than one segment, and has had time to sign."""
    rows = leases.segments(record.lease_id)
    if len(rows) <= covered(record) + 1:
        return False
    return time.time() > float(rows[-1].record["at"]) + PATIENCE_S
