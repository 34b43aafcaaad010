// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EscrowTest} from "./utils/EscrowTest.sol";
import {ITestToken} from "./utils/Interfaces.sol";
import {vm} from "./utils/Vm.sol";

// TestToken
// ├── it should have 6 decimals and the symbol tUSD
// ├── when anybody but the minter mints: it should revert
// ├── permit (EIP-2612): it should set the allowance that the owner signed, once
// └── receiveWithAuthorization (EIP-3009): it should move what the owner signed, to the caller only
contract TestTokenTest is EscrowTest {
    function test_metadata() external view {
        vm.assertEq(token.decimals(), 6, "decimals");
        vm.assertEq(bytes(token.symbol()), "tUSD", "symbol");
        vm.assertEq(bytes(token.name()), "Gridlease test dollar", "name");
        vm.assertEq(token.minter(), address(this), "minter");
    }

    function test_mint_whenCallerIsNotMinter_reverts(address caller) external {
        vm.assume(caller != address(this));
        vm.expectRevert(
            abi.encodeWithSelector(ITestToken.NotMinter.selector, caller, address(this))
        );
        vm.prank(caller);
        token.mint(caller, 1);
    }

    function test_permit_setsTheAllowanceOnce() external {
        bytes32 digest = _digest(
            keccak256(
                abi.encode(
                    keccak256(
                        "Permit(address owner,address spender,uint256 value,uint256 nonce,"
                        "uint256 deadline)"
                    ),
                    renter,
                    OTHER,
                    uint256(77),
                    token.nonces(renter),
                    START + 1
                )
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(RENTER_KEY, digest);
        token.permit(renter, OTHER, 77, START + 1, v, r, s);
        vm.assertEq(token.allowance(renter, OTHER), 77, "allowance");
        vm.expectPartialRevert(bytes4(keccak256("ERC2612InvalidSigner(address,address)")));
        token.permit(renter, OTHER, 77, START + 1, v, r, s);
    }

    function test_receiveWithAuthorization_movesToTheCallerOnly() external {
        bytes32 nonce = keccak256("nonce");
        bytes32 digest = _digest(
            keccak256(
                abi.encode(
                    keccak256(
                        "ReceiveWithAuthorization(address from,address to,uint256 value,"
                        "uint256 validAfter,uint256 validBefore,bytes32 nonce)"
                    ),
                    renter,
                    OTHER,
                    uint256(77),
                    uint256(0),
                    START + 1,
                    nonce
                )
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(RENTER_KEY, digest);
        uint256 before = token.balanceOf(OTHER);
        vm.expectPartialRevert(bytes4(keccak256("ERC20InvalidReceiver(address)")));
        token.receiveWithAuthorization(renter, OTHER, 77, 0, START + 1, nonce, v, r, s);
        vm.prank(OTHER);
        token.receiveWithAuthorization(renter, OTHER, 77, 0, START + 1, nonce, v, r, s);
        vm.assertEq(token.balanceOf(OTHER), before + 77, "balance");
        vm.assertTrue(token.authorizationState(renter, nonce), "used");
        vm.expectPartialRevert(bytes4(keccak256("ERC3009UsedAuthorization(address,bytes32)")));
        vm.prank(OTHER);
        token.receiveWithAuthorization(renter, OTHER, 77, 0, START + 1, nonce, v, r, s);
    }

    function _digest(bytes32 structHash) private view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash));
    }
}
