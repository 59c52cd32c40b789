"""The examples of the report: what a reader gets to see and hear."""

from collections.abc import Mapping
from html import escape
from typing import Any

from revoice.audio.io import Audio
from revoice.evaluation import report_words
from revoice.evaluation.evaluate import Evaluation
from revoice.evaluation.examples import Example
from revoice.evaluation.media import audio_uri, png_uri
from revoice.evaluation.pictures import spectrograms
from revoice.evaluation.pitch_picture import contours
from revoice.evaluation.tables import number

KINDS = {"best": "Most similar", "median": "Median", "worst": "Least similar"}  # by cosine to the target, not by ear
BRIEF = (  # under an example
    "cosine_target", "cosine_source", "cer_converted", "per_converted", "second_cer_converted", "second_per_converted",
    "mcd_converted",
)  # fmt: skip


def legend() -> str:
    """How the examples were chosen."""
    return (
        '<p class="soft">For target voices of each gender the conversion with the highest, the median and the lowest '
        "cosine to the target: the most similar need not be closer to the target than to the source, nor be clear. "
        "The reference is what the system heard of the target voice. Spectrograms share axes and "
        "colors (dB under each clip's loudest point); below them, the pitch of all on one axis.</p>"
    )


def show(example: Example, evaluation: Evaluation) -> str:
    """One conversion: who, its numbers, what was heard, pictures and players."""
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
    pitch = f"Pitch over time of {', '.join(clips)}, from {who}."
    alt = f"Spectrograms of {', '.join(clips)} for the {KINDS[example.kind].lower()} conversion, from {who}."
    return (
        f'<article class="card"><h4>{escape(KINDS[example.kind])}: {escape(who)}</h4>'
        f'<p class="soft">{escape(said + values)}</p>{report_words.heard(record, evaluation.listeners)}'
        f'<figure class="wide"><img src="{png_uri(spectrograms(clips))}" alt="{escape(alt)}"></figure>'
        f'<figure class="wide"><img src="{png_uri(contours(clips))}" alt="{escape(pitch)}"></figure>'
        f'<div class="players">{"".join(_player(name, clip, who) for name, clip in players.items())}</div></article>'
    )


def _player(name: str, clip: Audio, who: str) -> str:
    label = escape(f"{name}, {who}")
    return (
        f"<div><span>{escape(name)}</span>"
        f'<audio controls preload="metadata" aria-label="{label}" src="{audio_uri(clip)}"></audio></div>'
    )


def _voice(record: Mapping[str, Any], side: str) -> str:
    gender = record[f"{side}_gender"]
    return record[f"{side}_speaker"] + (f" ({gender})" if gender else "")
