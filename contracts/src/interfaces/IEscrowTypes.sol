// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Structs, events and errors of the escrow; the rules are in ILeaseEscrow.
interface IEscrowTypes {
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
        /// Last segments, which are paid only for a final checkpoint: with a commit of all
        /// segments, or when the renter has stopped the lease. Zero when metered.
        uint16 reserveSegments;
        /// Seconds during which a commit can be challenged. Zero makes the lease metered.
        uint32 window;
        /// Seconds after a stop (metered: also after `maxDuration`) in which the provider may still
        /// claim. Above zero when metered.
        uint32 commitGrace;
        /// Seconds the arbiter has to rule; in the first half of them, challengers may still point
        /// at a lower segment.
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
        /// Lease that this one continues; it must exist. Zero for none.
        bytes32 predecessor;
        /// Free choice of the signer; makes equal terms different.
        uint64 nonce;
    }

    /// @notice A renter's demand. With its signature anybody may open leases for the renter, within
    /// its caps (`openFor`). Amounts are in the token's smallest unit.
    struct Order {
        address renter;
        address token;
        /// The only arbiter that the renter accepts.
        address arbiter;
        bytes32 jobHash;
        /// Listing that must take it; zero for any.
        bytes32 listingId;
        /// Digest of the offer that it answers; not checked here.
        bytes32 offer;
        /// Class of the listing; zero for any.
        bytes32 hardwareClass;
        /// Not checked here: the contract does not know how long a segment takes.
        uint96 maxPricePerHour;
        /// Most for one segment. Zero: nobody may open leases for the renter.
        uint96 maxPricePerSegment;
        /// Most that all leases of the order may cost together.
        uint96 budget;
        /// Least bond of each lease.
        uint96 minBond;
        /// Least bond of each lease, in basis points of its cost. Both hold.
        uint16 minBondBps;
        /// Least `auditBps` of a lease.
        uint16 minAuditBps;
        /// Most segments of all leases of the order together.
        uint16 segments;
        /// Longest `maxDuration` of a lease, in seconds.
        uint32 maxDurationS;
        /// Least `window` and `disputeTimeout` of a lease and most `commitGrace`, in seconds. Zero:
        /// nobody may open leases for the renter.
        uint32 minWindow;
        /// Most `window` of a lease, in seconds.
        uint32 maxWindow;
        /// Most `disputeTimeout` of a lease, in seconds.
        uint32 maxDisputeTimeout;
        /// Most `firstCommitWithin` of a lease, in seconds.
        uint32 maxFirstCommit;
        /// Least `minSegmentSeconds` of a lease.
        uint32 minSegmentSeconds;
        /// Mode of verification; not checked here.
        uint8 verification;
        /// Block time from which the order is void.
        uint40 expiresAt;
        uint64 nonce;
    }

    /// @notice Cap of an order that terms do not keep.
    enum OrderRule {
        Renter,
        Token,
        Arbiter,
        JobHash,
        ListingId,
        HardwareClass,
        PricePerSegment,
        MinBond,
        MinBondBps,
        MinAuditBps,
        MaxDuration,
        MinWindow,
        MaxWindow,
        MinDisputeTimeout,
        MaxDisputeTimeout,
        MaxFirstCommit,
        MinSegmentSeconds,
        CommitGrace
    }

    /// @notice Where an account's money comes from.
    enum Source {
        /// Its allowance to this contract.
        Allowance,
        /// Its credit in this contract first, then its allowance.
        Credit
    }

    /// @notice An EIP-2612 permit of the renter for this contract.
    struct Permit {
        uint256 value;
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    /// @notice An EIP-3009 authorization of the renter to this contract, over the lease's cost plus
    /// `relayFee`, with the lease's id as nonce.
    struct Authorization {
        /// Part of the signed value that goes to the sender of the transaction.
        uint96 relayFee;
        uint256 validAfter;
        uint256 validBefore;
        uint8 v;
        bytes32 r;
        bytes32 s;
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
        /// The provider gave up the rest: what it had not committed or, metered, been paid for.
        ProviderClosed,
        /// The renter had stopped the lease.
        RenterStopped,
        /// Nothing was committed: not in time, or the provider gave up before. Never when metered.
        NeverCommitted,
        /// `maxDuration` was over.
        Expired,
        /// The arbiter ruled fraud.
        Fraud,
        /// The arbiter did not rule within `disputeTimeout`.
        DisputeTimedOut,
        /// Checkpoints of committed segments could not be fetched.
        Unretrievable,
        /// The machine failed its probe before anything was committed.
        AcceptanceFailed
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
        /// Whether checkpoints could not be fetched: nothing more can be committed.
        bool isUnretrievable;
    }

    /// @notice Open dispute of a lease, as read by `disputeOf`; empty when there is none.
    struct Dispute {
        /// Who challenged first; gets the reward when the ruling is fraud.
        address challenger;
        /// Block time of the first challenge.
        uint40 disputedAt;
        /// Lowest segment challenged so far.
        uint16 lowestSegment;
        /// Whether the first challenger demanded data.
        bool isDemand;
        /// Who pointed at that segment, when it was not the first challenger.
        address lowerChallenger;
        /// Whether that one demanded data.
        bool isLowerDemand;
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
        /// Class under which its results can be compared bit for bit.
        bytes32 hardwareClass;
        /// Most leases at a time, of those opened since it was set; zero for no limit.
        uint8 capacity;
        /// Live leases that count against `capacity`.
        uint8 live;
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
    event CapacitySet(bytes32 indexed listingId, uint8 capacity);
    /// @notice Terms with a nonce of `256 * word + i`, for each bit `i` of `mask`, are void.
    event NoncesCancelled(bytes32 indexed listingId, uint256 word, uint256 mask);

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
    /// @notice The lease was opened under an order, or was closed and gave back what it did not
    /// use: what the order's leases use of it together.
    event OrderUsed(
        bytes32 indexed orderDigest, bytes32 indexed leaseId, uint96 spent, uint16 segments
    );
    event OrderRevoked(bytes32 indexed orderDigest, address indexed renter);
    /// @notice `amount` was credited to the sender of the opening, besides the lease's cost.
    event RelayerPaid(bytes32 indexed leaseId, address indexed relayer, uint256 amount);
    /// @notice `amount` left the credit of `account`, for a lease or a challenger's bond.
    event CreditSpent(address indexed token, address indexed account, uint256 amount);
    event Committed(bytes32 indexed leaseId, uint16 upTo, bytes32 traceRoot, bytes32 root);
    /// @notice `toProvider` was credited to the provider; the two shares accrue until `collect`.
    /// `paidSegments` is the new total.
    event Settled(
        bytes32 indexed leaseId,
        uint16 paidSegments,
        uint256 toProvider,
        uint256 toTreasury,
        uint256 toAuditPool
    );
    event Stopped(bytes32 indexed leaseId, uint40 stoppedAt);
    /// @notice `refund` was credited to the renter and the bond, as far as it was not slashed,
    /// freed.
    event Closed(bytes32 indexed leaseId, CloseCause cause, uint16 paidSegments, uint256 refund);

    event Challenged(
        bytes32 indexed leaseId, address indexed challenger, uint16 segment, uint256 bond
    );
    /// @notice As `Challenged`, but the claim is that the segment's checkpoint cannot be fetched.
    event DataDemanded(
        bytes32 indexed leaseId, address indexed demander, uint16 segment, uint256 bond
    );
    /// @notice A challenger's bond was credited back to it; after an honest ruling, half of the
    /// bond of one that had demanded data.
    event BondReturned(bytes32 indexed leaseId, address indexed challenger, uint256 amount);
    /// @notice On fraud the slash of `slashedToRenter + slashedToChallenger` left the provider's
    /// stake and was credited; when honest, `bondsToProvider` was credited to the provider, and
    /// `bondsToAuditPool` accrues until `collect`. What demands get back is in `BondReturned`.
    event Ruled(
        bytes32 indexed leaseId,
        address indexed challenger,
        bool fraud,
        uint16 goodSegments,
        uint256 slashedToRenter,
        uint256 slashedToChallenger,
        uint256 bondsToProvider,
        uint256 bondsToAuditPool
    );
    /// @notice Fraud was ruled on a lease that had closed: `slashedToRenter` left the provider's
    /// stake and was credited to the renter. What was paid stays paid.
    /// @param owed What of the bond live leases keep for now, and no earlier ruling waits for.
    event LateFraud(
        bytes32 indexed leaseId, uint16 goodSegments, uint256 slashedToRenter, uint256 owed
    );
    /// @notice `slashedToRenter` of what a late ruling left owed left the provider's stake and was
    /// credited to the renter.
    /// @param owed What is still left.
    event LatePaid(bytes32 indexed leaseId, uint256 slashedToRenter, uint256 owed);
    /// @notice Committed segments from `goodSegments` on are not paid, and nothing more can be
    /// committed. An open dispute ended with it, and the clock goes on as after an honest ruling.
    event Unretrievable(bytes32 indexed leaseId, uint16 goodSegments);
    /// @notice The lease closed with all its money refunded, since its machine failed the probe
    /// that `report` is the hash of.
    /// @param byArbiter Whether the arbiter said so; else the operator signed it.
    event MachineRejected(bytes32 indexed leaseId, bytes32 report, bool byArbiter);
    /// @notice The part that was split: credit of the provider and accrued shares. The rest is the
    /// refund of `Closed`.
    event DisputeTimedOut(
        bytes32 indexed leaseId,
        uint16 lowestSegment,
        uint256 toProvider,
        uint256 toTreasury,
        uint256 toAuditPool
    );

    /// @notice `amount` left the contract, out of the credit of `account`, to `to`.
    event Withdrawn(address indexed token, address indexed account, address to, uint256 amount);

    /// @notice What had accrued was credited to `treasury` and `auditPool`.
    event Collected(
        address indexed token,
        address treasury,
        uint256 toTreasury,
        address auditPool,
        uint256 toAuditPool
    );

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
    /// The extension works on the escrow's storage only.
    error DirectCall();
    error TooManyTokens(uint256 given, uint256 max);
    /// The chain forked from the one that this contract was made on; only ways out work here.
    error ForeignChain(uint256 chainId, uint256 homeChainId);

    error DocumentSizeOutOfRange(uint256 size, uint256 maxSize);
    error ListingInactive(bytes32 listingId);
    error NotListingProvider(address caller, address provider);

    error FreeStakeTooLow(address provider, address token, uint256 needed, uint256 free);
    error UnbondingPeriodOutOfRange(uint256 unbondingPeriod, uint256 maxUnbondingPeriod);
    /// Bonds of live leases are not available.
    error UnbondTooHigh(uint256 amount, uint256 available);
    error NothingUnbonding(address provider, address token);
    error UnbondingNotOver(uint256 timestamp, uint256 claimableAt);

    error NotRenter(address caller, address renter);
    error NotProviderOrOperator(address caller, address provider, address operator);
    error NotArbiter(address caller, address arbiter);
    error ArbiterMayNotChallenge(address arbiter);
    error ArbiterMissing();
    error ArbiterIsParty(address arbiter);
    error OperatorDiffersFromListing(address operator, address listed);
    /// The listing is of another provider, machine or token: `derived` is the id that the terms
    /// would give.
    error TermsDifferFromListing(bytes32 listingId, bytes32 derived);
    error FeeDiffers(uint16 feeBps, uint16 current);
    error AuditShareTooHigh(uint16 auditBps, uint16 maxAuditBps);
    error SegmentsMissing();
    error PriceMissing();
    error CostTooHigh(uint256 cost, uint256 maxCost);
    error ReserveTooLong(uint16 reserveSegments, uint16 maxReserveSegments);
    error PredecessorUnknown(bytes32 predecessor);
    error AfterOpenBy(uint256 timestamp, uint256 openBy);
    error WindowTooLong(uint256 window, uint256 maxWindow);
    error CommitGraceTooLong(uint256 commitGrace, uint256 maxCommitGrace);
    /// A metered lease needs one, for its newest voucher.
    error CommitGraceMissing();
    error DisputeTimeoutOutOfRange(uint256 disputeTimeout, uint256 maxDisputeTimeout);
    error MaxDurationOutOfRange(uint256 maxDuration, uint256 maxMaxDuration);
    error SignatureInvalid(address signer, bytes32 digest);
    error LeaseExists(bytes32 leaseId);
    error NonceIsCancelled(bytes32 listingId, uint64 nonce);
    error ListingFull(bytes32 listingId, uint8 capacity);

    /// Only the renter itself opens leases for this order.
    error OrderNotOpenable(bytes32 orderDigest);
    error OrderExpired(uint256 timestamp, uint256 expiresAt);
    error OrderIsRevoked(bytes32 orderDigest);
    error TermsOutsideOrder(OrderRule rule);
    error BudgetExceeded(uint256 spent, uint256 budget);
    error OrderSegmentsExceeded(uint256 segments, uint256 maxSegments);
    error PredecessorOfOtherOrder(bytes32 predecessor, bytes32 orderDigest);
    error PredecessorNotClosed(bytes32 predecessor, LeaseStatus status);
    error ConsentUsed(address account, bytes32 digest);
    error ConsentExpired(uint256 timestamp, uint256 expiresAt);

    error LeaseNotActive(bytes32 leaseId, LeaseStatus status);
    error LeaseNotLive(bytes32 leaseId, LeaseStatus status);
    error LeaseNotDisputed(bytes32 leaseId, LeaseStatus status);
    error LeaseNotClosed(bytes32 leaseId, LeaseStatus status);
    error LeaseMetered(bytes32 leaseId);
    error LeaseNotMetered(bytes32 leaseId);
    error UpToOutOfRange(uint16 upTo, uint16 pending, uint16 segments);
    error AfterCommitDeadline(uint256 timestamp, uint256 deadline);
    error FinalCommitMade(bytes32 leaseId);
    error LeaseUnretrievable(bytes32 leaseId);
    error CommitTooFast(uint16 upTo, uint256 secondsNeeded, uint256 secondsElapsed);
    error NothingToSettle(bytes32 leaseId);
    /// Committed segments can still be challenged.
    error WindowOpen(uint256 timestamp, uint256 maturesAt);
    error VoucherOutOfRange(uint16 given, uint16 paid, uint16 segments);
    error AlreadyStopped(uint256 stoppedAt);
    error BeforeCloseTime(uint256 timestamp, uint256 closableAfter);

    error SegmentOutOfRange(uint16 segment, uint16 lowest, uint16 end);
    error AfterWindow(uint256 timestamp, uint256 maturesAt);
    /// An honest ruling on less than what is disputed by now.
    error NotLowestSegment(uint16 segment, uint16 lowest);
    /// Not from `lowest` to below `end`.
    error GoodSegmentsOutOfRange(uint16 goodSegments, uint16 lowest, uint16 end);
    /// Only in the first half of the arbiter's time.
    error AfterLowerDeadline(uint256 timestamp, uint256 deadline);
    error AfterDisputeTimeout(uint256 timestamp, uint256 deadline);
    error BeforeDisputeTimeout(uint256 timestamp, uint256 deadline);
    /// Work was accepted: from then on a renter stops.
    error WorkCommitted(bytes32 leaseId);
    error FraudRuled(bytes32 leaseId);
    error AfterLateDeadline(uint256 timestamp, uint256 deadline);
    /// Nothing is owed or, of what is owed, nothing is free.
    error NothingToPay(bytes32 leaseId, uint256 owed);
    /// Late rulings have to take this first: `payLate`.
    error LateDebt(address provider, address token, uint256 owed);
}
