"""axe-core on every page, in light and dark, on a desk and on a phone: no serious fault, nothing cut off.

axe-core comes with axe-playwright-python, so that no Node is needed. It is evaluated, not loaded: the pages'
own policy stays in force.
"""

from importlib.resources import files as files_of
from pathlib import Path

import pytest

from lib.base.settings import DataConfig
from lib.data.report import describe
from lib.data.report import page as data_page
from lib.evaluate.compare import compare_runs
from lib.evaluate.compare_page import page as compare_page
from lib.evaluate.crowd_log import Crowd
from lib.evaluate.crowd_study import address, planned
from lib.evaluate.findings import gather
from lib.evaluate.page import page as eval_page
from lib.evaluate.people_page import make_items, write_files
from lib.evaluate.runs import read_runs
from tests.data.test_report import STAGES
from tests.data.test_review import pairs
from tests.demo.test_demo import Script, Votes, _launch, ask, blind, replies
from tests.demo.test_review_page import Server
from tests.eval_data import pair, write_data
from tests.evaluate.test_compare import make_run, signs
from tests.evaluate.test_findings import read, write_evaluation
from tests.evaluate.test_overview import shown, with_pages
from tests.evaluate.test_people import begin, make_evaluation

pytestmark = pytest.mark.slow

axe_package = pytest.importorskip("axe_playwright_python", reason="no axe-core here: run `make setup`")
AXE = (files_of(axe_package) / "axe.min.js").read_text(encoding="utf-8")
LOOKS = [("light", 1100), ("dark", 1100), ("light", 360), ("dark", 360)]
# Letters cut off at an edge of their plot, columns too narrow to read, and boxes that nobody can scroll.
CUT_OFF_JS = """() => {
  const cut = [];
  for (const svg of document.querySelectorAll('main svg')) {
    const frame = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll('text')) {
      const box = text.getBoundingClientRect();
      if (box.left < frame.left - 1 || box.right > frame.right + 1) cut.push(text.textContent);
    }
  }
  for (const cell of document.querySelectorAll('dl.facts dd'))
    if (cell.getBoundingClientRect().width < 200) cut.push(cell.textContent);
  return cut;
}"""


@pytest.fixture
def look(browser):
    """look(url, act) -> faults of the page in every look. act: brings it to the state that is meant."""

    def looked(url, act=lambda page: None):
        found = []
        for scheme, width in LOOKS:
            context = browser.new_context(
                viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
            )
            page = context.new_page()
            page.goto(url)
            act(page)
            page.evaluate(AXE)
            faults = page.evaluate("axe.run().then(found => found.violations)")
            found += [
                (scheme, width, fault["id"], [node["html"][:120] for node in fault["nodes"]])
                for fault in faults
                if fault["impact"] in ("serious", "critical")
            ]
            found += [(scheme, width, "cut off", text) for text in page.evaluate(CUT_OFF_JS)]
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found.append((scheme, width, "the page is wider than the window"))
            context.close()
        return found

    return looked


def unfold(page):
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")


def written(path, html):
    path.write_text(html, encoding="utf-8")
    return path.resolve().as_uri()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_report_of_a_data_set(here, look):
    report = describe(STAGES, [pair(n) for n in range(38)], (30, 35, 100), 2.0, {})
    config = DataConfig.model_validate({"collect": {"source": "files"}})
    assert look(written(here / "data.html", data_page("x", report, config)), unfold) == []


def test_the_report_of_an_evaluation_whose_answers_are_counted(here, look):
    files = read(write_evaluation(Path()))
    report, steps = gather(files, {"tuned": {"median_chars": 40.0}, "base": {"median_chars": 20.0}}, {})
    counted = []

    def answer(page):
        unfold(page)
        for number, answer in enumerate(["tuned", "tuned", "base", "neither"], 1):
            page.check(f"input[name=tweet-{number}].{answer} >> nth=0")
        script = "getComputedStyle(document.querySelector('.mine'), '::after').content"
        counted.append(page.evaluate(script))
        counters = "[...document.querySelectorAll('.blind input:checked')].map(input => input.className)"
        counted.append(page.evaluate(counters))

    assert look(written(here / "eval.html", eval_page(files, report, steps)), answer) == []
    assert counted[0].startswith('"tuned " counter(tuned)')
    assert counted[1] == ["tuned", "tuned", "base", "neither"]


