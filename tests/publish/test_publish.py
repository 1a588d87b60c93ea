"""scripts/publish.py against a Hub on the loopback: what goes up, what never does, and what every failure
says."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from lib.base.files import read_json, write_json
from lib.data.forget import forget
from lib.data.redaction import Target
from lib.model.adapters import sha256_of
from tests.older_run import older_manifest, older_report
from tests.small_model import small_peft
from tests.stubs.hub_server import TOKEN, hub_server

ROOT = Path(__file__).parents[2]
REPO = "ann/reply-tiny"
FILES = [
    "LICENSE",
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "chat_template.jinja",
    "tokenizer.json",
    "tokenizer_config.json",
]
EVALUATED = sorted([*FILES, "eval/summary.json", "generation_config.json"])
TWEET = "the quick brown ferret stole my favourite umbrella again on tuesday morning"
ARGUMENTS = ["--config", "configs/train-tiny.yaml", "--repo", REPO]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project folder with one finished run, as training leaves it: checkpoints, pickles and notes
    included."""
    root = tmp_path_factory.mktemp("project")
    run = root / "adapters" / "tiny"
    model, tokenizer = small_peft()
    model.peft_config["default"].base_model_name_or_path = str(root / "data" / "cache" / "tiny-0123")
    model.save_pretrained(run)
    tokenizer.save_pretrained(run)
    shutil.copytree(ROOT / "configs", root / "configs")
    (root / "LICENSE").write_text("Apache License, Version 2.0\n")
    _write(
        root / "data/sample/processed/train.jsonl",
        json.dumps({"tweet": TWEET, "reply": "ours prefers left shoes"}) + "\n",
    )
    for name, text in {
        ".env": f"HF_TOKEN={TOKEN}\n",
        "raw.jsonl": json.dumps({"text": TWEET}),
        "training_args.bin": "pickle",
        "NOTES.md": f"use {TOKEN}",
        "checkpoints/checkpoint-5/optimizer.pt": "pickle",
        "metrics.jsonl": "{}\n",
        "eval/offline/replies.jsonl": "{}\n",
    }.items():  # fmt: skip
        _write(run / name, text)
    _seal(run)
    return root


@pytest.fixture
def project(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "project"))


@pytest.fixture
def hub():
    with hub_server() as server:
        yield server


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _seal(run, **fields):
    """A real run's manifest, for the adapter that is here."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = older_manifest(Path(folder))
    here = {"adapter_sha256": sha256_of(run / "adapter_model.safetensors"), **fields}
    manifest.model_copy(update=here).write(run / "manifest.json")


def _evaluate(run, **fields):
    """A real evaluation's report, for the adapter that is here, with texts in it that must stay here."""
    report = older_report()
    hashes = {**report["hashes"], "adapter": read_json(run / "manifest.json")["adapter_sha256"]}
    report["gate"]["sentence"] = TWEET
    _write(
        run / "eval/offline/report.json",
        json.dumps({**report, "hashes": hashes, "examples": [{"tweet": TWEET}], **fields}),
    )


@pytest.fixture
def publish(project, monkeypatch, capfd):
    """The script's main, run as its command line does. Returns (exit code, everything it said)."""
    from huggingface_hub import constants

    from lib.base.console import run
    from scripts.publish import main

    monkeypatch.chdir(project)
    monkeypatch.setattr(
        constants, "HF_HUB_DISABLE_XET", True
    )  # the stub speaks LFS; the client reads the variable at its import

    def call(hub=None, *flags, **env):
        for name, value in environment(project, hub, **env).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["publish", *ARGUMENTS, *flags])
        with pytest.raises(SystemExit) as exit:
            run(main)
        said = "".join(capfd.readouterr())
        assert TOKEN not in said
        return exit.value.code, said

    return call


def environment(project, hub, **env):
    url = hub.url if hub else "http://127.0.0.1:9"
    return {
        "HF_ENDPOINT": url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": TOKEN,
        "YES": "1",
        "FORCE": "1",  # the tiny run proves nothing; what that means has tests of its own
        "HF_HOME": str(project / ".hf"),
        **env,
    }


