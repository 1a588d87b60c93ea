"""The chat format: a conversation as the model's own template writes it, to tokens and labels.

Training, losses, generation, the plan's preview and preference tuning all come here: nothing else knows a
template.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lib.base.characters import whole
from lib.base.errors import UserError
from lib.base.schema import Pair
from lib.data.control_tokens import control_tokens, without_control_tokens

Messages = list[dict[str, str]]
Row = dict[str, list[int]]  # input_ids, labels

IGNORED = -100  # torch's cross-entropy skips this label

# Models with a switch think aloud unless told not to; with it off Qwen3's template puts an empty think block
# at the END OF THE PROMPT, so that the loss never falls on it. Training, evaluation and demo say the same,
# base and tuned alike; a template without the switch ignores it.
CHAT_KWARGS = {"enable_thinking": False}
NO_THINKING = json.dumps(CHAT_KWARGS)  # for servers: what they are to do for whoever asks

# What a template must leave as it is: case, white space inside, quotes, signs that HTML escapes, other
# scripts.
QUESTION = "Aa  <  & \"b\" 'c'\n\n{{ d }} é 🙂 zZ?"
ANSWER = "Ee  >  & \"f\" 'g'\n\n{{ h }} ö 🙃 yY!"
DATE = "a day that no calendar has"


def messages(prompt: str, tweet: str, examples: Sequence[Pair] = ()) -> Messages:
    """The conversation that asks for a reply to tweet; examples become earlier turns.

    prompt holds {tweet} once.
    """
    turns: Messages = []
    for pair in examples:
        turns.append({"role": "user", "content": prompt.replace("{tweet}", pair.tweet)})
        turns.append({"role": "assistant", "content": pair.reply})
    return [*turns, {"role": "user", "content": prompt.replace("{tweet}", tweet)}]


def template_options(own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The options that a server's template gets, the same as here; own ones win."""
    return CHAT_KWARGS | dict(own or {})


def rendered(tokenizer: Any, conversation: Messages, is_prompt: bool = False, **options: Any) -> str:
    """The conversation as the template writes it; is_prompt: up to where the answer begins.

    Raises UserError with the template's own words where it refuses the conversation.
    """
    options = CHAT_KWARGS | options
    try:
        return tokenizer.apply_chat_template(
            conversation, tokenize=False, add_generation_prompt=is_prompt, **options
        )
    except Exception as error:  # a template is a program from the Hub: it may fail in any way
        raise _refused(tokenizer, f"cannot write a chat of question and answer ({error})") from error


