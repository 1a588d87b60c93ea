"""The funnel of a data set, read line by line: what each step dropped, and a sample of what is left."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.base.files import record_of, rejects_path
from lib.base.schema import Pair, Rejection
from lib.base.seals import checked
from lib.data.filters import noted

N_EXAMPLES = 2
MOST_PAIRS = 50_000  # that are described; of more a sample is drawn, for a set may have millions


@dataclass(frozen=True)
class Stage:
    """One step of the funnel: n_in = n_kept + rejected.

    rejected: all of them; or examples, where counted says how many there are of each reason.
    """

    name: str
    n_kept: int
    rejected: list[Rejection]
    notes: tuple[tuple[str, int], ...] = ()  # what people are told of the kept: sentence, number of pairs
    counted: Mapping[str, int] | None = None

    @property
    def n_in(self) -> int:
        return self.n_kept + sum(n for _, n in self.reasons)

    @property
    def reasons(self) -> list[tuple[str, int]]:
        counts = self.counted or Counter(rejection.reason for rejection in self.rejected)
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def read_stage(kept: Path, n_kept: int) -> Stage:
    """The step that kept n_kept pairs in a file of interim/, and what it dropped beside it."""
    counts: Counter[str] = Counter()
    shown = []
    for where, line in _lines(checked(rejects_path(kept))):
        one = record_of(line, Rejection, where)
        counts[one.reason] += 1
        if counts[one.reason] <= N_EXAMPLES:
            shown.append(one)
    is_filtered = kept.name == "filtered.jsonl" and kept.exists()
    told = noted(record_of(line, Pair, where) for where, line in _lines(checked(kept))) if is_filtered else []
    return Stage(kept.stem, n_kept, shown, tuple(told), counts)


def sampled(paths: Sequence[Path]) -> tuple[list[Pair], int]:
    """(MOST_PAIRS pairs at random, or all where there are no more; how many there are)."""
    rng, drawn, n_pairs = random.Random(17), [], 0
    for place in (place for path in paths for place in _lines(path)):
        n_pairs += 1
        if len(drawn) < MOST_PAIRS:
            drawn.append(place)
        elif (number := rng.randrange(n_pairs)) < MOST_PAIRS:
            drawn[number] = place
    return [record_of(line, Pair, where) for where, line in drawn], n_pairs


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """(file:line, line) of all lines."""
    with path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            yield f"{path}:{number}", line
