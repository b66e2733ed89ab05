"""`birnn.{RNN,GRU,LSTM}` against torch's own, packed where sequences have different lengths."""

import copy
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import birnn
from birnn.kernel import library

CELLS = ["RNN", "GRU", "LSTM"]
LENGTHS = [3, 7, 1, 5, 2]
FLAGS = [  # batch_first, bias, bidirectional, num_layers
    *((True, True, True, 1), (False, True, True, 2), (True, False, False, 2)),
    *((False, False, True, 1), (True, True, False, 1)),
]
SHAPE = (5, 7, 3)  # batch, steps, features


def pair(cell: str, **changes: Any) -> tuple[nn.RNNBase, nn.RNNBase]:
    """Ours and torch's with the same weights."""
    torch.manual_seed(0)
    ours, theirs = getattr(birnn, cell)(3, 4, **changes), getattr(nn, cell)(3, 4, **changes)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def flat(results: Any) -> list[Tensor]:
    if isinstance(results, PackedSequence):
        return [results.data]
    if isinstance(results, tuple):
        return [part for result in results for part in flat(result)]
    return [results]


def packed(module: nn.Module, values: Tensor, hx: Any, lengths: Tensor, batch_first: bool) -> Any:
    """The reference: correct for every length, and slow."""
    steps = pack_padded_sequence(values, lengths, batch_first, enforce_sorted=False)
    output, last = module(steps, hx)
    total = values.shape[1 if batch_first else 0]
    return pad_packed_sequence(output, batch_first, total_length=total)[0], last


def gradients(results: Any, wanted: Sequence[Tensor]) -> list[Tensor]:
    """Of a loss that weighs every output and every last state differently."""
    drawn = torch.Generator().manual_seed(1)
    parts = flat(results)
    weights = [torch.randn(part.shape, generator=drawn, dtype=part.dtype) for part in parts]
    loss = torch.stack([(a * b).sum() for a, b in zip(parts, weights, strict=True)]).sum()
    return list(torch.autograd.grad(loss, wanted))


