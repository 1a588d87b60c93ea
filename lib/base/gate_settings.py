"""The `gate:` keys of configs/eval-<name>.yaml: the bounds that a tuned model has to keep for a pass."""

from typing import Literal

from pydantic import Field

from lib.base.values import Share, Strict


class GateConfig(Strict):
    max_p_value: float = Field(0.05, gt=0, lt=1)
    min_cohens_d: float = Field(0.3, ge=0)
    improvement: Literal["net_win", "relative_mean"] = "net_win"
    min_improvement: float = 15
    max_perplexity: float = Field(20, gt=1)
    max_train_eval_gap: float = Field(0.3, gt=0)
    # Shares of the tuned replies. Where people's own share is higher, theirs is the bound.
    max_failed: Share = Field(0.05, description="empty, missing or cut off; also answers the judge owes")
    max_copied: Share = Field(0.05, description="mostly the tweet's own words")
    max_recited: Share = Field(0.05, description="mostly a training reply")
    max_alike: Share = Field(0.1, description="a near copy, or the template, of other replies")
    max_refusals: Share = 0.02
    max_toxic: Share = 0.05
    max_other_language: Share = 0.05
    judge_trust: Literal["required", "reported"] = "required"
