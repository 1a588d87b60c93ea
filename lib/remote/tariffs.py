"""Offers without a network: prices as they were read on a day, for `make plan`.

The day is part of every table.
"""

from lib.remote.seam import Need, Offer, same_gpu, table

READ_ON = "2026-11-25"
# (name, memory in GB, dollars an hour)
RUNPOD_SECURE = (
    ("A40", 48, 0.44),
    ("RTX A6000", 48, 0.53),
    ("RTX 4090", 24, 0.74),
    ("L40", 48, 0.82),
    ("L40S", 48, 0.99),
    ("A100 80GB", 80, 1.39),
    ("H100 PCIe", 80, 2.89),
    ("H100 SXM", 80, 3.49),
)
HF_JOBS = (
    ("L4", 24, 0.80),
    ("A10G", 24, 1.50),
    ("L40S", 48, 1.80),
    ("A100 80GB", 80, 2.50),
    ("RTX PRO 6000", 96, 2.75),
    ("H200", 141, 5.00),
)


def offline_offers(need: Need) -> list[Offer]:
    """Offers of both engines that fit need, by the prices of READ_ON; what is in stock nobody knows here."""
    found = []
    for engine, prices in (("runpod", RUNPOD_SECURE), ("hf", HF_JOBS)):
        for name, memory, usd_per_hour in prices:
            wanted = next((candidate for candidate in need.gpus if same_gpu(candidate.name, name)), None)
            if wanted is not None and memory >= need.memory_gb:
                found.append(Offer(engine, name, name, memory, usd_per_hour, "?", wanted.minutes))
    return found


def offline_table(need: Need) -> str:
    """The offers of both engines for a page that asks nobody: it says when its prices were read."""
    return table(
        offline_offers(need), note=f"prices of {READ_ON}; today's and what is free: `make train ON=...`"
    )
