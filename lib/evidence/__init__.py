"""Outcomes, statistics, intervals, biases, power, calibration the gate: all of it pure.

No files, network, clock or printing. Doors: `outcomes` (judgments as rows) and `gate` (the verdict).
May import: base.
"""
