"""MLflow as a mirror of the files: one run a trained model, found again by the model's hash.

    with training_run("tagging", "bidirectional", params={...}, data=...) as run:
        run.log_epoch(epoch)                              # while it trains
        run.log_model("models/bidirectional")             # weights, history, servable model
    run = run_of_model("tagging", "bidirectional", "models/bidirectional", ...)
    run.log_evaluation("evaluation/bidirectional")

The store is `MLFLOW_TRACKING_URI`, or else SQLite in the root of the repository. DVC names the root
in `DVC_ROOT`; in a queued experiment that is the parent repository, so its runs outlive it.

Where MLflow is out of reach the stages go on with a warning: the files are the truth, and
`birnn backfill` makes the runs from them.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from birnn.files import atomic

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


def log(run_id: str, folder: Path) -> None:
    """Log a pyfunc model made of code, weights and JSON; MLflow's PyTorch formats would pickle."""
    import mlflow

    package = Path(__file__).parent
    with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*An input example was not provided")  # the signature is
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(package / "serving.py"),
            artifacts={"model": str(folder)},
            code_paths=[str(package)],
            signature=_signature(atomic.read_json(folder / "model.json")["encoding"]),
            pip_requirements=["mlflow", "pandas", "pyarrow", "safetensors", "torch"],
        )


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
