// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Auditors' and judges' bonds, the record for the draw, and audit pay
/// @notice An auditor bonds under a quorum: a fixed set of judges that it lets judge its audits.
/// A quorum's address is what leases name as `arbiter`, so a lease, its auditors and its judges
/// belong together. Anybody may create a quorum; nobody is bound by one that it did not choose.
///
/// Money
/// - Every payment ends as a credit in a ledger. Only `withdraw` and `withdrawTo` send tokens
///   out, so an account that a token refuses to pay blocks nobody else.
/// - `balance = bonds + credits + pay received and not yet claimed + what nobody collected yet`,
///   per token. Bonds are in `bondToken`; pay comes in any token of the escrow. The zero address
///   stands for the chain's native coin.
/// - Audit pay is what the escrow credits to this contract (`auditBps` of each payment). It is
///   paid out under cumulative Merkle roots that the distributor posts. Claims under a root never
///   exceed the total posted with it, and no total exceeds what came in: bonds cannot be paid out
///   as pay.
/// - A slash is credited to the renter of the lease whose audit was wrong or missing; judges,
///   owner and distributor get nothing of it.
///
/// Clock
/// - Periods are block times in seconds; the record for the draw is kept by block number.
/// - Warning: some rollups report the number of a block of their parent chain, which many of
///   their own blocks share, and which moves on only now and then. There, changes within that
///   parent block are one entry of the record, `bondAt` and `auditorsAt` take numbers of that
///   parent chain, and a draw has to name its block as this contract counts it.
///
/// Assumptions on tokens
/// - Bond token and pay tokens do not rebase. A bond token that takes a fee on transfer is
///   refused at every deposit, because the amount received is checked.
///
/// Trust
/// - The owner names the distributor and can reject a root before it counts. It reaches no bond,
///   no credit, and no pay under a root that counts already.
/// - Warning: the distributor decides how pay is shared. An unjust root is public for `payDelay`
///   seconds, in which the owner can reject it; without an owner that looks, nothing stops it.
/// - Warning: a threshold of a quorum's judges, acting together, can take the bonds of auditors
///   and judges under that quorum, at most `slashOf(quorum, WrongReport)` from an account for
///   each segment of a lease that names it, and only to that lease's renter. They cannot keep a
///   bond from leaving.
interface IAuditorRegistry {
    // ------------------------------------------------------------------------------------ types

    /// @notice What an auditor did wrong.
    enum AuditFault {
        /// It reported another result than the segment gives.
        WrongReport,
        /// It was drawn and did not report in time.
        NoReport
    }

    /// @notice An account under one quorum, as read by `auditorOf`.
    struct Auditor {
        /// Bond that counts for the draw; what is unbonding is not in it.
        uint128 bonded;
        /// Bond on its way out. Still slashed.
        uint128 unbonding;
        /// Block time from which the unbonding part can be claimed.
        uint40 claimableAt;
        /// Class whose segments it can repeat bit for bit; zero before `enroll`.
        bytes32 hardwareClass;
        /// X25519 key to which keys of drawn jobs are wrapped; zero before `enroll`.
        bytes32 encryptionKey;
    }

    /// @notice Audit pay in one token, as read by `payOf`.
    struct Pay {
        /// All that ever came in and was collected.
        uint256 received;
        /// All that was ever claimed; at most `total`.
        uint256 claimed;
        /// Root that counts now; zero when there is none.
        bytes32 root;
        /// Most that can ever be claimed under it, earlier claims included.
        uint256 total;
        /// Root that will count from `countsFrom`; zero when none waits.
        bytes32 nextRoot;
        uint256 nextTotal;
        /// Block time in seconds.
        uint40 countsFrom;
    }

    // ----------------------------------------------------------------------------------- events

    /// @param quorum Address that leases name as arbiter.
    event QuorumCreated(
        address indexed quorum, address[] judges, uint256 threshold, uint256 minBond
    );

