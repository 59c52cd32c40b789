"""A batch of clips is converted as each of them alone, by every kind of model."""

from dataclasses import replace

import pytest
import torch

from revoice.data.read.batch import Batch
from revoice.models.base import MODELS, ConversionModel
from revoice.models.random_cnn.model import TransferControls

SMALL = {"channels": 12, "blocks": 2, "pitch_bins": 16}
APART = {name: {"channels": 16, "convolutions": 1, "layers": 1} for name in ("content", "rhythm", "pitch")}
SPEAKS = {
    "adain": ("adain_vc", {"decoder": {"channels": 12, "pitch_bins": 16}}),
    "mirrored": ("adain_vc", {"conditioning": "stat_transfer"}),
    "codes": ("vqvae", {"decoder": SMALL, "encoder": {"channels": 12, "norm": "instance"}}),
    "table": ("vqvae", {"voice": "speaker", "decoder": SMALL, "encoder": {"channels": 12}}),
    "speech2speech": ("speech2speech", {"voice": "embedding", "channels": 16, "residual_channels": 8}),
    "recognition": (
        "recsyn",
        {
            "content": {"layers": 1, "width": 16, "heads": 2},
            "neck": {"channels": 8, "hidden": 16},
            "decoder": {"channels": 16, "hidden": 16, "blocks": 1, "voice": 16, "pitch_bins": 16},
        },
    ),
    "apart": ("speechsplit", {"encoders": APART, "decoder": {"hidden": 8, "layers": 1}}),
    "transfer": ("random_cnn", {}),
}


def clip(frames: int, f0: float, seed: int) -> Batch:
    """Noise with every field that a model may ask for."""
    draw = torch.Generator().manual_seed(seed)
    contour = torch.where(torch.rand(frames, generator=draw) > 0.3, f0, 0.0)
    return Batch.of_clip(
        torch.rand(10, frames, generator=draw),
        f0=contour,
        embedding=torch.nn.functional.normalize(torch.randn(256, generator=draw), dim=0),
        waveform=0.1 * torch.randn(256 * frames, generator=draw),
        speaker=torch.tensor(seed % 2),
    )


@pytest.mark.parametrize("kind", SPEAKS)
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_a_batch_gives_what_its_items_give_alone(kind: str, strength: float) -> None:
    torch.manual_seed(0)
    name, settings = SPEAKS[kind]
    facts = {"n_features": 10, "n_speakers": 2, "sample_rate": 16000, "hop": 256}
    model = MODELS.build(name, settings, facts).eval()
    assert isinstance(model, ConversionModel)
    controls = TransferControls(iterations=5) if kind == "transfer" else model.Controls()
    if hasattr(controls, "strength") and kind != "table":
        controls = replace(controls, strength=strength)
    clips = [clip(37, 120.0, 0), clip(37, 0.0, 1), clip(37, 240.0, 2)]  # nothing of the second is voiced
    targets = [clip(50, 200.0, 3), clip(41, 0.0, 4)]
    made, pitch = (ask(Batch.join(clips), targets, controls) for ask in (model.convert, model.pitch))
    assert made.shape == (3, 10, 37)
    near = 1e-4 if kind == "mirrored" else 1e-5  # its norms magnify how some CPUs round a batch; other items are 2 off
    for row, one in enumerate(clips):
        torch.testing.assert_close(made[row], model.convert(one, targets, controls)[0], atol=near, rtol=1e-4)
        if pitch is not None:
            torch.testing.assert_close(pitch[row], model.pitch(one, targets, controls)[0], atol=1e-3, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", [kind for kind in SPEAKS if kind != "transfer"])
def test_a_gpu_says_what_the_cpu_says(kind: str) -> None:
    torch.manual_seed(0)
    name, settings = SPEAKS[kind]
    model = MODELS.build(name, settings, {"n_features": 10, "n_speakers": 2, "sample_rate": 16000, "hop": 256}).eval()
    source, targets = Batch.join([clip(37, 120.0, 0), clip(37, 240.0, 2)]), [clip(50, 200.0, 3)]
    expected = model.convert(source, targets, model.Controls())
    made = model.cuda().convert(source.to("cuda"), [each.to("cuda") for each in targets], model.Controls())
    torch.testing.assert_close(made.cpu(), expected, atol=2e-3, rtol=1e-2)


def test_clips_of_unlike_lengths_are_no_batch() -> None:
    with pytest.raises(AssertionError, match="unlike lengths"):
        Batch.join([clip(37, 120.0, 0), clip(38, 120.0, 0)])
