// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// stopFor
// ├── when the renter did not sign: it should revert
// └── when it did: anybody should stop the lease, once
// challengeFrom
// ├── when the challenger did not sign, or signed something else: it should revert
// ├── when the arbiter is the challenger: it should revert
// ├── when the consent has expired, or is of an earlier commit: it should revert
// ├── when the challenger itself calls: it should take the bond from allowance or credit
// ├── given too little credit: it should take the rest from the allowance
// └── when anybody calls with consent: it should challenge, once for each consent
contract ConsentsTest is EscrowTest {
    uint256 private constant CHALLENGER_KEY = 0xc33;
    uint40 private constant EXPIRES_AT = uint40(START + 60);
    address private immutable _signer = vm.addr(CHALLENGER_KEY);

    // -------------------------------------------------------------------------------------- stop

    function test_stopFor_whenRenterDidNotSign_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(2);
        bytes32 digest = escrow.stopDigest(leaseId);
        bytes memory signature = _signature(OPERATOR_KEY, digest);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.SignatureInvalid.selector, renter, digest)
        );
        escrow.stopFor(terms, signature);
    }

    function test_stopFor_whenRenterSigned_stopsOnce(address caller) external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(2);
        bytes memory signature = _signature(RENTER_KEY, escrow.stopDigest(leaseId));
        _expectEmit();
        emit IEscrowTypes.Stopped(leaseId, uint40(START + 50));
        vm.prank(caller);
        escrow.stopFor(terms, signature);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.AlreadyStopped.selector, START + 50));
        escrow.stopFor(terms, signature);
    }

    // --------------------------------------------------------------------------------- challenge

    function test_challengeFrom_whenItDidNotSign_reverts() external {
        _fund(_signer);
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(3);
        bytes32 digest = _consentDigest(leaseId, 1, IEscrowTypes.Source.Allowance);
        bytes[2] memory consents =
            [_signature(RENTER_KEY, digest), _consent(leaseId, 2, IEscrowTypes.Source.Allowance)];
        for (uint256 i = 0; i < consents.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IEscrowTypes.SignatureInvalid.selector, _signer, digest)
            );
            escrow.challengeFrom(
                terms, 1, IEscrowTypes.Source.Allowance, _signer, EXPIRES_AT, 5, consents[i]
            );
        }
    }

    function test_challengeFrom_whenChallengerIsArbiter_reverts() external {
        (IEscrowTypes.Terms memory terms,) = _committed(3);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.ArbiterMayNotChallenge.selector, ARBITER)
        );
        vm.prank(ARBITER);
        escrow.challengeFrom(terms, 1, IEscrowTypes.Source.Allowance, ARBITER, 0, 5, "");
    }

    function test_challengeFrom_whenRenterCalls_spendsItsCredit() external {
        IEscrowTypes.Terms memory first = _terms();
        first.nonce = 2;
        _open(first);
        _close(PROVIDER, first);
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(3);
        _expectEmit();
        emit IEscrowTypes.Challenged(leaseId, renter, 1, CHALLENGE_BOND);
        _expectEmit();
        emit IEscrowTypes.CreditSpent(address(token), renter, CHALLENGE_BOND);
        vm.prank(renter);
        escrow.challengeFrom(terms, 1, IEscrowTypes.Source.Credit, renter, 0, 5, "");
        vm.assertEq(_credits().renter, COST - CHALLENGE_BOND, "credit");
    }

    /// @dev A stranger that sends the challenger its credit must not save the fraud.
    function test_challengeFrom_givenCreditThatWasSentOut_takesTheAllowance() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(3);
        uint256 before = token.balanceOf(CHALLENGER);
        vm.prank(CHALLENGER);
        escrow.challengeFrom(terms, 1, IEscrowTypes.Source.Credit, CHALLENGER, 0, 5, "");
        vm.assertEq(token.balanceOf(CHALLENGER), before - CHALLENGE_BOND, "bond");
        vm.assertEq(escrow.disputeOf(leaseId).challenger, CHALLENGER, "challenger");
    }

    function test_challengeFrom_whenConsentHasExpired_reverts() external {
        _fund(_signer);
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(3);
        bytes memory consent = _consent(leaseId, 1, IEscrowTypes.Source.Allowance);
        vm.warp(EXPIRES_AT);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.ConsentExpired.selector, EXPIRES_AT, EXPIRES_AT)
        );
        escrow.challengeFrom(
            terms, 1, IEscrowTypes.Source.Allowance, _signer, EXPIRES_AT, 5, consent
        );
        vm.warp(EXPIRES_AT - 1);
        escrow.challengeFrom(
            terms, 1, IEscrowTypes.Source.Allowance, _signer, EXPIRES_AT, 5, consent
        );
    }

    /// @dev The challenger looked at what was committed then; the provider may have mended it.
    function test_challengeFrom_givenLaterCommit_reverts() external {
        _fund(_signer);
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(3);
        bytes memory consent = _consent(leaseId, 1, IEscrowTypes.Source.Allowance);
        _commit(terms, 4);
        bytes32 digest = _consentDigest(leaseId, 1, IEscrowTypes.Source.Allowance);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.SignatureInvalid.selector, _signer, digest)
        );
        escrow.challengeFrom(
            terms, 1, IEscrowTypes.Source.Allowance, _signer, EXPIRES_AT, 5, consent
        );
    }

    function test_challengeFrom_whenAnybodyHasConsent_challengesOnce() external {
        _fund(_signer);
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(3);
        bytes memory consent = _consent(leaseId, 1, IEscrowTypes.Source.Allowance);
        uint256 before = token.balanceOf(_signer);
        vm.prank(STRANGER);
        escrow.challengeFrom(
            terms, 1, IEscrowTypes.Source.Allowance, _signer, EXPIRES_AT, 5, consent
        );
        vm.assertEq(token.balanceOf(_signer), before - CHALLENGE_BOND, "bond");
        vm.assertEq(escrow.disputeOf(leaseId).challenger, _signer, "challenger");
        // The arbiter finds nothing; the same consent must not cost a second bond.
        _ruleHonest(terms);
        bytes32 digest = _consentDigest(leaseId, 1, IEscrowTypes.Source.Allowance);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.ConsentUsed.selector, _signer, digest));
        vm.prank(STRANGER);
        escrow.challengeFrom(
            terms, 1, IEscrowTypes.Source.Allowance, _signer, EXPIRES_AT, 5, consent
        );
    }

    function _consent(bytes32 leaseId, uint16 segment, IEscrowTypes.Source source)
        private
        view
        returns (bytes memory)
    {
        return _signature(CHALLENGER_KEY, _consentDigest(leaseId, segment, source));
    }

    function _consentDigest(bytes32 leaseId, uint16 segment, IEscrowTypes.Source source)
        private
        view
        returns (bytes32)
    {
        bytes32 root = escrow.leaseOf(leaseId).root;
        return escrow.challengeDigest(leaseId, root, segment, source, EXPIRES_AT, 5);
    }
}
