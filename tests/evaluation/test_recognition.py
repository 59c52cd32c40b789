import math
import shlex
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from evaluation_helpers import RATE, speak
from recognizer_helpers import Bands, Letters

from revoice.audio.io import Audio, read_audio
from revoice.audio.presets import load_preset
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import Loaded
from revoice.data.corpora.manifest import Row
from revoice.errors import UserError
from revoice.evaluation.recognition import (
    RECOGNIZERS,
    Listener,
    Recognizer,
    Transcript,
    error_rate,
    is_circular,
    mean_rate,
    normalized,
)
from revoice.evaluation.recognizers import phones


@pytest.mark.parametrize(
    ("reference", "heard", "rate"),
    [
        ("abcd", "abcd", 0.0),
        ("abcd", "abxd", 0.25),  # one for another
        ("abcd", "acd", 0.25),  # one missing
        ("abcd", "abccd", 0.25),  # one too many
        ("a b", "ab", 1 / 3),  # a space counts as a character
        ("ab", "xyzuv", 2.5),  # more wrong than was said
        ("ab", "", 1.0),
        ("kitten", "sitting", 3 / 6),
    ],
)
def test_error_rates_by_hand(reference: str, heard: str, rate: float) -> None:
    assert error_rate(reference, heard) == pytest.approx(rate)
    assert error_rate(tuple(reference), tuple(heard)) == pytest.approx(rate)


def test_phones_are_counted_as_wholes() -> None:
    assert error_rate(("tʃ", "iː", "z"), ("ʃ", "iː", "z")) == pytest.approx(1 / 3)
    assert math.isnan(error_rate((), ("a",)))


def test_long_sources_count_more() -> None:
    pairs = [(Transcript.of_text(a), Transcript.of_text(b)) for a, b in (("abcdefgh", "abcd"), ("ab", "ab"), ("", "x"))]
    assert mean_rate(pairs) == pytest.approx(0.4) and math.isnan(mean_rate(pairs[2:]))


def test_text_is_normalized() -> None:
    assert normalized("Don't — STOP!") == normalized("dont stop") == "dont stop"
    assert normalized("half-past 10.") == "half past 10"
    assert normalized("…") == "" and normalized("Straße") == "strasse"
    assert Transcript.of_text(" A  b. ") == Transcript(("a", " ", "b"), "A b.")


def test_names_are_looked_up() -> None:
    assert RECOGNIZERS.names() == ["command", "phones", "pocketsphinx", "wav2vec2", "whisper"]
    with pytest.raises(UserError, match="unknown recognizer 'wisper': did you mean 'whisper'"):
        RECOGNIZERS.get("wisper")
    for name in RECOGNIZERS.names():
        kind = RECOGNIZERS.get(name)
        assert kind.unit in ("characters", "phones") and kind.__doc__
    assert "whisper" in RECOGNIZERS.get("phones").stands_on


def test_circles() -> None:
    judge = Bands()
    assert is_circular(judge, ["bands"]) and is_circular(judge, ("x", "teacher"))
    assert not is_circular(judge, ()) and not is_circular(judge, {"x"})
    assert Listener.of(judge, ["teacher"]).circular and not Listener.of(judge, []).circular


def test_what_a_row_says() -> None:
    row = Row(id="a", path="a.wav", speaker="s", text="Oh, no!")
    said = Bands().said(row)
    assert said is not None and "".join(said.tokens) == "oh no"
    assert Letters(unit="phones").said(row) is None
    assert Bands().said(Row(id="a", path="a.wav", speaker="s")) is None


def clip(seconds: float = 0.8, rate: int = RATE) -> Audio:
    return Audio(speak(120.0, 1.0, 0, seconds, rate), rate)


def command(code: str, wav: str = " {wav}") -> str:
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}{wav}"


def test_a_program_is_given_each_clip_and_prints_text() -> None:
    code = "import sys, wave; w = wave.open(sys.argv[1]); print('Heard', w.getframerate(), w.getnframes(), 'frames.')"
    found = RECOGNIZERS.build("command", {"command": command(code)}).transcribe([clip(), clip(0.5, 44100)])
    assert [t.text for t in found] == ["Heard 16000 12800 frames.", "Heard 16000 8000 frames."]
    assert "".join(found[0].tokens) == "heard 16000 12800 frames"


def test_a_program_needs_no_shell() -> None:
    heard = RECOGNIZERS.build("command", {"command": "echo {wav} $HOME; echo `x`"}).transcribe([clip()])[0]
    assert "$HOME; echo `x`" in heard.text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "Type recognizer.command="),
        ({"command": "my_asr"}, "no {wav}"),
        ({"command": "my_asr 'x {wav}"}, "quotation"),
        ({"command": "no-such-program-1 {wav}"}, "cannot be run"),
        ({"command": command("import sys; sys.exit('no license')")}, "failed with status 1: no license"),
        ({"command": command("import time; time.sleep(60)"), "timeout": 0.2}, "more than 0.2 s"),
        ({"comand": "x {wav}"}, "did you mean 'command'"),
    ],
)
def test_what_is_wrong_with_a_program_is_one_line(settings: dict, words: str) -> None:
    with pytest.raises(UserError) as error:
        RECOGNIZERS.build("command", settings).transcribe([clip()])
    assert words in str(error.value) and "\n" not in str(error.value)


