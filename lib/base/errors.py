"""The one error class that is shown to the user without a traceback."""

from lib.base.credentials import masked


class UserError(Exception):
    """A mistake that the person at the keyboard can mend: the message says what, where, and what to do.

    It often quotes what a server answered, goes to terminals, ledgers and pages, and never repeats a key.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(masked(str(message)))
