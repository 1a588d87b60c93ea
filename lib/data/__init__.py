"""The data set: raw items -> pairs -> filter -> clean -> split, the review by hand, the report, forgetting.

Doors: `pairs` joins what lies in raw/, `processed` makes what training and evaluation read. May import base.
"""
