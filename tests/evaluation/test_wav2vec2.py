"""wav2vec 2.0 as torchaudio builds it, at its size, with random weights in the form in which the true ones come."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from evaluation_helpers import speak
from torchaudio import pipelines
from torchaudio.models import wav2vec2_model

from revoice.audio.io import Audio, resample
from revoice.errors import UserError
from revoice.evaluation.recognition import RECOGNIZERS, Transcript
from revoice.evaluation.recognizers.wav2vec2 import BUNDLE, Wav2Vec2, spelled

URL = "https://download.pytorch.org/torchaudio/models/wav2vec2_fairseq_base_ls960_asr_ls960.pth"
PUBLISHED = ("-", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")  # of the fine-tuned model's dictionary, in its order
LENGTHS = (0.025, 0.3, 1.0)  # seconds; the first is one step


def published_state() -> dict[str, torch.Tensor]:
    """Random weights under the names of the file, with the three classes of fairseq that nobody says."""
    torch.manual_seed(0)
    state = wav2vec2_model(**getattr(pipelines, BUNDLE)._params).state_dict()
    for old, new in (("original0", "weight_g"), ("original1", "weight_v")):
        for key in [key for key in state if key.endswith(f"parametrizations.weight.{old}")]:
            state[key.replace(f"parametrizations.weight.{old}", new)] = state.pop(key)
    state["aux.weight"] = torch.cat([state["aux.weight"][:1], torch.full((3, 768), 9.0), state["aux.weight"][1:]])
    state["aux.bias"] = torch.cat([state["aux.bias"][:1], torch.full((3,), 99.0), state["aux.bias"][1:]])
    return state


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wav2Vec2]:
    """As anybody gets it, but for the way that the file comes."""
    home, asked = tmp_path_factory.mktemp("torch"), []

    def download(url: str, to: str, *_: object, **__: object) -> None:
        asked.append(url)
        torch.save(published_state(), to)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing of it is about to be removed
        patch.setenv("TORCH_HOME", str(home))
        patch.setattr(torch.hub, "download_url_to_file", download)
        found = RECOGNIZERS.build("wav2vec2", {}, {"device": "cpu"})
    assert asked == [URL]
    for file in home.rglob("*.pth"):
        file.unlink()  # 378 MB
    yield found


def clip(seconds: float, rate: int = 16000, sentence: int = 0) -> Audio:
    return Audio(speak(120.0, 1.0, sentence, seconds, rate), rate)


def test_the_labels_are_the_published_ones_and_the_model_knows_no_others(recognizer: Wav2Vec2) -> None:
    assert recognizer.labels == PUBLISHED and recognizer.rate == 16000
    emission, _ = recognizer.model(torch.from_numpy(clip(0.3).samples)[None])
    assert emission.shape[-1] == len(PUBLISHED) and float(emission.detach().max()) < 50.0
    assert not recognizer.model.training


def test_clips_of_several_lengths_are_heard_alone_as_in_company(recognizer: Wav2Vec2) -> None:
    """Its first layer is normalized over the whole clip, so that padding would be heard."""
    clips = [clip(seconds, sentence=i) for i, seconds in enumerate(LENGTHS)]
    alone = [recognizer.transcribe([each])[0] for each in clips]
    assert recognizer.transcribe(clips) == alone and recognizer.transcribe(clips[::-1]) == alone[::-1]
    assert recognizer.transcribe([clips[1], clips[1]]) == [alone[1], alone[1]]
    assert recognizer.transcribe([]) == [] and any(each.text for each in alone)
    long, short = (torch.from_numpy(clips[place].samples) for place in (2, 1))
    padded = torch.stack([long, torch.nn.functional.pad(short, (0, len(long) - len(short)))])
    with torch.inference_mode():
        together, _ = recognizer.model(padded, torch.tensor([len(long), len(short)]))
        own, _ = recognizer.model(short[None])
    assert not torch.allclose(together[1, : own.shape[1]], own[0], atol=1e-2)


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_every_rate_is_brought_to_that_of_the_bundle(
    recognizer: Wav2Vec2, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[torch.Tensor] = []
    model = recognizer.model
    monkeypatch.setattr(recognizer, "model", lambda samples: given.append(samples) or model(samples))
    played = Audio((0.3 * np.sin(2 * np.pi * 440.0 * np.arange(int(0.3 * rate)) / rate)).astype(np.float32), rate)
    heard = recognizer.transcribe([played, Audio(resample(played.samples, rate, 16000), 16000)])
    assert heard[0] == heard[1] and torch.equal(given[0], given[1]) and given[0].shape == (1, 4800)
    spectrum = np.abs(np.fft.rfft(given[0][0].numpy()))
    assert np.argmax(spectrum) / 0.3 == pytest.approx(440.0, abs=4.0)


@pytest.mark.parametrize("samples", [0, 1, 399, 400])
def test_what_is_shorter_than_a_step_says_nothing(recognizer: Wav2Vec2, samples: int) -> None:
    found = recognizer.transcribe([Audio(clip(0.3).samples[2000 : 2000 + samples], 16000)])[0]
    assert isinstance(found, Transcript) and len(found.tokens) <= (samples >= 400)


def emitting(text: str) -> SimpleNamespace:
    """A recognizer whose network says the steps of a text, one label each, as log-probabilities."""
    steps = torch.tensor([PUBLISHED.index(each) for each in text])
    logits = torch.full((1, len(steps), len(PUBLISHED)), -3.0).scatter(2, steps[None, :, None], 2.0)
    return SimpleNamespace(model=lambda _: (logits.log_softmax(-1), None), labels=PUBLISHED, rate=16000, device="cpu")


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ("--HH-EE-LLL-LLO--", "hello"), ("HELLO", "helo"), ("L-L", "ll"), ("----", ""), ("", ""), ("A", "a"),
        ("THE||-|-CAT|", "the  cat"), ("|||ON", "on"), ("IT'S", "it's"), ("ZZ-Z-ZZ", "zzz"), ("-|-", ""),
    ],
)  # fmt: skip
def test_steps_are_read_as_ctc_says(steps: str, text: str) -> None:
    """Repeats are one, blanks nothing, and a blank between two alike keeps them two (Graves et al. 2006, section 3)."""
    made = emitting(steps)
    made._heard = lambda each: Wav2Vec2._heard(made, each)
    found = Wav2Vec2.transcribe(made, [clip(0.3)])[0] if steps else Transcript.of_text(spelled([], PUBLISHED))
    assert found == Transcript.of_text(text)


def test_reading_equals_its_definition_on_random_steps() -> None:
    draw = torch.Generator().manual_seed(0)
    for _ in range(200):
        steps = torch.randint(4, (12,), generator=draw)
        kept = [int(k) for i, k in enumerate(steps) if k and (i == 0 or k != steps[i - 1])]
        assert spelled(steps.tolist(), PUBLISHED) == "".join(PUBLISHED[k] for k in kept).replace("|", " ").lower()


def fails(patch: pytest.MonkeyPatch, home: Path, what: object) -> str:
    def download(url: str, to: str, *_: object, **__: object) -> None:
        if isinstance(what, Exception):
            raise what
        assert isinstance(what, bytes)
        Path(to).write_bytes(what)

    patch.setenv("TORCH_HOME", str(home))
    patch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(UserError) as error:
        RECOGNIZERS.build("wav2vec2", {}, {"device": "cpu"})
    assert "\n" not in str(error.value) and "metrics.recognizer.name=whisper" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("error", [URLError("no route to host"), OSError(28, "No space left"), TimeoutError("slow")])
def test_weights_that_cannot_be_had_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    assert "it needs a network at the first use" in fails(monkeypatch, tmp_path, error)


@pytest.mark.parametrize("content", [b"<html>403</html>", b"", b"PK\x03\x04 half of it"])
def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    told = fails(monkeypatch, tmp_path, content)
    assert f"delete {tmp_path / 'hub' / 'checkpoints' / Path(URL).name} to download it again" in told


def test_a_file_of_something_else_is_named_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Runs:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    for content in ({"weights": torch.zeros(2)}, [1, 2], {"aux.weight": Runs()}):
        torch.save(content, tmp_path / "made")
        (tmp_path / "hub" / "checkpoints" / Path(URL).name).unlink(missing_ok=True)
        assert "delete" in fails(monkeypatch, tmp_path, (tmp_path / "made").read_bytes())
    assert not (tmp_path / "ran").exists()
