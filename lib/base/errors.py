"""The one error class that is shown to the user without a traceback."""

import errno

from lib.base.credentials import masked

SPACE, RIGHTS = "Free disk space, then run it again.", "Fix the permissions, then run it again."
ADVICE = {  # what to do about a refusal of the system
    errno.ENOSPC: SPACE,
    errno.EDQUOT: SPACE,
    errno.EFBIG: SPACE,
    errno.EACCES: RIGHTS,
    errno.EPERM: RIGHTS,
    errno.EROFS: "Move the project to a folder that can be written to, then run it again.",
    errno.EIO: "The disk or the network drive failed: check it, then run it again.",
    errno.ENOMEM: "Close other programs, then run it again.",
    errno.EMFILE: "Raise the limit of open files (`ulimit -n 4096`), then run it again.",
}


class UserError(Exception):
    """A mistake that the person at the keyboard can mend: the message says what, where, and what to do.

    It often quotes what a server answered, goes to terminals, ledgers and pages, and never repeats a key.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(masked(str(message)))
