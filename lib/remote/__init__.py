"""Rented GPUs: offers, start, watch, fetch, end, their cost; RunPod and HF Jobs behind one seam.

Doors: `renting` (one job, from offers to the end) and `seam` (what another engine has to answer).
May import: base, train.needs (the plan's numbers).
"""
