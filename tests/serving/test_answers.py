"""What a server sends back, beside what the library predicts."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from birnn.data.encoding import Encoding
from birnn.errors import DataError
from birnn.model import networks, prediction
from birnn.model.architecture import Architecture
from birnn.serving import answers
from birnn.serving.answers import Reply
from birnn.serving.requests import Limits
from birnn.serving.served import Name, Served

CPU = torch.device("cpu")
LENGTHS = [3, 1, 40, 2, 7]


def model(task: str = "tagging", thresholds: dict[str, float] | None = None) -> Served:
    torch.manual_seed(0)
    architecture = Architecture(task, "GRU", 2, 0, 4, 1, 0.0, bidirectional=True, classes=3)
    encoding = Encoding(task, ["a", "b", "c"], ["x", "y"], [1.0, 2.0], [0.5, 2.0], max_steps=30)
    network = networks.SequenceModel(architecture).eval()
    return Served(network, encoding, thresholds or {}, Name("m", "1", "abc"), "now")


def drawn() -> pd.DataFrame:
    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((sum(LENGTHS), 2)))
    frame.columns = pd.Index(["x", "y"])
    ids = [f"s{number}" for number in reversed(range(len(LENGTHS)))]
    return frame.assign(sequence=np.repeat(ids, LENGTHS))


def directly(served: Served) -> pd.DataFrame:
    batches = pa.Table.from_pandas(drawn(), preserve_index=False).to_batches()
    parts = prediction.of_table(
        served.network, served.encoding, served.thresholds, batches, where="here", device=CPU
    )
    frame: pd.DataFrame = pa.concat_tables(parts).to_pandas()
    return frame


def ask(served: Served, tree: Any, **options: Any) -> Reply:
    return answers.answer(served, json.dumps(tree).encode(), Limits(), lambda: None, **options)


def split() -> Any:
    return {"dataframe_split": drawn().to_dict("split")}


def listed() -> list[list[list[float]]]:
    grouped = drawn().groupby("sequence", sort=False)
    return [frame[["x", "y"]].to_numpy().tolist() for _, frame in grouped]


@pytest.mark.parametrize("task", ["tagging", "classification"])
@pytest.mark.parametrize("thresholds", [{}, {"a": 0.01}])
class TestPredictions:
    def test_of_rows_are_those_of_the_library(
        self, task: str, thresholds: dict[str, float]
    ) -> None:
        served = model(task, thresholds)
        expected = directly(served)
        assert ("a" in set(expected["predicted"])) == bool(thresholds)
        for tree in (split(), {"dataframe_records": drawn().to_dict("records")}):
            said = json.loads(ask(served, tree).content)["predictions"]
            found = pd.DataFrame(said).astype(expected.dtypes.to_dict())
            pd.testing.assert_frame_equal(found, expected, check_exact=True)

    def test_of_sequences_are_those_of_the_library(
        self, task: str, thresholds: dict[str, float]
    ) -> None:
        served = model(task, thresholds)
        expected = directly(served)
        reply = ask(served, {"sequences": listed()}, unnamed="r-")
        said = json.loads(reply.content)
        assert said["labels"] == ["a", "b", "c"]
        predictions = said["predictions"]
        assert [one["sequence"] for one in predictions] == ["r-1", "r-2", "r-3", "r-4", "r-5"]
        rows = [np.reshape(one["probabilities"], (-1, 3)) for one in predictions]
        np.testing.assert_array_equal(
            np.concatenate(rows).astype(np.float32), expected.iloc[:, 2:].to_numpy()
        )
        labels = [np.ravel(one["predicted"]) for one in predictions]
        assert np.concatenate(labels).tolist() == expected["predicted"].tolist()
        assert reply.offsets.tolist()[-1] == len(reply.table) == len(expected)


def test_says_what_was_cut() -> None:
    said = json.loads(ask(model(), split()).content)
    assert said["notes"] == [
        "left out: steps beyond data.max_steps, 10 in all, the first in sequence 's2'"
    ]


def test_sequences_of_one_name_stay_apart() -> None:
    steps = [[1.0, 2.0], [0.0, 1.0]]
    reply = ask(model(), {"sequences": [{"sequence": "s", "steps": steps}] * 2})
    assert reply.offsets.tolist() == [0, 2, 4]
    assert reply.table["sequence"].to_pylist() == ["s"] * 4
    assert len(json.loads(reply.content)["predictions"]) == 2


def test_rows_of_a_sequence_must_be_together() -> None:
    tree = [{"sequence": name, "x": 0, "y": 0} for name in "aba"]
    with pytest.raises(DataError, match=r"^the request, row 3: sequence 'a' goes on after another"):
        ask(model(), {"dataframe_records": tree})


def test_ends_when_nobody_waits() -> None:
    calls = []

    def go_on() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise InterruptedError

    body = json.dumps({"sequences": [[[1, 2]] * 10] * 9000}).encode()
    with pytest.raises(InterruptedError):
        answers.answer(model(), body, Limits(), go_on)
