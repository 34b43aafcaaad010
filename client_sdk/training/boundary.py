"""What happens where one segment ends and the next begins: gradients, guards, hash, checkpoint."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from client_sdk.training.checkpoint import (
    hash_state,
    read_folder,
    size_of,
    to_cpu,
    write_folder,
)
from client_sdk.training.clock import real_perf_counter
from client_sdk.training.errors import (
    CheckpointBrokenError,
    CheckpointMismatchError,
    GradientsCrossBoundaryError,
)
from client_sdk.training.guards import AttributeGuard
from client_sdk.training.probing import StepClock
from client_sdk.training.records import SegmentTrace
from client_sdk.training.session import ProbeResult, Session
from client_sdk.training.state import CapturedState, StateRegistry, differences

_MAX_NAMED = 5


class Boundary:
    """Closes segments of one run, and puts a checkpoint back where one is resumed.

    Parameters
    ----------
    session
        Where the run takes place.
    registry
        What belongs to the run's state.
    caches
        Attributes that the guard leaves alone.
    """

    def __init__(self, session: Session, registry: StateRegistry, caches: Collection[str]) -> None:
        self._session = session
        self._registry = registry
        self._caches = caches
        self._guard = AttributeGuard(registry.modules, registry.optimizers, caches)
        self._stepped = False
        for optimizer in registry.optimizers.values():
            optimizer.register_step_post_hook(self._on_optimizer_step)

    def resume(self) -> None:
        """Put the checkpoint in place that this run starts from, if any.

        Raises
        ------
        CheckpointBrokenError, CheckpointMismatchError
            When the state that is in place now does not hash to what the checkpoint says.
        """
        folder = self._session.resume_dir
        if folder is not None:
            saved, digest = read_folder(folder)
            # Before it is handed out: what loads the state may keep and change its tensors.
            if hash_state(saved) != digest:
                raise CheckpointBrokenError
            self._check_position(saved)
            self._restore(saved, digest, folder)
        # Modules may have got their final shape between the making of the run and its first step.
        self._guard = AttributeGuard(
            self._registry.modules, self._registry.optimizers, self._caches
        )

    def close(self, trace: SegmentTrace, end_step: int, *, final: bool) -> dict[str, Any]:
        """End a segment: write its checkpoint and record.

        Parameters
        ----------
        trace
            The segment's steps.
        end_step
            Steps done since the start of the run.
        final
            Whether the run is over.

        Returns
        -------
        dict
            The record, as it lies beside the checkpoint.
        """
        captured = self._capture(end_step, trace.segment)
        digest = hash_state(captured)
        record = trace.record(self._session.lease_id, digest, final=final).to_json()
        write_folder(self._session.segments_dir / str(trace.segment), captured, digest, record)
        return record

    def probe(self, end_step: int, segment: int, clock: StepClock) -> None:
        """Measure what a boundary costs, and report it with the step time."""
        started_s = real_perf_counter()
        captured = self._capture(end_step, segment)
        write_folder(self._session.out_dir / "probe", captured, hash_state(captured), None)
        self._session.observer.on_probe(
            ProbeResult(
                steps=clock.num_steps,
                setup_s=clock.started_at_s - self._session.begun_at_s,
                step_s=clock.median_s(),
                mean_step_s=clock.mean_s(),
                boundary_s=real_perf_counter() - started_s,
                state_bytes=size_of(captured),
            )
        )

    def step_done(self) -> None:
        """A step that ends no segment is done."""
        self._stepped = False

    def _capture(self, end_step: int, segment: int) -> CapturedState:
        self._drop_gradients()
        self._guard.check(f"in segment {segment}")
        return to_cpu(self._registry.capture({"segment": segment, "step": end_step}))

    def _restore(self, saved: CapturedState, digest: bytes, folder: Path) -> None:
        try:
            self._registry.restore(saved)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise CheckpointBrokenError(f"the checkpoint is not complete: {error!r}") from error
        restored = to_cpu(self._registry.capture(saved.tree["position"]))
        if hash_state(restored) != digest:
            raise CheckpointMismatchError(
                "the state does not come back as it was saved; look at "
                + ", ".join(differences(read_folder(folder)[0], restored)[:_MAX_NAMED])
            )

    def _check_position(self, saved: CapturedState) -> None:
        segment = self._session.start_segment
        expected = {"segment": segment - 1, "step": segment * self._session.segment_steps}
        position = saved.tree.get("position")
        if position != expected:
            raise CheckpointMismatchError(
                f"the checkpoint is of {position}, segment {segment} starts from {expected}"
            )

    def _drop_gradients(self) -> None:
        """Set gradients to None, in every run alike, so that none has to be kept.

        They are used up when an optimizer made its step with them. Scalers skip that step when a
        gradient is not finite, so with a scaler nothing can be told.
        """
        holders = list(self._registry.gradients())
        if holders and not self._stepped and not self._registry.has_scalers:
            raise GradientsCrossBoundaryError
        for tensor in holders:
            tensor.grad = None
        self._stepped = False

    def _on_optimizer_step(self, *_: Any) -> None:
        self._stepped = True
