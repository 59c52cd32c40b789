"""CodeGAN: its size, what it rewrites and what it leaves, and a pipeline that is one file."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import revoice
from revoice.checkpoint.load import load_checkpoint
from revoice.checkpoint.save import save
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.codegan import CodeGAN, CodeGANControls
from revoice.models.codegan.losses import shift_apart
from revoice.models.codegan.networks import CodeGenerator, GeneratorSize
from revoice.nn.draws import Draws
from revoice.training.codes import require_emotions
from revoice.training.run import train
from tests.conftest import TINY as SPOKEN
from tests.conftest import compose_config

EMOTIONS = ("angry", "happy", "neutral", "sad")
FACTS = {"n_features": 80, "sample_rate": 16000, "hop": 256}
ENCODERS = {
    "content": {"channels": 16, "hidden": 4, "layers": 1, "convolutions": 1},
    "rhythm": {"channels": 16, "hidden": 1, "layers": 1, "convolutions": 1},
    "pitch": {"channels": 16, "hidden": 3, "layers": 1, "convolutions": 1, "every": 4},
}
SPLIT = {**FACTS, "encoders": ENCODERS, "decoder": {"hidden": 8, "layers": 1}, "converter": {"hidden": 8, "layers": 1}}
CONVERTER = {
    "model": "recsyn",
    "arguments": {
        **FACTS,
        "content": {"layers": 1, "width": 16, "heads": 2},
        "neck": {"channels": 8, "hidden": 16},
        "decoder": {"channels": 16, "hidden": 16, "blocks": 1, "voice": 16, "pitch_bins": 16},
    },
}
STYLED = [
    "data.corpus={styles: [neutral, happy], styled_voices: 2, max_voices: 2, sentences: 6, test_sentences: 4, "
    "per_voice: 6, tested_voices: 0}"
]
TINY = ["data=synthetic", "debug=tiny", "data.splits.limit=20", "logger=none", *STYLED]


def model(**settings: object) -> CodeGAN:
    torch.manual_seed(0)
    codes = {"model": "speechsplit", "arguments": SPLIT}
    given = {"codes": codes, "generator": {"width": 8}, **settings}
    return CodeGAN(**FACTS, emotions=EMOTIONS, **given)  # type: ignore[arg-type]


def batch(items: int = 4, frames: int = 128, draws: Draws | None = None) -> Batch:
    draw = torch.Generator().manual_seed(0)
    return Batch(
        id=("",) * items, features=torch.rand(items, 80, frames, generator=draw),
        lengths=torch.full((items,), frames), f0=100 + 50 * torch.rand(items, frames, generator=draw),
        embedding=torch.nn.functional.normalize(torch.rand(items, 256, generator=draw), dim=1),
        emotion=torch.arange(items) % 4, draws=draws,
    )  # fmt: skip


def test_published_size() -> None:
    made = CodeGAN(**FACTS, emotions=EMOTIONS)
    assert sum(p.numel() for p in made.parameters()) == 7_061_698
    assert made.judged == {"channels": 66, "classes": 4}
    running = CodeGenerator(66, 4, GeneratorSize(running=True))
    assert sum(p.numel() for p in running.parameters()) == 7_061_698


@pytest.mark.parametrize("steps", [1, 5, 24, 25])
def test_sequences_of_any_length_keep_it(steps: int) -> None:
    made = CodeGenerator(6, 2, GeneratorSize(width=4))(torch.randn(2, 6, steps), torch.tensor([0, 1]))
    assert made.shape == (2, 6, steps) and bool(made.isfinite().all())


def test_the_emotion_reaches_what_is_made() -> None:
    net = CodeGenerator(6, 2, GeneratorSize(width=4))
    x = torch.randn(1, 6, 24)
    assert not torch.allclose(net(x, torch.tensor([0])), net(x, torch.tensor([1])))


def test_published_normalization_is_another_in_conversion() -> None:
    """By running statistics; ours gives in conversion what it gave in training."""
    x, emotion = torch.randn(2, 6, 24), torch.tensor([0, 1])
    for running in (False, True):
        net = CodeGenerator(6, 2, GeneratorSize(width=4, running=running))
        same = torch.allclose(net.train()(x, emotion), net.eval()(x, emotion), atol=1e-6)
        assert same != running


def residual(**settings: object) -> CodeGAN:
    gan = model(generator={"width": 8, "residual": True}, **settings)
    for parameter in gan.generator.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(parameter.numel()))
    return gan


def test_how_much_of_a_crop_is_filled_up_tells_no_emotion() -> None:
    gan, clips = residual(), replace(batch(2), lengths=torch.tensor([128, 40]))
    found, steps = gan._heard(clips), int(gan._steps(clips.lengths)[1])
    assert steps == 10 and found.shape[2] >= 3 * steps
    torch.testing.assert_close(found[1, :, steps : 2 * steps], found[1, :, :steps])
    torch.testing.assert_close(found[0, :, :32], gan.sequence(gan._codes(clips))[0, :, :32])
    published = model()
    torch.testing.assert_close(published._heard(clips), published.sequence(published._codes(clips)))


def test_a_residual_generator_adds_to_the_codes_and_never_hears_their_mean() -> None:
    fresh = CodeGenerator(6, 3, GeneratorSize(width=4, residual=True))
    x, wanted = torch.randn(2, 6, 25), torch.tensor([0, 2])
    assert torch.equal(fresh(x, wanted), x), "nothing is changed before anything is learned"
    made = residual().generator
    x = torch.randn(2, made.up[-1].out_channels, 25)
    told = torch.tensor([1, 1])
    assert torch.allclose(made(x + 3, wanted, told), made(x, wanted, told) + 3, atol=1e-4)
    assert torch.equal(made(x, wanted), made(x, wanted, torch.tensor([-1, -1]))), "unknown"
    for one, other in ((told, None), (told, torch.tensor([1, 0]))):
        assert not torch.allclose(made(x, wanted, one), made(x, wanted, other), atol=1e-3)


def test_peaks_are_moved_apart() -> None:
    torch.manual_seed(0)
    net = CodeGenerator(2, 3, GeneratorSize(width=4, residual=True, bends=True))
    x, wanted = torch.randn(1, 2, 200), torch.tensor([1])
    assert torch.equal(net(x, wanted), x), "nothing is changed before anything is learned"
    assert len(CodeGenerator(2, 3, GeneratorSize(width=4, residual=True)).moved.bias) == 4, "as files of before have it"
    with torch.no_grad():
        net.moved.bias[4:] = torch.tensor([-0.7, 0.0])  # of the first code
    made, apart = net(x, wanted), x - x.mean(2, keepdim=True)
    over = apart > apart.square().mean(2, keepdim=True).sqrt()
    assert torch.equal(made[:, 1], x[:, 1]) and torch.allclose(made[:, 0][~over[:, 0]], x[:, 0][~over[:, 0]])
    with pytest.raises(UserError, match="type model.generator.residual=true"):
        GeneratorSize(bends=True)
    knee = float(apart[:, 0].square().mean().sqrt())
    expected = knee + 2.718281828**-0.7 * (apart[:, 0] - knee)
    assert torch.allclose((made - x.mean(2, keepdim=True))[:, 0][over[:, 0]], expected[over[:, 0]], atol=1e-4)


def test_a_residual_generator_is_told_the_emotion_of_half_of_the_sources() -> None:
    gan, heard = residual(), []
    forward = gan.generator.forward
    gan.generator.forward = lambda *given: heard.append(given[2]) or forward(*given)  # type: ignore[method-assign]
    play = gan.play(replace(batch(64, draws=Draws(0, 0, 0, 64, 64)), emotion=torch.arange(64) % 4))
    assert set(play.losses) == {"cycle", "identity", "statistics"}
    sum(play.losses.values()).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in gan.generator.parameters())
    there, back, same = heard
    known = there >= 0
    assert 16 < int(known.sum()) < 48
    own, wanted = torch.arange(64) % 4, play.wanted
    assert wanted is not None
    assert torch.equal(there, torch.where(known, own, -1)) and torch.equal(same, there)
    assert torch.equal(back, torch.where(known, wanted, -1))


def test_statistics_do_not_depend_on_the_units_of_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    gan = residual()
    codes = gan.sequence(gan._codes(batch(64, draws=Draws(0, 0, 0, 64, 64))))
    found = []
    for scale in (1.0, 100.0):
        units = torch.ones(codes.shape[1], 1)
        units[0] = scale
        monkeypatch.setattr(gan, "sequence", lambda _, units=units: units * codes)
        monkeypatch.setattr(gan.generator, "forward", lambda x, *_: x)  # everything stays as it is
        found.append(float(gan.play(batch(64, draws=Draws(0, 0, 0, 64, 64))).losses["statistics"].detach()))
    assert found[0] > 0 and found[1] == pytest.approx(found[0], rel=1e-3)


def test_statistics_are_to_move_as_emotions_differ() -> None:
    draw = torch.Generator().manual_seed(0)
    means = torch.tensor([[0.0, 1.0], [2.0, 1.0], [5.0, -3.0]])
    own, wanted = torch.arange(60) % 3, (torch.arange(60) + 1) % 3
    real = means[own] + 0.1 * torch.randn(60, 2, generator=draw)
    there = torch.stack([real[own == each].mean(0) for each in range(3)])
    right = real + there[wanted] - there[own]
    assert float(shift_apart(real, right, own, wanted, 3, True)) < 1e-6
    assert float(shift_apart(real, real, own, wanted, 3, True)) > 100
    assert float(shift_apart(real[:20], real[:20], own[:20] * 0, wanted[:20] * 0 + 1, 3, True)) == 0, "nobody knows"


def test_only_who_speaks_in_several_emotions_tells_how_they_differ() -> None:
    draw = torch.Generator().manual_seed(0)
    own, wanted = torch.arange(60) % 2, 1 - torch.arange(60) % 2
    real = torch.tensor([[0.0], [2.0]])[own] + 0.1 * torch.randn(60, 1, generator=draw)
    others = 7 + torch.randn(40, 1, generator=draw)  # in emotion 0 alone, by voices that differ from the first ones
    codes, told = torch.cat([real, others]), torch.cat([wanted, torch.ones(40, dtype=torch.long)])
    emotions, tells = torch.cat([own, torch.zeros(40, dtype=torch.long)]), torch.arange(100) < 60
    shift = real[own == 1].mean() - real[own == 0].mean()
    right = codes + torch.where(told == 1, shift, -shift)[:, None]
    assert float(shift_apart(codes, right, emotions, told, 2, True, tells)) < 1e-6
    assert float(shift_apart(codes, right, emotions, told, 2, True)) > 0.1
    gan = residual()
    assert gan._changes(replace(batch(), speaker=torch.tensor([0, 1, 2, -1]))) is None, "nobody counted"
    gan.set_labels(
        {"emotion": torch.ones(4), "speaker_emotion": torch.tensor([[3, 0, 9, 0], [0, 5, 0, 0], [1, 1, 1, 1]])}
    )
    told_by = gan._changes(replace(batch(), speaker=torch.tensor([0, 1, 2, -1])))
    assert told_by is not None and told_by.tolist() == [True, False, True, False]
    gan.set_labels({"emotion": torch.ones(4), "speaker_emotion": torch.eye(4)})
    assert gan._changes(replace(batch(), speaker=torch.arange(4))) is None, "nobody speaks in two: all are asked"


def test_processes_tell_each_other_how_emotions_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)
    own, wanted = torch.arange(60) % 3, (torch.arange(60) + 1) % 3
    real, fake = (torch.randn(60, 2, generator=draw) + own[:, None] for _ in range(2))
    tells = torch.rand(60, generator=draw) < 0.6
    given = (real, fake, own, wanted)
    whole = shift_apart(*given, 3, True, tells)
    halves = [[x[part] for x in given] + [3, True, tells[part]] for part in (slice(0, 20), slice(20, 60))]
    sums: list[torch.Tensor] = []
    monkeypatch.setattr("revoice.models.codegan.losses.summed", lambda values: sums.append(values) or values)
    alone = [shift_apart(*half) for half in halves]
    monkeypatch.setattr("revoice.models.codegan.losses.summed", lambda _: sums[0] + sums[1])
    together = [shift_apart(*half) for half in halves]
    assert float((20 * together[0] + 40 * together[1]) / 60) == pytest.approx(float(whole), rel=1e-5)
    assert float((20 * alone[0] + 40 * alone[1]) / 60) != pytest.approx(float(whole), rel=1e-3)


def test_losses_and_what_the_critic_is_told() -> None:
    gan = model()
    assert gan.channels == 2 * 3 + 2
    play = gan.play(batch(draws=Draws(0, 0, 0, 4, 4)))
    assert play.fake is not None and play.real is not None and play.fake.shape == play.real.shape
    assert play.real.shape[1] == gan.channels and play.own is not None and play.own.tolist() == [0, 1, 2, 3]
    assert set(play.losses) == {"cycle", "identity"}
    sum(play.losses.values()).backward()
    assert all(p.grad is not None for p in gan.generator.parameters())
    assert all(p.grad is None for p in gan.coder.parameters())
    with torch.no_grad():
        assert gan.play(batch(draws=Draws(0, 0, 0, 4, 4))).losses == {}, "a critic learns: nobody asks for them"
        assert set(gan.play(batch()).losses) == {"cycle", "identity"}
    assert gan.measures(batch())["distance"] > 0


def test_the_distance_compares_an_emotion_with_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is rewritten right is at no distance, whichever emotions a batch has."""
    gan, two = model(), replace(batch(2), emotion=torch.tensor([1, 3]))
    real = gan.sequence(gan._codes(two))
    made = {1: real[0], 3: real[1], 0: 9 + real[0], 2: 9 + real[0]}
    right = lambda codes, wanted, source=None: torch.stack([made[int(place)] for place in wanted])  # noqa: E731
    monkeypatch.setattr(gan.generator, "forward", right)
    assert float(gan.measures(two)["distance"]) == pytest.approx(0, abs=1e-5)
    assert float(gan.measures(replace(two, emotion=torch.tensor([1, 1])))["distance"]) == 0
    made[1] = made[1] + 1
    assert float(gan.measures(two)["distance"]) > 0.1


