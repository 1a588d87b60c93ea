"""Seals: a file is what its step wrote, or a sentence says what mends it."""

import json

import pytest

from lib.base import seals
from lib.base.errors import UserError
from lib.base.seals import checked, damage, missing_raw, reseal, seal_of, write_sealed

ROWS = [{"n": 1}, {"n": 2}, {"n": 3}]


@pytest.fixture
def sealed(tmp_path):
    """data/main/interim/clean.jsonl of three lines, and its seal."""
    (tmp_path / "data/main/raw").mkdir(parents=True)
    path = tmp_path / "data/main/interim/clean.jsonl"
    path.parent.mkdir()
    write_sealed(path, ROWS)
    return path


def files_in(path):
    return json.loads((path.parent / "manifest.json").read_text())["files"]


def test_a_seal_counts_lines_that_are_not_blank_and_knows_every_byte():
    content = b'{"n": 1}\n\n \r\n{"n": 2}\n'
    assert seal_of(content)["rows"] == 2
    assert seal_of(content)["sha256"] != seal_of(content.replace(b"1", b"3"))["sha256"]


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda content: content, ""),
        (lambda content: content.replace(b"2", b"4"), "was changed after it was written (another sha256)"),
        (lambda content: content + b"\n", "was changed after it was written"),
        (lambda content: content[: content.rindex(b"{")], "holds 2 lines, and 3 were written"),
        (lambda content: content * 2, "holds 6 lines, and 3 were written"),
        (lambda content: b"", "holds 0 lines, and 3 were written"),
    ],
)
def test_every_change_of_a_sealed_file_is_told_and_none_where_there_is_none(sealed, change, says):
    sealed.write_bytes(change(sealed.read_bytes()))
    assert damage(sealed).startswith(says) and bool(damage(sealed)) == bool(says)


def test_a_file_that_is_gone_is_damage_where_its_manifest_knows_it_and_none_elsewhere(sealed):
    sealed.unlink()
    assert damage(sealed) == f"does not exist, and {sealed.parent / 'manifest.json'} knows it"
    assert damage(sealed.with_name("own.jsonl")) == ""


def test_a_damaged_manifest_proves_nothing(sealed):
    (sealed.parent / "manifest.json").write_text('{"files": {')
    assert "cannot be checked" in damage(sealed)


def test_what_mends_a_damaged_file_is_made_to_look_outdated_and_named(sealed):
    target = sealed.with_name("pairs.jsonl")
    write_sealed(target, ROWS)
    write_sealed(sealed, ROWS, target=target)
    before = target.stat().st_mtime
    assert checked(sealed) == sealed and target.stat().st_mtime == before
    sealed.write_bytes(b"{}\n")
    with pytest.raises(UserError, match=r"clean\.jsonl holds 1 lines.*`make data DATA=main` builds it again"):
        checked(sealed)
    assert target.stat().st_mtime == seals.OUTDATED_S


def test_the_seal_is_written_before_the_file(sealed, monkeypatch):
    """Killed between the two, the file is older than what it is made from: the step runs again."""

    def killed(path, content):
        raise KeyboardInterrupt

    monkeypatch.setattr(seals, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        write_sealed(sealed, ROWS[:2])
    assert files_in(sealed)[sealed.name]["rows"] == 2
    assert damage(sealed) == "holds 3 lines, and 2 were written: it was cut or changed"


def test_other_seals_of_the_folder_stay(sealed):
    write_sealed(sealed.with_name("pairs.jsonl"), ROWS)
    assert set(files_in(sealed)) == {"clean.jsonl", "pairs.jsonl"}
    assert damage(sealed) == ""


def test_a_whole_file_is_sealed_anew_and_a_damaged_one_is_not_blessed(sealed):
    new = b'{"n": 1}\n'
    reseal(sealed, new)
    sealed.write_bytes(new)
    assert damage(sealed) == "" and files_in(sealed)[sealed.name]["rows"] == 1
    sealed.write_bytes(b"cut")
    reseal(sealed, b'{"n": 2}\n')
    assert files_in(sealed)[sealed.name] == files_in(sealed)[sealed.name] | seal_of(new)


def test_a_raw_file_is_sealed_by_its_meta_and_one_that_is_gone_is_missing(tmp_path):
    raw = tmp_path / "data" / "main" / "raw"
    raw.mkdir(parents=True)
    items, content = raw / "items.jsonl", b'{"id": "1"}\n'
    (raw / "items.meta.json").write_text(json.dumps({"n_items": 1, "sha256": seal_of(content)["sha256"]}))
    assert missing_raw(raw) == [items]
    items.write_bytes(content)
    assert (missing_raw(raw), damage(items)) == ([], "")
    reseal(items, content * 2)
    items.write_bytes(content * 2)
    assert damage(items) == ""
    items.write_bytes(content)
    assert "holds 1 lines, and 2 were written" in damage(items)
