"""What a newcomer types first: the converter that ships, without a checkpoint of one's own."""

import hashlib
import json
import sys
from pathlib import Path

import pytest

import revoice
from revoice.audio.io import read_audio, write_audio
from revoice.audio.speaker import speaker_encoder
from revoice.checkpoint.load import shipped
from revoice.cli import convert, try_it
from revoice.errors import UserError
from revoice.evaluation.listeners import DEFAULT, OTHERS
from revoice.evaluation.recognition import RECOGNIZERS

CARD = Path(__file__).resolve().parents[2] / "docs" / "voice.md"


@pytest.fixture
def typed(workplace: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a command's `main` with arguments in the shared workplace."""
    monkeypatch.chdir(workplace)

    def run(module: object, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["command", *arguments])
        module.main()  # type: ignore[attr-defined]

    return run


@pytest.fixture(scope="module")
def clips(workplace: Path) -> dict[str, Path]:
    folder = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed"))
    return {name: sorted((folder / name).glob("*.flac"))[0] for name in ("p901", "p905")}


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("voice", "voice"), ("phones", "recognizer"), ("vocoder", "vocoders"), ("pitch", "pitch"),
        ("voiceprint", "evaluation"),
    ],
)  # fmt: skip
def test_the_weights_are_those_of_the_cards(name: str, page: str) -> None:
    card = CARD.with_name(f"{page}.md")
    assert hashlib.sha256(shipped(name).read_bytes()).hexdigest() in card.read_text(encoding="utf-8")


def test_all_weights_together_stay_small() -> None:
    assert sum(file.stat().st_size for file in shipped("voice").parent.glob("*.safetensors")) < 45e6


def test_it_speaks_with_the_target_s_voice(clips: dict[str, Path]) -> None:
    converter = revoice.load()
    converted = converter.convert(clips["p901"], clips["p905"])
    assert converted.seconds == pytest.approx(read_audio(clips["p901"]).seconds, abs=0.02)
    judge = speaker_encoder().embed([converted, read_audio(clips["p905"]), read_audio(clips["p901"])])
    assert judge[0] @ judge[1] > 0.7 and judge[0] @ judge[1] > judge[0] @ judge[2] + 0.1


def test_convert_without_a_checkpoint_says_what_speaks(
    typed, clips: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(convert, f"src={clips['p901']}", f"tgt={clips['p905']}", f"out={tmp_path / 'o.wav'}", "semitones=2")
    assert "the converter that ships" in capsys.readouterr().err
    record = json.loads((tmp_path / "o.json").read_text())
    assert record["model"] == "recsyn" and "semitones" in json.dumps(record)


def test_try_converts_two_embedded_voices(typed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed(try_it, f"out={tmp_path / 'try'}")
    said = capsys.readouterr().out
    assert "to the target" in said and "differ from the source's" in said
    assert "heard by phones: it shares its teacher with the converter" in said and "real speech" not in said
    made = {"source.wav", "target.wav", "converted.wav", "try.json"}
    assert {path.name for path in (tmp_path / "try").iterdir()} == made


def test_try_takes_one_s_own_recordings(typed, clips, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed(try_it, f"src={clips['p901']}", f"tgt={clips['p905']}", f"out={tmp_path / 'try'}", "recognizer=null")
    assert "not measured" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        typed(try_it, f"src={clips['p901']}")
    assert "belong together" in capsys.readouterr().err


def test_try_says_how_well_what_is_there_hears_real_people(
    typed, clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [f"src={clips['p901']}", f"tgt={clips['p905']}"]
    for name in OTHERS:
        monkeypatch.setattr(RECOGNIZERS.get(name), "missing", classmethod(lambda cls: "not here"))
    typed(try_it, *own, f"out={tmp_path / 'phones'}")
    assert "half of the phones of real speech wrong" in capsys.readouterr().out
    asked: list[str] = []
    monkeypatch.setattr(RECOGNIZERS.get(OTHERS[0]), "missing", classmethod(lambda cls: ""))
    build = RECOGNIZERS.build
    monkeypatch.setattr(RECOGNIZERS, "build", lambda name, *rest: asked.append(name) or build(DEFAULT, *rest))
    typed(try_it, *own, f"out={tmp_path / 'whisper'}")
    assert asked == [OTHERS[0]] and "half of the phones" not in capsys.readouterr().out


@pytest.mark.parametrize("out", [".", "there", "linked"])
def test_try_writes_over_nobody_s_recording(
    out: str, clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(revoice.conversion.load, "load", lambda *_: pytest.fail("a model is loaded"))
    for name, file in (("source.wav", "p901"), ("target.wav", "p905"), ("there/converted.wav", "p901")):
        Path(name).parent.mkdir(exist_ok=True)
        write_audio(name, read_audio(clips[file]).samples, 16000)
    Path("linked").symlink_to(".")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.wav")}
    monkeypatch.setattr(sys, "argv", ["try", "src=source.wav", "tgt=target.wav", f"out={out}"])
    with pytest.raises(SystemExit):
        try_it.main()
    assert ("converted.wav in that folder would be" if out == "there" else "source.wav there is one of the") in (
        capsys.readouterr().err
    )
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.wav")}


def test_try_goes_on_in_its_own_folder_until_something_there_is_edited(clips, tmp_path: Path) -> None:
    clip = read_audio(clips["p901"])
    made, inputs = dict.fromkeys(try_it.CLIPS, clip), [*clips.values()]
    for _ in range(2):
        try_it._require_free(tmp_path, inputs)
        try_it._write(tmp_path, made)
    write_audio(tmp_path / "converted.wav", clip.samples[::-1], 16000)
    with pytest.raises(UserError, match=r"converted\.wav in that folder would be replaced"):
        try_it._require_free(tmp_path, inputs)


def test_missing_weights_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("revoice.checkpoint.load.WEIGHTS", tmp_path)
    with pytest.raises(UserError, match="voice.safetensors is missing"):
        revoice.load()
