"""Errors of the SDK, the command line and the embedded market.

::

    GridleaseError                     anything below; exit code 1
    |-- InputRejected                  what the caller gave cannot be used (2)
    |   |-- SpecRejected               the job spec, with line and suggestion per problem
    |   |-- BudgetTooSmall             no offer can run the job within its budget
    |   |-- NotFound                   no such job, lease, artifact or file here (9)
    |   `-- WalletError                the renter's own account cannot be used (5)
    |       |-- InsufficientFunds
    |       `-- NoRelay                no marketplace node carries this wallet's calls
    |-- OfferRejected                  one offer failed its checks (4)
    |-- NoOffer                        none was left (4)
    |-- TermsRejected                  the signed terms break the renter's policy (3)
    |-- JobFailed                      the renter's own code or inputs ended the job (6)
    |-- NetworkFailed                  ours or the provider's side; a retry may help (7)
    |   |-- MarketUnreachable
    |   |-- MarketRefused
    |   |-- MarketMisbehaved
    |   |-- ChainFailed
    |   |-- RelayFailed
    |   |-- OrderDeclined
    |   |-- OrderTimedOut
    |   `-- ProviderFailed
    |-- VerificationFailed             a receipt or an artifact is not what it claims (8)
    `-- EmbeddedError                  `gridlease up` and the demo (10)
        |-- PortTaken
        |-- ToolMissing
        |-- FolderBroken
        |-- AlreadyUp
        |-- NotUp
        |-- ChildFailed
        `-- DemoFailed

The number in brackets is the exit code of the command line. The three families *rejected input*,
*job failed* and *network failed* never mix: the renter mends the first two, but not the third.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `gridlease`; scripts depend on them."""

    OK = 0
    UNEXPECTED = 1  # a bug of ours: please report it
    INPUT = 2  # arguments, job spec or file cannot be used as they are
    TERMS = 3  # the provider's terms break the renter's policy; no money moved
    NO_OFFER = 4  # no offer fits, or an offer failed its checks; no money moved
    WALLET = 5  # no wallet, wrong password or not enough money; no money moved
    JOB_FAILED = 6  # the renter's code, data or budget ended the job
    NETWORK = 7  # marketplace, chain or provider failed; a retry may help
    VERIFICATION = 8  # a receipt or an artifact is not what it claims to be
    NOT_FOUND = 9  # no such job, lease, artifact or file
    EMBEDDED = 10  # the embedded market or the demo failed
    INTERRUPTED = 130  # Ctrl-C


class GridleaseError(Exception):
    """Something went wrong."""

    exit_code: ExitCode = ExitCode.UNEXPECTED
    what_to_do: str = ""

    def __init__(self, message: str = "", *, what_to_do: str = "") -> None:
        text = message or (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(text)
        self.message = text
        if what_to_do:
            self.what_to_do = what_to_do


class InputRejected(GridleaseError):
    """The input cannot be used."""

    exit_code = ExitCode.INPUT
    what_to_do = "Correct the input and run the command again."


class SpecRejected(InputRejected):
    """The job spec cannot be used."""

    what_to_do = "Correct the named lines and run the command again."


class BudgetTooSmall(InputRejected):
    """The budget does not pay for the job at any offered price."""

    what_to_do = "Raise `budget`, lower `segments.max`, or wait for a cheaper offer."


class NotFound(InputRejected):
    """There is no such thing here."""

    exit_code = ExitCode.NOT_FOUND
    what_to_do = "`gridlease jobs` lists what is known here."


class WalletError(InputRejected):
    """The renter's account cannot be used."""

    exit_code = ExitCode.WALLET


class InsufficientFunds(WalletError):
    """The wallet does not hold enough money for this lease."""

    what_to_do = "Fund the address that `gridlease wallet address` prints; nothing has been spent."


class NoRelay(WalletError):
    """The wallet cannot pay the chain's fees, and no marketplace node carries its calls."""

    what_to_do = (
        "Nothing has been signed. Name another node with --market, allow a higher relay fee with"
        " --max-relay-fee, or send the chain's own coin to the wallet."
    )


class OfferRejected(GridleaseError):
    """The offer failed its checks."""

    exit_code = ExitCode.NO_OFFER
    what_to_do = "Choose another offer; nothing has been spent."


class NoOffer(GridleaseError):
    """No usable offer was found."""

    exit_code = ExitCode.NO_OFFER
    what_to_do = "Loosen the demands, or look at `gridlease offers`; nothing has been spent."


class TermsRejected(GridleaseError):
    """The provider's terms break the renter's policy."""

    exit_code = ExitCode.TERMS
    what_to_do = "Nothing has been spent. Choose another offer, or change the policy on purpose."

    def __init__(self, findings: Sequence[object]) -> None:
        super().__init__("terms refused: " + "; ".join(str(finding) for finding in findings))
        self.findings = tuple(findings)


class JobFailed(GridleaseError):
    """The job ended by its own doing."""

    exit_code = ExitCode.JOB_FAILED
    what_to_do = "Read `gridlease logs`; finished segments and the last checkpoint are kept."


class NetworkFailed(GridleaseError):
    """The marketplace, the chain or the provider failed."""

    exit_code = ExitCode.NETWORK
    what_to_do = "Try again; what has been paid so far stands in the receipt."


class MarketUnreachable(NetworkFailed):
    """No marketplace node answers."""

    what_to_do = "Check --market, or start one with `gridlease up`."


class MarketRefused(NetworkFailed):
    """The marketplace refused the request."""

    def __init__(self, status: int, code: str, message: str, what_to_do: str = "") -> None:
        super().__init__(f"{message} ({code}, HTTP {status})", what_to_do=what_to_do)
        self.status = status
        self.code = code


class MarketMisbehaved(NetworkFailed):
    """The marketplace sent something that it cannot have meant."""

    what_to_do = "Use another marketplace node; nothing it said was acted on."


class ChainFailed(NetworkFailed):
    """The chain did not do what was asked."""


class RelayFailed(NetworkFailed):
    """No marketplace node carried the call to the chain."""


class OrderDeclined(NetworkFailed):
    """The provider declined the order."""

    what_to_do = "Nothing has been spent. Mend what the provider names, or choose another offer."


class OrderTimedOut(NetworkFailed):
    """The provider did not answer in time."""

    what_to_do = "Nothing has been spent. Try again, or choose another offer."


class ProviderFailed(NetworkFailed):
    """The provider did not finish the job."""

    what_to_do = "Unfinished segments were refunded; run the job again on another offer."


class VerificationFailed(GridleaseError):
    """Something is not what it claims to be."""

    exit_code = ExitCode.VERIFICATION
    what_to_do = "Keep the receipt as evidence; do not use the artifacts."


class EmbeddedError(GridleaseError):
    """The embedded market failed."""

    exit_code = ExitCode.EMBEDDED


class PortTaken(EmbeddedError):
    """The port is in use."""

    what_to_do = "Stop the program that uses it, or choose another port."


class ToolMissing(EmbeddedError):
    """A needed program is not installed."""


class FolderBroken(EmbeddedError):
    """The data folder cannot be used."""


class AlreadyUp(EmbeddedError):
    """The embedded market is running already."""

    what_to_do = "Use it as it is, or stop it with `gridlease down`."


class NotUp(EmbeddedError):
    """The embedded market is not running."""

    what_to_do = "Start it with `gridlease up`."


class ChildFailed(EmbeddedError):
    """A process of the embedded market does not start."""


class DemoFailed(EmbeddedError):
    """A part of the demo failed."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(f"demo failed in {part}: {message}")
        self.part = part
