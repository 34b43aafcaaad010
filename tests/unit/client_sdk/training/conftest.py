"""Each test starts and ends without a session, and leaves torch's settings as they were."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from client_sdk.training import session


@pytest.fixture(autouse=True)
def no_session() -> Iterator[None]:
    deterministic = torch.are_deterministic_algorithms_enabled()
    num_threads = torch.get_num_threads()
    yield
    session.uninstall()
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(num_threads)
