"""The benchmarks' arithmetic, and how they choose their texts."""

import collections
import math
import subprocess
import sys

import numpy as np
import pytest

from bench.arithmetic import EncoderShape, load_of, markdown_table, quantile, ratios, roofline, spread, texts_at
from bench.errors import BenchError
from bench.reports import chosen_names, write_json
from bench.serving.engines import Results
from bench.serving.load_generator import Response, Run
from bench.serving.texts import fit, in_even_order, pieces_of_texts, repeated_texts, sample_of_test_texts, short_texts
from bench.serving.to_hugging_face import state_of_variables
from textclf.store.manifest import Manifest


def test_conversions_of_peers_need_no_openvino():
    # bench/requirements.txt, with which they run, does not have it.
    code = "import sys; sys.modules['openvino'] = None; import bench.serving.to_hugging_face, bench.serving.to_onnx"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_load_of_a_run():
    responses = [Response(n, 200, start=0.1 * n, seconds=0.1 * (n + 1), body=b"") for n in range(10)]
    responses.append(Response(10, 429, start=0.0, seconds=0.001, body=b""))
    load = load_of(Run(responses, seconds=1.0, cpu_seconds=0.0011))
    # Answer n is complete at .1 (2 n + 1): five are within the second. The refusal counts nowhere but in the statuses.
    assert load.per_second == 5
    assert load.p50 == pytest.approx(0.55)
    assert load.p99 == pytest.approx(0.991)
    assert load.statuses == {200: 10, 429: 1}
    assert load.client_microseconds == pytest.approx(100)


def test_load_of_a_run_without_a_good_answer():
    load = load_of(Run([Response(0, 503, 0.0, 0.1, b"")], 1.0, 0.0))
    assert load.per_second == 0
    assert math.isnan(load.p50)


def test_pieces_and_repeated_texts():
    def lengths(words):
        return [len(word) for word in words]

    pieces = pieces_of_texts(["aa bb cc ddddddd", "aa bb", "eeeee"], 6, lengths)
    assert pieces == ["aa bb", "cc", "ddddddd", "eeeee"]  # A long word is a piece of its own.
    many = [f"text {n}" for n in range(2000)]
    texts = repeated_texts(many, 50, 0.4)
    assert texts == repeated_texts(many, 50, 0.4)
    counts = collections.Counter(texts)
    often = [text for text, count in counts.items() if count > 1]
    assert len(often) == 50
    assert sum(counts[text] for text in often) / len(texts) == pytest.approx(0.4, abs=0.03)
    assert len(counts) == 2000
    with pytest.raises(BenchError, match="expected more than 50 pieces of texts, found 4"):
        repeated_texts(pieces, 50, 0.4)


def test_quantile_of_known_values():
    assert quantile([4, 1, 3, 2], 0.5) == 2.5
    assert quantile(range(101), 0.99) == 99
    assert math.isnan(quantile([], 0.5))


def test_ratios_are_of_rounds_and_not_of_medians():
    ratio = ratios([30, 10, 40], [10, 5, 10])
    assert (ratio.median, ratio.low, ratio.high) == (3, 2, 4)
    assert spread([1, 9, 2]).median == 2
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


MINILM = EncoderShape(layers=6, width=384, intermediate=1536, classes=2)


def test_flops_of_a_text_by_hand():
    tiny = EncoderShape(layers=1, width=2, intermediate=3, classes=4)
    # Products as [rows, inner, columns], for five tokens: four of the attention's weights, scores and weighted sums,
    # two of the feed-forward part; then the pooler and the classifier on one token.
    products = [(5, 2, 2)] * 4 + [(5, 2, 5), (5, 5, 2)] + [(5, 2, 3), (5, 3, 2)] + [(1, 2, 2), (1, 2, 4)]
    assert tiny.flops(5) == sum(2 * m * k * n for m, k, n in products)
    assert MINILM.flops(128) / 1e9 == pytest.approx(2.87, abs=0.005)


def test_roofline_is_four_times_the_float32_rate():
    assert roofline(200e9, MINILM, 128) == pytest.approx(4 * 200e9 / MINILM.flops(128))
    assert roofline(200e9, MINILM, 128) == pytest.approx(279, abs=1)


def test_the_fastest_product_of_a_round_is_in_any_size_but_not_float32():
    sizes = [(1, 1, 1), (2, 2, 2)]
    rates = {"float32": [[9.0, 9.0]] * 2, "bfloat16": [[1.0, 4.0], [2.0, 3.0]], "int8": [[3.0, 1.0], [1.0, 1.0]]}
    products = {name: dict(zip(sizes, values, strict=True)) for name, values in rates.items()}
    assert Results({}, [9.0, 9.0], products, {}).best_flops() == [3.0, 4.0]
    assert texts_at(MINILM.flops(64) * 7, MINILM, 64) == pytest.approx(7)


def test_markdown_table():
    assert markdown_table(["server", "n"], [["a", "1.5"], ["longer one", "10"]]).split("\n") == [
        "| server     |   n |",
        "| ---------- | --: |",
        "| a          | 1.5 |",
        "| longer one |  10 |",
    ]


