"""The model: its chat format, sizes, loading, adapters, answering and losses; the tiny model; servers that
answer.

Doors: chat (a conversation to tokens and labels) and loading (weights, with an adapter to train or to answer
with). Knows nothing of runs, judges or pages. May import base and data.
"""
