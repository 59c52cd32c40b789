import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from revoice.errors import UserError
from revoice.nn.draws import Draws
from revoice.nn.quantizer import Quantizer, QuantizerSize, jitter, kmeans


def made(**settings: object) -> Quantizer:
    torch.manual_seed(0)
    return Quantizer(
        QuantizerSize(**{"codebook_size": 8, "dim": 4, "init": "normal", "restart": 0.0, **settings})
    ).train()


def draws(iteration: int = 0, count: int = 3) -> Draws:
    return Draws(0, iteration, 0, count, count)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_every_vector_gets_the_nearest_code(metric: str) -> None:
    quantizer, z = made(metric=metric), torch.randn(3, 4, 10)
    out = quantizer(z)
    book = quantizer.codebook
    vectors = z.transpose(1, 2)
    if metric == "cosine":
        book, vectors = (torch.nn.functional.normalize(x, dim=-1) for x in (book, vectors))
        torch.testing.assert_close(out.values.norm(dim=1), torch.ones(3, 10))
    assert torch.equal(out.codes, torch.cdist(vectors, book.expand(3, -1, -1)).argmin(-1))
    torch.testing.assert_close(out.values, book[out.codes].transpose(1, 2))


def test_the_gradient_passes_straight_through_and_commitment_pulls() -> None:
    quantizer, z = made(), torch.randn(2, 4, 6, requires_grad=True)
    out = quantizer(z)
    weights = torch.randn(2, 4, 6)
    (out.values * weights).sum().backward()
    torch.testing.assert_close(z.grad, weights)
    z.grad = None
    quantizer(z).commitment.backward()
    expected = 2 * (z.detach() - quantizer(z).values.detach()) / z.numel()
    torch.testing.assert_close(z.grad, expected)


def test_codes_that_learn_by_loss_get_its_gradient_and_moving_averages_none() -> None:
    z = torch.randn(2, 4, 6)
    by_loss = made(learn="loss")
    by_loss(z).codebook.backward()
    assert by_loss.codebook.grad is not None and by_loss.codebook.grad.abs().sum() > 0
    assert not made(learn="ema")(z).codebook.requires_grad


def test_moving_averages_follow_the_published_formula() -> None:
    quantizer, z = made(decay=0.9, eps=1e-3), torch.randn(3, 4, 10)
    book, counts, sums = (x.clone() for x in (quantizer.codebook, quantizer.counts, quantizer.sums))
    codes = quantizer(z, draws()).codes
    flat, chosen = z.transpose(1, 2).reshape(-1, 4), codes.flatten()
    for k in range(8):
        mine = flat[chosen == k]
        counts[k] = 0.9 * counts[k] + 0.1 * len(mine)
        sums[k] = 0.9 * sums[k] + 0.1 * mine.sum(0)
    n = counts.sum()
    smoothed = (counts + 1e-3) / (n + 8 * 1e-3) * n
    torch.testing.assert_close(quantizer.codebook, sums / smoothed[:, None])
    assert not torch.equal(quantizer.codebook, book)


def test_nothing_is_learned_without_draws_or_in_evaluation() -> None:
    for quantizer, given_draws in ((made(), None), (made().eval(), draws())):
        before = {name: value.clone() for name, value in quantizer.state_dict().items()}
        quantizer(torch.randn(3, 4, 10), given_draws)
        assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())


