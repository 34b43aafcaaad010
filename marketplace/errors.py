"""Errors of the marketplace, one class per rule.

The class name in snake case is the ``code`` of the API; the docstring is the default message::

    MarketError
    |-- Refused            400: a signed object or a value breaks a rule; some name another status
    |-- Unauthenticated    401: no token, or one that no longer holds
    |-- Unknown            404: no such object, or not one that the caller may see
    |-- Conflict           409: the object's state does not allow it now
    |-- TooLarge           413: a body or a count is over a limit
    |-- TooMany            429: rate limit, or no free slot
    |-- Unavailable        503: a part behind the API does not answer
    `-- Full               507: no room for more bytes

    ConfigurationError     the process cannot start as it was set up (command line only)
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import ClassVar

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class MarketError(Exception):
    """The marketplace refuses the request."""

    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST
    what_to_do: ClassVar[str] = "Read the message, correct the request and send it again."

    def __init__(self, message: str | None = None, **details: object) -> None:
        self.details = details
        super().__init__(message or (type(self).__doc__ or "").strip().split("\n")[0])

    @classmethod
    def code(cls) -> str:
        """Return the stable word that clients compare."""
        return _HUMP.sub("_", cls.__name__).lower()

    def body(self) -> dict[str, object]:
        """Return the JSON body of the answer."""
        error: dict[str, object] = {
            "code": self.code(),
            "message": str(self),
            "what_to_do": self.what_to_do,
        }
        if self.details:
            error["details"] = self.details
        return {"error": error}


class ConfigurationError(Exception):
    """The process cannot start as it was set up."""


class Refused(MarketError):
    """A value breaks a rule."""


class Unauthenticated(MarketError):
    """Log in first."""

    status = HTTPStatus.UNAUTHORIZED
    what_to_do = "Log in with POST /v1/auth/login and send the token as a bearer token."


class Unknown(MarketError):
    """There is no such object."""

    status = HTTPStatus.NOT_FOUND
    what_to_do = "Check the id, and that you are logged in as the account it belongs to."


class Conflict(MarketError):
    """The state of the object does not allow this now."""

    status = HTTPStatus.CONFLICT
    what_to_do = "Read the object again and decide from its present state."


class TooLarge(MarketError):
    """This is over a limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    what_to_do = "Stay below the limits that GET /v1/market names."


class TooMany(MarketError):
    """Too many requests."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    what_to_do = "Wait for the seconds that the Retry-After header names."


class Unavailable(MarketError):
    """A part behind the API does not answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    what_to_do = "Try again in a few seconds; the request had no effect."


class Full(MarketError):
    """There is no room for more bytes."""

    status = HTTPStatus.INSUFFICIENT_STORAGE


# Shape and size of requests


