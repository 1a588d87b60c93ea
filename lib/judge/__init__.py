"""Questions for a judge and its answers: Claude, other vendors', one's own, a stand-in; prices and books.

Doors: `comparisons` (what is compared, what a verdict is) and `rubric` (the wording).
May import: base, data.
"""
