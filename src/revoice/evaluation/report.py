"""The report of an evaluation: `metrics.json`, `trials.csv` and a page that opens without a network."""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from revoice.atomic import write_text
from revoice.evaluation import report_words
from revoice.evaluation.bootstrap import RESAMPLES
from revoice.evaluation.evaluate import Evaluation
from revoice.evaluation.examples import Example
from revoice.evaluation.media import audio_uri, png_uri
from revoice.evaluation.page import facts_list, page
from revoice.evaluation.pictures import cosine_scatter, spectrograms
from revoice.evaluation.tables import (
    comparison_table,
    gender_table,
    number,
    summary_table,
    told,
    trial_table,
)
from revoice.foreign import write_csv

TITLES = {
    "unseen": ("Unseen voices", "Neither the voices nor the sentences were in training."),
    "seen": ("Seen voices", "The voices were in training, the sentences were not."),
}
TILES = (
    "closer_to_target", "cosine_target", "cer_converted", "per_converted", "second_cer_converted",
    "second_per_converted", "mcd_converted", "f0_correlation", "real_time_factor",
)  # fmt: skip
KINDS = {"best": "Most similar", "median": "Median", "worst": "Least similar"}  # by cosine to the target, not by ear
BRIEF = ("cosine_target", "cosine_source", *TILES[2:6], "mcd_converted")  # under an example


