"""Which settings a search tries: drawn from the space of params.yaml by Optuna's TPE.

Each trial has a place, counted from 0; 0 is that of the settings in params.yaml. A draw depends on
the seed, the place and the trials that are done, so a trial that was killed is drawn once more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, TPESampler

from birnn.files import digests
from birnn.params import Axis, Knobs, is_whole

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial, TrialState

PLACE = "place"  # the attribute of a trial
SEEDS = 2**31


def distribution(key: str, axis: Axis) -> BaseDistribution:
    """What Optuna draws the values of a key from."""
    if axis.choices is not None:
        return CategoricalDistribution(axis.choices)
    low, high = axis.values
    assert isinstance(low, int | float)  # which is what the ends are
    assert isinstance(high, int | float)
    if is_whole(key):
        return IntDistribution(int(low), int(high), log=axis.log, step=int(axis.step or 1))
    return FloatDistribution(low, high, log=axis.log, step=axis.step)


def drawn(trial: Trial, space: Mapping[str, Axis]) -> Knobs:
    """Draw the values of all keys."""
    found: Knobs = {}
    for key, axis in space.items():
        kind = distribution(key, axis)
        match kind:
            case CategoricalDistribution():
                found[key] = trial.suggest_categorical(key, kind.choices)
            case IntDistribution():
                found[key] = trial.suggest_int(
                    key, kind.low, kind.high, log=kind.log, step=kind.step
                )
            case FloatDistribution():
                found[key] = trial.suggest_float(
                    key, kind.low, kind.high, log=kind.log, step=kind.step
                )
    return found


def inside(settings: Mapping[str, Any], space: Mapping[str, Axis]) -> dict[str, Any]:
    """The settings that could have been drawn; Optuna learns nothing from others."""
    return {key: value for key, value in settings.items() if _could_be_drawn(key, value, space)}


def _could_be_drawn(key: str, value: Any, space: Mapping[str, Axis]) -> bool:
    axis = space[key]
    if axis.choices is not None:
        return any(one == value and type(one) is type(value) for one in axis.choices)
    low, high = axis.low, axis.high
    if low is None or high is None or value is None or not low <= value <= high:
        return False
    steps = (value - low) / (axis.step or 1)
    return axis.step is None or abs(steps - round(steps)) < 1e-9


class Sampler(BaseSampler):
    """Optuna's TPE, seeded anew for each place."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._own = TPESampler(seed=seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Seed by the place of the trial."""
        text = json.dumps([self._seed, trial.user_attrs.get(PLACE)])
        self._own = TPESampler(seed=int(digests.sha256_of_text(text), 16) % SEEDS)
        self._own.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """See `optuna.samplers.BaseSampler`."""
        return self._own.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `optuna.samplers.BaseSampler`."""
        return self._own.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """See `optuna.samplers.BaseSampler`."""
        return self._own.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """See `optuna.samplers.BaseSampler`."""
        self._own.after_trial(study, trial, state, values)
