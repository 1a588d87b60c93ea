"""A run, from rows to an adapter: plan, schedule, SFT, DPO, KTO, checkpoints, trackers, sweeps.

Doors: `run` (a training run) and `plan` (what it would need and cost).
May import: base, data, model.
"""
