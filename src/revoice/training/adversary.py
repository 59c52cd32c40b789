"""A critic in a run: what it learns, and what it asks of the part that it judges."""

import logging
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from revoice.checkpoint.load import critics_of, find_checkpoint
from revoice.critics.base import CRITICS, Critic, Judged
from revoice.errors import UserError
from revoice.interop.critics import read_critic
from revoice.nn.adversarial import (
    critic_loss,
    feature_matching,
    generator_loss,
    gradient_penalty,
    joint_gradient_penalty,
    r1_penalty,
)  # fmt: skip
from revoice.nn.collective import processes, summed
from revoice.nn.draws import Draws
from revoice.settings import Flag, Place, Word, checked, settings
from revoice.trainable import MODEL, Play

log = logging.getLogger(__name__)
OWN = ("critic", "penalty", "r1", "class")  # what a critic can learn by
TAUGHT = ("adversarial", "matching", "class")  # what it can ask of the part that it judges
THRESHOLD = {"lsgan": 0.5, "hinge": 0.0}  # scores above it say "real"; where Wasserstein's lie means nothing
THRESHOLD["logistic"] = 0.0


@settings
class Judging:
    """How a critic takes part, beside the settings of its network.

    Attributes:
        kind: of adversarial loss.
        of: the part of the model that it judges.
        given: whether it looks at the condition, too.
        init_from: a training checkpoint whose critic of this name it starts from, or an imported or published file of
            critics.
        joint: the gradient penalty as some published code has it, see `nn.adversarial.joint_gradient_penalty`.
    """

    kind: Literal["lsgan", "hinge", "wasserstein", "logistic"] = "lsgan"
    of: Word = MODEL
    given: Flag = False
    init_from: Place | None = None
    joint: Flag = False


def batchwise(values: Any, what: str) -> bool:
    """Whether the critic in `{name, setting: ...}` judges an item by the others of its batch, too."""
    name, given = CRITICS.named(values, what)
    return CRITICS.get(name).batchwise(given)


