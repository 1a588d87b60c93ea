"""Every hostile text on every surface: it is shown or refused, and it never acts.

The surfaces that need a browser or a model of their own are shown hostile texts where they are tested: the
demo (tests/demo/test_demo.py), the review in a browser (tests/demo/test_review_page.py), the people's page
(tests/evaluate/test_people.py), what a model is given and gives back (tests/model/).
"""

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import yaml

from lib.base.characters import visible
from lib.base.console import run
from lib.base.errors import UserError
from lib.base.files import append_line, read_dicts, read_json, read_jsonl, write_json, write_jsonl
from lib.base.ledger import Ledger
from lib.base.schema import Pair, Rejection
from lib.base.settings import DataConfig, FilterConfig, SplitConfig, TrainConfig
from lib.data.cleaning import clean_pairs
from lib.data.control_tokens import control_tokens
from lib.data.dedup import drop_equal
from lib.data.fields import storable
from lib.data.report import Stage, describe
from lib.data.report import page as data_page
from lib.data.splits import split_pairs
from lib.evaluate.judge_records import SecondJudge
from lib.evaluate.page import page as eval_page
from lib.evaluate.people_page import Item, items_csv
from lib.evaluate.people_page import page as people_page
from lib.judge.comparisons import Comparison
from lib.judge.rubric import UnusableAnswerError, prompt, verdict_in
from lib.model.base_model import local_tokenizer
from lib.model.chat import chat_of, halves, messages
from lib.publish.card import model_card
from lib.train.rows import one_answer, token_rows
from tests.conftest import QWEN3
from tests.data.test_review import a_review
from tests.data.test_review import pair as reviewed_pair
from tests.data.test_screen import driven, lines
from tests.data.test_stages import CONFIG as STAGES_CONFIG
from tests.data.test_stages import items
from tests.eval_data import pair
from tests.evaluate.test_findings import made  # noqa: F401 - the report that the pages are made of
from tests.hostile.texts import ACTS_ON_A_TERMINAL, TEXTS
from tests.items import all_stages, filtered_of, joined_of, reply_item, stage, tweet_item, write_items
from tests.model.families import tokenizer_folder
from tests.older_run import older_manifest

MORE = " and nobody in this whole town would believe it"
every_text = pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))


def acting(text):
    return sorted(ACTS_ON_A_TERMINAL & set(text))


# --- data --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def joined():
    """A tweet and a reply of every text, each in a conversation of its own, with a hostile handle."""
    items = []
    for number, text in enumerate(TEXTS.values()):
        tweet_id, author = str(10**17 + number), {"userName": f"a{text[:40]}", "followers": 900}
        items.append(tweet_item(id=tweet_id, conversationId=tweet_id, text=text + MORE, author=author))
        reply = f"{MORE} {number} times over, said the baker of old {text}"
        ids = {"inReplyToId": tweet_id, "conversationId": tweet_id}
        items.append(
            reply_item(id=str(10**18 + number), text=reply, author=author | {"userName": f"b{number}"}, **ids)
        )
    return joined_of(*items)


def test_no_text_is_lost_between_the_stages_and_what_is_kept_is_plain(joined, tmp_path):
    assert len(joined.pairs) + len(joined.rejected) == len(TEXTS)
    filtered = filtered_of(joined.pairs)
    assert len(filtered.kept) + len(filtered.rejected) == len(joined.pairs)
    kept, rejected = clean_pairs(filtered.kept, FilterConfig())
    assert len(kept) + len(rejected) == len(filtered.kept)
    distinct, twice = drop_equal(kept)
    assert len(distinct) + len(twice) == len(kept) > len(TEXTS) // 3
    for one in distinct:
        assert not acting(one.tweet + one.reply) and not control_tokens(one.tweet + one.reply), one
        assert "\u200b" not in one.reply and not re.search(
            "[\ud800-\udfff\ufffe\U000e0000-\U000e0fff]", re.sub("🏴.*?\U000e007f", "", one.reply)
        )
    for name, records in {
        "kept": distinct,
        "rejected": [*joined.rejected, *filtered.rejected, *rejected, *twice],
    }.items():
        write_jsonl(tmp_path / name, records)
        assert read_jsonl(tmp_path / name, Pair if name == "kept" else Rejection) == records
    assert sum(map(len, split_pairs(distinct, SplitConfig()).values())) == len(distinct)


