"""The pictures are whole PNG files of a sensible size and show what they are given; no display, no global state."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from textclf.report.graph_layout import layered_layout
from textclf.report.plots import (
    Layer,
    plot_confusion_matrix,
    plot_reliability,
    plot_structure,
    plot_training_curves,
)
from textclf.stats.calibration import error_of_bins, reliability_bins

CHAIN = [
    Layer("text", "InputLayer", "[batch]"),
    Layer("preprocessing", "KerasLayer", "input_word_ids [batch, 128]\ninput_mask [batch, 128]", ("text",)),
    Layer("logits", "Dense", "[batch, 2]", ("preprocessing",)),
]


def picture(path) -> np.ndarray:
    """Pixels [height, width, 4] of a PNG that holds more than an empty page."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = imread(path)
    assert min(pixels.shape[:2]) > 150
    assert pixels[..., :3].std() > 0.01
    return pixels


def near(pixels: np.ndarray, colour: str) -> int:
    """How many pixels have the colour, '#rrggbb', to within rounding."""
    target = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return int((np.abs(pixels[..., :3] - target).max(axis=-1) < 0.01).sum())


class TestTrainingCurves:
    @pytest.mark.parametrize("epochs", [1, 5])
    @pytest.mark.parametrize("metrics", [1, 2, 4, 7])
    def test_any_number_of_metrics_and_epochs(self, tmp_path, epochs, metrics):
        history = {f"metric_{k}": [0.1 * e for e in range(epochs)] for k in range(metrics)}
        plot_training_curves(history, tmp_path / "curves.png")
        picture(tmp_path / "curves.png")

    def test_validation_shares_the_panel_of_its_metric(self, tmp_path):
        plot_training_curves({"loss": [0.5, 0.3]}, tmp_path / "alone.png")
        plot_training_curves({"loss": [0.5, 0.3], "val_loss": [0.4, 0.45]}, tmp_path / "both.png")
        alone, both = picture(tmp_path / "alone.png"), picture(tmp_path / "both.png")
        assert alone.shape == both.shape
        assert near(alone, "#d97706") == 0
        assert near(both, "#d97706") > 100

    @pytest.mark.parametrize("values", [[None, 0.5, float("nan")], [None, None], []])
    def test_missing_values_leave_gaps(self, tmp_path, values):
        plot_training_curves({"loss": [0.5, 0.4, 0.3], "val_roc_auc": values}, tmp_path / "curves.png")
        picture(tmp_path / "curves.png")

    def test_no_metric_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="at least one metric"):
            plot_training_curves({}, tmp_path / "curves.png")
        assert list(tmp_path.iterdir()) == []


class TestConfusionMatrix:
    @pytest.mark.parametrize("classes", [2, 5, 11, 26, 151])
    def test_any_number_of_classes_on_a_page_that_can_be_looked_at(self, tmp_path, classes):
        counts = np.diag(np.full(classes, 20)) + np.eye(classes, k=1, dtype=int) * 3
        plot_confusion_matrix(counts, [f"a class called {k}" for k in range(classes)], tmp_path / "matrix.png")
        assert max(picture(tmp_path / "matrix.png").shape) < 3500

    def test_every_cell_of_a_perfect_matrix_has_the_darkest_or_no_colour(self, tmp_path):
        plot_confusion_matrix([[10, 0], [0, 10]], ["neg", "pos"], tmp_path / "matrix.png")
        pixels = picture(tmp_path / "matrix.png")
        assert near(pixels, "#123a6b") > 0.2 * pixels.shape[0] * pixels.shape[1]

    def test_a_class_without_texts_and_no_texts_at_all(self, tmp_path):
        plot_confusion_matrix([[0, 0], [1, 3]], ["neg", "pos"], tmp_path / "matrix.png")
        plot_confusion_matrix(np.zeros((12, 12), int), list("abcdefghijkl"), tmp_path / "empty.png")
        picture(tmp_path / "empty.png")

    def test_class_names_in_a_script_without_glyphs_and_very_long_ones(self, tmp_path):
        plot_confusion_matrix([[3, 1], [1, 3]], ["負面", "p" * 100], tmp_path / "matrix.png")
        picture(tmp_path / "matrix.png")

    def test_a_dollar_sign_in_a_class_name_starts_no_formula(self, tmp_path):
        plot_confusion_matrix([[3, 1], [1, 3]], [r"$\frac$", "under $100"], tmp_path / "matrix.png")
        picture(tmp_path / "matrix.png")

    def test_shapes_that_do_not_fit_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"expected a matrix of shape \(3, 3\)"):
            plot_confusion_matrix([[1, 0], [0, 1]], ["a", "b", "c"], tmp_path / "matrix.png")


