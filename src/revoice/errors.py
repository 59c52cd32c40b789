"""The one exception that means "the user can fix this"; commands print it as a single line and exit with status 2."""

_SHOWN = 30  # valid names in a message


class UserError(ValueError):
    """A mistake the user can mend. The message is one line: what is wrong, what was expected, what to type instead."""


def one_line(text: object, limit: int = 240) -> str:
    r"""What can be shown of a text from anywhere: one line, no control characters (a terminal obeys them), clipped.

    >>> one_line("a\n b \x1b[2J c"), one_line("x" * 9, 6)
    ('a b \\x1b[2J c', 'xxx...')
    """
    words = " ".join(str(text).split())
    clipped = words if len(words) <= limit else words[: limit - 3] + "..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in clipped)


def choices(given: object, valid: object, what: str) -> UserError:
    """An error that names the bad value and the valid ones.

    >>> str(choices("vqvea", ["vqvae", "adain_vc"], "model"))
    "unknown model 'vqvea': did you mean 'vqvae'? (valid: adain_vc, vqvae)"
    """
    from difflib import get_close_matches

    names = sorted(str(v) for v in valid)  # type: ignore[attr-defined]
    near = get_close_matches(str(given)[:100], names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return UserError(f"unknown {what} '{one_line(given, 100)}': {hint}(valid: {', '.join([*names[:_SHOWN], *more])})")


def is_text(name: str) -> bool:
    """Whether a name from the file system or the command line is valid Unicode, as every text file must be."""
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8, smuggled in as surrogates
        return False
    return True


def encodable(name: str) -> str:
    r"""The name with bytes that are no UTF-8 written out, for JSON and other text files.

    >>> print(encodable("caf\udce9.wav"))
    caf\xe9.wav
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def printable(text: object) -> str:
    r"""All of a text with what a terminal could obey written out: line ends, escapes, bytes that are no UTF-8.

    >>> print(printable("caf\udce9\n\x1b[2J.wav"))
    caf\xe9\n\x1b[2J.wav
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in encodable(str(text)))
