"""history.csv, exact to the last digit."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birnn.model import history
from birnn.model.history import Epoch

finite = st.floats(allow_nan=False, allow_infinity=False)


def epoch(number: int, loss: float, accuracy: float = 0.5) -> Epoch:
    return Epoch(number, 1.25, loss, 0.5, accuracy, 0.001)


@given(st.lists(st.builds(Epoch, st.integers(1, 10**6), *[finite] * 5, st.booleans()), max_size=5))
def test_round_trip(epochs: list[Epoch]) -> None:
    with TemporaryDirectory() as folder:
        history.write(epochs, Path(folder) / "history.csv")
        assert repr(history.read(Path(folder) / "history.csv")) == repr(epochs)


def test_the_file(tmp_path: Path) -> None:
    history.write(history.marked([epoch(1, 0.1 + 0.2)]), tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_bytes() == (
        b"epoch,train_loss,validation_loss,train_accuracy,validation_accuracy,learning_rate,kept\n"
        b"1,1.25,0.30000000000000004,0.5,0.5,0.001,1\n"
    )


@pytest.mark.parametrize(
    ("losses", "kept"), [([3.0, 2.0, 2.5], 2), ([1.0], 1), ([2.0, 1.0, 1.0], 2), ([1.0, 2.0], 1)]
)
class TestKept:
    def test_is_the_first_of_the_lowest_losses(self, losses: list[float], kept: int) -> None:
        epochs = history.marked([epoch(n, loss) for n, loss in enumerate(losses, start=1)])
        assert [one.epoch for one in epochs if one.kept] == [kept]
        assert history.kept(epochs).epoch == kept

    def test_or_of_the_highest_accuracies(self, losses: list[float], kept: int) -> None:
        epochs = [epoch(n, loss, 1 / loss) for n, loss in enumerate(losses, start=1)]
        lowest_last = [*epochs, epoch(len(losses) + 1, 0.5, 0.1)]
        assert history.kept(history.marked(lowest_last, "accuracy")).epoch == kept
        assert history.kept(history.marked(lowest_last, "loss")).epoch == len(losses) + 1
        assert history.kept(history.marked(epochs, "last")).epoch == len(losses)

    def test_is_marked_anew(self, losses: list[float], kept: int) -> None:
        epochs = history.marked([epoch(n, loss) for n, loss in enumerate(losses, start=1)])
        better = history.marked([*epochs, epoch(len(losses) + 1, 0.5)])
        assert [one.epoch for one in better if one.kept] == [len(losses) + 1]
