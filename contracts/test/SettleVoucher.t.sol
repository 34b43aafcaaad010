// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {ContractSigner} from "./utils/Signers.sol";
import {vm} from "./utils/Vm.sol";

// settleVoucher
// ├── given a lease that is not active: it should revert
// ├── given a lease that is not metered: it should revert
// ├── when the number is not above what is paid, or above all segments: it should revert
// ├── when the signature is not the renter's, or of another lease or number: it should revert
// ├── given a contract as renter: it should follow its answer
// ├── given a stopped or expired lease that is not closed: it should still pay
// ├── when several vouchers come: it should pay only the difference
// ├── when it is the last segment: it should close the lease as completed
// └── when all is well: it should pay, whoever calls
contract SettleVoucherTest is EscrowTest {
    IEscrowTypes.Terms private _metered;
    bytes32 private _leaseId;

    function setUp() public override {
        super.setUp();
        _metered = _meteredTerms();
        _leaseId = _open(_metered);
    }

    function test_settleVoucher_givenClosedLease_reverts() external {
        bytes memory signature = _voucher(_metered, 1);
        _close(PROVIDER, _metered);
        _expectNotActive(_leaseId, IEscrowTypes.LeaseStatus.Closed);
        escrow.settleVoucher(_metered, 1, signature);
    }

    function test_settleVoucher_givenLeaseThatIsNotMetered_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        bytes memory signature = _voucher(terms, 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.LeaseNotMetered.selector, leaseId));
        escrow.settleVoucher(terms, 1, signature);
    }

    function test_settleVoucher_whenNumberIsOutOfRange_reverts() external {
        escrow.settleVoucher(_metered, 3, _voucher(_metered, 3));
        uint16[4] memory given = [0, 2, 3, SEGMENTS + 1];
        for (uint256 i = 0; i < given.length; ++i) {
            bytes memory signature = _voucher(_metered, given[i]);
            vm.expectRevert(
                abi.encodeWithSelector(
                    IEscrowTypes.VoucherOutOfRange.selector, given[i], 3, SEGMENTS
                )
            );
            escrow.settleVoucher(_metered, given[i], signature);
        }
    }

    function test_settleVoucher_whenSignedByTheOperator_reverts() external {
        bytes32 digest = escrow.voucherDigest(_leaseId, 1);
        _expectBadVoucher(1, _signature(OPERATOR_KEY, digest));
    }

    function test_settleVoucher_whenSignedForAnotherNumber_reverts() external {
        _expectBadVoucher(4, _voucher(_metered, 3));
    }

    function test_settleVoucher_whenSignedForAnotherLease_reverts() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        terms.nonce = 2;
        _open(terms);
        _expectBadVoucher(1, _voucher(terms, 1));
    }

    function test_settleVoucher_whenTermsAreSignedInstead_reverts() external {
        _expectBadVoucher(1, _signature(RENTER_KEY, _leaseId));
    }

    function test_settleVoucher_givenContractAsRenter_followsItsAnswer() external {
        address wallet = address(new ContractSigner(renter));
        _fund(wallet);
        IEscrowTypes.Terms memory terms = _meteredTerms();
        terms.renter = wallet;
        _open(terms);
        escrow.settleVoucher(terms, 1, _voucher(terms, 1));
        _assertCredits(_paid(1, 0));
        bytes32 digest = escrow.voucherDigest(escrow.leaseIdOf(terms), 2);
        bytes memory signature = _signature(OPERATOR_KEY, digest);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.SignatureInvalid.selector, wallet, digest)
        );
        escrow.settleVoucher(terms, 2, signature);
    }

    function test_settleVoucher_givenStoppedLease_paysUntilClosed() external {
        _stop(_metered);
        vm.warp(START + GRACE + 1);
        escrow.settleVoucher(_metered, 2, _voucher(_metered, 2));
        _close(STRANGER, _metered);
        _assertCredits(_paid(2, COST - 2 * PRICE));
    }

    function test_settleVoucher_givenExpiredLease_paysUntilClosed() external {
        vm.warp(START + MAX_DURATION + GRACE + 1);
        escrow.settleVoucher(_metered, 2, _voucher(_metered, 2));
        _close(STRANGER, _metered);
        _assertCredits(_paid(2, COST - 2 * PRICE));
    }

    function test_settleVoucher_whenSeveralCome_paysTheDifference() external {
        bytes memory stale = _voucher(_metered, 2);
        escrow.settleVoucher(_metered, 5, _voucher(_metered, 5));
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.VoucherOutOfRange.selector, 2, 5, SEGMENTS)
        );
        escrow.settleVoucher(_metered, 2, stale);
        _assertCredits(_paid(5, 0));
        (uint256 a, uint256 b, uint256 c) = _split(PRICE);
        _expectEmit();
        emit IEscrowTypes.Settled(_leaseId, 6, a, b, c);
        escrow.settleVoucher(_metered, 6, _voucher(_metered, 6));
        vm.assertEq(escrow.leaseOf(_leaseId).escrow, COST - 6 * PRICE, "escrow");
    }

    function test_settleVoucher_whenItIsTheLastSegment_closes() external {
        bytes memory signature = _voucher(_metered, SEGMENTS);
        _expectEmit();
        emit IEscrowTypes.Closed(_leaseId, IEscrowTypes.CloseCause.Completed, SEGMENTS, 0);
        escrow.settleVoucher(_metered, SEGMENTS, signature);
        _assertCredits(_paid(SEGMENTS, 0));
        _assertStake(STAKE, 0, 0);
    }

    function test_settleVoucher_whenAllIsWell_pays(address caller) external {
        bytes memory signature = _voucher(_metered, 2);
        vm.prank(caller);
        escrow.settleVoucher(_metered, 2, signature);
        _assertCredits(_paid(2, 0));
        _assertLease(
            _leaseId,
            IEscrowTypes.Lease({
                status: IEscrowTypes.LeaseStatus.Active,
                paid: 2,
                pending: 2,
                openedAt: uint40(START),
                committedAt: uint40(START),
                stoppedAt: 0,
                escrow: uint96(COST - 2 * PRICE),
                root: 0,
                isUnretrievable: false
            })
        );
    }

    function _expectBadVoucher(uint16 segments, bytes memory signature) private {
        bytes32 digest = escrow.voucherDigest(_leaseId, segments);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.SignatureInvalid.selector, renter, digest)
        );
        escrow.settleVoucher(_metered, segments, signature);
    }
}
