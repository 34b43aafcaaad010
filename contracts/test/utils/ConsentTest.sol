// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./EscrowTest.sol";
import {TokenMessages} from "./TokenMessages.sol";
import {vm} from "./Vm.sol";

/// @notice The market of EscrowTest with all that its renter can sign.
abstract contract ConsentTest is EscrowTest {
    function _allow(uint256 amount) internal {
        vm.prank(renter);
        token.approve(address(escrow), amount);
    }

    function _permit(uint256 value) internal view returns (IEscrowTypes.Permit memory permit) {
        (permit.value, permit.deadline) = (value, START + 100);
        bytes32 digest =
            TokenMessages.permit(token, renter, address(escrow), value, permit.deadline);
        (permit.v, permit.r, permit.s) = vm.sign(RENTER_KEY, digest);
    }

    /// @dev Over the lease's cost and the fee, with the lease's id as its nonce.
    function _authorization(IEscrowTypes.Terms memory terms, uint96 fee)
        internal
        view
        returns (IEscrowTypes.Authorization memory authorization)
    {
        (authorization.relayFee, authorization.validBefore) = (fee, START + 100);
        uint256 value = uint256(terms.pricePerSegment) * terms.segments + fee;
        bytes32 digest = TokenMessages.receiving(
            token, renter, address(escrow), value, START + 100, escrow.leaseIdOf(terms)
        );
        (authorization.v, authorization.r, authorization.s) = vm.sign(RENTER_KEY, digest);
    }

    function _consent(bytes32 leaseId, IEscrowTypes.Source source, uint96 fee)
        internal
        view
        returns (bytes memory)
    {
        return _signature(RENTER_KEY, escrow.openingDigest(leaseId, source, fee));
    }

    /// @dev An order that the terms of EscrowTest keep to the last unit, but for the bond by cost.
    function _order() internal view returns (IEscrowTypes.Order memory) {
        return IEscrowTypes.Order({
            renter: renter,
            token: address(token),
            arbiter: ARBITER,
            jobHash: keccak256("job"),
            listingId: listingId,
            offer: keccak256("offer"),
            hardwareClass: CLASS,
            maxPricePerHour: 1,
            maxPricePerSegment: PRICE,
            budget: uint96(COST),
            minBond: BOND,
            minBondBps: 10_000,
            minAuditBps: AUDIT_BPS,
            segments: SEGMENTS,
            maxDurationS: MAX_DURATION,
            minWindow: WINDOW,
            maxWindow: WINDOW,
            maxDisputeTimeout: DISPUTE_TIMEOUT,
            maxFirstCommit: FIRST_COMMIT,
            minSegmentSeconds: MIN_SEGMENT,
            verification: 1,
            expiresAt: uint40(START + 900),
            nonce: 1
        });
    }

    function _signOrder(IEscrowTypes.Order memory order) internal view returns (bytes memory) {
        return _signature(RENTER_KEY, escrow.orderDigest(order));
    }

    function _openForCall(
        IEscrowTypes.Terms memory terms,
        bytes memory signature,
        IEscrowTypes.Order memory order,
        bytes memory orderSignature
    ) internal view returns (bytes memory) {
        return abi.encodeCall(escrow.openFor, (terms, signature, order, orderSignature));
    }

    function _challengeDigest(bytes32 leaseId, uint16 segment, IEscrowTypes.Source source)
        internal
        view
        returns (bytes32)
    {
        bytes32 root = escrow.leaseOf(leaseId).root;
        return escrow.challengeDigest(leaseId, root, segment, source, type(uint40).max, 1);
    }

    function _challengeFromCall(
        IEscrowTypes.Terms memory terms,
        uint16 segment,
        IEscrowTypes.Source source,
        address challenger,
        bytes memory consent
    ) internal view returns (bytes memory) {
        return abi.encodeCall(
            escrow.challengeFrom,
            (terms, segment, source, challenger, type(uint40).max, 1, consent)
        );
    }

    /// @dev Calls, and hands on the reason of a refusal.
    function _send(address caller, bytes memory data) internal {
        vm.prank(caller);
        (bool done, bytes memory reason) = address(escrow).call(data);
        if (done) return;
        assembly ("memory-safe") {
            revert(add(reason, 32), mload(reason))
        }
    }
}
