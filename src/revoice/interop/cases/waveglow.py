"""WaveGlow: towards noise with its loss and gradients, and back, with the recorded noise."""

from collections.abc import Mapping

import torch
from torch import Tensor

from revoice.interop.cases import Result, case
from revoice.interop.fixture import Fixture
from revoice.interop.waveglow import arguments, features_of, load_state, our_name, our_state
from revoice.vocoders.waveglow import Encoded, WaveGlow

_FIRST = 64  # samples that a fixture records of the upsampled features


@case("wg")
def waveglow(fixture: Fixture) -> Mapping[str, Result]:
    """The published class: `z`, determinants, gradients, and what it says at every recorded sigma."""
    model = _model(fixture, alternate=False)
    mel = fixture.input("mel")
    encoded = model.encode(fixture.input("audio"), mel)
    loss = model.likelihood(encoded)
    loss.backward()
    results = _told(encoded) | {"loss_sigma1": loss, "upsampled_mel_first64": _upsampled(model, mel)}
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    for name in fixture.outputs:
        if name.startswith("grad/"):
            results[name] = gradients[our_name(name.removeprefix("grad/"))]
    return {name: value.detach() for name, value in results.items()} | _said(model, fixture)


@case("wg_old")
def older(fixture: Fixture) -> Mapping[str, Result]:
    """The older class, whose halves change their roles."""
    return _said(_model(fixture, alternate=True), fixture)


def _model(fixture: Fixture, alternate: bool) -> WaveGlow:
    state = our_state(fixture.state)
    model = WaveGlow(features_of(state, None, None), **arguments(state, alternate))
    load_state(model, fixture.state)
    return model


def _told(encoded: Encoded) -> dict[str, Tensor]:
    return {
        "z": encoded.z,
        "sum_log_s_per_flow": torch.stack([each.sum() for each in encoded.log_scales]),
        "log_det_W_per_flow": torch.stack(encoded.log_determinants),
        "log_s_flow0": encoded.log_scales[0],
        "log_s_last": encoded.log_scales[-1],
    }


def _upsampled(model: WaveGlow, mel: Tensor) -> Tensor:
    assert model.up is not None
    return model.up(mel)[..., :_FIRST]


@torch.no_grad()
def _said(model: WaveGlow, fixture: Fixture) -> dict[str, Result]:
    """`infer_sigmaX` of every X, `infer_sigmaX_fused_weights` at last."""
    noise = [fixture.input(name) for name in sorted(n for n in fixture.inputs if n.startswith("noise_"))]
    results: dict[str, Result] = {}
    for name in sorted((n for n in fixture.outputs if n.startswith("infer_sigma")), key=len):
        if name.endswith("_fused_weights"):
            model.fuse()
        sigma = float(name.removeprefix("infer_sigma").removesuffix("_fused_weights"))
        results[name] = model.decode([sigma * each for each in noise], fixture.input("mel"))
    return results
