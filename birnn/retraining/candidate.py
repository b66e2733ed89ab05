"""The newly trained model asks for the champion's place: it is registered, and judged.

version = register(attempt, registry)
found = checks(attempt, registry, version)
findings = drifted(attempt, registry, champion).findings
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from birnn import params
from birnn.data import copies, splits
from birnn.data.copies import Known
from birnn.data.encoding import Encoding
from birnn.data.sequences import Sequences
from birnn.data.splits import Splitting
from birnn.evaluation import metrics, verdict
from birnn.evaluation.verdict import Basis
from birnn.files import atomic, digests, paths, records
from birnn.files.paths import EVALUATION, MODELS, PREPARED, RAW, REPORT
from birnn.files.tables import Chunk, Precision
from birnn.model import devices
from birnn.retraining import answering, attempts, decisions, drift, gate
from birnn.retraining.answering import Asked, Mask
from birnn.retraining.attempts import Attempt
from birnn.retraining.drift import Drift, Reference
from birnn.retraining.judged import Answers, Check
from birnn.tracking import runs
from birnn.tracking.registry import Registry, Version

TRAINED_ON, KNOWN, REFERENCE = "trained_on.npy", "known.npz", "reference.json"
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
    tags = {
        "attempt": attempt.name,
        "model": attempt.model,
        **hashes(copy, attempt.model),
        "test_sha256": answering.sha256(_raw(attempt, "test")),
        "params_sha256": runs.params_sha256(knobs),
        "code_sha256": digests.sha256(*sorted(code)),
    }
    if changed := runs.uncommitted():
        tags["uncommitted"] = changed
    return registry.register(run.id, tags)


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
    """Let champion and challenger answer for the same sequences, and judge.

    The sequences are those of the test split that neither of them was trained on, exactly or
    nearly. What `evaluate` has written down is compared with what the model says as the registry
    gives it back.
    """
    encoding, device = (
        _encoding(attempt),
        devices.choose(attempt.chosen.models[attempt.model].device),
    )
    rows = list(_raw(attempt, "test"))
    champion = _champion(attempt, registry, rows, encoding, device)
    rounded = [(challenger, encoding.precision)]
    if attempt.champion and champion:
        rounded.append((attempt.champion, champion.precision))
    fresh = _fresh(attempt, registry, rounded, rows)
    if not fresh.any():
        return [_leakage(attempt), _nothing_fresh(len(fresh))]
    place = registry.fetch(challenger.number, attempts.state() / "reloaded")
    reloaded = answering.ask(place, rows, encoding.names, device, where="the challenger")
    written = attempt.copy / EVALUATION / attempt.model / paths.PREDICTIONS
    tested = answering.tested(written, reloaded.answers, encoding.names)
    judged = _judged(
        attempt,
        encoding,
        fresh,
        challenger=answering.take(tested, fresh),
        champion=answering.take(champion.answers, fresh) if champion else None,
        reloaded=answering.take(reloaded.answers, fresh),
        latency=answering.latency(reloaded, champion, device) if champion else None,
    )
    return [*judged, _leakage(attempt)]


def _champion(
    attempt: Attempt,
    registry: Registry,
    rows: list[Chunk],
    encoding: Encoding,
    device: torch.device,
) -> Asked | None:
    """The champion's answers."""
    if attempt.champion is None:
        return None
    number = attempt.champion.number
    folder = registry.fetch(number, attempts.state() / "champion")
    where = f"the champion, version {number}"
    return answering.ask(folder, rows, encoding.names, device, where=where)


def _fresh(
    attempt: Attempt,
    registry: Registry,
    rounded: Iterable[tuple[Version, Precision]],
    rows: list[Chunk],
) -> Mask:
    """Which of the test sequences none of some models was trained on, (S,).

    Args:
        attempt: what is being judged.
        registry: holds what the models have seen.
        rounded: the models, and to which precision each rounds what it reads.
        rows: the test sequences.
    """
    plain = _in_raw_units(attempt, "test")
    fresh = np.ones(len(plain), dtype=bool)
    for version, precision in rounded:
        place = attempts.state() / f"version-{version.number}"
        trained_on = registry.attached(version.run_id, TRAINED_ON, place)
        hashes = answering.contents(rows, precision)
        fresh &= ~np.isin(hashes, np.load(trained_on, allow_pickle=False))
        if registry.has(version.run_id, KNOWN):  # versions of 0.2.0 have none
            known = Known.read(registry.attached(version.run_id, KNOWN, place))
            fresh &= ~copies.find(known, plain).seen
    return fresh


def _leakage(attempt: Attempt) -> Check:
    """What the report says of leakage, with which the figures of a test set are worth nothing."""
    verdict = atomic.read_json(attempt.copy / REPORT / paths.VERDICT)
    (found,) = (one for one in verdict["checks"] if one["name"] == "leakage")
    return Check("leakage", found["status"] != "fail", found["figures"], found["sentence"])


def _judged(
    attempt: Attempt,
    encoding: Encoding,
    fresh: Mask,
    *,
    challenger: Answers,
    champion: Answers | None,
    reloaded: Answers,
    latency: tuple[float, float] | None,
) -> list[Check]:
    """Hand all that was gathered to the gate."""
    evaluate, labels = attempt.chosen.evaluate, encoding.names
    scores = metrics.metrics(
        challenger.actual, challenger.predicted, None, labels=labels, offsets=challenger.offsets
    )
    present = metrics.present(challenger.actual, labels, challenger.offsets, challenger.groups)
    basis, prepared = (
        Basis(scores, present=present, unseen=encoding.unseen),
        attempt.copy / PREPARED,
    )
    return gate.checks(
        challenger,
        champion,
        gate.bounds(evaluate, attempt.chosen.retrain),
        labels=labels,
        baselines=answering.without_context(prepared, labels, fresh, seed=evaluate.seed),
        verdict=verdict.verdict(basis, verdict.aims(evaluate)).grade,
        latency=latency,
        reloaded=reloaded,
    )


def _nothing_fresh(number: int) -> Check:
    sentence = f"Champion or challenger were trained on all {number} test sequences, exactly or"
    sentence += " nearly: nothing to compare on; add new ones."
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
