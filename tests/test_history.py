"""history.csv, exact to the last digit."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birnn import history
from birnn.history import Epoch

finite = st.floats(allow_nan=False, allow_infinity=False)


def epoch(number: int, validation_loss: float) -> Epoch:
    return Epoch(number, 1.25, validation_loss, 0.5, 0.5, 0.001)


@given(st.lists(st.builds(Epoch, st.integers(1, 10**6), *[finite] * 5), max_size=5))
def test_round_trip(epochs: list[Epoch]) -> None:
    with TemporaryDirectory() as folder:
        history.write(epochs, Path(folder) / "history.csv")
        assert repr(history.read(Path(folder) / "history.csv")) == repr(epochs)


def test_the_file(tmp_path: Path) -> None:
    history.write([epoch(1, 0.1 + 0.2)], tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_bytes() == (
        b"epoch,train_loss,validation_loss,train_accuracy,validation_accuracy,learning_rate\n"
        b"1,1.25,0.30000000000000004,0.5,0.5,0.001\n"
    )


@pytest.mark.parametrize(
    ("losses", "kept"), [([3.0, 2.0, 2.5], 2), ([1.0], 1), ([2.0, 1.0, 1.0], 2), ([1.0, 2.0], 1)]
)
def test_the_first_of_the_lowest_losses_is_kept(losses: list[float], kept: int) -> None:
    epochs = [epoch(number, loss) for number, loss in enumerate(losses, start=1)]
    assert history.best(epochs).epoch == kept
