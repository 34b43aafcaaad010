// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Escrow of leases on rented machines, paid segment by segment
/// @notice Providers stake and list machines. A renter opens a lease with its whole price in
/// escrow, under terms that the provider's operator key signed. The provider commits finished
/// segments; each commit can be challenged for `window` seconds, then anybody may settle it.
/// Whatever is not earned goes back to the renter.
///
/// Money
/// - Every payment ends as a credit in a ledger. Only `withdraw` and `withdrawTo` send tokens out,
///   so an account that a token refuses to pay blocks nobody else.
/// - `escrow = pricePerSegment * (segments - paid)` for every live lease, at all times.
/// - Amounts are integers in the token's smallest unit. Shares (`feeBps`, `auditBps`) are basis
///   points of each payment, rounded down; the provider gets the rest.
///
/// Clock
/// - Times are block times in seconds. A dispute stops the clock of its lease: when it ends with an
///   honest ruling, the three times of the lease move forward by as long as it took, so no deadline
///   and no window runs while nobody may commit.
/// - Warning: a block producer can shift block time by some seconds. Making periods much longer
///   than that is the parties' own care; this contract only bounds them from above.
///
/// Assumptions on tokens
/// - The allow-list is fixed for ever when the contract is made. Tokens on it must not rebase. A
///   token that takes a fee on transfer is refused at every deposit, because the amount received is
///   checked.
/// - Warning: a token whose issuer can freeze this contract or take its balance can stop all
///   withdrawals in that token. Other tokens are not touched.
///
/// Trust
/// - The owner sets the fee for new leases, the two receivers of fees and audit shares, and may
///   pause `open` and `list`. It can reach no user's funds and cannot stop any way out.
/// - Warning: the arbiter of a lease, named in its terms, decides disputes alone. It can take a
///   provider's bond and unsettled pay for the renter (and a tenth of the bond for a challenger),
///   or let fraud pass. It can pay nothing to itself.
/// - Warning: a leaked operator key can sign terms that lock free stake as bond and name a friendly
///   arbiter. Free stake is what a leak can cost. `setOperator` and `delist` revoke the key.
interface ILeaseEscrow {
    // ------------------------------------------------------------------------------------ types

    /// @notice What both parties bind themselves to. Never stored: the EIP-712 digest is the
    /// lease's id, and each later call carries the terms again.
    struct Terms {
        /// Pays, and gets all refunds.
        address renter;
        /// Account that owns the listing, whose stake backs the bond and that is paid.
        address provider;
        /// Key that signed these terms; the listing's operator when the lease is opened.
        address operator;
        /// Token of price and bond.
        address token;
        /// Judge of disputes. Unused when `window` is zero.
        address arbiter;
        /// Listing under which the machine is rented.
        bytes32 listingId;
        /// keccak256 of the canonical machine document of that listing.
        bytes32 machineHash;
        /// Hash of everything that pins the job.
        bytes32 jobHash;
        /// Price of one segment, smallest unit of `token`.
        uint96 pricePerSegment;
        /// Stake of the provider that is locked while the lease lives and lost on fraud.
        uint96 bond;
        /// Most segments that can be paid.
        uint16 segments;
        /// Treasury's share of each payment; must equal the contract's fee when the lease is
        /// opened.
        uint16 feeBps;
        /// Audit pool's share of each payment.
        uint16 auditBps;
        /// Last segments that need a retrievable final checkpoint. Must be zero in this version.
        uint16 reserveSegments;
        /// Seconds during which a commit can be challenged. Zero makes the lease metered.
        uint32 window;
        /// Seconds after a stop (metered: also after `maxDuration`) in which the provider may still
        /// claim.
        uint32 commitGrace;
        /// Seconds the arbiter has to rule.
        uint32 disputeTimeout;
        /// Last block time at which the lease may be opened.
        uint40 openBy;
        /// Seconds after opening by which the first commit must come. Not used when metered.
        uint32 firstCommitWithin;
        /// Seconds after opening during which commits are accepted.
        uint32 maxDuration;
        /// Least seconds a segment can take: `n` segments can be committed after `n` times this.
        /// Zero: no limit.
        uint32 minSegmentSeconds;
        /// Lease that this one continues. Must be zero in this version.
        bytes32 predecessor;
        /// Free choice of the signer; makes equal terms different.
        uint64 nonce;
    }

