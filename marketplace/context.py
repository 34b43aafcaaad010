"""What every part of a marketplace process is given: settings, database, store, contract."""

from __future__ import annotations

from dataclasses import dataclass

from client_sdk.chain.deployment import Deployment, load_deployment
from client_sdk.protocol.addresses import same_address
from client_sdk.protocol.eip712 import Domain
from marketplace.database import Database
from marketplace.errors import ConfigurationError
from marketplace.scope import Scope
from marketplace.settings import RelayRates, Settings
from marketplace.store import open_store
from marketplace.store.base import ArtifactStore, Uploads


@dataclass(frozen=True, slots=True)
class Market:
    """One marketplace node, serving one contract on one chain."""

    settings: Settings
    deployment: Deployment
    database: Database
    store: ArtifactStore
    uploads: Uploads

    @property
    def scope(self) -> Scope:
        """The contract that this node serves."""
        return Scope(self.deployment.chain_id, self.deployment.escrow.lower())

    @property
    def domain(self) -> Domain:
        """The domain that all typed signatures are made for."""
        return Domain(self.deployment.chain_id, self.deployment.escrow)

    def relay_rates(self, token: str) -> RelayRates | None:
        """For what calls in a token are carried; nothing where they are not."""
        if self.settings.relayer_key_file is None:
            return None
        rates = self.settings.relay
        known = (t.symbol for t in self.deployment.tokens if same_address(t.address, token))
        return next((rates[symbol] for symbol in known if symbol in rates), None)

    async def close(self) -> None:
        """Close the database connections."""
        await self.database.close()


def open_market(settings: Settings) -> Market:
    """Build what a process needs from its settings; no connection is made yet.

    Raises
    ------
    ConfigurationError
        The settings name a token that the deployment does not have.
    """
    deployment = load_deployment(
        settings.deployments_file, chain_id=settings.chain_id, escrow=settings.escrow
    )
    unknown = sorted(settings.relay.keys() - {token.symbol for token in deployment.tokens})
    if unknown:
        raise ConfigurationError(f"relay: the deployment has no token {unknown[0]}")
    store, uploads = open_store(settings)
    return Market(
        settings=settings,
        deployment=deployment,
        database=Database(settings.database_url),
        store=store,
        uploads=uploads,
    )
