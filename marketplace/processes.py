"""The long-running processes of a node; imported only by the one that runs.

Every process is one operating-system process without children: killing it leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from granian.constants import Interfaces
from granian.errors import FatalError
from granian.log import LogLevels
from granian.server.embed import Server

from marketplace.app import create
from marketplace.context import Market
from marketplace.errors import ConfigurationError

log = logging.getLogger(__name__)

_STOP_S = 5.0
RECURSION_LIMIT = 1_000


def limit_recursion() -> None:
    """Take back what libraries of the chain set.

    They raise the limit so far that deeply nested JSON of a stranger ends the process instead of
    raising an error.
    """
    sys.setrecursionlimit(RECURSION_LIMIT)


async def serve(market: Market, stop: asyncio.Event) -> None:
    """Serve the HTTP API until told to stop.

    Raises
    ------
    ConfigurationError
        The address is taken.
    """
    settings = market.settings
    limit_recursion()
    server = Server(
        create(settings),
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        log_level=LogLevels.warning,
        websockets=False,
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not serving.done():
        server.stop()  # type: ignore[no-untyped-call]  # granian leaves it untyped
    try:
        await asyncio.wait_for(serving, timeout=_STOP_S)
    except TimeoutError:
        # Open log streams do not end by themselves.
        log.info("open streams were cut")
    except (FatalError, OSError) as error:
        raise ConfigurationError(
            f"cannot listen on {settings.host}:{settings.port} ({error}); choose another port"
        ) from error
