from __future__ import annotations

import socket

import pytest

from client_sdk.embedded import ports
from client_sdk.embedded.layout import Ports
from client_sdk.errors import PortTaken


@pytest.fixture
def taken():
    with socket.socket() as server:
        server.bind((ports.HOST, 0))
        server.listen()
        yield server.getsockname()[1]


def test_when_zero_is_asked_then_free_ports_are_chosen():
    chosen = ports.choose(api=0, rpc=0, remembered=None)
    assert chosen.api != chosen.rpc
    assert min(chosen.api, chosen.rpc) > 0


def test_when_the_folder_remembers_ports_then_they_are_used():
    free = ports.choose(api=0, rpc=0, remembered=None)
    assert ports.choose(api=None, rpc=None, remembered=free) == free


def test_when_a_port_is_named_then_it_wins_over_the_remembered_one(taken):
    chosen = ports.choose(api=0, rpc=0, remembered=Ports(api=taken, rpc=taken))
    assert taken not in (chosen.api, chosen.rpc)


def test_when_the_port_is_taken_then_the_option_is_named(taken):
    with pytest.raises(PortTaken, match=f"port {taken} of the API is in use") as caught:
        ports.choose(api=taken, rpc=0, remembered=None)
    assert "--port" in caught.value.what_to_do
    with pytest.raises(PortTaken) as caught:
        ports.choose(api=0, rpc=taken, remembered=None)
    assert "--rpc-port" in caught.value.what_to_do


def test_when_both_ports_are_the_same_then_it_is_refused():
    with pytest.raises(PortTaken, match="both"):
        ports.choose(api=4000, rpc=4000, remembered=None)
