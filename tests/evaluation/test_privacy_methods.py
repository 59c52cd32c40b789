"""What the methods of a privacy evaluation are called and what they stand on."""

from types import SimpleNamespace

import numpy as np

from revoice.cli.privacy import all_methods
from revoice.conversion.pseudo import Hiding, Pool, PoolVoice, PseudoVoices
from revoice.evaluation.privacy.methods import ByConversion, Untouched


def test_no_method_takes_the_name_of_another() -> None:
    one, two, three, four = (Untouched() for _ in range(4))
    found = all_methods([("original", one), ("mcadams", two), ("mcadams", three)], {"mcadams": four})
    assert found == {"original'": one, "mcadams'": two, "mcadams''": three, "mcadams": four}


def test_who_chose_the_voices_has_a_part_in_them() -> None:
    model = SimpleNamespace(stands_on=("whisper",), requires=SimpleNamespace(fields=("features",)))
    converter = SimpleNamespace(model=model, describe=dict)
    pool = Pool([PoolVoice("a", [], np.ones(2, np.float32))])
    for hiding, stands_on in (
        (Hiding(PseudoVoices(), pool), ("whisper", "resemblyzer")),
        (Hiding(PseudoVoices(), table=["a"]), ("whisper",)),
        (None, ("whisper",)),
    ):
        assert ByConversion(converter, hiding).stands_on == stands_on
