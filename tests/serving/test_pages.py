"""The web pages: what is served, with which headers, and that PAGE=off leaves nothing."""

import gzip

import pytest
from serving_models import inference, settings

from serving.app import create_app
from serving.pages import ASSETS, PAGES, static_files

_BUDGET = 60_000


@pytest.fixture
def make(tmp_path):
    return lambda **values: create_app(settings(tmp_path, **values), inference()).test_client()


@pytest.mark.parametrize("path", static_files())
def test_each_file_is_served_with_a_type_and_a_hash(make, path):
    client = make()
    response = client.get(path)
    assert response.status_code == 200
    assert response.data == static_files()[path].read_bytes()
    assert response.content_type.partition(";")[0] in {"text/html", "text/css", "text/javascript", "image/svg+xml"}
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-cache"
    compressed = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.data) == response.data
    again = client.get(path, headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.head(path).status_code == 200
    assert client.post(path).status_code == 405


@pytest.mark.parametrize("path", PAGES)
def test_a_page_allows_only_its_own_files(make, path):
    response = make().get(path)
    rules = dict(rule.split(" ", 1) for rule in response.headers["Content-Security-Policy"].split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == "'self'"
    text = response.get_data(as_text=True)
    assert "<style" not in text
    assert " style=" not in text
    assert "//" not in text.replace("<!DOCTYPE html>", ""), "a URL of another host"


def test_the_page_needs_no_key(make):
    assert make(api_key="secret").get("/").status_code == 200


def test_the_whole_page_is_small(make):
    client = make()
    parts = [path for path in static_files() if path == "/" or (path.startswith(ASSETS) and "swagger" not in path)]
    sizes = [len(client.get(path, headers={"Accept-Encoding": "gzip"}).data) for path in parts]
    assert sum(sizes) < _BUDGET


def test_off_serves_no_page(make):
    client = make(page=False)
    for path in static_files():
        response = client.get(path)
        assert response.status_code == 404
        assert response.get_json()["error"]["code"] == "not_found"
    assert client.get("/info").status_code == 200
