"""`make try`: what the converter that ships makes of two voices that are there on every machine, or of two of yours."""

import json
import time
from collections.abc import Sequence
from os.path import realpath
from pathlib import Path
from typing import Any

from revoice.atomic import claim, require_ours, require_writable, sums_of, write_text
from revoice.cli.app import run, several
from revoice.cli.quoting import PATH_KEYS
from revoice.errors import UserError
from revoice.settings import Given, Place, Word, Words, checked, from_config, settings

CLIPS, REPORT = ("source", "target", "converted"), "try.json"  # what is written, and what says that it is ours
FROM, TO = "p901", "p905"  # a woman and a man of the embedded corpus whom no model has heard


@settings
class TryConfig:
    """What `configs/try.yaml` documents."""

    src: Place | None = None
    tgt: Words | None = None
    ckpt: Place
    out: Place
    paths: Given
    recognizer: Given | Word | None = None


def check(values: dict[str, Any]) -> TryConfig:
    """Refuse what cannot be tried, in one line, before a model is loaded."""
    from revoice.checkpoint.load import find_checkpoint
    from revoice.evaluation.listeners import AUTO, check_recognizer

    given = from_config(TryConfig, values)
    checked(Place, given.paths.get("data_dir"), "paths.data_dir")
    check_recognizer(given.recognizer, "recognizer", also=[AUTO])
    find_checkpoint(given.ckpt)
    return given


def task(values: dict[str, Any], folder: Path) -> Path:
    """Convert one clip, print where it is, how similar the voices are and what was heard; returns the folder."""
    from revoice.audio.io import Audio
    from revoice.conversion.chunks import WHOLE
    from revoice.conversion.load import load

    check(values)
    if bool(values["src"]) != bool(values["tgt"]):
        raise UserError("src= and tgt= belong together: type make try SRC=me.wav TGT=you.wav, or neither")
    if values["src"]:
        source, targets = Path(str(values["src"])).expanduser(), [Path(t).expanduser() for t in several(values["tgt"])]
    else:
        source, targets = embedded(Path(values["paths"]["data_dir"]) / "synthetic")
    out = Path(str(values["out"])).expanduser()
    _require_free(out, [source, *targets])
    began = time.perf_counter()
    converter = load(values["ckpt"])
    clips = {"source": converter.heard(source), "target": converter.heard(targets[0])}
    loaded = time.perf_counter()
    clips["converted"] = converter.convert(source, targets)
    done = time.perf_counter()
    _write(out, clips)
    judged = {
        name: Audio(clip.samples[: round(WHOLE * clip.sample_rate)], clip.sample_rate) for name, clip in clips.items()
    }
    judged["copy"] = converter.copy_synthesis(judged["source"])
    print(f"loaded in {loaded - began:.1f} s, converted {clips['source'].seconds:.1f} s in {done - loaded:.1f} s")
    for name in clips:
        print(f"{name:<10} {out / f'{name}.wav'}")
    print(_similarity(clips))
    print(_words(values["recognizer"], judged, bool(values["src"]), converter.model.stands_on))
    return out


def embedded(root: Path) -> tuple[Path, list[Path]]:
    """A clip of one embedded voice and one of another, who says something else; spoken at the first use."""
    from revoice.data.corpora.synthetic import Synthetic

    manifest = Synthetic(root, limit=1).manifest()
    own = {name: [row for row in manifest if row.speaker == name] for name in (FROM, TO)}
    return manifest.file(own[FROM][0]), [manifest.file(own[TO][-1])]


def _require_free(out: Path, inputs: Sequence[Path]) -> None:
    """Refuse a folder where a recording would be written over, one of these or any other that revoice did not make."""
    names = [f"{name}.wav" for name in CLIPS]
    given = {realpath(path) for path in inputs}
    for name in names:
        if realpath(out / name) in given:
            raise UserError(f"out={out}: {name} there is one of the recordings to try: give another folder")
    require_writable(out, folder=True)
    require_ours(out, names, REPORT)


def _write(out: Path, clips: dict[str, Any]) -> None:
    from revoice.audio.io import write_audio

    claim(out, REPORT)
    for name in CLIPS:
        write_audio(out / f"{name}.wav", clips[name].samples, clips[name].sample_rate)
    write_text(out / REPORT, json.dumps(sums_of(out, [f"{name}.wav" for name in CLIPS]), indent=2) + "\n")


def _similarity(clips: dict[str, Any]) -> str:
    from revoice.audio.speaker import speaker_encoder

    source, target, converted = speaker_encoder().embed([clips[name] for name in ("source", "target", "converted")])
    reached, left, apart = float(converted @ target), float(converted @ source), float(source @ target)
    return f"voice      cosine {reached:.2f} to the target, {left:.2f} to the source; source and target {apart:.2f}"


def _words(recognizer: dict[str, Any] | str | None, clips: dict[str, Any], real: bool, stands_on: Sequence[str]) -> str:
    """What was heard, in half a minute; the error rates are relative to what is heard in the source."""
    from revoice.evaluation.listeners import AUTO, DEFAULT, OTHERS, split
    from revoice.evaluation.recognition import RECOGNIZERS, error_rate, is_circular

    name, settings = split(recognizer, "recognizer")
    if name is None:
        return "words      not measured: recognizer=null"
    if name == AUTO:
        there = [other for other in OTHERS if real and not RECOGNIZERS.get(other).missing()]
        name = next(iter(there), DEFAULT)
    judge = RECOGNIZERS.build(name, settings)
    source, converted, copy = judge.transcribe([clips[name] for name in ("source", "converted", "copy")])
    lines = [f"heard in   source:    {source.text}", f"           converted: {converted.text}"]
    rates = f"{100 * error_rate(source.tokens, converted.tokens):.0f} % of the {judge.unit} differ from the source's"
    lines.append(f"words      {rates}; {100 * error_rate(source.tokens, copy.tokens):.0f} % by the vocoder alone")
    remarks = []
    if is_circular(judge, stands_on):
        remarks.append("it shares its teacher with the converter and flatters it")
    if real and name == DEFAULT:
        remarks.append("it hears half of the phones of real speech wrong: pip install 'revoice[evaluation]' helps")
    if remarks:
        lines.append(f"           heard by {judge.name}: {'; '.join(remarks)}")
    return "\n".join(lines)


def main() -> None:
    """Entry point of `revoice-try`."""
    run("try", task, PATH_KEYS)
