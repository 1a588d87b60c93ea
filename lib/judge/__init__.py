"""Questions for a judge and its answers: Claude, any OpenAI-like server, a stand-in; the books.

Doors: `comparisons` (what is compared, what a verdict is) and `rubric` (the wording).
May import: base, data.
"""
