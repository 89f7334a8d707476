"""The page /review in Chromium: labels, undo, skip and explanations, by keys alone, narrow and dark, with a key."""

import contextlib
import dataclasses
import sqlite3
import time

import pytest
from browser import check_accessible, new_page, running_browser, serving
from playwright.sync_api import expect
from tiny_engine import tiny_reviews, write_version

from inference import Inference
from serving.app import create_app
from serving.settings import Settings
from textclf.data.labelled_reviews import read_labelled_reviews
from textclf.data.prediction_log.log import PredictionLog, logged_predictions
from textclf.runtime.feature_extraction import text_features
from textclf.runtime.loading import load_predictor

TEXTS = [text for text, _ in tiny_reviews(30, 3)]
FEW = 3


@pytest.fixture(scope="module")
def browser():
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    store = tmp_path_factory.mktemp("review") / "model"
    write_version(store, cascade=True, unusual=True)
    return store


def log_texts(folder, predictor, texts):
    url = f"sqlite:///{folder}/log.sqlite"
    features = text_features(predictor, texts, None)
    rows = logged_predictions([time.time()] * len(texts), predictor.version_id, ["neg"] * len(texts), features)
    with contextlib.closing(PredictionLog(url)) as log:
        log.append([dataclasses.replace(row, text=text) for row, text in zip(rows, texts, strict=True)])
    return url


@pytest.fixture
def served(model, tmp_path):
    """Return the URL of a server that has logged texts."""
    with contextlib.ExitStack() as stack:

        def serve(texts=TEXTS, model=model, **values):
            url = log_texts(tmp_path, load_predictor(model), texts)
            given = {"model_path": model, "new_data_dir": tmp_path / "new", "prediction_log_url": url}
            settings = Settings(**{**given, "prediction_log_text": True, **values})
            app = create_app(settings, Inference(model, threads=1))
            stack.callback(app.extensions["textclf"].stop, 5)
            return stack.enter_context(serving(app))

        yield serve


def stored(tmp_path):
    return {(review.text, review.label, review.audit) for review in read_labelled_reviews(tmp_path / "new").reviews}


def logged(tmp_path):
    # The recorder writes within a quarter of a second.
    time.sleep(0.6)
    with contextlib.closing(sqlite3.connect(tmp_path / "log.sqlite")) as log:
        return log.execute("SELECT count(*) FROM textclf_predictions").fetchone()[0]


def text_of(page):
    expect(page.locator("#text")).to_be_visible()
    return page.locator("#text").text_content()


def says(page, message):
    expect(page.locator("#status")).to_contain_text(message)


def test_an_audit_by_keys_alone(browser, served, tmp_path):
    with new_page(browser) as page:
        page.goto(f"{served()}/review")
        first = text_of(page)
        expect(page.locator("#marks")).to_be_empty()
        expect(page.locator("#explain-part")).to_be_hidden()
        check_accessible(page)
        page.keyboard.press("2")
        says(page, "Stored: pos.")
        assert stored(tmp_path) == {(first, "pos", True)}
        assert page.evaluate("document.activeElement.id") == "text"
        expect(page.locator("#counts")).to_have_text("1 of 200 labelled in this session, 0 skipped")
        second = text_of(page)
        assert second != first
        page.keyboard.press("s")
        says(page, "Skipped.")
        third = text_of(page)
        page.keyboard.press("0")
        says(page, "Stored: (other).")
        assert stored(tmp_path) == {(first, "pos", True), (third, "(other)", True)}
        for text, message in ((third, "The label was taken back."), (second, "The skipped text is back.")):
            page.keyboard.press("u")
            says(page, message)
            assert text_of(page) == text
        page.keyboard.press("u")
        says(page, "The label was taken back.")
        expect(page.locator("#undo")).to_be_disabled()
        assert stored(tmp_path) == set()
        page.keyboard.press("1")
        says(page, "Stored: neg.")
        assert stored(tmp_path) == {(first, "neg", True)}


