// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "./IEscrowTypes.sol";

/// @notice What the escrow leaves to its extension: listings, stakes, disputes, the owner's
/// settings, and most views.
interface IEscrowExtension is IEscrowTypes {
    // --------------------------------------------------------------------------------- listings

    /// @notice Puts a machine on the market; the caller is its provider.
    /// @param hardwareClass Class under which its results can be compared bit for bit.
    /// @param token Token of the allow-list in which it is rented.
    /// @param maxPricePerHour Public upper limit, smallest unit per hour.
    /// @param operator Hot key that will sign terms and commit.
    /// @param document Canonical machine document, 1 to 1024 bytes; only its hash is stored.
    /// @return listingId Fresh id, never used again.
    function list(
        bytes32 hardwareClass,
        address token,
        uint96 maxPricePerHour,
        address operator,
        bytes calldata document
    ) external returns (bytes32 listingId);

    /// @notice Changes the public upper limit. Terms already signed keep their price.
    function reprice(bytes32 listingId, uint96 maxPricePerHour) external;

    /// @notice Ends a listing for ever: no terms signed under it can be opened any more. Live
    /// leases go on.
    function delist(bytes32 listingId) external;

    /// @notice Replaces the operator key at once, for new terms and for the commits of live leases.
    function setOperator(bytes32 listingId, address operator) external;

    /// @notice Limits how many leases of the listing may live at a time; zero for no limit.
    /// @dev Leases opened without a limit are never counted.
    function setCapacity(bytes32 listingId, uint8 capacity) external;

    /// @notice Voids signed terms, and offers, by their nonces: those of `256 * word + i` for each
    /// bit `i` of `mask`. For ever; leases that are open go on.
    function cancelNonces(bytes32 listingId, uint256 word, uint256 mask) external;

    // ----------------------------------------------------------------------------------- stakes

    /// @notice Adds `amount` to the caller's stake in `token`, from its allowance (the chain's own
    /// coin: with the call).
    function stake(address token, uint256 amount) external payable;

    /// @notice Starts taking `amount` out of the caller's free stake.
    /// @dev What backs a live lease cannot be on its way out: so it is still there, for
    /// `unbondingPeriod`, when the lease has ended. Unbonding stake carries no lease, but a late
    /// ruling reaches it. A second call adds to the first and starts the period again.
    function unbond(address token, uint256 amount) external;

    /// @notice Credits the caller with its unbonding stake when the period is over.
    /// @dev Refused while late rulings have something to take: see `payLate`.
    function claimUnbond(address token) external;

    // --------------------------------------------------------------------------------- disputes

    /// @notice Claims that a committed, unpaid segment is wrong; stops payment and the clock of the
    /// lease.
    /// @dev Anybody but the arbiter may, with a bond of `challengeBond(terms)` from its allowance.
    /// In the first half of the arbiter's time, further challengers may point at a lower segment;
    /// of these only the lowest stays, an earlier one gets its bond back. The arbiter has the other
    /// half for it: were a segment added in the last second, no arbiter could rule in time. An
    /// honest ruling gives half of the bond to the provider and half to the audit pool, so that a
    /// provider that freezes a refund by challenging itself pays for it; anything else returns it.
    /// @param segment Index from zero, at least `paid`, less than `pending`.
    function challenge(Terms calldata terms, uint16 segment) external payable;

    /// @notice `challenge` with a bond out of the challenger's allowance, or out of its credit and
    /// then its allowance, by the challenger or, with its consent, by anybody.
    /// @param expiresAt Block time from which the consent is void.
    /// @param nonce Makes equal consents different: each is good for one challenge.
    /// @param consent Challenger's signature of
    /// Challenge(leaseId, root, segment, source, expiresAt, nonce), `root` being the lease's now: a
    /// consent is for one commit. Not looked at, as the two before, when the caller is the
    /// challenger.
    function challengeFrom(
        Terms calldata terms,
        uint16 segment,
        Source source,
        address challenger,
        uint40 expiresAt,
        uint64 nonce,
        bytes calldata consent
    ) external;

    /// @notice Claims that the checkpoint of a committed, unpaid segment cannot be fetched: a
    /// dispute like that of `challenge`, with the same bond, the same freeze and the same ends.
    /// @dev The arbiter answers with an honest ruling when it can fetch it, with
    /// `attestUnretrievable` when it cannot, with fraud when it fetched it and found it wrong.
    /// Without an answer `timeoutDispute` ends it. An honest ruling gives half of the bond back and
    /// half to the audit pool: a demand costs something, and a provider that withholds until it is
    /// asked by the arbiter has nothing of it.
    /// @param segment Index from zero, at least `paid`, less than `pending`; while disputed, less
    /// than the lowest so far.
    function demandData(Terms calldata terms, uint16 segment) external payable;

