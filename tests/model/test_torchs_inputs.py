"""PyTorch's own inputs for `nn.RNN`, `nn.GRU` and `nn.LSTM`, run on ours.

They come from `torch.testing._internal.common_modules`, which torch installs, and which torch's own
test/test_modules.py runs. Of what that file does with them, the tests here leave out:

- `test_cpu_gpu_parity` and `test_multiple_device_transfer`, which need a GPU;
- `test_memory_format`, which is about images;
- `test_pickle` with `torch.load(weights_only=False)`: nothing here is unpickled; a state_dict is
  saved and loaded instead;
- second gradients in float32 on the kernel, which has one gradient (`gradgradcheck` of torch runs
  in float64, and so does it here, where torch computes).

To import them takes as long as many tests, so one worker does it, in one test with many parts.
"""

import copy
import io
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

import birnn
from birnn.kernel import library

CELLS = ("RNN", "GRU", "LSTM")
DTYPES = (torch.float32, torch.float64)


@cache
def common_modules() -> Any:
    """Torch's module of inputs."""
    found = pytest.importorskip("torch.testing._internal.common_modules", reason="needs expecttest")
    # To import it forbids torch's own switches of the backends for the whole process.
    setattr(vars(torch.backends)["m"], "__allow_nonbracketed_mutation_flag", True)
    return found


@cache
def info(cell: str) -> Any:
    """What it has of a cell."""
    (found,) = [one for one in common_modules().module_db if one.module_cls is getattr(nn, cell)]
    return found


def inputs(cell: str, dtype: torch.dtype, **changes: bool) -> Iterator[Any]:
    """Torch's samples: how a module is made, and what it is called with."""
    torch.manual_seed(0)
    arguments = {"device": "cpu", "dtype": dtype, "requires_grad": False, "training": True}
    found = info(cell).module_inputs_func(info(cell), **(arguments | changes))
    assert found
    yield from found
    if cell != "LSTM":  # torch's own partial does not ask for these
        yield from info(cell).module_inputs_func(
            info(cell), **(arguments | changes), with_packed_sequence=True
        )


def made(cell: str, sample: Any, dtype: torch.dtype) -> tuple[nn.RNNBase, nn.RNNBase]:
    """Ours and torch's, as the sample wants them, with the same weights."""
    arguments = sample.constructor_input
    keywords = arguments.kwargs | {"dtype": dtype}
    ours = getattr(birnn, cell)(*arguments.args, **keywords)
    theirs = getattr(nn, cell)(*arguments.args, **keywords)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def called(module: nn.Module, sample: Any) -> Any:
    return module(*sample.forward_input.args, **sample.forward_input.kwargs)


def flat(found: Any) -> list[Tensor]:
    """All tensors of arguments or results."""
    if isinstance(found, nn.utils.rnn.PackedSequence):
        return [found.data]
    if isinstance(found, tuple | list):
        return [tensor for part in found for tensor in flat(part)]
    return [found] if isinstance(found, Tensor) else []


def forward(cell: str, dtype: torch.dtype, training: bool) -> None:
    """As torch's own class, and as the reference that comes with the sample."""
    for sample in inputs(cell, dtype, training=training):
        ours, theirs = (module.train(training) for module in made(cell, sample, dtype))
        found, expected = called(ours, sample), called(theirs, sample)
        torch.testing.assert_close(flat(found), flat(expected), atol=1e-5, rtol=1e-5)
        packed = isinstance(sample.forward_input.args[0], nn.utils.rnn.PackedSequence)
        if sample.reference_fn is not None and not packed:  # it takes a batch apart
            reference = sample.reference_fn(ours, *sample.forward_input.args)
            torch.testing.assert_close(flat(found), flat(reference), atol=1e-5, rtol=1e-5)


def factory_kwargs(cell: str, dtype: torch.dtype) -> None:
    for sample in inputs(cell, dtype):
        for module in made(cell, sample, dtype):
            assert {parameter.dtype for parameter in module.parameters()} == {dtype}
        arguments = sample.constructor_input
        meta = getattr(birnn, cell)(*arguments.args, **arguments.kwargs, device="meta")
        assert {parameter.device.type for parameter in meta.parameters()} == {"meta"}


def texts(cell: str) -> None:
    for sample in inputs(cell, torch.float32):
        ours, theirs = made(cell, sample, torch.float32)
        assert repr(ours) == repr(theirs)


