"""The model `tiny`: a Qwen3 of about a million parameters, built from the bundled sample.

It is real in everything but size: Qwen3's architecture, control tokens and chat template, a tokenizer trained
here, weights pre-trained here for about a minute, so that "base" answers in words. Kept under data/cache/ by
the hash of all it is made of.
"""

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib.base.errors import UserError
from lib.base.files import content_hash, lock, sync_folder, write_json
from lib.base.settings import SplitConfig, TrainConfig
from lib.data.control_tokens import without_control_tokens
from lib.data.splits import split_of
from lib.data.text import clean_tweet
from lib.model.chat import messages, rendered
from lib.model.qwen3 import ADDED_TOKENS, PRE_TOKEN, as_qwen3, qwen3_template

CORPUS = Path("data/sample/raw/items.jsonl")
VERSION = 1  # goes up when the recipe below changes in a way that SETTINGS does not show
SETTINGS: dict[str, Any] = {
    "layers": 4,
    "hidden": 128,
    "intermediate": 384,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 32,
    "vocab": 2048,
    "positions": 2048,
    "passes": 18,  # over the corpus; more only learns it by heart
    "batch": 8,
    "block": 96,
    "learning_rate": 3e-3,
    "weight_decay": 0.1,
    "seed": 17,
}
# As in configs/data-sample.yaml: what the sample holds out for validation and test, the base model must not
# have read either.
HELD_OUT = SplitConfig(val=0.15, test=0.35, seed=17)


def ensure_tiny() -> Path:
    """The folder of the whole model, built if it is not there; several processes may ask at once.

    Raises UserError if the bundled sample is missing.
    """
    folder = tiny_folder()
    while not (folder / "manifest.json").is_file():
        try:
            with lock(folder.with_name(folder.name + ".lock")):
                if not (folder / "manifest.json").is_file():
                    _build(_root() / CORPUS, folder)
        except UserError as error:
            if "in use by another run" not in str(error):
                raise
            time.sleep(0.5)  # another process is building it
    return folder


def tiny_folder() -> Path:
    """The folder in which ensure_tiny builds it, there or not."""
    return _root() / "data" / "cache" / f"tiny-{tiny_hash()[:16]}"


def tiny_hash() -> str:
    """Hash of what the model is made of: corpus, settings, chat template, recipe. Needs no torch."""
    return content_hash(_root() / CORPUS, SETTINGS, VERSION, HELD_OUT, list(ADDED_TOKENS), qwen3_template())


def _root() -> Path:
    """The folder that holds the sample: here, or where the project's code lies (a workspace with processed
    data only).
    """
    for root in (Path(), Path(__file__).resolve().parents[2]):
        if (root / CORPUS).is_file():
            return root
    raise UserError(
        f"{CORPUS} does not exist, and the model `tiny` is built from it. Restore it: `git checkout -- "
        f"{CORPUS}`."
    )


def _texts(corpus: Path) -> list[str]:
    """The sample's tweets, in the file's order, each once, without those of held-out authors.

    Without the replies too: a base model that knows them by heart could not learn anything from them
    afterwards.
    """
    items = []
    for line in corpus.read_bytes().splitlines():
        with contextlib.suppress(ValueError):  # the sample holds torn lines on purpose
            items.append(json.loads(line))
    texts: dict[str, None] = {}
    for item in items:
        if not isinstance(item, dict) or item.get("isReply") or not isinstance(item.get("author"), dict):
            continue
        text = item.get("fullText") or item.get("text")
        if isinstance(text, str) and split_of(str(item["author"].get("userName")), HELD_OUT) == "train":
            texts[clean_tweet(without_control_tokens(text))] = None
    if not texts:
        raise UserError(
            f"{corpus} holds no text to train the model `tiny` on. Restore it: `git checkout -- {CORPUS}`."
        )
    return [text for text in texts if text]


def _build(corpus: Path, folder: Path) -> None:
    from transformers import logging

    logging.disable_progress_bar()
    print(f"building the tiny model from {CORPUS} (about a minute, once) ...", file=sys.stderr, flush=True)
    start = time.monotonic()
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    texts = _texts(corpus)
    tokenizer = _train_tokenizer(texts)
    tokenizer.save_pretrained(partial)
    loss = _pretrain(tokenizer, texts, partial)
    write_json(partial / "manifest.json", {"settings": SETTINGS, "version": VERSION, "loss": loss})
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    sync_folder(folder.parent)
    print(f"built the tiny model in {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def _train_tokenizer(texts: list[str]) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    raw = Tokenizer(models.BPE())
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRE_TOKEN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SETTINGS["vocab"] - len(ADDED_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([*texts, TrainConfig(data="sample").prompt], trainer)
    return as_qwen3(raw, model_max_length=SETTINGS["positions"])


def _pretrain(tokenizer: Any, texts: list[str], folder: Path) -> float:
    """Train a fresh model on the documents, save it into folder, return the mean loss of the last pass."""
    import torch

    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(SETTINGS["seed"])
        model = _fresh_model(tokenizer)
        batches = list(_batches(_documents(tokenizer, texts)))
        optimizer = torch.optim.AdamW(
            model.parameters(), SETTINGS["learning_rate"], (0.9, 0.95), weight_decay=SETTINGS["weight_decay"]
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, SETTINGS["learning_rate"], total_steps=len(batches), pct_start=0.05
        )
        losses = []
        model.train()
        for ids in batches:
            loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    model.eval().save_pretrained(folder)
    last = losses[-max(1, len(losses) // SETTINGS["passes"]) :]
    return round(sum(last) / len(last), 4)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: on matrices this small a second one waits more than it works (20x slower on a busy
    machine),
    and sums come out the same whatever the number of cores."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _fresh_model(tokenizer: Any) -> Any:
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    end, pad = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=SETTINGS["hidden"],
        intermediate_size=SETTINGS["intermediate"],
        num_hidden_layers=SETTINGS["layers"],
        num_attention_heads=SETTINGS["heads"],
        num_key_value_heads=SETTINGS["kv_heads"],
        head_dim=SETTINGS["head_dim"],
        max_position_embeddings=SETTINGS["positions"],
        tie_word_embeddings=True,
        bos_token_id=pad,
        eos_token_id=end,
        pad_token_id=pad,
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=0.6,
        top_p=0.95,
        top_k=20,
        bos_token_id=pad,
        eos_token_id=[end, pad],
        pad_token_id=pad,
    )
    return model


def _documents(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """Each tweet alone, and as the answer in a chat about another tweet: it learns that an answer is words
    and has an end.
    """
    prompt = TrainConfig(data="sample").prompt
    documents = [tokenizer(text + "<|endoftext|>")["input_ids"] for text in texts]
    for number, text in enumerate(texts):
        other = texts[(number + len(texts) // 2) % len(texts)]
        chat = [*messages(prompt, other), {"role": "assistant", "content": text}]
        documents.append(tokenizer(rendered(tokenizer, chat))["input_ids"])
    return documents


def _batches(documents: list[list[int]]) -> Iterator[Any]:
    """(batch, block) token ids: the documents of each pass, shuffled, end to end, without padding."""
    import torch

    size = SETTINGS["batch"] * SETTINGS["block"]
    stream = torch.tensor(
        [
            token
            for _ in range(SETTINGS["passes"])
            for i in torch.randperm(len(documents))
            for token in documents[i]
        ]
    )
    for start in range(0, max(1, len(stream) // size) * size, size):
        yield (
            stream[start : start + size].view(-1, SETTINGS["block"])
            if start + size <= len(stream)
            else stream[None]
        )
