"""The phones of English that recognizers tell apart, and which of them each of espeak-ng's phonemes is."""

# the 39 phones of the CMU Pronouncing Dictionary; an r that colors a vowel is part of the vowel, as espeak-ng has it
INVENTORY = (
    *("p", "b", "t", "d", "k", "g", "ch", "jh", "f", "v", "th", "dh", "s", "z", "sh", "zh", "hh"),
    *("m", "n", "ng", "l", "r", "w", "y"),
    *("iy", "ih", "eh", "ae", "aa", "ao", "ah", "er", "uh", "uw", "ey", "ay", "aw", "oy", "ow"),
)

# espeak-ng's names (docs/phonemes.md there) without stress, over all its accents of English
_NAMES = {
    "p": "p", "b": "b", "t": "t t# t2 t[", "d": "d d# d[", "k": "k x", "g": "g", "ch": "tS", "jh": "dZ", "f": "f",
    "v": "v", "th": "T", "dh": "D", "s": "s", "z": "z z#", "sh": "S", "zh": "Z", "hh": "h", "m": "m m-", "n": "n n-",
    "ng": "N", "l": "l l# l-", "r": "r r- r/", "w": "w w#", "y": "j", "iy": "i: i i@ i@3 i2 i:2", "ih": "I I2 I#",
    "eh": "E E2 e@ E#", "ae": "a aa a2", "aa": "A: A@ 0 02 O2 A~", "ao": "O: O@ o@ O", "ah": "V @ @2 @5 @- a#",
    "er": "3 3: VR IR", "uh": "U U@", "uw": "u: u", "ey": "eI e", "ay": "aI aI2 aI3", "aw": "aU", "oy": "OI",
    "ow": "oU o", "ah l": "@L", "ay ah": "aI@", "aw ah": "aU@",
}  # fmt: skip
_PHONES = {name: tuple(phones.split()) for phones, names in _NAMES.items() for name in names.split()}


def phones_of(name: str) -> tuple[str, ...]:
    """What one of espeak-ng's phonemes is in `INVENTORY`: mostly one phone, none for pauses and marks.

    >>> phones_of("'eI"), phones_of("@L"), phones_of("_:"), phones_of(";")
    (('ey',), ('ah', 'l'), (), ())
    """
    return _PHONES.get(name.lstrip("',%="), ())


def heard(events: list[tuple[str, float]], seconds: float) -> list[tuple[str, float, float]]:
    """Events (espeak-ng's name, start) of a clip of some seconds -> phones (name, start, end), pauses left out.

    >>> heard([("'eI", 0.0), ("@L", 0.1), ("_:", 0.3)], 0.5)
    [('ey', 0.0, 0.1), ('ah', 0.1, 0.2), ('l', 0.2, 0.3)]
    """
    found = []
    for (name, start), end in zip(events, [*(start for _, start in events[1:]), seconds], strict=True):
        phones = phones_of(name)
        share = (end - start) / max(len(phones), 1)
        found += [(phone, start + i * share, start + (i + 1) * share) for i, phone in enumerate(phones)]
    return found