def test_the_comparison_of_runs(here, look):
    write_data(here, n_prompts=60)
    for number, name in enumerate(("a-run-with-quite-a-long-name-in-it", "v2"), 1):
        make_run(here, name, signs(number), learning_rate=number * 1e-4)
    runs = read_runs(("a-run-with-quite-a-long-name-in-it", "v2"), here)
    assert look(written(here / "compare.html", compare_page(runs, compare_runs(runs, here)))) == []


def test_the_overview_of_the_project(here, look):
    assert look(written(here / "index.html", shown(with_pages(here)))) == []


def test_the_page_for_people_as_a_file(here, look):
    evaluation = make_evaluation(here)
    url = (write_files(evaluation, make_items(evaluation)) / "page.html").resolve().as_uri()

    def second_pair(page):
        begin(page, "ann")
        page.keyboard.press("1")
        page.keyboard.press("ArrowLeft")
        assert page.get_attribute("[data-choice=A]", "aria-pressed") == "true"

    assert look(url) == []
    assert look(url, second_pair) == []


def test_the_page_for_people_as_it_is_served(here, look):
    from demo.human_app import Answers, build
    from demo.page import launch

    evaluation = make_evaluation(here)
    app = build(Answers(make_items(evaluation), here / "answers.jsonl"))
    css = Path(__file__).parents[1] / "demo" / "human.css"
    url = launch(app.queue(), None, css_paths=css)

    def first_pair(page):
        page.fill("#name input, #name textarea", "ann")
        page.click("#begin")
        page.wait_for_selector("[data-item]")
        page.wait_for_selector("#key-1")

    try:
        assert look(url, lambda page: page.wait_for_selector("#begin")) == []
        assert look(url, first_pair) == []
    finally:
        app.close()


def test_the_page_of_a_crowd(here, look):
    from demo.crowd_app import build
    from demo.page import launch

    items = make_items(make_evaluation(here))
    study = planned("mine", "quick", items, 5, 2, 12.0, "company")
    app = build(Crowd(study, items, here / "log.jsonl"))
    css = Path(__file__).parents[1] / "demo" / "human.css"
    url = address(study, launch(app.queue(), None, css_paths=css), "&PROLIFIC_PID=p&STUDY_ID=s&SESSION_ID=x")

    def first_pair(page):
        page.click("#begin")
        page.wait_for_selector("[data-item]")
        page.wait_for_selector("#key-1")

    try:
        assert look(url, lambda page: page.wait_for_selector("#begin")) == []
        assert look(url, first_pair) == []
    finally:
        app.close()


def test_the_review_of_pairs(here, look, browser):
    server = Server(here, browser, pairs(12))

    def dropped(page):
        page.wait_for_selector("#page .top")
        page.click("#key-d")
        page.wait_for_selector("#key-1")

    try:
        assert look(server.url, dropped) == []
    finally:
        server.check_and_end()


def test_the_demo_before_and_after_a_vote(here, look):
    app = _launch(Script(), Votes(here / "votes.jsonl", "test", "f" * 64))
    said = []

    def reply(page):
        page.wait_for_function("document.querySelector('#left-reply textarea')?.dir === 'auto'")
        ask(page, "hello")
        replies(page)
        said.append(page.inner_text("#announced"))

    def vote(page):
        blind(page, True)
        page.click("#next")
        page.wait_for_selector("#vote-1:enabled")
        page.keyboard.press("1")
        page.wait_for_function("document.querySelector('#vote-1').innerText.includes('✓')")

    try:
        assert look(app.local_url, reply) == []
        assert look(app.local_url, vote) == []
    finally:
        app.close()
    assert said == ["Left reply: first: hello Right reply: second: hello"] * len(LOOKS)


def test_the_replay_with_drafts_and_what_was_seen_before(here, look):
    from demo.page import launch
    from demo.replay import replay_app
    from lib.evaluate.evaluation import Recorded

    report = here / "report.html"
    report.write_text("<!doctype html><title>x</title>")
    drafts = (("one draft", 7.0, (("one", 0.5),)), ("another", 3.0))
    rows = [Recorded("a tweet", "plain", "learned", 17, drafts, "shown how")]
    reports = {"report": report, "data-report": report}
    app = replay_app(rows, "Base", "Tuned", Votes(here / "votes.jsonl", "test", "f" * 64), reports)

    def everything(page):
        page.wait_for_selector("#next:enabled")
        page.click("#drafts")
        page.wait_for_selector("#draft-list li")
        page.wait_for_selector("#next:enabled")
        page.click("#earlier button")
        page.wait_for_selector("#history li", state="visible")

    try:
        assert look(launch(app.queue(), None, reports=reports), everything) == []
    finally:
        app.close()
