import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lib.base.errors import UserError
from lib.base.files import (
    append_line,
    content_hash,
    json_bytes,
    lock,
    read_dicts,
    read_json,
    read_jsonl,
    to_json,
    write_jsonl,
    write_text,
)
from lib.base.ledger import Ledger
from lib.base.schema import Preference

ROOT = Path(__file__).parents[2]


def test_a_write_that_fails_leaves_the_old_file_and_no_partial_one(tmp_path):
    path = tmp_path / "out.jsonl"
    write_text(path, "old")
    code = (
        "import resource, sys; from pathlib import Path; from lib.base.files import write_text\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"write_text(Path({str(path)!r}), 'x' * 100_000)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "Free disk space" in done.stderr
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]


def test_an_append_after_a_torn_line_loses_the_torn_line_and_nothing_else(tmp_path):
    path = tmp_path / "log.jsonl"
    append_line(path, {"n": 1})
    append_line(path, {"n": 2})
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(whole)):  # the writer is killed at every byte of the last record
        path.write_bytes(whole[:cut])
        append_line(path, {"n": 3})
        assert [row["n"] for row in read_dicts(path)] == [1, 3], f"cut at byte {cut}"


def test_a_torn_line_is_cut_off_however_long_it_is(tmp_path):
    path = tmp_path / "log.jsonl"
    for n_torn in (65_535, 65_536, 65_537, 200_000):
        path.write_bytes(b'{"n": 1}\n' + b"x" * n_torn)
        append_line(path, {"n": 2})
        assert path.read_bytes() == b'{"n": 1}\n{"n": 2}\n'
    path.write_bytes(b"x" * 70_000)
    append_line(path, {"n": 2})
    assert path.read_bytes() == b'{"n": 2}\n'


@pytest.fixture
def calls(monkeypatch):
    """What the system was asked to do, in order."""
    seen = []

    def watch(module, name, says):
        real = getattr(module, name)

        def watched(*args, **kwargs):
            seen.append(says(*args))
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, watched)

    watch(os, "fsync", lambda fd: f"sync {'folder' if stat.S_ISDIR(os.fstat(fd).st_mode) else 'file'}")
    watch(os, "replace", lambda *_: "rename")
    watch(os, "write", lambda fd, line: f"write {line.decode()}")
    watch(os, "ftruncate", lambda *_: "cut")
    watch(fcntl, "flock", lambda fd, how: {fcntl.LOCK_EX: "lock"}.get(how, "other lock"))
    return seen


def test_a_written_file_is_on_the_disk_before_it_takes_its_name_and_so_is_the_name(tmp_path, calls):
    write_text(tmp_path / "a.txt", "text")
    assert calls == ["lock", "sync file", "rename", "sync folder"]


def test_an_append_mends_and_writes_under_the_lock_and_is_on_the_disk_when_it_returns(tmp_path, calls):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"torn")
    append_line(path, {})
    assert calls == ["lock", "cut", "write {}\n", "sync file"]


