import pytest
import torch
from torch.nn.functional import conv2d, leaky_relu

from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.models.base import Progress
from revoice.models.random_cnn import model as random_cnn
from revoice.models.random_cnn.features import RandomFeatures, principal
from revoice.models.random_cnn.model import RandomCNN, TransferControls
from revoice.models.random_cnn.search import Objective, Search, minimize, observe

ROWS = 33


def spectrogram(frames: int, seed: int) -> torch.Tensor:
    """Tilted, smooth and not negative, like speech."""
    noise = torch.rand(ROWS, frames + 8, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool1d(noise, 9, 1)
    return (smooth - 0.4).clamp(min=0.0) * torch.linspace(6.0, 0.5, ROWS)[:, None]


def convert(frames: int = 40, style: int = 50, model: RandomCNN | None = None, **controls: object) -> torch.Tensor:
    source = Batch.of_clip(spectrogram(frames, 0))
    targets = [Batch.of_clip(spectrogram(style, 1))]
    settings = TransferControls(**{"iterations": 30, **controls})  # type: ignore[arg-type]
    return (model or RandomCNN(ROWS)).convert(source, targets, settings)[0]


def losses(image: torch.Tensor, style: int = 50, seed: int = 1) -> tuple[float, float]:
    """What the default network sees, unweighted, of equal energies."""
    network = RandomCNN(ROWS).network(0)
    content, texture = spectrogram(image.shape[1], 0), spectrogram(style, seed)
    gain = float(content.square().sum() / texture.square().sum())
    found = Objective(network, content, observe(network, [texture], 0.0), gain)(image)
    return float(found[0]), float(found[1])


@pytest.mark.parametrize(("kernel", "layers"), [((3, 1), 1), ((3, 3), 1), ((3, 3), 3), ((5, 2), 2)])
def test_features_are_convolutions_and_leaky_relus(kernel: tuple[int, int], layers: int) -> None:
    network = RandomFeatures.draw(3, channels=4, kernel=kernel, layers=layers)
    values, image = spectrogram(20, 0)[None, None], spectrogram(20, 0)
    for weight, found in zip(network.weights, network(image), strict=True):
        values = leaky_relu(conv2d(values, weight), 0.2)
        torch.testing.assert_close(found, values[0])
    assert network.field == (ROWS - found.shape[1] + 1, 20 - found.shape[2] + 1)


def test_weights_are_those_of_the_seed() -> None:
    first, same, other = (RandomFeatures.draw(seed, layers=2).weights for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not torch.equal(first[0], other[0])
    assert abs(float(RandomFeatures.draw(0, channels=1000).weights[0].std()) - 1.0) < 0.05


def test_deeper_layers_keep_the_level() -> None:
    found = RandomFeatures.draw(0, channels=64, kernel=(3, 3), layers=5)(torch.randn(60, 60))
    levels = [float(f.square().mean().sqrt()) for f in found]
    assert 0.5 < levels[-1] / levels[0] < 2.0


def test_a_style_is_the_same_in_blocks_and_in_several_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [spectrogram(90, 1), spectrogram(41, 2), spectrogram(2, 3)]
    for kernel, layers in (((3, 1), 1), ((3, 3), 2)):
        network = RandomFeatures.draw(0, channels=3, kernel=kernel, layers=layers)
        expected = [torch.zeros(())] * layers
        for clip in clips:
            for layer, found in enumerate(network(clip) if clip.shape[1] >= network.field[1] else []):
                rows = found.flatten(0, 1)
                expected[layer] = expected[layer] + rows @ rows.T
        for block in (512, 16):
            monkeypatch.setattr("revoice.models.random_cnn.search.BLOCK", block)
            for factor, gram in zip(observe(network, clips, 0.0).factors, expected, strict=True):
                torch.testing.assert_close(factor @ factor.T, gram, rtol=1e-4, atol=1e-2)


def test_left_out_channels_hardly_change_the_losses() -> None:
    network, content, style, image = RandomFeatures.draw(0), *(spectrogram(40, seed) for seed in range(3))
    exact = Objective(network, content, observe(network, [style], 0.0))
    for precision in (1e-5, 1e-4):
        seen = observe(network, [style], precision)
        assert seen.axes[0] is not None and len(seen.axes[0]) < 25
        for close, right in zip(Objective(network, content, seen)(image), exact(image), strict=True):
            assert abs(float(close / right) - 1.0) < 0.01


def test_principal_axes_carry_the_energy() -> None:
    spread = torch.diag(torch.tensor([1.0, 1e-1, 1e-3, 1e-6], dtype=torch.float64))
    axes = principal(spread, 1e-2)
    assert axes is not None and axes.shape == (2, 4)
    assert principal(spread, 0.0) is None
    assert principal(torch.eye(3, dtype=torch.float64), 1e-2) is None


@pytest.mark.slow
def test_lbfgs_gets_at_least_as_far_as_the_published_search() -> None:
    network, content = RandomFeatures.draw(0), spectrogram(40, 0)
    objective = Objective(network, content, observe(network, [spectrogram(50, 1)], 0.0))
    start = 1e-3 * torch.randn(content.shape, generator=torch.Generator().manual_seed(0))
    weights = {"content_weight": 100.0, "style_weight": 1.0, "stop": 0.0, "rate": 1e-3}
    losses = {}
    for optimizer, iterations in (("adam", 4000), ("lbfgs", 100)):
        image = minimize(objective, start, Search(**weights, optimizer=optimizer, iterations=iterations))  # type: ignore[arg-type]
        content_loss, style_loss = objective(image)
        losses[optimizer] = float(100 * content_loss + style_loss)
    assert losses["lbfgs"] < 1.01 * losses["adam"]


def test_a_conversion_lowers_the_loss_and_is_reproducible() -> None:
    made, again, other = convert(), convert(), convert(seed=1)
    assert made.shape == (ROWS, 40) and float(made.min()) >= 0.0
    assert torch.equal(made, again) and not torch.allclose(made, other)
    assert losses(made)[1] < 0.2 * losses(spectrogram(40, 0))[1] and losses(made)[0] < losses(0 * made)[0]


@pytest.mark.parametrize(
    "controls",
    [
        {"optimizer": "adam", "rate": 0.05}, {"start": "noise"}, {"start": "style"}, {"normalize": "nothing"},
        {"normalize": "duration"}, {"stop": 0.99}, {"content_weight": 1.0}, {"style_weight": 0.01}, {"seed": 1},
    ],
)  # fmt: skip
def test_every_control_does_something(controls: dict[str, object]) -> None:
    made = convert(**controls)
    assert bool(torch.isfinite(made).all()) and float(made.max()) > 0.1
    assert float((made - convert()).norm()) > 1e-3 * float(made.norm())


def test_weights_trade_content_for_style() -> None:
    light, heavy = (losses(convert(content_weight=weight)) for weight in (1.0, 10000.0))
    assert heavy[0] < 0.5 * light[0] and light[1] < 0.5 * heavy[1]


def test_precision_leaves_something_out() -> None:
    exact, close = (convert(precision=precision, iterations=5) for precision in (0.0, 1e-2))
    assert not torch.equal(exact, close)
    assert float((exact - close).norm()) < 0.2 * float(exact.norm())


def test_all_style_clips_count_and_a_style_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr(random_cnn, "observe", lambda *given: looked.append(1) or observe(*given))
    model, source = RandomCNN(ROWS), Batch.of_clip(spectrogram(40, 0))
    clips = [Batch.of_clip(spectrogram(50, seed)) for seed in (1, 2)]
    controls = TransferControls(iterations=20)
    both, first = model.convert(source, clips, controls), model.convert(source, clips[:1], controls)
    assert not torch.allclose(both, first)
    assert torch.equal(model.convert(source, clips[:1], controls), first) and len(looked) == 2
    model.convert(source, clips[:1], TransferControls(iterations=2, seed=5))
    assert len(looked) == 3


@pytest.mark.parametrize("quiet", [1.0, 0.1])
def test_pauses_and_loudness_of_the_style_do_not_matter(quiet: float) -> None:
    source, style = Batch.of_clip(spectrogram(40, 0)), spectrogram(50, 1)
    paused = torch.cat([style, torch.zeros(ROWS, 300)], dim=1) * quiet
    plain, other = (
        RandomCNN(ROWS).convert(source, [Batch.of_clip(f)], TransferControls(iterations=60)) for f in (style, paused)
    )
    assert float((plain - other).norm()) < 0.15 * float(plain.norm())


def test_the_balance_does_not_depend_on_the_duration() -> None:
    content = spectrogram(60, 0)
    found = []
    for times in (1, 4):
        source = Batch.of_clip(content.repeat(1, times))
        made = RandomCNN(ROWS).convert(source, [Batch.of_clip(spectrogram(50, 1))], TransferControls(iterations=80))
        found.append(float((made - source.features).norm() / source.features.norm()))
    assert found[1] == pytest.approx(found[0], rel=0.1)


def test_an_exploding_search_is_told() -> None:
    with pytest.raises(UserError, match="rate=1e\\+30 is too high"):
        convert(optimizer="adam", rate=1e30)


def test_inference_mode_is_no_obstacle() -> None:
    with torch.inference_mode():
        assert torch.equal(convert(iterations=3), convert(iterations=3))


@pytest.mark.parametrize("settings", [{"kernel": "3x3"}, {"layers": 2, "channels": 6}, {"channels": 1}, {"slope": 0.0}])
def test_every_network_works(settings: dict[str, object]) -> None:
    made = convert(model=RandomCNN(ROWS, **settings))  # type: ignore[arg-type]
    assert made.shape == (ROWS, 40) and bool(torch.isfinite(made).all())


def test_it_ends_when_the_loss_no_longer_falls() -> None:
    steps: dict[float, list[Progress]] = {}
    for stop in (0.0, 1e-2):
        model = RandomCNN(ROWS)
        model.watch = steps.setdefault(stop, []).append
        convert(model=model, stop=stop, iterations=200)
    assert steps[0.0][-1].iteration == 200 and steps[1e-2][-1].iteration < 100
    last, best = (100 * s["content"] + s["style"] for s in (steps[1e-2][-1].losses, steps[0.0][-1].losses))
    assert last < 1.1 * best


def test_adam_is_not_stopped_while_it_begins() -> None:
    """Ten of its steps change next to nothing of a loud spectrogram."""
    model, steps = RandomCNN(ROWS), []
    model.watch = steps.append
    convert(model=model, optimizer="adam", start="noise", iterations=60)
    assert steps[-1].iteration == 60
    found = [TransferControls(), TransferControls(optimizer="adam"), TransferControls(optimizer="adam", stop=1e-4)]
    assert [(one.iterations, one.stop) for one in found] == [(300, 3e-3), (20000, 0.0), (20000, 1e-4)]


def test_a_perfect_start_ends_at_once() -> None:
    model, seen = RandomCNN(ROWS), []
    model.watch = seen.append
    content = Batch.of_clip(spectrogram(40, 0))
    model.convert(content, [content], TransferControls(precision=0.0, iterations=300, style_weight=0.0))
    assert len(seen) <= 2


def test_long_clips_are_done_in_windows_that_meet() -> None:
    model, seen = RandomCNN(ROWS), []
    model.watch = seen.append
    made = convert(200, 60, model, window=48)
    assert {step.parts for step in seen} == {5} and {step.part for step in seen} == set(range(5))
    whole = convert(200, 60, window=400)
    assert made.shape == whole.shape == (ROWS, 200)
    jumps = (made[:, 1:] - made[:, :-1]).square().mean(0)
    assert float(jumps.max()) < 4 * float((whole[:, 1:] - whole[:, :-1]).square().mean(0).max())


@pytest.mark.parametrize("floor", [0.0, 1e-3])
def test_a_quiet_window_takes_no_texture(floor: float) -> None:
    content = torch.cat([floor * torch.rand(ROWS, 100), spectrogram(100, 0)], dim=1)
    settings = TransferControls(iterations=30, window=64, start="noise")
    made = RandomCNN(ROWS).convert(Batch.of_clip(content), [Batch.of_clip(spectrogram(50, 1))], settings)[0]
    assert float(made[:, :40].square().mean()) < 1e-3 * float(made[:, 120:].square().mean())


def test_clips_shorter_than_the_kernel() -> None:
    assert convert(1, 1, RandomCNN(ROWS, kernel="3x3")).shape == (ROWS, 1)


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({"optimizer": "lbgfs"}, "did you mean 'lbfgs'"), ({"start": "x"}, "content"), ({"phase": "x"}, "random"),
        ({"normalize": "x"}, "duration"), ({"iterations": 0}, "iterations=0"), ({"window": 1}, "window=1"),
        ({"precision": 1.0}, "precision=1.0"), ({"seed": 2**64}, "seed="),
        ({"content_weight": float("nan")}, "content_weight"),
         ({"rate": 0.0}, "rate=0.0"), ({"style_weight": -1.0}, "style_weight"),
    ],
)  # fmt: skip
def test_mistakes_in_controls(controls: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        TransferControls(**controls)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"kernel": 3}, "3x1 or 3x3"), ({"kernel": "0x1"}, "0x1"), ({"channels": 0}, "channels=0"),
     ({"layers": 9}, "layers=9"), ({"slope": float("nan")}, "slope=nan"), ({"slope": 1e12}, "slope"),
     ({"kernel": "9x1", "layers": 5}, "41 rows")],
)  # fmt: skip
def test_mistakes_in_settings(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        RandomCNN(ROWS, **settings)  # type: ignore[arg-type]
