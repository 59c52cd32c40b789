"""Losses, gradients and Adam steps of random-CNN style transfer."""

from collections.abc import Mapping

import torch
from torch import Tensor

from revoice.interop.cases import Result, case
from revoice.interop.fixture import Fixture
from revoice.models.random_cnn.features import RandomFeatures
from revoice.models.random_cnn.search import Objective, Search, minimize, observe


@case("rc_l")
def random_cnn_losses(fixture: Fixture) -> Mapping[str, Result]:
    """Both losses and their gradients, without the Gram matrices formed; spectrograms come as (1, 1, F, T)."""
    get = fixture.setting
    network = RandomFeatures([fixture.state["conv1.weight"]], get("leaky_slope"))
    content, style, generated = (fixture.input(name)[0, 0] for name in ("content", "style", "generated"))
    objective = Objective(network, content, observe(network, [style], precision=0.0))
    weights = {"content": (1.0, 0.0), "style": (0.0, 1.0), "total": (get("content_weight"), get("style_weight"))}
    results: dict[str, Result] = {"features_content_first": network(content)[0][None, :, :8, :8]}
    for name, pair in weights.items():
        loss, gradient = _gradient(objective, generated, *pair)
        results[f"{name}_loss"], results[f"grad_{name}"] = loss, gradient[None, None]
    if "adam_generated_after" in fixture.outputs:
        results.update(_adam(fixture, objective, *weights["total"]))
    return results


def _gradient(objective: Objective, generated: Tensor, content: float, style: float) -> tuple[Tensor, Tensor]:
    image = generated.clone().requires_grad_(True)
    losses = objective(image)
    loss = content * losses[0] + style * losses[1]
    return loss.detach(), torch.autograd.grad(loss, image)[0]


def _adam(fixture: Fixture, objective: Objective, content: float, style: float) -> dict[str, Result]:
    start, steps = fixture.input("init")[0, 0], fixture.setting("adam_steps")
    losses = []
    for done in range(steps + 1):
        how = Search(
            content_weight=content, style_weight=style, optimizer="adam", iterations=done, stop=0.0,
            rate=fixture.setting("adam_lr"),
        )  # fmt: skip
        image = minimize(objective, start, how)
        losses.append(_gradient(objective, image, content, style)[0])
    return {"adam_total_losses": torch.stack(losses[:steps]), "adam_generated_after": image[None, None]}
