"""Folders of a server: what killed servers left is removed, and nothing that is in use."""

import os

import pytest

from serving.server.fresh_folders import fresh_folder, remove_abandoned

PREFIX = "textclf-model-"


def test_folders_of_killed_servers_are_removed(tmp_path):
    (tmp_path / f"{PREFIX}killed" / "unpacked").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "other")
    (tmp_path / f"{PREFIX}file").touch()
    with fresh_folder("TMPDIR", str(tmp_path), PREFIX) as living:
        remove_abandoned(str(tmp_path), PREFIX)
        expected = {living.name, "other", f"{PREFIX}link", f"{PREFIX}file"}
        assert {path.name for path in tmp_path.iterdir()} == expected
    assert not living.exists()
    remove_abandoned(str(tmp_path / "absent"), PREFIX)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_folders_of_other_users_stay(tmp_path):
    (tmp_path / f"{PREFIX}theirs").mkdir()
    os.chown(tmp_path / f"{PREFIX}theirs", 65534, 65534)
    remove_abandoned(str(tmp_path), PREFIX)
    assert (tmp_path / f"{PREFIX}theirs").exists()
