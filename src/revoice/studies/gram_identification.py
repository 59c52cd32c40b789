"""Who is speaking, by the nearest Gram matrix: do the textures that style transfer copies tell voices apart?

The experiment of mazzzystar/randomCNN-voice-transfer: features ln(1 + |STFT|) of a frozen random CNN, their Gram matrix
over time, and the voice of the nearest training clip by the mean squared difference of all entries. Published on VCTK:
45.6 % of 30 voices, 92.5 % of 4. Departures: recordings are sorted before the first ones of a voice are taken (there:
after), voices without enough of them are passed over, and the seeds of the networks are known. No Gram matrix is formed
at its full size, see `gram_gallery`.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from revoice.audio.features import extract
from revoice.audio.io import AudioError, is_silent, read_audio
from revoice.audio.spec import FeatureSpec
from revoice.data.corpora.manifest import Manifest, Row
from revoice.data.prepare.progress import Progress
from revoice.errors import UserError
from revoice.studies.gram_gallery import SAMPLE, Exact, Gallery, Projected, product
from revoice.studies.gram_protocol import WEIGHTS, Cast, GramProtocol, Guess, Identification, Outcome

log = logging.getLogger(__name__)


def identify_speakers(
    manifest: Manifest,
    protocol: GramProtocol,
    spec: FeatureSpec,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> Identification:
    """Run the experiment, one network after the other; recordings are read anew for each, never kept.

    Args:
        manifest: of the corpus; its splits do not matter.
        protocol: what is compared with what.
        spec: of the spectrograms (published: "log1p_22k").
        seed: of the first network, unless the protocol lists seeds.
        device: of the features.
        progress: whether a bar is shown.

    Raises:
        UserError: the corpus has too few voices with enough usable recordings; the message says what would fit.
    """
    began = time.perf_counter()
    for kernel in protocol.kernels:
        if protocol.field(kernel)[0] > spec.channels:
            raise UserError(
                f"evaluation.kernels={kernel} with evaluation.layers={protocol.layers} sees "
                f"{protocol.field(kernel)[0]} rows, a spectrogram has {spec.channels}"
            )
    _require(Counter(row.speaker for row in manifest), protocol, manifest.corpus)
    outcomes = [Outcome(variant) for variant in protocol.variants()]
    axes: dict[str, int] = {}
    left_out = 0.0
    passes = 1 + len(protocol.kernels) * len(protocol.seeds_from(seed))
    with Progress("identifying speakers", passes * protocol.speakers * protocol.utterances, progress) as bar:
        cast = choose(manifest, protocol, spec, bar)
        reader = _Reader(manifest, protocol, spec, device, bar)
        for kernel in protocol.kernels:
            for number in protocol.seeds_from(seed):
                network = protocol.network(kernel, number, device)
                gallery: Gallery = Exact(network)
                if protocol.precision > 0.0:
                    gallery = Projected(network, cast.windows.to(device), protocol.precision)
                    axes.setdefault(kernel, gallery.axes)
                ways = [outcome for outcome in outcomes if outcome.variant.kernel == kernel]
                left_out = max(left_out, _identify(gallery, cast, reader, ways, number))
    return Identification(
        manifest=manifest, protocol=protocol, spec=spec, cast=cast, outcomes=outcomes, axes=axes, left_out=left_out,
        seconds=time.perf_counter() - began,
    )  # fmt: skip


def choose(manifest: Manifest, protocol: GramProtocol, spec: FeatureSpec, bar: Progress | None = None) -> Cast:
    """The recordings that are compared: those that can be read, each replaced by the voice's next one if it cannot."""
    counts = Counter(row.speaker for row in manifest)
    known, asked, windows, unusable = list[Row](), list[Row](), list[Tensor](), dict[str, str]()
    total = protocol.speakers * protocol.train
    each, every = math.ceil(SAMPLE / total), math.ceil(total / SAMPLE)
    wide = max(protocol.field(kernel)[1] for kernel in protocol.kernels)
    for speaker in manifest.speakers:
        if counts[speaker] < protocol.utterances:
            continue
        rows, found = list[Row](), list[Tensor]()
        for row in (row for row in manifest if row.speaker == speaker):
            try:
                clip = spectrogram(manifest.file(row), spec, protocol.seconds, wide)
            except UserError as error:
                log.warning("passed over: %s", error)
                unusable[row.path] = str(error)
                counts[speaker] -= 1
                continue
            if len(rows) < protocol.train and (len(known) + len(rows)) % every == 0:
                found.append(_windows(clip, each, wide))
            rows.append(row)
            if len(rows) == protocol.utterances:
                break
        if len(rows) < protocol.utterances:
            _require(counts, protocol, manifest.corpus)
            continue
        known += rows[: protocol.train]
        asked += rows[protocol.train :]
        windows += found
        if bar:
            bar.advance(len(rows), 0.0)
        if len(known) == total:
            break
    return Cast(known, asked, torch.cat(windows, dim=1), unusable)


