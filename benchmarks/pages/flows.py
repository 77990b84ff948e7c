"""Sections of flows on tables: speed, quality, stability, POWER."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.pages.results import (
    Beside,
    beside_best_rivals,
    is_of_one_machine,
    nats,
    table,
    threads,
)

SPEED = """
Flows in matched architectures (RealNVP: 8 affine
couplings; MAF: 5 layers; splines: 5 layers of 8 bins; two hidden layers of 128 units each),
untrained but for the training steps that are timed, float32. The limit is the bare matrix products
of the conditioners (`torch.mm` into preallocated outputs; of the forward pass, and for a training
step of both gradients as well), measured in the same run. Cells are the median milliseconds and, in
brackets, the multiple of the limit with the least and the greatest of the repeats (seconds of the
processor with one thread, of the wall with more); compare the
multiples, since machines differ. densekit can come below one: its products go through oneDNN where
that is faster than `torch.mm`, above all on AMD's processors since Zen 5 (`znver5`), whose vectors
are twice as wide as those that `torch.mm` uses. Its training step clips gradients and averages
weights, as its trainer does; the peers' is Adam as in their guides.
"""

NEARLY = 0.9  # of a peer's seconds: one that was at its best no earlier may not have been done
_MANY_TABLES = 10  # which a command need not name
QUALITY = """
The mean held-out nats of rows that are standardised by
the training rows, with a standard error, one fit each. densekit has default parameters; the peers
are trained by Adam (1e-3) in batches of 256 with early stopping on a tenth of the rows, for so many
seconds at most (of the processor, with one thread), and pzflow by its own recipe;
GaussianMixture is chosen by BIC and KernelDensity by cross-validation.

Where values repeat, as in columns of few distinct numbers (pixels, counts, rounded measurements), a
density can grow without bound, and nats are no measure: a lead there says that a model puts its
mass on the values that repeat, not that it is the better one. That is so in digits, in wine and
red wine, whose measurements are rounded, and in many sets of ADBench.

