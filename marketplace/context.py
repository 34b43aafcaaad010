"""What every part of a marketplace process is given: settings, database, store, contract."""

from __future__ import annotations

from dataclasses import dataclass

from client_sdk.chain.deployment import Deployment, load_deployment
from client_sdk.protocol.eip712 import Domain
from marketplace.database import Database
from marketplace.scope import Scope
from marketplace.settings import Settings
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

    async def close(self) -> None:
        """Close the database connections."""
        await self.database.close()


def open_market(settings: Settings) -> Market:
    """Build what a process needs from its settings; no connection is made yet."""
    deployment = load_deployment(
        settings.deployments_file, chain_id=settings.chain_id, escrow=settings.escrow
    )
    store, uploads = open_store(settings)
    return Market(
        settings=settings,
        deployment=deployment,
        database=Database(settings.database_url),
        store=store,
        uploads=uploads,
    )
