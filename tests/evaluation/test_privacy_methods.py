"""What the methods of a privacy evaluation are called, what they stand on, and what the recordings are held to say."""

from types import SimpleNamespace

import numpy as np
import pytest
from recognizer_helpers import Letters

from revoice.cli.privacy import all_methods
from revoice.conversion.pseudo import Hiding, Pool, PoolVoice, PseudoVoices
from revoice.data.corpora.manifest import Row
from revoice.evaluation.privacy import session
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


def test_texts_are_read_where_their_language_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    accents = []
    monkeypatch.setattr(session, "phones_said", lambda rows, accent: accents.append(accent) or [["a"] for _ in rows])
    row = Row(id="a", path="", speaker="a", text="eight")
    for corpus, known in (("vctk", True), ("vctk+ljspeech", True), ("emodb", False), ("vctk+folder", False)):
        found = session._known(Letters(unit="phones"), [row], session._accent(corpus))
        assert [one is not None for one in found] == [known]
    assert accents == ["en-us", "en-us"]