    /// @param bonded All that now counts for the draw, `amount` included.
    event AuditorBonded(
        address indexed quorum, address indexed auditor, uint256 amount, uint256 bonded
    );
    /// @param unbonding All that is now unbonding, `amount` included.
    event AuditorUnbondStarted(
        address indexed quorum,
        address indexed auditor,
        uint256 amount,
        uint256 bonded,
        uint256 unbonding,
        uint40 claimableAt
    );
    /// @notice `amount` left the bond and was credited to the auditor.
    event AuditorUnbonded(address indexed quorum, address indexed auditor, uint256 amount);
    /// @notice The key was sent from the auditor's own account: this event is its signature.
    event AuditorEnrolled(
        address indexed quorum,
        address indexed auditor,
        bytes32 indexed hardwareClass,
        bytes32 encryptionKey
    );
    /// @notice `amount` left the auditor's bond and was credited to the renter of the lease.
    event AuditorSlashed(
        address indexed quorum,
        address indexed auditor,
        bytes32 indexed leaseId,
        uint16 segment,
        AuditFault fault,
        address renter,
        uint256 amount,
        uint256 bonded,
        uint256 unbonding
    );

    event DistributorSet(address distributor);
    /// @param received All that ever came in, `amount` included.
    event PayCollected(address indexed token, uint256 amount, uint256 received);
    event PayRootPosted(address indexed token, bytes32 root, uint256 total, uint40 countsFrom);
    event PayRootRejected(address indexed token, bytes32 root);
    /// @notice `amount` was credited to the account; `cumulative` is all it was ever paid.
    event PayClaimed(
        address indexed token, address indexed account, uint256 amount, uint256 cumulative
    );

    /// @notice `amount` left the contract, out of the credit of `account`, to `to`.
    event CreditWithdrawn(
        address indexed token, address indexed account, address to, uint256 amount
    );

    // ----------------------------------------------------------------------------------- errors

    error AddressMissing();
    error AmountMissing();
    error PeriodTooLong(uint256 period, uint256 maxPeriod);
    /// The token moved another amount than asked (a fee on transfer, say).
    error ReceivedAmountDiffers(address token, uint256 expected, uint256 received);
    error CreditTooLow(address token, address account, uint256 amount, uint256 credit);
    error RecipientNotAllowed(address recipient);

    error QuorumUnknown(address quorum);
    error HardwareClassMissing();
    error EncryptionKeyMissing();
    error BondTooLow(address auditor, uint256 bonded, uint256 minBond);
    error UnbondTooHigh(uint256 amount, uint256 available);
    error NothingUnbonding(address quorum, address auditor);
    error UnbondingNotOver(uint256 timestamp, uint256 claimableAt);
    error NotQuorum(address caller);
    error AlreadySlashed(address auditor, bytes32 leaseId, uint16 segment);
    error NothingToSlash(address quorum, address auditor);
    error BlockNotPast(uint256 blockNumber, uint256 current);

    error NotDistributor(address caller, address distributor);
    error NothingToCollect(address token);
    error PayRootMissing();
    /// Less than what an earlier root allowed, or more than what came in.
    error PayTotalOutOfRange(uint256 total, uint256 least, uint256 most);
    error NoPayRootWaiting(address token);
    error PayProofInvalid(address token, address account, uint256 cumulative);
    error NothingToClaim(address token, address account, uint256 cumulative, uint256 claimed);
    /// The leaves of the root add up to more than the total posted with it.
    error PayExhausted(address token, uint256 amount, uint256 left);

    // ----------------------------------------------------------------------------------- quorums

    /// @notice Creates a quorum; its judges, threshold and least bond never change.
    /// @param judges Accounts that may sign verdicts, 1 to 32, strictly ascending. Plain keys:
    /// contracts cannot sign.
    /// @param threshold Signatures that make a verdict: more than half of the judges, so that no
    /// two verdicts contradict each other without a judge that signed both.
    /// @param minBond Bond that an auditor needs to be drawn and a judge to be counted, smallest
    /// unit of `bondToken`.
    function createQuorum(address[] calldata judges, uint256 threshold, uint256 minBond)
        external
        returns (address quorum);

    // ------------------------------------------------------------------------------------- bonds

    /// @notice Adds `amount` of `bondToken` to the caller's bond under `quorum`, from its
    /// allowance. Auditors and judges bond alike.
    function bond(address quorum, uint256 amount) external;

    /// @notice Starts taking `amount` out of the caller's bond.
    /// @dev It leaves the draw at once and stays slashable for `unbondingPeriod`. A second call
    /// adds to the first and starts the period again. Nobody can refuse or delay it.
    function unbond(address quorum, uint256 amount) external;

    /// @notice Credits the caller with its unbonding part when the period is over.
    function claimUnbond(address quorum) external;

