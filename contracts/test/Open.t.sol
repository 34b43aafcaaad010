// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {IOwnable} from "./utils/Interfaces.sol";
import {ContractSigner, GreedySigner} from "./utils/Signers.sol";
import {vm} from "./utils/Vm.sol";

// open
// ├── when paused: it should revert
// ├── when the caller is not the renter: it should revert
// ├── when the terms break a rule of the contract: it should revert, for each rule
// ├── when the terms differ from the listing, or the listing has ended: it should revert
// ├── when the signature is not the operator's, is of another chain or contract, or of terms that
// │   differ in any field: it should revert
// ├── given a contract as operator: it should follow its answer, and a bad answer hurts only itself
// ├── given a lease of the same terms, open or closed: it should revert
// ├── given too little free stake, allowance or balance: it should revert
// └── when all is well: it should take the whole price, lock the bond, and emit the full terms
contract OpenTest is EscrowTest {
    function test_open_whenPaused_reverts() external {
        vm.prank(OWNER);
        escrow.pause();
        _expectRefusal(_terms(), abi.encodeWithSelector(IOwnable.EnforcedPause.selector));
    }

    function test_open_whenCallerIsNotRenter_reverts(address caller) external {
        vm.assume(caller != renter);
        IEscrowTypes.Terms memory terms = _terms();
        bytes memory signature = _sign(terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.NotRenter.selector, caller, renter));
        vm.prank(caller);
        escrow.open(terms, signature);
    }

    // ------------------------------------------------------------------- rules of the contract

    function test_open_whenThereAreNoSegments_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.segments = 0;
        _expectRefusal(terms, abi.encodeWithSelector(IEscrowTypes.SegmentsMissing.selector));
    }

    function test_open_whenPriceIsZero_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.pricePerSegment = 0;
        _expectRefusal(terms, abi.encodeWithSelector(IEscrowTypes.PriceMissing.selector));
    }

    function test_open_whenCostOverflows_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.segments = 2;
        terms.pricePerSegment = uint96(1) << 87;
        _expectRefusal(
            terms,
            abi.encodeWithSelector(
                IEscrowTypes.CostTooHigh.selector, uint256(1) << 88, type(uint88).max
            )
        );
    }

    function test_open_whenFeeDiffers_reverts(uint16 feeBps) external {
        vm.assume(feeBps != FEE_BPS);
        IEscrowTypes.Terms memory terms = _terms();
        terms.feeBps = feeBps;
        _expectRefusal(
            terms, abi.encodeWithSelector(IEscrowTypes.FeeDiffers.selector, feeBps, FEE_BPS)
        );
    }

    function test_open_whenAuditShareIsTooHigh_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.auditBps = 2001;
        _expectRefusal(
            terms, abi.encodeWithSelector(IEscrowTypes.AuditShareTooHigh.selector, 2001, 2000)
        );
    }

    function test_open_whenReserveIsTooLong_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.reserveSegments = SEGMENTS + 1;
        _expectRefusal(
            terms,
            abi.encodeWithSelector(IEscrowTypes.ReserveTooLong.selector, SEGMENTS + 1, SEGMENTS)
        );
        terms = _meteredTerms();
        terms.reserveSegments = 1;
        _expectRefusal(terms, abi.encodeWithSelector(IEscrowTypes.ReserveTooLong.selector, 1, 0));
    }

    function test_open_whenTermsAreTooOld_reverts() external {
        vm.warp(START + 1001);
        _expectRefusal(
            _terms(),
            abi.encodeWithSelector(IEscrowTypes.AfterOpenBy.selector, START + 1001, START + 1000)
        );
    }

    function test_open_whenOpenByIsNow_opens() external {
        vm.warp(START + 1000);
        bytes32 leaseId = _open(_terms());
        vm.assertTrue(_status(leaseId) == IEscrowTypes.LeaseStatus.Active, "active");
    }

    function test_open_whenWindowIsTooLong_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.window = 30 days + 1;
        _expectRefusal(
            terms,
            abi.encodeWithSelector(IEscrowTypes.WindowTooLong.selector, terms.window, 30 days)
        );
    }

    /// @dev Else somebody closes the lease over a voucher that is on its way.
    function test_open_givenMeteredTermsWithoutGrace_reverts() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        terms.commitGrace = 0;
        bytes memory signature = _sign(terms);
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.CommitGraceMissing.selector));
        vm.prank(renter);
        escrow.open(terms, signature);
        terms.commitGrace = 1;
        _open(terms);
    }

    function test_open_givenTermsWithWindowAndNoGrace_opens() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.commitGrace = 0;
        _open(terms);
    }

    function test_open_whenCommitGraceIsTooLong_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.commitGrace = 30 days + 1;
        _expectRefusal(
            terms,
            abi.encodeWithSelector(
                IEscrowTypes.CommitGraceTooLong.selector, terms.commitGrace, 30 days
            )
        );
    }

    function test_open_whenMaxDurationIsOutOfRange_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.maxDuration = 0;
        _expectRefusal(
            terms,
            abi.encodeWithSelector(IEscrowTypes.MaxDurationOutOfRange.selector, 0, 1096 days)
        );
        terms.maxDuration = 1096 days + 1;
        _expectRefusal(
            terms,
            abi.encodeWithSelector(
                IEscrowTypes.MaxDurationOutOfRange.selector, terms.maxDuration, 1096 days
            )
        );
    }

    function test_open_whenDisputeTimeoutIsOutOfRange_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.disputeTimeout = 0;
        _expectRefusal(
            terms,
            abi.encodeWithSelector(IEscrowTypes.DisputeTimeoutOutOfRange.selector, 0, 90 days)
        );
        terms.disputeTimeout = 90 days + 1;
        _expectRefusal(
            terms,
            abi.encodeWithSelector(
                IEscrowTypes.DisputeTimeoutOutOfRange.selector, terms.disputeTimeout, 90 days
            )
        );
    }

    function test_open_whenArbiterIsMissing_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.arbiter = address(0);
        _expectRefusal(terms, abi.encodeWithSelector(IEscrowTypes.ArbiterMissing.selector));
    }

    function test_open_whenArbiterIsAParty_reverts() external {
        address[3] memory parties = [renter, PROVIDER, operator];
        IEscrowTypes.Terms memory terms = _terms();
        for (uint256 i = 0; i < parties.length; ++i) {
            terms.arbiter = parties[i];
            _expectRefusal(
                terms, abi.encodeWithSelector(IEscrowTypes.ArbiterIsParty.selector, parties[i])
            );
        }
    }

    function test_open_whenMeteredWithoutArbiter_opens() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        terms.arbiter = address(0);
        terms.disputeTimeout = 0;
        vm.assertTrue(_status(_open(terms)) == IEscrowTypes.LeaseStatus.Active, "active");
    }

    // --------------------------------------------------------------------------------- listing

    function test_open_givenEndedListing_reverts() external {
        vm.prank(PROVIDER);
        escrow.delist(listingId);
        _expectRefusal(
            _terms(), abi.encodeWithSelector(IEscrowTypes.ListingInactive.selector, listingId)
        );
    }

    function test_open_givenUnknownListing_reverts(bytes32 unknown) external {
        vm.assume(unknown != listingId);
        IEscrowTypes.Terms memory terms = _terms();
        terms.listingId = unknown;
        _expectRefusal(
            terms, abi.encodeWithSelector(IEscrowTypes.ListingInactive.selector, unknown)
        );
    }

    function test_open_whenOperatorWasReplaced_reverts() external {
        vm.prank(PROVIDER);
        escrow.setOperator(listingId, OTHER);
        _expectRefusal(
            _terms(),
            abi.encodeWithSelector(
                IEscrowTypes.OperatorDiffersFromListing.selector, operator, OTHER
            )
        );
    }

    function test_open_whenTermsAreNotOfTheListing_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.provider = OTHER;
        _expectOtherListing(terms);
        terms = _terms();
        terms.machineHash = keccak256("other machine");
        _expectOtherListing(terms);
        terms = _terms();
        terms.token = address(secondToken);
        _expectOtherListing(terms);
    }

    /// @dev The serial number 1 of the first listing is part of its id.
    function _expectOtherListing(IEscrowTypes.Terms memory terms) private {
        bytes32 derived = keccak256(
            abi.encode(
                block.chainid,
                address(escrow),
                terms.provider,
                terms.token,
                terms.machineHash,
                uint64(1)
            )
        );
        _expectRefusal(
            terms,
            abi.encodeWithSelector(
                IEscrowTypes.TermsDifferFromListing.selector, listingId, derived
            )
        );
    }

    // ------------------------------------------------------------------------------- signature

    function test_open_whenSignedBySomebodyElse_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _expectBadSignature(terms, _signature(RENTER_KEY, escrow.leaseIdOf(terms)));
    }

    function test_open_whenSignatureIsNoSignature_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _expectBadSignature(terms, "");
        _expectBadSignature(terms, new bytes(65));
        bytes memory signature = _sign(terms);
        _expectBadSignature(terms, abi.encodePacked(signature, uint8(0)));
    }

    function test_open_whenSignatureIsMalleated_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(OPERATOR_KEY, escrow.leaseIdOf(terms));
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        _expectBadSignature(
            terms, abi.encodePacked(r, bytes32(order - uint256(s)), v == 27 ? 28 : 27)
        );
    }

    // A4 #23
    function test_open_whenSignedForAnotherContract_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        address[] memory tokens = new address[](1);
        tokens[0] = address(token);
        bytes32 elsewhere = _newEscrow(tokens).leaseIdOf(terms);
        vm.assertNotEq(elsewhere, escrow.leaseIdOf(terms), "lease id");
        _expectBadSignature(terms, _signature(OPERATOR_KEY, elsewhere));
    }

    // A4 #24
    /// @dev One bit of any of the 23 fields: another lease id, and no valid signature.
    function test_open_whenAnyFieldDiffersFromTheSigned_reverts(uint8 field, uint8 bit) external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes memory signature = _sign(terms);
        bytes32 signed = escrow.leaseIdOf(terms);
        IEscrowTypes.Terms memory other = _flip(terms, field % 23, bit);
        vm.assertNotEq(escrow.leaseIdOf(other), signed, "lease id");
        vm.prank(other.renter);
        (bool opened,) = address(escrow).call(abi.encodeCall(escrow.open, (other, signature)));
        vm.assertTrue(!opened, "terms that were not signed");
    }

    function test_open_givenContractAsOperator_followsItsAnswer() external {
        ContractSigner signer = new ContractSigner(operator);
        vm.prank(PROVIDER);
        escrow.setOperator(listingId, address(signer));
        IEscrowTypes.Terms memory terms = _terms();
        terms.operator = address(signer);
        _expectBadSignature(terms, _signature(RENTER_KEY, escrow.leaseIdOf(terms)));
        vm.assertTrue(_status(_open(terms)) == IEscrowTypes.LeaseStatus.Active, "active");
    }

    function test_open_givenContractThatBurnsAllGas_fails() external {
        address signer = address(new GreedySigner());
        vm.prank(PROVIDER);
        escrow.setOperator(listingId, signer);
        IEscrowTypes.Terms memory terms = _terms();
        terms.operator = signer;
        vm.prank(renter);
        (bool opened,) =
            address(escrow).call{gas: 500_000}(abi.encodeCall(escrow.open, (terms, "")));
        vm.assertTrue(!opened, "opened");
    }

    // ------------------------------------------------------------------------- state and money

    function test_open_givenOpenLease_reverts() external {
        bytes32 leaseId = _open(_terms());
        _expectRefusal(
            _terms(), abi.encodeWithSelector(IEscrowTypes.LeaseExists.selector, leaseId)
        );
    }

    function test_open_givenClosedLease_reverts() external {
        bytes32 leaseId = _open(_terms());
        _close(PROVIDER, _terms());
        _expectRefusal(
            _terms(), abi.encodeWithSelector(IEscrowTypes.LeaseExists.selector, leaseId)
        );
    }

    function test_open_givenTooLittleFreeStake_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        terms.nonce = 2;
        _open(terms);
        terms.nonce = 3;
        _expectRefusal(
            terms,
            abi.encodeWithSelector(
                IEscrowTypes.FreeStakeTooLow.selector, PROVIDER, token, BOND, STAKE - 2 * BOND
            )
        );
    }

    function test_open_givenNoAllowance_reverts() external {
        vm.prank(renter);
        token.approve(address(escrow), COST - 1);
        _expectRefusal(
            _terms(),
            abi.encodeWithSignature(
                "ERC20InsufficientAllowance(address,uint256,uint256)", escrow, COST - 1, COST
            )
        );
    }

    function test_open_givenTooLittleBalance_reverts() external {
        uint256 balance = token.balanceOf(renter);
        vm.prank(renter);
        token.transfer(OTHER, balance - COST + 1);
        _expectRefusal(
            _terms(),
            abi.encodeWithSignature(
                "ERC20InsufficientBalance(address,uint256,uint256)", renter, COST - 1, COST
            )
        );
    }

    function test_open_whenAllIsWell_takesPriceAndLocksBond() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = escrow.leaseIdOf(terms);
        uint256 before = token.balanceOf(renter);
        bytes memory signature = _sign(terms);
        _expectEmit();
        emit IEscrowTypes.Opened(leaseId, renter, PROVIDER, terms);
        vm.prank(renter);
        vm.assertEq(escrow.open(terms, signature), leaseId, "lease id");
        vm.assertEq(token.balanceOf(renter), before - COST, "balance of renter");
        vm.assertEq(token.balanceOf(address(escrow)), STAKE + COST, "balance of escrow");
        _assertStake(STAKE, BOND, 0);
        _assertLease(
            leaseId,
            IEscrowTypes.Lease({
                status: IEscrowTypes.LeaseStatus.Active,
                paid: 0,
                pending: 0,
                openedAt: uint40(START),
                committedAt: 0,
                stoppedAt: 0,
                escrow: uint96(COST),
                root: 0,
                isUnretrievable: false
            })
        );
    }

    // A4 #26
    function test_open_whenAmountsAreExtreme_opensAndCloses(uint96 price, uint16 segments)
        external
    {
        vm.assume(segments != 0 && price != 0);
        IEscrowTypes.Terms memory terms = _meteredTerms();
        terms.segments = segments;
        terms.pricePerSegment = uint96(price % (type(uint88).max / segments)) + 1;
        uint256 cost = uint256(terms.pricePerSegment) * segments;
        token.mint(renter, cost);
        _open(terms);
        escrow.settleVoucher(terms, segments, _voucher(terms, segments));
        Credits memory credits;
        (credits.provider, credits.treasury, credits.auditPool) = _split(cost);
        _assertCredits(credits);
    }

    // A4 #26
    function test_open_whenRenterIsProvider_opensAndCloses() external {
        IEscrowTypes.Terms memory terms = _terms();
        terms.renter = PROVIDER;
        _open(terms);
        _close(PROVIDER, terms);
        vm.assertEq(escrow.creditOf(address(token), PROVIDER), COST, "refund");
    }

    // ------------------------------------------------------------------------------------ tools

    function _expectRefusal(IEscrowTypes.Terms memory terms, bytes memory refusal) private {
        bytes memory signature = _sign(terms);
        vm.expectRevert(refusal);
        vm.prank(renter);
        escrow.open(terms, signature);
    }

    function _expectBadSignature(IEscrowTypes.Terms memory terms, bytes memory signature) private {
        bytes32 leaseId = escrow.leaseIdOf(terms);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.SignatureInvalid.selector, terms.operator, leaseId)
        );
        vm.prank(renter);
        escrow.open(terms, signature);
    }

    function _flip(IEscrowTypes.Terms memory terms, uint256 field, uint256 bit)
        private
        pure
        returns (IEscrowTypes.Terms memory)
    {
        uint16[23] memory widths = [
            160,
            160,
            160,
            160,
            160,
            256,
            256,
            256,
            96,
            96,
            16,
            16,
            16,
            16,
            32,
            32,
            32,
            40,
            32,
            32,
            32,
            256,
            64
        ];
        bytes memory encoded = abi.encode(terms);
        uint256 mask = uint256(1) << (bit % widths[field]);
        assembly ("memory-safe") {
            let slot := add(add(encoded, 32), mul(field, 32))
            mstore(slot, xor(mload(slot), mask))
        }
        return abi.decode(encoded, (IEscrowTypes.Terms));
    }
}
