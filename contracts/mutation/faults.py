"""Single faults that the test suites must notice, one at a time.

A fault is told by a piece of source that occurs exactly once below `contracts/src`, whatever the
file: moving code between files does not touch this list, changing it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Fault:
    """One change of one place, and the tests that should notice it first."""

    breaks: str
    """The rule that no longer holds."""

    text: str
    replacement: str
    tests: str
    """Glob of test files, for forge's `--match-path`. The rest runs only when these pass."""


_QUORUM: Final = "test/ArbiterQuorum.t.sol"
_REGISTRY: Final = "test/AuditorRegistry.t.sol"
_PAY: Final = "test/AuditorRegistryPay.t.sol"

REGISTRY_FAULTS: Final = (
    Fault(
        "a verdict needs its threshold",
        "if (number < threshold)",
        "if (number + 1 < threshold)",
        _QUORUM,
    ),
    Fault("no judge signs twice", "if (signer <= previous)", "if (signer < previous)", _QUORUM),
    Fault("only judges sign", "if (!isJudge[signer]) revert NotJudge(signer);", "", _QUORUM),
    Fault(
        "only bonded judges count",
        "if (!IAuditorRegistry(registry).isBonded(address(this), signer)) {",
        "if (false) {",
        _QUORUM,
    ),
    Fault("a renter does not judge its lease", "_refuse(signers, terms.renter);", "", _QUORUM),
    Fault("a provider does not judge its lease", "_refuse(signers, terms.provider);", "", _QUORUM),
    Fault("an operator does not judge its lease", "_refuse(signers, terms.operator);", "", _QUORUM),
    Fault("a challenger does not judge", "_refuse(signers, dispute.challenger);", "", _QUORUM),
    Fault(
        "who points lower does not judge", "_refuse(signers, dispute.lowerChallenger);", "", _QUORUM
    ),
    Fault("the accused does not judge", "_refuse(signers, auditor);", "", _QUORUM),
    Fault(
        "more than half of the judges",
        "uint256 least = number / 2 + 1;",
        "uint256 least = (number + 1) / 2;",
        _QUORUM,
    ),
    Fault(
        "judges are distinct", "if (judges_[i] <= previous)", "if (judges_[i] < previous)", _QUORUM
    ),
    Fault("a quorum has a least bond", "if (minBond_ == 0) revert MinBondMissing();", "", _QUORUM),
    Fault(
        "a verdict is for one dispute",
        "abi.encode(VERDICT_TYPEHASH, leaseId, root, disputedAt, fraud, segment)",
        "abi.encode(VERDICT_TYPEHASH, leaseId, root, uint40(0), fraud, segment)",
        _QUORUM,
    ),
    Fault(
        "only leases that exist are judged",
        "ILeaseEscrow(escrow).leaseOf(leaseId).status == IEscrowTypes.LeaseStatus.None",
        "false",
        _QUORUM,
    ),
    Fault(
        "audits are of segments of the lease",
        "if (segment >= terms.segments)",
        "if (false)",
        _QUORUM,
    ),
    Fault(
        "only the lease's own arbiter slashes",
        "if (terms.arbiter != address(this))",
        "if (terms.arbiter == address(0))",
        _QUORUM,
    ),
    Fault(
        "only quorums slash",
        "if (!isQuorum[msg.sender]) revert NotQuorum(msg.sender);",
        "",
        _REGISTRY,
    ),
    Fault(
        "a slash goes to the renter",
        "_credit(bondToken, renter, amount);",
        "_credit(bondToken, msg.sender, amount);",
        _REGISTRY,
    ),
    Fault(
        "a slash reaches what is unbonding", "unbonding -= uint128(amount) - first;", "", _REGISTRY
    ),
    Fault("a slash takes the bond first", "bonded -= first;", "", _REGISTRY),
    Fault(
        "a missing report costs a tenth",
        "fault == AuditFault.WrongReport ? minBond",
        "fault == AuditFault.NoReport ? minBond",
        _REGISTRY,
    ),
    Fault(
        "a bond is claimed after its period",
        "if (block.timestamp < auditor.claimableAt)",
        "if (block.timestamp + 1 < auditor.claimableAt)",
        _REGISTRY,
    ),
    Fault(
        "a bond is claimed once",
        "(auditor.unbonding, auditor.claimableAt) = (0, 0);",
        "auditor.claimableAt = 0;",
        _REGISTRY,
    ),
    Fault(
        "no more is unbonded than there is",
        "if (amount > bonded) revert UnbondTooHigh(amount, bonded);",
        "if (amount > bonded) bonded = amount.toUint128();",
        _REGISTRY,
    ),
    Fault(
        "enrolling needs a bond", "if (!isBonded(quorum, msg.sender)) {", "if (false) {", _REGISTRY
    ),
    Fault(
        "one class at a time",
        "_bondTrace[quorum][left][msg.sender].push(_blockNumber(), 0);",
        "",
        _REGISTRY,
    ),
    Fault(
        "each account is listed once",
        "if (_bondTrace[quorum][hardwareClass][msg.sender].length() == 0) {",
        "if (true) {",
        _REGISTRY,
    ),
    Fault(
        "the record is of past blocks",
        "if (blockNumber >= block.number)",
        "if (blockNumber > block.number)",
        _REGISTRY,
    ),
    Fault("who has too low a bond is not drawn", "if (bonded < least) continue;", "", _REGISTRY),
    Fault(
        "the least bond is enough",
        ".bonded >= IArbiterQuorum(quorum).minBond()",
        ".bonded > IArbiterQuorum(quorum).minBond()",
        _REGISTRY,
    ),
    Fault("only the distributor posts", "if (msg.sender != distributor)", "if (false)", _PAY),
    Fault(
        "no total exceeds what came in",
        "|| total > pay.received",
        "|| total > pay.received + 1",
        _PAY,
    ),
    Fault("totals do not shrink", "if (total < pay.total ||", "if (", _PAY),
    Fault(
        "a root waits its delay",
        "(block.timestamp + payDelay).toUint40()",
        "(block.timestamp).toUint40()",
        _PAY,
    ),
    Fault("pay is claimed once", "_claimed[token][account] = cumulative;", "", _PAY),
    Fault("claims stay below the total", "if (amount > left)", "if (false)", _PAY),
    Fault("claims are counted", "pay.claimed += amount;", "", _PAY),
    Fault(
        "a claim is in the root",
        "if (!MerkleProof.verifyCalldata(proof, pay.root, leaf)) {",
        "if (false) {",
        _PAY,
    ),
    Fault(
        "a rejected root is gone",
        "emit PayRootRejected(token, root);",
        "pay.nextRoot = root;",
        _PAY,
    ),
    Fault("pay is taken in once", "_owed[token] = balance;", "", _PAY),
)

