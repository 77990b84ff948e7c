"""The report: one self-contained page about a fitted estimator."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from densekit.exceptions import MissingExtraError, PictureError
from densekit.persistence.replacing import replacing
from densekit.report import pictures
from densekit.report.audit import audit, conclusion
from densekit.report.facts import MAX_COLUMNS, facts, parameters, rows_used, strangest
from densekit.report.peers import Line, compare, mean_and_error
from densekit.report.subject import Part, Subject, make_subject


def write_report(
    estimator: Any,
    X: Any,
    path: str | os.PathLike[str],
    *,
    y: Any = None,
    X_train: Any = None,
    y_train: Any = None,
    random_state: int = 0,
) -> Path:
    """Write an HTML page that says what was fitted and how good it is.

    The page holds its pictures and asks for nothing from a network. It tells what was fitted; the
    course of training; held-out nats beside one Gaussian, KernelDensity and GaussianMixture;
    whether latents follow the base; data beside samples; what the density's own laws say (round
    trip, log-determinant, normalisation where it can be integrated); and the strangest rows.

    Parameters
    ----------
    estimator : DensityEstimator
        Fitted.
    X : array, data frame or images
        Rows that the estimator was *not* fitted on, four or more. Without `X_train` they are
        split at random into halves: the peers are fitted on one, and all are scored on the other.
    path : path
        Of the page. It is written at the end, and put in place in one step.
    y : array-like, optional
        The condition of each row of X. Needed by an estimator that was given numbers or images;
        with labels, scores are marginal, and `y` is used for the latents.
    X_train, y_train : array, data frame or images, optional
        The rows that the estimator was fitted on, for the peers to be fitted on as well: then the
        comparison is even, and all rows of X are scored.
    random_state : int, default=0
        Of the split, the samples and the peers. At most 5000 rows are scored, and as many fit the
        peers.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    MissingExtraError
        An ImportError: matplotlib or jinja2 is not installed.
    PictureError
        A ValueError: there is no folder to write `path` in.
    OSError
        `path` is a folder, a pipe or a device, or cannot be written.
    ContextError
        A ValueError: `y` is needed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_iris
    >>> from densekit import MAFEstimator
    >>> from densekit.report import write_report
    >>> X = load_iris(as_frame=True).data
    >>> model = MAFEstimator(max_epochs=5, random_state=0).fit(X[::2])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = write_report(model, X[1::2], Path(folder) / "report.html", X_train=X[::2])
    ...     page.read_text().startswith("<!doctype html>")
    True
    """
    target = Path(path)
    if not target.absolute().parent.is_dir():
        raise PictureError(f"write_report got path={str(path)!r}, whose folder does not exist.")
    template = _template()
    subject = make_subject(estimator, X, y, X_train, y_train, np.random.default_rng(random_state))
    page = template.render(**_parts(subject, random_state))
    with replacing(target) as file:
        file.write(page.encode())
    return target


def _parts(subject: Subject, random_state: int) -> dict[str, Any]:
    """What the template fills in."""
    scores = subject.scores()
    samples, y = subject.samples(random_state)
    flat = np.asarray(samples, dtype=np.float64)
    table = flat.reshape(len(flat), -1)
    sampled = Part(samples, y, table, np.arange(len(table)))
    sample_scores = subject.scores(sampled)
    can_compare = subject.context is None or subject.has_labels or subject.has_numbers
    lines = compare(subject, scores, random_state) if can_compare else []
    latents = pictures.latents(subject)
    display = latents[1] if latents else None
    findings = audit(subject, lines, scores, sampled, sample_scores, display)
    level, verdict = conclusion(findings)
    return {
        "title": f"Report: {type(subject.estimator).__name__}",
        "facts": facts(subject),
        "parameters": parameters(subject),
        "names": subject.names if subject.images is None else [],
        "training": pictures.training(subject),
        "rows_used": rows_used(subject),
        "lines": [_texts(line, is_measure=not subject.repeated) for line in lines],
        "repeated": subject.repeated_in_words() if subject.repeated else "",
        "own_nats": "{:.3f} +- {:.3f}".format(*mean_and_error(scores)).removesuffix(" +- nan"),
        "own_median": f"{np.median(scores):.3f}",
        "is_discrete": subject.is_discrete,
        "given_labels": _given_labels(subject),
        "latents": latents[0] if latents else None,
        "outside": _outside(latents[1]) if latents else [],
        "no_latents": _why_no_latents(subject),
        "scores": pictures.scores(scores, sample_scores),
        "beside": pictures.beside_samples(subject, samples, sampled),
        "findings": findings,
        "level": level,
        "verdict": verdict,
        "faults": [finding for finding in findings if finding.verdict in ("failed", "noted")],
        "strangest": _strangest(subject, scores),
    }


def _texts(line: Line, *, is_measure: bool) -> dict[str, Any]:
    """One line of the table; where values repeat, no estimator is said to be ahead."""
    gap = "" if line.gap is None or not is_measure else f"{line.gap:+.2f} +- {line.gap_error:.2f}"
    gap = gap.removesuffix(" +- nan")
    outside = f" ({line.n_outside} rows have no density at all)" if line.n_outside else ""
    nats = "-inf" if math.isinf(line.nats) else f"{line.nats:.2f} +- {line.error:.2f}"
    return {
        "name": line.name, "detail": line.detail, "nats": nats + outside, "gap": gap,
        "median": f"{line.median:.2f}", "trimmed": f"{line.trimmed:.2f}",
        "is_own": line.gap is None,
    }  # fmt: skip


def _given_labels(subject: Subject) -> str | None:
    """Mean nats given each row's label, where labels were given."""
    if not (subject.has_labels and subject.is_given):
        return None
    scores = subject.estimator.score_samples(subject.scored.X, subject.scored.y)
    return "{:.2f} +- {:.2f}".format(*mean_and_error(scores))


def _outside(display: Any) -> list[str]:
    """Names of the curves of latents that leave the band, the farthest first."""
    order = np.argsort(-display.depth_)
    return [display.names[i] for i in order if display.depth_[i] > 0]


def _why_no_latents(subject: Subject) -> str:
    name = type(subject.estimator).__name__
    if subject.has_labels and not subject.is_given and subject.images is None:
        return "Latents are those of a row given its label; give y, and they are drawn here."
    if subject.images is not None or subject.is_discrete:
        return f"There are none to compare: {name} gives masses of levels here."
    return f"{name} has none: it is not a flow."


def _strangest(subject: Subject, scores: NDArray[np.float64]) -> dict[str, Any]:
    places = strangest(subject, scores)
    if subject.images is not None:
        picture = pictures.image_grid(
            subject, subject.scored.table[places[:8]], "The strangest, from the left"
        )
        of_images = [(subject.row_names[i], f"{scores[i]:.2f}", ()) for i in places]
        return {"picture": picture, "columns": [], "rows": of_images, "n_left_out": 0}
    shown = subject.scored.table[:, :MAX_COLUMNS]
    rows = [
        (subject.row_names[i], f"{scores[i]:.2f}", [f"{value:.5g}" for value in shown[i]])
        for i in places
    ]
    return {
        "picture": None,
        "columns": subject.names[:MAX_COLUMNS],
        "rows": rows,
        "n_left_out": max(0, len(subject.names) - MAX_COLUMNS),
    }


def _template() -> Any:
    try:
        import jinja2
    except ImportError:
        raise MissingExtraError(
            "write_report needs jinja2: pip install 'densekit[report]'."
        ) from None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("densekit.report", "."),
        autoescape=True,  # names of columns and rows are anyone's
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")
