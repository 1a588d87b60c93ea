"""Training: one run from rows to adapter, planned, checked, resumed, tracked, swept.

Doors: run.train makes a run, manifest.read_manifest reads a finished one. May import base, data and model.
"""
