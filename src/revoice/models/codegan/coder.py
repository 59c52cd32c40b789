"""The frozen model that CodeGAN stands on."""

from collections.abc import Mapping

from revoice.errors import UserError
from revoice.models.base import MODELS, Coder
from revoice.settings import Given, Place, Word, settings


@settings
class Codes:
    """The model whose codes are rewritten.

    Attributes:
        ckpt: its checkpoint; only looked at where training starts.
        model: its name in the registry.  arguments: its settings.  Both come from the checkpoint.
    """

    ckpt: Place | None = None
    model: Word | None = None
    arguments: Given | None = None


def stood_on(codes: Codes, facts: Mapping[str, int]) -> Coder | None:
    """The model of the codes, not yet with its weights; None while it is not known."""
    if codes.model is None:
        return None
    kind = MODELS.get(codes.model)
    if not issubclass(kind, Coder):
        raise UserError(f"model {codes.model} has no codes: expected one that takes speech apart, as speechsplit does")
    given = codes.arguments or {}
    for name, said in facts.items():
        if given.get(name, said) != said:
            raise UserError(f"model.codes.arguments.{name}={given[name]}: the features have {said}")
    made = MODELS.build(codes.model, given, facts, what="model.codes.arguments")
    assert isinstance(made, Coder)
    if made.target == "speaker":
        raise UserError(
            f"model.codes: this {codes.model} speaks with the voices of its table alone, which emotions may not be "
            "recorded of: train it with model.voice=embedding"
        )
    return made
