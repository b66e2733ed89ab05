"""What must be right on a GPU; each check gives its figures, or fails with one line.

On a CPU the same code runs on a CPU's tensors, for which `birnn.model.gpu` computes in their stead.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from benchmarks import epochs, launches, peers
from birnn.data.sequences import Sequences
from birnn.model import batching, devices, gpu, prediction, recurrent, training
from birnn.model.adam import Adam
from birnn.model.architecture import Cell
from birnn.model.checkpoint import File
from birnn.model.distributed import ALONE, joined
from birnn.model.history import Epoch
from birnn.model.networks import SequenceModel
from birnn.model.recurrent import VariableLengthRNN
from birnn.sources import hmm
from birnn.sources.limits import Best

Figures = dict[str, Any]
RAGGED = {"mixed": [3, 17, 1, 9, 17], "equal": [6, 6, 6], "single steps": [1, 1], "one": [12]}
EPOCHS = 4  # of the trainings that are compared to the byte
BATCH = 64
STEP_WITHOUT_WAITING = 3  # steps before it, in which cuDNN and the allocator still ask and wait


class WrongError(AssertionError):
    """What a check expected, and what it found."""


def expect(right: bool, message: str) -> None:
    """Fail with a line, also where Python leaves `assert` out."""
    if not right:
        raise WrongError(message)


@contextmanager
def as_on_gpu(device: torch.device) -> Iterator[None]:
    """Let a CPU run what a GPU runs; on a GPU, nothing has to be done."""
    if device.type != "cpu":
        yield
        return
    with (
        mock.patch.object(recurrent, "_on_gpu", return_value=True),
        mock.patch.object(gpu, "PACKING", {"cpu"}),
    ):
        yield


def parity(device: torch.device, quick: bool) -> Figures:
    """In float64: what packing gives on a CPU, whatever the padding holds, and its gradients."""
    worst = 0.0
    cases = [*product(epochs.CELLS, (1, 2), RAGGED.values(), (8, 200, 400))]
    for cell, layers, lengths, hidden in cases[:: 5 if quick else 1]:
        both = (lengths, hidden) != (RAGGED["one"], 8)  # one case has one direction alone
        worst = max(worst, _gap(cell, layers, lengths, hidden, both, device))
    expect(worst < 1e-10, f"expected float64 within 1e-10 of packing, found {worst:.1e}")
    return {"cases": len(cases), "largest difference": worst}


def _gap(
    cell: Cell, layers: int, lengths: list[int], hidden: int, both: bool, device: torch.device
) -> float:
    torch.manual_seed(0)
    theirs = getattr(nn, cell)(5, hidden, layers, batch_first=True, bidirectional=both).double()
    ours = VariableLengthRNN(5, hidden, cell, layers, bidirectional=both).double()
    ours.load_state_dict(theirs.state_dict())
    ours, known = ours.to(device), torch.tensor(lengths)
    past = (torch.arange(max(lengths)) >= known[:, None])[:, :, None]
    drawn = torch.randn(len(lengths), max(lengths), 5, dtype=torch.float64)
    plain = drawn.masked_fill(past, 0).requires_grad_()
    values = drawn.masked_fill(past, float("nan")).to(device).requires_grad_()
    expected, found = peers.packed(theirs, plain, known), ours(values, known)[0]
    weights = torch.randn_like(expected)
    wanted = torch.autograd.grad((expected * weights).sum(), [plain, *theirs.parameters()])
    weighed = (found * weights.to(device)).sum()
    given = torch.autograd.grad(weighed, [values, *ours.parameters()])
    pairs = zip([found, *given], [expected, *wanted], strict=True)
    return max(float((a.cpu() - b).detach().abs().max()) for a, b in pairs)


def float32(device: torch.device, quick: bool) -> Figures:
    """In float32: near to float64; and how far TF32 is from it, where the GPU has that."""
    figures: Figures = {}
    kinds = ["fp32"] + ["tf32"] * (device.type == "cuda")
    for kind, cell, hidden in product(kinds, epochs.CELLS, (32,) if quick else (32, 128, 160, 512)):
        devices.use_tf32(device, wanted=kind == "tf32")
        error = _error(cell, hidden, device)
        devices.use_tf32(device, wanted=False)
        figures[f"{kind}, {cell} {hidden}"] = error
        limit = f"expected {cell} {hidden} within 2e-5 of float64, found {error:.1e}"
        expect(kind == "tf32" or error < 2e-5, limit)
    return figures


def _error(cell: Cell, hidden: int, device: torch.device) -> float:
    torch.manual_seed(0)
    rnn = VariableLengthRNN(32, hidden, cell)
    theirs = getattr(nn, cell)(32, hidden, batch_first=True, bidirectional=True).double()
    theirs.load_state_dict(rnn.state_dict())
    values, lengths = torch.randn(16, 50, 32), torch.randint(1, 51, (16,))
    lengths[0] = 50
    with torch.no_grad():
        expected = peers.packed(theirs, values.double(), lengths)
        found = rnn.to(device)(values.to(device), lengths)[0]
    return float((found.cpu().double() - expected).abs().max())


def many(device: torch.device, quick: bool) -> Figures:
    """More sequences, and more steps, than cuDNN takes in a call."""
    most = gpu.MOST
    with mock.patch.object(gpu, "MOST", 64) if quick else nullcontext():
        figures = {
            f"{batch} x {steps}, {cell} {hidden}": _against_kernel(
                cell, hidden, (batch, steps), device
            )
            for batch, steps in [(gpu.MOST + 4465, 3), (2, gpu.MOST + 4465)]
            for cell, hidden in [("GRU", 8), ("LSTM", 256)][: 1 if quick or steps > most else 2]
        }
    worst = max(figures.values())
    expect(worst < 1e-4, f"expected each within 1e-4 of the CPU, found {worst:.1e}")
    return figures


def _against_kernel(cell: Any, hidden: int, size: tuple[int, int], device: torch.device) -> float:
    torch.manual_seed(0)
    rnn = VariableLengthRNN(4, hidden, cell)
    values, lengths = torch.randn(*size, 4), torch.randint(1, size[1] + 1, size[:1])
    with torch.no_grad():
        with mock.patch.object(recurrent, "_on_gpu", return_value=False):
            expected = rnn(values, lengths)[0]
        found = rnn.to(device)(values.to(device), lengths)[0]
    return float((found.cpu() - expected).abs().max())


def bfloat16(device: torch.device, quick: bool) -> Figures:
    """bf16 reaches cuDNN as bf16, and costs less than 2 % of the loss."""
    if lacking := devices.lacking("bf16", device):
        return {"left out": f"expected {lacking}"}
    seen: set[torch.dtype] = set()
    lstm = torch.lstm

    def note(*given: Any) -> Any:
        found = lstm(*given)
        seen.update({given[0].dtype, found[0].dtype})
        return found

    with mock.patch.object(torch, "lstm", note):
        halved = _losses(device, "bf16", quick=quick)
    expect(seen == {torch.bfloat16}, f"expected bfloat16 in all calls, found {seen}")
    plain = _losses(device, "fp32", quick=quick)
    far = max(abs(a / b - 1) for a, b in zip(halved, plain, strict=True))
    expect(far < 0.02, f"expected the loss of bf16 within 2 % of fp32's, found {100 * far:.1f} %")
    return {"loss of bf16": halved[-1], "loss of fp32": plain[-1]}


def beside_the_cpu(device: torch.device, quick: bool) -> Figures:
    """An epoch here gives the loss of an epoch of the CPU's kernel."""
    there = _losses(device, "fp32", quick=quick)
    with mock.patch.object(recurrent, "_on_gpu", return_value=False):
        here = _losses(torch.device("cpu"), "fp32", quick=quick)
    far = max(abs(a - b) for a, b in zip(there, here, strict=True))
    expect(far < 1e-3, f"expected losses within 1e-3 of the CPU's, found {far:.1e}")
    return {"loss": there[-1], "largest difference": far}