class RequestInvalid(Refused):
    """The request does not have the shape that the API asks for."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    what_to_do = "Compare the request with the API's page at /v1/docs."


class RouteUnknown(Unknown):
    """There is no such route."""

    what_to_do = "See the routes at /v1/docs."


class MethodRefused(Refused):
    """The route does not know this method."""

    status = HTTPStatus.METHOD_NOT_ALLOWED
    what_to_do = "See the routes at /v1/docs."


class BodyTooLarge(TooLarge):
    """The body is too large."""


class RateLimited(TooMany):
    """Too many requests from this account or address."""


# Login


class LoginRefused(Unauthenticated):
    """The login message or its signature does not hold."""

    what_to_do = "Fetch a nonce, build the message as GET /v1/market says, sign it, log in again."


# Chain objects


class ListingUnknown(Unknown):
    """There is no such listing on the chain."""

    what_to_do = "Check the listing id; a listing is known a few seconds after it is mined."


class LeaseUnknown(Unknown):
    """There is no such lease on the chain."""

    what_to_do = "Check the lease id; a lease is known a few seconds after it is mined."


# Signed objects


class MessageRefused(Refused):
    """A signed object is malformed."""


class SignatureRefused(Refused):
    """The signature is not by the account that must sign."""

    what_to_do = "Sign with the key the object names, for this chain and this contract."


class OfferRefused(Refused):
    """The offer does not agree with its listing."""

    what_to_do = "Correct the offer to what the listing on the chain says and sign it again."


class OfferUnknown(Unknown):
    """There is no such offer here."""

    what_to_do = "Search again: offers are withdrawn and replaced."


class OfferEnded(Conflict):
    """The offer is expired, withdrawn, or its listing is no longer active."""

    what_to_do = "Search again and take another offer."


class OrderRefused(Refused):
    """The order does not agree with the offer it takes."""

    what_to_do = "Correct the order and sign it again, or take another offer."


class OrderUnknown(Unknown):
    """There is no such order."""


class OrderClaimed(Conflict):
    """Another worker holds this order, or your hold on it has ended."""

    what_to_do = "Leave it, or claim it again when the hold of the other worker has ended."


class OrderOver(Conflict):
    """The order is past the point where this is possible."""


class TooManyOrders(TooMany):
    """Too many of your orders are open."""

    what_to_do = "Withdraw an order, or wait until one is taken."


class TermsRefused(Refused):
    """The terms do not agree with the order and the offer."""

    what_to_do = "Make the terms from the order and the offer as they were signed."


# Jobs and leases


class JobUnknown(Unknown):
    """There is no such job."""


class ReceiptPending(Unknown):
    """The receipt is written when the lease is closed and confirmed."""

    what_to_do = "Ask again after the lease is closed."


class ProgressRefused(Refused):
    """The progress report does not hold."""


class VoucherRefused(Refused):
    """The voucher does not hold."""


class VoucherUnknown(Unknown):
    """No voucher has arrived for this lease."""


class FrameRefused(Refused):
    """A frame does not hold."""


class EndingRefused(Refused):
    """The ending does not hold."""


# Relayed calls


class RelayClosed(Unknown):
    """This node carries no calls in this token."""

    what_to_do = "Ask another marketplace node, or send the call yourself."


class RelayFeeTooLow(Refused):
    """The relay fee is lower than this node asks."""

    what_to_do = "Sign the fee that GET /v1/market names, or ask another marketplace node."


class RelayRefused(Refused):
    """The call cannot be carried as it was signed."""


class RelayInFlight(Conflict):
    """Another withdrawal of this account, in this token, is on its way."""

    what_to_do = "It takes the whole credit: look at it under GET /v1/relays/{request_id}."


class RelaysSpent(TooMany):
    """This node has carried as many calls as it does in an hour."""

    what_to_do = "Ask another marketplace node, or send the call yourself."


class RelayUnknown(Unknown):
    """There is no such relayed call."""


# Artifacts


class ArtifactUnknown(Unknown):
    """There is no such artifact."""


class ArtifactRefused(Refused):
    """The bytes do not have the hash they were sent under."""

    what_to_do = "Hash the ciphertext with BLAKE3 and send it under that hash."


class ArtifactTooLarge(TooLarge):
    """The artifact is too large."""


class QuotaExceeded(Full):
    """The account stores too much."""

    what_to_do = (
        "Store less, or wait until artifacts of ended jobs are removed: the node's artifact_ttl_s "
        "after their end."
    )


class StoreFull(Full):
    """This node has no room for more artifacts."""

    what_to_do = (
        "Go through another marketplace node, or ask its operator to raise max_store_bytes."
    )


class UploadsBusy(TooMany):
    """Too many uploads are on their way at this time."""

    what_to_do = "Send it again when another upload has ended; Retry-After names the seconds."


class UploadTooSlow(Refused):
    """The upload took too long."""

    status = HTTPStatus.REQUEST_TIMEOUT
    what_to_do = "Send it again over a faster connection, or in smaller files."


class RangeRefused(Refused):
    """The requested range is not within the artifact."""

    status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE


class StoreUnavailable(Unavailable):
    """The artifact store does not answer."""


# Audits


class AuditUnknown(Unknown):
    """There is no such audit."""


class AuditNotReported(Conflict):
    """The opening is taken only after the auditor's report."""

    what_to_do = "Wait until the audit says that it is reported, then send the opening."


class AuditOver(Conflict):
    """The audit is past the point where this is possible."""


class ReportRefused(Refused):
    """The report does not hold."""


class OpeningRefused(Refused):
    """The opening does not lead to the committed root."""


# Search


class QueryRefused(Refused):
    """The search query cannot be read."""

    what_to_do = "Write clauses such as: num_gpus>=2 gpu_name=RTX_4090 dph<0.8"


# Faucet


class FaucetClosed(Unknown):
    """This node has no faucet: it serves no development chain."""

    what_to_do = "Fund the wallet with tokens of this chain."


class FaucetRequestUnknown(Unknown):
    """There is no such request to the faucet."""
