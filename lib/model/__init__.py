"""The model: the chat format, loading, adapters, the tiny model, replies, losses, other engines.

It knows nothing of runs, judges or pages. Doors: `chat` (a conversation as tokens) and `loading` (the weights).
May import: base, data.
"""
