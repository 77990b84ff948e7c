"""One screen: what holds, beside whom, by which command, and where densekit is behind."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.pages import pictures
from benchmarks.pages.anomaly import anomaly_command, mean
from benchmarks.pages.files import large_command, robustness_command
from benchmarks.pages.flows import (
    budget,
    lead_counts,
    paper_command,
    quality_command,
    speed_command,
)
from benchmarks.pages.images import PUBLISHED
from benchmarks.pages.results import (
    Beside,
    Result,
    Results,
    beside_best_rivals,
    is_of_one_machine,
    listed,
    nats,
    table,
    threads,
)

MOST_TABLES = 8  # rows of the summary of quality
FAR_BEHIND = 100.0  # nats, beyond which a peer is off the picture
CLEARLY = 1.0  # points of AUROC
DETECTOR, ROBUST = "AnomalyDetector", "AnomalyDetector, robust"


def _picture(path: Path, what: str) -> str:
    return f"![{what}]({path.parent.name}/{path.name})\n"


def _remarks(results: Iterable[Result]) -> list[str]:
    """What someone wrote of measurements that are not of the present code, each once."""
    found = dict.fromkeys(result["remark"] for result in results if "remark" in result)
    return [f"*{remark}*\n" for remark in found]


def speed(results: Results, folder: Path) -> list[str]:
    """How often densekit is the fastest, and by how much, in each run beside peers."""
    runs = [run for run in results["speed"] if _peers_timed(run)]
    if not runs:
        return ["Measured alone; peers were not installed.\n"]
    cells = [cell for run in runs for cell in run["cells"]]
    peers = dict.fromkeys(name for cell in cells for name in _peers(cell))
    slower = [ratio for ratio in map(_best_peer, cells) if ratio[1] < 1]
    text = (
        f"Four flows in the same architecture in densekit and in {listed(peers)}: RealNVP, MAF, "
        "and splines with couplings and autoregressive. densekit is the fastest in "
        f"{len(cells) - len(slower)} of {len(cells)} timings"
    )
    if slower:
        counts = Counter(peer for peer, _, _ in slower)
        peer, ratio, where = min(slower, key=lambda found: found[1])
        ahead = listed(f"{name} in {count}" for name, count in counts.most_common())
        text += (
            f"; ahead of it are {ahead}, most of all {peer}, {1 / ratio:.2f} times as fast "
            f"({where})"
        )
    tasks = dict.fromkeys(cell["task"] for cell in cells)
    rows = [[task, *(_task_cell(run, task) for run in runs)] for task in [*tasks, ""]]
    rows[-1][0] = "all tasks"
    limits = [f"{_multiple_of_limit(run):.2f}" for run in runs]
    rows.append(["densekit, of the bare matrix products", *limits])
    lines = [
        f"{text}. By `{speed_command(runs[0])}` and its like.\n",
        *_remarks(runs),
        (
            "In how many timings densekit is the fastest; and the time of the best peer as a "
            "multiple of densekit's: the median, the least and the greatest. Processors have the "
            "names that compilers give them.\n"
        ),
        *table(["task", *map(_machine, runs)], rows),
        "",
    ]
    run, path = runs[0], folder / "benchmarks_speed.png"
    pictures.draw_dots(
        path,
        {task: _multiples(run, task) for task in tasks},
        f"Time as a multiple of densekit's\n({_machine(run)}; geometric mean over flows)",
        "times as long as densekit (dashed)",
        scale="log",
        line=1.0,
    )
    lines.append(_picture(path, "Time of each peer as a multiple of densekit's, by task"))
    return lines


def _multiple_of_limit(run: Result) -> float:
    """densekit's time as a multiple of the bare matrix products', the median of all timings."""
    times = [cell["seconds"] for cell in run["cells"]]
    return statistics.median(found["densekit"][0] / found["limit"][0] for found in times)


def _machine(run: Result) -> str:
    counts = sorted({cell["threads"] for cell in run["cells"]})
    return f"{run['processor']}, {listed(map(threads, counts))}"


def _peers(cell: Result) -> dict[str, float]:
    """Median seconds by peer."""
    ours = ("limit", "densekit")
    return {name: times[0] for name, times in cell["seconds"].items() if name not in ours}


def _peers_timed(run: Result) -> bool:
    return all(_peers(cell) for cell in run["cells"])


def _best_peer(cell: Result) -> tuple[str, float, str]:
    """The fastest peer, its time as a multiple of densekit's, and where that was."""
    name, seconds = min(_peers(cell).items(), key=lambda item: item[1])
    where = f"{cell['task']}, {cell['flow']}, {cell['n_features']} columns"
    return name, seconds / cell["seconds"]["densekit"][0], where


