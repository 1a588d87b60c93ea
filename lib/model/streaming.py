"""Base and tuned reply at the same time, token by token, from one copy of the weights."""

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lib.base.errors import UserError
from lib.base.settings import SamplingConfig
from lib.model.chat import Chat, Messages, chat_of
from lib.model.generate import clean_reply, settled
from lib.model.sampling import end_ids, generation_config, row_seed, sampler

if TYPE_CHECKING:
    from lib.model.loading import Loaded

# PEFT gives every row of a batch its own adapter; "__base__" is its name for none.
ROWS = ["__base__", "default"]

# PEFT hangs its per-row hooks on the shared modules: a second generation at the same time would run through
# them too.
_one_at_a_time = threading.Lock()


def stream_pair(
    loaded: "Loaded", conversation: Messages, sampling: SamplingConfig
) -> Iterator[tuple[str, str]]:
    """Yield (base reply so far, tuned reply so far) after every token; the last pair is the two whole
    replies.

    Both rows go through the model in one batch, so they start together and share the weights. Closing the
    iterator stops the generation at its next token. Raises UserError if the prompt does not fit or holds
    control tokens, and whatever the generating thread raised.
    """
    chat = chat_of(loaded.tokenizer)
    ids = chat.prompt(conversation)
    longest = getattr(loaded.model.config, "max_position_embeddings", None)
    if longest and len(ids) + sampling.max_new_tokens > longest:
        raise UserError(
            f"The tweet is too long for this model ({len(ids)} tokens, it reads {longest}). Shorten it."
        )
    rows = _Rows(loaded, chat)
    seed = row_seed(sampling.seed, conversation)  # both rows draw the numbers that an evaluation would draw
    drawn = {
        "generation_config": generation_config(loaded.model, chat, sampling),
        "logits_processor": sampler(sampling, [seed] * len(ROWS), len(ids)),
    }
    with _generation(loaded, ids, drawn) as steps:
        for tokens in steps:
            rows.add(tokens)
            yield rows.texts()
    yield rows.texts(whole=True)


class _Rows:
    """The tokens of both rows; a row is over at its first end token, what follows is padding."""

    def __init__(self, loaded: "Loaded", chat: Chat) -> None:
        self.chat, self.end_ids = chat, end_ids(loaded.model, chat)
        self.ids: tuple[list[int], list[int]] = ([], [])
        self.over = [False, False]

    def add(self, tokens: list[int]) -> None:
        for row, token in enumerate(tokens):
            self.over[row] = self.over[row] or token in self.end_ids
            if not self.over[row]:
                self.ids[row].append(token)

    def texts(self, whole: bool = False) -> tuple[str, str]:
        decode = self.chat.tokenizer.decode
        base, tuned = (clean_reply(decode(ids, skip_special_tokens=False), self.chat)[0] for ids in self.ids)
        if whole:
            return base, tuned
        # An emoji can take several tokens; until the last one is there it decodes to U+FFFD.
        return settled(base), settled(tuned)


@contextlib.contextmanager
def _generation(loaded: "Loaded", ids: list[int], drawn: dict[str, Any]) -> Iterator[Iterator[list[int]]]:
    """model.generate in a thread: the body gets an iterator over its steps, and leaving the body ends the
    thread.
    """
    steps: queue.Queue[list[int] | BaseException | None] = queue.Queue()
    stop = threading.Event()

    def generate() -> None:
        try:
            with (
                _one_at_a_time
            ):  # held by this thread, which always ends, not by a consumer who may wander off
                _generate(loaded, ids, drawn, steps, stop)
        except BaseException as error:  # handed to the consumer, who raises it
            steps.put(error)
        else:
            steps.put(None)

    def taken() -> Iterator[list[int]]:
        while (step := steps.get()) is not None:
            if isinstance(step, BaseException):
                raise step
            yield step

    thread = threading.Thread(target=generate, name="stream_pair", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        stop.set()
        thread.join()


def _generate(
    loaded: "Loaded", ids: list[int], drawn: dict[str, Any], steps: queue.Queue, stop: threading.Event
) -> None:
    import torch
    from transformers import StoppingCriteria
    from transformers.generation.streamers import BaseStreamer

    class Steps(BaseStreamer):
        prompt_seen = False

        def put(self, value: torch.Tensor) -> None:
            if self.prompt_seen:
                steps.put(value.tolist())
            self.prompt_seen = True  # generate() puts the prompt first

        def end(self) -> None:
            pass

    class Stopped(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            return torch.full((input_ids.shape[0],), stop.is_set(), device=input_ids.device, dtype=torch.bool)

    batch = torch.tensor([ids, ids], device=loaded.device)
    loaded.model.eval()
    with torch.inference_mode():
        loaded.model.generate(
            input_ids=batch,
            attention_mask=torch.ones_like(batch),
            adapter_names=list(ROWS),
            **drawn,
            stopping_criteria=[Stopped()],
            streamer=Steps(),
        )
