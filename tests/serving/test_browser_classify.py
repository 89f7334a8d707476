"""The page at / in Chromium: one text, its explanation and its label, with and without a key, wide and narrow."""

import json
import statistics
import threading
import time
import urllib.request

import pytest
from browser import check_accessible, new_page, running_browser, serving
from playwright.sync_api import expect
from serving_models import settings
from tiny_engine import write_version

from serving.app import create_app, inference_of

KEY = "a,key"
TEXT = "A great film, but the plot was dull."
# The tiny model reads 32 wordpieces.
LONG = " ".join(["the movie was great, and the plot was not bad."] * 9)


@pytest.fixture(scope="module")
def browser():
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    store = tmp_path_factory.mktemp("shown") / "model"
    write_version(store, cascade=True, reference_texts=[])
    return store


@pytest.fixture(scope="module")
def engine(model, tmp_path_factory):
    return inference_of(settings(tmp_path_factory.mktemp("engine"), model_path=model), model)


@pytest.fixture
def serve(tmp_path, model, engine):
    """serve(…): URL of a server of the tiny model with settings of its own."""

    def serve(**values):
        given = {"model_path": model, "model_poll_seconds": 0, "explain_max_evaluations": 48, **values}
        chosen = settings(tmp_path, **given)
        return serving(create_app(chosen, engine if chosen.cascade else inference_of(chosen, model)))

    return serve


def ask(url, path, body, key=""):
    headers = {"Content-Type": "application/json", "X-API-Key": key}
    with urllib.request.urlopen(urllib.request.Request(url + path, json.dumps(body).encode(), headers)) as response:
        return json.load(response)


def words_of(page):
    return page.evaluate("[...document.querySelectorAll('#words .word')].map(word => word.firstChild.textContent)")


def give_key(page, key):
    page.get_by_label("Key", exact=True).fill(key)
    page.keyboard.press("Enter")


@pytest.mark.parametrize(
    ("key", "is_narrow"),
    [
        pytest.param("", True, id="open, narrow and dark"),
        pytest.param(KEY, False, id="with a key, wide"),
        pytest.param("", False, id="open, wide", marks=pytest.mark.slow),
        pytest.param(KEY, True, id="with a key, narrow and dark", marks=pytest.mark.slow),
    ],
)
def test_a_text_is_classified_explained_and_labelled_by_keys_alone(browser, serve, tmp_path, key, is_narrow):
    with serve(api_key=key) as url, new_page(browser, is_narrow=is_narrow) as page:
        page.goto(url)
        if key:
            give_key(page, key)
        expect(page.locator("#labels button")).to_have_count(3)
        page.keyboard.press("t")
        page.keyboard.type(TEXT)
        expected = ask(url, "/predict", {"text": TEXT}, key)
        label = expected["label"]
        expect(page.locator("#label")).to_have_text(f"{label} {100 * expected['probabilities'][label]:.1f}%")
        stage = {"linear": "linear stage", "encoder": "encoder"}[expected["stage"]]
        expect(page.locator("#marks")).to_have_text(f"answered by the {stage}")
        for name, value in expected["probabilities"].items():
            expect(page.locator("#bars")).to_contain_text(f"{name}{100 * value:.1f}%")
        check_accessible(page)

        page.get_by_label("Text", exact=True).focus()
        page.keyboard.press("Control+Enter")
        expect(page.locator("#explanation")).to_be_visible()
        found = ask(url, "/explain", {"text": TEXT}, key)
        assert page.locator("#explained").input_value() == label
        assert words_of(page) == found["words"]
        shown = page.locator("#word-table tbody tr").first.inner_text().split("\t")
        largest = max(range(len(found["words"])), key=lambda i: abs(found["values"][label][i]))
        value = 100 * found["values"][label][largest]
        assert shown == [found["words"][largest], f"{value:+.1f}".replace("-", "−")]
        check_accessible(page)

        page.keyboard.press("Escape")
        page.keyboard.press("c")
        other = next(name for name in found["values"] if name != label)
        assert page.locator("#explained").input_value() == other
        page.keyboard.press("1")
        expect(page.locator("#feedback-status")).to_have_text("Stored: the label of this text is neg.")
        expect(page.locator('[data-label="neg"]')).to_have_attribute("aria-pressed", "true")
        (stored,) = (tmp_path / "new" / "train").rglob("*.txt")
        assert (stored.parent.name, stored.read_text(encoding="utf-8").strip()) == ("neg", TEXT)
        check_accessible(page)


