// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {SymbolicTest} from "./SymbolicTest.sol";

/// @notice Reserve: the last segments are paid for a final checkpoint, and refunded without one.
contract ReserveProof is SymbolicTest {
    function check_close_paysTheReserveForAFinalCheckpointOnly(
        Amounts memory amounts,
        uint16 reserve,
        uint16 upTo
    ) external {
        reserve = _case(reserve, 1, MAX_SEGMENTS);
        upTo = _case(upTo, 1, MAX_SEGMENTS);
        IEscrowTypes.Terms memory terms = _terms(amounts, MAX_SEGMENTS);
        terms.reserveSegments = reserve;
        _open(amounts, terms);
        _commit(terms, upTo);
        _warpToEnd();
        _do(STRANGER, abi.encodeCall(escrow.close, (terms)));
        uint16 free = MAX_SEGMENTS - reserve;
        uint16 paid = upTo == MAX_SEGMENTS || upTo < free ? upTo : free;
        Books memory expected = _opened(amounts);
        if (paid != 0) _addPayment(expected, amounts, paid);
        expected.renter = _cost(amounts, MAX_SEGMENTS - paid);
        _assertClosed(terms, expected);
        _assertBooks(expected);
        _assertConserved(terms, expected);
    }
}