def _task_cell(run: Result, task: str) -> str:
    """In how many timings of the task, or of all, densekit is the fastest, and by how much."""
    ratios = [_best_peer(cell)[1] for cell in run["cells"] if task in ("", cell["task"])]
    if not ratios:
        return ""
    first = sum(ratio >= 1 for ratio in ratios)
    spread = f"{min(ratios):.2f} to {max(ratios):.1f}"
    return f"{first} of {len(ratios)}; {statistics.median(ratios):.1f} ({spread})"


def _multiples(run: Result, task: str) -> dict[str, float]:
    """By peer, the geometric mean of its times as multiples of densekit's."""
    logs: dict[str, list[float]] = {}
    for cell in run["cells"]:
        if cell["task"] == task:
            for name, seconds in _peers(cell).items():
                ratio = seconds / cell["seconds"]["densekit"][0]
                logs.setdefault(name, []).append(math.log(ratio))
    return {name: math.exp(statistics.fmean(values)) for name, values in logs.items()}


def quality(results: Results, folder: Path) -> list[str]:
    """How often the default spline flow leads in nats, and what that is worth."""
    runs = results["quality"]
    lines: list[str] = []
    if found := [(run, pairs) for run in runs if (pairs := beside_best_rivals(run["cells"]))]:
        lines = _quality_beside(found, folder)
    for result in results["paper"]:
        reached = listed(
            f"{cell['model']} {cell['nats']:.2f} (published {cell['published']:.2f})"
            for cell in result["cells"]
        )
        lines.append(
            f"On the whole of POWER, in {result['epochs']} epochs, test nats are {reached}. Part "
            "of that lead is that the histograms in front of densekit's models see the even "
            "watts of POWER's active power, which the papers' models do not: by "
            f"`{paper_command(result)}`.\n"
        )
    return lines + _remarks([*runs, *results["paper"]])


def _quality_beside(found: list[tuple[Result, list[Beside]]], folder: Path) -> list[str]:
    widest, pairs = max(found, key=lambda item: len(item[1]))
    rivals = dict.fromkeys(
        cell["method"].split()[0]
        for cell in widest["cells"]
        if not cell["method"].startswith("densekit")
    )
    text = (
        f"Default fits on {len(pairs)} tables, beside {listed(rivals)}. "
        f"{lead_counts(pairs, widest.get('repeats', {}))} {budget(widest, pairs)}"
    )
    timed = [one for run, own in found if is_of_one_machine(run) for one in own]
    if timed:
        slower = sum(one.own["seconds"] > one.best["seconds"] for one in timed)
        text += (
            f" Where both were timed on one machine, densekit reaches the best rival's nats in at "
            f"most half of its time on {sum(one.is_twice_as_fast for one in timed)} of "
            f"{len(timed)} tables; but its whole default fit goes on after that, and takes longer "
            f"than the rival's on {slower}."
        )
    lines = [f"{text} By `{quality_command(widest)}` and its like.\n"]
    others = [one for run, own in found if run is not widest for one in own] or pairs
    rows = [
        [
            one.table,
            f"{nats(one.own['nats'])} +- {nats(one.own['error'])}",
            f"{one.best['method']} {nats(one.best['nats'])}",
            f"{one.lead:+.2f}",
            f"{one.own['seconds']:.0f}",
            f"{one.best['seconds']:.0f}",
        ]
        for one in others[:MOST_TABLES]
    ]
    header = ["table", "densekit nsf", "best rival", "lead", "seconds of densekit", "of the rival"]
    repeats = {name: share for run, _ in found for name, share in run.get("repeats", {}).items()}
    if repeats:
        header.append("columns in which values repeat")
        for row in rows:
            row.append(f"{repeats[row[0]]:.0%}" if row[0] in repeats else "")
    lines += [*table(header, rows), ""]
    gaps = {
        one.table: _nats_behind(run["cells"], one)
        for run, own in found
        for one in own
        if one in others[:MOST_TABLES] and not repeats.get(one.table)  # where nats are a measure
    }
    if not gaps:
        return lines
    path = folder / "benchmarks_quality.png"
    is_ahead = all(value > 0 for gap in gaps.values() for value in gap.values())
    pictures.draw_dots(
        path,
        gaps,
        "Held-out nats behind densekit's default spline flow\n(the best flow of each peer)",
        "nats behind" if is_ahead else "nats behind densekit (dashed)",
        scale="log" if is_ahead else "symlog",
        line=None if is_ahead else 0.0,
    )
    lines.append(_picture(path, "Nats of each peer behind densekit's default spline flow"))
    return lines


