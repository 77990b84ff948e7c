"""Pages of files: damaged, killed, and larger than memory."""

from __future__ import annotations

from typing import Any


def robustness_page(result: dict[str, Any]) -> str:
    """What came of damaged model files, and of kills in the middle of saving and fitting."""
    lines = [
        "## Robustness\n",
        (
            f"Measured by `{robustness_command(result)}`, "
            "each kind of damage in a process that may take one gigabyte of address space more "
            "than it has. Errors are densekit's own; "
            "a foreign one, a crash or executed code would be a fault. Where values of "
            "a description are replaced under a right checksum, some give a working model.\n"
        ),
        (
            f"| model | damage | outcomes | executed | slowest, {result['clock']} s "
            "| memory grown, MB |"
        ),
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


def robustness_command(result: dict[str, Any]) -> str:
    """The command that made a result."""
    return f"python -m benchmarks robustness --fits {result['fits'][0]['fits']}"


def large_page(result: dict[str, Any]) -> str:
    """What scoring a large file took, and what interrupted runs left."""
    rate = result["n_rows"] / result["seconds"]
    kills = result["kills"]
    whole = sum(kill["is_output_whole"] for kill in kills)
    killed = [kill for kill in kills if kill["signal"] == "SIGKILL"]
    left = sum(kill["n_temporary"] for kill in kills)
    still = sum(kill["n_temporary_after_next"] for kill in kills)
    lines = [
        "## Larger than memory, interrupted\n" if kills else "## Larger than memory\n",
        (
            f"Measured by `{large_command(result)}`: `densekit score` of a RealNVP over a Parquet "
            f"file of {result['n_rows']:,} rows and {result['n_features']} columns "
            f"({result['n_bytes'] / 1e6:.0f} MB), {result['machine']}.\n"
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


def large_command(result: dict[str, Any]) -> str:
    """The command that made a result."""
    return (
        f"python -m benchmarks large --rows {result['n_rows']} --row-group {result['row_group']} "
        f"--kills {len(result['kills'])} --threads {result['threads']}"
    )
