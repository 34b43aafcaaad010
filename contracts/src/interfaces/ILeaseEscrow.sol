// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrowCore} from "./IEscrowCore.sol";
import {IEscrowExtension} from "./IEscrowExtension.sol";

/// @title Escrow of leases on rented machines, paid segment by segment
/// @notice Providers stake and list machines. A renter opens a lease with its whole price in
/// escrow, under terms that the provider's operator key signed. The provider commits finished
/// segments; each commit can be challenged for `window` seconds, then anybody may settle it.
/// Whatever is not earned goes back to the renter.
///
/// Money
/// - Every payment ends as a credit in a ledger. Only `withdraw` and `withdrawTo` send tokens out,
///   so an account that a token refuses to pay blocks nobody else.
/// - `escrow = pricePerSegment * (segments - paid)` for every live lease, at all times.
/// - Amounts are integers in the token's smallest unit. Shares (`feeBps`, `auditBps`) are basis
///   points of each payment, rounded down; the provider gets the rest.
///
/// Clock
/// - Times are block times in seconds. A dispute stops the clock of its lease: when it ends with an
///   honest ruling or an attestation, the three times of the lease move forward by as long as it
///   took, so no deadline and no window runs while nobody may commit.
/// - Warning: a block producer can shift block time by some seconds. Making periods much longer
///   than that is the parties' own care; this contract only bounds them from above.
///
/// Forks
/// - Ids and digests name the chain of the deployment for ever: after a fork, live leases go on and
///   every way out works on both sides. Ways in (`list`, `stake`, openings) work at home only.
/// - Warning: what was signed for a live lease then counts on both sides.
///
/// Assumptions on tokens
/// - The zero address among the tokens stands for the chain's own coin.
/// - The allow-list is fixed for ever when the contract is made. Tokens on it must not rebase. A
///   token that takes a fee on transfer is refused at every deposit, because the amount received is
///   checked.
/// - Of no token there may be 2**128 units: credits are kept in half a word.
/// - Warning: a token whose issuer can freeze this contract or take its balance can stop all
///   withdrawals in that token. Other tokens are not touched.
///
/// Trust
/// - The owner sets the fee for new leases, the two receivers of fees and audit shares, and may
///   pause openings and `list`. It can reach no user's funds and cannot stop any way out.
/// - Warning: the arbiter of a lease, named in its terms, decides disputes alone. It can take a
///   provider's bond and unsettled pay for the renter (and a tenth of the bond for a challenger),
///   also without a dispute refund what is not committed yet or cannot be fetched, rule fraud until
///   `unbondingPeriod` after the last window, or let fraud pass. It can pay nothing to itself.
/// - Warning: a leaked operator key can sign terms that lock free stake as bond and name a friendly
///   arbiter. Free stake is what a leak can cost. `setOperator` and `delist` revoke the key.
interface ILeaseEscrow is IEscrowCore, IEscrowExtension {}
