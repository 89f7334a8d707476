"""Old and new texts combined: each rule removes what it says and nothing else; sides are for ever."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from labelled_texts import CLASSES, prose, reviews, split, texts_on_side, with_last_words
from tiny_bert import vocabulary

from textclf.data.content_hash import content_digest, is_held_out
from textclf.data.labelled_reviews import LabelledReview, fingerprint_of
from textclf.data.near_duplicates import Shingles, jaccard
from textclf.labels import OTHER_LABEL
from textclf.retraining.combining import combine
from textclf.retraining.removals import Reason
from textclf.retraining.sources import SMALL_SOURCES
from textclf.retraining_options import CombineOptions
from textclf.tokenization.text_key import TextKeys, text_key
from textclf.tokenization.tokenizer import Tokenizer

OLD = [prose(100_000 + i) for i in range(1000)]
TEST_SET = split([prose(200_000 + i) for i in range(50)], [i % 2 for i in range(50)])
TRAIN_SIDE = texts_on_side(False, 300, 0)
HELD_SIDE = texts_on_side(True, 120, 0)


def old_data(texts=OLD, positive=0.5):
    """Only what combine reads of a Dataset."""
    labels = [int(i < len(texts) * positive) for i in range(len(texts))]
    third = len(texts) // 3
    parts = [split(texts[a:b], labels[a:b]) for a, b in ((0, third), (third, 2 * third), (2 * third, None))]
    return SimpleNamespace(
        class_names=CLASSES, train=parts[0], validation_select=parts[1], validation_calibrate=parts[2], test=TEST_SET
    )


def run(new, champion=None, old=None, trained_until=None, **options):
    champion = [review.label for review in new] if champion is None else champion
    options = CombineOptions(**options)
    old = old or old_data()
    return combine(old, new, TEST_SET, champion, options, trained_until=trained_until)


def why(combined):
    return {removed.review.text: removed.reason for removed in combined.removed}


def train_side(combined):
    return set(combined.train.texts)


def test_both_sides_and_the_old_texts():
    new = reviews(TRAIN_SIDE[:60]) + reviews(TRAIN_SIDE[60:100], "neg") + reviews(HELD_SIDE[:20], "neg")
    combined = run(new)
    assert combined.class_names == CLASSES
    assert combined.train.texts[:1000] == tuple(OLD)
    assert combined.train.labels.dtype == np.int32
    assert Counter(combined.train.labels[1000:].tolist()) == {1: 60, 0: 40}
    assert set(combined.train.texts[1000:]) == set(TRAIN_SIDE[:100])
    assert set(combined.holdout.texts) == set(HELD_SIDE[:20])
    assert combined.holdout.labels.tolist() == [0] * 20
    assert tuple(review.text for review in combined.added) == combined.train.texts[1000:]
    assert tuple(review.text for review in combined.held_out) == combined.holdout.texts
    assert combined.removed == ()
    assert combined.fingerprint == fingerprint_of(new)
    assert combined.counts == {
        "old": 1000,
        "new": 120,
        "room": 428,
        "outcomes": {"added": 100, "held": 20},
        "by_source": {"": {"added": 100, "held": 20}},
    }


def test_nothing_new():
    combined = run([])
    assert combined.train.texts == tuple(OLD)
    assert (len(combined.holdout), combined.removed, combined.sources) == (0, (), ())


def test_a_label_is_needed_for_each_text():
    with pytest.raises(ValueError, match="for each of 1 new texts, got 0"):
        run(reviews(["a"]), champion=[])


def test_unknown_labels():
    combined = run([LabelledReview("Fine.", "neutral"), *reviews(TRAIN_SIDE[:1])])
    assert why(combined) == {"Fine.": Reason.UNKNOWN_LABEL}
    assert "neg, pos" in combined.removed[0].detail


def test_texts_of_no_class_are_neither_trained_on_nor_held_out():
    combined = run([LabelledReview(text, OTHER_LABEL) for text in (TRAIN_SIDE[0], HELD_SIDE[0])])
    assert set(why(combined).values()) == {Reason.UNKNOWN_LABEL}
    assert combined.counts["outcomes"] == {"unknown_label": 2}
    assert (combined.added, combined.held_out) == ((), ())


def test_golden_texts_are_neither_trained_on_nor_held_out():
    copy = TEST_SET.texts[0].upper() + " \n"
    near = [with_last_words(TEST_SET.texts[1], 100, held) for held in (True, False)]
    # However many there are, and whatever label they have.
    new = reviews([copy, *near, *near]) + reviews([copy, *near], "neg")
    combined = run(new)
    assert why(combined) == {copy: Reason.COPY_OF_TEST} | dict.fromkeys(near, Reason.NEAR_TEST)
    assert len(combined.removed) == 8
    assert train_side(combined) == set(OLD)


def test_contradictory_labels_all_go():
    text = TRAIN_SIDE[0]
    new = [*reviews([text, text], "pos"), *reviews([f" {text.title()}"], "neg"), *reviews(TRAIN_SIDE[1:3])]
    combined = run(new)
    assert [removed.reason for removed in combined.removed] == [Reason.CONTRADICTORY_LABELS] * 3
    assert combined.removed[0].detail == "labelled neg, pos"
    assert {review.text for review in combined.added} == set(TRAIN_SIDE[1:3])


def test_old_labels_stand():
    """Else whoever knows the old texts could have them removed one by one."""
    new = [*reviews(OLD[:1], "neg"), *reviews(OLD[1:2], "pos"), *reviews(OLD[2:3], "pos"), *reviews(OLD[2:3], "neg")]
    combined = run(new)
    assert [removed.reason for removed in combined.removed] == [
        Reason.CONTRADICTS_OLD,
        Reason.COPY_OF_OLD,
        Reason.CONTRADICTORY_LABELS,
        Reason.CONTRADICTORY_LABELS,
    ]
    assert combined.train.texts == tuple(OLD)
    assert combined.train.labels[:3].tolist() == [1, 1, 1]


@pytest.mark.parametrize("held", [True, False])
def test_copies_leave_one(held):
    text = (HELD_SIDE if held else TRAIN_SIDE)[0]
    variants = [text, text, text.upper(), f"\n{text}  ", text.replace(" ", "\u00a0")]
    combined = run([LabelledReview(variant, "pos", f"s{i}") for i, variant in enumerate(variants)])
    assert len(combined.held_out if held else combined.added) == 1
    assert len(combined.added) + len(combined.held_out) == 1
    assert [removed.reason for removed in combined.removed] == [Reason.DUPLICATE] * 4


def on_side(held, stem):
    """A disguise of the text that earlier releases put on this side; all of these are equal to the model."""
    disguises = (f"{stem}{'!' * i} {'! ' * (9 - i)}" for i in range(10))
    return next(text for text in disguises if is_held_out(content_digest(text), 0.2) == held)


@pytest.mark.parametrize("held_first", [True, False])
def test_equal_texts_are_on_the_side_of_the_one_that_was_stored_first(held_first):
    stem = TRAIN_SIDE[0]
    first, second = on_side(held_first, stem), on_side(not held_first, stem)
    days = [datetime(2026, 11, day, tzinfo=UTC) for day in (1, 2)]
    new = [*stored([first], "", days[0]), *stored([second], "", days[1])]
    for ordered in (new, new[::-1]):
        combined = run(ordered)
        assert len(combined.held_out) == held_first
        assert len(combined.added) == (not held_first)
        assert [removed.reason for removed in combined.removed] == [Reason.DUPLICATE]


@pytest.mark.parametrize("is_timed", [True, False])
def test_copies_without_a_time_never_hold_out_a_text_that_was_trained_on(is_timed):
    stem = TRAIN_SIDE[0]
    held = on_side(True, stem)
    trained = stored([on_side(False, stem)], "", AFTER if is_timed else None)
    added = [run([*trained, *reviews(copies)]).added for copies in ([], [held], [held, held.upper()])]
    assert [len(texts) for texts in added] == [1, 1, 1]


@pytest.mark.parametrize("disguise", ["\u200b{}", "{}\u00ad", "{}\u0301", "\x00{}", "{} \ufe0f"])
def test_disguised_copies_of_test_texts_and_old_texts_are_found(disguise):
    test_text, old_text = disguise.format(TEST_SET.texts[0]), disguise.format(OLD[0].upper())
    assert why(run(reviews([test_text, old_text]))) == {test_text: Reason.COPY_OF_TEST, old_text: Reason.COPY_OF_OLD}


def test_texts_are_compared_as_the_champion_reads_them():
    """Its vocabulary spells neither sign, so both texts have the same wordpiece ids."""
    tokenizer = Tokenizer([*vocabulary(), *dict.fromkeys(" ".join(TRAIN_SIDE).split())], lower_case=True, max_length=64)
    new = [*reviews([f"{TRAIN_SIDE[0]} \u2603"], "pos"), *reviews([f"{TRAIN_SIDE[0]} \u2602"], "neg")]
    champion = ["pos", "neg"]
    combined = combine(old_data(), new, TEST_SET, champion, text_keys=TextKeys(tokenizer))
    assert [removed.reason for removed in combined.removed] == [Reason.CONTRADICTORY_LABELS] * 2
    combined = combine(old_data(), new, TEST_SET, champion)
    assert [removed.reason for removed in combined.removed] == [Reason.NEAR_DUPLICATE]


@pytest.mark.parametrize("held", [True, False])
def test_near_an_old_text(held):
    """Old texts were trained on: what is near one measures nothing, and adds nothing."""
    near = with_last_words(OLD[7], 100, held)
    assert why(run(reviews([near]))) == {near: Reason.NEAR_OLD}


def test_near_duplicates_do_not_bridge_the_sides():
    base = TRAIN_SIDE[0]
    cluster = [f"{base} v{i}" for i in range(40)]
    combined = run(reviews(cluster))
    assert len(combined.held_out) == 1
    assert combined.added == ()
    assert Counter(removed.reason for removed in combined.removed) == {Reason.NEAR_DUPLICATE: 39}


def test_no_two_kept_texts_are_near_and_each_removed_one_is_near_a_kept_one():
    """A chain, each text near the next: some of it stays, no pair of which is near."""
    words = prose(77, 120).split()
    chain = [" ".join(words[i : i + 40]) for i in range(0, 60)]
    combined = run(reviews(chain))
    runs = {text: Shingles(3).of(text) for text in chain}
    kept = [review.text for review in (*combined.added, *combined.held_out)]
    assert 5 < len(kept) < 40
    assert max(jaccard(runs[a], runs[b]) for a in kept for b in kept if a < b) < 0.8
    for removed in combined.removed:
        assert max(jaccard(runs[removed.review.text], runs[text]) for text in kept) >= 0.8


def test_the_order_of_arrival_makes_no_difference():
    rng = random.Random(0)  # noqa: S311
    new = (
        reviews(TRAIN_SIDE[:150], "neg", "a")
        + reviews(HELD_SIDE[:30], "pos", "b")
        + reviews(TRAIN_SIDE[120:160], "pos", "c")
    )
    new += reviews([f"{text} again" for text in TRAIN_SIDE[:40]], "pos", "d") + reviews(
        [t.upper() for t in HELD_SIDE[:9]]
    )
    champion = {review.text: rng.choice(CLASSES) for review in new}
    outcomes = []
    for _ in range(3):
        rng.shuffle(new)
        combined = run(new, [champion[review.text] for review in new], old=old_data(OLD[:200]))
        outcomes.append(
            (
                combined.train.texts,
                combined.train.labels.tolist(),
                combined.holdout.texts,
                {(removed.review, removed.reason, removed.detail) for removed in combined.removed},
                combined.counts["outcomes"],
                combined.sources,
            )
        )
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert len(outcomes[0][4]) > 5, "many rules are at work"


def test_a_text_never_changes_sides():
    """Rounds of ever more reviews, with disguises, near ones, contradictions and floods; half have no time."""
    rng = random.Random(1)  # noqa: S311
    pool = TRAIN_SIDE[:120] + HELD_SIDE[:40]
    pool += [f"{rng.choice(pool)} tail{i}" for i in range(150)]
    pool += [rng.choice(pool).upper() for _ in range(60)]
    pool += [f"{text}\u0301" for text in pool]
    trained, held = set(), set()
    new: list[LabelledReview] = []
    for day in range(12):
        for second in range(100):
            time = AFTER + timedelta(days=day, seconds=second) if rng.random() < 0.5 else None
            new.append(LabelledReview(rng.choice(pool), rng.choice(CLASSES), rng.choice("abc"), time))
        combined = run(new, holdout_room=0)
        trained |= set(map(text_key, train_side(combined)))
        held |= set(map(text_key, combined.holdout.texts))
    assert len(held) > 20
    # From the holdout to the training is the harmless direction: the next holdout is without the text.
    assert not trained & set(map(text_key, combined.holdout.texts))


def test_what_was_added_is_old_in_the_next_round():
    new = reviews(TRAIN_SIDE[:50]) + reviews(HELD_SIDE[:10], "neg")
    first = run(new)
    near_held = with_last_words(HELD_SIDE[0], 200, False)
    near_added = with_last_words(TRAIN_SIDE[0], 200, True)
    old = old_data([*TRAIN_SIDE[:50], *OLD], positive=0.5)
    assert set(old.train.texts) | set(old.validation_select.texts) | set(old.validation_calibrate.texts) == train_side(
        first
    )
    second = run([*new, *reviews([near_held, near_added])], old=old)
    assert second.holdout.texts == first.holdout.texts
    assert train_side(second) == train_side(first)
    assert why(second) == dict.fromkeys(TRAIN_SIDE[:50], Reason.COPY_OF_OLD) | {
        near_held: Reason.NEAR_DUPLICATE,
        near_added: Reason.NEAR_OLD,
    }


def contradicting(texts, source, rate):
    """Reviews whose labels contradict the champion at a rate, and what it says."""
    made = reviews(texts, "pos", source)
    return made, ["neg" if i < rate * len(texts) else "pos" for i in range(len(texts))]


def combined_sources(*groups, **options):
    made = [contradicting(*group) for group in groups]
    return run(
        [review for group, _ in made for review in group], [label for _, group in made for label in group], **options
    )


def test_a_source_that_contradicts_far_more_often_leaves_both_sides():
    bad = TRAIN_SIDE[200:240] + HELD_SIDE[50:60]
    combined = combined_sources((TRAIN_SIDE[:100], "web", 0.1), (bad, "bad", 0.4), (HELD_SIDE[:20], "shop", 0.1))
    assert why(combined) == dict.fromkeys(bad, Reason.CONTRADICTING_SOURCE)
    assert "20 of 50 labels contradict the champion, of the other sources 12 of 120" in combined.removed[0].detail
    assert [(result.source, result.is_outlier) for result in combined.sources] == [
        ("bad", True),
        ("shop", False),
        ("web", False),
    ]


def test_a_trusted_source_stays_and_raises_nobody_else_s_measure():
    groups = (TRAIN_SIDE[:100], "web", 0.1), (TRAIN_SIDE[100:160], "corrections", 1.0), (HELD_SIDE[:40], "bad", 0.5)
    assert set(why(combined_sources(*groups)).values()) == {Reason.CONTRADICTING_SOURCE}
    combined = combined_sources(*groups, trusted_sources=("corrections",))
    assert set(why(combined)) == set(HELD_SIDE[:40])
    assert {result.source for result in combined.sources} == {"bad", "web"}


def one_each(texts, label="pos"):
    """Each text from a source of its own."""
    return [LabelledReview(text, label, f"source {i}") for i, text in enumerate(texts)]


def test_invented_sources_are_judged_as_one():
    """Each alone is too small to be judged; together they say the opposite of the champion."""
    liars = one_each(TRAIN_SIDE[100:] + HELD_SIDE[20:], "neg")
    assert len(liars) == 300
    honest = reviews(TRAIN_SIDE[:100] + HELD_SIDE[:20], "pos", "web")
    combined = run(honest + liars, ["pos"] * 420)
    assert set(why(combined)) == {review.text for review in liars}
    assert set(why(combined).values()) == {Reason.CONTRADICTING_SOURCE}
    assert combined.removed[0].detail.startswith(
        f"'{SMALL_SOURCES}': 300 of 300 labels contradict the champion, of the other sources 0 of 120"
    )
    assert {(result.source, result.texts) for result in combined.sources} == {(SMALL_SOURCES, 300), ("web", 120)}
    assert combined.counts["by_source"]["source 7"] == {"contradicting_source": 1}
    # One that is trusted is none of them.
    trusted = run(honest + liars, ["pos"] * 420, trusted_sources=("source 7",))
    assert set(why(combined)) - set(why(trusted)) == {liars[7].text}


def test_small_sources_that_say_the_same_as_the_others_stay():
    new = one_each(TRAIN_SIDE[:60]) + reviews(TRAIN_SIDE[60:160], "pos", "web")
    champion = ["neg" if i % 10 == 0 else "pos" for i in range(len(new))]
    assert why(run(new, champion)) == {}


def test_invented_sources_share_one_turn_and_one_quota():
    old = old_data(OLD[:100])  # Room for 42.
    both = ("pos", "neg")
    invented = [LabelledReview(text, both[i % 2], f"source {i}") for i, text in enumerate(TRAIN_SIDE[:200])]
    shops = [LabelledReview(text, both[i % 2], f"shop {i // 30}") for i, text in enumerate(TRAIN_SIDE[200:260])]
    assert len(run(invented + shops[:15], old=old).added) == 42  # The shop is a small source as well.
    combined = run(invented + shops, old=old)
    counts = Counter("shop" if review.source.startswith("shop") else "invented" for review in combined.added)
    assert counts == {"shop": 28, "invented": 14}, "as three sources"
    combined = run(invented + shops[:30], old=old)
    assert Counter(review.source for review in combined.added)["shop 0"] == 21
    held = one_each(HELD_SIDE[:90]) + reviews(HELD_SIDE[90:120], "neg", "web")
    assert Counter(review.source for review in run(held, old=old, holdout_room=40).held_out)["web"] == 20


TRAINED = datetime(2026, 1, 1, tzinfo=UTC)
BEFORE, AFTER = TRAINED - timedelta(days=1), TRAINED + timedelta(days=1)


def stored(texts, source, time, label="pos"):
    return [LabelledReview(text, label, source, time) for text in texts]


def second_round(new_time=AFTER, **options):
    """An old source, of whose texts those to train on were learnt, and a new one; texts have drifted for both.

    The champion contradicts 3 in 10 labels of any source, except for what it was trained on.
    """
    learnt = stored(TRAIN_SIDE[:150], "old shop", BEFORE)
    held = stored(HELD_SIDE[:40], "old shop", BEFORE)
    new = stored(TRAIN_SIDE[150:250] + HELD_SIDE[40:65], "new shop", new_time)
    champion = ["pos"] * 150 + ["neg" if i % 10 < 3 else "pos" for i in range(40 + 125)]
    return run([*learnt, *held, *new], champion, **options)


def test_sources_are_judged_by_what_the_champion_has_not_learnt():
    combined = second_round(trained_until=TRAINED)
    assert why(combined) == {}
    assert {result.source: (result.texts, result.contradictions) for result in combined.sources} == {
        "old shop": (40, 12),
        "new shop": (125, 39),
    }
    # By all texts the new one looks bad.
    assert set(why(second_round(trained_until=None)).values()) == {Reason.CONTRADICTING_SOURCE}


def test_texts_of_unknown_time_are_judged_only_where_they_are_held_out():
    counts = {result.source: result.texts for result in second_round(None, trained_until=TRAINED).sources}
    assert counts == {"old shop": 40, "new shop": 25}


def test_a_text_that_was_sent_before_is_not_judged_when_it_comes_again():
    again = stored(TRAIN_SIDE[:30], "a", AFTER) + stored([t.upper() for t in TRAIN_SIDE[:30]], "a", BEFORE)
    combined = run(again + stored(TRAIN_SIDE[30:60], "a", AFTER), trained_until=TRAINED)
    assert [(result.source, result.texts) for result in combined.sources] == [("a", 30)]


def test_a_source_is_set_aside_with_what_it_was_not_judged_by():
    good = stored(HELD_SIDE[:60], "shop", BEFORE)
    bad = stored(TRAIN_SIDE[:50], "bad", BEFORE) + stored(TRAIN_SIDE[50:90], "bad", AFTER)
    champion = ["pos"] * 110 + ["neg"] * 40
    combined = run(good + bad, champion, trained_until=TRAINED)
    assert set(why(combined)) == {review.text for review in bad}
    assert "40 of 40 labels" in combined.removed[0].detail


def test_contradictions_of_everybody_are_a_drift():
    """One source alone, and all alike: nobody is set aside, and a single confident contradiction stays."""
    assert why(combined_sources((TRAIN_SIDE[:100], "", 0.9))) == {}
    assert why(combined_sources((TRAIN_SIDE[:60], "a", 0.5), (TRAIN_SIDE[60:120], "b", 0.5))) == {}
    assert why(combined_sources((TRAIN_SIDE[:60], "a", 0.0), (TRAIN_SIDE[60:61], "b", 1.0))) == {}


def test_ten_thousand_copies_are_one_text():
    """Nor do they count against their source ten thousand times."""
    flood = [*reviews([HELD_SIDE[0]] * 5000, "neg", "bot"), *reviews([HELD_SIDE[0].upper()] * 5000, "neg", "bot")]
    new = reviews(TRAIN_SIDE[:100], "pos", "web") + flood
    combined = run(new, ["pos"] * len(new))
    assert combined.counts["outcomes"] == {"added": 100, "held": 1, "duplicate": 9999}
    assert {result.source: result.texts for result in combined.sources} == {SMALL_SOURCES: 1, "web": 100}


def test_new_texts_stay_within_their_share():
    combined = run(reviews(TRAIN_SIDE[:60]) + reviews(TRAIN_SIDE[60:120], "neg"), old=old_data(OLD[:90]))
    assert len(combined.train) == 90 + 38
    assert 38 / 128 <= 0.3 < 39 / 129
    assert Counter(why(combined).values()) == {Reason.NEW_SHARE: 82}
    half = run(reviews(TRAIN_SIDE[:60]) + reviews(TRAIN_SIDE[60:120], "neg"), old=old_data(OLD[:90]), new_share=0.5)
    assert len(half.added) == 90


def test_a_flood_of_one_class():
    old = old_data(OLD[:120], positive=0.25)  # Room for 51: of pos 1.5 * .25 of it.
    combined = run(reviews(TRAIN_SIDE[:200], "pos") + reviews(TRAIN_SIDE[200:220], "neg"), old=old)
    assert Counter(review.label for review in combined.added) == {"pos": 20, "neg": 20}
    assert set(why(combined).values()) == {Reason.CLASS_QUOTA}
    assert len(why(combined)) == 180


def test_a_source_has_half_and_one_alone_has_all():
    old = old_data(OLD[:100])  # Room for 42.
    both = ("pos", "neg")
    flood = [LabelledReview(text, both[i % 2], "flood") for i, text in enumerate(TRAIN_SIDE[:200])]
    few = [LabelledReview(text, both[i % 2], "few") for i, text in enumerate(TRAIN_SIDE[200:215])]
    combined = run(flood + few, old=old)
    assert Counter(review.source for review in combined.added) == {"flood": 21, "few": 15}
    assert set(why(combined).values()) == {Reason.SOURCE_QUOTA}
    assert len(run(flood, old=old).added) == 42
    several = [LabelledReview(text, both[i % 2], f"flood{i % 4}") for i, text in enumerate(TRAIN_SIDE[:200])]
    combined = run(several + few[:6], old=old)
    assert len(combined.added) == 42
    assert Counter(review.source for review in combined.added)["few"] == 6, "sources take turns"


def test_a_flood_does_not_own_the_holdout():
    flood, few = reviews(HELD_SIDE[:100], "pos", "flood"), reviews(HELD_SIDE[100:110], "neg", "few")
    old = old_data(OLD[:100])  # Room for 42 in training.
    combined = run(flood + few, old=old, holdout_room=40)
    assert Counter(review.source for review in combined.held_out) == {"flood": 20, "few": 10}
    # In proportion to the training texts where that is more.
    assert len(run(flood + few, old=old, holdout_room=0).held_out) == 5 + 5
    assert len(run(flood + few, old=old).held_out) == 110
    assert Counter(review.label for review in run(flood, old=old, holdout_room=40).held_out) == {"pos": 30}


def test_which_ones_stay_is_decided_by_what_they_say():
    """More reviews of a flood replace hardly any that stayed."""
    old = old_data(OLD[:100])
    some = run(reviews(TRAIN_SIDE[:200], "neg"), old=old)
    more = run(reviews(TRAIN_SIDE[:220], "neg"), old=old)
    assert len(some.added) == len(more.added) == 32
    assert len({r.text for r in some.added} & {r.text for r in more.added}) >= 24
