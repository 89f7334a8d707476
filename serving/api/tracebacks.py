"""Where an exception came from, without its message: messages quote what users wrote."""

import traceback

from textclf.errors import InputError, TextClfError


def redacted_traceback(error: BaseException) -> str:
    """The frames and classes of an exception and of what led to it, innermost cause first.

    Messages are left out, but for those of this project that name files and settings, never texts.
    """
    parts = []
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        speaks = isinstance(cause, TextClfError) and not isinstance(cause, InputError)
        frames = "".join(traceback.format_tb(cause.__traceback__))
        parts.append(f"{frames}{type(cause).__module__}.{type(cause).__qualname__}{f': {cause}' if speaks else ''}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\n-- which led to --\n".join(reversed(parts))
