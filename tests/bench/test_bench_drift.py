"""The drift benchmark: texts, resamples, continuing a killed run, tables and plot."""

import io
import json
import os
import random
import tarfile
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from drift_samples import texts as sample
from labelled_sets import write_set
from no_comparison import prepared, result_of
from tiny_engine import tiny_reviews, write_version

from bench.drift.detection import main, wanted_resamples
from bench.drift.features import read_scored, scored
from bench.drift.plot import write_plot
from bench.drift.resamples import Resample, fingerprint, read_results, run_missing
from bench.drift.scenarios import CLASS_MIX, FALSE_ALARMS, POWER, SCENARIOS, Pool, class_mix, compared, rng_of
from bench.drift.tables import (
    Rate,
    class_mix_table,
    false_alarm_table,
    is_alarm,
    is_significant,
    max_by_chance,
    power_table,
)
from bench.drift.texts import CUT, FILMS, PRODUCTS, SOURCES, TRAINED, TYPOS, LabelledTexts, cut, texts_of, with_typos
from bench.errors import BenchError
from textclf.config import DriftOptions
from textclf.runtime.loading import load_predictor


def chance(seed):
    return random.Random(seed)  # noqa: S311


LONG = (
    "The  film was great,\nand 7 of its 10 actors — all unknown — deserve better than O.K. scripts like this one! " * 5
)


def write_data(root, films=320, trained=60, products=130):
    """A folder as --data-dir takes it, of tiny texts."""
    root.mkdir()
    with tarfile.open(root / "aclImdb_v1.tar.gz", "w:gz") as tar:
        for part, count, seed in (("test", films, 0), ("train", trained, 1)):
            for at, (text, label) in enumerate(tiny_reviews(count, seed)):
                member = tarfile.TarInfo(f"aclImdb/{part}/{('neg', 'pos')[label]}/{at}_1.txt")
                member.size = len(text.encode())
                tar.addfile(member, io.BytesIO(text.encode()))
    reviews = tiny_reviews(products, seed=2, of_films=False)
    write_set(root / "amazon_multidomain", reviews[:-30], reviews[-30:], ("0", "1"))
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def pools():
    """500 films, of which the other forms are copies, and as many products on other topics."""
    rng = np.random.default_rng(0)
    films, products = sample(500, rng), sample(500, rng, topic=1.0)
    labels = np.array(["neg", "pos"] * 250)
    return {source: Pool(products if source == PRODUCTS else films, labels) for source in SOURCES}


def test_typos_are_in_a_tenth_of_the_words_and_always_the_same():
    changed = with_typos(LONG, 0.1, chance("0 1"))
    assert changed == with_typos(LONG, 0.1, chance("0 1")) != with_typos(LONG, 0.1, chance("0 2"))
    before, after = LONG.split(" "), changed.split(" ")
    assert len(before) == len(after)
    words = LONG.split()
    differing = [(one, other) for one, other in zip(words, changed.split(), strict=True) if one != other]
    assert len(differing) == round(0.1 * len(words))
    assert all(any(map(str.isalpha, word)) for word, _ in differing)
    assert all(abs(len(one) - len(other)) <= 1 for one, other in differing)


def test_every_kind_of_typo_comes_and_each_changes_its_word():
    kinds = set()
    for seed in range(200):
        for word in ("ab", "a", "aa", "AA", "x1"):
            typo = with_typos(word, 1.0, chance(seed))
            assert typo != word
            assert typo
            kinds.add((word, typo))
    assert {("ab", "ba"), ("ab", "a"), ("ab", "aab"), ("aa", "a"), ("x1", "xx1")} <= kinds
    assert any(word == "AA" and typo.isupper() and len(typo) == 2 for word, typo in kinds)
    assert with_typos("10 7 ...", 1.0, chance(0)) == "10 7 ..."
    assert with_typos("", 1.0, chance(0)) == ""


def test_cut_keeps_the_first_quarter_of_the_words():
    assert cut("  one two  three four five six seven eight", 0.25) == "  one two"
    assert cut("one two", 0.25) == "one"
    assert cut(" ", 0.25) == " "


