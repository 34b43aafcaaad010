// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IArbiterQuorum} from "../../src/interfaces/IArbiterQuorum.sol";
import {IAuditorRegistry} from "../../src/interfaces/IAuditorRegistry.sol";
import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {ILeaseEscrow} from "../../src/interfaces/ILeaseEscrow.sol";
import {ITestToken} from "./Interfaces.sol";
import {vm} from "./Vm.sol";

/// @notice Drives a registry at random: auditors who come and go, a distributor who may lie about
/// totals, judges who slash. Calls that the registry refuses are part of the game.
contract RegistryHandler {
    uint256 public constant NUM_AUDITORS = 4;
    uint256 private constant NUM_CLASSES = 2;

    IAuditorRegistry private immutable _registry;
    IArbiterQuorum private immutable _quorum;
    ILeaseEscrow private immutable _escrow;
    ITestToken private immutable _token;
    address private immutable _distributor;

    mapping(string what => uint256) public count;
    /// @notice Sum of all slashes.
    uint256 public slashed;
    /// @notice Sent to the registry and not taken in yet.
    uint256 public uncollected;

    mapping(address account => mapping(uint16 segment => uint256)) private _taken;
    IEscrowTypes.Terms private _terms;
    uint256[] private _judgeKeys;
    uint256[NUM_AUDITORS] private _leaves;
    /// @dev A block and what counted then, kept to be compared later.
    uint256 private _seenBlock;
    bytes32 private _seen;

    constructor(
        IAuditorRegistry registry,
        IArbiterQuorum quorum,
        ILeaseEscrow escrow,
        ITestToken token,
        address distributor,
        IEscrowTypes.Terms memory terms,
        uint256[] memory judgeKeys
    ) {
        (_registry, _quorum, _escrow, _token, _distributor) =
        (registry, quorum, escrow, token, distributor);
        (_terms, _judgeKeys) = (terms, judgeKeys);
    }

    function auditorAt(uint256 i) public pure returns (address) {
        return address(uint160(0x7001 + i));
    }

    function step(uint256 seed) external {
        vm.warp(vm.getBlockTimestamp() + seed % 400);
        vm.roll(block.number + (seed >> 16) % 3);
        uint256 kind = (seed >> 32) % 11;
        address account = auditorAt((seed >> 48) % NUM_AUDITORS);
        uint256 r = seed >> 64;
        if (kind < 2) _bond(account, r % 2_000_000);
        else if (kind == 2) _unbond(account, r);
        else if (kind == 3) _claimUnbond(account);
        else if (kind == 4) _enroll(account, bytes32(1 + r % NUM_CLASSES));
        else if (kind == 5) _slash(account, r);
        else if (kind == 6) _send(r % 10_000);
        else if (kind == 7) _post(r);
        else if (kind < 10) _claim((seed >> 48) % NUM_AUDITORS, r % 4 == 0);
        else _withdraw(account, r);
        _checkRecord();
    }

    function _bond(address account, uint256 amount) private {
        _call(account, abi.encodeCall(_registry.bond, (address(_quorum), amount)), "bond");
    }

    function _unbond(address account, uint256 r) private {
        uint256 bonded = _registry.auditorOf(address(_quorum), account).bonded;
        uint256 amount = r % 3 == 0 ? bonded + r % 2 : r % (bonded + 2);
        _call(account, abi.encodeCall(_registry.unbond, (address(_quorum), amount)), "unbond");
    }

    function _claimUnbond(address account) private {
        _call(account, abi.encodeCall(_registry.claimUnbond, (address(_quorum))), "claimUnbond");
    }

    function _enroll(address account, bytes32 hardwareClass) private {
        bytes memory data =
            abi.encodeCall(_registry.enroll, (address(_quorum), hardwareClass, keccak256("key")));
        _call(account, data, "enroll");
    }

    function _slash(address account, uint256 r) private {
        IAuditorRegistry.AuditFault fault = r % 2 == 0
            ? IAuditorRegistry.AuditFault.WrongReport
            : IAuditorRegistry.AuditFault.NoReport;
        uint16 segment = uint16((r >> 8) % _terms.segments);
        bytes32 digest =
            _quorum.auditVerdictDigest(_escrow.leaseIdOf(_terms), segment, account, fault);
        bytes[] memory signatures = new bytes[](2);
        for (uint256 i = 0; i < 2; ++i) {
            (uint8 v, bytes32 a, bytes32 b) = vm.sign(_judgeKeys[i], digest);
            signatures[i] = abi.encodePacked(a, b, v);
        }
        uint256 before = _registry.creditOf(address(_token), _terms.renter);
        bytes memory data =
            abi.encodeCall(_quorum.slashAuditor, (_terms, segment, account, fault, signatures));
        (bool done,) = address(_quorum).call(data);
        if (!done) return;
        ++count[r % 2 == 0 ? "wrong" : "missing"];
        uint256 amount = _registry.creditOf(address(_token), _terms.renter) - before;
        vm.assertLe(amount, _registry.slashOf(address(_quorum), fault), "slash <= allowed");
        slashed += amount;
        _taken[account][segment] += amount;
        vm.assertLe(
            _taken[account][segment],
            _registry.slashOf(address(_quorum), IAuditorRegistry.AuditFault.WrongReport),
            "one audit costs no more than one wrong report"
        );
    }

    function _send(uint256 amount) private {
        uncollected += amount;
        ++count["send"];
        _token.transfer(address(_registry), amount);
    }

    /// @dev Leaves grow, with a sum that may exceed the total named with the root.
    function _post(uint256 r) private {
        bytes32[NUM_AUDITORS] memory hashes;
        uint256[NUM_AUDITORS] memory leaves = _leaves;
        uint256 sum;
        for (uint256 i = 0; i < NUM_AUDITORS; ++i) {
            leaves[i] += (r >> (16 * i)) % 3000;
            sum += leaves[i];
            hashes[i] = _leaf(i, leaves[i]);
        }
        bytes32 root = _pair(_pair(hashes[0], hashes[1]), _pair(hashes[2], hashes[3]));
        uint256 total = r % 5 == 0 ? sum / 2 : sum;
        bytes memory data = abi.encodeCall(_registry.postPayRoot, (address(_token), root, total));
        if (!_call(_distributor, data, "post")) return;
        _leaves = leaves;
        uncollected = 0;
    }

    function _claim(uint256 i, bool isLie) private {
        uint256 amount = _leaves[i] + (isLie ? 1 : 0);
        bytes32[] memory proof = new bytes32[](2);
        uint256 pair = i / 2 * 2;
        proof[0] = _leaf(i ^ 1, _leaves[i ^ 1]);
        uint256 other = pair == 0 ? 2 : 0;
        proof[1] = _pair(_leaf(other, _leaves[other]), _leaf(other + 1, _leaves[other + 1]));
        bytes memory data =
            abi.encodeCall(_registry.claimPay, (address(_token), auditorAt(i), amount, proof));
        bool done = _call(address(this), data, "claim");
        vm.assertTrue(!(done && isLie), "only what is in the root");
    }

    function _withdraw(address account, uint256 r) private {
        uint256 credit = _registry.creditOf(address(_token), account);
        uint256 amount = r % 4 == 0 ? credit + 1 : r % (credit + 1);
        bytes memory data = r % 2 == 0
            ? abi.encodeCall(_registry.withdraw, (address(_token), account, amount))
            : abi.encodeCall(_registry.withdrawTo, (address(_token), account));
        uint256 before = _token.balanceOf(account);
        if (!_call(account, data, "withdraw")) return;
        uint256 sent = _token.balanceOf(account) - before;
        vm.assertLe(sent, credit, "withdrawn <= credit");
        uint256 left = _registry.creditOf(address(_token), account);
        vm.assertEq(left, credit - sent, "debited");
    }

    /// @dev What counted at the end of a past block stays what it was.
    function _checkRecord() private {
        if (_seenBlock != 0) {
            vm.assertEq(_recordAt(_seenBlock), _seen, "the past does not change");
        }
        if (block.number % 7 != 0 || _seenBlock == block.number - 1) return;
        _seenBlock = block.number - 1;
        _seen = _recordAt(_seenBlock);
    }

    function _recordAt(uint256 blockNumber) private view returns (bytes32 record) {
        for (uint256 i = 0; i < NUM_CLASSES; ++i) {
            (address[] memory auditors, uint256[] memory bonds) = _registry.auditorsAt(
                address(_quorum), bytes32(1 + i), blockNumber, 0, type(uint256).max
            );
            record = keccak256(abi.encode(record, auditors, bonds));
        }
    }

    function _leaf(uint256 i, uint256 amount) private view returns (bytes32) {
        return
            keccak256(bytes.concat(keccak256(abi.encode(address(_token), auditorAt(i), amount))));
    }

    function _pair(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
    }

    function _call(address caller, bytes memory data, string memory what)
        private
        returns (bool done)
    {
        bytes memory result;
        vm.prank(caller);
        (done, result) = address(_registry).call(data);
        if (done) ++count[what];
        // A refusal has a name; a panic is a mistake of the contract, whoever provoked it.
        else vm.assertTrue(bytes4(result) != bytes4(0x4e487b71), "no panic");
    }
}
