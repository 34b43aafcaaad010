// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {ILeaseEscrow} from "../../src/interfaces/ILeaseEscrow.sol";
import {ITestToken} from "./Interfaces.sol";
import {vm} from "./Vm.sol";

/// @notice Parties of a market, what is known of their leases, and the ways to draw and call.
abstract contract MarketRecords {
    /// @notice What a step may do to a lease.
    enum Step {
        Other,
        Commit,
        Voucher,
        Ruling,
        Attest,
        Withdrawal
    }

    /// @notice What a step would like its lease to be; one time in four it takes any.
    enum Wanted {
        Active,
        Pending,
        Mature,
        Metered,
        Disputed,
        Closed,
        Owed
    }

    /// @notice How a lease is opened and paid.
    enum Way {
        Plain,
        Permit,
        Authorization,
        Allowance,
        Credit,
        Order
    }

    uint256 public constant MAX_LEASES = 8;
    uint256 internal constant OPERATOR_KEY = 0xb22;
    uint256 internal constant RENTER_KEY = 0xa11;

    ILeaseEscrow public immutable escrow;
    /// @notice The market's only token; zero for the chain's own coin.
    ITestToken public immutable token;
    address internal immutable _owner;

    /// @notice Everybody who can have a credit: two renters, two providers, three that only
    /// challenge, and two pairs of receivers of shares.
    address[] public accounts;
    bytes32[] public listings;
    mapping(string what => uint256) public count;
    /// @notice Orders that leases were opened under, and what their closed leases have used.
    bytes32[] public orders;
    mapping(bytes32 leaseId => bytes32 digest) public orderOf;
    mapping(bytes32 digest => uint256) public usedSegments;
    mapping(bytes32 digest => uint256) public usedMoney;
    /// @notice Reputation of each provider, but for lost leases, as its leases moved.
    mapping(address provider => uint256) public proved;
    mapping(address provider => uint256) public completed;
    mapping(address provider => uint256) public slashed;

    IEscrowTypes.Terms[] internal _terms;
    bytes32[] internal _ids;
    IEscrowTypes.Lease[] internal _seen;
    uint256[] internal _maturesAt;
    uint256[] internal _disputedAt;
    /// @dev Leases whose checkpoints could not be fetched, and those on which fraud was ruled.
    mapping(bytes32 id => bool) internal _isUnretrievable;
    mapping(bytes32 id => bool) internal _isProven;
    uint64 internal _nonce;
    uint64 internal _ordersRevoked;
    IEscrowTypes.Order internal _lastOrder;
    uint256 internal _heldBefore;
    mapping(address account => uint256) internal _creditBefore;
    /// @dev Whose credit this step may spend, with its consent.
    address internal _spender;
    mapping(bytes32 digest => bool) internal _isKnown;

    constructor(
        ILeaseEscrow escrow_,
        ITestToken token_,
        address owner,
        address[] memory receivers
    ) {
        (escrow, token, _owner) = (escrow_, token_, owner);
        accounts.push(vm.addr(RENTER_KEY));
        accounts.push(vm.addr(RENTER_KEY + 1));
        for (uint160 i = 0; i < 5; ++i) {
            accounts.push(address(0x2000 + i));
        }
        for (uint256 i = 0; i < receivers.length; ++i) {
            accounts.push(receivers[i]);
        }
    }

    /// @dev Apart from the constructor, because the escrow must see this contract's accounts first.
    function begin() external {
        if (listings.length != 0) return;
        for (uint256 i = 0; i < 7; ++i) {
            _allowAll(accounts[i]);
        }
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(accounts[2 + i]);
            listings.push(
                escrow.list(0, address(token), 1, vm.addr(OPERATOR_KEY + i), abi.encode(i))
            );
        }
    }

    // ------------------------------------------------------------------------------------- views

    function numLeases() external view returns (uint256) {
        return _terms.length;
    }

    function numOrders() external view returns (uint256) {
        return orders.length;
    }

    function numAccounts() external view returns (uint256) {
        return accounts.length;
    }

    function termsOf(uint256 i) external view returns (IEscrowTypes.Terms memory) {
        return _terms[i];
    }

    function leaseId(uint256 i) external view returns (bytes32) {
        return _ids[i];
    }

    // ------------------------------------------------------------------------------------- tools

    function _draw(uint256 seed, uint8 who, uint64 price, uint64 bond, bool isMetered)
        internal
        returns (IEscrowTypes.Terms memory terms)
    {
        uint256 provider = who / 2 % 2;
        terms.renter = accounts[who % 2];
        terms.provider = accounts[2 + provider];
        terms.operator = vm.addr(OPERATOR_KEY + provider);
        terms.token = address(token);
        terms.arbiter = address(0x3000);
        terms.listingId = listings[provider];
        terms.machineHash = keccak256(abi.encode(provider));
        terms.pricePerSegment = 1 + uint96(price);
        // A good part of the free stake, so that locks and slashes meet what is unbonding; as often
        // all of it, so that a late ruling finds too little.
        uint256 free = escrow.freeStakeOf(terms.provider, address(token));
        terms.bond = uint96((seed >> 152) % 2 == 0 ? free : bond % (free / 2 + 2));
        terms.segments = 1 + uint16(seed % 8);
        terms.feeBps = escrow.feeBps();
        terms.auditBps = uint16((seed >> 8) % 2001);
        if (!isMetered) terms.reserveSegments = uint16((seed >> 88) % (terms.segments + 1)) / 2;
        terms.window = isMetered ? 0 : 1 + uint32((seed >> 24) % 100);
        terms.commitGrace = uint32((seed >> 32) % 60) + (isMetered ? 1 : 0);
        terms.disputeTimeout = 1 + uint32((seed >> 40) % 160);
        terms.openBy = type(uint40).max;
        terms.firstCommitWithin = 20 + uint32((seed >> 48) % 200);
        terms.maxDuration = 1 + uint32((seed >> 64) % 1000);
        terms.minSegmentSeconds = uint32((seed >> 80) % 8);
        if ((seed >> 136) % 4 == 0 && _ids.length != 0) {
            terms.predecessor = _ids[(seed >> 144) % _ids.length];
        }
        terms.nonce = ++_nonce;
    }

    function _pick(uint256 which, Wanted wanted) internal view returns (uint256 i) {
        i = which % _terms.length;
        if (which >> 250 < 16) return i;
        for (uint256 n = 0; n < _terms.length; ++n) {
            uint256 j = (i + n) % _terms.length;
            if (_isWanted(j, wanted)) return j;
        }
    }

    function _isWanted(uint256 i, Wanted wanted) private view returns (bool) {
        IEscrowTypes.Lease memory lease = _seen[i];
        bool isActive = lease.status == IEscrowTypes.LeaseStatus.Active;
        bool isMetered = _terms[i].window == 0;
        bool isPending = isActive && lease.pending > lease.paid;
        if (wanted == Wanted.Active) return isActive && !isMetered;
        if (wanted == Wanted.Pending) return isPending;
        if (wanted == Wanted.Mature) return isPending && vm.getBlockTimestamp() >= _maturesAt[i];
        if (wanted == Wanted.Metered) return isActive && isMetered;
        if (wanted == Wanted.Owed) return escrow.owedOf(_ids[i]) != 0;
        if (wanted == Wanted.Closed) return _isRulable(i);
        return lease.status == IEscrowTypes.LeaseStatus.Disputed;
    }

    /// @dev Whether a late ruling on a lease is allowed, and takes something.
    function _isRulable(uint256 i) internal view returns (bool) {
        IEscrowTypes.Lease memory lease = _seen[i];
        if (lease.status != IEscrowTypes.LeaseStatus.Closed || lease.paid == 0) return false;
        if (_terms[i].window == 0 || _terms[i].bond == 0 || _isProven[_ids[i]]) return false;
        return vm.getBlockTimestamp() < _maturesAt[i] + escrow.unbondingPeriod();
    }

    /// @dev Index for a new lease: when there are many, a closed one is forgotten for which nothing
    /// is owed, and nothing can be ruled any more.
    function _freePlace() internal view returns (uint256 i) {
        if (_terms.length < MAX_LEASES) return _terms.length;
        while (i < MAX_LEASES && !_isForgettable(i)) ++i;
    }

    function _isForgettable(uint256 i) private view returns (bool) {
        bool isClosed = _seen[i].status == IEscrowTypes.LeaseStatus.Closed;
        return isClosed && escrow.owedOf(_ids[i]) == 0 && !_isRulable(i);
    }

    function _allowAll(address account) internal {
        if (address(token) == address(0)) return;
        vm.prank(account);
        token.approve(address(escrow), type(uint256).max);
    }

    function _balanceOf(address account) internal view returns (uint256) {
        return address(token) == address(0) ? account.balance : token.balanceOf(account);
    }

    /// @dev What a call carries with it.
    function _valueOf(uint256 amount) internal view returns (uint256) {
        return address(token) == address(0) ? amount : 0;
    }

    function _provider(uint8 who) internal view returns (address) {
        return accounts[2 + who % 2];
    }

    function _sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function _call(address caller, bytes memory data, string memory what) internal returns (bool) {
        return _call(caller, 0, data, what);
    }

    function _call(address caller, uint256 value, bytes memory data, string memory what)
        internal
        returns (bool done)
    {
        bytes memory result;
        vm.prank(caller);
        (done, result) = address(escrow).call{value: value}(data);
        if (done) {
            ++count[what];
            return true;
        }
        _spender = address(0);
        // A refusal has a name; a panic is a mistake of the contract, whoever provoked it.
        vm.assertTrue(bytes4(result) != bytes4(0x4e487b71), "no panic");
    }
}