@every_text
def test_a_ledger_and_a_log_hold_any_text_and_give_it_back(text, tmp_path):
    kept = re.sub("[\ud800-\udfff]", "\ufffd", text)  # no file can hold half a pair
    Ledger(tmp_path / "ledger.jsonl").append("done", "k", "judge", note={"said": text})
    assert Ledger(tmp_path / "ledger.jsonl").entries()[0].note == {"said": kept}
    append_line(tmp_path / "log.jsonl", {text: text})
    append_line(tmp_path / "log.jsonl", {"b": 1})
    write_json(tmp_path / "one.json", [text])
    assert read_dicts(tmp_path / "log.jsonl") == [{kept: kept}, {"b": 1}]
    assert read_json(tmp_path / "one.json") == [kept]


# --- tokens and labels -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def qwen3(tmp_path_factory):
    """Qwen3's own tokenizer where npm has brought it, else a small one with its template and marks."""
    own = (QWEN3 / "tokenizer.json").is_file()
    folder = QWEN3 if own else tokenizer_folder(tmp_path_factory.mktemp("qwen3") / "model", "qwen3")
    config = TrainConfig(data="x", model=str(folder))
    return config, local_tokenizer(config)


@every_text
def test_a_prompt_has_the_turns_of_a_prompt_and_a_row_with_others_is_noticed(text, qwen3):
    config, tokenizer = qwen3
    chat = chat_of(tokenizer)

    def control(ids):
        return [token for token in ids if token in chat.control]

    plain = control(chat.prompt(messages(config.prompt, "Hi?")))
    assert control(chat.prompt(messages(config.prompt, text))) == plain
    text = storable(text)  # as every record holds it
    examples = [pair(1), pair(1, tweet=text, reply=text)]
    turns = [control(chat.prompt(messages(config.prompt, "Hi?", [one]))) for one in examples]
    assert turns[0] == turns[1]
    for one in (pair(1, tweet=text), pair(1, reply=text)):
        try:
            (row,) = token_rows(config, [one], tokenizer)
        except UserError:  # the template does not write this reply as it is
            continue
        assert one_answer([(one, row)], tokenizer) or (
            chat.is_one_answer(row) and halves(row)[1][-1] == chat.end_id
        )


@every_text
def test_what_is_learned_is_the_cleaned_text_and_one_end_token(text, qwen3):
    config, tokenizer = qwen3
    text = storable(text)
    raw = pair(1, tweet="tea " + text, reply=MORE + text[:200] + MORE)
    (clean,), _ = clean_pairs([raw], FilterConfig(reply_chars=[1, 10**6]))
    (row,) = token_rows(config, [clean], tokenizer)
    assert one_answer([(clean, row)], tokenizer) is None
    assert tokenizer.decode(halves(row)[1]) == clean.reply + "<|im_end|>"


# --- the judge ---------------------------------------------------------------------------------------


@every_text
def test_the_judge_s_question_holds_each_text_once_as_a_string_between_its_own_fences(text):
    asked = prompt(Comparison("1", "Hi?", "tuned", "base", "Fine.", "Good."))
    hostile = prompt(Comparison("1", text, "tuned", "base", text + " a", "b " + text))
    fences = re.findall(r"</?data-([0-9a-f]{16})>", hostile)
    assert len(set(fences)) == 1 and len(fences) == len(re.findall(r"</?data-[0-9a-f]{16}>", asked))
    shown = re.findall(rf"<data-{fences[0]}>\n(.*)\n</data-{fences[0]}>", hostile)
    assert len(shown) == 3 and all(isinstance(json.loads(one), str) for one in shown)
    frame = re.sub(rf"(<data-){fences[0]}(>\n).*(\n</data-){fences[0]}(>)", r"\1\2\3\4", hostile)
    nonce = re.findall(r"<data-([0-9a-f]{16})>", asked)[0]
    assert frame.replace(fences[0], "") == re.sub(rf"(>\n).*(\n</data-{nonce}>)", r"\1\2", asked).replace(
        nonce, ""
    )
    assert not acting(hostile) and not control_tokens(hostile)
    hostile.encode("utf-8")


