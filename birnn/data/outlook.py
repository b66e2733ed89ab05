"""What `prepare` will make of data and params, said before it is done.

for line in notes(params.load(), found, again): print(line)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from birnn.data import encoding, filling, splits, vectors
from birnn.data.splits import Splitting
from birnn.files import tables
from birnn.files.summary import Summary
from birnn.files.tables import Chunk
from birnn.params import Params


def notes(chosen: Params, found: Summary, again: Callable[[], Iterable[Chunk]]) -> Iterator[str]:
    """Say what deserves it, a line each.

    Args:
        chosen: params.yaml.
        found: what is in the data.
        again: gives the data once more, whole sequences and their offsets.

    Raises:
        DataError: `prepare` would refuse the numbers that are missing, a split without sequences,
            or `prepare.vectors`.
        ParamsError: vectors for data without tokens, or `prepare.split_by` names no column.
    """
    prepare = chosen.prepare
    filling.check(prepare.missing, found.missing, found.first_missing)
    tokens, seen = Counter[str](), set[str]()
    how, named = Splitting.of(prepare), list(found.splits)
    for table, offsets, names in splits.named_chunks(again, how, named):
        seen.update(np.unique(names).tolist())
        if prepare.vectors is not None and "token" in table.schema.names:
            train, _ = splits.part(table, offsets, names == "train")
            tokens.update(encoding.token_counts(train, lowercase=prepare.lowercase))
    splits.check_found(seen, tables.SPLITS, found)
    if prepare.vectors is not None:
        yield from _of_vectors(chosen, tokens, found)


def _of_vectors(chosen: Params, tokens: Counter[str], found: Summary) -> Iterator[str]:
    """What there is to say of vectors, by the tokens of train."""
    prepare = chosen.prepare
    names = encoding.vocabulary(tokens, prepare.min_count) if found.tokens else None
    pretrained = vectors.look_up(prepare.vectors, names)
    known = [tokens[name] for name in names or []]
    counts = np.array([tokens.total() - sum(known), *known])
    yield from vectors.notes(prepare.vectors, pretrained, counts, lowercase=prepare.lowercase)
    sizes = {entry.embedding_size for entry in chosen.models.values()}
    for size in sorted(sizes):
        yield from vectors.width_note(prepare.vectors, pretrained.vectors, size)