def _losses(device: torch.device, precision: str, *, quick: bool) -> list[float]:
    """Of each epoch of a short training."""
    split = epochs.draw(100 if quick else 1000)
    with tempfile.TemporaryDirectory() as folder:
        _, losses = trained(split, device, Path(folder) / "state", precision=precision, most=2)
    return losses


def trained(
    split: Sequences, device: torch.device, state: Path, *, precision: str = "fp32", most: int
) -> tuple[SequenceModel, list[float]]:
    """Train a tagger with the stage's own loop, from `state` on if that is there."""
    devices.make_deterministic(3, device)
    model = SequenceModel(replace(epochs.architecture("LSTM", 32), dropout=0.1))
    options = replace(epochs.options(device, BATCH, precision), max_epochs=EPOCHS, keep="last")
    losses: list[float] = []

    def note(epoch: Epoch) -> None:
        losses.append(epoch.train_loss)
        if len(losses) == most < EPOCHS:
            raise StopIteration

    with joined(device) as group, suppress(StopIteration):
        training.fit(model, split, split, options, resume=File(state), on_epoch=note, group=group)
    return model, losses


def fingerprint(device: torch.device, *, stopped: bool) -> str:
    """The hash of the weights after a training, perhaps of one that was stopped on its way."""
    split = epochs.draw(200)
    with as_on_gpu(device), tempfile.TemporaryDirectory() as folder:
        if stopped:
            trained(split, device, Path(folder) / "state", most=2)
        model, _ = trained(split, device, Path(folder) / "state", most=EPOCHS)
    weights = [value.cpu().contiguous().numpy() for value in model.state_dict().values()]
    return hashlib.sha256(b"".join(one.tobytes() for one in weights)).hexdigest()


