"""Typed bindings of a quorum: the arbiter of the leases that name its address.

Signatures are of its judges, ascending by signer, over the digest of the same name
(`client_sdk.protocol.rulings`). `IArbiterQuorum.sol` says what each function means.
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.bindings import Call, Contract, View
from contracts.events import TermsTuple
from contracts.registry import AuditFault


class ArbiterQuorum(Contract):
    """One set of judges: the arbiter of the leases that name its address."""

    _artifact_name = "ArbiterQuorum"

    def rule(
        self, terms: TermsTuple, fraud: bool, segment: int, signatures: Sequence[bytes]
    ) -> Call:
        """`signatures` ascending by signer."""
        return self._call("rule", terms, fraud, segment, list(signatures))

    def rule_late(self, terms: TermsTuple, good_segments: int, signatures: Sequence[bytes]) -> Call:
        """Fraud on a closed lease; signed as a verdict with a `disputed_at` of zero."""
        return self._call("ruleLate", terms, good_segments, list(signatures))

    def attest_unretrievable(
        self, terms: TermsTuple, good_segments: int, signatures: Sequence[bytes]
    ) -> Call:
        return self._call("attestUnretrievable", terms, good_segments, list(signatures))

    def reject_machine(self, terms: TermsTuple, report: bytes, signatures: Sequence[bytes]) -> Call:
        return self._call("rejectMachine", terms, report, list(signatures))

    def slash_auditor(
        self,
        terms: TermsTuple,
        segment: int,
        auditor: str,
        fault: AuditFault,
        signatures: Sequence[bytes],
    ) -> Call:
        """`signatures` ascending by signer."""
        arguments = (terms, segment, auditor, int(fault), list(signatures))
        return self._call("slashAuditor", *arguments)

    def verdict_digest(
        self, lease_id: bytes, root: bytes, disputed_at: int, fraud: bool, segment: int
    ) -> View[bytes]:
        arguments = (lease_id, root, disputed_at, fraud, segment)
        return self._view("verdictDigest", *arguments, build=bytes)

    def retrieval_digest(
        self, lease_id: bytes, root: bytes, committed_at: int, good_segments: int
    ) -> View[bytes]:
        arguments = (lease_id, root, committed_at, good_segments)
        return self._view("retrievalDigest", *arguments, build=bytes)

    def rejection_digest(self, lease_id: bytes, report: bytes) -> View[bytes]:
        return self._view("rejectionDigest", lease_id, report, build=bytes)

    def audit_verdict_digest(
        self, lease_id: bytes, segment: int, auditor: str, fault: AuditFault
    ) -> View[bytes]:
        arguments = (lease_id, segment, auditor, int(fault))
        return self._view("auditVerdictDigest", *arguments, build=bytes)

    def judges(self) -> View[tuple[str, ...]]:
        return self._view("judges", build=tuple)

    def is_judge(self, account: str) -> View[bool]:
        return self._view("isJudge", account, build=bool)

    def threshold(self) -> View[int]:
        return self._view("threshold", build=int)

    def min_bond(self) -> View[int]:
        return self._view("minBond", build=int)

    def registry(self) -> View[str]:
        return self._view("registry", build=str)

    def escrow(self) -> View[str]:
        return self._view("escrow", build=str)
