"""The ground of every room: errors, records, settings, files, seals, the ledger, the console, HTML, plots.

Doors: `files` reads and writes, `settings` holds the keys of every config. May import nothing of lib.
"""
