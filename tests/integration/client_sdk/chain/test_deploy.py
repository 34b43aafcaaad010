"""The deploy command against a real chain, and web3 as an independent reader of the result."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from web3 import Web3

from client_sdk.chain.chain import Chain
from client_sdk.chain.deployment import load_deployment
from client_sdk.chain.errors import BeaconUnavailable
from client_sdk.chain.wallet import new_key, save_key_file
from contracts.codec import load_artifact
from contracts.deploy import DeployError, DeployOptions, deploy, main
from contracts.deployments import Deployment
from contracts.registry import AuditorRegistry


def test_when_deployed_then_the_chain_serves_the_escrow(chain: Chain, accounts: Any) -> None:
    chain.check()
    token = chain.deployment.token("tUSD")
    assert chain.view(chain.escrow.allowed_tokens()) == (token.address,)
    assert chain.view(chain.escrow.owner()) == accounts.deployer.address
    assert chain.deployment.arbiter == accounts.arbiter.address
    assert token.decimals == 6
    assert chain.token_balance(token.address, accounts.renter.address) == 10_000 * 10**6
    registry = AuditorRegistry(chain.deployment.registry)
    assert chain.view(registry.escrow()) == chain.escrow.address
    assert chain.view(registry.bond_token()) == token.address
    assert chain.view(registry.owner()) == accounts.deployer.address
    assert chain.view(chain.escrow.audit_pool()) == registry.address == chain.deployment.audit_pool


def test_when_web3_reads_the_same_contract_then_it_agrees(chain: Chain, anvil: Any) -> None:
    web3 = Web3(Web3.HTTPProvider(anvil.rpc_url))
    contract = web3.eth.contract(chain.escrow.address, abi=load_artifact("LeaseEscrow").abi)
    assert contract.functions.unbondingPeriod().call() == chain.view(
        chain.escrow.unbonding_period()
    )


def key_file(folder: Path, account: LocalAccount) -> Path:
    path = folder / "deployer.key"
    save_key_file(path, account)
    return path


def test_when_the_command_runs_on_a_real_chain_then_the_file_names_the_contracts(
    new_anvil: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = new_anvil(block_time_s=0.3, chain_id=10)
    account, token = node.fund(new_key()), "0x0000000000000000000000000000000000000071"
    code = load_artifact("TestToken").deployed_bytecode
    node.rpc("anvil_setCode", token, "0x" + code.hex())
    arguments = ["--rpc-url", node.rpc_url, "--key-file", str(key_file(tmp_path, account))]
    arguments += ["--output", str(tmp_path / "deployments.json")]
    assert main(arguments) == 1
    assert "--token" in capsys.readouterr().err
    options = ["--token", token, "--fee-bps", "100", "--pay-delay", "60", "--distributor", token]
    assert main([*arguments, *options]) == 0
    assert "on chain 10" in capsys.readouterr().out

    found = load_deployment(tmp_path / "deployments.json", chain_id=10)
    assert (found.tokens[0].address, found.tokens[0].decimals) == (token, 6)
    with Chain(node.rpc_url, found) as chain:
        chain.check()
        assert chain.view(chain.escrow.fee_bps()) == 100
        assert chain.view(chain.escrow.treasury()) == account.address
        registry = AuditorRegistry(found.registry or "")
        assert chain.view(registry.pay_delay()) == 60
        assert chain.view(registry.distributor()) == token
        with pytest.raises(BeaconUnavailable):
            chain.beacon(1)


def test_when_the_deployer_is_poor_or_the_options_are_bad_then_the_error_says_so(
    anvil: Any,
) -> None:
    with pytest.raises(DeployError, match="holds 0 wei"):
        deploy(anvil.rpc_url, bytes(new_key().key))
    rich = bytes(anvil.fund(new_key()).key)
    with pytest.raises(DeployError, match="not a token's address"):
        deploy(anvil.rpc_url, rich, DeployOptions(tokens=("tUSD",)))
    token = deploy(anvil.rpc_url, rich).tokens[0].address
    web3, address = Web3(Web3.HTTPProvider(anvil.rpc_url)), Account.from_key(rich).address
    before = web3.eth.get_transaction_count(address), web3.eth.get_balance(address)
    with pytest.raises(DeployError, match=r"FeeTooHigh.* was created"):
        deploy(anvil.rpc_url, rich, DeployOptions(tokens=(token,), fee_bps=10_000))
    # What the escrow refuses costs no registry.
    assert (web3.eth.get_transaction_count(address), web3.eth.get_balance(address)) == before
    # Enough for the registry and not for the escrow is not spent on the registry.
    poor = Account.create()
    per_gas = 2 * (web3.eth.get_block("latest")["baseFeePerGas"] + web3.eth.max_priority_fee)
    anvil.rpc("anvil_setBalance", poor.address, hex(9_000_000 * per_gas))
    with pytest.raises(DeployError, match="creating registry and escrow may take"):
        deploy(anvil.rpc_url, bytes(poor.key), DeployOptions(tokens=(token,)))
    assert web3.eth.get_transaction_count(poor.address) == 0


@pytest.mark.parametrize("place", ["missing/deployments.json", "folder", "other.json"])
def test_when_the_file_cannot_be_written_then_nothing_is_deployed(
    anvil: Any, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "other.json").write_text("no deployments", encoding="utf-8")
    account = anvil.fund(new_key())
    arguments = ["--rpc-url", anvil.rpc_url, "--key-file", str(key_file(tmp_path, account))]
    assert main([*arguments, "--output", str(tmp_path / place)]) == 1
    assert place.partition("/")[0] in capsys.readouterr().err
    assert int(anvil.rpc("eth_getTransactionCount", account.address, "latest"), 16) == 0
    assert not (tmp_path / "missing").exists()


def test_when_the_file_cannot_be_written_any_more_then_the_addresses_are_told(
    anvil: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space is left")

    monkeypatch.setattr("contracts.deploy.save_deployment", full)
    account = anvil.fund(new_key())
    arguments = ["--rpc-url", anvil.rpc_url, "--key-file", str(key_file(tmp_path, account))]
    assert main([*arguments, "--output", str(tmp_path / "deployments.json")]) == 1
    told = capsys.readouterr().err
    entry = Deployment.from_json(json.loads(told[told.index("{") :]))
    web3 = Web3(Web3.HTTPProvider(anvil.rpc_url))
    assert web3.eth.get_code(entry.escrow)
