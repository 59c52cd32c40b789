"""AdaIN-VC's network: both encoders, decoder, losses and their gradients."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from revoice.errors import UserError
from revoice.interop.adain_vc import arguments, load_state, our_name
from revoice.interop.cases import Result, case
from revoice.interop.fixture import Fixture
from revoice.models.adain_vc.model import AdaINVC, kl_to_standard_normal

_ENCODED = re.compile(r"(mu|log_sigma|emb|dec)_(T\d+)")


@case("adain_ae")
def adain_ae(fixture: Fixture) -> Mapping[str, Result]:
    """`{mu,log_sigma,emb,dec}_T<frames>` for every input, `convert` and `speaker_embeddings`, one training step.

    The training step and the target voice of `convert` use the first input listed, its source the second.
    """
    model = AdaINVC(**arguments(fixture.config)).eval()
    load_state(model, fixture.state)
    inputs = [name for name in fixture.listed("in") if name.startswith("x_")]
    if len(inputs) < 2:
        raise UserError(f"{fixture.path}: case adain_ae needs two inputs x_T<frames>, it has {inputs}")
    first, second = (fixture.input(name) for name in inputs[:2])
    with torch.no_grad():
        results: dict[str, Result] = {
            "convert": model.decode(model.content_encoder(second).mean, model.styles(first)),
            "speaker_embeddings": _speaker(model, second),
        }
        for name in fixture.outputs:
            if found := _ENCODED.fullmatch(name):
                results[name] = _encoded(model, fixture.input(f"x_{found[2]}"), found[1])
    return results | _training_step(model, first, fixture)


def _encoded(model: AdaINVC, x: Tensor, what: str) -> Tensor:
    if what == "emb":
        return _speaker(model, x)
    content = model.content_encoder(x)
    if what == "dec":
        return model.decode(content.mean, model.styles(x))
    return content.mean if what == "mu" else content.log_variance


def _speaker(model: AdaINVC, x: Tensor) -> Tensor:
    assert model.speaker_encoder is not None
    return model.speaker_encoder(x)


def _training_step(model: AdaINVC, x: Tensor, fixture: Fixture) -> dict[str, Result]:
    weights = fixture.setting("lambda")
    content = model.content_encoder(x)
    z = content.mean + torch.exp(content.log_variance / 2) * fixture.input("eps")
    decoded = model.decode(z, model.styles(x))
    reconstruction = (decoded - x).abs().mean()
    kl = kl_to_standard_normal(content.mean, content.log_variance)
    loss = weights["lambda_rec"] * reconstruction + weights["lambda_kl"] * kl
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    norm = torch.stack([g.double().square().sum() for g in gradients.values()]).sum().sqrt()
    results: dict[str, Result] = {
        "train_dec": decoded.detach(), "loss_rec": reconstruction.detach(), "loss_kl": kl.detach(),
        "loss": loss.detach(), "grad_norm": norm.float(),
    }  # fmt: skip
    for name in fixture.outputs:
        if name.startswith("grad/"):
            results[name] = gradients[our_name(name.removeprefix("grad/"))]
    return results
