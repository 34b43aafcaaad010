// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IArbiterQuorum} from "../src/interfaces/IArbiterQuorum.sol";
import {IAuditorRegistry} from "../src/interfaces/IAuditorRegistry.sol";
import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {IOwnable} from "./utils/Interfaces.sol";
import {RegistryTest} from "./utils/RegistryTest.sol";
import {FeeToken, PlainToken, ReentrantToken} from "./utils/Tokens.sol";
import {vm} from "./utils/Vm.sol";

// constructor
// └── when an address is missing or a period too long: it should revert
// bond
// ├── under an unknown quorum, or of nothing: it should revert
// ├── given a token with a fee: it should revert
// └── it should add to the bond and emit
// unbond
// ├── of nothing, or more than is bonded: it should revert
// └── it should leave the draw at once, and start the period again for all
// claimUnbond
// ├── before the period is over, or with nothing unbonding: it should revert
// └── it should credit the auditor once
// enroll
// ├── under an unknown quorum, without class or key, or with too low a bond: it should revert
// └── it should emit the key, and move the account from its old class to the new
// record for the draw
// ├── of this block or a later one: it should revert
// ├── it should say what counted at the end of a past block, whatever came later
// └── pages should cover all who enrolled, without those whose bond was too low
// slash
// ├── by another than a quorum: it should revert
// ├── twice for the same segment and fault, or of nothing: it should revert
// ├── for a wrong report after a missing one: it should take the rest, and no more
// └── it should take from the bond first, then from what is unbonding, for the renter
// withdraw, withdrawTo
// ├── of nothing, too much, or to a wrong recipient: it should revert
// └── it should send the credit, for anybody to the account itself
contract AuditorRegistryTest is RegistryTest {
    // ------------------------------------------------------------------------------ constructor

    function test_constructor_whenAnArgumentIsWrong_reverts() external {
        bytes memory missing = abi.encodeWithSelector(IAuditorRegistry.AddressMissing.selector);
        (address o, address e, address d, address t) =
            (REGISTRY_OWNER, address(escrow), DISTRIBUTOR, address(token));
        _expectNoRegistry(abi.encode(o, address(0), d, t, 1, 1), missing);
        _expectNoRegistry(abi.encode(o, e, address(0), t, 1, 1), missing);
        _expectNoRegistry(abi.encode(o, e, d, address(0), 1, 1), missing);
        _expectNoRegistry(
            abi.encode(o, e, d, t, 180 days + 1, 1),
            abi.encodeWithSelector(IAuditorRegistry.PeriodTooLong.selector, 180 days + 1, 180 days)
        );
        _expectNoRegistry(
            abi.encode(o, e, d, t, 1, 30 days + 1),
            abi.encodeWithSelector(IAuditorRegistry.PeriodTooLong.selector, 30 days + 1, 30 days)
        );
    }

    function test_constructor_setsWhatItWasGiven() external view {
        vm.assertEq(registry.escrow(), address(escrow), "escrow");
        vm.assertEq(registry.bondToken(), address(token), "bond token");
        vm.assertEq(registry.distributor(), DISTRIBUTOR, "distributor");
        vm.assertEq(registry.unbondingPeriod(), AUDIT_UNBONDING, "unbonding period");
        vm.assertEq(registry.payDelay(), PAY_DELAY, "pay delay");
        vm.assertEq(IOwnable(address(registry)).owner(), REGISTRY_OWNER, "owner");
        vm.assertTrue(registry.isQuorum(address(quorum)), "quorum");
        vm.assertTrue(!registry.isQuorum(STRANGER), "no quorum");
    }

    // ------------------------------------------------------------------------------------- bond

    function test_bond_underUnknownQuorum_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IAuditorRegistry.QuorumUnknown.selector, STRANGER));
        vm.prank(AUDITOR);
        registry.bond(STRANGER, 5);
    }

    function test_bond_ofNothing_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IAuditorRegistry.AmountMissing.selector));
        _bond(AUDITOR, 0);
    }

    function test_bond_givenTokenWithFee_reverts() external {
        PlainToken fee = new FeeToken();
        registry = _newRegistry(address(fee));
        quorum = IArbiterQuorum(registry.createQuorum(judges, 2, MIN_BOND));
        fee.mint(AUDITOR, 100);
        vm.prank(AUDITOR);
        fee.approve(address(registry), 100);
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditorRegistry.ReceivedAmountDiffers.selector, address(fee), 100, 99
            )
        );
        _bond(AUDITOR, 100);
    }

    function test_bond_addsAndEmits() external {
        _expectRegistryEvent();
        emit IAuditorRegistry.AuditorBonded(address(quorum), AUDITOR, 40, 40);
        _bond(AUDITOR, 40);
        _expectRegistryEvent();
        emit IAuditorRegistry.AuditorBonded(address(quorum), AUDITOR, 2, 42);
        _bond(AUDITOR, 2);
        _assertAuditor(AUDITOR, 42, 0);
        vm.assertEq(token.balanceOf(address(registry)), 3 * MIN_BOND + 42, "balance");
        vm.assertTrue(!registry.isBonded(address(quorum), AUDITOR), "below the least bond");
        _bond(AUDITOR, MIN_BOND - 42);
        vm.assertTrue(registry.isBonded(address(quorum), AUDITOR), "the least bond");
    }

    function test_bond_whenTheTokenCallsBack_everyFunctionIsClosed() external {
        ReentrantToken hostile = new ReentrantToken();
        registry = _newRegistry(address(hostile));
        quorum = IArbiterQuorum(registry.createQuorum(judges, 2, MIN_BOND));
        hostile.mint(AUDITOR, 1000);
        vm.prank(AUDITOR);
        hostile.approve(address(registry), 1000);
        bytes[10] memory calls = [
            abi.encodeCall(registry.bond, (address(quorum), 1)),
            abi.encodeCall(registry.unbond, (address(quorum), 1)),
            abi.encodeCall(registry.claimUnbond, (address(quorum))),
            abi.encodeCall(registry.enroll, (address(quorum), HARDWARE, ENCRYPTION_KEY)),
            abi.encodeCall(registry.collect, (address(hostile))),
            abi.encodeCall(registry.postPayRoot, (address(hostile), HARDWARE, 1)),
            abi.encodeCall(registry.claimPay, (address(hostile), AUDITOR, 1, new bytes32[](0))),
            abi.encodeCall(registry.withdrawTo, (address(hostile), AUDITOR)),
            abi.encodeCall(registry.withdraw, (address(hostile), AUDITOR, 1)),
            abi.encodeCall(registry.createQuorum, (judges, 2, MIN_BOND))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            hostile.arm(address(registry), calls[i]);
            _bond(AUDITOR, 1);
            vm.assertTrue(hostile.called() && !hostile.succeeded(), "closed");
            bytes4 reason = bytes4(hostile.result());
            vm.assertTrue(reason == IOwnable.ReentrancyGuardReentrantCall.selector, "by guard");
        }
    }

    // ----------------------------------------------------------------------------------- unbond

    function test_unbond_ofNothingOrTooMuch_reverts() external {
        _bond(AUDITOR, 40);
        vm.expectRevert(abi.encodeWithSelector(IAuditorRegistry.AmountMissing.selector));
        _unbond(AUDITOR, 0);
        vm.expectRevert(abi.encodeWithSelector(IAuditorRegistry.UnbondTooHigh.selector, 41, 40));
        _unbond(AUDITOR, 41);
    }

    function test_unbond_leavesTheDrawAndStartsThePeriodAgain() external {
        _bond(AUDITOR, MIN_BOND + 10);
        _enroll(AUDITOR, HARDWARE);
        vm.roll(START_BLOCK + 1);
        _expectRegistryEvent();
        emit IAuditorRegistry.AuditorUnbondStarted(
            address(quorum), AUDITOR, 11, MIN_BOND - 1, 11, uint40(START + AUDIT_UNBONDING)
        );
        _unbond(AUDITOR, 11);
        vm.warp(START + AUDIT_UNBONDING - 1);
        _expectRegistryEvent();
        emit IAuditorRegistry.AuditorUnbondStarted(
            address(quorum), AUDITOR, 4, MIN_BOND - 5, 15, uint40(START + 2 * AUDIT_UNBONDING - 1)
        );
        _unbond(AUDITOR, 4);
        _assertAuditor(AUDITOR, MIN_BOND - 5, 15);
        vm.roll(START_BLOCK + 2);
        vm.assertEq(_bondAt(START_BLOCK), MIN_BOND + 10, "before");
        vm.assertEq(_bondAt(START_BLOCK + 1), MIN_BOND - 5, "after");
        vm.assertTrue(!registry.isBonded(address(quorum), AUDITOR), "not bonded");
    }

    // ------------------------------------------------------------------------------ claimUnbond

    function test_claimUnbond_whenNothingOrTooEarly_reverts() external {
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditorRegistry.NothingUnbonding.selector, address(quorum), AUDITOR
            )
        );
        vm.prank(AUDITOR);
        registry.claimUnbond(address(quorum));
        _bond(AUDITOR, 40);
        _unbond(AUDITOR, 40);
        vm.warp(START + AUDIT_UNBONDING - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditorRegistry.UnbondingNotOver.selector,
                START + AUDIT_UNBONDING - 1,
                START + AUDIT_UNBONDING
            )
        );
        vm.prank(AUDITOR);
        registry.claimUnbond(address(quorum));
    }

    function test_claimUnbond_creditsOnce() external {
        _bond(AUDITOR, 40);
        _unbond(AUDITOR, 30);
        vm.warp(START + AUDIT_UNBONDING);
        _expectRegistryEvent();
        emit IAuditorRegistry.AuditorUnbonded(address(quorum), AUDITOR, 30);
        vm.prank(AUDITOR);
        registry.claimUnbond(address(quorum));
        _assertAuditor(AUDITOR, 10, 0);
        vm.assertEq(_registryCredit(AUDITOR), 30, "credit");
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditorRegistry.NothingUnbonding.selector, address(quorum), AUDITOR
            )
        );
        vm.prank(AUDITOR);
        registry.claimUnbond(address(quorum));
    }

    // ----------------------------------------------------------------------------------- enroll

    function test_enroll_whenSomethingIsMissing_reverts() external {
        _bond(AUDITOR, MIN_BOND);
        vm.expectRevert(abi.encodeWithSelector(IAuditorRegistry.QuorumUnknown.selector, STRANGER));
        vm.prank(AUDITOR);
        registry.enroll(STRANGER, HARDWARE, ENCRYPTION_KEY);
        vm.expectRevert(abi.encodeWithSelector(IAuditorRegistry.HardwareClassMissing.selector));
        _enroll(AUDITOR, 0);
        vm.expectRevert(abi.encodeWithSelector(IAuditorRegistry.EncryptionKeyMissing.selector));
        vm.prank(AUDITOR);
        registry.enroll(address(quorum), HARDWARE, 0);
    }

    function test_enroll_whenTheBondIsTooLow_reverts() external {
        _bond(AUDITOR, MIN_BOND - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditorRegistry.BondTooLow.selector, AUDITOR, MIN_BOND - 1, MIN_BOND
            )
        );
        _enroll(AUDITOR, HARDWARE);
    }

    function test_enroll_movesFromTheOldClassToTheNew() external {
        bytes32 other = keccak256("other class");
        _bond(AUDITOR, MIN_BOND);
        _expectRegistryEvent();
        emit IAuditorRegistry.AuditorEnrolled(address(quorum), AUDITOR, HARDWARE, ENCRYPTION_KEY);
        _enroll(AUDITOR, HARDWARE);
        vm.roll(START_BLOCK + 1);
        _enroll(AUDITOR, other);
        vm.roll(START_BLOCK + 2);
        _enroll(AUDITOR, HARDWARE);
        vm.roll(START_BLOCK + 3);
        vm.assertEq(_bondAt(START_BLOCK - 1), 0, "not yet");
        vm.assertEq(_bondAt(START_BLOCK), MIN_BOND, "first");
        vm.assertEq(_bondAt(START_BLOCK + 1), 0, "left");
        vm.assertEq(_bondAt(START_BLOCK + 2), MIN_BOND, "back");
        IAuditorRegistry r = registry;
        vm.assertEq(r.bondAt(address(quorum), other, AUDITOR, START_BLOCK + 1), MIN_BOND, "other");
        vm.assertEq(r.bondAt(address(quorum), other, AUDITOR, START_BLOCK + 2), 0, "left other");
        vm.assertEq(r.numEnrolled(address(quorum), HARDWARE), 1, "listed once");
        IAuditorRegistry.Auditor memory auditor = r.auditorOf(address(quorum), AUDITOR);
        vm.assertEq(auditor.hardwareClass, HARDWARE, "class");
        vm.assertEq(auditor.encryptionKey, ENCRYPTION_KEY, "key");
    }

    // ----------------------------------------------------------------------------------- record

    function test_record_ofTheCurrentBlock_reverts() external {
        _expectNotPast(0);
    }

    function test_record_ofALaterBlock_reverts(uint256 ahead) external {
        _expectNotPast(ahead % 2 ** 200);
    }

    function test_record_pagesCoverThoseWhoCanBeDrawn() external {
        for (uint160 i = 0; i < 5; ++i) {
            address account = address(0x9000 + i);
            _fundForRegistry(account);
            _bond(account, MIN_BOND + i);
            _enroll(account, HARDWARE);
        }
        vm.roll(START_BLOCK + 1);
        _unbond(address(0x9001), 2);
        _bond(address(0x9003), 1);
        vm.roll(START_BLOCK + 2);
        _assertPage(START_BLOCK, 0, 9, 5);
        _assertPage(START_BLOCK, 1, 3, 3);
        _assertPage(START_BLOCK, 4, type(uint256).max, 1);
        _assertPage(START_BLOCK, 5, 1, 0);
        _assertPage(START_BLOCK - 1, 0, 9, 0);
        (address[] memory auditors, uint256[] memory bonds) =
            registry.auditorsAt(address(quorum), HARDWARE, START_BLOCK + 1, 0, 9);
        vm.assertEq(auditors.length, 4, "one has left");
        vm.assertEq(auditors[1], address(0x9002), "in order of enrolling");
        vm.assertEq(auditors[2], address(0x9003), "who added");
        vm.assertEq(bonds[2], MIN_BOND + 4, "what was added");
    }

    function _assertPage(uint256 blockNumber, uint256 first, uint256 count, uint256 size)
        private
        view
    {
        (address[] memory auditors, uint256[] memory bonds) =
            registry.auditorsAt(address(quorum), HARDWARE, blockNumber, first, count);
        vm.assertEq(auditors.length, size, "auditors on the page");
        vm.assertEq(bonds.length, size, "bonds on the page");
        for (uint160 i = 0; i < size; ++i) {
            vm.assertEq(auditors[i], address(uint160(0x9000 + first + i)), "auditor");
            vm.assertEq(bonds[i], MIN_BOND + first + i, "bond");
        }
    }

    // ------------------------------------------------------------------------------------ slash

    function test_slash_byAnotherThanAQuorum_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(IAuditorRegistry.NotQuorum.selector, STRANGER));
        vm.prank(STRANGER);
        registry.slash(AUDITOR, 0, 0, IAuditorRegistry.AuditFault.WrongReport, STRANGER);
    }

    function test_slash_takesBondFirstThenUnbondingForTheRenter() external {
        IEscrowTypes.Terms memory terms = _quorumTerms();
        bytes32 id = _open(terms);
        _bond(AUDITOR, MIN_BOND + 3);
        _enroll(AUDITOR, HARDWARE);
        _unbond(AUDITOR, MIN_BOND);
        uint256 left = MIN_BOND + 3 - MIN_BOND;
        _expectRegistryEvent();
        emit IAuditorRegistry.AuditorSlashed(
            address(quorum),
            AUDITOR,
            id,
            1,
            IAuditorRegistry.AuditFault.WrongReport,
            renter,
            MIN_BOND,
            0,
            left
        );
        _slash(terms, IAuditorRegistry.AuditFault.WrongReport, 1);
        _assertAuditor(AUDITOR, 0, left);
        vm.assertEq(_registryCredit(renter), MIN_BOND, "credit of the renter");
        vm.roll(START_BLOCK + 1);
        vm.assertEq(_bondAt(START_BLOCK), 0, "out of the draw");
        // What is left can still leave, and no more.
        vm.warp(START + AUDIT_UNBONDING);
        vm.prank(AUDITOR);
        registry.claimUnbond(address(quorum));
        vm.assertEq(_registryCredit(AUDITOR), left, "the rest left");
    }

    function test_slash_forAMissingReport_takesATenthFromTheBond() external {
        IEscrowTypes.Terms memory terms = _quorumTerms();
        _open(terms);
        _bond(AUDITOR, MIN_BOND);
        _slash(terms, IAuditorRegistry.AuditFault.NoReport, 0);
        _assertAuditor(AUDITOR, MIN_BOND - MIN_BOND / 10, 0);
        vm.assertEq(_registryCredit(renter), MIN_BOND / 10, "credit of the renter");
    }

    function test_slash_twiceForOneSegment_reverts() external {
        IEscrowTypes.Terms memory terms = _quorumTerms();
        bytes32 id = _open(terms);
        _bond(AUDITOR, 3 * MIN_BOND);
        _slash(terms, IAuditorRegistry.AuditFault.NoReport, 1);
        _expectSlashed(terms, id, IAuditorRegistry.AuditFault.NoReport);
        _slash(terms, IAuditorRegistry.AuditFault.NoReport, 2);
        _slash(terms, IAuditorRegistry.AuditFault.WrongReport, 1);
        _expectSlashed(terms, id, IAuditorRegistry.AuditFault.WrongReport);
        // Who reported wrongly did report.
        _expectSlashed(terms, id, IAuditorRegistry.AuditFault.NoReport);
    }

    /// @dev Else an auditor would be silent first, pay a tenth, and report what it likes.
    function test_slash_forAWrongReportAfterSilence_takesTheRest() external {
        IEscrowTypes.Terms memory terms = _quorumTerms();
        bytes32 id = _open(terms);
        _bond(AUDITOR, 3 * MIN_BOND);
        _slash(terms, IAuditorRegistry.AuditFault.NoReport, 1);
        vm.assertEq(_registryCredit(renter), MIN_BOND / 10, "a tenth");
        _expectRegistryEvent();
        emit IAuditorRegistry.AuditorSlashed(
            address(quorum),
            AUDITOR,
            id,
            1,
            IAuditorRegistry.AuditFault.WrongReport,
            renter,
            MIN_BOND - MIN_BOND / 10,
            2 * MIN_BOND,
            0
        );
        _slash(terms, IAuditorRegistry.AuditFault.WrongReport, 1);
        vm.assertEq(_registryCredit(renter), MIN_BOND, "both together: one wrong report");
    }

    function _expectSlashed(
        IEscrowTypes.Terms memory terms,
        bytes32 id,
        IAuditorRegistry.AuditFault fault
    ) private {
        bytes[] memory signatures =
            _signatures(quorum.auditVerdictDigest(id, 1, AUDITOR, fault), 0, 2);
        vm.expectRevert(
            abi.encodeWithSelector(IAuditorRegistry.AlreadySlashed.selector, AUDITOR, id, 1)
        );
        quorum.slashAuditor(terms, 1, AUDITOR, fault, signatures);
    }

    function test_slash_ofNothing_reverts() external {
        IEscrowTypes.Terms memory terms = _quorumTerms();
        bytes32 id = _open(terms);
        IAuditorRegistry.AuditFault fault = IAuditorRegistry.AuditFault.NoReport;
        bytes[] memory signatures =
            _signatures(quorum.auditVerdictDigest(id, 1, AUDITOR, fault), 1, 2);
        vm.expectRevert(
            abi.encodeWithSelector(
                IAuditorRegistry.NothingToSlash.selector, address(quorum), AUDITOR
            )
        );
        quorum.slashAuditor(terms, 1, AUDITOR, fault, signatures);
    }

    // --------------------------------------------------------------------------------- withdraw

    function test_withdraw_whenWrong_reverts() external {
        _creditAuditor(30);
        vm.expectRevert(abi.encodeWithSelector(IAuditorRegistry.AmountMissing.selector));
        registry.withdrawTo(address(token), STRANGER);
        vm.startPrank(AUDITOR);
        vm.expectRevert(
            abi.encodeWithSelector(IAuditorRegistry.CreditTooLow.selector, token, AUDITOR, 31, 30)
        );
        registry.withdraw(address(token), OTHER, 31);
        vm.expectRevert(
            abi.encodeWithSelector(IAuditorRegistry.RecipientNotAllowed.selector, address(0))
        );
        registry.withdraw(address(token), address(0), 1);
        vm.expectRevert(
            abi.encodeWithSelector(IAuditorRegistry.RecipientNotAllowed.selector, registry)
        );
        registry.withdraw(address(token), address(registry), 1);
        vm.stopPrank();
    }

    function test_withdraw_sendsTheCredit() external {
        _creditAuditor(30);
        uint256 before = token.balanceOf(AUDITOR);
        _expectRegistryEvent();
        emit IAuditorRegistry.CreditWithdrawn(address(token), AUDITOR, address(0x77), 10);
        vm.prank(AUDITOR);
        registry.withdraw(address(token), address(0x77), 10);
        vm.assertEq(token.balanceOf(address(0x77)), 10, "sent");
        _expectRegistryEvent();
        emit IAuditorRegistry.CreditWithdrawn(address(token), AUDITOR, AUDITOR, 20);
        vm.prank(STRANGER);
        registry.withdrawTo(address(token), AUDITOR);
        vm.assertEq(token.balanceOf(AUDITOR), before + 20, "sent to the account");
        vm.assertEq(_registryCredit(AUDITOR), 0, "credit");
        vm.assertEq(token.balanceOf(address(registry)), 3 * MIN_BOND, "the judges' bonds");
    }

    function _expectNotPast(uint256 ahead) private {
        bytes memory reason = abi.encodeWithSelector(
            IAuditorRegistry.BlockNotPast.selector, START_BLOCK + ahead, START_BLOCK
        );
        vm.expectRevert(reason);
        registry.bondAt(address(quorum), HARDWARE, AUDITOR, START_BLOCK + ahead);
        vm.expectRevert(reason);
        registry.auditorsAt(address(quorum), HARDWARE, START_BLOCK + ahead, 0, 1);
    }

    function _creditAuditor(uint256 amount) private {
        _bond(AUDITOR, amount);
        _unbond(AUDITOR, amount);
        vm.warp(START + AUDIT_UNBONDING);
        vm.prank(AUDITOR);
        registry.claimUnbond(address(quorum));
    }
}
