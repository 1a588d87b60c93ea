"""Errors, records, settings, files, the ledger, the console, HTML and plots: what every room uses.

Nothing in it knows a stage, a model or a service. Doors: `files` (a file is whole or absent) and `config` (a
YAML file as its class).
May import: no other room.
"""
