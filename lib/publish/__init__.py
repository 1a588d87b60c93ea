"""Publishing: what of a run leaves this machine, looked through for leaks, with a card, on the Hub.

Doors: dist.build_dist and hub.publish. May import base, data, model, and the records of train and evaluate.
"""
