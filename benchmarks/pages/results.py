"""What several pages count out of the measurements alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.quality import OWN, best_rival

Result = dict[str, Any]
Results = dict[str, list[Result]]  # by kind of measurement


@dataclass(frozen=True)
class Beside:
    """densekit's default spline flow on a table, and the best of the others there."""

    table: str
    own: Result
    best: Result

    @property
    def lead(self) -> float:
        return float(self.own["nats"] - self.best["nats"])

    @property
    def is_clear(self) -> bool:
        """Whether the lead is more than densekit's own standard error."""
        return bool(self.lead > self.own["error"])

    @property
    def rival_seconds(self) -> float:
        """To the rival's best weights if it says so, else of its whole fit."""
        return float(self.best.get("seconds_to_best") or self.best["seconds"])

    @property
    def is_twice_as_fast(self) -> bool:
        """Whether densekit reaches the rival's nats in at most half of the rival's time."""
        seconds = self.own.get("seconds_to_best_rival")
        return seconds is not None and 2 * seconds <= self.rival_seconds


def beside_best_rivals(cells: Sequence[Result]) -> list[Beside]:
    """One for each table on which both were measured."""
    found = []
    for table in dict.fromkeys(cell["table"] for cell in cells):
        here = [cell for cell in cells if cell["table"] == table]
        own = next((cell for cell in here if cell["method"] == OWN), None)
        best = best_rival(here)
        if own is not None and best is not None:
            found.append(Beside(table, own, best))
    return found


def is_of_one_machine(result: Result) -> bool:
    """Whether the seconds of a result are of one machine, so that they compare."""
    return bool(result.get("is_of_one_machine", True))


def nats(value: float) -> str:
    """Two decimals, but for what is absurd."""
    return f"{value:.2f}" if abs(value) < 1e5 else f"{value:.1e}"


def threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def listed(words: Iterable[str]) -> str:
    """Words as a sentence lists them."""
    *most, last = list(words) or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
