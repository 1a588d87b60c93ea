"""`make data` on datatrove: the same pairs as in one process, whatever happens in between."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lib.base.seals import checked
from lib.base.settings import DataConfig
from lib.data.sources import Row
from lib.scale.reading import conversation_of, usable
from lib.scale.samples import write_set
from lib.scale.shards import Router, Work
from tests.items import stage

ROOT = Path(__file__).parents[2]
SITE = ROOT / ".venv" / "scale"
needs_datatrove = pytest.mark.skipif(
    not (SITE / "datatrove").is_dir() and importlib.util.find_spec("datatrove") is None,
    reason="no datatrove in .venv/scale: `make .venv/scale/stamp` brings it",
)
AT = datetime(2026, 3, 1, tzinfo=UTC)
INTERIM = ("pairs", "tweets", "filtered", "candidates", "clean")
FILES = (
    *(f"interim/{name}.jsonl" for name in INTERIM),
    *(f"interim/{name}.rejected.jsonl" for name in ("pairs", "filtered", "clean", "split")),
    *(f"processed/{name}.jsonl" for name in ("train", "val", "test", "test_prompts")),
    *("processed/preferences.jsonl", "processed/calibration.jsonl"),
)
# Shards of some hundred rows, so that a small set has several.
SCALE = "import lib.scale.build as b; b.SHARD_BYTES = 180_000; import scripts.scale as s; s.run(s.main)"


def environment(**more):
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{SITE}", "OMP_NUM_THREADS": "1", **more}


def scale(folder, *arguments, name="bench", **more):
    """`python -m scripts.scale` in small shards, started."""
    command = [sys.executable, "-c", SCALE, "--config", f"configs/data-{name}.yaml", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment(**more), start_new_session=True, **pipes)


def finished(process):
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors[-3000:]
    return output


def one_process(folder):
    for step in ("pair", "filter", "clean", "split"):
        command = [sys.executable, "-m", f"scripts.{step}", "--config", "configs/data-bench.yaml"]
        subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True)


def rows(folder, file):
    return [json.loads(line) for line in (folder / "data/bench" / file).open()]


def contents(folder):
    return {file: (folder / "data/bench" / file).read_bytes() for file in FILES}


RULES = """collect: {source: files, target_pairs: 100, min_pairs: 50, max_pairs: 150}
filter:
  {toxicity_model: none, reply_likes: [0, 1000], promotion: reject, filler: reject,
   max_replies_per_author: 4, max_replies_per_tweet: 6}
clean: {embedding_model: char-ngrams, similarity_threshold: 0.99}
review: optional
"""


def ruled_set(folder):
    """A set in which every rule about the whole set has something to do, across the shards."""
    write_set(folder, 1000)
    (folder / "configs/data-bench.yaml").write_text(RULES)
    raw = folder / "data/bench/raw"
    posts = [json.loads(line) for line in (raw / "items-0000.jsonl").open()]
    replies = [post for post in posts if "inReplyToId" in post]
    for number, post in enumerate(replies[::15]):
        post["author"]["userName"] = "Busy" if number % 2 else "@busy"
    for number, post in enumerate(replies[1::80]):
        post["author"]["userName"] = "botty"
        post["fullText"] = f"Your profile deserves a lot more readers than it has today, number {number}"
    for post in replies[2::60]:
        post["fullText"] = f"Use my code SAVE20 and order now, {post['fullText']}"
    for post in replies[3::60]:
        post["fullText"] = "Congratulations, this is so awesome and true, love it"
    for post in replies[4::90]:
        post["inReplyToId"] = post["conversationId"] = "17"
    # A spreadsheet's ids, in two conversations per shard or fewer: no shard sees that the file is spoiled.
    rounded = [{**post, "id": f"{post['id'][:-4]}0000", "note": "mine"} for post in replies[5::100]]
    (raw / "items-0000.jsonl").write_text("".join(json.dumps(post) + "\n" for post in posts))
    (raw / "rounded.jsonl").write_text("".join(json.dumps(post) + "\n" for post in rounded))
    for path in raw.iterdir():
        os.utime(path, (1_772_000_000, 1_772_000_000))


def raw_items(folder):
    """The same items and times in every folder: times go into the pairs (collected_at)."""
    write_set(folder, 1000)
    for path in (folder / "data/bench/raw").iterdir():
        os.utime(path, (1_772_000_000, 1_772_000_000))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(in one process, on datatrove): two folders with the same raw items."""
    folders = [tmp_path_factory.mktemp(way) for way in ("one", "scaled")]
    for folder in folders:
        raw_items(folder)
    one_process(folders[0])
    finished(scale(folders[1], "--workers", "1"))
    return folders


