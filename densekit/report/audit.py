"""What a report tests about its own subject: laws that every density obeys."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from densekit.plots import LatentDisplay
from densekit.plots import tools as plot_tools
from densekit.report.peers import Line, trimmed_mean
from densekit.report.subject import Part, Subject
from densekit.testing.tools import autograd_log_det

N_ROWS_OF_LOG_DET, MAX_COLUMNS_OF_LOG_DET = 5, 128
N_ROWS_OF_ROUND_TRIP = 500
MAX_ROUND_TRIP = 1e-3  # in standard deviations of a column
MAX_LOG_DET_GAP = 1e-3  # relative to max(1, |log-det|)
MAX_MASS_GAP = 0.02
MAX_STATES = 2**16
CELLS = {1: 2000, 2: 150}  # by columns: of either kind, along each column

MAX_EXCESS = 0.1  # of a curve of latents: the share of rows that lie elsewhere than they should
MAX_SHIFT = 0.5  # of samples' median nats against rows', in robust spreads of the rows'

Verdict = Literal["passed", "failed", "noted", "told", "left out"]
"""Of these "noted" is a doubt, "told" is something to know that is no test."""
Level = Literal["sound", "doubtful", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One line of the audit."""

    name: str
    verdict: Verdict
    text: str


def audit(
    subject: Subject,
    lines: list[Line],
    scores: NDArray[np.float64],
    samples: Part,
    sample_scores: NDArray[np.float64],
    latents: LatentDisplay | None = None,
) -> list[Finding]:
    """All findings, in the order of the page."""
    findings = [
        _round_trip(subject),
        _log_det(subject),
        _normalisation(subject, samples),
        _latents(latents),
        _mixture(subject, lines),
        _samples(scores, sample_scores),
        _mean_of_most(scores),
        _training_rows(subject),
    ]
    return [_repeated(subject), *findings] if subject.repeated else findings


def conclusion(findings: list[Finding]) -> tuple[Level, str]:
    """One verdict over all findings, for the head of the page: no doubt is left unsaid there."""
    failed = sum(finding.verdict == "failed" for finding in findings)
    doubts = sum(finding.verdict == "noted" for finding in findings)
    passed = sum(finding.verdict == "passed" for finding in findings)
    n = failed + doubts + passed
    if failed:
        return "wrong", f"Do not rely on this density as it is: {failed} of {n} checks failed."
    if doubts:
        what = "one check leaves a doubt" if doubts == 1 else f"{doubts} checks leave doubts"
        return (
            "doubtful",
            f"Read this before you rely on it: of {n} checks none failed, but {what}.",
        )
    return "sound", f"All {passed} checks that could be made passed."


def _round_trip(subject: Subject) -> Finding:
    name = "Round trip: data to latents and back"
    if not subject.has_latents:
        return Finding(name, "left out", "There are no latents to map rows to.")
    estimator, part = subject.estimator, _first(subject.scored, N_ROWS_OF_ROUND_TRIP)
    latents = estimator.transform(part.X, part.y)
    back = estimator.inverse_transform(np.asarray(latents), part.y)
    scale = subject.scored.table.std(axis=0)
    gap = float((np.abs(back - part.table) / np.where(scale > 0, scale, 1.0)).max())
    verdict: Verdict = "passed" if gap <= MAX_ROUND_TRIP else "failed"
    return Finding(
        name,
        verdict,
        f"The greatest difference over {len(part)} rows is {gap:.2g} standard deviations of its "
        f"column (at most {MAX_ROUND_TRIP:g} passes).",
    )


def _log_det(subject: Subject) -> Finding:
    name = "Log-determinant against automatic differentiation"
    n_columns = subject.scored.table.shape[1]
    if not subject.has_latents:
        return Finding(name, "left out", "There is no map to latents.")
    if n_columns > MAX_COLUMNS_OF_LOG_DET:
        text = f"It takes a pass for each column, and there are {n_columns}."
        return Finding(name, "left out", text)
    estimator, part = subject.estimator, _first(subject.scored, N_ROWS_OF_LOG_DET)
    device = estimator.density_.anchor.device
    x = torch.from_numpy(part.table).to(device)
    context = None
    if part.y is not None:
        encoded = subject.context.encode(part.y, "write_report")
        context = torch.from_numpy(encoded).to(device)
    expected = autograd_log_det(estimator.to_latents, x, context)
    with torch.no_grad():
        found = estimator.to_latents(x, context)[1].double()
    gap = ((found - expected).abs() / expected.abs().clamp_min(1)).max().item()
    verdict: Verdict = "passed" if gap <= MAX_LOG_DET_GAP else "failed"
    return Finding(
        name,
        verdict,
        f"On {len(part)} rows the two differ by {gap:.2g} at most, relative to the greater of 1 "
        f"and its size (at most {MAX_LOG_DET_GAP:g} passes).",
    )


