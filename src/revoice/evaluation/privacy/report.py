"""What a privacy evaluation leaves: `metrics.json`, `methods.csv`, `clips.csv`, `privacy.png` and a page of it all."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from revoice.atomic import REPORT, claim, replacing, sums_of, write_text
from revoice.evaluation.bootstrap import Interval
from revoice.evaluation.eer import RESAMPLES
from revoice.evaluation.media import png_uri
from revoice.evaluation.page import facts_list, page
from revoice.evaluation.privacy.attackers import ATTACKERS
from revoice.evaluation.privacy.picture import privacy_picture
from revoice.evaluation.privacy.session import Found, Outcome, Words, flattered
from revoice.evaluation.report import write_metrics, write_rows
from revoice.evaluation.tables import Cell, table
from revoice.foreign import write_csv
from revoice.version import __version__

FILES = ("clips.csv", "methods.csv", "privacy.png", "report.html")  # beside `metrics.json`
TITLE = "Privacy report"
NAMES = {"ignorant": "Ignorant", "semi_informed": "Semi-informed", "informed": "Informed"}


def write_privacy(folder: Path, found: Found, seed: int) -> dict[str, Any]:
    """Write the files into a folder, the picture if a recognizer listened; returns what is in `metrics.json`."""
    claim(folder)
    write_rows(folder / "methods.csv", [_row(outcome, found) for outcome in found.outcomes])
    write_csv(folder / "clips.csv", _clips(found))
    if found.outcomes[0].words:
        with replacing(folder / "privacy.png") as file:
            file.write(privacy_picture(found.outcomes, found.protocol.tolerance, "white"))
    else:
        (folder / "privacy.png").unlink(missing_ok=True)
    write_text(folder / "report.html", page(TITLE, _body(found)))
    payload = _payload(found, seed)
    write_metrics(folder / REPORT, {**payload, **sums_of(folder, FILES)})
    return payload


def result_line(outcome: Outcome, found: Found) -> str:
    """The numbers of one method on one line."""
    errors = "  ".join(f"{NAMES[a].lower()} {100 * e.rate:.1f} %" for a, e in outcome.errors.items())
    words = "  ".join(
        f"{w.listener.name} errors {100 * w.rate:.1f} % (untouched {100 * w.original:.1f} %)" for w in outcome.words
    )
    lost = "  DESTROYS WORDS" if outcome.destroys(found.protocol.tolerance) else ""
    return f"{outcome.name}: equal error rate: {errors}  {words}{lost}"


def _payload(found: Found, seed: int) -> dict[str, Any]:
    p, cast = found.protocol, found.cast
    return {
        "version": __version__, "evaluation": "privacy", "seed": seed,
        "data": {"corpus": found.manifest.corpus, "manifest": found.manifest.digest()},
        "protocol": {**vars(p), "splits": list(p.splits)},
        "speakers": cast.speakers, "enrolled": len(cast.enrolled), "asked": len(cast.asked),
        "strangers": len({u.row.speaker for u in cast.strangers}), "strangers_recordings": len(cast.strangers),
        "passed_over": cast.unusable,
        "methods": {outcome.name: _entry(outcome, found) for outcome in found.outcomes},
    }  # fmt: skip


def _entry(outcome: Outcome, found: Found) -> dict[str, Any]:
    errors = {
        attacker: {"eer": e.rate, "ci": e.interval, "threshold": e.threshold, "mated": e.mated, "nonmated": e.nonmated}
        for attacker, e in outcome.errors.items()
    }
    words = [
        {**vars(w.listener), "rate": w.rate, "ci": w.interval, "original": w.original, "rise": w.rise,
         "rise_ci": w.rise_interval}
        for w in outcome.words
    ]  # fmt: skip
    return {
        "settings": dict(outcome.about), "attackers": errors, "strongest": outcome.strongest, "words": words,
        "destroys_words": outcome.destroys(found.protocol.tolerance), "verifier_is_circular": outcome.circular,
        "failed": outcome.failed,
    }  # fmt: skip


def _row(outcome: Outcome, found: Found) -> dict[str, Any]:
    row: dict[str, Any] = {"method": outcome.name}
    for attacker, error in outcome.errors.items():
        low, high = error.interval or ("", "")
        row |= {f"eer_{attacker}": error.rate, f"eer_{attacker}_low": low, f"eer_{attacker}_high": high}
    row |= {"mated_trials": outcome.errors["ignorant"].mated, "nonmated_trials": outcome.errors["ignorant"].nonmated}
    for words in outcome.words:
        name = words.listener.name
        row |= {f"{name}_errors": words.rate, f"{name}_untouched": words.original, f"{name}_rise": words.rise}
    return {**row, "destroys_words": int(outcome.destroys(found.protocol.tolerance)), "failed": len(outcome.failed)}


def _clips(found: Found) -> list[list[Any]]:
    """A line for every method and recording asked about: what is heard in it."""
    names = [words.listener.name for words in found.outcomes[0].words]
    lines: list[list[Any]] = [["method", "id", "speaker", "text", *(f"heard_by_{name}" for name in names)]]
    for outcome in found.outcomes:
        for place, u in enumerate(found.cast.asked):
            heard = [words.heard[place] or "" for words in outcome.words]
            lines.append([outcome.name, u.key, u.row.speaker, u.row.text or "", *heard])
    return lines


def _body(found: Found) -> str:
    parts = [
        f"<h1>{TITLE}</h1>",
        facts_list(_facts(found)),
        "<p>An attacker holds a recording against a voice and says whether it is of that voice. The equal error rate "
        "is the share of wrong answers where both kinds of error are equally frequent: 50 % is guessing, all the "
        "privacy there is; 0 % is none. What an attacker is able to do depends on what is known:</p>",
        facts_list({NAMES[name]: words for name, words in ATTACKERS.items()}),
        '<p class="note"><strong>Both numbers belong together.</strong> Noise fools every attacker and says nothing. A '
        f"method whose error rate rises by more than {100 * found.protocol.tolerance:g} points is gray in the picture "
        "and called what it is: it destroys words.</p>",
        _table(found),
        f'<p class="soft">Under a number: its 95 % interval, from {RESAMPLES} bootstrap samples of the voices. With '
        "few voices it is wide, and speaks of these voices alone. Error rates: wrong, missing and added units over "
        f"those that are said{_reference(found)}.</p>",
        *_notes(found),
        "<h2>Privacy against words</h2>",
        _picture(found),
        _passed_over(found),
    ]
    return "\n".join(part for part in parts if part)


def _facts(found: Found) -> dict[str, object]:
    p, cast, first = found.protocol, found.cast, found.outcomes[0].errors["ignorant"]
    genders = ", within genders" if p.same_gender else ""
    known = f"{len(cast.speakers)}, each known by {p.enrolled} recordings"
    return {
        "data": f"{found.manifest.corpus}, manifest {found.manifest.digest()}",
        "voices": f"{known}; {len(cast.asked)} recordings asked about",
        "trials": f"{first.mated} of one voice, {first.nonmated} of two{genders}",
        "strangers": f"{len({u.row.speaker for u in cast.strangers})} other voices, {len(cast.strangers)} recordings",
        "verifier": p.verifier if isinstance(p.verifier, str) else p.verifier["name"],
        "protocol": "after the VoicePrivacy Challenge (Tomashenko et al., 2022)",
        "revoice": __version__,
    }


def _reference(found: Found) -> str:
    if found.said == len(found.cast.asked):
        return ""
    return f", which is known of {found.said} recordings; of the others, over what is heard in the untouched one"


def _table(found: Found) -> str:
    attackers = list(found.outcomes[0].errors)
    listeners = found.outcomes[0].words
    heads: list[Cell] = [("", "Method"), *(("n", f"{NAMES[a]}<br>attacker") for a in attackers)]
    heads += [("n", f"Errors of<br>{escape(w.listener.unit)} ({escape(w.listener.name)})") for w in listeners]
    heads += [("n", f"Rise<br>({escape(w.listener.name)})") for w in listeners] + [("", "Judgment")]
    return table(heads, [_line(outcome, found) for outcome in found.outcomes])


def _line(outcome: Outcome, found: Found) -> list[Cell]:
    cells: list[Cell] = [("", escape(outcome.name))]
    for attacker in found.outcomes[0].errors:
        error = outcome.errors.get(attacker)
        kind = "n main" if attacker == outcome.strongest else "n"
        cells.append((kind, _percent(error.rate, error.interval) if error else "–"))
    cells += [("n", _percent(words.rate, words.interval)) for words in outcome.words]
    cells += [("n", _points(words)) for words in outcome.words]
    return [*cells, ("", escape(_judgment(outcome, found)))]


def _judgment(outcome: Outcome, found: Found) -> str:
    if outcome is found.outcomes[0]:
        return "nothing hidden"
    told = ["destroys words"] if outcome.destroys(found.protocol.tolerance) else []
    told += ["judged by the encoder that it stands on"] if outcome.circular else []
    told += [f"{name} is kin to it" for name in flattered(outcome)]
    return "; ".join(told)


def _percent(rate: float, between: Interval | None) -> str:
    small = f"<small>{100 * between.low:.1f} to {100 * between.high:.1f}</small>" if between else ""
    return f"{100 * rate:.1f} %{small}"


def _points(words: Words) -> str:
    between = words.rise_interval
    small = f"<small>{100 * between.low:+.1f} to {100 * between.high:+.1f}</small>" if between else ""
    return f"{100 * words.rise:+.1f}{small}"


def _notes(found: Found) -> list[str]:
    notes = [found.remark] if found.remark else []
    if any(outcome.circular for outcome in found.outcomes):
        notes.append(
            "A method that is conditioned on the verifier, or was trained against it, may hide from it more than from "
            "others: its equal error rates say less."
        )
    if "informed" not in found.outcomes[0].errors:
        notes.append("No informed attacker: the corpus has no two other voices with two recordings each.")
    return [f'<p class="note">{escape(note)}</p>' for note in notes]


def _picture(found: Found) -> str:
    if not found.outcomes[0].words:
        return '<p class="soft">No recognizer listened: there is no error rate to draw.</p>'
    shown: Mapping[str, str] = {o.name: result_line(o, found) for o in found.outcomes}
    alt = "Equal error rate over error rate, a point per method and attacker. " + "; ".join(shown.values())
    uri = png_uri(privacy_picture(found.outcomes, found.protocol.tolerance))
    caption = (
        "Up is private, left is clear. A method's dots are its attackers, joined by a line; the lowest counts. Right "
        "of the dashed line too many words are lost."
    )
    return f'<figure><img src="{uri}" alt="{escape(alt)}"><figcaption>{caption}</figcaption></figure>'


def _passed_over(found: Found) -> str:
    count = len(found.cast.unusable)
    listed = "".join(f"<li>{escape(why)}</li>" for why in found.cast.unusable.values())
    return f"<details><summary>{count} recordings passed over</summary><ul>{listed}</ul></details>" if count else ""