@every_text
def test_an_answer_that_quotes_a_text_says_what_it_says_and_one_that_is_it_says_nothing(text):
    comparison = Comparison("1", "Hi?", "tuned", "base", "Fine.", "Good.")
    scores = dict.fromkeys(("relevance", "engagement", "tone", "clarity"), 5)
    answer = {"reason": text, "scores": {"A": scores, "B": scores}, "verdict": "B>A"}
    verdict = verdict_in(json.dumps(answer), comparison, {}, "")
    assert verdict.verdict == -0.5
    verdict.reason.encode("utf-8")
    for raw in (
        text,
        json.dumps(text),
        json.dumps(answer | {"verdict": text}),
        json.dumps(answer | {text: 1}),
    ):
        with pytest.raises(UnusableAnswerError) as refused:
            verdict_in(raw, comparison, {}, "")
        refused.value.detail.encode("utf-8")


# --- pages -------------------------------------------------------------------------------------------


class Structure(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.said = [], []
        self.feed(page)
        self.text = "".join(self.said)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, *sorted(name for name, _ in attrs)))

    def handle_endtag(self, tag):
        self.tags.append(("/", tag))

    def handle_data(self, data):
        self.said.append(data)

    def handle_comment(self, data):
        self.tags.append(("comment", data))


@every_text
def test_a_page_has_the_same_elements_whatever_the_texts_say(text, made):  # noqa: F811
    files, report, steps = made
    ordinary, hostile = (Structure(shown(one, files, report, steps)) for one in ("x", text))
    assert hostile.tags == ordinary.tags
    assert " ".join(visible(text).split()) in " ".join(hostile.text.split())
    assert not acting(hostile.text)


def shown(text, files, report, steps):
    """report.html, the data set's page and the overview's parts, with this text wherever a text can stand."""
    prompts = {name: one.model_copy(update={"tweet": text}) for name, one in files.prompts.items()}
    replies = [one.model_copy(update={"reply": text}) for one in files.replies]
    judge = report.judge.model_copy(update={"model": text, "failure_reasons": {text: 1}})
    named = {"judge": judge, "versions": {text: text}, "criteria": {text: {text: 5.0}}}
    report = report.model_copy(update=named | {"comparisons": {text: report.headline}})
    samples = [one.model_copy(update={"reply": text}) for one in files.train_manifest.samples]
    manifest = files.train_manifest.model_copy(update={"alerts": [text], "samples": samples})
    return eval_page(replace(files, prompts=prompts, replies=replies, train_manifest=manifest), report, steps)


@every_text
def test_the_data_set_s_page_has_the_same_elements_whatever_the_texts_say(text):
    def shown(text):
        text = storable(text)
        pairs = [pair(n, tweet=text, reply=text, tweet_author=text[:40]) for n in range(3)]
        rejected = [
            Rejection(
                id="1", stage="filter", reason="toxicity", detail=text, pair={"tweet": text, "reply": text}
            )
        ]
        stages = [Stage("pairs", 3, []), Stage("filtered", 3, rejected), Stage("clean", 3, [])]
        report = describe(stages, pairs, (1, 2, 9), 0.0, {"q": text})
        return Structure(data_page("x", report, DataConfig.model_validate({"collect": {"source": "files"}})))

    assert shown(text).tags == shown("x").tags
    assert not acting(shown(text).text)


