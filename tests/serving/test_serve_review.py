"""The labelling queue through nginx and gunicorn: draw, label and undo, and who may read the logged texts."""

import tempfile

import pytest
from serving_stack import any_address, need_nginx, running_stack, wait_for
from tiny_engine import write_version

from textclf.data.labelled_reviews import read_labelled_reviews

TEXTS = ["A great film, but too long.", "Dull."]
KEY = {"X_API_Key": "secret"}


@pytest.fixture
def serve(tmp_path):
    """Return a context with a running server that logs texts."""
    need_nginx()
    write_version(tmp_path / "model", cascade=True)
    with tempfile.TemporaryDirectory(prefix="textclf-test-") as short:

        def run(**values):
            log = f"sqlite:///{tmp_path}/log/predictions.sqlite"
            given = {"NEW_DATA_DIR": str(tmp_path / "new"), "PREDICTION_LOG_URL": log, "PREDICTION_LOG_TEXT": "1"}
            given |= {"MODEL_SERVER_WORKERS": "1", "TMPDIR": short, **values}
            return running_stack(tmp_path, tmp_path / "model", **given)

        yield run


def drawn(stack, mode="audit", **headers):
    """The texts; none while the log does not exist, which the first batch of predictions makes."""
    response = stack.request("POST", "/review/texts", {"mode": mode}, **headers)
    if response.status == 503:
        assert response.json["error"]["code"] == "log_unavailable"
        return []
    assert response.status == 200, response.body
    return response.json["texts"]


def test_texts_are_drawn_labelled_and_taken_back(serve, tmp_path):
    with serve(API_KEY="") as stack:
        assert stack.request("POST", "/predict", {"X": TEXTS}).status == 200
        items = wait_for(lambda: found if len(found := drawn(stack)) == len(TEXTS) else None)
        assert sorted(item["text"] for item in items) == sorted(TEXTS)
        item = items[0]
        body = {"text": item["text"], "label": "pos", "draw": item["draw"]}
        stored = stack.request("POST", "/review/labels", body)
        assert (stored.status, stored.json["audit"]) == (201, True)
        (review,) = read_labelled_reviews(tmp_path / "new").reviews
        assert (review.text, review.label, review.audit) == (item["text"], "pos", True)
        again = stack.request("POST", "/review/labels", body)
        assert (again.status, again.json["error"]["code"]) == (409, "already_labelled")
        undone = stack.request("POST", "/review/undo", {"undo": stored.json["undo"]})
        assert (undone.status, undone.json["removed"]) == (200, True)
        assert read_labelled_reviews(tmp_path / "new").reviews == ()
        assert len(drawn(stack, "informative")) == len(TEXTS)
        for path in ("/review/texts", "/review/labels", "/review/undo"):
            refused = stack.request("TRACE", path)
            assert (refused.status, refused.headers["allow"]) == (405, "OPTIONS, POST")
        assert stack.request("POST", "/review/other", {}).status == 404
        page = stack.request("GET", "/review")
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        counted = 'textclf_requests_total{method="POST",route="/review/labels",status="201"} 1.0'
        wait_for(lambda: counted in stack.request("GET", "/metrics").body.decode())
        assert stack.stop() == 0, stack.log
        assert "Traceback" not in stack.log
        assert not any(text in stack.log for text in TEXTS)


def test_every_route_needs_the_key(serve):
    with serve(API_KEY="secret") as stack:
        assert stack.request("POST", "/predict", {"X": TEXTS}, **KEY).status == 200
        wait_for(lambda: len(drawn(stack, **KEY)) == len(TEXTS))
        for path in ("/review/texts", "/review/labels", "/review/undo"):
            refused = stack.request("POST", path, {"mode": "audit"})
            assert (refused.status, refused.json["error"]["code"]) == (401, "unauthorized")


def test_on_all_interfaces_without_a_key_no_text_is_shown(serve):
    with serve(API_KEY="", HOST=any_address()) as stack:
        assert stack.request("POST", "/predict", {"X": TEXTS}).status == 200
        refused = stack.request("POST", "/review/texts", {"mode": "audit"})
        assert (refused.status, refused.json["error"]["code"]) == (403, "review_needs_key")
        assert "set API_KEY" in refused.json["error"]["message"]