def test_informative_texts_narrow_and_dark_with_a_key(browser, served, tmp_path):
    with new_page(browser, is_narrow=True) as page:
        page.goto(f"{served(api_key='secret')}/review")
        page.get_by_label("Key", exact=True).fill("secret")
        page.keyboard.press("Enter")
        text_of(page)
        page.get_by_label("Texts").select_option("informative")
        expect(page.locator("#marks")).to_contain_text("predicted: ")
        page.keyboard.press("Escape")
        page.keyboard.press("e")
        expect(page.locator("#explain-status")).to_contain_text("Explained with")
        assert logged(tmp_path) == len(TEXTS), "a text that is explained is no new traffic"
        check_accessible(page)
        text = text_of(page)
        page.get_by_role("button", name="neg").click()
        says(page, "Stored: neg.")
        assert stored(tmp_path) == {(text, "neg", False)}


def test_the_progress_of_an_audit_counts_audits_alone(browser, served, tmp_path):
    with new_page(browser) as page:
        page.goto(f"{served()}/review")
        text_of(page)
        page.get_by_label("Texts").select_option("informative")
        expect(page.locator("#marks")).to_contain_text("predicted: ")
        page.keyboard.press("Escape")
        page.keyboard.press("1")
        says(page, "Stored: neg.")
        expect(page.locator("#counts")).to_have_text("1 labelled in this session, 0 skipped")
        page.get_by_label("Texts").select_option("audit")
        # Until the draw arrives, the page shows the informative text.
        expect(page.locator("#marks")).not_to_contain_text("predicted: ")
        expect(page.locator("#progress")).to_be_visible()
        expect(page.locator("#counts")).to_have_text("0 of 200 labelled in this session, 0 skipped")
        page.keyboard.press("Escape")
        page.keyboard.press("1")
        expect(page.locator("#counts")).to_have_text("1 of 200 labelled in this session, 0 skipped")


def test_a_new_class_gets_a_button_and_a_key(browser, served, tmp_path):
    store = tmp_path / "swapped"
    write_version(store)
    with new_page(browser) as page:
        url = served(model=store, model_poll_seconds=0.05)
        page.goto(f"{url}/review")
        text_of(page)
        buttons = page.locator("#labels button")
        expect(buttons).to_have_count(3)
        second = write_version(store, ("neg", "pos", "refund"), seed=1).name
        log_texts(tmp_path, load_predictor(store), TEXTS)
        deadline = time.monotonic() + 30
        while second not in page.request.get(f"{url}/info").text():
            assert time.monotonic() < deadline, "the new version is not served"
            time.sleep(0.05)
        page.get_by_label("Texts").select_option("informative")
        expect(buttons).to_have_count(4)
        page.keyboard.press("Escape")
        text = text_of(page)
        page.keyboard.press("3")
        says(page, "Stored: refund.")
        assert stored(tmp_path) == {(text, "refund", False)}


def test_without_a_key_the_page_names_the_setting(browser, served):
    with new_page(browser, accepts="403") as page:
        page.goto(f"{served(host='0.0.0.0')}/review")  # noqa: S104
        says(page, "set API_KEY")
        expect(page.locator("#item")).to_be_hidden()
        check_accessible(page)


def test_the_end_of_the_queue_and_what_was_skipped(browser, served):
    with new_page(browser) as page:
        page.goto(f"{served(TEXTS[:FEW])}/review")
        text_of(page)
        for count in range(1, FEW + 1):
            page.keyboard.press("s")
            expect(page.locator("#counts")).to_contain_text(f"{count} skipped")
        says(page, "There are no more texts to label.")
        expect(page.locator("#item")).to_be_hidden()
        check_accessible(page)
        page.reload()
        expect(page.locator("#counts")).to_contain_text("3 skipped")
        expect(page.locator("#item")).to_be_hidden()
        page.keyboard.press("u")
        expect(page.locator("#item")).to_be_hidden()


def test_the_keys_are_shown(browser, served):
    with new_page(browser) as page:
        page.goto(f"{served()}/review")
        text_of(page)
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_contain_text("Undo the last label or skip")
        check_accessible(page)


def test_without_texts_the_page_names_the_setting(browser, served):
    with new_page(browser, accepts="422") as page:
        page.goto(f"{served(prediction_log_text=False)}/review")
        says(page, "set PREDICTION_LOG_TEXT=1")
        check_accessible(page)
