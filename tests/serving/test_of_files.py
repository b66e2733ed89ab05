"""What `birnn predict` writes: answers that can be joined to their steps, and spans."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from birnn.data import sequences
from birnn.data.encoding import Encoding
from birnn.errors import DataError
from birnn.files import paths
from birnn.files.reading import Skipped
from birnn.model import prediction, saved_model
from birnn.model.architecture import Architecture
from birnn.model.networks import SequenceModel
from birnn.serving import of_files, served
from birnn.serving.of_files import Options, Told
from birnn.serving.served import Served
from birnn.sources.asked import asked

WORDS = ["Anna", "lives", "in", "New", "York", "."]
TAGS = ["B-LOC", "B-PER", "I-LOC", "O"]
ENTITIES = Encoding(
    task="tagging",
    labels=TAGS,
    features=[],
    mean=[],
    scale=[],
    vocabulary=WORDS,
    form="NFC",
    reading={"source": "conll", "task": "tagging", "encoding": "utf-8"},
)
NUMBERS = Encoding("tagging", ["a", "b", "c"], ["x", "y"], [0.0, 0.0], [1.0, 1.0])


def saved(folder: Path, encoding: Encoding, *, knows: bool = False) -> Served:
    """A model of random weights, or one that knows the entities by heart."""
    torch.manual_seed(0)
    tokens = 0 if encoding.vocabulary is None else len(encoding.vocabulary) + 1
    shape: dict[str, Any] = {
        "task": encoding.task,
        "cell": "RNN",
        "features": len(encoding.features),
        "embedding_size": tokens,
        "tokens": tokens,
        "hidden_size": tokens or 4,
        "num_layers": 1,
        "dropout": 0.0,
        "bidirectional": False,
        "classes": len(encoding.labels),
    }
    network = SequenceModel(Architecture(**shape))
    if knows:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
            assert network.embedding is not None
            network.embedding.weight.copy_(torch.eye(tokens))
            network.rnn.get_parameter("weight_ih_l0").copy_(3 * torch.eye(tokens))
            for place, tag in enumerate([1, 3, 3, 0, 2, 3], start=1):
                network.linear.weight[tag, place] = 5
            network.linear.weight[3, 0] = 5
    saved_model.save(network, encoding, {}, folder)
    return served.load(str(folder))


def answers(
    model: Served, *files: Path | str, told: Told | None = None, **options: Any
) -> pd.DataFrame:
    with asked(files, str(model.encoding.reading.get("source", "table"))) as found:
        tables = of_files.answers(model, found, Options(**options), Skipped(), told or Told())
        frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


class TestColumns:
    def test_step_token_and_what_travels_stand_beside(self, tmp_path: Path) -> None:
        reading: dict[str, object] = {"source": "table", "keep": ["note"]}
        model = saved(tmp_path / "m", replace(ENTITIES, reading=reading))
        rows = {"sequence": [7, 7, 8], "token": ["Anna", "é", "in"], "note": ["p", "q", "r"]}
        pd.DataFrame(rows).to_csv(tmp_path / "new.csv", index=False)
        found = answers(model, tmp_path / "new.csv")
        names = ["sequence", "step", "token", "note", "predicted"]
        assert [*found.columns] == [*names, *(f"probability_{tag}" for tag in TAGS)]
        assert found["step"].tolist() == [0, 1, 0]
        assert found["token"].tolist() == rows["token"]
        assert found["note"].tolist() == rows["note"]

    def test_several_files_are_told_apart(self, tmp_path: Path) -> None:
        model = saved(tmp_path / "m", NUMBERS)
        rows = "sequence,x,y\n1,2,3\n1,4,5\n"
        for name in ("b.csv", "a.csv"):
            (tmp_path / name).write_text(rows)
        pattern = tmp_path / "*.csv"
        found = answers(model, pattern)
        assert found["file"].tolist() == [str(tmp_path / f"{name}.csv") for name in "aabb"]
        alone = answers(model, tmp_path / "a.csv")
        pd.testing.assert_frame_equal(found.iloc[:2].drop(columns="file"), alone)

    def test_other_columns_than_in_the_first_file(self, tmp_path: Path) -> None:
        reading: dict[str, object] = {"source": "table", "keep": ["note"]}
        model = saved(tmp_path / "m", replace(ENTITIES, reading=reading))
        (tmp_path / "a.csv").write_text("sequence,token,note\n1,Anna,p\n")
        (tmp_path / "b.csv").write_text("sequence,token\n1,Anna\n")
        with pytest.raises(DataError, match=r"b\.csv: expected the columns .* predict it alone"):
            answers(model, tmp_path / "a.csv", tmp_path / "b.csv")

    def test_which_steps_an_answer_hangs_on(self, tmp_path: Path, trained: Path) -> None:
        model = served.load(str(trained))
        rng = np.random.default_rng(0)
        frame = pd.DataFrame(rng.normal(size=(5, 2)), columns=["x", "y"]).assign(sequence="s")
        frame.to_csv(tmp_path / "new.csv", index=False)
        found = answers(model, tmp_path / "new.csv", explain=True)
        assert [*found.columns][2:4] == ["predicted", "important_steps"]
        assert found["important_steps"].iloc[-1] == ""  # no step comes after it
        shares = []
        for count in range(1, 6):
            frame[:count].to_csv(tmp_path / "cut.csv", index=False)
            cut = answers(model, tmp_path / "cut.csv")
            shares.append(cut[f"probability_{found['predicted'][0]}"][0])
        changes = np.diff(shares)
        largest = int(np.abs(changes).argmax())
        expected = f"{largest + 1} ({changes[largest]:+.2f})"
        assert found["important_steps"][0].startswith(expected)


class TestSentences:
    @pytest.mark.parametrize(
        "text", ["Anna lives .\nin New York\n", "Anna lives .\n\nin New York\nAnna\n"]
    )
    def test_one_a_line_word_by_word(self, tmp_path: Path, text: str) -> None:
        model, told = saved(tmp_path / "m", ENTITIES, knows=True), Told()
        (tmp_path / "new.txt").write_text(text)
        found = answers(model, tmp_path / "new.txt", told=told)
        assert found["token"].tolist()[:6] == ["Anna", "lives", ".", "in", "New", "York"]
        assert found["predicted"].tolist()[:6] == ["B-PER", "O", "O", "O", "B-LOC", "I-LOC"]
        assert found["step"].tolist()[:6] == [0, 1, 2, 0, 1, 2]
        assert told.sentences() == [f"read as text, one sentence a line: {tmp_path / 'new.txt'}"]

    @pytest.mark.parametrize("text", ["Anna\nlives\n.\n\nin\nNew\nYork\n", "Anna\nlives\n"])
    def test_columns_stay_columns(self, tmp_path: Path, text: str) -> None:
        model, told = saved(tmp_path / "m", ENTITIES), Told()
        (tmp_path / "new.txt").write_text(text)
        found = answers(model, tmp_path / "new.txt", told=told)
        assert found["token"].tolist() == text.split()
        assert told.sentences() == []


class TestSpans:
    def test_a_row_a_span(self, tmp_path: Path) -> None:
        model = saved(tmp_path / "m", ENTITIES, knows=True)
        (tmp_path / "new.txt").write_text("in New York\nAnna lives in New York .\nAnna\n")
        found = answers(model, tmp_path / "new.txt", spans=True)
        assert [*found.columns] == ["sequence", "first", "last", "kind", "text", "confidence"]
        assert found.drop(columns="confidence").to_numpy().tolist() == [
            ["000001", 1, 2, "LOC", "New York"],
            ["000002", 0, 0, "PER", "Anna"],
            ["000002", 3, 4, "LOC", "New York"],
            ["000003", 0, 0, "PER", "Anna"],
        ]
        steps = answers(model, tmp_path / "new.txt")
        mean = (steps["probability_B-LOC"][1] + steps["probability_I-LOC"][2]) / 2
        assert found["confidence"][0] == pytest.approx(mean, rel=1e-6)

    def test_of_other_labels_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "new.csv").write_text("sequence,x,y\n1,2,3\n")
        with pytest.raises(DataError, match="--spans: expected labels such as B-X, I-X and O"):
            answers(saved(tmp_path / "m", NUMBERS), tmp_path / "new.csv", spans=True)


class TestTraining:
    def test_says_which_sequences_were_in_it(self, tmp_path: Path) -> None:
        prepared, told = tmp_path / "prepared", Told()
        prepared.mkdir()
        model = saved(tmp_path / "m", NUMBERS)
        frame = pd.DataFrame({"sequence": list("aabbbc"), "x": range(6), "y": range(6)}, dtype=str)
        frame[:5].to_csv(tmp_path / "old.csv", index=False)
        frame[2:].assign(sequence=list("pppq")).to_csv(tmp_path / "new.csv", index=False)
        batches = pa.Table.from_pandas(frame[:5].astype({"x": float, "y": float})).to_batches()
        chunks = prediction.prepared(NUMBERS, batches, where="here")
        sequences.write((NUMBERS.encode(*chunk) for chunk in chunks), prepared / paths.TRAIN)
        NUMBERS.write(prepared / paths.ENCODING)
        answers(model, tmp_path / "new.csv", told=told, prepared=prepared)
        assert (told.sequences, told.seen, told.first) == (2, 1, "p")
        assert told.sentences() == [
            "warning: 1 of 2 sequences were in training, the first is 'p'; how good their answers "
            "are says little about new ones"
        ]
        other = Told()
        replace(NUMBERS, mean=[1.0, 1.0]).write(prepared / paths.ENCODING)
        answers(model, tmp_path / "new.csv", told=other, prepared=prepared)
        assert other.sentences() == []


@pytest.mark.parametrize("absent", [{"x": [-999.0]}, [-999.0]])
def test_numbers_that_stood_for_missing_ones_do_so_again(tmp_path: Path, absent: object) -> None:
    reading = {"source": "table", "task": "tagging", "absent": absent}
    encoding = replace(NUMBERS, missing="mean", fills=[0.5, 0.5], reading=reading)
    model = saved(tmp_path / "m", encoding)
    (tmp_path / "marked.csv").write_text("sequence,x,y\n1,2,3\n1,-999,4\n")
    (tmp_path / "plain.csv").write_text("sequence,x,y\n1,2,3\n1,,4\n")
    expected = answers(model, tmp_path / "plain.csv")
    pd.testing.assert_frame_equal(answers(model, tmp_path / "marked.csv"), expected)


class TestAsked:
    def test_a_pattern_without_files(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="expected a pattern of files that are there, found no"):
            answers(saved(tmp_path / "m", NUMBERS), tmp_path / "*.csv")

    def test_a_folder_of_files(self, tmp_path: Path) -> None:
        model = saved(tmp_path / "m", ENTITIES)
        (tmp_path / "new").mkdir()
        with pytest.raises(DataError, match="new: expected files, found none"):
            answers(model, tmp_path / "new")
        for name in ("b.txt", "a.conllu", ".hidden"):
            (tmp_path / "new" / name).write_text("1\tAnna\n\n" if "a" in name else "Anna lives\n")
        found = answers(model, tmp_path / "new")
        assert [Path(name).name for name in found["file"]] == ["a.conllu", "b.txt", "b.txt"]