def test_rare_emotions_weigh_more() -> None:
    gan = model()
    gan.set_labels({"emotion": torch.tensor([30, 10, 40, 20]), "gender": torch.zeros(2)})
    play = gan.play(batch(draws=Draws(0, 0, 0, 4, 4)))
    torch.testing.assert_close(play.balance, torch.tensor([100 / 120, 2.5, 0.625, 1.25]))


def test_conversion_changes_what_is_rewritten_alone() -> None:
    gan, clip = model().eval(), batch(1, 100)
    codes = gan.coder.codes(clip)
    happy = gan.rewrite(codes, CodeGANControls(emotion="happy"))
    assert torch.equal(happy.content, codes.content) and not torch.allclose(happy.pitch, codes.pitch)
    assert happy.rhythm.shape == codes.rhythm.shape and not torch.allclose(happy.rhythm, codes.rhythm)
    for still in (CodeGANControls(), CodeGANControls(emotion="sad", strength=0)):
        torch.testing.assert_close(gan.rewrite(codes, still).pitch, codes.pitch)
    flat = gan.rewrite(codes, CodeGANControls(pitch_code=0.1))
    torch.testing.assert_close(flat.pitch, 0.1 * codes.pitch)
    made = gan.convert(clip, [], CodeGANControls(emotion="sad"))
    other = gan.convert(clip, [batch(2, 90)], CodeGANControls(emotion="sad"))
    assert made.shape == other.shape == (1, 80, 100) and not torch.allclose(made, other)


