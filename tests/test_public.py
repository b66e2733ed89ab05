"""The front door: `import birnn` offers a few names, soon and each with an example that runs."""

import doctest
import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import birnn

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "tests/model/v0_2_0/numbers"


@pytest.mark.parametrize("name", birnn.__all__)
def test_the_example_of_each_name_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(MODEL, tmp_path / "models/bidirectional")
    monkeypatch.chdir(tmp_path)
    public = getattr(birnn, name)
    names = vars(sys.modules[public.__module__])
    text = inspect.getdoc(public)
    assert text is not None
    example = doctest.DocTestParser().get_doctest(text, dict(names), name, None, None)
    assert doctest.DocTestRunner().run(example).failed == 0
    assert example.examples


def test_names_are_listed_before_they_are_used() -> None:
    assert {*birnn.__all__} <= {*dir(birnn)}


def test_another_name_is_said_to_be_missing() -> None:
    with pytest.raises(AttributeError, match="module 'birnn' has no attribute 'lod'"):
        getattr(birnn, "lod")  # noqa: B009  (a type checker would refuse `birnn.lod`)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import birnn, sys; print({'torch', 'pandas', 'pyarrow', 'mlflow'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
