"""The texts that once were cleaned or judged wrongly, in the files that give their right outcome."""

import json
from pathlib import Path

import pytest

from lib.data.scorers import detect_language
from lib.data.text import clean_text, prose
from tests.items import english, filtered_of, pairs_of

CASES = (Path(__file__).parents[2] / "../shared/cases/data").resolve()
pytestmark = pytest.mark.skipif(not CASES.exists(), reason="../shared/cases is not on this machine")


def cases(name):
    return [json.loads(line) for line in (CASES / name).open()] if CASES.exists() else []


@pytest.mark.parametrize("case", cases("21_texts.jsonl"), ids=lambda case: case["raw"])
def test_a_text_is_cleaned_as_given(case):
    assert clean_text(case["raw"]) == case["clean"]


@pytest.mark.parametrize("case", cases("22_langdetect_caps.jsonl"), ids=lambda case: case["reply"])
def test_capitals_are_english(case):
    language, confidence = detect_language(prose(case["reply"]))
    assert (language, confidence > 0.8) == ("en", True)
    assert filtered_of(pairs_of(text=case["reply"], lang=case["x_lang"]), english).kept