    /// @notice State of a lease. None -> Active -> Closed, with Active <-> Disputed between; Closed
    /// is final.
    enum LeaseStatus {
        /// Never opened.
        None,
        /// Money is in escrow; segments are committed and settled.
        Active,
        /// A challenge is open; nothing is paid until it ends.
        Disputed,
        /// Escrow is empty and the bond free or slashed.
        Closed
    }

    /// @notice Why a lease was closed. The first reason wins.
    enum CloseCause {
        /// All segments were paid.
        Completed,
        /// The provider gave up what it had not committed.
        ProviderClosed,
        /// The renter had stopped the lease.
        RenterStopped,
        /// No commit came within `firstCommitWithin`.
        NeverCommitted,
        /// `maxDuration` was over.
        Expired,
        /// The arbiter ruled fraud.
        Fraud,
        /// The arbiter did not rule within `disputeTimeout`.
        DisputeTimedOut
    }

    /// @notice Progress of a lease, as read by `leaseOf`.
    struct Lease {
        LeaseStatus status;
        /// Segments paid for; they are final.
        uint16 paid;
        /// Segments committed; those above `paid` wait for their window.
        uint16 pending;
        /// Block time of opening, plus the length of each dispute that ended honest.
        uint40 openedAt;
        /// Time of the newest commit, on the same clock. Zero before the first.
        uint40 committedAt;
        /// Time of the renter's stop, on the same clock. Zero when not stopped.
        uint40 stoppedAt;
        /// Smallest units of the token still held for this lease.
        uint96 escrow;
        /// keccak256(abi.encode(previous root, upTo, traceRoot)) over all commits.
        bytes32 root;
    }

    /// @notice Open dispute of a lease, as read by `disputeOf`; empty when there is none.
    struct Dispute {
        /// Who challenged first; gets the reward when the ruling is fraud.
        address challenger;
        /// Block time of the first challenge.
        uint40 disputedAt;
        /// Lowest segment challenged so far.
        uint16 lowestSegment;
        /// Who pointed at that segment, when it was not the first challenger.
        address lowerChallenger;
    }

    /// @notice One machine of a provider, as read by `listingOf`.
    struct Listing {
        address provider;
        /// False for ever after `delist`.
        bool active;
        /// Token in which the machine is rented.
        address token;
        /// Hot key on the machine: signs terms and commits, withdraws nothing.
        address operator;
        /// Public upper limit, smallest unit per hour. Not enforced: terms carry the price that
        /// binds.
        uint96 maxPricePerHour;
        /// keccak256 of the machine document.
        bytes32 machineHash;
    }

    // ----------------------------------------------------------------------------------- events

    event Listed(
        bytes32 indexed listingId,
        address indexed provider,
        address operator,
        bytes32 hardwareClass,
        bytes32 machineHash,
        address token,
        uint96 maxPricePerHour,
        bytes document
    );
    event Repriced(bytes32 indexed listingId, uint96 maxPricePerHour);
    event Delisted(bytes32 indexed listingId);
    event OperatorSet(bytes32 indexed listingId, address operator);

    event Staked(address indexed provider, address indexed token, uint256 amount);
    /// @param unbonding All that is now unbonding, this amount included.
    event UnbondStarted(
        address indexed provider,
        address indexed token,
        uint256 amount,
        uint256 unbonding,
        uint40 claimableAt
    );
    /// @notice `amount` left the stake and was credited to the provider.
    event UnbondClaimed(address indexed provider, address indexed token, uint256 amount);

    event Opened(
        bytes32 indexed leaseId, address indexed renter, address indexed provider, Terms terms
    );
    event Committed(bytes32 indexed leaseId, uint16 upTo, bytes32 traceRoot, bytes32 root);
    /// @notice Three credits, to the provider, `treasury` and `auditPool`; `paidSegments` is the
    /// new total.
    event Settled(
        bytes32 indexed leaseId,
        uint16 paidSegments,
        uint256 toProvider,
        uint256 toTreasury,
        uint256 toAuditPool,
        address treasury,
        address auditPool
    );
    event Stopped(bytes32 indexed leaseId, uint40 stoppedAt);
    /// @notice `refund` was credited to the renter and the bond, as far as it was not slashed,
    /// freed.
    event Closed(bytes32 indexed leaseId, CloseCause cause, uint16 paidSegments, uint256 refund);