def test_a_converter_s_melody_is_rewritten_and_its_words_stay() -> None:
    codes = CONVERTER
    both = model(codes=codes, rewritten=["pitch", "content"]).eval()
    said = replace(batch(1, 90), waveform=0.1 * torch.randn(1, 90 * 256))
    assert both.convert(said, [], CodeGANControls(emotion="sad")).shape == (1, 80, 90)
    gan = model(codes=codes, rewritten=["pitch"]).eval()
    assert gan.channels == 1 and gan.requires.fields == ("features", "f0")
    clip = replace(batch(2, 90), waveform=0.1 * torch.randn(2, 90 * 256), emotion=None)
    made = [gan.convert(clip, [], CodeGANControls(emotion=emotion)) for emotion in (None, "sad")]
    assert made[0].shape == (2, 80, 90) and not torch.allclose(made[0], made[1])
    before, after = gan.coder.codes(clip), gan.rewrite(gan.coder.codes(clip), CodeGANControls(emotion="sad"))
    assert torch.equal(before.content, after.content) and after.pitch.shape == before.pitch.shape
    spared = gan.coder.codes(clip, without="content")
    assert torch.equal(spared.pitch, before.pitch) and not torch.allclose(spared.content, before.content)
    play = gan.play(batch(draws=Draws(0, 0, 0, 4, 4)))
    assert play.real is not None and play.real.shape[1] == 1


