"""A provider's way out through the command line, on a chain of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from client_sdk.chain.chain import Chain
from client_sdk.chain.sender import Sender
from client_sdk.chain.wallet import load_key_file
from client_sdk.protocol.canonical import to_hex
from contracts.bindings import StakeView, Token
from contracts.deploy import DeployOptions, deploy
from contracts.deployments import Deployment, save_deployment
from tests.fakes.parties import account, machine_document
from worker_agent.attest import Listing, register
from worker_agent.cli import app
from worker_agent.context import make_context
from worker_agent.settings import load_settings

PERIOD_S = 3_600
TUSD = 10**6
STAKE = 100 * TUSD


@dataclass
class Machine:
    """A worker's folder, and the chain that it is listed on."""

    anvil: Any
    chain: Chain
    config: Path

    @property
    def deployment(self) -> Deployment:
        return self.chain.deployment

    @property
    def token(self) -> str:
        return self.deployment.tokens[0].address

    @property
    def owner(self) -> str:
        return str(load_key_file(self.config.parent / "owner.key").address)

    def run(self, *command: str) -> Result:
        return CliRunner().invoke(app, [*command, "--config", str(self.config)])

    def told(self, *command: str) -> Any:
        """What a command that goes well says as JSON."""
        done = self.run(*command, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def refused(self, *command: str, code: int = 1) -> str:
        done = self.run(*command)
        assert done.exit_code == code, done.output
        return done.output

    def register(self) -> Listing:
        """What the daemon does at its start and every now and then."""
        context = make_context(load_settings(self.config))
        try:
            return register(context, machine_document(context.encryption_key.public))
        finally:
            context.close()

    def change(self, **values: Any) -> None:
        settings = json.loads(self.config.read_text()) | values
        kept = {name: value for name, value in settings.items() if value is not None}
        self.config.write_text(json.dumps(kept))

    def stake(self) -> StakeView:
        return self.chain.view(self.chain.escrow.stake_of(self.owner, self.token))

    def is_active(self, listing: Listing) -> bool:
        return self.chain.view(self.chain.escrow.listing_of(listing.listing_id)).active


@pytest.fixture
def machine(tmp_path: Path, new_anvil: Callable[..., Any]) -> Iterator[Machine]:
    anvil, deployer = new_anvil(), account("deployer")
    anvil.fund(deployer)
    options = DeployOptions(arbiter=deployer.address, unbonding_period_s=PERIOD_S)
    deployment = deploy(anvil.rpc_url, bytes(deployer.key), options)
    save_deployment(tmp_path / "deployments.json", deployment)
    config = tmp_path / "worker.json"
    values = ["--rpc-url", anvil.rpc_url, "--deployments", str(tmp_path / "deployments.json")]
    done = CliRunner().invoke(app, ["init", "--config", str(config), *values])
    assert done.exit_code == 0, done.output
    with Chain(anvil.rpc_url, deployment) as chain:
        made = Machine(anvil, chain, config)
        made.change(confirmations=1, stake="100")
        for name in ("owner", "provider-operator"):
            anvil.fund(load_key_file(tmp_path / f"{name}.key"))
        mint = Token(made.token).mint(made.owner, 2 * STAKE)
        Sender(chain, deployer, tmp_path / "deployer.sqlite").send(mint, "mint", confirmations=0)
        yield made


def test_when_a_provider_leaves_then_all_of_its_stake_is_in_its_wallet(machine: Machine) -> None:
    listing = machine.register()
    assert (machine.stake().total, machine.is_active(listing)) == (STAKE, True)
    assert machine.run("drain").exit_code == 0

    assert machine.told("delist") == {"delisted": [to_hex(listing.listing_id)]}
    assert not machine.is_active(listing)
    assert machine.told("delist") == {"delisted": []}

    for unbonding in (40, 80):  # the same amount again is another call
        told = machine.told("unbond", "40")
        assert (told["amount"], told["unbonding"]) == (str(40 * TUSD), str(unbonding * TUSD))
    assert "at most 20.00 tUSD" in machine.refused("unbond", "20.000001")
    done = machine.run("unbond", "10")
    assert done.stderr == "unbonding takes 1h, anew for what is unbonding already\n"
    assert "\n80.00 tUSD of it was unbonding before: its period started anew\n" in done.stdout
    assert "above zero" in machine.refused("unbond", "0", code=2)
    assert machine.told("earnings")["unbonding_period"] == "1h"
    told = machine.told("unbond", "all")
    assert told == {
        "amount": str(10 * TUSD),
        "unbonding": str(STAKE),
        "claimable_at": machine.stake().claimable_at,
    }
    assert "at most 0.00 tUSD" in machine.refused("unbond", "all")
    assert "it can be claimed from 20" in machine.refused("claim-unbond")

    machine.anvil.rpc("evm_increaseTime", PERIOD_S)
    machine.anvil.rpc("evm_mine")
    assert machine.told("claim-unbond") == {"amount": str(STAKE)}
    assert machine.stake() == StakeView(0, 0, 0, 0)

    owner = machine.owner
    machine.change(owner_key_file=None, provider=owner)
    assert machine.told("withdraw") == {"amount": str(STAKE), "to": owner}, "by the operator's key"
    assert machine.chain.token_balance(machine.token, owner) == 2 * STAKE
    assert machine.told("withdraw") == {"amount": "0", "to": owner}
    assert "set owner_key_file" in machine.refused("unbond", "1", code=2)


def test_when_the_worker_goes_on_then_it_undoes_nothing_that_its_owner_did(
    machine: Machine,
) -> None:
    listing = machine.register()
    assert "run `gridlease worker drain` first" in machine.refused("delist")
    assert "run `gridlease worker drain` first" in machine.refused("unbond", "0.01")
    assert "nothing is unbonding" in machine.refused("claim-unbond")
    assert machine.refused("unbond", "much", code=2)
    machine.change(stake="60")
    assert machine.told("unbond", "40")["unbonding"] == str(40 * TUSD)

    machine.run("drain")
    machine.told("unbond", "all")
    machine.told("delist")
    # A daemon that finishes its leases is started anew.
    assert machine.register() == listing
    assert (machine.stake().unbonding, machine.stake().total) == (STAKE, STAKE)
    assert not machine.is_active(listing)

    machine.run("drain", "--undo")
    again = machine.register()
    assert again.listing_id != listing.listing_id
    assert machine.is_active(again)
    assert machine.stake().total == STAKE + 60 * TUSD, "what is unbonding backs no new lease"
