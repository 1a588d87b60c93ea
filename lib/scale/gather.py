"""Shards -> the files of interim/ and processed/, in the pieces that they came in."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import read_json, write_bytes, write_json
from lib.base.seals import seal_file, seal_written
from lib.data.interim import CANDIDATES, stage_counts
from lib.data.processed import shortfalls
from lib.data.splits import SPLITS
from lib.data.text import normalised
from lib.scale.shards import Work, lines_of

STAGES = ("pair", "filter", "clean", "split")
INTERIM = {
    "pairs.rejected": "pairs.rejected.jsonl",
    "tweets": "tweets.jsonl",
    "pairs": "pairs.jsonl",
    "filtered.rejected": "filtered.rejected.jsonl",
    "candidates": CANDIDATES,
    "filtered": "filtered.jsonl",
    "clean.rejected": "clean.rejected.jsonl",
    "clean": "clean.jsonl",
    "split.rejected": "split.rejected.jsonl",
}
PROCESSED = (*SPLITS, "test_prompts", "preferences", "calibration")


def funnel(work: Work) -> dict[str, dict[str, Any]]:
    """Stage -> {in, kept, rejected, reasons}, of all tasks. Raises UserError if one has lost a pair."""
    counts = {}
    for stage in STAGES:
        shares = [read_json(path) for path in sorted((work.folder / "counts" / stage).glob("*.json"))]
        reasons: Counter[str] = Counter()
        for share in shares:
            reasons.update(share["reasons"])
        counts[stage] = stage_counts(sum(share["kept"] for share in shares), reasons.elements())
    for before, stage in (("pair", "filter"), ("filter", "clean"), ("clean", "split")):
        if counts[stage]["in"] != counts[before]["kept"]:
            shutil.rmtree(work.folder)
            raise UserError(
                f"{work.folder}: {stage} read {counts[stage]['in']:,} pairs, but {before} wrote "
                f"{counts[before]['kept']:,}: files were lost, as at a power cut. Run the same command again."
            )
    return counts


def gather(work: Work, counts: dict[str, dict[str, Any]]) -> list[str]:
    """Write interim/, then processed/ with its manifest last. Returns what there is less of than wanted."""
    interim, processed = work.folder.parent, work.data / "processed"
    for kind, name in INTERIM.items():
        _write(interim / name, _lines(work, kind))
        seal_written(interim / name, processed / "manifest.json")
    addresses = "".join(f"https://x.com/i/status/{tweet_id}\n" for tweet_id in missing_tweets(work))
    write_bytes(interim / "missing_tweets.txt", addresses.encode())
    _refuse_empty(work, counts)
    processed.mkdir(exist_ok=True)
    (processed / "manifest.json").unlink(
        missing_ok=True
    )  # the folder is not whole while its files are replaced
    for kind in PROCESSED:
        lines = _distinct_prompts(work) if kind == "test_prompts" else _lines(work, kind)
        _write(processed / f"{kind}.jsonl", lines)
        (processed / f"{kind}.jsonl.partial").replace(processed / f"{kind}.jsonl")
    seals = {f"{kind}.jsonl": seal_file(processed / f"{kind}.jsonl") for kind in PROCESSED}
    n = {kind: seals[f"{kind}.jsonl"]["rows"] for kind in PROCESSED}
    config = work.config
    sizes = {"pairs": counts["split"]["kept"], "prompts": n["test_prompts"]}
    sizes |= {kind: n[kind] for kind in ("preferences", "calibration")}
    missing = shortfalls(sizes, config)
    manifest = {
        "set": work.name,
        "counts": counts,
        "files": seals,
        "config": config.model_dump(mode="json"),
        **{f"n_{kind}": n_rows for kind, n_rows in n.items()},
        "n_preference_candidates": seal_file(interim / CANDIDATES)["rows"],
        "missing": missing,
        "engine": "datatrove",
        "embedding_model": config.clean.embedding_model,
        "toxicity_model": config.filter.toxicity_model,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(processed / "manifest.json", manifest)
    return missing


def missing_tweets(work: Work) -> list[str]:
    """Ids that replies answer and raw/ does not hold."""
    return sorted({row["tweet_id"] for shard in range(work.n_shards) for row in work.own("missing", shard)})


def _lines(work: Work, kind: str) -> Iterator[bytes]:
    for path in sorted((work.folder / "out" / kind).glob("*.jsonl")):
        yield from (line for _, line in lines_of(path))


def _distinct_prompts(work: Work) -> Iterator[bytes]:
    """Those with a human reply; of the others each text once, or one judgment would count twice."""
    seen = set()
    for answered in (True, False):
        for line in _lines(work, "test_prompts"):
            row = json.loads(line)
            key = hash(normalised(row["tweet"]))  # of this process: a set of a million texts is large
            if ("human_reply" in row) == answered and (answered or key not in seen):
                seen.add(key)
                yield line


def _write(path: Path, lines: Iterator[bytes]) -> None:
    """path.partial, whole and on the disk."""
    with path.with_name(path.name + ".partial").open("wb") as handle:
        handle.writelines(lines)
        handle.flush()
        os.fsync(handle.fileno())


def _refuse_empty(work: Work, counts: dict[str, dict[str, Any]]) -> None:
    for stage, name in (("pair", "pairs"), ("filter", "filtered"), ("clean", "clean")):
        if not counts[stage]["kept"]:
            raise UserError(
                f"{work.name}: no pair is left after `{stage}`; {work.folder.parent / name}.rejected.jsonl "
                "says why. Widen the bounds in the data config, or collect more."
            )
    if empty := [part for part in SPLITS if next(_lines(work, part), None) is None]:
        reasons = counts["split"]["reasons"].items()
        taken = "".join(f", {reason} took {n:,}" for reason, n in reasons)
        raise UserError(
            f"split: {' and '.join(empty)} would be empty: {counts['split']['in']:,} pairs have too few "
            f"tweet authors{taken}. Collect more, widen the filter bounds, raise split.val and split.test, "
            "or take drops of the review back."
        )
