"""speech2speech's VQ-VAE: codes, losses, reconstruction and gradients."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from revoice.interop.cases import Result, case
from revoice.interop.fixture import Fixture
from revoice.interop.speech2speech import arguments, load_state, our_name
from revoice.models.speech2speech import Speech2Speech, batch_deviation


@case("s2s")
def speech2speech(fixture: Fixture) -> Mapping[str, Result]:
    """One training step of the published network with its stride of 1."""
    model = Speech2Speech(**arguments(fixture.config))
    load_state(model, fixture.state)
    x, table = fixture.input("x"), fixture.setting("speaker_dic")
    rows = torch.tensor([table[str(int(number))] for number in fixture.input("speaker_id")])
    encoded = model.encoder(x)
    codes = model.encode(x)
    voice = model.voice(rows)
    decoded = model.decoder(codes.values, voice)[..., : x.shape[-1]]
    deviation = batch_deviation(x)
    reconstruction = F.mse_loss(decoded, x) / deviation
    quantization = codes.codebook + fixture.setting("commitment_cost") * codes.commitment
    loss = reconstruction + quantization
    loss.backward()
    results: dict[str, Result] = {
        "codes": codes.codes, "z_e": encoded, "quantized": codes.values, "vq_loss": quantization,
        "perplexity": codes.perplexity, "recon": decoded, "codebook_term_mse": codes.codebook,
        "min_code_margin": _margin(encoded, model.quantizer.codebook), "data_std": deviation,
        "recon_error": reconstruction, "loss": loss,
    }  # fmt: skip
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    for name in fixture.outputs:
        if name.startswith("grad/"):
            results[name] = gradients[our_name(name.removeprefix("grad/"))]
    return {name: value.detach() if isinstance(value, Tensor) else value for name, value in results.items()}


def _margin(encoded: Tensor, codebook: Tensor) -> Tensor:
    """Smallest gap between the squared distances to the best code and to the second best."""
    vectors = encoded.detach().double().transpose(1, 2).flatten(0, 1)
    best = torch.cdist(vectors, codebook.detach().double()).square().topk(2, largest=False).values
    return (best[:, 1] - best[:, 0]).min()
