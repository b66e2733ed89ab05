"""A training whose processes a Ray cluster starts, and starts again where one of them was lost.

    ranks = Ranks(workers=4, folder=Path("data/prepared"))
    ranks.fit(model, train, validation, options, resume=..., on_epoch=...)

Each process runs the loop that `torchrun` would start as often (`birnn.model.training.fit`), so the
result has the same bytes. Files are read and written on the caller's machine alone: the leading
process sends the state there after each epoch. So machines need to share no disk, and with one of
them no more is lost than the epoch that it was in.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load as parse
from safetensors.torch import save as serialized

from birnn.data.parted import Parts
from birnn.data.sequences import Sequences
from birnn.errors import BirnnError, EngineError
from birnn.files import cluster
from birnn.model import checkpoint, devices, distributed, train, training
from birnn.model.architecture import Architecture
from birnn.model.checkpoint import File, Progress
from birnn.model.history import Epoch
from birnn.model.networks import SequenceModel
from birnn.model.train import Prepared
from birnn.model.training import Options

FAILURES = 8  # times that the processes are started again after the loss of one
LOOKS = 0.5  # seconds between two looks at how far they are
Told = Callable[[Epoch], None]


@dataclass(frozen=True, slots=True)
class Sent:
    """A state that is kept on one machine of a cluster, whoever reads and writes it.

    Attributes:
        kept: where it is there.
        node: what Ray calls the machine.
    """

    kept: File
    node: str

    def read(self) -> bytes:
        """See `birnn.model.checkpoint.Kept`."""
        state: bytes = _at(self.node, File.read, self.kept)
        return state

    def write(self, state: bytes) -> None:
        """See `birnn.model.checkpoint.Kept`."""
        _at(self.node, File.write, self.kept, state)


@dataclass(frozen=True, slots=True)
class Task:
    """What each process is to do.

    Attributes:
        architecture: of the network.
        weights: with which training begins, as safetensors.
        options: how to train; of the device only its kind counts.
        folder: of the prepared data on the caller's machine.
        sha256: of what is there; see `birnn.model.train.digest`.
        resume: where the caller's machine keeps the state.
        versions: of what computes there.
    """

    architecture: Architecture
    weights: bytes
    options: Options
    folder: Path
    sha256: str
    resume: Sent
    versions: cluster.Versions


@dataclass(frozen=True, slots=True)
class Ranks:
    """Processes that train one model together.

    Attributes:
        workers: how many; each takes one CPU, or one GPU too.
        folder: of the prepared data.
    """

    workers: int
    folder: Path

    def fit(
        self,
        model: SequenceModel,
        train: Sequences | Parts,
        validation: Sequences | Parts,
        options: Options,
        *,
        resume: File,
        on_epoch: Told,
        **_: object,
    ) -> Progress:
        """Train; see `birnn.model.training.fit`, which ends what the processes have done.

        Raises:
            TrainingError: the loss is no longer a number.
            EngineError: a machine has other code, or processes were lost again and again.
        """
        told = 0

        def tell(epoch: Epoch) -> None:
            nonlocal told
            if epoch.epoch > told:
                told = epoch.epoch
                on_epoch(epoch)

        with cluster.connected(self.workers) as ray:
            here = ray.get_runtime_context().get_node_id()
            _follow(_trainer(self._task(model, options, resume, here), self.workers), resume, tell)
        return training.fit(model, train, validation, options, resume=resume, on_epoch=tell)

    def _task(self, model: SequenceModel, options: Options, resume: File, node: str) -> Task:
        weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
        return Task(
            architecture=model.architecture,
            weights=serialized(weights),
            options=options,
            folder=self.folder.absolute(),
            sha256=train.digest(self.folder),
            resume=Sent(File(resume.path.absolute()), node),
            versions=cluster.versions(),
        )


def _trainer(task: Task, workers: int) -> Callable[[Path], Any]:
    """What starts the processes, and returns a mistake of the user that one of them has met."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.config import LoggingConfig

    def fit(folder: Path) -> Any:
        trainer = TorchTrainer(
            process,
            train_loop_config={"task": task},
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=task.options.device.type == "cuda"
            ),
            run_config=RunConfig(
                storage_path=str(folder),
                failure_config=FailureConfig(max_failures=FAILURES),
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
        )
        return trainer.fit().return_value

    return fit