class TestReliability:
    def test_overconfidence_is_orange_and_its_absence_is_not(self, tmp_path):
        overconfident = reliability_bins([[0.1, 0.9]] * 10, [1] * 5 + [0] * 5)
        shy = reliability_bins([[0.4, 0.6]] * 10, [1] * 10)
        for name, bins in (("over", overconfident), ("shy", shy)):
            plot_reliability(bins, error_of_bins(bins), tmp_path / f"{name}.png")
        assert near(picture(tmp_path / "over.png"), "#d97706") > 200
        assert near(picture(tmp_path / "shy.png"), "#d97706") == 0


class TestStructure:
    def test_a_chain(self, tmp_path):
        plot_structure(CHAIN, tmp_path / "structure.png")
        pixels = picture(tmp_path / "structure.png")
        assert pixels.shape[0] > pixels.shape[1] * 0.8

    def test_order_of_the_records_does_not_matter(self, tmp_path):
        plot_structure(CHAIN[::-1], tmp_path / "reversed.png")
        assert picture(tmp_path / "reversed.png").shape[0] > 400

    def test_names_that_look_like_formulas_are_drawn_as_they_are(self, tmp_path):
        plot_structure([Layer("$x_1^{$", "Lambda", "$[b]"), Layer("y" * 200, "Dense")], tmp_path / "structure.png")
        picture(tmp_path / "structure.png")

    def test_a_very_deep_model_stays_within_what_can_be_drawn(self, tmp_path):
        layers = [Layer(str(k), "Dense", "[b, 8]", (str(k - 1),) if k else ()) for k in range(150)]
        plot_structure(layers, tmp_path / "structure.png")
        assert picture(tmp_path / "structure.png").shape[0] <= 30_000

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            ([], "different names"),
            ([Layer("a", "Dense"), Layer("a", "Dense")], "different names"),
            ([Layer("a", "Dense", "", ("b",))], "got 'b'"),
            ([Layer("a", "Dense", "", ("b",)), Layer("b", "Dense", "", ("a",))], "without cycles"),
        ],
    )
    def test_what_is_no_structure_is_refused(self, tmp_path, layers, message):
        with pytest.raises(ValueError, match=message):
            plot_structure(layers, tmp_path / "structure.png")
        assert list(tmp_path.iterdir()) == []


class TestLayout:
    def test_a_chain_is_a_straight_line(self):
        layout = layered_layout({"a": (), "b": ("a",), "c": ("b",)})
        assert layout.places == {"a": (0.0, 0), "b": (0.0, 1), "c": (0.0, 2)}

    def test_a_skip_passes_beside_the_node_between(self):
        layout = layered_layout({"a": (), "b": ("a",), "c": ("a", "b")})
        start, beside, end = layout.edges["a", "c"]
        assert (start, end) == (layout.places["a"], layout.places["c"])
        assert beside[1] == 1
        assert abs(beside[0] - layout.places["b"][0]) >= 0.7 - 1e-9

    def test_an_input_stands_just_above_what_takes_it(self):
        layout = layered_layout({"a": (), "b": ("a",), "late": (), "c": ("b", "late")})
        assert layout.places["late"][1] == 1

    def test_nodes_of_one_rank_never_overlap_and_parents_are_above(self):
        rng = np.random.default_rng(3)
        names = [str(k) for k in range(40)]
        parents = {
            name: tuple(str(p) for p in rng.choice(k, size=min(k, int(rng.integers(0, 4))), replace=False)) if k else ()
            for k, name in enumerate(names)
        }
        layout = layered_layout(parents)
        for name, above in parents.items():
            assert all(layout.places[parent][1] < layout.places[name][1] for parent in above)
        for a in names:
            for b in names:
                if a < b and layout.places[a][1] == layout.places[b][1]:
                    assert abs(layout.places[a][0] - layout.places[b][0]) >= 1 - 1e-9


def test_threads_draw_side_by_side_the_same_bytes(tmp_path):
    matrix = [[5, 1], [2, 4]]
    threads = [
        threading.Thread(target=plot_confusion_matrix, args=(matrix, ["neg", "pos"], tmp_path / f"{k}.png"))
        for k in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(tmp_path / f"{k}.png").read_bytes() for k in range(4)}) == 1


def test_pyplot_is_never_imported():
    code = "import sys, textclf.report.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=False, cwd=Path(__file__).parents[2], timeout=300).returncode == 0
