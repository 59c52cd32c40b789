"""The one exception that means "the user can fix this"; commands print it as a single line and exit with status 2."""


class UserError(ValueError):
    """A mistake the user can mend. The message is one line: what is wrong, what was expected, what to type instead."""


def choices(given: object, valid: object, what: str) -> UserError:
    """An error that names the bad value and the valid ones.

    >>> str(choices("vqvea", ["vqvae", "adain_vc"], "model"))
    "unknown model 'vqvea': did you mean 'vqvae'? (valid: adain_vc, vqvae)"
    """
    from difflib import get_close_matches

    names = sorted(str(v) for v in valid)  # type: ignore[attr-defined]
    near = get_close_matches(str(given), names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return UserError(f"unknown {what} '{given}': {hint}(valid: {', '.join(names)})")


def is_text(name: str) -> bool:
    """Whether a name from the file system or the command line is valid Unicode, as every text file must be."""
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8, smuggled in as surrogates
        return False
    return True


def printable(name: str) -> str:
    r"""The name with bytes that are no UTF-8 written out.

    >>> print(printable("caf\udce9.wav"))
    caf\xe9.wav
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
