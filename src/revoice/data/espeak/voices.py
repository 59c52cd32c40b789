"""The table of voices and prosody styles of the embedded corpus."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

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
    """

    speaker: str
    variant: str
    accent: str
    gender: str
    pitch: int
    range: int
    rate: int
    unseen: bool = False


@dataclass(frozen=True, kw_only=True)
class Style:
    """A prosody style made by rule, not by a person who feels: factors on rate, offsets on pitch, range and volume."""

    rate: float = 1.0
    pitch: int = 0
    range: int = 0
    volume: int = 0
    stress: str = ""


STYLES = {
    "neutral": Style(),
    "happy": Style(rate=1.12, pitch=14, range=30, volume=10, stress="moderate"),
    "sad": Style(rate=0.78, pitch=-10, range=-30, volume=-35),
    "angry": Style(rate=1.2, pitch=6, range=20, volume=60, stress="strong"),
}


def voices() -> list[Voice]:
    """All voices: training variants lend themselves to two men or four women, unseen variants to one voice each.

    >>> table = voices(); len(table), sum(v.unseen for v in table), len({v.speaker for v in table})
    (170, 8, 170)
    >>> {v.variant for v in table if v.unseen} & {v.variant for v in table if not v.unseen}
    set()
    """
    return list(_seen()) + list(_unseen())


def _seen() -> Iterator[Voice]:
    accents = cycle(ACCENTS)
    number = 1
    # spread of (pitch, range, rate) for the voices that share a variant: heard as different people
    habits = {"F": [(50, 50, 170), (32, 40, 155), (68, 62, 185), (42, 66, 195)], "M": [(48, 50, 165), (66, 60, 185)]}
    turns = max(len(h) for h in habits.values())
    for turn in range(turns):
        for gender, names in (("F", FEMALE), ("M", MALE)):
            for index, variant in enumerate(names):
                if variant in UNSEEN_FEMALE + UNSEEN_MALE or turn >= len(habits[gender]):
                    continue
                pitch, spread, rate = habits[gender][turn]
                wobble = (index * 7 + turn * 3) % 11 - 5
                yield Voice(
                    speaker=f"p{number:03d}", variant=variant, accent=next(accents), gender=gender,
                    pitch=pitch + wobble, range=spread + 2 * wobble, rate=rate + 2 * wobble,
                )  # fmt: skip
                number += 1


def _unseen() -> Iterator[Voice]:
    # one accent: the true recording of a target then differs from the source in voice, not in which vowels it says,
    # which conversion of the voice leaves as they are
    for index, variant in enumerate(UNSEEN_FEMALE + UNSEEN_MALE):
        gender = "F" if variant in UNSEEN_FEMALE else "M"
        yield Voice(
            speaker=f"p{901 + index}", variant=variant, accent=UNSEEN_ACCENT, gender=gender,
            pitch=46 + 2 * index % 9, range=50, rate=165 + 3 * index % 10, unseen=True,
        )  # fmt: skip
