"""The training loop: what it computes, when it stops, and that it can be stopped."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from birnn import params
from birnn.data import buckets
from birnn.data.sequences import UNLABELLED, Sequences
from birnn.errors import TrainingError
from birnn.model import training
from birnn.model.architecture import Architecture
from birnn.model.batching import Batch
from birnn.model.checkpoint import File, Progress
from birnn.model.history import Epoch, marked
from birnn.model.networks import SequenceModel

Ragged = Callable[..., Sequences]
LENGTHS = [3, 1, 4, 1, 5, 2, 6, 5, 3, 5, 2, 4]
CPU = torch.device("cpu")


def build(**changes: Any) -> SequenceModel:
    """A network with all that a resumed training could get wrong: two layers and dropout."""
    torch.manual_seed(0)
    tagger = Architecture(
        task="tagging",
        cell="GRU",
        features=4,
        embedding_size=0,
        hidden_size=5,
        num_layers=2,
        dropout=0.4,
        bidirectional=True,
        classes=3,
    )
    return SequenceModel(replace(tagger, **changes))


def fit(
    network: SequenceModel,
    train: Sequences,
    folder: Path,
    *,
    validation: Sequences | None = None,
    on_epoch: Callable[[Epoch], Any] = lambda _: None,
    track: training.Track = lambda batches, _: batches,
    **changes: Any,
) -> Progress:
    options: dict[str, Any] = {
        "device": CPU,
        "seed": 1,
        "batch_size": 5,
        "max_epochs": 4,
        "patience": 10,
        "learning_rate": 0.05,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
    }
    return training.fit(
        network,
        train,
        validation or train,
        training.Options(**(options | changes)),
        resume=File(folder / "resume.safetensors"),
        on_epoch=on_epoch,
        track=track,
    )


def bits(network: SequenceModel) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in network.state_dict().items()}


def score(
    network: SequenceModel, of: Sequences, indices: Iterable[int] | None = None
) -> tuple[Tensor, Tensor]:
    """Logits and labels, one sequence at a time, without those that are not there."""
    logits, labels = [], []
    for index in range(len(of)) if indices is None else indices:
        steps = torch.tensor(of.values[of.offsets[index] : of.offsets[index + 1]])
        found = network(steps[None], torch.tensor([len(steps)]))
        logits.append(found.reshape(-1, 3))
        places = slice(*of.label_offsets[index : index + 2])
        labels.append(torch.tensor(of.labels[places]).long())
    known = torch.cat(labels) != UNLABELLED
    return torch.cat(logits)[known], torch.cat(labels)[known]


def partly(split: Sequences, seed: int = 0) -> Sequences:
    """Take a third of the labels away, and all of the first sequence."""
    gone = np.random.default_rng(seed).random(len(split.labels)) < 0.33
    gone[: split.label_offsets[1]] = True
    return replace(split, labels=np.where(gone, np.int32(UNLABELLED), split.labels))


def cross_entropies(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    right = logits.log_softmax(dim=1)[range(len(labels)), labels]
    return -weights[labels] * right


def figures(logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[float, float]:
    """Loss and accuracy."""
    accuracy = (logits.argmax(dim=1) == labels).double().mean()
    return cross_entropies(logits, labels, weights).mean().item(), accuracy.item()


def test_options_hold_all_that_params_choose() -> None:
    chosen = params.Train(
        device="cpu",
        seed=2,
        precision="fp32",
        batch_size=3,
        batch_steps=4,
        max_epochs=5,
        patience=6,
        learning_rate=0.7,
        schedule="linear",
        keep="last",
        weight_decay=0.8,
        clip_norm=0.9,
        loss_average="sequences",
        class_weights="balanced",
        focal_gamma=1.0,
    )
    found = asdict(training.options(chosen))
    assert found | {"device": found["device"].type} == chosen.model_dump()


class TestAgainstAPlainLoop:
    @pytest.mark.parametrize("task", ["tagging", "classification"])
    @pytest.mark.parametrize("class_weights", ["none", "balanced"])
    @pytest.mark.parametrize("loss_average", ["steps", "sequences"])
    @pytest.mark.parametrize(
        ("clip_norm", "labels"), [(0.01, "all"), (100.0, "all"), (1.0, "some")]
    )
    def test_one_epoch(
        self,
        tmp_path: Path,
        ragged: Ragged,
        task: str,
        class_weights: str,
        loss_average: str,
        clip_norm: float,
        labels: str,
    ) -> None:
        train = ragged(LENGTHS, tagging=task == "tagging")
        validation = ragged([2, 7, 1, 5, 3, 4], tagging=task == "tagging", seed=1)
        if labels == "some":
            train, validation = partly(train), partly(validation)
        network, expected = build(task=task, dropout=0.0), build(task=task, dropout=0.0)
        found = fit(
            network,
            train,
            tmp_path,
            validation=validation,
            max_epochs=1,
            class_weights=class_weights,
            loss_average=loss_average,
            clip_norm=clip_norm,
        ).history[0]
        weights = torch.ones(3)
        if class_weights == "balanced":
            known = train.labels[train.labels != UNLABELLED]
            balanced = compute_class_weight("balanced", classes=np.arange(3), y=known)
            weights = torch.tensor(balanced, dtype=torch.float32)
        counts = self.counts(train, loss_average)
        learned = self.learn(expected, train, weights, counts, clip_norm)
        measured = figures(*score(expected.eval(), validation), weights)
        for name, value in expected.state_dict().items():
            torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-4, atol=1e-5)
        epoch = (1, learned[0], measured[0], learned[1], measured[1], 0.05, True)
        assert astuple(found) == pytest.approx(epoch, rel=1e-4)

    def counts(self, train: Sequences, loss_average: str) -> Tensor:
        """What each label counts: a mean of 1, and the same for all, or for those of a sequence."""
        if loss_average == "steps":
            return torch.ones(len(train.labels))
        known = (train.labels != UNLABELLED).astype(np.int64)
        labels = np.add.reduceat(known, train.label_offsets[:-1])
        counts = labels[labels > 0].mean() / np.maximum(labels, 1)
        return torch.tensor(np.repeat(counts, np.diff(train.label_offsets)), dtype=torch.float32)

    def learn(
        self,
        network: SequenceModel,
        train: Sequences,
        weights: Tensor,
        counts: Tensor,
        clip_norm: float,
    ) -> tuple[float, float]:
        """An epoch with the settings of `fit`, clipping by hand; loss and accuracy on the way."""
        optimizer = torch.optim.Adam(network.parameters(), lr=0.05, weight_decay=0.01)
        logits, labels = [], []
        batches = buckets.shuffled(train.lengths, batch_size=5, seed=1, number=1)
        for indices in batches:
            scored, answers = score(network, train, indices.tolist())
            optimizer.zero_grad()
            own = torch.tensor(
                np.concatenate([range(*train.label_offsets[i : i + 2]) for i in indices])
            )
            own = own[torch.tensor(train.labels[own] != UNLABELLED)]
            loss = (counts[own] * cross_entropies(scored, answers, weights)).sum()
            (loss / (np.sum(train.labels >= 0) / len(batches))).backward()  # type: ignore[no-untyped-call]
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
            for gradient in gradients:
                gradient *= min(1.0, clip_norm / float(length))
            optimizer.step()
            logits.append(scored.detach())
            labels.append(answers)
        return figures(torch.cat(logits), torch.cat(labels), weights)

    def test_dropout_in_training_only(self, tmp_path: Path, ragged: Ragged) -> None:
        train = ragged(LENGTHS)
        dropping, plain = build(dropout=0.5), build(dropout=0.0)
        found = fit(dropping, train, tmp_path / "a", max_epochs=1).history[0]
        other = fit(plain, train, tmp_path / "b", max_epochs=1).history[0]
        assert found.train_loss != other.train_loss
        expected = figures(*score(dropping.eval(), train), torch.ones(3))
        measured = (found.validation_loss, found.validation_accuracy)
        assert measured == pytest.approx(expected, rel=1e-4)


class TestSame:
    def test_twice_the_same_bytes(self, tmp_path: Path, ragged: Ragged) -> None:
        runs = []
        for folder in "ab":
            network = build()
            runs.append((fit(network, ragged(LENGTHS), tmp_path / folder).history, bits(network)))
        assert runs[0] == runs[1]
        assert (tmp_path / "a" / "resume.safetensors").read_bytes() == (
            tmp_path / "b" / "resume.safetensors"
        ).read_bytes()

    def test_another_seed_gives_another_model(self, tmp_path: Path, ragged: Ragged) -> None:
        networks = [build(), build()]
        for seed, network in enumerate(networks):
            fit(network, ragged(LENGTHS), tmp_path / str(seed), seed=seed)
        assert bits(networks[0]) != bits(networks[1])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
class TestResume:
    EPOCHS = 4

    def undisturbed(
        self, folder: Path, train: Sequences, precision: str
    ) -> tuple[list[Epoch], dict[str, bytes], bytes]:
        network = build()
        found = fit(network, train, folder / "whole", precision=precision, max_epochs=self.EPOCHS)
        state = (folder / "whole" / "resume.safetensors").read_bytes()
        return found.history, bits(network), state

    def stop(self, folder: Path, train: Sequences, precision: str, after: int) -> None:
        def pull(epoch: Epoch) -> None:
            if epoch.epoch == after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(build(), train, folder, precision=precision, on_epoch=pull)

    def resume(
        self, folder: Path, train: Sequences, precision: str
    ) -> tuple[list[Epoch], dict[str, bytes], bytes]:
        torch.manual_seed(99)
        network, seen = build(), list[Epoch]()
        torch.rand(7)  # whatever was drawn before must not matter
        found = fit(
            network,
            train,
            folder,
            precision=precision,
            max_epochs=self.EPOCHS,
            on_epoch=seen.append,
        )
        assert marked(seen) == found.history
        return found.history, bits(network), (folder / "resume.safetensors").read_bytes()

    @pytest.mark.parametrize("after", range(1, EPOCHS + 1))
    def test_the_same_bytes_as_if_never_stopped(
        self, tmp_path: Path, ragged: Ragged, precision: str, after: int
    ) -> None:
        train = ragged(LENGTHS)
        self.stop(tmp_path, train, precision, after)
        expected = self.undisturbed(tmp_path, train, precision)
        assert self.resume(tmp_path, train, precision) == expected

    def test_stopped_again_and_again(self, tmp_path: Path, ragged: Ragged, precision: str) -> None:
        train = ragged(LENGTHS)
        for after in range(1, self.EPOCHS + 1):
            self.stop(tmp_path, train, precision, after)
        expected = self.undisturbed(tmp_path, train, precision)
        assert self.resume(tmp_path, train, precision) == expected

    @pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
    def test_a_damaged_state_counts_as_none(
        self, tmp_path: Path, ragged: Ragged, precision: str, share: float
    ) -> None:
        train = ragged(LENGTHS)
        self.stop(tmp_path, train, precision, 2)
        path = tmp_path / "resume.safetensors"
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        expected = self.undisturbed(tmp_path, train, precision)
        assert self.resume(tmp_path, train, precision) == expected


class TestEarlyStopping:
    def contradiction(self, ragged: Ragged) -> tuple[Sequences, Sequences]:
        """The more is learned from the first, the worse on the second."""
        train = ragged([2] * 20, features=4)
        labels = (train.values[:, 0] > 0).astype(np.int32)
        return replace(train, labels=labels), replace(train, labels=1 - labels)

    def test_the_best_epoch_is_kept(self, tmp_path: Path, ragged: Ragged) -> None:
        train, validation = self.contradiction(ragged)
        network, first = build(dropout=0.0), build(dropout=0.0)
        options: dict[str, Any] = {"validation": validation, "patience": 3, "max_epochs": 50}
        found = fit(network, train, tmp_path / "a", **options)
        losses = [epoch.validation_loss for epoch in found.history]
        assert losses == sorted(losses)
        assert (found.best_epoch, len(losses)) == (1, 4)
        fit(first, train, tmp_path / "b", **{**options, "max_epochs": 1})
        assert bits(network) == bits(first)

    def test_by_accuracy_it_may_be_another(self, tmp_path: Path, ragged: Ragged) -> None:
        split = ragged([3] * 40, features=4)
        found = fit(build(), split, tmp_path, keep="accuracy", patience=60, max_epochs=60)
        accuracies = [epoch.validation_accuracy for epoch in found.history]
        losses = [epoch.validation_loss for epoch in found.history]
        assert found.best_epoch == int(np.argmax(accuracies)) + 1
        assert found.best_epoch != int(np.argmin(losses)) + 1

    def test_the_last_one_is_kept_however_bad(self, tmp_path: Path, ragged: Ragged) -> None:
        split = ragged([3] * 40, features=4)
        found = fit(build(), split, tmp_path, keep="last", patience=1, max_epochs=12)
        losses = [epoch.validation_loss for epoch in found.history]
        assert found.best_epoch == len(losses) == 12
        assert min(losses) < losses[-1]

    def test_patience_starts_anew_with_every_better_epoch(
        self, tmp_path: Path, ragged: Ragged
    ) -> None:
        found = fit(build(), ragged(LENGTHS), tmp_path, max_epochs=60, patience=3)
        losses = [epoch.validation_loss for epoch in found.history]
        waited = [number - int(np.argmin(losses[:number])) - 1 for number in range(1, 61)]
        ends = waited.index(3) + 1 if 3 in waited else 60
        assert len(losses) == ends
        assert found.best_epoch > 3

    def test_a_training_that_had_ended_stays_ended(self, tmp_path: Path, ragged: Ragged) -> None:
        train, validation = self.contradiction(ragged)
        networks = [build(dropout=0.0), build(dropout=0.0)]
        runs = [
            fit(network, train, tmp_path, validation=validation, patience=1) for network in networks
        ]
        assert len(runs[0].history) == len(runs[1].history) == 2
        assert bits(networks[0]) == bits(networks[1])


class TestTokens:
    """Words, letters and features together, with word dropout."""

    def build(self) -> SequenceModel:
        return build(
            tokens=7,
            embedding_size=6,
            word_dropout=0.3,
            input_dropout=0.2,
            characters="ANeht",
            character_size=3,
            character_hidden_size=2,
        )

    def test_the_same_bytes_as_if_never_stopped(self, tmp_path: Path, ragged: Ragged) -> None:
        train, networks = ragged(LENGTHS, tokens=True), [self.build() for _ in range(2)]
        options: dict[str, Any] = {"max_epochs": 4, "schedule": "linear"}
        expected = fit(networks[0], train, tmp_path / "a", **options)

        def stop(epoch: Epoch) -> None:
            if epoch.epoch == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(self.build(), train, tmp_path / "b", **options, on_epoch=stop)
        assert fit(networks[1], train, tmp_path / "b", **options).history == expected.history
        assert bits(networks[0]) == bits(networks[1])

    def test_every_part_is_trained(self, tmp_path: Path, ragged: Ragged) -> None:
        network, before = self.build(), self.build().state_dict()
        fit(network, ragged(LENGTHS * 3, tokens=True), tmp_path)
        for name, value in network.state_dict().items():
            assert not torch.equal(value, before[name]), name


class TestSchedule:
    @pytest.mark.parametrize(
        ("schedule", "rates"),
        [("constant", [0.05] * 4), ("linear", [0.05, 0.0375, 0.025, 0.0125])],
    )
    def test_rates(self, tmp_path: Path, ragged: Ragged, schedule: str, rates: list[float]) -> None:
        found = fit(build(), ragged(LENGTHS), tmp_path, schedule=schedule).history
        assert [epoch.learning_rate for epoch in found] == pytest.approx(rates)

    def test_a_lower_rate_moves_less(self, tmp_path: Path, ragged: Ragged) -> None:
        networks = [build(dropout=0.0), build(dropout=0.0)]
        train = ragged(LENGTHS)
        options: dict[str, Any] = {"max_epochs": 2, "weight_decay": 0.0}
        runs = [
            fit(network, train, tmp_path / name, schedule=name, **options)
            for network, name in zip(networks, ("constant", "linear"), strict=True)
        ]
        assert runs[0].history[0] == runs[1].history[0]
        start = build(dropout=0.0).linear.weight
        distances = [(network.linear.weight - start).norm().item() for network in networks]
        assert distances[1] < distances[0]


class TestLimits:
    def test_a_loss_that_grows_beyond_all_numbers(self, tmp_path: Path, ragged: Ragged) -> None:
        epochs = list[Epoch]()
        with pytest.raises(TrainingError) as stopped:
            fit(build(), ragged(LENGTHS), tmp_path, learning_rate=1e38, on_epoch=epochs.append)
        number = len(epochs) + 1  # the epoch that failed is not reported
        assert str(stopped.value).startswith(f"epoch {number}: expected a finite loss, found ")
        assert str(stopped.value).endswith("in validation; lower train.learning_rate")

    def test_a_loss_of_millions_is_named(self, tmp_path: Path, ragged: Ragged) -> None:
        wild = fit(build(), ragged(LENGTHS), tmp_path / "a", learning_rate=1e7).history[-1]
        calm = fit(build(), ragged(LENGTHS), tmp_path / "b").history[-1]
        assert wild.train_loss > 1e6
        line = training.complaint(wild, 3)
        assert line.startswith(
            "epoch 4: expected a loss near 1.10, that of a guess, or below, found "
        )
        assert line.endswith("; lower train.learning_rate")
        assert training.complaint(calm, 3) == ""

    def test_a_loss_that_is_no_number(self, tmp_path: Path, ragged: Ragged) -> None:
        drawn = ragged(LENGTHS)
        with pytest.raises(TrainingError, match="epoch 1: expected a finite loss, found nan"):
            fit(build(), replace(drawn, values=drawn.values * np.float32("nan")), tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_batches_are_bounded_in_steps(self, tmp_path: Path, ragged: Ragged) -> None:
        sizes = list[torch.Size]()

        def track(batches: Iterable[Batch], _: str) -> Iterable[Batch]:
            for batch in batches:
                sizes.append(batch.values.shape[:2])
                yield batch

        fit(build(), ragged(LENGTHS), tmp_path, batch_steps=8, max_epochs=1, track=track)
        assert sum(batch for batch, _ in sizes) == len(LENGTHS)
        assert max(size.numel() for size in sizes) <= 8


def test_it_learns(tmp_path: Path, ragged: Ragged) -> None:
    drawn = ragged([5] * 60)
    train = replace(drawn, labels=(drawn.values[:, 0] > 0).astype(np.int32))
    found = fit(build(), train, tmp_path, max_epochs=15, learning_rate=0.02)
    assert found.history[-1].validation_accuracy > 0.95
    assert found.history[-1].train_loss < found.history[0].train_loss / 2


def test_progress_is_shown_for_every_epoch(tmp_path: Path, ragged: Ragged) -> None:
    shown = list[str]()

    def track(batches: Iterable[Batch], description: str) -> Iterable[Batch]:
        shown.append(description)
        return batches

    fit(build(), ragged(LENGTHS), tmp_path, max_epochs=3, track=track)
    assert shown == ["epoch 1", "epoch 2", "epoch 3"]
