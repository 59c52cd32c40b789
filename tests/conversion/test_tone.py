"""What a model's copies lack of a voice, and how much of it conversions are given."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import revoice
from revoice.audio.features import extract
from revoice.audio.io import Audio, read_audio
from revoice.audio.presets import load_preset
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import Loaded
from revoice.conversion.adaptation import Adaptation
from revoice.conversion.chunks import Recording
from revoice.conversion.converter import Converter, beginning
from revoice.conversion.jobs import voice_of
from revoice.conversion.outputs import Target
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import MODELS
from revoice.nn.tone import ALONE, DOUBT, LIMIT, NEAR, Tone, spoken, tone_of, toned
from tests.conversion.untrusted_helpers import SPEC, small
from tests.models.test_codegan import EMOTIONS
from tests.models.test_codegan_energy import SPEAKS
from tests.models.test_speechsplit import TINY

COLOR = torch.linspace(-0.4, 0.4, 80) ** 3 * 4  # nepers, of mean 0


@pytest.fixture(autouse=True)
def the_same_noise() -> None:
    torch.manual_seed(0)


def speech(seconds: float, rate: int) -> torch.Tensor:
    time = torch.arange(int(seconds * rate)) / rate
    tones = torch.stack([torch.sin(2 * torch.pi * 140 * k * time) / k for k in range(1, 40)]).sum(0)
    return 0.1 * tones * (1 + 0.9 * torch.sin(9 * time)) + 1e-3 * torch.randn(len(time))


def features_of(spec: FeatureSpec, seconds: float = 4.0) -> torch.Tensor:
    return extract(speech(seconds, spec.sample_rate), spec)[None]


@pytest.mark.parametrize(
    ("preset", "unit"), [("mel_22k", 1.0), ("mel_22k_tacotron", 1.0), ("whisper_16k", 2.0 / np.log(10) / 4)]
)
def test_it_is_what_copies_lack(preset: str, unit: float) -> None:
    spec = load_preset(preset)
    clips = [features_of(spec), features_of(spec, 2.0)]
    color = unit * COLOR[:, None]
    found = tone_of([(clip, clip - color + 0.3 * unit) for clip in clips], spec)  # the level is another's care
    frames = sum(int(spoken(clip[0] / unit).sum()) for clip in clips)
    expected = COLOR * frames / (frames + DOUBT)
    assert found is not None and frames > 300
    assert (found.everywhere - expected).abs().max() < 0.02 and found.lacking.abs().max() < 1e-4
    half = toned(clips[0], found, 0.5, spec) - clips[0]
    assert (half - 0.5 * unit * LIMIT * torch.tanh(expected / LIMIT)[:, None]).abs().max() < 0.02 * unit


def test_what_belongs_to_a_sound_is_given_to_it() -> None:
    spec = load_preset("mel_22k")
    copies = [features_of(spec, 3.0), torch.randn(1, 80, 1).sin() * 2 + features_of(spec, 3.0)]
    colors = [COLOR.roll(10)[:, None], COLOR.flip(0)[:, None]]  # two sounds, colored each in its way
    tone = tone_of([(copy + color, copy) for copy, color in zip(copies, colors, strict=True)], spec)
    assert tone is not None
    for copy, color in zip(copies, colors, strict=True):
        there = spoken(copy[0] + color)
        given = toned(copy, tone, 1.0, spec) - copy
        left, bare = (
            (color - each)[:, there].abs().mean() for each in (given[0], tone.everywhere[:, None].expand_as(copy[0]))
        )
        assert left < 0.5 * bare
    far = copies[0].flip(1)  # nothing sounds like this: what copies lack on average is all there is
    assert (toned(far, tone, 1.0, spec) - far - tone.everywhere[:, None]).abs().max() < 0.05


def test_similar_frames_and_their_neighbors_decide() -> None:
    frames = torch.tensor([[0.0, 2.0], [0.0, 0.0]])  # two frames of two bands, of which the second never moves
    tone = Tone(torch.tensor([0.1, 0.2]), frames, torch.tensor([[1.0, -0.6], [0.5, 0.3]]))
    said = torch.tensor([[0.0, 0.0, 0.3, 9.0, 9.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    weights = torch.exp(-0.5 * (torch.stack([said[0], said[0] - 2.0]) / 2**0.5 / NEAR) ** 2)  # the band moves by 1
    local = (tone.lacking @ weights) / (weights.sum(0) + ALONE)
    around = torch.stack([local[:, [max(0, t - 1), t, min(4, t + 1)]].mean(1) for t in range(5)], dim=1)
    expected = LIMIT * torch.tanh((torch.tensor([[0.1], [0.2]]) + around) / LIMIT)
    assert torch.allclose(tone.of(said), expected, atol=1e-5)
    assert 0.3 < float(local[0, 0]) < 0.7 and float(local[:, 3:].abs().max()) < 1e-4


def test_no_band_moves_by_more_than_a_voice_may_and_few_frames_by_less() -> None:
    spec = load_preset("mel_22k")
    long, short = features_of(spec, 6.0), features_of(spec, 0.3)
    lacking = tone_of([(long, long - 9 * COLOR[:, None])], spec)
    doubted = tone_of([(short, short - COLOR[:, None])], spec)
    assert lacking is not None and doubted is not None
    given, little = (toned(each, tone, 1.0, spec) - each for each, tone in ((long, lacking), (short, doubted)))
    assert 0.9 * LIMIT < given.abs().max() <= LIMIT + 1e-5
    assert little.abs().max() < 0.5 * COLOR.abs().max()
    by_sound = torch.randn(80, short.shape[2])  # each frame is lacking something else
    one_by_one = tone_of([(short + by_sound, short)], spec)
    assert one_by_one is not None
    assert (toned(short, one_by_one, 1.0, spec) - short).abs().mean() < 0.5 * by_sound.abs().mean()


def test_what_a_telephone_leaves_out_or_noise_fills_is_no_voice() -> None:
    spec, cut = load_preset("mel_22k"), torch.arange(80) >= 60
    copy = features_of(spec, 6.0)
    for floor in (-11.5, 0.0):  # nothing, and noise as loud as that
        heard = torch.where(cut[:, None], torch.full_like(copy, floor), copy)
        found = tone_of([(heard, copy)], spec)
        assert found is not None and (toned(copy, found, 1.0, spec) - copy).abs().max() < 0.02, floor


def test_noise_behind_the_target_is_not_given_where_a_band_is_quiet() -> None:
    spec = load_preset("mel_22k")
    copy = features_of(spec, 6.0)
    noise = copy.mean(2, keepdim=True) - copy.std(2, keepdim=True) + 0.3 * torch.randn_like(copy)
    noisy = torch.logaddexp(copy, noise)
    found = tone_of([(noisy, copy)], spec)
    assert found is not None
    lifted = found.of(copy[0]) - LIMIT * torch.tanh(found.everywhere / LIMIT)[:, None]
    quiet = copy[0] < copy[0].mean(1, keepdim=True) - copy[0].std(1, keepdim=True)
    there = (noisy - copy)[0][quiet].mean() - (noisy - copy).mean()
    assert there > 0.5 and lifted[quiet].mean() < 0.05  # 0.2 with that trend


def test_items_of_a_batch_are_given_what_each_lacks() -> None:
    spec = load_preset("mel_22k")
    copy, other = features_of(spec, 2.0), features_of(spec, 2.0)
    tone = tone_of([(copy + 0.3 * torch.randn(80, copy.shape[2]), copy)], spec)
    assert tone is not None
    both = toned(torch.cat([copy, other]), tone, 1.0, spec)
    assert torch.allclose(both, torch.cat([toned(each, tone, 1.0, spec) for each in (copy, other)]), atol=1e-5)


def test_features_without_logarithms_have_none() -> None:
    spec = FeatureSpec(**{**load_preset("mel_22k").to_dict(), "scale": "log1p"})
    assert tone_of([(features_of(spec), features_of(spec))], spec) is None


@pytest.fixture(scope="module")
def shipped() -> Converter:
    return revoice.load()


def clip(workplace: Path, speaker: str, number: int) -> Path:
    return next((workplace / "data" / "synthetic").glob(f"*/wav48_silence_trimmed/{speaker}/*_{number:03}_mic1.flac"))


def test_conversions_are_given_as_much_as_asked_for(shipped: Converter, workplace: Path) -> None:
    voice = shipped.voice(clip(workplace, "p905", 1))
    heard = next(shipped.hear(Recording(clip(workplace, "p901", 2))))
    assert voice.tone is not None

    def said(**controls: float) -> torch.Tensor:
        return shipped.speech(heard.batch, voice, shipped.controls(controls)).features

    bare = said(tone=0)
    lacking = voice.tone.of(bare[0])
    assert lacking.abs().max() > 0.1
    assert torch.allclose(said() - bare, lacking, atol=1e-4)
    assert torch.allclose(said(tone=0.25) - bare, 0.25 * lacking, atol=1e-4)
    assert torch.equal(said(strength=0), said(strength=0, tone=0))  # the source's own voice has the source's tone
    with pytest.raises(UserError, match="tone=2"):
        shipped.controls({"tone": 2})


@pytest.mark.parametrize("name", ["adain_vc", "vqvae"])
def test_all_that_hear_clips_of_a_voice_give_its_tone(name: str, workplace: Path) -> None:
    table = {"voice": "embedding", "n_speakers": None} if name == "vqvae" else {}
    model, about = small(name, **table)
    converter = Converter(Loaded(model.eval(), SPEC, about, None, ""))
    voice = converter.voice(clip(workplace, "p905", 1))
    heard = next(converter.hear(Recording(clip(workplace, "p901", 2)))).batch
    bare, said = (converter.speech(heard, voice, converter.controls(each)).features for each in ({"tone": 0}, {}))
    assert voice.tone is not None
    assert torch.allclose(said - bare, voice.tone.of(bare[0]), atol=1e-4) and (said - bare).abs().max() > 0.1


def test_copies_are_those_of_the_adapted_model(workplace: Path) -> None:
    model, about = small()
    converter = Converter(Loaded(model.eval(), SPEC, about, None, ""), adaptation=Adaptation.of(2))
    voice = converter.voice(clip(workplace, "p905", 1))
    own = voice.references[0]
    assert voice.tone is not None and voice.moved is not None
    copy = voice.moved.convert(own, voice.references, converter.controls({}))
    assert torch.equal(voice.tone.frames, tone_of([(own.features, copy)], SPEC).frames)  # type: ignore[union-attr]


def test_a_tone_goes_with_the_timbre(workplace: Path) -> None:
    spec = load_preset("speechsplit_16k")
    facts = {"n_features": spec.channels, "sample_rate": spec.sample_rate, "hop": spec.hop, "relative": "corpus"}
    about = Description(model="speechsplit", arguments={**facts, **TINY}, features=spec.to_dict(), trim_db=30.0)
    model = MODELS.build("speechsplit", about.arguments).eval()
    model.corpus_statistics.copy_(torch.tensor([5.0, 0.2]))  # type: ignore[operator, union-attr]
    converter = Converter(Loaded(model, spec, about, None, ""))
    voice = converter.voice(clip(workplace, "p905", 1))
    heard = next(converter.hear(Recording(clip(workplace, "p901", 1)))).batch
    assert voice.tone is not None

    def moved(*aspects: str) -> float:
        bare, said = (
            converter.speech(heard, voice, converter.controls({"aspects": aspects, **each})).features
            for each in ({"tone": 0}, {})
        )
        return float((said - bare).abs().max())

    alone = replace(voice, references=[], tone=None)
    for without in ((), ("content",)):
        both = ({"without": without, "tone": share} for share in (0, 1))
        bare, said = (converter.speech(heard, alone, converter.controls(each)).features for each in both)
        assert (float((said - bare).abs().max()) > 0.01) == (not without), "who keeps the voice keeps its tone"
    assert moved("timbre") > 0.01 and moved("timbre", "level") > 0.01
    assert moved() == moved("level") == moved("rhythm") == 0.0


def test_who_keeps_their_voice_keeps_its_tone(workplace: Path) -> None:
    facts = {"n_features": SPEC.channels, "sample_rate": SPEC.sample_rate, "hop": SPEC.hop}
    torch.manual_seed(0)
    codes = {"model": "recsyn", "arguments": {**facts, **SPEAKS}}
    sizes = {"emotions": EMOTIONS, "codes": codes, "rewritten": ("pitch", "energy"), "generator": {"width": 8}}
    model = MODELS.build("codegan", {**facts, **sizes}).eval()
    about = Description(model="codegan", arguments={}, features=SPEC.to_dict(), trim_db=30.0)
    converter = Converter(Loaded(model, SPEC, about, None, ""))
    voice = converter.voice([])
    each = [next(converter.hear(Recording(clip(workplace, "p901", number)))).batch for number in (1, 2)]
    frames = min(one.features.shape[2] for one in each) - 8
    heard = Batch.join([beginning(one, frames, SPEC.hop) for one in each])

    def said(clips: Batch, **controls: object) -> torch.Tensor:
        return converter.speech(clips, voice, converter.controls(controls)).features

    bare, copy = said(heard, tone=0), said(heard)
    assert (heard.features - copy).abs().mean() < (heard.features - bare).abs().mean()
    sad = said(heard, emotion="sad") - said(heard, emotion="sad", tone=0)
    for item in range(2):
        tone = tone_of([(heard.features[item : item + 1], bare[item : item + 1])], SPEC)
        assert tone is not None, "of its own copy, whatever the emotion"
        torch.testing.assert_close(sad[item], tone.of(said(heard, emotion="sad", tone=0)[item]), atol=1e-4, rtol=1e-4)
    target = converter.voice(clip(workplace, "p905", 1))
    assert target.tone is not None
    moved = [converter.speech(heard, target, converter.controls({"tone": share})).features for share in (0, 1)]
    torch.testing.assert_close(moved[1][0] - moved[0][0], target.tone.of(moved[0][0]), atol=1e-4, rtol=1e-4)


def test_a_copy_of_another_clip_comes_nearer_to_it(shipped: Converter, workplace: Path) -> None:
    voice = shipped.voice([clip(workplace, "p905", number) for number in (1, 2, 3)])
    own = shipped.voice(clip(workplace, "p905", 4), tone=False).references[0]
    assert voice.tone is not None
    there, left = spoken(own.features[0]), []
    bare = shipped.speech(own, voice, shipped.controls({"tone": 0})).features
    for tone in (None, replace(voice.tone, lacking=0 * voice.tone.lacking), voice.tone):
        copy = bare if tone is None else toned(bare, tone, 1.0, shipped.spec)
        lacking = (own.features - copy)[0][:, there]
        left.append(float((lacking - lacking.mean()).abs().mean()))
    assert left[2] < 0.97 * min(left[:2]), left  # what goes by the sound is worth more than the mean alone


def test_a_voice_that_brings_another_embedding_has_no_tone_of_its_clips(shipped: Converter, workplace: Path) -> None:
    given = torch.nn.functional.normalize(torch.randn(256), dim=0)
    target = Target([clip(workplace, "p905", 1)], "somebody", given)
    assert voice_of(shipped, target).tone is None


def test_a_long_target_is_copied_in_part(shipped: Converter, workplace: Path) -> None:
    own, said = read_audio(clip(workplace, "p905", 1)), []
    rate, copied = own.sample_rate, shipped.model.convert
    try:
        shipped.model.convert = lambda clip, *others: said.append(clip) or copied(clip, *others)  # type: ignore
        long = [Audio(np.tile(own.samples, 1 + round(seconds / own.seconds)), rate) for seconds in (20, 40, 10)]
        assert shipped.voice(long).tone is not None
    finally:
        del shipped.model.convert
    frames = [each.features.shape[2] for each in said]
    assert len(frames) == 2 and sum(frames) == round(30 * shipped.spec.frame_rate)
    assert all(each.waveform.shape[1] >= each.features.shape[2] * shipped.spec.hop for each in said[1:])
