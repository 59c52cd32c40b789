"""A critic in a run: what it learns, and what it asks of the part that it judges."""

import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from revoice.critics.base import CRITICS, Critic
from revoice.errors import UserError
from revoice.nn.adversarial import critic_loss, feature_matching, generator_loss, gradient_penalty, r1_penalty
from revoice.nn.draws import Draws
from revoice.settings import Flag, Word, checked, settings
from revoice.trainable import MODEL, Play

OWN = ("critic", "penalty", "r1")  # what a critic can learn by
THRESHOLD = {"lsgan": 0.5, "hinge": 0.0}  # scores above it say "real"; where Wasserstein's lie means nothing
THRESHOLD["logistic"] = 0.0


@settings
class Judging:
    """How a critic takes part, beside the settings of its network.

    Attributes:
        kind: of adversarial loss.
        of: the part of the model that it judges.
        given: whether it looks at the condition, too.
    """

    kind: Literal["lsgan", "hinge", "wasserstein", "logistic"] = "lsgan"
    of: Word = MODEL
    given: Flag = False


def check_critic(values: Any, what: str) -> Judging:
    """How the critic in `{name, kind, of, given, setting: ...}` judges; refuses what cannot be built."""
    name, given = CRITICS.named(values, what)
    judging = _judging(given, what)
    CRITICS.check(name, given, what)
    if judging.given and not CRITICS.get(name).conditional:
        raise UserError(f"{what}.given=true: critic {name} judges without a condition: leave it out")
    return judging


def _judging(given: dict[str, Any], what: str) -> Judging:
    """Take what is `Judging`'s out of a critic's settings."""
    how = {key: given.pop(key) for key in Judging.__dataclass_fields__ if key in given}
    return checked(Judging, how, what)


class Adversary(nn.Module):
    """A critic and how it judges.

    Args:
        label: what it is called in the run.
        settings: `{name, kind, of, given, ...}`, see `Judging`; the rest is its network's.
    """

    def __init__(self, label: str, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.label = label
        name, given = CRITICS.named(settings, f"critics.{label}")
        self.how = _judging(given, f"critics.{label}")
        self.critic: Critic = CRITICS.build(name, given, what=f"critics.{label}")

    def learn(self, play: Play, wanted: Collection[str], draws: Draws | None) -> dict[str, Tensor]:
        """What the critic minimizes, those of `OWN` that are wanted; no gradient reaches what made the sample."""
        fake, real = self._pair(play)
        fake = fake.detach()
        found: dict[str, Tensor] = {}
        if "critic" in wanted:
            scores = [self._judge(sample, play).scores for sample in (real, fake)]
            found["critic"] = critic_loss(self.how.kind, *scores)
        if {"penalty", "r1"} & set(wanted):
            with torch.autocast(real.device.type, enabled=False):  # second derivatives are too fine for 16 bits
                real, fake = (each if each.dtype == torch.float64 else each.float() for each in (real, fake))
                if "penalty" in wanted:
                    assert draws is not None, "a gradient penalty draws random numbers"
                    mix = draws.uniform(f"penalty/{self.label}", device=real.device)
                    found["penalty"] = gradient_penalty(self._scores(play), real, fake, mix)
                if "r1" in wanted:
                    found["r1"] = r1_penalty(self._scores(play), real)
        return found

    def teach(self, play: Play, wanted: Collection[str]) -> dict[str, Tensor]:
        """What the judged part is to minimize: `adversarial/LABEL` and `matching/LABEL`, as wanted."""
        names = {kind: f"{kind}/{self.label}" for kind in ("adversarial", "matching")}
        if not set(names.values()) & set(wanted):
            return {}
        fake, real = self._pair(play)
        judged, found = self._judge(fake, play), {}
        if names["adversarial"] in wanted:
            found[names["adversarial"]] = generator_loss(self.how.kind, judged.scores)
        if names["matching"] in wanted:
            with torch.no_grad():
                true = self._judge(real, play)
            found[names["matching"]] = feature_matching(true.maps, judged.maps)
        return found

    def accuracy(self, play: Play) -> Tensor:
        """How often it is right about real and fake ones, 0 to 1, a scalar; not of the kind "wasserstein"."""
        fake, real = self._pair(play)
        limit = THRESHOLD[self.how.kind]
        right = [(score > limit).float().mean() for score in self._judge(real, play).scores]
        right += [(score <= limit).float().mean() for score in self._judge(fake, play).scores]
        return torch.stack(right).mean()

    def _judge(self, sample: Tensor, play: Play) -> Any:
        return self.critic(sample, play.given if self.how.given else None)

    def _scores(self, play: Play) -> Any:
        return lambda sample: self._judge(sample, play).scores

    def _pair(self, play: Play) -> tuple[Tensor, Tensor]:
        if play.fake is None or play.real is None:
            raise UserError(
                f"critics.{self.label}: {self.how.of} gives nothing to be judged: leave the critic out (critics=null)"
            )
        return play.fake, play.real


def draw_critic(label: str, how: Mapping[str, Any], seed: int) -> Adversary:
    """A critic whose first weights depend on the seed and its name alone, whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((seed * 1_000_003 + zlib.crc32(label.encode())) % 2**63)
        return Adversary(label, how)


def critic_sizes(critics: Mapping[str, Mapping[str, Any] | None]) -> dict[str, int]:
    """Parameters of each critic in a config, drawn without memory."""
    with torch.device("meta"):
        made = {name: Adversary(name, how) for name, how in critics.items() if how is not None}
    return {name: sum(p.numel() for p in each.parameters()) for name, each in made.items()}


@contextmanager
def others_resting(part: str, critics: nn.ModuleDict) -> Iterator[None]:
    """No critic but the one whose turn it is asks for gradients: those that judge for a model do not learn by it."""
    resting = [p for name, each in critics.items() if name != part for p in each.parameters() if p.requires_grad]
    for weight in resting:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in resting:
            weight.requires_grad_(True)
