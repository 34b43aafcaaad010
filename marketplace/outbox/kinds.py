"""Names of what the outbox can do."""

from __future__ import annotations

from typing import Final

ARTIFACT_CHECK: Final = "artifact.check"
"""Read a stored artifact back and compare its hash."""
ARTIFACT_COLLECT: Final = "artifact.collect"
"""Remove artifacts that nobody needs any more."""
AUDIT_DRAW: Final = "audit.draw"
"""Draw the audits of a confirmed commit."""
RECEIPT_WRITE: Final = "receipt.write"
"""Write the receipt of a closed lease."""
RELAY_SETTLE: Final = "relay.settle"
"""Settle matured segments that nobody else settled."""
RELAY_CLOSE: Final = "relay.close"
"""Close a lease that is over."""
RELAY_TIMEOUT: Final = "relay.timeout"
"""End a dispute that its arbiter did not rule in time."""
RELAY_OPEN: Final = "relay.open"
"""Open a lease with its renter's authorization, for a fee."""
RELAY_STOP: Final = "relay.stop"
"""Stop a lease with its renter's signature."""
RELAY_WITHDRAW: Final = "relay.withdraw"
"""Send an account's credit to it."""
RELAY_COLLECT: Final = "relay.collect"
"""Credit accrued shares to their receivers, where it is worth the gas."""
FAUCET: Final = "relay.faucet"
"""Fund a wallet of the development chain."""
RELAY_MAINTAIN: Final = "relay.maintain"
"""Bring back transactions that a reorganisation lost, raise the fees of those that wait."""
CHORES: Final = "chores"
"""Expire offers, orders, audits and logins."""

ASKED: Final = frozenset({RELAY_OPEN, RELAY_STOP, RELAY_WITHDRAW})
"""Calls that an account asked this node to carry for it."""
UNASKED: Final = frozenset({RELAY_SETTLE, RELAY_CLOSE, RELAY_TIMEOUT})
"""Calls for leases whose parties did not make them."""
RELAYED: Final = ASKED | UNASKED | {RELAY_COLLECT, RELAY_MAINTAIN, FAUCET}
"""What sends transactions: done by the process that holds the relayer's journal."""
