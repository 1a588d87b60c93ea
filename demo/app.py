"""Base and tuned reply to one tweet, side by side, in the browser.

python -m demo.app --config configs/train-tiny.yaml [--port 7860] [--host 127.0.0.1]

Opens on this machine only. Another --host asks for the password in DEMO_PASSWORD (user name: demo). With
"Blind" switched on the names are hidden until you vote (keys 1, 2, 0, b); adapters/<run>/votes.jsonl keeps
the votes, `scripts.human_eval --import` reads it.
"""

import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from demo.drafts import N_DRAFTS, Draft, WriteDrafts
from demo.events import GeneratePair
from demo.own_host import only_this_machine
from demo.page import build_app, serve
from demo.replay import evaluations_with_replies, replay, reports_of
from demo.votes import Votes
from lib.base.config import config_name, given, load_config
from lib.base.console import load_env, parser, run
from lib.base.errors import UserError
from lib.base.files import read_jsonl
from lib.base.schema import Pair, TestPrompt
from lib.base.settings import EvalConfig, OpenAIEngine, SamplingConfig, TrainConfig
from lib.data.text import clean_tweet
from lib.evaluate.answers import embedding_model, refuse_other_run
from lib.evaluate.evaluation import Evaluation
from lib.evaluate.fewshot import nearest
from lib.evaluate.standing import next_line
from lib.judge.offline import MIN_PAIRS, Ranker, fit_ranker, word_effects
from lib.model.adapters import sha256_of
from lib.model.chat import Messages, messages
from lib.model.machine import refuse_small_machine
from lib.model.openai_engine import openai_engine
from lib.model.served_pair import served_reply, stream_served_pair
from lib.train.fingerprint import changed_since
from lib.train.manifest import as_trained

StreamPair = Callable[[Messages, SamplingConfig], Iterator[tuple[str, str]]]
Write = Callable[[str, Messages, SamplingConfig], str]  # base or tuned, to a conversation -> the whole reply


def main() -> None:
    args = _arguments()
    load_env()
    # Before gradio and huggingface_hub are imported: they read these once.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
    today, name = load_config(args.config, TrainConfig), config_name(args.config)
    folder = Path("adapters") / name
    if not (folder / "adapter_model.safetensors").is_file():
        if evaluations_with_replies(folder):
            print(f"demo: {folder} holds no weights: these are its recorded replies", flush=True)
            replay(args.config, args.data, args.eval, args.port)
            return
        raise UserError(f"{folder} holds no finished run. Run `make train RUN={name}` first.")
    if line := changed_since(folder, today):
        print(f"demo: {line}", flush=True)
    config = given(as_trained(folder, today), data=args.data, eval=args.eval)
    evaluation = load_config(args.config.with_name(f"eval-{config.eval}.yaml"), EvalConfig)
    sampling, auth = evaluation.sampling, _auth(args.host)
    votes = Votes(folder / "votes.jsonl", name, sha256_of(folder / "adapter_model.safetensors"))
    data = Path("data") / config.data
    if isinstance(evaluation.engine, OpenAIEngine):
        stream, write = _served(folder, sampling, evaluation.engine)
    else:
        refuse_small_machine(name, config, to_train=False)
        stream, write = here(_load(folder, config))
    generate_pair = pair_generator(stream, config.prompt)
    if args.fewshot:
        of_run = Evaluation(name, config, evaluation, folder / "eval" / config.eval)
        generate_pair = with_fewshot(generate_pair, write, of_run)
    reports = {} if auth else reports_of(folder, config.eval, data)  # the password does not cover these pages
    app = build_app(
        generate_pair,
        f"Base · {config.model}",
        f"Tuned · {name}",
        sampling,
        votes=votes,
        tweets=held_out(data / "processed" / "test_prompts.jsonl"),
        reports=reports,
        drafts=drafts_writer(write, config.prompt, data / "processed" / "train.jsonl"),
        has_third=args.fewshot,
    )
    serve(app, args.host, args.port, auth, reports)
    print(next_line(args.config, args.data, args.eval, done="demo"), flush=True)


def held_out(path: Path) -> list[str]:
    """The tweets that training never saw; none where the data set is not here."""
    return [prompt.tweet for prompt in read_jsonl(path, TestPrompt)] if path.is_file() else []


def _arguments() -> Any:
    arguments = parser(__doc__)
    arguments.add_argument("--config", type=Path, required=True)
    arguments.add_argument("--data", help="whose held-out tweets are offered; default: the run's")
    arguments.add_argument("--eval", help="whose sampling and report are used; default: the run's")
    arguments.add_argument("--fewshot", action="store_true", help="a third column: base with examples")
    arguments.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    arguments.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    return arguments.parse_args()


