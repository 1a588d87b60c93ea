"""A data set built in shards: begun, gone on with, or begun anew where what it is made from has changed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import content_hash, lock, write_json
from lib.base.seals import manifest_in
from lib.base.settings import DataConfig
from lib.data.interim import building_lock
from lib.data.raw import ignored_files, raw_files
from lib.data.refusals import notes
from lib.scale.executors import Engine, run_stage
from lib.scale.gather import funnel, gather, missing_tweets
from lib.scale.reading import of_files, refuse_namesakes, refuse_unknown_files
from lib.scale.shards import SHARD_BYTES, Work
from lib.scale.steps import stages


def build(
    root: Path, name: str, config: DataConfig, engine: Engine, say: Callable[[str], None]
) -> tuple[dict[str, dict[str, Any]], list[str], list[str]]:
    """data/<name> from raw/ to processed/. Returns the funnel, what there is less of than wanted, and notes.

    say: takes a line of progress. Raises UserError where something can be mended; then the same call goes on.
    """
    if config.review == "required":
        raise UserError(
            "review: required does not go with ENGINE=datatrove: nobody looks at millions of pairs. "
            "Write `review: optional` into the data config, or leave ENGINE out."
        )
    data = root / "data" / name
    files = tuple(raw_files(data / "raw", config.collect.files))
    if not files:
        raise UserError(
            f"{data / 'raw'} holds nothing to read. Collect first (`make collect`), or put your data there."
        )
    refuse_namesakes(files)
    n_bytes = sum(file.path.stat().st_size for file in files)
    work = Work(root, name, config, files, n_shards=max(1, -(-n_bytes // SHARD_BYTES)))
    with lock(building_lock(work.data)):
        _begin(work)
        for stage in stages(work):
            run_stage(stage, work, engine, say)
            if stage.name == "rows":
                refuse_unknown_files(work)
        counts = funnel(work)
        missing = gather(work, counts)
        joined = of_files(work)
        joined.missing_tweets = missing_tweets(work)
        shutil.rmtree(work.folder)
    return counts, missing, [*ignored_files(data / "raw"), *notes(joined)]


def _begin(work: Work) -> None:
    """Keep what was done for the same inputs by the same code, and nothing else."""
    key = _key(work)
    if (manifest_in(work.folder / "key.json") or {}).get("key") != key:
        shutil.rmtree(work.folder, ignore_errors=True)
        write_json(work.folder / "key.json", {"key": key})


def _key(work: Work) -> str:
    """Hash of all that the result depends on. Raw files may be huge: size and time stand for them."""
    stats = [(str(file.path), file.path.stat(), str(file.collected_at)) for file in work.files]
    others = [work.root / "data" / "forgotten.json", work.data / "review" / "decisions.jsonl"]
    code = sorted(
        path for room in ("base", "data", "scale") for path in (work.root / "lib" / room).glob("*.py")
    )
    return content_hash(
        [(name, stat.st_size, stat.st_mtime_ns, collected_at) for name, stat, collected_at in stats],
        work.config,
        work.n_shards,
        *(path for path in (*others, *code) if path.is_file()),
    )