    /// @notice Arbiter's verdict over all committed, unpaid segments.
    /// @dev Honest pays nothing by itself: the window goes on with the time it had left; who takes
    /// the bonds is said at `challenge` and `demandData`. Fraud
    /// closes the lease: good segments are paid, the bond is slashed, all else is refunded. Of the
    /// slash, the first challenger gets `challengeReward(terms)`, the renter the rest.
    /// @param segment Index of the first wrong one, when fraud; else of the lowest disputed one, so
    /// that no challenge is lost to an arbiter that has not seen it.
    function rule(Terms calldata terms, bool fraud, uint16 segment) external;

    /// @notice Arbiter's word that checkpoints of committed segments cannot be fetched: these
    /// segments are not paid, nothing more can be committed, and nobody is slashed for it.
    /// @dev Were another commit taken, a provider could withhold checkpoints until the draw misses
    /// its fakes. Segments below `goodSegments` keep their window and are paid, without the
    /// reserve; once none waits, anybody may close. On an active lease: within the window of the
    /// commit. On a disputed one: until the arbiter's time is over; the dispute ends, challengers
    /// get their bonds back, and the clock goes on with the time it had left.
    /// Warning: like a ruling of fraud, it is the arbiter's word alone.
    /// @param goodSegments Index of the first segment whose checkpoint is missing; at least `paid`,
    /// less than `pending`, and in a dispute at most the lowest challenged one.
    function attestUnretrievable(Terms calldata terms, uint16 goodSegments) external;

    /// @notice Closes a lease whose machine failed its probe: all is refunded, the bond is free.
    /// @dev While nothing was ever committed or, by voucher, paid. By the arbiter, as an auditor's
    /// repeat of the probe, unless the lease is metered, where nobody checked who the arbiter is;
    /// or by anybody with the operator's signature. Everybody else who does not want the machine
    /// stops the lease.
    /// @param report Hash of the report on the probe.
    /// @param signature Signature of FailedProbe(leaseId, report) by the listing's current operator
    /// (65 bytes, or EIP-1271); not looked at when the caller is the arbiter.
    function rejectMachine(Terms calldata terms, bytes32 report, bytes calldata signature) external;

    /// @notice Arbiter's verdict of fraud on a lease that has closed: slashes as much as the bond
    /// was, for the renter, out of stake that backs no live lease, free or unbonding. What was paid
    /// stays paid.
    /// @dev Once for a lease, not after a ruling of fraud, and before `committedAt + window +
    /// unbondingPeriod`. Stake that backed the lease cannot have left until `unbondingPeriod` after
    /// its end. The bonds of live leases are not touched: what they hide stays owed, and
    /// `payLate` takes it when they are free. A provider never owes more than it had staked.
    /// Warning: a provider that is renter and arbiter of another lease can slash its stake to
    /// itself first, or owe it to itself. A late ruling is the second line, the window of the
    /// commit the first.
    /// @param goodSegments Index of the first wrong segment, less than `paid`.
    function ruleLate(Terms calldata terms, uint16 goodSegments) external;

    /// @notice Pays the renter of a lease what a late ruling left owed, as far as the provider has
    /// stake that backs no live lease, free or unbonding. Anybody may call, again and again.
    /// @dev What is owed is not free: no new lease can lock it, and nothing is claimed from
    /// unbonding until it is paid.
    function payLate(Terms calldata terms) external;

    /// @notice Ends a dispute whose arbiter did not rule in time.
    /// @dev Segments below the lowest challenged one are paid by half; everything else is refunded.
    /// The bond is freed and challengers get theirs back.
    /// Warning: with an arbiter that never rules, a challenge of the lowest unpaid segment refunds
    /// all that is unpaid. Providers accept only arbiters they can rely on.
    function timeoutDispute(Terms calldata terms) external;

    // ----------------------------------------------------------------------------------- orders

    /// @notice Voids an order for good; leases opened under it go on. By its renter, or by anybody
    /// with the renter's signature of Revocation(order).
    function revokeOrder(Order calldata order, bytes calldata signature) external;

    // ----------------------------------------------------------------------------------- shares

    /// @notice Credits what has accrued in `token`: fees to the treasury, audit shares to the audit
    /// pool. Anybody may call.
    function collect(address token) external;

    // ------------------------------------------------------------------------------------ owner

    /// @notice Sets the fee of leases opened from now on.
    function setFee(uint16 feeBps) external;

    /// @notice Sets who is credited with fees from now on. What has accrued so far, in any token,
    /// is credited to the old receivers of fees and audit shares first.
    function setTreasury(address treasury) external;

    /// @notice Sets who is credited with audit shares from now on. What has accrued so far, in any
    /// token, is credited to the old receivers of fees and audit shares first.
    function setAuditPool(address auditPool) external;

    /// @notice Stops `list` and every way to open a lease, and nothing else.
    function pause() external;

