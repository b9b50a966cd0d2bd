"""Exceptions for input that a person can mend."""


class InputError(ValueError):
    """Bad input. The message names the file, key or argument at fault, the reason, and what would be right.

    Command lines print the message without a traceback and exit with status 1.
    """


class NotFiniteError(InputError):
    """A loss or an output of a model is NaN or infinite, as where training diverges."""
