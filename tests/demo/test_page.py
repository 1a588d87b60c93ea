"""The page before anybody opens it: its parts, its endpoints, and what it is launched with."""

import re
import socket

import pytest

from demo.page import LOCAL, build_app, launch, launch_options
from demo.votes import Votes
from lib.base.errors import UserError
from lib.base.settings import SamplingConfig

SAMPLING = SamplingConfig(temperature=0.7, seed=17)


def built(**more):
    return build_app(lambda tweet, sampling: iter([("a", "b")]), "Base", "Tuned", SAMPLING, **more)


def parts(app):
    """elem_id -> the properties of a component."""
    components = app.get_config_file()["components"]
    return {one["props"]["elem_id"]: one["props"] for one in components if one["props"].get("elem_id")}


def fully(tmp_path, **more):
    votes = Votes(tmp_path / "votes.jsonl", "test", "f" * 64)
    return built(votes=votes, drafts=lambda *asked: iter([[]]), has_third=True, **more)


def test_one_model_writes_one_reply_at_a_time_and_only_the_question_is_an_endpoint(tmp_path):
    app = fully(tmp_path)
    writing = [fn for fn in app.fns.values() if fn.concurrency_id == "model"]
    assert len(writing) == 5 and {fn.concurrency_limit for fn in writing} == {1}
    names = {fn.fn.__name__ for fn in writing}
    assert names == {"reply", "again", "following", "drafts"}
    public = [fn.api_name for fn in app.fns.values() if fn.api_visibility == "public"]
    assert public == ["reply"]


@pytest.mark.parametrize("is_live", [True, False])
def test_where_no_model_answers_nothing_can_be_written(tmp_path, is_live):
    page = parts(fully(tmp_path, is_live=is_live, tweets=["one"]))
    for name in ("send", "again", "stop", "clear", "sampling"):
        assert page[name]["visible"] is is_live, name
    assert page["tweet"]["interactive"] is is_live and ("examples" in page) == is_live
    assert page["next"]["visible"] and page["stop"]["interactive"] is False
    said = "Written on this machine" if is_live else "What one model answered in its evaluation"
    assert said in page["heading"]["value"] and "Drafts only" in page["heading"]["value"]


def test_what_a_page_cannot_do_it_has_no_switch_for(tmp_path):
    for name, is_there in (("blind", True), ("drafts", True)):
        assert parts(fully(tmp_path))[name]["visible"] is is_there
        assert parts(built())[name]["visible"] is not is_there
    assert re.findall(r"<a [^>]*>", parts(fully(tmp_path))["heading"]["value"]) == []
    (link,) = re.findall(r"<a [^>]*>", parts(built(reports=["report"]))["heading"]["value"])
    assert link == '<a href="report" target="_blank" rel="noopener">'
    assert "<b>" not in parts(built(title="<b>"))["heading"]["value"]


def test_every_temperature_that_is_allowed_can_be_chosen():
    (slider,) = [
        one["props"] for one in built().get_config_file()["components"] if one["type"] == "slider"
    ]  # fmt: skip
    assert (slider["minimum"], slider["maximum"], slider["value"]) == (0, 2, 0.7)


def test_a_page_is_launched_to_keep_to_itself():
    options = launch_options()
    kept = {
        "num_workers": 0,
        "mcp_server": False,
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
        "ssr_mode": False,
        "max_file_size": "1kb",
        "footer_links": [],
        "share": False,
    }
    assert {name: options[name] for name in kept} == kept
    assert launch_options(share=True)["share"] is True


@pytest.mark.parametrize(
    "host, said",
    [(LOCAL, "is taken. Choose another one: PORT=7999"), ("0.0.0.0", "or 0.0.0.0 is no address")],
)
def test_a_port_that_is_taken_is_named_with_what_else_may_be_wrong(host, said):
    with socket.socket() as taken:
        taken.bind((host, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"Port {port} is taken.*{re.escape(said)}|Port {port} {said}"):
            launch(built(), port, host)
