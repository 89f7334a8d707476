"""ROOT_PATH and CORS_ORIGINS in the app."""

import re

import pytest
from serving_models import inference, settings

from serving.app import create_app
from serving.gateway import ALLOWED_HEADERS, origins_of
from serving.pages import PAGES
from serving.settings import Settings
from textclf.errors import ConfigError

ORIGIN = "https://a.example"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    found = settings(
        tmp_path_factory.mktemp("app"), root_path="/texts/v1", cors_origins=f"{ORIGIN} , http://localhost:3000"
    )
    return create_app(found, inference()).test_client()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return create_app(settings(tmp_path_factory.mktemp("app")), inference()).test_client()


@pytest.mark.parametrize("prefix", ["", "/texts/v1"])
def test_routes_are_with_and_without_the_prefix(client, prefix):
    assert client.get(f"{prefix}/ping").status_code == 200
    assert client.post(f"{prefix}/predict", json={"text": "good"}).get_json()["label"] == "pos"
    assert client.get(f"{prefix}/").content_type.startswith("text/html")
    assert client.get(f"{prefix}/page/api.js").status_code == 200


@pytest.mark.parametrize(
    "path", ["/texts/v1x/ping", "/texts/v1//ping", "/texts/ping", "/v1/ping", "/texts/v1/texts/v1/ping"]
)
def test_other_prefixes_are_not_found(client, path):
    assert client.get(path).status_code == 404


def test_the_prefix_alone_leads_to_the_page(client, plain):
    response = client.get("/texts/v1")
    assert response.status_code == 308
    assert response.headers["Location"] == "/texts/v1/"
    assert client.get("/texts/v1?text=a%20b&x=").headers["Location"] == "/texts/v1/?text=a%20b&x="
    assert response.headers["X-Request-Id"]
    assert plain.get("/texts/v1/ping").status_code == 404


def test_a_prefix_hides_no_route(plain):
    for route in {rule.rule for rule in plain.application.url_map.iter_rules()} - {"/"}:
        parts = route.split("/")[1:]
        for count in range(1, len(parts) + 1):
            prefix = "/" + "/".join(parts[:count])
            with pytest.raises(ConfigError, match=r"^ROOT_PATH: expected a path such as /texts"):
                Settings(root_path=prefix)


@pytest.mark.parametrize("prefix", ["/.", "/..", "/a/../b", "/a/.", "/" + "a" * 200, "/a/", "/page/v1"])
def test_prefixes_that_clients_change_or_nginx_refuses(prefix):
    with pytest.raises(ConfigError, match=r"^ROOT_PATH: expected"):
        Settings(root_path=prefix)


@pytest.mark.parametrize("prefix", ["", "/pings", "/predict/v1", "/a.b/..c", "/" + "a" * 199, "/v1/ping"])
def test_other_prefixes(prefix):
    assert Settings(root_path=prefix).root_path == prefix


def test_openapi_names_the_prefix(client, plain):
    assert client.get("/texts/v1/openapi.json").get_json()["servers"] == [{"url": "/texts/v1"}]
    assert "servers" not in plain.get("/openapi.json").get_json()


@pytest.mark.parametrize("path", PAGES)
def test_links_of_the_pages_are_relative(plain, path):
    links = re.findall(r'(?:href|src)="([^"]+)"', plain.get(path).text)
    assert links
    assert [link for link in links if not link.startswith(("./", "#", "https://"))] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "/ping", None), ("POST", "/predict", b"{"), ("GET", "/nowhere", None), ("PUT", "/ping", None)],
)
def test_pages_of_an_allowed_origin_may_read_every_response(client, method, path, body):
    headers = {"Content-Type": "application/json"} if body else {}
    response = client.open(path, method=method, data=body, headers={"Origin": ORIGIN, **headers})
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "X-Request-Id" in response.headers["Access-Control-Expose-Headers"]
    assert "Origin" in response.headers["Vary"]


@pytest.mark.parametrize("origin", ["https://b.example", "http://a.example", "https://a.example:444", "null", ""])
def test_other_origins_may_not(client, origin):
    response = client.get("/ping", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in response.headers
    assert response.headers["Vary"] == "Origin"


def test_a_preflight(client):
    asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    response = client.options("/predict", headers=asked)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert response.headers["Access-Control-Allow-Headers"] == ", ".join(ALLOWED_HEADERS)
    assert response.headers["Access-Control-Max-Age"]
    refused = client.options("/predict", headers={**asked, "Origin": "https://b.example"})
    assert not [name for name, _ in refused.headers if name.startswith("Access-Control")]


def test_nothing_is_added_by_default(plain):
    response = plain.get("/ping", headers={"Origin": ORIGIN})
    assert not [name for name, _ in response.headers if name.startswith("Access-Control") or name == "Vary"]


def test_a_page_keeps_its_own_vary(client):
    assert client.get("/").headers.getlist("Vary") == ["Accept-Encoding, Origin"]


def test_origins():
    assert origins_of("") == ()
    found = origins_of(" https://A.example,http://b:1 , https://a.example, HTTP://b:1")
    assert found == ("https://a.example", "http://b:1")
