"""The one error that is the user's to mend."""

__all__ = ["UserError"]


class UserError(ValueError):
    """A slip in what was handed in, told in one sentence that says how to mend it.

    The command line prints it without a traceback and exits with code 2.

    >>> str(UserError("expected images in [0, 1], got a maximum of 255.0; divide by 255"))
    'expected images in [0, 1], got a maximum of 255.0; divide by 255'
    """
