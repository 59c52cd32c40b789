"""Voices that espeak-ng does not have: definitions of voice variants, drawn at random over what a voice may be."""

import random

FORMANTS = 6


def design(number: int, gender: str) -> str:
    """A voice variant of espeak-ng; equal numbers and genders give equal voices.

    Frequencies, levels and widths of the formants, pitch, timbre and noise are drawn independently, over about the
    ranges that espeak-ng's own variants span. What the lines mean: espeak-ng, docs/voices.md.

    Args:
        number: which one.
        gender: "F" or "M".

    Returns:
        Text of the variant file.

    >>> design(0, "F") == design(0, "F"), design(0, "F") == design(1, "F")
    (True, False)
    """
    rng = random.Random(f"{number}{gender}")

    def around(middle: float, sigma: float, low: float, high: float) -> int:
        return round(min(high, max(low, middle * rng.lognormvariate(0.0, sigma))))

    woman = gender == "F"
    size = rng.uniform(1.02, 1.28) if woman else rng.uniform(0.8, 1.06)  # of all formant frequencies
    base = rng.uniform(105, 200) if woman else rng.uniform(55, 100)  # of the pitch
    lines = ["language variant", "name designed", f"pitch {base:.0f} {base * rng.uniform(1.25, 1.9):.0f}"]
    tilt = rng.uniform(-0.15, 0.05)
    astray = rng.choice((2, 3, 4, None, None))  # one formant may be far from its place
    lines.append(f"formant 0 100 {around(105, 0.3, 65, 200)} {around(110, 0.25, 60, 190)}")
    for index in range(1, FORMANTS + 1):
        frequency = around(100 * size, 0.08, 45, 160)
        if index == astray:
            frequency = round(frequency * rng.choice((0.65, 0.8, 1.15, 1.25)))
        level = around(100 * (1 + tilt * (index - 1)), 0.3, 30, 180)
        lines.append(f"formant {index} {frequency} {level} {around(105, 0.28, 40, 190)}")
    lines.append(f"flutter {rng.choice((0, 2, 4, 8, 14))}")
    lines.append(f"roughness {rng.choice((0, 0, 2, 4))}")
    lines.append(f"voicing {around(95, 0.4, 30, 200)}")
    lines.append(f"consonants {around(95, 0.35, 40, 180)} {around(95, 0.35, 40, 180)}")
    if rng.random() < 0.45:
        points = [(600, rng.uniform(80, 255)), (1300, rng.uniform(50, 255)), (2600, rng.uniform(40, 255))]
        lines.append("tone 100 255 " + " ".join(f"{hertz} {level:.0f}" for hertz, level in points))
    if rng.random() < 0.15:
        lines.append(f"klatt {rng.choice((2, 3, 4, 5, 6))}")
    if rng.random() < 0.2:
        lines.append("breath 0 " + " ".join(str(rng.randint(1, 6)) for _ in range(7)))
    if rng.random() < 0.15:
        lines.append(f"echo {rng.choice((60, 90, 120, 140))} 10")
    return "\n".join(lines) + "\n"
