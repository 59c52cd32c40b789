from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_helpers import RATE, VOICES, speak

from revoice.audio.io import Audio, read_audio, resample
from revoice.errors import UserError
from revoice.evaluation.listeners import Choice
from revoice.evaluation.verification import VERIFIERS, Verifier, enrol, judge
from revoice.evaluation.workers import Workers


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


def test_who_judges_beside_resemblyzer(tmp_path, monkeypatch, caplog) -> None:
    from revoice.evaluation import verification
    from revoice.evaluation.verifiers import voiceprint

    assert verification.second_verifier("auto", []) == (None, "")
    assert verification.second_verifier(None, ["mine"]) == (None, "")
    monkeypatch.setattr(voiceprint, "SHIPPED", tmp_path / "none.safetensors")
    judge, remark = verification.second_verifier({"name": "auto", "path": None}, ["mine"])
    assert judge is None and "no second verifier" in remark and "circular for mine" in caplog.text
    with pytest.raises(UserError, match="experiment=verifier_real"):
        verification.second_verifier("voiceprint", [])
    assert verification.second_verifier("resemblyzer", [])[0].name == "resemblyzer"


def test_judges_run_where_the_systems_do(corpus, monkeypatch) -> None:
    from revoice.evaluation import session

    asked = []

    def note(*given, **_):
        asked.append(given[-1])
        return SimpleNamespace(name="fake"), ""

    monkeypatch.setattr(session, "choose", lambda *given: asked.append(given[-1]) or Choice(None, None))
    monkeypatch.setattr(session, "second_verifier", note)
    monkeypatch.setattr(session.VERIFIERS, "build", lambda name, given, facts: note(facts["device"])[0])
    model = SimpleNamespace(stands_on=("resemblyzer",), requires=SimpleNamespace(fields=()))
    systems: Any = {"mine": SimpleNamespace(model=model, device=torch.device("cuda", 1))}
    session.judges(systems, corpus, session.Protocol(), Workers(0), names=("speaker",))
    assert asked == 3 * ["cuda:1"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("voiceprit", "did you mean 'voiceprint'"),
        ({"path": "x"}, "type metrics.second_verifier.name=voiceprint"),
        ({"name": "auto", "path": "x"}, "of which verifier"),
        ({"name": "voiceprint", "pth": "x"}, "pth"),
    ],
)
def test_wrong_settings_of_a_second_verifier(given, words) -> None:
    from revoice.evaluation.verification import check_verifier

    with pytest.raises(UserError, match=words):
        check_verifier(given, "metrics.second_verifier", also=("auto",))


def test_a_trained_voiceprint_judges(tmp_path) -> None:
    """A checkpoint of the network, as training leaves it, embeds clips of any rate and length alike."""
    import torch

    from revoice.audio.presets import load_preset
    from revoice.checkpoint.description import Description
    from revoice.checkpoint.save import save
    from revoice.models.base import MODELS

    arguments = {"n_features": 80, "n_speakers": 2, "channels": 16, "hidden": 16, "blocks": 1, "embedding": 8}
    torch.manual_seed(0)
    model, spec = MODELS.build("voiceprint", arguments), load_preset("whisper_16k")
    about = Description(model="voiceprint", arguments=arguments, features=spec.to_dict(), trim_db=30.0)
    save(model, about, tmp_path / "v.safetensors")
    judge = VERIFIERS.build("voiceprint", {"path": tmp_path / "v.safetensors"})
    clip = Audio(speak(120.0, 1.0, 0, 2.0), RATE)
    quiet = Audio(0.3 * np.concatenate([np.zeros(4000, np.float32), clip.samples]), RATE)
    found = judge.embed(
        [clip, quiet, Audio(resample(clip.samples, RATE, 22050), 22050), Audio(clip.samples[:300], RATE)]
    )
    assert found.shape == (4, 8) and judge.weights
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert found[0] @ found[1] > 0.97 and found[0] @ found[2] > 0.97