def spectrogram(file: Path, spec: FeatureSpec, seconds: float | None = None, least: int = 1) -> Tensor:
    """Features (F, T) of a recording or its beginning, of at least so many frames.

    Raises:
        UserError: it cannot be read, is silent or too short.
    """
    audio = read_audio(file, spec.sample_rate, seconds=seconds)
    if is_silent(audio.samples):
        raise AudioError(f"{file}: is silent")
    if spec.frames(len(audio.samples)) < least:
        raise AudioError(f"{file}: is too short")
    return extract(audio.samples, spec)


class _Reader:
    """Spectrograms of rows, on a device."""

    def __init__(
        self, manifest: Manifest, protocol: GramProtocol, spec: FeatureSpec, device: torch.device | str, bar: Progress
    ) -> None:
        self.manifest, self.protocol, self.spec, self.device, self.bar = manifest, protocol, spec, device, bar

    def __call__(self, row: Row) -> Tensor:
        clip = spectrogram(self.manifest.file(row), self.spec, self.protocol.seconds).to(self.device)
        self.bar.advance(1, clip.shape[1] * self.spec.hop / self.spec.sample_rate)
        return clip


def _identify(gallery: Gallery, cast: Cast, read: _Reader, outcomes: list[Outcome], seed: int) -> float:
    """Add the guesses of one network to the outcomes; returns the largest share that projection left out."""
    energies, weights = [], {name: list[float]() for name in WEIGHTS}
    for row in cast.known:
        clip = read(row)
        energies.append(gallery.add(clip))
        for name, weight in WEIGHTS.items():
            weights[name].append(weight(clip))
    known = torch.tensor(energies, dtype=torch.float64)
    scales = {name: torch.tensor(values, dtype=torch.float64) for name, values in weights.items()}
    left_out, met = 0.0, set[str]()
    for row in cast.asked:
        clip = read(row)
        products = gallery.compare(clip)
        if isinstance(gallery, Projected) and row.speaker not in met:
            met.add(row.speaker)
            lost = 1.0 - products.own / max(product(gallery.network, clip, clip), 1e-300)
            left_out = max(left_out, math.sqrt(max(lost, 0.0)))
        for outcome in outcomes:
            way = outcome.variant
            own, others = WEIGHTS[way.normalize](clip), scales[way.normalize]
            distances = own**2 * products.own + others**2 * known - 2.0 * own * others * products.others
            best = int(distances.argmin())
            distance, nearest = float(distances[best].clamp(min=0.0)), cast.known[best]
            answer = "" if way.cap is not None and distance >= way.cap else nearest.speaker
            outcome.guesses.append(Guess(seed, row, nearest, distance, answer))
    return left_out


def _windows(clip: Tensor, count: int, wide: int) -> Tensor:
    """(F, n, wide) of a clip (F, T): at most `count` groups of neighboring frames, evenly spread."""
    firsts = torch.linspace(0, clip.shape[1] - wide, count).round().long().unique()
    return clip[:, firsts[:, None] + torch.arange(wide)]


def _require(counts: Mapping[str, int], protocol: GramProtocol, corpus: str) -> None:
    """A `UserError` unless enough voices have enough recordings; it names the largest protocol that would fit."""
    utterances, speakers = protocol.utterances, protocol.speakers
    enough = sum(count >= utterances for count in counts.values())
    if enough >= speakers:
        return
    problem = (
        f"{corpus}: {enough} voices have {utterances} usable recordings or more, "
        f"evaluation.speakers={speakers} asks for more"
    )
    sizes = sorted({min(count, utterances) for count in counts.values() if count > 1})
    fitting = [(min(speakers, sum(c >= size for c in counts.values())), size) for size in sizes]
    fitting = [(voices, size) for voices, size in fitting if voices > 1]
    if not fitting:
        raise UserError(f"{problem}; no two voices have two: take another corpus, data=NAME")
    voices, size = max(fitting, key=lambda pair: (pair[0] * pair[1], pair[0]))
    train = min(max(1, round(size * protocol.train / utterances)), size - 1)
    raise UserError(
        f"{problem}; type evaluation.speakers={voices} evaluation.utterances={size} evaluation.train={train}"
    )
