"""Random-CNN style transfer against the published form: time per iteration, and time to the published loss.

    python benchmarks/random_cnn.py [--seconds 1.4 2] [--seeds 10] [--content a.wav --style b.wav]

The published form makes both Gram matrices (8160 x 8160) in every one of 20,000 steps of Adam; what a step costs is
measured over a few of them. The loss that it ends with was found once for each seed by
`benchmarks/random_cnn_reference.py` and lies in random_cnn_reference.json. Ours is `model=random_cnn` with published
weights and durations; its time counts everything from the two spectrograms on, until the exact loss is within 1 % of
the reference.
"""

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from revoice.audio.features import extract
from revoice.audio.io import read_audio
from revoice.audio.presets import load_preset
from revoice.data.corpora.espeak.make import Recipe, make_corpus
from revoice.models.random_cnn.features import RandomFeatures
from revoice.models.random_cnn.search import Objective, Search, minimize, observe
from revoice.nn.gram import plain_distance

SPEC = load_preset("log1p_22k")
STEPS, CONTENT, STYLE = 20_000, 100.0, 1.0  # as published
PRECISION = 1e-5  # our default
REFERENCE = Path(__file__).with_name("random_cnn_reference.json")


def clips(options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Waveforms of content and style: as given, or two voices of the embedded corpus that say different sentences."""
    with tempfile.TemporaryDirectory() as folder:
        files = [options.content, options.style]
        if not options.content:
            make_corpus(Path(folder) / "corpus", Recipe(sentences=4, test_sentences=2, max_voices=8))
            files = sorted(Path(folder).rglob("*.flac"))
        first, last = (torch.from_numpy(read_audio(file, SPEC.sample_rate).samples) for file in (files[0], files[-1]))
    return first, last


def middle(waveform: Tensor, seconds: float) -> Tensor:
    """So many seconds of the middle of a clip."""
    size = round(seconds * SPEC.sample_rate)
    if len(waveform) < size:
        raise SystemExit(f"a clip of {len(waveform) / SPEC.sample_rate:.1f} s is too short for --seconds {seconds}")
    start = (len(waveform) - size) // 2
    return waveform[start : start + size]


def noise(content: Tensor, seed: int) -> Tensor:
    """What the published search starts from."""
    return 1e-3 * torch.randn(content.shape, generator=torch.Generator().manual_seed(seed))


def exact(network: RandomFeatures, content: Tensor, style: Tensor) -> Objective:
    """The published loss in its cheap form."""
    return Objective(network, content, observe(network, [style], precision=0.0))


def total(objective: Objective, image: Tensor) -> float:
    """The published loss of an image."""
    with torch.no_grad():
        content, style = objective(image)
    return float(CONTENT * content + STYLE * style)


def search(iterations: int) -> Search:
    """L-BFGS on the published loss."""
    return Search(
        content_weight=CONTENT, style_weight=STYLE, optimizer="lbfgs", rate=1e-3, iterations=iterations, stop=0.0
    )


def plain_step(network: RandomFeatures, content: Tensor, style: Tensor, steps: int = 3) -> float:
    """Seconds of one step as published, the best of a few."""
    image = noise(content, 0).requires_grad_(True)
    adam = torch.optim.Adam([image], lr=1e-3)
    kept = network(content)[0]
    channels, size, best = len(kept), kept[0].numel(), float("inf")
    for _ in range(steps):
        began = time.perf_counter()
        own, other = network(image)[0], network(style)[0].flatten(0, 1)
        loss = CONTENT * (own - kept).square().sum() / (4 * channels * size)
        loss = loss + STYLE * plain_distance(own.flatten(0, 1), other @ other.T) / (4 * channels**2 * size)
        adam.zero_grad()
        loss.backward()
        adam.step()
        best = min(best, time.perf_counter() - began)
    return best


def our_step(objective: Objective, content: Tensor, steps: int = 20) -> float:
    """Seconds of one evaluation of loss and gradient, the best of some."""
    image, best = noise(content, 0).requires_grad_(True), float("inf")
    for _ in range(steps):
        began = time.perf_counter()
        image.grad = None
        losses = objective(image)
        (CONTENT * losses[0] + STYLE * losses[1]).backward()
        best = min(best, time.perf_counter() - began)
    return best


def time_to(
    goal: float, network: RandomFeatures, content: Tensor, style: Tensor, seed: int
) -> tuple[float, int, float]:
    """Seconds until the exact loss is at most the goal, iterations, and that loss: of the shortest search that does."""
    judge = exact(network, content, style)
    for iterations in range(10, 1000, 10):
        began = time.perf_counter()
        objective = Objective(network, content, observe(network, [style], PRECISION))
        image = minimize(objective, noise(content, seed), search(iterations))
        spent = time.perf_counter() - began
        if (found := total(judge, image)) <= goal:
            return spent, iterations, found
    raise SystemExit(f"seed {seed}: {found:.5f} after {iterations} iterations, not within 1 % of the reference")


def pairs(options: argparse.Namespace) -> Iterator[tuple[float, str, Tensor, Tensor]]:
    """(seconds, key, content, style) of each duration."""
    first, last = clips(options)
    for seconds in options.seconds:
        cuts = [middle(first, seconds), middle(last, seconds)]
        content, style = (extract(cut, SPEC) for cut in cuts)
        digest = hashlib.sha256((torch.cat(cuts) * 32767).short().numpy().tobytes()).hexdigest()[:12]
        yield seconds, f"{seconds:g} s {digest}", content, style


def compare(seconds: float, content: Tensor, style: Tensor, published: dict[str, float], seeds: int) -> None:
    """Print both ratios for one pair of clips, given the losses of the published search by seed."""
    network = RandomFeatures.draw(0)
    plain = plain_step(network, content, style)
    print(f"{seconds:g} s, {content.shape[1]} frames; an iteration as published: {plain:.3f} s")
    for precision in (0.0, PRECISION):
        objective = Objective(network, content, observe(network, [style], precision))
        ours = our_step(objective, content)
        print(f"  an iteration at precision {precision:g}: {ours:.4f} s, {plain / ours:.0f}x")
    ratios = []
    for seed in [seed for seed in range(seeds) if str(seed) in published]:
        loss = published[str(seed)]
        spent, iterations, found = time_to(1.01 * loss, RandomFeatures.draw(seed), content, style, seed)
        ratios.append(plain * STEPS / spent)
        print(f"  seed {seed}: published {loss:.4f}; {found:.4f} in {spent:.2f} s, {iterations} iterations: "
              f"{ratios[-1]:.0f}x")  # fmt: skip
    if ratios:
        low, high = min(ratios), max(ratios)
        print(
            f"  to within 1 %, {len(ratios)} seeds: {low:.0f}x to {high:.0f}x, median {statistics.median(ratios):.0f}x"
        )
    else:
        print("  no reference for these clips yet: python benchmarks/random_cnn_reference.py, hours")


def known() -> dict[str, dict[str, float]]:
    """The table of references: losses by seed, by clips."""
    return json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.4, 2.0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--content", type=Path)
    parser.add_argument("--style", type=Path)
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads; the published search: {STEPS} steps of Adam")
    for seconds, key, content, style in pairs(options):
        compare(seconds, content, style, known().get(key, {}), options.seeds)


if __name__ == "__main__":
    main()
