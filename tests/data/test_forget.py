import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lib.base.errors import UserError
from lib.base.files import read_dicts, read_json, write_bytes, write_json, write_jsonl, write_text
from lib.base.ledger import Ledger
from lib.base.seals import seal_of
from lib.data.forget import Forgotten, forget, preview, target_of
from lib.data.raw import raw_files, read_raw

ROOT = Path(__file__).parents[2]
SECRET = "the reply that somebody wants to be gone"


def item(post, author, text, **more):
    return {"type": "tweet", "id": post, "text": text, "author": {"userName": author}, **more}


@pytest.fixture
def project(tmp_path):
    data, run = tmp_path / "data/main", tmp_path / "adapters/v1"
    write_jsonl(
        data / "raw/a.jsonl",
        [
            item("100", "ann", "a tweet that stays where it is"),
            item("201", "Bob", f"@ann {SECRET}", inReplyToId="100"),
            item("202", "cat", "@ann another reply, by somebody else", inReplyToId="100"),
            item("203", "dan", "@ann @bob I agree with bob's idea", inReplyToId="100"),
        ],
    )
    with (data / "raw/a.jsonl").open("ab") as handle:
        handle.write(b'{"torn": "by @bob\n')
    write_json(data / "raw/a.meta.json", {"query": "conversation_id:201", "run_id": "R1", "n_items": 4})
    pairs = [
        {
            "tweet_id": "100",
            "tweet": "a tweet that stays where it is",
            "tweet_author": "ann",
            "reply_id": "201",
            "reply": SECRET,
            "reply_author": "Bob",
        },
        {
            "tweet_id": "100",
            "tweet": "a tweet that stays where it is",
            "tweet_author": "ann",
            "reply_id": "202",
            "reply": "other",
            "reply_author": "cat",
        },
    ]
    write_jsonl(data / "interim/clean.jsonl", pairs)
    write_jsonl(data / "processed/train.jsonl", pairs)
    write_jsonl(data / "processed/test_prompts.jsonl", [{"tweet_id": "100", "human_reply": SECRET}])
    write_json(
        data / "processed/manifest.json",
        {"files": {"train.jsonl": seal_of((data / "processed/train.jsonl").read_bytes())}},
    )
    write_text(data / "report.html", f"<p>{SECRET}</p>")
    write_jsonl(
        data / "review/decisions.jsonl",
        [{"id": "201", "decision": "keep"}, {"id": "202", "decision": "keep"}],
    )
    Ledger(data / "ledger.jsonl").append(
        "done", "k1", "collect", id="R1", usd=0.5, note={"query": "conversation_id:201"}
    )
    write_json(
        run / "manifest.json",
        {
            "config": {"data": "main"},
            "samples": [{"tweet": "x", "reply": SECRET}, {"tweet": "y", "reply": "z"}],
        },
    )
    write_jsonl(
        run / "eval/claude/replies.jsonl",
        [{"tweet_id": "100", "system": "human", "reply": SECRET}, {"tweet_id": "100", "reply": "ok"}],
    )
    write_text(run / "eval/claude/report.html", "<p>the reply that somebody wants to be gone</p>")
    return tmp_path


def everything(root):
    return {path: path.read_text(errors="replace") for path in root.rglob("*") if path.is_file()}


def test_a_forgotten_reply_is_in_no_file_any_more_and_all_else_is(project):
    outcome = forget(project, target_of("201", None))
    for path, text in everything(project).items():
        # As a word: a time or a hash may hold these digits.
        assert not re.search(r"\b201\b", text) or path.name == "forgotten.json", path
        assert SECRET not in text, path
    assert [
        row["id"]
        for row in map(json.loads, (project / "data/main/raw/a.jsonl").read_bytes().split(b"\n")[:3])
    ] == [
        "100",
        "202",
        "203",
    ]
    assert [row["reply_id"] for row in read_dicts(project / "data/main/processed/train.jsonl")] == ["202"]
    assert read_json(project / "data/main/processed/manifest.json")["files"]["train.jsonl"]["rows"] == 1
    assert outcome.trained_on_it == ["v1"]
    assert not (project / "adapters/v1/eval/claude/report.html").exists()


def test_what_was_paid_stays_in_the_ledger(project):
    forget(project, target_of("201", None))
    assert Ledger(project / "data/main/ledger.jsonl").spent_usd() == 0.5


def test_a_forgotten_author_is_gone_with_what_mentions_him(project):
    forget(project, target_of(None, "@bob"))
    texts = everything(project)
    assert not any("@bob" in text.lower() or SECRET in text for text in texts.values())
    rows = (project / "data/main/raw/a.jsonl").read_text().splitlines()
    assert [json.loads(row)["id"] for row in rows] == ["100", "202"]