def _nats_behind(cells: list[Result], one: Beside) -> dict[str, float]:
    """By peer, the nats of its best flow behind densekit's default; without those far behind."""
    found: dict[str, float] = {}
    for cell in cells:
        peer = cell["method"].split()[0]
        if cell["table"] == one.table and peer != "densekit" and math.isfinite(cell["nats"]):
            gap = one.own["nats"] - cell["nats"]
            found[peer] = min(found.get(peer, math.inf), gap)
    return {peer: gap for peer, gap in found.items() if gap < FAR_BEHIND}


def anomalies(results: Results, folder: Path) -> list[str]:
    """The ranking on ADBench, with normal training rows and with anomalies among them."""
    runs = results["anomaly"]
    lines = [_ranking(run) for run in runs]
    for run in runs:
        if run["guarantees"]:
            lines.append(_promises(run["guarantees"]))
    if results["sizes"]:
        cells = results["sizes"][0]["cells"]
        many, few = (pick(cells, key=lambda cell: cell["n_rows"]) for pick in (max, min))
        lines.append(
            f"With {many['n_rows']:,} rows a fit takes {many['fit_seconds']:.0f} seconds "
            f"(AUROC {many['auroc']:.2f}); with {few['n_rows']:,} rows of {few['n_features']} "
            f"columns AUROC is {few['auroc']:.2f}: by `python -m benchmarks sizes`.\n"
        )
    if runs:
        lines.append("`MAF` is densekit's own flow, without the detector's defaults.\n")
        lines += _ranking_table(runs, folder)
    return lines + _remarks([*runs, *results["sizes"]])


def _methods(run: Result) -> list[str]:
    return list(dict.fromkeys(cell["method"] for cell in run["cells"]))


