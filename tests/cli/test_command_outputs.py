"""What commands write, where, and what they refuse before the work; what they leave behind."""

import json
from itertools import count
from pathlib import Path
from unittest.mock import Mock

import pytest

import revoice
from revoice.atomic import digest, require_ours, sums_of, write_text
from revoice.audio.io import read_audio, write_audio
from revoice.cli.convert import default_out
from revoice.cli.watch import Watcher
from revoice.conversion.jobs import Result, Skipped, convert_files, note_skipped
from revoice.conversion.outputs import Job, Target
from revoice.conversion.veil import Veil
from revoice.errors import UserError
from revoice.evaluation.aspects import MEASURES, Matrix
from revoice.evaluation.aspects_report import write_aspects
from revoice.evaluation.report import write_metrics
from revoice.models.base import Progress
from tests.conftest import TINY
from tests.hostile import RATE, voice


def refused(result: tuple[int, str, str], words: str) -> None:
    status, _, err = result
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert status == 2 and len(lines) == 1 and words in lines[0], err
    assert "Traceback" not in err


@pytest.fixture
def clips(clip: str, tmp_path: Path) -> Path:
    audio = read_audio(clip)
    for name in ("a", "b"):
        write_audio(tmp_path / "clips" / f"{name}.wav", audio.samples, audio.sample_rate)
    return tmp_path / "clips"


def test_a_folder_goes_on_where_it_stopped_and_says_so(command, trained: Path, clips: Path, tmp_path: Path) -> None:
    arguments = [
        f"ckpt={trained}",
        f"src={clips}",
        f"tgt={clips}",
        f"out={tmp_path / 'o'}",
        "name={target}_says_{source}",
    ]
    status, out, err = command("convert", *arguments)
    assert status == 0 and "2 converted, 0 skipped" in out, err
    made = [tmp_path / "o" / f"clips_says_{name}.wav" for name in "ab"]
    assert all(path.is_file() and str(path) in out for path in made)
    status, out, err = command("convert", *arguments)
    assert status == 0 and "2 of 2 were there" in err and "0 converted, 2 kept" in out
    assert all(str(path) in out for path in made)
    status, out, err = command("convert", *arguments, "strength=0.5")
    assert status == 0 and "2 converted, 0 skipped" in out and len(list((tmp_path / "o").glob("*.wav"))) == 2


def test_the_same_command_goes_on_in_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = {"src": "clips", "tgt": ["b.wav"], "out": None, "workers": None, "controls": {"strength": 0.8}}
    first = default_out(values)
    first = first.with_name("2020-01-01_00-00-00" + first.name[-9:])
    first.mkdir(parents=True)
    assert default_out(values) == default_out({**values, "workers": 2}) == first
    assert default_out({**values, "controls": {"strength": 0.5}}) != first


def test_a_picture_of_the_users_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter(f"PNG {number}".encode() for number in count())
    monkeypatch.setattr("revoice.evaluation.transfer_picture.transfer_picture", lambda *_: next(drawn))
    write_audio(tmp_path / "a.wav", voice(0.3), RATE)
    converter = revoice.load("random_cnn", settings={"channels": 2})
    job, target = Job(tmp_path / "a.wav", tmp_path / "o.wav"), Target([tmp_path / "a.wav"], "a")
    picture = tmp_path / "o.png"

    def convert(seed: int) -> str:
        with Watcher(converter.model, target.clips, show=False) as watcher:
            result = convert_files(
                converter, [job], target, converter.controls({"iterations": 2, "seed": seed}), watch=watcher
            )
        assert result.written
        return capsys.readouterr().err

    assert "not drawn" not in convert(1)
    picture.write_bytes(b"mine")
    for seed in (2, 3):  # also after a run in which it was there
        assert "not drawn" in convert(seed) and picture.read_bytes() == b"mine"
    picture.unlink()
    for seed in (4, 5):  # ours is replaced
        assert "not drawn" not in convert(seed) and picture.read_bytes().startswith(b"PNG")
    assert json.loads((tmp_path / "o.json").read_text())["picture_sha256"] == digest(picture)


