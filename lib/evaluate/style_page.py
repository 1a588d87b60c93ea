"""The style section of an evaluation's page: what each habit adds, and the win without them."""

from markupsafe import Markup

from lib.base.html import render
from lib.evaluate.measures import Compared, Habit

OF_WORDS = ("overlap", "novelty")  # shares of a reply, the others are shares of the replies


def style_section(headline: Compared | None) -> Markup:
    """Empty for a report that was made before style was looked at."""
    if headline is None or headline.style is None:
        return Markup("")
    rows = [(habit, [shown(habit, habit.a), shown(habit, habit.b)]) for habit in headline.style.habits]
    return Markup(render("style.html", rows=rows, style=headline.style, net_win=headline.net_win or 0.0))


def shown(habit: Habit, amount: float) -> str:
    """The amount of a habit in one system's replies: the share that have it, or the usual amount."""
    if habit.habit == "length":
        return f"{2**amount - 1:.0f} characters"
    return f"{amount:.0%}" + (" of the words" if habit.habit in OF_WORDS else "")


def explained_by(headline: Compared | None) -> str:
    """The habits that explain a part of the win, or may be all of it, in brackets; empty where none does."""
    named = [habit for habit in headline.style.habits if habit.named] if headline and headline.style else []
    told = [
        f"{habit.label}: any part of it" if habit.apart else f"{habit.label}: {habit.points:+.0f} points"
        for habit in named
    ]
    return f" ({', '.join(told)})" if told else ""