def test_texts_of_each_source(data):
    texts = {source: texts_of(source, data) for source in SOURCES}
    films = texts[FILMS]
    assert len(set(films.texts)) == len(films) == 320
    assert films.labels == ["neg"] * 160 + ["pos"] * 160
    assert [len(text.split()) for text in texts[CUT].texts] == [
        max(1, round(0.25 * len(text.split()))) for text in films.texts
    ]
    assert texts[TYPOS].labels == texts[CUT].labels == films.labels
    assert sum(one != other for one, other in zip(texts[TYPOS].texts, films.texts, strict=True)) > 300
    assert len(texts[PRODUCTS]) == 130
    assert len(texts[TRAINED]) == 60
    assert not set(texts[TRAINED].texts) & set(films.texts)


def test_films_in_a_folder_are_read_without_repeats(tmp_path):
    for name, text in (("neg/1.txt", "dull"), ("neg/2.txt", "dull"), ("pos/1.txt", "great")):
        path = tmp_path / "aclImdb" / "test" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert texts_of(FILMS, tmp_path) == LabelledTexts(["dull", "great"], ["neg", "pos"])


def test_missing_and_damaged_films_are_named(tmp_path):
    with pytest.raises(BenchError, match=r"aclImdb_v1\.tar\.gz or the folder aclImdb, found neither"):
        texts_of(FILMS, tmp_path)
    archive = tmp_path / "aclImdb_v1.tar.gz"
    archive.write_bytes(b"no archive")
    with pytest.raises(BenchError, match=str(archive)):
        texts_of(FILMS, tmp_path)
    with tarfile.open(archive, "w:gz"):
        pass
    with pytest.raises(BenchError, match="found none"):
        texts_of(FILMS, tmp_path)


def test_scored_texts_are_kept_until_the_texts_change(tmp_path):
    predictor = load_predictor(write_version(tmp_path / "store", reference_texts=[]))
    texts, cache = LabelledTexts(["a great film", "dull"], ["pos", "neg"]), tmp_path / "films.npz"
    first = scored(texts, predictor, cache)
    assert first.pooled.shape == (2, 32)
    assert first.labels.tolist() == ["pos", "neg"]
    written = cache.stat().st_mtime_ns
    again = scored(texts, predictor, cache)
    assert cache.stat().st_mtime_ns == written
    np.testing.assert_array_equal(again.features.logits, first.features.logits)
    np.testing.assert_array_equal(again.pooled, first.pooled)
    assert again.features.words.ids.tolist() == first.features.words.ids.tolist()
    other = scored(LabelledTexts(["a great film", "fine"], ["pos", "neg"]), predictor, cache)
    assert other.made_of != first.made_of
    assert read_scored(cache).made_of == other.made_of
    cache.write_bytes(cache.read_bytes()[:-200])
    with pytest.raises(BenchError, match=str(cache)):
        read_scored(cache)
    assert scored(texts, predictor, cache).made_of == first.made_of


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_reference_and_window_are_disjoint_and_of_the_right_size(pools, scenario):
    drawn = scenario.draw(pools, 150, 100, np.random.default_rng(0))
    assert len(set(drawn.reference.tolist())) == 150
    assert len(set(drawn.window.tolist())) == 100
    assert drawn.source == PRODUCTS or not set(drawn.reference.tolist()) & set(drawn.window.tolist())
    with pytest.raises(BenchError, match="expected"):
        scenario.draw(pools, 450, 600, np.random.default_rng(0))


def test_a_class_mix_is_drawn_by_the_labels(pools):
    shares = []
    for seed in range(30):
        drawn = class_mix(0.8)(pools, 100, 200, np.random.default_rng(seed))
        labels = pools[FILMS].labels
        assert np.mean(labels[drawn.reference] == "pos") == 0.5
        shares.append(np.mean(labels[drawn.window] == "pos"))
    assert np.mean(shares) == pytest.approx(0.8, abs=0.03)
    assert len(set(shares)) > 5  # A stream of texts, not a quota.


