"""The commands as a user types them: what they leave behind, and the one line they say when something is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

import revoice
from revoice.audio.io import read_audio, write_audio
from revoice.audio.presets import load_preset
from revoice.checkpoint.load import load_checkpoint
from revoice.cli import train
from revoice.cli.train import with_what_it_starts_from
from revoice.errors import UserError
from revoice.training.run import Outcome
from tests.conftest import TINY, compose_config

ARGUMENTS = [*TINY, "model=adain_vc_small", "debug=tiny", "logger=csv", "trainer=cpu"]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("train", ["model=adain_vcc"], "did you mean 'adain_vc'"),
        ("train", ["data=vtck"], "did you mean 'vctk'"),
        ("train", ["model.nothing=1"], "unknown setting 'model.nothing'"),
        ("train", ["max_iteration=1"], "unknown setting 'max_iteration'"),
        ("train", ["data=vctk", "data.root=nowhere"], "Edinburgh DataShare"),
        ("train", ["data=librispeech", "data.root=nowhere"], "OpenSLR"),
        ("train", ["trainer.gpus=64"], "64 GPUs asked for"),
        ("train", ["trainer.precision=8"], "trainer.precision"),
        ("train", ["init_from=nothing.ckpt"], "does not exist"),
        ("train", ["ckpt_path=nothing.ckpt"], "does not exist"),
        ("train", ["optimizer.name=adan"], "did you mean"),
        ("train", ["loss.reconstructoin=1"], "unknown setting"),
        ("train", ["data.batch_size=0"], "batch_size"),
        ("train", ["model.norm_position=inside"], "before"),
        ("train", ["a b c"], "command line"),
        ("convert", [], "src= is missing"),
        ("convert", ["model=random_cnn", "ckpt=x.ckpt", "src=a.wav", "tgt=b.wav"], "give one"),
        ("convert", ["model=adain_vc_small", "src=a.wav", "tgt=b.wav"], "has to be trained"),
        ("convert", ["model=random_cnn", "features=mel_22k", "src=a.wav", "tgt=b.wav"], "features=log1p_22k"),
        ("convert", ["model=random_cnn", "features=stft_16k", "src=a.wav", "tgt=b.wav"], "with phases"),
        ("convert", ["model=random_cnn", "kernel=3x3", "src=a.wav", "tgt=b.wav"], "type model.kernel=3x3"),
        ("convert", ["model=random_cnn", "model.kernel=3", "src=a.wav", "tgt=b.wav"], "3x1 or 3x3"),
        ("convert", ["model=random_cnn", "seed=99999999999999999999", "src=a.wav", "tgt=b.wav"], "seed="),
        ("evaluate", ["evaluation.name=gram_identification"], "type evaluation=gram_identification"),
        ("convert", ["ckpt=x.ckpt", "features=mel_22k", "src=a.wav", "tgt=b.wav"], "leave features= out"),
        ("convert", ["model=random_cn", "src=a.wav", "tgt=b.wav"], "did you mean 'random_cnn'"),
        ("convert", ["model=random_cnn", "src=missing.wav", "tgt=b.wav"], "missing.wav"),
        ("train", ["model=random_cnn"], "python convert.py model=random_cnn"),
        ("convert", ["src=missing.wav", "tgt=missing.wav"], "missing.wav"),
        ("convert", ["src=x.wav"], "tgt= is missing"),
        ("evaluate", [], "ckpt= is missing"),
        ("evaluate", ["ckpt=missing.ckpt"], "does not exist"),
        ("evaluate", ["model=random_cnn", "f0=network"], "f0=network: random_cnn: not told the pitch: leave f0= out"),
        ("evaluate", ["evaluation=gram_idenification"], "did you mean 'gram_identification'"),
        ("evaluate", ["evaluation=gram_identification", "ckpt=x.ckpt"], "leave ckpt= and model= out"),
        ("evaluate", ["evaluation=gram_identification", "evaluation.train=15"], "evaluation.train=9"),
        ("prepare", ["fields=[featurs]"], "did you mean 'features'"),
        ("prepare", ["features=mel_22"], "mel_22k"),
        ("export", ["ckpt=x.ckpt", "out=x.pt"], "safetensors"),
        ("import_checkpoint", ["kind=adain", "path=x", "out=y.ckpt"], "did you mean 'adain_vc'"),
    ],
)
def test_a_mistake_gets_one_line(command, name: str, arguments: list[str], words: str) -> None:
    tiny = (
        [a for a in ARGUMENTS if a.split("=")[0] not in {x.split("=")[0] for x in arguments}] if name == "train" else []
    )
    if any(a.startswith(("data=", "trainer.gpus")) for a in arguments):
        tiny = [a for a in tiny if not a.startswith(("data.corpus", "trainer="))]
    status, _, err = command(name, *tiny, *arguments)
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert status == 2
    assert len(lines) == 1 and words in lines[0], err
    assert "Traceback" not in err and "Error executing job" not in err


def test_a_run_that_starts_from_a_checkpoint_trains_what_lies_there(command, trained: Path) -> None:
    status, out, _ = command("train", f"init_from={trained}", *TINY, "debug=tiny", "logger=none", "show=true")
    assert status == 0 and "adain_vc: " in out
    for said in (["model=vqvae"], ["vocoder=vocos"], ["experiment=voice_tune"], ["init_from=null"], []):
        arguments = [f"init_from={trained}", "seed=1", *said] if said != [] else ["seed=1"]
        assert with_what_it_starts_from(arguments) == arguments
    swept = ["-m", "init_from=default,default_vocoder"]
    assert with_what_it_starts_from(swept) == swept
    assert with_what_it_starts_from(["-m", "init_from=default", "seed=1,2"])[0] == "experiment=finetune"
    assert with_what_it_starts_from(["init_from='default_vocoder'"])[0] == "vocoder=source_filter"


def test_the_converter_that_ships_goes_on_by_a_recipe_of_its_own(workplace: Path) -> None:
    arguments = with_what_it_starts_from(["init_from=default", "data=folder"])
    config = compose_config("train", *arguments, folder=workplace)
    assert config["model"]["name"] == "recsyn" and config["data"]["name"] == "folder"
    assert config["optimizer"]["name"] == "adam" and config["optimizer"]["lr"] < 1e-3  # gentle: it has learned already


def test_conversion_of_awkward_names(command, trained: Path, clip: str, tmp_path: Path) -> None:
    audio = read_audio(clip)
    for name in ("take (1).wav", "日本.wav", "it's.wav", "a,b.wav", "epoch=3.wav", "225.wav"):
        write_audio(tmp_path / name, audio.samples, audio.sample_rate)
        status, out, err = command(
            "convert", f"ckpt={trained}", f"src={tmp_path / name}", f"tgt={tmp_path / name}", f"out={tmp_path / 'out'}",
            "adapt=0",
        )  # fmt: skip
        assert status == 0, err
        assert (tmp_path / "out" / f"{Path(name).stem}_to_{Path(name).stem}.wav").is_file()


def test_what_is_not_audio_is_said_in_one_line(command, trained: Path, clip: str, tmp_path: Path) -> None:
    bad = {"text.wav": b"not audio", "empty.flac": b"", "cut.flac": Path(clip).read_bytes()[:2000]}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.wav").mkdir()
    write_audio(tmp_path / "nan.wav", np.zeros(100, np.float32), 16000)
    for name in [*bad, "folder.wav"]:
        for role in ("src", "tgt"):
            other = {"src": "tgt", "tgt": "src"}[role]
            status, _, err = command(
                "convert",
                f"ckpt={trained}",
                f"{role}={tmp_path / name}",
                f"{other}={clip}",
                f"out={tmp_path / 'o.wav'}",
            )
            lines = [line for line in err.splitlines() if line.startswith("error:")]
            assert status == 2 and len(lines) == 1, (name, role, err)
            assert not (tmp_path / "o.wav").exists()


def test_training_leaves_a_whole_run_folder(command, workplace: Path) -> None:
    status, out, err = command(
        "train", *ARGUMENTS, "callbacks.samples={count: 1, every: 2}", "callbacks.speaker_map={speakers: 4, clips: 2}",
        "hydra.run.dir=outputs/whole",
    )  # fmt: skip
    assert status == 0, err
    folder = workplace / "outputs" / "whole"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["iterations"] == 4 and metrics["rejected"] == 0 and metrics["best/val/loss"] > 0
    for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", ".hydra/config.yaml", "logs/metrics.csv"):
        assert (folder / name).is_file(), name
    samples = {p.suffix for p in (folder / "samples").rglob("*") if p.is_file()}
    assert samples == {".wav", ".png"}
    assert list((folder / "samples").rglob("speaker_map.png"))


def test_show_builds_and_stops(command, workplace: Path) -> None:
    status, out, _ = command("train", *ARGUMENTS, "show=true", "hydra.run.dir=outputs/show")
    assert status == 0 and "parameters" in out and "features (4, 80, 128)" in out
    assert not (workplace / "outputs" / "show" / "checkpoints").exists()


def test_a_sweep_runs_every_job_and_compares_a_number(command, workplace: Path) -> None:
    status, _, err = command("train", "-m", *ARGUMENTS, "optimizer.lr=1e-3,1e-4", "hydra.sweep.dir=outputs/sweep")
    assert status == 0, err
    runs = [json.loads((workplace / "outputs" / "sweep" / str(i) / "metrics.json").read_text()) for i in range(2)]
    assert runs[0]["best/val/loss"] != runs[1]["best/val/loss"]


def test_resuming_goes_on_and_not_past_the_end(command, workplace: Path) -> None:
    command("train", *ARGUMENTS, "hydra.run.dir=outputs/half")
    status, out, err = command(
        "train", *ARGUMENTS, "max_iterations=6", "ckpt_path=outputs/half", "hydra.run.dir=outputs/rest"
    )
    assert status == 0, err
    assert json.loads((workplace / "outputs" / "rest" / "metrics.json").read_text())["iterations"] == 6
    status, _, err = command("train", *ARGUMENTS, "ckpt_path=outputs/half", "hydra.run.dir=outputs/past")
    assert status == 2 and "iteration 4" in err and "max_iterations is 4" in err


def test_fine_tuning_takes_the_checkpoints_sizes(command, trained: Path, clip: str, workplace: Path) -> None:
    voices = workplace / "my_voices"
    for speaker in ("ann", "bob"):
        for number in range(3):
            source = Path(clip).parents[1] / {"ann": "p901", "bob": "p905"}[speaker]
            audio = read_audio(sorted(source.iterdir())[number])
            write_audio(voices / speaker / f"{number}.wav", audio.samples, audio.sample_rate)
    status, _, err = command(
        "train", "model=adain_vc", "data=folder", f"data.root={voices}", f"init_from={trained}", "debug=tiny",
        "logger=csv", "trainer=cpu", "hydra.run.dir=outputs/tuned", "data.splits.unseen_speakers=0",
    )  # fmt: skip
    assert status == 0, err
    metrics = json.loads((workplace / "outputs" / "tuned" / "metrics.json").read_text())
    assert metrics["parameters"] < 3_000_000 and metrics["speakers"] == 2
    about, before = load_checkpoint(workplace / "outputs" / "tuned").description, load_checkpoint(trained).description
    assert about.speakers == ["ann", "bob"] and about.earlier == {"synthetic": before.speakers}


def test_preparing_says_what_came_of_it(command) -> None:
    status, out, err = command("prepare", *TINY, "data.prepare.workers=0", "fields=[features,f0]")
    assert status == 0, err
    assert "120 utterances of 12 speakers" in out


def test_exporting(command, trained: Path, tmp_path: Path) -> None:
    status, _, err = command("export", f"ckpt={trained}", f"out={tmp_path / 'm.safetensors'}")
    assert status == 0, err
    assert json.loads((tmp_path / "m.json").read_text())["model"] == "adain_vc"


def test_importing_published_weights(command, shared: Path, clip: str, tmp_path: Path) -> None:
    published = shared / "parity" / "adain_vc" / "checkpoints"
    out = tmp_path / "ours.safetensors"
    for name in ("vctk_model.ckpt", "vctk_model.zip.ckpt"):
        status, _, err = command(
            "import_checkpoint", "kind=adain_vc", f"path={published / name}", f"out={out}",
            f"config={published / 'vctk_model.config.yaml'}", f"statistics={published / 'attr.pkl'}",
        )  # fmt: skip
        assert status == 0, err
        status, _, err = command("convert", f"ckpt={out}", f"src={clip}", f"tgt={clip}", f"out={tmp_path / 'x.wav'}")
        assert status == 0, err


@pytest.mark.slow
def test_a_table_of_speakers_is_spoken_and_measured_by_name(command, workplace: Path, clip: str) -> None:
    run = workplace / "outputs" / "table"
    small = ["model=vqvae_small", "model.voice=speaker", "debug=tiny", "logger=none", *TINY]
    status, _, err = command("train", *small, f"hydra.run.dir={run}")
    assert status == 0, err
    known = revoice.load(run).loaded.description.speakers
    out = workplace / "outputs" / "named"
    status, _, err = command("convert", f"ckpt={run}", f"src={clip}", f"tgt={known[1]}", f"out={out}")
    assert status == 0, err
    assert (out / f"{Path(clip).stem}_to_{known[1]}.wav").is_file()
    status, _, err = command("convert", f"ckpt={run}", f"src={clip}", f"tgt={clip}", f"out={out}")
    assert status == 2 and len(err.strip().splitlines()) == 1 and "speaker" in err and known[1] in err
    status, _, err = command(
        "evaluate", f"ckpt={run}", *TINY, "metrics.voices=2", "metrics.workers=0", "metrics.recognizer=null",
        "metrics.naturalness=false", "out=outputs/table_report",
    )  # fmt: skip
    assert status == 0, err
    metrics = json.loads((workplace / "outputs" / "table_report" / "metrics.json").read_text())
    assert "unseen" not in metrics and metrics["seen"]["pairs"] == 2 and metrics["seen"]["recognizer"] is None


@pytest.mark.slow
def test_evaluating_two_systems(command, trained: Path, workplace: Path) -> None:
    best, last = trained / "checkpoints" / "best.ckpt", trained / "checkpoints" / "last.ckpt"
    status, out, err = command(
        "evaluate", f"ckpt=[{best},{last}]", *TINY, "metrics.voices=2", "metrics.workers=0", "adapt.steps=2",
        "metrics.naturalness=false", "out=outputs/report", "metrics.recognizer.name=command",
        "metrics.recognizer.command=printf same%.0s {wav}",
    )  # fmt: skip
    assert status == 0, err
    metrics = json.loads((workplace / "outputs" / "report" / "metrics.json").read_text())
    assert set(metrics["systems"]) == {"best", "last"}
    assert metrics["systems"]["best"]["adaptation"]["steps"] == 2
    unseen = metrics["systems"]["best"]["unseen"]
    assert unseen["pairs"] == 2 and unseen["cer_converted"] == unseen["cer_copy"] == 0.0 < unseen["cer_source"]
    assert unseen["recognizer"]["weights"].startswith("printf same%.0s {wav} (sha256 ") and "cer_converted 0.000" in out
    page = (workplace / "outputs" / "report" / "report.html").read_text()
    assert "<audio" in page and "data:image/png" in page and "http" + "://" not in page.replace("http://www.w3.org", "")


@pytest.mark.slow
def test_style_transfer_leaves_sound_picture_and_record(command, clip: str, workplace: Path) -> None:
    settings = ["iterations=12", "seed=3", "model.channels=4", "stop=0", "phase=content"]
    status, out, err = command(
        "convert", "model=random_cnn", f"src={clip}", f"tgt=[{clip},{clip}]", "out=outputs/styled/a.wav", *settings
    )
    assert status == 0, err
    folder = workplace / "outputs" / "styled"
    assert "a.wav: content loss" in err and "outputs/styled/a.wav" in out and "loss" not in out
    assert read_audio(folder / "a.wav").seconds == pytest.approx(read_audio(Path(clip)).seconds, abs=0.01)
    record = json.loads((folder / "a.json").read_text())
    assert record["controls"]["seed"] == 3 and record["arguments"]["channels"] == 4 and "checkpoint" not in record
    assert record["arguments"]["kernel"] == "5x5" and record["vocoder_settings"]["momentum"] == 0.99
    assert (folder / "a.png").read_bytes().startswith(b"\x89PNG")
    status, out, err = command("convert", "model=random_cnn", f"src={clip}", f"tgt={clip}", "sede=3")
    assert status == 2 and "did you mean 'seed'" in err
    published = ["model=random_cnn_published", "iterations=2", f"src={clip}", f"tgt={clip}", "out=outputs/styled/b.wav"]
    status, out, err = command("convert", *published)
    assert status == 0, err


@pytest.mark.slow
def test_style_transfer_is_evaluated_beside_a_checkpoint(command, trained: Path, workplace: Path) -> None:
    status, out, err = command(
        "evaluate", f"ckpt={trained / 'checkpoints' / 'last.ckpt'}", "model=random_cnn", "controls.iterations=3", *TINY,
        "metrics.voices=2", "metrics.workers=0", "metrics.recognizer=null", "metrics.groups=[unseen]", "adapt=0",
        "out=outputs/styled_report", "f0=harvest", "metrics.naturalness=false",
    )  # fmt: skip
    assert status == 0, err
    assert "f0=harvest is not for random_cnn: not told the pitch" in out
    systems = json.loads((workplace / "outputs" / "styled_report" / "metrics.json").read_text())["systems"]
    assert set(systems) == {"last", "random_cnn"} and systems["random_cnn"]["unseen"]["pairs"] == 2
    assert systems["last"]["f0"]["method"] == "harvest"


def test_models_without_training_by_name(clip: str) -> None:
    converter = revoice.load("random_cnn")
    made = converter.convert(clip, clip, iterations=2)
    assert made.sample_rate == 22050 and np.abs(made.samples).max() > 0.01
    assert revoice.load("random_cnn", settings={"kernel": "3x1"}).loaded.description.arguments["kernel"] == "3x1"
    with pytest.raises(UserError, match="did you mean 'kernel'"):
        revoice.load("random_cnn", settings={"kernal": "3x1"})


def test_a_converter_is_made_by_one_function(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = revoice.load(
        trained, vocoder={"name": "griffin_lim", "iterations": 3}, adapt=2, controls={"strength": 0.5}
    )  # fmt: skip
    assert made.vocoder.settings["iterations"] == 3 and made.adaptation.steps == 2
    assert made.controls({}).strength == 0.5 and made.controls({"strength": 0.7}).strength == 0.7
    for wrong, words in (
        ({"vocoder": {"name": "griffin"}}, "griffin_lim"), ({"vocoder": {"iterations": 3}}, "vocoder.name is missing"),
        ({"controls": {"strenght": 1}}, "strength"), ({"features": load_preset("log1p_22k")}, "has its own"),
        ({"settings": {"kernel": "3x1"}}, "has its own"), ({"model": "adain_vc"}, "has to be trained"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            revoice.load(trained, **wrong)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "random_cnn").mkdir()  # what is there comes before a model of that name
    with pytest.raises(UserError, match="no checkpoint in this folder"):
        revoice.load("random_cnn")
    assert revoice.load(model="random_cnn", features=load_preset("linear_16k")).spec.scale == "linear"


def test_a_source_that_is_skipped_leaves_no_trace_in_the_next_picture(command, clip: str, workplace: Path) -> None:
    folder = workplace / "mixed"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"not audio")
    write_audio(folder / "b.wav", read_audio(Path(clip), 16000).samples, 16000)
    settings = ["iterations=3", "model.channels=2", "out=outputs/mixed"]
    status, out, err = command("convert", "model=random_cnn", "src=mixed", f"tgt={clip}", *settings)
    assert status == 0 and "skipped" in err and err.count("content loss") == 1
    assert len(list((workplace / "outputs" / "mixed").glob("*.png"))) == 1


@pytest.mark.parametrize(
    ("facts", "launched"),
    [({}, False), ({"LOCAL_RANK": "0"}, False), ({"LOCAL_RANK": "1"}, True),
     ({"LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "x"}, False), ({"LOCAL_RANK": "1", "SLURM_PROCID": "1"}, False)],
)  # fmt: skip
def test_processes_that_a_run_started_itself_end_without_an_error(
    facts: dict[str, str], launched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first process would be killed while it still writes: what watches the others takes a status for a crash."""
    for name in ("LOCAL_RANK", "TORCHELASTIC_RUN_ID", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in facts.items():
        monkeypatch.setenv(name, value)
    outcome = Outcome(Path("run"), None, {}, "stopped by a signal", by_signal=True)
    monkeypatch.setattr("revoice.training.run.train", lambda *arguments: outcome)
    monkeypatch.setattr(train, "_require_one_folder", lambda: None)
    if launched:
        assert train._train({"optimized_metric": "x"}, Path("run")).folder == Path("run")
    else:
        with pytest.raises(SystemExit) as ended:
            train._train({"optimized_metric": "x"}, Path("run"))
        assert ended.value.code == 143
