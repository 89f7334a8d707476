"""GET /drift.json and /evaluation: versions, the last check, keys and links."""

import json
import re
import shutil
from pathlib import Path

import pytest
from serving_models import inference, settings

from serving.app import create_app
from serving.openapi import openapi_document
from serving.settings import Settings
from serving.store_views import TICKET_SECONDS, StoreViews

PERSISTED = Path(__file__).parents[1] / "fixtures" / "persisted" / "model"
KEY = "a-key"


@pytest.fixture
def store(tmp_path):
    shutil.copytree(PERSISTED, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def make(tmp_path):
    def make(**values):
        return create_app(settings(tmp_path, model_poll_seconds=0, **values), inference()).test_client()

    return make


def test_a_store_with_a_check(store, make):
    report = make().get("/drift.json").get_json()
    current = (store / "current").read_text().strip()
    assert report["store"] is True
    assert report["current"] == current
    assert report["problems"] == []
    ids = [version["id"] for version in report["versions"]]
    assert ids == sorted((path.name for path in (store / "versions").iterdir()), reverse=True)
    (shown,) = (version for version in report["versions"] if version["current"])
    manifest = json.loads((store / "versions" / current / "manifest.json").read_text())
    assert shown["id"] == current
    assert shown["created"] == manifest["created"]
    assert shown["metrics"].keys() == manifest["metrics"].keys()
    for split, metrics in shown["metrics"].items():
        assert metrics["accuracy"] == manifest["metrics"][split]["accuracy"]
    state = json.loads((store / "drift.json").read_text())
    assert report["check"]["verdict"] == state["last_check"]["verdict"]
    assert {item["family"]: item["effect"] for item in report["check"]["families"]} == state["last_check"]["effects"]
    assert len(report["windows"]) == len(state["windows"])
    assert report["retraining"]["outcome"] == state["last_retrain"]["outcome"]


def test_since_is_the_last_move_to_the_version(store, make):
    current = (store / "current").read_text().strip()
    lines = [{"time": f"2026-02-0{day}T00:00:00.000+00:00", "action": action, "challenger": current, "previous": None}
             for day, action in ((1, "promote"), (2, "rollback"), (3, "reject"))]  # fmt: skip
    (store / "decisions.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (shown,) = (version for version in make().get("/drift.json").get_json()["versions"] if version["current"])
    assert shown["since"] == "2026-02-02T00:00:00.000+00:00"


def test_without_a_store(make):
    report = make().get("/drift.json").get_json()
    assert (report["store"], report["versions"], report["check"]) == (False, [], None)
    assert report["served"] == "20260101T000000000Z-0a1b2c"


def test_damaged_files_are_named_without_their_paths(store, make):
    (store / "drift.json").write_text("{")
    version = max((store / "versions").iterdir())
    (version / "manifest.json").write_text("{")
    report = make().get("/drift.json").get_json()
    assert len(report["problems"]) == 2
    assert str(store) not in json.dumps(report)
    assert report["check"] is None


def test_the_report_fits_its_schema(store, make):
    report = make().get("/drift.json").get_json()
    schema = openapi_document(Settings())["components"]["schemas"]["StoreReport"]
    assert report.keys() == schema["properties"].keys() == set(schema["required"])
    for name in ("versions", "windows"):
        assert report[name][0].keys() == schema["properties"][name]["items"]["properties"].keys()
    assert report["check"].keys() == schema["properties"]["check"]["properties"].keys()


def test_an_evaluation_is_a_page_without_scripts(store, make):
    client = make()
    version = client.get("/drift.json").get_json()["versions"][0]
    response = client.get(version["evaluation"])
    assert response.status_code == 200
    assert response.content_type == "text/html; charset=utf-8"
    assert "script-src" not in response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert version["id"] in response.get_data(as_text=True)


@pytest.mark.parametrize("wrong", ["", "20260101T000000000Z-000000", "../../etc", "%00"])
def test_an_unknown_version_is_not_found(store, make, wrong):
    assert make().get(f"/evaluation?version={wrong}").status_code == 404


def test_the_key_or_a_fresh_link_is_needed(store, make):
    client = make(api_key=KEY)
    assert client.get("/drift.json").status_code == 401
    report = client.get("/drift.json", headers={"X-API-Key": KEY}).get_json()
    link = report["versions"][0]["evaluation"]
    assert KEY not in link
    assert client.get(link).status_code == 200
    assert client.get(link.partition("&")[0]).status_code == 401
    assert client.get(link.partition("&")[0], headers={"X-API-Key": KEY}).status_code == 200
    (end,) = re.findall(r"until=(\d+)", link)
    for changed in (link[:-1] + ("0" if link[-1] != "0" else "1"), link.replace(end, str(int(end) + 1)), link + "é"):
        assert client.get(changed).status_code == 401, changed


def test_a_link_ends(store, tmp_path):
    now = [1000.0]
    app = create_app(settings(tmp_path, model_poll_seconds=0, api_key=KEY), inference())
    service = app.extensions["textclf"]
    views = StoreViews(service.settings, service.holder, service.get_slots, lambda: now[0])
    app.view_functions |= {"/drift.json": views.drift, "/evaluation": views.evaluation}
    client = app.test_client()
    link = client.get("/drift.json", headers={"X-API-Key": KEY}).get_json()["versions"][0]["evaluation"]
    now[0] += TICKET_SECONDS - 1
    assert client.get(link).status_code == 200
    now[0] += 2
    assert client.get(link).status_code == 401


def test_a_damaged_evaluation_is_an_error_of_the_server(store, make):
    version = max((store / "versions").iterdir())
    (version / "manifest.json").write_text("{")
    assert make().get(f"/evaluation?version={version.name}").status_code == 500