@every_text
def test_the_people_s_page_and_table_hold_a_text_as_text(text):
    item = Item("i1", "1", text, {"tuned": text, "base": "b"}, "tuned")
    page = people_page([item], "p")
    assert (
        Structure(page).tags
        == Structure(people_page([Item("i1", "1", "x", {"tuned": "x", "base": "b"}, "tuned")], "p")).tags
    )
    data = re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)[1]
    assert not set("<>&") & set(data) and json.loads(data)["items"][0]["tweet"] == item.shown["tweet"]
    head, row = csv.reader(io.StringIO(items_csv([item]), newline=""))
    assert len(head) == len(row) == 4
    for cell in row:
        assert cell[:1] not in {*"=+-@\t\r＝＋－＠"} and not acting(cell)


@every_text
def test_a_card_has_the_lines_of_a_card_whatever_names_say(text, made, tmp_path):  # noqa: F811
    _, report, _ = made
    config, manifest = TrainConfig(data="x", revision="b" * 40), older_manifest(tmp_path)

    def card(text):
        judge = report.judge.model_copy(update={"model": text, "kind": "openai"})
        criteria = [one.model_copy(update={"name": text, "label": text}) for one in report.gate.criteria]
        second = SecondJudge(
            eval="e", kind="openai", model=text, n=9, n_tweets=9, share=0.5, share_ci95=(0, 1)
        )
        changed = {
            "second_judges": [second],
            "judge": judge,
            "gate": report.gate.model_copy(update={"criteria": criteria}),
            "eval": text,
        }
        return model_card("ann/reply-8b", config, manifest, report.model_copy(update=changed))

    ordinary, hostile = card("x"), card(text or "x")
    assert len(hostile.splitlines()) == len(ordinary.splitlines())
    head = yaml.safe_load(hostile.split("---\n")[1])
    assert set(head) == set(yaml.safe_load(ordinary.split("---\n")[1])) and head["license"] == "apache-2.0"
    bars = [[line.count("|") for line in one.splitlines()] for one in (ordinary, hostile)]
    assert bars[0] == bars[1]
    assert [line.startswith("#") for line in hostile.splitlines()] == [
        line.startswith("#") for line in ordinary.splitlines()
    ]
    assert not acting(hostile) and not re.search(
        r"<(?=[a-zA-Z/!])", re.sub("```.*?```", "", hostile, flags=re.DOTALL)
    )


# --- terminal ----------------------------------------------------------------------------------------


@every_text
def test_an_error_that_quotes_a_text_does_nothing_to_the_terminal(text, capsys):
    def main():
        raise UserError(f"data/x/raw/items.jsonl:3: {text} is no tweet. Delete the line.")

    with pytest.raises(SystemExit):
        run(main)
    assert not acting(capsys.readouterr().err)


def test_the_programs_say_nothing_that_acts_whatever_tweets_handles_and_file_names_hold(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/data-x.yaml").write_text(STAGES_CONFIG)
    more = [
        *items(),
        *(
            reply_item(id=str(10**17 + n), text=text + MORE, author={"userName": text, "followers": 9})
            for n, text in enumerate(TEXTS.values())
        ),
    ]
    write_items(tmp_path / "data/x/raw", more, "a \x1b]0;t\x07\u202e<b>.jsonl")
    write_items(tmp_path / "data/x/raw", [], "b \x1b[2J.txt")
    for done in [*all_stages(tmp_path), stage(tmp_path, "data_report")]:
        assert done.returncode == 0, done.stderr
        assert not acting(done.stdout + done.stderr), done


def test_the_review_shows_every_text_and_obeys_none(tmp_path):
    texts = list(map(storable, TEXTS.values()))
    one_each = [
        reviewed_pair(n, tweet=text, reply=text, tweet_author=text[:30] or "a")
        for n, text in enumerate(texts)
    ]

    async def script(app, pilot):
        for _ in texts:
            assert not acting("".join(lines(app)))
            await pilot.press("k")

    driven(a_review(tmp_path, one_each), script)
    assert [row["decision"] for row in read_dicts(tmp_path / "decisions.jsonl", torn_tail=True)] == [
        "keep"
    ] * len(texts)