def test_a_text_has_one_label_and_another_key_replaces_it(browser, serve, tmp_path):
    folder = tmp_path / "new" / "train"

    def stored():
        return sorted((path.parent.name, path.read_text(encoding="utf-8").strip()) for path in folder.rglob("*.txt"))

    with serve() as url, new_page(browser) as page:
        sent = []
        page.on("request", lambda request: sent.append(request.url) if "/review/" in request.url else None)
        page.goto(url)
        expect(page.locator("#labels button")).to_have_count(3)
        page.fill("#text", TEXT)
        page.keyboard.press("Escape")
        page.evaluate(
            "for (const key of '1110') document.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }))"
        )
        expect(page.locator("#feedback-status")).to_have_text("Stored: the label of this text is neg.")
        page.keyboard.press("1")
        page.keyboard.press("2")
        expect(page.locator("#feedback-status")).to_have_text("Stored: the label of this text is pos.")
        assert stored() == [("pos", TEXT)]
        assert [request.rsplit("/", 1)[1] for request in sent] == ["labels", "labels", "undo"]

        page.fill("#text", "Another text.")
        page.keyboard.press("Escape")
        expect(page.locator('[data-label="pos"]')).to_have_attribute("aria-pressed", "false")
        page.keyboard.press("2")
        expect(page.locator("#feedback-status")).to_have_text("Stored: the label of this text is pos.")
        page.fill("#text", TEXT)
        expect(page.locator('[data-label="pos"]')).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("Escape")
        page.keyboard.press("2")
        page.keyboard.press("0")
        expect(page.locator("#feedback-status")).to_contain_text("(other)")
        assert [text for _, text in stored()].count(TEXT) == 1


def test_a_label_that_can_not_be_taken_back_is_named(browser, serve):
    with serve() as url, new_page(browser, accepts="503") as page:
        page.route("**/review/undo", lambda route: route.fulfill(status=503, body="{}"))
        page.goto(url)
        expect(page.locator("#labels button")).to_have_count(3)
        page.fill("#text", TEXT)
        page.keyboard.press("Escape")
        page.keyboard.press("1")
        expect(page.locator("#feedback-status")).to_have_text("Stored: the label of this text is neg.")
        page.keyboard.press("2")
        expect(page.locator("#feedback-status")).to_contain_text("the earlier label neg is stored, too")
        expect(page.locator('[data-label="pos"]')).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("failure", ["503", "no response"])
def test_it_waits_for_a_server_that_starts(browser, serve, failure):
    with serve() as url, new_page(browser, accepts="503" if failure == "503" else "ERR_") as page:
        is_starting = threading.Event()
        is_starting.set()

        def respond(route):
            if not is_starting.is_set():
                route.continue_()
            elif failure == "503":
                error = {"code": "model_unavailable", "message": "The model is loading."}
                route.fulfill(status=503, json={"error": error})
            else:
                route.abort()

        page.route("**/info", respond)
        page.goto(url)
        expect(page.locator("#status")).to_contain_text("This page tries again.")
        page.keyboard.press("t")
        expect(page.locator("#text")).to_be_focused()
        is_starting.clear()
        expect(page.locator("#labels button")).to_have_count(3)
        expect(page.locator("#status")).to_be_empty()
        page.fill("#text", TEXT)
        page.click("#explain")
        expect(page.locator("#explanation")).to_be_visible()


