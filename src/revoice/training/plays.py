"""What the parts of a model make of the batches of an iteration."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from revoice.data.read.batch import Batch
from revoice.trainable import Play

if TYPE_CHECKING:
    from revoice.training.module import VoiceModule


class Plays:
    """What the parts of the model made of an iteration's micro-batches, each once unless its weights changed since.

    With several micro-batches nothing is kept: their graphs together would take the memory that micro-batches are to
    save, so a sample is made again, of the same random numbers.
    """

    def __init__(
        self, module: "VoiceModule", batches: Sequence[Batch], turns: Sequence[str], seeded: bool = False
    ) -> None:
        self.module, self.batches, self.turns, self.seeded = module, batches, turns, seeded
        self._kept: dict[str, Play] = {}
        self._stale = True  # the weights have changed since they were copied
        self._several = len(batches) > 1

    def of(self, number: int, index: int) -> Play:
        """For a turn, by its number, and a micro-batch."""
        part = self._played(self.turns[number])
        if part in self._kept:
            return self._kept[part]
        again = self._again(part, number)
        keep = bool(again) and len(self.batches) == 1
        with torch.set_grad_enabled(self.turns[number] == part or (keep and part in again)), self._following(number):
            play = self._make(part, self.batches[index])
        if keep:
            self._kept[part] = play
        return play

    def forget(self, part: str) -> None:
        """The weights of a part have changed; where it is the model's, all that was made may be old."""
        if part not in self.module.critics:
            self._kept.clear()
            self._stale = True
            self.settle()

    def settle(self) -> None:
        """Codes that are moving averages follow the micro-batches together, as they would one batch."""
        draws = self.batches[0].draws
        if self._several and draws is not None:
            for quantizer in self.module.quantizers:
                quantizer.settle(draws)

    @contextmanager
    def _following(self, number: int) -> Iterator[None]:
        """What the model keeps beside its weights moves once for every sample, and not at all where it rests."""
        part = self._played(self.turns[number])
        rests = self.module.schedule.rests(part)
        how: Any = "never" if rests or self._repeated(number) else "later" if self._several else "now"
        kept = [(each, each.clone()) for each in self.module.model.buffers()] if rests else []
        for quantizer in self.module.quantizers:
            quantizer.follows = how
        try:
            yield
        finally:
            for quantizer in self.module.quantizers:
                quantizer.follows = "now"
            with torch.no_grad():
                for each, before in kept:
                    each.copy_(before)

    def _repeated(self, number: int) -> bool:
        """Whether a micro-batch was played for an earlier turn already, by the same weights."""
        part = self._played(self.turns[number])
        for earlier in reversed(self.turns[:number] if self._several else ()):
            if earlier not in self.module.critics:
                return False
            if self._played(earlier) == part:
                return True
        return False

    def _make(self, part: str, batch: Batch) -> Play:
        module = self.module
        if not self.seeded:
            module.seed_layers(batch)
        with ExitStack() as stack:
            for half in module.halves.values():
                if self._stale:
                    half.refresh()
                stack.enter_context(half.used())
            self._stale = False
            stored = module.schedule.phase.batches == "stored"
            return module.model.stored(batch) if stored else module.model.play(batch, part)

    def _played(self, part: str) -> str:
        """The part of the model that plays in a turn: a critic judges another's."""
        return self.module._adversary(part).how.of if part in self.module.critics else part

    def _again(self, part: str, number: int) -> list[str]:
        """The later turns that can use what is made now: until a part of the model has learned."""
        found = []
        for later in self.turns[number + 1 :]:
            if self._played(later) == part:
                found.append(later)
            if later not in self.module.critics:
                break
        return found
