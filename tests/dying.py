"""What dies in the middle of its work, once: a process of a Ray cluster, or all of its machine.

Processes of the cluster import this file, and so it imports nothing of the tests.
"""

import os
import signal
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

MOST_LOOKS = 300  # a tenth of a second each


@dataclass(frozen=True)
class Death:
    """Comes once by each name.

    Attributes:
        folder: where each of several deaths leaves a file.
        home: the machine of Ray that lives; with it, one other dies as a whole, not processes.
    """

    folder: Path
    home: str = ""

    def come(self, name: str) -> None:
        """End this process, or its machine, if it has not come before."""
        import ray

        mark = self.folder / ("machine" if self.home else name)
        if ray.get_runtime_context().get_node_id() == self.home:
            self._leave_work(mark)
            return
        try:
            mark.open("x").close()
        except FileExistsError:
            return
        if self.home:
            os.kill(os.getppid(), signal.SIGKILL)  # what keeps the processes of a machine
        os.kill(os.getpid(), signal.SIGKILL)

    def _leave_work(self, mark: Path) -> None:
        """Wait until another machine has died of it."""
        for _ in range(MOST_LOOKS):
            if mark.exists():
                return
            time.sleep(0.1)


@dataclass(frozen=True)
class Mortal:
    """A function, the first call of which never returns."""

    function: Callable[[Any], Any]
    death: Death
    name: str

    def __call__(self, item: Any) -> Any:
        """Die, or do it."""
        self.death.come(self.name)
        return self.function(item)


def paired(
    real: Callable[..., Any], death: Death, function: Callable[[Any], Any], items: Iterable[Any]
) -> Generator[tuple[Any, Any], None, None]:
    """In the place of `birnn.files.cluster.paired`, `real`: a process dies in each call."""
    name = f"{len([*death.folder.iterdir()])} {getattr(function, '__name__', 'function')}"
    yield from real(Mortal(function, death, name), items)


def rank(death: Death, config: dict[str, Any]) -> Any:
    """In the place of `birnn.model.ranks.process`: one dies when the third epoch begins.

    A file holds the epochs that the leading process has begun. Where machines live on, they take
    the prepared data for others than those of the caller.
    """
    from birnn.model import batching, ranks

    epoch, begun = batching.epoch, death.folder / "epochs"
    if not death.home:
        config["task"] = replace(config["task"], sha256="of other files")

    def mortal(*args: Any, **options: Any) -> Any:
        if options["group"].leads:
            with begun.open("a") as file:
                file.write(f"{options['number']} ")
        if options["number"] == 3:
            for _ in range(MOST_LOOKS):  # until the leading process has sent what the second made
                if begun.exists() and "3" in begun.read_text(encoding="ascii").split():
                    break
                time.sleep(0.1)
            death.come("rank")
        return epoch(*args, **options)

    batching.epoch = mortal
    return ranks.process(config)
