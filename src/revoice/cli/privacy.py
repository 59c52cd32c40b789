"""`python evaluate.py evaluation=privacy`: anonymizers and converters with pseudo-voices in one table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from revoice.atomic import require_ours
from revoice.audio.anonymization import ANONYMIZERS
from revoice.cli.app import device, several
from revoice.cli.hiding import hiding_for
from revoice.cli.systems import systems
from revoice.conversion.converter import Converter
from revoice.conversion.pseudo import Hiding, PseudoVoices
from revoice.data.config import build
from revoice.evaluation.privacy.methods import BySignal, Method, method_of
from revoice.evaluation.privacy.report import FILES, result_line, write_privacy
from revoice.evaluation.privacy.session import ORIGINAL, Found, PrivacyProtocol, measure
from revoice.settings import from_mapping


def privacy_protocol(settings: Mapping[str, Any]) -> PrivacyProtocol:
    """What the group `evaluation` says, all of it checked: the anonymizers and the pseudo-voices, too."""
    own = {key: value for key, value in settings.items() if key != "voices"}
    how = from_mapping(PrivacyProtocol, own, "evaluation")
    from_mapping(PseudoVoices, settings.get("voices") or {}, "evaluation.voices")
    for name, given in how.methods.items():
        if given is not None:
            what = f"evaluation.methods.{name}"
            ANONYMIZERS.check(*ANONYMIZERS.named(given, what), what)
    return how


def evaluate_privacy(how: PrivacyProtocol, values: dict[str, Any], out: Path) -> Found:
    """Measure all methods, write the report, print a line for each."""
    require_ours(out, FILES)
    methods = all_methods(_converters(values), _anonymizers(how))
    found = measure(methods, build(values["data"]).manifest(), how, int(values["seed"]))
    write_privacy(out, found, int(values["seed"]))
    for outcome in found.outcomes:
        print(result_line(outcome, found))
    print(f"report: {out / 'report.html'}")
    return found


def all_methods(converters: Sequence[tuple[str, Method]], anonymizers: Mapping[str, Method]) -> dict[str, Method]:
    """Methods by names that are each another's: a converter whose name is taken gets a mark."""
    found: dict[str, Method] = {}
    for name, method in converters:
        while name in {ORIGINAL, *anonymizers, *found}:
            name += "'"
        found[name] = method
    return {**found, **anonymizers}


def _anonymizers(how: PrivacyProtocol) -> dict[str, Method]:
    found: dict[str, Method] = {}
    for name, given in how.methods.items():
        if given is not None:
            kind, settings = ANONYMIZERS.named(given, f"evaluation.methods.{name}")
            anonymizer = ANONYMIZERS.build(kind, settings, what=f"evaluation.methods.{name}")
            found[name] = BySignal(anonymizer, {"anonymizer": kind, **settings})
    return found


def _converters(values: dict[str, Any]) -> list[tuple[str, Method]]:
    """Methods with what `ckpt=` and `model=` name them."""
    paths = several(values["ckpt"]) if values.get("ckpt") else []
    how = from_mapping(PseudoVoices, values["evaluation"].get("voices") or {}, "evaluation.voices")
    return [
        (f"{name} (pseudo)" if hiding else name, method_of(converter, hiding))
        for name, converter in systems(paths, values, device(values["device"])).items()
        for hiding in [_hiding(converter, how, Path(values["paths"]["data_dir"]))]
    ]


def _hiding(converter: Converter, how: PseudoVoices, data_dir: Path) -> Hiding | None:
    if converter.model.target == "none":
        return None
    return hiding_for(converter, how, how.ckpt is not None, data_dir)
