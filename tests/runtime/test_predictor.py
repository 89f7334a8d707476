"""The predictor with backends small enough to compute by hand."""

import time
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from word_backend import WordBackend

from textclf.errors import ConfigError, InputError, ModelStoreError, TextClfError
from textclf.runtime.backend import TEXTS_PER_BATCH, ModelOutputs, Timings
from textclf.runtime.batching import batches_by_length, groups_by_size
from textclf.runtime.encoder_speed import EncoderSpeed
from textclf.runtime.predictor import Predictor
from textclf.stats.calibration import decide


def make(class_names=("neg", "pos"), counts=True, embeddings=False, **arguments):
    backend = WordBackend(class_names, counts, arguments.get("max_wordpieces"), embeddings)
    return Predictor(backend, class_names, **arguments)


def test_two_classes_score_is_the_second_class():
    negative, positive = make().predict(["neg neg", "a pos"])
    assert (negative.label, positive.label) == ("neg", "pos")
    assert negative.score == pytest.approx(1 / (1 + np.exp(2)), abs=1e-12)
    assert positive.score == positive.probabilities["pos"] == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-12)
    assert list(positive.probabilities) == ["neg", "pos"]
    assert sum(positive.probabilities.values()) == pytest.approx(1, abs=1e-12)
    assert positive.text == "a pos"


def test_more_classes_score_is_the_label():
    (prediction,) = make(("abc", "def", "ghi")).predict(["ghi def ghi"])
    assert prediction.label == "ghi"
    assert prediction.score == prediction.probabilities["ghi"] == max(prediction.probabilities.values())
    assert prediction.score == pytest.approx(np.exp(2) / (1 + np.e + np.exp(2)), abs=1e-12)


def test_temperature_softens_and_keeps_the_order():
    sharp, soft = (make(temperature=value).predict_batch(["pos pos"]) for value in (1.0, 2.0))
    assert soft.predictions[0].score == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-12)
    assert soft.predictions[0].score < sharp.predictions[0].score
    assert soft.outputs.logits.tolist() == sharp.outputs.logits.tolist()


def test_threshold_belongs_to_the_second_class():
    assert make(threshold=0.5).predict(["neither"])[0].label == "pos"
    assert make(threshold=0.500001).predict(["neither"])[0].label == "neg"
    assert make(threshold=0.0).predict(["neg neg neg"])[0].label == "pos"


def test_threshold_is_ignored_for_more_classes():
    assert make(("abc", "def", "ghi"), threshold=0.99).predict(["def"])[0].label == "def"


def test_decide_takes_the_first_of_equals():
    assert decide(np.array([[0.2, 0.4, 0.4]]), 0.5).tolist() == [1]


def test_truncated_compares_counts_with_max_wordpieces():
    fits, cut = make(max_wordpieces=5).predict(["a b c", "a b c d"])
    assert (fits.truncated, cut.truncated) == (False, True)
    assert (fits.tokens, cut.tokens) == (5, 6)


@pytest.mark.parametrize("arguments", [{"counts": False, "max_wordpieces": 5}, {"max_wordpieces": None}])
def test_truncated_is_none_where_it_cannot_be_known(arguments):
    (prediction,) = make(**arguments).predict(["a b c d e f"])
    assert prediction.truncated is None
    assert prediction.tokens == (8 if arguments.get("counts", True) else None)


