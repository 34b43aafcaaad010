"""Steps of the machine, drawn by weight among those that make sense at the moment.

Hypothesis' own rules are all as likely, and most runs leave half of them out; but a lease has to be
opened, worked on and challenged before its dispute can be ruled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import strategies as st

F = TypeVar("F", bound=Callable[..., None])
_STEP = "_step"


@dataclass(frozen=True)
class Step:
    name: str
    weight: int
    is_possible: Callable[[Any], bool]
    arguments: st.SearchStrategy[dict[str, Any]]


def step(
    weight: int, when: Callable[[Any], bool] = lambda _: True, **arguments: st.SearchStrategy[Any]
) -> Callable[[F], F]:
    """Make a method a step; `arguments` are drawn for it."""

    def mark(method: F) -> F:
        drawn = st.fixed_dictionaries(arguments)
        setattr(method, _STEP, Step(method.__name__, weight, when, drawn))
        return method

    return mark


def steps_of(machine: type) -> list[Step]:
    """All steps of a class; first to wait, which calls nothing: failures are shrunk towards it."""
    found = [getattr(getattr(machine, name), _STEP, None) for name in dir(machine)]
    return sorted((x for x in found if x), key=lambda x: (x.name != "wait", x.name))


def take_step(machine: Any, data: st.DataObject) -> None:
    """Draw one step and take it."""
    possible = [x for x in steps_of(type(machine)) if x.is_possible(machine)]
    names = [x.name for x in possible for _ in range(x.weight)]
    chosen = data.draw(st.sampled_from(names), label="step")
    arguments = next(x.arguments for x in possible if x.name == chosen)
    getattr(machine, chosen)(**data.draw(arguments, label=chosen))