class Case:
    """A pair, what it reads and begins with; the axes of its values are those of the modules."""

    def __init__(self, cell: str, dtype: torch.dtype, begun: bool, flags: tuple[Any, ...]) -> None:
        self.batch_first, bias, bidirectional, layers = flags
        self.ours, self.theirs = pair(
            cell,
            batch_first=self.batch_first,
            bias=bias,
            bidirectional=bidirectional,
            num_layers=layers,
            dtype=dtype,
        )
        values = torch.randn(SHAPE, dtype=dtype)
        self.values = values if self.batch_first else values.transpose(0, 1).contiguous()
        shape = (layers * (1 + bidirectional), SHAPE[0], 4)
        count = (2 if cell == "LSTM" else 1) * begun
        self.states = [torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(count)]
        self.hx = tuple(self.states) if count == 2 else self.states[0] if count else None
        self.lengths = torch.tensor(LENGTHS)

    def calls(self) -> Iterator[tuple[Callable[[Tensor], Any], Callable[[Tensor], Any]]]:
        """Calls of ours, and the call of torch's that each stands for."""
        ours, theirs, hx = self.ours, self.theirs, self.hx
        yield (
            lambda values: ours(values, hx, self.lengths),
            lambda values: packed(theirs, values, hx, self.lengths, self.batch_first),
        )
        yield lambda values: ours(values, hx), lambda values: theirs(values, hx)
        yield lambda values: ours(self._packed(values), hx), lambda v: theirs(self._packed(v), hx)
        yield lambda values: self._one(ours, values), lambda values: self._one(theirs, values)

    def _packed(self, values: Tensor) -> PackedSequence:
        return pack_padded_sequence(values, self.lengths, self.batch_first, enforce_sorted=False)

    def _one(self, module: nn.Module, values: Tensor) -> Any:
        """The first sequence alone, without a batch."""
        hx = [state[:, 0] for state in self.states]
        own = tuple(hx) if len(hx) == 2 else hx[0] if hx else None
        return module(values[0] if self.batch_first else values[:, 0], own)


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("begun", [True, False], ids=["begun", "from zeros"])
def test_gives_what_torch_gives(cell: str, dtype: torch.dtype, begun: bool) -> None:
    """With lengths, without, packed, and without a batch: forward, layout and gradient."""
    for flags in FLAGS:
        case = Case(cell, dtype, begun, flags)
        for ours, theirs in case.calls():
            values, same = (case.values.clone().requires_grad_() for _ in range(2))
            found, expected = ours(values), theirs(same)
            assert type(found[1]) is type(expected[1])
            torch.testing.assert_close(flat(found), flat(expected), atol=1e-5, rtol=1e-5)
            for one, other in zip(flat(found), flat(expected), strict=True):
                assert one.is_contiguous() or not other.is_contiguous()
            torch.testing.assert_close(
                gradients(found, [values, *case.ours.parameters(), *case.states]),
                gradients(expected, [same, *case.theirs.parameters(), *case.states]),
                atol=1e-4,
                rtol=1e-4,
            )


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("padding", [float("nan"), float("inf"), 1e30])
def test_padding_changes_nothing(cell: str, padding: float) -> None:
    lengths = torch.tensor(LENGTHS)
    past = torch.arange(SHAPE[1]) >= lengths[:, None]
    for dtype in (torch.float32, torch.float64):
        ours, theirs = pair(cell, batch_first=True, bidirectional=True, num_layers=2, dtype=dtype)
        values = torch.randn(SHAPE, dtype=dtype).masked_fill(past[:, :, None], padding)
        found = ours(values.requires_grad_(), None, lengths)
        expected = packed(theirs, values, None, lengths, batch_first=True)
        torch.testing.assert_close(flat(found), flat(expected), atol=1e-5, rtol=1e-5)
        grads = gradients(found, [values, *ours.parameters()])
        assert all(bool(grad.isfinite().all()) for grad in grads)
        assert bool((found[0][past] == 0).all())


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")
@pytest.mark.parametrize("changes", [{"proj_size": 2}, {"nonlinearity": "relu"}], ids=str)
@pytest.mark.parametrize("batch_first", [True, False])
def test_what_torch_alone_computes_takes_lengths_too(
    changes: dict[str, Any], batch_first: bool
) -> None:
    cell = "LSTM" if "proj_size" in changes else "RNN"
    ours, theirs = pair(cell, bidirectional=True, batch_first=batch_first, **changes)
    values = torch.randn(SHAPE if batch_first else (SHAPE[1], SHAPE[0], SHAPE[2]))
    lengths = torch.tensor(LENGTHS)
    expected = packed(theirs, values, None, lengths, batch_first)
    torch.testing.assert_close(flat(ours(values, lengths=lengths)), flat(expected))
    torch.testing.assert_close(flat(ours(values)), flat(theirs(values)))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "lengths",
    [LENGTHS, tuple(LENGTHS), np.array(LENGTHS), torch.tensor(LENGTHS, dtype=torch.int32)],
)
def test_lengths_in_every_form_and_in_either_place(cell: str, lengths: Any) -> None:
    ours, _ = pair(cell, batch_first=True, bidirectional=True)
    values = torch.randn(SHAPE)
    expected = flat(ours(values, None, torch.tensor(LENGTHS)))
    for found in (ours(values, lengths=lengths), ours(values, lengths)):
        assert all(torch.equal(*both) for both in zip(flat(found), expected, strict=True))


@pytest.mark.parametrize(
    ("lengths", "found"),
    [
        ([3.0, 7.0, 1.0, 5.0, 2.0], "should be integers, but found torch.float32; round"),
        (torch.tensor([3.0, 7, 1, 5, 2]), "should be integers, but found torch.float32; round"),
        ([True] * 5, "should be integers, but found torch.bool"),
        ([3, 8, 1, 5, 2], "from 1 to the 7 steps of the values, but found 1 to 8"),
        ([3, 7, 0, 5, 2], "from 1 to the 7 steps of the values, but found 0 to 7"),
        ([3, 7], r"should be \(5,\), one for each sequence, but found \(2,\)"),
        (["3"] * 5, "should be integers, one for each sequence, but found"),
        (7, r"should be \(5,\), one for each sequence, but found \(\)"),
    ],
)
@pytest.mark.parametrize("changes", [{}, {"nonlinearity": "relu"}], ids=["tanh", "relu"])
def test_other_lengths_are_refused(lengths: Any, found: str, changes: dict[str, Any]) -> None:
    ours, _ = pair("RNN", batch_first=True, **changes)
    for arguments in ((None, lengths), (lengths,)):
        with pytest.raises(ValueError, match=found):
            ours(torch.randn(SHAPE), *arguments)


