"""The training loop: Adam, clipped gradients, early stopping; the best epoch is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import Tensor

from birnn.data.parted import Parts
from birnn.data.sequences import Sequences, Tally
from birnn.errors import TrainingError
from birnn.model import batching, checkpoint, devices, history, losses
from birnn.model.adam import Adam
from birnn.model.batching import Batch
from birnn.model.checkpoint import Kept, Progress
from birnn.model.distributed import ALONE, Group
from birnn.model.history import Epoch, Keep
from birnn.model.networks import SequenceModel
from birnn.model.scoring import Score

if TYPE_CHECKING:  # a machine that is lent for its GPU may have no pydantic
    from birnn import params

Track = Callable[[Iterable[Batch], str], Iterable[Batch]]


HIGH_LOSS = 10  # times that of a model which gives every class the same probability


class Bounds(TypedDict):
    """What a batch holds; see `birnn.model.batching.epoch`."""

    batch_size: int
    batch_steps: int | None
    spell: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a model is trained.

    Attributes:
        device: where to compute.
        seed: of the batches and of dropout.
        batch_size: sequences in a batch at most.
        max_epochs: passes over the training sequences at most.
        patience: epochs without a better one, by `keep`, after which training stops.
        learning_rate: Adam's, in the first epoch.
        weight_decay: times the weights, it is added to the gradient.
        clip_norm: gradients longer than this are shortened to it.
        batch_steps: steps in a batch at most, padding included.
        schedule: how the learning rate goes on: `constant`, or `linear`, which lowers it with every
            epoch so that it would be 0 after `max_epochs`.
        keep: which epoch is the best: that of the lowest validation `loss`, or of the highest
            `accuracy`, which may rise when a model is already too sure of itself, or the `last`,
            where a schedule ends by itself and validation is too small to choose by.
        precision: `fp32`; `tf32`, on a GPU, for products of float32 with ten bits of mantissa; or
            `bf16` for products in bfloat16 (weights and sums stay float32).
        loss_average: over what the loss is a mean, in an epoch: `steps`, each of which counts the
            same, or `sequences`, of which long ones count no more than short ones. For
            classification both are the same.
        class_weights: `none`, or `balanced` for rare classes to count as much as frequent ones; or
            what each class counts, in the order of their indices.
        focal_gamma: exponent of the focal loss; see `birnn.model.losses.cross_entropy`.
        workers: processes that divide each batch; see `birnn.model.distributed`.
    """

    device: torch.device
    seed: int
    batch_size: int
    max_epochs: int
    patience: int
    learning_rate: float
    weight_decay: float
    clip_norm: float
    batch_steps: int | None = None
    schedule: str = "constant"
    keep: Keep = "loss"
    precision: str = "fp32"
    loss_average: str = "steps"
    class_weights: str | tuple[float, ...] = "none"
    focal_gamma: float = 0.0
    workers: int = 1


def options(chosen: params.Train) -> Options:
    """What params.yaml chooses, on the device and with the precision that are here.

    Raises:
        DeviceError: what was asked for is not there.
    """
    device = devices.choose(chosen.device)
    return Options(
        device=device,
        seed=chosen.seed,
        batch_size=chosen.batch_size,
        max_epochs=chosen.max_epochs,
        patience=chosen.patience,
        learning_rate=chosen.learning_rate,
        weight_decay=chosen.weight_decay,
        clip_norm=chosen.clip_norm,
        batch_steps=chosen.batch_steps,
        schedule=chosen.schedule,
        keep=chosen.keep,
        precision=devices.precision(chosen.precision, device),
        loss_average=chosen.loss_average,
        class_weights=chosen.class_weights,
        focal_gamma=chosen.focal_gamma,
        workers=chosen.workers,
    )


