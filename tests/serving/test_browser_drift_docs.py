"""The pages /drift and /docs in Chromium, with and without a key, wide and narrow."""

import shutil
from pathlib import Path

import pytest
from browser import check_accessible, new_page, running_browser, serving
from playwright.sync_api import expect
from serving_models import inference, settings

from serving.app import create_app

PERSISTED = Path(__file__).parents[1] / "fixtures" / "persisted" / "model"
KEY = "a,key"
# Tables that are wider than their place, which hides columns.
CUT = """[...document.querySelectorAll(".scroll")].filter((place) => place.scrollWidth > place.clientWidth)
    .map((place) => place.getAttribute("aria-label"))"""


@pytest.fixture(scope="module")
def browser():
    with running_browser() as browser:
        yield browser


@pytest.fixture
def serve(tmp_path):
    return lambda **values: serving(create_app(settings(tmp_path, model_poll_seconds=0, **values), inference()))


def give_key(page):
    page.get_by_label("Key", exact=True).fill(KEY)
    page.keyboard.press("Enter")


WAYS = pytest.mark.parametrize(
    ("key", "is_narrow", "prefix"),
    [("", False, "/texts"), pytest.param(KEY, True, "", marks=pytest.mark.slow)],
    ids=["open, wide, below a prefix", "key and narrow"],
)


@WAYS
def test_drift_shows_the_check_and_the_versions(browser, serve, tmp_path, key, is_narrow, prefix):
    shutil.copytree(PERSISTED, tmp_path / "model")
    with serve(api_key=key, root_path=prefix) as url, new_page(browser, is_narrow=is_narrow) as page:
        page.goto(f"{url}{prefix}/drift")
        if key:
            give_key(page)
        expect(page.locator("#check .answer")).to_have_text("No drift")
        expect(page.locator("#check")).to_contain_text("length of the texts")
        current = (tmp_path / "model" / "current").read_text().strip()
        expect(page.locator("#versions tr", has_text=current)).to_contain_text("current")
        check_accessible(page)
        assert page.evaluate(CUT) == []
        head = page.locator("#versions thead").bounding_box()
        assert (head["width"] > 600) != is_narrow
        with page.context.expect_page() as opened:
            page.get_by_role("link", name=f"Evaluation of {current}").click()
        expect(opened.value.locator("body")).to_contain_text(current)


def test_drift_without_a_store_or_with_a_damaged_one(browser, serve, tmp_path):
    with serve() as url, new_page(browser) as page:
        page.goto(f"{url}/drift")
        expect(page.locator("#status")).to_contain_text("no store (MODEL_PATH)")
        check_accessible(page)
        shutil.copytree(PERSISTED, tmp_path / "model")
        (tmp_path / "model" / "drift.json").write_text("{")
        page.reload()
        expect(page.locator("#status")).to_contain_text("state of monitoring can't be read")
        expect(page.locator("#check")).to_contain_text("No check was made yet")
        expect(page.locator("#versions tbody tr")).not_to_have_count(0)


@WAYS
def test_docs_describes_the_api_and_sends_requests(browser, serve, key, is_narrow, prefix):
    with serve(api_key=key, root_path=prefix) as url, new_page(browser, is_narrow=is_narrow) as page:
        if key:
            page.goto(f"{url}{prefix}/")
            give_key(page)
            expect(page.locator("#labels button")).to_have_count(3)
        page.goto(f"{url}{prefix}/docs")
        operation = page.locator("#operations-default-post_predict")
        expect(operation).to_be_visible()
        check_accessible(page)
        operation.locator(".opblock-summary-control").click()
        operation.get_by_role("button", name="Try it out").click()
        operation.locator("textarea").fill('{"text": "a good film"}')
        operation.get_by_role("button", name="Execute").click()
        expect(operation.locator(".live-responses-table")).to_contain_text('"label": "pos"')


def test_drift_shows_its_report_after_a_late_key(browser, serve, tmp_path):
    shutil.copytree(PERSISTED, tmp_path / "model")
    with serve(api_key=KEY) as url, new_page(browser) as page:
        page.goto(f"{url}/drift")
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#status")).to_contain_text("needs its key")
        page.get_by_role("button", name="Enter key").click()
        give_key(page)
        expect(page.locator("#versions")).to_contain_text("current")
        expect(page.locator("#status")).to_be_empty()
