// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// collect
// ├── given nothing accrued: it should revert
// ├── given shares of several leases: it should credit their sum to the two receivers, once
// └── given other tokens: it should leave their shares alone
contract CollectTest is EscrowTest {
    function test_collect_givenNothing_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.AmountMissing.selector));
        escrow.collect(address(token));
    }

    function test_collect_givenShares_creditsTheirSumOnce(address caller) external {
        uint256 fees = _pays(1, 3);
        fees += _pays(2, 4);
        uint256 auditShares =
            3 * uint256(PRICE) * AUDIT_BPS / 10_000 + 4 * uint256(PRICE) * AUDIT_BPS / 10_000;
        (uint256 accruedFees, uint256 accruedShares) = escrow.accruedOf(address(token));
        vm.assertEq(accruedFees, fees, "accrued fees");
        vm.assertEq(accruedShares, auditShares, "accrued audit shares");
        vm.assertEq(escrow.creditOf(address(token), TREASURY), 0, "not yet credited");
        _expectEmit();
        emit IEscrowTypes.Collected(address(token), TREASURY, fees, AUDIT_POOL, auditShares);
        vm.prank(caller);
        escrow.collect(address(token));
        vm.assertEq(escrow.creditOf(address(token), TREASURY), fees, "treasury");
        vm.assertEq(escrow.creditOf(address(token), AUDIT_POOL), auditShares, "audit pool");
        (accruedFees, accruedShares) = escrow.accruedOf(address(token));
        vm.assertEq(accruedFees + accruedShares, 0, "moved");
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.AmountMissing.selector));
        escrow.collect(address(token));
    }

    function test_collect_givenOneShareOnly_credits() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        terms.auditBps = 0;
        _open(terms);
        escrow.settleVoucher(terms, 1, _voucher(terms, 1));
        escrow.collect(address(token));
        uint256 fee = uint256(PRICE) * FEE_BPS / 10_000;
        vm.assertEq(escrow.creditOf(address(token), TREASURY), fee, "treasury");
    }

    function test_collect_givenOtherToken_leavesItAlone() external {
        _pays(1, 3);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.AmountMissing.selector));
        escrow.collect(address(secondToken));
    }

    function _pays(uint64 nonce, uint16 segments) private returns (uint256 fee) {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        terms.nonce = nonce;
        _open(terms);
        escrow.settleVoucher(terms, segments, _voucher(terms, segments));
        return segments * uint256(PRICE) * FEE_BPS / 10_000;
    }
}
