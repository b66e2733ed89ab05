"""Time one answer of a server, and of MLflow's own beside it: `python -m benchmarks.answer`.

One client sends a sequence of 50 steps again and again, in turn to `birnn serve`, to `mlflow models
serve` with the same model, and to `mlflow models serve` with a model that computes nothing. All run
at the same time, so that the ratios hold on a busy machine too.
"""

import argparse
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import load

STEPS, TIMES, WARM = 50, 500, 20

NOTHING = """
import mlflow.pyfunc

class Nothing(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [0] * len(model_input)

mlflow.models.set_model(Nothing())
"""


def nothing(folder: Path) -> str:
    """Save a model that computes nothing, and give its place."""
    import mlflow.pyfunc

    code = folder / "nothing.py"
    code.write_text(NOTHING)
    place = folder / "nothing"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the model does not say what it takes
        mlflow.pyfunc.save_model(place, python_model=str(code), pip_requirements=["mlflow"])
    return str(place)


def commands(folder: Path) -> dict[str, list[str]]:
    """How each server is started."""
    address = load.model(folder)
    mlflow = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "-m"]
    own = [sys.executable, "-c", "from birnn.cli import main; main()", "serve", f"{folder}/model"]
    return {
        "birnn serve": own,
        "mlflow models serve, the same model": [*mlflow, address],
        "mlflow models serve, one that computes nothing": [*mlflow, nothing(folder)],
    }


def seconds(ports: list[int], times: int) -> list[list[float]]:
    """Ask each server in turn; what each answer took."""
    body, found = load.rows(1, STEPS), list[list[float]]()
    for _ in range(times):
        found.append([])
        for port in ports:
            start = time.perf_counter()
            status = load.ask(port, body)
            found[-1].append(time.perf_counter() - start)
            assert status == 200, status
    return found[min(WARM, times - 1) :]


def table(names: list[str], took: list[list[float]]) -> Table:
    """Medians and 99th percentiles, and the medians as shares of the first server's."""
    made = Table("server", "median", "99th percentile", "times birnn serve")
    medians, most = np.median(took, axis=0), np.quantile(took, 0.99, axis=0)
    for name, median, slow in zip(names, medians, most, strict=True):
        shown = [f"{1000 * one:.1f} ms" for one in (median, slow)]
        made.add_row(name, *shown, f"{median / medians[0]:.1f}")
    return made


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answer", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few requests")
    times = 3 if parser.parse_args().quick else TIMES + WARM
    with tempfile.TemporaryDirectory(prefix="birnn-answer-") as place, ExitStack() as servers:
        wanted = commands(Path(place))
        ports = [servers.enter_context(load.running(one))[1] for one in wanted.values()]
        Console(width=100).print(table(list(wanted), seconds(ports, times)))


if __name__ == "__main__":
    main()
