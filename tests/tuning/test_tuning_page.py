"""The page of a study: its scripts run under its policy, it loads nothing, and names stay text."""

import pytest
from browser import new_page, running_browser

from textclf.errors import DivergedError
from textclf.tuning.html import study_page
from textclf.tuning.options import TuningOptions
from textclf.tuning.search_space import search_space
from textclf.tuning.study import SharedStudy

TITLE = "<script>alert(1)</script>"


def train(trial) -> list[float]:
    if trial.number == 2:
        raise DivergedError("step 3 gave <b>nan</b>")
    values = [trial.params["init_lr"] * 1000 + epoch / 100 for epoch in range(trial.params["epochs"])]
    for epoch, value in enumerate(values, start=1):
        trial.report(epoch, value)
    return values


def study_of(folder, trials: int) -> SharedStudy:
    options = TuningOptions(trials=max(1, trials))
    study = SharedStudy(folder, options, search_space(["init_lr", "epochs", "pooling"]), seed=3)
    study.open({}, lambda: {"init_lr": 3e-5, "epochs": 3, "pooling": "cls"})
    if trials:
        study.run(train, lambda _trial: None)
    return study


@pytest.mark.slow
def test_the_plots_are_drawn(tmp_path):
    path = tmp_path / "study.html"
    path.write_text(study_page(study_of(tmp_path / "study", 8), TITLE), encoding="utf-8")
    requests: list[str] = []
    with running_browser() as browser, new_page(browser) as page:
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        page.locator(".js-plotly-plot").nth(4).wait_for()
        assert page.locator("h1").inner_text() == f"Search on {TITLE}"
        assert page.locator("h2").count() == 6
        assert page.locator("tbody tr").count() == 8
        assert "failed: step 3 gave <b>nan</b>" in page.locator("tbody").inner_text()
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.parametrize("trials", [0, 1])
def test_a_page_of_few_trials(tmp_path, trials):
    page = study_page(study_of(tmp_path, trials), TITLE)
    assert ("no trial has finished yet" in page) == (trials == 0)
    assert TITLE not in page