    event Challenged(
        bytes32 indexed leaseId, address indexed challenger, uint16 segment, uint256 bond
    );
    /// @notice A challenger's bond was credited back to it.
    event BondReturned(bytes32 indexed leaseId, address indexed challenger, uint256 amount);
    /// @notice On fraud the slash of `slashedToRenter + slashedToChallenger` left the provider's
    /// stake and was credited; when honest, `bondsToProvider` was credited to the provider.
    event Ruled(
        bytes32 indexed leaseId,
        address indexed challenger,
        bool fraud,
        uint16 goodSegments,
        uint256 slashedToRenter,
        uint256 slashedToChallenger,
        uint256 bondsToProvider
    );
    /// @notice The credits of the part that was split; the rest is the refund of `Closed`.
    event DisputeTimedOut(
        bytes32 indexed leaseId,
        uint16 lowestSegment,
        uint256 toProvider,
        uint256 toTreasury,
        uint256 toAuditPool,
        address treasury,
        address auditPool
    );

    /// @notice `amount` left the contract, out of the credit of `account`, to `to`.
    event Withdrawn(address indexed token, address indexed account, address to, uint256 amount);

    event TokenAllowed(address indexed token);
    event FeeSet(uint16 feeBps);
    event TreasurySet(address treasury);
    event AuditPoolSet(address auditPool);

    // ----------------------------------------------------------------------------------- errors

    error AddressMissing();
    error AmountMissing();
    error TokenNotAllowed(address token);
    /// The token moved another amount than asked (a fee on transfer, say).
    error ReceivedAmountDiffers(address token, uint256 expected, uint256 received);
    error CreditTooLow(address token, address account, uint256 amount, uint256 credit);
    error RecipientNotAllowed(address recipient);
    error FeeTooHigh(uint256 feeBps, uint256 maxFeeBps);
    error TooManyTokens(uint256 given, uint256 max);

    error DocumentSizeOutOfRange(uint256 size, uint256 maxSize);
    error ListingInactive(bytes32 listingId);
    error NotListingProvider(address caller, address provider);

    error FreeStakeTooLow(address provider, address token, uint256 needed, uint256 free);
    error UnbondTooHigh(uint256 amount, uint256 available);
    error NothingUnbonding(address provider, address token);
    error UnbondingNotOver(uint256 timestamp, uint256 claimableAt);
    /// What would stay cannot carry the bonds of live leases.
    error StakeLocked(uint256 locked, uint256 remaining);

    error NotRenter(address caller, address renter);
    error NotProviderOrOperator(address caller, address provider, address operator);
    error NotArbiter(address caller, address arbiter);
    error ArbiterMayNotChallenge(address arbiter);
    error ArbiterMissing();
    error ArbiterIsParty(address arbiter);
    error ProviderDiffersFromListing(address provider, address listed);
    error OperatorDiffersFromListing(address operator, address listed);
    error MachineHashDiffersFromListing(bytes32 machineHash, bytes32 listed);
    error TokenDiffersFromListing(address token, address listed);
    error FeeDiffers(uint16 feeBps, uint16 current);
    error AuditShareTooHigh(uint16 auditBps, uint16 maxAuditBps);
    error SegmentsMissing();
    error PriceMissing();
    error CostTooHigh(uint256 cost, uint256 maxCost);
    error ReserveNotSupported(uint16 reserveSegments);
    error PredecessorNotSupported(bytes32 predecessor);
    error AfterOpenBy(uint256 timestamp, uint256 openBy);
    error WindowTooLong(uint256 window, uint256 maxWindow);
    error CommitGraceTooLong(uint256 commitGrace, uint256 maxCommitGrace);
    error DisputeTimeoutOutOfRange(uint256 disputeTimeout, uint256 maxDisputeTimeout);
    error MaxDurationOutOfRange(uint256 maxDuration, uint256 maxMaxDuration);
    error SignatureInvalid(address signer, bytes32 digest);
    error LeaseExists(bytes32 leaseId);