@pytest.mark.parametrize("counts", [True, False])
def test_order_of_the_input_is_kept_and_batches_are_by_length(counts):
    predictor = make(counts=counts, tokens_per_batch=40)
    texts = [" ".join(["word"] * (index * 7 % 23) + ["pos"] * (index % 5)) for index in range(60)]
    batch = predictor.predict_batch(texts)
    assert [prediction.text for prediction in batch.predictions] == texts
    assert batch.outputs.logits[:, 1].tolist() == [index % 5 for index in range(60)]
    batches = predictor.backend.batches
    assert sorted(text for batch in batches for text in batch) == sorted(texts)
    lengths = [len(text) if not counts else len(text.split()) for batch in batches for text in batch]
    assert [length // 4 if not counts else length for length in lengths] == sorted(
        (length // 4 if not counts else length for length in lengths), reverse=True
    )


def test_batches_stay_within_the_token_budget_and_the_text_cap():
    lengths = np.array([3, 90, 10, 10, 50, 2, 2, 2, 2, 200])
    batches = [batch.tolist() for batch in batches_by_length(lengths, 100, texts_per_batch=4)]
    assert batches == [[9], [1], [4, 2], [3, 0, 5, 6], [7, 8]]
    assert list(batches_by_length(np.array([], np.int64), 100)) == []


@pytest.mark.parametrize("budget", [1, 37, 128, 1000, 4096])
def test_sizes_of_batches_are_powers_of_two_as_large_as_they_may_be(budget):
    lengths = np.random.default_rng(budget).integers(1, 130, 333)
    batches = list(batches_by_length(lengths, budget))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    left = len(lengths)
    for batch in batches:
        assert lengths[batch[0]] == max(lengths[batch])
        most = max(1, min(TEXTS_PER_BATCH, budget // lengths[batch[0]], left))
        assert len(batch) <= most < 2 * len(batch)
        assert len(batch).bit_count() == 1
        left -= len(batch)
    lasts = [lengths[batch[-1]] for batch in batches]
    firsts = [lengths[batch[0]] for batch in batches]
    assert all(later <= earlier for earlier, later in zip(lasts, firsts[1:], strict=False))


def test_a_length_of_zero_costs_a_token():
    assert [len(batch) for batch in batches_by_length(np.zeros(3, np.int64), 2)] == [2, 1]


def test_lengths_beyond_max_wordpieces_cost_no_more_than_it():
    predictor = make(max_wordpieces=10, tokens_per_batch=20)
    predictor.predict(["word " * 500, "word " * 900])
    assert [len(batch) for batch in predictor.backend.batches] == [2]


def test_no_texts_give_no_predictions_and_no_work():
    predictor, timings = make(), Timings()
    assert predictor.predict_batch([], timings).predictions == predictor.predict([]) == []
    assert predictor.backend.batches == []
    assert (timings.queue, timings.infer) == (0, 0)


def test_predict_batch_has_the_predictions_and_what_they_come_from():
    predictor = make(embeddings=True, tokens_per_batch=8, max_wordpieces=4)
    texts = ["neg word word word", "pos", "neg neg"]
    answer = predictor.predict_batch(texts)
    assert answer.predictions == predictor.predict(texts)
    assert answer.predicted.tolist() == [0, 1, 0]
    assert answer.predicted.dtype == np.int64
    assert answer.encoded.inputs == texts
    assert answer.encoded.token_counts.tolist() == [6, 3, 4]
    assert answer.outputs.logits.tolist() == [[1, 0], [0, 1], [2, 0]]
    assert answer.outputs.embeddings.tolist() == [[4, 18], [1, 3], [2, 7]]


def test_predict_batch_decides_by_the_threshold():
    assert make(threshold=0.9).predict_batch(["pos", "pos pos pos"]).predicted.tolist() == [0, 1]


def test_logits_and_embeddings_are_in_the_order_of_the_texts():
    predictor = make(embeddings=True, tokens_per_batch=40)
    texts = [" ".join(["word"] * (index * 7 % 23) + ["pos"] * (index % 5)) for index in range(60)]
    outputs = predictor.run(predictor.encode(texts))
    assert len(predictor.backend.batches) > 20
    assert outputs.logits.dtype == outputs.embeddings.dtype == np.float32
    assert outputs.logits.tolist() == [[0, index % 5] for index in range(60)]
    assert outputs.embeddings.tolist() == [[len(text.split()), len(text)] for text in texts]


def test_a_backend_may_have_no_embeddings():
    predictor = make()
    outputs = predictor.run(predictor.encode(["pos", "neg"]))
    assert outputs.embeddings is None
    assert outputs.logits.tolist() == [[0, 1], [1, 0]]


def test_timings_add_up_over_batches_and_calls():
    predictor, timings = make(tokens_per_batch=3), Timings()
    predictor.predict_batch(["pos", "neg"], timings)
    # Two batches; what each takes is the backend's to say.
    assert (timings.queue, timings.infer) == (4, 6)
    first = timings.tokenise
    assert 0 < first < 1
    predictor.predict_batch(["pos"], timings)
    assert (timings.queue, timings.infer) == (6, 9)
    assert first < timings.tokenise < 1


def test_only_tokenising_is_timed_as_such():
    class Slow(WordBackend):
        def encode(self, texts, max_chars=None):
            time.sleep(0.05)
            return super().encode(texts, max_chars)

    timings = Timings()
    Predictor(Slow(("neg", "pos")), ("neg", "pos")).predict_batch(["pos"], timings)
    assert 0.05 <= timings.tokenise < 2
    assert (timings.queue, timings.infer) == (2, 3)


def test_warm_up_is_for_the_budget_of_the_predictor():
    predictor = make(tokens_per_batch=123)
    predictor.warm_up()
    assert predictor.backend.warmed == [123]
    assert predictor.backend.batches == []


@pytest.mark.parametrize(
    ("arguments", "full_name"),
    [
        ({}, ""),
        ({"name": "reviews"}, "reviews"),
        ({"name": "reviews", "version_id": "20260101T000000000Z-0a1b2c"}, "reviews 20260101T000000000Z-0a1b2c"),
    ],
)
def test_the_full_name_is_name_and_version(arguments, full_name):
    predictor = make(**arguments)
    assert predictor.full_name == full_name
    assert predictor.version_id == arguments.get("version_id", "")


@pytest.mark.parametrize("text", ["", " ", "\x00", "e\u0301 😀 中文", "x" * 100_000])
def test_any_well_formed_text_is_scored(text):
    assert make().predict([text])[0].text == text


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["fine", 3], r"text 1 .*expected a str, got int"),
        (["fine", "fine", None], r"text 2 .*got NoneType"),
        ([b"bytes"], r"text 0 .*got bytes"),
        (["ok", "half \ud83d of one"], r"text 1 .*lone surrogate '\\ud83d' at character 5"),
        ("one text", r"expected a list of texts, got str"),
        (None, r"got NoneType"),
        ({"text": "x"}, r"got dict"),
    ],
)
def test_bad_texts_are_named(texts, message):
    predictor = make()
    with pytest.raises(InputError, match=message):
        predictor.predict(texts)
    assert predictor.backend.batches == []


