// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {ILeaseEscrow} from "../../src/interfaces/ILeaseEscrow.sol";
import {IOwnable, ITestToken} from "./Interfaces.sol";
import {vm} from "./Vm.sol";

/// @notice One market with one listed machine, and the steps that most tests start from. Amounts
/// are odd on purpose, so that a rounding mistake shows.
abstract contract EscrowTest {
    /// @notice Ledger credits of all parties, compared as a whole.
    struct Credits {
        uint256 renter;
        uint256 provider;
        uint256 treasury;
        uint256 auditPool;
        uint256 challenger;
        uint256 other;
    }

    uint256 internal constant START = 1_800_000_000;
    uint16 internal constant FEE_BPS = 251;
    uint16 internal constant AUDIT_BPS = 333;
    uint96 internal constant PRICE = 1_000_003;
    uint96 internal constant BOND = 77_000_011;
    uint16 internal constant SEGMENTS = 10;
    uint32 internal constant WINDOW = 100;
    uint32 internal constant GRACE = 50;
    uint32 internal constant DISPUTE_TIMEOUT = 200;
    uint32 internal constant FIRST_COMMIT = 60;
    uint32 internal constant MAX_DURATION = 5000;
    uint32 internal constant MIN_SEGMENT = 10;
    uint32 internal constant UNBONDING = 700;
    uint256 internal constant STAKE = 200_000_000;
    uint256 internal constant COST = uint256(PRICE) * SEGMENTS;
    uint256 internal constant CHALLENGE_BOND = 2 * uint256(PRICE);
    bytes internal constant DOCUMENT = "{\"gpu\":\"test\"}";
    bytes32 internal constant CLASS = keccak256("class");
    bytes32 internal constant TRACE = keccak256("trace");

    uint256 internal constant RENTER_KEY = 0xa11;
    uint256 internal constant OPERATOR_KEY = 0xb22;

    address internal immutable renter = vm.addr(RENTER_KEY);
    address internal immutable operator = vm.addr(OPERATOR_KEY);
    address internal constant OWNER = address(0x1001);
    address internal constant PROVIDER = address(0x1002);
    address internal constant ARBITER = address(0x1003);
    address internal constant TREASURY = address(0x1004);
    address internal constant AUDIT_POOL = address(0x1005);
    address internal constant CHALLENGER = address(0x1006);
    address internal constant OTHER = address(0x1007);
    address internal constant STRANGER = address(0x1008);

    ILeaseEscrow internal escrow;
    ITestToken internal token;
    ITestToken internal secondToken;
    bytes32 internal listingId;

    function setUp() public virtual {
        vm.warp(START);
        token = _newToken();
        secondToken = _newToken();
        address[] memory tokens = new address[](2);
        tokens[0] = address(token);
        tokens[1] = address(secondToken);
        escrow = _newEscrow(tokens);
        _fund(renter);
        _fund(PROVIDER);
        _fund(CHALLENGER);
        _fund(OTHER);
        _fund(STRANGER);
        vm.prank(PROVIDER);
        listingId = escrow.list(CLASS, address(token), 5_000_000, operator, DOCUMENT);
        vm.prank(PROVIDER);
        escrow.stake(address(token), STAKE);
    }

    // ---------------------------------------------------------------------------------- set-up

    function _newToken() internal returns (ITestToken) {
        return ITestToken(vm.deployCode("TestToken.sol:TestToken", abi.encode(address(this))));
    }

    function _newEscrow(address[] memory tokens) internal returns (ILeaseEscrow) {
        return ILeaseEscrow(
            vm.deployCode(
                "LeaseEscrow.sol:LeaseEscrow",
                abi.encode(OWNER, TREASURY, AUDIT_POOL, FEE_BPS, tokens, UNBONDING)
            )
        );
    }

    function _fund(address account) internal {
        token.mint(account, 1_000_000_000_000);
        vm.prank(account);
        token.approve(address(escrow), type(uint256).max);
    }

    function _terms() internal view returns (IEscrowTypes.Terms memory) {
        return IEscrowTypes.Terms({
            renter: renter,
            provider: PROVIDER,
            operator: operator,
            token: address(token),
            arbiter: ARBITER,
            listingId: listingId,
            machineHash: keccak256(DOCUMENT),
            jobHash: keccak256("job"),
            pricePerSegment: PRICE,
            bond: BOND,
            segments: SEGMENTS,
            feeBps: FEE_BPS,
            auditBps: AUDIT_BPS,
            reserveSegments: 0,
            window: WINDOW,
            commitGrace: GRACE,
            disputeTimeout: DISPUTE_TIMEOUT,
            openBy: uint40(START + 1000),
            firstCommitWithin: FIRST_COMMIT,
            maxDuration: MAX_DURATION,
            minSegmentSeconds: MIN_SEGMENT,
            predecessor: 0,
            nonce: 1
        });
    }

    function _meteredTerms() internal view returns (IEscrowTypes.Terms memory terms) {
        terms = _terms();
        terms.window = 0;
    }

    // ----------------------------------------------------------------------------------- steps

    function _signature(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _sign(IEscrowTypes.Terms memory terms) internal view returns (bytes memory) {
        return _signature(OPERATOR_KEY, escrow.leaseIdOf(terms));
    }

    function _voucher(IEscrowTypes.Terms memory terms, uint16 segments)
        internal
        view
        returns (bytes memory)
    {
        return _signature(RENTER_KEY, escrow.voucherDigest(escrow.leaseIdOf(terms), segments));
    }

    function _open(IEscrowTypes.Terms memory terms) internal returns (bytes32 leaseId) {
        bytes memory signature = _sign(terms);
        vm.prank(terms.renter);
        return escrow.open(terms, signature);
    }

    function _commit(IEscrowTypes.Terms memory terms, uint16 upTo) internal {
        vm.prank(operator);
        escrow.commit(terms, upTo, TRACE);
    }

    function _challenge(address challenger, IEscrowTypes.Terms memory terms, uint16 segment)
        internal
    {
        vm.prank(challenger);
        escrow.challenge(terms, segment);
    }

    function _rule(IEscrowTypes.Terms memory terms, bool fraud, uint16 segment) internal {
        vm.prank(ARBITER);
        escrow.rule(terms, fraud, segment);
    }

    /// @dev By an arbiter that has seen all that is disputed.
    function _ruleHonest(IEscrowTypes.Terms memory terms) internal {
        uint16 lowest = escrow.disputeOf(escrow.leaseIdOf(terms)).lowestSegment;
        _rule(terms, false, lowest);
    }

    function _stop(IEscrowTypes.Terms memory terms) internal {
        vm.prank(renter);
        escrow.stop(terms);
    }

    function _close(address caller, IEscrowTypes.Terms memory terms) internal {
        vm.prank(caller);
        escrow.close(terms);
    }

    /// @dev An open lease; `upTo` segments are committed at START + 50.
    function _committed(uint16 upTo)
        internal
        returns (IEscrowTypes.Terms memory terms, bytes32 leaseId)
    {
        terms = _terms();
        leaseId = _open(terms);
        vm.warp(START + 50);
        _commit(terms, upTo);
    }

    /// @dev As `_committed`, then segment `segment` is challenged at START + 70.
    function _disputed(uint16 upTo, uint16 segment)
        internal
        returns (IEscrowTypes.Terms memory terms, bytes32 leaseId)
    {
        (terms, leaseId) = _committed(upTo);
        vm.warp(START + 70);
        _challenge(CHALLENGER, terms, segment);
    }

    // --------------------------------------------------------------------------------- amounts

    function _split(uint256 amount)
        internal
        pure
        returns (uint256 toProvider, uint256 toTreasury, uint256 toAuditPool)
    {
        toTreasury = amount * FEE_BPS / 10_000;
        toAuditPool = amount * AUDIT_BPS / 10_000;
        toProvider = amount - toTreasury - toAuditPool;
    }

    /// @dev Credits after one payment of `segments` segments and a refund.
    function _paid(uint256 segments, uint256 refund)
        internal
        pure
        returns (Credits memory credits)
    {
        (credits.provider, credits.treasury, credits.auditPool) = _split(segments * PRICE);
        credits.renter = refund;
    }

    /// @dev Of the two receivers, what has accrued for them counts as well.
    function _credits() internal view returns (Credits memory) {
        (uint256 fees, uint256 auditShares) = escrow.accruedOf(address(token));
        return Credits({
            renter: escrow.creditOf(address(token), renter),
            provider: escrow.creditOf(address(token), PROVIDER),
            treasury: escrow.creditOf(address(token), TREASURY) + fees,
            auditPool: escrow.creditOf(address(token), AUDIT_POOL) + auditShares,
            challenger: escrow.creditOf(address(token), CHALLENGER),
            other: escrow.creditOf(address(token), OTHER)
        });
    }

    function _assertCredits(Credits memory expected) internal view {
        Credits memory credits = _credits();
        vm.assertEq(credits.renter, expected.renter, "credit of renter");
        vm.assertEq(credits.provider, expected.provider, "credit of provider");
        vm.assertEq(credits.treasury, expected.treasury, "credit of treasury");
        vm.assertEq(credits.auditPool, expected.auditPool, "credit of audit pool");
        vm.assertEq(credits.challenger, expected.challenger, "credit of challenger");
        vm.assertEq(credits.other, expected.other, "credit of other");
    }

    function _assertLease(bytes32 leaseId, IEscrowTypes.Lease memory expected) internal view {
        IEscrowTypes.Lease memory lease = escrow.leaseOf(leaseId);
        vm.assertEq(uint8(lease.status), uint8(expected.status), "status");
        vm.assertEq(lease.paid, expected.paid, "paid");
        vm.assertEq(lease.pending, expected.pending, "pending");
        vm.assertEq(lease.openedAt, expected.openedAt, "openedAt");
        vm.assertEq(lease.committedAt, expected.committedAt, "committedAt");
        vm.assertEq(lease.stoppedAt, expected.stoppedAt, "stoppedAt");
        vm.assertEq(lease.escrow, expected.escrow, "escrow");
        vm.assertEq(lease.root, expected.root, "root");
        vm.assertEq(lease.isUnretrievable, expected.isUnretrievable, "isUnretrievable");
    }

    function _assertDispute(bytes32 leaseId, IEscrowTypes.Dispute memory expected) internal view {
        IEscrowTypes.Dispute memory dispute = escrow.disputeOf(leaseId);
        vm.assertEq(dispute.challenger, expected.challenger, "challenger");
        vm.assertEq(dispute.disputedAt, expected.disputedAt, "disputedAt");
        vm.assertEq(dispute.lowestSegment, expected.lowestSegment, "lowestSegment");
        vm.assertEq(dispute.isDemand, expected.isDemand, "isDemand");
        vm.assertEq(dispute.lowerChallenger, expected.lowerChallenger, "lowerChallenger");
        vm.assertEq(dispute.isLowerDemand, expected.isLowerDemand, "isLowerDemand");
    }

    function _assertStake(uint256 total, uint256 locked, uint256 unbonding) internal view {
        (uint256 actualTotal, uint256 actualLocked, uint256 actualUnbonding,,) =
            escrow.stakeOf(PROVIDER, address(token));
        vm.assertEq(actualTotal, total, "stake");
        vm.assertEq(actualLocked, locked, "locked stake");
        vm.assertEq(actualUnbonding, unbonding, "unbonding stake");
    }

    function _status(bytes32 leaseId) internal view returns (IEscrowTypes.LeaseStatus) {
        return escrow.leaseOf(leaseId).status;
    }

    function _root(bytes32 previous, uint16 upTo, bytes32 traceRoot)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(previous, upTo, traceRoot));
    }

    // --------------------------------------------------------------------------------- refusals

    function _expectNotActive(bytes32 leaseId, IEscrowTypes.LeaseStatus status) internal {
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.LeaseNotActive.selector, leaseId, status)
        );
    }

    function _expectEmit() internal {
        vm.expectEmit(address(escrow));
    }

    function _ownable() internal view returns (IOwnable) {
        return IOwnable(address(escrow));
    }
}
