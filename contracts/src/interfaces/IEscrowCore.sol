// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowTypes} from "./IEscrowTypes.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";

/// @notice What the escrow itself executes: the life of a lease without disputes, and withdrawals.
interface IEscrowCore is IEscrowTypes, IERC5267 {
    // ----------------------------------------------------------------------------------- leases

    /// @notice Opens a lease: takes `pricePerSegment * segments` from the caller's allowance (the
    /// chain's own coin: with the call) and locks the bond.
    /// @dev Warning: the contract cannot know whether the terms are wise. Renters check arbiter,
    /// price, bond and periods before they sign the transaction; providers before their operator
    /// signs the terms.
    /// @param terms What was agreed; the caller is its renter.
    /// @param signature Operator's signature of the terms (65 bytes, or EIP-1271 for a contract).
    function open(Terms calldata terms, bytes calldata signature)
        external
        payable
        returns (bytes32 leaseId);

    /// @notice `open` with an EIP-2612 permit, in one transaction. The caller is the renter.
    /// @dev A permit that somebody else has used already, or that is void, does not matter as long
    /// as the allowance is there. Warning: a permit replaces whatever the renter allowed before.
    function openWithPermit(Terms calldata terms, bytes calldata signature, Permit calldata permit)
        external
        returns (bytes32 leaseId);

    /// @notice `open` for a renter that sends no transaction: anybody may call, with the renter's
    /// EIP-3009 authorization over cost plus relay fee, whose nonce is the lease's id.
    /// @dev The renter's signature is good for exactly these terms. Whoever sends it gets the relay
    /// fee; a hostile relayer can do no more than not send it. The token must know EIP-3009.
    function openWithAuthorization(
        Terms calldata terms,
        bytes calldata signature,
        Authorization calldata authorization
    ) external returns (bytes32 leaseId);

    /// @notice `open` out of the renter's allowance, or out of its credit and then its allowance;
    /// by the renter or, with its consent, by anybody.
    /// @param source Where the cost and the relay fee come from. The chain's own coin has no
    /// allowance, so the credit must be enough.
    /// @param relayFee Credited to the caller.
    /// @param consent Renter's signature of Opening(leaseId, source, relayFee); not looked at when
    /// the caller is the renter.
    function openFrom(
        Terms calldata terms,
        bytes calldata signature,
        Source source,
        uint96 relayFee,
        bytes calldata consent
    ) external returns (bytes32 leaseId);

    /// @notice Opens a lease for a renter under an order that it signed. Anybody may call.
    /// @dev Cost and segments of all leases of an order add up, within its budget and its segments;
    /// what a lease did not use comes back when it is closed. So a job can be moved off a failed
    /// machine within the budget: with `terms.predecessor` set, which must be a closed lease of the
    /// same order, and which one lease can continue.
    /// The money comes out of the renter's credit first, then its allowance, so that no sequence of
    /// leases turns allowance into credit.
    /// Warning: an order is a renter's authority over its allowance and credit until it expires or
    /// is revoked. Who sends it chooses the provider, within the order's caps.
    /// @param orderSignature Renter's signature of the order.
    function openFor(
        Terms calldata terms,
        bytes calldata signature,
        Order calldata order,
        bytes calldata orderSignature
    ) external returns (bytes32 leaseId);

    /// @notice Claims that segments 0 to `upTo - 1` are finished; pays first what has matured.
    /// @dev Caller is the provider or the listing's current operator. A commit while earlier
    /// segments still wait joins them and starts their window again: do not commit more often than
    /// once a window. After a stop one more commit is accepted within `commitGrace`, for at most
    /// the segments that can have been finished by then plus the running one.
    /// @param upTo Number of finished segments, more than committed before.
    /// @param traceRoot Root over the trace of all these segments.
    function commit(Terms calldata terms, uint16 upTo, bytes32 traceRoot) external;

    /// @notice Pays the committed segments whose window is over; closes the lease when that was
    /// all.
    function settle(Terms calldata terms) external;

    /// @notice `settle` for many leases; those that cannot be settled now are skipped.
    /// @return settled How many were paid.
    function settleMany(Terms[] calldata terms) external returns (uint256 settled);

    /// @notice Pays a metered lease up to the number of segments that the renter signed for.
    /// @dev Vouchers are cumulative: only the newest matters. They stay valid until the lease is
    /// closed.
    /// @param segments Total number of segments to be paid since opening.
    /// @param signature Renter's signature of Voucher(leaseId, segments) (65 bytes, or EIP-1271).
    function settleVoucher(Terms calldata terms, uint16 segments, bytes calldata signature)
        external;

    /// @notice Renter ends the lease: no new work is paid, apart from what `commit` allows within
    /// `commitGrace`.
    function stop(Terms calldata terms) external;

    /// @notice `stop` by anybody, with the renter's signature of Stop(leaseId).
    function stopFor(Terms calldata terms, bytes calldata signature) external;

    /// @notice Ends the lease: pays what has matured, refunds the rest, frees the bond.
    /// @dev The provider and its operator may call at any time, everybody else once the provider
    /// can commit no more: first commit missed, `maxDuration` over, or stopped and `commitGrace`
    /// over. Nobody can close over segments whose window is still open, so closing can neither lose
    /// nor launder them.
    function close(Terms calldata terms) external;

    // ----------------------------------------------------------------------------------- ledger

    /// @notice Sends the whole credit of `account` to `account`. Anybody may call.
    function withdrawTo(address token, address account) external;

    /// @notice Sends `amount` of the caller's credit to `to`.
    function withdraw(address token, address to, uint256 amount) external;

    // -------------------------------------------------------------------------------- extension

    /// @notice Contract whose code runs, on this contract's storage, whatever IEscrowExtension
    /// names. Made by this contract's constructor, and never changed.
    function extension() external view returns (address);
}
