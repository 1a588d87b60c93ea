"""Rented machines: what a job needs, who offers it, starting, watching, fetching, ending, and what it cost.

Two engines stand behind one seam (`seam.Engine`): RunPod over its REST v2, Hugging Face Jobs through
huggingface_hub.
May use base, and of train only the plan's numbers (`need`).
"""
