"""The evaluation of a run: its replies, their judging, metrics, people's answers, the report.

Doors: `findings` (everything that was found, report.json) and `page` (the same to look at).
May import: base, data, model, judge, evidence, and the records of train.
"""