def test_pieces_of_a_text_with_words_and_gaps(browser, serve):
    """A gap may start inside of a word, between two words, and span several of them."""
    code = "async ([length, spans, unseen]) => (await import('/page/word_view.js')).piecesOf(length, spans, unseen)"
    with serve() as url, new_page(browser) as page:
        page.goto(url)
        assert page.evaluate(code, [0, [], []]) == []
        assert page.evaluate(code, [3, [], []]) == [[0, 3, -1, True]]
        assert page.evaluate(code, [12, [[1, 3], [5, 8], [9, 10]], [[2, 4], [7, 12]]]) == [
            [0, 1, -1, True],
            [1, 3, 0, False],
            [3, 4, -1, False],
            [4, 5, -1, True],
            [5, 8, 1, False],
            [8, 9, -1, False],
            [9, 10, 2, False],
            [10, 12, -1, False],
        ]
        assert page.evaluate(code, [6, [[0, 2], [2, 4]], [[4, 5]]]) == [
            [0, 2, 0, True],
            [2, 4, 1, True],
            [4, 5, -1, False],
            [5, 6, -1, True],
        ]
        seconds = page.evaluate(
            """async () => {
              const { piecesOf } = await import("/page/word_view.js");
              const words = Array.from({ length: 30000 }, (_, index) => [2 * index, 2 * index + 1]);
              const start = performance.now();
              if (piecesOf(60000, words, []).length !== 60000) throw new Error("wrong pieces");
              return (performance.now() - start) / 1000;
            }"""
        )
        # A search in all words for each of them takes many seconds.
        assert seconds < 1


@pytest.mark.slow
def test_a_model_with_more_classes_than_keys(browser, tmp_path):
    names = tuple(f"class {number:02}" for number in range(1, 13))
    store = tmp_path / "many"
    write_version(store, names, reference_texts=[])
    given = settings(tmp_path, model_path=store, model_poll_seconds=0, explain_max_evaluations=48)
    with serving(create_app(given, inference_of(given, store))) as url, new_page(browser, is_narrow=True) as page:
        page.goto(url)
        page.fill("#text", TEXT)
        expected = ask(url, "/predict", {"text": TEXT})["probabilities"]
        bars = page.locator("#bars dt")
        expect(bars).to_have_count(8)
        largest = sorted(expected, key=expected.get, reverse=True)
        assert bars.all_inner_texts() == largest[:8]
        page.get_by_role("button", name="Show all 12 classes").click()
        expect(bars).to_have_count(12)
        assert bars.all_inner_texts() == largest
        check_accessible(page)
        page.get_by_role("button", name="Show fewer classes").click()
        expect(bars).to_have_count(8)

        # Nine classes and another class have a key; the select has all of them.
        assert page.locator("#labels [data-label]").count() == 10
        page.get_by_label("Any class").select_option("class 12")
        page.get_by_role("button", name="Store this class").click()
        expect(page.locator("#feedback-status")).to_have_text("Stored: the label of this text is class 12.")
        (stored,) = (tmp_path / "new" / "train").rglob("*.txt")
        assert stored.read_text(encoding="utf-8").strip() == TEXT

        page.click("#explain")
        expect(page.locator("#explained option")).to_have_count(12)
        assert page.locator("#explained").input_value() == largest[0]
        page.select_option("#explained", "class 11")
        expect(page.locator("#sum")).to_contain_text(f"probability of class 11 {100 * expected['class 11']:.1f}%")
        check_accessible(page)


def test_a_late_response_to_an_earlier_text_is_dropped(browser, serve):
    with serve() as url, new_page(browser) as page:

        def delay(route):
            if route.request.post_data_json["text"] == "first":
                time.sleep(1)
            route.continue_()

        page.route("**/predict", delay)
        page.goto(url)
        sent = []
        page.on("request", lambda request: sent.append(request.post_data) if "/predict" in request.url else None)
        page.fill("#text", "first")
        page.wait_for_timeout(400)
        page.fill("#text", TEXT)
        expected = ask(url, "/predict", {"text": TEXT})
        expect(page.locator("#label")).to_contain_text(f"{100 * expected['probabilities'][expected['label']]:.1f}%")
        page.wait_for_timeout(1500)
        expect(page.locator("#label")).to_contain_text(f"{100 * expected['probabilities'][expected['label']]:.1f}%")
        assert json.loads(sent[-1]) == {"text": TEXT}


