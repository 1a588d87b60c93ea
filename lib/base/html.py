"""Self-contained HTML pages: one file, no script, no request, every text escaped and inert."""

from pathlib import Path
from typing import Any

from lib.base.characters import visible


def render(template: str, **values: Any) -> str:
    """Fill templates/<template>.

    Texts are escaped by jinja2; only markupsafe.Markup (the plots) passes as markup. Bidi overrides, ANSI and
    NUL would act all the same: a text stands as its readers see it.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def seen(value: Any) -> Any:
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=seen,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "percent": _percent, "tidy": _tidy}
    return environment.get_template(template).render(**values)


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _percent(share: float | None, digits: int = 0) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def _tidy(value: float | None) -> str:
    """Three significant digits at most, whole numbers as such, and no powers of ten."""
    if value is None:
        return "–"
    if 0 < abs(value) < 0.0001:
        return "< 0.0001" if value > 0 else "> −0.0001"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"
