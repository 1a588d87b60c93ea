"""Split the clean pairs by tweet author into train, val and test, for training and evaluation.

    python -m scripts.split --config configs/data-main.yaml

Reads interim/, review/decisions.jsonl; writes
processed/{train,val,test,test_prompts,preferences,calibration}.jsonl and, last, processed/manifest.json. With
`review: required` it waits, and writes nothing, while pairs are unreviewed.
"""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from lib.base.console import run, summary
from lib.base.files import jsonl_bytes, write_bytes, write_json
from lib.base.seals import seal_of, write_sealed
from lib.base.settings import DataConfig
from lib.data.decisions import UnreviewedError, reviewed
from lib.data.interim import building, read_interim, stage_counts
from lib.data.processed import Processed, processed_of, shortfalls
from lib.data.scorers import detect_languages
from lib.data.vectors import embed


def main() -> None:
    with building(__doc__) as (_, config, folder):
        name, interim, out = folder.name, folder / "interim", folder / "processed"
        left = read_interim(interim)
        try:
            pairs, dropped = reviewed(left.clean, folder / "review" / "decisions.jsonl", config.review, name)
        except UnreviewedError as waiting:
            print(f"split: {waiting}")
            return
        vectors = partial(embed, model=config.clean.embedding_model)
        processed = processed_of(
            pairs, left.tweets, left.candidates, config, vectors, detect_languages, dropped
        )
        rejected = sorted([*dropped, *processed.rejected], key=lambda rejection: rejection.id)
        reasons = [rejection.reason for rejection in rejected]
        counts = {**left.counts, "split": stage_counts(processed.n_kept, reasons)}

        write_sealed(interim / "split.rejected.jsonl", rejected, out / "manifest.json")
        missing = shortfalls(processed.sizes, config)
        _write(out, name, processed, config, counts, missing)
        print(summary("split", processed.n_kept, reasons))
        sizes = ", ".join(f"{part} {len(rows):,}" for part, rows in processed.parts.items())
        print(f"  {sizes} pairs, no tweet author in two of them")
        n_preferences, n_calibration = len(processed.preferences), len(processed.calibration)
        print(
            f"  {len(processed.prompts):,} test prompts, {n_preferences:,} preferences, {n_calibration:,} "
            "for calibration"
        )
        for sentence in missing:
            print(f"  warning: {sentence}")
        print(f"wrote {out / 'manifest.json'}")


def _write(
    out: Path, name: str, processed: Processed, config: DataConfig, counts: dict, missing: list[str]
) -> None:
    (out / "manifest.json").unlink(missing_ok=True)  # the folder is not whole while its files are replaced
    rows = {
        **processed.parts,
        "test_prompts": processed.prompts,
        "preferences": processed.preferences,
        "calibration": processed.calibration,
    }
    contents = {f"{part}.jsonl": jsonl_bytes(records) for part, records in rows.items()}
    for file, content in contents.items():
        write_bytes(out / file, content)
    manifest = {
        "set": name,
        "counts": counts,
        "files": {file: seal_of(content) for file, content in contents.items()},
        "config": config.model_dump(mode="json"),
        **{f"n_{part}": len(records) for part, records in rows.items()},
        "n_preference_candidates": processed.n_candidates,
        "missing": missing,
        "embedding_model": config.clean.embedding_model,
        "toxicity_model": config.filter.toxicity_model,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(out / "manifest.json", manifest)


if __name__ == "__main__":
    run(main)
