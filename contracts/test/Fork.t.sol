// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./utils/EscrowTest.sol";
import {vm} from "./utils/Vm.sol";

// given a fork of the chain, with another chain id
// ├── ids, digests and the domain: they should be those of the deployment
// ├── every way out: it should work
// └── every way in: it should revert
contract ForkTest is EscrowTest {
    uint256 private constant FORK = 777;
    uint256 private _home;

    function setUp() public override {
        super.setUp();
        _home = block.chainid;
    }

    function test_digests_areOfTheHomeChain() external {
        bytes32 leaseId = escrow.leaseIdOf(_terms());
        bytes32 voucher = escrow.voucherDigest(leaseId, 1);
        bytes32 stop = escrow.stopDigest(leaseId);
        vm.chainId(FORK);
        vm.assertEq(escrow.leaseIdOf(_terms()), leaseId, "lease id");
        vm.assertEq(escrow.voucherDigest(leaseId, 1), voucher, "voucher");
        vm.assertEq(escrow.stopDigest(leaseId), stop, "stop");
        (,,, uint256 chainId,,,) = escrow.eip712Domain();
        vm.assertEq(chainId, _home, "domain");
    }

    function test_lease_endsAsAtHome() external {
        (IEscrowTypes.Terms memory terms,) = _committed(3);
        vm.chainId(FORK);
        vm.warp(START + 50 + WINDOW);
        _commit(terms, 5);
        _stop(terms);
        vm.warp(START + 50 + 2 * WINDOW + GRACE);
        _close(STRANGER, terms);
        _assertCredits(_credits5());
        escrow.withdrawTo(address(token), renter);
        vm.prank(PROVIDER);
        escrow.unbond(address(token), STAKE);
        vm.warp(vm.getBlockTimestamp() + UNBONDING);
        vm.prank(PROVIDER);
        escrow.claimUnbond(address(token));
        escrow.withdrawTo(address(token), PROVIDER);
    }

    function test_dispute_endsAsAtHome() external {
        (IEscrowTypes.Terms memory terms,) = _disputed(3, 2);
        vm.chainId(FORK);
        _rule(terms, true, 2);
        _assertStake(STAKE - BOND, 0, 0);
    }

    function test_voucher_paysAsAtHome() external {
        IEscrowTypes.Terms memory terms = _meteredTerms();
        _open(terms);
        bytes memory signature = _voucher(terms, 2);
        vm.chainId(FORK);
        escrow.settleVoucher(terms, 2, signature);
        _assertCredits(_paid(2, 0));
    }

    function test_entries_revert() external {
        IEscrowTypes.Terms memory terms = _terms();
        bytes memory signature = _sign(terms);
        IEscrowTypes.Order memory order;
        IEscrowTypes.Permit memory permit;
        IEscrowTypes.Authorization memory authorization;
        IEscrowTypes.Source source = IEscrowTypes.Source.Allowance;
        vm.chainId(FORK);
        _expectForeign(renter, abi.encodeCall(escrow.open, (terms, signature)));
        _expectForeign(renter, abi.encodeCall(escrow.openWithPermit, (terms, signature, permit)));
        _expectForeign(
            renter, abi.encodeCall(escrow.openWithAuthorization, (terms, signature, authorization))
        );
        _expectForeign(renter, abi.encodeCall(escrow.openFrom, (terms, signature, source, 0, "")));
        _expectForeign(renter, abi.encodeCall(escrow.openFor, (terms, signature, order, "")));
        _expectForeign(PROVIDER, abi.encodeCall(escrow.stake, (address(token), 1)));
        _expectForeign(
            PROVIDER, abi.encodeCall(escrow.list, (CLASS, address(token), 1, operator, DOCUMENT))
        );
        vm.chainId(_home);
        _open(terms);
    }

    function _expectForeign(address caller, bytes memory data) private {
        vm.prank(caller);
        (bool done, bytes memory result) = address(escrow).call(data);
        vm.assertTrue(!done, "refused");
        vm.assertEq(
            result,
            abi.encodeWithSelector(IEscrowTypes.ForeignChain.selector, FORK, _home),
            "reason"
        );
    }

    /// @dev Three segments, then two: the shares of each payment are rounded down.
    function _credits5() private pure returns (Credits memory credits) {
        credits = _paid(3, COST - 5 * PRICE);
        (uint256 a, uint256 b, uint256 c) = _split(2 * uint256(PRICE));
        (credits.provider, credits.treasury, credits.auditPool) =
        (credits.provider + a, credits.treasury + b, credits.auditPool + c);
    }
}
