"""Tables, one module each noun; see ``base`` for the column types."""

from marketplace.models.account import AccessToken, LoginNonce
from marketplace.models.artifact import Artifact, ArtifactAccess, Upload
from marketplace.models.audit import Audit, Auditor
from marketplace.models.base import Base
from marketplace.models.chain import ChainBlock, ChainCursor, ChainEvent, ChainSubject
from marketplace.models.job import (
    Ending,
    Frame,
    Job,
    LeaseArtifact,
    Progress,
    StoredReceipt,
    Voucher,
)
from marketplace.models.lease import Challenge, Commit, Credit, CreditEntry, Lease, Payment
from marketplace.models.listing import Listing, Stake
from marketplace.models.offer import Offer, OfferRevision
from marketplace.models.order import Order
from marketplace.models.outbox import Activity, OutboxItem

__all__ = [
    "AccessToken",
    "Activity",
    "Artifact",
    "ArtifactAccess",
    "Audit",
    "Auditor",
    "Base",
    "ChainBlock",
    "ChainCursor",
    "ChainEvent",
    "ChainSubject",
    "Challenge",
    "Commit",
    "Credit",
    "CreditEntry",
    "Ending",
    "Frame",
    "Job",
    "Lease",
    "LeaseArtifact",
    "Listing",
    "LoginNonce",
    "Offer",
    "OfferRevision",
    "Order",
    "OutboxItem",
    "Payment",
    "Progress",
    "Stake",
    "StoredReceipt",
    "Upload",
    "Voucher",
]
