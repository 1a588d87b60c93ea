"""The talk of a field test: a tweet comes in, one blind draft goes out, and what became of it is recorded."""

from collections.abc import Callable
from dataclasses import dataclass

from lib.base.characters import visible
from lib.base.errors import UserError
from lib.base.settings import OpenAIEngine
from lib.data.text import clean_tweet
from lib.data.x_length import MAX_POST, x_length
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.field_log import Draft, FieldLog, post_in
from lib.evaluate.field_plan import FieldPlan, folder_of, refuse_other_writer, secret_of
from lib.evidence.allocation import slots
from lib.model.chat import messages
from lib.model.generate import Engine, transformers_engine
from lib.model.machine import refuse_small_machine
from lib.model.openai_engine import openai_engine

MAX_TWEET_CHARS = 4000


@dataclass(frozen=True)
class Drafts:
    """What draws and writes drafts. engine: loads the model when the first draft is asked for."""

    evaluation: Evaluation
    plan: FieldPlan
    log: FieldLog
    engine: Callable[[], Engine]

    def of(self, text: str) -> Draft:
        """The draft for a tweet, with or without its address beside it. Raises UserError for no tweet."""
        words, tweet_id = post_in(text.encode("utf-8", "replace").decode("utf-8"))
        tweet = clean_tweet(words)
        if not tweet:
            raise UserError("There are no words: paste the text of the tweet. Its address alone is not read.")
        if len(tweet) > MAX_TWEET_CHARS:
            raise UserError(f"That is {len(tweet):,} characters. Paste the tweet alone.")
        draft = self.log.draw(tweet, tweet_id)
        return draft if draft.reply is not None else self._written(draft)

    def _written(self, draft: Draft) -> Draft:
        """Killed before the text was kept, the same tweet is answered by the same arm."""
        refuse_other_writer(self.evaluation, self.plan)
        arm = slots(secret_of(folder_of(self.evaluation), self.plan), draft.number)[-1].arm
        turns = messages(self.evaluation.config.prompt, draft.tweet)
        _, generated = next(iter(self.engine().answer(arm, [turns])))
        return self.log.write(draft.number, generated.text)

    def chosen(self, number: int | None) -> int:
        """The number, or that of the only draft that waits. Raises UserError where it is not clear which."""
        waiting = [draft for draft in self.log.drafts().values() if draft.is_open]
        if number is None and len(waiting) != 1:
            numbers = ", ".join(str(draft.number) for draft in waiting) or "none"
            raise UserError(
                f"Which draft? Those that wait for their post: {numbers}. Say it: DRAFT=<number>."
            )
        return waiting[0].number if number is None else number


def engine_of(evaluation: Evaluation) -> Engine:
    """The engine of the evaluation: this machine's, or its servers'. Raises UserError where none answers."""
    if isinstance(evaluation.eval.engine, OpenAIEngine):
        return openai_engine(evaluation.eval.engine.openai, evaluation.eval.sampling)
    from lib.model.loading import load_for_inference

    refuse_small_machine(evaluation.run, evaluation.config, to_train=False)
    loaded = load_for_inference(evaluation.run_folder, evaluation.config)
    return transformers_engine(loaded, evaluation.eval.sampling, lambda run: run)


def shown(draft: Draft) -> str:
    """The draft as a person may see it: its number, its words, its length; nothing about the arm."""
    if draft.discarded == "empty":
        return f"draft {draft.number} came out empty: it is discarded and counted. Take another tweet."
    reply = draft.reply or ""
    n = x_length(reply)
    length = f"{n} of {MAX_POST} characters" + (
        ": too long for X, cut it or discard it" if n > MAX_POST else ""
    )
    state = f"  posted: {draft.link}" if draft.link else "  discarded" if draft.discarded else ""
    lines = "\n".join(f"    {line}" for line in visible(reply).split("\n"))
    return f"draft {draft.number} ({length}){state}\n\n{lines}\n"


def talk(
    drafts: Drafts, ask: Callable[[str], str], say: Callable[[str], None], standing: Callable[[], str]
) -> None:
    """Tweet after tweet until the person stops (q, or the end of the input).

    ask: a prompt -> a line; raises EOFError at the end. standing: how far the test is, in one line.
    """
    for draft in [draft for draft in drafts.log.drafts().values() if draft.is_open]:
        if draft.reply is None:  # its command was killed before the text was kept
            draft = drafts.of(draft.tweet)
        say(f"to: {draft.tweet}\n{shown(draft)}")
        if draft.is_open and not _settle(drafts, draft, ask, say):
            return
    while True:
        say(standing())
        tweet = _pasted(ask)
        if tweet is None:
            return
        try:
            draft = drafts.of(tweet)
        except UserError as error:
            say(str(error))
            continue
        say(shown(draft))
        if draft.is_open and not _settle(drafts, draft, ask, say):
            return


def _pasted(ask: Callable[[str], str]) -> str | None:
    """The lines of a tweet up to a line with a dot alone; None for q as the first one, or no more input."""
    lines: list[str] = []
    while True:
        try:
            line = ask("" if lines else "tweet (end with a line that holds a dot alone; q ends): ")
        except EOFError:
            return "\n".join(lines) or None
        if not lines and line.strip().lower() == "q":
            return None
        if line.strip() == ".":
            return "\n".join(lines)
        lines.append(line)


def _settle(drafts: Drafts, draft: Draft, ask: Callable[[str], str], say: Callable[[str], None]) -> bool:
    """Ask what became of a draft until it is clear, or left for later. False: the person stops."""
    while True:
        try:
            answer = ask("address of your reply (Enter: later; d why: discard; q ends): ").strip()
        except EOFError:
            return False
        if answer.lower() == "q":
            return False
        try:
            if answer.lower() == "d" or answer.lower().startswith("d "):
                drafts.log.discard(draft.number, answer[1:].strip())
            elif answer:
                drafts.log.post(draft.number, answer)
            return True
        except UserError as error:
            say(str(error))