@pytest.mark.parametrize("pitch, rhythm, frames", [(4, 8, 100), (4, 6, 100), (6, 4, 193)])
def test_codes_of_any_rates_are_rewritten(pitch: int, rhythm: int, frames: int) -> None:
    rates = {"pitch": pitch, "rhythm": rhythm, "content": 4}
    encoders = {name: {**ENCODERS[name], "every": every} for name, every in rates.items()}
    gan = model(codes={"model": "speechsplit", "arguments": {**SPLIT, "encoders": encoders}}).eval()
    sum(gan.play(batch()).losses.values()).backward()
    codes = gan.coder.codes(batch(1, frames))
    back = gan.put_back(codes, gan.sequence(codes))
    torch.testing.assert_close((back.pitch, back.rhythm), (codes.pitch, codes.rhythm))
    assert gan.convert(batch(1, frames), [], CodeGANControls(emotion="sad")).shape == (1, 80, frames)


def test_a_target_s_voice_brings_its_level() -> None:
    gan = model().eval()
    low, high = (replace(batch(1, 90), f0=torch.full((1, 90), hertz)) for hertz in (100.0, 200.0))
    moved = gan._at_the_level_of([high], low)
    torch.testing.assert_close(moved.f0, high.f0)
    silent = replace(high, f0=torch.zeros(1, 90))
    torch.testing.assert_close(gan._at_the_level_of([silent], low).f0, low.f0)


