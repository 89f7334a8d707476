"""The cache of imported models: one import, no request for a commit, and the last commit without the Hub."""

import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from loopback_hub import Hub, running_hub
from serving_stack import free_port
from tiny_engine import write_version

from serving.source.fetch import FetchedModel
from serving.source.hub_cache import HubCache
from serving.source.location import HubModel
from textclf.files import in_use, locked
from textclf.hub.client import HubClient
from textclf.hub.download import Downloaded
from textclf.hub.errors import HubUnreachableError
from textclf.hub.names import HubName
from textclf.store.model_store import open_model

NAME = "tests/tiny"
FILES = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": bytes(100_000)}


@pytest.fixture(scope="module")
def version(tmp_path_factory) -> Path:
    """A model store that stands for what an import writes."""
    store = tmp_path_factory.mktemp("imported") / "store"
    write_version(store)
    return store


class Servers:
    """Starts of servers with one cache."""

    def __init__(self, hub: Hub, version: Path, folder: Path) -> None:
        self.hub, self.version, self.folder = hub, version, folder
        self.imports: list[tuple[str, ...]] = []
        self.said: list[str] = []
        self.endpoint = hub.endpoint

    def start(self, name: str = NAME, tokenizer: str = "") -> FetchedModel:
        def import_model(model: Downloaded, tokenizer: Downloaded | None, store: Path) -> str:
            self.imports.append((model.commit, *([tokenizer.commit] if tokenizer else [])))
            assert {path.name for path in model.folder.iterdir()} == set(FILES)
            shutil.copytree(self.version, store)
            return "0" * 64

        cache = HubCache(
            self.folder, import_model, 10**6, self.said.append, lambda folder: HubClient(folder, self.endpoint)
        )
        parsed = HubName.parse(tokenizer, "TOKENIZER") if tokenizer else None
        return cache.fetch(HubModel(HubName.parse(name, "HUB_MODEL_NAME"), parsed))


@pytest.fixture
def servers(version, tmp_path):
    with running_hub() as hub:
        hub.add(NAME, FILES)
        yield Servers(hub, version, tmp_path / "cache")


def test_a_model_is_imported_once(servers):
    (commit,) = servers.hub.models[NAME]
    first = servers.start()
    assert (first.origin.location, first.origin.commit) == (NAME, commit)
    open_model(first.path).verify()
    servers.hub.requests.clear()
    assert servers.start() == first
    assert servers.imports == [(commit,)]
    assert [one.path for one in servers.hub.requests] == [f"/api/models/{NAME}/revision/main"]
    assert not list((servers.folder / "downloads").iterdir()), "downloads end with the import"


def test_a_pinned_commit_needs_no_request(servers):
    (commit,) = servers.hub.models[NAME]
    first = servers.start(f"{NAME}@{commit}")
    servers.hub.requests.clear()
    assert servers.start(f"{NAME}@{commit}") == first
    assert servers.hub.requests == []


def test_a_commit_that_could_not_be_imported_was_not_served(servers):
    first = servers.start()
    moved = servers.hub.add(NAME, {**FILES, "config.json": b"[1]", "README.md": b"more"})  # One file too many.
    with pytest.raises(AssertionError):
        servers.start()
    servers.endpoint = f"http://127.0.0.1:{free_port()}"
    assert servers.start() == first
    assert first.origin.commit != moved


def test_without_the_hub_the_last_commit_of_a_branch_is_served(servers):
    (commit,) = servers.hub.models[NAME]
    first = servers.start()
    servers.said.clear()
    servers.endpoint = f"http://127.0.0.1:{free_port()}"
    assert servers.start() == first
    (warning,) = servers.said
    assert warning.startswith(f"warning: {NAME}: the Hub can't be reached (ConnectError)")
    assert warning.endswith(f"serves commit {commit}, which was served last")
    with pytest.raises(HubUnreachableError):
        servers.start("tests/other")


def test_a_branch_that_moved_is_imported_again(servers):
    servers.start()
    second = servers.hub.add(NAME, {**FILES, "config.json": b"{ }"})
    assert servers.start().origin.commit == second
    assert len(servers.imports) == 2


