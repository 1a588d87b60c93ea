"""What became of every record: counts per stage, read from the files that the stages left."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_dicts, rejects_path
from lib.base.seals import checked

STAGES = {"pair": "pairs.jsonl", "filter": "filtered.jsonl", "clean": "clean.jsonl"}


def stage_counts(n_kept: int, reasons: Iterable[str]) -> dict[str, Any]:
    """{in, kept, rejected, reasons}, most frequent reason first."""
    counts = Counter(reasons)
    ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return {"in": n_kept + counts.total(), "kept": n_kept, "rejected": counts.total(), "reasons": ordered}


def read_funnel(interim: Path) -> dict[str, dict[str, Any]]:
    """Counts of pair, filter and clean. Raises UserError if a stage did not read what the one before it wrote."""
    funnel: dict[str, dict[str, Any]] = {}
    before: str | None = None
    for stage, name in STAGES.items():
        path = interim / name
        reasons = [str(row.get("reason")) for row in read_dicts(checked(rejects_path(path)))]
        funnel[stage] = stage_counts(len(read_dicts(checked(path))), reasons)
        if before and funnel[stage]["in"] != funnel[before]["kept"]:
            raise UserError(
                f"{path}: {stage} read {funnel[stage]['in']:,} pairs, but {before} wrote {funnel[before]['kept']:,}."
                f" Run `make data` again, so that the files belong together."
            )
        before = stage
    return funnel
