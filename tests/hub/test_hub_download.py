"""Downloads from the Hub: what is asked, what is checked, and each failure as one line.

huggingface_hub reads its environment when it is imported, so that each download runs in a process of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_hub import SIGNATURE, Hub, running_hub
from serving_stack import ROOT, free_port

from textclf.hub.client import HubClient
from textclf.hub.download import download_model, find_commit
from textclf.hub.names import HubName

NAME = "tests/tiny"
TOKEN = "hf_token-of-nobody"  # noqa: S105
WEIGHTS = bytes(range(256)) * 2000
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "README.md": b"---\nlicense: apache-2.0\n---\n",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"a pickle",
    "modeling_tiny.py": b"raise SystemExit",
}
NEEDED = {name: content for name, content in FILES.items() if not name.endswith((".bin", ".py"))}
_DOWNLOAD = """
import json, sys
from pathlib import Path
from textclf.errors import TextClfError
from textclf.hub.client import HubClient
from textclf.hub.download import download_model, find_commit
from textclf.hub.names import HubName
client = HubClient(Path(sys.argv[2]) if sys.argv[2] else None)
try:
    listing = find_commit(client, HubName.parse(sys.argv[1], "HUB_MODEL_NAME"))
    found = download_model(client, listing, int(sys.argv[3]), "choose a smaller one")
    print(json.dumps(["", found.commit, str(found.folder)]))
except (TextClfError, OSError) as error:
    print(json.dumps([type(error).__name__, str(error), ""]))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        hub.add(NAME, FILES)
        yield hub


def download(
    hub: Hub | None, cache: Path | None, name: str = NAME, max_bytes: int = 10**7, **environ: str
) -> list[str]:
    """The class of the error ("" for none), then the commit and the folder, or the message; nothing else is printed."""
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_XET": "1"}
    if hub is not None:
        base["HF_ENDPOINT"] = hub.endpoint
    command = [sys.executable, "-c", _DOWNLOAD, name, str(cache or ""), str(max_bytes)]
    result = subprocess.run(command, env={**base, **environ}, capture_output=True, text=True, timeout=120)
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1, result.stdout
    return json.loads(result.stdout)


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_the_needed_files_of_one_commit_are_downloaded_once(hub, tmp_path):
    (commit,) = hub.models[NAME]
    kind, found, folder = download(hub, tmp_path, HF_TOKEN=TOKEN)
    assert (kind, found) == ("", commit)
    assert contents(folder) == NEEDED
    assert hub.count("GET", "/cdn/") == 1
    assert {one.token for one in hub.requests if not one.path.startswith("/cdn/")} == {TOKEN}
    assert {one.token for one in hub.requests if one.path.startswith("/cdn/")} == {None}, "the token stays at the Hub"
    asked = {one.path.rpartition("/")[2] for one in hub.requests if "/resolve/" in one.path}
    assert asked == set(NEEDED)
    hub.requests.clear()
    assert download(hub, tmp_path) == ["", commit, folder]
    assert [one.path for one in hub.requests] == [f"/api/models/{NAME}/revision/main"]


def test_a_branch_moves_and_a_commit_does_not(hub, tmp_path):
    (first,) = hub.models[NAME]
    second = hub.add(NAME, {**FILES, "config.json": b'{"model_type": "roberta"}'})
    assert download(hub, tmp_path)[1] == second
    assert download(hub, tmp_path, f"{NAME}@{first}")[1] == first


def test_a_broken_connection_continues_where_it_stopped(hub, tmp_path):
    # huggingface_hub writes chunks of 10 MiB.
    weights = WEIGHTS * 48
    hub.add("tests/large", {**FILES, "model.safetensors": weights})
    hub.fault = "cut"
    kind, _, folder = download(hub, tmp_path, "tests/large", max_bytes=10**8)
    assert (kind, contents(folder)) == ("", {**NEEDED, "model.safetensors": weights})
    assert [one.range for one in hub.requests if "/cdn/" in one.path] == [None, f"bytes={10 << 20}-"]


def test_shards_are_weights(hub, tmp_path):
    shards = {f"model-0000{i}-of-00002.safetensors": WEIGHTS[i:] for i in (1, 2)}
    files = {name: content for name, content in NEEDED.items() if name != "model.safetensors"}
    files |= {"model.safetensors.index.json": b"{}", **shards}
    hub.add("tests/shards", {**files, "adapter.safetensors": b"other"})
    assert contents(download(hub, tmp_path, "tests/shards")[2]) == files


def without(*names: str) -> dict[str, bytes]:
    return {name: content for name, content in FILES.items() if name not in names}


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (
            "gated",
            "HubError",
            "tests/tiny: access is gated; accept the conditions on the model's page, and set HF_TOKEN",
        ),
        ("403", "HubError", "tests/tiny: access is denied; set HF_TOKEN"),
        ("500", "HubUnreachableError", "tests/tiny: the Hub answered with status 500; try again later"),
        ("429", "HubUnreachableError", "tests/tiny: the Hub answered with status 429"),
        ("html", "HubError", "tests/tiny: what answered is not the Hub; check HF_ENDPOINT"),
        ("lost", "HubError", "tests/tiny: model.safetensors: a file is listed and can't be read"),
        ("broken", "HubError", "tests/tiny: model.safetensors: expected SHA-256 "),
        ("changed", "HubError", "tests/tiny: config.json: expected the git hash "),
        ("short", "HubError", "tests/tiny: model.safetensors: expected a file of another size than was received"),
    ],
)
def test_a_failure_of_the_hub_is_one_line(hub, tmp_path, fault, kind, says):
    hub.fault = fault
    found, message, _ = download(hub, tmp_path)
    assert (found, message[: len(says)]) == (kind, says)
    assert SIGNATURE not in message
    assert "\n" not in message
    hub.fault = ""
    assert contents(download(hub, tmp_path)[2]) == NEEDED, "nothing broken stays in the cache"


