"""Saving the development chain while it runs.

anvil's own dump at exit is lost when it is killed, and its interval dump overwrites the file in
place. So the state is fetched over RPC and renamed into place. A crash loses the blocks since the
last dump; every party treats that as a reorganisation.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from client_sdk.embedded.rpc import DevelopmentChain
from client_sdk.errors import ChainFailed
from client_sdk.home import write_private

LOG = logging.getLogger("gridlease.up")
INTERVAL_S = 2.0
SHARE_OF_TIME = 40
"""A dump that takes long is repeated less often, at most one fortieth of the time."""


class Dumper:
    """Dumps the chain at an interval, in a thread of its own."""

    def __init__(
        self,
        chain: DevelopmentChain,
        path: Path,
        *,
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain = chain
        self._path = path
        self._interval_s = interval_s
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="chain-dump", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, with one last dump."""
        self._stop.set()
        self._thread.join()
        self.dump_once()

    def dump_once(self) -> float:
        """Dump now; returns the seconds until the next dump is due.

        A chain that does not answer is being restarted by the supervisor: the last dump stays.
        """
        begun = self._clock()
        try:
            write_private(self._path, self._chain.dump())
        except ChainFailed as error:
            LOG.debug("no dump: %s", error)
        return max(self._interval_s, (self._clock() - begun) * SHARE_OF_TIME)

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                pause_s = self.dump_once()
            except OSError as error:
                LOG.error("cannot save the chain to %s: %s", self._path, error)
                pause_s = self._interval_s
            self._stop.wait(pause_s)