@pytest.mark.parametrize("fault", ["half is written", "the disk is full", "the disk fails"])
def test_an_append_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch, fault):
    path = tmp_path / "log.jsonl"
    append_line(path, {"n": 1})
    before, write = path.read_bytes(), os.write

    def half(handle, line):
        n_written = write(handle, line[: len(line) // 2])
        if fault == "the disk is full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return n_written

    def no_sync(handle):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, *(("fsync", no_sync) if fault == "the disk fails" else ("write", half)))
    with pytest.raises(UserError, match=r"log\.jsonl: cannot be written"):
        append_line(path, {"n": 2})
    assert path.read_bytes() == before


def test_what_is_appended_to_is_readable_by_its_owner_only(tmp_path):
    Ledger(tmp_path / "ledger.jsonl").append("intent", "k", "collect")
    assert stat.S_IMODE((tmp_path / "ledger.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_no_number_is_written_that_json_does_not_know(number):
    for write in (to_json, json_bytes):
        with pytest.raises(ValueError, match="JSON compliant"):
            write({"n": [number]})


def test_a_torn_last_line_of_an_appended_file_is_not_read(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2}')
    assert read_dicts(path, torn_tail=True) == [{"n": 1}]
    assert read_dicts(path) == [{"n": 1}, {"n": 2}]  # written as a whole: an editor left the newline out


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path):
    path = tmp_path / "a.jsonl"
    write_jsonl(path, [{"text": "one\u2028two\x85three"}])
    assert read_dicts(path) == [{"text": "one\u2028two\x85three"}]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"tweet_id": ', "not valid JSON"),
        (b'{"tweet_id": NaN}', "NaN is not a number"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[1]", "should be an object"),
        (b'{"tweet_id": 1}', "tweet_id"),
        (b'{"n": ' + b"9" * 5000 + b"}", "not valid JSON"),
    ],
)
def test_a_malformed_line_of_an_own_file_is_named_by_file_and_line(tmp_path, line, says):
    path = tmp_path / "preferences.jsonl"
    path.write_bytes(b"\n" + line + b"\n")
    with pytest.raises(UserError, match=r"preferences\.jsonl:2: ") as error:
        read_jsonl(path, Preference)
    assert says in str(error.value)


def test_a_missing_file_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_jsonl(tmp_path / "pairs.jsonl", Preference)


def test_equal_content_has_an_equal_hash_and_parts_do_not_run_together(tmp_path):
    (tmp_path / "a").write_bytes(b"same")
    (tmp_path / "b").write_bytes(b"same")
    assert content_hash(tmp_path / "a", {"k": 1}) == content_hash(tmp_path / "b", {"k": 1})
    assert content_hash("ab", "c") != content_hash("a", "bc")
    assert content_hash(b"ab", b"c") != content_hash(b"a", b"bc")
    for name, content in (("ab", b"ab"), ("c", b"c"), ("a", b"a"), ("bc", b"bc")):
        (tmp_path / name).write_bytes(content)
    ab, c, a, bc = (tmp_path / name for name in ("ab", "c", "a", "bc"))
    assert content_hash(ab, c) != content_hash(a, bc)


def test_a_hash_ignores_the_order_of_keys_and_sees_the_last_byte_of_a_large_file(tmp_path):
    assert content_hash({"a": 1, "b": {"c": 2, "d": 3}}) == content_hash({"b": {"d": 3, "c": 2}, "a": 1})
    assert content_hash(["a", "b"]) != content_hash(["b", "a"])
    for name in "ab":
        (tmp_path / name).write_bytes(b"x" * 3 * 2**20 + name.encode())
    assert content_hash(tmp_path / "a") != content_hash(tmp_path / "b")


def test_a_lock_is_refused_while_held_and_free_once_its_holder_is_killed(tmp_path):
    path = tmp_path / "run.lock"
    code = (
        f"from lib.base.files import lock; from pathlib import Path\nwith lock(Path({str(path)!r})): "
        "print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"process {holder.pid}"), lock(path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with lock(path):
        assert path.read_text() == str(os.getpid())


def test_four_processes_on_one_ledger_lose_no_entry_and_break_no_line(tmp_path):
    path = tmp_path / "ledger.jsonl"
    code = (
        "import sys; from pathlib import Path; from lib.base.ledger import Ledger\n"
        f"for n in range(25): Ledger(Path({str(path)!r})).append('done', f'{{sys.argv[1]}}-{{n}}', 'judge', "
        "usd=0.01)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(k)], cwd=ROOT) for k in range(4)]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    assert len(Ledger(path).latest()) == 100
    assert Ledger(path).spent_usd("judge") == pytest.approx(1.0)
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_unit_is_paid_once_however_often_it_is_written(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append("intent", "k", "collect")
    ledger.append("started", "k", "collect", id="run1")
    ledger.append("done", "k", "collect", id="run1", usd=0.4)
    ledger.append("done", "k", "collect", id="run1", usd=0.4)
    assert ledger.spent_usd() == 0.4
    assert ledger.latest()["k"].id == "run1"


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/new/a\.txt: cannot be written: .*/file is no folder"):
        write_text(tmp_path / "file" / "new" / "a.txt", "x")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"a": 1, "a": 2}', "the key 'a' is given twice"),
        (b'{"a": {"b": 1, "b": 1}}', "the key 'b' is given twice"),
        (b'{"a": 1e999}', "1e999 is too large"),
        (b'{"a": -Infinity}', "-Infinity is not a number"),
        (b'{"a": ' + b"1" * 400 + b"}", "an integer of 400 digits"),
        (b'{"a": ' + b"1" * 5000 + b"}", "an integer of 5,000 digits"),
        (b'{"a": "\\uD83d"}', "half of a surrogate pair"),
        (b'{"a": "x\0"}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "not valid JSON"),
        ('{"a": 1}'.encode("utf-16"), "not valid JSON"),
    ],
)
def test_own_json_that_cannot_be_meant_is_a_sentence_wherever_it_is_read(tmp_path, line, says):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1}\n' + line + b"\n")
    with pytest.raises(UserError) as error:
        read_dicts(path)
    assert str(error.value).startswith(f"{path}:2: not valid JSON")
    assert says in str(error.value)
    path.write_bytes(line)
    with pytest.raises(UserError) as error:
        read_json(path)
    assert says in str(error.value)


def test_a_whole_surrogate_pair_is_one_character(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": "\\ud83d\\ude00"}')
    assert read_json(tmp_path / "a.json") == {"a": "\U0001f600"}


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_without_locks_is_a_sentence_before_anything_is_written(tmp_path, monkeypatch, number):
    def refuse(handle, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    path = tmp_path / "ledger.jsonl"
    with pytest.raises(UserError, match=r"ledger\.jsonl: this file system cannot lock files"):
        append_line(path, {"n": 1})
    assert path.read_bytes() == b""
    with (
        pytest.raises(UserError, match=r"run\.lock: this file system cannot lock files"),
        lock(tmp_path / "run.lock"),
    ):
        pass


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "inside a file"])
def test_what_cannot_be_read_or_written_as_a_file_is_a_sentence(tmp_path, kind):
    path = tmp_path / "a" / "b.jsonl"
    if kind == "inside a file":
        path.parent.write_text("")
    else:
        path.parent.mkdir()
        {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "link": lambda: path.symlink_to("no/where")}[
            kind
        ]()
    for act in (
        lambda: append_line(path, {}),
        lambda: read_dicts(path),
        lambda: read_json(path),
        lambda: lock(path).__enter__(),
    ):
        with pytest.raises(UserError, match=r"b\.jsonl"):
            act()
    assert not (tmp_path / "a/no").exists()


def test_a_folder_that_nobody_may_write_to_is_a_sentence(tmp_path):
    tmp_path.chmod(0o500)
    code = (
        "import os; from pathlib import Path; from lib.base.files import *\n"
        "if os.geteuid() == 0: os.seteuid(65534)  # root may write anywhere\n"
        f"path = Path({str(tmp_path)!r}) / 'a'\n"
        "for act in (lambda: append_line(path, {}), lambda: write_text(path, ''), lambda: "
        "lock(path).__enter__()):\n"
        "    try: act()\n"
        "    except UserError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count("/a: cannot be written (Permission denied)") == 3, done.stderr