def same_bytes(device: torch.device, quick: bool) -> Figures:
    """The same weights from two processes, after a stop, and from one process of `torchrun`."""
    once = [sys.executable, "-m", "benchmarks.gpu", "--device", device.type, "--fingerprint"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "-m", *once[2:]]
    calls = {"stopped and resumed": [*once, "stopped"]}
    if not quick:
        calls |= {"again": [*once, "whole"], "torchrun with one process": [*torchrun, "whole"]}
    expected = fingerprint(device, stopped=False)
    found = {name: _output(call) for name, call in calls.items()}
    wrong = [name for name, given in found.items() if given != expected]
    expect(not wrong, f"expected the weights {expected[:12]}, found others: {', '.join(wrong)}")
    return {"weights": expected, "compared": list(found)}


def _output(command: list[str]) -> str:
    """The last word that a command prints."""
    finished = _run(command)
    expect(finished.returncode == 0, f"{command[1:]}: {finished.stderr.strip()[-500:]}")
    return finished.stdout.split()[-1]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )


def bad_lengths(device: torch.device, quick: bool) -> Figures:
    """Lengths that are on the GPU and out of range end the process, each in one of its own."""
    if quick and device.type == "cpu":
        return {"left out": "tests/model/test_gpu.py has it"}
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", device.type, "--bad-length"]
    for length in ("0", "6"):
        finished = _run([*command, length])
        said = finished.stderr.lower()
        stopped = finished.returncode != 0 and ("from 1 to the 5" in said or "assert" in said)
        expect(
            stopped, f"expected an error for a length of {length} in 5 steps, found {said[-500:]}"
        )
    return {"lengths": [0, 6]}


def take_bad_length(device: torch.device, length: int) -> None:
    """Read a batch of 5 steps with such a length; what `bad_lengths` wants to fail."""
    rnn, lengths = VariableLengthRNN(3, 4).to(device), torch.tensor([length, 5], device=device)
    gpu.check_lengths(lengths, 5)
    print(float(rnn(torch.zeros(2, 5, 3, device=device), lengths)[0].sum()))


def one_step(device: torch.device, cell: Cell, hidden: int, **changes: Any) -> Callable[[], object]:
    """A call of it takes a step of training: from the gathered batch to Adam."""
    split = epochs.draw(BATCH)
    if changes.get("task") == "classification":
        labels = split.labels[split.offsets[:-1]]
        split = replace(split, labels=labels, tagging=False)
    model = SequenceModel(replace(epochs.architecture(cell, hidden), **changes)).to(device)
    optimizer = Adam(model.parameters(), learning_rate=0.01, weight_decay=0.0, clip_norm=1.0)
    score = training.scorer(model, split.tally(), epochs.options(device, BATCH))
    there = batching.resident(split, device)

    def step() -> None:
        batches = batching.epoch(there, batch_size=BATCH, seed=0, number=1)
        with mock.patch.object(training, "_mean"):  # it waits for the losses of a whole epoch
            training.one_pass(batches, score, optimizer, ALONE)

    return step


def no_waiting(device: torch.device, quick: bool) -> Figures:
    """Between the gathering of a batch and Adam, the host asks the GPU for nothing."""
    found: Figures = {}
    cases = [("LSTM", 32, "tagging"), ("RNN", 32, "classification"), ("GRU", 512, "tagging")]
    for cell, hidden, task in cases[: 1 if quick else 3]:
        kind: Any = cell
        step = one_step(device, kind, hidden, task=task)
        for _ in range(STEP_WITHOUT_WAITING):
            step()
        with _waiting_refused() if device.type == "cuda" else nullcontext():
            step()
        found[f"{task}, {cell} {hidden}"] = "nobody waits"
    return found