def test_the_tokenizer_may_be_of_another_model(servers):
    (commit,) = servers.hub.models[NAME]
    other = servers.hub.add("tests/other", {"tokenizer.json": b"[]", "config.json": b"{}"})
    origin = servers.start(tokenizer="tests/other").origin
    assert (origin.location, origin.tokenizer, origin.tokenizer_commit) == (NAME, "tests/other", other)
    servers.start()
    assert servers.imports == [(commit, other), (commit,)]
    assert servers.hub.count("GET", "/tests/other/resolve") == 1, "only its tokenizer is downloaded"


# What no server needs.


def models(servers):
    return {path.name for path in (servers.folder / "models").iterdir()}


def move(servers):
    return servers.hub.add(NAME, {**FILES, "config.json": b"{ }"})


def test_a_former_commit_of_a_branch_is_removed(servers):
    first = servers.start()
    move(servers)
    second = servers.start()
    assert models(servers) == {second.path.parent.name}
    assert servers.said[-1].startswith(f"removed {first.path.parent.name} from the cache, a commit that {NAME} had")
    assert servers.start() == second


def test_a_former_commit_stays_while_a_server_has_it(servers):
    first = servers.start()
    move(servers)
    with in_use(first.path.parent):
        second = servers.start()
        open_model(first.path).verify()
    assert len(models(servers)) == 2
    servers.start()
    assert models(servers) == {second.path.parent.name}
    with pytest.raises(FileNotFoundError), in_use(first.path.parent):
        pass


@pytest.mark.parametrize("of_another", ["pinned", "tagged", "with another tokenizer"])
def test_a_former_commit_stays_for_other_servers(servers, of_another):
    (commit,) = servers.hub.models[NAME]
    if of_another == "with another tokenizer":
        servers.hub.add("tests/other", {"tokenizer.json": b"[]", "config.json": b"{}"})
        kept = servers.start(tokenizer="tests/other")
    else:
        kept = servers.start()
    if of_another == "pinned":
        servers.start(f"{NAME}@{commit}")
    elif of_another == "tagged":
        (servers.folder / "refs" / "of-a-tag").write_text(commit)
    move(servers)
    servers.start()
    assert len(models(servers)) == 2
    open_model(kept.path).verify()


def test_downloads_of_killed_imports_are_removed_and_those_of_living_ones_stay(servers):
    for name in ("killed", "living"):
        (servers.folder / "downloads" / name).mkdir(parents=True)
        (servers.folder / "downloads" / name / "part").write_bytes(b"0")
    (servers.folder / "locks").mkdir()
    with locked(servers.folder / "locks" / "living"):
        servers.start()
        assert [path.name for path in (servers.folder / "downloads").iterdir()] == ["living"]
    servers.start()
    assert not list((servers.folder / "downloads").iterdir())


def test_a_killed_import_continues_with_its_downloads(servers):
    key = servers.start().path.parent.name
    shutil.rmtree(servers.folder / "models")
    part = servers.folder / "downloads" / key / "part"
    part.parent.mkdir()
    part.write_bytes(b"0")
    seen = []
    say, servers.said = servers.said, SimpleNamespace(append=lambda line: seen.append((line, part.exists())))
    servers.start()
    servers.said = say
    assert seen[0] == (f"downloads {NAME} (commit {servers.imports[0][0]})", True)
    assert not part.exists()


def test_a_damaged_file_is_imported_again(servers):
    (weights,) = servers.start().path.rglob("model.bin")
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    open_model(servers.start().path).verify()
    assert len(servers.imports) == 2
    assert any(line.startswith("warning: the cache is damaged") for line in servers.said)


def test_two_servers_import_once(servers):
    servers.hub.gate.clear()
    found: list[FetchedModel] = []
    threads = [threading.Thread(target=lambda: found.append(servers.start())) for _ in range(2)]
    for thread in threads:
        thread.start()
    servers.hub.gate.set()
    for thread in threads:
        thread.join(60)
    assert found[0] == found[1]
    assert len(servers.imports) == 1


def test_a_failed_import_leaves_no_model(servers):
    with pytest.raises(FileNotFoundError):
        Servers(servers.hub, Path("absent"), servers.folder).start()
    assert not list((servers.folder / "models").iterdir())
    servers.start()
