// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {ILeaseEscrow} from "../../src/interfaces/ILeaseEscrow.sol";
import {ITestToken} from "../utils/Interfaces.sol";
import {vm} from "../utils/Vm.sol";

/// @notice Contract account that consents to everything (EIP-1271): who may sign is not what is
/// proved here.
contract ConsentingAccount {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        return this.isValidSignature.selector;
    }
}

/// @notice The market of the symbolic proofs: the escrow and the token as they are shipped, and
/// amounts of which nothing is known but that they are in range.
///
/// Each function `check_...` is run by halmos for all its arguments at once. Amounts and shares
/// stay symbolic. Numbers of segments are small and split into cases (`_case`), because a product
/// of two unknowns is what a solver cannot do; amounts depend on them by that product alone. A step
/// that reverts breaks the proof: no allowed amount may keep money from moving.
abstract contract SymbolicTest {
    /// @notice What nothing is known about.
    struct Amounts {
        uint96 price;
        uint96 bond;
        /// Deposit of the provider, of which the bond is locked.
        uint88 stake;
        uint16 feeBps;
        uint16 auditBps;
    }

    /// @notice Who is owed what.
    struct Books {
        uint256 renter;
        uint256 provider;
        uint256 challenger;
        uint256 lowerChallenger;
        uint256 fees;
        uint256 auditShares;
        uint256 stake;
        uint256 locked;
    }

    uint256 internal constant START = 1_800_000_000;
    uint16 internal constant MAX_SEGMENTS = 3;
    uint16 internal constant MAX_FEE_BPS = 1000;
    uint16 internal constant MAX_AUDIT_BPS = 2000;
    uint32 internal constant WINDOW = 100;
    uint32 internal constant GRACE = 50;
    uint32 internal constant DISPUTE_TIMEOUT = 200;
    uint32 internal constant UNBONDING = 700;
    uint32 internal constant MAX_DURATION = 5000;
    bytes internal constant DOCUMENT = "{\"gpu\":\"test\"}";
    bytes32 internal constant TRACE = keccak256("trace");

    address internal constant OWNER = address(0x1001);
    address internal constant PROVIDER = address(0x1002);
    address internal constant ARBITER = address(0x1003);
    address internal constant TREASURY = address(0x1004);
    address internal constant AUDIT_POOL = address(0x1005);
    address internal constant CHALLENGER = address(0x1006);
    address internal constant LOWER_CHALLENGER = address(0x1007);
    address internal constant STRANGER = address(0x1008);

    address internal renter;
    address internal operator;
    ILeaseEscrow internal escrow;
    ITestToken internal token;
    bytes32 internal listingId;

    function setUp() public virtual {
        vm.warp(START);
        renter = address(new ConsentingAccount());
        operator = address(new ConsentingAccount());
        token = ITestToken(_deploy("TestToken", abi.encode(address(this))));
        address[] memory tokens = new address[](1);
        tokens[0] = address(token);
        escrow = ILeaseEscrow(
            _deploy(
                "LeaseEscrow",
                abi.encode(OWNER, TREASURY, AUDIT_POOL, uint16(0), tokens, UNBONDING)
            )
        );
        address[4] memory payers = [renter, PROVIDER, CHALLENGER, LOWER_CHALLENGER];
        for (uint256 i = 0; i < payers.length; ++i) {
            token.mint(payers[i], type(uint128).max);
            vm.prank(payers[i]);
            token.approve(address(escrow), type(uint256).max);
        }
        vm.prank(PROVIDER);
        listingId = escrow.list(keccak256("class"), address(token), 1, operator, DOCUMENT);
    }

    /// @dev As shipped: forge's artifact, with the settings of foundry.toml.
    function _deploy(string memory name, bytes memory arguments)
        private
        returns (address deployed)
    {
        bytes memory code = abi.encodePacked(
            vm.getCode(string.concat("out/", name, ".sol/", name, ".json")), arguments
        );
        assembly ("memory-safe") {
            deployed := create(0, add(code, 0x20), mload(code))
        }
        assert(deployed != address(0));
    }

    // ----------------------------------------------------------------------------------- ranges

    /// @dev The whole range that `open` takes, for a lease of so many segments. Of the bond: all
    /// that the stake can carry.
    function _assumeInRange(Amounts memory amounts, uint256 segments) internal pure {
        unchecked {
            vm.assume(amounts.price != 0);
            vm.assume(segments * amounts.price <= type(uint88).max);
            vm.assume(amounts.feeBps <= MAX_FEE_BPS);
            vm.assume(amounts.auditBps <= MAX_AUDIT_BPS);
            vm.assume(amounts.bond != 0);
            vm.assume(amounts.bond <= amounts.stake);
            for (uint256 i = 1; i <= segments; ++i) {
                vm.assume(_multiplies(amounts.price, i));
                vm.assume(_shares(i * amounts.price, amounts));
            }
        }
    }

    /// @dev Always true of amounts in range, as ArithmeticProof proves. Said aloud, because
    /// otherwise each path of each proof would have to find it anew.
    function _multiplies(uint256 amount, uint256 factor) internal pure returns (bool) {
        unchecked {
            return amount * factor / amount == factor;
        }
    }

    /// @dev As `_multiplies`: what the shares of a payment are, they leave something of it.
    function _shares(uint256 amount, Amounts memory amounts) internal pure returns (bool) {
        unchecked {
            uint256 fee = amount * amounts.feeBps / 10_000;
            uint256 auditShare = amount * amounts.auditBps / 10_000;
            return _multiplies(amount, amounts.feeBps) && _multiplies(amount, amounts.auditBps)
                && fee < amount && auditShare < amount && fee + auditShare < amount
                && amount - fee - auditShare != 0;
        }
    }

    /// @dev As `_multiplies`: `Math.min` without a branch, of numbers in order, is the first.
    function _isLesser(uint256 a, uint256 b) internal pure returns (bool isLesser) {
        assembly ("memory-safe") {
            isLesser := eq(a, xor(b, mul(xor(a, b), lt(a, b))))
        }
    }

    /// @dev `value` as a number that is known: one case of the proof for each from `least` to
    /// `most`.
    function _case(uint16 value, uint16 least, uint16 most) internal pure returns (uint16) {
        for (uint16 i = least; i <= most; ++i) {
            if (value == i) return i;
        }
        vm.assume(false);
        return 0;
    }

    // ------------------------------------------------------------------------------------ steps

    function _terms(Amounts memory amounts, uint16 segments)
        internal
        view
        returns (IEscrowTypes.Terms memory)
    {
        return IEscrowTypes.Terms({
            renter: renter,
            provider: PROVIDER,
            operator: operator,
            token: address(token),
            arbiter: ARBITER,
            listingId: listingId,
            machineHash: keccak256(DOCUMENT),
            jobHash: keccak256("job"),
            pricePerSegment: amounts.price,
            bond: amounts.bond,
            segments: segments,
            feeBps: amounts.feeBps,
            auditBps: amounts.auditBps,
            reserveSegments: 0,
            window: WINDOW,
            commitGrace: GRACE,
            disputeTimeout: DISPUTE_TIMEOUT,
            openBy: uint40(START + 1000),
            firstCommitWithin: MAX_DURATION,
            maxDuration: MAX_DURATION,
            minSegmentSeconds: 0,
            predecessor: 0,
            nonce: 1
        });
    }

    /// @dev A step that fails for some amount breaks the proof.
    function _do(address sender, bytes memory data) internal {
        vm.prank(sender);
        (bool done,) = address(escrow).call(data);
        assert(done);
    }

    /// @dev All that comes before opening.
    function _prepare(Amounts memory amounts, uint16 segments) internal {
        _assumeInRange(amounts, segments);
        _do(OWNER, abi.encodeCall(escrow.setFee, (amounts.feeBps)));
        _do(PROVIDER, abi.encodeCall(escrow.stake, (address(token), amounts.stake)));
    }

    function _open(Amounts memory amounts, IEscrowTypes.Terms memory terms) internal {
        _prepare(amounts, terms.segments);
        _do(renter, abi.encodeCall(escrow.open, (terms, "")));
    }

    function _commit(IEscrowTypes.Terms memory terms, uint16 upTo) internal {
        _do(operator, abi.encodeCall(escrow.commit, (terms, upTo, TRACE)));
    }

    /// @dev An open lease with `upTo` committed segments.
    function _committed(Amounts memory amounts, uint16 segments, uint16 upTo)
        internal
        returns (IEscrowTypes.Terms memory terms)
    {
        terms = _terms(amounts, segments);
        _open(amounts, terms);
        _commit(terms, upTo);
    }

    function _challenge(address challenger, IEscrowTypes.Terms memory terms, uint16 segment)
        internal
    {
        _do(challenger, abi.encodeCall(escrow.challenge, (terms, segment)));
    }

    function _rule(IEscrowTypes.Terms memory terms, bool fraud, uint16 goodSegments) internal {
        _do(ARBITER, abi.encodeCall(escrow.rule, (terms, fraud, goodSegments)));
    }

    /// @dev Nothing more can be challenged or committed.
    function _warpToEnd() internal {
        vm.warp(START + MAX_DURATION + WINDOW + GRACE + 1);
    }

    // ---------------------------------------------------------------------------------- amounts

    /// @dev After opening: nothing but the provider's stake, of which the bond is locked.
    function _opened(Amounts memory amounts) internal pure returns (Books memory books) {
        books.stake = amounts.stake;
        books.locked = amounts.bond;
    }

    function _addPayment(Books memory books, Amounts memory amounts, uint256 segments)
        internal
        pure
    {
        _addAmount(books, amounts, _cost(amounts, segments));
    }

    /// @dev What a payment adds to the books: shares rounded down, and not on top.
    function _addAmount(Books memory books, Amounts memory amounts, uint256 amount) internal pure {
        unchecked {
            uint256 fee = amount * amounts.feeBps / 10_000;
            uint256 auditShare = amount * amounts.auditBps / 10_000;
            books.fees += fee;
            books.auditShares += auditShare;
            books.provider += amount - fee - auditShare;
        }
    }

    function _cost(Amounts memory amounts, uint256 segments) internal pure returns (uint256) {
        unchecked {
            return segments * amounts.price;
        }
    }

    /// @dev One comparison of all, because each would be a question to the solver.
    function _assertBooks(Books memory expected) internal view {
        Books memory books = _books();
        uint256 difference = (books.renter ^ expected.renter)
            | (books.provider ^ expected.provider) | (books.challenger ^ expected.challenger)
            | (books.lowerChallenger ^ expected.lowerChallenger) | (books.fees ^ expected.fees)
            | (books.auditShares ^ expected.auditShares) | (books.stake ^ expected.stake)
            | (books.locked ^ expected.locked);
        assert(difference == 0);
    }

    /// @dev Conservation: all that is owed is there, and nothing else; and a lease holds the price
    /// of its unpaid segments while it lives.
    /// @param books What is owed. As expected, once `_assertBooks` has shown that it is so: what is
    /// read comes in the words into which the escrow packs it, which solvers are slow to add.
    function _assertConserved(IEscrowTypes.Terms memory terms, Books memory books) internal view {
        bytes32 leaseId = escrow.leaseIdOf(terms);
        IEscrowTypes.Lease memory lease = escrow.leaseOf(leaseId);
        IEscrowTypes.Dispute memory dispute = escrow.disputeOf(leaseId);
        unchecked {
            uint256 unpaid =
                lease.status == IEscrowTypes.LeaseStatus.Closed ? 0 : terms.segments - lease.paid;
            uint256 held = unpaid * terms.pricePerSegment;
            assert(lease.escrow == held);
            uint256 bonds = (dispute.challenger == address(0) ? 0 : 1)
                + (dispute.lowerChallenger == address(0) ? 0 : 1);
            uint256 owed = books.renter + books.provider + books.challenger + books.lowerChallenger
                + books.fees + books.auditShares + books.stake + held + bonds * 2
                * terms.pricePerSegment;
            assert(token.balanceOf(address(escrow)) == owed);
        }
    }

    function _books() internal view returns (Books memory books) {
        books.renter = escrow.creditOf(address(token), renter);
        books.provider = escrow.creditOf(address(token), PROVIDER);
        books.challenger = escrow.creditOf(address(token), CHALLENGER);
        books.lowerChallenger = escrow.creditOf(address(token), LOWER_CHALLENGER);
        (books.fees, books.auditShares) = escrow.accruedOf(address(token));
        (books.stake, books.locked,,,) = escrow.stakeOf(PROVIDER, address(token));
    }

    /// @dev A closed lease locks no bond.
    function _assertClosed(IEscrowTypes.Terms memory terms, Books memory expected) internal view {
        IEscrowTypes.Lease memory lease = escrow.leaseOf(escrow.leaseIdOf(terms));
        assert(lease.status == IEscrowTypes.LeaseStatus.Closed);
        expected.locked = 0;
    }
}
