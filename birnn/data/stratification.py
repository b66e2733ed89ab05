"""Splits that have each class in its share, and in which a sequence stays as data grow.

One after the other, each group (or sequence) that comes by is given to a split, by what came before
it alone: what is added behind it moves nothing. Of its classes, the rarest so far decides; the
split is drawn, by a hash of the name, from those that have too little of that class (the rarest
label first: Sechidis, Tsoumakas and Vlahavas, On the Stratification of Multi-label Data, 2011). So
no split has one more of a class than its share. The first three that hold a class go to `train`,
`test` and `validation`, so that a rare class is in each of them as soon as that is possible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

EVERY = ""  # stands for all that comes by, whatever its classes


class Stratifier:
    """Gives what comes by to splits, in their shares of each class.

    Args:
        shares: of the splits, of which the sum is 1.
        first: the splits of the first that hold a class, in this order.
        position: a point in [0, 1) that only a name decides.
    """

    def __init__(
        self, shares: Mapping[str, float], first: Sequence[str], position: Callable[[str], float]
    ) -> None:
        self.shares = {name: share for name, share in shares.items() if share > 0}
        self.first = [name for name in first if name in self.shares]
        self.position = position
        self.given: dict[str, Counter[str]] = {}  # to each split, by class
        self.groups: dict[str, str] = {}  # the split of each group

    def split_of(self, name: str, classes: Collection[str], *, group: bool) -> str:
        """Give the split of what comes next.

        Args:
            name: of the group, or of the sequence where it has none.
            classes: that the sequence holds; none where it has no labels.
            group: whether more of the name may come.
        """
        split = self.groups.get(name) or self._chosen(name, classes)
        if group:
            self.groups[name] = split
        for label in {EVERY, *classes}:
            self.given.setdefault(label, Counter())[split] += 1
        return split

    def _chosen(self, name: str, classes: Collection[str]) -> str:
        counts = {label: self.given.get(label, Counter()) for label in classes or [EVERY]}
        rarest = min(counts, key=lambda label: (counts[label].total(), label))
        given, total = counts[rarest], counts[rarest].total()
        if total < len(self.first) and (unseen := [s for s in self.first if not given[s]]):
            return unseen[0]
        lack = {s: max(share * (total + 1) - given[s], 0.0) for s, share in self.shares.items()}
        point = self.position(f"stratified {name}") * sum(lack.values())
        for split, size in lack.items():
            point -= size
            if size > 0 and point < 0:
                return split
        return max(lack, key=lambda split: lack[split])
