"""A judge is believed where real likes or people vouch for it, and for nothing else."""

from types import SimpleNamespace

import pytest

from lib.evidence.trust import MIN_VOTES, trust


def on_likes(trusted=True, status="better than chance"):
    return SimpleNamespace(status=status, sentence=f"{status}: 0.62", trusted=trusted)


def with_people(n=60, ci95=(0.1, 0.5)):
    return SimpleNamespace(n=n, kappa=0.3, ci95=ci95)


@pytest.mark.parametrize(
    ("likes", "people", "status"),
    [
        (on_likes(), None, "trusted"),
        (on_likes(trusted=False), None, "unproven"),
        (on_likes(trusted=None), None, "unproven"),
        (on_likes(False, "no better than chance"), None, "unproven"),
        (on_likes(None, "not calibrated"), None, "unproven"),
        (None, None, "unproven"),
        (None, with_people(), "trusted"),
        (on_likes(False, "not calibrated"), with_people(), "trusted"),
        (None, with_people(n=50), "trusted"),
        (None, with_people(n=49), "unproven"),
        (None, with_people(ci95=(0.0, 0.5)), "unproven"),
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
