"""Questions for a judge and its answers: Claude, the offline stand-in, their prices and books.

Doors: `comparisons` (what is compared, what a verdict is) and `rubric` (the wording).
May import: base, data.
"""