def test_lengths_without_a_batch_are_refused() -> None:
    ours, _ = pair("GRU")
    with pytest.raises(ValueError, match="a padded batch of three dimensions, found 2; one"):
        ours(torch.randn(5, 3), lengths=[5])
    steps = pack_padded_sequence(torch.randn(5, 1, 3), torch.tensor([5]))
    with pytest.raises(ValueError, match="no lengths beside a PackedSequence, which has its own"):
        ours(steps, lengths=[5])


@pytest.mark.parametrize("cell", CELLS)
def test_what_does_not_fit_is_refused_in_torchs_words(cell: str) -> None:
    ours, theirs = pair(cell, batch_first=True)
    values, hx = torch.randn(SHAPE), torch.zeros(2, 5, 4)
    states = (hx, hx) if cell == "LSTM" else hx
    cases = [
        (values, states),
        (values[:, :, :2], None),
        (values.double(), None),
        (values[0], states),
    ]
    for arguments in cases:
        with pytest.raises((ValueError, RuntimeError)) as expected:
            theirs(*arguments)
        with pytest.raises(expected.type) as found:
            ours(*arguments)
        assert str(found.value) == str(expected.value)
    with pytest.raises(RuntimeError, match=r"hidden.* size"):
        ours(values, states, LENGTHS)


@pytest.mark.parametrize("cell", CELLS)
class TestModule:
    def test_is_one_of_torchs(self, cell: str) -> None:
        """What initialises or finds `nn.LSTM` by its class goes on doing so."""
        ours, theirs = pair(cell, num_layers=2, dropout=0.5, batch_first=True)
        assert isinstance(ours, getattr(nn, cell))
        assert repr(ours) == repr(theirs)
        assert [*ours.state_dict()] == [*theirs.state_dict()]
        ours.flatten_parameters()

    def test_begins_with_torchs_numbers(self, cell: str) -> None:
        torch.manual_seed(3)
        ours = getattr(birnn, cell)(3, 4, 2, bidirectional=True).state_dict()
        torch.manual_seed(3)
        theirs = getattr(nn, cell)(3, 4, 2, bidirectional=True).state_dict()
        torch.testing.assert_close(ours, theirs)

    def test_state_goes_both_ways(self, cell: str) -> None:
        ours, theirs = pair(cell, bidirectional=True)
        with torch.no_grad():
            for parameter in theirs.parameters():
                parameter.add_(0.1)
        ours.load_state_dict(theirs.state_dict())
        values = torch.randn(4, 2, 3)
        torch.testing.assert_close(flat(ours(values)), flat(theirs(values)))

    def test_copies_and_moves(self, cell: str) -> None:
        ours, _ = pair(cell, batch_first=True)
        values = torch.randn(SHAPE)
        other = copy.deepcopy(ours)
        with torch.no_grad():
            next(other.parameters()).add_(1.0)
        before, after = ours(values, lengths=LENGTHS), other(values, lengths=LENGTHS)
        assert not torch.equal(before[0], after[0])
        wide = ours.to(torch.float64)(values.double(), lengths=LENGTHS)
        torch.testing.assert_close(wide[0].float(), before[0], atol=1e-5, rtol=1e-5)
        assert ours.to("meta")(values.to("meta").double())[0].shape == before[0].shape

    def test_dropout_between_layers_in_training_alone(self, cell: str) -> None:
        ours, _ = pair(cell, num_layers=2, dropout=0.5, batch_first=True)
        values = torch.randn(SHAPE)
        assert not torch.equal(ours(values, lengths=LENGTHS)[0], ours(values, lengths=LENGTHS)[0])
        ours.eval()
        assert torch.equal(ours(values, lengths=LENGTHS)[0], ours(values, lengths=LENGTHS)[0])

    def test_gradients_of_functions(self, cell: str) -> None:
        """`torch.func` looks through torch's own operations, and not through the kernel."""
        ours, theirs = pair(cell, batch_first=True)
        values = torch.randn(SHAPE)

        def gradient(module: nn.Module) -> dict[str, Tensor]:
            def loss(parameters: dict[str, Tensor]) -> Tensor:
                found: Tensor = torch.func.functional_call(module, parameters, (values,))[0].sum()
                return found

            found: dict[str, Tensor] = torch.func.grad(loss)(dict(module.named_parameters()))
            return found

        torch.testing.assert_close(gradient(ours), gradient(theirs), atol=1e-4, rtol=1e-4)

    @pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
    def test_tracing_with_frozen_steps_is_refused(self, cell: str) -> None:
        ours, _ = pair(cell, batch_first=True)
        with pytest.raises(RuntimeError, match=r"torch\.jit\.trace, which would freeze"):
            torch.jit.trace(ours, torch.randn(SHAPE))  # type: ignore[no-untyped-call]


