"""The field test: blocked allocation, an exact test, an interval that holds, and the posts that it takes."""

from dataclasses import replace

import numpy as np
import pytest

from lib.evidence.allocation import BLOCK_SIZES, could_have_been, slots
from lib.evidence.field import (
    Post,
    field_result,
    fisher_p,
    posts_needed,
    power,
    randomisation_test,
    rate_ratio,
    smallest_ratio,
)

WEEKS = 6


def world(seed, per_arm=100, ratio=1.0, likes=3.0, heavy=False, attrition=0.1):
    """Posts whose likes also depend on their week; some drafts were not posted, whatever their arm."""
    rng = np.random.default_rng(seed)
    n = round(2 * per_arm / (1 - attrition))
    allocation = slots(f"secret{seed}", n)
    kept = np.sort(rng.permutation(n)[: 2 * per_arm])
    week = kept * WEEKS // n
    mean = likes * rng.gamma(8, 1 / 8, WEEKS)[week]
    mean = mean * np.where([allocation[slot].arm == "tuned" for slot in kept], ratio, 1.0)
    rate = (
        np.exp(rng.normal(np.log(mean) - 0.72, 1.2))  # a few replies go viral
        if heavy
        else mean * rng.gamma(0.5, 2, len(kept))
    )
    counts = rng.poisson(rate)
    posts = [
        Post(int(slot), f"W{w}", int(n), int(50 + 20 * n))
        for slot, w, n in zip(kept, week, counts, strict=True)
    ]
    return posts, allocation


# --- allocation --------------------------------------------------------------------------------------


def test_blocks_are_even_of_random_size_and_half_tuned():
    allocation = slots("s", 600)
    by_block = {}
    for slot in allocation[:-6]:
        by_block.setdefault(slot.block, []).append(slot)
    whole = [block for block in by_block.values() if len(block) == block[0].size]
    assert {len(block) for block in whole} == set(BLOCK_SIZES)
    assert all(sum(slot.arm == "tuned" for slot in block) == len(block) / 2 for block in whole)


def test_the_same_secret_draws_the_same_and_a_longer_draw_begins_with_the_shorter_one():
    assert slots("s", 40) == slots("s", 90)[:40]
    for drawn in ("arm", "size"):
        one, other = ([getattr(slot, drawn) for slot in slots(secret, 40)] for secret in "st")
        assert one != other


def test_the_next_arm_cannot_be_told_from_the_earlier_ones():
    after_pair = [slots(f"s{n}", 3)[2].arm for n in range(800)]
    assert 0.44 < np.mean([arm == "tuned" for arm in after_pair]) < 0.56


