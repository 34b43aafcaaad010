// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IArbiterQuorum} from "../../src/interfaces/IArbiterQuorum.sol";
import {IAuditorRegistry} from "../../src/interfaces/IAuditorRegistry.sol";
import {IEscrowTypes} from "../../src/interfaces/IEscrowTypes.sol";
import {EscrowTest} from "./EscrowTest.sol";
import {vm} from "./Vm.sol";

/// @notice The market of EscrowTest with a registry as its audit pool, and a quorum of two out of
/// three bonded judges as arbiter.
abstract contract RegistryTest is EscrowTest {
    uint256 internal constant MIN_BOND = 1_000_007;
    uint32 internal constant AUDIT_UNBONDING = 900;
    uint32 internal constant PAY_DELAY = 300;
    uint256 internal constant START_BLOCK = 5000;
    bytes32 internal constant HARDWARE = keccak256("hardware class");
    bytes32 internal constant ENCRYPTION_KEY = keccak256("encryption key");
    address internal constant DISTRIBUTOR = address(0x1010);
    address internal constant AUDITOR = address(0x1011);
    address internal constant REGISTRY_OWNER = address(0x1012);

    IAuditorRegistry internal registry;
    IArbiterQuorum internal quorum;
    /// @dev Ascending by address.
    uint256[] internal judgeKeys;
    address[] internal judges;

    function setUp() public virtual override {
        super.setUp();
        vm.roll(START_BLOCK);
        registry = _newRegistry(address(token));
        vm.prank(OWNER);
        escrow.setAuditPool(address(registry));
        _drawJudges(3);
        quorum = IArbiterQuorum(registry.createQuorum(judges, 2, MIN_BOND));
        _fundForRegistry(AUDITOR);
        for (uint256 i = 0; i < judges.length; ++i) {
            _fundForRegistry(judges[i]);
            _bond(judges[i], MIN_BOND);
        }
    }

    function _newRegistry(address bondToken) internal returns (IAuditorRegistry) {
        return IAuditorRegistry(
            vm.deployCode(
                "AuditorRegistry.sol:AuditorRegistry",
                abi.encode(
                    REGISTRY_OWNER,
                    address(escrow),
                    DISTRIBUTOR,
                    bondToken,
                    AUDIT_UNBONDING,
                    PAY_DELAY
                )
            )
        );
    }

    /// @dev Keys whose addresses ascend.
    function _drawJudges(uint256 number) private {
        address previous;
        for (uint256 key = 0xc33; judges.length < number; ++key) {
            address judge = vm.addr(key);
            if (judge <= previous) continue;
            judges.push(judge);
            judgeKeys.push(key);
            previous = judge;
        }
    }

    function _fundForRegistry(address account) internal {
        token.mint(account, 1_000_000_000_000);
        vm.prank(account);
        token.approve(address(registry), type(uint256).max);
    }

    // ------------------------------------------------------------------------------------- steps

    function _bond(address account, uint256 amount) internal {
        vm.prank(account);
        registry.bond(address(quorum), amount);
    }

    function _unbond(address account, uint256 amount) internal {
        vm.prank(account);
        registry.unbond(address(quorum), amount);
    }

    function _enroll(address account, bytes32 hardwareClass) internal {
        vm.prank(account);
        registry.enroll(address(quorum), hardwareClass, ENCRYPTION_KEY);
    }

    function _quorumTerms() internal view returns (IEscrowTypes.Terms memory terms) {
        terms = _terms();
        terms.arbiter = address(quorum);
    }

    /// @dev As `_committed`, with the quorum as arbiter.
    function _committedBefore()
        internal
        returns (IEscrowTypes.Terms memory terms, bytes32 leaseId)
    {
        terms = _quorumTerms();
        leaseId = _open(terms);
        vm.warp(START + 50);
        _commit(terms, 3);
    }

    /// @dev As `_disputed`, with the quorum as arbiter.
    function _disputedBefore(address challenger)
        internal
        returns (IEscrowTypes.Terms memory terms, bytes32 leaseId)
    {
        (terms, leaseId) = _committedBefore();
        vm.warp(START + 70);
        _challenge(challenger, terms, 2);
    }

    /// @dev A quorum of one, bonded.
    function _quorumOf(uint256 key) internal {
        address[] memory one = new address[](1);
        one[0] = vm.addr(key);
        quorum = IArbiterQuorum(registry.createQuorum(one, 1, MIN_BOND));
        _fundForRegistry(one[0]);
        _bond(one[0], MIN_BOND);
    }

    // -------------------------------------------------------------------------------- signatures

    /// @dev Signatures of the judges from `first` on.
    function _signatures(bytes32 digest, uint256 first, uint256 number)
        internal
        view
        returns (bytes[] memory signatures)
    {
        signatures = new bytes[](number);
        for (uint256 i = 0; i < number; ++i) {
            signatures[i] = _signature(judgeKeys[first + i], digest);
        }
    }

    function _verdict(bytes32 leaseId, bool fraud, uint16 good) internal view returns (bytes32) {
        bytes32 root = escrow.leaseOf(leaseId).root;
        uint40 disputedAt = escrow.disputeOf(leaseId).disputedAt;
        return quorum.verdictDigest(leaseId, root, disputedAt, fraud, good);
    }

    function _quorumDigest(bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,"
                    "address verifyingContract)"
                ),
                keccak256("Gridlease"),
                keccak256("1"),
                block.chainid,
                address(quorum)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    /// @dev Slash of AUDITOR for segment 1 of an open lease.
    function _slash(
        IEscrowTypes.Terms memory terms,
        IAuditorRegistry.AuditFault fault,
        uint16 segment
    ) internal {
        bytes32 id = escrow.leaseIdOf(terms);
        bytes32 digest = quorum.auditVerdictDigest(id, segment, AUDITOR, fault);
        bytes[] memory signatures = _signatures(digest, 0, 2);
        vm.prank(STRANGER);
        quorum.slashAuditor(terms, segment, AUDITOR, fault, signatures);
    }

    // ------------------------------------------------------------------------------- expectations

    function _expectRegistryEvent() internal {
        vm.expectEmit(address(registry));
    }

    function _assertAuditor(address account, uint256 bonded, uint256 unbonding) internal view {
        IAuditorRegistry.Auditor memory auditor = registry.auditorOf(address(quorum), account);
        vm.assertEq(auditor.bonded, bonded, "bonded");
        vm.assertEq(auditor.unbonding, unbonding, "unbonding");
    }

    function _bondAt(uint256 blockNumber) internal view returns (uint256) {
        return registry.bondAt(address(quorum), HARDWARE, AUDITOR, blockNumber);
    }

    /// @dev Distinct receivers' credit in the bond token.
    function _registryCredit(address account) internal view returns (uint256) {
        return registry.creditOf(address(token), account);
    }

    function _expectNoRegistry(bytes memory arguments, bytes memory reason) internal {
        bytes memory code =
            bytes.concat(vm.getCode("AuditorRegistry.sol:AuditorRegistry"), arguments);
        vm.expectRevert(reason);
        assembly ("memory-safe") {
            pop(create(0, add(code, 32), mload(code)))
        }
    }
}