def test_no_picture_shows_who_was_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = list[Job]()
    monkeypatch.setattr(Watcher, "_draw", lambda _, job: drawn.append(job))
    watcher = Watcher(revoice.load("random_cnn", settings={"channels": 2}).model, [], show=False)
    told, hidden = (Job(tmp_path / "a.wav", tmp_path / "o.wav", veil=veil) for veil in (None, Veil(b"key")))
    for job in (told, hidden):
        watcher.begin(job)
        watcher._step(Progress(0, 1, 1, 1, {"style": 1.0}))
        watcher.done(job)
    assert drawn == [told]


def test_a_list_of_skipped_sources_replaces_nobodys_file(command, trained: Path, clips: Path, tmp_path: Path) -> None:
    (clips / "c.wav").write_text("not audio")
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "skipped.json").write_text('{"mine": true}')
    for _ in range(2):
        status, _, err = command(
            "convert", f"ckpt={trained}", f"src={clips}", f"tgt={clips / 'a.wav'}", f"out={tmp_path / 'o'}"
        )
        assert status == 0 and "skipped: " in err
    assert json.loads((tmp_path / "o" / "skipped.json").read_text()) == {"mine": True}
    assert len(json.loads((tmp_path / "o" / "skipped_2.json").read_text())) == 1
    assert not (tmp_path / "o" / "skipped_3.json").exists()


def test_sources_are_listed_as_skipped_until_they_are_mended(tmp_path: Path) -> None:
    out = tmp_path / "o"
    broken = [write_text(tmp_path / name, "") or tmp_path / name for name in ("a.wav", "b.wav")]
    jobs = [Job(source, out / "deep" / f"{source.stem}.wav") for source in broken]
    note_skipped(out, jobs, Result(skipped=[Skipped(str(source), "broken") for source in broken]))
    assert len(json.loads((out / "skipped.json").read_text())) == 2
    note_skipped(out, jobs[:1], Result(written=[jobs[0].out]))  # mended, and asked for alone
    assert [item["source"] for item in json.loads((out / "skipped.json").read_text())] == [str(broken[1])]
    broken[1].unlink()
    note_skipped(out, jobs[:1], Result(kept=[jobs[0].out]))
    assert not (out / "skipped.json").exists()


def test_a_report_that_was_killed_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(UserError, match="report.html in that folder"):
        require_ours(tmp_path, ("report.html",))
    (tmp_path / "report.html").unlink()
    ways = {"rhythm": dict.fromkeys(MEASURES, 0.1)}
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr("revoice.evaluation.aspects_report.write_metrics", Mock(side_effect=KeyboardInterrupt))
        write_aspects(tmp_path, {"a": Matrix(ways, ways, {"rhythm": {}}, {}, 1)}, {})
    assert (tmp_path / "report.html").exists()
    require_ours(tmp_path, ("report.html",))
    write_metrics(tmp_path / "metrics.json", sums_of(tmp_path, ("report.html",)))
    (tmp_path / "report.html").write_text("with remarks of mine")
    with pytest.raises(UserError, match="report.html in that folder"):
        require_ours(tmp_path, ("report.html",))


