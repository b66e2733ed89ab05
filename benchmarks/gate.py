"""How often a worse model comes to serve in two years of weekly retraining, by simulation.

    python -m benchmarks.gate               # --repetitions 4 for a quick look

Each repetition is a life of its own: data from a known process that drifts, in groups, with wrong
labels, with weeks in which everything is exported again under new names, and with weeks of labels
that are all wrong; models that are trained well, and some that are not; people who roll back, and
approve what waits. The models are linear discriminants, which train in milliseconds. All else is
the project's own: which test sequences are unseen, the checks, the tags of versions, the reference,
the hold after a rollback, and the way back.

What serves is compared each week with what it replaced, and with the first, on fresh sequences of
the true process, which nobody but this simulation has.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from benchmarks.leakage import together
from birnn import params
from birnn.data import copies
from birnn.data.copies import Known
from birnn.errors import RegistryError
from birnn.evaluation import metrics, verdict
from birnn.evaluation.baselines import BAG
from birnn.evaluation.verdict import Basis
from birnn.retraining import answering, gate, lineage, recovery, service
from birnn.retraining.gate import Aim
from birnn.retraining.judged import Answers, Check, Served
from birnn.retraining.lineage import REFERENCE
from birnn.tracking.registry import CHAMPION, DECISION, PREVIOUS, UNDECIDED, Version

Array = NDArray[Any]

LABELS = ("a", "b", "c")
SHARES = (0.5, 0.3, 0.2)
STEPS, FEATURES = 8, 2
WEEKS, KEPT_WEEKS = 104, 26  # of a life, and of the data that a retraining sees
GROUPS, OF_A_GROUP = 16, 6  # that arrive each week, and sequences of each
TEST = 0.3  # share of the groups
FRESH = 6_000  # sequences of the true process, to compare on
FAULTS = ("classes", "lengths", "calibration", f"not worse than {BAG}")
"""Checks that are to refuse a model that is as good in 5 % at most, all of them together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What happens in the weeks of one repetition.

    Attributes:
        aim: of the gate.
        margin: by which the headline may be worse, where that is the aim.
        weeks: how many.
        wrong: share of the labels that are wrong by chance.
        exported: chance of a week that all is there again under new names, for four weeks.
        mislabelled: chance of a week in which the labels of the last month become those of other
            classes, until somebody mends it four weeks later.
        mishap: chance of a training that goes wrong.
        rolled_back: chance of a week that somebody rolls back for no reason.
        noticed: chance that somebody rolls back in a week in which what serves is worse.
        approved: chance of a week that somebody approves what waits.
        drift: by which each mean moves in a week, up or down, in deviations of the noise.
        season: how far means go and come back within a year, in deviations of the noise.
        erosion: by which the noise of training grows each week, in deviations of the process's own,
            so that each model is a little worse than the one before.
    """

    aim: Aim = "superior"
    margin: float = 0.02
    weeks: int = WEEKS
    wrong: float = 0.03
    exported: float = 0.03
    mislabelled: float = 0.03
    mishap: float = 0.4
    rolled_back: float = 0.02
    noticed: float = 0.1
    approved: float = 0.5
    drift: float = 0.025
    season: float = 0.0
    erosion: float = 0.0


class Rows(NamedTuple):
    """Labelled sequences."""

    values: Array  # (S, STEPS * FEATURES)
    labels: Array  # (S,)
    groups: Array  # (S,)
    lengths: Array  # (S,)
    contents: Array  # (S,) uint64, equal for equal sequences

    def take(self, kept: Array) -> Rows:
        """Some of them."""
        return Rows(*(each[kept] for each in self))


class Process:
    """Where sequences come from: classes that wander, and groups that are each a bit apart."""

    def __init__(self, rng: np.random.Generator, drift: float, season: float) -> None:
        self.rng, self.named, self.drift = rng, 0, drift
        self.means = 0.55 * rng.standard_normal((len(LABELS), STEPS * FEATURES))
        self.season = season * rng.standard_normal((len(LABELS), STEPS * FEATURES))
        self.walk = np.zeros_like(self.means)

    def step(self) -> None:
        """Let a week pass."""
        self.walk = self.walk + self.drift * self.rng.standard_normal(self.means.shape)

    def draw(self, week: int, groups: int, of_a_group: int) -> Rows:
        """Draw sequences of groups that nobody has seen."""
        size = groups * of_a_group
        group = np.repeat(np.arange(self.named, self.named + groups), of_a_group)
        self.named += groups
        labels = self.rng.choice(len(LABELS), size, p=SHARES)
        lengths = self.rng.integers(5, 30, size)
        means = self.means + self.walk + self.season * np.sin(2 * np.pi * week / 52)
        apart = 0.3 * self.rng.standard_normal((groups, STEPS * FEATURES))
        noise = self.rng.standard_normal((size, STEPS * FEATURES))
        noise *= np.sqrt(15 / lengths)[:, np.newaxis]
        values = means[labels] + np.repeat(apart, of_a_group, axis=0) + noise
        contents = self.rng.integers(0, 2**63, size, dtype=np.uint64)
        return Rows(values, labels, group, lengths, contents)


class Delivery:
    """The sequence table: what arrived in the last weeks, with mistakes and copies."""

    def __init__(self, life: Life, process: Process) -> None:
        self.life, self.process, self.rng = life, process, process.rng
        self.delivered: list[Rows] = []
        self.copied_until = self.wrong_until = -1
        for week in range(-KEPT_WEEKS, 0):
            self.arrive(week)

    def arrive(self, week: int) -> None:
        """Add what comes in a week."""
        self.process.step()
        rows = self.process.draw(week, GROUPS, OF_A_GROUP)
        wrong = self.rng.random(len(rows.labels)) < self.life.wrong
        rows = rows._replace(labels=np.where(wrong, self._others(rows.labels), rows.labels))
        self.delivered.append(rows)
        if week > 0 and self.rng.random() < self.life.mislabelled:
            self.wrong_until = week + 4
        if week > 0 and self.rng.random() < self.life.exported:
            self.copied_until = week + 4

    def _others(self, labels: Array) -> Array:
        return (labels + self.rng.integers(1, len(LABELS), len(labels))) % len(LABELS)

    def rows(self, week: int) -> Rows:
        """All of now."""
        rows = _joined(*self.delivered[-KEPT_WEEKS:])
        if week < self.wrong_until:
            last = rows.groups > rows.groups.max() - 4 * GROUPS
            labels = np.where(last, (rows.labels + 1) % len(LABELS), rows.labels)
            rows = rows._replace(labels=labels)
        if week >= self.copied_until:
            return rows
        again = rows._replace(groups=rows.groups + 10**6)  # in the other split, by chance
        return _joined(rows, again)


def _joined(*rows: Rows) -> Rows:
    return Rows(*(np.concatenate(part) for part in zip(*rows, strict=True)))


def in_test(groups: Array) -> Array:
    """The split of a group never changes: a hash of its number decides."""
    mixed = (groups.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    chosen: Array = (mixed % np.uint64(1000)) < 1000 * TEST
    return chosen


@dataclass(frozen=True)
class Model:
    """A trained one, and what it was trained on."""

    fitted: LinearDiscriminantAnalysis
    seen: Array  # (S,) contents
    trained_on: Rows
    first: int = 0  # column that it reads
    sharpened: float = 1.0

    def probabilities(self, values: Array) -> Array:
        """Of each class, (S, C)."""
        shares = self.fitted.predict_proba(values[:, self.first :]) ** self.sharpened
        found: Array = shares / shares.sum(axis=1, keepdims=True)
        return found

    def classes(self, values: Array) -> Array:
        """The most probable ones, (S,)."""
        scores = values[:, self.first :] @ self.fitted.coef_.T + self.fitted.intercept_
        found: Array = scores.argmax(axis=1)
        return found

    def answers(self, rows: Rows) -> Answers:
        """What the gate judges."""
        shares = self.probabilities(rows.values)
        return Answers(
            actual=rows.labels,
            predicted=shares.argmax(axis=1),
            probabilities=shares,
            offsets=np.arange(len(rows.labels) + 1),
            lengths=rows.lengths,
            groups=np.unique(rows.groups, return_inverse=True)[1],
        )

    @cached_property
    def known(self) -> Known:
        """By which near copies of what it was trained on are found."""
        return copies.remember(_plain(self.trained_on))


def _plain(rows: Rows) -> Any:
    return together([one.reshape(STEPS, FEATURES) for one in rows.values])


def trained(rows: Rows, mishap: str, noise: float, rng: np.random.Generator) -> Model:
    """Train as it should be, or with a mishap, and with noise."""
    used, first, sharpened = rows, 0, 1.0
    match mishap:
        case "few":
            used = rows.take(rng.random(len(rows.labels)) < rng.uniform(0.03, 0.5))
        case "old":
            used = rows.take(rows.groups <= np.quantile(rows.groups, 0.3))
        case "blind":
            first = int(rng.integers(1, 5))
        case "rare":
            used = rows.take((rows.labels != 2) | (rng.random(len(rows.labels)) < 0.15))
        case "noisy":
            noise += rng.uniform(0.1, 1)
        case "sure":
            sharpened = 4.0
    if noise:
        noisy = used.values + noise * rng.standard_normal(used.values.shape)
        used = used._replace(values=noisy)
    fitted = LinearDiscriminantAnalysis().fit(used.values[:, first:], used.labels)
    return Model(fitted, rows.contents, rows, first, sharpened)


MISHAPS = ("few", "old", "blind", "rare", "noisy", "sure")


class Registry:
    """Versions and aliases, in memory; what is written there is what retraining writes."""

    def __init__(self) -> None:
        self.problem = "simulated"
        self.models: dict[int, Model] = {}
        self._versions: dict[int, Version] = {}
        self._aliases: dict[str, int | None] = {}

    def register(self, model: Model) -> Version:
        """Make a version of a model."""
        number = len(self._versions) + 1
        self.models[number] = model
        self._versions[number] = Version(number, f"run-{number}", {DECISION: UNDECIDED})
        return self._versions[number]

    def versions(self) -> list[Version]:
        """All, the newest first."""
        return [self._versions[number] for number in sorted(self._versions, reverse=True)]

    def version(self, number: int) -> Version:
        """One of them."""
        return self._versions[number]

    def aliases(self) -> dict[str, int | None]:
        """The number of the version that each alias names."""
        return {alias: self._aliases.get(alias) for alias in (PREVIOUS, CHAMPION, "challenger")}

    def aliased(self, alias: str) -> Version | None:
        """The version that an alias names."""
        number = self._aliases.get(alias)
        return None if number is None else self._versions[number]

    def settle(self, record: dict[str, Any]) -> None:
        """Write the tags of a decision, and move the aliases."""
        for number, tags in recovery.noted(record):
            before = self._versions[number]
            self._versions[number] = replace(before, tags={**before.tags, **tags})
        self._aliases = {**record["aliases"]}


@dataclass
class Found:
    """What is counted in one life, or in several."""

    weeks: int = 0
    worse: int = (
        0  # weeks in which the headline is lower by more than the margin than what it replaced
    )
    below_first: int = 0  # ... than the first
    class_worse: int = 0  # weeks in which a class is lower by more than its margin
    length_of_worse: list[int] = field(default_factory=list)
    decisions: Counter[str] = field(default_factory=Counter)
    as_good: int = 0  # challengers that are no worse, truly
    held_up: int = 0  # of these, refused for a fault
    held_up_by: Counter[str] = field(default_factory=Counter)
    better: int = 0  # challengers that are truly better by more than the margin
    promoted_better: int = 0
    bad: int = 0  # challengers that are truly worse by more than a margin
    promoted_bad: int = 0

    def add(self, other: Found) -> Found:
        """Count both together."""
        return Found(**{k: v + getattr(other, k) for k, v in vars(self).items()})


class Truth(NamedTuple):
    """What a model truly reaches."""

    headline: float
    classes: Array


class Simulation:
    """One life."""

    def __init__(self, life: Life, seed: int) -> None:
        self.life, self.rng = life, np.random.default_rng(seed)
        self.process = Process(self.rng, life.drift, life.season)
        self.table = Delivery(life, self.process)
        self.registry, self.found = Registry(), Found()
        self.known: dict[int, Truth] = {}  # of this week
        retrain = params.Retrain(aim=life.aim, margin=life.margin)
        self.evaluate = params.Evaluate()
        self.bounds = gate.bounds(self.evaluate, retrain)

    def run(self) -> Found:
        """Live all weeks."""
        for week in range(self.life.weeks):
            self.table.arrive(week)
            fresh = self.process.draw(week, FRESH, 1)
            self.known = {}
            self.retrain(week, fresh)
            self.people(fresh)
            self.look(fresh)
        return self.found

    def retrain(self, week: int, fresh: Rows) -> None:
        """Train a challenger, judge it, and do what follows."""
        rows = self.table.rows(week)
        held_out = in_test(rows.groups)
        mishap = ""
        if week and self.rng.random() < self.life.mishap:
            mishap = str(self.rng.choice(MISHAPS))
        model = trained(rows.take(~held_out), mishap, week * self.life.erosion, self.rng)
        version = self.registry.register(model)
        champion = lineage.champion(self.registry)  # type: ignore[arg-type]
        checks = self.judge(version, rows.take(held_out), copied=week < self.table.copied_until)
        decision = "kept"
        if gate.promotes(checks):
            decision = "waiting" if lineage.held(champion) else "promoted"
        self.settle(version, decision, checks)
        if champion is not None:
            self.count(version, champion, checks, decision, fresh)

    def judge(self, version: Version, test: Rows, *, copied: bool) -> list[Check]:
        """As `birnn.retraining.candidate` does."""
        versions = {one.number: one for one in self.registry.versions()}
        champion = self.registry.aliased(CHAMPION)
        reference = lineage.reference(versions, champion)
        models = [
            self.registry.models[one.number] if one else None
            for one in (version, champion, reference)
        ]
        unseen = np.ones(len(test.labels), dtype=bool)
        for model in models:
            if model is not None:
                known = model.known if copied else None
                plain = _plain(test) if copied else None
                unseen &= ~answering.seen(test.contents, plain, model.seen, known)  # type: ignore[arg-type]
        if not unseen.any():
            return [Check("unseen", False, {}, "")]
        challenger, now, old = (
            answering.take(model.answers(test), unseen) if model else None for model in models
        )
        assert challenger is not None
        return gate.checks(
            challenger,
            Served(now, old),
            self.bounds,
            labels=LABELS,
            baselines=self.baselines(models[0], test.take(unseen)),
            verdict=self.grade(challenger),
            latency=None,
            reloaded=challenger,
        )

    def baselines(self, model: Model | None, test: Rows) -> dict[str, Array]:
        """The most frequent class, and a model that sees one half of each sequence."""
        assert model is not None
        half = slice(None, STEPS)
        bag = LinearDiscriminantAnalysis().fit(
            model.trained_on.values[:, half], model.trained_on.labels
        )
        return {
            "always 'a'": np.zeros_like(test.labels),
            BAG: bag.predict(test.values[:, half]),
        }

    def grade(self, answers: Answers) -> verdict.Grade:
        """The verdict."""
        scores = metrics.metrics(
            answers.actual, answers.predicted, None, labels=LABELS, offsets=answers.offsets
        )
        present = metrics.present(answers.actual, LABELS, answers.offsets, answers.groups)
        basis = Basis(scores, present=present)
        return verdict.verdict(basis, verdict.aims(self.evaluate)).grade

    def settle(self, version: Version, decision: str, checks: Sequence[Check]) -> None:
        """Note what was decided, as `birnn.retraining.judging` and `recovery` do."""
        champion = self.registry.aliased(CHAMPION)
        record = recovery.about(version, decision, "", self.registry.aliases())
        versions = {one.number: one for one in self.registry.versions()}
        reference = lineage.reference(versions, champion) or champion
        if reference is None or gate.sets_reference(checks):
            reference = version
        self.write(
            {**record, "checks": [asdict(one) for one in checks], REFERENCE: reference.number}
        )

    def write(self, record: dict[str, Any]) -> None:
        """Do what a record says."""
        self.registry.settle({"attempt": "", "time": "", **record})
        self.found.decisions[record["decision"]] += 1

    def people(self, fresh: Rows) -> None:
        """Somebody approves what waits, and was judged with the champion; somebody rolls back."""
        champion = self.registry.aliased(CHAMPION)
        if champion is None:
            return
        newest = self.registry.versions()[0]
        if newest.tags[DECISION] == "waiting" and self.rng.random() < self.life.approved:
            self.write(recovery.about(newest, "promoted", "", self.registry.aliases()))
            return
        chance = self.life.rolled_back + self.life.noticed * self.is_worse(fresh)
        if self.rng.random() < chance:
            try:
                way = service.way_back(self.registry, None)  # type: ignore[arg-type]
            except RegistryError:
                return
            aliases = self.registry.aliases()
            record = recovery.about(way.now, "rolled back", "", aliases)
            after = {**aliases, PREVIOUS: way.previous, CHAMPION: way.back.number}
            self.write({**record, "aliases": after})

    def truth(self, version: Version, fresh: Rows) -> Truth:
        """F1 on the fresh sequences of this week."""
        if version.number not in self.known:
            said = self.registry.models[version.number].classes(fresh.values)
            counts = np.bincount(3 * fresh.labels + said, minlength=9).reshape(3, 3)
            right, both = np.diagonal(counts), counts.sum(axis=0) + counts.sum(axis=1)
            classes = 2 * right / both
            self.known[version.number] = Truth(float(classes.mean()), classes)
        return self.known[version.number]

    def replaced(self) -> tuple[Version | None, Version | None]:
        """The version that serves, and the one that it replaced."""
        versions = {one.number: one for one in self.registry.versions()}
        champion = self.registry.aliased(CHAMPION)
        number = lineage.before(versions, champion, None)
        return champion, None if number is None else versions[number]

    def is_worse(self, fresh: Rows) -> bool:
        """Whether what serves is worse than what it replaced, by more than the margin."""
        champion, before = self.replaced()
        if champion is None or before is None:
            return False
        fall = self.truth(before, fresh).headline - self.truth(champion, fresh).headline
        return fall > self.life.margin

    def look(self, fresh: Rows) -> None:
        """Compare what serves with what it replaced, and with the first."""
        champion, before = self.replaced()
        if champion is None:
            return
        found, now = self.found, self.truth(champion, fresh)
        found.weeks += 1
        if before is not None:
            was = self.truth(before, fresh)
            found.worse += was.headline - now.headline > self.life.margin
            found.class_worse += bool(
                (was.classes - now.classes > self.bounds.margins.classes).any()
            )
        served = [one for one in self.registry.versions() if "serves_since" in one.tags]
        first = self.truth(served[-1], fresh)
        found.below_first += first.headline - now.headline > self.life.margin

    def count(
        self,
        version: Version,
        champion: Version,
        checks: Sequence[Check],
        decision: str,
        fresh: Rows,
    ) -> None:
        """Compare the decision with the truth."""
        found, margins = self.found, self.bounds.margins
        new, now = self.truth(version, fresh), self.truth(champion, fresh)
        gain, falls = new.headline - now.headline, now.classes - new.classes
        passed = decision in ("promoted", "waiting")
        refused = [one.name for one in checks if not one.passed]
        models = self.registry.models
        surer = models[version.number].sharpened > models[champion.number].sharpened
        if gain >= 0 and falls.max() <= 0.005 and not surer and len(checks) > 5:
            found.as_good += 1
            held_up = [name for name in refused if name in FAULTS]
            found.held_up += bool(held_up)
            found.held_up_by.update(held_up)
        if gain > self.life.margin:
            found.better += 1
            found.promoted_better += passed
        if gain < -self.life.margin or falls.max() > margins.classes:
            found.bad += 1
            found.promoted_bad += passed


def simulated(life: Life, seed: int) -> Found:
    """Live one life."""
    return Simulation(life, seed).run()


LIVES = {
    "aim superior": Life(aim="superior"),
    "aim not_inferior": Life(aim="not_inferior"),
    "each model a little worse": Life(aim="not_inferior", drift=0.0, erosion=0.012),
    "seasons": Life(aim="superior", season=0.25),
}


def measured(life: Life, repetitions: int, workers: int) -> Found:
    """Live several, and count all."""
    with ProcessPoolExecutor(workers) as pool:
        found = Found()
        for one in pool.map(simulated, [life] * repetitions, range(repetitions)):
            found = found.add(one)
        return found


def lines(found: Found) -> Iterator[tuple[str, str]]:
    """What the table shows of a life."""

    def share(part: int, whole: int) -> str:
        return f"{100 * part / max(1, whole):.2f} % of {whole}"

    yield (
        "weeks in which what serves is worse than what it replaced",
        share(found.worse, found.weeks),
    )
    yield "... than the first", share(found.below_first, found.weeks)
    yield "... in a class", share(found.class_worse, found.weeks)
    yield "challengers that are as good, refused for a fault", share(found.held_up, found.as_good)
    yield "challengers that are worse, promoted or waiting", share(found.promoted_bad, found.bad)
    yield (
        "challengers that are better, promoted or waiting",
        share(found.promoted_better, found.better),
    )
    for name, number in sorted(found.decisions.items()):
        yield f"decisions: {name}", str(number)
    for name, number in found.held_up_by.most_common():
        yield f"refused, though as good, by {name}", str(number)


def main() -> None:
    """Print a table for each aim."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--weeks", type=int, default=WEEKS)
    parser.add_argument("--only", choices=LIVES, help="one kind of life")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    arguments = parser.parse_args()
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    for name, life in LIVES.items():
        if arguments.only not in {None, name}:
            continue
        of_weeks = replace(life, weeks=arguments.weeks)
        found = measured(of_weeks, arguments.repetitions, arguments.workers)
        title = f"{name}: {arguments.repetitions} lives of {arguments.weeks} weeks"
        table = Table("", "", title=title, title_justify="left", show_header=False)
        for line in lines(found):
            table.add_row(*line)
        console.print(table)


if __name__ == "__main__":
    main()
