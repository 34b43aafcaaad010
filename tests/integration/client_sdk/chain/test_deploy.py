"""The deploy command against a real chain, and web3 as an independent reader of the result."""

from __future__ import annotations

from typing import Any

from web3 import Web3

from client_sdk.chain.chain import Chain
from contracts.codec import load_artifact


def test_when_deployed_then_the_chain_serves_the_escrow(chain: Chain, accounts: Any) -> None:
    chain.check()
    token = chain.deployment.token("tUSD")
    assert chain.view(chain.escrow.allowed_tokens()) == (token.address,)
    assert chain.view(chain.escrow.owner()) == accounts.deployer.address
    assert chain.deployment.arbiter == accounts.arbiter.address
    assert token.decimals == 6
    assert chain.token_balance(token.address, accounts.renter.address) == 10_000 * 10**6


def test_when_web3_reads_the_same_contract_then_it_agrees(chain: Chain, anvil: Any) -> None:
    web3 = Web3(Web3.HTTPProvider(anvil.rpc_url))
    contract = web3.eth.contract(chain.escrow.address, abi=load_artifact("LeaseEscrow").abi)
    assert contract.functions.unbondingPeriod().call() == chain.view(
        chain.escrow.unbonding_period()
    )
