"""make space: a folder that starts by itself, shows recorded replies, and holds nothing of anybody's."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlparse

import pytest
import yaml

from lib.base.console import run
from lib.base.errors import UserError
from lib.base.files import read_dicts, read_json
from lib.base.own_modules import imports
from lib.base.seals import reseal
from lib.publish.dist_leaks import refuse_leaks
from lib.publish.known import Known
from lib.publish.recordings import SAMPLE, sample_texts
from lib.publish.space import gradio_pin
from tests.older_run import EVALUATION, unpack
from tests.stubs.hub_server import TOKEN

ROOT = Path(__file__).parents[2]
SPACE = Path("adapters/tiny/space")
N = 47  # held-out tweets of the run, all of the bundled sample
# Nothing in the Space's requirements brings these; an import of one ends the page.
ABSENT = "torch transformers trl peft accelerate datasets anthropic apify_client sentence_transformers"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    return unpack(tmp_path_factory.mktemp("older"))


@pytest.fixture
def older(unpacked, tmp_path, monkeypatch):
    """The project with its finished and evaluated run."""
    folder = Path(shutil.copytree(unpacked, tmp_path / "project"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def space(monkeypatch, capfd):
    """The script's main. Returns (exit code, everything it said)."""
    from scripts.space import main

    def call(*flags, **environment):
        for name, value in {"YES": "", **environment}.items():
            monkeypatch.setenv(name, value)
        configs = ["--config", "configs/train-tiny.yaml", "--eval", "configs/eval-offline.yaml"]
        monkeypatch.setattr(sys, "argv", ["space", *configs, *flags])
        with pytest.raises(SystemExit) as exit:
            run(main)
        return exit.value.code, "".join(capfd.readouterr())

    return call


