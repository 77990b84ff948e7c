"""Pages of flows on tables: speed, quality, stability, POWER."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.quality import best_rival

_SPEED = """
Flows in matched architectures (RealNVP: 8 affine
couplings; MAF: 5 layers; splines: 5 layers of 8 bins; two hidden layers of 128 units each),
untrained but for the training steps that are timed, float32. The limit is the bare matrix products
of the conditioners (`torch.mm` into preallocated outputs; of the forward pass, and for a training
step of both gradients as well), measured in the same run. Cells are the median milliseconds and, in
brackets, the multiple of the limit with the least and the greatest of the repeats (seconds of the
processor with one thread, of the wall with more); compare the
multiples, since machines differ. densekit can come below one: its products go through oneDNN where
that is faster than `torch.mm`, above all on AMD's processors since Zen 5 (`znver5`), whose vectors
are twice as wide as those that `torch.mm` uses; and products that masks hide are skipped in
training. Its training step clips gradients and averages weights, as its trainer does; the
peers' is Adam as in their guides.
"""

_MANY_TABLES = 10  # which a command need not name
_QUALITY = """
The mean held-out nats of rows that are standardised by
the training rows, with a standard error, one fit each. densekit has default parameters; the peers
are trained by Adam (1e-3) in batches of 256 with early stopping on a tenth of the rows, for so many
seconds at most (of the processor, with one thread), and pzflow by its own recipe;
GaussianMixture is chosen by BIC and KernelDensity by
cross-validation. Columns of few distinct numbers, as in digits, let a density grow without bound:
there more nats are not always a better model. Beside the seconds of fit and scoring stand those
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
    threads = " and ".join(map(_threads, sorted({cell["threads"] for cell in result["cells"]})))
    lines = [
        f"## Speed, {beside}, {threads}, {result['processor']}",
        _SPEED,
        f"Measured by `{_command(result)}`, torch {result['torch']}, {result['processor']}.",
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
        where = f"{_threads(n_threads)}, {beside}, {result['processor']}"
        title = f"### {task.capitalize()}, {where}"
        lines += ["", title, "", *_table(chosen)]
    return "\n".join(lines) + "\n"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


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


def _command(result: dict[str, Any]) -> str:
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


def _table(cells: list[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for cell in cells for name in cell["seconds"])
    contenders = [name for name in names if name != "limit"]
    header = ["flow", "columns", "limit", *contenders]
    rows = [header, ["---"] * len(header)]
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
    return ["| " + " | ".join(row) + " |" for row in rows]


def quality_page(result: dict[str, Any]) -> str:
    """Held-out nats of each method on each table, and the seconds of fit and scoring."""
    command = (
        f"python -m benchmarks quality --threads {result['threads']} "
        f"--max-seconds {result['max_seconds']:g}"
        + _other_python(cell["method"] for cell in result["cells"])
    )
    tables = dict.fromkeys(cell["table"] for cell in result["cells"])
    if len(tables) < _MANY_TABLES:
        command += "".join(f" --tables '{table}'" for table in tables)
    on = f"{len(tables)} tables" if len(tables) > 1 else ", ".join(tables)
    lines = [
        f"## Quality on {on}, {result['max_seconds']:g} seconds for a peer",
        _QUALITY,
        f"Measured by `{command}`, torch {result['torch']}.",
    ]
    if result["skipped"]:
        lines.append(f"Not installed and so skipped: {', '.join(result['skipped'])}.")
    lines += _beside_best_rivals(result["cells"])
    for table in dict.fromkeys(cell["table"] for cell in result["cells"]):
        cells = [cell for cell in result["cells"] if cell["table"] == table]
        size = f"{cells[0]['n_rows']} rows, {cells[0]['n_features']} columns"
        if cells[0]["n_splits"] > 1:
            size += f", {cells[0]['n_splits']} splits"
        lines += ["", f"### {table}: {size}", ""]
        lines += ["| method | held-out nats | seconds | to its best | to the best rival's nats |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for cell in sorted(cells, key=lambda cell: -cell["nats"]):
            nats = f"{cell['nats']:.2f} +- {cell['error']:.2f}"
            row = [cell["method"], nats, f"{cell['seconds']:.1f}"]
            for key in ("seconds_to_best", "seconds_to_best_rival"):
                seconds = cell.get(key)
                row.append("" if seconds is None else f"{seconds:.1f}")
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    """An option as Python writes it; JSON knows no tuples."""
    return str(tuple(value)) if isinstance(value, list) else str(value)


def _beside_best_rivals(cells: list[dict[str, Any]]) -> list[str]:
    """The default spline flow beside the best of the others on each table, and how often it leads.

    A rival's time is that to its own best weights if it says so, else that of its whole fit.
    """
    rows, ahead, within, twice = [], 0, 0, 0
    for table in dict.fromkeys(cell["table"] for cell in cells):
        found = [cell for cell in cells if cell["table"] == table]
        own = next((cell for cell in found if cell["method"] == "densekit nsf"), None)
        best = best_rival(found)
        if own is None or best is None:
            continue
        lead = own["nats"] - best["nats"]
        seconds = own.get("seconds_to_best_rival")
        rival_seconds = best.get("seconds_to_best") or best["seconds"]
        ahead, within = ahead + (lead >= 0), within + (lead >= -own["error"])
        twice += seconds is not None and 2 * seconds <= rival_seconds
        took = "" if seconds is None else f"{seconds:.1f}"
        rows.append(
            f"| {table} | {own['nats']:.2f} +- {own['error']:.2f} | {best['method']} "
            f"{best['nats']:.2f} | {lead:+.2f} | {took} | {rival_seconds:.1f} |"
        )
    if not rows:
        return []
    return [
        "",
        "| table | densekit nsf | best rival | lead | seconds to the rival's nats | the rival's |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        (
            f"Tables: {len(rows)}. densekit's default spline flow leads on {ahead}, and leads or "
            f"is within its own standard error on {within}; on {twice} it reaches the best rival's "
            "nats in at most half of that rival's time to its best weights (or of its fit, where "
            "it does not say). Times are those of the first split."
        ),
    ]


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
    models = " ".join(f"--models {cell['model']}" for cell in result["cells"])
    if not result["cells"][0]["options"].get("gaussianize", True):
        models += " --no-gaussianize"
    lines = [
        f"## POWER, whole, {result['epochs']} epochs\n",
        (
            f"Measured by `python -m benchmarks paper {models} --epochs {result['epochs']} --rows "
            f"{result['n_rows']} --threads {result['threads']}`: mean test nats of default recipes "
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
        nats = f"{cell['nats']:.3f} +- {cell['error']:.3f}"
        row = [cell["model"], options, f"{cell['published']:.2f}", nats, f"{cell['seconds']:.0f}"]
        lines.append("| " + " | ".join(row) + " |")
    for cell in result["cells"]:
        curve = cell["curve"]
        step = max(1, len(curve) // 12)
        which = "every epoch" if step == 1 else f"one epoch in {step}"
        shown = curve[::step]
        points = ", ".join(f"{nats:.3f} ({seconds:.0f} s)" for seconds, nats in shown)
        stop = f"; interrupted after {len(curve)} epochs" if cell["interrupted"] else ""
        lines.append(f"\nValidation nats of {cell['model']} over time, {which}: {points}{stop}.")
    return "\n".join(lines) + "\n"
