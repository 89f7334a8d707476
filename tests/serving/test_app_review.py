"""The labelling queue over HTTP: signed draws, labels, undo, and who may call a label an audit."""

import contextlib
import dataclasses
import json
import threading
import time

import pytest
from random_features import random_rows
from serving_models import inference, settings

from serving.app import create_app
from textclf.data.feedback_index import INDEX
from textclf.data.labelled_reviews import read_labelled_reviews
from textclf.data.labelling import draw_signatures
from textclf.data.labelling.draw_signatures import KEY_FILE, DrawSignatures
from textclf.data.labelling.labelled_texts import LabelledTexts
from textclf.data.prediction_log.log import PredictionLog

VERSION = "20260101T000000000Z-0a1b2c"
KEY = {"X-API-Key": "secret"}


def log_rows(folder, texts, version=VERSION, moment=None):
    url = f"sqlite:///{folder}/log/predictions.sqlite"
    rows = random_rows(len(texts), version=version, start=time.time() - 600 if moment is None else moment)
    with contextlib.closing(PredictionLog(url)) as log:
        log.append([dataclasses.replace(row, text=text) for row, text in zip(rows, texts, strict=True)])
    return url


@pytest.fixture
def make(tmp_path):
    """Return a client of a server that logged some texts."""

    def make_client(texts=("good one", "bad two", "good three"), **values):
        url = log_rows(tmp_path, texts)
        given = settings(tmp_path, **{"prediction_log_url": url, "prediction_log_text": True, **values})
        return create_app(given, inference()).test_client()

    return make_client


def draw(client, mode="audit", headers=None, **more):
    response = client.post("/review/texts", json={"mode": mode, **more}, headers=headers)
    assert response.status_code == 200, response.get_data(as_text=True)
    return response.get_json()


def label(client, item, name="pos", **more):
    body = {"text": item["text"], "label": name, **({"draw": item["draw"]} if "draw" in item else {}), **more}
    return client.post("/review/labels", json=body)


def error(response):
    return response.status_code, response.get_json()["error"]["code"]


def reviews(folder):
    return {
        (review.text, review.label, review.audit, review.source)
        for review in read_labelled_reviews(folder / "new").reviews
    }


def test_an_audit_is_drawn_signed_and_stored_as_one(make, tmp_path):
    client = make()
    drawn = draw(client)
    assert {item["text"] for item in drawn["texts"]} == {"good one", "bad two", "good three"}
    assert all(set(item) == {"key", "text", "draw"} for item in drawn["texts"]), "no prediction that sways a person"
    assert drawn["labels"] == ["neg", "pos", "(other)"]
    assert drawn["labelled"] == {"texts": 0, "audits": 0}
    response = label(client, drawn["texts"][0], "(other)", source="ann")
    assert response.status_code == 201
    assert (response.get_json()["label"], response.get_json()["audit"]) == ("(other)", True)
    assert reviews(tmp_path) == {(drawn["texts"][0]["text"], "(other)", True, "ann")}
    again = draw(client)
    assert {item["text"] for item in again["texts"]} == {item["text"] for item in drawn["texts"][1:]}
    assert again["labelled"] == {"texts": 1, "audits": 1}


def test_an_informative_text_shows_its_prediction_and_is_no_audit(make, tmp_path):
    client = make()
    drawn = draw(client, "informative", count=2)
    assert len(drawn["texts"]) == 2
    assert all(set(item) == {"key", "text", "label", "reasons"} for item in drawn["texts"])
    assert label(client, drawn["texts"][0]).get_json()["audit"] is False
    assert reviews(tmp_path) == {(drawn["texts"][0]["text"], "pos", False, "")}


def test_a_corrected_text_stays_in_the_audit(make):
    """Users correct errors, so an audit without their texts would find too few errors."""
    client = make()
    assert client.post("/feedback", json={"text": "bad two", "label": "pos"}).status_code == 201
    assert "bad two" in {item["text"] for item in draw(client)["texts"]}
    assert "bad two" not in {item["text"] for item in draw(client, "informative")["texts"]}


