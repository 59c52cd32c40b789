"""Systems that convert nothing, whose numbers are known beforehand: the ends of every scale, and what must be exposed.

As systems of a table (`metrics.baselines=[source,target]`) they show what each number is worth.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from revoice.audio.io import Audio
from revoice.errors import choices
from revoice.evaluation.conversions import Request, Vocode
from revoice.evaluation.pairs import Trial


@dataclass(frozen=True)
class Baseline:
    """A system of known worth.

    Attributes:
        explain: what it does.
        say: a request, and features and vocoder of a real system -> the "conversion".
        parallel: it needs the target's own recording of the sentence.
    """

    explain: str
    say: Callable[[Request, Vocode], Audio]
    parallel: bool = False

    def possible(self, trial: Trial) -> bool:
        """Whether it has anything to say."""
        return trial.true_target is not None or not self.parallel


def _target(request: Request, vocode: Vocode) -> Audio:
    assert request.truth is not None, "asked for where there is none"
    return request.truth


def _silence(request: Request, vocode: Vocode) -> Audio:
    return Audio(np.zeros(len(request.source.samples), np.float32), request.source.sample_rate)


def _noise(request: Request, vocode: Vocode) -> Audio:
    """White noise as loud as the source, the same for equal sources."""
    level = float(np.sqrt(np.mean(np.square(request.source.samples, dtype=np.float64))))
    draw = np.random.default_rng(len(request.source.samples))
    noise = level * draw.standard_normal(len(request.source.samples))
    return Audio(noise.astype(np.float32).clip(-1, 1), request.source.sample_rate)


def _reference(request: Request, vocode: Vocode) -> Audio:
    return request.references[0]


def _garbage(request: Request, vocode: Vocode) -> Audio:
    """The right voice, and nothing that was said: pieces of the reference of 0.12 s in an order of chance."""
    clip = request.references[0]
    size = max(1, round(0.12 * clip.sample_rate))
    pieces = [clip.samples[at : at + size] for at in range(0, len(clip.samples) - size + 1, size)] or [clip.samples]
    order = np.random.default_rng(len(clip.samples)).permutation(len(pieces))
    wanted = round(request.source.seconds * clip.sample_rate)
    joined = np.concatenate([pieces[i] for i in order])
    return Audio(np.resize(joined, max(wanted, 1)).astype(np.float32), clip.sample_rate)


BASELINES: Mapping[str, Baseline] = {
    "source": Baseline("the untouched source: the floor of similarity, perfect words", lambda r, vocode: r.source),
    "copy": Baseline("the source through features and vocoder", lambda r, vocode: vocode(r.source)),
    "target": Baseline("the target's own recording of the sentence: the ceiling", _target, parallel=True),
    "reference": Baseline("the clip that was given as the target's voice, whatever was to be said", _reference),
    "silence": Baseline("silence", _silence),
    "noise": Baseline("white noise as loud as the source", _noise),
    "garbage": Baseline("shuffled pieces of the reference: the right voice, saying nothing", _garbage),
}


def check_baselines(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, or a `UserError` that lists the known ones."""
    for name in names:
        if name not in BASELINES:
            raise choices(name, BASELINES, "baseline (metrics.baselines)")
    return names


def spoken(name: str, trials: Mapping[str, Sequence[Trial]]) -> dict[str, Sequence[Trial]]:
    """The groups of trials in which a baseline has something to say."""
    return {group: each for group, each in trials.items() if any(map(BASELINES[name].possible, each))}


def convert_by(name: str, vocode: Vocode) -> Callable[[list[Request]], Sequence[Audio]]:
    """What `evaluate.run` wants of a system; `vocode` is that of the system it stands beside."""
    say = BASELINES[name].say
    return lambda requests: [say(request, vocode) for request in requests]
