"""Every turn of a schedule once, before the first iteration: what would end a run hours later is found now."""

from typing import TYPE_CHECKING

import torch

from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.training.schedule import Phase

if TYPE_CHECKING:
    from revoice.training.module import VoiceModule


def comes_later(phases: tuple[Phase, ...]) -> bool:
    """Whether the first iteration leaves a turn of the schedule out."""
    return len(phases) > 1 or any(turn.when is not None for turn in phases[0].turns)


@torch.no_grad()
def rehearse(module: "VoiceModule", batch: Batch) -> None:
    """Measure the losses of all turns of all phases on one batch, as validation would; nothing learns or is drawn.

    Raises:
        UserError: a turn whose losses are not those that its part has, or a critic that has nothing to judge.
    """
    modes = [(each, each.training) for each in module.modules()]  # what is frozen may rest in another
    devices = [module.device] if module.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        module.eval()
        plays = {part: module.model.play(batch, part) for part in module.model.parts()}
        for number, phase in enumerate(module.schedule.phases):
            for turn, objective in module.schedule.turns(number):
                try:
                    if turn.part in module.critics:
                        critic = module._adversary(turn.part)
                        judged = module.model.stored(batch) if phase.batches == "stored" else plays[critic.how.of]
                        critic.learn(judged, objective.weights.keys() & {"critic", "class"}, None)
                    else:
                        objective.require(module.losses_of(turn.part, plays[turn.part], objective.weights))
                except UserError as error:
                    raise UserError(f"schedule[{number}], {turn.part}: {error}") from error
    for each, training in modes:
        each.training = training