@dataclass(frozen=True)
class Chat:
    """One tokenizer's chat format.

    close: what the template writes after an answer, up to and with the end token; tail: what it writes after
    that, which no answer contains. end: the token that ends an answer. control: ids of all control tokens.
    frame: those of a chat of one question and one answer, in order. own: the tokenizer's control tokens as
    text.
    """

    tokenizer: Any
    close: str
    tail: str
    end: str
    end_id: int
    control: frozenset[int]
    frame: tuple[int, ...]
    own: re.Pattern[str]

    def parts(self, conversation: Messages, reply: str) -> tuple[str, str]:
        """(the chat up to the answer, empty think block included; reply and end token, which alone are
        learned).

        Raises UserError for a reply that the template does not write as it is.
        """
        given = rendered(self.tokenizer, conversation, is_prompt=True)
        whole = rendered(self.tokenizer, [*conversation, {"role": "assistant", "content": reply}])
        answer = whole.removeprefix(given).removesuffix(self.close + self.tail)
        if whole != given + answer + self.close + self.tail or answer.strip() != reply.strip():
            named = control_tokens(reply)[:1]
            why = f" (control token {named[0]})" if named else ""
            raise UserError(
                f"The chat template of {_name(self.tokenizer)} does not write this reply as it is{why}: "
                f"{reply[:80]!r}. Remove the pair (`make data` does)."
            )
        return given, answer + self.close

    def row(self, conversation: Messages, reply: str) -> Row:
        """Token ids, and labels that hold reply and end token and nothing else.

        Prompt and reply are encoded apart: the model is trained on exactly the tokens it is given when it
        answers.
        """
        question, answer = (self.ids(part) for part in self.parts(conversation, reply))
        return {"input_ids": question + answer, "labels": [IGNORED] * len(question) + answer}

    def prompt(self, conversation: Messages) -> list[int]:
        """Token ids of the conversation and the start of the answer; texts cannot open or close a turn.

        Raises UserError if a text still encodes to a control token after they have been taken out.
        """
        clean = [{**turn, "content": self.plain(turn["content"])} for turn in conversation]
        for turn in clean:
            if self.control.intersection(self.ids(turn["content"])):
                raise UserError("The text contains a control token of the model. Remove it and send again.")
        return self.ids(rendered(self.tokenizer, clean, is_prompt=True))

    def ids(self, text: str) -> list[int]:
        """Token ids of text; no token is added at its start or end."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def plain(self, text: str) -> str:
        """text without control tokens: those known of any family and this tokenizer's own.

        No tokenizer takes half a surrogate pair, which a browser may send.
        """
        text = whole(text)
        while (cleaned := self.own.sub("", without_control_tokens(text))) != text:
            text = cleaned
        return text

    def is_one_answer(self, row: Row) -> bool:
        """True for one question and one answer as the tokenizer sees them: no text has become control."""
        learned = halves(row)[1]
        return (
            tuple(self._control_of(row["input_ids"])) == self.frame
            and self._control_of(learned) == [self.end_id]
            and learned[-1] == self.end_id
            and len(learned) > 1
        )

    def _control_of(self, ids: Sequence[int]) -> list[int]:
        return [token for token in ids if token in self.control]


def halves(row: Row) -> tuple[list[int], list[int]]:
    """(token ids that are given, token ids that are learned) of a row."""
    n_given = row["labels"].count(IGNORED)
    return row["input_ids"][:n_given], row["input_ids"][n_given:]


def chat_of(tokenizer: Any) -> Chat:
    """The tokenizer's chat format, read from what its template writes around a question and an answer.

    Raises UserError with a sentence for a template that this project cannot train on.
    """
    if not tokenizer.chat_template:
        raise _refused(tokenizer, "does not exist: it is a base model, or its files are not all here")
    own = _own_tokens(tokenizer)
    asked: Messages = [{"role": "user", "content": QUESTION}]
    given = rendered(tokenizer, asked, is_prompt=True)
    whole = rendered(tokenizer, [*asked, {"role": "assistant", "content": ANSWER}])
    if DATE in rendered(tokenizer, asked, is_prompt=True, strftime_now=lambda _: DATE):
        raise _refused(tokenizer, "writes today's date into every prompt: no two days would ask the same")
    if given.count(QUESTION) != 1 or whole.count(ANSWER) != 1:
        raise _refused(tokenizer, "changes the texts it is given, or leaves them out")
    if not whole.startswith(given):
        raise _refused(
            tokenizer, "writes the prompt otherwise when an answer follows: train and use would differ"
        )
    lead, after = whole.removeprefix(given).split(ANSWER)
    if lead.strip():
        raise _refused(
            tokenizer, f"writes {lead.strip()!r} before the answer, which would be learned as part of it"
        )
    opened = given.partition(QUESTION)[2]
    if not control_tokens(opened) and not any(token in opened for token in own):
        raise _refused(
            tokenizer, f"ends a question with ordinary words ({opened!r}): a tweet could end it as well"
        )
    end = max((token for token in own if after.lstrip().startswith(token)), key=len, default="")
    if not end or tokenizer(end, add_special_tokens=False)["input_ids"] != [own[end]]:
        raise _refused(
            tokenizer, f"ends an answer with {after!r}, which does not begin with one control token"
        )
    close, _, tail = after.partition(end)
    control = frozenset(own.values()) - {getattr(tokenizer, "unk_token_id", None)}
    spelled = re.compile("|".join(map(re.escape, sorted(own, key=len, reverse=True))))
    found = Chat(tokenizer, close + end, tail, end, own[end], control, (), spelled)
    return replace(found, frame=tuple(found._control_of(found.row(asked, ANSWER)["input_ids"])))


def _own_tokens(tokenizer: Any) -> dict[str, int]:
    """text -> id of the tokens that are matched before a text is cut into words.

    Runs of spaces are no control.
    """
    return {token: number for token, number in tokenizer.get_added_vocab().items() if token.strip()}


def with_padding(tokenizer: Any) -> Any:
    """The tokenizer; where it names no padding, a token that no text uses becomes it (Llama 3: reserved)."""
    if tokenizer.pad_token is None:
        spare = sorted(_own_tokens(tokenizer), key=lambda token: _own_tokens(tokenizer)[token])
        for word in ("pad", "reserved", "unused", "unk"):
            if named := [token for token in spare if word in token.casefold()]:
                tokenizer.pad_token = named[0]
                break
    return tokenizer


def _refused(tokenizer: Any, why: str) -> UserError:
    advice = "Choose another chat model (model: in the train config)."
    return UserError(f"The chat template of {_name(tokenizer)} {why}. {advice}")


def _name(tokenizer: Any) -> str:
    return getattr(tokenizer, "name_or_path", "") or "this model"
