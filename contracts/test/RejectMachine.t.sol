// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {ContractSigner} from "./utils/Signers.sol";
import {vm} from "./utils/Vm.sol";

// rejectMachine
// ├── given a lease that is not active: it should revert
// ├── given a commit or a voucher: it should revert
// ├── when neither the arbiter calls nor the operator signed: it should revert
// │   ├── with a signature for another lease or report, or of a replaced operator
// │   ├── by the renter: a rejection at will would be free compute
// │   └── by the arbiter of a metered lease, who can be the renter
// └── when all is well: it should refund everything, free the bond and emit MachineRejected
contract RejectMachineTest is EscrowTest {
    bytes32 private constant REPORT = keccak256("report");

    function test_rejectMachine_givenNoActiveLease_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = escrow.leaseIdOf(terms);
        _expectNotActive(leaseId, IEscrowTypes.LeaseStatus.None);
        _reject(ARBITER, terms, "");
        _open(terms);
        _reject(ARBITER, terms, "");
        _expectNotActive(leaseId, IEscrowTypes.LeaseStatus.Closed);
        _reject(ARBITER, terms, "");
    }

    function test_rejectMachine_givenCommit_reverts() external {
        (IEscrowTypes.Terms memory terms, bytes32 leaseId) = _committed(1);
        bytes memory signature = _probe(OPERATOR_KEY, terms, REPORT);
        _expectCommitted(leaseId);
        _reject(ARBITER, terms, "");
        _expectCommitted(leaseId);
        _reject(renter, terms, signature);
        // Nor once it is paid, or its checkpoints are gone.
        vm.prank(ARBITER);
        escrow.attestUnretrievable(terms, 0);
        _expectCommitted(leaseId);
        _reject(ARBITER, terms, "");
    }

    function test_rejectMachine_givenVoucher_reverts() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        bytes32 leaseId = _open(terms);
        escrow.settleVoucher(terms, 1, _voucher(terms, 1));
        bytes memory signature = _probe(OPERATOR_KEY, terms, REPORT);
        _expectCommitted(leaseId);
        _reject(renter, terms, signature);
    }

    /// @dev The renter lets a machine compute and then finds it wanting: that is a stop.
    function test_rejectMachine_byTheRenter_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        bytes memory signature = _probe(RENTER_KEY, terms, REPORT);
        _expectInvalid(terms);
        _reject(renter, terms, signature);
    }

    /// @dev In a metered lease nobody checks the arbiter, so that the renter can be it.
    function test_rejectMachine_byTheArbiterOfAMeteredLease_reverts() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        terms.arbiter = renter;
        bytes32 leaseId = _open(terms);
        bytes memory own = _probe(RENTER_KEY, terms, REPORT);
        _expectInvalid(terms);
        _reject(renter, terms, own);
        bytes memory signature = _probe(OPERATOR_KEY, terms, REPORT);
        _expectEmit();
        emit IEscrowTypes.MachineRejected(leaseId, REPORT, false);
        _reject(renter, terms, signature);
    }

    function test_rejectMachine_withSignatureForSomethingElse_reverts() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        bytes memory signature = _probe(OPERATOR_KEY, terms, keccak256("another report"));
        _expectInvalid(terms);
        _reject(STRANGER, terms, signature);
        IEscrowTypes.Terms memory other = _terms();
        other.nonce = 2;
        signature = _probe(OPERATOR_KEY, other, REPORT);
        _expectInvalid(terms);
        _reject(STRANGER, terms, signature);
    }

    /// @dev A key that was taken back can do nothing more; the one in its place can.
    function test_rejectMachine_givenReplacedOperator_wantsTheNewOne() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        bytes memory old = _probe(OPERATOR_KEY, terms, REPORT);
        vm.prank(PROVIDER);
        escrow.setOperator(listingId, vm.addr(0xd0));
        vm.expectRevert(
            abi.encodeWithSelector(
                IEscrowTypes.SignatureInvalid.selector,
                vm.addr(0xd0),
                escrow.failedProbeDigest(leaseId, REPORT)
            )
        );
        _reject(STRANGER, terms, old);
        bytes memory signature = _probe(0xd0, terms, REPORT);
        _reject(STRANGER, terms, signature);
    }

    function test_rejectMachine_withTheOperatorsSignature_refundsAll(address caller) external {
        vm.assume(caller != ARBITER);
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        bytes memory signature = _probe(OPERATOR_KEY, terms, REPORT);
        _expectEmit();
        emit IEscrowTypes.MachineRejected(leaseId, REPORT, false);
        _expectEmit();
        emit IEscrowTypes.Closed(leaseId, IEscrowTypes.CloseCause.AcceptanceFailed, 0, COST);
        _reject(caller, terms, signature);
        _assertCredits(_paid(0, COST));
        _assertStake(STAKE, 0, 0);
    }

    function test_rejectMachine_byTheArbiter_refundsAll() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes32 leaseId = _open(terms);
        _stop(terms);
        _expectEmit();
        emit IEscrowTypes.MachineRejected(leaseId, REPORT, true);
        _expectEmit();
        emit IEscrowTypes.Closed(leaseId, IEscrowTypes.CloseCause.AcceptanceFailed, 0, COST);
        _reject(ARBITER, terms, "");
        _assertCredits(_paid(0, COST));
        _assertStake(STAKE, 0, 0);
    }

    function test_rejectMachine_byContractOperator_asksIt() external {
        IEscrowTypes.Terms memory terms = _terms();
        _open(terms);
        address account = address(new ContractSigner(vm.addr(0xd0)));
        vm.prank(PROVIDER);
        escrow.setOperator(listingId, account);
        bytes memory signature = _probe(0xd0, terms, REPORT);
        _reject(STRANGER, terms, signature);
        vm.assertEq(_credits().renter, COST, "refunded");
    }

    function test_failedProbeDigest_isThatOfTheStandard(bytes32 leaseId, bytes32 report)
        external
        view
    {
        bytes32 kind = keccak256("FailedProbe(bytes32 leaseId,bytes32 report)");
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,"
                    "address verifyingContract)"
                ),
                keccak256("Gridlease"),
                keccak256("1"),
                block.chainid,
                address(escrow)
            )
        );
        bytes32 digest = keccak256(
            abi.encodePacked(hex"1901", domain, keccak256(abi.encode(kind, leaseId, report)))
        );
        vm.assertEq(escrow.failedProbeDigest(leaseId, report), digest, "digest");
    }

    // ------------------------------------------------------------------------------------- tools

    function _reject(address caller, IEscrowTypes.Terms memory terms, bytes memory signature)
        private
    {
        vm.prank(caller);
        escrow.rejectMachine(terms, REPORT, signature);
    }

    function _probe(uint256 key, IEscrowTypes.Terms memory terms, bytes32 report)
        private
        view
        returns (bytes memory)
    {
        return _signature(key, escrow.failedProbeDigest(escrow.leaseIdOf(terms), report));
    }

    function _expectCommitted(bytes32 leaseId) private {
        vm.expectRevert(abi.encodeWithSelector(IEscrowTypes.WorkCommitted.selector, leaseId));
    }

    function _expectInvalid(IEscrowTypes.Terms memory terms) private {
        bytes32 digest = escrow.failedProbeDigest(escrow.leaseIdOf(terms), REPORT);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrowTypes.SignatureInvalid.selector, operator, digest)
        );
    }
}
