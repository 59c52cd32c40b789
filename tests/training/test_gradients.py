"""Gradients of a step in bf16 through copies of the weights, and in float32, against `backward`."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from revoice.training.gradients import Gradients, HalfWeights, half_weights


class Net(nn.Module):
    """Layers that autocast serves, one that it must not, a table, and a weight that is read directly."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv1d(4, 8, 3, padding=1), nn.Linear(8, 8)
        self.exact, self.read = nn.Linear(8, 8), nn.Linear(8, 8, bias=False)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.linear(self.linear(self.conv(x).transpose(1, 2)).relu()))
        with torch.autocast("cpu", enabled=False):
            return (self.exact(h.float()) * self.read.weight.mean(0)).square().mean()


def test_copies_in_16_bits_give_what_autocast_gives() -> None:
    torch.manual_seed(0)
    net, plain = Net(), Net()
    plain.load_state_dict(net.state_dict())
    half = HalfWeights(net)
    gradients = Gradients(list(net.parameters()), half)
    for step in range(4):
        x = torch.randn(5, 4, 9)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            expected = plain(x)
            half.refresh()
            with half.used():
                total = net(x)
        expected.backward()
        gradients.add(total)
        assert torch.equal(total, expected), step
        for (name, weight), other in zip(net.named_parameters(), plain.parameters(), strict=True):
            assert torch.equal(weight.grad, other.grad) and weight.grad.dtype == torch.float32, name  # type: ignore
        with torch.no_grad():
            for weight in (*net.parameters(), *plain.parameters()):
                weight -= 0.1 * weight.grad  # type: ignore[operator]
        gradients.clear()
        plain.zero_grad()
    assert half.of(net.conv.weight).dtype == half.of(net.linear.bias).dtype == torch.bfloat16
    assert half.of(net.exact.weight) is net.exact.weight and half.of(net.read.weight) is net.read.weight
    assert net.conv._parameters["weight"] is net.conv.weight and isinstance(net.conv.weight, nn.Parameter)


def test_what_does_not_learn_is_copied_once_and_again_when_it_is_changed() -> None:
    torch.manual_seed(0)
    net = Net()
    net.conv.requires_grad_(False)
    half, x = HalfWeights(net), torch.randn(5, 4, 9)
    casts: list[int] = []

    class Casts(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            casts[-1] += func is torch.ops.aten._to_copy.default or func is torch.ops.aten.copy_.default
            return func(*args, **(kwargs or {}))

    for step in range(4):
        if step == 3:
            with torch.no_grad():
                net.conv.weight += 1
        casts.append(0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            expected = net(x)
            with Casts():
                half.refresh()
                with half.used():
                    assert torch.equal(net(x), expected), step
    assert not half.of(net.conv.weight).requires_grad and half.of(net.linear.weight).requires_grad
    assert [count - casts[1] for count in casts] == [2, 0, 0, 1]  # a weight and a bias; the weight


def test_gradients_add_up_and_stay_apart() -> None:
    first, second, idle = (torch.ones(3, requires_grad=True) for _ in range(3))
    gradients = Gradients([first, second, idle])
    for _ in range(2):
        gradients.add(((first + second) * torch.tensor([1.0, 2.0, 3.0])).sum())
    assert first.grad is not None and second.grad is not None and idle.grad is None
    assert first.grad.tolist() == [2, 4, 6] and first.grad.data_ptr() != second.grad.data_ptr()
    gradients.clear()
    assert first.grad is None


@pytest.mark.parametrize(("precision", "compiled", "count"), [("32-true", False, 0), ("bf16-mixed", True, 0),
                                                              ("bf16-mixed", False, 1)])  # fmt: skip
def test_only_bf16_has_copies(precision: str, compiled: bool, count: int) -> None:
    net = Net()
    if compiled:
        net.compile()
    assert len(half_weights({"model": net}, precision)) == count