def fit(
    model: SequenceModel,
    train: Sequences | Parts,
    validation: Sequences | Parts,
    options: Options,
    *,
    resume: Kept | None,
    on_epoch: Callable[[Epoch], None],
    group: Group = ALONE,
    track: Track = lambda batches, _: batches,
) -> Progress:
    """Train until validation stops to get better, and keep the best epoch.

    Args:
        model: trained in place; it ends with the weights of the best epoch.
        train: what the gradient is computed on.
        validation: what decides when to stop.
        options: how.
        resume: where the state after each epoch is kept. If one is there, training goes on from
            it, and ends with the same weights as if it had never stopped. None for nowhere.
        on_epoch: called after every epoch, and first of all for each one that is resumed from.
        group: the processes that train together; each calls `fit`, the first one keeps `resume`.
        track: wraps the batches of an epoch, to show progress.

    Raises:
        TrainingError: the loss is no longer a number.
    """
    tally = train.tally()
    if tally.tokens is not None:
        model.expect(tally.tokens)
    model.to(options.device)
    optimizer = Adam(
        model.parameters(),
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        clip_norm=options.clip_norm,
    )
    spell = bool(model.architecture.characters)
    bounds = Bounds(batch_size=options.batch_size, batch_steps=options.batch_steps, spell=spell)
    score = scorer(model, tally, options)
    splits = batching.placed([train, validation], options.device)
    progress = Progress() if resume is None else checkpoint.load(resume, model, optimizer, group)
    for epoch in progress.history:
        on_epoch(epoch)
    for number in range(len(progress.history) + 1, options.max_epochs + 1):
        if number - 1 - progress.best_epoch >= options.patience:
            break
        optimizer.learning_rate = options.learning_rate * _pace(options, number)
        torch.manual_seed(_epoch_seed(options.seed, number, group.rank))
        batches = batching.epoch(splits[0], **bounds, seed=options.seed, number=number, group=group)
        learned = one_pass(track(batches, f"epoch {number}"), score, optimizer, group)
        held_out = batching.in_order(splits[1], **bounds, group=group)
        measured = _measure(held_out, score, group)
        figures = learned[0], measured[0], learned[1], measured[1]
        epoch = Epoch(number, *figures, optimizer.learning_rate)
        _check(epoch)
        progress.history = history.marked([*progress.history, epoch], options.keep)
        if progress.best_epoch == number:
            progress.best = {name: value.clone() for name, value in model.state_dict().items()}
        if group.leads and resume is not None:
            checkpoint.save(resume, model, optimizer, progress)
        on_epoch(progress.history[-1])
    model.load_state_dict(progress.best)
    return progress


def complaint(epoch: Epoch, classes: int) -> str:
    """Name a loss that is finite but far above that of a guess, in one line; else give none."""
    guess = math.log(max(classes, 2))
    if max(epoch.train_loss, epoch.validation_loss) <= HIGH_LOSS * guess:
        return ""
    return (
        f"epoch {epoch.epoch}: expected a loss near {guess:.2f}, that of a guess, or below, found "
        f"{epoch.train_loss:.6g} in training and {epoch.validation_loss:.6g} in validation; lower "
        "train.learning_rate"
    )


def one_pass(
    batches: Iterable[Batch], score: Score, optimizer: Adam, group: Group
) -> tuple[float, float]:
    """One pass with a step of the optimizer after each batch; loss and accuracy on the way."""
    tallies = []
    score.model.train()
    for batch in batches:
        gradient, tally = score.learn(batch, optimizer)
        group.add(gradient)
        optimizer.step(gradient)
        tallies.append(tally)
    return _mean(tallies, group)


def _measure(batches: Iterable[Batch], score: Score, group: Group) -> tuple[float, float]:
    """Mean cross entropy (nats per label) and accuracy over all batches."""
    score.model.eval()
    return _mean([score.measure(batch) for batch in batches], group)


def scorer(model: SequenceModel, train: Tally, options: Options) -> Score:
    """Fix for a whole training how a batch is scored."""
    weights, mean_labels = None, None
    if options.class_weights == "balanced":
        weights = losses.balanced(train.classes, model.architecture.classes).to(options.device)
    elif not isinstance(options.class_weights, str):
        weights = torch.tensor(options.class_weights).to(options.device)
    if options.loss_average == "sequences":
        mean_labels = train.known / train.labelled
    return Score(
        model,
        options.device,
        labelled=train.known / train.labels,
        mean_labels=mean_labels,
        weights=weights,
        gamma=options.focal_gamma,
        halved=options.precision == "bf16",
    )


def _mean(tallies: list[Tensor], group: Group) -> tuple[float, float]:
    """Loss and accuracy per label; the only point at which the host waits for the device."""
    total = torch.stack(tallies).cpu().double().sum(dim=0)
    group.add(total)
    loss, right, count = total.tolist()
    return loss / count, right / count


def _epoch_seed(seed: int, number: int, rank: int) -> int:
    """A seed for each epoch and process, so that a resumed training draws the same dropout."""
    return (seed * 1_000_003 + number) * 1_009 + rank


def _pace(options: Options, number: int) -> float:
    """What the learning rate is multiplied by; an epoch's number alone decides, so one resumes."""
    return 1 - (number - 1) / options.max_epochs if options.schedule == "linear" else 1.0


def _check(epoch: Epoch) -> None:
    if not math.isfinite(epoch.train_loss + epoch.validation_loss):
        raise TrainingError(
            f"epoch {epoch.epoch}: expected a finite loss, found {epoch.train_loss} in training "
            f"and {epoch.validation_loss} in validation; lower train.learning_rate"
        )
