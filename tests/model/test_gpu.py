"""What a GPU would run, on a machine without one.

Numbers are those of the same calls on a CPU's tensors; what waits for a value, and how much is
launched, shows on `meta`, whose tensors have none.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from benchmarks import epochs, launches
from birnn.model import batching, gpu, recurrent, training
from birnn.model.adam import Adam
from birnn.model.architecture import Cell
from birnn.model.distributed import ALONE
from birnn.model.networks import SequenceModel
from birnn.model.recurrent import VariableLengthRNN

CELLS: list[Cell] = ["RNN", "GRU", "LSTM"]
META = torch.device("meta")
LENGTHS = [[3, 7, 1, 5], [4, 4, 4], [5], [1, 1], [2, 3]]


@pytest.fixture(params=["dense", "packed"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Take a CPU's tensors for a GPU's, and choose how they are computed."""
    monkeypatch.setattr(recurrent, "_on_gpu", lambda _: True)
    monkeypatch.setattr(gpu, "packs", lambda *_: request.param == "packed")
    monkeypatch.setattr(gpu, "PACKING", {"cpu"})
    return str(request.param)


def pair(
    cell: Cell, layers: int = 1, bidirectional: bool = True
) -> tuple[VariableLengthRNN, nn.RNNBase]:
    """Ours and torch's, float64, with the same weights."""
    torch.manual_seed(0)
    ours = VariableLengthRNN(3, 4, cell, layers, bidirectional=bidirectional).double()
    theirs: nn.RNNBase = getattr(nn, cell)(
        3, 4, layers, batch_first=True, bidirectional=bidirectional
    ).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def reference(module: nn.RNNBase, values: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Each sequence alone: nothing is padded or packed."""
    found = [module(one[None, :length]) for one, length in zip(values, lengths, strict=True)]
    outputs = [output[0] for output, _ in found]
    lasts = [last[0] if isinstance(last, tuple) else last for _, last in found]
    output = nn.utils.rnn.pad_sequence(outputs, batch_first=True)
    output = nn.functional.pad(output, (0, 0, 0, values.shape[1] - output.shape[1]))
    return output, torch.cat(lasts, 1)


def gradients(module: nn.Module, results: tuple[Tensor, Tensor], values: Tensor) -> list[Tensor]:
    """Of a loss that weighs every output and every last state differently, in the padding too."""
    torch.manual_seed(1)
    loss = torch.stack([(result * torch.randn_like(result)).sum() for result in results]).sum()
    return list(torch.autograd.grad(loss, [values, *module.parameters()]))


@pytest.mark.usefixtures("way")
class TestEqualsEachSequenceAlone:
    def check(self, cell: Cell, layers: int, bidirectional: bool, lengths: list[int]) -> None:
        ours, theirs = pair(cell, layers, bidirectional)
        known, steps = torch.tensor(lengths), max(lengths) + 1
        past = (torch.arange(steps) >= known[:, None])[:, :, None]
        drawn = torch.randn(len(lengths), steps, 3, dtype=torch.float64)
        values = drawn.masked_fill(past, float("nan")).requires_grad_()
        plain = drawn.masked_fill(past, 0).requires_grad_()
        results, expected = ours(values, known), reference(theirs, plain, known)
        torch.testing.assert_close(results, expected, atol=1e-10, rtol=1e-10)
        wanted = gradients(theirs, expected, plain)
        found = gradients(ours, results, values)
        torch.testing.assert_close(found, wanted, atol=1e-10, rtol=1e-10)
        assert bool((results[0].masked_select(past) == 0).all())

    @pytest.mark.parametrize("cell", CELLS)
    @pytest.mark.parametrize("bidirectional", [True, False])
    def test_any_lengths_and_nan_in_the_padding(self, cell: Cell, bidirectional: bool) -> None:
        for lengths in LENGTHS:
            self.check(cell, 2, bidirectional, lengths)

    @pytest.mark.parametrize("cell", CELLS)
    def test_more_sequences_and_steps_than_cudnn_takes(
        self, cell: Cell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gpu, "MOST", 3)
        self.check(cell, 2, True, [3, 7, 1, 5, 2, 2, 6])

    def test_more_numbers_than_cudnn_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gpu, "ELEMENTS", 200)
        with mock.patch.object(torch, "lstm", wraps=torch.lstm) as called:
            self.check("LSTM", 1, True, [3, 7, 1])
        shapes = [call.args[0].shape for call in called.call_args_list]
        assert len(shapes) == 2 * 4  # of each direction, two steps at a time
        assert all(rows[:-1].numel() * 32 <= 200 for rows in shapes)

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_without_gradients(self, mode: Callable[[], AbstractContextManager[None]]) -> None:
        ours, theirs = pair("LSTM")
        values, lengths = torch.randn(3, 7, 3, dtype=torch.float64), torch.tensor([7, 2, 4])
        with mode():
            found, expected = ours(values, lengths), reference(theirs, values, lengths)
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


def test_gradients_are_the_bytes_of_added_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gathering gives what `index_select`'s own gradient gives, which adds into places."""
    lengths, values = torch.tensor([3, 7, 1, 5]), torch.randn(4, 8, 3, requires_grad=True)
    plan = gpu.planned(lengths, gpu.Sizes(4, 8, 2, 32), torch.device("cpu"), packs=False)
    real = torch.arange(7)[:, None] < lengths  # nothing comes back from past an end
    weights = torch.randn(2, 8, 4, 3) * nn.functional.pad(real, (0, 0, 0, 1))[None, :, :, None]
    found, expected = (
        torch.autograd.grad((rows * weights.view(-1, 3)).sum(), values)[0]
        for rows in (
            gpu._Read.apply(values, plan),  # type: ignore[no-untyped-call]
            values.flatten(0, 1).index_select(0, plan.sources),
        )
    )
    assert torch.equal(found, expected)


class TestPacks:
    @pytest.mark.parametrize(("cell", "most"), [("RNN", 384), ("GRU", 192), ("LSTM", 192)])
    def test_above_what_cudnn_keeps_on_its_processors(self, cell: Cell, most: int) -> None:
        assert not gpu.packs(cell, most)
        assert gpu.packs(cell, most + 1)

    @pytest.mark.parametrize(
        ("steps", "width", "where", "packed"),
        [
            (10, 512, "meta", True),
            (65_536, 512, "meta", False),  # more steps than cuDNN takes
            (10, 1 << 30, "meta", False),  # more numbers
            (10, 512, "cpu", False),  # as MPS
        ],
    )
    def test_only_what_can_be(self, steps: int, width: int, where: str, packed: bool) -> None:
        lengths, sizes = torch.tensor([2, 3]), gpu.Sizes(2, steps, 2, width)
        plan = gpu.planned(lengths, sizes, torch.device(where), packs=True)
        assert (plan.packed is not None) == packed


class TestPrecision:
    @pytest.mark.parametrize("cell", CELLS)
    @pytest.mark.parametrize("wanted", [torch.bfloat16, torch.float16])
    def test_is_what_autocast_asks_for(
        self, cell: Cell, wanted: torch.dtype, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Torch's own autocast computes RNNs on CUDA in float16, whatever is asked for."""
        monkeypatch.setattr(recurrent, "_on_gpu", lambda _: True)
        seen: Counter[Any] = Counter()

        def note(inputs: Tensor, start: Any, flat: list[Tensor], *rest: Any) -> Any:
            states = [start] if isinstance(start, Tensor) else start
            seen.update(one.dtype for one in [inputs, *states, *flat])
            seen[torch.is_autocast_enabled("cpu")] += 1
            return inputs.new_zeros(*inputs.shape[:2], 4) + inputs.sum() * flat[0].sum(), *states

        rnn = VariableLengthRNN(3, 4, cell, num_layers=2)
        values = torch.randn(2, 5, 3, requires_grad=True)
        with (
            mock.patch.object(torch, gpu._call(cell).__name__, note),
            torch.autocast("cpu", wanted),
        ):
            output, last = rnn(values, torch.tensor([5, 3]))
        assert set(seen) == {wanted, False}
        assert {output.dtype, last.dtype} == {wanted}
        output.sum().backward()
        assert rnn.weight_ih_l0.grad.dtype == torch.float32  # type: ignore[union-attr]

    def test_float64_stays(self) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            assert gpu.wanted(torch.zeros(1, dtype=torch.float64)) == torch.float64


class TestChunk:
    def test_one_direction_as_cudnn_lays_it_out(self) -> None:
        weights = VariableLengthRNN(3, 4)._weights(0)[:1]
        parts = gpu.in_one_chunk(weights, torch.float32)
        assert all(torch.equal(a, b) for a, b in zip(parts, weights[0], strict=True))
        assert [part.storage_offset() for part in parts] == [0, 16 * 3, 16 * 7, 16 * 8]
        assert len({part.untyped_storage().data_ptr() for part in parts}) == 1

    def test_two_directions_with_all_biases_last(self) -> None:
        weights = VariableLengthRNN(3, 4)._weights(0)
        parts = gpu.in_one_chunk(weights, torch.float32)
        flat = [part for one in weights for part in one]
        assert all(torch.equal(a, b) for a, b in zip(parts, flat, strict=True))
        matrices, biases = [0, 48, 112, 160], [224, 240, 256, 272]
        offsets = [part.storage_offset() for part in parts]
        assert offsets == [*matrices[:2], *biases[:2], *matrices[2:], *biases[2:]]


class TestStreams:
    def test_each_waits_for_what_it_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done = []

        class Stream:
            def __init__(self, name: str) -> None:
                self.name = name

            def wait_stream(self, other: "Stream") -> None:
                done.append(f"{self.name} waits for {other.name}")

        class Read:
            device = torch.device("cuda")

            def __init__(self, name: str) -> None:
                self.name = name

            def record_stream(self, stream: Stream) -> None:
                done.append(f"{self.name} is kept for {stream.name}")

        @contextmanager
        def on(stream: Stream) -> Any:
            done.append(f"on {stream.name}")
            yield
            done.append("on here")

        def call(name: str) -> Callable[[], Any]:
            def made() -> Read:
                done.append(name)
                return Read(name)

            return made

        monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Stream("here"))
        monkeypatch.setattr(gpu, "_second_stream", lambda _: Stream("beside"))
        monkeypatch.setattr(torch.cuda, "stream", on)
        reads: Any = [Read("rows")]
        found: Any = gpu._side_by_side([call("first"), call("second")], reads)
        assert [one.name for one in found] == ["first", "second"]
        assert done == [
            *("beside waits for here", "on beside", "second", "on here"),
            *("rows is kept for beside", "first"),
            *("here waits for beside", "second is kept for here"),
        ]


class TestLengthsOnTheGPU:
    @pytest.mark.parametrize("lengths", [[0, 3], [3, 6], [-1, 2]])
    def test_bad_ones_end_in_an_error(self, lengths: list[int]) -> None:
        with pytest.raises(RuntimeError, match="from 1 to the 5 steps of the values"):
            gpu.check_lengths(torch.tensor(lengths), 5)

    def test_good_ones_pass(self) -> None:
        gpu.check_lengths(torch.tensor([1, 5]), 5)

    def test_are_checked_where_they_lie(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Lengths:
            dtype, device = torch.int64, torch.device("cuda")

        seen = []
        monkeypatch.setattr(gpu, "check_lengths", lambda *given: seen.append(given))
        lengths: Any = Lengths()
        recurrent._check(lengths, 5)
        assert seen == [(lengths, 5)]

    @pytest.mark.parametrize("cell", CELLS)
    def test_nobody_waits_for_them(self, cell: Cell) -> None:
        ours = VariableLengthRNN(3, 4, cell, num_layers=2).to("meta")
        values, lengths = torch.randn(2, 5, 3), torch.tensor([5, 3])
        output, last = ours(values.to("meta"), lengths.to("meta"))
        (output.sum() + last.sum()).backward()
        assert (output.shape, last.shape) == ((2, 5, 8), (4, 2, 4))


class TestLaunches:
    """Of a training step from the gathered batch to Adam, on the device that has no values."""

    def step(self, cell: Cell, *, hidden: int = 32, **changes: Any) -> Counter[str]:
        split = epochs.draw(64)
        if changes.get("task") == "classification":
            labels = split.labels[split.offsets[:-1]]
            split = replace(split, labels=labels, tagging=False)
        architecture = replace(epochs.architecture(cell, hidden), **changes)
        model = SequenceModel(architecture).to(META)
        optimizer = Adam(model.parameters(), learning_rate=0.01, weight_decay=0.0, clip_norm=1.0)
        score = training.scorer(model, split.tally(), epochs.options(META, 64))
        there = batching.resident(split, META)

        def step() -> None:
            batches = batching.epoch(there, batch_size=64, seed=0, number=1)
            with mock.patch.object(training, "_mean"):  # waits for the whole epoch's losses
                training.one_pass(batches, score, optimizer, ALONE)

        return launches.counted(step)

    @pytest.mark.parametrize("cell", CELLS)
    def test_of_a_tagger(self, cell: Cell) -> None:
        assert self.step(cell).total() == 48  # 93 before rows were only gathered

    @pytest.mark.parametrize("cell", CELLS)
    def test_of_a_tagger_with_packed_calls(
        self, cell: Cell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gpu, "packs", lambda *_: True)
        assert self.step(cell, hidden=512).total() == 42

    def test_of_a_classifier(self) -> None:
        assert self.step("LSTM", task="classification").total() == 55  # was 95

    def test_of_two_layers(self) -> None:
        assert self.step("LSTM", num_layers=2).total() == 69  # was 123

    def test_nothing_is_added_into_places(self) -> None:
        """For which torch sorts, where it must be deterministic: ten launches instead of one."""
        for task in ("tagging", "classification"):
            counts = self.step("GRU", task=task, num_layers=2)
            assert not {name for name in counts if name.startswith(("index_add", "index_put"))}


class Complete(Adam):
    """Sees to it that every parameter has got a gradient."""

    def take_gradient(self) -> Tensor:
        """As Adam, after looking."""
        assert all(parameter.grad is not None for parameter in self.parameters)
        return super().take_gradient()


class TestEveryModel:
    """Takes a step on the device that has no values, where to wait for one is an error."""

    @pytest.mark.parametrize(
        "changes",
        [
            {"word_dropout": 0.25, "input_dropout": 0.1, "dropout": 0.2, "num_layers": 2},
            {"characters": "abc", "character_size": 3, "character_hidden_size": 4},
            {"bidirectional": False},
        ],
    )
    @pytest.mark.parametrize(("task", "head"), [("tagging", "last"), ("classification", "all")])
    @pytest.mark.parametrize("resident", [True, False])
    def test_without_waiting(
        self,
        ragged: Callable[..., Any],
        changes: dict[str, Any],
        task: str,
        head: Any,
        resident: bool,
    ) -> None:
        split = ragged([5, 3, 7], features=2, tokens=True, tagging=task == "tagging")
        architecture = replace(
            epochs.architecture("GRU", 4), task=task, head=head, features=2, tokens=3, **changes
        )
        model = SequenceModel(replace(architecture, embedding_size=4)).to(META)
        score = training.scorer(model, split.tally(), epochs.options(META, 2))
        there = batching.resident(split, META) if resident else split
        spell = bool(changes.get("characters"))

        optimizer = Complete(model.parameters(), learning_rate=0.1, weight_decay=0.0, clip_norm=1.0)

        def step() -> None:
            for batch in batching.epoch(there, batch_size=2, seed=0, number=1, spell=spell):
                score.learn(batch, optimizer)

        assert launches.counted(step).total() > 0
