"""Replies from any OpenAI-compatible server: vLLM with a LoRA, llama-server, Ollama, mlx_lm.server.

One arm is one address and model.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from lib.base.errors import UserError
from lib.base.settings import ArmConfig, SamplingConfig
from lib.model.chat import Messages
from lib.model.generate import FIXED_PROMPT, Answers, Engine, Generated
from lib.model.openai_server import Arm, content_of
from lib.model.sampling import of_candidate

WORKERS = 8
TIMEOUT_S = 300.0
PROBE_TOKENS = 32
SAME_SERVER = 0.05  # of a logprob: one model on one machine, asked again, is nearer than that


def openai_engine(
    arms: Mapping[str, ArmConfig], sampling: SamplingConfig, sleep: Callable[[float], None] = time.sleep
) -> Engine:
    """Both servers checked: there, of one quantization, and answering a fixed prompt differently.

    Raises UserError otherwise.
    """
    import httpx

    if missing := {"base", "tuned"} - set(arms):
        raise UserError(
            f"engine.openai: the arm {missing.pop()} is missing. A comparison needs base and tuned."
        )
    refuse_unlike_quantization(arms)
    client = httpx.Client(
        timeout=httpx.Timeout(TIMEOUT_S, connect=10.0), limits=httpx.Limits(max_connections=2 * WORKERS)
    )
    base, tuned = (Arm(name, arms[name], client, sleep) for name in ("base", "tuned"))
    base.health()
    tuned.health()
    refuse_equal_arms(base, tuned, sampling)
    for arm in (base, tuned):
        refuse_other_model(arm, sampling)

    def answer(system: str, conversations: Sequence[Messages], candidate: int = 0) -> Answers:
        arm = tuned if system == "tuned" else base
        return _concurrently(arm, conversations, of_candidate(sampling, candidate))

    return Engine("openai", arms["base"].quantization, 1, answer)


def refuse_unlike_quantization(arms: Mapping[str, ArmConfig]) -> None:
    """Raise UserError where base and tuned are served in different quantizations."""
    if len({config.quantization for config in arms.values()}) > 1:
        found = ", ".join(f"{name} {config.quantization}" for name, config in sorted(arms.items()))
        raise UserError(
            f"engine.openai: the arms differ in quantization ({found}): that would be measured too. Serve "
            "both alike."
        )


def _concurrently(arm: Arm, conversations: Sequence[Messages], sampling: SamplingConfig) -> Answers:
    """Replies as they come, at most WORKERS asked at a time.

    After a failure what is under way is still handed over, then it is raised.
    """
    failed = threading.Event()

    def ask(conversation: Messages) -> Generated | None:
        try:
            return None if failed.is_set() else arm.reply(conversation, sampling)
        except BaseException:
            failed.set()
            raise

    pool = ThreadPoolExecutor(WORKERS)
    failure: UserError | None = None
    try:
        futures = {pool.submit(ask, conversation): index for index, conversation in enumerate(conversations)}
        for future in as_completed(futures):
            try:
                generated = future.result()
            except UserError as error:
                failure = failure or error
            else:
                if generated is not None:
                    yield futures[future], generated
    finally:
        failed.set()  # Ctrl-C or a closed iterator: nothing new is asked
        pool.shutdown(wait=True, cancel_futures=True)
    if failure:
        raise failure


def refuse_equal_arms(base: Arm, tuned: Arm, sampling: SamplingConfig) -> None:
    """Raise UserError if both arms answer a fixed prompt alike: a LoRA that is not applied, or two names for
    one model.
    """
    first, again, other = (_top_logprobs(arm, sampling) for arm in (base, base, tuned))
    if first and again and other:
        # a busy server's kernels are not exact
        alike = _distance(first, other) <= max(1e-4, 2 * _distance(first, again))
    else:
        alike = _greedy(base, sampling) == _greedy(tuned, sampling)
    if alike:
        raise UserError(
            "Base and tuned answer a fixed prompt alike: the adapter is not active. Check that the server of "
            "arm tuned has loaded it "
            "(vLLM: --lora-modules and its name as `model`; llama-server: `lora` in extra_body of both arms)."
        )


def refuse_other_model(arm: Arm, sampling: SamplingConfig) -> None:
    """Raise UserError where the arm's server answers otherwise than when `make serve` proved it."""
    known = arm.config.first_logprobs
    found = first_logprobs(first_candidates(arm, sampling)) if known else []
    off = max((abs(one - other) for one, other in zip(known, found, strict=False)), default=0.0)
    if len(found) != len(known) or off > SAME_SERVER:
        raise UserError(
            f"Arm {arm.name}: the server at {arm.root} does not answer as it did when `make serve` proved it "
            f"({off:.2f} off its logprobs): another model or adapter is there now. Run `make serve` for this "
            "run again. Replies that came before are kept."
        )


def first_logprobs(candidates: Sequence[Mapping[str, Any]]) -> list[float]:
    """Logprobs of the likeliest first tokens, the likeliest first: a server is known by them."""
    return sorted((round(one["logprob"], 4) for one in candidates), reverse=True)


def n_prompt_tokens(arm: Arm, sampling: SamplingConfig) -> int | None:
    """Tokens of FIXED_PROMPT as the server's own chat template writes it; None where it does not say."""
    usage = arm.chat(FIXED_PROMPT, sampling.model_copy(update={"max_new_tokens": 1}))["usage"]
    n = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return n if isinstance(n, int) and n > 0 else None


def _greedy(arm: Arm, sampling: SamplingConfig) -> list[str]:
    """The arm's replies to three fixed prompts at temperature 0: for servers that give no logprobs."""
    plain = sampling.model_copy(update={"temperature": 0.0, "max_new_tokens": PROBE_TOKENS})
    tweets = (
        "I finally fixed my bike.",
        "What should I cook tonight?",
        "Nobody told me that moving house takes this long.",
    )
    return [
        content_of(arm.chat([{"role": "user", "content": f"Reply to this tweet: {tweet}"}], plain))
        for tweet in tweets
    ]


def _top_logprobs(arm: Arm, sampling: SamplingConfig) -> dict[str, float]:
    return {entry["token"]: entry["logprob"] for entry in first_candidates(arm, sampling)}


def first_candidates(arm: Arm, sampling: SamplingConfig) -> list[dict[str, Any]]:
    """The likeliest first tokens after FIXED_PROMPT: {token, logprob} and perhaps id; [] if not given."""
    one = sampling.model_copy(update={"temperature": 0.0, "max_new_tokens": 1})
    try:
        choice = arm.chat(FIXED_PROMPT, one, logprobs=True, top_logprobs=5)
        top = choice["logprobs"]["content"][0]["top_logprobs"]
        return [{**entry, "token": entry["token"], "logprob": float(entry["logprob"])} for entry in top]
    except UserError as error:
        if "status 400" in str(error) or "status 422" in str(error):
            return []  # this server does not know the parameter
        raise
    except (KeyError, IndexError, TypeError, ValueError):
        return []


def _distance(one: dict[str, float], other: dict[str, float]) -> float:
    """Largest difference of a logprob.

    A candidate that only one side lists is at most as likely on the other as the last one there.
    """
    floor_one, floor_other = min(one.values()), min(other.values())
    return max(abs(one.get(token, floor_one) - other.get(token, floor_other)) for token in one | other)