def test_typing_sends_a_request_only_in_a_pause(browser, serve):
    text = "a great film " * 8
    with serve() as url, new_page(browser) as page:
        page.goto(url)
        sent = []
        page.on("request", lambda request: sent.append(request) if "/predict" in request.url else None)
        page.locator("#text").press_sequentially(text)
        expect(page.locator("#result")).not_to_have_class("stale")
        expect(page.locator("#label")).not_to_be_empty()
        # A busy machine may pause between two keys.
        assert 1 <= len(sent) < len(text) / 3
        assert {request.headers["x-prediction-log"] for request in sent} == {"off"}


def test_marks_and_unseen_parts(browser, serve):
    with serve(cascade=False) as url, new_page(browser) as page:
        page.goto(url)
        page.fill("#text", LONG)
        expect(page.locator("#marks")).to_contain_text("truncated: the model read only a part")
        page.click("#explain")
        expect(page.locator("#words .unseen").first).to_be_visible()
        found = ask(url, "/explain", {"text": LONG})
        gap = "".join(LONG[start:end] for start, end in found["unseen"])
        assert "".join(page.locator("#words .unseen").all_inner_texts()).strip() == gap.strip()
        expect(page.locator("#how")).to_contain_text("Crossed-out parts were not read")
        check_accessible(page)
        page.fill("#text", "   ")
        expect(page.locator("#marks")).to_contain_text("empty")


def test_words_are_where_the_text_has_them_after_an_emoji(browser, serve):
    text = "😀 great 😀 film"
    with serve() as url, new_page(browser) as page:
        page.goto(url)
        page.fill("#text", text)
        page.click("#explain")
        expect(page.locator("#words")).to_be_visible()
        assert words_of(page) == ask(url, "/explain", {"text": text})["words"]


def test_examples_clear_and_the_list_of_keys(browser, serve):
    with serve() as url, new_page(browser) as page:
        page.goto(url)
        expect(page.locator("#labels button")).to_have_count(3)
        page.keyboard.press("x")
        first = page.locator("#text").input_value()
        assert "film" in first
        page.keyboard.press("x")
        assert page.locator("#text").input_value() not in ("", first)
        page.select_option("#examples", label="A good film")
        assert page.locator("#text").input_value() == first
        page.click("#clear")
        expect(page.locator("#result")).to_be_hidden()
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        dialog = page.get_by_role("dialog", name="Keys")
        expect(dialog).to_contain_text("Explain the prediction")
        check_accessible(page)
        page.get_by_label("Use single keys").uncheck()
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        page.keyboard.press("x")
        assert page.locator("#text").input_value() == ""


def test_a_wrong_key_is_asked_for_again_and_a_right_one_is_kept_in_the_tab(browser, serve):
    with serve(api_key=KEY) as url, new_page(browser, accepts="401") as page:
        page.goto(url)
        give_key(page, "wrong")
        expect(page.locator("#api-key-note")).to_contain_text("refused")
        check_accessible(page)
        for odd, found in (("s3cret“Key”", "“"), ("ключ", "к"), ("a key", "a blank"), (" ", "nothing")):
            give_key(page, odd)
            expect(page.locator("#api-key-note")).to_contain_text(f"this one has {found}.")
        assert page.evaluate("sessionStorage.length") == 0
        give_key(page, f" {KEY} ")
        expect(page.get_by_role("dialog", name="API key")).to_have_count(0)
        page.fill("#text", TEXT)
        expect(page.locator("#label")).not_to_be_empty()
        page.reload()
        page.fill("#text", TEXT)
        expect(page.locator("#label")).not_to_be_empty()


