"""What a development chain needs before the market can run: contracts, coins, test tokens.

Safe to repeat: contracts are deployed when the folder has no deployment, and accounts are topped
up when they hold too little.
"""

from __future__ import annotations

from collections.abc import Mapping

from client_sdk.chain.chain import Chain
from client_sdk.chain.deployment import Deployment, load_deployment
from client_sdk.chain.sender import Sender
from client_sdk.chain.wallet import load_key_file
from client_sdk.embedded.keys import ensure_keys, key_file
from client_sdk.embedded.rpc import DevelopmentChain
from client_sdk.embedded.services import CONFIRMATIONS, Services
from client_sdk.errors import ChainFailed, FolderBroken
from contracts.bindings import Token
from contracts.deploy import DeployError, DeployOptions, deploy, read_key_file
from contracts.deployments import DEV_CHAIN_ID

COINS_WEI = 10**21
LOW_COINS_WEI = 10**20
TOKENS = 10_000
LOW_TOKENS = 1_000
FEE_BPS = 200
UNBONDING_PERIOD_S = 3_600
NEED_TOKENS = ("owner", "auditor", "arbiter")
"""Parties that stake or put up bonds."""


def provision(services: Services, chain: DevelopmentChain) -> Deployment:
    """Make sure that contracts and funded accounts are there.

    Raises
    ------
    FolderBroken
        The chain in the folder is not the one that the contracts were deployed to.
    ChainFailed
        The contracts cannot be deployed.
    """
    folder = services.folder
    addresses = ensure_keys(folder.keys)
    for address in addresses.values():
        if chain.balance(address) < LOW_COINS_WEI:
            chain.fund(address, COINS_WEI)
    if folder.deployment.exists():
        deployment = load_deployment(folder.deployment, chain_id=DEV_CHAIN_ID)
    else:
        deployment = _deploy(services, addresses)
    reader = Chain(services.rpc_url, deployment)
    try:
        _check_there(services, chain, deployment)
        _mint(services, reader, deployment, [addresses[party] for party in NEED_TOKENS])
    finally:
        reader.close()
    return deployment


def _deploy(services: Services, addresses: Mapping[str, str]) -> Deployment:
    options = DeployOptions(
        treasury=addresses["treasury"],
        audit_pool=addresses["audit-pool"],
        fee_bps=FEE_BPS,
        unbonding_period_s=UNBONDING_PERIOD_S,
        arbiter=addresses["arbiter"],
        beacon_delay_blocks=CONFIRMATIONS,
    )
    key = read_key_file(key_file(services.folder.keys, "deployer"))
    try:
        return deploy(services.rpc_url, key, options)
    except DeployError as error:
        raise ChainFailed(f"the contracts cannot be deployed: {error}") from error


def _check_there(services: Services, chain: DevelopmentChain, deployment: Deployment) -> None:
    if chain.call("eth_getCode", deployment.escrow, "latest") == "0x":
        raise FolderBroken(
            f"the chain in {services.folder.chain_state} does not hold the contracts that "
            f"{services.folder.deployment} names",
            what_to_do=f"Restore both from one copy, or move {services.folder.root} away.",
        )


def _mint(services: Services, reader: Chain, deployment: Deployment, needy: list[str]) -> None:
    token = deployment.tokens[0]
    unit = 10**token.decimals
    low = [
        address
        for address in needy
        if reader.token_balance(token.address, address) < LOW_TOKENS * unit
    ]
    if not low:
        return
    account = load_key_file(key_file(services.folder.keys, "deployer"))
    sender = Sender(reader, account, services.folder.root / "chain" / "deployer.sqlite")
    block = reader.head()
    for address in low:
        call = Token(token.address).mint(address, TOKENS * unit)
        sender.submit(call, f"mint:{address}:{block}")
    for address in low:
        sender.wait(f"mint:{address}:{block}", confirmations=0)