def state_and_copies(cell: str) -> None:
    """What torch's `test_pickle` and `test_save_load` look for, without a pickle of a module."""
    for sample in inputs(cell, torch.float32):
        ours, _ = made(cell, sample, torch.float32)
        file = io.BytesIO()
        torch.save(ours.state_dict(), file)
        file.seek(0)
        arguments = sample.constructor_input
        loaded = getattr(birnn, cell)(*arguments.args, **arguments.kwargs)
        loaded.load_state_dict(torch.load(file, weights_only=True))
        for other in (loaded, copy.deepcopy(ours)):
            both = zip(flat(called(other, sample)), flat(called(ours, sample)), strict=True)
            assert all(torch.equal(one, same) for one, same in both)


def non_contiguous(cell: str) -> None:
    """Values and states that are views give the same outputs and gradients."""
    for sample in inputs(cell, torch.float32, requires_grad=True):
        if isinstance(sample.forward_input.args[0], nn.utils.rnn.PackedSequence):
            continue  # torch leaves them out as well
        ours, _ = made(cell, sample, torch.float32)
        plain = [one.detach().clone().requires_grad_() for one in flat(sample.forward_input.args)]
        strided = [
            torch.stack([one, one], -1).select(-1, 0).detach().requires_grad_() for one in plain
        ]
        assert not any(one.is_contiguous() for one in strided)
        results = [flat(ours(read[0], *states(read))) for read in (plain, strided)]
        torch.testing.assert_close(results[0], results[1])
        grads = []
        for found, read in zip(results, (plain, strided), strict=True):
            loss = torch.stack([part.sum() for part in found]).sum()
            grads.append(torch.autograd.grad(loss, [*read, *ours.parameters()]))
        torch.testing.assert_close(grads[0], grads[1])


def states(read: list[Tensor]) -> list[Any]:
    """The states among what is read, in the form in which they are given."""
    return [tuple(read[1:]) if len(read) == 3 else read[1]] if len(read) > 1 else []


def gradients(cell: str) -> None:
    """First and second ones against differences, in float64, as torch does."""
    for number, sample in enumerate(inputs(cell, torch.float64, requires_grad=True)):
        if number % 3:
            continue  # the samples differ in flags that `forward` runs through
        ours, _ = made(cell, sample, torch.float64)
        read = flat(sample.forward_input.args)

        def run(*tensors: Tensor, sample: Any = sample, ours: Any = ours) -> tuple[Tensor, ...]:
            first = sample.forward_input.args[0]
            if isinstance(first, nn.utils.rnn.PackedSequence):
                return tuple(flat(ours(first._replace(data=tensors[0]))))
            return tuple(flat(ours(tensors[0], *states([*tensors]))))

        assert gradcheck(run, read, fast_mode=True)
        assert gradgradcheck(run, read, fast_mode=True)


def errors(cell: str, dtype: torch.dtype) -> None:
    """What torch refuses, in torch's words."""
    samples = info(cell).module_error_inputs_func(
        info(cell), device="cpu", dtype=dtype, requires_grad=False, training=False
    )
    assert samples
    for sample in samples:
        own = sample.module_error_input
        arguments = own.constructor_input
        keywords = arguments.kwargs | {"dtype": dtype}
        if sample.error_on is common_modules().ModuleErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(sample.error_type, match=sample.error_regex):
                getattr(birnn, cell)(*arguments.args, **keywords)
        else:
            module = getattr(birnn, cell)(*arguments.args, **keywords)
            with pytest.raises(sample.error_type, match=sample.error_regex):
                called(module, own)


def parts() -> Iterator[tuple[Callable[..., None], tuple[Any, ...], str]]:
    """What is asked of each cell, of which type and in which mode, and who computes."""
    for cell in CELLS:
        for arithmetic in ("kernel", "torch"):
            for dtype, training in product(DTYPES, (True, False)):
                yield forward, (cell, dtype, training), arithmetic
            yield state_and_copies, (cell,), arithmetic
            yield non_contiguous, (cell,), arithmetic
        yield texts, (cell,), "kernel"
        yield gradients, (cell,), "kernel"
        for dtype in DTYPES:
            yield factory_kwargs, (cell, dtype), "kernel"
            yield errors, (cell, dtype), "kernel"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")
def test_on_our_classes(subtests: pytest.Subtests) -> None:
    common_modules()
    for check, arguments, arithmetic in parts():
        with (
            subtests.test(check.__name__, arguments=arguments, arithmetic=arithmetic),
            library.off() if arithmetic == "torch" else nullcontext(),
        ):
            check(*arguments)
