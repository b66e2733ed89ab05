"""What a search draws: inside of the space, and the same for the same place."""

from collections.abc import Mapping
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from birnn.params import Axis, Knobs
from birnn.sweep import space

optuna.logging.set_verbosity(optuna.logging.ERROR)
AXES = {
    "learning_rate": Axis(low=0.001, high=0.1, log=True),
    "hidden_size": Axis(low=4, high=64, step=4),
    "dropout": Axis(low=0, high=0.5),
    "cell": Axis(choices=["RNN", "GRU"]),
    "batch_steps": Axis(choices=[None, 500]),
}


def asked(study: optuna.Study, place: int) -> tuple[optuna.Trial, Knobs]:
    study.enqueue_trial({}, user_attrs={space.PLACE: place})
    trial = study.ask()
    return trial, space.drawn(trial, AXES)


def course(seed: int = 1, killed: tuple[int, ...] = ()) -> list[Knobs]:
    """Settings of a search whose metric is the dropout, some of them drawn once more."""
    study = optuna.create_study(sampler=space.Sampler(seed))
    found = []
    for place in range(16):
        if place in killed:
            trial, _ = asked(study, place)
            study.tell(trial, state=TrialState.FAIL)
        trial, settings = asked(study, place)
        dropout = settings["dropout"]
        assert isinstance(dropout, float)
        study.tell(trial, dropout)
        found.append(settings)
    return found


def test_draws_lie_in_the_space() -> None:
    for settings in course():
        assert settings.keys() == AXES.keys()
        assert space.inside(settings, AXES) == settings
        assert type(settings["hidden_size"]) is int


def test_a_seed_gives_the_same_draws_and_another_one_others() -> None:
    first = course()
    assert course() == first
    assert course(seed=2) != first
    assert len({str(one) for one in first}) == len(first)


def test_what_was_killed_is_drawn_once_more() -> None:
    assert course(killed=(3, 12, 15)) == course()


def test_later_draws_learn_from_earlier_ones() -> None:
    dropouts = [float(str(one["dropout"])) for one in course()]
    assert sum(dropouts[10:]) / 6 < sum(dropouts[:10]) / 10


@pytest.mark.parametrize(
    ("settings", "known"),
    [
        ({"learning_rate": 0.2, "hidden_size": 8}, {"hidden_size": 8}),
        ({"hidden_size": 9, "cell": "LSTM"}, {}),
        ({"batch_steps": None, "dropout": 0.0}, {"batch_steps": None, "dropout": 0.0}),
        ({"learning_rate": None}, {}),
    ],
)
def test_settings_that_could_not_be_drawn_are_left_out(
    settings: Mapping[str, Any], known: Mapping[str, Any]
) -> None:
    assert space.inside(settings, AXES) == known


def test_true_is_no_number() -> None:
    assert space.inside({"characters": True}, {"characters": Axis(choices=[0, 1])}) == {}
