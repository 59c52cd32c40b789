"""What an identification by Gram matrices leaves: `metrics.json`, `predictions.csv` and a page."""

from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from revoice.atomic import REPORT, claim, sums_of, write_text
from revoice.evaluation.bootstrap import RESAMPLES
from revoice.evaluation.media import png_uri
from revoice.evaluation.page import facts_list, page
from revoice.evaluation.report import write_metrics, write_rows
from revoice.evaluation.tables import table
from revoice.studies.confusion_picture import confusion_picture
from revoice.studies.gram_protocol import Identification, Outcome
from revoice.version import __version__

FILES = ("predictions.csv", "report.html")  # beside `metrics.json`
TITLE = "Speakers by the nearest Gram matrix"


def write_identification(folder: Path, found: Identification) -> None:
    """Write the three files into a folder."""
    rows = [
        {
            "variant": outcome.variant.title, "seed": guess.seed, "id": guess.row.id, "speaker": guess.row.speaker,
            "answer": guess.answer, "right": int(guess.right), "nearest": guess.nearest.id, "distance": guess.distance,
        }
        for outcome in found.outcomes
        for guess in outcome.guesses
    ]  # fmt: skip
    claim(folder)
    write_rows(folder / "predictions.csv", rows)
    write_text(folder / "report.html", page(TITLE, _body(found)))
    write_metrics(folder / REPORT, {**_payload(found), **sums_of(folder, FILES)})


def result_line(outcome: Outcome) -> str:
    """The numbers of one variant on one line."""
    seeds = len(outcome.by_seed)
    spread = f" +- {100 * outcome.deviation:.1f} ({seeds} seeds)" if outcome.deviation is not None else " (1 seed)"
    none = f", {_percent(outcome.unanswered)} without an answer" if outcome.unanswered else ""
    return f"{outcome.variant.title}: {_percent(outcome.accuracy)}{spread}{none}"


def reference_line(found: Identification) -> str:
    """What the numbers stand beside."""
    published = "" if found.published is None else f", published for VCTK {_percent(found.published)}"
    return f"{_task(found)}: chance {_percent(found.chance)}{published}"


def confusions(outcome: Outcome, names: list[str]) -> NDArray[np.float64]:
    """How often (n, n + 1) each voice was taken for each other one, or nobody, by all networks together."""
    place = {name: number for number, name in enumerate([*names, ""])}
    counts = np.zeros((len(names), len(names) + 1))
    for guess in outcome.guesses:
        counts[place[guess.row.speaker], place[guess.answer]] += 1
    return counts


def _task(found: Identification) -> str:
    p = found.protocol
    return f"{p.speakers} voices, {p.train} known and {p.utterances - p.train} asked clips of each"


def _payload(found: Identification) -> dict[str, Any]:
    return {
        "version": __version__,
        "evaluation": "gram_identification",
        "data": {"corpus": found.manifest.corpus, "manifest": found.manifest.digest()},
        "features": found.spec.fingerprint,
        "protocol": vars(found.protocol),
        "speakers": found.cast.speakers,
        "known": len(found.cast.known), "asked": len(found.cast.asked), "passed_over": found.cast.unusable,
        "chance": found.chance, "published": found.published,
        "axes": found.axes, "left_out": found.left_out,
        "variants": [_entry(outcome) for outcome in found.outcomes],
        "seconds": round(found.seconds, 1),
    }  # fmt: skip


def _entry(outcome: Outcome) -> dict[str, Any]:
    return {
        "title": outcome.variant.title, **vars(outcome.variant), "accuracy": outcome.accuracy,
        "deviation": outcome.deviation, "ci": outcome.interval(), "unanswered": outcome.unanswered,
        "by_seed": outcome.by_seed,
    }  # fmt: skip


