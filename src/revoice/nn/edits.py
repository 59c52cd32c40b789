"""How far two sequences are apart."""

from collections.abc import Hashable, Sequence


def edits(reference: Sequence[Hashable], heard: Sequence[Hashable]) -> int:
    """The least number of replaced, missing and added entries between two sequences (Levenshtein).

    >>> edits("sitting", "kitten"), edits("", "ab"), edits("ab", "ab")
    (3, 2, 0)
    """
    row = list(range(len(heard) + 1))
    for i, said in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, got in enumerate(heard, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (said != got))
    return row[-1]