def test_a_resample_does_not_depend_on_what_ran_before(pools):
    options = DriftOptions()
    alone = compared(Resample("films -> products", 100, 3), pools, options, seed=1, reference=150)
    compared(Resample("films -> films", 100, 0), pools, options, seed=1, reference=150)
    again = compared(Resample("films -> products", 100, 3), pools, options, seed=1, reference=150)
    for figures in (alone, again):
        for family in figures["families"].values():
            assert family.pop("seconds") > 0
    assert json.loads(json.dumps(alone)) == again
    assert is_alarm(alone, 0.01)
    draws = {rng_of(Resample(*which), seed).integers(2**62) for which, seed in (
        (("films -> films", 200, 0), 0), (("films -> films", 200, 1), 0), (("films -> films", 2000, 1), 0),
        (("films -> products", 200, 0), 0), (("films -> films", 200, 0), 1),
    )}  # fmt: skip
    assert len(draws) == 5


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    path = tmp_path / "figures.jsonl"
    wanted = [Resample("films -> films", 200, number) for number in range(4)]
    kept = [{**resample._asdict(), "families": {}, "fresh": False} for resample in wanted[:2]]
    torn = json.dumps(result_of(wanted[2]))[:-9]
    path.write_text("".join(json.dumps(each) + "\n" for each in kept) + torn, encoding="utf-8")
    said = []
    found = run_missing(wanted, path, prepared, jobs=2, say=said.append)
    assert list(found) == wanted
    assert [each["fresh"] for each in found.values()] == [False, False, True, True]
    assert said == [said[0]]
    assert said[0].startswith("2 of 2 resamples")
    assert read_results(path) == found
    before = path.read_bytes()
    assert run_missing(wanted[:3], path, prepared, jobs=2) == {key: found[key] for key in wanted[:3]}
    assert path.read_bytes() == before


def never_prepared():
    raise ValueError("no texts here")


def test_processes_that_can_not_be_prepared_end_the_run(tmp_path):
    with pytest.raises(BenchError, match="a process that compares has ended"):
        run_missing([Resample("films -> films", 200, 0)], tmp_path / "figures.jsonl", never_prepared, jobs=1)


@pytest.mark.bench
def test_fingerprint_changes_with_the_settings():
    assert fingerprint("a", 1) == fingerprint("a", 1) != fingerprint("a", 2)


def test_a_short_run_is_the_beginning_of_a_long_one():
    power = [scenario for scenario in SCENARIOS if scenario.part == POWER]
    few, many = wanted_resamples(power, [100], 2), wanted_resamples(power, [], None)
    assert len(few) == 8
    assert set(few) < set(many)
    assert len(many) == 4 * 4 * 200
    with pytest.raises(BenchError, match="100, 200, 500, 1000"):
        wanted_resamples(power, [5000], None)


def result(scenario, size, number, adjusted_p, effect):
    """With one family of two tests, of which the second is neither significant nor large."""
    tests = {
        "first": {"p": adjusted_p / 2, "adjusted_p": adjusted_p, "effect": effect, "floor": 0.1},
        "second": {"p": 0.5, "adjusted_p": 1.0, "effect": 0.2, "floor": 0.1},
    }
    key = Resample(scenario, size, number)
    family = {"p": adjusted_p, "adjusted_p": adjusted_p, "seconds": 0.1, "tests": tests}
    return key, {**key._asdict(), "families": {"score": family}}


def results_of(scenario, size, *kinds):
    """`kinds`: count, adjusted p and effect."""
    rows = [pair for count, *pair in kinds for _ in range(count)]
    return dict(result(scenario, size, number, *pair) for number, pair in enumerate(rows))