@pytest.mark.slow
def test_a_connection_that_always_breaks_is_one_line(hub, tmp_path):
    hub.fault = "cut"
    kind, message, _ = download(hub, tmp_path)
    assert kind == "HubUnreachableError"
    assert message.startswith("tests/tiny: model.safetensors: the Hub can't be reached (")


@pytest.mark.parametrize(
    ("name", "files", "kind", "says"),
    [
        ("tests/absent", None, "HubError", "tests/absent: there is no such model, or it is private; correct the name"),
        (f"{NAME}@v2", None, "HubError", "tests/tiny@v2: there is no such revision; name a branch, a tag"),
        ("../etc", None, "ConfigError", "HUB_MODEL_NAME: expected a model of the Hub as OWNER/NAME"),
        (f"{NAME}@", None, "ConfigError", "HUB_MODEL_NAME: expected a model of the Hub as OWNER/NAME"),
        (
            "tests/slow-tokenizer",
            without("tokenizer.json"),
            "UnusableHubModelError",
            "tests/slow-tokenizer: expected tokenizer.json, found README.md, config.json, model.safetensors and 3 more",
        ),
        (
            "tests/pickle",
            without("model.safetensors"),
            "UnusableHubModelError",
            "tests/pickle: expected weights in model.safetensors, found pytorch_model.bin; pickles can run code",
        ),
    ],
)
def test_what_can_not_be_had_is_one_line(hub, tmp_path, name, files, kind, says):
    if files is not None:
        hub.add(name, files)
    found, message, _ = download(hub, tmp_path, name)
    assert (found, message[: len(says)]) == (kind, says)
    assert hub.count("GET", "/resolve/") == 0, "nothing was downloaded"


def test_a_model_over_the_limit_is_not_downloaded(hub, tmp_path):
    kind, message, _ = download(hub, tmp_path, max_bytes=1000)
    assert kind == "UnusableHubModelError"
    assert "expected at most 1,000 bytes to download, got 512,0" in message
    assert message.endswith("; choose a smaller one")
    assert hub.count("GET", "/resolve/") == 0


def test_a_private_model_needs_its_token(hub, tmp_path):
    hub.token = TOKEN
    assert download(hub, tmp_path)[1].startswith("tests/tiny: there is no such model, or it is private")
    kind, message, _ = download(hub, tmp_path, HF_TOKEN=f"{TOKEN}-other")
    assert kind == "HubError"
    assert TOKEN not in message
    assert download(hub, tmp_path, HF_TOKEN=TOKEN)[0] == ""


def test_the_cache_serves_without_the_hub(hub, tmp_path):
    (commit,) = hub.models[NAME]
    _, _, folder = download(hub, None, HF_HOME=str(tmp_path))
    closed = {"HF_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    for environ in (closed, {"HF_HUB_OFFLINE": "1"}):
        for name in (NAME, f"{NAME}@{commit}"):
            assert download(None, None, name, HF_HOME=str(tmp_path), **environ) == ["", commit, folder]
    for environ, says in (
        (closed, "the Hub can't be reached (ConnectError)"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE"),
    ):
        kind, message, _ = download(None, tmp_path / "empty", **environ)
        assert (kind, says in message) == ("HubUnreachableError", True), message


def test_a_tokenizer_alone_is_found_in_the_cache(hub, tmp_path):
    commit = hub.add("tests/words", {"tokenizer.json": b"{}"})
    name = HubName("tests/words")
    clients = [HubClient(tmp_path, endpoint) for endpoint in (hub.endpoint, f"http://127.0.0.1:{free_port()}")]
    found = [download_model(client, find_commit(client, name), 100, "", tokenizer_only=True) for client in clients]
    assert found[0] == found[1]
    assert found[1].commit == commit


def test_ctrl_c_keeps_what_was_downloaded(hub, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    client = HubClient(tmp_path, hub.endpoint)
    listing = client.list_files(HubName(NAME))
    with monkeypatch.context() as patch:
        patch.setattr("textclf.hub.download.check_content", interrupt)
        with pytest.raises(KeyboardInterrupt):
            download_model(client, listing, 10**7, "")
    hub.requests.clear()
    assert contents(download_model(client, listing, 10**7, "").folder) == NEEDED
    assert not [one for one in hub.requests if one.path.endswith("/config.json")]


def test_a_hub_that_does_not_respond_is_one_line(hub, tmp_path):
    hub.gate.clear()
    kind, message, _ = download(hub, tmp_path, HF_HUB_ETAG_TIMEOUT="1", HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert (kind, "the Hub can't be reached (ReadTimeout)" in message) == ("HubUnreachableError", True), message


def test_a_full_disk_is_an_error_of_the_file_system(hub):
    kind, message, _ = download(hub, Path("/dev/full/cache"))
    assert kind in ("NotADirectoryError", "FileExistsError")
    assert "/dev/full" in message


def test_without_the_extra_it_is_named(tmp_path):
    (tmp_path / "huggingface_hub.py").write_text("raise ModuleNotFoundError(name='huggingface_hub')", "utf-8")
    kind, message, _ = download(None, tmp_path, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert kind == "ConfigError"
    assert "need the package huggingface_hub, found none; install textclf with its extra `hub`" in message
