"""Raw items become pairs, and pairs become training data: filtered, clean, unlike, split by author.

Also the review by hand, the report of a data set, and forgetting. A stage is a pure function, and no pair is
lost on the way. Doors: `pairs` (raw rows in) and `splits` (training data out).
May import: base.
"""
