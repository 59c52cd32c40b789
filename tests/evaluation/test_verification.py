import numpy as np
import pytest
from evaluation_helpers import RATE, VOICES, speak

from revoice.audio.io import Audio, read_audio, resample
from revoice.errors import UserError
from revoice.evaluation.verification import VERIFIERS, Verifier, enrol, judge


def test_enrolment_and_verdict() -> None:
    target = enrol(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    np.testing.assert_allclose(target, [0.5**0.5, 0.5**0.5, 0.0])
    clip = np.array([0.6, 0.0, 0.8])
    verdict = judge(clip, target, np.array([0.0, 0.0, 1.0]))
    assert verdict.cosine_target == pytest.approx(0.6 * 0.5**0.5)
    assert verdict.cosine_source == pytest.approx(0.8)
    assert not verdict.closer_to_target
    assert judge(clip, np.array([0.0, 0.0, 1.0]), target).closer_to_target


def test_unknown_verifier() -> None:
    with pytest.raises(UserError, match="unknown verifier 'resemblizer': did you mean 'resemblyzer'"):
        VERIFIERS.get("resemblizer")


@pytest.fixture(scope="module")
def resemblyzer() -> Verifier:
    return VERIFIERS.build("resemblyzer", {})


def test_resemblyzer_gives_unit_vectors_for_any_rate(resemblyzer: Verifier) -> None:
    clip = speak(*VOICES["anna"][:2], 0, seconds=2.0)
    found = resemblyzer.embed([Audio(clip, RATE), Audio(resample(clip, RATE, 44100), 44100)])
    assert found.shape == (2, 256) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert found[0] @ found[1] > 0.95


def test_resemblyzer_tells_real_voices_apart(resemblyzer: Verifier, shared) -> None:
    folder = shared / "data" / "vctk_mini" / "wav48"
    files = {voice: sorted((folder / voice).glob("*.wav"))[1:4] for voice in ("p225", "p226")}
    clips = {voice: resemblyzer.embed([read_audio(file) for file in paths]) for voice, paths in files.items()}
    for own, other in (("p225", "p226"), ("p226", "p225")):
        assert judge(clips[own][0], enrol(clips[own][1:]), enrol(clips[other])).closer_to_target
