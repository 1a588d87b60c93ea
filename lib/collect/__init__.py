"""Collecting tweets and replies: Apify or twscrape, each run bought once, all of them under one cap.

Door: `collection` runs a job to its end, whatever killed it before. May import base and data.
"""
