"""The code that the nodes of a Ray cluster must have in common."""

import pytest

from textclf import ray_cluster


@pytest.mark.parametrize("changed", ["textclf/tuning/study.py", "train_model.py"])
def test_a_change_of_the_package_or_of_a_stage_is_other_code(tmp_path, monkeypatch, changed):
    monkeypatch.setattr(ray_cluster, "__file__", str(tmp_path / "textclf/ray_cluster.py"))
    (tmp_path / "textclf/tuning").mkdir(parents=True)
    for name in ("textclf/tuning/study.py", "train_model.py", "of_another_package.py"):
        (tmp_path / name).touch()
    before = ray_cluster.code_id.__wrapped__()
    (tmp_path / "of_another_package.py").write_text("pass", encoding="utf-8")
    assert ray_cluster.code_id.__wrapped__() == before
    (tmp_path / changed).write_text("pass", encoding="utf-8")
    assert ray_cluster.code_id.__wrapped__() != before
