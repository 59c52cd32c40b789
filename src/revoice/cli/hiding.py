"""`voice=pseudo` and `voice=sample`: whose voice each source is to be said in."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from revoice.checkpoint.load import load_checkpoint
from revoice.conversion.converter import Converter
from revoice.conversion.outputs import Sources, Target
from revoice.conversion.pseudo import (
    Hiding,
    PseudoVoices,
    Vectors,
    audible,
    embedding_of,
    open_pool,
    speaker_of,
    speakers_in,
)
from revoice.errors import UserError
from revoice.settings import from_mapping


def hiding_for(converter: Converter, how: PseudoVoices, sample: bool, data_dir: Path) -> Hiding:
    """What chooses voices for a model; those of espeak-ng are spoken into `data_dir`.

    Raises:
        UserError: the model takes no voice, or none that is drawn; the checkpoint draws none.
    """
    model = converter.model
    if model.target == "speaker":
        if sample:
            raise UserError(f"voice=sample: {model.name} speaks with the voices of its table: type voice=pseudo")
        return Hiding(how, table=converter.loaded.description.speakers)
    if model.target == "none":
        raise UserError(f"model {model.name} takes no target voice, which voice=pseudo would choose")
    sampler = _sampler(how, converter) if sample else None
    pool = open_pool(how.pool, data_dir, str(converter.device), converter.heard)
    return Hiding(how, pool, sampler=sampler)


def hidden_voices(values: dict[str, Any], converter: Converter, found: Sources) -> dict[Path, Target]:
    """The voice of each source."""
    how = from_mapping(PseudoVoices, values["voices"], "voices")
    hiding = hiding_for(converter, how, values["voice"] == "sample", Path(values["paths"]["data_dir"]))
    bases = dict(found.files)
    groups, targets = speakers_in(bases, how.per), dict[Path, Target]()
    for who in hiding.in_turn(groups):
        own = sorted({speaker_of(file, bases[file]).name for file in groups[who]})
        target = hiding.behind(who, partial(_vector, groups[who]), own=own)
        targets |= dict.fromkeys(groups[who], target)
    return targets


def _vector(files: Sequence[Path]) -> Vectors:
    """The embedding of those that can be read; the others are told when their turn comes."""
    return embedding_of([*audible(files).values()])


def _sampler(how: PseudoVoices, converter: Converter) -> Any:
    if "embedding" not in converter.model.requires.of_clip:
        raise UserError(
            f"voice=sample draws an embedding, and {converter.model.name} takes recordings only: type voice=pseudo"
        )
    if how.ckpt is None:
        raise UserError("voice=sample: voices.ckpt= is missing, expected a VoiceGAN: python train.py model=voicegan")
    model = load_checkpoint(how.ckpt).model
    if not hasattr(model, "sample"):
        raise UserError(f"voices.ckpt={how.ckpt} holds a {model.name}, which draws no voices: expected a VoiceGAN")
    return model