def test_another_program_of_the_same_name_is_another(tmp_path) -> None:
    script = tmp_path / "asr.py"
    found = []
    for text in ("print('a')", "print('b')", "print('a')"):
        script.write_text(text)
        line = f"{shlex.quote(sys.executable)} {shlex.quote(str(script))} {{wav}}"
        found.append(RECOGNIZERS.build("command", {"command": line}).weights)
    assert found[0] == found[2] != found[1]


def test_another_model_in_the_same_folder_is_another(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    class Model:
        supported_languages = ("en",)
        model = SimpleNamespace(is_multilingual=True)

        def __init__(self, *_: object, **__: object) -> None:
            pass

    monkeypatch.setitem(sys.modules, "faster_whisper", SimpleNamespace(WhisperModel=Model))
    monkeypatch.setattr(sys.modules[RECOGNIZERS.get("whisper").__module__], "find_spec", lambda _: True)
    found = []
    for data in (b"a", b"b", b"a"):
        (tmp_path / "model.bin").write_bytes(data)
        found.append(RECOGNIZERS.build("whisper", {"path": str(tmp_path)}).weights)
    assert found[0] == found[2] != found[1]


def test_a_program_may_stand_on_whisper() -> None:
    assert is_circular(RECOGNIZERS.build("command", {"command": "a {wav}", "stands_on": ["whisper"]}), ["whisper"])


class Counting(torch.nn.Module):
    """In place of the phone recognizer: one phone for each ten frames that are there."""

    stands_on: tuple[str, ...] = ("someone",)

    def transcribe(self, log_mel: torch.Tensor, lengths: torch.Tensor) -> list[list[str]]:
        assert log_mel.shape[1] == 80 and log_mel.shape[2] == int(lengths.max())
        return [["a"] * (int(length) // 10) for length in lengths]

    @staticmethod
    def from_espeak(names: list[str]) -> list[str]:
        return [name.strip("'") for name in names if not name.startswith("_")]


def test_phones_by_the_network_of_a_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    spec = load_preset("whisper_16k")
    about = Description(model="phones", arguments={}, features=spec.to_dict(), data={"phone_error": {"vctk": 0.1}})
    loaded = Loaded(Counting(), spec, about, tmp_path, "abc")  # type: ignore[arg-type]
    monkeypatch.setattr(phones, "load_checkpoint", lambda path, device: loaded)
    recognizer = RECOGNIZERS.build("phones", {"path": str(tmp_path)}, {"device": "cpu"})
    clips = [clip(2.0), clip(0.5, 44100), Audio(np.zeros(5, np.float32), RATE), clip(1.0)]
    assert [len(t.tokens) for t in recognizer.transcribe(clips)] == [20, 5, 0, 10]
    assert recognizer.transcribe([]) == []
    assert recognizer.known_error == {"vctk": 0.1} and recognizer.weights == "abc"
    assert set(recognizer.stands_on) == {"whisper", "someone"}
    row = Row(id="a", path="a.wav", speaker="s", phones=[("'eI", 0.0), ("t", 0.1), ("_:", 0.2)])
    assert recognizer.said(row) == Transcript(("eI", "t"), "eI t")
    assert recognizer.said(Row(id="a", path="a.wav", speaker="s", text="eight")) is None


def test_phones_without_weights_say_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(phones, "SHIPPED", tmp_path / "phones.safetensors")
    with pytest.raises(UserError, match=r"weights are not in this installation.*recognizer\.path=FILE"):
        RECOGNIZERS.build("phones", {})
    with pytest.raises(UserError, match="does not exist"):
        RECOGNIZERS.build("phones", {"path": str(tmp_path / "none.safetensors")})


def test_phones_want_their_own_kind(trained) -> None:
    with pytest.raises(UserError, match="holds a adain_vc: expected the phone recognizer"):
        RECOGNIZERS.build("phones", {"path": str(trained)})


def listening(name: str) -> Recognizer:
    reason = RECOGNIZERS.get(name).missing()
    if reason:
        pytest.skip(f"recognizer {name}: {reason}")
    return RECOGNIZERS.build(name, {})


@pytest.mark.parametrize("name", ["whisper", "pocketsphinx"])
def test_real_speech_is_heard_again_the_same(name: str, shared) -> None:
    recognizer = listening(name)
    folder = shared / "data" / "vctk_mini"
    spoken = read_audio(folder / "wav48" / "p225" / "p225_001.wav")  # Please call Stella.
    found = recognizer.transcribe([spoken, Audio(spoken.samples[::-1].copy(), spoken.sample_rate), spoken])
    assert found[0] == found[2] != found[1]  # whatever was heard between
    if name == "whisper":
        said = Transcript.of_text((folder / "txt" / "p225" / "p225_001.txt").read_text())
        assert error_rate(said.tokens, found[0].tokens) < 0.3


def test_whisper_says_what_it_lacks(tmp_path) -> None:
    if not listening("whisper"):
        return
    (tmp_path / "model.bin").write_bytes(b"no model")
    for settings, words in (
        ({"path": "no_such_package"}, "no model.bin in no_such_package"),
        ({"path": str(tmp_path)}, "no Whisper model"),
        ({"language": "xx"}, "language=xx"),
    ):
        with pytest.raises(UserError, match=words) as error:
            RECOGNIZERS.build("whisper", settings)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["whisper", "pocketsphinx"])
def test_what_is_not_installed_is_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[RECOGNIZERS.get(name).__module__]
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert "pip install 'revoice[evaluation]'" in RECOGNIZERS.get(name).missing()
    with pytest.raises(UserError, match="is not installed"):
        RECOGNIZERS.build(name, {})