    /// @notice Allows them again.
    function unpause() external;

    // ------------------------------------------------------------------------------------ views

    /// @notice EIP-712 digest of the terms for this contract and chain: the lease's id.
    function leaseIdOf(Terms calldata terms) external view returns (bytes32);

    /// @notice EIP-712 digest that a renter signs as a voucher.
    function voucherDigest(bytes32 leaseId, uint16 segments) external view returns (bytes32);

    /// @notice EIP-712 digest that a renter signs as an order.
    function orderDigest(Order calldata order) external view returns (bytes32);

    /// @notice EIP-712 digest that a renter signs to revoke the order with this digest.
    function revocationDigest(bytes32 order) external view returns (bytes32);

    /// @notice EIP-712 digest that a renter signs for `openFrom`.
    function openingDigest(bytes32 leaseId, Source source, uint96 relayFee)
        external
        view
        returns (bytes32);

    /// @notice EIP-712 digest that a renter signs for `stopFor`.
    function stopDigest(bytes32 leaseId) external view returns (bytes32);

    /// @notice EIP-712 digest that a challenger signs for `challengeFrom`.
    function challengeDigest(
        bytes32 leaseId,
        bytes32 root,
        uint16 segment,
        Source source,
        uint40 expiresAt,
        uint64 nonce
    ) external view returns (bytes32);

    /// @notice EIP-712 digest that an operator signs for `rejectMachine`.
    function failedProbeDigest(bytes32 leaseId, bytes32 report) external view returns (bytes32);

    /// @return spent Cost of the leases opened under the order, less what came back.
    /// @return segments Their segments, less what came back.
    /// @return isRevoked Whether no more leases can be opened under it.
    function orderUseOf(bytes32 order)
        external
        view
        returns (uint256 spent, uint256 segments, bool isRevoked);

    /// @notice Whether terms of the listing with this nonce were cancelled.
    function isCancelled(bytes32 listingId, uint64 nonce) external view returns (bool);

    function leaseOf(bytes32 leaseId) external view returns (Lease memory);

    function disputeOf(bytes32 leaseId) external view returns (Dispute memory);

    function listingOf(bytes32 listingId) external view returns (Listing memory);

    /// @return total All stake, unbonding included.
    /// @return locked Sum of the bonds of live leases.
    /// @return unbonding Part of `total` that is on its way out.
    /// @return claimableAt Block time from which the unbonding part can be claimed.
    /// @return owed What late rulings have still to take; can be more than `total`.
    function stakeOf(address provider, address token)
        external
        view
        returns (
            uint256 total,
            uint256 locked,
            uint256 unbonding,
            uint40 claimableAt,
            uint256 owed
        );

    /// @notice Stake of `provider` that a new lease can lock, and that can start to unbond.
    function freeStakeOf(address provider, address token) external view returns (uint256);

    /// @notice What the late ruling on a lease has still to take for its renter.
    function owedOf(bytes32 leaseId) external view returns (uint256);

    function creditOf(address token, address account) external view returns (uint256);

    /// @notice What a provider has done in leases of `token`; recomputable from the events.
    /// @dev Warning: a provider can rent from itself. What that costs it is the fee and the audit
    /// share of what it then proves.
    /// @return proved Sum of all payments for segments that could be challenged: shares included,
    /// vouchers and the halves that `timeoutDispute` pays not.
    /// @return completed Leases with a bond of which every segment was paid.
    /// @return lost Leases with a bond of which nothing came, in time or before the provider gave
    /// up, whose machine failed, or whose checkpoints could not be fetched.
    /// @return slashed Leases with a bond in which fraud was ruled, late or not. The three counters
    /// stop at 2**24 - 1.
    function reputationOf(address provider, address token)
        external
        view
        returns (uint256 proved, uint256 completed, uint256 lost, uint256 slashed);

    /// @notice Bond that a challenger pays: the price of two segments, what it costs to judge one.
    function challengeBond(Terms calldata terms) external pure returns (uint256);

    /// @notice What the first challenger gets of the slash: twice the price of a segment, at most a
    /// tenth of the bond. A provider that challenges itself therefore still loses nine tenths.
    function challengeReward(Terms calldata terms) external pure returns (uint256);

    /// @notice Shares of payments in `token` that `collect` has still to move.
    /// @return fees Credited to the treasury by the next `collect`.
    /// @return auditShares Credited to the audit pool by the next `collect`.
    function accruedOf(address token) external view returns (uint256 fees, uint256 auditShares);

    function allowedTokens() external view returns (address[] memory);

    function feeBps() external view returns (uint16);

    function treasury() external view returns (address);

    function auditPool() external view returns (address);

    /// @notice Seconds between `unbond` and `claimUnbond`; more than 0, at most 180 days.
    function unbondingPeriod() external view returns (uint32);
}
