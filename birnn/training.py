"""The training loop: Adam, clipped gradients, early stopping; the best epoch is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from birnn import batching, checkpoint
from birnn.batching import IGNORED, Batch
from birnn.checkpoint import Progress
from birnn.errors import TrainingError
from birnn.history import Epoch
from birnn.model import SequenceModel
from birnn.sequences import Sequences

Track = Callable[[Iterable[Batch], str], Iterable[Batch]]


def fit(
    model: SequenceModel,
    train: Sequences,
    validation: Sequences,
    *,
    device: torch.device,
    seed: int,
    batch_size: int,
    max_epochs: int,
    patience: int,
    learning_rate: float,
    weight_decay: float,
    clip_norm: float,
    resume: Path,
    on_epoch: Callable[[Epoch], None],
    track: Track = lambda batches, _: batches,
) -> Progress:
    """Train until the validation loss stops falling, and keep the best epoch.

    Args:
        model: trained in place; it ends with the weights of the best epoch.
        train: what the gradient is computed on.
        validation: what decides when to stop.
        device: where to compute.
        seed: of the batches and of dropout.
        batch_size: sequences in a batch.
        max_epochs: passes over the training sequences at most.
        patience: epochs without a lower validation loss after which training stops.
        learning_rate: Adam's.
        weight_decay: Adam's, in units of the squared weights' gradient.
        clip_norm: gradients longer than this are shortened to it.
        resume: where the state after each epoch is kept. If the file is there, training goes on
            from it, and ends with the same weights as if it had never stopped.
        on_epoch: called after every epoch, and first of all for each one that is resumed from.
        track: wraps the batches of an epoch, to show progress.

    Raises:
        TrainingError: the loss is no longer a number.
    """
    model.to(device)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=device.type != "mps"
    )
    progress = checkpoint.load(resume, model, optimizer)
    for epoch in progress.history:
        on_epoch(epoch)
    for number in range(len(progress.history) + 1, max_epochs + 1):
        if number - 1 - progress.best_epoch >= patience:
            break
        torch.manual_seed(_epoch_seed(seed, number))
        batches = batching.epoch(train, batch_size=batch_size, seed=seed, number=number)
        learned = _train(model, optimizer, track(batches, f"epoch {number}"), device, clip_norm)
        measured = measure(model, validation, batch_size=batch_size, device=device)
        epoch = Epoch(number, learned[0], measured[0], learned[1], measured[1], learning_rate)
        _check(epoch)
        progress.history.append(epoch)
        if progress.best_epoch == number:
            progress.best = {name: value.clone() for name, value in model.state_dict().items()}
        checkpoint.save(resume, model, optimizer, progress)
        on_epoch(epoch)
    model.load_state_dict(progress.best)
    return progress


def _train(
    model: SequenceModel,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    device: torch.device,
    clip_norm: float,
) -> tuple[float, float]:
    """One pass with a step of the optimizer after each batch; loss and accuracy on the way."""
    model.train()
    tallies = []
    for batch in batches:
        loss, tally = _loss(model, batch.to(device))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        optimizer.step()
        tallies.append(tally)
    return _mean(tallies)


@torch.no_grad()
def measure(
    model: SequenceModel, sequences: Sequences, *, batch_size: int, device: torch.device
) -> tuple[float, float]:
    """Mean cross entropy (nats per label) and accuracy over all sequences."""
    model.eval()
    batches = batching.in_order(sequences, batch_size=batch_size)
    return _mean([_loss(model, batch.to(device))[1] for batch in batches])


def _loss(model: SequenceModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """The mean loss, and a tally (summed loss, right answers, labels) that stays on the device."""
    logits = model(batch.values, batch.lengths).flatten(0, -2)
    labels = batch.labels.flatten()
    loss = nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED)
    count = (labels != IGNORED).sum()
    right = (logits.argmax(dim=1) == labels).sum()
    return loss, torch.stack([loss.detach() * count, right, count])


def _mean(tallies: list[Tensor]) -> tuple[float, float]:
    """Loss and accuracy per label; the only point at which the host waits for the device."""
    loss, right, count = torch.stack(tallies).cpu().double().sum(dim=0).tolist()
    return loss / count, right / count


def _epoch_seed(seed: int, number: int) -> int:
    """A seed of its own for each epoch, so that a resumed training draws the same dropout."""
    return seed * 1_000_003 + number


def _check(epoch: Epoch) -> None:
    if not math.isfinite(epoch.train_loss + epoch.validation_loss):
        raise TrainingError(
            f"epoch {epoch.epoch}: expected a finite loss, found {epoch.train_loss} in training "
            f"and {epoch.validation_loss} in validation; lower train.learning_rate"
        )
