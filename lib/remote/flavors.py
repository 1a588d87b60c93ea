"""The machines of Hugging Face Jobs as offers: one GPU each, price by the minute."""

import re
from collections.abc import Iterable
from typing import Any

from lib.remote.seam import Need, Offer, same_gpu


def fitting(rows: Iterable[Any], need: Need, engine: str) -> list[Offer]:
    """rows: of list_jobs_hardware. Whether one is free nobody says: a job waits, which costs nothing."""
    found = []
    for row in rows:
        gpu, disk_gb = row.accelerator, gigabytes(row.ephemeral_storage)
        if gpu is None or str(gpu.quantity) != "1" or gigabytes(gpu.vram) < need.memory_gb:
            continue
        if disk_gb and disk_gb < need.disk_gb:
            continue
        names = row.pretty_name, gpu.model, gpu.vram.replace(" ", "")
        wanted = next((candidate for candidate in need.gpus if same_gpu(candidate.name, *names)), None)
        if wanted and (price := usd_per_hour(row)):
            found.append(
                Offer(engine, str(gpu.model), row.name, gigabytes(gpu.vram), price, "?", wanted.minutes)
            )
    return found


def usd_per_hour(row: Any) -> float:
    """0 where the unit of the price is not one that is known."""
    per_hour = {"minute": 60, "hour": 1}.get(str(row.unit_label).lower(), 0)
    return float(row.unit_cost_usd) * per_hour


def gigabytes(text: str) -> float:
    """ "48 GB" -> 48, "1 TB" -> 1000, "N/A" -> 0"""
    match = re.match(r"\s*(\d+(?:\.\d+)?)\s*([TG])", text or "", re.IGNORECASE)
    return float(match[1]) * (1000 if match[2].upper() == "T" else 1) if match else 0.0
