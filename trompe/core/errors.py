"""The one error that is the user's to mend, and what autograd says where no path leads back to the input."""

__all__ = ["UserError", "is_severed"]


class UserError(ValueError):
    """A slip in what was handed in, told in one sentence that says how to mend it.

    The command line prints it without a traceback and exits with code 2.

    >>> str(UserError("expected images in [0, 1], got a maximum of 255.0; divide by 255"))
    'expected images in [0, 1], got a maximum of 255.0; divide by 255'
    """


def is_severed(error: RuntimeError) -> bool:
    """Whether autograd complains that no path leads from what was differentiated back to the input."""
    text = str(error)
    return "does not require grad" in text or "not have been used" in text
