"""What leaves home, and what may come back."""

import json
import subprocess
import tarfile

import pytest

import scripts.pack_results
from lib.base.errors import UserError
from lib.remote import parcel
from lib.remote.parcel import is_whole, listing, pack_project, pack_results, project_files, unpack_results
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


@pytest.mark.parametrize(
    "name", [".env", ".env.local", "lib/.env", ".venv/bin/x", "lib/__pycache__/a.pyc", "lib/a.pyc"]
)
def test_secrets_and_what_was_compiled_never_leave_though_git_tracks_them(checkout, name):
    (checkout / name).parent.mkdir(parents=True, exist_ok=True)
    (checkout / name).write_text("KEY=1")
    for command in (["init", "-q"], ["add", "-f", ".", name]):
        subprocess.run(["git", *command], cwd=checkout, check=True, capture_output=True)
    found = {path.as_posix() for path in project_files(checkout)}
    assert name not in found and {"Makefile", "notes.txt"} <= found


def test_an_adapter_leaves_with_what_its_seal_names_and_nothing_else_of_its_run(checkout):
    folder = checkout / "adapters/old"
    (folder / "manifest.json").write_text(json.dumps({"files": {"vocab.txt": "0" * 64}}))
    for name in ("vocab.txt", "adapter_model.safetensors", "tokenizer.json", "ledger.jsonl", "metrics.jsonl"):
        (folder / name).write_text("x")
    found = {name for name in names(checkout, adapters=["old", "none"]) if name.startswith("adapters/")}
    assert found == {
        f"adapters/old/{name}"
        for name in ("manifest.json", "vocab.txt", "adapter_model.safetensors", "tokenizer.json")
    }


def test_a_parcel_that_breaks_off_is_absent_and_the_last_one_stays(checkout, monkeypatch):
    (checkout / "out.tar.gz").write_bytes(b"the last one")

    def fail(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(tarfile.TarFile, "add", fail)
    with pytest.raises(OSError, match="no space"):
        names(checkout)
    assert (checkout / "out.tar.gz").read_bytes() == b"the last one"


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
        "eval/x/replies.jsonl.partial",
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


@pytest.mark.parametrize("key", ["exit", "bytes", "sha256", "files"])
def test_a_list_lacks_nothing(results, key):
    listed = json.loads((results / "results.json").read_text())
    del listed[key]
    (results / "results.json").write_text(json.dumps(listed))
    with pytest.raises(UserError, match="not a list of results"):
        listing(results)


@pytest.mark.parametrize("is_missing", [True, False])
def test_a_parcel_holds_what_its_list_says_no_file_more_or_less(results, tmp_path, is_missing):
    listed = json.loads((results / "results.json").read_text())
    if is_missing:
        listed["files"]["another"] = "0" * 64
    else:
        del listed["files"]["adapter.bin"]
    (results / "results.json").write_text(json.dumps(listed))
    with pytest.raises(UserError, match="holds other files than its list"):
        unpack_results(results, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_list_says_how_the_job_ended_and_what_the_parcel_is(results):
    listed = listing(results)
    assert (listed["exit"], listed["bytes"]) == (0, (results / "results.tar").stat().st_size)
    with (results / "results.tar").open("ab") as handle:
        handle.write(b"x")
    assert not is_whole(results)


def test_the_manifest_comes_home_last(results, tmp_path, monkeypatch):
    came, write = [], parcel.write_bytes
    monkeypatch.setattr(
        parcel, "write_bytes", lambda path, content: (came.append(path), write(path, content))
    )
    unpack_results(results, tmp_path / "run")
    assert [path.name for path in came] == ["adapter.bin", "replies.jsonl", "manifest.json"]


def test_the_job_itself_packs_its_run_and_says_how_it_ended(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adapters").mkdir()
    (tmp_path / "there").rename(tmp_path / "adapters/tiny")
    monkeypatch.setattr(
        "sys.argv", ["pack", "--run", "tiny", "--exit-code", "4", "--out", "packed/results.tar"]
    )
    (tmp_path / "packed").mkdir()
    scripts.pack_results.main()
    assert is_whole(tmp_path / "packed") and listing(tmp_path / "packed")["exit"] == 4
    assert set(listing(tmp_path / "packed")["files"]) == {
        "adapter.bin",
        "manifest.json",
        "eval/x/replies.jsonl",
    }
