"""Pix2Pix: sizes, any length, pairs, phases, the faults of the published code, and runs through its schedules."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import revoice
from revoice.audio.anonymizers.cepstrum import Cepstrum
from revoice.audio.features import extract
from revoice.audio.io import read_audio
from revoice.audio.presets import load_preset
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.pix2pix.layout import LOUD, Layout
from revoice.models.pix2pix.model import PhaseControls, Pix2Pix
from revoice.nn.draws import Draws
from revoice.training.run import train
from tests.conftest import TINY, compose_config
from tests.training.test_adversarial import last, same

SMALL: dict[str, Any] = {"widths": (8, 8, 8)}
PUBLISHED = {"n_features": 256, "sample_rate": 16000, "hop": 64}


def batch(rows: int = 128, frames: int = 70, copies: int = 1, items: int = 2) -> Batch:
    draw = torch.Generator().manual_seed(0)
    return Batch(
        id=tuple("ab"[:items]),
        features=torch.rand(items, 2 * rows, frames, generator=draw),
        paired=torch.rand(items, 2 * rows * copies, frames, generator=draw),
        lengths=torch.full((items,), frames),
        draws=Draws(0, 0, 0, items, items),
    )


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"generator": "resnet", "channels": 2}, 31_298_583),
        ({"generator": "resnet", "channels": 3}, 31_305_371),  # ResNet-18's 11.2 M and the printed decoder
        ({"generator": "literal", "channels": 2}, 3_404_642),
        ({}, 878_017),
    ],
)
def test_sizes(settings: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        model = Pix2Pix(**PUBLISHED, **settings)
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("settings", [SMALL, {"generator": "literal", "channels": 2}])
def test_three_steps_are_finite_and_move(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model, given = Pix2Pix(**PUBLISHED, **settings), batch(copies=3)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    found = []
    for _ in range(3):
        loss = model.play(given).losses["reconstruction"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss))
    assert all(np.isfinite(found)) and found[2] < found[0]


@pytest.mark.slow
def test_the_published_generator_takes_three_steps() -> None:
    test_three_steps_are_finite_and_move({"generator": "resnet", "channels": 3})


@pytest.mark.parametrize("frames", [1, 31, 70])
@pytest.mark.parametrize("settings", [SMALL, {"generator": "literal", "channels": 2}])
def test_any_length(frames: int, settings: dict[str, Any]) -> None:
    model = Pix2Pix(**PUBLISHED, **settings).eval()
    with torch.no_grad():
        made = model.convert(batch(frames=frames), [], PhaseControls(iterations=1))
    assert made.shape == (2, 256, frames) and torch.isfinite(made).all()


def test_a_network_that_has_not_learned_gives_back_what_it_is_given() -> None:
    """The small one corrects; what its correction starts from is nothing."""
    model, given = Pix2Pix(**PUBLISHED, **SMALL), batch()
    assert torch.equal(model(model.layout.image(given.paired, 1)), given.paired[:, None, :128])


def test_copies_are_drawn_in_training_and_the_first_is_validated() -> None:
    model, given = Pix2Pix(**PUBLISHED, **SMALL), batch(copies=4, items=2)
    first = given.paired[:, None, :128]
    chosen = [model._pair(Batch(**{**vars(given), "draws": Draws(0, i, 0, 2, 2)}))[0] for i in range(8)]
    assert any(not torch.equal(one, first) for one in chosen)
    assert torch.equal(model._pair(Batch(**{**vars(given), "draws": None}))[0], first)


def test_phases_are_rebuilt_from_magnitudes(clip: str) -> None:
    spec = load_preset("stft_16k1024")
    layout = Layout(512, 16000, 256)
    assert layout.spec.fingerprint == spec.fingerprint
    samples = torch.from_numpy(read_audio(Path(clip), 16000).samples)
    features = extract(samples, spec)[None]
    made = layout.rebuilt(features[:, :512], features[:, 512:], 4)
    assert made.shape == features.shape
    assert (made[:, :512] - features[:, :512]).abs().mean() < 0.01  # its own phases fit
    started = layout.rebuilt(features[:, :512], torch.full_like(features[:, 512:], 0.5), 4)
    assert (started[:, :512] - features[:, :512]).abs().mean() > 0.01


def test_faults_are_kept_where_they_are_asked_for() -> None:
    layout = Layout(128, 16000, 64)
    image = torch.full((1, 3, 128, 768), 0.3)
    assert layout.padded(image, 128).shape[-1] == 768
    padded = layout.padded(image, 128, faithful=True)
    assert padded.shape[-1] == 896 and bool((padded[0, 0, :, 768:] == LOUD).all())
    assert bool((layout.padded(image[..., :700], 128)[0, 0, :, 700:] == 0).all())
    assert layout.padded(image[..., :700], 32).shape[-1] == 704
    assert layout.padded(image[..., :700], 32, faithful=True).shape[-1] == 768  # whatever the network asks for
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(48000) / 16000)
    features = extract(tone, layout.spec)[None]
    faulty = layout.without_nyquist(features[:, :128], features[:, 128:])
    assert faulty.shape == features.shape
    peaks = [int(found[0, :128, 300].argmax()) for found in (features, faulty)]
    assert peaks == [16, 16]  # 1,000 Hz, and 1,008
    with pytest.raises(UserError, match="channels=2"):
        Pix2Pix(**PUBLISHED, faithful=True)
    swapped = Pix2Pix(**PUBLISHED, generator="literal", channels=2, faithful=True)
    given, real = swapped._pair(batch())
    assert torch.equal(given[:, 0], batch().features[:, :128]) and torch.equal(real[:, 0], batch().paired[:, :128])


def test_what_cannot_be() -> None:
    with pytest.raises(UserError, match="features=stft_16k"):
        Pix2Pix(n_features=160, sample_rate=16000, hop=256)
    with pytest.raises(UserError, match="stft_16k"):
        Pix2Pix(n_features=128, sample_rate=16000, hop=256, generator="literal")
    with pytest.raises(UserError, match="hop|scale"):
        Pix2Pix(**PUBLISHED, **SMALL).set_features(load_preset("stft_16k1024"))
    model = Pix2Pix(**PUBLISHED, **SMALL)
    with pytest.raises(UserError, match="phase=rebuilt"):
        model.convert(batch(), [], PhaseControls(phase="regressed"))


def test_a_mixture_of_voices_is_said(workplace: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paired = "data.prepare.fields.paired"  # nobody hears them
    quick = [f"{paired}.copies=1", f"++{paired}.settings.iterations=0", "data.splits.limit=1"]
    for speakers, said in (("[p1001]", False), ("null", True)):
        caplog.clear()
        train(config(workplace, f"data.speakers={speakers}", "show=true", *quick), tmp_path / "shown")
        assert any("data.speakers=[p1001]" in record.getMessage() for record in caplog.records) == said


def test_a_single_place_has_no_statistics() -> None:
    """One crop of 128 frames, seven times halved: what batch normalization cannot train on is told in one line."""
    model = Pix2Pix(**PUBLISHED, generator="literal", channels=2)
    with pytest.raises(UserError, match="model.frames=256"):
        model.play(batch(frames=64, items=1))
    assert torch.isfinite(model.play(batch(frames=129, items=1)).losses["reconstruction"])
    with torch.no_grad():
        assert model.eval()(torch.rand(1, 2, 128, 64)).shape == (1, 2, 128, 64)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["model.anonymizer=world"], "left out by data.prepare.fields.paired.settings.flatten=null"),
        (["model.anonymizer=world", "{}.flatten=null", "{}.faithful=true", "{}.f0_noise=0.1"], ""),  # no yaml has them
        (["model.anonymizer=mcadams", "{}.flatten=null", "{}.envelope_stretch=null"], ""),
        (["{}.flattn=0.5"], "did you mean 'flatten'"),
    ],
)
def test_an_anonymizer_is_set_by_names_of_its_own(typed: list[str], said: str, workplace: Path, command) -> None:
    settings = [each.format("data.prepare.fields.paired.settings") for each in typed]
    speech = ["data=synthetic", "data.speakers=[p1001]", "data.prepare.fields.paired.copies=1", "debug=tiny", *TINY]
    status, out, err = command("train", "model=pix2pix", *speech, "show=true", *settings)
    assert status == (2 if said else 0), err
    assert said in err and ("batch " in out) == (not said)


def test_weights_decay_as_published(workplace: Path) -> None:
    """fastai takes it apart from the gradient, the Chainer version adds it to the gradient."""
    found = [
        compose_config("train", f"experiment={name}", folder=workplace)["optimizer"]
        for name in ("pix2pix_published", "pix2pix_nogan", "pix2pix_conditional")
    ]
    assert [(how["name"], how["weight_decay"]) for how in found] == [("adamw", 1e-3), ("adamw", 1e-3), ("adam", 1e-5)]
    assert all(how["schedule"]["name"] == "constant" and how["schedule"]["warmup"] == 0 for how in found)


def test_pitch_goes_where_it_is_sent() -> None:
    rate = 16000
    pulses = np.zeros(rate)
    pulses[:: rate // 100] = 0.5
    made = Cepstrum(f0_range=150.0)(pulses, rate)
    spectrum = np.abs(np.fft.rfft(made[2000:14000] * np.hanning(12000), 1 << 16))
    low, high = (int(hertz / rate * (1 << 16)) for hertz in (60, 220))
    strongest = (low + spectrum[low:high].argmax()) * rate / (1 << 16)
    assert len(made) == len(pulses) and abs(strongest - 150) < 5
    assert np.array_equal(made, Cepstrum(f0_range=150.0)(pulses, rate))


def config(workplace: Path, *overrides: str) -> dict[str, Any]:
    small = ["model.widths=[8,8,8]", "model.frames=64", "data.splits.limit=null", "critics.patch.width=4"]
    tiny = ["debug=tiny", "logger=none", *TINY, *small, "data.prepare.fields.paired.copies=2"]
    return compose_config(
        "train", "experiment=pix2pix_small_nogan", "data=synthetic", "data.speakers=[p1001]", *tiny, *overrides,
        folder=workplace,
    )  # fmt: skip


SCHEDULE = [
    {"iterations": 2, "turns": [{"part": "model", "losses": {"reconstruction": 50}}]},
    {"iterations": 2, "turns": [{"part": "patch", "losses": {"critic": 1}}]},
    {"turns": [{"part": "patch", "losses": {"critic": 1}},
               {"part": "model", "losses": {"reconstruction": 50, "adversarial/patch": 1},
                "when": "train/critic/patch < 0.9"}]},
]  # fmt: skip


@pytest.mark.slow
def test_a_run_goes_on_in_every_phase(workplace: Path, tmp_path: Path) -> None:
    def run(iterations: int, folder: str, **more: Any) -> Path:
        settings = config(workplace, "max_iterations=7", "trainer.val_every=1")
        settings["optimizer"]["schedule"] = {}
        train({**settings, "schedule": SCHEDULE, "max_iterations": iterations, **more}, tmp_path / folder)
        return tmp_path / folder

    whole = run(7, "whole")
    for stop in (1, 3, 5):
        part = run(stop, f"until_{stop}")
        resumed = run(7, f"from_{stop}", ckpt_path=str(part / "checkpoints" / "last.ckpt"))
        for name in ("state_dict", "optimizer_states", "schedule"):
            same(last(resumed)[name], last(whole)[name], f"{stop}/{name}")


def test_the_generator_waits_for_the_critic(workplace: Path, tmp_path: Path) -> None:
    """A limit that is never reached leaves it as it was, one that always is does not."""
    for limit, moves in (("< -1", False), ("> -1", True)):
        turns = [SCHEDULE[2]["turns"][0], {**SCHEDULE[2]["turns"][1], "when": f"train/critic/patch {limit}"}]
        settings = {**config(workplace, "max_iterations=3"), "schedule": [{"turns": turns}]}
        train(settings, tmp_path / str(moves))
        found = last(tmp_path / str(moves))["state_dict"]
        weights = {name: value for name, value in found.items() if name.startswith("model.") and "last" in name}
        assert bool(sum(value.abs().sum() for value in weights.values()) > 0) == moves  # drawn as zeros


def test_stored_outputs_teach_a_critic_and_a_source_needs_no_target(workplace: Path, tmp_path: Path) -> None:
    settings = config(workplace, "max_iterations=2")
    first = train({**settings, "schedule": SCHEDULE[:1]}, tmp_path / "first")
    stored = [{**SCHEDULE[1], "batches": "stored"}, SCHEDULE[2]]
    settings["data"]["generated_by"] = str(tmp_path / "first")
    more = {"init_from": str(tmp_path / "first"), "schedule": stored, "max_iterations": 4}
    second = train({**settings, **more}, tmp_path / "second")
    assert first.checkpoint is not None and second.metrics["iterations"] == 4
    converter = revoice.load(tmp_path / "second")
    assert converter.loaded.description.speakers == ["p1001"] and converter.loaded.description.levels[0]
    clip = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed/p901/*.flac"))
    source = converter.audio(clip)
    made = converter.convert(source)
    assert len(made.samples) == len(source.samples)
    assert converter.paired is not None and converter.paired.copies == 1
    level = float(np.exp(converter.loaded.description.levels[0]))
    assert converter.paired.settings["f0_range"] == pytest.approx(level)
    assert converter.paired.settings["envelope_stretch"] == pytest.approx(1.0, abs=0.01)
    with pytest.raises(UserError, match="no target voice"):
        converter.convert(source, clip)
