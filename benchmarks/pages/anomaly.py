"""The page of anomalies: ranking, guarantees, reasons."""

from __future__ import annotations

import statistics
from typing import Any


def anomaly_page(result: dict[str, Any]) -> str:
    """AUROC of each detector on each set beside the published, and what is guaranteed."""
    cells, published = result["cells"], result["published"]
    sets = list(dict.fromkeys(cell["set"] for cell in cells))
    methods = list(dict.fromkeys(cell["method"] for cell in cells))
    shown = [name for name in ("KNN", "DTE-NP", "DTE-C") if published]
    lines = _introduction(result, sets, methods, bool(shown))
    lines += ["| set | " + " | ".join([*methods, *(f"*{name}*" for name in shown)]) + " |"]
    lines += ["| " + " | ".join(["---"] * (1 + len(methods) + len(shown))) + " |"]
    table = []
    for name in sets:
        own = [mean(cells, "auroc", set=name, method=method) for method in methods]
        table.append(own + [published.get(name.lower(), {}).get(key, 0.0) for key in shown])
        shown_name = name + _strange_share(cells, name)
        lines.append(f"| {shown_name} | " + " | ".join(f"{v:.1f}" for v in table[-1]) + " |")
    means = [sum(column) / len(table) for column in zip(*table, strict=True)]
    lines.append("| **mean** | " + " | ".join(f"**{value:.2f}**" for value in means) + " |")
    lines += ["", *_seconds_of_fits(cells, methods), *_guarantees(result["guarantees"])]
    return "\n".join(lines) + "\n"


def sizes_page(result: dict[str, Any]) -> str:
    """Seconds and AUROC of the default detector by rows and columns."""
    lines = [
        "## Anomalies among few rows and many\n",
        (
            "Measured by `python -m benchmarks sizes`: `AnomalyDetector()` on made-up rows that "
            "depend on three factors; a column is discrete, and of more than three one is constant "
            "and one a copy. Strange rows have each column from another row. Seconds are those of "
            "the processor, scores are of 2,000 rows, and false positives are among 1,000 at "
            f"{result['alpha']}.\n"
        ),
        "| rows | columns | fit | score | AUROC | false positives | not finite |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for cell in result["cells"]:
        lines.append(
            f"| {cell['n_rows']:,} | {cell['n_features']:,} | {cell['fit_seconds']:.1f} s | "
            f"{cell['score_seconds']:.1f} s | {cell['auroc']:.3f} | "
            f"{cell['false_positives']:.3f} | {cell['n_not_finite']} |"
        )
    return "\n".join(lines) + "\n"


def anomaly_command(result: dict[str, Any]) -> str:
    """The command that made a result."""
    words = ["python -m benchmarks anomaly", *(f"--seeds {seed}" for seed in result["seeds"])]
    if result.get("contamination"):
        words.append(f"--contamination {result['contamination']:g}")
    return " ".join(words)


def _introduction(
    result: dict[str, Any], sets: list[str], methods: list[str], has_published: bool
) -> list[str]:
    cells = result["cells"]
    seeds_of = {m: sorted({c["seed"] for c in cells if c["method"] == m}) for m in methods}
    fewer = [method for method in methods if seeds_of[method] != result["seeds"]]
    contamination = result.get("contamination", 0.0)
    lines = [
        "## Anomalies among training rows too\n" if contamination else "## Anomalies\n",
        (
            f"Measured by `{anomaly_command(result)}` on {len(sets)} sets of ADBench: "
            "100 times the AUROC by the semi-supervised protocol of DTE (Livernoche 2024), the "
            "mean over seeds; training rows are the first half of the normal rows. Sets of fewer "
            "than 1,000 rows are bootstrapped there, so that most of their test rows are also "
            "training rows. One default configuration for all sets"
            + ("; the columns in italics are published.\n" if has_published else ".\n")
        ),
    ]
    if contamination:
        lines.append(
            f"Here up to {contamination:.0%} of the training rows are anomalies, but half of a "
            "set's at most, whose percentage stands behind its name; the others are to be found. "
            "Copies of a row are on one side.\n"
        )
    if fewer:
        lines.append(f"Of seed {seeds_of[fewer[0]][0]} alone: {', '.join(fewer)}.\n")
    if result["skipped"]:
        lines.append(f"Not installed and so skipped: {', '.join(result['skipped'])}.\n")
    return lines


def _strange_share(cells: list[dict[str, Any]], name: str) -> str:
    n_strange = sum(cell.get("n_strange", 0) for cell in cells if cell["set"] == name)
    n_rows = sum(cell["n_rows"] for cell in cells if cell["set"] == name)
    return f" ({n_strange / n_rows:.1%})" if n_strange else ""


def mean(cells: list[dict[str, Any]], key: str, **chosen: Any) -> float:
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
    seeds = sorted({str(cell["seed"]) for cell in cells})
    lines = [
        "\n### Guarantees\n",
        (
            "The default detector, fitted to half of the normal rows of each set, drawn at random. "
            f"Seeds: {', '.join(seeds)}. False positives among the other half, and how many of the "
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