def test_the_model_of_the_codes_stays_in_evaluation_mode() -> None:
    gan = model().train()
    assert gan.training and not gan.coder.training and not any(p.requires_grad for p in gan.coder.parameters())


def test_mistakes() -> None:
    with pytest.raises(UserError, match="two emotions"):
        CodeGAN(**FACTS, emotions=("neutral",))
    with pytest.raises(UserError, match="no codes"):
        CodeGAN(**FACTS, emotions=EMOTIONS, codes={"model": "vqvae", "arguments": {}})
    one_hot = {**SPLIT, "voice": "speaker", "n_speakers": 2}
    with pytest.raises(UserError, match=r"model\.voice=embedding"):  # which would learn and never speak
        CodeGAN(**FACTS, emotions=EMOTIONS, codes={"model": "speechsplit", "arguments": one_hot})
    with pytest.raises(UserError, match="valid: angry, happy, neutral, sad"):
        model().check_controls(CodeGANControls(emotion="bored"))
    for name, value in (("source_emotion", "sad"), ("strength", 0.5)):
        with pytest.raises(UserError, match=f"{name}: .* add emotion="):
            model().check_controls(CodeGANControls(**{name: value}))
        model().check_controls(CodeGANControls(emotion="happy", **{name: value}))
    model().check_controls(CodeGANControls(rhythm_code=2))


