"""The kinds of values in configs: a strict record, counts, bounds, shares, dollars, names."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Strict(BaseModel):
    # defer_build: a schema is built when it is first used, so that --help answers at once.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


def _ordered(bounds: list[int]) -> list[int]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"the lower bound comes first: [{bounds[1]}, {bounds[0]}]")
    return bounds


Count = Annotated[int, Field(ge=0)]
Bounds = Annotated[list[Count], Field(min_length=2, max_length=2), AfterValidator(_ordered)]
Share = Annotated[float, Field(ge=0, le=1)]
Usd = Annotated[float, Field(ge=0, le=10_000)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
