"""Tables of what was measured."""

from __future__ import annotations

from typing import Any

_SPEED = """## Speed

Flows in matched architectures (RealNVP: 8 affine
couplings; MAF: 5 layers; splines: 5 layers of 8 bins; two hidden layers of 128 units each),
untrained but for the training steps that are timed, float32. The limit is the bare matrix products
of the conditioners (`torch.mm` into preallocated outputs; of the forward pass, and for a training
step of both gradients as well), measured in the same run. Cells are the median milliseconds and, in
brackets, the multiple of the limit with the least and the greatest of the repeats; compare the
multiples, since machines differ. densekit can come below one, because its products go through
oneDNN where that is faster than `torch.mm`. Its training step clips gradients and averages weights,
as its trainer does; the peers' is Adam as in their guides.
"""

_QUALITY = """## Quality

The mean held-out nats of rows that are standardised by
the training rows, with a standard error, one fit each. densekit has default parameters; the peers
are trained by Adam (1e-3) in batches of 256 with early stopping on a tenth of the rows, for so many
seconds at most, and pzflow by its own recipe; GaussianMixture is chosen by BIC and KernelDensity by
cross-validation. Columns of few distinct numbers, as in digits, let a density grow without bound:
there more nats are not always a better model. Beside the seconds of fit and scoring stand those
after which a peer had found its best weights, and those after which densekit's default spline flow
had reached the nats of the best of its rivals. Sets that are not scikit-learn's are read from the
folder `DENSEKIT_DATA`: normal rows of ADBench (10,000 at most), the ten folds of red wine, and
50,000 rows of POWER (`power.npz`), whose held-out rows are from its validation split.
"""


def speed_page(result: dict[str, Any]) -> str:
    """The page for one run of ``python -m benchmarks speed``."""
    lines = [
        _SPEED,
        f"Measured by `{_command(result)}`, torch {result['torch']}, {result['machine']}.",
    ]
    if result["skipped"]:
        lines.append(f"Not installed and so skipped: {', '.join(result['skipped'])}.")
    cells = result["cells"]
    for task, threads in dict.fromkeys((cell["task"], cell["threads"]) for cell in cells):
        chosen = [cell for cell in cells if (cell["task"], cell["threads"]) == (task, threads)]
        plural = "" if threads == 1 else "s"
        title = f"### {task.capitalize()}, {threads} thread{plural}"
        lines += ["", title, "", *_table(chosen)]
    return "\n".join(lines) + "\n"


def _command(result: dict[str, Any]) -> str:
    """The command that made a result: its repeats take turns among the contenders."""
    words = [f"python -m benchmarks speed --repeats {result['repeats']}"]
    for option, key in (("--threads", "threads"), ("--dimensions", "n_features")):
        words += [f"{option} {value}" for value in sorted({c[key] for c in result["cells"]})]
    return " ".join(words)


def _table(cells: list[dict[str, Any]]) -> list[str]:
    contenders = [name for name in cells[0]["seconds"] if name != "limit"]
    header = ["flow", "columns", "limit", *contenders]
    rows = [header, ["---"] * len(header)]
    for cell in cells:
        bare = cell["seconds"]["limit"][0]
        row = [cell["flow"], str(cell["n_features"]), f"{1e3 * bare:.3g}"]
        for name in contenders:
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
    )
    lines = [_QUALITY, f"Measured by `{command}`, torch {result['torch']}."]
    if result["skipped"]:
        lines.append(f"Not installed and so skipped: {', '.join(result['skipped'])}.")
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


def stability_page(result: dict[str, Any]) -> str:
    """For each estimator how many fits diverged, and how many held-out scores are not finite."""
    cells = result["cells"]
    tables = {cell["table"] for cell in cells}
    lines = [
        "## Stability\n",
        (
            f"Measured by `python -m benchmarks stability --seeds {result['seeds']} --max-rows "
            f"{result['max_rows']}`: default fits to {len(tables)} tables, {result['seeds']} seeds "
            "each, and their held-out scores. A rollback is a return to the best weights after "
            "a loss that is not finite.\n"
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
        "## POWER, whole\n",
        (
            f"Measured by `python -m benchmarks paper --epochs {result['epochs']} --rows "
            f"{result['n_rows']} --threads {result['threads']}`: mean test nats of default recipes "
            "with the given layers, beside those that the papers of the models give.\n"
        ),
        "| model | options | published | test nats | seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for cell in result["cells"]:
        options = ", ".join(f"{key}={value}" for key, value in cell["options"].items())
        nats = f"{cell['nats']:.3f} +- {cell['error']:.3f}"
        row = [cell["model"], options, f"{cell['published']:.2f}", nats, f"{cell['seconds']:.0f}"]
        lines.append("| " + " | ".join(row) + " |")
    for cell in result["cells"]:
        curve = cell["curve"]
        shown = [curve[i] for i in sorted({*range(0, len(curve), max(1, len(curve) // 12))})]
        points = ", ".join(f"{nats:.3f} ({seconds:.0f} s)" for seconds, nats in shown)
        stop = f"; interrupted after {len(curve)} epochs" if cell["interrupted"] else ""
        lines.append(f"\nValidation nats of {cell['model']} over time: {points}{stop}.")
    return "\n".join(lines) + "\n"


def large_page(result: dict[str, Any]) -> str:
    """What scoring a large file took, and what interrupted runs left."""
    rate = result["n_rows"] / result["seconds"]
    kills = result["kills"]
    whole = sum(kill["is_output_whole"] for kill in kills)
    killed = [kill for kill in kills if kill["signal"] == "SIGKILL"]
    left = sum(kill["n_temporary"] for kill in kills)
    still = sum(kill["n_temporary_after_next"] for kill in kills)
    lines = [
        "## Larger than memory\n",
        (
            f"Measured by `python -m benchmarks large --rows {result['n_rows']} --row-group "
            f"{result['row_group']} --kills {len(kills)} --threads {result['threads']}`: `densekit "
            f"score` of a RealNVP over a Parquet file of {result['n_rows']:,} rows and "
            f"{result['n_features']} columns ({result['n_bytes'] / 1e6:.0f} MB), "
            f"{result['machine']}.\n"
        ),
        "| what | measured |",
        "| --- | --- |",
        f"| peak resident memory | {result['peak_bytes'] / 1e9:.2f} GB |",
        f"| seconds | {result['seconds']:.0f} |",
        f"| rows a second | {rate:,.0f} |",
        f"| scores written | {result.get('n_scores', 0):,} |",
        (
            f"| scores compared with those of the rows at their places, bit-equal | "
            f"{result.get('n_equal', 0):,} of {result.get('n_checked', 0):,} |"
        ),
        f"| interrupted runs with the old output or all of the new | {whole} of {len(kills)} |",
        f"| temporary files that they left ({len(killed)} by `kill -9`) | {left} |",
        f"| of these, left after the next run | {still} |",
    ]
    return "\n".join(lines) + "\n"


PAGES = {
    "large": large_page,
    "speed": speed_page,
    "quality": quality_page,
    "paper": paper_page,
    "stability": stability_page,
}
