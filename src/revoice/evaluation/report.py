"""The report of an evaluation: `metrics.json`, `trials.csv` and a page that opens without a network."""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from revoice.atomic import write_text
from revoice.evaluation import report_examples, report_words
from revoice.evaluation.bootstrap import RESAMPLES
from revoice.evaluation.compare import Differences
from revoice.evaluation.evaluate import Evaluation
from revoice.evaluation.media import png_uri
from revoice.evaluation.page import facts_list, page
from revoice.evaluation.pictures import cosine_scatter
from revoice.evaluation.tables import (
    comparison_table,
    condition_table,
    number,
    summary_table,
    told,
    trial_table,
)
from revoice.foreign import write_csv

TITLES = {
    "unseen": ("Unseen voices", "Neither the voices nor the sentences were in training, as far as is known."),
    "seen": ("Seen voices", "The voices were in training, the sentences were not, as far as is known."),
}
TILES = (
    "closer_to_target", "cosine_target", "cer_converted", "per_converted", "second_cer_converted",
    "second_per_converted", "mcd_converted", "f0_correlation", "real_time_factor",
)  # fmt: skip


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
    path: Path,
    evaluations: Sequence[Evaluation],
    title: str,
    facts: Mapping[str, object],
    remark: str = "",
    compared: Mapping[str, Differences] | None = None,
    configs: Mapping[str, Any] | None = None,
) -> None:
    """Write the page: tables, pictures and players, all inside one HTML file.

    Args:
        path: the file; appears whole or not at all.
        evaluations: one per system, of the same trials.
        title: heading.
        facts: what was measured, shown as a list (model, checkpoint, data, ...).
        remark: why there are no error rates, or no second opinion on them.
        compared: paired tests between the systems, by group.
        configs: what everything was set to.
    """
    assert evaluations, "nothing to report"
    parts = [_heading(evaluations, title, facts, remark)]
    if len(evaluations) > 1:
        parts.append(_comparison(evaluations, compared or {}))
    for evaluation in evaluations:
        parts.append(_system(evaluation, alone=len(evaluations) == 1))
    if configs:
        text = escape(json.dumps(_plain(configs), indent=2, ensure_ascii=False, default=str))
        parts.append(
            f"<h2>Configs</h2><details><summary>What everything was set to</summary><pre>{text}</pre></details>"
        )
    write_text(path, page(title, "\n".join(parts)))


def _heading(evaluations: Sequence[Evaluation], title: str, facts: Mapping[str, object], remark: str) -> str:
    tiles = _tiles(evaluations[0]) if len(evaluations) == 1 else ""
    warnings = [_circular(evaluation) for evaluation in evaluations if evaluation.circular]
    warnings += report_words.notes(evaluations, remark)
    warnings += [note for evaluation in evaluations for note in _flags(evaluation)]
    about = facts_list({**facts, **report_words.facts(evaluations[0])})
    legend = _legend() + (report_words.reading() if evaluations[0].listeners else "")
    return "\n".join([f"<h1>{escape(title)}</h1>", about, tiles, *warnings, legend])


def _legend() -> str:
    return (
        '<p class="soft">Under a number: its 95 % confidence interval, from '
        f"{RESAMPLES} bootstrap samples of voices and utterances. <em>Nothing converted</em> is the same number for "
        "the untouched source; <em>vocoder alone</em> for the target's own recording, only turned into features and "
        "back: the two ends between which a conversion can be.</p>"
    )


def _circular(evaluation: Evaluation) -> str:
    second = evaluation.second_verifier
    more = f" The numbers of {escape(second)} stand beside them." if second else ""
    return (
        f'<p class="note"><strong>Circular:</strong> {escape(evaluation.name)} was trained with or conditioned on '
        f"{escape(evaluation.verifier)}, the encoder that scores it here. Its cosines and its share of conversions "
        f"closer to the target flatter it; do not compare them with those of other systems.{more}</p>"
    )


def _flags(evaluation: Evaluation) -> list[str]:
    return [
        f'<p class="note"><strong>{escape(evaluation.name)}, {escape(group)} voices: {escape(flag.name)}.</strong> '
        f"{escape(flag.text[:1].upper() + flag.text[1:])}</p>"
        for group, found in evaluation.flags.items()
        for flag in found
    ]


