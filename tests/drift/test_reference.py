"""The reference: its projection, what it refuses, and its file, whole and damaged."""

import dataclasses
import io
import zipfile

import numpy as np
import pytest

from textclf.drift.features import TextFeatures, TokenCounts
from textclf.drift.reference import (
    FORMAT,
    EncoderOnlyOutputs,
    Reference,
    load_projection,
    load_reference,
    projection_of,
    save_reference,
)
from textclf.errors import InputError, ModelStoreError

N, CLASSES, WIDTH = 30, 3, 8


def pooled(n=N, width=WIDTH, seed=0):
    return (np.random.default_rng(seed).normal(size=(n, width)) * np.arange(1, width + 1) + 5).astype(np.float32)


@pytest.fixture(scope="module")
def reference():
    random = np.random.default_rng(0)
    projection = projection_of(pooled())
    features = TextFeatures(
        lengths=random.integers(2, 70_000, N),
        unknown_rates=random.random(N, np.float32),
        continuation_rates=random.random(N, np.float32),
        non_letter_rates=random.random(N, np.float32),
        words=TokenCounts.of_ids([random.integers(0, 30_000, random.integers(0, 9)).tolist() for _ in range(N)]),
        logits=random.normal(size=(N, CLASSES)).astype(np.float32),
        predicted=random.integers(0, CLASSES, N),
        embeddings=projection.apply(pooled(seed=1)),
    )
    return Reference(features, random.integers(0, CLASSES, N), projection, 100)


@pytest.fixture
def path(reference, tmp_path):
    save_reference(reference, tmp_path / "reference.npz")
    return tmp_path / "reference.npz"


def arrays_of(reference):
    """All arrays of a reference by name."""
    named = {name: value for name, value in vars(reference.features).items() if isinstance(value, np.ndarray)}
    named |= {f"words.{name}": value for name, value in vars(reference.features.words).items()}
    named |= {} if reference.projection is None else vars(reference.projection)
    return named | {"labels": reference.labels}


def assert_same(one, two):
    first, second = arrays_of(one), arrays_of(two)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
        assert value.dtype == second[name].dtype, name
    assert one.n_all == two.n_all


# --- projection


def test_the_projection_is_the_principal_components():
    values = pooled(200)
    projection = projection_of(values, max_directions=3)
    _, singular, directions = np.linalg.svd(values.astype(np.float64) - values.astype(np.float64).mean(axis=0))
    for found, expected in zip(projection.components, directions[:3], strict=True):
        np.testing.assert_allclose(found, expected * np.sign(expected @ found), atol=1e-5)
        assert found[np.abs(found).argmax()] > 0
    projected = projection.apply(values)
    assert (projected.shape, projected.dtype) == ((200, 3), np.float32)
    np.testing.assert_allclose(projected.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(projected.var(axis=0, ddof=1), singular[:3] ** 2 / 199, rtol=1e-5)


@pytest.mark.parametrize(("n", "width", "directions"), [(500, 100, 64), (20, 100, 19), (500, 5, 5), (2, 100, 1)])
def test_there_are_at_most_64_directions_and_fewer_than_texts(n, width, directions):
    projection = projection_of(pooled(n, width))
    assert projection.components.shape == (directions, width)
    np.testing.assert_allclose(projection.components @ projection.components.T, np.eye(directions), atol=1e-5)


def test_directions_in_which_nothing_varies_are_left_out():
    values = pooled(50, 2) @ np.array([[1, 2, 0, 1], [0, 1, 0, 3]], np.float32)
    assert projection_of(values).components.shape == (2, 4)


@pytest.mark.parametrize("values", [pooled(1), np.full((9, 4), 0.1, np.float32), np.zeros((5, 2)), np.zeros((0, 3))])
def test_texts_that_do_not_differ_have_no_projection(values):
    assert projection_of(values) is None


@pytest.mark.parametrize("values", [np.zeros(5), np.full((5, 2), np.nan)])
def test_a_projection_of_something_else_is_refused(values):
    with pytest.raises(InputError, match="expected finite embeddings"):
        projection_of(values)


def test_embeddings_of_another_model_are_refused(reference):
    with pytest.raises(InputError, match=r"expected embeddings of shape \[texts, 8\], got \[4, 6\]: .*another model"):
        reference.projection.apply(np.zeros((4, 6), np.float32))


# --- reference


def test_the_error_rate_is_the_share_of_wrong_predictions(reference):
    features = dataclasses.replace(reference.features, predicted=np.zeros(N, np.int64))
    labels = np.repeat([0, 1, 2], [21, 6, 3])
    assert dataclasses.replace(reference, features=features, labels=labels).error_rate == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros(N - 1, np.int64)}, "a label for each text"),
        ({"labels": np.full(N, CLASSES)}, "labels and predictions from 0 to the last class"),
        ({"labels": np.full(N, -1)}, "labels and predictions from 0 to the last class"),
        ({"n_all": N - 1}, "from 1 to n_all = 29 texts"),
        ({"projection": None}, "embeddings in the directions of the projection"),
        ({"projection": projection_of(pooled(), max_directions=2)}, "embeddings in the directions of the projection"),
    ],
)
def test_parts_that_do_not_fit_are_refused(reference, changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(reference, **changes)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("logits", np.full((N, CLASSES), np.inf, np.float32), "finite numbers"),
        ("unknown_rates", np.full(N, np.nan, np.float32), "finite numbers"),
        ("predicted", np.full(N, CLASSES), "labels and predictions"),
        ("embeddings", None, "embeddings in the directions"),
    ],
)
def test_features_that_make_no_sense_are_refused(reference, name, value, message):
    features = dataclasses.replace(reference.features, **{name: value})
    with pytest.raises(InputError, match=message):
        dataclasses.replace(reference, features=features)


