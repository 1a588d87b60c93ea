"""Seeds of rows and candidates, and the tokens that end a reply."""

from types import SimpleNamespace as Of

import pytest

from lib.base.settings import SamplingConfig
from lib.model.sampling import end_ids, left_padded, of_candidate, row_seed

ONE, OTHER = ([{"role": "user", "content": text}] for text in ("a tweet", "another"))


def test_a_row_has_a_seed_of_its_own_of_31_bits():
    assert row_seed(17, ONE) == row_seed(17, [dict(reversed(ONE[0].items()))])
    assert len({row_seed(17, ONE), row_seed(18, ONE), row_seed(17, OTHER)}) == 3
    assert all(0 <= row_seed(n, ONE) < 2**31 for n in range(200))
    assert max(row_seed(n, ONE) for n in range(200)) > 2**30


def test_a_candidate_differs_in_its_seed_alone_and_the_first_is_the_arms_own_reply():
    sampling = SamplingConfig(seed=2**32 - 2)
    assert of_candidate(sampling, 0) == sampling
    assert [of_candidate(sampling, n).seed for n in (1, 2, 3)] == [2**32 - 1, 0, 1]
    assert of_candidate(sampling, 3).model_copy(update={"seed": sampling.seed}) == sampling


@pytest.mark.parametrize(("of_model", "ends"), [(None, {1, 2}), (7, {1, 2, 7}), ([7, 8], {1, 2, 7, 8})])
def test_a_reply_ends_at_the_templates_the_tokenizers_and_the_models_own_ends(of_model, ends):
    chat = Of(end_id=1, tokenizer=Of(eos_token_id=2))
    assert end_ids(Of(generation_config=Of(eos_token_id=of_model)), chat) == ends
    assert end_ids(Of(), chat) == {1, 2}


@pytest.mark.parametrize(("pad", "eos", "filler"), [(0, 9, 0), (None, 9, 9), (None, None, 0)])
def test_prompts_end_at_the_last_column_and_padding_is_masked(pad, eos, filler):
    ids, mask = left_padded([[5], [6, 7, 8]], Of(pad_token_id=pad, eos_token_id=eos), "cpu")
    assert ids.tolist() == [[filler, filler, 5], [6, 7, 8]]
    assert mask.tolist() == [[0, 0, 1], [1, 1, 1]]