def test_the_command_killed_between_commit_and_tag_then_only_tags_and_then_sends_nothing(
    project, hub, monkeypatch
):
    from tests.stubs.hub_server import Handler

    command = [sys.executable, "-m", "scripts.publish", *ARGUMENTS]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment(project, hub)}
    tag, children = Handler.tag, []

    def kill_first(self, repo, body):
        if not children[0].returncode and len(children) == 1:
            children[0].kill()
            children[0].wait()
            return 500, {}
        return tag(self, repo, body)

    monkeypatch.setattr(Handler, "tag", kill_first)
    said, uploads = [], []
    for _ in range(3):
        children.append(
            subprocess.Popen(
                command, cwd=project, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
        said.append(children[-1].communicate(timeout=120)[0])
        uploads.append(hub.asked("PUT /lfs/|POST .*/commit/"))
        assert TOKEN not in said[-1]
    assert [child.returncode for child in children] == [-9, 0, 0], said
    assert uploads == [2, 2, 2]  # the weights and the commit, once
    assert all("nothing has changed, nothing was uploaded" in text for text in said[1:])
    assert hub.committed == [FILES]
    assert hub.repos[REPO].tags == {"v1": hub.repos[REPO].commits[-1]}
    assert hub.asked("POST .*/tag/") == 2


def test_exactly_the_allowed_files_go_up_and_the_repository_is_private(project, hub, publish):
    code, said = publish(hub)
    assert code == 0, said
    assert hub.committed == [FILES]
    assert hub.repos[REPO].private
    assert list(hub.repos[REPO].tags) == ["v1"]
    receipt = json.loads((project / "adapters/tiny/publish.json").read_text())
    assert (receipt["repo"], receipt["tag"], receipt["commit"]) == (REPO, "v1", hub.repos[REPO].commits[-1])
    assert sorted(receipt["files"]) == FILES
    assert TOKEN not in json.dumps(receipt)
    assert not [
        path
        for path, content in hub.repos[REPO].files.items()
        if TOKEN.encode() in content or TWEET.encode() in content
    ]


def test_the_adapter_names_the_public_base_model_and_no_folder_of_this_machine(project, hub, publish):
    _seal(project / "adapters/tiny", revision="0123abcd")
    code, said = publish(hub)
    assert code == 0, said
    config = json.loads(hub.repos[REPO].files["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["revision"], config["r"]) == ("tiny", "0123abcd", 4)
    assert all(str(project).encode() not in content for content in hub.repos[REPO].files.values())


def test_without_an_evaluation_the_card_says_so(project, hub, publish):
    publish(hub)
    card = hub.repos[REPO].files["README.md"].decode()
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert metadata["base_model"] == "tiny"
    assert metadata["license"] == "apache-2.0"
    assert metadata["library_name"] == "peft"
    assert "model-index" not in metadata
    assert "**Not evaluated.**" in card


CLAUDE = {"kind": "claude", "model": "claude-sonnet-5-5"}


def _passed(**fields):
    """Fields of a report that convinced a judge that counts, but for these."""
    report = older_report()
    gate = {**report["gate"], "verdict": "pass"}
    return {"judge": report["judge"] | CLAUDE, "gate": gate, **fields}


def _verdict(verdict):
    return _passed(gate={**older_report()["gate"], "verdict": verdict})


NO_EVIDENCE = [
    (None, "never evaluated", "Run `make eval RUN=tiny` first"),
    (_verdict("fail"), "*fail*", "mend them and train again"),
    (_verdict("underpowered"), "*underpowered*", "`make eval-plan RUN=tiny`"),
    (_verdict("unproven"), "*unproven*", "`make human-eval RUN=tiny`"),
    (_verdict(None), "without a verdict", "`make eval RUN=tiny`"),
    (_passed(judge={"kind": "offline"}), "stand-in", "EVAL=claude"),
    (_passed(judge={}), "stand-in", "EVAL=claude"),
    (_passed(hashes={"adapter": "0" * 64}), "older adapter", "`make eval RUN=tiny` again"),
    (_passed(hashes={}), "older adapter", "`make eval RUN=tiny` again"),
]


@pytest.mark.parametrize("fields, why, advice", NO_EVIDENCE)
def test_without_a_pass_of_this_adapter_it_refuses_and_forced_the_card_says_so(
    project, hub, publish, fields, why, advice
):
    if fields is not None:
        _evaluate(project / "adapters/tiny", **fields)
    code, said = publish(hub, FORCE="")
    assert code == 1
    assert why in said and advice in said and "FORCE=1" in said and "Traceback" not in said
    assert hub.requests == []
    assert not (project / "adapters/tiny/dist").exists()
    assert publish(hub)[0] == 0
    card = hub.repos[REPO].files["README.md"].decode()
    assert "**Published without the evidence that this pipeline asks for** (`FORCE=1`)." in card
    assert why in card


@pytest.mark.parametrize("force", ["", "1"])
def test_a_pass_is_published_without_force_and_its_card_knows_of_none(project, hub, publish, force):
    _evaluate(project / "adapters/tiny", **_passed())
    code, said = publish(hub, FORCE=force)
    assert code == 0, said
    assert "FORCE" not in hub.repos[REPO].files["README.md"].decode()


def test_nothing_of_another_adapters_evaluation_is_published(project, hub, publish):
    _evaluate(project / "adapters/tiny", **_passed(hashes={"adapter": "0" * 64}))
    assert publish(hub)[0] == 0
    assert hub.committed == [FILES]  # no eval/summary.json
    card = hub.repos[REPO].files["README.md"].decode()
    assert "**Not evaluated.**" in card and "model-index" not in card


def test_before_the_question_stands_the_one_about_the_terms(project, hub, publish):
    said = publish(hub, YES="")[1]
    assert said.index("X's terms") < said.index("Upload these")


def test_an_evaluation_goes_up_as_numbers_and_never_as_texts(project, hub, publish):
    _evaluate(project / "adapters/tiny")
    code, said = publish(hub)
    assert code == 0, said
    assert hub.committed == [EVALUATED]
    summary = json.loads(hub.repos[REPO].files["eval/summary.json"])
    report = older_report()
    for name in ("n_prompts", "systems", "win_rate", "ci95", "mde", "wilcoxon_p", "cohens_d"):
        assert summary[name] == report[name], name
    assert summary["metrics"]["tuned"]["perplexity"] == report["metrics"]["tuned"]["perplexity"]
    assert [row["pass"] for row in summary["gate"]["criteria"]] == [
        row["pass"] for row in report["gate"]["criteria"]
    ]
    assert "examples" not in summary
    assert "sentence" not in summary["gate"]
    assert "offline stand-in" in hub.repos[REPO].files["README.md"].decode()


def test_a_second_run_sends_nothing_and_says_so(project, hub, publish):
    publish(hub)
    before = hub.asked("PUT|commit|lfs")
    code, said = publish(hub)
    assert code == 0
    assert "nothing has changed, nothing was uploaded" in said
    assert hub.asked("PUT|commit|lfs") == before
    assert len(hub.committed) == 1


def test_a_change_sends_only_what_changed_under_a_new_tag(project, hub, publish):
    publish(hub)
    _evaluate(project / "adapters/tiny")
    code, said = publish(hub)
    assert code == 0, said
    assert hub.committed[1] == ["README.md", "eval/summary.json", "generation_config.json"]
    assert list(hub.repos[REPO].tags) == ["v1", "v2"]


def test_a_failed_commit_can_be_repeated_and_no_weights_go_up_twice(project, hub, publish):
    hub.fail_once("POST .*/commit/", 503)
    code, said = publish(hub)
    assert code == 1
    assert "The Hub failed with 503" in said
    assert "Traceback" not in said
    assert publish(hub)[0] == 0
    assert hub.committed == [FILES]
    assert hub.asked("PUT /lfs/") == 1


def test_a_commit_whose_answer_got_lost_is_found_and_not_repeated(project, hub, publish):
    hub.lose_answer_once("POST .*/commit/")
    code, said = publish(hub)
    assert code == 1
    assert "Run the same command again" in said
    assert "Traceback" not in said
    assert not (project / "adapters/tiny/publish.json").exists()
    code, said = publish(hub)
    assert code == 0, said
    assert hub.committed == [FILES]
    assert list(hub.repos[REPO].tags) == ["v1"]
    assert (
        json.loads((project / "adapters/tiny/publish.json").read_text())["commit"]
        == hub.repos[REPO].commits[-1]
    )


def _lose_the_receipt(project, hub, publish):
    publish(hub)
    (project / "adapters/tiny/publish.json").unlink()


def _lose_the_tags_answer(project, hub, publish):
    hub.lose_answer_once("POST .*/tag/")
    publish(hub)


def _fail_the_tag(project, hub, publish):
    hub.fail_once("POST .*/tag/", 500)
    publish(hub)


def _touch_the_repository(project, hub, publish):
    publish(hub)
    hub.repos[REPO].files[".gitattributes"] += b"*.bin filter=lfs\n"
    hub.repos[REPO].commits.append(hashlib.sha1(b"somebody").hexdigest())


@pytest.mark.parametrize(
    "before", [_lose_the_receipt, _lose_the_tags_answer, _fail_the_tag, _touch_the_repository]
)
def test_whatever_broke_off_the_same_files_never_get_a_second_tag(project, hub, before, publish):
    before(project, hub, publish)
    for _ in range(2):
        code, said = publish(hub)
        assert code == 0, said
        assert "nothing has changed, nothing was uploaded" in said
    assert list(hub.repos[REPO].tags) == ["v1"]
    assert json.loads((project / "adapters/tiny/publish.json").read_text())["tag"] == "v1"
    assert hub.committed == [FILES]


def test_a_tag_that_another_publisher_made_meanwhile_is_taken_over(project, hub, publish, monkeypatch):
    from tests.stubs.hub_server import Handler

    tag = Handler.tag

    def other_was_faster(self, repo, body):
        tag(self, repo, body)
        return tag(self, repo, body)

    monkeypatch.setattr(Handler, "tag", other_was_faster)
    code, said = publish(hub)
    assert code == 0, said
    assert list(hub.repos[REPO].tags) == ["v1"]


def test_two_commits_never_share_a_tag_also_without_the_receipt(project, hub, publish):
    _lose_the_receipt(project, hub, publish)
    _evaluate(project / "adapters/tiny")
    assert publish(hub)[0] == 0
    tags = hub.repos[REPO].tags
    assert list(tags) == ["v1", "v2"]
    assert tags["v1"] != tags["v2"]


@pytest.mark.parametrize("where, status, sentence", [
    ("POST /api/repos/create", 401, "HF_TOKEN was refused (401)"),
    ("POST .*/preupload/", 403, "may not write to ann/reply-tiny (403)"),
    ("GET /api/models/", 404, "is not there, or HF_TOKEN may not see it (404)"),
    ("POST .*/commit/", 412, "was changed while this ran (412)"),
    ("POST .*/commit/", 429, "asks to wait (429)"),
    ("POST .*/tag/", 500, "The Hub failed with 500"),
])  # fmt: skip
def test_every_refusal_of_the_hub_is_one_sentence(project, hub, where, status, sentence, publish):
    hub.fail_once(where, status)
    code, said = publish(hub)
    assert code == 1
    assert sentence in said
    assert "Traceback" not in said
    assert not (project / "adapters/tiny/publish.json").exists()


def test_a_hub_that_cannot_be_reached_is_one_sentence(publish):
    code, said = publish()
    assert code == 1
    assert "The connection to http://127.0.0.1:9 broke" in said
    assert "Traceback" not in said


def test_a_wrong_token_is_refused_before_anything_is_made(project, hub, publish):
    code, said = publish(hub, HF_TOKEN="hf_" + "W" * 34)
    assert code == 1
    assert "HF_TOKEN was refused (401)" in said
    assert hub.repos == {}


def test_without_a_token_nothing_is_asked_of_the_hub(project, hub, publish):
    code, said = publish(hub, HF_TOKEN="")
    assert code == 1
    assert "HF_TOKEN is not set" in said
    assert hub.requests == []


def test_without_a_yes_nothing_is_asked_of_the_hub(project, hub, publish):
    code, said = publish(hub, YES="")
    assert code == 1
    assert "adapter_model.safetensors" in said
    assert hub.requests == []


def test_without_a_repository_it_asks_for_one_and_then_remembers_it(project, hub, publish, monkeypatch):
    monkeypatch.setitem(globals(), "ARGUMENTS", ARGUMENTS[:2])
    code, said = publish(hub)
    assert code == 1
    assert "make publish RUN=tiny REPO=<user>/<name>" in said
    assert publish(hub, "--repo", REPO)[0] == 0
    code, said = publish(hub)
    assert code == 0
    assert f"{hub.url}/{REPO}" in said


def test_a_dry_run_lists_the_files_and_needs_no_token(project, hub, publish):
    code, said = publish(hub, "--dry-run", HF_TOKEN="", YES="")
    assert code == 0, said
    assert all(name in said for name in FILES)
    assert "nothing was sent" in said
    assert hub.requests == []


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("there", [False, True])
def test_an_existing_repository_takes_files_only_if_it_is_as_public_as_asked(
    project, hub, there, asked, publish
):
    from tests.stubs.hub_server import Repo

    hub.repos[REPO] = Repo(private=not there)
    code, said = publish(hub, *["--public"] * asked)
    assert (code == 0) == (there == asked), said
    assert hub.committed == ([FILES] if there == asked else [])
    assert hub.repos[REPO].tags.keys() == ({"v1"} if there == asked else set())
    words = {True: "public", False: "private"}
    refusal = f"ann/reply-tiny is {words[there]}, and a {words[asked]} one was asked for."
    assert (refusal in said) == (there != asked)


def test_a_published_repository_that_somebody_made_public_gets_nothing_more(project, hub, publish):
    publish(hub)
    hub.repos[REPO].private = False
    code, said = publish(hub)
    assert code == 1
    assert "ann/reply-tiny is public, and a private one was asked for." in said


def test_a_repository_that_came_out_public_gets_nothing(project, hub, publish):
    hub.ignores_visibility = True
    code, said = publish(hub)
    assert code == 1
    assert "is public" in said
    assert hub.committed == []


def test_a_repository_with_somebody_elses_files_is_left_alone(project, hub, publish):
    from tests.stubs.hub_server import Repo

    hub.repos[REPO] = Repo(private=True)
    hub.repos[REPO].files["model-00001-of-00004.safetensors"] = b"other"
    code, said = publish(hub)
    assert code == 1
    assert "model-00001-of-00004.safetensors" in said
    assert hub.committed == []


@pytest.mark.parametrize("file, text, finding", [
    ("chat_template.jinja", "{# see @some_person #}", "chat_template.jinja:1: an @handle"),
    ("chat_template.jinja", "{# a\nb " + TOKEN + " #}", "chat_template.jinja:2: a Hugging Face token"),
    ("chat_template.jinja", "{# The quick, brown ferret stole my favourite umbrella! #}",
     "chat_template.jinja:1: a run of words"),
    ("tokenizer_config.json", '{"note": "from /' + 'home/ann/models"}',
     "tokenizer_config.json:2: a path in somebody's home"),
])  # fmt: skip
def test_a_leak_stops_everything_and_is_named_by_file_and_line(project, hub, file, text, finding, publish):
    _write(project / "adapters/tiny" / file, text)
    code, said = publish(hub)
    assert code == 1
    assert finding in said
    assert "ferret" not in said
    assert hub.requests == []
    assert not (project / "adapters/tiny/dist").exists()


@pytest.mark.parametrize("name", ["dist", "dist.partial"])
def test_a_dist_that_is_a_link_is_neither_written_nor_deleted_through(
    project, hub, publish, tmp_path_factory, name
):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    _write(elsewhere / "mine.txt", "mine")
    (project / "adapters/tiny" / name).symlink_to(elsewhere)
    code, said = publish(hub)
    assert code == 1
    assert f"adapters/tiny/{name} is a link to {elsewhere}. Delete the link" in said
    assert [path.name for path in elsewhere.iterdir()] == ["mine.txt"]
    assert hub.requests == []


@pytest.mark.parametrize("name", ["dist", "dist.partial"])
def test_a_dist_that_is_a_file_is_a_sentence(project, hub, publish, name):
    _write(project / "adapters/tiny" / name, "a file")
    code, said = publish(hub)
    assert code == 1
    assert f"adapters/tiny/{name} is not a folder. Move it away" in said


def test_what_lay_in_dist_before_does_not_go_up(project, hub, publish):
    _write(project / "adapters/tiny/dist/training_args.bin", "old")
    assert publish(hub)[0] == 0
    assert hub.committed == [FILES]


def _flip(run):
    content = bytearray((run / "adapter_model.safetensors").read_bytes())
    content[-3] ^= 0xFF
    (run / "adapter_model.safetensors").write_bytes(content)


def _save(run, **tensors):
    from safetensors.torch import save_file

    save_file(tensors, run / "adapter_model.safetensors")
    _seal(run)


def _nan(run):
    import torch

    _save(
        run,
        **{
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.full(
                (4, 8), float("nan"), dtype=torch.bfloat16
            )
        },
    )


def _embeddings(run):
    import torch

    _save(run, **{"base_model.model.model.embed_tokens.weight": torch.zeros(4, 8)})


def _rank(run):
    import torch

    _save(run, **{"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.zeros(8, 8)})


def _torn(run):
    (run / "adapter_model.safetensors").write_bytes(b"\xff\x00\x00")
    _seal(run)


def _dora(run):
    config = json.loads((run / "adapter_config.json").read_text())
    (run / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))


@pytest.mark.parametrize("damage, sentence", [
    (_flip, "sha256 differs from manifest.json"),
    (_nan, "holds NaN or infinity"),
    (_embeddings, "is no LoRA matrix"),
    (_rank, "of different runs"),
    (_torn, "not a whole safetensors file"),
    (_dora, "use_dora"),
    (lambda run: (run / "adapter_model.safetensors").unlink(),
     "adapters/tiny holds no finished run. Run `make train RUN=tiny` first"),
    (lambda run: (run / "manifest.json").unlink(), "training did not finish"),
    (lambda run: (run / "tokenizer.json").unlink(), "tokenizer.json does not exist"),
    (lambda run: _seal(run, model="Qwen/Qwen3-8B"), "was trained on Qwen/Qwen3-8B"),
    (lambda run: shutil.rmtree(run.parent.parent / "data"), "data/sample/processed holds no texts"),
])  # fmt: skip
def test_a_damaged_run_is_refused_with_a_sentence(project, hub, damage, sentence, publish):
    damage(project / "adapters/tiny")
    code, said = publish(hub)
    assert code == 1
    assert sentence in said
    assert "Traceback" not in said
    assert hub.requests == []


def test_a_run_of_a_local_model_is_not_published(project, hub, publish):
    config = project / "configs/train-tiny.yaml"
    config.write_text(config.read_text().replace("model: tiny", "model: /srv/models/qwen3"))
    _seal(project / "adapters/tiny", model="/srv/models/qwen3")
    manifest = read_json(project / "adapters/tiny/manifest.json")
    manifest["config"]["model"] = manifest["base_model"] = "/srv/models/qwen3"
    write_json(project / "adapters/tiny/manifest.json", manifest)
    code, said = publish(hub)
    assert code == 1
    assert "is no model on the Hub" in said
    assert hub.requests == []


def _safetensors(run, header, numbers):
    content = json.dumps(header).encode() if isinstance(header, dict) else header
    (run / "adapter_model.safetensors").write_bytes(len(content).to_bytes(8, "little") + content + numbers)
    _seal(run)


NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
A = {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]}
B = {"dtype": "F32", "shape": [2, 4], "data_offsets": [32, 64]}
ZEROS = bytes(64)


@pytest.mark.parametrize("header, numbers, sentence", [
    ({NAME.format("A"): A, NAME.format("B"): B}, ZEROS + TWEET.encode(), "bytes lie behind its last matrix"),
    ({NAME.format("A"): A, NAME.format("B"): {**B, "data_offsets": [48, 80]}}, bytes(80),
     "bytes lie between them"),
    ({NAME.format("A"): A, NAME.format("B"): {**B, "data_offsets": [0, 32]}}, bytes(32), "matrices overlap"),
    ({NAME.format("A"): {**A, "note": TWEET}, NAME.format("B"): B}, ZEROS, "is damaged"),
    ({NAME.format("A"): A, NAME.format("B"): B, "__metadata__": {"note": TWEET}}, ZEROS,
     "a run of words from the training texts"),
    ({NAME.format("A"): A, NAME.format("B"): B, "__metadata__": {TOKEN: "x"}}, ZEROS, "a Hugging Face token"),
    ({NAME.format("A"): A, NAME.format("B").replace("layers", TOKEN): B}, ZEROS, "a Hugging Face token"),
    ({NAME.format("A"): A, NAME.format("B"): B}, ZEROS[:25] + TOKEN.encode() + b"==", "a Hugging Face token"),
    (b'{"%s": 1, "%s": 2}' % ((NAME.format("A").encode(),) * 2), ZEROS, "names a tensor twice"),
    (b'{"__metadata__": {"n": "\\u0040some_person"}, "%s": %s}'
     % (NAME.format("A").encode(), json.dumps(A).encode()), ZEROS[:32], "an @"),
])  # fmt: skip
def test_nothing_but_matrices_hides_in_the_weights(project, hub, header, numbers, sentence, publish):
    _safetensors(project / "adapters/tiny", header, numbers)
    code, said = publish(hub)
    assert code == 1
    assert sentence in said
    assert TWEET not in said
    assert hub.requests == []


def _link(path, target):
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _hard_link(path):
    path.with_name("elsewhere").hardlink_to(path)


@pytest.mark.parametrize("damage, sentence", [
    (lambda run: _link(run / "tokenizer.json", shutil.copy(run / "tokenizer.json", run / "other.json")),
     "tokenizer.json is a link"),
    (lambda run: _hard_link(run / "chat_template.jinja"), "chat_template.jinja is a link"),
    (lambda run: _link(run / "dist", run / "checkpoints"), "dist is a link"),
    (lambda run: (run / "chat_template.jinja").write_bytes(b"PK\x03\x04" + bytes(30)), "control character"),
    (lambda run: (run / "chat_template.jinja").write_bytes(b"caf\xe9"), "is not text"),
    (lambda run: (run / "chat_template.jinja").write_text(TOKEN, encoding="utf-16"),
     "chat_template.jinja:1: a Hugging Face token"),
    (lambda run: (run / "chat_template.jinja").write_text(TOKEN, encoding="utf-16-le"), "control character"),
    (lambda run: (run / "chat_template.jinja").write_text(TOKEN, encoding="utf-8-sig"),
     "chat_template.jinja:1: a Hugging Face token"),
    (lambda run: (run / "tokenizer.json").write_text("{} trailing"), "is not valid JSON"),
    (lambda run: (run / "chat_template.jinja").write_text("x" * 64_000_001), "too much for a text"),
])  # fmt: skip
def test_links_and_what_cannot_be_read_are_refused(project, hub, damage, sentence, publish):
    damage(project / "adapters/tiny")
    code, said = publish(hub)
    assert code == 1
    assert sentence in said
    assert "Traceback" not in said
    assert hub.requests == []


def test_handles_and_ids_of_the_data_are_found_and_ordinary_words_are_not(project, hub, publish):
    names = ["Elon_Musk", "replier7", "navalr", "model", "namespace", "signatures", "the", "jo", "user"]
    rows = [
        {"tweet": TWEET, "reply": "no", "tweet_author": name, "reply_author": name, "tweet_id": f"18{n:017}"}
        for n, name in enumerate(names)
    ]
    _write(project / "data/sample/processed/test.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert publish(hub)[0] == 0
    for text, kind in [
        ("by elon_musk.", "the handle of an author"), ("{# NavalR said #}", "the handle of an author"),
        ("**repl**ier7", "the handle of an author"),
        ("n = 1800000000000000002;", "an id of a post in the data"),
        ("18000000000&#48;0000002", "an id of a post in the data"),
        ("status/1799999999999999999", "an id of a post"), ("@model", "an @handle"),
        ("x.com/jo", "a link to a post"),
    ]:  # fmt: skip
        template = project / "adapters/tiny/chat_template.jinja"
        before = template.read_text()
        _write(template, before + "\n" + text)
        code, said = publish(hub)
        assert code == 1, text
        assert f"chat_template.jinja:{before.count(chr(10)) + 2}: {kind}" in said
        _write(template, before)


GONE = "nobody ever told my grandmother that tuesdays were meant for quiet sewing"


@pytest.mark.parametrize("where, row", [
    ("data/sample/interim/clean.jsonl", {"reply_id": "7", "reply_author": "sewer", "reply": GONE}),
    ("data/sample/interim/split.rejected.jsonl",
     {"id": "7", "reason": "review_drop", "pair": {"reply_author": "sewer", "tweet": GONE}}),
    ("data/sample/review/decisions.jsonl", {"id": "7", "decision": "edit", "reply": GONE}),
    ("data/sample/review/decisions.jsonl",
     {"id": "7", "decision": "edit", "reply": "x", "original": GONE}),
    ("adapters/tiny/trained_texts.jsonl", {"id": "7", "author": "sewer", "text": GONE}),
])  # fmt: skip
def test_a_text_that_left_the_set_after_the_training_is_still_found(project, hub, publish, where, row):
    template = project / "adapters/tiny/chat_template.jinja"
    _write(template, f"{template.read_text()}\n{GONE}")
    assert publish(hub)[0] == 0  # nothing here knows it
    _write(project / where, json.dumps(row) + "\n")
    code, said = publish(hub)
    assert code == 1
    assert "chat_template.jinja" in said and GONE not in said


def test_a_forgotten_text_is_in_no_record_of_a_run_afterwards(project):
    _write(
        project / "adapters/tiny/trained_texts.jsonl",
        json.dumps({"id": "7", "author": "sewer", "text": GONE}) + "\n",
    )
    outcome = forget(project, Target(None, "sewer"))
    assert "adapters/tiny/trained_texts.jsonl" in outcome.removed
    assert outcome.trained_on_it == ["tiny"]
    assert not [path for path in project.rglob("*.jsonl") if GONE in path.read_text()]


@pytest.mark.parametrize("repo", ["reply-8b", "ann/reply 8b", "ann/../x", "ann/b/c", "-ann/x", "ann/x.git"])
def test_a_repository_name_that_the_hub_would_refuse_is_refused_here(repo):
    from lib.base.errors import UserError
    from lib.publish.hub import check_repo_name

    with pytest.raises(UserError, match="expected <user>/<name>"):
        check_repo_name(repo)