def write_metrics(path: Path, payload: Mapping[str, Any]) -> None:
    """Write JSON that appears whole or not at all; numbers that are not finite become null."""
    write_text(path, json.dumps(_plain(payload), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_trials(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write one line of CSV per system and trial."""
    rows = [
        {"system": evaluation.name, "group": group, **record, "references": " ".join(record["references"])}
        for evaluation in evaluations
        for group, records in evaluation.records.items()
        for record in records
    ]
    write_rows(path, rows)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write mappings as lines of CSV; the columns are all keys, in the order of their appearance."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    write_csv(path, [names, *([row.get(name, "") for name in names] for row in rows)])


def write_report(
    path: Path, evaluations: Sequence[Evaluation], title: str, facts: Mapping[str, object], remark: str = ""
) -> None:
    """Write the page: tables, pictures and players, all inside one HTML file.

    Args:
        path: the file; appears whole or not at all.
        evaluations: one per system, of the same trials.
        title: heading.
        facts: what was measured, shown as a list (model, checkpoint, data, ...).
        remark: why there are no error rates, or no second opinion on them.
    """
    assert evaluations, "nothing to report"
    parts = [_heading(evaluations, title, facts, remark)]
    if len(evaluations) > 1:
        parts.append(_comparison(evaluations))
    for evaluation in evaluations:
        parts.append(_system(evaluation, alone=len(evaluations) == 1))
    write_text(path, page(title, "\n".join(parts)))


def _heading(evaluations: Sequence[Evaluation], title: str, facts: Mapping[str, object], remark: str) -> str:
    tiles = _tiles(evaluations[0]) if len(evaluations) == 1 else ""
    warnings = [_circular(evaluation) for evaluation in evaluations if evaluation.circular]
    warnings += report_words.notes(evaluations, remark)
    about = facts_list({**facts, **report_words.facts(evaluations[0])})
    legend = _legend() + (report_words.reading() if evaluations[0].listeners else "")
    return "\n".join([f"<h1>{escape(title)}</h1>", about, tiles, *warnings, legend])


def _legend() -> str:
    return (
        '<p class="soft">Under a number: its 95 % confidence interval, from '
        f"{RESAMPLES} bootstrap samples of the pairs of voices. <em>Nothing converted</em> is the same number for the "
        "untouched source; <em>vocoder alone</em> for the target's own recording, only turned into features and back: "
        "the two ends between which a conversion can be.</p>"
    )


def _circular(evaluation: Evaluation) -> str:
    return (
        f'<p class="note"><strong>Circular:</strong> {escape(evaluation.name)} was trained with or conditioned on '
        f"{escape(evaluation.verifier)}, the encoder that scores it here. Its cosines and its share of conversions "
        "closer to the target flatter it; do not compare them with those of other systems.</p>"
    )


def _tiles(evaluation: Evaluation) -> str:
    group, summary = next(iter(evaluation.summaries.items()))
    chosen = [column for key in TILES for column in evaluation.columns if column.key == key]
    tiles = "".join(
        f'<div class="tile"><b>{number(summary.get(column.key), column)}</b><span>{escape(column.title)}</span></div>'
        for column in chosen
    )
    return f'<div class="tiles" role="group" aria-label="{escape(_title(group))}">{tiles}</div>'


def _comparison(evaluations: Sequence[Evaluation]) -> str:
    columns = list({c.key: c for evaluation in evaluations for c in evaluation.columns}.values())
    parts = ["<h2>Side by side</h2>"]
    for group in evaluations[0].summaries:
        parts.append(f"<h3>{escape(_title(group))}</h3>")
        parts.append(
            comparison_table({e.name: e.summaries[group] for e in evaluations if group in e.summaries}, columns)
        )
    readings = "".join(f"<dt>{escape(c.title)}</dt><dd>{escape(c.explain)}</dd>" for c in told(columns))
    return "\n".join([*parts, f"<dl>{readings}</dl>"])


def _system(evaluation: Evaluation, alone: bool) -> str:
    parts = [] if alone else [f"<h2>{escape(evaluation.name)}</h2>"]
    heading = "h2" if alone else "h3"
    for group, summary in evaluation.summaries.items():
        known = TITLES.get(group, (group, ""))[1]
        counts = f"{summary['pairs']} ordered pairs of voices, {summary['trials']} conversions."
        parts += [
            f"<{heading}>{escape(_title(group))}</{heading}>",
            f'<p class="soft">{escape(known)} {counts}{_failures(summary)}</p>',
            summary_table(summary, evaluation.columns),
            "<h3>Same gender and cross-gender</h3>" if "same_gender" in summary or "cross_gender" in summary else "",
            gender_table(summary, evaluation.columns),
            f"<details><summary>All {summary['trials']} conversions</summary>"
            f"{trial_table(evaluation.records[group], evaluation.columns)}</details>",
        ]
    if any(column.key == "cosine_target" for column in evaluation.columns):
        parts += [f"<{heading}>Whose voice is it?</{heading}>", _scatter(evaluation)]
    parts += [f"<{heading}>Listen</{heading}>", _legend_examples()]
    for group, examples in list(evaluation.examples.items())[: None if alone else 1]:
        parts += [f"<h3>{escape(_title(group))}</h3>", *(_example(example, evaluation) for example in examples)]
    return "\n".join(part for part in parts if part)


def _failures(summary: Mapping[str, Any]) -> str:
    if not summary["failed"]:
        return ""
    return (
        f" {summary['failed']} gave no usable sound: they count as not closer to the target and wholly in error, and "
        "are left out elsewhere."
    )


def _scatter(evaluation: Evaluation) -> str:
    picture = png_uri(cosine_scatter({_title(group): records for group, records in evaluation.records.items()}))
    errors = [column for column in evaluation.columns if column.key in TILES[2:6]]
    shares = "; ".join(
        f"{_title(group)}: {100 * summary['closer_to_target']:.1f} % closer to the target, mean cosine "
        f"{summary['cosine_target']:.3f} to the target and {summary['cosine_source']:.3f} to the source"
        + "".join(f", {c.title.lower()} {number(summary.get(c.key), c)}" for c in errors)
        for group, summary in evaluation.summaries.items()
    )
    alt = (
        f"Scatter plot, one point per conversion: cosine to the target voice over cosine to the source voice. {shares}."
    )
    caption = "One point per conversion; above the dashed line it is closer to the target. Gray bars: histograms."
    return f'<figure><img src="{picture}" alt="{escape(alt)}"><figcaption>{caption}</figcaption></figure>'


def _legend_examples() -> str:
    return (
        '<p class="soft">For target voices of each gender the conversion with the highest, the median and the lowest '
        "cosine to the target: the most similar need not be closer to the target than to the source, nor be clear. "
        "The reference is what the system heard of the target voice. Spectrograms share axes and "
        "colors (dB under each clip's loudest point).</p>"
    )


def _example(example: Example, evaluation: Evaluation) -> str:
    record, result = example.record, example.result
    clips = {"source": result.source, "converted": result.converted}
    if result.true_target:
        clips["true target"] = result.true_target
    players = {"source": result.source, "reference": result.references[0], **clips}
    who = f"{_voice(record, 'source')} to {_voice(record, 'target')}"
    values = ", ".join(
        f"{column.title.lower()} {number(record.get(column.key), column)}"
        for column in evaluation.columns
        if column.key in BRIEF
    )
    if (closer := record.get("closer_to_target")) is not None:
        values = f"closer to the {'target' if closer else 'source'}: {values}"
    said = f"“{record['text']}” " if record["text"] else ""
    alt = f"Spectrograms of {', '.join(clips)} for the {KINDS[example.kind].lower()} conversion, from {who}."
    return (
        f'<article class="card"><h4>{escape(KINDS[example.kind])}: {escape(who)}</h4>'
        f'<p class="soft">{escape(said + values)}</p>{report_words.heard(record, evaluation.listeners)}'
        f'<figure><img src="{png_uri(spectrograms(clips))}" alt="{escape(alt)}"></figure>'
        f'<div class="players">{"".join(_player(name, clip, who) for name, clip in players.items())}</div></article>'
    )


def _player(name: str, clip: Any, who: str) -> str:
    label = escape(f"{name}, {who}")
    return (
        f"<div><span>{escape(name)}</span>"
        f'<audio controls preload="metadata" aria-label="{label}" src="{audio_uri(clip)}"></audio></div>'
    )


def _voice(record: Mapping[str, Any], side: str) -> str:
    gender = record[f"{side}_gender"]
    return record[f"{side}_speaker"] + (f" ({gender})" if gender else "")


def _title(group: str) -> str:
    return TITLES.get(group, (group, ""))[0]


def _plain(value: Any) -> Any:
    """`value` with nan and infinities as None and numpy numbers as Python's."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