def _normalisation(subject: Subject, samples: Part) -> Finding:
    name = "Normalisation: the total mass"
    if subject.is_discrete:
        return _sum(subject, name)
    n_columns = subject.scored.table.shape[1]
    if n_columns not in CELLS:
        text = f"A density of {n_columns} columns cannot be integrated on a grid."
        return Finding(name, "left out", text)
    edges = [
        _edges(samples.table[:, i], subject.estimator.support_[:, i], CELLS[n_columns])
        for i in range(n_columns)
    ]
    centres = np.meshgrid(*((edge[1:] + edge[:-1]) / 2 for edge in edges), indexing="ij")
    volume = np.prod(np.meshgrid(*(np.diff(edge) for edge in edges), indexing="ij"), axis=0)
    points = np.stack([part.ravel() for part in centres], axis=1)
    mass = float((np.exp(_score(subject, points)) * volume.ravel()).sum())
    verdict: Verdict = "passed" if abs(mass - 1) <= MAX_MASS_GAP else "failed"
    text = f"The density integrates to {mass:.4f} over {len(points):,} cells where samples fall"
    return Finding(name, verdict, f"{text} (1 within {MAX_MASS_GAP:g} passes).")


def _sum(subject: Subject, name: str) -> Finding:
    """Add up the masses of all states where they are few."""
    images, n = subject.images, subject.scored.table.shape[1]
    levels = (
        subject.estimator.density_.model.levels if images is None else tuple(range(images.n_levels))
    )
    if levels is None or n * math.log(len(levels)) > math.log(MAX_STATES):
        return Finding(name, "left out", f"There are too many states of {n} numbers to add up.")
    states = np.array(list(itertools.product(levels, repeat=n)), dtype=np.float64)
    mass = float(np.exp(_score(subject, states)).sum())
    verdict: Verdict = "passed" if abs(mass - 1) <= MAX_MASS_GAP else "failed"
    if mass < 1 and images is not None:
        verdict = "passed"  # masses of dequantised flows are lower bounds
    return Finding(name, verdict, f"The masses of all {len(states):,} states add up to {mass:.4f}.")


def _repeated(subject: Subject) -> Finding:
    return Finding("Values that repeat", "noted", subject.repeated_in_words())


def _latents(display: LatentDisplay | None) -> Finding:
    name = "Latents of held-out rows follow the base"
    if display is None:
        return Finding(name, "left out", "There are no latents to compare.")
    n_outside, n = int((display.depth_ > 0).sum()), len(display.names)
    largest = float(np.abs(display.excess).max())
    text = f"{n_outside} of {n} curves leave the 95% band"
    text += f"; at worst {largest:.0%} of the rows lie where others should."
    if not n_outside:
        return Finding(name, "passed", f"All {n} curves are inside the 95% band.")
    return Finding(name, "failed" if largest > MAX_EXCESS else "noted", text)


def _mixture(subject: Subject, lines: list[Line]) -> Finding:
    name = "Better than a Gaussian mixture"
    if subject.repeated:
        text = "Values repeat, so nats measure nothing here and no estimator is ahead by them."
        return Finding(name, "left out", text)
    line = next((line for line in lines if line.name == "GaussianMixture"), None)
    if line is None or line.gap is None or line.gap_error is None:
        return Finding(name, "left out", "No mixture was fitted.")
    is_known = math.isfinite(line.gap_error)
    by = f"{abs(line.gap):.2f}{f' +- {line.gap_error:.2f}' if is_known else ''} nats per row"
    if line.gap >= 0:
        return Finding(name, "passed", f"It is better than the mixture by {by}.")
    if line.gap < -2 * line.gap_error or not is_known:
        text = (
            f"A Gaussian mixture does better by {by}. Prefer it, or fit on more rows, longer or "
            "with another model."
        )
        return Finding(name, "failed", text)
    return Finding(name, "noted", f"The mixture is ahead by {by}, which may be chance.")


