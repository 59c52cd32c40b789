"""SpeechSplit: sizes, what each part learns from, and which clip each aspect is taken from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from revoice.audio.presets import load_preset
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import MODELS
from revoice.models.speechsplit import SpeechSplit, SpeechSplitControls
from revoice.nn.draws import Draws
from revoice.training.schedule import logged_name
from tests.conftest import compose_config

TINY = {
    "encoders": {name: {"channels": 16, "convolutions": 2, "hidden": 2, "layers": 1, "every": 4} for name in
                 ("content", "rhythm", "pitch")},
    "decoder": {"hidden": 8, "layers": 1}, "converter": {"hidden": 8, "layers": 1}, "padded": 128,
}  # fmt: skip
FACTS = {"n_features": 20, "sample_rate": 16000, "hop": 256, "n_speakers": 3}


def model(**more: Any) -> SpeechSplit:
    torch.manual_seed(0)
    made = MODELS.build("speechsplit", {**FACTS, **TINY, **more})
    assert isinstance(made, SpeechSplit)
    made.set_pitch(torch.tensor([[4.6, 0.2], [5.2, 0.3], [torch.nan, torch.nan]]), fresh=True)
    return made


def clips(frames: int, f0: float = 100.0, seed: int = 0, items: int = 1) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    contour = f0 * (1 + 0.2 * torch.sin(torch.arange(frames) / 9)).expand(items, -1).clone()
    contour[:, 5:12] = 0
    return Batch(
        id=("a",) * items, features=torch.rand(items, 20, frames, generator=draw),
        lengths=torch.full((items,), frames), f0=contour, embedding=torch.rand(items, 256, generator=draw),
    )  # fmt: skip


def training(items: int = 4, frames: int = 128) -> Batch:
    speaker = torch.tensor([0, 1, 2, -1])[:items]
    return replace(clips(frames, items=items), speaker=speaker, draws=Draws(0, 0, 0, items, items))


@pytest.mark.parametrize(("voice", "count"), [("speaker", 19_437_800), ("embedding", 20_150_504)])
def test_published_sizes(voice: str, count: int) -> None:
    with torch.device("meta"):
        made = SpeechSplit(80, 16000, 256, 82, voice=voice)  # type: ignore[arg-type]
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in made.parts().items()}
    assert parts == {"generator": count, "pitch": 3_485_849}


def test_every_part_learns_from_its_own_loss() -> None:
    net = model().train()
    for part, name in (("generator", "reconstruction"), ("pitch", "crossentropy")):
        net.zero_grad()
        losses = net.play(training(), part).losses
        assert set(losses) == {name} and bool(torch.isfinite(losses[name]))
        losses[name].backward()
        learned = {label for label, p in net.named_parameters() if p.grad is not None}
        own = {f"{'converter' if part == 'pitch' else 'generator'}.{label}" for label, _ in
               net.parts()[part].named_parameters()}  # fmt: skip
        assert learned == own


@pytest.mark.parametrize("preset", ["speechsplit", "speechsplit_small", "speechsplit_recognizer"])
def test_the_best_checkpoint_goes_by_what_the_generator_rebuilds(preset: str, tmp_path: Path) -> None:
    config = compose_config("train", f"model={preset}", folder=tmp_path)
    assert config["callbacks"]["checkpoint"] == {"monitor": "val/generator/reconstruction", "mode": "min"}
    measured = {
        logged_name(part, name, (), "val") for part in model().parts() for name in model().play(training(), part).losses
    }
    assert config["callbacks"]["checkpoint"]["monitor"] in measured


RECOGNIZED = {"name": "whisper", "width": 8, "heads": 2, "layers": 1}


@pytest.mark.parametrize("relative", ["speaker", "corpus"])
def test_what_is_said_in_another_voice_is_judged_with_gradients_to_the_generator(relative: str) -> None:
    torch.manual_seed(0)
    net = SpeechSplit(
        **{**FACTS, "n_features": 80}, **TINY, relative=relative, match=2, content=RECOGNIZED, resample="nothing"  # type: ignore[arg-type]
    ).train()  # fmt: skip
    net.set_features(load_preset("speechsplit_16k"))
    batch = training(3)
    batch = replace(batch, features=torch.rand(3, 80, 128), content=torch.randn(3, 8, 128))
    losses = net.play(batch).losses
    assert set(losses) == {"reconstruction", "voice", "words"}
    for name in ("voice", "words"):
        assert 0 < losses[name].item() < 3
        (gradient,) = torch.autograd.grad(losses[name], net.generator.decoder.out.weight, retain_graph=True)
        assert gradient.abs().sum() > 0
    assert set(net.play(batch, "pitch").losses) == {"crossentropy"}


def test_a_match_needs_ears_and_a_voice_that_can_be_heard() -> None:
    for more, needed in (
        ({"resample": "nothing"}, "model.content_from"),
        ({"voice": "speaker", "content": RECOGNIZED, "resample": "nothing"}, "model.voice=embedding"),
        ({"content": RECOGNIZED}, "model.resample=nothing"),
    ):
        with pytest.raises(UserError, match=needed):
            model(match=1, **more)


def test_every_block_is_told_who_speaks() -> None:
    decoder = {"kind": "convolutional", "hidden": 8, "layers": 3, "film": True}
    net = model(decoder=decoder).eval()
    batch, voices = clips(64), torch.eye(2, 256)
    codes = net.codes(batch)
    with torch.no_grad():
        net.generator.decoder.first.weight[:, -256:] = 0  # what goes in tells it no more
        one, other = (net.speak(codes, voice[None]) for voice in voices)
    assert not torch.allclose(one, other, atol=1e-4)
    with pytest.raises(UserError, match="kind=convolutional"):
        model(decoder={"film": True})
    with pytest.raises(UserError, match="told no voice"):
        model(converter=decoder)


def test_what_is_heard_is_resampled_unless_it_is_to_keep_its_timing() -> None:
    losses = {
        how: float(model(resample=how, shortest=128).play(training(), "generator").losses["reconstruction"].detach())
        for how in ("everything", "heard", "nothing")
    }
    assert len(set(losses.values())) == 3


def test_crops_are_shortened_where_something_is_resampled() -> None:
    short = replace(training(), lengths=torch.full((4,), 70))
    for how, alike in (("nothing", False), ("heard", True)):
        whole, cut = (
            model(resample=how, shortest=64, frames=64).play(batch, "generator").losses["reconstruction"].detach()
            for batch in (training(), short)
        )
        assert bool(torch.isclose(whole, cut)) == alike


def test_statistics_are_the_speaker_s_else_the_clip_s_else_the_corpus_s() -> None:
    net, batch = model(), training()
    found = net.of_voice(batch)
    torch.testing.assert_close(found[:2], torch.tensor([[4.6, 0.2], [5.2, 0.3]]))
    assert float((found[2:, 0].exp() - 100).abs().max()) < 5  # of whom nothing was voiced, and somebody else
    silent = replace(clips(60), f0=torch.zeros(1, 60))
    torch.testing.assert_close(net.of_voice(silent), net.of_corpus(1))
    whole = replace(clips(60), level=torch.tensor([5.0]), spread=torch.tensor([0.4]))
    torch.testing.assert_close(net.of_voice(whole), torch.tensor([[5.0, 0.4]]))


def test_the_checkpoint_keeps_the_pitch_of_the_speakers() -> None:
    net, other = model(), model()
    other.set_pitch(torch.zeros(3, 2), fresh=True)
    other.load_state_dict(net.state_dict())
    torch.testing.assert_close(other.speaker_statistics, net.speaker_statistics, equal_nan=True)


@pytest.mark.parametrize("timing", ["codes", "aligned"])
@pytest.mark.parametrize("relative", ["speaker", "corpus"])
def test_every_subset_of_aspects_converts(relative: str, timing: str) -> None:
    net, source, target = model(relative=relative).eval(), clips(70, items=2), clips(50, 200.0, 1)
    own = net.convert(source, [target], SpeechSplitControls(aspects=()))
    assert own.shape == (2, 20, 70)
    for number in range(1, 8):
        aspects = tuple(name for bit, name in enumerate(("rhythm", "pitch", "timbre")) if number >> bit & 1)
        controls = SpeechSplitControls(aspects=aspects, timing=timing)
        made, f0 = net.convert(source, [target], controls), net.pitch(source, [target], controls)
        frames = 50 if "rhythm" in aspects else 70
        assert made.shape == (2, 20, frames) and f0.shape == (2, frames), aspects
        assert round(70 * net.tempo(70, [target], controls)) == frames
        assert bool(torch.isfinite(made).all())
        assert frames == 50 or not torch.allclose(made, own)


@pytest.mark.parametrize("timing", ["codes", "aligned"])
@pytest.mark.parametrize("relative", ["speaker", "corpus"])
def test_a_clip_is_converted_alone_as_beside_others(relative: str, timing: str) -> None:
    net, target = model(relative=relative).eval(), clips(50, 150.0, 1)
    apart = [clips(70, 100.0), clips(70, 210.0, 2)]
    joined = {name: torch.cat([getattr(clip, name) for clip in apart]) for name in ("features", "f0", "embedding")}
    both = replace(apart[0], id=("a", "b"), lengths=torch.tensor([70, 70]), **joined)
    for aspects in (("rhythm",), ("pitch",), ("rhythm", "pitch"), ("rhythm", "pitch", "timbre")):
        controls = SpeechSplitControls(aspects=aspects, timing=timing)
        features, f0 = net.convert(both, [target], controls), net.pitch(both, [target], controls)
        for place, clip in enumerate(apart):
            torch.testing.assert_close(features[place], net.convert(clip, [target], controls)[0], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(f0[place], net.pitch(clip, [target], controls)[0], atol=1e-2, rtol=1e-4)


def test_two_clips_are_aligned_by_themselves_where_content_keeps_its_timing() -> None:
    for more, aligned in (({}, False), ({"resample": "nothing"}, True), ({"lacks": "pitch"}, True)):
        assert model(**more).aligns(SpeechSplitControls()) == aligned
    for timing, aligned in (("codes", False), ("aligned", True)):
        assert model().aligns(SpeechSplitControls(timing=timing)) == aligned
    with pytest.raises(UserError, match="timing=aligned"):
        model(resample="nothing").check_controls(SpeechSplitControls(aspects=("rhythm",), timing="codes"))
    model(resample="nothing").check_controls(SpeechSplitControls(aspects=("pitch", "timbre"), timing="codes"))


def test_a_level_that_nobody_knows_is_not_told_the_vocoder() -> None:
    made = MODELS.build("speechsplit", {**FACTS, **TINY, "voice": "speaker"})
    assert isinstance(made, SpeechSplit)
    row, source = Batch.of_clip(torch.zeros(20, 0), speaker=torch.tensor(1)), clips(70)
    assert made.eval().pitch(source, [row], SpeechSplitControls()) is None
    own = made.pitch(source, [], SpeechSplitControls(aspects=(), speaker=0))
    torch.testing.assert_close(own, source.f0)
    assert model(voice="speaker").pitch(source, [row], SpeechSplitControls()) is not None
    assert model().pitch(source, [], SpeechSplitControls(aspects=(), without=("pitch",))) is None


def test_a_row_of_a_table_is_refused_where_there_is_none() -> None:
    with pytest.raises(UserError, match="no table of speakers"):
        model().check_controls(SpeechSplitControls(speaker=1))
    model(voice="speaker").check_controls(SpeechSplitControls(speaker=1))


@pytest.mark.parametrize(("relative", "expected"), [("speaker", 200.0), ("corpus", 100.0)])
def test_the_level_goes_with_timbre_where_pitch_is_told_for_each_voice(relative: str, expected: float) -> None:
    net, source, target = model(relative=relative).eval(), clips(70), clips(50, 200.0, 1)
    f0 = net.pitch(source, [target], SpeechSplitControls(aspects=("timbre",)))
    assert float(f0[f0 > 0].log().mean().exp()) == pytest.approx(expected, rel=0.04)
    f0 = net.pitch(source, [target], SpeechSplitControls(aspects=("timbre", "level")))
    assert float(f0[f0 > 0].log().mean().exp()) == pytest.approx(200.0, rel=0.04)


def test_an_unvoiced_clip_of_the_target_says_nothing_of_its_pitch() -> None:
    net, source, target = model().eval(), clips(70), clips(50, 200.0, 1)
    silent, controls = replace(clips(40), f0=torch.zeros(1, 40)), SpeechSplitControls(aspects=("timbre", "level"))
    alone = net.pitch(source, [target], controls)
    torch.testing.assert_close(net.pitch(source, [target, silent], controls), alone)
    unknown = net.pitch(source, [silent], controls)
    assert float(unknown[unknown > 0].log().mean()) == pytest.approx(float(net.corpus_statistics[0]), abs=0.05)


def test_controls_without_a_target_s_aspect() -> None:
    net, source = model().eval(), clips(80)
    octave = net.pitch(source, [source], SpeechSplitControls(aspects=(), semitones=12))
    torch.testing.assert_close(octave, 2 * source.f0)
    flat = net.pitch(source, [source], SpeechSplitControls(aspects=(), pitch_range=0))
    assert float(flat[flat > 0].std()) < 1e-3
    fast = SpeechSplitControls(aspects=(), rate=1.6)
    assert net.convert(source, [source], fast).shape[-1] == 50
    assert net.tempo(80, [source], fast) == 50 / 80


@pytest.mark.parametrize("relative", ["speaker", "corpus"])
def test_the_range_of_a_chunk_is_around_the_level_of_the_whole_recording(relative: str) -> None:
    net, whole, target = model(relative=relative).eval(), clips(80), clips(50, 200.0, 1)
    assert whole.f0 is not None
    known = net.of_voice(whole)
    controls = SpeechSplitControls(semitones=2, pitch_range=1.5)
    parts = []
    for part, features in zip(whole.f0.split(40, 1), whole.features.split(40, 2), strict=True):
        chunk = Batch.of_clip(
            features[0], f0=part[0], embedding=whole.embedding[0], level=known[0, 0], spread=known[0, 1]
        )
        parts.append(net.pitch(chunk, [target], controls))
    torch.testing.assert_close(torch.cat(parts, 1), net.pitch(whole, [target], controls))


def test_a_level_that_goes_with_timbre_is_not_taken_alone() -> None:
    alone = SpeechSplitControls(aspects=("level",))
    with pytest.raises(UserError, match=r"aspects=\[level\].*add timbre"):
        model(relative="speaker").check_controls(alone)
    model(relative="corpus").check_controls(alone)
    model(relative="speaker").check_controls(SpeechSplitControls())


def test_one_frame_is_converted() -> None:
    net, source, target = model().eval(), clips(1), clips(50, 200.0, 1)
    for controls in (SpeechSplitControls(), SpeechSplitControls(aspects=("rhythm",), timing="aligned")):
        made = net.convert(source, [target], controls)
        assert made.shape == (1, 20, 50 if "rhythm" in controls.aspects else 1) and bool(made.isfinite().all())
    back = net.convert(target, [source], SpeechSplitControls(aspects=("rhythm", "pitch"), timing="aligned"))
    assert back.shape == (1, 20, 1)


def test_without_a_target_the_own_voice_speaks() -> None:
    net, source = model().eval(), clips(80)
    own = net.convert(source, [source], SpeechSplitControls(aspects=()))
    torch.testing.assert_close(net.convert(source, [], SpeechSplitControls()), own)
    assert net.pitch(source, [], SpeechSplitControls(rate=2.0)).shape == (1, 40)
    with pytest.raises(UserError, match="tgt=b.wav"):
        net.convert(source, [], SpeechSplitControls(aspects=("rhythm",)))


def test_aligned_timing_finds_the_same_place() -> None:
    net, source = model(relative="corpus").eval(), clips(60)
    twice = torch.arange(60).repeat_interleave(2)
    slow = replace(source, features=source.features[..., twice], f0=source.f0[..., twice], lengths=torch.tensor([120]))
    f0 = net.pitch(source, [slow], SpeechSplitControls(aspects=("rhythm",), timing="aligned"))
    torch.testing.assert_close(f0, slow.f0)
    back = net.pitch(source, [slow], SpeechSplitControls(aspects=("pitch",), timing="aligned"))
    assert float((back - source.f0).abs().mean()) < 3


def test_codes_are_taken_and_spoken_again() -> None:
    net, source = model().eval(), clips(70)
    codes = net.codes(source)
    assert codes.content.shape == (1, 32, 4) and codes.pitch_rhythm.shape == (1, 32, 8) and codes.frames == 70
    own = net.convert(source, [source], SpeechSplitControls(aspects=()))
    torch.testing.assert_close(net.speak(codes, net.told(source)).clamp(0, 1), own)
    same = codes.with_pitch_rhythm(codes.pitch_rhythm)
    assert torch.equal(same.pitch, codes.pitch) and torch.equal(same.rhythm, codes.rhythm)
    assert not torch.allclose(net.speak(codes.scaled(pitch=0.1), net.told(source)), own)


def test_the_panel_names_what_is_lost() -> None:
    net = model().eval()
    found = net.measures(replace(training(), draws=None))
    assert tuple(found) == net.measured and all(bool(torch.isfinite(value)) for value in found.values())


@torch.no_grad()
def test_the_panel_takes_the_voice_from_a_batch_of_one_speaker() -> None:
    net, one = model().eval(), replace(clips(60), speaker=torch.tensor([0]))
    found = net.measures(one)
    assert all(float(found[name].abs()) > 1e-6 for name in net.measured if name.endswith("without_voice"))


def test_what_cannot_be_swapped_is_refused() -> None:
    table, name = model(voice="speaker").eval(), Batch.of_clip(torch.zeros(20, 0), speaker=torch.tensor(1))
    source = clips(70)
    assert table.convert(source, [name], SpeechSplitControls(aspects=("timbre",))).shape == (1, 20, 70)
    with pytest.raises(UserError, match="taken from a recording"):
        table.convert(source, [name], SpeechSplitControls(aspects=("rhythm", "timbre")))
    with pytest.raises(UserError, match="speaker=0 to speaker=2"):
        table.convert(source, [name], SpeechSplitControls(aspects=()))
    assert table.convert(source, [name], SpeechSplitControls(aspects=(), speaker=2)).shape == (1, 20, 70)
    with pytest.raises(UserError, match="one recording"):
        model().convert(source, [source, source], SpeechSplitControls(aspects=("pitch",)))
    with pytest.raises(UserError, match="timing=aligned"):
        model(lacks="pitch").convert(source, [source], SpeechSplitControls(aspects=("pitch",), timing="codes"))


def test_only_mels_in_decibels_between_0_and_1_are_taken() -> None:
    fits = load_preset("speechsplit_16k")
    for spec in (fits, replace(fits, multiply=0.0125, add=1.0), replace(fits, clip=(0.0, 1.0))):
        model().set_features(spec)
    for spec in (load_preset("mel_22k"), replace(fits, multiply=1.0, add=0.0), replace(fits, add=0.0)):
        with pytest.raises(UserError, match="features=speechsplit_16k"):
            model().set_features(spec)


@pytest.mark.parametrize("wrong", [{"padded": 100}, {"padded": 130}, {"shortest": 10}, {"shortest": 200}])
def test_sizes_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match="expected"):
        model(**wrong)
    with pytest.raises(UserError, match="multiple of 16"):
        model(encoders={"content": {"channels": 20}})