def _ranked(run: Result) -> dict[str, float]:
    """The mean AUROC over sets by method, the best first."""
    sets = dict.fromkeys(cell["set"] for cell in run["cells"])
    found = {
        method: statistics.fmean(
            mean(run["cells"], "auroc", set=name, method=method) for name in sets
        )
        for method in _methods(run)
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _ranking(run: Result) -> str:
    means, cells = _ranked(run), run["cells"]
    own = ROBUST if ROBUST in means else DETECTOR
    sets = dict.fromkeys(cell["set"] for cell in cells)
    others = [method for method in means if method not in (DETECTOR, ROBUST)]
    if own not in means or not others:
        return f"Measured by `{anomaly_command(run)}`.\n"
    behind = {}  # points behind the best of the others
    for name in sets:
        rest = {method: mean(cells, "auroc", set=name, method=method) for method in others}
        best = max(rest, key=lambda method: rest[method])
        behind[name] = rest[best] - mean(cells, "auroc", set=name, method=own), best
    worst = max(behind, key=lambda name: behind[name])
    contamination = run.get("contamination", 0.0)
    where = (
        f"With up to {contamination:.0%} of anomalies among the training rows, "
        f"`AnomalyDetector(robust=True)` has"
        if contamination
        else "Trained on normal rows alone, `AnomalyDetector` has"
    )
    n_top = sum(gap <= 0 for gap, _ in behind.values())
    n_behind = sum(gap > CLEARLY for gap, _ in behind.values())
    without = f" (and {means[DETECTOR]:.1f} without `robust`)" if own == ROBUST else ""
    return (
        f"{where} a mean AUROC of {means[own]:.1f} over {len(sets)} sets of ADBench{without}, the "
        f"best of the other {len(others)} has {means[others[0]]:.1f} ({others[0]}). In {n_top} "
        f"sets it is at the top; in {n_behind} the best of them there is more than a point "
        f"ahead, most in {worst}, where {behind[worst][1]} is ahead by {behind[worst][0]:.1f}. By "
        f"`{anomaly_command(run)}`.\n"
    )


def _promises(cells: list[Result]) -> str:
    parts = []
    for i, level in enumerate(cells[0]["false_positives"]):
        share = statistics.fmean(cell["false_positives"][i]["share"] for cell in cells)
        n_kept = sum(cell["false_positives"][i]["in_exact_band"] for cell in cells)
        parts.append(f"{share:.3f} at {level['alpha']:g} (within the band in {n_kept})")
    power = statistics.fmean(cell["discoveries"]["power"] for cell in cells)
    return (
        f"Of {len(cells)} fits, the mean share of false positives is {listed(parts)}. "
        f"`select` at a false discovery rate of 0.1 finds {power:.0%} of the anomalies.\n"
    )


def _ranking_table(runs: list[Result], folder: Path) -> list[str]:
    names = {
        id(run): f"{run['contamination']:.0%} of anomalies in training"
        if run.get("contamination")
        else "normal training rows"
        for run in runs
    }
    ranked = {id(run): _ranked(run) for run in runs}
    found = dict.fromkeys(method for means in ranked.values() for method in means)
    methods = sorted(found, key=lambda method: method not in (DETECTOR, ROBUST))
    rows = []
    for method in methods:
        values = [means.get(method) for means in ranked.values()]
        seconds = [
            cell["cpu_seconds"] for run in runs for cell in run["cells"] if cell["method"] == method
        ]
        shown = ["" if value is None else f"{value:.1f}" for value in values]
        rows.append([method, *shown, f"{statistics.median(seconds):.2f}"])
    path = folder / "benchmarks_anomalies.png"
    pictures.draw_dots(
        path,
        {
            method: {names[run]: means[method] for run, means in ranked.items() if method in means}
            for method in methods
        },
        "Mean AUROC over sets of ADBench",
        "100 x AUROC",
    )
    header = ["mean AUROC", *names.values(), "median seconds of a fit"]
    return [*table(header, rows), "", _picture(path, "Mean AUROC of each detector")]


def images(results: Results, folder: Path) -> list[str]:
    """How far models of minutes are from the published figures."""
    lines, rows, beyond = [], [], {}
    for result in results["images"]:
        for cell in result["cells"]:
            if cell["task"] not in PUBLISHED:
                continue
            key, unit, published = PUBLISHED[cell["task"]]
            found = cell["found"][key]
            beyond[cell["task"]] = {"found": 100 * (found / published - 1)}
            rows.append(
                [
                    cell["task"],
                    cell["model"].partition("Estimator")[0],
                    f"{cell['n_rows']:,}",
                    str(cell["epochs"]),
                    f"{cell['cpu_seconds'] / 60:.0f}",
                    f"{found:.2f} {unit}",
                    f"{published:.2f}",
                ]
            )
    if rows:
        gaps = [gap["found"] for gap in beyond.values()]
        behind = sum(gap > 0 for gap in gaps)
        lines.append(
            "PixelCNN, Glow and RealNVP on MNIST and on parts of CIFAR-10, beside the figures of "
            f"the papers. densekit is behind these in {behind} of {len(gaps)}: {min(gaps):.0f} to "
            f"{max(gaps):.0f} % more nats or bits, of which fewer are better. Its fits are of few "
            "epochs, and some of fewer images than the papers', so this says what so much time "
            "gives, and not which code is better. By `python -m benchmarks images`.\n"
        )
        header = ["task", "model", "images", "epochs", "CPU minutes", "found", "published"]
        lines += [*table(header, rows), ""]
    for result in results["pixelcnn"]:
        ratios = [cell["full_pass_seconds"] / cell["seconds"] for cell in result["cells"]]
        lines.append(
            "Samples of PixelCNN compute each pixel once, "
            f"{listed(f'{ratio:.0f}' for ratio in ratios)} times as fast as a full pass for every "
            f"pixel: by `python -m benchmarks pixelcnn --repeats {result['repeats']}`.\n"
        )
    for result in results["foreign"]:
        lines.append(_foreign(result))
    if rows:
        path = folder / "benchmarks_images.png"
        pictures.draw_dots(
            path,
            beyond,
            "Nats or bits beyond the published\n(fewer images and epochs; less is better)",
            "% beyond the published (dashed)",
            line=0.0,
        )
        lines.append(_picture(path, "Nats or bits of each model beyond the published"))
    return lines + _remarks([*results["images"], *results["pixelcnn"], *results["foreign"]])


def _foreign(result: Result) -> str:
    cells = result["cells"]
    pairs = dict.fromkeys((cell["trained_on"], cell["foreign"]) for cell in cells)
    parts = []
    for score in dict.fromkeys(cell["score"] for cell in cells):
        values = [cell["auroc"] for cell in cells if cell["score"] == score]
        parts.append(f"`{score}` {sum(value > 0.9 for value in values)} (least {min(values):.2f})")
    return (
        f"Of {len(pairs)} kinds of foreign images, so many are told apart with an AUROC above 0.9 "
        f"by each score of `AnomalyDetector`: {listed(parts)}. By `python -m benchmarks foreign "
        f"--n-train {result['n_train']} --epochs {result['max_epochs']}`.\n"
    )


def robustness(results: Results, folder: Path) -> list[str]:
    """Damaged files, kills, files larger than memory, and fits that diverge."""
    lines: list[str] = []
    for result in results["robustness"]:
        lines += _damage(result, folder)
    for result in results["large"]:
        kills = result["kills"]
        whole = sum(kill["is_output_whole"] for kill in kills)
        text = (
            f"`densekit score` of {result['n_rows']:,} rows ({result['n_bytes'] / 1e6:.0f} MB) "
            f"takes {result['peak_bytes'] / 1e9:.2f} GB of memory at most"
        )
        if kills:
            text += f"; interrupted {len(kills)} times, it left a whole output {whole} times"
        lines.append(f"{text}: by `{large_command(result)}`.\n")
    for result in results["stability"]:
        cells = result["cells"]
        n_tables = len({cell["table"] for cell in cells})
        diverged = sum(cell["is_diverged"] for cell in cells)
        not_finite = sum(cell.get("n_not_finite", 0) for cell in cells)
        n_scores = sum(cell.get("n_scores", 0) for cell in cells)
        lines.append(
            f"Of {len(cells)} default fits to {n_tables} tables of {result['max_rows']} rows at "
            f"most, {diverged} diverged, and {not_finite} of {n_scores:,} held-out scores are not "
            f"finite: by `python -m benchmarks stability --seeds {result['seeds']} --max-rows "
            f"{result['max_rows']}`.\n"
        )
    every = [result for kind in ("robustness", "large", "stability") for result in results[kind]]
    return lines + _remarks(every)


def _damage(result: Result, folder: Path) -> list[str]:
    sorts: dict[str, dict[str, int]] = {}
    for cell in result["damage"]:
        counts = sorts.setdefault(cell["kind"], {})
        for outcome, n in cell["outcomes"].items():
            name = _sort_of(outcome)
            counts[name] = counts.get(name, 0) + n
    executed = sum(bool(cell.get("executed")) for cell in result["damage"])
    total = sum(n for counts in sorts.values() for n in counts.values())
    faults = sum(counts.get("fault", 0) for counts in sorts.values())
    loading = {kind: counts["loads"] for kind, counts in sorts.items() if "loads" in counts}
    saves, fits = result["saves"], result["fits"]
    whole = sum(n for name, n in saves["outcomes"].items() if name in ("old", "new"))
    text = (
        f"Of {total:,} damaged or hostile model files, {faults} ended in a foreign error or a "
        f"crash, and {executed or 'none'} executed anything; {sum(loading.values()):,} load "
        f"({listed(loading)}). `kill -9` at {saves['kills']} moments of saving left a whole file "
        f"{whole} times, and {saves['drafts_left']} times a draft beside it. Of "
        f"{sum(f['fits'] for f in fits)} fits "
        f"that were killed {sum(f['kills'] for f in fits)} times, {sum(f['same'] for f in fits)} "
        f"ended bit equal with undisturbed ones. By `{robustness_command(result)}`.\n"
    )
    names = ("refused", "loads", "fault")
    rows = [
        [kind, *(f"{counts.get(name, 0):,}" for name in names)] for kind, counts in sorts.items()
    ]
    shares = {
        kind: {
            name: 100 * counts.get(name, 0) / sum(counts.values())
            for name in names
            if any(other.get(name) for other in sorts.values())
        }
        for kind, counts in sorts.items()
    }
    path = folder / "benchmarks_robustness.png"
    pictures.draw_shares(path, shares, "What comes of damaged model files", "% of files")
    return [
        text,
        *table(["damage", "refused by an error of densekit's", "loads", "fault"], rows),
        "",
        _picture(path, "What comes of damaged model files, by kind of damage"),
    ]


def _sort_of(outcome: str) -> str:
    if outcome == "loaded":
        return "loads"
    is_fault = outcome.startswith("foreign") or outcome == "crashed"
    return "fault" if is_fault else "refused"


SUMMARIES: dict[str, Callable[[Results, Path], list[str]]] = {
    "speed": speed,
    "quality": quality,
    "anomalies": anomalies,
    "images": images,
    "robustness": robustness,
}