def check_critic(values: Any, what: str) -> Judging:
    """How the critic in `{name, kind, of, given, setting: ...}` judges; refuses what cannot be built."""
    name, given = CRITICS.named(values, what)
    judging = _judging(given, what)
    CRITICS.check(name, given, what)
    if judging.given and not CRITICS.get(name).conditional:
        raise UserError(f"{what}.given=true: critic {name} judges without a condition: leave it out")
    if judging.init_from is not None:
        find_checkpoint(judging.init_from)
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
        judged: sizes of what it judges, see `Trainable`.
    """

    def __init__(self, label: str, settings: Mapping[str, Any], judged: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.label = label
        name, given = CRITICS.named(settings, f"critics.{label}")
        self.how = _judging(given, f"critics.{label}")
        self.critic: Critic = CRITICS.build(name, given, judged, what=f"critics.{label}")

    def learn(self, play: Play, wanted: Collection[str], draws: Draws | None) -> dict[str, Tensor]:
        """What the critic minimizes, those of `OWN` that are wanted; no gradient reaches what made the sample."""
        fake, real = self._pair(play)
        fake = fake.detach()
        found: dict[str, Tensor] = {}
        if {"critic", "class"} & set(wanted):
            true = self._judge(real, play)
            if "critic" in wanted:
                found["critic"] = critic_loss(self.how.kind, true.scores, self._judge(fake, play).scores)
            if "class" in wanted:
                found["class"] = self._told(true, play.own, play)
        if {"penalty", "r1"} & set(wanted):
            with torch.autocast(real.device.type, enabled=False):  # second derivatives are too fine for 16 bits
                real, fake = (each if each.dtype == torch.float64 else each.float() for each in (real, fake))
                if "penalty" in wanted:
                    assert draws is not None, "a gradient penalty draws random numbers"
                    mix = draws.uniform(f"penalty/{self.label}", device=real.device)
                    penalty = joint_gradient_penalty if self.how.joint else gradient_penalty
                    found["penalty"] = penalty(self._scores(play), real, fake, mix)
                if "r1" in wanted:
                    found["r1"] = r1_penalty(self._scores(play), real)
        return found

    def teach(self, play: Play, wanted: Collection[str]) -> dict[str, Tensor]:
        """What the judged part is to minimize: `adversarial/LABEL`, `matching/LABEL`, `class/LABEL`, as wanted."""
        names = {kind: f"{kind}/{self.label}" for kind in TAUGHT}
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
        if names["class"] in wanted:
            found[names["class"]] = self._told(judged, play.wanted, play)
        return found

    def accuracy(self, play: Play) -> Tensor:
        """How often it is right about real and fake ones, 0 to 1, a scalar; not of the kind "wasserstein"."""
        fake, real = self._pair(play)
        limit = THRESHOLD[self.how.kind]
        right = [(score > limit).float().mean() for score in self._judge(real, play).scores]
        right += [(score <= limit).float().mean() for score in self._judge(fake, play).scores]
        return torch.stack(right).mean()

    def _told(self, judged: Judged, classes: Tensor | None, play: Play) -> Tensor:
        """Cross-entropy of the classes (B,) that the critic should have told."""
        if judged.classes is None or classes is None:
            who = f"critic {self.critic.name} tells" if judged.classes is None else f"{self.how.of} knows"
            raise UserError(
                f"critics.{self.label}: {who} no classes: leave the losses class and class/{self.label} out"
            )
        weights = None if play.balance is None else play.balance.float()
        if weights is None or processes() == 1:
            return F.cross_entropy(judged.classes.float(), classes, weights)
        whole = summed(weights[classes].sum()) / processes()  # the mean of all processes' losses is that of one batch
        return F.cross_entropy(judged.classes.float(), classes, weights, reduction="sum") / whole

    def _judge(self, sample: Tensor, play: Play) -> Judged:
        return self.critic(sample, play.given if self.how.given else None)

    def _scores(self, play: Play) -> Any:
        return lambda sample: self._judge(sample, play).scores

    def _pair(self, play: Play) -> tuple[Tensor, Tensor]:
        if play.fake is None or play.real is None:
            raise UserError(
                f"critics.{self.label}: {self.how.of} gives nothing to be judged: leave the critic out (critics=null)"
            )
        return play.fake, play.real


def draw_critic(label: str, how: Mapping[str, Any], seed: int, judged: Mapping[str, int] | None = None) -> Adversary:
    """A critic whose first weights depend on the seed and its name alone, whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((seed * 1_000_003 + zlib.crc32(label.encode())) % 2**63)
        made = Adversary(label, how, judged)
    if made.how.init_from is not None:
        made.critic.load_state_dict(read_critic(find_checkpoint(made.how.init_from), label, made.critic))
    return made


def take_critics(critics: nn.ModuleDict, path: Path) -> None:
    """Go on with the critics of a checkpoint, by name; one that it has not, of other sizes or not finite, begins anew.

    Those that say themselves where they start from are left as they are.
    """
    asking = {
        name: each for name, each in critics.items() if isinstance(each, Adversary) and each.how.init_from is None
    }
    known = critics_of(path) if asking else {}
    for name, critic in asking.items():
        state = {key.removeprefix(f"{name}."): value for key, value in known.items() if key.startswith(f"{name}.")}
        own = critic.state_dict()
        fits = {key: value.shape for key, value in state.items()} == {key: value.shape for key, value in own.items()}
        finite = all(bool(torch.isfinite(value).all()) for value in state.values())
        if fits and finite:
            critic.load_state_dict(state)
            why = "goes on"
        else:
            of = "has weights that are no numbers" if fits else "is another"
            why = f"begins anew: that of {path} {of}" if state else "begins anew"
        log.info("critic    %s %s", name, why)


def critic_sizes(
    critics: Mapping[str, Mapping[str, Any] | None], judged: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Parameters of each critic in a config, drawn without memory."""
    with torch.device("meta"):
        made = {name: Adversary(name, how, judged) for name, how in critics.items() if how is not None}
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
