"""The table of voices and prosody styles of the embedded corpus."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import cycle

from revoice.data.corpora.espeak.design import design

# espeak-ng voice variants that sound like a person (no whispers, no robots), by the sex they suggest
FEMALE = ("Alicia Andrea Annie anika aunty belinda f1 f2 f3 f4 f5 grandma linda shelby steph steph2").split()
MALE = (
    "Alex Andy Denis Diogo Gene Henrique Hugo Jacky Lee Marco Mario Michael Mike Mr_Serious Nguyen Reed RicishayMax "
    "RicishayMax2 Storm Tweaky adam antonio benjamin boris croak ed edward edward2 fast grandpa gustave ian iven2 iven4 "  # noqa: E501
    "john kaukovalta klatt3 klatt4 klatt5 m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel mike2 norbert pablo paul pedro "
    "quincy rob robert sandro travis victor"
).split()
# held out: chosen to sound unlike each other, yet not unlike all others
UNSEEN_FEMALE = ("belinda", "f1", "f4", "shelby")
UNSEEN_MALE = ("Hugo", "edward", "m8", "marcelo")
UNSEEN_ACCENT = "en-us"  # the one in which they are least alike
DESIGNED = 420  # training voices drawn at random beside those of espeak-ng

# shifts of pitch, range and rate for the voices that share a variant: heard as different people
HABITS = {"F": [(0, 0, 0), (-18, -10, -15), (18, 12, 15), (-8, 16, 25)], "M": [(-2, 0, -5), (16, 10, 15)]}

ACCENTS = ("en", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
ACCENT_NAMES = {
    "en": "English", "en-us": "American", "en-gb-scotland": "Scottish", "en-gb-x-rp": "ReceivedPronunciation",
    "en-gb-x-gbclan": "Lancastrian", "en-gb-x-gbcwmd": "WestMidlands", "en-029": "Caribbean",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Voice:
    """One speaker: an espeak-ng variant with an accent and its own habits.

    Attributes:
        speaker: VCTK-like name.  variant, accent: espeak-ng names.  gender: "F" or "M".
        pitch, range: espeak-ng's 0..99 scales (50 is the variant's own).  rate: words per minute.
        unseen: held out of training, together with its variant.
        definition: text of the variant, if it is not one of espeak-ng's own.
    """

    speaker: str
    variant: str
    accent: str
    gender: str
    pitch: int
    range: int
    rate: int
    unseen: bool = False
    definition: str = ""


@dataclass(frozen=True, kw_only=True)
class Style:
    """A prosody style made by rule, not by a person who feels: factors on rate, offsets on pitch, range and volume.

    Where styles are spoken, a voice speaks all of them as quietly as it takes for nothing to be cut (`server.py`).
    """

    rate: float = 1.0
    pitch: int = 0
    range: int = 0
    volume: int = 0
    stress: str = ""


STYLES = {
    "neutral": Style(),
    "happy": Style(rate=1.12, pitch=14, range=30, volume=10, stress="moderate"),
    "sad": Style(rate=0.78, pitch=-10, range=-30, volume=-35),
    "angry": Style(rate=1.2, pitch=6, range=20, volume=40, stress="strong"),
}


def voices(more: int = 0) -> list[Voice]:
    """All voices: espeak-ng's male variants speak as two men, its female as four women, designed ones as one each.

    Args:
        more: designed voices beside those that are always there.

    >>> table = voices(); len(table), sum(v.unseen for v in table), len({v.speaker for v in table})
    (590, 8, 590)
    >>> {v.variant for v in table if v.unseen} & {v.variant for v in table if not v.unseen}
    set()
    """
    return list(_everyone(more))


@cache  # designing takes tens of milliseconds
def _everyone(more: int) -> tuple[Voice, ...]:
    return (*_seen(more), *_unseen())


def _seen(more: int) -> Iterator[Voice]:
    accents = cycle(ACCENTS)
    cast: list[tuple[str, str, str, tuple[int, int, int]]] = []  # variant, gender, its definition, habits
    for turn in range(max(map(len, HABITS.values()))):
        for gender, names in (("F", FEMALE), ("M", MALE)):
            if turn < len(HABITS[gender]):
                own = (name for name in names if name not in UNSEEN_FEMALE + UNSEEN_MALE)
                cast += [(name, gender, "", HABITS[gender][turn]) for name in own]
    for index in range(DESIGNED + more):
        gender = "FM"[index.bit_count() % 2]  # even shares in any part of the list
        cast.append((f"designed{index}", gender, design(index, gender), (0, 0, 0)))
    for number, (variant, gender, definition, habits) in enumerate(cast, start=1):
        pitch, spread, rate = habits
        wobble, haste = number * 7 % 11 - 5, number % 9 - 4
        yield Voice(
            speaker=f"p{1000 + number}",  # a name that VCTK does not have
            variant=variant, accent=next(accents), gender=gender, definition=definition,
            pitch=50 + pitch + wobble, range=50 + spread + 2 * wobble, rate=170 + rate + 2 * wobble + 2 * haste,
        )  # fmt: skip


def _unseen() -> Iterator[Voice]:
    # one accent: the true recording of a target then differs from the source in voice, not in which vowels it says,
    # which conversion of the voice leaves as they are
    for index, variant in enumerate(UNSEEN_FEMALE + UNSEEN_MALE):
        gender = "F" if variant in UNSEEN_FEMALE else "M"
        yield Voice(
            speaker=f"p{901 + index}", variant=variant, accent=UNSEEN_ACCENT, gender=gender,
            pitch=46 + 2 * index % 9, range=50, rate=165 + 3 * index % 10, unseen=True,
        )  # fmt: skip
