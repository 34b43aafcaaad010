// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {vm} from "../utils/Vm.sol";
import {SymbolicTest} from "./SymbolicTest.sol";

/// @notice Refunds: whatever is not paid goes back to the renter, and the bond is free.
contract RefundProof is SymbolicTest {
    function check_close_refundsWhatIsUnpaid(Amounts memory amounts, uint16 upTo) external {
        upTo = _case(upTo, 1, MAX_SEGMENTS - 1);
        IEscrowTypes.Terms memory terms = _committed(amounts, MAX_SEGMENTS, upTo);
        _warpToEnd();
        _do(STRANGER, abi.encodeCall(escrow.close, (terms)));
        Books memory expected = _opened(amounts);
        _addPayment(expected, amounts, upTo);
        expected.renter = _cost(amounts, MAX_SEGMENTS - upTo);
        _assertClosed(terms, expected);
        _assertBooks(expected);
        _assertConserved(terms, expected);
    }

    function check_close_givenNoCommit_refundsAll(Amounts memory amounts, bool stopped) external {
        IEscrowTypes.Terms memory terms = _terms(amounts, MAX_SEGMENTS);
        _open(amounts, terms);
        if (stopped) _do(renter, abi.encodeCall(escrow.stop, (terms)));
        _warpToEnd();
        _do(STRANGER, abi.encodeCall(escrow.close, (terms)));
        Books memory expected = _opened(amounts);
        expected.renter = _cost(amounts, MAX_SEGMENTS);
        _assertClosed(terms, expected);
        _assertBooks(expected);
        _assertConserved(terms, expected);
    }

    function check_rejectMachine_refundsAll(Amounts memory amounts) external {
        IEscrowTypes.Terms memory terms = _terms(amounts, MAX_SEGMENTS);
        _open(amounts, terms);
        _do(ARBITER, abi.encodeCall(escrow.rejectMachine, (terms, keccak256("report"), "")));
        Books memory expected = _opened(amounts);
        expected.renter = _cost(amounts, MAX_SEGMENTS);
        _assertClosed(terms, expected);
        _assertBooks(expected);
        _assertConserved(terms, expected);
    }

    function check_attestUnretrievable_refundsTheRest(Amounts memory amounts, uint16 good)
        external
    {
        good = _case(good, 0, MAX_SEGMENTS - 1);
        IEscrowTypes.Terms memory terms = _committed(amounts, MAX_SEGMENTS, MAX_SEGMENTS);
        _challenge(CHALLENGER, terms, MAX_SEGMENTS - 1);
        _do(ARBITER, abi.encodeCall(escrow.attestUnretrievable, (terms, good)));
        vm.warp(START + WINDOW);
        _do(STRANGER, abi.encodeCall(escrow.close, (terms)));
        Books memory expected = _opened(amounts);
        if (good != 0) _addPayment(expected, amounts, good);
        expected.renter = _cost(amounts, MAX_SEGMENTS - good);
        expected.challenger = _cost(amounts, 2);
        _assertClosed(terms, expected);
        _assertBooks(expected);
        _assertConserved(terms, expected);
    }
}
