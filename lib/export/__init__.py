"""A trained adapter for the engines at home: as GGUF, as MLX, merged; served and proven to act.

Doors: `exporting` (a run in another format) and `serving` (what answers with it).
May import: base, data, model, and the records of train and evaluate.
"""