@pytest.mark.slow
def test_outputs_are_tried_before_the_work(command, trained: Path, clip: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    convert = [f"ckpt={trained}", f"src={clip}", f"tgt={clip}"]
    for out, words in (
        (tmp_path / "file", "is no folder"), ("/dev/null", "is no folder"), (tmp_path / "x.m4a", ".wav .flac"),
        ("/proc/x/y", "cannot write"), (tmp_path / ("n" * 300), "expected a path"), ("~no_user/x", "~no_user/x"),
    ):  # fmt: skip
        refused(command("convert", *convert, f"out={out}"), words)
    refused(command("convert", *convert, "name={speaker}"), "{source} and {target}")
    for out in (tmp_path / "file", "/dev/null", "/proc/x"):
        refused(command("evaluate", f"ckpt={trained}", *TINY, f"out={out}"), str(out))
    for seed in ("abc", "-1", "4294967296", "1.5", "null"):
        refused(command("evaluate", f"ckpt={trained}", *TINY, f"seed={seed}"), "seed")
    refused(command("prepare", *TINY, f"paths.prepared_dir={tmp_path / 'file'}"), "is no folder")
    refused(command("export", "ckpt=missing.ckpt", "out=/proc/x.safetensors"), "missing.ckpt does not exist")
    importing = ["import_checkpoint", "kind=whisper", "path=missing.pt"]
    refused(command(*importing, "out=/proc/x.safetensors"), "cannot write to /proc/x.safetensors")
    assert (tmp_path / "file").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_a_report_replaces_nothing_but_reports(command, trained: Path, tmp_path: Path) -> None:
    evaluate = [
        "evaluate", f"ckpt={trained}", *TINY, "metrics.voices=2", "metrics.workers=0", "metrics.recognizer=null",
        "metrics.groups=[unseen]", "metrics.naturalness=false", "adapt=0", f"out={tmp_path / 'report'}",
    ]  # fmt: skip
    (tmp_path / "report").mkdir()
    for mine in ("metrics.json", "report.html", "trials.csv"):
        (tmp_path / "report" / mine).write_text('{"version": 3}')  # as other programs write too
        refused(command(*evaluate), f"{mine} in that folder would be replaced, which revoice did not make")
        if mine == "metrics.json":
            for other in (["evaluation=phones", evaluate[1]], ["evaluation=gram_identification"]):
                refused(command("evaluate", *other, *TINY, evaluate[-1]), f"{mine} in that folder would be replaced")
        assert (tmp_path / "report" / mine).read_text() == '{"version": 3}'
        (tmp_path / "report" / mine).unlink()
    for _ in range(2):
        assert command(*evaluate)[0] == 0
    (tmp_path / "report" / "trials.csv").write_text("with remarks of mine")
    refused(command(*evaluate), "trials.csv in that folder would be replaced")
    assert (tmp_path / "report" / "trials.csv").read_text() == "with remarks of mine"


def test_exporting_replaces_nothing_but_models(command, trained: Path, tmp_path: Path) -> None:
    for mine in ("model.json", "model.safetensors"):
        (tmp_path / mine).write_text("{}")
        refused(command("export", f"ckpt={trained}", f"out={tmp_path / 'model.safetensors'}"), f"{mine}: is there")
        assert (tmp_path / mine).read_text() == "{}"
        (tmp_path / mine).unlink()
    for _ in range(2):
        assert command("export", f"ckpt={trained}", f"out={tmp_path / 'model.safetensors'}")[0] == 0
    own = f"ckpt={tmp_path / 'model.safetensors'}"
    refused(command("export", own, f"out={tmp_path / 'model.safetensors'}", "half=true"), "is what is read")
    importing = ["import_checkpoint", "kind=whisper", "path=missing.pt"]
    (tmp_path / "mine.ckpt").write_text("mine")
    refused(command(*importing, f"out={tmp_path / 'mine.ckpt'}"), "would be replaced")


def test_what_is_refused_or_only_shown_leaves_no_run_folder(command, workplace: Path, monkeypatch) -> None:
    place = workplace / "elsewhere"
    place.mkdir()
    tiny = [
        *TINY,
        "model=adain_vc_small",
        "debug=tiny",
        "logger=csv",
        "trainer=cpu",
        f"paths.data_dir={workplace / 'data'}",
    ]
    monkeypatch.chdir(place)
    refused(command("train", *tiny, "init_from=nothing.ckpt", "hydra.run.dir=elsewhere/outputs/run"), "does not exist")
    status, out, err = command("train", *tiny, "show=true", "hydra.run.dir=elsewhere/outputs/run")
    assert status == 0 and "parameters" in out, err
    assert not (place / "outputs").exists()
    (place / "run").mkdir(parents=True)
    (place / "run" / "mine.txt").write_text("mine")
    refused(command("train", *tiny, "init_from=nothing.ckpt", "hydra.run.dir=elsewhere/run"), "does not exist")
    assert (place / "run" / "mine.txt").read_text() == "mine"


def test_the_hint_after_training_a_table_of_speakers_can_be_typed(command, workplace: Path, clip: str) -> None:
    run = workplace / "outputs" / "hinted"
    small = ["model=vqvae_small", "model.voice=speaker", "debug=tiny", "logger=none", "trainer=cpu", *TINY]
    status, out, err = command("train", *small, f"hydra.run.dir={run}")
    assert status == 0, err
    (hint,) = [line for line in out.splitlines() if line.startswith("convert:")]
    words = hint.split("python convert.py ")[1].replace("src=a.wav", f"src={clip}").split()
    status, out, err = command("convert", *words, "out=outputs/hint")
    assert status == 0 and list((workplace / "outputs" / "hint").glob("*.wav")), err
