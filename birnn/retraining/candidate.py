"""The newly trained model asks for the champion's place: it is registered, and judged.

version = register(attempt, registry)
found = checks(attempt, registry, version)
findings = drifted(attempt, registry, champion).findings
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import get_args

import numpy as np

from birnn import params
from birnn.data import copies, splits
from birnn.data.copies import Known
from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.data.splits import Splitting
from birnn.errors import DataError
from birnn.evaluation import metrics, verdict
from birnn.evaluation.verdict import Basis
from birnn.files import atomic, console, digests, installed, paths, records
from birnn.files.paths import EVALUATION, MODELS, PREPARED, RAW, REPORT
from birnn.files.reading import first_few
from birnn.files.tables import Chunk, Precision
from birnn.model import devices
from birnn.retraining import answering, attempts, decisions, drift, gate, lineage
from birnn.retraining.answering import Asked, Mask
from birnn.retraining.attempts import Attempt
from birnn.retraining.drift import Drift, Reference
from birnn.retraining.judged import Answers, Check, Served
from birnn.tracking import runs
from birnn.tracking.registry import Registry, Version

TRAINED_ON, KNOWN, REFERENCE = "trained_on.npy", "known.npz", "reference.json"
KEPT_FILES = "result"  # what `birnn.retraining.workspace.pack` put together
"""Attached to a version's run."""
DRIFT_LEVEL = 0.05  # the chance of calling out drift where there is none


def hashes(folder: Path, model: str) -> dict[str, str]:
    """Hash a trained model and all data of its training and its test."""
    return {
        "data_sha256": runs.data_sha256(folder / PREPARED),
        "model_sha256": runs.model_sha256(folder / MODELS / model),
    }


def register(attempt: Attempt, registry: Registry) -> Version:
    """Make a version of the trained model, with all that a later retraining asks of it."""
    chosen, copy = attempt.chosen, attempt.copy
    knobs = params.of_run(chosen, attempt.model)
    run = runs.in_checkout(chosen.problem, attempt.model, knobs, copy)
    _remember(attempt, registry, run.id)
    code = [*copy.glob("birnn/**/*.py"), *copy.glob("stages/*.py"), copy / "dvc.yaml"]
    code += copy.glob(installed.PATH)  # in the place of the code, in a repository of one's own
    tags = {
        "attempt": attempt.name,
        "model": attempt.model,
        **hashes(copy, attempt.model),
        "test_sha256": test_sha256(attempt),
        "params_sha256": runs.params_sha256(knobs),
        "code_sha256": digests.sha256(*sorted(code)),
    }
    if changed := runs.uncommitted():
        tags["uncommitted"] = changed
    return registry.register(run.id, tags)


def test_sha256(attempt: Attempt) -> str:
    """Hash the test sequences."""
    return answering.sha256(_raw(attempt, "test"))


def test_sample(attempt: Attempt) -> list[str]:
    """Say which sequences the challenger is tested on, in little; see `decisions.sample`."""
    return decisions.sample(answering.contents(_raw(attempt, "test")))


def _remember(attempt: Attempt, registry: Registry, run_id: str) -> None:
    """Attach to the run what the model has seen: its sequences' hashes, and what they are like."""
    seen = [answering.contents(_raw(attempt, split)) for split in ("train", "validation")]
    place = attempts.state() / TRAINED_ON
    np.save(place, np.concatenate(seen), allow_pickle=False)
    registry.log(run_id, place)
    known = copies.remember(_in_raw_units(attempt, "train", "validation"))
    known.write(attempts.state() / KNOWN)
    registry.log(run_id, attempts.state() / KNOWN)
    atomic.write_json(attempts.state() / REFERENCE, _reference(attempt).to_json())
    registry.log(run_id, attempts.state() / REFERENCE)


def drifted(attempt: Attempt, registry: Registry, champion: Version) -> Drift:
    """Compare what is new since the champion was trained with what it was trained on.

    Where nothing is new, as after labels were corrected, all training data of now are compared.
    """
    place = attempts.state() / "champion"
    kept = registry.attached(champion.run_id, REFERENCE, place)
    trained_on = np.load(registry.attached(champion.run_id, TRAINED_ON, place), allow_pickle=False)
    seen = [  # as a model reads numbers today, or as those of 0.2.0 did
        np.isin(answering.contents(_raw(attempt, "train"), precision), trained_on)
        for precision in get_args(Precision)
    ]
    new: Mask = ~np.logical_or(*seen)
    old, limit = Reference.from_json(atomic.read_json(kept)), attempt.chosen.retrain.psi_limit
    now = _reference(attempt, new if new.any() else None)
    return Drift(
        new=int(new.sum()),
        findings=drift.compare(old, now, psi_limit=limit, level=DRIFT_LEVEL),
        power=drift.power(old, now, psi_limit=limit, level=DRIFT_LEVEL),
    )


