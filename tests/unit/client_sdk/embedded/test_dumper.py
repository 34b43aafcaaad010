from __future__ import annotations

import json
import threading

from client_sdk.embedded.dumper import SHARE_OF_TIME, Dumper
from client_sdk.embedded.rpc import one_genesis
from client_sdk.errors import ChainFailed


class FakeChain:
    def __init__(self, clock=None, takes_s: float = 0.0) -> None:
        self.dumps = 0
        self.down = False
        self.dumped_twice = threading.Event()
        self._clock, self._takes_s = clock, takes_s

    def dump(self) -> bytes:
        if self.down:
            raise ChainFailed
        if self._clock:
            self._clock.now += self._takes_s
        self.dumps += 1
        if self.dumps >= 2:
            self.dumped_twice.set()
        return b"state %d" % self.dumps


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_when_started_then_it_dumps_again_and_again_and_once_at_the_end(tmp_path):
    chain = FakeChain()
    dumper = Dumper(chain, tmp_path / "state.json", interval_s=0.001)
    dumper.start()
    assert chain.dumped_twice.wait(10)
    dumper.stop()
    assert (tmp_path / "state.json").read_bytes() == b"state %d" % chain.dumps


def test_when_the_chain_is_down_then_the_last_dump_stays(tmp_path):
    chain = FakeChain()
    dumper = Dumper(chain, tmp_path / "state.json")
    dumper.dump_once()
    chain.down = True
    dumper.dump_once()
    assert (tmp_path / "state.json").read_bytes() == b"state 1"


def test_when_a_dump_takes_long_then_the_next_waits_longer(tmp_path):
    clock = Clock()
    dumper = Dumper(FakeChain(clock, takes_s=3.0), tmp_path / "s", interval_s=1.0, clock=clock)
    assert dumper.dump_once() == 3.0 * SHARE_OF_TIME
    quick = Dumper(FakeChain(clock), tmp_path / "s", interval_s=1.0, clock=clock)
    assert quick.dump_once() == 1.0


def block(number: int, timestamp: int) -> dict[str, dict[str, str]]:
    return {"header": {"number": hex(number), "timestamp": hex(timestamp)}}


def test_when_the_dump_has_several_first_blocks_then_the_oldest_is_kept():
    blocks = [block(1, 11), block(0, 90), block(0, 10), block(2, 12), block(0, 50)]
    kept = json.loads(one_genesis(json.dumps({"blocks": blocks, "x": 1}).encode()))
    assert kept == {"blocks": [block(1, 11), block(0, 10), block(2, 12)], "x": 1}


def test_when_the_dump_has_one_first_block_then_it_is_left_as_it_is():
    dump = json.dumps({"blocks": [block(0, 1), block(1, 2)]}, indent=3).encode()
    assert one_genesis(dump) == dump
