"""Tables of what was measured."""

from __future__ import annotations

from typing import Any

_HEAD = """# Benchmarks

Made by `python -m benchmarks speed --page docs/benchmarks.md`: untrained flows in matched
architectures (RealNVP: 8 affine couplings; MAF: 5 layers; splines: 5 layers of 8 bins; two hidden
layers of 128 units each), float32. The limit is the bare matrix products of the conditioners
(`torch.mm` into preallocated outputs), measured in the same run. Cells are the median milliseconds
of a batch, and in brackets the multiple of the limit; compare the multiples, since machines differ.
"""


def speed_page(result: dict[str, Any]) -> str:
    """The page for one run of ``python -m benchmarks speed``."""
    lines = [
        _HEAD,
        (
            f"Batch of {result['batch']} rows, {result['repeats']} interleaved repeats, "
            f"{result['threads']} thread(s), torch {result['torch']}, {result['machine']}."
        ),
    ]
    if result["skipped"]:
        lines.append(f"Not installed and so skipped: {', '.join(result['skipped'])}.")
    for what in ("score", "sample"):
        lines += ["", f"## {what.capitalize()}", "", *_table(result["cells"], what)]
    return "\n".join(lines) + "\n"


def _table(cells: list[dict[str, Any]], what: str) -> list[str]:
    contenders = [name for name in cells[0]["seconds"] if name.endswith(what)]
    header = ["flow", "columns", "limit", *(name.removesuffix(f" {what}") for name in contenders)]
    rows = [header, ["---"] * len(header)]
    for cell in cells:
        bare = cell["seconds"]["limit"][0]
        row = [cell["flow"], str(cell["n_features"]), f"{1e3 * bare:.1f}"]
        for name in contenders:
            median = cell["seconds"][name][0]
            row.append(f"{1e3 * median:.1f} ({median / bare:.1f}x)")
        rows.append(row)
    return ["| " + " | ".join(row) + " |" for row in rows]