def test_without_a_key_a_button_asks_for_it_and_typing_does_not(browser, serve):
    with serve(api_key=KEY) as url, new_page(browser) as page:
        page.goto(url)
        page.get_by_role("button", name="Cancel").click()
        dialog = page.get_by_role("dialog", name="API key")
        expect(page.locator("#status")).to_contain_text("needs its key")
        for text in ("good", TEXT):
            page.fill("#text", text)
            page.wait_for_timeout(500)
            expect(dialog).to_have_count(0)
            expect(page.locator("#status")).to_contain_text("needs its key")
        check_accessible(page)
        page.keyboard.press("Escape")
        page.keyboard.press("m")
        page.fill("#lines", TEXT)
        page.click("#score")
        expect(page.locator("#several-status")).to_contain_text("needs its key, and none was given. 0 of 1")
        page.locator("#several-status").get_by_role("button", name="Enter key").click()
        give_key(page, KEY)
        expect(page.locator("#several-status")).to_contain_text("1 of 1 texts classified")
        page.click("#tab-one")
        page.locator("#status").get_by_role("button", name="Enter key").click()
        expect(dialog).to_have_count(0)
        expect(page.locator("#label")).not_to_be_empty()
        expect(page.locator("#status")).to_be_empty()


def test_small_contributions_have_more_digits_and_paler_colours(browser, serve):
    code = """async (values) => {
      const { WordView } = await import("/page/word_view.js");
      new WordView().show({
        text: "a b", words: ["a", "b"], spans: [[0, 1], [2, 3]], unseen: [], unit: "probability", label: "pos",
        values: { pos: values }, base_values: { pos: 0.5 }, probabilities: { pos: 0.5 },
        baseline: "mask", complete: true,
      });
      document.getElementById("result").hidden = false;
      return [...document.querySelectorAll("#words .word")].map((word) =>
        [word.lastChild.textContent, Number(word.style.getPropertyValue("--share"))]);
    }"""
    with serve() as url, new_page(browser) as page:
        page.goto(url)
        assert page.evaluate(code, [0.31, -0.062]) == [["+31.0", 1], ["−6.2", 0.2]]
        assert page.evaluate(code, [0.0005, -0.00025]) == [["+0.050", 0.2], ["−0.025", 0.1]]
        table = page.locator("#word-table tbody tr")
        assert table.all_inner_texts() == ["a\t+0.050", "b\t−0.025"]
        assert page.evaluate(code, [0, 0]) == [["a", 0], ["b", 0]]
        assert table.all_inner_texts() == ["a\t±0.0", "b\t±0.0"]


def test_a_server_without_explanations(browser, serve):
    with serve(explain=False) as url, new_page(browser) as page:
        page.goto(url)
        page.fill("#text", TEXT)
        expect(page.locator("#label")).not_to_be_empty()
        expect(page.locator("#explain")).to_be_disabled()
        expect(page.locator("#explain-status")).to_contain_text("does not explain")


def test_tab_reaches_every_control(browser, serve):
    with serve() as url, new_page(browser) as page:
        page.goto(url)
        page.fill("#text", TEXT)
        expect(page.locator("#label")).not_to_be_empty()
        page.locator(".skip").focus()
        reached = ["skip"]
        for _ in range(20):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
        order = ["skip", "tab-one", "text", "examples", "clear", "keys", "explain"]
        assert [reached.index(name) for name in order] == sorted(reached.index(name) for name in order)
        page.locator("#tab-one").focus()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#several")).to_be_visible()
        expect(page.locator("#tab-several")).to_be_focused()


def test_it_is_small(browser, serve):
    with serve() as url, new_page(browser) as page:
        page.goto(url)
        expect(page.locator("#model")).not_to_be_empty()
        sizes = page.evaluate(
            "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            ".map(entry => entry.transferSize)"
        )
        assert len(sizes) > 8
        assert sum(sizes) < 60_000


@pytest.mark.bench
def test_it_paints_at_once(browser, serve):
    with serve() as url, new_page(browser) as page:
        paints = []
        for _ in range(10):
            page.goto(url)
            expect(page.locator("#model")).not_to_be_empty()
            paints += page.evaluate("performance.getEntriesByType('paint').map(entry => entry.startTime)")
        assert statistics.median(paints) < 500