def _served(folder: Path, sampling: SamplingConfig, engine: OpenAIEngine) -> tuple[StreamPair, Write]:
    """Servers that answer, as `make serve` proved them for this run."""
    refuse_other_run(engine, folder.name, sha256_of(folder / "adapter_model.safetensors"))
    openai_engine(engine.openai, sampling)  # refuses servers that are not there, or answer alike
    base = engine.openai["base"]
    print(f"asking {base.base_url} ({base.quantization})", flush=True)
    return partial(stream_served_pair, engine.openai), partial(served_reply, engine.openai)


def _load(folder: Path, config: TrainConfig) -> Any:
    from statsmodels.stats import proportion  # noqa: F401  takes a second or more: not at the first vote

    from lib.model.loading import load_for_inference

    print(f"loading {config.model} with {folder} ...", flush=True)
    loaded = load_for_inference(folder, config)
    print(f"loaded on {loaded.device} ({loaded.quantization})", flush=True)
    return loaded


def here(loaded: Any) -> tuple[StreamPair, Write]:
    """The model in this process that answers. loaded: lib.model.loading.Loaded."""
    from lib.model.generate import generate
    from lib.model.streaming import stream_pair

    def write(name: str, turns: Messages, sampling: SamplingConfig) -> str:
        (written,) = generate(loaded, [turns], sampling, tuned=name == "tuned")
        return written.text

    return partial(stream_pair, loaded), write


def pair_generator(stream: StreamPair, prompt: str) -> GeneratePair:
    """The page's function: (base so far, tuned so far) for a tweet."""

    def generate_pair(tweet: str, sampling: SamplingConfig) -> Iterator[tuple[str, str]]:
        return stream(_conversation(prompt, tweet), sampling)

    return generate_pair


def with_fewshot(generate_pair: GeneratePair, write: Write, evaluation: Evaluation) -> GeneratePair:
    """The same, and then the reply of the few-shot baseline, as the evaluation asks it."""
    from lib.data.vectors import embed

    pairs, model = evaluation.train(), embedding_model(evaluation)
    vectors = cache(lambda texts: embed(texts, model))  # of the training tweets: once

    def generate_three(tweet: str, sampling: SamplingConfig) -> Iterator[tuple[str, ...]]:
        for both in generate_pair(tweet, sampling):
            yield both
        yield *both, ""  # a blind round ends here
        cleaned = clean_tweet(tweet)
        k = evaluation.eval.fewshot.k
        (examples,) = nearest([cleaned], pairs, k, lambda texts: vectors(tuple(texts)))
        turns = messages(evaluation.config.prompt, cleaned, examples)
        yield *both, write("base", turns, sampling)

    return generate_three


def drafts_writer(write: Write, prompt: str, train: Path) -> WriteDrafts:
    """The page's other function: drafts so far of the tuned model, ranked by the likes of the training pairs
    in train, where that file is here and holds enough of them.
    """
    from lib.model.sampling import of_candidate

    @cache
    def ranker() -> Ranker | None:
        pairs = read_jsonl(train, Pair) if train.is_file() else []
        return fit_ranker(pairs) if len(pairs) >= MIN_PAIRS else None

    def drafts_to(tweet: str, sampling: SamplingConfig) -> Iterator[list[Draft]]:
        turns, rank = _conversation(prompt, tweet), ranker()
        drafts: dict[str, Draft] = {}
        for number in range(N_DRAFTS):
            if text := write("tuned", turns, of_candidate(sampling, number)):
                score, effects = (rank(tweet, text), word_effects(rank, tweet, text)) if rank else (None, ())
                drafts[text] = Draft(text, score, tuple(effects))
            yield list(drafts.values())

    return drafts_to


def _conversation(prompt: str, tweet: str) -> Messages:
    cleaned = clean_tweet(tweet)  # as the tweets it was trained on
    if not cleaned:
        raise UserError(
            "Nothing is left of that tweet without links, control tokens and invisible characters. Add words."
        )
    return messages(prompt, cleaned)


def _auth(host: str) -> tuple[str, str] | None:
    """None on this machine; elsewhere a password is required, because everyone who reaches the page uses the
    GPU.
    """
    if only_this_machine(host):
        return None
    if not os.environ.get("DEMO_PASSWORD"):
        raise UserError(
            f"--host {host} opens the demo to the network. Set DEMO_PASSWORD first, or leave --host out."
        )
    return "demo", os.environ["DEMO_PASSWORD"]


if __name__ == "__main__":
    run(main)