def test_a_code_that_the_model_of_the_codes_has_not_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.rewritten=\[rhythm\].*expected content, pitch"):
        model(codes=CONVERTER, rewritten=["rhythm"])
    with pytest.raises(UserError, match="rhythm_code: the recsyn"):
        model(codes=CONVERTER, rewritten=["pitch"]).check_controls(CodeGANControls(rhythm_code=2))


@pytest.fixture(scope="module")
def split(workplace: Path) -> Path:
    """A SpeechSplit that has learned for a few steps from two emotions."""
    config = compose_config("train", "model=speechsplit_small", *TINY, folder=workplace)
    config["model"] |= {k: v for k, v in SPLIT.items() if k not in FACTS}
    return train(config, workplace / "outputs" / "split").folder


@pytest.mark.slow
def test_a_pipeline_is_one_file(workplace: Path, split: Path, tmp_path: Path) -> None:
    config = compose_config("train", "model=codegan_small", f"model.codes.ckpt={split}", *TINY, folder=workplace)
    config["max_iterations"], config["model"]["generator"] = 6, {"width": 8}
    config["critics"]["codes"]["width"] = 8
    outcome = train(config, tmp_path / "run")
    assert {"train/class/codes", "train/cycle", "val/distance"} <= {*outcome.metrics}
    loaded = load_checkpoint(outcome.checkpoint)
    assert isinstance(loaded.model, CodeGAN) and loaded.model.emotions == ("happy", "neutral")
    before, after = load_checkpoint(split).model.state_dict(), loaded.model.coder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before), "what it stands on has not moved"
    save(loaded.model, loaded.description, tmp_path / "alone.safetensors")
    converter = revoice.load(tmp_path / "alone.safetensors")
    clip = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed/p901/*.flac"))
    said = [converter.convert(clip, emotion=emotion).samples for emotion in ("happy", None)]
    assert said[0].shape == said[1].shape and abs(said[0] - said[1]).max() > 1e-4
    with pytest.raises(UserError, match="valid: happy, neutral"):
        converter.convert(clip, emotion="angry")


@pytest.mark.slow
def test_emotions_and_new_voices_by_command(split: Path, workplace: Path, clip: str, tmp_path: Path, command) -> None:
    overrides = ["model=codegan_small", f"model.codes.ckpt={split}", *TINY]
    gan = train(compose_config("train", *overrides, folder=workplace), tmp_path / "gan").folder
    overrides = ["model=voicegan_small", "data=synthetic", "debug=tiny", "logger=none", *SPOKEN]
    voices = train(compose_config("train", *overrides, folder=workplace), tmp_path / "voices").folder
    pool = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed"))
    sample = ["voice=sample", f"voices.ckpt={voices}", f"voices.pool={pool}", "gender=female", "seed=3"]
    said = []
    for number, more in enumerate([["emotion=happy"], ["emotion=neutral"], ["emotion=happy", *sample]]):
        out = tmp_path / f"{number}.wav"
        status, _, err = command("convert", f"ckpt={gan}", f"src={clip}", f"out={out}", *more)
        assert status == 0, err
        said.append(out.read_bytes())
    assert len({*said}) == 3
    status, _, err = command("convert", f"ckpt={gan}", f"src={clip}", f"out={tmp_path}/x.wav", "emotion=bored")
    assert status != 0 and "valid: happy, neutral" in err and "Traceback" not in err


@pytest.mark.slow
def test_going_on_asks_for_the_same_emotions_and_codes(workplace: Path, split: Path, tmp_path: Path) -> None:
    made = CodeGAN(**FACTS, emotions=("neutral", "sad"), codes=_codes_of(split), generator={"width": 8})
    made.coder.load_state_dict(load_checkpoint(split).model.state_dict())
    about = load_checkpoint(split).description
    arguments = {**FACTS, "emotions": ["neutral", "sad"], "codes": _codes_of(split), "generator": {"width": 8}}
    save(made, replace(about, model="codegan", arguments=arguments), tmp_path / "sad.safetensors")
    overrides = ["model=codegan_small", f"init_from={tmp_path}/sad.safetensors", *TINY]
    for more in ([], [f"model.codes.ckpt={split}"]):  # which is the same one
        with pytest.raises(UserError, match="knows the emotions neutral, sad, the data has happy, neutral"):
            train(compose_config("train", *overrides, *more, folder=workplace), tmp_path / "run")
    with torch.no_grad():
        next(made.coder.generator.parameters()).add_(1)
    save(made, replace(about, model="codegan", arguments=arguments), tmp_path / "sad.safetensors")
    with pytest.raises(UserError, match=r"not that of model\.codes\.ckpt"):
        train(compose_config("train", *overrides, f"model.codes.ckpt={split}", folder=workplace), tmp_path / "run")
    with pytest.raises(UserError, match="every training clip of sad was rejected"):
        require_emotions({"emotions": ("happy", "sad")}, ("happy",), None)


def _codes_of(path: Path) -> dict[str, object]:
    about = load_checkpoint(path).description
    return {"model": about.model, "arguments": about.arguments}


@pytest.mark.slow
def test_the_published_recipe_trains(workplace: Path, split: Path, tmp_path: Path) -> None:
    config = compose_config(
        "train", "experiment=codegan_published", f"model.codes.ckpt={split}", *TINY, folder=workplace
    )
    config["model"]["generator"]["width"], config["critics"]["codes"]["width"] = 8, 8
    assert config["model"]["generator"]["running"] and config["max_iterations"] == 4
    model = load_checkpoint(train(config, tmp_path).checkpoint).model
    assert isinstance(model, CodeGAN) and model.generator.down[1].running_mean.abs().sum() > 0


@pytest.mark.slow
def test_emotions_of_the_converter_that_ships_are_learned(workplace: Path, tmp_path: Path) -> None:
    tiny = ["max_iterations=2", "model.frames=64", "model.parallel=128", "data.batch_size=4"]
    config = compose_config("train", "model=codegan_voice", *TINY, *tiny, folder=workplace)
    run = train(config, tmp_path / "run")
    made = revoice.load(run.folder).convert(next(workplace.rglob("*.flac")), emotion="happy")
    assert bool((abs(made.samples) > 0).any())


def test_what_it_stands_on_is_asked_for_before_any_work(workplace: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.codes\.ckpt=RUN_FOLDER"):
        train(compose_config("train", "model=codegan", *TINY, folder=workplace), tmp_path)
    config = compose_config("train", "model=codegan", f"model.codes.ckpt={trained}", *TINY, folder=workplace)
    with pytest.raises(UserError, match="no codes"):
        train(config, tmp_path)


@pytest.mark.slow
def test_pitch_has_to_be_searched_as_the_codes_know_it(workplace: Path, split: Path, tmp_path: Path) -> None:
    config = compose_config("train", "model=codegan", f"model.codes.ckpt={split}", *TINY, folder=workplace)
    config["data"]["prepare"]["fields"] = {"f0": {"method": "harvest"}}
    with pytest.raises(UserError, match=r"data\.prepare\.fields\.f0"):
        train(config, tmp_path)
