"""dist/: which files may be in it, how they are listed, and what of a report is no text."""

import hashlib

import pytest

from lib.base.errors import UserError
from lib.base.files import write_json
from lib.base.settings import TrainConfig
from lib.publish.dist import _aggregates, dist_files, listing, refuse_local_base
from lib.publish.run_files import copy_tokenizer, licence, public_adapter_config
from lib.train.manifest import Manifest


@pytest.mark.parametrize(
    "value, stays",
    [
        ("pass", True), ("claude-sonnet-4-5", True), ("Qwen/Qwen3-8B", True), ("2026-11-26T10:00", True),
        ("x" * 60, True), ("x" * 61, False), ("two words", False), ("", False), ("läuft", True),
        ("word@x", False), (3, True), (0.5, True), (None, True), (True, True),
    ],
)  # fmt: skip
def test_sentences_of_a_report_stay_here_wherever_they_are(value, stays):
    assert _aggregates({"a": value, "b": 1}) == ({"a": value, "b": 1} if stays else {"b": 1})
    assert _aggregates([[value], {"c": [value]}]) == ([[value], {"c": [value]}] if stays else [[], {"c": []}])


def test_only_files_of_the_list_are_published_each_with_its_size_and_hash(tmp_path):
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval/summary.json").write_text("{}")
    (tmp_path / "README.md").write_text("card")
    assert dist_files(tmp_path) == {
        "README.md": {"bytes": 4, "sha256": hashlib.sha256(b"card").hexdigest()},
        "eval/summary.json": {"bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()},
    }


@pytest.mark.parametrize("name", ["report.json", "eval/README.md", ".env", "optimizer.pt", "link"])
def test_any_other_file_stops_it(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    if name == "link":
        (tmp_path / "README.md").symlink_to("elsewhere")
    else:
        (tmp_path / name).write_text("x")
    with pytest.raises(UserError, match="not on the list of files that may be published"):
        dist_files(tmp_path)


@pytest.mark.parametrize(
    "n_bytes, shown",
    [(0, "0.0 kB"), (999, "1.0 kB"), (999_949, "999.9 kB"), (1_000_000, "1.0 MB"), (2_560_000, "2.6 MB")],
)
def test_sizes_are_listed_with_their_sum(tmp_path, n_bytes, shown):
    head, row = listing(tmp_path, {"README.md": {"bytes": n_bytes}}).splitlines()
    assert head == f"{tmp_path}: 1 files, {shown}, no leak found"
    assert row.split() == ["README.md", *shown.split()]


@pytest.mark.parametrize("model", ["tiny", "Qwen/Qwen3-8B", "unsloth/Qwen3-8B-bnb-4bit", "a/b.c-d_e"])
def test_a_base_that_others_know_may_be_named(model):
    assert refuse_local_base(model) is None


@pytest.mark.parametrize("model", [
    "/srv/models/qwen3", "./models/x", "../x", "~/x", "~ann/x", "C:\\x", "C:/x/y", r"\\server\share",
    "file:///srv/x", "data/models", "models", "https://example.org/x", "s3://bucket/x", "a/b/c", "a/..",
    " Qwen/Qwen3-8B", "",
])  # fmt: skip
def test_a_folder_of_this_machine_is_no_base(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/models").mkdir(parents=True)
    with pytest.raises(UserError, match="no model on the Hub"):
        refuse_local_base(model)


CONFIG = TrainConfig(data="x", model="Qwen/Qwen3-8B")


def adapter_config(tmp_path, revision=None, config=CONFIG, **changes):
    written = {"r": 8, "base_model_name_or_path": "/home/ann/x", "target_modules": ["v_proj", "q_proj"]}
    write_json(tmp_path / "adapter_config.json", {**written, "lora_alpha": 16, **changes})
    return public_adapter_config(
        tmp_path / "adapter_config.json", config, Manifest.model_construct(revision=revision)
    )


def test_an_adapter_names_its_base_as_others_know_it_and_is_the_same_every_time(tmp_path):
    found = adapter_config(tmp_path, revision="abc", auto_mapping={"x": 1}, inference_mode=False)
    assert found == {
        "r": 8, "lora_alpha": 16, "base_model_name_or_path": "Qwen/Qwen3-8B", "revision": "abc",
        "auto_mapping": None, "inference_mode": True, "target_modules": ["q_proj", "v_proj"],
    }  # fmt: skip
    named = CONFIG.model_copy(update={"revision": "of-config"})
    assert adapter_config(tmp_path, "abc", named)["revision"] == "of-config"
    assert adapter_config(tmp_path, target_modules="all-linear")["target_modules"] == "all-linear"


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"use_dora": True}, "use_dora"), ({"use_rslora": True}, "use_rslora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"), ({"rank_pattern": {"a": 1}}, "rank_pattern"),
        ({"alpha_pattern": {"a": 1}}, "alpha_pattern"), ({"lora_bias": True}, "lora_bias"),
        ({"r": None}, "r, the rank, is missing"), ({"r": "8"}, "r, the rank, is missing"),
    ],
)  # fmt: skip
def test_an_adapter_that_other_engines_read_differently_is_refused(tmp_path, changes, said):
    with pytest.raises(UserError, match=said):
        adapter_config(tmp_path, **changes)


def test_a_tokenizer_is_copied_whole_without_the_folders_of_this_machine(tmp_path):
    run, dist = tmp_path / "run", tmp_path / "dist"
    for folder in (run, dist):
        folder.mkdir()
    for name in ("tokenizer.json", "chat_template.jinja"):
        (run / name).write_text("{}")
    folders = dict.fromkeys(("name_or_path", "cache_dir", "local_files_only", "is_local"), "/home/ann")
    write_json(run / "tokenizer_config.json", {"model_max_length": 9, **folders})
    copy_tokenizer(run, dist)
    assert (dist / "tokenizer_config.json").read_text().split() == ["{", '"model_max_length":', "9", "}"]
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (run / name).rename(run / "away")
        with pytest.raises(UserError, match=f"{name} does not exist.*make train RUN=run"):
            copy_tokenizer(run, dist)
        (run / "away").rename(run / name)


def test_without_a_licence_it_says_where_to_publish_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="top folder"):
        licence()
    (tmp_path / "LICENSE").touch()
    assert licence().name == "LICENSE"
