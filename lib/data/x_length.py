"""Length of a post as X counts it, against its limit of 280.

Source: twitter-text, configuration v3.
"""

import unicodedata

from lib.base.characters import EMOJI
from lib.data.text import LINKS

MAX_POST = 280
LINK = 23  # t.co's, whatever the length of the link itself
LIGHT = ((0, 4351), (8192, 8205), (8208, 8223), (8242, 8247))  # code points that weigh one; others weigh two
HEAVY = "\U0001f600"  # an emoji weighs two, of however many code points


def x_length(text: str) -> int:
    """Weighted characters of a post: a link is 23, most of the world's scripts weigh two each."""
    text, n_links = LINKS.subn("", unicodedata.normalize("NFC", text))
    signs = EMOJI.sub(lambda emoji: emoji.group() if len(emoji.group()) == 1 else HEAVY, text)
    n_light = sum(any(low <= ord(sign) <= high for low, high in LIGHT) for sign in signs)
    return LINK * n_links + 2 * len(signs) - n_light