def test_no_texts_are_no_reference(reference):
    nothing = reference.features.take(np.array([], np.int64))
    with pytest.raises(InputError, match="from 1 to"):
        dataclasses.replace(reference, features=nothing, labels=reference.labels[:0])


# --- the file


def test_what_is_saved_is_loaded(reference, path):
    assert_same(load_reference(path), reference)
    projection = load_projection(path)
    np.testing.assert_array_equal(projection.mean, reference.projection.mean)
    np.testing.assert_array_equal(projection.components, reference.projection.components)


def test_a_model_may_have_no_embeddings(reference, tmp_path):
    plain = reference.without_embeddings()
    save_reference(plain, tmp_path / "reference.npz")
    assert_same(load_reference(tmp_path / "reference.npz"), plain)
    assert load_projection(tmp_path / "reference.npz") is None


def test_the_smallest_reference(reference, tmp_path):
    features = reference.features.take(np.array([0]))
    features = dataclasses.replace(features, words=TokenCounts.of_ids([[]]))
    one = dataclasses.replace(reference, features=features, labels=reference.labels[:1])
    save_reference(one, tmp_path / "reference.npz")
    assert_same(load_reference(tmp_path / "reference.npz"), one)


def test_saving_again_gives_the_same_bytes(reference, path):
    before = path.read_bytes()
    save_reference(load_reference(path), path)
    assert path.read_bytes() == before


def test_whole_numbers_take_the_room_that_they_need(path):
    with np.load(path) as arrays:
        assert arrays["predicted"].dtype == arrays["word_counts"].dtype == np.uint8
        assert arrays["word_ids"].dtype == np.uint16
        assert arrays["lengths"].dtype == np.uint32
        assert arrays["logits"].dtype == np.float32


def test_the_projection_needs_no_other_array(path):
    keep_only(path, {"format", "projection_mean", "projection_components"})
    assert load_projection(path) is not None
    with pytest.raises(ModelStoreError, match="no item named"):
        load_reference(path)


def stored(path):
    with np.load(path) as file:
        return dict(file)


def keep_only(path, names):
    np.savez(path, **{name: value for name, value in stored(path).items() if name in names})


def refused(path, message):
    for load in (load_reference, load_projection):
        with pytest.raises(ModelStoreError, match=message) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: expected the reference of a version (")
        assert "export it again" in str(caught.value)


def test_no_such_file(tmp_path):
    refused(tmp_path / "reference.npz", "No such file")


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"no archive at all", b"\x93NUMPY" + bytes(100)], ids=["empty", "PK", "text", "npy"]
)
def test_a_file_of_another_kind(tmp_path, content):
    (tmp_path / "reference.npz").write_bytes(content)
    refused(tmp_path / "reference.npz", "not a zip file")


def test_a_folder_of_that_name(tmp_path):
    (tmp_path / "reference.npz").mkdir()
    refused(tmp_path / "reference.npz", "directory")


def test_a_foreign_npz(tmp_path):
    np.savez(tmp_path / "reference.npz", x=np.arange(3))
    refused(tmp_path / "reference.npz", r"no item named 'format\.npy'")


def test_a_later_format(path):
    np.savez(path, **{**stored(path), "format": FORMAT + 1})
    refused(path, rf"in format {FORMAT + 1}, but this software reads formats up to {FORMAT}")


