"""The model: the chat format, loading, adapters, the tiny model, replies, losses, other engines.

It knows nothing of runs, judges or pages. Doors: `chat` (a conversation as tokens) and `loading` (weights).
May import: base, data.
"""
