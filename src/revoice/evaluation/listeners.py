"""Which recognizers judge an evaluation: the one asked for or what is there, and a second one where it is needed."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from revoice.errors import UserError, choices
from revoice.evaluation.recognition import RECOGNIZERS, Recognizer, is_circular

log = logging.getLogger(__name__)

Settings = Mapping[str, Any] | str | None
DEFAULT = "phones"
OTHERS = ("whisper", "pocketsphinx")  # instead of the default where its weights are not there; also second opinions
AUTO = "auto"
SWITCHED_OFF = "it is switched off (metrics.recognizer=null)"
NOT_INSTALLED = (
    "no recognizer is installed: pip install 'revoice[evaluation]', or give one as metrics.recognizer.name=command"
)


@dataclass(frozen=True)
class Choice:
    """Who listens.

    Attributes:
        first, second: recognizers; None where there is none.
        remark: what the report has to say about the choice, "" if nothing.
    """

    first: Recognizer | None
    second: Recognizer | None
    remark: str = ""


def build_recognizer(settings: Settings, device: str = "cpu", what: str = "metrics.recognizer") -> Recognizer | None:
    """The recognizer of a name or of `{name: ..., setting: ...}`, where null settings are its defaults; None for null.

    The default one is replaced by what is installed if its weights are not there, which is logged; None if nothing is.
    """
    name, given = split(settings, what)
    if name is None:
        return None
    if name == DEFAULT and not given and RECOGNIZERS.get(DEFAULT).missing():
        other = next((other for other in OTHERS if not RECOGNIZERS.get(other).missing()), None)
        reason = RECOGNIZERS.get(DEFAULT).missing()
        if other is None:
            log.warning("no error rates: recognizer %s: %s, and none of %s is there", name, reason, ", ".join(OTHERS))
            return None
        log.info("recognizer %s: %s; %s counts the errors instead", name, reason, other)
        name = other
    return RECOGNIZERS.build(name, given, {"device": device})


def check_recognizer(settings: Settings, what: str, also: Collection[str] = ()) -> None:
    """Refuse what `build_recognizer` would, without loading anything; `also` are names that mean something else."""
    name, given = split(settings, what)
    if name is None or name in also:
        return
    if name not in RECOGNIZERS.names():
        raise choices(name, [*RECOGNIZERS.names(), *also], f"{what}.name")
    RECOGNIZERS.check(name, given, what)


def split(settings: Settings, what: str) -> tuple[str | None, dict[str, Any]]:
    """Name and settings that are not null; the name is None if there is nothing to build."""
    if isinstance(settings, str):
        return settings, {}
    if settings is None:
        return None, {}
    if not isinstance(settings, Mapping):
        raise UserError(f"{what}={settings}: expected a name such as {DEFAULT}, {{name: {DEFAULT}}}, or null")
    given = {str(key): value for key, value in settings.items() if value is not None}
    name = given.pop("name", None)
    if name is None and given:
        raise UserError(f"{what} has settings but no name: type {what}.name={DEFAULT}")
    return None if name is None else str(name), given


def choose(first: Settings, second: Settings, stands_on: Mapping[str, Collection[str]], device: str = "cpu") -> Choice:
    """Recognizers for systems by what they stand on.

    Args:
        first: settings of the judge.
        second: settings of the second opinion; the name "auto" asks for one where the judge is circular for a system.
        stands_on: by name of the system, see `ConversionModel.stands_on`.
        device: where networks run.
    """
    judge = build_recognizer(first, device)
    if judge is None:
        off = split(first, "metrics.recognizer")[0] is None
        return Choice(None, None, SWITCHED_OFF if off else NOT_INSTALLED)
    name, given = split(second, "metrics.second_recognizer")
    if name is None:
        return Choice(judge, None)
    if name != AUTO:
        return Choice(judge, RECOGNIZERS.build(name, given, {"device": device}))
    if given:
        raise UserError(
            f"metrics.second_recognizer.{next(iter(given))}: of which recognizer? Type metrics.second_recognizer.name="
            f"NAME, one of {', '.join(RECOGNIZERS.names())}"
        )
    return _second_opinion(judge, stands_on, device)


def _second_opinion(judge: Recognizer, stands_on: Mapping[str, Collection[str]], device: str) -> Choice:
    flattered = {name: set(names) for name, names in stands_on.items() if is_circular(judge, names)}
    if not flattered:
        return Choice(judge, None)
    there = [name for name in OTHERS if name != judge.name and not RECOGNIZERS.get(name).missing()]
    shared = set().union(*flattered.values())
    for name in there:
        kind = RECOGNIZERS.get(name)
        if shared.isdisjoint({name, *kind.stands_on}):
            return Choice(judge, RECOGNIZERS.build(name, {}, {"device": device}))
    why = (
        f"of the recognizers that are installed ({', '.join(there)}) none is independent either"
        if there
        else "no other recognizer is installed: pip install 'revoice[evaluation]'"
    )
    log.warning("%s is circular for %s and there is no second opinion: %s", judge.name, ", ".join(flattered), why)
    return Choice(judge, None, f"There is no second opinion: {why}.")