    /// @notice Puts the caller into the draw of a hardware class, with a key to wrap job keys to.
    /// Repeat it to change either; the old class is left in the same block.
    function enroll(address quorum, bytes32 hardwareClass, bytes32 encryptionKey) external;

    /// @notice Takes `slashOf(caller, fault)`, or what there is, from an auditor for the renter.
    /// @dev Only a quorum calls, after it counted its judges' signatures; see `IArbiterQuorum`.
    /// Once for an auditor, lease and segment; a missing report does not rule out a later verdict
    /// that the report which came was wrong, which then takes what is left up to its own slash:
    /// both together cost no more than a wrong report. What counts for the draw goes first, then
    /// what is unbonding.
    function slash(
        address auditor,
        bytes32 leaseId,
        uint16 segment,
        AuditFault fault,
        address renter
    ) external;

    // --------------------------------------------------------------------------------------- pay

    /// @notice Takes in what the escrow credits to this contract and whatever else was sent to
    /// it. Anybody may call.
    /// @dev `postPayRoot` does it too.
    function collect(address token) external returns (uint256 amount);

    /// @notice Distributor announces how all pay in `token`, since the beginning, is shared.
    /// @dev Counts from `payDelay` seconds later; a root that still waits is replaced.
    /// @param root Merkle root with sorted pairs over keccak256(keccak256(abi.encode(token,
    /// account, cumulative))), `cumulative` being all that the account is ever paid in that
    /// token.
    /// @param total Sum over all leaves; at least the last total, at most what came in.
    function postPayRoot(address token, bytes32 root, uint256 total) external;

    /// @notice Owner drops a root that does not count yet.
    function rejectPayRoot(address token) external;

    /// @notice Credits `account` with what it may have under the root and has not had. Anybody
    /// may call.
    /// @param cumulative Amount of the account's leaf.
    function claimPay(address token, address account, uint256 cumulative, bytes32[] calldata proof)
        external;

    /// @notice Owner names who posts roots.
    function setDistributor(address distributor) external;

    // ------------------------------------------------------------------------------------ ledger

    /// @notice Sends the whole credit of `account` to `account`. Anybody may call.
    function withdrawTo(address token, address account) external;

    /// @notice Sends `amount` of the caller's credit to `to`.
    function withdraw(address token, address to, uint256 amount) external;

    // ------------------------------------------------------------------------------------- views

    function auditorOf(address quorum, address account) external view returns (Auditor memory);

    /// @notice Whether a judge's signature counts: its bond, without what is unbonding, is at
    /// least the quorum's `minBond`.
    function isBonded(address quorum, address account) external view returns (bool);

    /// @notice Bond that counted for the draw of `hardwareClass` at the end of a past block.
    function bondAt(address quorum, bytes32 hardwareClass, address account, uint256 blockNumber)
        external
        view
        returns (uint256);

    /// @notice One page of the auditors who could be drawn at the end of a past block: those with
    /// a bond of at least `minBond`, in the order in which they first enrolled in the class.
    /// @dev The same set follows from the events up to that block. A page can hold fewer than
    /// `count`: it covers `count` accounts that ever enrolled, drawable or not.
    /// @param first Position at which the page starts, below `numEnrolled`.
    function auditorsAt(
        address quorum,
        bytes32 hardwareClass,
        uint256 blockNumber,
        uint256 first,
        uint256 count
    ) external view returns (address[] memory auditors, uint256[] memory bonds);

    /// @notice Accounts that ever enrolled in the class under the quorum.
    function numEnrolled(address quorum, bytes32 hardwareClass) external view returns (uint256);

    /// @notice Most that one verdict takes: the whole least bond for a wrong report, a tenth of
    /// it for a missing one.
    function slashOf(address quorum, AuditFault fault) external view returns (uint256);

    function isQuorum(address account) external view returns (bool);

    function payOf(address token) external view returns (Pay memory);

    /// @notice All that `account` was ever paid in `token`.
    function claimedOf(address token, address account) external view returns (uint256);

    function creditOf(address token, address account) external view returns (uint256);

    function escrow() external view returns (address);

    function bondToken() external view returns (address);

    function distributor() external view returns (address);

    /// @notice Seconds between `unbond` and `claimUnbond`.
    function unbondingPeriod() external view returns (uint32);

    /// @notice Seconds between `postPayRoot` and the first claim under that root.
    function payDelay() external view returns (uint32);
}
