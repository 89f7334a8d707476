"""Plots of a model version as PNG files.

Figures are drawn by the Agg canvas without pyplot and rcParams: they need no display, and several threads may draw.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve
from matplotlib.ticker import MaxNLocator, PercentFormatter

from textclf.files import atomic_file
from textclf.report.graph_layout import layered_layout
from textclf.stats.calibration import ReliabilityBins
from textclf.stats.confusions import largest_confusions

INK, SOFT_INK, GRID = "#1f2a37", "#6b7785", "#e3e8ee"
BLUE, ORANGE = "#2563a8", "#d97706"
_BLUES = LinearSegmentedColormap.from_list("blues", ["#ffffff", "#dbe8f5", "#8db8e0", BLUE, "#123a6b"])
_TYPE_COLOURS = ("#dbe8f5", "#fdebd0", "#dff2e3", "#f3e1f1", "#fbe3e0", "#e4e3f7", "#f2f0d5", "#e2e8ea")
_DPI = 150
# Agg refuses pictures with 2^16 pixels per side.
_MAX_PIXELS = 30_000

# Maximum classes for cells with count and share, and for cells with the count only.
_CELLS_WITH_SHARE, _CELLS_WITH_COUNT = 10, 25
_MAX_TICK_LABELS = 60


@dataclass(frozen=True)
class Layer:
    """One box of a structure diagram; `type` determines the colour, and `shape` may have several lines."""

    name: str
    type: str
    shape: str = ""
    parents: tuple[str, ...] = ()


def plot_training_curves(history: Mapping[str, Sequence[float | None]], path: Path | str) -> None:
    """Plot each metric over the epochs, for training and validation; the best validation value is marked.

    `history` has a value after each epoch for each metric; `val_x` is the validation of `x`. None and NaN leave a gap.

    Raises:
        ValueError: if there is no metric.
    """
    names = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    if not names:
        raise ValueError("expected the history of at least one metric, got none")
    columns = 2 if len(names) == 4 else min(len(names), 3)
    rows = -(-len(names) // columns)
    figure = _figure(4.2 * columns + 0.3, 3.3 * rows + 0.3)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for name, axes in zip(names, panels, strict=False):
        _plot_metric(axes, name, history.get(name), history.get(f"val_{name}"))
    for axes in list(figure.axes)[len(names) :]:
        axes.remove()
    _save(figure, path)


def _plot_metric(
    axes: Axes, name: str, training: Sequence[float | None] | None, validation: Sequence[float | None] | None
) -> None:
    _style(axes, name.replace("_", " "))
    axes.set_xlabel("epoch", color=SOFT_INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    longest = max(len(training or ()), len(validation or ()))
    axes.set_xlim(1 - 0.04 * max(longest, 2), longest + 0.04 * max(longest, 2))
    for values, label, colour in ((training, "training", BLUE), (validation, "validation", ORANGE)):
        if values is None:
            continue
        y = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        epochs = np.arange(1, len(y) + 1)
        axes.plot(epochs, y, color=colour, linewidth=2, marker="o", markersize=4, label=label, clip_on=False)
        if label == "validation" and np.isfinite(y).any():
            best = int(np.nanargmin(y) if "loss" in name or "error" in name else np.nanargmax(y))
            axes.plot(
                epochs[best], y[best], "o", markersize=11, markerfacecolor="none", markeredgecolor=colour, clip_on=False
            )
            axes.annotate(
                f"{y[best]:.4g}",
                (epochs[best], y[best]),
                xytext=(0, 9),
                textcoords="offset points",
                ha="center",
                color=colour,
                fontweight="bold",
                fontsize=9,
            )
    axes.margins(y=0.18)
    lowest, highest = axes.get_ylim()
    shown = [value for value in (*(training or ()), *(validation or ())) if value is not None]
    if lowest < 0 <= min(shown, default=-1):
        axes.set_ylim(0, highest)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.4g}")
    if training is not None and validation is not None:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK)


def plot_confusion_matrix(matrix: npt.ArrayLike, class_names: Sequence[str], path: Path | str) -> None:
    """Plot counts of true classes (rows) and predicted classes (columns), coloured by the share of the true class.

    With few classes, the cells contain numbers. With many, the largest confusions are listed next to the matrix, and
    the axes show as many names as fit.

    Raises:
        ValueError: if `matrix`, int [K, K], does not fit the K class names.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    classes = len(class_names)
    if counts.shape != (classes, classes) or classes == 0:
        raise ValueError(f"expected a matrix of shape ({classes}, {classes}), got {counts.shape}")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # [K, K]
    has_list = classes > _CELLS_WITH_SHARE
    side = float(np.clip(1.1 * classes, 3.2, 6.5) if classes <= _CELLS_WITH_SHARE else np.clip(0.42 * classes, 7, 13))
    # A dollar sign would start a formula.
    names = [_elided(name, 24).replace("$", r"\$") for name in class_names]
    longest = max(map(len, names))
    size = 10 if not has_list else 8
    # Inches: a character of ten points is about 0.085 wide.
    is_turned = longest * 0.0085 * size > 0.95 * side / classes
    name_width = longest * 0.0085 * size
    figure = _figure(
        side + name_width + 0.9 + (3.9 if has_list else 0), side + (name_width if is_turned else 0.2) + 1, "compressed"
    )
    axes, list_axes = figure.subplots(1, 2, width_ratios=[side, 3]) if has_list else (figure.subplots(), None)
    # Confusions of a good model are rare; the square root keeps them visible.
    image = axes.imshow(shares, cmap=_BLUES, norm=PowerNorm(0.5, 0, 1), interpolation="nearest", aspect="equal")
    axes.spines[:].set(visible=has_list, color=GRID)
    if classes <= _CELLS_WITH_COUNT:
        axes.set_xticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(classes + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=2)
        _write_cells(axes, counts, shares)
    _name_classes(axes, names, size, is_turned)
    right, total = int(np.trace(counts)), int(counts.sum())
    axes.set_title(
        f"{right:,} of {total:,} right" + (f" ({right / total:.1%})" if total else ""),
        loc="left",
        fontsize=12,
        fontweight="bold",
        color=INK,
        pad=10,
    )
    if list_axes is not None:
        _list_confusions(list_axes, counts, names, max_pairs=int((side - 1.2) / 0.43))
        below = list_axes.inset_axes((0.02, 0.04, 0.9, 0.018))
        bar = figure.colorbar(image, cax=below, orientation="horizontal", ticks=[0, 0.05, 0.25, 0.5, 1])
        bar.set_label("share of the true class", color=SOFT_INK)
        bar.outline.set_visible(False)
        below.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        below.tick_params(colors=INK, labelsize=8)
    _save(figure, path)