def rows_of(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_an_alarm_needs_one_test_that_is_significant_and_large():
    _, large = result("films -> films", 200, 0, 0.02, 0.3)
    _, small = result("films -> films", 200, 0, 0.02, 0.1)
    assert is_significant(large, 0.05)
    assert is_alarm(large, 0.05)
    assert not is_significant(large, 0.01)
    assert not is_alarm(large, 0.01)
    assert is_significant(small, 0.05)
    assert not is_alarm(small, 0.05)


def test_max_by_chance_is_the_binomial_quantile():
    # Binomial(1000, 0.05): P(X <= 61) = 0.949, P(X <= 62) = 0.961.
    assert max_by_chance(0.05, 1000) == 0.062


def test_false_alarms_are_held_against_their_bound():
    scenario = next(each for each in SCENARIOS if each.part == FALSE_ALARMS)
    results = results_of(scenario.name, 200, (80, 0.5, 0.0), (14, 0.03, 0.0), (6, 0.005, 0.2))
    loose, strict = rows_of(false_alarm_table(results, [scenario]))
    assert loose == ["200", "100", "0.05", "0.0600", "0.2000", "0.0900", "NO"]
    assert strict == ["200", "100", "0.01", "0.0600", "0.0600", "0.0300", "NO"]
    results = results_of(scenario.name, 200, (97, 0.5, 0.0), (3, 0.005, 0.0))
    assert [row[-1] for row in rows_of(false_alarm_table(results, [scenario]))] == ["yes", "yes"]


def test_power_is_held_against_what_is_required():
    scenario = next(each for each in SCENARIOS if each.name == "films -> products")
    results = results_of(scenario.name, 100, (19, 0.001, 0.3), (1, 0.5, 0.3))
    results |= results_of(scenario.name, 200, (20, 0.001, 0.3))
    assert rows_of(power_table(results, [scenario])) == [["films -> products", "0.950 of 0.95", "1.000 of 0.99", "yes"]]
    results |= results_of(scenario.name, 500, (199, 0.001, 0.3), (1, 0.001, 0.05))
    assert rows_of(power_table(results, [scenario]))[0][-2:] == ["0.995 of 1", "NO"]


def test_a_small_class_mix_is_called_negligible():
    scenario = next(each for each in SCENARIOS if each.part == CLASS_MIX)
    results = results_of(scenario.name, 5000, (60, 0.5, 0.0), (39, 0.001, 0.05), (1, 0.001, 0.2))
    strict = rows_of(class_mix_table(results, [scenario]))[1]
    assert strict[2:] == ["100", "0.01", "0.0100", "0.4000", "39 of 40", "yes"]


def test_intervals_of_rates():
    assert Rate(0, 10).interval == pytest.approx((0.0, 0.2775), abs=1e-4)  # Wilson's formula by hand.
    assert Rate(1, 4).value == 0.25


def test_plot_without_resamples_is_empty(tmp_path):
    write_plot({}, SCENARIOS, tmp_path / "none.png")
    results = results_of("films -> films", 200, (9, 0.5, 0.0), (1, 0.001, 0.2))
    results |= results_of("films -> products", 100, (10, 0.001, 0.3))
    write_plot(results, SCENARIOS, tmp_path / "some.png")
    sizes = [(tmp_path / name).stat().st_size for name in ("none.png", "some.png")]
    assert (tmp_path / "some.png").read_bytes().startswith(b"\x89PNG")
    assert sizes[1] > sizes[0]


@pytest.fixture
def _cores():
    """The benchmark confines its process to some."""
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.bench
@pytest.mark.usefixtures("_cores")
def test_command_on_tiny_texts_reports_power_and_cost(data, tmp_path):
    store, work = tmp_path / "store", tmp_path / "work"
    write_version(store, reference_texts=[])
    options = ["--model-path", str(store), "--data-dir", str(data), "--work-dir", str(work), "--reference", "100"]
    run = partial(CliRunner().invoke, main, catch_exceptions=False)
    chosen = ["--only", "power,cost", "--sizes", "100", "--resamples", "1", "--jobs", "1"]
    cheap = ["--rounds", "1", "--cores", "1", "--mmd-sizes", "50", "--json", str(tmp_path / "cost.json")]
    first = run([*options, *chosen, *cheap])
    assert first.exit_code == 0, first.output
    assert "| films -> products" in first.stdout
    assert "| reading the log" in first.stdout
    assert "| this project, 50 a side" in first.stdout
    (figures,) = work.glob("*/drift-*.jsonl")
    assert len(figures.read_text().splitlines()) == 4
    assert (figures.parent / "drift.png").exists()
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert cost["checks"][0]["all of it"] > cost["checks"][0]["reading the log"] > 0
    assert cost["mmd"]["project"]["50"][0]["seconds"] > 0
    # A second run makes nothing again.
    before = figures.read_bytes()
    again = run([*options, "--only", "power", "--sizes", "100", "--resamples", "1"])
    assert again.exit_code == 0
    assert "scored" not in again.stderr
    assert figures.read_bytes() == before
