"""The numbers of an evaluation as records: the statistics, the judge's accuracy, the metrics of the replies.

A number that an earlier version did not write is None, never guessed.
"""

from typing import Annotated

from pydantic import Field

from lib.base.schema import Record

Number = int | float
Interval = Annotated[tuple[float, float], Field(strict=False)]  # JSON has lists, the statistics tuples


class Length(Record):
    """The win at equal length, shares 0..1: lib.evidence.bias.length_control says what each number is."""

    win_rate: float | None = None
    ci95: Interval | None = None
    balanced_win_rate: float | None = None
    balanced_ci95: Interval | None = None
    low: float | None = None
    correlation: float | None = None
    correlation_p: float | None = None
    follows_length: bool | None = None
    explained: bool | None = None
    a_longer: float | None = None
    longer_wins: float | None = None
    notes: list[str] = []


class Position(Record):
    """The preference for the reply shown first, shares 0..1: lib.evidence.bias.position_bias."""

    first_wins: int | None = None
    decisive: int | None = None
    order_flips: int | None = None
    both_orders: int | None = None
    one_order: int | None = None
    first_chosen: float | None = None
    ci95: Interval | None = None
    flip_share: float | None = None
    flip_ci95: Interval | None = None
    harmless: bool | None = None


class Habit(Record):
    """One habit of style: how often each system has it, and what it adds to the net win, in points."""

    habit: str
    label: str
    a: float
    b: float
    points: float
    ci95: Interval
    overlap: float
    apart: bool
    named: bool


class Style(Record):
    """The net win at equal style, points: lib.evidence.equal_style.style_control says what each number is."""

    net_win: float
    ci95: Interval
    low: float
    coding: str
    habits: list[Habit] = []


class Compared(Record):
    """One system against another: the fields of lib.evidence.stats.Comparison."""

    a: str = "tuned"
    b: str = "base"
    n: int | None = None
    n_authors: int | None = None
    wins: int | None = None
    ties: int | None = None
    losses: int | None = None
    win_rate: float | None = None
    net_win: float | None = None
    ci95: Interval | None = None
    ci_method: str | None = None
    mean_a: float | None = None
    mean_b: float | None = None
    mean_diff: float | None = None
    mean_diff_ci95: Interval | None = None
    relative_mean: float | None = None
    mannwhitney_p: float | None = None
    wilcoxon_p: float | None = None
    step_wilcoxon_p: float | None = None
    permutation_p: float | None = None
    sign_test_p: float | None = None
    cluster_p: float | None = None
    cohens_d: float | None = None
    hedges_g: float | None = None
    d_z: float | None = None
    cliffs_delta: float | None = None
    r: float | None = None
    decisive_win_rate: float | None = None
    decisive_ci95: Interval | None = None
    length: Length | None = None
    style: Style | None = None
    position: Position | None = None
    biases: list[str] = []
    mde: dict[str, float | None] = {}
    underpowered: bool | None = None
    notes: list[str] = []


class Accuracy(Record):
    """The share of real pairs on which a judge, or a rule, prefers the reply that was liked more."""

    accuracy: float | None = None
    ci95: Interval | None = None
    n: int | None = None


class Baseline(Accuracy):
    """A simple rule's share; difference: the judge's share minus it on the same pairs, clustered by tweet."""

    difference: float | None = None
    difference_ci95: Interval | None = None


class Calibration(Accuracy):
    """The judge's accuracy on real engagement: calibration.json.

    beats_coin, beats_baselines: None where the pairs are too few to ask, and in reports from before. trusted:
    both; False where the pairs are too few, None only in reports from before. unbeaten: the rules that the
    judge is not shown to beat.
    """

    n_ties: int | None = None
    n_tweets: int | None = None
    n_failed: int | None = None
    baselines: dict[str, Baseline | None] = {}
    accuracy_decisive: float | None = None
    beats_coin: bool | None = None
    beats_baselines: bool | None = None
    unbeaten: list[str] = []
    trusted: bool | None = None
    status: str | None = None
    sentence: str | None = None
    consistency: dict[str, Number | None] | None = None


class Metrics(Record):
    """Looks of one system's replies (lib.model.sanity), and the perplexity of the real replies under its
    weights.
    """

    n: int | None = None
    empty: float | None = None
    failed: float | None = None
    truncated: float | None = None
    mean_chars: float | None = None
    median_chars: float | None = None
    over_280: float | None = None
    distinct_1: float | None = None
    distinct_2: float | None = None
    self_repetition: float | None = None
    copies_of_tweet: float | None = None
    copies_of_training: float | None = None
    copied: float | None = None
    recited: float | None = None
    alike: float | None = None
    refusals: float | None = None
    leaks: int | None = None
    language: str | None = None
    language_share: float | None = None
    toxicity_mean: float | None = None
    toxic: float | None = None
    other_language: float | None = None
    tokens: int | None = None
    overlap_with_human: dict[str, Number | str | None] | None = None
    perplexity: float | None = None
    perplexity_ci95: Interval | None = None
    perplexity_n: int | None = None


class Strength(Record):
    """A system on the Bradley-Terry scale, against base; None where it always or never wins."""

    strength: float | None = None
    ci95: Interval | None = None
    win_rate: float | None = None
    win_rate_ci95: Interval | None = None


class Equivalence(Record):
    """The token loss on general texts, tuned minus base, against the margin.

    noninferior: the upper end of ci90 is below the margin, a one-sided test at 5%; None: not known.
    """

    n: int
    mean_diff: float
    ci90: Interval
    margin: float
    p: float
    equivalent: bool
    noninferior: bool | None = None
