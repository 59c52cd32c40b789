"""Muon against torch's own implementation, AdamW and the definition of an orthogonal direction."""

import pytest
import torch
from torch import nn

from revoice.training.muon import Muon, orthogonalized


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(20, 24)
        self.conv = nn.Conv1d(24, 32, 3, padding=1)
        self.out = nn.Linear(32, 32)
        self.thin = nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv(self.table(x).transpose(1, 2)).relu().mean(2)
        return self.thin(self.out(h))


def train(net: Net, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    x = torch.randint(20, (16, 9), generator=torch.Generator().manual_seed(1))
    y = torch.stack([(x < 5).float().mean(1), (x > 12).float().mean(1)], dim=1)
    losses = []
    for _ in range(steps):
        loss = (net(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def unit(matrices: torch.Tensor) -> torch.Tensor:
    return matrices / torch.linalg.matrix_norm(matrices, keepdim=True)


@pytest.mark.parametrize("shape", [(4, 24, 48), (3, 48, 24), (2, 32, 32)])
def test_orthogonal_directions(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    turned = orthogonalized([unit(matrices)], 8)[0]
    singular = torch.linalg.svdvals(turned)
    assert singular.min() > 0.6 and singular.max() < 1.3
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    ideal = u @ vh
    alignment = (turned * ideal).sum((1, 2)) / (turned.norm(dim=(1, 2)) * ideal.norm(dim=(1, 2)))
    assert alignment.min() > 0.97


def test_tall_and_wide_matrices_together_are_each_by_itself() -> None:
    draw = torch.Generator().manual_seed(0)
    wide, tall = (unit(torch.randn(shape, generator=draw)) for shape in ((3, 24, 48), (2, 48, 24)))
    together = orthogonalized([wide, tall], 5)
    for made, matrices in zip(together, (wide, tall), strict=True):
        assert made.shape == matrices.shape
        torch.testing.assert_close(made, orthogonalized([matrices], 5)[0])


def test_layers_weights_step_as_torchs_muon() -> None:
    """The same up to torch's own bfloat16 iteration."""
    ours, theirs = nn.Linear(32, 48, bias=False), nn.Linear(32, 48, bias=False)
    theirs.load_state_dict(ours.state_dict())
    start = ours.weight.detach().clone()
    mine = Muon(ours, lr=0.01, momentum=0.9, weight_decay=0.1)
    reference = torch.optim.Muon(
        theirs.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    for step in range(5):
        gradient = torch.randn(48, 32, generator=torch.Generator().manual_seed(step))
        for layer, optimizer in ((ours, mine), (theirs, reference)):
            layer.weight.grad = gradient.clone()
            optimizer.step()
    moved, expected = ours.weight.detach() - start, theirs.weight.detach() - start
    assert (moved - expected).norm() / expected.norm() < 0.02


def test_the_rest_steps_as_adamw() -> None:
    net, other = Net(), Net()
    mine = Muon(net, lr=0.01, weight_decay=0.1, betas=(0.9, 0.99))
    rest = [p for group in mine.param_groups if not group["orthogonal"] for p in group["params"]]
    names = [name for name, p in net.named_parameters() if any(p is each for each in rest)]
    assert names == ["table.weight", "conv.bias", "out.bias", "thin.weight", "thin.bias"]
    theirs = torch.optim.AdamW([dict(other.named_parameters())[n] for n in names], 0.01, (0.9, 0.99), weight_decay=0.1)
    for step in range(4):
        torch.manual_seed(step)
        for name in names:
            gradient = torch.randn_like(dict(net.named_parameters())[name])
            for each in (net, other):
                dict(each.named_parameters())[name].grad = gradient.clone()
        mine.step()
        theirs.step()
    for name in names:
        torch.testing.assert_close(dict(net.named_parameters())[name], dict(other.named_parameters())[name])


def test_it_learns_and_resumes_bit_for_bit() -> None:
    whole = Net()
    losses = train(whole, Muon(whole, lr=0.02), 40)
    assert losses[-1] < losses[0] / 20

    first = Net()
    optimizer = Muon(first, lr=0.02)
    train(first, optimizer, 15)
    saved = {"model": first.state_dict(), "optimizer": optimizer.state_dict()}
    second = Net()
    second.load_state_dict(saved["model"])
    resumed = Muon(second, lr=0.02)
    resumed.load_state_dict(saved["optimizer"])
    assert train(second, resumed, 25) == losses[15:]