@contextmanager
def _waiting_refused() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that it does not find every wait
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


def launch_counts(device: torch.device, _quick: bool) -> Figures:
    """Operations of a step, and on CUDA the kernels that these launch, and the host's time."""
    figures: Figures = {}
    for task, layers in product(("tagging", "classification"), (1, 2)):
        meta = one_step(torch.device("meta"), "LSTM", 32, task=task, num_layers=layers)
        figures[f"operations, {task}, {layers} layers"] = launches.counted(meta).total()
    expect(figures["operations, tagging, 1 layers"] <= 60, "expected at most 60 operations")
    if device.type == "cuda":
        figures |= _kernels(device)
    return figures


def _kernels(device: torch.device) -> Figures:
    step = one_step(device, "LSTM", 32)
    for _ in range(STEP_WITHOUT_WAITING):
        step()
    torch.cuda.synchronize(device)
    kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the profiler's own
        with torch.profiler.profile(activities=kinds) as profile:
            step()
            torch.cuda.synchronize(device)
    events = {event.key: event for event in profile.key_averages()}
    sent = {name: event.count for name, event in events.items() if name.startswith("cuda")}
    return {"calls of CUDA in a step": sent}


def default_problem(device: torch.device, quick: bool) -> Figures:
    """The models of params.yaml, without DVC: near to what is possible, by the exact limits."""
    count = 400 if quick else 1000
    chain = hmm.tagging_chain(classes=5, features=8, stay=0.3, separation=4.5, lookalikes=2, seed=2)
    drawn = list(
        hmm.draw(chain, sequences=count, min_steps=10, max_steps=10, mean_steps=10, seed=2)
    )
    best = Best(chain, "tagging")
    for batch in drawn:
        best.add(batch)
    limits = best.limits().overall
    whole, cut = _sequences(drawn), count * 7 // 10
    parts = np.split(np.arange(count), [cut, count * 17 // 20])
    train, validation, test = (whole.select(part) for part in parts)
    found: Figures = {name: limits[name] for name in ("filtering", "smoothing")}
    for name, both in (("forward", False), ("bidirectional", True)):
        devices.make_deterministic(2, device)
        architecture = replace(epochs.architecture("RNN", 10), features=8, bidirectional=both)
        model = SequenceModel(architecture)
        options = replace(
            epochs.options(device, 64), max_epochs=40, patience=5, learning_rate=0.012
        )
        with tempfile.TemporaryDirectory() as folder:
            state = Path(folder) / "state"
            training.fit(
                model, train, validation, options, resume=File(state), on_epoch=lambda _: None
            )
        said = prediction.probabilities(model, test, device=device).argmax(1)
        found[name] = float((said == test.labels).mean())
    near = 0.08 if quick else 0.04
    for name, limit in (("forward", "filtering"), ("bidirectional", "smoothing")):
        off = abs(found[name] - found[limit])
        expect(off < near, f"expected {name} within {near} of {limit}, found {found}")
    return found


def _sequences(batches: list[pa.RecordBatch]) -> Sequences:
    """Ten steps each, scaled; the label of each step is a number."""
    table = pa.Table.from_batches(batches)
    values = np.stack([table[f"x{at}"].to_numpy() for at in range(8)], axis=1)
    names = np.unique(table["sequence"].to_numpy())
    labels = np.unique(table["label"].to_numpy(), return_inverse=True)[1].astype(np.int32)
    ids = pa.array(names)
    offsets = np.arange(0, len(values) + 1, 10)
    scaled = ((values - values.mean(0)) / values.std(0)).astype(np.float32)
    return Sequences(scaled, offsets, labels, ids=ids, groups=ids, tagging=True)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Let a warning fail, such as torch's that weights are not where cuDNN wants them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


CHECKS: Mapping[str, Callable[..., Figures]] = {
    "float64 as packed": parity,
    "float32": float32,
    "bad lengths": bad_lengths,
    "no waiting": no_waiting,
    "launches": launch_counts,
    "more than cuDNN takes": many,
    "bfloat16": bfloat16,
    "as on the CPU": beside_the_cpu,
    "the same bytes": same_bytes,
    "the default problem": default_problem,
}
