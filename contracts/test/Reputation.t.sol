// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// reputationOf
// ├── given payments for segments that could be challenged: it should sum them, shares included
// ├── given vouchers, or a dispute without ruling: it should count nothing of them
// ├── given a lease that completes, that is lost in one of three ways, or fraud, late or not: it
// │   should count it
// ├── given another ending, or a lease without a bond: it should count nothing
// └── credit and what was proved, counters and stake: neither should touch the other
contract ReputationTest is EscrowTest {
    function test_reputation_givenNothing_isZero() external view {
        _assertReputation(0, 0, 0, 0);
    }

    function test_reputation_givenPayments_sumsThem() external {
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        vm.warp(START + 50 + WINDOW);
        escrow.settle(terms);
        _assertReputation(4 * uint256(PRICE), 0, 0, 0);
        _commit(terms, SEGMENTS);
        vm.warp(START + 50 + 2 * WINDOW);
        escrow.settle(terms);
        _assertReputation(COST, 1, 0, 0);
    }

    function test_reputation_givenVouchers_countsTheEndingOnly() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        _open(terms);
        escrow.settleVoucher(terms, 4, _voucher(terms, 4));
        _assertReputation(0, 0, 0, 0);
        escrow.settleVoucher(terms, SEGMENTS, _voucher(terms, SEGMENTS));
        _assertReputation(0, 1, 0, 0);
    }

    function test_reputation_givenDisputeWithoutRuling_countsNothing() external {
        (IEscrowTypes.Terms memory terms,) = _disputed(4, 3);
        vm.warp(START + 70 + DISPUTE_TIMEOUT);
        escrow.timeoutDispute(terms);
        vm.assertTrue(_credits().provider != 0, "a half was paid");
        _assertReputation(0, 0, 0, 0);
    }

    function test_reputation_givenFraud_countsItAndTheGoodSegments() external {
        (IEscrowTypes.Terms memory terms,) = _disputed(4, 3);
        _rule(terms, true, 3);
        _assertReputation(3 * uint256(PRICE), 0, 0, 1);
    }

    function test_reputation_givenNoCommit_countsALoss() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        vm.warp(START + FIRST_COMMIT + 1);
        _close(STRANGER, terms);
        _assertReputation(0, 0, 1, 0);
    }

    /// @dev Else a provider would give up at no cost what it does not want.
    function test_reputation_givenProviderThatGivesUpBeforeACommit_countsALoss() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        _close(PROVIDER, terms);
        _assertReputation(0, 0, 1, 0);
        terms.nonce = 2;
        _open(terms);
        _close(operator, terms);
        _assertReputation(0, 0, 2, 0);
    }

    function test_reputation_givenMachineThatFails_countsALoss() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        vm.prank(ARBITER);
        escrow.rejectMachine(terms, "report", "");
        _assertReputation(0, 0, 1, 0);
    }

    function test_reputation_givenCheckpointsThatAreGone_countsALoss() external {
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        vm.prank(ARBITER);
        escrow.attestUnretrievable(terms, 2);
        vm.warp(START + 50 + WINDOW);
        _close(STRANGER, terms);
        _assertReputation(2 * uint256(PRICE), 0, 1, 0);
    }

    /// @dev What was paid stays proved: nothing is taken back of it.
    function test_reputation_givenLateFraud_countsItBesideTheEnding() external {
        (IEscrowTypes.Terms memory terms,) = _committed(4);
        vm.warp(START + 50 + WINDOW);
        _close(PROVIDER, terms);
        vm.prank(ARBITER);
        escrow.ruleLate(terms, 1);
        _assertReputation(4 * uint256(PRICE), 0, 0, 1);
    }

    function test_reputation_givenLateFraudWithoutBond_countsNothing() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.bond = 0;
        _open(terms);
        vm.warp(START + 50);
        _commit(terms, 4);
        vm.warp(START + 50 + WINDOW);
        _close(PROVIDER, terms);
        vm.prank(ARBITER);
        escrow.ruleLate(terms, 1);
        _assertReputation(4 * uint256(PRICE), 0, 0, 0);
    }

    function test_reputation_givenOtherEndings_countsNothing() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        _stop(terms);
        vm.warp(START + GRACE + 1);
        _close(STRANGER, terms);
        IEscrowTypes.Terms memory metered = _meteredTerms();
        metered.nonce = 2;
        _open(metered);
        _close(PROVIDER, metered);
        _assertReputation(0, 0, 0, 0);
        terms.nonce = 3;
        uint256 begin = vm.getBlockTimestamp();
        _open(terms);
        vm.warp(begin + 50);
        _commit(terms, 4);
        vm.warp(begin + 50 + WINDOW);
        _close(PROVIDER, terms);
        _assertReputation(4 * uint256(PRICE), 0, 0, 0);
    }

    function test_reputation_givenNoBond_countsPaymentsOnly() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.bond = 0;
        _open(terms);
        vm.warp(START + FIRST_COMMIT + 1);
        _close(STRANGER, terms);
        (terms.nonce, terms.segments) = (2, 1);
        _open(terms);
        vm.warp(START + FIRST_COMMIT + 20);
        _commit(terms, 1);
        vm.warp(START + FIRST_COMMIT + 20 + WINDOW);
        escrow.settle(terms);
        _assertReputation(PRICE, 0, 0, 0);
    }

    /// @dev Credit comes and goes; what was proved stays, and the other way round.
    function test_reputation_givenAnyPrices_leavesCreditAlone(uint80 price, uint80 other)
        external
    {
        (uint96 first, uint96 second) = (1 + uint96(price), 1 + uint96(other));
        uint256 paid = _payOne(1, first);
        vm.assertEq(escrow.creditOf(address(token), PROVIDER), paid, "credit");
        _assertReputation(first, 1, 0, 0);
        vm.prank(PROVIDER);
        escrow.withdraw(address(token), PROVIDER, paid);
        vm.assertEq(escrow.creditOf(address(token), PROVIDER), 0, "withdrawn");
        _assertReputation(first, 1, 0, 0);
        paid = _payOne(2, second);
        vm.assertEq(escrow.creditOf(address(token), PROVIDER), paid, "credit");
        _assertReputation(uint256(first) + second, 2, 0, 0);
        _assertStake(STAKE, 0, 0);
    }

    /// @dev At the bounds of every packed field: the dearest lease, and the largest stake and bond.
    function test_reputation_givenTheLargestAmounts_keepsFieldsApart() external {
        uint256 most = type(uint88).max;
        token.mint(PROVIDER, most);
        token.mint(renter, most);
        vm.prank(PROVIDER);
        escrow.stake(address(token), most - STAKE);
        IEscrowTypes.Terms memory terms = _terms();
        (terms.pricePerSegment, terms.segments) = (uint96(most), 1);
        terms.bond = uint96(most);
        _open(terms);
        _assertStake(most, most, 0);
        vm.warp(START + 50);
        _commit(terms, 1);
        vm.warp(START + 50 + WINDOW);
        escrow.settle(terms);
        _assertStake(most, 0, 0);
        _assertReputation(most, 1, 0, 0);
        (uint256 a,,) = _split(most);
        vm.assertEq(escrow.creditOf(address(token), PROVIDER), a, "credit");
    }

    function test_stake_whenMoreThanItsField_reverts() external {
        uint256 tooMuch = uint256(type(uint88).max) + 1;
        token.mint(PROVIDER, tooMuch);
        vm.expectRevert(
            abi.encodeWithSignature(
                "SafeCastOverflowedUintDowncast(uint8,uint256)", uint8(88), tooMuch
            )
        );
        vm.prank(PROVIDER);
        escrow.stake(address(token), tooMuch);
    }

    /// @dev The field of the stake that holds the counters is written here as a long history would.
    function test_counters_stopAtTheHighestNumber() external {
        bytes32 slot = keccak256(
            abi.encode(address(token), keccak256(abi.encode(PROVIDER, _slotOfStakes())))
        );
        uint256 word = uint256(vm.load(address(escrow), slot));
        vm.assertEq(uint88(word), STAKE, "this is the stake");
        vm.store(address(escrow), slot, bytes32(word | uint256(type(uint72).max) << 184));
        uint256 highest = type(uint24).max;
        _assertReputation(0, highest, highest, highest);
        _payOne(1, PRICE);
        IEscrowTypes.Terms memory terms = _terms();
        terms.nonce = 2;
        uint256 begin = vm.getBlockTimestamp();
        _open(terms);
        vm.warp(begin + FIRST_COMMIT + 1);
        _close(STRANGER, terms);
        terms.nonce = 3;
        begin = vm.getBlockTimestamp();
        _open(terms);
        vm.warp(begin + 50);
        _commit(terms, 4);
        _challenge(CHALLENGER, terms, 0);
        _rule(terms, true, 0);
        _assertReputation(PRICE, highest, highest, highest);
        _assertStake(STAKE - BOND, 0, 0);
    }

    // ------------------------------------------------------------------------------------- tools

    /// @dev A whole lease of one segment; what it paid the provider.
    function _payOne(uint64 nonce, uint96 price) private returns (uint256 paid) {
        IEscrowTypes.Terms memory terms = _terms();
        (terms.nonce, terms.segments, terms.pricePerSegment) = (nonce, 1, price);
        token.mint(renter, price);
        uint256 begin = vm.getBlockTimestamp();
        _open(terms);
        vm.warp(begin + 50);
        _commit(terms, 1);
        vm.warp(begin + 50 + WINDOW);
        escrow.settle(terms);
        (paid,,) = _split(price);
    }

    /// @dev Looked for, so that another layout of storage does not make the test look elsewhere.
    function _slotOfStakes() private view returns (uint256 i) {
        for (; i < 32; ++i) {
            bytes32 slot =
                keccak256(abi.encode(address(token), keccak256(abi.encode(PROVIDER, i))));
            if (uint88(uint256(vm.load(address(escrow), slot))) == STAKE) return i;
        }
        vm.assertTrue(false, "no slot holds the stake");
    }

    function _assertReputation(uint256 proved, uint256 completed, uint256 lost, uint256 slashed)
        private
        view
    {
        (uint256 a, uint256 b, uint256 c, uint256 d) =
            escrow.reputationOf(PROVIDER, address(token));
        vm.assertEq(a, proved, "proved");
        vm.assertEq(b, completed, "completed");
        vm.assertEq(c, lost, "lost");
        vm.assertEq(d, slashed, "slashed");
    }
}