    error LeaseNotActive(bytes32 leaseId, LeaseStatus status);
    error LeaseNotLive(bytes32 leaseId, LeaseStatus status);
    error LeaseNotDisputed(bytes32 leaseId, LeaseStatus status);
    error LeaseMetered(bytes32 leaseId);
    error LeaseNotMetered(bytes32 leaseId);
    error UpToOutOfRange(uint16 upTo, uint16 pending, uint16 segments);
    error AfterCommitDeadline(uint256 timestamp, uint256 deadline);
    error FinalCommitMade(bytes32 leaseId);
    error CommitTooFast(uint16 upTo, uint256 secondsNeeded, uint256 secondsElapsed);
    error NothingToSettle(bytes32 leaseId);
    /// Committed segments can still be challenged.
    error WindowOpen(uint256 timestamp, uint256 maturesAt);
    error VoucherOutOfRange(uint16 given, uint16 paid, uint16 segments);
    error AlreadyStopped(uint256 stoppedAt);
    error BeforeCloseTime(uint256 timestamp, uint256 closableAfter);

    error SegmentOutOfRange(uint16 segment, uint16 lowest, uint16 end);
    error AfterWindow(uint256 timestamp, uint256 maturesAt);
    error GoodSegmentsOutOfRange(uint16 goodSegments, uint16 paid, uint16 pending);
    error AfterDisputeTimeout(uint256 timestamp, uint256 deadline);
    error BeforeDisputeTimeout(uint256 timestamp, uint256 deadline);

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

    // ----------------------------------------------------------------------------------- stakes

    /// @notice Adds `amount` to the caller's stake in `token`, from its allowance.
    function stake(address token, uint256 amount) external;

    /// @notice Starts taking `amount` out of the caller's stake.
    /// @dev Unbonding stake carries no new lease, but still backs the live ones and is slashed with
    /// the rest. A second call adds to the first and starts the period again.
    function unbond(address token, uint256 amount) external;

    /// @notice Credits the caller with its unbonding stake when the period is over.
    /// @dev Refused while the stake that would stay is less than the bonds of live leases.
    function claimUnbond(address token) external;

    // ----------------------------------------------------------------------------------- leases

    /// @notice Opens a lease: takes `pricePerSegment * segments` from the caller's allowance and
    /// locks the bond.
    /// @dev Warning: the contract cannot know whether the terms are wise. Renters check arbiter,
    /// price, bond and periods before they sign the transaction; providers before their operator
    /// signs the terms.
    /// @param terms What was agreed; the caller is its renter.
    /// @param signature Operator's signature of the terms (65 bytes, or EIP-1271 for a contract).
    function open(Terms calldata terms, bytes calldata signature)
        external
        returns (bytes32 leaseId);

    /// @notice Claims that segments 0 to `upTo - 1` are finished; pays first what has matured.
    /// @dev Caller is the provider or the listing's current operator. A commit while earlier
    /// segments still wait joins them and starts their window again: do not commit more often than
    /// once a window. After a stop one more commit is accepted within `commitGrace`, for at most
    /// the segments that can have been finished by then plus the running one.
    /// @param upTo Number of finished segments, more than committed before.
    /// @param traceRoot Root over the trace of all these segments.
    function commit(Terms calldata terms, uint16 upTo, bytes32 traceRoot) external;

    /// @notice Pays the committed segments whose window is over; closes the lease when that was
    /// all.
    function settle(Terms calldata terms) external;

    /// @notice `settle` for many leases; those that cannot be settled now are skipped.
    /// @return settled How many were paid.
    function settleMany(Terms[] calldata terms) external returns (uint256 settled);

    /// @notice Pays a metered lease up to the number of segments that the renter signed for.
    /// @dev Vouchers are cumulative: only the newest matters. They stay valid until the lease is
    /// closed.
    /// @param segments Total number of segments to be paid since opening.
    /// @param signature Renter's signature of Voucher(leaseId, segments) (65 bytes, or EIP-1271).
    function settleVoucher(Terms calldata terms, uint16 segments, bytes calldata signature)
        external;

    /// @notice Renter ends the lease: no new work is paid, apart from what `commit` allows within
    /// `commitGrace`.
    function stop(Terms calldata terms) external;

    /// @notice Ends the lease: pays what has matured, refunds the rest, frees the bond.
    /// @dev The provider and its operator may call at any time, everybody else once the provider
    /// can commit no more: first commit missed, `maxDuration` over, or stopped and `commitGrace`
    /// over. Nobody can close over segments whose window is still open, so closing can neither lose
    /// nor launder them.
    function close(Terms calldata terms) external;

