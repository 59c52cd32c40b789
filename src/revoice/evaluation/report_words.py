"""What the report says of words: who listened, what was heard, and how far that can be trusted."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from revoice.evaluation.evaluate import Evaluation
from revoice.evaluation.recognition import Listener


def reading() -> str:
    """How similarity and errors are to be read together."""
    return (
        '<p class="soft">A similarity says nothing without the errors beside it: noise in the right timbre is similar '
        "too. Errors count what a recognizer hears in the conversion against what the same recognizer hears in the "
        "source; there, <em>vocoder alone</em> is the source turned into features and back.</p>"
    )


def notes(evaluations: Sequence[Evaluation], remark: str) -> list[str]:
    """Warnings: no errors counted, or counted by a recognizer that the system was made with."""
    found = []
    if not all(evaluation.listeners for evaluation in evaluations):
        why = f": {remark}" if remark else ""
        found.append(_note("No error rates", f"nobody listened to what is said{why}. The similarities stand alone."))
    for evaluation in evaluations:
        found += [_circular(evaluation, listener, remark) for listener in evaluation.listeners if listener.circular]
    return found


def _circular(evaluation: Evaluation, listener: Listener, remark: str) -> str:
    others = [other for other in evaluation.listeners if other.prefix and not other.circular]
    more = f"{others[0].name} gives a second opinion." if others and not listener.prefix else remark
    taught = f", which was taught by {', '.join(listener.stands_on)}" if listener.stands_on else ""
    return _note(
        "Circular",
        f"{evaluation.name} shares weights or a teacher with {listener.name}{taught}, the recognizer that counts its "
        f"errors here. Its {listener.unit} in error flatter it. {more}",
    )


def _note(head: str, text: str) -> str:
    return f'<p class="note"><strong>{escape(head)}:</strong> {escape(text)}</p>'


def facts(evaluation: Evaluation) -> dict[str, str]:
    """Who listened, and its own errors on true recordings, for the list at the top."""
    found = {}
    for listener in evaluation.listeners:
        rates = {group: s.get(listener.key("source")) for group, s in evaluation.summaries.items()}
        known = [f"{rate:.3f} in true {group} sources" for group, rate in rates.items() if rate == rate and rate]
        told = [f"{key.replace('_', ' ')} {_figure(value)}" for key, value in _flat(listener.known_error).items()]
        own = "; ".join(known + told)
        title = "second recognizer" if listener.prefix else "recognizer"
        found[title] = f"{listener.name}, counts {listener.unit}" + (f"; its own errors: {own}" if own else "")
    return found


def heard(record: Mapping[str, Any], listeners: Sequence[Listener]) -> str:
    """What was heard in the source and in the conversion of an example."""
    lines = []
    for listener in listeners:
        source, converted = (record.get(f"{listener.prefix}heard_{what}") for what in ("source", "converted"))
        if source is not None and converted is not None:
            lines.append(
                f'<p class="soft">{escape(listener.name)} heard in the source: “{escape(source)}”<br>'
                f"in the conversion: “{escape(converted)}”</p>"
            )
    return "".join(lines)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key} ") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _figure(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
