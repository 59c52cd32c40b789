"""Sentences of drawn words: without sense, but with far more orders of sounds than a list of sentences has."""

import random
from functools import cache
from pathlib import Path

import yaml

# n noun, v verb, j adjective, a adverb, p preposition, d determiner, w pronoun, k number
_FORMS = (
    "djnvdn", "djnvdnpdn", "wvdjn", "wvdjnpdn", "adnvdjn", "dnpdnvdn", "wvdna", "dnvpdjn", "kjnvdn", "djjnva",
    "pdnwvdn", "wavdjnpdjn", "dnvdnpkn", "djnpdnva", "wvpdnpdn", "kjnpdnvdn", "nnnandn", "dnavdn",
)  # fmt: skip
_KINDS = {
    "n": "noun", "v": "verb", "j": "adjective", "a": "adverb", "p": "preposition", "d": "determiner", "w": "pronoun",
    "k": "number",
}  # fmt: skip
_ENDS = "....?!"


@cache
def words() -> dict[str, list[str]]:
    """All that may be drawn, by what they are."""
    text = (Path(__file__).parent / "words.yaml").read_text(encoding="utf-8")
    return {kind: str(listed).split() for kind, listed in yaml.safe_load(text).items()}


def drawn_sentence(name: str, number: int) -> str:
    """The sentence of that number that a voice of this name says, the same wherever it is drawn.

    >>> drawn_sentence("p1001", 0)
    'His chilly occasion along another aisle spread gently.'
    """
    chance, known = random.Random(f"{name}/{number}"), words()
    said = [chance.choice(known[_KINDS[kind]]) for kind in chance.choice(_FORMS)]
    return f"{said[0].capitalize()} {' '.join(said[1:])}{chance.choice(_ENDS)}"
