"""Where the figures of docs/speed.md come from: each table runs all its peers in one process."""

import os

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # for all peers, as in the stages