def test_a_tuple_of_texts_is_a_list():
    assert [prediction.label for prediction in make().predict(("pos", "neg"))] == ["pos", "neg"]


def test_a_prediction_does_not_change():
    (prediction,) = make().predict(["pos"])
    with pytest.raises(FrozenInstanceError):
        prediction.label = "neg"


@pytest.mark.parametrize(
    "arguments",
    [
        {"class_names": ("only",)},
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"threshold": 1.5},
        {"tokens_per_batch": 0},
    ],
)
def test_senseless_numbers_are_refused(arguments):
    with pytest.raises(ConfigError):
        make(**arguments)


def test_a_model_with_another_number_of_classes_is_refused():
    predictor = Predictor(WordBackend(("a", "b", "c")), ("neg", "pos"), name="reviews v1")
    with pytest.raises(ModelStoreError, match=r"reviews v1: expected logits of shape \[1, 2\].*got \[1, 3\]"):
        predictor.predict(["text"])


def test_logits_that_are_no_numbers_are_refused():
    class Broken(WordBackend):
        def run(self, inputs, timings):
            return ModelOutputs(np.full((len(inputs), 2), np.nan, np.float32))

    with pytest.raises(TextClfError, match="not finite"):
        Predictor(Broken(("neg", "pos")), ("neg", "pos")).predict(["text"])


def test_texts_are_read_in_groups():
    texts = ["pos " * 3000, "neg " * 8000, "pos " * 300, "neg neg"]
    predictor = make()
    counts = []
    read = predictor.read(texts, on_group=counts.append)
    assert counts == [3002, 8002, 306]
    assert read.encoder_tokens.tolist() == [3002, 8002, 302, 4]
    assert predictor.score(read).predictions == predictor.predict(texts)


def test_groups_are_of_consecutive_texts_and_bounded():
    assert [(group.start, group.stop) for group in groups_by_size(["aa", "aaa", "aaaa", "aaaaa", "", "a"], 5)] == [
        (0, 2), (2, 3), (3, 5), (5, 6)
    ]  # fmt: skip
    assert list(groups_by_size([])) == [slice(0, 0)]


def test_a_call_between_batches_can_end_the_computation():
    predictor = make(tokens_per_batch=8)
    done = []

    def stop(tokens):
        done.append(tokens)
        if len(done) == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        predictor.score(predictor.read(["pos"] * 8), on_batch=stop)
    assert done == [6, 6]
    assert len(predictor.backend.batches) == 2


def test_nothing_is_called_for_a_single_batch():
    predictor = make()
    predictor.score(predictor.read(["pos", "neg"]), on_batch=lambda _: pytest.fail("called"))


def test_speed_follows_the_batches_and_one_outlier_moves_it_little():
    speed = EncoderSpeed()
    speed.observe(8, 100.0)
    assert (speed.current, speed.best) == (0, 0)  # A small batch shows nothing.
    speed.observe(100, 1.0)
    assert (speed.current, speed.best) == (0.01, 0.01)
    speed.observe(100, 1000.0)
    assert speed.current == pytest.approx(0.0115)
    for _ in range(200):
        speed.observe(100, 2.0)
    assert speed.current == pytest.approx(0.02, rel=0.01)
    assert 0.01 <= speed.best < 0.0125
    speed.observe(100, 0.5)
    assert speed.best == 0.005
