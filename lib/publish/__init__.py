"""The folder that leaves this machine: allow-listed, scanned for leaks, described, uploaded.

Doors: `dist` (the folder) and `hub` (its way to the Hugging Face Hub).
May import: base, data, model, and the records of train and evaluate.
"""