@pytest.mark.skipif(not library.is_there(), reason="without the kernel torch freezes the steps")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
class TestCompiled:
    """With the kernel's own bytes, and for batches of any size."""

    @pytest.fixture(autouse=True)
    def _from_nothing(self) -> Iterator[None]:
        dynamo = pytest.importorskip("torch._dynamo")
        with dynamo.config.patch(allow_rnn=True):
            yield
        dynamo.reset()

    @pytest.mark.slow
    def test_without_a_break(self) -> None:
        ours, _ = pair("LSTM", batch_first=True, bidirectional=True)
        compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
        for batch, lengths in [((3, 6, 3), [6, 2, 4]), ((2, 9, 3), [9, 1])]:
            values, own = torch.randn(batch), torch.tensor(lengths)
            found, expected = compiled(values, None, own), ours(values, None, own)
            assert all(torch.equal(*both) for both in zip(flat(found), flat(expected), strict=True))
            wanted = [*ours.parameters()]
            both = zip(gradients(found, wanted), gradients(expected, wanted), strict=True)
            assert all(torch.equal(one, other) for one, other in both)
        with pytest.raises(ValueError, match="from 1 to the 9 steps of the values, but found 1 to"):
            compiled(values, None, torch.tensor([10, 1]))

    @pytest.mark.parametrize(
        ("cell", "num_layers"),
        [
            ("RNN", 1),
            ("GRU", 1),
            ("LSTM", 2),
            pytest.param("RNN", 2, marks=pytest.mark.long),
            pytest.param("GRU", 2, marks=pytest.mark.long),
        ],
    )
    def test_exported_for_any_batch_and_steps(self, cell: str, num_layers: int) -> None:
        ours, _ = pair(cell, batch_first=True, bidirectional=True, num_layers=num_layers)
        module, dim = Called(ours), torch.export.Dim
        shapes = ({0: dim("batch"), 1: dim("steps")}, {0: dim("batch")})
        example = (torch.randn(3, 6, 3), torch.tensor([6, 2, 4]))
        file = io.BytesIO()
        with torch.no_grad():
            made = torch.export.export(module, example, dynamic_shapes=shapes)
        assert not [node for node in made.graph.nodes if "birnn" in str(node.target)]
        torch.export.save(made, file)
        file.seek(0)
        loaded = torch.export.load(file).module()
        values, lengths = torch.randn(2, 9, 3), torch.tensor([9, 1])
        with torch.no_grad():
            both = zip(flat(loaded(values, lengths)), flat(module(values, lengths)), strict=True)
        assert all(torch.allclose(one, other, atol=1e-6) for one, other in both)


class Called(nn.Module):
    """A model that gives lengths to its recurrent layer."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn = rnn

    def forward(self, values: Tensor, lengths: Tensor) -> Any:
        return self.rnn(values, lengths=lengths)


@pytest.mark.skipif(not library.is_there(), reason="torch does not promise it")
def test_the_bytes_do_not_depend_on_who_is_beside_whom() -> None:
    ours, _ = pair("LSTM", batch_first=True, bidirectional=True)
    values = torch.randn(SHAPE)
    together = ours(values, lengths=LENGTHS)[0]
    for number, length in enumerate(LENGTHS):
        alone = ours(values[number, :length])[0]
        assert torch.equal(alone, together[number, :length])
