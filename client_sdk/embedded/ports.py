"""Choosing and checking TCP ports on the loopback interface."""

from __future__ import annotations

import errno
import socket

from client_sdk.embedded.layout import Ports
from client_sdk.errors import PortTaken

HOST = "127.0.0.1"
DEFAULT = Ports(api=8480, rpc=8545)


def choose(*, api: int | None, rpc: int | None, remembered: Ports | None) -> Ports:
    """Ports for this start: what the caller names, else what the folder used, else the default.

    Zero means any free port.

    Raises
    ------
    PortTaken
        A port is in use, or may not be used.
    """
    base = remembered or DEFAULT
    wanted_api = base.api if api is None else api
    wanted_rpc = base.rpc if rpc is None else rpc
    if wanted_api == wanted_rpc != 0:
        raise PortTaken(f"the API and the chain cannot both use port {wanted_api}")
    return Ports(
        api=_claim(wanted_api, "API", "--port"), rpc=_claim(wanted_rpc, "chain", "--rpc-port")
    )


def _claim(port: int, name: str, option: str) -> int:
    """Check that the port can be bound now; resolves zero to a free one."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # A port in TIME_WAIT of our own last run is free for a server, as servers set this too.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error})"
            raise PortTaken(
                f"port {port} of the {name} {why}",
                what_to_do=f"Stop the program that uses it, or choose another with {option}.",
            ) from error
        return int(probe.getsockname()[1])