def _reference(attempt: Attempt, kept: Mask | None = None) -> Reference:
    """What training sequences are like, all or those that are kept (S,)."""
    encoding, seed = _encoding(attempt), attempt.chosen.evaluate.seed
    first, _ = next(_raw(attempt, "train"))
    centre = answering.centre(first, encoding)
    place = attempts.state() / "centred-train.arrow"
    raw = _raw(attempt, "train")
    plain = answering.in_raw_units(raw, encoding, place, centre=centre, filled=False)
    if kept is not None:
        plain = plain.select(np.flatnonzero(kept))
    return drift.reference(plain, encoding.names, encoding.features, seed, centre=centre)


def checks(attempt: Attempt, registry: Registry, challenger: Version) -> list[Check]:
    """Let challenger, champion and reference answer for the same sequences, and judge.

    The sequences are those of the test split that none of them was trained on, exactly or nearly.
    What `evaluate` has written down is compared with what the model says as the registry gives it
    back; of a version that was trained some time ago, its hash is.
    """
    labels = _encoding(attempt).names
    device = devices.choose(attempt.chosen.models[attempt.model].device)
    rows = list(_raw(attempt, "test"))
    champion, reference = _served(attempt, registry)

    def ask(version: Version, who: str) -> _Said:
        where = f"{who}, version {version.number}"
        folder = registry.fetch(version.number, attempts.state() / who)
        return _Said(version, folder, answering.ask(folder, rows, labels, device, where=where))

    new = ask(challenger, "the challenger")
    now = ask(champion, "the champion") if champion else None
    old = _unless_unreadable(lambda: ask(reference, "the reference")) if reference else None
    said = [one for one in (new, now, old) if one]
    fresh = _fresh(attempt, registry, said, rows)
    found = [
        _leakage(attempt, registry, challenger),
        *([_known_classes(labels, now.asked)] if now else []),
    ]
    if not fresh.any():
        return [*found, _nothing_fresh(len(fresh))]
    tested = _tested(attempt, challenger, new, labels)
    judged = _judged(
        attempt,
        fresh,
        challenger=answering.take(tested, fresh),
        served=Served(*(answering.take(one.answers, fresh) if one else None for one in (now, old))),
        reloaded=answering.take(new.answers, fresh),
        latency=answering.latency(new.asked, now.asked, device) if now else None,
    )
    return [*judged, *found]


@dataclass(frozen=True, slots=True)
class _Said:
    """A version, where its files are, and what it says."""

    version: Version
    folder: Path
    asked: Asked

    @property
    def answers(self) -> Answers:
        return self.asked.answers


def _served(attempt: Attempt, registry: Registry) -> tuple[Version | None, Version | None]:
    """The champion and the reference, of those there are."""
    versions = {version.number: version for version in registry.versions()}
    return attempt.champion, lineage.reference(versions, attempt.champion)


def _unless_unreadable(ask: Callable[[], _Said]) -> _Said | None:
    """Ask an old model, unless the data have come to lack a column that it reads."""
    try:
        return ask()
    except DataError as error:
        console.say(f"left out: {error}")
        return None


def _tested(attempt: Attempt, challenger: Version, said: _Said, labels: Sequence[str]) -> Answers:
    """What `evaluate` wrote of the challenger; if it was trained some time ago, what it says."""
    if trained_now(attempt, challenger):
        written = attempt.copy / EVALUATION / attempt.model / paths.PREDICTIONS
        return answering.tested(written, said.answers, labels)
    return said.answers


def trained_now(attempt: Attempt, challenger: Version) -> bool:
    """Say whether the copy holds the challenger, and not data alone with which to judge it."""
    try:
        return hashes(attempt.copy, attempt.model).items() <= challenger.tags.items()
    except OSError:
        return False


