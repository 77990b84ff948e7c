"""Small pictures of what was measured: dots and bars that tell their kinds by shape too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Of Okabe and Ito, which the colour-blind tell apart; without yellow, which is pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#666666")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "//", "xx")
# Names that look alike in all pictures; others take what is left, in their order.
ORDER = (
    "zuko", "nflows", "normflows", "torchflows", "flowjax", "pzflow", "GaussianMixture",
    "KernelDensity",
)  # fmt: skip
WIDTH, ROW_HEIGHT, REST_HEIGHT = 5.0, 0.34, 1.35  # inches
DPI = 110

Rows = Mapping[str, Mapping[str, float]]  # values by row, then by series


def draw_dots(
    path: Path, rows: Rows, title: str, unit: str, scale: str = "linear", line: float | None = None
) -> None:
    """A line of dots for each row, one for each of the series; a dashed line is what to beat."""
    figure, axes = _canvas(rows, title, unit)
    series = list(dict.fromkeys(name for values in rows.values() for name in values))
    series.sort(key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    for i, name in enumerate(series):
        look = ORDER.index(name) if name in ORDER else i
        points = [(values[name], y) for y, values in enumerate(rows.values()) if name in values]
        axes.plot(
            *zip(*points, strict=True),
            linestyle="",
            marker=MARKERS[look % len(MARKERS)],
            color=COLOURS[look % len(COLOURS)],
            markersize=7,
            alpha=0.9,
            label=name,
        )
    axes.set_xscale(scale)
    if scale == "log":
        axes.xaxis.set_major_formatter("{x:g}")
    if line is not None:
        axes.axvline(line, color="black", linestyle="--", linewidth=1)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(color="#dddddd", linewidth=0.7)
    _save(figure, axes, path, n_series=len(series))


def draw_shares(path: Path, rows: Rows, title: str, unit: str) -> None:
    """A bar of percentages for each row, whose parts are the series."""
    figure, axes = _canvas(rows, title, unit)
    series = list(dict.fromkeys(name for values in rows.values() for name in values))
    ends = [0.0] * len(rows)
    for i, name in enumerate(series):
        widths = [values.get(name, 0.0) for values in rows.values()]
        axes.barh(
            range(len(rows)),
            widths,
            left=ends,
            height=0.6,
            color=COLOURS[i],
            hatch=HATCHES[i],
            edgecolor="white",
            label=name,
        )
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    _save(figure, axes, path, n_series=len(series))


def _canvas(rows: Rows, title: str, unit: str) -> tuple[Figure, Axes]:
    height = REST_HEIGHT + ROW_HEIGHT * len(rows)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_yticks(range(len(rows)), list(rows), fontsize=11)
    axes.tick_params(axis="x", labelsize=11)
    axes.set_xlabel(unit, fontsize=11)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _save(figure: Figure, axes: Axes, path: Path, n_series: int) -> None:
    if n_series > 1:
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=3, fontsize=10, frameon=False,
            handletextpad=0.3, columnspacing=1.0,
        )  # fmt: skip
    figure.savefig(path, metadata={"Software": None})  # whose version changes