@pytest.mark.parametrize("learn", ["ema", "loss"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_dead_codes_come_back(learn: str, metric: str) -> None:
    """One code takes all vectors; with restarts the others are put where vectors are."""
    generator = torch.Generator().manual_seed(1)
    used = {}
    for restart in (0.0, 0.2):
        quantizer = made(restart=restart, decay=0.5, learn=learn, metric=metric)
        with torch.no_grad():
            quantizer.codebook.copy_(torch.full((8, 4), -50.0))
            quantizer.codebook[0] = 5.0
            quantizer.sums.copy_(quantizer.codebook)
        for step in range(8):
            z = torch.randn(3, 4, 40, generator=generator) + 5.0
            out = quantizer(z, draws(step))
            if learn == "loss":
                out.codebook.backward()  # a restart must not break the graph
        used[restart] = len(out.codes.unique())
    assert used[0.2] == 8 > used[0.0]


def test_kmeans_start_finds_separate_clusters_once() -> None:
    centers = 10 * torch.randn(8, 4, generator=torch.Generator().manual_seed(3))
    z = centers.repeat(12, 1) + 0.01 * torch.randn(96, 4)
    quantizer = made(init="kmeans")
    out = quantizer(z.T[None], draws(count=1))
    assert bool(quantizer.started) and float(out.commitment) < 20.0
    before = quantizer.codebook.clone()
    quantizer(torch.randn(1, 4, 50), None)
    assert torch.equal(before, quantizer.codebook)


def test_kmeans_with_fewer_vectors_than_centers() -> None:
    found = kmeans(torch.randn(3, 4), 8, torch.randperm(3))
    assert found.shape == (8, 4) and torch.isfinite(found).all()


def test_perplexity_counts_equally_used_codes() -> None:
    quantizer = made()
    z = quantizer.codebook[:4].repeat(5, 1).T[None]
    assert float(quantizer(z).perplexity) == pytest.approx(4.0, rel=1e-4)


@settings(max_examples=30, deadline=None)
@given(frames=st.integers(1, 40), chance=st.floats(0.05, 0.95), seed=st.integers(0, 100))
def test_jitter_takes_neighbors_only(frames: int, chance: float, seed: int) -> None:
    codes = torch.arange(frames).expand(4, -1)
    moved = jitter(codes, chance, Draws(seed, 0, 0, 4, 4))
    assert int((moved - codes).abs().max()) <= 1 and 0 <= int(moved.min()) <= int(moved.max()) < frames


def test_jitter_is_as_frequent_as_asked() -> None:
    codes = torch.arange(2000).expand(4, -1)
    moved = jitter(codes, 0.5, draws(count=4)) - codes
    shares = [float((moved == step).float().mean()) for step in (-1, 0, 1)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"learn": "gradient"}, "learn"),
        ({"init": "k-means"}, "kmeans"),
        ({"decay": 1.0}, "decay"),
        ({"dim": 0}, "dim"),
        ({"eps": 0.0}, "eps"),
    ],  # fmt: skip
)
def test_wrong_settings_are_one_line(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        QuantizerSize(**wrong)


@pytest.mark.parametrize("settings", [{}, {"metric": "cosine"}, {"init": "kmeans", "restart": 0.1}, {"jitter": 0.5}])
def test_groups_are_quantizers_of_the_parts_of_a_vector(settings: dict[str, object]) -> None:
    """Values, gradients and what is learned equal those of one quantizer for each part."""
    together = made(dim=6, groups=3, **settings)
    alone = [made(dim=2, **settings) for _ in range(3)]
    for name in ("codebook", "counts", "sums"):
        for part, own in zip(alone, getattr(together, name).chunk(3), strict=True):
            getattr(part, name).copy_(own)
    for iteration in range(3):
        z = torch.randn(3, 6, 20)
        out, parts = (
            together(z, draws(iteration)),
            [p(z[:, 2 * i : 2 * i + 2], draws(iteration)) for i, p in enumerate(alone)],
        )
        assert torch.equal(out.codes, torch.stack([part.codes for part in parts], dim=-1))
        torch.testing.assert_close(out.values, torch.cat([part.values for part in parts], dim=1))
        torch.testing.assert_close(out.commitment, torch.stack([part.commitment for part in parts]).mean())
        for name in ("codebook", "counts", "sums"):
            torch.testing.assert_close(getattr(together, name), torch.cat([getattr(part, name) for part in alone]))


def test_the_gradient_passes_through_groups_to_their_places() -> None:
    quantizer, z, weights = made(dim=6, groups=3), torch.randn(2, 6, 5, requires_grad=True), torch.randn(2, 6, 5)
    (quantizer(z).values * weights).sum().backward()
    torch.testing.assert_close(z.grad, weights)


def test_groups_that_do_not_divide_the_width_are_one_line() -> None:
    with pytest.raises(UserError, match=r"groups=3.*dim=4"):
        made(groups=3)
