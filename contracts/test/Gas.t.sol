// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILeaseEscrow} from "../src/interfaces/ILeaseEscrow.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

/// @notice Gas of the main calls, each its own transaction, with its base cost and call data.
/// "steady" is what a market in use pays: its parties have credits, and the slots are not new.
/// The figures are kept in `snapshots/GasTest.json`, and a change of any of them fails the test;
/// `npm run gas` prints and rewrites them.
/// forge-config: default.isolate = true
/// forge-config: lite.isolate = true
/// forge-config: ci.isolate = true
contract GasTest is EscrowTest {
    event GasUsed(string name, uint256 gas);

    function test_gas_listing() external {
        vm.prank(PROVIDER);
        bytes32 id = escrow.list(CLASS, address(token), 1, operator, new bytes(1024));
        _measure("list, document of 1 KiB");
        vm.prank(PROVIDER);
        escrow.reprice(id, 2);
        _measure("reprice");
        vm.prank(PROVIDER);
        escrow.stake(address(token), 1);
        _measure("stake, steady");
        vm.prank(PROVIDER);
        escrow.unbond(address(token), 1);
        _measure("unbond");
    }

    function test_gas_lease() external {
        _commits(1);
        _measure("commit that pays the one before, first credits");
        _settles(1);
        _commits(2);
        _measure("commit that pays the one before, steady");
        _settles(2);
        vm.prank(STRANGER);
        escrow.withdrawTo(address(token), PROVIDER);
        _measure("withdrawTo");
    }

    function test_gas_metered() external {
        ILeaseEscrow.Terms memory terms = _meteredTerms();
        _warmCredits();
        _open(terms);
        bytes memory signature = _voucher(terms, 2);
        escrow.settleVoucher(terms, 2, signature);
        _measure("settleVoucher, steady");
        vm.prank(renter);
        escrow.stop(terms);
        _measure("stop");
        vm.prank(operator);
        escrow.close(terms);
        _measure("close with refund, steady");
    }

    function test_gas_settleMany() external {
        vm.prank(PROVIDER);
        escrow.stake(address(token), 20 * uint256(BOND));
        _warmCredits();
        ILeaseEscrow.Terms[] memory all = new ILeaseEscrow.Terms[](10);
        for (uint64 i = 0; i < all.length; ++i) {
            all[i] = _terms();
            all[i].nonce = 10 + i;
            _open(all[i]);
        }
        vm.warp(START + 50);
        for (uint256 i = 0; i < all.length; ++i) {
            _commit(all[i], 4);
        }
        vm.warp(START + 50 + WINDOW);
        escrow.settleMany(all);
        _measure("settleMany of 10, steady");
    }

    function test_gas_dispute() external {
        _warmCredits();
        (ILeaseEscrow.Terms memory terms,) = _committed(4);
        vm.prank(CHALLENGER);
        escrow.challenge(terms, 3);
        _measure("challenge");
        vm.prank(OTHER);
        escrow.challenge(terms, 1);
        _measure("challenge, pointing lower");
        vm.prank(ARBITER);
        escrow.rule(terms, false, 4);
        _measure("rule, honest");
        vm.prank(CHALLENGER);
        escrow.challenge(terms, 3);
        vm.prank(ARBITER);
        escrow.rule(terms, true, 2);
        _measure("rule, fraud");
    }

    function test_gas_timeout() external {
        _warmCredits();
        (ILeaseEscrow.Terms memory terms,) = _disputed(4, 3);
        vm.warp(START + 70 + DISPUTE_TIMEOUT);
        vm.prank(STRANGER);
        escrow.timeoutDispute(terms);
        _measure("timeoutDispute");
    }

    function _commits(uint64 nonce) private {
        ILeaseEscrow.Terms memory terms = _lease(nonce);
        uint256 begin = vm.getBlockTimestamp();
        _open(terms);
        _measure("open");
        vm.warp(begin + 100);
        _commit(terms, 4);
        _measure("commit, first of the lease");
        vm.warp(begin + 100 + WINDOW);
        _commit(terms, 8);
    }

    function _settles(uint64 nonce) private {
        ILeaseEscrow.Terms memory terms = _lease(nonce);
        vm.warp(vm.getBlockTimestamp() + WINDOW);
        escrow.settle(terms);
        _measure("settle, steady");
        _commit(terms, SEGMENTS);
        vm.warp(vm.getBlockTimestamp() + WINDOW);
        escrow.settle(terms);
        _measure("settle that completes, steady");
    }

    function _lease(uint64 nonce) private view returns (ILeaseEscrow.Terms memory terms) {
        terms = _terms();
        terms.nonce = nonce;
        terms.firstCommitWithin = 200;
    }

    /// @dev Gives every receiver a credit.
    function _warmCredits() private {
        ILeaseEscrow.Terms memory terms = _meteredTerms();
        terms.nonce = 1000;
        _open(terms);
        escrow.settleVoucher(terms, 1, _voucher(terms, 1));
        _close(PROVIDER, terms);
    }

    function _measure(string memory name) private {
        emit GasUsed(name, vm.snapshotGasLastCall(name));
    }
}