def _name_classes(axes: Axes, names: Sequence[str], size: int, is_turned: bool) -> None:
    every = -(-len(names) // _MAX_TICK_LABELS)
    ticks = list(range(0, len(names), every))
    axes.set_xticks(ticks, [names[k] for k in ticks], fontsize=size, rotation=90 if is_turned else 0)
    axes.set_yticks(ticks, [names[k] for k in ticks], fontsize=size)
    axes.tick_params(which="both", length=0, colors=INK)
    axes.set_xlabel("predicted class" + (f" (one name in {every} is shown)" if every > 1 else ""), color=SOFT_INK)
    axes.set_ylabel("true class", color=SOFT_INK)


def _write_cells(axes: Axes, counts: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]) -> None:
    with_share = len(counts) <= _CELLS_WITH_SHARE
    for (row, column), count in np.ndenumerate(counts):
        if not with_share and count == 0:
            continue
        share = shares[row, column]
        axes.text(
            column,
            row,
            f"{count:,}\n{share:.1%}" if with_share else f"{count:,}",
            ha="center",
            va="center",
            linespacing=1.5,
            fontsize=10 if len(counts) <= 5 else 8 if with_share else 6.5,
            color="white" if share > 0.35 else INK,
        )


def _list_confusions(axes: Axes, counts: npt.NDArray[np.int64], names: Sequence[str], max_pairs: int) -> None:
    """List the pairs with the most confusions, which are hard to find in a large matrix."""
    axes.set_axis_off()
    axes.set_title("largest confusions", loc="left", fontsize=12, fontweight="bold", color=INK, pad=10)
    found = largest_confusions(counts, max_pairs)
    lines = [(confusion.texts, names[confusion.true], names[confusion.predicted]) for confusion in found]
    for place, (count, true, predicted) in enumerate(lines or [(0, "none", "")]):
        at: dict[str, Any] = {"xy": (0, 1), "xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
        down = -4 - 31 * place
        axes.annotate(f"{count:,}", xytext=(26, down), ha="right", color=BLUE, fontsize=10, fontweight="bold", **at)
        text = f"{true}\n→ {predicted}" if predicted else true
        axes.annotate(text, xytext=(36, down), ha="left", color=INK, fontsize=9, linespacing=1.3, **at)


def plot_reliability(bins: ReliabilityBins, ece: float, path: Path | str) -> None:
    """Plot the accuracy of predictions by confidence, with the number of texts per bin below.

    The title shows the expected calibration error `ece`.
    """
    number = len(bins.count)
    edges = np.linspace(0, 1, number + 1)
    centres, width = (edges[:-1] + edges[1:]) / 2, 1 / number
    filled = bins.count > 0
    figure = _figure(5.4, 6.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    _style(upper, f"expected calibration error {ece:.2%}")
    upper.plot([0, 1], [0, 1], color=SOFT_INK, linewidth=1, linestyle=(0, (4, 3)), label="perfect", zorder=3)
    accuracy, confidence = bins.accuracy[filled], bins.confidence[filled]
    gap = confidence - accuracy
    upper.bar(centres[filled], np.minimum(accuracy, confidence), width * 0.92, color=BLUE, label="right", zorder=2)
    for is_gap, label, colour, fill, hatch in (
        (gap > 0, "claimed, but not right", ORANGE, "#fbe6cb", "////"),
        (gap < 0, "right, but not claimed", BLUE, "#d3e4f5", "...."),
    ):
        if not is_gap.any():
            continue
        upper.bar(
            centres[filled][is_gap],
            np.abs(gap[is_gap]),
            width * 0.92,
            bottom=np.minimum(accuracy, confidence)[is_gap],
            color=fill,
            edgecolor=colour,
            hatch=hatch,
            linewidth=0,
            label=label,
            zorder=2,
        )
    upper.set_ylim(0, 1.02)
    upper.set_xlim(0, 1)
    upper.set_ylabel("share that is right", color=SOFT_INK)
    upper.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper left")
    _style(lower)
    lower.bar(centres, bins.count, width * 0.92, color=SOFT_INK, zorder=2)
    lower.set_ylabel("texts", color=SOFT_INK)
    lower.set_xlabel("confidence (probability of the predicted class)", color=SOFT_INK)
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    for axis in (upper.xaxis, upper.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _save(figure, path)


def plot_structure(layers: Sequence[Layer], path: Path | str) -> None:
    """Plot a diagram of a model: one box per layer, in any order, and arrows from top to bottom.

    Raises:
        ValueError: if there is no layer, two layers have the same name, a parent is missing, or there is a cycle.
    """
    if not layers or len({layer.name for layer in layers}) != len(layers):
        raise ValueError(f"expected layers with different names, got {[layer.name for layer in layers]}")
    layout = layered_layout({layer.name: layer.parents for layer in layers})
    texts = {layer.name: [_elided(line, 44) for line in (layer.name, *layer.shape.splitlines())] for layer in layers}
    kinds = list(dict.fromkeys(layer.type for layer in layers))
    # Inches: a character of a shape is 0.077 wide, of a bold name about 0.085; a box has two margins.
    box_width = max(2.2, 0.4 + 0.085 * max(len(line) for lines in texts.values() for line in lines))
    heights = {layer.name: 0.5 + 0.17 * len(layer.shape.splitlines()) for layer in layers}
    rank_of = {name: rank for name, (_, rank) in layout.places.items()}
    rank_heights = [
        max(heights[name] for name in heights if rank_of[name] == rank) for rank in range(max(rank_of.values()) + 1)
    ]
    gap, margin, across = 0.48, 0.3, box_width + 0.35
    centres = [sum(rank_heights[:rank]) + rank * gap + rank_heights[rank] / 2 for rank in range(len(rank_heights))]
    extent = max(abs(x) for points in [layout.places.values(), *layout.edges.values()] for x, _ in points)
    half_width = extent * across + box_width / 2 + margin
    bottom = sum(rank_heights) + gap * (len(rank_heights) - 1)
    figure = _figure(2 * half_width, bottom + 2 * margin, layout=None)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-half_width, half_width)
    axes.set_ylim(bottom + margin, -margin)
    for (parent, child), points in layout.edges.items():
        ends = [(x * across, centres[rank]) for x, rank in points]
        ends[0] = (ends[0][0], ends[0][1] + heights[parent] / 2)
        ends[-1] = (ends[-1][0], ends[-1][1] - heights[child] / 2)
        axes.add_patch(
            FancyArrowPatch(path=_curve(ends), arrowstyle="-|>", mutation_scale=11, color=SOFT_INK, linewidth=1.2)
        )
    for layer in layers:
        x, rank = layout.places[layer.name]
        colour = _TYPE_COLOURS[kinds.index(layer.type) % len(_TYPE_COLOURS)]
        _draw_box(
            axes, layer.type, texts[layer.name], (x * across, centres[rank]), (box_width, heights[layer.name]), colour
        )
    _save(figure, path)


def _draw_box(
    axes: Axes, kind: str, lines: Sequence[str], centre: tuple[float, float], size: tuple[float, float], colour: str
) -> None:
    left, top = centre[0] - size[0] / 2, centre[1] - size[1] / 2
    axes.add_patch(
        FancyBboxPatch(
            (left, top),
            *size,
            boxstyle="round,pad=0,rounding_size=0.07",
            facecolor=colour,
            edgecolor=INK,
            linewidth=0.9,
        )
    )
    plain: dict[str, Any] = {"ha": "center", "va": "center", "parse_math": False}
    axes.text(centre[0], top + 0.15, kind, fontsize=7.5, color=SOFT_INK, **plain)
    axes.text(centre[0], top + 0.34, lines[0], fontsize=9.5, color=INK, fontweight="bold", **plain)
    for number, line in enumerate(lines[1:]):
        axes.text(centre[0], top + 0.54 + 0.17 * number, line, fontsize=8, color=INK, family="monospace", **plain)


def _curve(points: Sequence[tuple[float, float]]) -> Curve:
    """A smooth curve through the points, vertical at each of them."""
    vertices, codes = [points[0]], [Curve.MOVETO]
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        vertices += [(x0, middle), (x1, middle), (x1, y1)]
        codes += [Curve.CURVE4] * 3
    return Curve(vertices, codes)


def _figure(width: float, height: float, layout: Literal["constrained", "compressed"] | None = "constrained") -> Figure:
    """A white figure; width and height are inches."""
    figure = Figure(figsize=(width, height), facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    if isinstance(engine := figure.get_layout_engine(), ConstrainedLayoutEngine):
        engine.set(w_pad=0.12, h_pad=0.12)
    return figure


def _style(axes: Axes, title: str = "") -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(SOFT_INK)


def _save(figure: Figure, path: Path | str) -> None:
    dpi = min(_DPI, _MAX_PIXELS / max(figure.get_size_inches()))
    with atomic_file(path, "wb") as file, warnings.catch_warnings():
        # Class names in a script that the font lacks are drawn as boxes; that must not fail.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        # Without the library's version in the file, equal figures give equal bytes.
        figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})


def _elided(text: str, max_chars: int) -> str:
    """The text; if it has more than `max_chars` characters, its middle is replaced by an ellipsis."""
    if len(text) <= max_chars:
        return text
    head = (max_chars - 1) // 2
    return f"{text[:head]}…{text[head + 1 - max_chars :]}"
