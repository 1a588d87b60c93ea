"""The project's own commands on a rented machine: `make train` and `make replies` of the tiny model."""

import shutil
from dataclasses import replace

import pytest

import scripts.rent
from lib.base.config import load_config
from lib.base.files import read_json, read_jsonl
from lib.base.schema import Reply
from lib.base.settings import TrainConfig
from lib.remote.hf_jobs import hf_jobs
from lib.remote.need import need_of
from lib.remote.orders import order, work_of
from lib.remote.renting import Renting
from lib.train.fingerprint import fingerprint_of, up_to_date
from lib.train.provenance import COMMIT, git_commit
from tests.remote.test_hf_jobs import hub  # noqa: F401  a fixture
from tests.remote.world import QUICK, ROOT, Desk, FastClock, OnLoopback

pytestmark = pytest.mark.slow


@pytest.fixture
def repository(_built, project):
    """A home with the Makefile, a config of every kind, and the tiny model's corpus."""
    for name in ("Makefile", "requirements.txt"):
        (project / name).symlink_to(ROOT / name)
    for name in ("eval-offline.yaml", "data-sample.yaml"):
        shutil.copy(ROOT / "configs" / name, project / "configs")
    evaluation = project / "configs/eval-offline.yaml"
    evaluation.write_text(evaluation.read_text() + "max_prompts: 3\n")
    (project / "data/sample/processed/manifest.json").write_text('{"embedding_model": "char-ngrams"}')
    (project / "data/cache").symlink_to((_built / "data/cache").resolve())
    return project


def here(work, project):
    """The image's torch is this computer's, so nothing is installed beside it; a machine that is here shares
    what is cached here.
    """
    cache = (project / "data/cache").resolve()
    return replace(work, setup=f"{QUICK.setup} && touch .venv/setup.stamp && ln -sfn {cache} data/cache")


def rent(project, engine, fast):
    config = load_config(project / "configs/train-tiny.yaml", TrainConfig)
    work = here(work_of("tiny", "sample", "offline", told={COMMIT: git_commit()}), project)
    job = order(
        project,
        "tiny",
        config,
        need_of(config, None),
        fingerprint_of(config),
        work,
        lambda: up_to_date(project / "adapters/tiny", config),
    )
    desk = Desk()
    files = Renting(engine(desk), job, desk.said.append, desk.asked.append, fast.clock()).run()
    assert "train: 42 rows" in desk.text and "generate: tuned" in desk.text, desk.text
    assert {
        "adapter_model.safetensors",
        "metrics.jsonl",
        "manifest.json",
        "eval/offline/replies.jsonl",
    } <= set(files)
    replies = read_jsonl(project / "adapters/tiny/eval/offline/replies.jsonl", Reply)
    assert {reply.system for reply in replies} >= {"base", "tuned"}
    assert read_json(project / "adapters/tiny/manifest.json")["fingerprint"] == fingerprint_of(config)
    assert read_json(project / "adapters/tiny/manifest.json")["git_commit"] == git_commit()
    assert not (project / "adapters/tiny/checkpoints").exists()
    assert up_to_date(project / "adapters/tiny", config)


def test_the_tiny_run_comes_home_from_a_pod(repository, stub):
    fast = FastClock(0.3)
    rent(repository, lambda desk: OnLoopback(stub.folder, fast.clock(), desk.said.append, ssh=True), fast)
    assert stub.alive() == []


def test_the_tiny_run_comes_home_from_a_job(repository, hub):  # noqa: F811
    fast = FastClock(0.3)
    rent(repository, lambda desk: hf_jobs(fast.clock(), desk.said.append), fast)
    assert hub.alive() == []


def test_replies_alone_are_rented_for_a_run_that_is_home(repository, trained, stub, monkeypatch, capsys):
    shutil.copytree(trained / "adapters", repository / "adapters")
    of_run, fast = repository / "adapters/tiny", FastClock(0.3)
    manifest = (of_run / "manifest.json").read_bytes()
    pod = lambda clock, say: OnLoopback(stub.folder, fast.clock(), say, ssh=True)  # noqa: E731
    monkeypatch.setitem(scripts.rent.ENGINES, "runpod", pod)
    monkeypatch.setattr(scripts.rent, "work_of", lambda *a, **k: here(work_of(*a, **k), repository))
    command = "rent --config configs/train-tiny.yaml --eval offline --on runpod --replies"
    monkeypatch.setattr("sys.argv", command.split())
    scripts.rent.main()
    said = capsys.readouterr().out
    assert "generate: tuned" in said and "train:" not in said
    assert said.endswith("wrote adapters/tiny/eval/offline/replies.jsonl\n")
    assert (of_run / "manifest.json").read_bytes() == manifest
    replies = read_jsonl(of_run / "eval/offline/replies.jsonl", Reply)
    assert {reply.system for reply in replies} >= {"base", "tuned"}
    scripts.rent.main()
    assert "Nothing was rented" in capsys.readouterr().out and stub.alive() == []