def test_copies_blank_texts_skipped_texts_and_other_versions_are_left_out(make, tmp_path):
    client = make(["good", "GOOD", " good ", "bad", " ", "other"])
    log_rows(tmp_path, ["of another version"], version="v2")
    log_rows(tmp_path, [None], version=VERSION)
    found = draw(client)["texts"]
    assert sorted(item["text"].strip().lower() for item in found) == ["bad", "good", "other"]
    skipped = [item["key"] for item in found if item["text"] == "other"]
    for mode in ("audit", "informative"):
        left = draw(client, mode, skipped=skipped)["texts"]
        assert sorted(item["text"].strip().lower() for item in left) == ["bad", "good"]


def test_days_bound_the_texts(make, tmp_path):
    client = make(["new one"])
    log_rows(tmp_path, ["an old one"], moment=time.time() - 3 * 86_400)
    assert [item["text"] for item in draw(client, days=1)["texts"]] == ["new one"]
    assert len(draw(client)["texts"]) == 2


@pytest.mark.parametrize("name", ["text", "forged", "damaged", "empty", "expired", "version", "undo", "key"])
def test_a_draw_that_the_server_did_not_sign_is_refused(make, tmp_path, name):
    client = make()
    item, other = draw(client)["texts"][:2]
    signatures = DrawSignatures(tmp_path / "new")
    match name:
        case "text":
            item["draw"] = other["draw"]
        case "forged":
            item["draw"] = DrawSignatures(tmp_path / "elsewhere").sign(item["text"], VERSION)
        case "damaged":
            item["draw"] = ("A" if item["draw"][0] != "A" else "B") + item["draw"][1:]
        case "empty":
            item["draw"] = ""
        case "expired":
            late = time.time() - draw_signatures.VALID_SECONDS - 1
            item["draw"] = DrawSignatures(tmp_path / "new", lambda: late).sign(item["text"], VERSION)
        case "version":
            item["draw"] = signatures.sign(item["text"], "20250101T000000000Z-0a1b2c")
        case "undo":
            item["draw"] = signatures.sign_undo("x")
        case "key":
            (tmp_path / "new" / KEY_FILE).unlink()
    response = label(client, item)
    assert error(response) == (422, "invalid_draw")
    assert "draw the text again" in response.get_json()["error"]["message"]
    assert not list((tmp_path / "new").glob("train/*/*.txt"))


def test_a_label_that_is_no_class_is_refused_and_the_draw_stays_valid(make):
    client = make()
    item = draw(client)["texts"][0]
    assert error(label(client, item, "neutral")) == (422, "unknown_label")
    assert label(client, item, "NEG").get_json()["label"] == "neg"


def test_a_draw_gives_one_label(make, tmp_path):
    client = make()
    item = draw(client)["texts"][0]
    assert label(client, item).status_code == 201
    for name in ("pos", "neg"):
        assert error(label(client, item, name)) == (409, "already_labelled")
    assert reviews(tmp_path) == {(item["text"], "pos", True, "")}


