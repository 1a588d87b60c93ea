"""A model of Claude as its record describes it: what the record leaves open counts as possible."""

from types import SimpleNamespace as Of

import pytest

from lib.base.errors import UserError
from lib.base.settings import JudgeConfig
from lib.judge.claude_models import Model

CONFIG = JudgeConfig(max_tokens=2000, effort="low")
YES, NO = Of(supported=True), Of(supported=False)


def model(lifecycle="active", max_tokens=None, **capabilities):
    return Model(Of(lifecycle=lifecycle, max_tokens=max_tokens, capabilities=Of(**capabilities)))


@pytest.mark.parametrize(
    "record", [model(), model(structured_outputs=YES), model(max_tokens=2000), Model(Of()), model(effort=NO)]
)
def test_what_the_record_does_not_rule_out_can_be_the_judge(record):
    assert record.check(CONFIG) is None


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (Model(None), "does not know"),
        (model("retired"), "is retired"),
        (model(structured_outputs=NO), "does not answer in a given JSON schema"),
        (model(max_tokens=1999), "writes at most 1,999, not 2,000"),
        (model(effort=Of(supported=True, low=NO, medium=YES, high=YES)), "knows medium, high, not low"),
    ],
)
def test_a_model_that_cannot_be_the_judge_is_refused(record, said):
    with pytest.raises(UserError, match=said):
        record.check(CONFIG)


def test_a_deprecated_model_is_a_warning():
    assert "is deprecated" in model("deprecated").check(CONFIG)


@pytest.mark.parametrize(("said", "can"), [({}, True), ({"batch": YES}, True), ({"batch": NO}, False)])
def test_batches_are_taken_unless_the_record_says_no(said, can):
    assert model(**said).takes_batches == can


@pytest.mark.parametrize(("said", "has"), [({}, True), ({"effort": YES}, True), ({"effort": NO}, False)])
def test_an_effort_is_known_unless_the_record_says_no(said, has):
    assert model(**said).has_effort == has