    // --------------------------------------------------------------------------------- disputes

    /// @notice Claims that a committed, unpaid segment is wrong; stops payment and the clock of the
    /// lease.
    /// @dev Anybody but the arbiter may, with a bond of `challengeBond(terms)` from its allowance.
    /// While a dispute is open, further challengers may point at a lower segment; of these only the
    /// lowest stays, an earlier one gets its bond back. An honest ruling gives the bonds to the
    /// provider, anything else returns them.
    /// @param segment Index from zero, at least `paid`, less than `pending`.
    function challenge(Terms calldata terms, uint16 segment) external;

    /// @notice Arbiter's verdict over all committed, unpaid segments.
    /// @dev Honest pays nothing by itself: the window goes on with the time it had left. Fraud
    /// closes the lease: good segments are paid, the bond is slashed, all else is refunded. Of the
    /// slash, the first challenger gets `challengeReward(terms)`, the renter the rest.
    /// @param goodSegments Index of the first wrong segment, when fraud; else all of `pending`.
    function rule(Terms calldata terms, bool fraud, uint16 goodSegments) external;

    /// @notice Ends a dispute whose arbiter did not rule in time.
    /// @dev Segments below the lowest challenged one are paid by half; everything else is refunded.
    /// The bond is freed and challengers get theirs back.
    /// Warning: with an arbiter that never rules, a challenge of the lowest unpaid segment refunds
    /// all that is unpaid. Providers accept only arbiters they can rely on.
    function timeoutDispute(Terms calldata terms) external;

    // ----------------------------------------------------------------------------------- ledger

    /// @notice Sends the whole credit of `account` to `account`. Anybody may call.
    function withdrawTo(address token, address account) external;

    /// @notice Sends `amount` of the caller's credit to `to`.
    function withdraw(address token, address to, uint256 amount) external;

    // ------------------------------------------------------------------------------------ owner

    /// @notice Sets the fee of leases opened from now on.
    function setFee(uint16 feeBps) external;

    /// @notice Sets who is credited with fees from now on.
    function setTreasury(address treasury) external;

    /// @notice Sets who is credited with audit shares from now on.
    function setAuditPool(address auditPool) external;

    /// @notice Stops `open` and `list`, and nothing else.
    function pause() external;

    /// @notice Allows `open` and `list` again.
    function unpause() external;

    // ------------------------------------------------------------------------------------ views

    /// @notice EIP-712 digest of the terms for this contract and chain: the lease's id.
    function leaseIdOf(Terms calldata terms) external view returns (bytes32);

    /// @notice EIP-712 digest that a renter signs as a voucher.
    function voucherDigest(bytes32 leaseId, uint16 segments) external view returns (bytes32);

    function leaseOf(bytes32 leaseId) external view returns (Lease memory);

    function disputeOf(bytes32 leaseId) external view returns (Dispute memory);

    function listingOf(bytes32 listingId) external view returns (Listing memory);

    /// @return total All stake, unbonding included.
    /// @return locked Sum of the bonds of live leases.
    /// @return unbonding Part of `total` that is on its way out.
    /// @return claimableAt Block time from which the unbonding part can be claimed.
    function stakeOf(address provider, address token)
        external
        view
        returns (uint256 total, uint256 locked, uint256 unbonding, uint40 claimableAt);

    /// @notice Stake of `provider` that a new lease can lock.
    function freeStakeOf(address provider, address token) external view returns (uint256);

    function creditOf(address token, address account) external view returns (uint256);

    /// @notice Bond that a challenger pays: the price of two segments, what it costs to judge one.
    function challengeBond(Terms calldata terms) external pure returns (uint256);

    /// @notice What the first challenger gets of the slash: twice the price of a segment, at most a
    /// tenth of the bond. A provider that challenges itself therefore still loses nine tenths.
    function challengeReward(Terms calldata terms) external pure returns (uint256);

    function allowedTokens() external view returns (address[] memory);

    function feeBps() external view returns (uint16);

    function treasury() external view returns (address);

    function auditPool() external view returns (address);

    /// @notice Seconds between `unbond` and `claimUnbond`.
    function unbondingPeriod() external view returns (uint32);
}