def _follow(fit: Callable[[Path], Any], resume: File, tell: Told) -> None:
    """Wait for the processes to end, and tell of each epoch meanwhile."""
    import ray
    from ray.train import TrainingFailedError

    with tempfile.TemporaryDirectory(prefix="birnn-train-", ignore_cleanup_errors=True) as folder:
        done = _in_background(lambda: fit(Path(folder)))
        seen = 0.0
        while wait([done], LOOKS).not_done:
            if resume.path.exists() and (now := resume.path.stat().st_mtime) > seen:
                seen = now
                for epoch in checkpoint.epochs(resume):
                    tell(epoch)
        try:
            mistake = done.result()
        except TrainingFailedError as error:
            raise _reason(ray, error) from error
    if mistake is not None:
        raise mistake


def _reason(ray: Any, error: Any) -> Exception:
    """What a training has failed of: a fault of the code as it is, or that processes were lost."""
    failures: list[Exception] = list(getattr(error, "worker_failures", {}).values())
    for failure in failures:
        if not isinstance(failure, (ray.exceptions.RayError, RuntimeError)):
            return failure
    return EngineError(
        f"ray: expected a training that ends, found that processes failed {FAILURES + 1} times: "
        f"{cluster.first_line(failures[0] if failures else error)}"
    )


def _in_background(function: Callable[[], Any]) -> Future[Any]:
    """Call a function in a thread that does not keep the process alive."""
    done = Future[Any]()

    def call() -> None:
        try:
            done.set_result(function())
        except BaseException as error:  # noqa: BLE001  whoever waits gets it
            done.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return done


def process(config: dict[str, Task]) -> BirnnError | None:
    """What one of the processes does; the mistake of the user that it meets, if any."""
    task, complaint, ready = config["task"], "", None
    try:
        ready = _ready(task)
    except BirnnError as error:
        complaint = str(error)
    with distributed.joined(task.options.device) as group:
        if (complaint := group.first(complaint)) or ready is None:
            return EngineError(complaint)
        model, data, options = ready
        try:
            training.fit(
                model,
                data.train,
                data.validation,
                options,
                resume=task.resume,
                on_epoch=lambda _: None,
                group=group,
            )
        except BirnnError as error:
            return error
    return None


def _ready(task: Task) -> tuple[SequenceModel, Prepared, Options]:
    cluster.check_versions(task.versions)
    options = replace(task.options, device=devices.choose(task.options.device.type))
    train.settle(options, task.architecture)
    model = SequenceModel(task.architecture)
    model.load_state_dict(parse(task.weights))
    return model, _data(task), options


def _data(task: Task) -> Prepared:
    """Map the files where this machine has the same ones; else get what they hold through Ray."""
    try:
        if train.digest(task.folder) == task.sha256:
            return Prepared.read(task.folder)
    except OSError:  # there are none, or not all
        pass
    found: Prepared = _at(task.resume.node, _held, task.folder)
    return found


def _at(node: str, function: Callable[..., Any], *given: object) -> Any:
    """Call a function on one machine of the cluster, and wait for what it returns."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    options = {"num_cpus": 0, "max_retries": cluster.RETRIES, "scheduling_strategy": there}
    return ray.get(ray.remote(**options)(function).remote(*given))


def _held(folder: Path) -> Prepared:
    """What prepared data hold, without the files, which are of no use elsewhere.

    Of a split in parts, each process reads those from `run.store` that it needs.
    """
    data = Prepared.read(folder)
    return replace(data, train=_unmapped(data.train), validation=_unmapped(data.validation))


def _unmapped(split: Sequences | Parts) -> Sequences | Parts:
    return split if isinstance(split, Parts) else replace(split, mapped=None)
