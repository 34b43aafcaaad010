"""What the sandboxed runtime loads of the protocol."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["trace", "records", "statehash", "seed", "wire", "canonical"])
def test_when_the_runtime_imports_the_trace_then_nothing_heavy_comes_along(module):
    program = (
        f"import sys, client_sdk.protocol.{module}\n"
        "roots = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(roots & {'Crypto', 'eth_account', 'yaml', 'torch', 'numpy', 'cryptography',"
        " 'web3', 'httpx', 'pydantic'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