def _tiles(evaluation: Evaluation) -> str:
    group, summary = next(iter(evaluation.summaries.items()))
    chosen = [column for key in TILES for column in evaluation.columns if column.key == key]
    tiles = "".join(
        f'<div class="tile"><b>{number(summary.get(column.key), column)}</b><span>{escape(column.title)}</span></div>'
        for column in chosen
    )
    return f'<div class="tiles" role="group" aria-label="{escape(_title(group))}">{tiles}</div>'


def _comparison(evaluations: Sequence[Evaluation], compared: Mapping[str, Differences]) -> str:
    columns = list({c.key: c for evaluation in evaluations for c in evaluation.columns}.values())
    parts = [
        "<h2>Side by side</h2>",
        '<p class="soft">The best of a line is bold; ≈ marks what does not differ significantly from it (paired tests '
        "on the same conversions, voices and utterances drawn together, 5 % over all pairs of systems by Holm's "
        "procedure).</p>",
    ]
    for group in evaluations[0].summaries:
        parts.append(f"<h3>{escape(_title(group))}</h3>")
        parts.append(
            comparison_table(
                {e.name: e.summaries[group] for e in evaluations if group in e.summaries},
                columns,
                compared.get(group, {}),
            )  # fmt: skip
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
            _folded("By gender and condition", condition_table(summary, evaluation.columns)),
            f"<details><summary>All {summary['trials']} conversions</summary>"
            f"{trial_table(evaluation.records[group], evaluation.columns)}</details>",
        ]
    if any(column.key == "cosine_target" for column in evaluation.columns):
        parts += [f"<{heading}>Whose voice is it?</{heading}>", _verifiers(evaluation), _scatter(evaluation)]
        parts += _maps(evaluation)
    parts += [f"<{heading}>Listen</{heading}>", report_examples.legend()]
    for group, examples in list(evaluation.examples.items())[: None if alone else 1]:
        shown = examples if alone else examples[:3]
        parts += [f"<h3>{escape(_title(group))}</h3>", *(report_examples.show(one, evaluation) for one in shown)]
    return "\n".join(part for part in parts if part)


def _folded(title: str, html: str) -> str:
    """Something long that opens at a click."""
    return f"<details><summary>{escape(title)}</summary>{html}</details>" if html else ""


def _failures(summary: Mapping[str, Any]) -> str:
    if not summary["failed"]:
        return ""
    return (
        f" {summary['failed']} gave no usable sound: they count as not closer to the target and wholly in error, and "
        "are left out elsewhere."
    )


def _verifiers(evaluation: Evaluation) -> str:
    """How well each judge tells the true recordings apart."""
    lines = []
    for group, summary in evaluation.summaries.items():
        for key in ("verifier", "second_verifier"):
            judge = summary.get(key)
            if isinstance(judge, Mapping) and judge["equal_error_rate"] == judge["equal_error_rate"]:
                ci = judge["ci"]
                between = f" ({100 * ci[0]:.1f} to {100 * ci[1]:.1f} %)" if ci else ""
                lines.append(
                    f"{judge['name']} tells the true recordings apart with an equal error rate of "
                    f"{100 * judge['equal_error_rate']:.1f} %{between} ({group} voices; {judge['mated']} trials of one "
                    f"voice, {judge['nonmated']} of two)."
                )
    return f'<p class="soft">{escape(" ".join(lines))}</p>' if lines else ""


def _maps(evaluation: Evaluation) -> list[str]:
    figures = []
    for group, voices in evaluation.voices.items():
        if voices.drawable:
            alt = (
                f"Map of the voices ({_title(group)}): embeddings of {len(voices.real)} recordings and "
                f"{len(voices.converted)} conversions by {evaluation.verifier}, on the plane of the real voices."
            )
            caption = (
                f"{_title(group)}: where {evaluation.verifier} hears recordings and conversions, on the plane that "
                "parts the real voices most; distances in the plane are not all distances."
            )
            figures.append(
                f'<figure><img src="{png_uri(voices.picture())}" alt="{escape(alt)}">'
                f"<figcaption>{escape(caption)}</figcaption></figure>"
            )
    return figures


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
