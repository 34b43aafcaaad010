"""Carries out relayed calls, and collects what has accrued.

Every call is tried out on the node of the chain first (``eth_call``): what the contract refuses
costs no gas.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from client_sdk.chain.chain import Chain
from client_sdk.chain.signing import split
from client_sdk.protocol.terms import Terms
from contracts.bindings import Call
from marketplace.context import Market
from marketplace.outbox.kinds import RELAY_COLLECT, RELAY_OPEN, RELAY_STOP, RELAY_WITHDRAW
from marketplace.outbox.relay import Relay, in_order
from marketplace.outbox.service import Done, Handler, Outcome

BELOW_MINIMUM = "BelowMinWithdrawal"
"""This node's own refusal: the credit is not worth the gas of sending it."""


def handlers(market: Market, chain: Chain, relay: Relay) -> dict[str, Handler]:
    """Return the handlers of openings, stops, withdrawals and collecting."""
    escrow = chain.escrow

    async def open_lease(payload: Mapping[str, Any]) -> Outcome:
        terms = Terms.from_json(dict(payload["terms"])).abi_tuple()
        call = escrow.open_with_authorization(
            terms, _bytes(payload["terms_signature"]), authorization(payload)
        )
        return await relay.send(call, payload["key"], try_first=True)

    async def stop(payload: Mapping[str, Any]) -> Outcome:
        terms = Terms.from_json(dict(payload["terms"])).abi_tuple()
        call = escrow.stop_for(terms, _bytes(payload["signature"]))
        return await relay.send(call, payload["key"], try_first=True)

    async def withdraw(payload: Mapping[str, Any]) -> Outcome:
        account, token, key = payload["account"], payload["token"], payload["key"]
        rates = market.relay_rates(token)
        if not await relay.knows(key):
            credit = await asyncio.to_thread(chain.view, escrow.credit_of(token, account))
            if rates is None or credit < rates.min_withdrawal:
                return Done({"refused": BELOW_MINIMUM})
        return await relay.send(escrow.withdraw_to(token, account), key, try_first=True)

    async def collect(payload: Mapping[str, Any]) -> Outcome:
        steps: list[tuple[Relay, Call, str]] = []
        for token in market.deployment.tokens:
            rates = market.relay_rates(token.address)
            if rates is None or rates.min_collect is None:
                continue
            key = f"{RELAY_COLLECT}:{token.symbol}:{payload['slot']}"
            own = await relay.address()
            accrued = sum(await asyncio.to_thread(chain.view, escrow.accrued_of(token.address)))
            credit = await asyncio.to_thread(chain.view, escrow.credit_of(token.address, own))
            if accrued >= rates.min_collect or await relay.knows(key):
                steps.append((relay, escrow.collect(token.address), key))
            if credit >= rates.min_collect or await relay.knows(f"{key}:own"):
                steps.append((relay, escrow.withdraw_to(token.address, own), f"{key}:own"))
        return await in_order(*steps)

    return {
        RELAY_OPEN: open_lease,
        RELAY_STOP: stop,
        RELAY_WITHDRAW: withdraw,
        RELAY_COLLECT: collect,
    }


def authorization(payload: Mapping[str, Any]) -> tuple[int, int, int, int, bytes, bytes]:
    """The authorization as the contract takes it: fee, times, v, r, s."""
    fee, after, before = (
        int(payload[name]) for name in ("relay_fee", "valid_after", "valid_before")
    )
    return fee, after, before, *split(_bytes(payload["signature"]))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
