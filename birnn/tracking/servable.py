"""The model in the form that MLflow can serve: code, weights and JSON, without a pickle."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birnn.files import atomic, paths

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


REQUIRED = ("filelock", "mlflow", "pandas", "pyarrow", "safetensors")
"""What a server needs; other versions than those the model was made with may answer otherwise."""
COMPILER = "ziglang==0.17.1"
"""Compiles the kernel where there is no C compiler; with torch instead, it takes gigabytes."""


def log(run_id: str, folder: Path) -> None:
    """Log a pyfunc model made of code, weights and JSON; MLflow's PyTorch formats would pickle."""
    import mlflow

    room = Path(__file__).parent
    with mlflow.start_run(run_id=run_id), warnings.catch_warnings(), _not_compared():
        warnings.filterwarnings("ignore", ".*An input example was not provided")  # the signature is
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(room / "serving.py"),
            artifacts={"model": str(folder)},
            code_paths=[str(room.parent)],
            signature=_signature(atomic.read_json(folder / paths.DESCRIPTION)["encoding"]),
            pip_requirements=_requirements(),
        )


@contextmanager
def _not_compared() -> Iterator[None]:
    """Let MLflow not compare the requirements with what is installed, of which they are made.

    It would list the files of all packages for it, which takes a second, and warn where the
    compiler's package is missing.
    """
    from mlflow.utils import environment

    name = "warn_dependency_requirement_mismatches"
    compare = getattr(environment, name, None)  # no part of what MLflow promises
    setattr(environment, name, lambda _: None)
    try:
        yield
    finally:
        setattr(environment, name, compare)


def _requirements() -> list[str]:
    """Without what a build adds to a version, as `+cpu`, which a package index does not have."""
    return [*(f"{name}=={version(name).partition('+')[0]}" for name in REQUIRED), COMPILER]


def _signature(encoding: Mapping[str, Any]) -> ModelSignature:
    """Written by hand: one inferred from an example would fix the number of steps."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    values = [ColSpec("double", name) for name in encoding["features"]]
    tokens = [ColSpec("string", "token")] if encoding["vocabulary"] is not None else []
    shares = [ColSpec("float", f"probability_{label}") for label in encoding["labels"]]
    return ModelSignature(
        inputs=Schema([ColSpec("string", "sequence"), *values, *tokens]),
        outputs=Schema([ColSpec("string", "sequence"), ColSpec("string", "predicted"), *shares]),
    )
