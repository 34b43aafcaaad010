"""What the command line prints: tables, JSON and errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from client_sdk.errors import ExitCode, GridleaseError

WIDE = 200
"""Columns of a table in a file or a pipe: wide enough to keep a row on one line."""


def console() -> Console:
    """Console on standard output; built per call, as tests and pipes replace the stream."""
    is_terminal = sys.stdout.isatty()
    return Console(highlight=False, soft_wrap=not is_terminal, width=None if is_terminal else WIDE)


def error_console() -> Console:
    """Console on standard error, for everything that is not the result."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(text: str, *, style: str | None = None) -> None:
    """One line of plain text; square brackets are text, not markup."""
    console().print(Text(text, style=style or ""))


def print_json(value: Any) -> None:
    """A JSON document, and nothing else, on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=False) + "\n")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None
) -> None:
    """A table; cells are text, numbers stand to the right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table_rows = [list(row) for row in rows]
    for index, column in enumerate(columns):
        cells = [row[index] for row in table_rows]
        numeric = bool(cells) and all(isinstance(cell, int | float) for cell in cells)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in table_rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console().print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values, one per line."""
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        say(f"{name:<{width}}  {value}")


def show_error(error: Exception) -> ExitCode | None:
    """Print an error as *what, where, what to do*.

    Returns
    -------
    ExitCode or None
        The exit code, or None when the error is not one of ours: then it is a bug, and its
        traceback is the report.
    """
    known = translate(error)
    if known is None:
        return None
    out = error_console()
    out.print(Text.assemble(("error: ", "bold red"), known.message))
    if known.what_to_do:
        out.print(Text.assemble(("what to do: ", "bold"), known.what_to_do))
    return known.exit_code


def translate(error: Exception) -> GridleaseError | None:
    """Our error for one of another package's tree; None when nobody foresaw it."""
    if isinstance(error, GridleaseError):
        return error
    from client_sdk.cli.foreign import foreign

    return foreign(error)
