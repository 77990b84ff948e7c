"""The section on what a user's own calls take."""

from __future__ import annotations

from typing import Any


def calls_page(result: dict[str, Any]) -> str:
    """Tables of public calls, first calls, threads and a busy machine."""
    how = (
        "Measured by `python -m benchmarks calls`: medians of "
        f"{result['repeats']} interleaved repeats, of one thread and in the processor's time but "
        "where the wall is named; checks of input and preprocessing are in them. 4,096 rows of 43 "
        "columns beside zuko's bare flow of the same architecture, one row of 6 columns beside "
        "scikit-learn's GaussianMixture."
    )
    lines = [
        f"## A user's own calls, {result['processor']}",
        "",
        how,
        "",
        "| call | time | beside it | ratio |",
        "| --- | --- | --- | --- |",
    ]
    many = result["many"]
    for name in ("realnvp", "maf"):
        own = many[f"{name}: score_samples"]
        lines.append(_row(f"{name}: score_samples", own["densekit"], "zuko's log_prob", own))
        one, many_epochs = (many[f"{name}: fit, {n} epochs"]["densekit"] for n in (1, 21))
        steps = many.get(f"{name}: an epoch", {})
        lines.append(
            _row(f"{name}: fit, an epoch more", (many_epochs - one) / 20, "zuko's steps", steps)
        )
        lines.append(_row(f"{name}: fit of one epoch, whole", one, "zuko's steps", steps))
    for task, seconds in result["one"].items():
        for name in ("realnvp", "maf", "nsf"):
            lines.append(_row(f"{name}: {task}", seconds[name], "GaussianMixture", seconds))
    lines += ["", "First calls of a process, and the same again (500 rows of 6 columns):", ""]
    lines += ["| model | fit | score_samples | sample |", "| --- | --- | --- | --- |"]
    for name, s in result["first"].items():
        cells = " | ".join(f"{s[i]:.2f} s, then {s[i + 3]:.2f} s" for i in range(3))
        lines.append(f"| {name} | {cells} |")
    lines += ["", "100,000 rows of 43 columns by one thread and by two, on the wall:", ""]
    lines += ["| call | one | two | one over two |", "| --- | --- | --- | --- |"]
    for name, s in result["threads"].items():
        lines.append(f"| {name} | {s['1']:.2f} s | {s['2']:.2f} s | {s['1'] / s['2']:.2f} |")
    idle, busy = result["busy"]["idle"], result["busy"]["busy"]
    beside = (
        f"A fit of MAF with default threads takes {idle:.2f} s on the wall of this machine alone, "
        f"and {busy:.2f} s beside two programs at full load ({busy / idle:.1f} times)."
    )
    return "\n".join([*lines, "", beside, ""])


def _row(call: str, seconds: float, peer: str, others: dict[str, float]) -> str:
    if peer not in others:
        return f"| {call} | {1e3 * seconds:.2f} ms | | |"
    other = others[peer]
    return (
        f"| {call} | {1e3 * seconds:.2f} ms | {peer} {1e3 * other:.2f} ms | {seconds / other:.2f} |"
    )