@needs_datatrove
def test_both_ways_make_the_same_pairs_and_reject_the_same(built):
    for file in ("pairs", "tweets", "filtered", "candidates", "filtered.rejected"):
        one, scaled = (
            {json.dumps(row, sort_keys=True) for row in rows(folder, f"interim/{file}.jsonl")}
            for folder in built
        )
        assert one == scaled, file
        assert one


@needs_datatrove
def test_both_ways_keep_the_same_pairs_but_for_near_duplicates(built):
    kept = [{row["reply_id"] for row in rows(folder, "interim/clean.jsonl")} for folder in built]
    rejected = [
        {row["id"]: row["reason"] for row in rows(folder, "interim/clean.rejected.jsonl")} for folder in built
    ]
    for one, other in ((0, 1), (1, 0)):
        assert {rejected[other][reply_id] for reply_id in kept[one] - kept[other]} <= {"near_duplicate"}
        assert {"exact_duplicate", "near_duplicate"} <= set(rejected[one].values())
    assert len(kept[0] ^ kept[1]) <= len(kept[0]) / 100


@needs_datatrove
def test_both_ways_split_alike_and_every_file_is_sealed_and_no_work_is_left(built):
    for part in ("train", "val", "test"):
        one, scaled = (
            {row["reply_id"] for row in rows(folder, f"processed/{part}.jsonl")} for folder in built
        )
        assert len(one ^ scaled) <= len(one) / 50 and one
    counts = [json.loads((folder / "data/bench/processed/manifest.json").read_text()) for folder in built]
    assert counts[0]["counts"]["pair"] == counts[1]["counts"]["pair"]
    assert counts[0]["counts"]["filter"] == counts[1]["counts"]["filter"]
    assert set(counts[0]) <= set(counts[1])
    for file in FILES:
        assert checked(built[1] / "data/bench" / file).is_file()
    assert not (built[1] / "data/bench/interim/scale").exists()


@needs_datatrove
def test_both_ways_get_the_same_report(built):
    funnels = []
    for folder in built:
        assert stage(folder, "data_report", "configs/data-bench.yaml").returncode == 0
        page = (folder / "data/bench/report.html").read_text()
        funnels.append(re.findall(r"kept [\d,]+ of [\d,]+", page))
    assert len(funnels[0]) == len(funnels[1]) >= 2 and funnels[0][0] == funnels[1][0]


@needs_datatrove
def test_no_text_of_a_preference_to_learn_from_is_measured_with(built):
    preferences = rows(built[1], "processed/preferences.jsonl")
    learned = {row[side] for row in preferences for side in ("chosen", "rejected")}
    assert learned and not learned & {row["reply"] for row in rows(built[1], "processed/test.jsonl")}


@needs_datatrove
@pytest.mark.slow
def test_both_ways_apply_every_rule_about_the_whole_set_alike(tmp_path):
    folders = [tmp_path / way for way in ("one", "scaled")]
    for folder in folders:
        folder.mkdir()
        ruled_set(folder)
    one_process(folders[0])
    process = scale(folders[1], "--workers", "1")
    output, progress = process.communicate(timeout=400)
    assert process.returncode == 0, progress[-3000:]
    assert int(re.search(r"(?m)^pairs: (\d+) of", progress)[1]) >= 3
    reasons = set()
    for file in FILES:
        one, scaled = (sorted(json.dumps(row) for row in rows(folder, file)) for folder in folders)
        assert one == scaled, file
        reasons |= {json.loads(row).get("reason") for row in one}
    assert {"bot_like", "replies_per_author", "replies_per_tweet", "promotion", "filler"} <= reasons
    assert {"bad_id", "max_pairs"} <= reasons
    missing = [(folder / "data/bench/interim/missing_tweets.txt").read_text() for folder in folders]
    assert missing[0] == missing[1] == "https://x.com/i/status/17\n"
    assert "no row of rounded.jsonl is used" in output


@needs_datatrove
def test_a_file_of_another_shape_is_refused_as_in_one_process(tmp_path):
    write_set(tmp_path, 20)
    (tmp_path / "data/bench/raw/odd.jsonl").write_text('{"colour": "red"}\n{"colour": "blue"}\n')
    assert "raw/odd.jsonl: " in refused(tmp_path, "--workers", "1")


