"""Stage ``prepare``: the job's inputs lie on this machine's disk, checked against every hash."""

from __future__ import annotations

from worker_agent.errors import ProviderFault
from worker_agent.exchange import parse_artifacts
from worker_agent.inputs import JobInputs, fetch_inputs, load_inputs
from worker_agent.stages.attempt import Attempt


def prepare(attempt: Attempt) -> JobInputs:
    """Find the inputs that were fetched before signing; fetch them again when the disk lost them.

    Raises
    ------
    BadArtifact
        What the market serves is not what the manifest names.
    NetworkFailed
        The market does not serve it.
    ProviderFault
        The market is none of this worker's any more.
    """
    record = attempt.record
    inputs = load_inputs(attempt.store.inputs, attempt.terms.job_hash)
    if inputs is not None:
        return inputs
    market = attempt.machinery.context.markets.get(record.market)
    if market is None:
        raise ProviderFault(f"`markets` does not name {record.market} any more, which has the job")
    return fetch_inputs(
        market,
        parse_artifacts(record.artifacts),
        bytes.fromhex(record.job_key),
        attempt.terms.job_hash,
        attempt.store.inputs,
        attempt.machinery.context.folder("layers"),
    )