def test_a_name_inside_another_word_is_somebody_else(tmp_path):
    path = tmp_path / "data/x/raw/a.jsonl"
    write_jsonl(path, [item("1", "bobby", "hi @bobby and bob"), item("12", "ann", "x")])
    forget(tmp_path, target_of(None, "bob"))
    forget(tmp_path, target_of("2", None))
    assert len(read_dicts(path)) == 2


def test_only_a_salted_hash_stays(project):
    forget(project, target_of(None, "Bob"))
    stored = (project / "data/forgotten.json").read_text()
    assert "bob" not in stored.lower()
    forgotten = Forgotten.load(project / "data/forgotten.json")
    assert forgotten.holds("@BOB")
    assert not forgotten.holds("ann", None)


def test_killed_after_the_sources_went_it_still_clears_what_was_derived(project):
    write_json(project / "data/forgetting.json", {"name": "201", "texts": [SECRET]})
    (project / "data/main/raw/a.jsonl").unlink()
    for name in ("interim/clean.jsonl", "processed/train.jsonl"):
        (project / "data/main" / name).unlink()
    forget(project, target_of("201", None))
    assert not any(SECRET in text for text in everything(project).values())


@pytest.mark.parametrize("n_written", range(1, 9))
def test_killed_at_any_file_the_same_command_finishes_the_work(project, monkeypatch, n_written):
    written = []

    def killed(path, content):
        written.append(path)
        if len(written) == n_written:
            raise KeyboardInterrupt
        write_bytes(path, content)

    with monkeypatch.context() as patch:
        patch.setattr("lib.data.forget.write_bytes", killed)
        with contextlib.suppress(KeyboardInterrupt):
            forget(project, target_of("201", None))
    forget(project, target_of("201", None))
    left = everything(project)
    assert not any(SECRET in text for text in left.values())
    assert not any(path.name == "forgetting.json" for path in left)


@pytest.mark.parametrize("name", ["train", "val", "preferences", "test", "test_prompts"])
def test_an_adapter_is_named_where_it_learned_or_validated_on_what_is_forgotten(tmp_path, name):
    write_jsonl(tmp_path / f"data/main/processed/{name}.jsonl", [{"tweet_id": "201", "tweet": SECRET}])
    write_json(tmp_path / "adapters/v1/manifest.json", {"config": {"data": "main"}})
    write_json(tmp_path / "adapters/v2/manifest.json", {"config": {"data": "other"}})
    seen = ["v1"] if name in ("train", "val", "preferences") else []
    assert preview(tmp_path, target_of("201", None)).trained_on_it == seen
    assert forget(tmp_path, target_of("201", None)).trained_on_it == seen


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "pytorch_model.bin", "optimizer.pt", "rng_state.pth"]
)
def test_weights_stay_whatever_their_bytes_spell(project, name):
    path = project / "adapters/v1" / name
    path.write_bytes(f"\0{SECRET} @bob 201\0".encode())
    for target in (target_of("201", None), target_of(None, "bob")):
        forget(project, target)
    assert path.read_bytes() == f"\0{SECRET} @bob 201\0".encode()


def test_two_projects_have_no_hash_in_common():
    lists = [Forgotten(salt) for salt in ("one", "other")]
    for listed in lists:
        listed.add("@Bob")
        assert listed.holds("bob") and not listed.holds("bobby")
    assert lists[0].hashes.isdisjoint(lists[1].hashes)


@pytest.mark.parametrize(
    ("post", "handle"), [(None, None), ("1", "a"), ("../../etc/passwd", None), (None, "a b")]
)
def test_anything_but_one_id_or_one_handle_is_refused(post, handle):
    with pytest.raises(UserError, match=r"ID=|HANDLE="):
        target_of(post, handle)