def test_other_draws_keep_the_blocks():
    allocation = slots("s", 50)
    drawn = could_have_been(allocation, 400)
    assert drawn.shape == (400, 50)
    assert (drawn == could_have_been(allocation, 400)).all()
    ends = [slot.block for slot in allocation]
    for block in set(ends[:-6]):
        at = [n for n, of in enumerate(ends) if of == block]
        assert (drawn[:, at].sum(axis=1) == len(at) // 2).all()
    assert abs(drawn.mean() - 0.5) < 0.02


# --- test and interval ---------------------------------------------------------------------------------


@pytest.mark.parametrize("heavy", [False, True])
def test_without_an_effect_one_in_twenty_is_shown_and_no_more(heavy):
    shown = []
    for seed in range(400):
        posts, allocation = world(seed, per_arm=40, heavy=heavy)
        shown.append(randomisation_test(posts, allocation, n_draws=399)[1] <= 0.05)
    assert np.mean(shown) <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize("per_arm, ratio", [(100, 2.0), (250, 1.5)])
def test_the_power_of_the_plan_is_that_of_the_test(per_arm, ratio):
    shown = []
    for seed in range(120):
        posts, allocation = world(seed, per_arm, ratio)
        statistic, p = randomisation_test(posts, allocation, n_draws=399)
        shown.append(p <= 0.05 and statistic > 0)
    assert np.mean(shown) == pytest.approx(power(per_arm, ratio, 3.0), abs=0.12)


def test_the_interval_of_the_ratio_holds_the_truth():
    held = []
    for seed in range(400):
        posts, allocation = world(seed, 100, 1.6)
        tuned = [allocation[post.slot].arm == "tuned" for post in posts]
        likes, weeks = [post.likes for post in posts], [post.week for post in posts]
        low, high = rate_ratio(likes, [1] * len(posts), tuned, weeks)[1]
        held.append(low <= 1.6 <= high)
    assert np.mean(held) >= 0.92


def test_a_week_of_many_likes_is_not_an_effect():
    """All base posts in a quiet week, all tuned ones in a loud one: nothing can be compared."""
    likes, weeks = [1] * 10 + [50] * 10, ["quiet"] * 10 + ["loud"] * 10
    assert rate_ratio(likes, [1] * 20, [False] * 10 + [True] * 10, weeks) == (None, None)
    mixed = [False, True] * 10
    assert rate_ratio(likes, [1] * 20, mixed, weeks)[0] == pytest.approx(1)


def test_likes_per_view_are_compared_by_their_views():
    ratio, (low, high) = rate_ratio([2, 4, 8, 16], [10, 20, 20, 40], [False, False, True, True], ["w"] * 4)
    assert ratio == pytest.approx(2)
    assert low <= ratio <= high


def test_a_true_difference_is_named_and_its_size_given():
    posts, allocation = world(3, 150, 2.5)
    found = field_result(posts, allocation)
    assert found.verdict == "more"
    assert found.ratio_ci95[0] < found.ratio < found.ratio_ci95[1]
    assert found.n_with_views == len(posts) and found.per_view is not None
    for arm in ("base", "tuned"):
        own = [post.likes for post in posts if allocation[post.slot].arm == arm]
        assert (found.n[arm], found.mean_likes[arm]) == (len(own), pytest.approx(np.mean(own)))
    mirrored, _ = world(3, 150, 0.4)
    assert field_result(mirrored, allocation).verdict == "fewer"


def test_posts_whose_views_are_not_known_count_in_all_but_the_rate_per_view():
    allocation = slots("s", 40)
    posts = [Post(n, "w", 2 + n % 3 + (4 if allocation[n].arm == "tuned" else 0)) for n in range(40)]
    known = [replace(post, views=None if n < 10 else 10 * n) for n, post in enumerate(posts)]
    arms = [allocation[n].arm == "tuned" for n in range(40)]
    found = field_result(known, allocation)
    assert (found.n_with_views, found.ratio) == (30, field_result(posts, allocation).ratio)
    likes = [post.likes for post in posts]
    assert found.per_view == rate_ratio(likes[10:], range(100, 400, 10), arms[10:], ["w"] * 30)[0]


def test_one_viral_post_that_turns_the_ratio_alone_shows_nothing():
    allocation = slots("s", 60)
    tuned = [slot.arm == "tuned" for slot in allocation]
    posts = [Post(n, "w", 4 if is_tuned else 1) for n, is_tuned in enumerate(tuned)]
    posts[tuned.index(False)] = Post(tuned.index(False), "w", 100)
    statistic, p = randomisation_test(posts, allocation)
    found = field_result(posts, allocation)
    assert statistic > 0 and p <= 0.05 and found.ratio < 1
    assert found.verdict == "not shown"


def test_likes_that_only_the_week_explains_show_nothing_and_no_p_is_nought():
    allocation = slots("s", 60)
    by_week = [Post(n, "loud", 50) if n % 3 else Post(n, "quiet", 1) for n in range(60)]
    assert randomisation_test(by_week, allocation, 99) == (pytest.approx(0, abs=1e-9), 1)
    apart = [Post(n, "w", 900 if slot.arm == "tuned" else 0) for n, slot in enumerate(allocation)]
    assert randomisation_test(apart, allocation, 99)[1] == 0.01


def test_one_post_alone_stands_for_its_own_spread():
    _, (low, high) = rate_ratio([4, 4], [1, 1], [False, True], ["w", "w"])
    assert low < 0.2 and high > 5


def test_posts_without_a_like_show_nothing_and_break_nothing():
    allocation = slots("s", 40)
    found = field_result([Post(n, "w", 0) for n in range(40)], allocation)
    assert (found.verdict, found.p, found.ratio, found.n_with_views) == ("not shown", 1.0, None, 0)
    with pytest.raises(ValueError, match="both arms"):
        field_result([Post(n, "w", 1) for n in range(40) if allocation[n].arm == "base"], allocation)


# --- the plan ------------------------------------------------------------------------------------------


def test_twice_the_likes_take_about_a_hundred_posts_an_arm_and_half_more_about_two_hundred():
    """As simulated with mean likes of 2 to 5 (the root's test pays a little for its calm)."""
    assert all(70 <= posts_needed(2.0, likes) <= 130 for likes in (2, 3, 5))
    assert all(180 <= posts_needed(1.5, likes) <= 310 for likes in (2, 3, 5))
    assert smallest_ratio(100, 3) == pytest.approx(2.0, abs=0.15)
    assert power(posts_needed(2.0, 3), 2.0, 3) >= 0.8


def test_drafts_that_were_left_out_more_often_on_one_side_are_seen():
    assert fisher_p(5, 100, 30, 100) < 0.001
    assert fisher_p(10, 100, 11, 100) > 0.5
