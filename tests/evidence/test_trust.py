"""A judge is believed where real likes or people vouch for it, and for nothing else."""

from types import SimpleNamespace

import pytest

from lib.evidence.trust import MIN_VOTES, trust


def on_likes(accuracy=0.62, status="better than chance", **baselines):
    rules = {name: share and SimpleNamespace(accuracy=share) for name, share in baselines.items()}
    return SimpleNamespace(
        accuracy=accuracy, status=status, sentence=f"{status}: {accuracy}", baselines=rules, trusted=None
    )


def with_people(n=60, ci95=(0.1, 0.5)):
    return SimpleNamespace(n=n, kappa=0.3, ci95=ci95)


@pytest.mark.parametrize(
    ("likes", "people", "status"),
    [
        (on_likes(longer=0.55, tfidf_logistic=None), None, "trusted"),
        (on_likes(longer=0.62), None, "unproven"),
        (on_likes(status="no better than chance", accuracy=0.52), None, "unproven"),
        (on_likes(status="not calibrated"), None, "unproven"),
        (None, None, "unproven"),
        (None, with_people(), "trusted"),
        (on_likes(status="not calibrated"), with_people(), "trusted"),
        (None, with_people(n=MIN_VOTES - 1), "unproven"),
        (None, with_people(ci95=(-0.1, 0.4)), "unproven"),
        (None, with_people(ci95=None), "unproven"),
    ],
)
def test_trust_is_earned_on_likes_against_coin_and_rules_or_with_people(likes, people, status):
    found = trust(likes, people)
    assert found.status == status
    assert (found.needs is None) == found.is_earned
    assert found.is_earned or f"{MIN_VOTES} blind votes" in found.needs


def test_likes_cannot_vouch_for_a_stand_in_that_was_fitted_to_likes():
    found = trust(on_likes(), with_people(), stand_in=True)
    assert (found.status, found.stand_in) == ("unproven", True)
