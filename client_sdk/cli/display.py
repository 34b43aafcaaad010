"""Following a job on the terminal: a progress bar with loss, paid segments and money spent."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from client_sdk.job import Job, Status, Update
from client_sdk.protocol.money import format_amount
from client_sdk.watch import Frame, FrameKind

RECEIVERS = {"market fee": "treasury", "auditors' share": "audit pool"}


class JobDisplay:
    """Shows a job's updates: a live bar on a terminal, one line per change elsewhere.

    Parameters
    ----------
    show_logs:
        Whether the program's own output is shown too.
    """

    def __init__(
        self, job: Job, decimals: int, symbol: str, console: Console, *, show_logs: bool = False
    ) -> None:
        self._console = console
        self._decimals = decimals
        self._symbol = symbol
        self._show_logs = show_logs
        self._loss: float | None = None
        self._step: int | None = None
        self._status: Status | None = None
        self._last_line = ""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("segments", total=job.terms.segments, facts="")
        self._total = job.terms.segments

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, update: Update) -> None:
        """Show one update."""
        if update.frame is not None:
            self._take_frame(update.frame)
        if update.status is not None:
            self._status = update.status
            if not self._console.is_terminal:
                self._print_line()
        self._redraw()

    def _take_frame(self, frame: Frame) -> None:
        if frame.kind is FrameKind.METRIC:
            metrics = frame.content.get("metrics")
            loss = metrics.get("loss") if isinstance(metrics, dict) else None
            if isinstance(loss, int | float) and math.isfinite(loss):
                self._loss = float(loss)
            step = frame.content.get("step")
            self._step = step if isinstance(step, int) else self._step
        elif frame.kind is FrameKind.STATE and frame.text:
            self._print(f"worker: {frame.text}")
        elif frame.kind is FrameKind.LOG and self._show_logs:
            for line in frame.text.splitlines():
                self._print(f"  | {line}")

    def _redraw(self) -> None:
        done = self._status.segments_done if self._status is not None else 0
        self._progress.update(self._task, completed=done, facts=self._facts())

    def _facts(self) -> str:
        parts = []
        if self._loss is not None:
            parts.append(f"loss {self._loss:.4f}")
        if self._status is not None:
            account = self._status.account
            spent = format_amount(account.paid, self._decimals)
            parts.append(f"paid {account.paid_segments}")
            parts.append(f"spent {spent} {self._symbol}")
        return "  ".join(parts)

    def _print_line(self) -> None:
        """One line per change, for logs and pipes."""
        assert self._status is not None
        account = self._status.account
        head = f"segments {self._status.segments_done}/{self._total}"
        head += f" committed {account.committed_segments}"
        key = f"{head} {account.paid_segments} {self._status.state}"
        if key != self._last_line:
            self._last_line = key
            self._print(f"{head}  {self._facts()}  ({self._status.state})")

    def _print(self, text: str) -> None:
        clean = "".join(char if char.isprintable() else "\ufffd" for char in text)
        self._progress.console.print(Text(clean), soft_wrap=True)


def ending_rows(status: Status, decimals: int, names: dict[str, str]) -> list[list[Any]]:
    """One row per transaction that moved money: what it was, to whom how much, its hash."""
    rows: dict[bytes, list[Any]] = {}
    for move in status.account.movements:
        row = rows.setdefault(move.tx_hash, [[], [], "0x" + move.tx_hash.hex()])
        if move.what not in row[0]:
            row[0].append(move.what)
        amount = format_amount(move.amount, decimals)
        who = names.get(move.to.lower()) or RECEIVERS.get(move.what, move.to)
        row[1].append(f"{who} {amount}")
    return [[", ".join(what), "; ".join(amounts), tx] for what, amounts, tx in rows.values()]
