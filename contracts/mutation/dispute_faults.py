"""Faults of demands, attestations, rejected machines and late rulings, and of a quorum's part in
them.
"""

from __future__ import annotations

from typing import Final

from contracts.mutation.faults import Fault

_CHALLENGE: Final = "test/Challenge.t.sol"
_ATTEST: Final = "test/Unretrievable.t.sol"
_DEMAND: Final = "test/Demand.t.sol"
_REJECT: Final = "test/RejectMachine.t.sol"
_PAY_LATE: Final = "test/PayLate.t.sol"
_LATE: Final = "test/RuleLate.t.sol"
_RULE: Final = "test/Rule.t.sol"
_QUORUM: Final = "test/QuorumFindings.t.sol"
_REGISTRY: Final = "test/AuditorRegistry.t.sol"

DISPUTE_FAULTS: Final = (
    Fault(
        "the arbiter has half of its time for the lowest segment",
        "terms.disputeTimeout / 2;",
        "terms.disputeTimeout;",
        _CHALLENGE,
    ),
    Fault(
        "nothing is pointed at from the second half on",
        "if (block.timestamp >= deadline) revert AfterLowerDeadline",
        "if (block.timestamp > deadline) revert AfterLowerDeadline",
        _DEMAND,
    ),
    Fault(
        "only the arbiter attests",
        "terms.arbiter) revert NotArbiter(msg.sender, terms.arbiter);\n        Dispute memory",
        "address(0)) revert NotArbiter(msg.sender, terms.arbiter);\n        Dispute memory",
        _ATTEST,
    ),
    Fault("an attestation counts", "lease.pending = goodSegments;", "", _ATTEST),
    Fault("an attestation ends the commits", "lease.flags |= UNRETRIEVABLE;", "", _ATTEST),
    Fault(
        "nothing is committed after an attestation",
        "if (lease.flags & UNRETRIEVABLE != 0) revert LeaseUnretrievable(leaseId);",
        "",
        _ATTEST,
    ),
    Fault(
        "anybody closes after an attestation",
        "if (lease.flags & UNRETRIEVABLE != 0) return 0;",
        "",
        _ATTEST,
    ),
    Fault(
        "an attestation is the cause of the ending",
        "if (lease.flags & UNRETRIEVABLE != 0) return CloseCause.Unretrievable;",
        "",
        _ATTEST,
    ),
    Fault(
        "no reserve for what cannot be fetched",
        "if (isFinal && lease.flags & UNRETRIEVABLE == 0) return upTo;",
        "if (isFinal) return upTo;",
        _ATTEST,
    ),
    Fault(
        "an attestation keeps nothing that is challenged",
        "isDisputed ? dispute.lowestSegment + 1",
        "isDisputed ? dispute.lowestSegment + 2",
        _ATTEST,
    ),
    Fault(
        "an attestation lets the clock go on",
        "_resume(lease, dispute);\n        } else {",
        "lease.status = LeaseStatus.Active;\n        } else {",
        _ATTEST,
    ),
    Fault(
        "an attestation returns the bonds",
        "if (isDisputed) _returnBonds(leaseId, terms, dispute);",
        "if (isDisputed) delete _disputes[leaseId];",
        _ATTEST,
    ),
    Fault(
        "an attestation comes within the window",
        "        } else {\n            _checkWindow(terms, lease);\n        }",
        "        }",
        _ATTEST,
    ),
    Fault(
        "a demand is told from a challenge",
        "emit DataDemanded(leaseId, msg.sender, segment, bond);",
        "emit Challenged(leaseId, msg.sender, segment, bond);",
        _DEMAND,
    ),
    Fault(
        "a demand costs a bond",
        "emit DataDemanded(leaseId, msg.sender, segment, bond);\n"
        "        _pull(terms.token, msg.sender, bond);",
        "emit DataDemanded(leaseId, msg.sender, segment, bond);",
        _DEMAND,
    ),
    Fault(
        "half of a lost bond leaves the provider",
        "uint256 toProvider = dispute.isDemand ? 0 : half;",
        "uint256 toProvider = dispute.isDemand ? 0 : 2 * half;",
        _RULE,
    ),
    Fault(
        "half of a lost bond is the audit pool's",
        "_accrueAuditShare(terms.token, toAuditPool);",
        "",
        _RULE,
    ),
    Fault(
        "a demand that was answered pays no provider",
        "uint256 toProvider = dispute.isDemand ? 0 : half;",
        "uint256 toProvider = half;",
        _DEMAND,
    ),
    Fault(
        "a lower demand that was answered pays no provider",
        "if (!dispute.isLowerDemand) toProvider += half;",
        "toProvider += half;",
        _DEMAND,
    ),
    Fault(
        "a demander gets half of its bond back",
        "dispute.isDemand ? half : 0",
        "0",
        _DEMAND,
    ),
    Fault(
        "a lower demander gets half of its bond back",
        "dispute.isLowerDemand ? half : 0",
        "0",
        _DEMAND,
    ),
    Fault(
        "a lower challenge takes the place of a demand with its claim",
        "dispute.isLowerDemand = isDemand;",
        "if (isDemand) dispute.isLowerDemand = true;",
        _DEMAND,
    ),
    Fault(
        "work that was accepted is not rejected",
        "if (lease.committedAt != 0) revert WorkCommitted(leaseId);",
        "",
        _REJECT,
    ),
    Fault(
        "a metered lease has no arbiter",
        "msg.sender == terms.arbiter && terms.window != 0;",
        "msg.sender == terms.arbiter;",
        _REJECT,
    ),
    Fault("a rejection needs the operator", "if (!byArbiter) {", "if (false) {", _REJECT),
    Fault(
        "a replaced operator signs nothing",
        "address operator = _listings[terms.listingId].operator;\n            _checkSignature",
        "address operator = terms.operator;\n            _checkSignature",
        _REJECT,
    ),
    Fault(
        "a rejection has its cause",
        "_close(leaseId, terms, lease, CloseCause.AcceptanceFailed);",
        "_close(leaseId, terms, lease, CloseCause.ProviderClosed);",
        _REJECT,
    ),
    Fault(
        "a late ruling is of a closed lease",
        "if (lease.status != LeaseStatus.Closed) revert LeaseNotClosed(leaseId, lease.status);",
        "",
        _LATE,
    ),
    Fault(
        "no late ruling on a metered lease",
        "if (terms.window == 0) revert LeaseMetered(leaseId);\n        if (msg.sender",
        "if (msg.sender",
        _LATE,
    ),
    Fault(
        "only the arbiter rules late",
        "terms.arbiter) revert NotArbiter(msg.sender, terms.arbiter);\n        if (lease.flags",
        "address(0)) revert NotArbiter(msg.sender, terms.arbiter);\n        if (lease.flags",
        _LATE,
    ),
    Fault(
        "fraud is ruled once",
        "if (lease.flags & PROVEN != 0) revert FraudRuled(leaseId);",
        "",
        _LATE,
    ),
    Fault(
        "fraud in a dispute is ruled once",
        "lease.flags |= PROVEN;\n        _closeWithoutBond",
        "_closeWithoutBond",
        _LATE,
    ),
    Fault(
        "a late ruling is of a paid segment",
        "if (goodSegments >= lease.paid)",
        "if (goodSegments > lease.paid)",
        _LATE,
    ),
    Fault(
        "a late ruling comes in time",
        "if (block.timestamp >= deadline) revert AfterLateDeadline",
        "if (block.timestamp > deadline) revert AfterLateDeadline",
        _LATE,
    ),
    Fault(
        "a late ruling leaves live bonds alone",
        "uint88 left = held.total - held.locked;",
        "uint88 left = held.total;",
        _LATE,
    ),
    Fault(
        "a late slash is the renter's",
        "_credit(terms.token, terms.renter, taken);",
        "_credit(terms.token, msg.sender, taken);",
        _LATE,
    ),
    Fault(
        "one stake is owed once",
        "return Math.min(terms.bond, held.total - Math.min(held.locked, owed));",
        "return terms.bond;",
        _PAY_LATE,
    ),
    Fault(
        "what is owed already is what live leases keep",
        "held.total - Math.min(held.locked, owed)",
        "held.total - held.locked",
        _PAY_LATE,
    ),
    Fault("what a late ruling does not find stays owed", "_owed[leaseId] = owed;", "", _PAY_LATE),
    Fault("what is owed is looked for", "if (owed != 0) held.isClaimed = true;", "", _PAY_LATE),
    Fault(
        "a provider owes the sum over its leases",
        "claims.owed = uint128(claims.owed + owed - _owed[leaseId]);",
        "claims.owed = uint128(owed);",
        _PAY_LATE,
    ),
    Fault(
        "what is owed is not free",
        "return free > claims.owed ? free - claims.owed : 0;",
        "return free;",
        _PAY_LATE,
    ),
    Fault(
        "nobody leaves while something is owed",
        "if (claims.owed != 0) revert LateDebt(msg.sender, token, claims.owed);",
        "",
        _PAY_LATE,
    ),
    Fault(
        "a payment of nothing is refused",
        "if (slashed == 0) revert NothingToPay(leaseId, owed);",
        "",
        _PAY_LATE,
    ),
    Fault(
        "a provider cannot name a judge out of its case",
        "pure\n    {\n        _refuse(signers, terms.renter);",
        "view\n    {\n        _refuse(signers, terms.renter);\n"
        "        _refuse(signers, ILeaseEscrow(escrow).listingOf(terms.listingId).operator);",
        _QUORUM,
    ),
    Fault(
        "a challenger does not judge retrieval",
        "_refuseChallengers(signers, ILeaseEscrow(escrow).disputeOf(leaseId));",
        "",
        _QUORUM,
    ),
    Fault(
        "a retrieval is of one commit",
        "abi.encode(RETRIEVAL_TYPEHASH, leaseId, root, committedAt, goodSegments)",
        "abi.encode(RETRIEVAL_TYPEHASH, leaseId, root, uint40(0), goodSegments)",
        _QUORUM,
    ),
    Fault(
        "parties do not judge a machine",
        "_refuseParties(signers, terms);\n        emit RejectionGiven",
        "emit RejectionGiven",
        _QUORUM,
    ),
    Fault(
        "parties do not judge late",
        "_refuseParties(signers, terms);\n        emit VerdictGiven(leaseId, root, 0,",
        "emit VerdictGiven(leaseId, root, 0,",
        _QUORUM,
    ),
    Fault(
        "parties do not judge retrieval",
        "_refuseParties(signers, terms);\n        _refuseChallengers(signers, ILeaseEscrow",
        "_refuseChallengers(signers, ILeaseEscrow",
        _QUORUM,
    ),
    Fault("one slash for a fault", "_slashed[slashId] = most;", "", _REGISTRY),
    Fault(
        "silence and lie together cost one lie",
        "Math.min(most - before,",
        "Math.min(most,",
        _REGISTRY,
    ),
    Fault(
        "silence does not cover a lie",
        "if (before != 0 && before >= most)",
        "if (before != 0)",
        _REGISTRY,
    ),
)
