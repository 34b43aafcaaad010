// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {ILeaseEscrow} from "../src/interfaces/ILeaseEscrow.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// extension
// ├── when it is called directly: it should refuse everything that changes something
// ├── when the escrow does not know a function: it should revert
// └── when coins come without a call: the escrow should refuse them
contract ExtensionTest is EscrowTest {
    function test_extension_whenCalledDirectly_refuses() external {
        ILeaseEscrow direct = ILeaseEscrow(escrow.extension());
        IEscrowTypes.Terms memory terms = _terms();
        IEscrowTypes.Order memory order;
        bytes[26] memory calls = [
            abi.encodeCall(direct.list, (CLASS, address(token), 1, operator, DOCUMENT)),
            abi.encodeCall(direct.reprice, (listingId, 1)),
            abi.encodeCall(direct.delist, (listingId)),
            abi.encodeCall(direct.setOperator, (listingId, OTHER)),
            abi.encodeCall(direct.stake, (address(token), 1)),
            abi.encodeCall(direct.unbond, (address(token), 1)),
            abi.encodeCall(direct.claimUnbond, (address(token))),
            abi.encodeCall(direct.challenge, (terms, 0)),
            abi.encodeCall(direct.rule, (terms, true, 0)),
            abi.encodeCall(direct.timeoutDispute, (terms)),
            abi.encodeCall(direct.collect, (address(token))),
            abi.encodeCall(direct.setFee, (1)),
            abi.encodeCall(direct.setTreasury, (OTHER)),
            abi.encodeCall(direct.setAuditPool, (OTHER)),
            abi.encodeCall(direct.pause, ()),
            abi.encodeCall(direct.unpause, ()),
            abi.encodeCall(direct.setCapacity, (listingId, 1)),
            abi.encodeCall(direct.cancelNonces, (listingId, 0, 1)),
            abi.encodeCall(direct.revokeOrder, (order, "")),
            abi.encodeCall(direct.attestUnretrievable, (terms, 0)),
            abi.encodeCall(direct.demandData, (terms, 0)),
            abi.encodeCall(direct.rejectMachine, (terms, 0, "")),
            abi.encodeCall(direct.ruleLate, (terms, 0)),
            abi.encodeCall(direct.payLate, (terms)),
            abi.encodeCall(
                direct.challengeFrom, (terms, 0, IEscrowTypes.Source.Credit, OTHER, 0, 1, "")
            ),
            abi.encodeCall(direct.withdrawTo, (address(token), PROVIDER))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            // As its own owner, too: nobody can be it, and it would not help.
            vm.prank(address(escrow));
            (bool done, bytes memory result) = address(direct).call(calls[i]);
            vm.assertTrue(!done, "refused");
            bytes memory reason =
                i == 25 ? bytes("") : abi.encodeWithSelector(IEscrowTypes.DirectCall.selector);
            vm.assertEq(result, reason, "reason");
        }
    }

    function test_escrow_whenFunctionIsUnknown_reverts(bytes4 selector) external {
        // None of ours begins with this byte.
        selector = bytes4(uint32(selector) | 0xff000000);
        (bool done, bytes memory result) = address(escrow).call(abi.encodePacked(selector));
        vm.assertTrue(!done, "refused");
        vm.assertEq(result, "", "no reason");
    }

    function test_escrow_whenCoinsComeAlone_refusesThem() external {
        vm.deal(address(this), 1 ether);
        (bool done, bytes memory result) = address(escrow).call{value: 1}("");
        vm.assertTrue(!done, "refused");
        vm.assertEq(
            result,
            abi.encodeWithSelector(IEscrowTypes.ReceivedAmountDiffers.selector, address(0), 0, 1),
            "reason"
        );
    }
}
