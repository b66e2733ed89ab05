"""Settings beside each other, over seeds: the validation split ranks, the best is tested once."""

import math
import statistics
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from birnn.errors import DataError
from birnn.files.scores import Scores
from birnn.report import groups
from birnn.report.groups import grouped
from birnn.tracking import trials
from birnn.tracking.trials import Trial


def trial(size: int, seed: int, validation: float, model: str = "gru", test: float = 0.5) -> Trial:
    params = {"hidden_size": str(size), "seed": str(seed), "bidirectional": model, "patience": "5"}
    scores = Scores({"f1": test, "log_loss": 1.0}, {"f1": validation, "log_loss": validation})
    return Trial(f"exp-{size}-{seed}", model, params, "data", scores, run=f"{size}{seed}")


# The larger one is better on the validation split, the smaller one on the test split.
TRIALS = [
    *(trial(8, seed, 0.5 + seed / 100, test=0.9) for seed in (1, 2, 3)),
    *(trial(16, seed, 0.7 + seed / 100, test=0.6 + seed / 100) for seed in (1, 2)),
    trial(8, 1, 0.1, model="forward"),
]


class TestGrouped:
    def test_by_what_differs_over_seeds(self) -> None:
        found = grouped(TRIALS, by=[], over=["seed"], metric="f1")
        assert found.keys == ("model", "hidden_size")
        values = [group.values for group in found.groups]
        assert values == [("gru", "16"), ("gru", "8"), ("forward", "8")]
        large, small, alone = (group.validation for group in found.groups)
        assert (large.n, small.n, alone.n) == (2, 3, 1)
        assert small.mean == pytest.approx(0.52)
        assert small.sd == pytest.approx(statistics.stdev([0.51, 0.52, 0.53]))
        assert math.isnan(alone.sd)
        assert found.mixed == []

    def test_the_best_by_validation_is_tested_and_no_other(self) -> None:
        found = grouped(TRIALS, by=["hidden_size"], over=["seed"], metric="f1")
        assert found.sentence == (
            "Best by validation: model gru, hidden_size 16. "
            "Its f1 on the test split: 0.6150 ± 0.0071 (n = 2)."
        )
        assert groups.frame(found)["test_mean"].notna().tolist() == [True, False, False]

    def test_a_low_loss_is_the_best(self) -> None:
        found = grouped(TRIALS, by=["hidden_size"], over=["seed"], metric="log_loss")
        assert found.groups[0].values == ("forward", "8")

    def test_a_mixture_is_told(self) -> None:
        found = grouped(TRIALS, by=["train.patience"], over=["seed"], metric="f1")
        assert found.keys == ("model", "patience")
        assert found.mixed == ["hidden_size"]
        other = replace(TRIALS[0], data="of today")
        assert grouped([*TRIALS, other], [], ["seed"], "f1").mixed == ["content of the data"]

    @pytest.mark.parametrize(
        ("by", "metric", "said"),
        [
            ("hiden_size", "f1", "hiden_size: expected a key of .*; did you mean hidden_size"),
            ("seed", "f2", "--metric: expected a metric of gru, such as f1, log_loss, found 'f2'"),
        ],
    )
    def test_an_unknown_name(self, by: str, metric: str, said: str) -> None:
        with pytest.raises(DataError, match=said):
            grouped(TRIALS, [by], ["seed"], metric)


class TestFiles:
    def test_csv_has_all_digits(self, tmp_path: Path) -> None:
        found = grouped(TRIALS, by=[], over=["seed"], metric="f1")
        groups.write_csv(found, tmp_path / "t.csv")
        read = pd.read_csv(tmp_path / "t.csv", dtype={"hidden_size": str})
        pd.testing.assert_frame_equal(read, groups.frame(found))

    def test_latex_is_a_table_of_booktabs(self, tmp_path: Path) -> None:
        groups.write_latex(grouped(TRIALS, [], ["seed"], "f1"), tmp_path / "t.tex")
        lines = (tmp_path / "t.tex").read_text().splitlines()
        assert lines[0] == r"\begin{tabular}{llrrrrr}"
        assert r"gru & 16 & 2 & 0.7150 & 0.0071 & 0.6150 & 0.0071 \\" in lines
        assert r"forward & 8 & 1 & 0.1000 &  &  &  \\" in lines

    def test_picture_has_a_curve_a_run_and_a_colour_a_group(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        curve = [(1, 1.0), (2, 0.5)]
        monkeypatch.setattr(trials, "curve", lambda *_: curve)
        drawn = groups.picture(grouped(TRIALS, [], ["seed"], "f1"))
        curves = Counter(
            one.get("class") for one in ET.fromstring(drawn).iter() if "d" in one.attrib
        )
        legend = 1  # an entry a group
        assert curves["curve a0"] == 2 + legend
        assert curves["curve a1"] == 3 + legend
        assert curves["curve a2"] == 1 + legend


def test_a_list_fits_100_columns_and_shows_validation_first() -> None:
    console = Console(width=100, record=True, file=StringIO())
    console.print(groups.listed(TRIALS, "f1"))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 100
    header = lines[2]
    assert header.index("validation") < header.index("test")
    assert "bidirectional" not in header  # the model says it
    row = next(line for line in lines if "exp-16-2" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        *("exp-16-2", "gru", "16", "2", "0.7200", "0.6200")
    ]