def test_pickled_objects_are_never_loaded(path):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("a pickle was loaded",)

    arrays = stored(path)
    for name in ("projection_mean", "labels"):
        np.savez(path, **{**arrays, name: np.array([Trap()] * len(arrays[name]), object)})
        with pytest.raises(ModelStoreError, match="allow_pickle=False"):
            load_reference(path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("labels", lambda array: array[:-1], "a label for each text"),
        ("labels", lambda array: array + CLASSES, "from 0 to the last class"),
        ("labels", lambda array: array.astype(np.float32), "labels: expected 1 axes of int64"),
        ("logits", lambda array: array[:, 0], "logits: expected 2 axes of float32"),
        ("logits", lambda array: array.astype(np.float64), "found shape .* of float64"),
        ("logits", lambda array: array * np.nan, "finite"),
        ("lengths", lambda array: array[:-1], "the same number of rows"),
        ("lengths", lambda array: array.astype(str), "lengths: expected"),
        ("word_ids", lambda array: array[:-1], "expected ascending offsets"),
        ("word_counts", lambda array: array * 0, "counts from 1"),
        ("word_counts_a_text", lambda array: array[:-1], "expected ascending offsets"),
        ("embeddings", lambda array: array[:, :-1], "directions of the projection"),
        ("projection_mean", lambda array: array[:-1], r"a mean \[width\]"),
        ("projection_components", lambda array: array[:0], r"components \[directions, width\]"),
        ("n_all", lambda _: np.array(3), "n_all = 3 texts"),
        ("n_all", lambda _: np.array([100, 100]), "n_all: expected 0 axes"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_arrays_that_do_not_fit(path, name, change, message):
    arrays = stored(path)
    np.savez(path, **{**arrays, name: change(arrays[name])})
    with pytest.raises(ModelStoreError, match=message):
        load_reference(path)


@pytest.mark.parametrize("name", ["n_all", "lengths", "word_ids", "labels", "predicted", "projection_components"])
def test_arrays_that_are_missing(path, name):
    keep_only(path, stored(path).keys() - {name})
    with pytest.raises(ModelStoreError, match=f"no item named '{name}.npy'"):
        load_reference(path)


def replace_labels(path, shape, content):
    """An array of bytes that says to be of that shape, and has this content."""
    keep_only(path, stored(path).keys() - {"labels"})
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("labels.npy", header.getvalue() + content)


def test_an_array_beyond_all_bounds_is_not_unpacked(path):
    replace_labels(path, (2**28,), bytes(2**28))
    assert path.stat().st_size < 2**21
    with pytest.raises(ModelStoreError, match="labels is larger than"):
        load_reference(path)


def test_a_header_that_promises_more_than_there_is(path):
    replace_labels(path, (2**60,), b"")
    with pytest.raises(ModelStoreError, match="expected the reference of a version"):
        load_reference(path)


def test_a_file_that_is_cut_anywhere_is_refused(path):
    whole = path.read_bytes()
    for size in np.linspace(0, len(whole) - 1, 60, dtype=int):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelStoreError, match="expected the reference of a version"):
            load_reference(path)


def test_a_byte_that_is_changed_anywhere_is_refused_or_harmless(reference, path):
    """Of the archive's own bytes some are never read (times, flags of a system): then the content is the same."""
    whole = path.read_bytes()
    refusals = 0
    random = np.random.default_rng(0)
    for position in random.permutation(len(whole))[:200]:
        damaged = bytearray(whole)
        damaged[position] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        try:
            loaded = load_reference(path)
        except ModelStoreError:
            refusals += 1
        else:
            assert_same(loaded, reference)
    assert refusals > 100


# --- of a cascade


@pytest.fixture(scope="module")
def of_cascade(reference):
    random = np.random.default_rng(5)
    features = dataclasses.replace(
        reference.features,
        stages=random.integers(1, 3, N),
        disagreements=random.integers(0, 2, N).astype(np.float32),
    )
    alone = EncoderOnlyOutputs(random.normal(size=(N, CLASSES)).astype(np.float32), random.integers(0, CLASSES, N))
    return dataclasses.replace(reference, features=features, alone=alone)


def test_both_stages_of_a_cascade_are_kept(of_cascade, tmp_path):
    save_reference(of_cascade, tmp_path / "reference.npz")
    again = load_reference(tmp_path / "reference.npz")
    for name in ("stages", "disagreements"):
        np.testing.assert_array_equal(getattr(again.features, name), getattr(of_cascade.features, name))
        assert getattr(again.features, name).dtype == getattr(of_cascade.features, name).dtype
    np.testing.assert_array_equal(again.alone.logits, of_cascade.alone.logits)
    np.testing.assert_array_equal(again.without_cascade.features.predicted, of_cascade.alone.predicted)


def test_a_reference_of_before_there_were_cascades_is_read(path):
    np.savez(path, **{**stored(path), "format": 1})
    again = load_reference(path)
    assert (again.features.stages, again.features.disagreements, again.alone) == (None, None, None)


@pytest.mark.parametrize(
    ("columns", "alone", "message"),
    [
        ({"disagreements": None}, None, "both stages of a cascade at all texts, or at none"),
        ({"stages": None, "disagreements": None}, "kept", "outputs of the encoder alone for every text of a cascade"),
        (
            {},
            EncoderOnlyOutputs(np.zeros((N, CLASSES + 1), np.float32), np.zeros(N, np.int64)),
            "outputs of the encoder alone",
        ),
        (
            {},
            EncoderOnlyOutputs(np.zeros((N, CLASSES), np.float32), np.zeros(1, np.int64)),
            "outputs of the encoder alone",
        ),
        ({"disagreements": np.full(N, np.nan, np.float32)}, None, "finite numbers"),
    ],
)
def test_stages_that_do_not_fit_are_refused(of_cascade, columns, alone, message):
    features = dataclasses.replace(of_cascade.features, **columns)
    with pytest.raises(InputError, match=message):
        dataclasses.replace(of_cascade, features=features, alone=of_cascade.alone if alone == "kept" else alone)
