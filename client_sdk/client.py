"""The renter's client: find an offer, run a job, keep the promise of every check.

>>> client = Client(password="...")                       # doctest: +SKIP
>>> job = client.run("examples/digits_cnn/job.yaml")      # doctest: +SKIP
>>> for line in job.logs(follow=True): print(line)        # doctest: +SKIP
>>> job.wait().verdict                                    # doctest: +SKIP
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from eth_account.signers.local import LocalAccount

from client_sdk import inputs, selection
from client_sdk.chain.chain import Chain
from client_sdk.chain.deployment import DeploymentError
from client_sdk.chain.sender import Sender
from client_sdk.chain.signing import sign_text
from client_sdk.chain.wallet import load_keystore
from client_sdk.connection import Connection, connect
from client_sdk.errors import InputRejected, NotFound, SpecRejected
from client_sdk.facts import ChainFacts, chain_errors
from client_sdk.home import JobRecord
from client_sdk.job import CONFIRMATIONS, Job
from client_sdk.jobfile import JobFile, load_job_file
from client_sdk.markets import Found, Markets, VerifiedOffer
from client_sdk.ordering import Agreed, Demand, Ordering, Placed
from client_sdk.policy import MarketFacts, Policy
from client_sdk.protocol.canonical import to_hex
from client_sdk.protocol.errors import JobSpecError
from client_sdk.relaying import Relays, Way
from client_sdk.session import Login, SessionFile
from client_sdk.transports import MarketNode, Timeouts

Note = Callable[[str], None]


def _quiet(_: str) -> None:
    """Say nothing."""


class Client:
    """One renter's session with the market.

    Parameters
    ----------
    home:
        Folder with wallet, jobs and, for the embedded market, its addresses; default: the nearest
        `.gridlease`.
    markets:
        URLs of marketplace nodes; default: the embedded one of the home folder.
    rpc_url, deployment:
        Node of the chain, and the file that names the contracts; default: as for `markets`.
    account:
        The renter's key; default: the wallet in the home folder, opened with `password`.
    policy:
        What terms, and what relay fee, are accepted.
    relay:
        Whether marketplace nodes carry this account's calls to the chain; by default when it cannot
        pay the chain's fees.
    transport:
        Replaces the network to the marketplace, for tests.
    """

    def __init__(
        self,
        *,
        home: Path | None = None,
        markets: Sequence[str] = (),
        rpc_url: str | None = None,
        deployment: Path | None = None,
        account: LocalAccount | None = None,
        password: str | None = None,
        policy: Policy | None = None,
        relay: bool | None = None,
        connection: Connection | None = None,
        timeouts: Timeouts | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.connection = connection or connect(
            home=home, markets=markets, rpc_url=rpc_url, deployment=deployment
        )
        self.home = self.connection.home
        self.policy = policy or Policy()
        self.chain = Chain(self.connection.rpc_url, self.connection.deployment)
        self.facts = ChainFacts(self.chain)
        self._account = account
        self._password = password
        self._relay = relay
        self._sender: Sender | None = None
        self._login: Login | None = None
        nodes = [self._node(url, timeouts, transport) for url in self.connection.markets]
        self.market_facts = _market_facts(self.connection)
        self.markets = Markets(
            nodes,
            facts=self.facts,
            domain=self.chain.domain,
            market=self.market_facts,
            policy=self.policy,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.markets.close()
        self.chain.close()

    @property
    def account(self) -> LocalAccount:
        """The renter's key, opened at its first use.

        Raises
        ------
        WalletError
            There is no wallet, or the password does not open it.
        """
        if self._account is None:
            self._account = load_keystore(self.home.wallet, self._password or "")
        return self._account

    @property
    def address(self) -> str:
        """The renter's account."""
        return str(self.account.address)

    @property
    def sender(self) -> Sender:
        """Sends the renter's transactions, each once."""
        if self._sender is None:
            self._sender = Sender(
                self.chain,
                self.account,
                self.home.journal(self.address),
                confirmations=CONFIRMATIONS,
            )
        return self._sender

    @property
    def relays(self) -> Relays:
        """The nodes that carry this account's calls to the chain, where it has to be."""
        return Relays(
            account=self.account,
            chain=self.chain,
            nodes=self.markets.nodes,
            policy=self.policy,
            relay=self._relay,
        )

    def offers(self, query: str = "", *, order: str | None = None, limit: int = 50) -> Found:
        """Offers that match, each checked against its signature and the chain.

        Parameters
        ----------
        query:
            Such as ``gpu_name=RTX_4090 num_gpus>=2 dph<0.8``.
        order:
            Field to sort by; ``-`` after it for the largest first.
        """
        return self.markets.offers(query, order=order, limit=limit)

    def run(
        self,
        spec: str | Path | JobFile,
        *,
        query: str = "",
        offer_id: bytes | None = None,
        budget: str | None = None,
        on_note: Note = _quiet,
    ) -> Job:
        """Order a job, check the provider's terms, fund the lease; returns when it is open.

        Parameters
        ----------
        spec:
            Job file, or a spec that has been read.
        query:
            Further demands on the offer.
        offer_id:
            Take this offer and no other.
        budget:
            In place of the spec's: decimal text in whole tokens.
        on_note:
            Receives one line per step.

        Raises
        ------
        InputRejected, NoOffer, OrderDeclined, TermsRejected, WalletError, NetworkFailed
            Nothing has been spent.
        """
        job = selection.with_budget(read_spec(spec), budget)
        found = self.offers(selection.full_query(job.spec, query), order="dph")
        chosen = selection.choose(job.spec, found, offer_id, self._token_info)
        demand = selection.demand(job.spec, chosen, self._token_info)
        way = self.relays.way(demand.token)
        on_note(way.text(demand.decimals, demand.symbol))
        self._check_funds(demand, selection.least_cost(job.spec, chosen), way)
        placed, agreed, sealed, manifest = self._agree(job, chosen, demand, on_note)
        record = self._record(job, chosen, placed, agreed, sealed.job_key, manifest)
        self.home.save_job(record)
        on_note(f"terms checked; opening lease {record.lease_id}")
        self._check_funds(demand, agreed.terms.cost, way)
        tx_hash = self.relays.open(agreed, way) if way.relayed else self._ordering.open(agreed)
        return Job(self, record).with_record(open_tx=to_hex(tx_hash))

    def job(self, name: str) -> Job:
        """A job that was ordered from this home folder: id, start of an id, lease id or `last`.

        Raises
        ------
        NotFound
            None fits, or its lease was never opened.
        """
        record = self.home.find_job(name)
        if record.lease_id is None:
            raise NotFound(f"{record.job_id} was never opened")
        return Job(self, record)

    def jobs(self) -> Iterator[Job]:
        """Jobs that were ordered from this home folder, the oldest first."""
        for record in self.home.jobs():
            if record.lease_id is not None:
                yield Job(self, record)

    def credit(self, token: str) -> int:
        """What the escrow owes this account, such as refunds; in the token's smallest unit."""
        with chain_errors("reading the credit"):
            return self.chain.view(self.chain.escrow.credit_of(token, self.address))

    def withdraw(self, token: str, *, key: str) -> int:
        """Take the whole credit into the wallet; returns the amount.

        Parameters
        ----------
        key:
            Names this withdrawal; repeated with the same key it is sent once.
        """
        amount = self.credit(token)
        if amount and self.relays.wanted:
            return self.relays.withdraw(token, key)
        if amount:
            with chain_errors("withdrawing"):
                call = self.chain.escrow.withdraw_to(token, self.address)
                self.sender.send(call, f"withdraw:{key}")
        return amount

    @property
    def _ordering(self) -> Ordering:
        return Ordering(
            account=self.account,
            chain=self.chain,
            facts=self.facts,
            sender=self.sender,
            market=self.market_facts,
            policy=self.policy,
        )

    def _check_funds(self, demand: selection.PartialDemand, cost: int, way: Way) -> None:
        self._ordering.check_funds(
            demand.token,
            cost + way.fee,
            decimals=demand.decimals,
            symbol=demand.symbol,
            relayed=way.relayed,
        )

    def _agree(
        self, job: JobFile, chosen: VerifiedOffer, demand: selection.PartialDemand, note: Note
    ) -> tuple[Placed, Agreed, inputs.SealedInputs, dict[str, Any]]:
        """Upload, order, and wait for acceptable terms."""
        with tempfile.TemporaryDirectory(prefix="gridlease-") as name:
            folder = Path(name)
            packed = inputs.pack(job, folder)
            manifest = packed.manifest(chosen.offer.hardware_class)
            sealed = inputs.seal(packed, manifest, folder)
            node = chosen.nodes[0]
            note(f"uploading {len(sealed.files)} encrypted artifacts to {node.url}")
            sealed.upload(node)
        ready: Demand = demand.for_job(sealed.job_hash)
        placed = self._ordering.place(node, chosen, ready, sealed)
        note(f"ordered {placed.job_id}; the worker checks the inputs and probes the step time")
        agreed = self._ordering.await_terms(
            placed, chosen, ready.verification, on_state=lambda state: note(f"order: {state}")
        )
        return placed, agreed, sealed, manifest.to_json()

    def _record(
        self,
        job: JobFile,
        chosen: VerifiedOffer,
        placed: Placed,
        agreed: Agreed,
        job_key: bytes,
        manifest: dict[str, Any],
    ) -> JobRecord:
        deployment = self.connection.deployment
        return JobRecord(
            job_id=placed.job_id,
            order_id=placed.order_id,
            market=placed.node.url,
            name=job.spec.name,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            chain_id=deployment.chain_id,
            escrow=deployment.escrow,
            job_key=job_key.hex(),
            spec_folder=str(job.folder.resolve()),
            code=job.spec.code,
            data=dict(job.spec.data),
            manifest=manifest,
            order=placed.order.to_json(),
            offer=chosen.offer.to_json(),
            terms=agreed.terms.to_json(),
            terms_signature=to_hex(agreed.signature),
            lease_id=to_hex(agreed.lease_id),
        )

    def _token_info(self, address: str) -> tuple[int, str]:
        """Decimals and symbol of an accepted token."""
        try:
            token = self.connection.deployment.token(address)
        except DeploymentError as error:
            raise InputRejected(str(error)) from error
        return token.decimals, token.symbol

    def _node(
        self, url: str, timeouts: Timeouts | None, transport: httpx.BaseTransport | None
    ) -> MarketNode:
        node = MarketNode(url, timeouts or Timeouts(), transport)

        def token(renew: bool) -> str | None:
            # Public answers need no login, so a wallet is not asked for before it is needed.
            if self._account is None and self._password is None:
                return None
            return self._logins().token(node, renew=renew)

        node.token = token
        return node

    def _logins(self) -> Login:
        if self._login is None:
            self._login = Login(
                address=self.address,
                chain_id=self.connection.deployment.chain_id,
                sign_text=lambda text: sign_text(text, self.account),
                sessions=SessionFile(self.home.sessions),
            )
        return self._login


def read_spec(spec: str | Path | JobFile) -> JobFile:
    """A job file, read and checked.

    Raises
    ------
    SpecRejected
        With every problem, its line and a suggestion.
    """
    if isinstance(spec, JobFile):
        return spec
    try:
        return load_job_file(Path(spec))
    except JobSpecError as error:
        raise SpecRejected(str(error)) from error


def _market_facts(connection: Connection) -> MarketFacts:
    deployment = connection.deployment
    if deployment.arbiter is None:
        raise InputRejected(
            "the deployment names no arbiter",
            what_to_do="Use a deployment file that names the arbiter that you accept.",
        )
    tokens = frozenset(token.address.lower() for token in deployment.tokens)
    return MarketFacts(arbiter=deployment.arbiter, tokens=tokens)