def test_the_command_says_what_it_did(project):
    done = subprocess.run(
        [sys.executable, "-m", "scripts.forget", "--id", "201"],
        cwd=project,
        env={"PYTHONPATH": str(ROOT), "YES": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "v1: trained on data that held it, and cannot unlearn it" in done.stdout
    assert "201 is gone from" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("next: make data DATA=")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_shows_what_would_go_and_without_a_yes_changes_nothing(project):
    before = contents(project)
    expected = preview(project, target_of("201", None))
    assert contents(project) == before
    done = subprocess.run(
        [sys.executable, "-m", "scripts.forget", "--id", "201"],
        cwd=project,
        env={"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Forget 201 for good?" in done.stderr
    assert all(name in done.stdout for name in [*expected.removed, *expected.deleted])
    changed = {path.name for path, content in contents(project).items() if before.get(path) != content}
    assert changed <= {"forget.lock", "build.lock"}
    outcome = forget(project, target_of("201", None))
    assert (outcome.removed, outcome.deleted, outcome.trained_on_it) == (
        expected.removed,
        expected.deleted,
        expected.trained_on_it,
    )


def test_a_set_or_a_file_behind_a_link_is_searched_where_it_lies(project, tmp_path_factory):
    disk = tmp_path_factory.mktemp("disk")
    (project / "data/main").rename(disk / "main")
    (project / "data/main").symlink_to(disk / "main")
    (project / "data/main/again").symlink_to(project / "data")  # a loop
    (disk / "main/raw/a.jsonl").rename(disk / "items.jsonl")
    (disk / "main/raw/a.jsonl").symlink_to(disk / "items.jsonl")
    forget(project, target_of("201", None))
    assert SECRET not in "".join(
        path.read_text(errors="replace") for path in disk.rglob("*") if path.is_file()
    )
    assert (disk / "main/raw/a.jsonl").is_symlink()


def test_a_set_that_cannot_be_reached_is_not_called_searched(project):
    (project / "data/other").symlink_to("/not/mounted")
    with pytest.raises(UserError, match="data/other is a link to nothing, so nobody can look there"):
        forget(project, target_of("201", None))


def test_a_csv_that_cannot_be_parsed_is_searched_as_text(project):
    path = project / "data/main/raw/mine.csv"
    write_text(path, f'id,text\n1,"never closed\n201,{SECRET}\n')
    forget(project, target_of("201", None))
    assert path.read_text() == 'id,text\n1,"never closed\n'


OTHER = "a reply by somebody else that stays where it is"
PAGE = {"tweets": [item("201", "bob", SECRET), item("202", "cat", OTHER)]}
ARCHIVE = [{"tweet": {"id": "201", "full_text": SECRET}}, {"tweet": {"id": "202", "full_text": OTHER}}]
TABLE = f"id;text;author/userName\r\n201;{SECRET};bob\r\n202;{OTHER};cat\r\n"


@pytest.mark.parametrize("target", [("201", None), (None, "bob")])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.jsonl", json.dumps(PAGE)),
        ("page.json", json.dumps(PAGE)),
        ("lines.json", "\n".join(map(json.dumps, PAGE["tweets"]))),
        ("pretty.jsonl", json.dumps(PAGE["tweets"], indent=2)),
        ("array.jsonl", json.dumps(PAGE["tweets"])),
        ("NAMES.JSONL", "\n".join(map(json.dumps, PAGE["tweets"]))),
        ("bom.json", "\ufeff" + json.dumps(PAGE["tweets"])),
        ("export.txt", json.dumps(PAGE)),
        ("export", json.dumps(PAGE)),
        ("table.csv", f"sep=;\n{TABLE}"),
        ("german.csv", "\ufeff" + TABLE),
        ("table.tsv", TABLE.replace(";", "\t")),
    ],
)
def test_of_every_file_that_is_read_only_the_rows_go(tmp_path, name, content, target):
    path = tmp_path / "data/x/raw" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert forget(tmp_path, target_of(*target)).removed
    left = path.read_text()
    assert (SECRET in left, OTHER in left) == (False, True)
    (row,) = [row for row in read_raw(raw_files(path.parent)) if not row.problem]
    assert row.value["text"] == OTHER


def archive(folder):
    folder.mkdir(parents=True)
    for name, kind, value in (
        ("tweets.js", "tweets", ARCHIVE),
        ("account.js", "account", [{"account": {"username": "bob"}}]),
        ("follower.js", "follower", [{}] * 7),
    ):
        (folder / name).write_text(f"window.YTD.{kind}.part0 = {json.dumps(value)}\n")


def test_of_an_archive_one_tweet_goes_and_the_rest_can_still_be_read(tmp_path):
    archive(tmp_path / "data/x/raw")
    outcome = forget(tmp_path, target_of("201", None))
    assert (outcome.removed, outcome.deleted) == ({"data/x/raw/tweets.js": 1}, [])
    left = (tmp_path / "data/x/raw/tweets.js").read_text()
    assert left.startswith("window.YTD.tweets.part0 = [")
    (row,) = read_raw(raw_files(tmp_path / "data/x/raw"))
    assert (row.value["full_text"], row.value["user"]["username"]) == (OTHER, "bob")


def test_the_archive_of_a_forgotten_author_goes_as_a_whole_although_no_tweet_names_him(tmp_path):
    archive(tmp_path / "data/x/raw")
    community = {"account": [{"account": {"username": "bob"}}], "tweets": ARCHIVE}
    write_json(tmp_path / "data/x/raw/community.json", community)
    forget(tmp_path, target_of(None, "bob"))
    texts = "".join(everything(tmp_path).values())
    assert "bob" not in texts
    assert SECRET not in texts
    assert OTHER not in texts


def test_a_derived_line_goes_as_a_whole_whatever_it_lists(tmp_path):
    path = tmp_path / "data/x/processed/rows.jsonl"
    write_jsonl(path, [{"messages": [{"content": "to whom?"}, {"content": "ask @bob, he knows it all"}]}])
    forget(tmp_path, target_of(None, "bob"))
    assert path.read_text() == ""