Beside the seconds of fit and scoring stand those
after which a peer had found its best weights, and those after which densekit's default spline flow
had reached the nats of the best of its rivals. Sets that are not scikit-learn's are read from the
folder `DENSEKIT_DATA`: normal rows of ADBench (10,000 at most), the ten folds of red wine, and
50,000 rows of POWER (`power.npz`), whose held-out rows are from its validation split. Options
`--methods` and `--tables` choose; what is not shown was not run. A first fit also loads compiled
code.
"""


def speed_page(result: dict[str, Any]) -> str:
    """The page for one run of ``python -m benchmarks speed``."""
    beside = "beside peers" if result["beside_peers"] else "alone"
    on = " and ".join(map(threads, sorted({cell["threads"] for cell in result["cells"]})))
    lines = [
        f"## Speed, {beside}, {on}, {result['processor']}",
        "",
        f"Measured by `{speed_command(result)}`, torch {result['torch']}, {result['processor']}.",
    ]
    load, n_processors = result["load"]
    lines.append(
        f"The machine has {n_processors} processors, and its load was {load:.1f} at the end: "
        "one is this benchmark, what goes beyond crowds its caches."
    )
    cells = result["cells"]
    if result["beside_peers"]:
        if result["skipped"]:
            lines.append(f"Not installed and so skipped: {', '.join(result['skipped'])}.")
        lines.append(_who_leads(cells))
    for task, n_threads in dict.fromkeys((cell["task"], cell["threads"]) for cell in cells):
        chosen = [cell for cell in cells if (cell["task"], cell["threads"]) == (task, n_threads)]
        where = f"{threads(n_threads)}, {beside}, {result['processor']}"
        title = f"### {task.capitalize()}, {where}"
        lines += ["", title, "", *_times(chosen)]
    return "\n".join(lines) + "\n"


def _who_leads(cells: list[dict[str, Any]]) -> str:
    """In how many cells densekit takes the least time, and who does in the others."""
    others = []
    for cell in cells:
        seconds = {name: times[0] for name, times in cell["seconds"].items() if name != "limit"}
        first = min(seconds, key=lambda name: seconds[name])
        if first != "densekit":
            lag = seconds["densekit"] / seconds[first]
            where = f"{cell['task']}, {cell['flow']}, {cell['n_features']} columns"
            others.append(f"{first} is {lag:.2f} times as fast ({where})")
    found = f"densekit is the fastest in {len(cells) - len(others)} of {len(cells)} rows below"
    return f"{found}; elsewhere {', '.join(others)}." if others else f"{found}."


def speed_command(result: dict[str, Any]) -> str:
    """The command that made a result: its repeats take turns among the contenders."""
    words = [f"python -m benchmarks speed --repeats {result['repeats']}"]
    for option, key in (("--threads", "threads"), ("--dimensions", "n_features")):
        words += [f"{option} {value}" for value in sorted({c[key] for c in result["cells"]})]
    if not result["beside_peers"]:
        words.append("--no-beside-peers")
    return " ".join(words) + _other_python(name for c in result["cells"] for name in c["seconds"])


def _other_python(methods: Iterable[str]) -> str:
    """The option that methods need which run in a Python of their own, if any do."""
    is_needed = any(method.startswith(("flowjax", "pzflow")) for method in methods)
    return " --jax-python PYTHON" if is_needed else ""


def _times(cells: list[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for cell in cells for name in cell["seconds"])
    contenders = [name for name in names if name != "limit"]
    header = ["flow", "columns", "limit", *contenders]
    rows = []
    for cell in cells:
        bare = cell["seconds"]["limit"][0]
        row = [cell["flow"], str(cell["n_features"]), f"{1e3 * bare:.3g}"]
        for name in contenders:
            if name not in cell["seconds"]:  # it has no such flow
                row.append("")
                continue
            median, least, most = cell["seconds"][name]
            multiples = f"{median / bare:.2f}x, {least / bare:.2f} to {most / bare:.2f}"
            row.append(f"{1e3 * median:.3g} ({multiples})")
        rows.append(row)
    return table(header, rows)


def quality_page(result: dict[str, Any]) -> str:
    """Held-out nats of each method on each table, and the seconds of fit and scoring."""
    command = quality_command(result)
    names = dict.fromkeys(cell["table"] for cell in result["cells"])
    on = f"{len(names)} tables" if len(names) > 1 else ", ".join(names)
    repeats = result.get("repeats", {})
    lines = [
        f"## Quality on {on}, {result['max_seconds']:g} seconds for a peer",
        "",
        f"Measured by `{command}`, torch {result['torch']}.",
    ]
    if result["skipped"]:
        lines.append(f"Not installed and so skipped: {', '.join(result['skipped'])}.")
    lines += _beside_best_rivals(result)
    for name in names:
        cells = [cell for cell in result["cells"] if cell["table"] == name]
        size = f"{cells[0]['n_rows']} rows, {cells[0]['n_features']} columns"
        if cells[0]["n_splits"] > 1:
            size += f", {cells[0]['n_splits']} splits"
        lines += ["", f"### {name}: {size}", ""]
        if repeats.get(name):
            lines += [
                f"Values repeat in {repeats[name]:.0%} of the columns: nats are no measure here.",
                "",
            ]
        rows = []
        for cell in sorted(cells, key=lambda cell: -cell["nats"]):
            found = f"{nats(cell['nats'])} +- {nats(cell['error'])}"
            row = [cell["method"], found, f"{cell['seconds']:.1f}"]
            for key in ("seconds_to_best", "seconds_to_best_rival"):
                seconds = cell.get(key)
                row.append("" if seconds is None else f"{seconds:.1f}")
            rows.append(row)
        header = ["method", "held-out nats", "seconds", "to its best", "to the best rival's nats"]
        lines += table(header, rows)
    return "\n".join(lines) + "\n"


def quality_command(result: dict[str, Any]) -> str:
    """The command that made a result; many tables need not be named."""
    command = (
        f"python -m benchmarks quality --threads {result['threads']} "
        f"--max-seconds {result['max_seconds']:g}"
        + _other_python(cell["method"] for cell in result["cells"])
    )
    names = dict.fromkeys(cell["table"] for cell in result["cells"])
    if len(names) < _MANY_TABLES:
        command += "".join(f" --tables '{name}'" for name in names)
    return command


def _shown(value: Any) -> str:
    """An option as Python writes it; JSON knows no tuples."""
    return str(tuple(value)) if isinstance(value, list) else str(value)


def _beside_best_rivals(result: dict[str, Any]) -> list[str]:
    """The default spline flow beside the best of the others on each table, and how often it leads.

    A rival's time is that to its own best weights if it says so, else that of its whole fit.
    """
    found = beside_best_rivals(result["cells"])
    if not found:
        return []
    has_times, repeats = is_of_one_machine(result), result.get("repeats", {})
    header = ["table", "densekit nsf", "best rival", "lead"]
    if has_times:
        header += ["seconds to the rival's nats", "the rival's"]
    if repeats:
        header.append("columns in which values repeat")
    rows = []
    for one in found:
        row = [
            one.table,
            f"{nats(one.own['nats'])} +- {nats(one.own['error'])}",
            f"{one.best['method']} {nats(one.best['nats'])}",
            f"{one.lead:+.2f}",
        ]
        if has_times:
            seconds = one.own.get("seconds_to_best_rival")
            row += ["" if seconds is None else f"{seconds:.1f}", f"{one.rival_seconds:.1f}"]
        if repeats:
            row.append(f"{repeats[one.table]:.0%}" if one.table in repeats else "")
        rows.append(row)
    lines = ["", *table(header, rows), "", lead_counts(found, repeats), budget(result, found)]
    if has_times:
        lines.append(
            f"On {sum(one.is_twice_as_fast for one in found)} of {len(found)} it reaches the best "
            "rival's nats in at most half of that rival's time to its best weights (or of its fit, "
            "where it does not say). Times are those of the first split."
        )
    return lines


def lead_counts(found: Sequence[Beside], repeats: dict[str, float]) -> str:
    """On how many tables the default spline flow leads, those without repeating values apart."""
    apart = [one for one in found if repeats.get(one.table) == 0]
    groups = [("tables", found)]
    if any(one.table in repeats for one in found):
        rest = [one for one in found if one not in apart]
        groups = [("tables in which no values repeat", apart), ("other tables", rest)]
    sentences = [
        f"densekit's default spline flow has the most nats on {sum(o.lead > 0 for o in group)} of "
        f"{len(group)} {what}, on {sum(o.is_clear for o in group)} by more than its own standard "
        "error."
        for what, group in groups
        if group
    ]
    if groups[0][0] == "tables":
        sentences.append(
            "In which tables values repeat, this run did not record; where they do (pixels, "
            "counts, rounded measurements), a lead in nats is no measure."
        )
    elif groups[1][1]:
        sentences.append("On these others nats are no measure.")
    return " ".join(sentences)


def budget(result: dict[str, Any], found: Sequence[Beside]) -> str:
    """How much time the rivals had, and whether it was enough for them."""
    most = max(one.own["seconds"] for one in found)
    late = NEARLY * result["max_seconds"]
    cut = sum((one.best.get("seconds_to_best") or 0.0) > late for one in found)
    return (
        f"A peer had {result['max_seconds']:g} seconds for a fit, and on {cut} of {len(found)} the "
        f"best rival was at its best only in the last tenth of them, so that more might have "
        f"helped it; densekit, which has no such limit, took up to {most:.0f}."
    )


def stability_page(result: dict[str, Any]) -> str:
    """For each estimator how many fits diverged, and how many held-out scores are not finite."""
    cells = result["cells"]
    tables = {cell["table"] for cell in cells}
    lines = [
        "## Stability\n",
        (
            f"Measured by `python -m benchmarks stability --seeds {result['seeds']} --max-rows "
            f"{result['max_rows']}`: default fits to {len(tables)} tables, {result['seeds']} seeds "
            "each, and their held-out scores; estimators of images alone are left out. A rollback "
            "is a return to the best weights after a loss that is not finite.\n"
        ),
        "| estimator | fits | diverged | scores | not finite | rollbacks | seconds a fit |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in dict.fromkeys(cell["estimator"] for cell in cells):
        own = [cell for cell in cells if cell["estimator"] == name]
        sums = [
            sum(cell.get(key, 0) for cell in own)
            for key in ("is_diverged", "n_scores", "n_not_finite", "n_rollbacks")
        ]
        seconds = sum(cell["seconds"] for cell in own) / len(own)
        row = [name, str(len(own)), *map(str, sums), f"{seconds:.1f}"]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def paper_page(result: dict[str, Any]) -> str:
    """Test nats on POWER beside the published, and validation nats over time."""
    lines = [
        f"## POWER, whole, {result['epochs']} epochs\n",
        (
            f"Measured by `{paper_command(result)}`: mean test nats of default recipes "
            "but for the given options, beside those that the papers of the models give. POWER's "
            "active power is an even number of watts with noise of one watt, so half its range "
            "is empty: the histograms in front of densekit's models see a part of that, the "
            "papers' models, and `gaussianize=False`, next to nothing.\n"
        ),
        "| model | options | published | test nats | seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for cell in result["cells"]:
        options = ", ".join(f"{key}={_shown(value)}" for key, value in cell["options"].items())
        found = f"{cell['nats']:.3f} +- {cell['error']:.3f}"
        row = [cell["model"], options, f"{cell['published']:.2f}", found, f"{cell['seconds']:.0f}"]
        lines.append("| " + " | ".join(row) + " |")
    for cell in result["cells"]:
        curve = cell["curve"]
        step = max(1, len(curve) // 12)
        which = "every epoch" if step == 1 else f"one epoch in {step}"
        shown = curve[::step]
        points = ", ".join(f"{score:.3f} ({seconds:.0f} s)" for seconds, score in shown)
        stop = f"; interrupted after {len(curve)} epochs" if cell["interrupted"] else ""
        lines.append(f"\nValidation nats of {cell['model']} over time, {which}: {points}{stop}.")
    return "\n".join(lines) + "\n"


def paper_command(result: dict[str, Any]) -> str:
    """The command that made a result."""
    models = " ".join(f"--models {cell['model']}" for cell in result["cells"])
    if not result["cells"][0]["options"].get("gaussianize", True):
        models += " --no-gaussianize"
    return (
        f"python -m benchmarks paper {models} --epochs {result['epochs']} --rows "
        f"{result['n_rows']} --threads {result['threads']}"
    )
