"""What training asks of a network, be it a conversion model, a recognizer or a vocoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor, nn

from revoice.audio.spec import FeatureSpec
from revoice.data.read.batch import Batch, Requires

MODEL = "model"  # the part of a network that learns as a whole


@dataclass(frozen=True)
class Play:
    """What a part of a network makes of a batch.

    Attributes:
        losses: unweighted, by name, each a scalar.
        fake: what it made, for critics to judge, with its gradient: (B, ...).  real: a true one of the same kind.
        given: the condition that both were made under, for critics that look at it: (B, ...).
        wanted: (B,) which class `fake` was to be of.  own: (B,) which class `real` is of; for those that tell.
        balance: (C,) weights of the classes in what critics learn of them; None: all weigh the same.
    """

    losses: dict[str, Tensor]
    fake: Tensor | None = None
    real: Tensor | None = None
    given: Tensor | None = None
    wanted: Tensor | None = None
    own: Tensor | None = None
    balance: Tensor | None = None


class Trainable(nn.Module):
    """Base of everything in the registry: networks that convert, and networks that those stand on or are judged by.

    Class attributes:
        name: registry name, set by the decorator.
        trained: whether `train.py` trains it.
        preset: the features that it takes if it has no say of its own in the config.
        may_change: settings that are about training alone: `init_from` takes them from the config.
        stands_on: networks of others that taught it or are a part of it: what they judge, they flatter;
            instances may differ.
        target: what tells the target voice, see `ConversionModel`; "none" for what does not convert.
        needs: of a part that others stand on, what it lacks to convert, and the command that makes that of {path}.
        measured: names of what `measures` gives.
        judged: sizes of what critics judge, by the names of their parameters, for critics that leave them open.
        grows_from: the model whose weights `grow_from` takes at the start of training (init_from=); "" for none.
        speaker_pitch: whether it is told the mean and deviation of pitch of every training speaker, by `set_pitch`.
        static: whether `losses` does the same operations on tensors of the same shapes whatever is in a batch, and asks
            for no value: then a CUDA graph may replay it.
    """

    name: ClassVar[str]
    trained: ClassVar[bool] = True
    preset: ClassVar[str] = "mel_22k"
    may_change: ClassVar[tuple[str, ...]] = ()
    stands_on: tuple[str, ...] = ()
    speaker_pitch: ClassVar[bool] = False
    static: ClassVar[bool] = True
    target: str = "none"
    grows_from: ClassVar[str] = ""
    needs: ClassVar[str] = ""
    measured: ClassVar[tuple[str, ...]] = ()
    judged: Mapping[str, int] = MappingProxyType({})
    requires: Requires

    def grow_from(self, other: "Trainable") -> None:
        """Take the weights of a model named `grows_from`."""
        raise NotImplementedError

    def parts(self) -> dict[str, nn.Module]:
        """The networks that learn in turns of their own, by name; together they hold every trained weight, once."""
        return {MODEL: self}

    def play(self, batch: Batch, part: str = MODEL) -> Play:
        """What a part makes of a batch: its losses, and, where critics are to judge it, the sample and a real one.

        The losses reach the same weights of the part in every process, whatever is in the batch.
        """
        return Play(self.losses(batch))

    def stored(self, batch: Batch) -> Play:
        """What critics judge in a phase on stored samples: by default what `data.generated_by` made."""
        return Play({}, fake=batch.generated, real=batch.features)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Unweighted training losses by name, each a scalar; the weights live in the config (`loss:`)."""
        raise NotImplementedError

    def measures(self, batch: Batch) -> dict[str, Tensor]:
        """Numbers to watch in validation besides the losses, each a scalar; always of the same names."""
        return {}

    def set_features(self, spec: FeatureSpec) -> None:
        """Called before training: what the features are, for losses that listen to them."""

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Take the per-channel statistics (F,) of the training features; models that do not standardize ignore them."""

    def set_labels(self, counts: Mapping[str, Tensor]) -> None:
        """Called before training, where it is known: how many utterances have what, see `label_counts` of the data."""

    def set_pitch(self, statistics: Tensor, fresh: bool) -> None:
        """Take the pitch of the training speakers, in the order of the table of their names.

        Args:
            statistics: (speakers, 2) mean and deviation of log-f0, nan of whom nothing is voiced.
            fresh: whether training begins; otherwise it goes on with the statistics of a checkpoint.
        """

    def speaker_codes(self, features: Tensor) -> Tensor | None:
        """Speaker representation (B, D) of features (B, F, T) for the speaker map; None if the model has none."""
        return None