@needs_datatrove
def test_two_files_of_one_name_are_refused_before_any_work(tmp_path):
    write_set(tmp_path, 20)
    (tmp_path / "items-0000.jsonl").write_text("{}\n")
    config = tmp_path / "configs/data-bench.yaml"
    config.write_text(config.read_text().replace("source: files", "source: files, files: [items-0000.jsonl]"))
    assert "collect.files" in refused(tmp_path)


@needs_datatrove
@pytest.mark.slow
def test_killed_in_the_middle_the_same_command_goes_on_and_nothing_survives_the_kill(built, tmp_path):
    step = "replies-buckets"
    raw_items(tmp_path)
    process = scale(tmp_path, "--workers", "2")
    done = tmp_path / "data/bench/interim/scale/logs" / step / "completions"
    wait_for(lambda: done.is_dir() and any(done.iterdir()), process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: not processes_of(process.pid))
    again = scale(tmp_path, "--workers", "1")
    progress = again.communicate(timeout=400)[1]
    assert again.returncode == 0, progress[-3000:]
    assert "rows: 0 of 1 tasks to do" in progress
    n_left, n_tasks = re.search(rf"(?m)^{step}: (\d+) of (\d+) tasks to do", progress).groups()
    assert int(n_left) < int(n_tasks)
    assert contents(tmp_path) == contents(built[1])


@needs_datatrove
@pytest.mark.slow
def test_a_worker_that_the_system_killed_ends_the_run_with_a_sentence(tmp_path):
    raw_items(tmp_path)
    process = scale(tmp_path, "--workers", "2")
    log = tmp_path / "data/bench/interim/scale/logs/filter/logs/task_00000.log"
    wait_for(lambda: log.is_file() and workers_of(process.pid), process)
    os.kill(workers_of(process.pid)[0], signal.SIGKILL)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 1 and "out of memory?" in errors and "Traceback" not in errors
    wait_for(lambda: not processes_of(process.pid))


def workers_of(group):
    """Children of datatrove's fork server."""
    command = ["ps", "-axww", "-o", "pid=,ppid=,pgid=,args="]
    listed = subprocess.run(command, capture_output=True, text=True).stdout
    found = [line.split(None, 3) for line in listed.splitlines()]
    servers = {pid for pid, _, pgid, args in found if pgid == str(group) and "forkserver" in args}
    return [int(pid) for pid, ppid, _, _ in found if ppid in servers]


def wait_for(happened, process=None):
    for _ in range(6000):
        if happened():
            return
        assert process is None or process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.02)
    raise AssertionError("it did not happen within two minutes")


def processes_of(group):
    listed = subprocess.run(["ps", "-axo", "pgid=,stat="], capture_output=True, text=True).stdout
    return [line for line in listed.splitlines() if line.split()[0] == str(group) and "Z" not in line]


# --- other machines ----------------------------------------------------------------------------------

# What sbatch --wait does: it runs the script once per number of the array, and ends with the worst status.
SBATCH = r"""#!/bin/bash
script="${@: -1}"
last=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\).*/\1/p' "$script")
grep -q '^#SBATCH --wait$' "$script" || exit 9
sed -n 's/^#SBATCH --\(job-name\|partition\)=//p' "$script" | paste -s -d ' ' >> "$JOBS"
for n in $(seq 0 "$last"); do
  export SLURM_ARRAY_TASK_ID="$n" SLURM_NODELIST=here
  env -u PYTHONPATH bash "$script" >> "$JOBS.log" 2>&1 || exit 1
done
echo "Submitted batch job 17"
"""


def slurm(folder):
    """PATH with sbatch, srun and scontrol of a cluster that is this machine."""
    (folder / "bin").mkdir()
    srun = '#!/bin/bash\nwhile [[ "$1" == -* ]]; do [ "$1" = -n ] && shift; shift; done\nexec "$@"\n'
    launch = '#!/bin/sh\nexec {} -m datatrove.tools.{} "$@"\n'
    tools = {name: launch.format(sys.executable, name) for name in ("launch_pickled_pipeline", "merge_stats")}
    scripts = {"sbatch": SBATCH, "srun": srun, "scontrol": "#!/bin/sh\necho here\n", **tools}
    for name, text in scripts.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    return f"{folder / 'bin'}:{os.environ['PATH']}"


