"""Outcomes, statistics, intervals, biases, power, calibration, the gate: pure functions of numbers.

No files, network, clock or printing. Doors: `outcomes` (judgments as rows) and `gate` (the verdict).
May import: base.
"""
