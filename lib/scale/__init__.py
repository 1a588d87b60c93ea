"""Millions of pairs: the stages of the data room over shards, on datatrove, in bounded memory.

Doors: `steps` (the stages in their order), `executors` (runs a stage here, on Slurm or on Ray).
May import: base, data.
"""