def test_threads_with_one_draw_store_one_label(make, tmp_path):
    client = make()
    item = draw(client)["texts"][0]
    found = []
    threads = [
        threading.Thread(
            target=lambda name: found.append(label(client.application.test_client(), item, name).status_code),
            args=(name,),
        )
        for name in ("pos", "neg", "pos", "neg")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == [201, 409, 409, 409]
    assert len(reviews(tmp_path)) == 1


def test_a_label_is_taken_back_and_given_again(make, tmp_path):
    client = make()
    item = draw(client)["texts"][0]
    undo = label(client, item).get_json()["undo"]
    response = client.post("/review/undo", json={"undo": undo})
    assert (response.status_code, response.get_json()["removed"]) == (200, True)
    assert client.post("/review/undo", json={"undo": undo}).get_json()["removed"] is False
    assert read_labelled_reviews(tmp_path / "new").reviews == ()
    assert len(draw(client)["texts"]) == 3
    assert label(client, item, "neg").status_code == 201
    assert reviews(tmp_path) == {(item["text"], "neg", True, "")}


def test_only_the_sender_of_a_label_can_take_it_back(make, tmp_path):
    client = make()
    stored = label(client, draw(client)["texts"][0]).get_json()
    for undo in (stored["id"], DrawSignatures(tmp_path / "elsewhere").sign_undo(stored["id"]), "x.y", ""):
        assert error(client.post("/review/undo", json={"undo": undo})) == (422, "invalid_draw")
    late = DrawSignatures(tmp_path / "new", lambda: time.time() - draw_signatures.UNDO_SECONDS - 1)
    assert error(client.post("/review/undo", json={"undo": late.sign_undo(stored["id"])})) == (422, "invalid_draw")
    assert len(reviews(tmp_path)) == 1


def test_removed_labels_free_their_space(make, tmp_path):
    client = make(new_data_max_bytes=3 * 4096)
    first, second, third = draw(client)["texts"]
    undo = label(client, first).get_json()["undo"]
    assert label(client, second).status_code == 201
    assert error(label(client, third)) == (507, "quota_exceeded")
    assert client.post("/review/undo", json={"undo": undo}).status_code == 200
    assert label(client, third).status_code == 201


def test_an_audit_without_a_draw_needs_the_key(make, tmp_path):
    body = {"text": "good", "label": "pos", "audit": True}
    client = make()
    response = client.post("/feedback", json=body)
    assert error(response) == (401, "unauthorized")
    assert "API_KEY" in response.get_json()["error"]["message"]
    assert client.post("/feedback", json={**body, "audit": False}).status_code == 201
    with_key = make(api_key="secret")
    assert error(with_key.post("/feedback", json=body)) == (401, "unauthorized")
    assert with_key.post("/feedback", json=body, headers=KEY).status_code == 201
    # A server that logs no texts draws none: there an audit is the client's own draw.
    assert make(prediction_log_text=False).post("/feedback", json=body).status_code == 201


@pytest.mark.parametrize("path", ["/review/texts", "/review/labels", "/review/undo"])
def test_every_route_needs_the_key(make, path):
    client = make(api_key="secret")
    assert error(client.post(path, json={})) == (401, "unauthorized")
    assert error(client.post(path, json={}, headers=KEY)) == (422, "wrong_shape")
    assert error(client.get(path)) == (405, "method_not_allowed")


@pytest.mark.parametrize("values", [{"prediction_log_text": False}, {"prediction_log_url": "off"}])
def test_without_texts_it_names_the_setting(make, values):
    client = make(**values)
    response = client.post("/review/texts", json={"mode": "audit"})
    assert error(response) == (422, "review_unavailable")
    assert "PREDICTION_LOG_TEXT=1" in response.get_json()["error"]["message"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "server.example"])  # noqa: S104
def test_without_a_key_only_clients_of_the_same_machine_read_texts(make, host):
    client = make(host=host)
    for mode in ("audit", "informative"):
        response = client.post("/review/texts", json={"mode": mode})
        assert error(response) == (403, "review_needs_key")
        assert "set API_KEY" in response.get_json()["error"]["message"]
        assert "good" not in response.get_data(as_text=True)
    for local in ("127.0.0.1", "127.8.0.1", "::1", "localhost"):
        assert len(draw(make([], host=local))["texts"]) == 3
    assert len(draw(make([], host=host, api_key="secret"), headers=KEY)["texts"]) == 3


def test_an_index_that_can_not_be_read_is_a_storage_error(make, tmp_path, caplog):
    client = make()
    (tmp_path / "new" / INDEX).mkdir(parents=True)
    for mode in ("audit", "informative"):
        response = client.post("/review/texts", json={"mode": mode})
        assert error(response) == (507, "storage_unavailable")
        assert str(tmp_path) not in response.get_data(as_text=True)
    assert "expected a readable index of the reviews" in caplog.text


