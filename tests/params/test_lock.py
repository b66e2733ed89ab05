"""What dvc.lock says, here and in the last commit."""

import subprocess
from pathlib import Path

import pytest

from birnn.params import lock

TEXT = """\
schema: '2.0'
stages:
  generate:
    cmd: python -m stages.generate
    params:
      params.yaml:
        data:
          source: hmm
          shares:
          - 1.5
          - 2.0
        prepare.fold:
    outs:
    - path: data/raw/a.parquet
      hash: md5
      md5: 0123
      size: 4
  train@forward:
    cmd: python -m stages.train forward
"""


def test_stages_their_params_and_their_outs() -> None:
    found = lock.read(TEXT.replace("0123", "'0123'"))
    assert list(found) == ["generate", "train@forward"]
    assert found["generate"].params == {
        "data.source": "hmm",
        "data.shares": "[1.5, 2.0]",
        "prepare.fold": "null",
    }
    assert found["generate"].outs == {"data/raw/a.parquet": "0123"}
    assert (found["train@forward"].params, found["train@forward"].outs) == ({}, {})


def test_deep_trees_are_flat() -> None:
    assert list(lock.flat({"a": {"b": {"c": [1, 2]}, "d": True}})) == [
        ("a.b.c", "[1, 2]"),
        ("a.d", "true"),
    ]


class TestCommitted:
    def test_is_what_the_last_commit_holds(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "below the root"
        folder.mkdir()
        (folder / "a.txt").write_text("é\n", encoding="utf-8")
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        for command in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "x")):
            subprocess.run(["git", *command], cwd=tmp_path, check=True)
        (folder / "a.txt").write_text("changed")
        monkeypatch.chdir(folder)
        assert lock.committed("a.txt") == "é\n"
        assert lock.committed("b.txt") is None

    def test_is_nothing_outside_of_git(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert lock.committed("a.txt") is None