def test_chosen_names():
    assert chosen_names("c, a", ["a", "b", "c"], "--x") == ["a", "c"]
    for text in ("", "a,d", ","):
        with pytest.raises(BenchError, match=r"--x: expected some of a, b, c"):
            chosen_names(text, ["a", "b", "c"], "--x")


def test_write_json(tmp_path):
    write_json(tmp_path / "x.json", {"path": tmp_path, "n": 1.5})
    assert f'"path": "{tmp_path}"' in (tmp_path / "x.json").read_text()


def manifest(max_length=16, truncation="head+tail"):
    return Manifest(
        name="m",
        class_names=("neg", "pos"),
        encoder=dict.fromkeys(("model_name", "name_to_handle", "model_to_handle"), "minilm-l6"),
        max_length=max_length,
        truncation=truncation,
        head_fraction=0.25,
        lower_case=True,
    )


def letters(words):
    """A wordpiece a letter."""
    return [len(word) for word in words]


def test_a_text_that_fits_stays_as_it_is():
    assert fit("a  b\nc ", manifest(), letters) == "a  b\nc "


def test_a_long_text_keeps_the_beginning_and_end_that_the_model_reads():
    # 16 wordpieces less two special ones and the margin of four are ten: two for the beginning, eight for the end.
    assert fit("a b cc dd ee ff g hh i", manifest(), letters) == "a b ee ff g hh i"
    assert fit("aaa b cc dd ee ff g hh i", manifest(), letters) == "ee ff g hh i"
    assert fit("a b cc dd ee ff g hh i", manifest(truncation="head"), letters) == "a b cc dd ee ff"


def test_no_word_is_taken_twice():
    assert fit("a b cc dd eeee i", manifest(), letters) == "a b dd eeee i"  # Eleven wordpieces, one too many.


def test_short_texts_have_exactly_the_wanted_length():
    found = short_texts(["a bb ccc", "aaa bbb", "aa b ccc", "a bb x", "aa b other"], 5, 10, letters)
    assert found == ["a bb", "aaa", "aa b"]
    assert short_texts(["a bb ccc", "aa b ccc"], 5, 1, letters) == ["a bb"]
    with pytest.raises(BenchError, match="begins with 5 wordpieces"):
        short_texts(["aaaa"], 5, 1, letters)


def test_any_beginning_has_the_lengths_of_the_whole():
    rng = np.random.default_rng(0)
    texts = ["x" * size for size in rng.integers(1, 1000, 400)]
    ordered = in_even_order(texts)
    assert sorted(ordered) == sorted(texts)
    mean = np.mean([len(text) for text in texts])
    for beginning in (20, 50, 133, 250):
        assert np.mean([len(text) for text in ordered[:beginning]]) == pytest.approx(mean, rel=0.06)


def test_test_texts_are_sampled_from_the_test_part(tmp_path):
    for part, name, count in (("train", "neg", 3), ("train", "pos", 3), ("test", "neg", 4), ("test", "pos", 5)):
        folder = tmp_path / part / name
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.txt").write_text(f"{part} {name} {number}")
    texts = sample_of_test_texts(tmp_path, manifest(), 9)
    assert sorted(text.text for text in texts) == sorted(
        [f"test neg {n}" for n in range(4)] + [f"test pos {n}" for n in range(5)]
    )
    assert all(text.label == text.text.split()[1] for text in texts)
    assert sample_of_test_texts(tmp_path, manifest(), 3) == sample_of_test_texts(tmp_path, manifest(), 3)
    with pytest.raises(BenchError, match="expected 10 test texts, found 9"):
        sample_of_test_texts(tmp_path, manifest(), 10)


def test_variables_become_pytorch_weights():
    rng = np.random.default_rng(0)
    layer = "transformer/layer_3/"
    query, output = rng.random((6, 2, 3), np.float32), rng.random((2, 3, 6), np.float32)
    state = state_of_variables(
        {
            "word_embeddings/embeddings": rng.random((9, 6), np.float32),
            f"{layer}self_attention/query/kernel": query,
            f"{layer}self_attention/query/bias": rng.random((2, 3), np.float32),
            f"{layer}self_attention/attention_output/kernel": output,
            f"{layer}output_layer_norm/gamma": np.ones(6, np.float32),
            "classifier/kernel": np.ones((6, 4), np.float32),
        }
    )
    prefix = "bert.encoder.layer.3."
    x = rng.random((5, 6), np.float32)
    # The same product as TensorFlow's, in PyTorch's layout: x Wᵀ.
    expected = np.einsum("sw,whd->shd", x, query).reshape(5, 6)
    np.testing.assert_allclose(x @ state[f"{prefix}attention.self.query.weight"].T, expected, rtol=1e-5)
    expected = np.einsum("shd,hdw->sw", x.reshape(5, 2, 3), output)
    np.testing.assert_allclose(x @ state[f"{prefix}attention.output.dense.weight"].T, expected, rtol=1e-5)
    assert state[f"{prefix}attention.self.query.bias"].shape == (6,)
    assert state[f"{prefix}output.LayerNorm.weight"].shape == (6,)
    assert state["bert.embeddings.word_embeddings.weight"].shape == (9, 6)
    assert state["classifier.weight"].shape == (4, 6)
    with pytest.raises(BenchError, match="found lstm/kernel"):
        state_of_variables({"lstm/kernel": query})
