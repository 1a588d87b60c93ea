"""Perplexity and losses: over the tokens that training falls on, and over those only."""

import math
from types import SimpleNamespace

import pytest

from lib.base.settings import TrainConfig
from lib.model.losses import (
    RowLoss,
    batches,
    general_texts,
    mean_losses,
    per_token,
    perplexity,
    perplexity_of,
    row_losses,
    token_losses,
)
from lib.train.rows import token_rows
from tests.eval_data import pair
from tests.small_model import small_loaded

CONFIG = TrainConfig(data="x", prompt="Generate an engaging Twitter reply to:\n\n{tweet}")
PAIRS = [
    pair(0),
    pair(1, reply="ok"),
    pair(2, reply="What a long reply about tea and coffee and bikes, is it not?"),
]


@pytest.fixture(scope="module")
def loaded():
    return small_loaded()


def test_perplexity_is_that_of_the_rows_which_are_trained_on(loaded):
    import torch

    total, n_tokens = 0.0, 0
    for row in token_rows(CONFIG, PAIRS, loaded.tokenizer):
        ids, labels = (torch.tensor(row[name]) for name in ("input_ids", "labels"))
        with torch.inference_mode():
            logits = loaded.model(ids[None]).logits[0]
        total += torch.nn.functional.cross_entropy(logits[:-1], labels[1:], reduction="sum").item()
        n_tokens += (labels != -100).sum().item()
    expected = math.exp(total / n_tokens)
    assert perplexity(loaded, PAIRS, CONFIG.prompt, tuned=True) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("tuned", [False, True])
def test_perplexity_is_that_of_the_trainers_own_evaluation(loaded, tuned, tmp_path):
    import contextlib

    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = Dataset.from_list(token_rows(CONFIG, PAIRS, loaded.tokenizer))
    arguments = SFTConfig(
        output_dir=str(tmp_path),
        per_device_eval_batch_size=len(PAIRS),  # in one batch: a mean of batches' means is no mean of tokens
        max_length=None,
        loss_type="chunked_nll",
        use_cpu=True,
        bf16=False,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        loaded.model, arguments, train_dataset=rows, eval_dataset=rows, processing_class=loaded.tokenizer
    )
    for parameter in loaded.model.parameters():  # TRL makes the adapter bf16
        parameter.data = parameter.data.float()
    with contextlib.nullcontext() if tuned else loaded.model.disable_adapter():
        loss = trainer.evaluate()["eval_loss"]
    assert perplexity(loaded, PAIRS, CONFIG.prompt, tuned=tuned) == pytest.approx(math.exp(loss), rel=1e-4)


def test_base_and_tuned_have_their_own_perplexity_and_no_pairs_have_none(loaded):
    one, other = (perplexity(loaded, PAIRS, CONFIG.prompt, tuned=tuned) for tuned in (False, True))
    assert one != other
    assert perplexity(loaded, [], CONFIG.prompt, tuned=True) is None


def test_general_texts_have_one_loss_each_under_both_arms(loaded):
    general = general_texts()
    assert len(general) == 30
    base, tuned = mean_losses(loaded, general, tuned=False), mean_losses(loaded, general, tuned=True)
    assert len(base) == len(tuned) == 30
    assert base != tuned


def test_entropy_and_accuracy_are_those_of_the_learned_tokens():
    import torch

    vocabulary = 5

    def model(input_ids, attention_mask):
        """Sure of the token that is one higher, whatever came before."""
        logits = torch.zeros(*input_ids.shape, vocabulary)
        return SimpleNamespace(logits=logits.scatter(-1, ((input_ids + 1) % vocabulary).unsqueeze(-1), 2.0))

    model.device = "cpu"
    rows = [([0, 1, 2, 3], 2), ([4, 4, 0], 1)]  # learned: 2, 3 right, 4 wrong, 0 right
    found = row_losses(model, rows, batches(rows))
    assert [(found[place].n_right, found[place].n_tokens) for place in (0, 1)] == [(2, 2), (1, 2)]
    shares = torch.softmax(torch.tensor([2.0, 0, 0, 0, 0]), 0)
    assert found[0].entropy / 2 == pytest.approx(-(shares * shares.log()).sum().item(), rel=1e-5)
    assert per_token([]) is None


def test_batches_are_of_one_length_full_and_lose_no_row():
    rows = [([1] * length, 1) for length in (3, 90, 5, 40, 41, 4, 38)]
    found = batches(rows, n_tokens=80)
    assert found == [[1], [4], [3, 6], [2, 5, 0]]  # a row longer than a batch stands alone
    assert max(len(batch) * len(rows[batch[0]][0]) for batch in found[1:]) <= 80


def test_losses_come_back_in_the_order_of_their_rows_whatever_the_batches(loaded):
    rows = [([5, 6], 1), ([5, 6, 7, 8, 9], 1), ([9], 1), ([7, 8, 9], 1)]
    assert [one.n_tokens for one in token_losses(loaded, rows, tuned=True)] == [1, 4, 0, 2]


def test_the_loss_per_token_and_the_perplexity_are_of_all_tokens_of_all_rows():
    rows = [RowLoss(10.0, 2, 0.0, 0), RowLoss(3.0, 8, 0.0, 0), RowLoss(0.0, 0, 0.0, 0)]
    assert per_token(rows) == pytest.approx(1.3)
    assert perplexity_of(rows) == pytest.approx(math.exp(1.3))
    assert perplexity_of(rows[2:]) is None
    assert perplexity_of([RowLoss(5000.0, 1, 0.0, 0)]) == pytest.approx(math.exp(700))
