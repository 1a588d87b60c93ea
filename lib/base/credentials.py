"""The keys and passwords of this machine: their values, kept out of every output, and who can read .env."""

import os
import re
import stat
from pathlib import Path

NAMED_SECRET = re.compile(
    r"(?:KEY|TOKEN|PASS|PASSWD|CREDENTIAL|COOKIE|BEARER)S?$|SECRET|PASSWORD|PASSPHRASE|API_?KEY",
    re.IGNORECASE,
)
MIN_CHARS = 8  # shorter values are words and numbers that stand everywhere
MASK = "[secret]"


def environment_secrets() -> frozenset[str]:
    """Values of the environment whose names say that they are secret."""
    return _secrets(dict(os.environ))


def known_secrets(env_file: Path = Path(".env")) -> frozenset[str]:
    """Those of the environment and those of .env, which may hold others: what is set already wins."""
    from dotenv import dotenv_values

    try:
        return environment_secrets() | _secrets(dict(dotenv_values(env_file)))
    except (OSError, ValueError):  # load_env has said so
        return environment_secrets()


def masked(text: str) -> str:
    """text without the environment's secrets, nor beginnings of them that a shortened message cut off."""
    for secret in sorted(environment_secrets(), key=len, reverse=True):
        head, at = secret[: max(MIN_CHARS, len(secret) // 3)], 0
        while (at := text.find(head, at)) >= 0:
            end = next(n for n in range(len(secret), 0, -1) if text.startswith(secret[:n], at))
            text = text[:at] + MASK + text[at + end :]
            at += len(MASK)
    return text


def shared_warning(path: Path) -> str | None:
    """A sentence if others on this machine can read path; None if they cannot, or it is not there."""
    try:
        others = stat.S_IMODE(path.stat().st_mode) & (stat.S_IRGRP | stat.S_IROTH)
    except OSError:
        return None
    if not others or os.name == "nt":
        return None
    return f"{path} can be read by other users of this machine, and it holds keys. Run `chmod 600 {path}`."


def _secrets(values: dict[str, str | None]) -> frozenset[str]:
    stripped = {name: (value or "").strip() for name, value in values.items()}
    return frozenset(
        value for name, value in stripped.items() if len(value) >= MIN_CHARS and NAMED_SECRET.search(name)
    )
