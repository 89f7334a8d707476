"""SERVERLESS=true: one worker and no file outside TMPDIR, also as a foreign user of a read-only file system."""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from serving_stack import ROOT, need_nginx, running_stack
from tiny_engine import write_version

from serving.server.serverless import serverless_environment
from serving.settings import Settings

TEMPORARY = Path("/srv/tmp")
USER = "4242"
# In mounts of its own: only TMPDIR, an empty tmpfs, can be written. The user may read what is root's, because the
# Python of the tests may be there.
_READ_ONLY = """
set -e
mount -o remount,ro,bind /
mount -t tmpfs -o ro tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs "$TMPDIR"
cd /
exec setpriv --reuid USER --regid USER --clear-groups $MAY_READ "$0" "$@"
""".replace("USER", USER).replace("$MAY_READ", "--inh-caps +dac_read_search --ambient-caps +dac_read_search")


def changed(**environ: str) -> tuple[Settings, list[str]]:
    found, notes = serverless_environment(environ, TEMPORARY)
    return Settings.from_environment(found), notes


def test_one_worker_unless_another_number_is_given():
    assert changed()[0].model_server_workers == 1
    assert changed(MODEL_SERVER_WORKERS="3")[0].model_server_workers == 3


def test_files_outside_the_temporary_folder_are_not_written_and_named():
    settings, notes = changed(NEW_DATA_DIR="/data/new_data", PROMETHEUS_MULTIPROC_DIR="/metrics")
    assert (settings.prediction_log_url, settings.prometheus_multiproc_dir) == ("off", "")
    assert settings.new_data_dir == Path("/dev/null/new_data")
    assert [note.partition(",")[0] for note in notes] == [
        "POST /feedback is refused",
        "predictions are not logged",
        "metrics are in TMPDIR",
    ]


def test_what_is_below_the_temporary_folder_or_in_a_database_stays():
    environ = {"NEW_DATA_DIR": "/srv/tmp/reviews", "PROMETHEUS_MULTIPROC_DIR": "/srv/tmp/metrics"}
    for url in ("off", "sqlite:////srv/tmp/log.sqlite", "postgresql://user:secret@host/database"):
        settings, notes = changed(PREDICTION_LOG_URL=url, **environ)
        assert (settings.prediction_log_url, notes) == (url, [])
        assert (str(settings.new_data_dir), settings.prometheus_multiproc_dir) == tuple(environ.values())


def test_a_malformed_log_is_left_to_the_settings():
    environ, _ = serverless_environment({"PREDICTION_LOG_URL": "nonsense"}, TEMPORARY)
    assert environ["PREDICTION_LOG_URL"] == "nonsense"


def test_a_folder_that_leads_out_of_the_temporary_folder_is_outside(tmp_path):
    (tmp_path / "link").symlink_to("/var")
    environ, notes = serverless_environment(
        {"NEW_DATA_DIR": str(tmp_path / "link"), "PREDICTION_LOG_URL": "off"}, tmp_path
    )
    assert len(notes) == 1
    assert environ["NEW_DATA_DIR"] == "/dev/null/new_data"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and become another user")
@pytest.mark.skipif(not (shutil.which("unshare") and shutil.which("setpriv")), reason="util-linux is not installed")
@pytest.mark.parametrize("nginx", ["", "off"])
def test_a_foreign_user_serves_an_archive_on_a_read_only_file_system(nginx):
    need_nginx()
    # Folders of pytest are private to root.
    with tempfile.TemporaryDirectory(prefix="textclf-test-") as name:
        folder = Path(name)
        (folder / "tmp").mkdir()
        write_version(folder / "store")
        with tarfile.open(folder / "model.tar.gz", "w:gz") as tar:
            tar.add(folder / "store", ".")
        shutil.rmtree(folder / "store")
        for path in (folder, folder / "model.tar.gz"):
            path.chmod(0o755)
        mounts = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _READ_ONLY]
        probe = [*mounts, sys.executable, "-c", "import os; print(os.getuid())"]
        environ = {**os.environ, "TMPDIR": str(folder / "tmp")}
        found = subprocess.run(probe, env=environ, capture_output=True, text=True, timeout=60)
        if found.stdout != f"{USER}\n":
            pytest.skip(f"this machine lets root make no mounts and users: {found.stderr}")
        command = [*mounts, sys.executable, "-B", str(ROOT / "serving" / "serve")]
        environ = {
            "SERVERLESS": "True",
            "TMPDIR": str(folder / "tmp"),
            "NEW_DATA_DIR": "/data/new_data",
            "MODEL_SERVER_WORKERS": "",
            "HOME": "/nonexistent",
            "NGINX": nginx,
        }
        before = sorted(folder.rglob("*"))
        with running_stack(folder, folder / "model.tar.gz", command=command, **environ) as stack:
            assert "with 1 gunicorn worker" in stack.log
            assert stack.request("POST", "/predict", {"text": "a great film"}).status == 200
            explained = stack.request("POST", "/invocations", {"data": "a great film", "explain": True})
            assert (explained.status, "explanation" in explained.json) == (200, True)
            refused = stack.request("POST", "/feedback", {"text": "a great film", "label": "pos"})
            assert (refused.status, refused.json["error"]["code"]) == (507, "storage_unavailable")
            assert "textclf_texts_total" in stack.request("GET", "/metrics").body.decode()
            assert stack.stop() == 0, stack.log
            assert "Traceback" not in stack.log
            assert "Read-only" not in stack.log
        assert sorted(folder.rglob("*")) == sorted([*before, folder / "serve.log"])
