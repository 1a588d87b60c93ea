"""The one error class that is shown to the user without a traceback."""


class UserError(Exception):
    """A mistake that the person at the keyboard can mend: the message says what, where, and what to do."""
