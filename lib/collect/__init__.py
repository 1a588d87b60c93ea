"""Tweets and replies from Apify or twscrape, each bought once and all under one cap.

Doors: `collection` (the job) and `provider` (what a new source has to answer).
May import: base, data.
"""
