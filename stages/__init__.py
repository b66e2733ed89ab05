"""The stages of dvc.yaml, one module each: read the dependencies, call birnn, write the outs.

A stage is a short process that mostly imports. Imports make many objects and hardly any garbage;
to look for it as often as Python does by default takes a quarter of that time, and to look through
all of them once more at the end takes another: what is frozen is not looked at.

The states of long sequences take hundreds of megabytes, and a page fault for every 4 kB of them
takes longer than to compute them. Torch asks for huge pages where this variable is set before it
allocates; a training step on 4000 steps then takes half the time.

Stages work in threads of their own (`birnn.files.threads`). NumPy's products of small matrices
would have more of them, which wait by spinning: of two cores, half of one.

Ctrl-C while a stage imports ends it without a word, as it does later.
"""

import atexit
import gc
import os
import sys
from types import TracebackType


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


gc.set_threshold(100_000)
atexit.register(gc.freeze)
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.excepthook = _tell
