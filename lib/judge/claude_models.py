"""A model of Claude as the API describes it: can it still be had, and can it do what a judge needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lib.base.errors import UserError
from lib.base.settings import JudgeConfig
from lib.judge.prices import PRICES


@dataclass(frozen=True)
class Model:
    """info: the API's record, None for a model that it does not know. listed: the records of all models.

    What the record leaves open counts as possible: the API itself will say no.
    """

    info: Any
    listed: Sequence[Any] = ()

    def check(self, config: JudgeConfig) -> str | None:
        """A warning, or None. Raises UserError where the model cannot be the judge of this config."""
        name, lifecycle = config.model, getattr(self.info, "lifecycle", None)
        if self.info is None:
            raise UserError(f"judge.model: the API does not know {name}. {self._alternatives()}")
        if lifecycle == "retired":
            raise UserError(f"judge.model: {name} is retired. {self._alternatives()}")
        if self._can("structured_outputs") is False:
            raise UserError(
                f"judge.model: {name} does not answer in a given JSON schema, which a judge has to. Set "
                f"another one, {' or '.join(list(PRICES)[:3])}."
            )
        if self.has_effort and self._can("effort", config.effort) is False:
            levels = [level for level in ("low", "medium", "high") if self._can("effort", level)]
            raise UserError(f"judge.effort: {name} knows {', '.join(levels) or 'none'}, not {config.effort}.")
        if (most := getattr(self.info, "max_tokens", None)) and config.max_tokens > most:
            raise UserError(f"judge.max_tokens: {name} writes at most {most:,}, not {config.max_tokens:,}.")
        if lifecycle == "deprecated":
            date = getattr(self.info, "retires_at", None)
            when = f" (retires on {date:%Y-%m-%d})" if hasattr(date, "strftime") else ""
            return (
                f"warning: {name} is deprecated{when}: a later evaluation will need another judge and "
                "cannot be compared with this one"
            )
        return None

    @property
    def has_effort(self) -> bool:
        return self._can("effort") is not False

    @property
    def takes_batches(self) -> bool:
        return self._can("batch") is not False

    def _can(self, *names: str) -> bool | None:
        """The record's word on a capability; None where it says nothing."""
        found = getattr(self.info, "capabilities", None)
        for name in names:
            found = getattr(found, name, None)
        return getattr(found, "supported", None)

    def _alternatives(self) -> str:
        names = [model.id for model in self.listed if getattr(model, "lifecycle", "active") == "active"]
        return f"Set judge.model in the eval config to one of {', '.join((names or list(PRICES))[:12])}."