_COMMIT: Final = "test/Commit.t.sol"
_RULE: Final = "test/Rule.t.sol"
_RULE_BOUNDS: Final = "test/RuleBounds.t.sol"
_CLOSE: Final = "test/StopAndClose.t.sol"
_TIMEOUT: Final = "test/TimeoutDispute.t.sol"
_CHALLENGE: Final = "test/Challenge.t.sol"
_STAKES: Final = "test/Stakes.t.sol"
_OPEN: Final = "test/Open.t.sol"
_SETTLE: Final = "test/Settle.t.sol"
_LISTINGS: Final = "test/Listings.t.sol"

ESCROW_FAULTS: Final = (
    Fault(
        "a challenger is not the arbiter",
        "if (challenger == terms.arbiter)",
        "if (false)",
        _CHALLENGE,
    ),
    Fault(
        "only the arbiter rules",
        "terms.arbiter) revert NotArbiter(msg.sender, terms.arbiter);\n        _checkRulingTime",
        "address(0)) revert NotArbiter(msg.sender, terms.arbiter);\n        _checkRulingTime",
        _RULE,
    ),
    Fault(
        "an honest ruling has seen the lowest challenge",
        "if (segment != dispute.lowestSegment)",
        "if (segment < dispute.lowestSegment)",
        _RULE_BOUNDS,
    ),
    Fault(
        "fraud covers a pending segment",
        "if (segment < lease.paid || segment >= lease.pending) {\n                revert",
        "if (segment < lease.paid || segment > lease.pending) {\n                revert",
        _RULE_BOUNDS,
    ),
    Fault(
        "paid segments are final",
        "if (segment < lease.paid || segment >= lease.pending) {\n                revert",
        "if (segment + 1 < lease.paid || segment >= lease.pending) {\n                revert",
        _RULE_BOUNDS,
    ),
    Fault("an honest ruling moves the opening", "lease.openedAt += frozen;", "", _RULE),
    Fault("an honest ruling moves the window", "lease.committedAt += frozen;", "", _RULE),
    Fault(
        "an honest ruling moves the stop",
        "if (lease.stoppedAt != 0) lease.stoppedAt += frozen;",
        "",
        _RULE,
    ),
    Fault("two challengers, two bonds", "            toAuditPool += half;", "", _RULE),
    Fault(
        "the challenger's reward leaves the renter's part",
        "terms.bond - toChallenger",
        "terms.bond",
        _RULE,
    ),
    Fault(
        "the reward is at most a tenth",
        "MAX_REWARD_DIVISOR = 10;",
        "MAX_REWARD_DIVISOR = 9;",
        _RULE,
    ),
    Fault(
        "the renter's half is not rounded away",
        "* (splitUpTo - lease.paid) / 2",
        "* (splitUpTo - lease.paid)",
        _TIMEOUT,
    ),
    Fault(
        "only what lies below is split",
        "(splitUpTo - lease.paid)",
        "(lease.pending - lease.paid)",
        _TIMEOUT,
    ),
    Fault("half leaves escrow", "lease.escrow -= uint88(half);", "", _TIMEOUT),
    Fault(
        "only a lower segment is pointed at",
        "segment >= dispute.lowestSegment",
        "segment > dispute.lowestSegment",
        _CHALLENGE,
    ),
    Fault(
        "a challenge names a pending segment",
        "|| segment >= lease.pending) {\n            revert",
        "|| segment > lease.pending) {\n            revert",
        _CHALLENGE,
    ),
    Fault(
        "a challenge names an unpaid segment",
        "\n        if (segment < lease.paid || segment >= lease.pending)",
        "\n        if (segment >= lease.pending)",
        _CHALLENGE,
    ),
    Fault(
        "a replaced challenger gets its bond back",
        "if (replaced != address(0))",
        "if (false)",
        _CHALLENGE,
    ),
    Fault(
        "more segments than before",
        "if (upTo <= lease.pending ||",
        "if (upTo < lease.pending ||",
        _COMMIT,
    ),
    Fault(
        "not more than were agreed",
        "|| upTo > terms.segments)",
        "|| upTo > terms.segments + 1)",
        _COMMIT,
    ),
    Fault(
        "one commit after a stop",
        "if (deadline == 0) revert FinalCommitMade(leaseId);",
        "",
        _COMMIT,
    ),
    Fault(
        "segments take their time", "if (needed > elapsed)", "if (needed > elapsed + 1)", _COMMIT
    ),
    Fault(
        "the running segment counts after a stop",
        "- lease.openedAt + terms.minSegmentSeconds",
        "- lease.openedAt",
        _COMMIT,
    ),
    Fault(
        "a final commit is told from one before the stop",
        "if (lease.stoppedAt == block.timestamp) ++lease.committedAt;",
        "",
        _COMMIT,
    ),
    Fault(
        "the root chains all commits",
        "abi.encode(_roots[leaseId], upTo, traceRoot)",
        "abi.encode(bytes32(0), upTo, traceRoot)",
        _COMMIT,
    ),
    Fault(
        "a window is waited for",
        "uint256(lease.committedAt) + terms.window",
        "uint256(lease.committedAt) + terms.window - 1",
        _SETTLE,
    ),
    Fault("what is paid leaves escrow", "lease.escrow -= uint88(amount);", "", _SETTLE),
    Fault("a closed lease holds nothing", "lease.escrow = 0;", "", _CLOSE),
    Fault(
        "one stop", "if (lease.stoppedAt != 0) revert AlreadyStopped(lease.stoppedAt);", "", _CLOSE
    ),
    Fault(
        "a stop does not revive a lease",
        "if (time > deadline) revert AfterCommitDeadline(time, deadline);",
        "",
        _CLOSE,
    ),
    Fault(
        "grace after a stop",
        "uint256(lease.stoppedAt) + terms.commitGrace",
        "uint256(lease.stoppedAt)",
        _CLOSE,
    ),
    Fault(
        "nobody closes early",
        "block.timestamp > closableAfter ||",
        "block.timestamp >= closableAfter ||",
        _CLOSE,
    ),
    Fault(
        "terms are opened in time",
        "if (block.timestamp > terms.openBy)",
        "if (block.timestamp > terms.openBy + 1)",
        _OPEN,
    ),
    Fault("the arbiter is no party", "if (arbiter == terms.renter ||", "if (", _OPEN),
    Fault("prices fit their slot", "if (cost > type(uint88).max)", "if (false)", _OPEN),
    Fault("bonds are of free stake", "if (bond > free)", "if (false)", _OPEN),
    Fault(
        "a stake waits its period",
        "if (block.timestamp < claims.claimableAt)",
        "if (false)",
        _STAKES,
    ),
    Fault(
        "live leases keep their bonds",
        "uint256 available = _freeStake(msg.sender, token, held);",
        "uint256 available = held.total - _claims[msg.sender][token].unbonding;",
        _STAKES,
    ),
    Fault(
        "a slash reaches unbonding stake",
        "if (claims.unbonding > left) claims.unbonding = left;",
        "",
        "test/RuleLate.t.sol",
    ),
    Fault(
        "only a listing's provider changes it",
        "if (msg.sender != listing.provider)",
        "if (false)",
        _LISTINGS,
    ),
    Fault(
        "documents are bounded",
        "document.length > MAX_DOCUMENT_BYTES",
        "document.length > MAX_DOCUMENT_BYTES + 1",
        _LISTINGS,
    ),
)
