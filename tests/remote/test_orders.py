"""What is done on a machine, for which run, with which secrets; and the commands that rent and list."""

import json
import shlex
import tarfile

import pytest

import scripts.rent
import scripts.rented
from lib.base.config import load_config
from lib.base.errors import UserError
from lib.base.files import lock
from lib.base.settings import TrainConfig
from lib.remote.orders import order, work_of
from lib.remote.seam import MACHINE_NAME, Machine
from tests.remote.shop import Shop, begun
from tests.remote.world import NEED, ROOT

PROCESSED, TRAINED = "data/my set/processed/manifest.json", "adapters/a run/manifest.json"
NAMES = ["RUN=a run", "DATA=my set", "EVAL=claude"]


@pytest.mark.parametrize("to_train", [True, False])
def test_a_machine_runs_the_projects_own_commands_and_makes_nothing_twice(to_train):
    work = work_of("a run", "my set", "claude", to_train, {"COMMIT": "abc 1"})
    train = ["COMMIT=abc 1", "make", "train", *NAMES, "ON=here", "-o", PROCESSED]
    assert shlex.split(work.train) == (train if to_train else [":"])
    assert shlex.split(work.replies) == ["make", "replies", *NAMES, "ON=here", "-o", PROCESSED, "-o", TRAINED]
    assert shlex.split(work.pack) == [".venv/bin/python", "-m", "scripts.pack_results", "--run", "a run"]
    assert work.setup == "make setup-runpod"


@pytest.mark.parametrize("token, secrets", [(" hf_x ", {"HF_TOKEN": "hf_x"}), ("", {}), (" ", {})])
def test_the_only_secret_that_leaves_is_a_token_that_is_set(project, monkeypatch, token, secrets):
    monkeypatch.setenv("HF_TOKEN", token)
    (project / "adapters/base/").mkdir(parents=True)
    (project / "adapters/base/manifest.json").write_text("{}")
    config = load_config(project / "configs/train-tiny.yaml", TrainConfig)
    wanted = order(project, "tiny", config, NEED, "the job", work_of("tiny", "sample", "x"), bool, ["base"])
    job = wanted.job(name := wanted.new_name())
    assert MACHINE_NAME.fullmatch(name) and (wanted.folder, wanted.hash) == (
        project / "adapters/tiny",
        "the job",
    )
    assert (job.secrets, job.folder) == (secrets, project / "adapters/tiny/remote" / name)
    assert "hf_x" not in repr(job)
    wanted.pack(job)
    with tarfile.open(job.parcel) as parcel:
        assert {"adapters/base/manifest.json", "data/sample/processed/train.jsonl"} <= set(parcel.getnames())


@pytest.fixture
def arguments(project, monkeypatch):
    """Arguments of `rent` for the run tiny, whose evaluation is there."""

    def of(*more):
        words = ["rent", "--config", "configs/train-tiny.yaml", "--eval", "offline", "--on", "runpod", *more]
        monkeypatch.setattr("sys.argv", words)
        return scripts.rent.parse_args()

    (project / "configs/eval-offline.yaml").write_text((ROOT / "configs/eval-offline.yaml").read_text())
    return of


def test_a_job_is_of_its_config_and_an_adapter_to_start_from_goes_with_it(arguments, project):
    config = load_config(project / "configs/train-tiny.yaml", TrainConfig)
    job_hash, adapters, is_done = scripts.rent.job_of(arguments(), config)
    assert adapters == [] and not is_done()
    (project / "adapters/base").mkdir(parents=True)
    (project / "adapters/base/manifest.json").write_text(json.dumps({"adapter_sha256": "0" * 64}))
    other, adapters, _ = scripts.rent.job_of(
        arguments(), config.model_copy(update={"init_adapter": "base", "seed": 7})
    )
    assert adapters == ["base"] and other != job_hash
    (project / "configs/eval-offline.yaml").write_text("no_such_key: 1\n")
    with pytest.raises(UserError, match=r"eval-offline\.yaml"):  # before anything is rented
        scripts.rent.job_of(arguments(), config)


def test_replies_alone_are_of_their_evaluation_and_their_adapter(arguments, project):
    config = load_config(project / "configs/train-tiny.yaml", TrainConfig)
    run, path = project / "adapters/tiny", project / "configs/eval-offline.yaml"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text(json.dumps({"model": "tiny", "config": {"data": "sample"}}))
    (run / "adapter_model.safetensors").write_bytes(b"")
    hashes = [scripts.rent.job_of(arguments("--replies"), config)[0]]
    path.write_text(path.read_text() + "max_prompts: 3\n")
    hashes.append(scripts.rent.job_of(arguments("--replies"), config)[0])
    (run / "manifest.json").write_text(
        json.dumps({"model": "tiny", "config": {"data": "sample"}, "n_train": 1})
    )
    job_hash, adapters, _ = scripts.rent.job_of(arguments("--replies"), config)
    assert len({*hashes, job_hash}) == 3 and adapters == ["tiny"]


def test_two_commands_do_not_rent_for_one_run(arguments, project, monkeypatch):
    arguments()
    monkeypatch.setattr(scripts.rent, "refuse_unready", lambda data: None)
    monkeypatch.setitem(scripts.rent.ENGINES, "runpod", lambda *_: pytest.fail("asked"))
    with lock(project / "adapters/tiny/remote.lock"), pytest.raises(UserError, match="in use by another run"):
        scripts.rent.main()


def test_rented_lists_ends_and_tells_what_may_still_be_billed(project, shop, monkeypatch, capsys):
    monkeypatch.setattr(scripts.rented, "engines", lambda clock, say: [shop])
    monkeypatch.setattr("sys.argv", ["rented"])
    scripts.rented.main()
    assert capsys.readouterr().out == "rented: no machine may still be billed (asked runpod)\n"
    machine = begun(shop.ending(project)).machine
    begun(shop.ending(project), 1, is_started=False)
    shop.alive = [Machine(machine.id, machine.name, 0.7), Machine("far", "reply-train-far-0123abcd")]
    scripts.rented.main()
    assert capsys.readouterr().out.splitlines() == [
        "runpod  reply-train-tiny-00000000  id0  $0.70 an hour  run tiny",
        "runpod  reply-train-tiny-00000001  perhaps never started  $0.60 an hour  run tiny",
        "runpod  reply-train-far-0123abcd  far  price unknown  not started from this folder",
        "rented: 3 machines may still be billed (asked runpod)",
        "next: make rented END=1      ends them; make train ON=... goes on with the one of its run",
    ]
    monkeypatch.setattr("sys.argv", ["rented", "--end"])
    shop.cannot_end, shop.fast.moment_s = True, 0
    monkeypatch.setattr(scripts.rented, "Clock", shop.fast.clock)
    with pytest.raises(UserError, match="reply-train-tiny-00000000 may still be billed"):
        scripts.rented.main()
    assert "rented: 2 machines may still be billed" in capsys.readouterr().out
    shop.cannot_end = False
    scripts.rented.main()
    assert "rented: no machine may still be billed" in capsys.readouterr().out and shop.alive == []


def test_rented_says_that_nobody_was_asked(project, monkeypatch, capsys):
    monkeypatch.setattr(scripts.rented, "engines", lambda clock, say: [])
    monkeypatch.setattr("sys.argv", ["rented"])
    begun(Shop().ending(project))
    with pytest.raises(UserError, match="is on runpod, whose key is not set"):
        scripts.rented.main()
    assert "1 machine may still be billed (asked no provider: no key is set)" in capsys.readouterr().out