def _samples(scores: NDArray[np.float64], own: NDArray[np.float64]) -> Finding:
    """Compare medians: a few rows of very low density say little about most of the others."""
    name = "Samples score as held-out rows do"
    rows, samples = float(np.median(scores)), float(np.median(own))
    text = f"Half of the rows have more than {rows:.2f} nats, half of the samples {samples:.2f}."
    if not (math.isfinite(rows) and math.isfinite(samples)):
        return Finding(name, "failed", text)
    spreads = [_spread(part) for part in (scores, own)]
    error = 1.25 * math.hypot(
        *(s / len(p) ** 0.5 for s, p in zip(spreads, (scores, own), strict=True))
    )
    gap = samples - rows
    if abs(gap) <= 3 * error:
        return Finding(name, "passed", text)
    if gap > 0:
        text += " The density is surer of itself than the rows bear out: it is fitted too closely."
    else:
        text += " The density is wider than the rows are."
    is_large = abs(gap) > MAX_SHIFT * max(spreads[0], 1e-12)
    return Finding(name, "failed" if is_large else "noted", text)


def _mean_of_most(scores: NDArray[np.float64]) -> Finding:
    """Whether the mean says something of most rows, or of the few lowest."""
    name = "The mean is that of most rows"
    n_outside = int(np.isneginf(scores).sum())
    if n_outside:
        text = f"{n_outside} of {len(scores)} rows have no density at all, so the mean is infinite."
        return Finding(name, "noted", f"{text} Look at the strangest rows, and at the median.")
    mean, middle = float(scores.mean()), trimmed_mean(scores)
    text = f"The mean is {mean:.2f} nats, without the outermost 5% on each side {middle:.2f}."
    if abs(mean - middle) <= max(_spread(scores), 0.1):
        return Finding(name, "passed", text)
    text += f" A few rows decide the mean: the lowest has {scores.min():,.2f} nats."
    return Finding(name, "noted", text)


def _spread(values: NDArray[np.float64]) -> float:
    """Half of the distance that holds 68% of the values."""
    low, high = np.quantile(values, [0.16, 0.84], method="nearest")
    return float(high - low) / 2 if math.isfinite(low) and math.isfinite(high) else math.inf


def _training_rows(subject: Subject) -> Finding:
    name = "New rows"
    n_fitted = int(subject.estimator.n_samples_fit_)
    if subject.n_given == n_fitted:
        text = (
            f"X has {n_fitted:,} rows, just as many as the estimator was fitted on. If they are "
            "the same, all that this page says of held-out rows is too good."
        )
        return Finding(name, "noted", text)
    text = (
        f"X has {subject.n_given:,} rows, and {n_fitted:,} were fitted on. That they are others "
        "is taken on trust."
    )
    return Finding(name, "told", text)


def _first(part: Part, n: int) -> Part:
    places = np.arange(min(n, len(part)))
    y = None if part.y is None else part.y[places]
    return Part(part.X[: len(places)], y, part.table[places], part.places[places])


def _score(subject: Subject, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores of flat numbers; of a density given numbers, for the first row's."""
    y = None
    if subject.context is not None and not subject.has_labels:
        y = np.repeat(subject.scored.y[:1], len(points), axis=0)
    rows = plot_tools.rows_like_fitted(subject.estimator, points)
    found: NDArray[np.float64] = subject.estimator.score_samples(rows, y)
    return found


def _edges(column: NDArray[np.float64], bounds: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Edges of cells, half of them evenly spaced, half with as many samples in each."""
    low, high = column.min(), column.max()
    margin = 0.25 * (high - low)
    low, high = max(low - margin, bounds[0]), min(high + margin, bounds[1])
    evenly = np.linspace(low, high, n)
    by_rank = np.quantile(column, np.linspace(0, 1, n))
    return np.unique(np.r_[evenly, np.clip(by_rank, low, high)])