def test_a_draw_reads_the_folder_of_the_reviews_once(make, monkeypatch):
    read = LabelledTexts.read
    calls = []
    monkeypatch.setattr(LabelledTexts, "read", lambda self: calls.append(self) or read(self))
    client = make()
    for count, mode in enumerate(("audit", "informative"), 1):
        draw(client, mode)
        assert len(calls) == count


def test_a_log_that_can_not_be_read_is_no_fault_of_the_client(tmp_path, caplog):
    url = f"sqlite:///{tmp_path}/missing/predictions.sqlite"
    given = settings(tmp_path, prediction_log_url=url, prediction_log_text=True)
    client = create_app(given, inference()).test_client()
    assert error(client.post("/review/texts", json={"mode": "audit"})) == (503, "log_unavailable")
    assert str(tmp_path) not in client.post("/review/texts", json={"mode": "audit"}).get_data(as_text=True)
    assert "texts can't be drawn" in caplog.text


BAD = [
    ("/review/texts", {}, "mode"),
    ("/review/texts", {"mode": "random"}, "mode"),
    ("/review/texts", {"mode": "audit", "count": 0}, "count"),
    ("/review/texts", {"mode": "audit", "count": 101}, "count"),
    ("/review/texts", {"mode": "audit", "count": True}, "count"),
    ("/review/texts", {"mode": "audit", "days": 0}, "days"),
    ("/review/texts", {"mode": "audit", "days": "1"}, "days"),
    ("/review/texts", {"mode": "audit", "skipped": ["xy"]}, "skipped"),
    ("/review/texts", {"mode": "audit", "skipped": ["0" * 32] * 1001}, "skipped"),
    ("/review/texts", {"mode": "audit", "since": 1}, "since"),
    ("/review/labels", {"text": "good"}, "label"),
    ("/review/labels", {"text": "good", "label": "pos", "draw": 1}, "draw"),
    ("/review/labels", {"text": "good", "label": "pos", "audit": True}, "audit"),
    ("/review/undo", {"undo": None}, "undo"),
]


@pytest.mark.parametrize(("path", "body", "named"), BAD)
def test_bad_requests(make, path, body, named):
    response = make().post(path, json=body)
    assert error(response) == (422, "wrong_shape")
    assert named in response.get_json()["error"]["message"]


def test_no_text_reaches_the_log_unless_it_is_asked_for(make, capsys):
    client = make()
    item = draw(client)["texts"][0]
    label(client, item)
    label(client, {**item, "draw": "x.y"})
    printed = capsys.readouterr()
    assert [json.loads(line)["path"] for line in printed.out.splitlines()] == [
        "/review/texts", "/review/labels", "/review/labels"
    ]  # fmt: skip
    for text in ("good one", "bad two", "good three", item["draw"]):
        assert text not in printed.out + printed.err


def test_draws_labels_and_removed_labels_are_counted(make):
    client = make()
    item = draw(client)["texts"][0]
    client.post("/review/undo", json={"undo": label(client, item).get_json()["undo"]})
    text = client.get("/metrics").get_data(as_text=True)
    assert 'textclf_drawn_texts_total{mode="audit"} 3.0' in text
    assert "textclf_reviews_stored_total 1.0" in text
    assert "textclf_reviews_removed_total 1.0" in text


def test_the_key_is_private_and_one_for_all_workers(make, tmp_path):
    first, second = make(), make([])
    path = tmp_path / "new" / KEY_FILE
    assert not path.exists(), "a server makes it with its first draw"
    item = draw(first)["texts"][0]
    assert (path.stat().st_mode & 0o777, path.stat().st_size) == (0o600, 32)
    assert label(second, item).get_json()["audit"] is True
    assert [entry.name for entry in (tmp_path / "new").iterdir() if entry.name.endswith(".tmp")] == []
