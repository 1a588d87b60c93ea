"""What leaves home, and what may come back."""

import json
import subprocess
import tarfile

import pytest

from lib.base.errors import UserError
from lib.remote.parcel import is_whole, pack_project, pack_results, project_files, unpack_results
from tests.training_data import write_workspace


@pytest.fixture
def checkout(tmp_path):
    folder = write_workspace(tmp_path / "home") if (tmp_path / "home").mkdir() is None else None
    for name, text in {
        "Makefile": "x",
        ".env": "KEY=1",
        "lib/a.py": "a",
        "scripts/b.py": "b",
        "notes.txt": "mine",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    for path in (
        "data/sample/interim/clean.jsonl",
        "data/main/raw/items.jsonl",
        "data/main/processed/train.jsonl",
        "adapters/old/manifest.json",
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("{}")
    (folder / "data/sample/ledger.jsonl").write_text("{}")
    return folder


def names(folder, **options):
    pack_project(folder, folder / "out.tar.gz", "sample", **options)
    with tarfile.open(folder / "out.tar.gz") as tar:
        return set(tar.getnames())


def test_a_parcel_holds_the_tracked_files_the_configs_and_processed(checkout):
    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
            cwd=checkout,
            check=True,
            capture_output=True,
        )

    git("init", "-q")
    git("add", "-f", "Makefile", ".env", "lib", "scripts", "data/sample/raw", "data/main/raw", "configs")
    (checkout / "configs/train-mine.yaml").write_text("data: sample\n")
    (checkout / "lib/untracked.py").write_text("")
    (checkout / "scripts/b.py").unlink()
    processed = {
        f"data/sample/processed/{name}"
        for name in ("train.jsonl", "val.jsonl", "test.jsonl", "test_prompts.jsonl")
    }
    rest = {
        "Makefile",
        "lib/a.py",
        "configs/train-tiny.yaml",
        "configs/train-mine.yaml",
        "data/sample/raw/items.jsonl",
    }
    assert names(checkout) == processed | rest
    assert names(checkout, adapters=["old"]) == processed | rest | {"adapters/old/manifest.json"}


def test_a_copy_without_git_leaves_out_the_same(checkout):
    found = {path.as_posix() for path in project_files(checkout)}
    assert found == {
        "Makefile",
        "lib/a.py",
        "scripts/b.py",
        "configs/train-tiny.yaml",
        "data/sample/raw/items.jsonl",
    }


def test_a_parcel_names_nobody(checkout):
    names(checkout)
    with tarfile.open(checkout / "out.tar.gz") as tar:
        assert {(member.uname, member.uid) for member in tar.getmembers()} == {("", 0)}


def test_without_processed_data_the_error_says_which_command_makes_it(checkout):
    with pytest.raises(UserError, match="make data DATA=nope"):
        pack_project(checkout, checkout / "out.tar.gz", "nope")


@pytest.fixture
def results(tmp_path):
    run = tmp_path / "there"
    for name in (
        "adapter.bin",
        "manifest.json",
        "eval/x/replies.jsonl",
        "ledger.jsonl",
        "checkpoints/1/a",
        "remote/k/id",
        "generate.lock",
    ):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(name)
    (run / "link").symlink_to("/etc/passwd")
    (tmp_path / "parcel").mkdir()
    pack_results(run, tmp_path / "parcel/results.tar", 0)
    return tmp_path / "parcel"


def test_results_come_home_without_checkpoints_ledger_keys_and_links(results, tmp_path):
    home = tmp_path / "run"
    home.mkdir()
    (home / "ledger.jsonl").write_text("mine")
    assert set(unpack_results(results, home)) == {"adapter.bin", "manifest.json", "eval/x/replies.jsonl"}
    assert (home / "ledger.jsonl").read_text() == "mine"
    assert is_whole(results)


def rewritten(results, change):
    """results.tar with another member, which the list knows: what a machine in other hands would send."""
    import hashlib
    import io

    info, content = change
    with tarfile.open(results / "results.tar", "a") as tar:
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    listed = json.loads((results / "results.json").read_text())
    listed["files"][info.name] = hashlib.sha256(content).hexdigest()
    listed["sha256"] = hashlib.sha256((results / "results.tar").read_bytes()).hexdigest()
    (results / "results.json").write_text(json.dumps(listed))


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/tmp/evil",
        "ledger.jsonl",
        "eval/x/ledger.jsonl",
        "a/../../evil",
        "remote/k/id",
        "checkpoints/a",
    ],
)
def test_a_file_that_has_no_business_in_a_run_is_refused_and_nothing_is_taken_over(results, tmp_path, name):
    rewritten(results, (tarfile.TarInfo(name), b"evil"))
    with pytest.raises(UserError, match="no business"):
        unpack_results(results, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_link_is_refused(results, tmp_path):
    info = tarfile.TarInfo("adapter2.bin")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    rewritten(results, (info, b""))
    with pytest.raises(UserError, match="no business"):
        unpack_results(results, tmp_path / "run")


def test_a_damaged_file_is_refused(results, tmp_path):
    listed = json.loads((results / "results.json").read_text())
    listed["files"]["adapter.bin"] = "0" * 64
    (results / "results.json").write_text(json.dumps(listed))
    with pytest.raises(UserError, match=r"adapter.bin is damaged"):
        unpack_results(results, tmp_path / "run")


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"files": {}, "sha256": 1, "exit": 0, "bytes": 1}', "not json"]
)
def test_a_list_that_is_none_is_a_sentence(results, tmp_path, text):
    (results / "results.json").write_text(text)
    with pytest.raises(UserError):
        unpack_results(results, tmp_path / "run")