@pytest.fixture(scope="module")
def written(unpacked, tmp_path_factory):
    """The folder as it is written by default; read only."""
    from lib.evaluate.evaluation import Evaluation
    from lib.publish.recordings import recordings
    from lib.publish.space import build_space

    folder = Path(shutil.copytree(unpacked, tmp_path_factory.mktemp("written") / "project"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        evaluation = Evaluation.of(Path("configs/train-tiny.yaml"), Path("configs/eval-offline.yaml"))
        return folder / build_space(evaluation, recordings(evaluation, is_held_out_chosen=False))


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def say(number, reply, system="tuned"):
    """Put a reply into the evaluation, as if the system had written it."""
    path = EVALUATION / "replies.jsonl"
    rows = read_dicts(path)
    [row for row in rows if row["system"] == system][number]["reply"] = reply
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    reseal(path, content)
    path.write_bytes(content)


def not_the_sample():
    """From here on the tweets may be anybody's: the sample's file is another one."""
    with SAMPLE.open("a") as handle:
        handle.write("\n")


def test_the_front_matter_names_what_the_space_runs_on(written):
    card = (written / "README.md").read_text()
    settings = yaml.safe_load(card.split("---\n")[1])
    pins = (written / "requirements.txt").read_text().split()
    assert settings["sdk"] == "gradio"
    assert f"gradio=={settings['sdk_version']}" in pins
    assert settings["sdk_version"] == version("gradio")
    assert (written / settings["app_file"]).is_file()
    assert len(settings["short_description"]) <= 60
    assert {settings["colorFrom"], settings["colorTo"]} <= {"blue", "gray"}


def test_its_modules_are_those_of_the_demo_as_they_are_and_none_is_missing(written):
    made = {"README.md", "requirements.txt", "recorded.json"}
    for path in files(written):
        name = path.relative_to(written).as_posix()
        origin = ROOT / ("demo/space_app.py" if name == "app.py" else name)
        if name not in made:
            assert path.read_bytes() == origin.read_bytes(), name
        if path.suffix == ".py":
            needed = [file.relative_to(ROOT) for file in imports(origin)]
            assert [str(file) for file in needed if not (written / file).is_file()] == [], name
    assert (written / "lib/base/__init__.py").is_file()
    assert (written / "demo/style.css").is_file()


def test_it_shows_invented_tweets_only_and_names_nobody(written, unpacked):
    replayed = read_json(written / "recorded.json")
    assert len(replayed["recorded"]) == N
    assert {one["tweet"] for one in replayed["recorded"]} <= sample_texts_of(unpacked)
    rows = read_dicts(unpacked / "data/sample/processed/test_prompts.jsonl")
    text = (written / "recorded.json").read_text()
    assert not [row for row in rows if row["tweet_id"] in text or row["tweet_author"] in text]
    assert set(replayed["recorded"][0]) == {"tweet", "base", "tuned", "seed", "drafts", "fewshot"}
    assert "nobody posted them" in (written / "README.md").read_text()


def sample_texts_of(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return sample_texts()


def test_its_readme_claims_what_the_evaluation_says_and_no_more(written):
    card = (written / "README.md").read_text()
    assert "Verdict of the gate: **fail**" in card
    assert "no evidence that the replies are better" in card
    assert "## May this be published?" in card


def test_the_command_says_how_to_try_and_to_upload_it(older, space):
    code, said = space()
    assert code == 0, said
    assert f"{N} tweets with recorded replies" in said
    assert f"hf upload you/tiny-replies {SPACE} . --repo-type space --private" in said
    assert said.splitlines()[-1].startswith("next: make ")
    assert read_json(SPACE / "recorded.json")["recorded"]


@pytest.mark.parametrize("yes", ["", "1"])
def test_other_peoples_tweets_are_not_written_unless_they_were_chosen_whatever_yes_says(older, space, yes):
    not_the_sample()
    code, said = space(YES=yes)
    assert code == 1
    assert f"{N} not a tweet of the sample" in said
    assert "TWEETS=heldout" in said and "make replies RUN=tiny DATA=sample EVAL=offline" in said
    assert not SPACE.exists()


def test_other_peoples_tweets_are_written_once_chosen_and_confirmed_and_the_page_says_so(older, space):
    not_the_sample()
    code, said = space("--tweets", "heldout")
    assert code == 1
    assert "other people" in said and "set YES=1" in said
    assert not SPACE.exists()
    assert space("--tweets", "heldout", YES="1")[0] == 0
    assert "The tweets are other people's" in (SPACE / "README.md").read_text()


def test_replies_that_name_somebody_or_hold_a_key_are_left_out_and_counted(older, space):
    leaks = {
        "ask @some_person": "an @handle",
        f"my key is {TOKEN}": "a Hugging Face token",
        "see x.com/ann/status/1799999999999999999": "a link to a post or profile",
        "mail me: ann@example.org": "an e-mail address",
    }
    for number, (reply, system) in enumerate(zip(leaks, ("tuned", "base", "fewshot", "tuned"), strict=True)):
        say(number, reply, system)
    code, said = space()
    assert code == 0, said
    assert f"{N - len(leaks)} tweets" in said
    shown = (SPACE / "recorded.json").read_text()
    for reply, reason in leaks.items():
        assert re.search(rf"left out: +1 +{reason}", said), said
        assert reply not in said and reply not in shown


def test_a_recited_training_text_is_left_out_unless_it_was_invented(older, space):
    """Of the bundled sample every text is free; of anybody else's none."""
    recited = next(row["reply"] for row in read_dicts(Path("data/sample/processed/train.jsonl"))
                   if len(row["reply"].split()) > 9)  # fmt: skip
    say(3, recited)
    assert f"{N} tweets" in space()[1]
    not_the_sample()
    code, said = space("--tweets", "heldout", YES="1")
    assert code == 0, said
    assert "a run of words from the training texts" in said
    assert recited not in (SPACE / "recorded.json").read_text()


def test_without_recorded_replies_it_says_what_writes_some(older, space):
    (EVALUATION / "replies.jsonl").unlink()
    code, said = space()
    assert code == 1
    assert "make replies RUN=tiny" in said


def test_a_key_in_the_code_of_the_page_stops_it(tmp_path):
    (tmp_path / "page.py").write_text(f"@dataclass\nTOKEN = '{TOKEN}'\n")
    with pytest.raises(UserError, match=r"page\.py:2: a Hugging Face token"):
        refuse_leaks(tmp_path, Known())


# --- the page itself -----------------------------------------------------------------------------------


@pytest.fixture
def started(written, tmp_path):
    """Starts the copied folder where nothing of this project and no model library can be imported."""
    children = []
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard/sitecustomize.py").write_text(f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT.split()}:
            raise ImportError(name + " is not installed in this Space")
sys.meta_path.insert(0, Absent())
""")

    def start(**environment):
        folder = shutil.copytree(written, tmp_path / "space")
        own = {name: value for name, value in os.environ.items() if not name.startswith(("GRADIO", "HF_"))}
        children.append(
            subprocess.Popen(
                [sys.executable, "app.py"],
                cwd=folder,
                env={**own, "PYTHONPATH": str(tmp_path / "guard"), **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        said = []
        for line in children[-1].stdout:
            said.append(line)
            if match := re.search(r"open http://\S+?:(\d+)", line):
                return f"http://127.0.0.1:{match[1]}/"
        raise AssertionError("".join(said))

    yield start
    for child in children:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


@pytest.mark.slow
def test_the_copied_folder_starts_by_itself_and_replays_in_a_browser_on_this_machine_alone(
    started, written, browser
):
    url = started(GRADIO_SSR_MODE="true", GRADIO_RUN_HISTORY="true")  # as a Space's own image has it
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.goto(url)
    shown = [
        (one["tweet"], one["base"], one["tuned"]) for one in read_json(written / "recorded.json")["recorded"]
    ]
    for tweet, base, tuned in shown[:2]:
        page.wait_for_function(
            """([tweet, base, tuned]) => document.querySelector('#tweet textarea')?.value === tweet
            && document.querySelector('#left-reply textarea')?.value === base
            && document.querySelector('#right-reply textarea')?.value === tuned
            && !document.querySelector('#next')?.disabled""",
            arg=[tweet, base, tuned],
        )
        page.click("#next")
    hosts = {urlparse(one).hostname for one in asked if urlparse(one).scheme not in ("data", "blob")}
    assert hosts == {"127.0.0.1"}
    config = page.request.get(url + "config").json()
    assert config["run_history"] is False
    assert page.request.get(url, headers={"Host": "evil.example"}).status == 403
    page.close()


@pytest.mark.slow
def test_as_a_space_it_answers_to_the_names_that_a_space_has_in_a_frame_of_another_site(started):
    import httpx

    url = started(SPACE_ID="ann/replies", SYSTEM="spaces")
    framed = {"Host": "ann-replies.hf.space", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}
    assert httpx.get(url, headers=framed).status_code == 200


def test_gradio_has_an_exact_version_or_the_line_is_asked_for():
    assert gradio_pin(["gradio-client==1.0", "gradio==6.1.2"]) == "6.1.2"
    for pins in (["gradio"], ["gradio>=6"], ["gradio=="], []):
        with pytest.raises(UserError, match="gradio has no exact version"):
            gradio_pin(pins)