def _body(found: Identification) -> str:
    parts = [
        f"<h1>{TITLE}</h1>",
        facts_list(_facts(found)),
        _tiles(found),
        "<p>A clip's voice is that of the known clip whose Gram matrix of random-CNN features is nearest. Gram "
        "matrices are sums over frames: compared <em>as they are</em>, as published, clips must also be equally long "
        "and loud to be near; divided by the number of frames, or by the energy of the spectrogram, they need not.</p>",
        _table(found),
        '<p class="soft">Accuracy: mean over the networks, higher is better; below it the 95 % confidence interval, '
        f"from {RESAMPLES} bootstrap samples of voices and clips, with Student's reach for so few voices (where all "
        "clips are right, Wilson's of as many trials as there are voices). Deviation: over the networks. With a cap, "
        "clips that are nowhere nearer get no answer, which counts as wrong.</p>",
        "<h2>Who is taken for whom</h2>",
        _picture(found),
        _passed_over(found),
    ]
    return "\n".join(part for part in parts if part)


def _facts(found: Identification) -> dict[str, object]:
    p = found.protocol
    networks = f"{', '.join(p.kernels)} kernels, {p.channels} channels, {p.layers} layer(s), leaky ReLU {p.slope:g}"
    axes = ", ".join(f"{count} ({kernel})" for kernel, count in found.axes.items())
    lost = f"{axes}; of a Gram matrix's norm at most {100 * found.left_out:.1f} % lies outside" if axes else "all"
    return {
        "data": f"{found.manifest.corpus}, manifest {found.manifest.digest()}",
        "task": _task(found),
        "networks": f"{networks}; seeds {', '.join(map(str, found.outcomes[0].by_seed))}",
        "axes": lost,
        "revoice": __version__,
    }


def _tiles(found: Identification) -> str:
    tiles = {"most accurate: " + found.best.variant.title: found.best.accuracy}
    if found.outcomes[0] is not found.best:
        tiles[found.outcomes[0].variant.title] = found.outcomes[0].accuracy
    if found.published is not None:
        tiles["published, on VCTK, as many voices and clips"] = found.published
    tiles["guessing"] = found.chance
    shown = "".join(
        f'<div class="tile"><b>{_percent(share)}</b><span>{escape(title)}</span></div>'
        for title, share in tiles.items()
    )
    return f'<div class="tiles" role="group" aria-label="accuracy">{shown}</div>'


def _table(found: Identification) -> str:
    lines = []
    for outcome in found.outcomes:
        bounds = outcome.interval()
        under = "" if bounds is None else f"<small>{100 * bounds.low:.1f} to {100 * bounds.high:.1f}</small>"
        shares = outcome.by_seed.values()
        spread = "–" if outcome.deviation is None else f"{100 * outcome.deviation:.1f}"
        lines.append(
            [
                ("", escape(outcome.variant.title)),
                ("n main", _percent(outcome.accuracy) + under),
                ("n", spread),
                ("n", f"{100 * min(shares):.1f} to {100 * max(shares):.1f}"),
                ("n", _percent(outcome.unanswered)),
            ]
        )
    if found.published is not None:
        lines.append([("", "published (VCTK)"), ("n main", _percent(found.published)), *[("n", "–")] * 3])
    lines.append([("", "guessing"), ("n main", _percent(found.chance)), *[("n", "–")] * 3])
    heads = [("", "Kernel, Gram matrices"), ("n", "Accuracy"), ("n", "Deviation"), ("n", "Worst to best<br>network")]
    return table([*heads, ("n", "No answer")], lines)


def _picture(found: Identification) -> str:
    names = found.cast.speakers
    shown = list({outcome.variant.title: outcome for outcome in (found.outcomes[0], found.best)}.values())
    picture = png_uri(confusion_picture({o.variant.title: confusions(o, names) for o in shown}, names))
    shares = "; ".join(f"{o.variant.title}: {_percent(o.accuracy)} on the diagonal" for o in shown)
    alt = f"Confusion matrix, a row for each voice and a column for each voice it was taken for. {shares}."
    caption = "Share of each voice's clips, all networks together; right answers lie on the diagonal."
    return f'<figure><img src="{picture}" alt="{escape(alt)}"><figcaption>{caption}</figcaption></figure>'


def _passed_over(found: Identification) -> str:
    if not found.cast.unusable:
        return ""
    lines = "".join(f"<li>{escape(reason)}</li>" for reason in found.cast.unusable.values())
    return f"<details><summary>{len(found.cast.unusable)} recordings passed over</summary><ul>{lines}</ul></details>"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