@needs_datatrove
@pytest.mark.slow
def test_on_slurm_every_stage_is_an_array_of_jobs_and_the_result_is_the_same(built, tmp_path):
    raw_items(tmp_path)
    jobs = tmp_path / "jobs"
    arguments = ("--executor", "slurm", "--slurm", "partition=cpu time=1:00:00", "--workers", "2")
    finished(scale(tmp_path, *arguments, PATH=slurm(tmp_path), JOBS=str(jobs)))
    assert contents(tmp_path) == contents(built[1])
    assert {"cpu bench-rows", "cpu bench-pairs", "cpu bench-split"} <= set(jobs.read_text().splitlines())


# --- refusals ----------------------------------------------------------------------------------------


def refused(folder, *arguments):
    process = scale(folder, *arguments)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and "Traceback" not in errors
    return errors


@needs_datatrove
def test_a_set_that_people_must_review_is_refused_before_any_work(tmp_path):
    write_set(tmp_path, 20)
    config = tmp_path / "configs/data-bench.yaml"
    config.write_text(config.read_text().replace("optional", "required"))
    assert "`review: optional`" in refused(tmp_path)


@needs_datatrove
def test_slurm_without_a_partition_or_time_is_refused(tmp_path):
    write_set(tmp_path, 20)
    assert 'SLURM="partition=' in refused(tmp_path, "--executor", "slurm", "--slurm", "time=1:00:00")


@needs_datatrove
def test_a_set_of_which_nothing_is_left_says_where_the_reasons_are(tmp_path):
    write_set(tmp_path, 20)
    config = tmp_path / "configs/data-bench.yaml"
    config.write_text(config.read_text().replace("none}", "none, tweet_likes: [1, 2]}"))
    assert "filtered.rejected.jsonl says why" in refused(tmp_path, "--workers", "1")
    reasons = {row["reason"] for row in rows(tmp_path, "interim/filtered.rejected.jsonl")}
    assert "tweet_likes" in reasons


def test_without_datatrove_a_sentence_says_what_brings_it(tmp_path):
    if importlib.util.find_spec("datatrove"):
        pytest.skip("datatrove is among this interpreter's own packages")
    write_set(tmp_path, 20)
    command = [sys.executable, "-m", "scripts.scale", "--config", "configs/data-bench.yaml"]
    clean = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True)
    assert done.returncode == 1 and "ENGINE=datatrove" in done.stderr and "Traceback" not in done.stderr


# --- shards ------------------------------------------------------------------------------------------


def item(id, **rest):
    author = {"userName": "ann", "followers": 900}
    counts = {"likeCount": 9, "retweetCount": 1, "createdAt": "2026-03-01T10:00:00Z"}
    return {"id": id, "text": "some words to answer", "author": author, **counts, **rest}


OWN_PAIR = {
    "tweet_id": 7,
    "tweet": "words",
    "tweet_author": "ann",
    "tweet_likes": 300,
    "tweet_retweets": 20,
    "tweet_created_at": "2026-03-01T10:00:00Z",
    "reply_id": "8",
    "reply": "more words",
    "reply_author": "bob",
    "reply_author_followers": 900,
    "reply_likes": 9,
    "reply_retweets": 1,
    "reply_created_at": "2026-03-01T11:00:00Z",
}


@pytest.mark.parametrize(
    "value",
    [
        item("7"),
        item("7", conversationId="7"),
        item("8", inReplyToId="7"),
        item("8", inReplyToId="7", conversationId="7"),
        item("9", inReplyToId="8", conversationId="7"),
        OWN_PAIR,
    ],
)
def test_a_reply_goes_where_its_tweet_goes(value):
    row = Row("items.jsonl:1", AT, value)
    assert conversation_of(row, usable(row, lambda *names: False)) == "7"


def test_a_row_that_cannot_be_used_goes_somewhere_and_is_counted_there():
    row = Row("items.jsonl:3", AT, {"id": "1"})
    assert conversation_of(row, usable(row, lambda *names: False)) == "items.jsonl:3"


def test_a_task_done_again_leaves_nothing_of_its_first_attempt(tmp_path):
    work = Work(tmp_path, "x", DataConfig.model_validate({"collect": {"source": "files"}}), (), 3)
    for n_rows in (9, 2):
        with Router(work, "rows", 0) as out:
            for number in range(n_rows):
                out.add(str(number), {"n": number, "half": "\ud83d"})
    found = [row for shard in range(3) for row in work.rows("rows", shard)]
    assert sorted(row["n"] for row in found) == [0, 1] and found[0]["half"] == "\ud83d"