def _fresh(attempt: Attempt, registry: Registry, said: Sequence[_Said], rows: list[Chunk]) -> Mask:
    """Which of the test sequences (S,) none of some models was trained on, and all can read."""
    plain = _in_raw_units(attempt, "test")
    fresh = np.ones(len(plain), dtype=bool)
    for one in said:
        run = one.version.run_id
        place = attempts.state() / f"version-{one.version.number}"
        trained_on = np.load(registry.attached(run, TRAINED_ON, place), allow_pickle=False)
        known = None  # versions of 0.2.0 have none
        if registry.has(run, KNOWN):
            known = Known.read(registry.attached(run, KNOWN, place))
        contents = answering.contents(rows, one.asked.precision)
        fresh &= ~answering.seen(contents, plain, trained_on, known)
        fresh &= _readable(one)
    return fresh


def _readable(said: _Said) -> Mask:
    """Which of the test sequences (S,) a model can read; those that it cannot are told."""
    readable = said.asked.readable
    if lacking := int((~readable).sum()):
        console.say(
            f"left out: {lacking} of {len(readable)} test sequences lack numbers, and version "
            f"{said.version.number} was trained with prepare.missing: refuse"
        )
    return readable


def _leakage(attempt: Attempt, registry: Registry, challenger: Version) -> Check:
    """What the report says of leakage, with which the figures of a test set are worth nothing."""
    report = attempt.copy
    if not trained_now(attempt, challenger):
        report = registry.attached(challenger.run_id, KEPT_FILES, attempts.state() / "kept")
    verdict = atomic.read_json(report / REPORT / paths.VERDICT)
    (found,) = (one for one in verdict["checks"] if one["name"] == "leakage")
    return Check("leakage", found["status"] != "fail", found["figures"], found["sentence"])


def _known_classes(labels: Sequence[str], champion: Asked) -> Check:
    """A class that is missing in the data can fall in no test set: the champion knows it still."""
    lost = [repr(label) for label in champion.labels if label not in labels]
    sentence = "The data hold each class that the champion knows."
    if lost:
        sentence = (
            f"The data hold no {first_few(lost)}, which the champion knows: bring them back, "
        )
        sentence += "or give data with other classes another name under `problem`."
    return Check("known_classes", not lost, {"lost": len(lost)}, sentence)


def _judged(
    attempt: Attempt,
    fresh: Mask,
    *,
    challenger: Answers,
    served: Served,
    reloaded: Answers,
    latency: tuple[float, float] | None,
) -> list[Check]:
    """Hand all that was gathered to the gate."""
    encoding = _encoding(attempt)
    evaluate, labels = attempt.chosen.evaluate, encoding.names
    scores = metrics.metrics(
        challenger.actual, challenger.predicted, None, labels=labels, offsets=challenger.offsets
    )
    present = metrics.present(challenger.actual, labels, challenger.offsets, challenger.groups)
    basis = Basis(scores, present=present, unseen=encoding.unseen)
    prepared = attempt.copy / PREPARED
    return gate.checks(
        challenger,
        served,
        gate.bounds(evaluate, attempt.chosen.retrain),
        labels=labels,
        baselines=answering.without_context(prepared, labels, fresh, seed=evaluate.seed),
        verdict=verdict.verdict(basis, verdict.aims(evaluate)).grade,
        latency=latency,
        reloaded=reloaded,
    )


def _nothing_fresh(number: int) -> Check:
    sentence = f"Of {number} test sequences there is none that all models can read, and that none"
    sentence += " was trained on, exactly or nearly: nothing to compare on; add new ones."
    return Check("unseen", passed=False, figures={"sequences": number}, sentence=sentence)


def _raw(attempt: Attempt, split: str) -> Iterator[Chunk]:
    how = Splitting.of(attempt.chosen.prepare)
    return splits.read_one(attempt.copy / RAW, how, split)


def _in_raw_units(attempt: Attempt, *names: str, filled: bool = True) -> Sequences:
    chunks = chain.from_iterable(_raw(attempt, split) for split in names)
    place = attempts.state() / f"plain-{'-'.join(names)}.arrow"
    return answering.in_raw_units(chunks, _encoding(attempt), place, filled=filled)


def _encoding(attempt: Attempt) -> Encoding:
    return records.read(attempt.copy / PREPARED / paths.ENCODING, Encoding)
