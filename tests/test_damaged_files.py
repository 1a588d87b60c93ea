"""A file whose count or hash is known is checked before it is believed: every kind of file, damaged in every
way.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import read_dicts, read_json, write_bytes, write_json
from lib.base.seals import OUTDATED_S, checked, seal_of
from lib.base.settings import EvalConfig, TrainConfig
from lib.data.forget import forget, target_of
from lib.data.raw import raw_files
from lib.evaluate.compare import side
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.people_page import make_items, write_files
from lib.evaluate.runs import Run, read_runs
from lib.export.lora import read_lora
from lib.train.fingerprint import up_to_date
from lib.train.manifest import read_manifest
from lib.train.rows import read_splits
from tests.damage import DAMAGES, MENDED, harm
from tests.data.test_stages import CONFIG, items
from tests.eval_data import write_configs, write_data
from tests.items import all_stages, stage, write_items
from tests.stubs.anthropic_server import AnthropicStub
from tests.stubs.openai_server import OpenAIStub

ROOT = Path(__file__).parent.parent


def refused(done, path, *words):
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr and done.stderr.count("error:") == 1
    assert str(path) in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


# --- a data set -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    (folder / "configs").mkdir()
    (folder / "configs/data-x.yaml").write_text(CONFIG)
    write_items(folder / "data/x/raw", items())
    os.utime(folder / "data/x/raw/items.jsonl", (1767225600, 1767225600))
    all_stages(folder)
    return folder


@pytest.fixture
def data(built, tmp_path, monkeypatch):
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


READERS = {  # file -> (the step that reads it, the file that make must build again)
    "interim/pairs.jsonl": ("filter", "interim/pairs.jsonl"),
    "interim/filtered.jsonl": ("clean", "interim/filtered.jsonl"),
    "interim/clean.jsonl": ("split", "interim/clean.jsonl"),
    "interim/tweets.jsonl": ("split", "interim/pairs.jsonl"),
    "interim/pairs.rejected.jsonl": ("data_report", "interim/pairs.jsonl"),
    "interim/filtered.rejected.jsonl": ("split", "interim/filtered.jsonl"),
    "interim/candidates.jsonl": ("split", "interim/filtered.jsonl"),
    "interim/clean.rejected.jsonl": ("split", "interim/clean.jsonl"),
    "interim/split.rejected.jsonl": ("data_report", "processed/manifest.json"),
    "processed/train.jsonl": ("data_report", "processed/manifest.json"),
    "processed/val.jsonl": ("data_report", "processed/manifest.json"),
    "processed/test.jsonl": ("data_report", "processed/manifest.json"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_of_a_data_set_is_refused_and_built_again_for_free(data, name, damage):
    path, (reader, target) = Path("data/x") / name, READERS[name]
    before = {path: path.read_bytes() for path in Path("data/x").rglob("*.jsonl")}
    if not before[path] or not harm(path, damage):
        return
    refused(stage(data, reader), path, "`make data DATA=x` builds it again, for free.")
    if (Path("data/x") / target).exists():
        assert (
            Path("data/x") / target
        ).stat().st_mtime == OUTDATED_S  # so that make, which sees times only, does
    if damage in MENDED:
        all_stages(data)
        assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("damage", ["cut at a line", "a digit changed", "gone"])
@pytest.mark.parametrize("name", ["train", "val", "test", "test_prompts", "preferences", "calibration"])
def test_training_and_evaluation_believe_no_damaged_processed_file(data, name, damage):
    from lib.evaluate.eval_plan import eval_plan
    from lib.train.preference_rows import read_preferences
    from lib.train.rows import prompts_apart

    config, path = TrainConfig(data="x"), Path("data/x/processed") / f"{name}.jsonl"
    harm(path, damage)
    for read, names in (
        (lambda: read_splits(config), ("train", "val", "test")),
        (lambda: prompts_apart(config, {"train": [], "val": []}), ("test_prompts",)),
        (lambda: eval_plan(Evaluation("r", config, EvalConfig(), FOLDER)), ("test_prompts", "calibration")),
        (lambda: read_preferences(config), ("preferences",)),
    ):
        if name in names and path.exists() | (name not in ("train", "test_prompts", "preferences")):
            with pytest.raises(UserError, match=rf"{path} .*`make data DATA=x` builds it again, for free"):
                read()


def test_a_moved_data_set_without_raw_files_is_copied_again(data):
    shutil.rmtree("data/x/raw")
    harm(Path("data/x/processed/val.jsonl"), "cut at a line")
    with pytest.raises(
        UserError, match=r"val.jsonl holds \d+ lines, and \d+ were written.* Copy data/x/processed again"
    ):
        read_splits(TrainConfig(data="x"))


def test_a_damaged_train_file_is_no_reason_to_train_under_another_name(data):
    from lib.train.fingerprint import refuse_another_run

    write_json(Path("adapters/r/manifest.json"), {"fingerprint": "of the whole file"})
    harm(Path("data/x/processed/train.jsonl"), "a line removed")
    with pytest.raises(UserError, match="`make data DATA=x` builds it again, for free"):
        refuse_another_run(Path("adapters/r"), TrainConfig(data="x"))


def test_files_of_an_earlier_version_are_read(data):
    Path("data/x/interim/manifest.json").unlink()
    value = read_json(Path("data/x/processed/manifest.json"))
    write_json(
        Path("data/x/processed/manifest.json"),
        {name: rest for name, rest in value.items() if name != "files"},
    )
    for name in ("filter", "clean", "split", "data_report"):
        assert stage(data, name).returncode == 0


def test_a_damaged_record_of_the_hashes_is_made_again(data):
    Path("data/x/interim/manifest.json").write_text('{"files": {"pairs.js')
    refused(stage(data, "filter"), "data/x/interim/manifest.json", "is damaged", "`make data DATA=x`")
    all_stages(data)
    assert stage(data, "data_report").returncode == 0


def test_a_kill_between_a_file_and_its_hash_leaves_a_step_that_make_runs_again(data, monkeypatch):
    from lib.base import seals

    def killed(path, content):
        raise KeyboardInterrupt

    before = Path("data/x/interim/pairs.jsonl").stat().st_mtime_ns
    monkeypatch.setattr(seals, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        seals.write_sealed(Path("data/x/interim/pairs.jsonl"), [{"new": 1}])
    assert Path("data/x/interim/pairs.jsonl").stat().st_mtime_ns == before


def test_decisions_of_a_review_are_the_users_own(data):
    ids = [row["reply_id"] for row in read_dicts(Path("data/x/interim/clean.jsonl"))]
    write_items(
        Path("data/x/review"),
        [{"id": ids[0], "decision": "drop", "at": "2026-01-01T00:00:00Z"}],
        "decisions.jsonl",
    )
    assert stage(data, "split").returncode == 0
    write_items(
        Path("data/x/review"),
        [{"id": ids[1], "decision": "drop", "at": "2026-01-01T00:00:00Z"}],
        "decisions.jsonl",
    )
    assert stage(data, "split").returncode == 0


def test_what_was_forgotten_is_no_damage_and_what_was_damaged_before_stays_damaged(data):
    harm(Path("data/x/processed/val.jsonl"), "a line removed")
    pair = read_dicts(Path("data/x/processed/train.jsonl"))[0]
    forget(data, target_of(pair["reply_id"], None))
    for path in Path("data/x").glob("*/*.jsonl"):
        if path.name != "val.jsonl":
            assert checked(path) == path
    with pytest.raises(UserError, match=r"val\.jsonl"):
        checked(Path("data/x/processed/val.jsonl"))


def test_make_data_notices_a_damaged_file_with_a_fresh_time_and_mends_it_the_next_time(tmp_path):
    for name in ("Makefile", "scripts", "lib", "requirements.txt"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/data-x.yaml").write_text(CONFIG)
    write_items(tmp_path / "data/x/raw", items(24))
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/setup.stamp").touch()

    def make():
        environment = {
            name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")
        }
        command = ["make", "data", "DATA=x", f"PYTHON={sys.executable}"]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert make().returncode == 0
    path = tmp_path / "data/x/interim/pairs.jsonl"
    whole = path.read_bytes()
    harm(path, "cut at a line")
    broken = make()
    assert broken.returncode != 0 and "pairs.jsonl holds" in broken.stderr
    mended = make()
    assert mended.returncode == 0 and path.read_bytes() == whole, mended.stderr


# --- raw files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_raw_file_that_is_not_the_one_its_meta_knows_is_refused(data, damage):
    path, meta = Path("data/x/raw/items.jsonl"), Path("data/x/raw/items.meta.json")
    seal = seal_of(path.read_bytes())
    write_json(
        meta,
        {
            "collected_at": "2025-03-01T00:00:00Z",
            "run_id": "R7",
            "n_items": seal["rows"],
            "sha256": seal["sha256"],
        },
    )
    assert stage(data, "pair").returncode == 0
    harm(path, damage)
    refused(stage(data, "pair"), path, "`make data DATA=x` reads run R7 again, for free", f"delete {meta}")


@pytest.mark.parametrize("damage", ["cut at a line", "a line removed", "a line doubled", "gone"])
def test_a_meta_file_of_an_earlier_version_knows_the_count(data, damage):
    path = Path("data/x/raw/items.jsonl")
    write_json(
        path.with_suffix(".meta.json"),
        {"collected_at": "2025-03-01T00:00:00Z", "n_items": seal_of(path.read_bytes())["rows"]},
    )
    assert stage(data, "pair").returncode == 0
    harm(path, damage)
    refused(stage(data, "pair"), path, "Copy it again from where it came.")


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name not in ("empty", "gone")])
def test_the_users_own_raw_files_are_read_as_they_are(data, damage):
    harm(Path("data/x/raw/items.jsonl"), damage)
    write_json(Path("data/x/raw/items.meta.json"), {"collected_at": "2025-03-01T00:00:00Z"})
    assert len(raw_files(Path("data/x/raw"))) == 1
    assert stage(data, "pair").returncode == 0


def test_the_bundled_sample_is_the_one_that_its_meta_knows():
    assert [file.path.name for file in raw_files(ROOT / "data/sample/raw")] == ["items.jsonl"]
    assert read_json(ROOT / "data/sample/raw/items.meta.json")["sha256"]


# --- an evaluation --------------------------------------------------------------------------------------


ARGS = ("configs/train-mine.yaml", "--eval", "configs/eval-quick.yaml")
FOLDER = Path("adapters/mine/eval/quick")


def evaluate(folder):
    done = [stage(folder, name, *ARGS) for name in ("generate", "judge", "report")]
    assert [one.returncode for one in done] == [0] * 3, "".join(one.stderr for one in done)
    return done


@pytest.fixture(scope="module")
def served():
    with OpenAIStub() as server:
        yield server


@pytest.fixture(scope="module")
def judged(tmp_path_factory, served):
    folder = tmp_path_factory.mktemp("judged")
    processed = write_data(folder, n_prompts=12, n_preferences=40)
    write_bytes(processed / "val.jsonl", (processed / "test.jsonl").read_bytes())
    files = {path.name: seal_of(path.read_bytes()) for path in processed.glob("*.jsonl")}
    filters = {"filter": {"toxicity_model": "none", "language": "en"}}
    write_json(
        processed / "manifest.json",
        {"embedding_model": "char-ngrams", "config": filters, "counts": {}, "files": files},
    )
    arms = {
        name: {"base_url": served.url, "model": model}
        for name, model in zip(("base", "tuned"), served.models, strict=True)
    }
    write_configs(folder, evaluation={"engine": {"openai": arms}, "systems": ["base", "tuned", "human"]})
    write_json(folder / "adapters/mine/manifest.json", {"train_eval_gap": 0.1, "config": {"data": "small"}})
    evaluate(folder)
    return folder


@pytest.fixture
def evaluation(judged, served, tmp_path, monkeypatch):
    shutil.copytree(judged, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    served.bodies.clear()
    return tmp_path


def contents():
    """What the steps wrote, without the two manifests and the report, which say when."""
    names = (
        "replies.jsonl",
        "model_metrics.json",
        "judgments.jsonl",
        "judgments.failed.jsonl",
        "calibration.jsonl",
        "calibration.json",
    )
    return {name: (FOLDER / name).read_bytes() for name in names}


OUTPUTS = {  # file -> (the step that reads it, the file that make must write again)
    "replies.jsonl": ("judge", "replies.jsonl"),
    "model_metrics.json": ("report", "replies.jsonl"),
    "judgments.jsonl": ("report", "judgments.jsonl"),
    "judgments.failed.jsonl": ("report", "judgments.jsonl"),
    "calibration.json": ("report", "judgments.jsonl"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", OUTPUTS)
def test_damaged_replies_and_verdicts_are_refused_and_written_again_for_free(
    evaluation, served, name, damage
):
    before, (reader, target) = contents(), OUTPUTS[name]
    if not before[name] or (
        name == "model_metrics.json" and damage == "a digit changed"
    ):  # it holds no number here
        (FOLDER / name).write_bytes(b'{"tweet_id": "5001"}\n')
    elif not harm(FOLDER / name, damage):
        return
    (FOLDER / "report.json").unlink()
    refused(
        stage(evaluation, reader, *ARGS),
        FOLDER / name,
        "`make eval RUN=mine EVAL=quick` writes it again",
        "for free",
    )
    if (FOLDER / target).exists():
        assert (FOLDER / target).stat().st_mtime == OUTDATED_S
    assert not (FOLDER / "report.json").exists()
    if damage in MENDED:
        evaluate(evaluation)
        assert contents() == before and not served.bodies


def test_people_and_comparisons_read_no_damaged_replies(evaluation):
    harm(FOLDER / "replies.jsonl", "cut at a line")
    config = TrainConfig(data="small")
    with pytest.raises(UserError, match="`make eval RUN=mine EVAL=quick` writes it again"):
        make_items(Evaluation("mine", config, EvalConfig(), FOLDER))
    run = Run(
        name="mine",
        folder=Path("adapters/mine"),
        manifest=read_manifest(Path("adapters/mine/manifest.json")),
        history=[],
        reports={},
    )
    with pytest.raises(UserError, match="`make eval RUN=mine EVAL=quick` writes it again"):
        side(run, "quick", Path())


@pytest.mark.parametrize("damage", ["cut in a line", "a digit changed", "gone"])
def test_what_people_said_is_not_believed_once_it_is_damaged(evaluation, damage):
    items = make_items(Evaluation("mine", TrainConfig(data="small"), EvalConfig(), FOLDER))
    write_files(Evaluation("mine", TrainConfig(data="small"), EvalConfig(), FOLDER), items)
    Path("ann.csv").write_text("\n".join(["rater,item,choice", *(f"ann,{item.id},A" for item in items)]))
    asked = ("human_eval", *ARGS, "--import", "ann.csv")
    assert stage(evaluation, *asked).returncode == 0
    assert stage(evaluation, "report", *ARGS).returncode == 0
    path = FOLDER / "human/report.json"
    if not harm(path, damage) or damage == "gone":  # then nobody was asked
        return
    refused(stage(evaluation, "report", *ARGS), path, "`make human-eval RUN=mine IMPORT=...`")
    assert stage(evaluation, *asked).returncode == 0
    assert stage(evaluation, "report", *ARGS).returncode == 0


def test_replies_that_were_changed_with_their_log_are_not_believed(evaluation, served):
    for path in (FOLDER / "replies.jsonl", FOLDER / "work/replies.jsonl"):
        path.write_bytes(path.read_bytes().replace(b"tuned-model says", b"tuned-model sings", 1))
    done = stage(evaluation, "generate", *ARGS)
    refused(done, FOLDER / "work/replies.jsonl", "Copy one of them back", "costs time on the GPU")
    assert not served.bodies
    (FOLDER / "work/replies.jsonl").unlink()
    assert stage(evaluation, "generate", *ARGS).returncode == 0


def test_replies_cut_with_their_log_are_generated_anew(evaluation, served):
    before = contents()["replies.jsonl"].count(b"\n")
    for path in (FOLDER / "replies.jsonl", FOLDER / "work/replies.jsonl"):
        harm(path, "cut at a line")
    evaluate(evaluation)
    assert contents()["replies.jsonl"].count(b"\n") == before and served.bodies


@pytest.mark.parametrize(
    "damage", ["cut at a line", "cut in a line", "a digit changed", "a line doubled", "gone"]
)
def test_verdicts_that_were_damaged_with_their_log_are_made_again(evaluation, damage):
    before = contents()
    log = FOLDER / "work/judgments.jsonl"
    harm(FOLDER / "judgments.jsonl", "cut at a line")
    if damage == "a digit changed":
        rows = [json.loads(line) | {"verdict": 1.0} for line in log.read_bytes().splitlines()]
        log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        harm(log, damage)
    evaluate(evaluation)
    assert contents() == before


def test_manifests_of_an_earlier_version_are_understood(evaluation):
    for name in ("replies", "judgments"):
        path = FOLDER / f"{name}.manifest.json"
        value = read_json(path)
        files = {file: seal["sha256"] for file, seal in value.pop("files").items()}
        write_json(
            path,
            value | ({"replies_sha256": files["replies.jsonl"]} if name == "replies" else {"sha256": files}),
        )
    assert ["nothing to do" in done.stdout for done in evaluate(evaluation)] == [True, True, False]
    for name, reader in (("judgments.jsonl", "report"), ("replies.jsonl", "judge")):
        harm(FOLDER / name, "cut at a line")
        refused(stage(evaluation, reader, *ARGS), FOLDER / name, "for free")


@pytest.mark.parametrize("name", ["replies", "judgments"])
def test_a_damaged_manifest_is_written_again(evaluation, name):
    before = contents()
    harm(FOLDER / f"{name}.manifest.json", "cut in a line")
    refused(
        stage(evaluation, "report", *ARGS),
        FOLDER / f"{name}.manifest.json",
        "`make eval RUN=mine EVAL=quick`",
    )
    evaluate(evaluation)
    assert contents() == before


def test_an_evaluation_goes_on_after_a_tweet_was_forgotten(evaluation):
    (Path("data/small/raw")).mkdir()
    forget(evaluation, target_of("5001", None))
    assert stage(evaluation, "report", *ARGS).returncode == 0
    assert read_json(FOLDER / "report.json")["n_prompts"] == 11


# --- Claude's answers were paid for ---------------------------------------------------------------------


@pytest.fixture
def paid(evaluation, monkeypatch):
    """The same evaluation judged by Claude, through the real SDK against a loopback API."""
    with AnthropicStub() as stub:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", stub.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", stub.KEY)
        monkeypatch.setenv("YES", "1")
        monkeypatch.delenv("MAX_USD", raising=False)
        config = Path("configs/eval-quick.yaml")
        write_json(config, read_json(config) | {"judge": {"kind": "claude", "batch": "never"}})
        evaluate(evaluation)
        monkeypatch.delenv("ANTHROPIC_API_KEY")  # nothing below may ask
        monkeypatch.delenv("YES")
        yield evaluation


@pytest.mark.parametrize("log", [None, "cut at a line", "a digit changed", "gone"])
def test_claudes_verdicts_are_written_again_from_what_was_paid_for(paid, log):
    before = contents()
    harm(FOLDER / "judgments.jsonl", "cut at a line")
    if log == "a digit changed":
        path = FOLDER / "work/judgments.jsonl"
        path.write_text("".join(json.dumps(row | {"verdict": 1.0}) + "\n" for row in read_dicts(path)))
    elif log:
        harm(FOLDER / "work/judgments.jsonl", log)
    refused(stage(paid, "report", *ARGS), FOLDER / "judgments.jsonl", "for free")
    evaluate(paid)
    assert contents() == before


def test_a_verdict_whose_answer_was_cut_off_is_not_paid_for_again(paid):
    before = contents()
    harm(FOLDER / "judgments.jsonl", "cut at a line")
    harm(FOLDER / "work/answers.jsonl", "cut at a line")
    evaluate(paid)
    assert contents() == before


def test_claudes_answers_that_were_changed_as_well_are_refused_with_what_asking_again_costs(paid):
    harm(FOLDER / "judgments.jsonl", "cut at a line")
    (FOLDER / "work/judgments.jsonl").unlink()
    answers = FOLDER / "work/answers.jsonl"
    answers.write_bytes(answers.read_bytes().replace(b"A>B", b"B>A"))
    refused(stage(paid, "judge", *ARGS), answers, "Copy one of them back, for free", "paid for once more")


# --- a run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut in a line", "empty", "gone"])
@pytest.mark.parametrize(
    "name", ["adapter_config.json", "tokenizer.json", "tokenizer_config.json", "validation.json"]
)
def test_a_damaged_file_beside_the_adapter_is_refused_wherever_the_adapter_is_used(tiny_run, name, damage):
    run, config = Path("adapters/tiny"), load_config(Path("configs/train-tiny.yaml"), TrainConfig)
    assert up_to_date(run, config)
    harm(run / name, damage)
    said = rf"{run / name} .*Copy it again from where it was trained, for free.*`make plan RUN=tiny`"
    for use in (up_to_date, read_lora):
        with pytest.raises(UserError, match=said):
            use(run, config)


def test_a_damaged_log_of_a_run_is_not_drawn_and_stops_nothing_else(tiny_run):
    log, other = Path("adapters/tiny/metrics.jsonl"), Path("adapters/other/manifest.json")
    write_json(other, {"config": {"data": "sample"}})
    harm(log, "a line removed")
    assert up_to_date(log.parent, load_config(Path("configs/train-tiny.yaml"), TrainConfig))
    with pytest.raises(UserError, match="delete it: only the curves are lost"):
        read_runs(["tiny", "other"], Path())
    log.unlink()
    assert read_runs(["tiny", "other"], Path())[0].history == []
