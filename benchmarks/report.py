"""Tables of what was measured."""

from __future__ import annotations

import statistics
from typing import Any

_SPEED = """## Speed

Flows in matched architectures (RealNVP: 8 affine
couplings; MAF: 5 layers; splines: 5 layers of 8 bins; two hidden layers of 128 units each),
untrained but for the training steps that are timed, float32. The limit is the bare matrix products
of the conditioners (`torch.mm` into preallocated outputs; of the forward pass, and for a training
step of both gradients as well), measured in the same run. Cells are the median milliseconds and, in
brackets, the multiple of the limit with the least and the greatest of the repeats (seconds of the
processor with one thread, of the wall with more); compare the
multiples, since machines differ. densekit can come below one, because its products go through
oneDNN where that is faster than `torch.mm`. Its training step clips gradients and averages weights,
as its trainer does; the peers' is Adam as in their guides.
"""

_QUALITY = """## Quality

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
    lines = [
        _SPEED,
        f"Measured by `{_command(result)}`, torch {result['torch']}, {result['machine']}.",
    ]
    if "load" in result:
        load, n_processors = result["load"]
        lines.append(
            f"The machine has {n_processors} processors, and its load was {load:.1f} at the end: "
            "one is this benchmark, what goes beyond crowds its caches."
        )
    if result["skipped"] and result.get("beside_peers", True):
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
    if not result.get("beside_peers", True):
        words.append("--no-beside-peers")
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


def pixelcnn_page(result: dict[str, Any]) -> str:
    """Seconds of both ways to sample, and their ratio."""
    lines = [
        "## Sampling of PixelCNN\n",
        (
            f"Measured by `python -m benchmarks pixelcnn --threads {result['threads']} --repeats "
            f"{result['repeats']}`: 16 images of 28x28, 7 layers of 64 channels, random weights; "
            "each pixel computed once, and 784 passes over the whole images with the same "
            "generator.\n"
        ),
        "| levels | each pixel once, seconds | full passes, seconds | ratio | equal pixels |",
        "| --- | --- | --- | --- | --- |",
    ]
    for cell in result["cells"]:
        fast, slow = cell["seconds"], cell["full_pass_seconds"]
        row = [str(cell["n_levels"]), f"{fast:.3f}", f"{slow:.1f}", f"{slow / fast:.0f}"]
        lines.append("| " + " | ".join([*row, f"{cell['share_equal']:.2%}"]) + " |")
    return "\n".join(lines) + "\n"


# What each task of images is measured by, and what the papers or plain chance say.
_IMAGE_NOTES = {
    "binarized": "MADE 86.64 (Germain 2015), PixelCNN 81.30 (van den Oord 2016a), in nats",
    "glow": "Glow 1.05 bits (Kingma 2018)",
    "realnvp": "RealNVP 1.06 bits (as reported beside Glow)",
    "cifar pixelcnn": "on all 50,000 images: PixelCNN 3.14, gated 3.03 bits",
    "cifar glow": "on all 50,000 images: Glow 3.35, RealNVP 3.49 bits",
}


def images_page(result: dict[str, Any]) -> str:
    """What each model of images reached, at which cost."""
    lines = [
        "## Images\n",
        (
            "Measured by `python -m benchmarks images`, one command a task, on test images that "
            "no fit saw. Seconds are those of one processor, whatever the number of threads.\n"
        ),
        "| task | model | images | epochs | CPU seconds | found | published |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell in result["cells"]:
        found = "; ".join(f"{key}: {value:.4g}" for key, value in cell["found"].items())
        row = [cell["task"], f"`{cell['model']}`", str(cell["n_rows"]), str(cell["epochs"])]
        row += [f"{cell['cpu_seconds']:.0f}", found, _IMAGE_NOTES.get(cell["task"], "")]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def anomaly_page(result: dict[str, Any]) -> str:
    """AUROC of each detector on each set beside the published, and what is guaranteed."""
    cells, published = result["cells"], result["published"]
    sets = list(dict.fromkeys(cell["set"] for cell in cells))
    methods = list(dict.fromkeys(cell["method"] for cell in cells))
    shown = [name for name in ("KNN", "DTE-NP", "DTE-C") if published]
    seeds = " ".join(f"--seeds {seed}" for seed in result["seeds"])
    lines = [
        "## Anomalies\n",
        (
            f"Measured by `python -m benchmarks anomaly {seeds}` on {len(sets)} sets of ADBench: "
            "100 times the AUROC by the semi-supervised protocol of DTE (Livernoche 2024), the "
            "mean over seeds; training rows are the first half of the normal rows. Sets of fewer "
            "than 1,000 rows are bootstrapped there, so that most of their test rows are also "
            "training rows. One default configuration for all sets; the columns in italics are "
            "published.\n"
        ),
    ]
    if result["skipped"]:
        lines.append(f"Not installed and so skipped: {', '.join(result['skipped'])}.\n")
    lines += ["| set | " + " | ".join([*methods, *(f"*{name}*" for name in shown)]) + " |"]
    lines += ["| " + " | ".join(["---"] * (1 + len(methods) + len(shown))) + " |"]
    table = []
    for name in sets:
        own = [_mean(cells, "auroc", set=name, method=method) for method in methods]
        table.append(own + [published.get(name.lower(), {}).get(key, 0.0) for key in shown])
        lines.append(f"| {name} | " + " | ".join(f"{value:.1f}" for value in table[-1]) + " |")
    means = [sum(column) / len(table) for column in zip(*table, strict=True)]
    lines.append("| **mean** | " + " | ".join(f"**{value:.2f}**" for value in means) + " |")
    lines += ["", *_seconds_of_fits(cells, methods), *_guarantees(result["guarantees"])]
    return "\n".join(lines) + "\n"


def _mean(cells: list[dict[str, Any]], key: str, **chosen: Any) -> float:
    found = [c[key] for c in cells if all(c[name] == value for name, value in chosen.items())]
    return sum(found) / len(found)


def _seconds_of_fits(cells: list[dict[str, Any]], methods: list[str]) -> list[str]:
    lines = ["| seconds of a fit | median | greatest |", "| --- | --- | --- |"]
    for method in methods:
        seconds = [cell["cpu_seconds"] for cell in cells if cell["method"] == method]
        lines.append(f"| {method} | {statistics.median(seconds):.2f} | {max(seconds):.1f} |")
    return [*lines, "", "Seconds are those of the processor."]


def _guarantees(cells: list[dict[str, Any]]) -> list[str]:
    if not cells:
        return []
    lines = [
        "\n### Guarantees\n",
        (
            "The default detector, fitted to half of the normal rows of each set, drawn at random. "
            "False positives among the other half, and how many of the "
            f"{len(cells)} fits lie in the 99 % band: of a binomial, as if the threshold were "
            "known; and of the beta-binomial that split-conformal p-values follow exactly.\n"
        ),
        "| alpha | mean share of false positives | in the binomial band | in the exact band |",
        "| --- | --- | --- | --- |",
    ]
    for i, level in enumerate(cells[0]["false_positives"]):
        own = [cell["false_positives"][i] for cell in cells]
        share = sum(cell["share"] for cell in own) / len(own)
        bands = [sum(c[key] for c in own) for key in ("in_binomial_band", "in_exact_band")]
        counts = " | ".join(f"{band} of {len(own)}" for band in bands)
        lines.append(f"| {level['alpha']:g} | {share:.4f} | {counts} |")
    false = sum(cell["discoveries"]["false_share"] for cell in cells) / len(cells)
    power = sum(cell["discoveries"]["power"] for cell in cells) / len(cells)
    moved = sum(cell["planted"]["n_moved"] for cell in cells)
    first = sum(cell["planted"]["n_first"] for cell in cells)
    gap = max(cell["planted"]["gap"] for cell in cells)
    lines += [
        "",
        (
            f"`select(fdr=0.1)` where a tenth of the rows are anomalies: {100 * false:.1f} % of "
            f"what it finds is normal on average, and it finds {100 * power:.0f} % of the "
            "anomalies."
        ),
        "",
        (
            f"A value moved by six spreads made {moved} rows strange; its column is the first in "
            f"`explain` for {first} of them ({100 * first / max(1, moved):.1f} %). Contributions "
            f"miss the score by {gap:.1g} at most."
        ),
    ]
    return lines


def robustness_page(result: dict[str, Any]) -> str:
    """What came of damaged model files, and of kills in the middle of saving and fitting."""
    lines = [
        "## Robustness\n",
        (
            "Measured by `python -m benchmarks robustness`, each kind of damage in a process that "
            "may take one gigabyte of address space more than it has. Errors are densekit's own; "
            "a foreign one, a crash or executed code would be a fault. Where values of "
            "a description are replaced under a right checksum, some give a working model.\n"
        ),
        "| model | damage | outcomes | executed | slowest, CPU s | memory grown, MB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for cell in result["damage"]:
        outcomes = ", ".join(f"{n} {name}" for name, n in sorted(cell["outcomes"].items()))
        row = [cell["model"], cell["kind"], outcomes, ", ".join(cell.get("executed", [])) or "none"]
        row += [f"{cell.get('slowest', 0):.2f}", f"{cell.get('grown', 0) / 2**20:.0f}"]
        lines.append("| " + " | ".join(row) + " |")
    saves = result["saves"]
    counts = ", ".join(f"{n} the {name} file" for name, n in sorted(saves["outcomes"].items()))
    lines.append(
        f"\n`kill -9` at {saves['kills']} random moments of saving left {counts}; each opened and "
        "scored bit for bit as before.\n"
    )
    for fit in result["fits"]:
        lines.append(
            f"{fit['name']}: {fit['fits']} fits were killed {fit['kills']} times at random moments "
            f"({fit['resumed']} times with a checkpoint to go on from); {fit['same']} ended bit "
            "equal with the undisturbed fit.\n"
        )
    return "\n".join(lines)


def foreign_page(result: dict[str, Any]) -> str:
    """AUROC of each score against each foreign set of images."""
    cells = result["cells"]
    scores = list(dict.fromkeys(cell["score"] for cell in cells))
    lines = [
        "## Foreign images\n",
        (
            f"Measured by `python -m benchmarks foreign --n-train {result['n_train']} --epochs "
            f"{result['max_epochs']}`: AUROC of the scores of `AnomalyDetector` over small "
            "PixelCNNs, held-out images against foreign ones, in four levels of grey. The "
            "background of the ratio is the same model trained on corrupted images.\n"
        ),
        "| trained on | foreign | " + " | ".join(scores) + " |",
        "| --- | --- | " + " | ".join("---" for _ in scores) + " |",
    ]
    for pair in dict.fromkeys((cell["trained_on"], cell["foreign"]) for cell in cells):
        own = {c["score"]: c for c in cells if (c["trained_on"], c["foreign"]) == pair}
        found = " | ".join(f"{own[score]['auroc']:.3f}" for score in scores)
        lines.append(f"| {pair[0]} | {pair[1]} | {found} |")


def large_page(result: dict[str, Any]) -> str:
    """What scoring a large file took, and what interrupted runs left."""
    rate = result["n_rows"] / result["seconds"]
    kills = result["kills"]
    untouched = sum(kill["is_output_untouched"] for kill in kills)
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
        f"| interrupted runs that left the old output as it was | {untouched} of {len(kills)} |",
        f"| temporary files that they left ({len(killed)} by `kill -9`) | {left} |",
        f"| of these, left after the next run | {still} |",
    ]
    return "\n".join(lines) + "\n"


PAGES = {
    "anomaly": anomaly_page,
    "foreign": foreign_page,
    "large": large_page,
    "speed": speed_page,
    "quality": quality_page,
    "paper": paper_page,
    "stability": stability_page,
    "pixelcnn": pixelcnn_page,
    "images": images_page,
    "robustness": robustness_page,
}
