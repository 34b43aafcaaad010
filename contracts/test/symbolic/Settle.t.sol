// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {vm} from "../utils/Vm.sol";
import {SymbolicTest} from "./SymbolicTest.sol";

/// @notice Payments: each matured segment once, at its price, out of the lease's own escrow.
contract SettleProof is SymbolicTest {
    function check_settle_paysWhatMatured(Amounts memory amounts, uint16 upTo) external {
        IEscrowTypes.Terms memory terms = _terms(amounts, MAX_SEGMENTS);
        _open(amounts, terms);
        upTo = _case(upTo, 1, MAX_SEGMENTS);
        _commit(terms, upTo);
        vm.warp(START + WINDOW);
        _do(STRANGER, abi.encodeCall(escrow.settle, (terms)));
        _assertPaid(amounts, terms, upTo);
    }

    function check_commit_paysWhatMatured(Amounts memory amounts, uint16 upTo) external {
        IEscrowTypes.Terms memory terms = _terms(amounts, MAX_SEGMENTS);
        _open(amounts, terms);
        upTo = _case(upTo, 1, MAX_SEGMENTS - 1);
        _commit(terms, upTo);
        vm.warp(START + WINDOW);
        _commit(terms, MAX_SEGMENTS);
        _assertPaid(amounts, terms, upTo);
    }

    function check_settleVoucher_paysWhatIsSigned(Amounts memory amounts, uint16 upTo) external {
        IEscrowTypes.Terms memory terms = _terms(amounts, MAX_SEGMENTS);
        terms.window = 0;
        _open(amounts, terms);
        upTo = _case(upTo, 1, MAX_SEGMENTS);
        _do(STRANGER, abi.encodeCall(escrow.settleVoucher, (terms, upTo, "")));
        _assertPaid(amounts, terms, upTo);
    }

    function _assertPaid(Amounts memory amounts, IEscrowTypes.Terms memory terms, uint16 paid)
        private
        view
    {
        Books memory expected = _opened(amounts);
        _addPayment(expected, amounts, paid);
        if (paid == MAX_SEGMENTS) _assertClosed(terms, expected);
        _assertBooks(expected);
        _assertConserved(terms, expected);
    }
}
