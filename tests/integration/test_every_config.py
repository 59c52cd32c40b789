"""Every yaml in the config folders is used by somebody: composed, built, trained, converted with."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

import revoice
from revoice.audio.presets import config_dir, load_preset, preset_names
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import load_checkpoint
from revoice.checkpoint.save import save
from revoice.checkpoint.vocoder import FOUND
from revoice.cli.systems import from_settings
from revoice.data.config import build
from revoice.errors import UserError
from revoice.models.base import MODELS
from revoice.models.phones import Recognizer
from revoice.nn.conv_encoder import ConvEncoder
from revoice.training.callbacks import CALLBACKS
from revoice.training.loggers import LOGGERS
from revoice.training.run import train
from revoice.training.trainer import settings_of
from revoice.vocoders.base import VOCODERS
from tests.conftest import ADAIN, TINY, VQVAE, compose_config
from tests.data.data_helpers import speakers_folder


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


def one_copy(name: str) -> list[str]:
    """Anonymized pairs without all their copies."""
    return ["data.prepare.fields.paired.copies=1"] if name.startswith("pix2pix") else []


LISTENING = ("phones", "phone_teacher")
BY_CRITICS = ("voicegan", "voicegan_small", "codegan", "codegan_small", "codegan_voice")  # tests/models trains them
JUDGING = ("voiceprint", "pitch")  # convert nothing: tests/models/test_voiceprint.py, test_pitch_network.py
UNTRAINED = ("anonymizer", "anonymizer_mcadams", "random_cnn", "random_cnn_published")
STANDS_ON = ("recsyn", "speechsplit_recognizer")  # models that need the encoder of a recognizer
HASTY = ["debug=tiny", "logger=none", "max_iterations=2", "trainer.val_every=2", *TINY]
# experiments at published size, with one voice and a batch of one item as published: tiny takes several
PUBLISHED = ("pix2pix_published", "pix2pix_nogan", "pix2pix_conditional")
SLOW = ("adain_vc_code", "adain_vc_paper", "speechsplit", "vqvae_legacy", "vqvae_zerospeech")  # at published size


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
        for name in names("model")
        if name not in UNTRAINED + LISTENING + BY_CRITICS + JUDGING
    ],
)
def test_every_model_trains_and_converts(model: str, workplace: Path, teacher: Path) -> None:
    stands_on = [f"model.content_from={teacher}"] if model in STANDS_ON else []
    config = compose_config("train", f"model={model}", *HASTY, *stands_on, *one_copy(model), folder=workplace)
    outcome = train(config, workplace / "outputs" / f"model_{model}")
    assert outcome.metrics["iterations"] == 2 and outcome.checkpoint is not None
    clip = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed/p901/*.flac"))
    converter = revoice.load(outcome.checkpoint)
    source = converter.audio(clip)
    by_name = converter.loaded.description.speakers[:1]
    target = {"speaker": next(iter(by_name), ""), "clips": clip, "none": ()}[converter.model.target]
    assert len(converter.convert(source, target).samples) == len(source.samples)


@pytest.mark.parametrize("model", LISTENING)
def test_every_recognizer_trains_and_hears(model: str, workplace: Path) -> None:
    config = compose_config("train", f"model={model}", *HASTY, folder=workplace)
    outcome = train(config, workplace / "outputs" / f"model_{model}")
    assert outcome.metrics["iterations"] == 2 and outcome.metrics["best/val/per"] > 0
    loaded = load_checkpoint(outcome.checkpoint)
    assert isinstance(loaded.model, Recognizer) and loaded.spec == load_preset("whisper_16k")
    assert isinstance(loaded.model.transcribe(torch.zeros(1, 80, 30))[0], list)
    with pytest.raises(UserError, match="convert"):
        revoice.load(outcome.checkpoint)


def taught(workplace: Path) -> list[str]:
    """A teacher that knows nothing, and the embedded corpus in the place of real speech."""
    file = workplace / "teacher.safetensors"
    arguments = {"width": 8, "heads": 2, "layers": 1}
    about = {"model": "phone_teacher", "arguments": arguments, "features": load_preset("whisper_16k").to_dict()}
    save(MODELS.build("phone_teacher", arguments), Description(**about), file)
    folder = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed")).parent
    tiny = [setting.replace("data.corpus", "data.parts.embedded.corpus") for setting in TINY]
    return [
        "~data.parts.libri", "~data.weights.libri", f"data.parts.vctk.root={folder}", *tiny,
        "data.parts.vctk.splits.unseen_speakers=0", f"data.prepare.fields.posteriors.teacher={file}",
    ]  # fmt: skip


def test_a_recognizer_is_taught_on_speech_without_labels(workplace: Path) -> None:
    overrides = ["experiment=phones_taught", "debug=tiny", "logger=none", *taught(workplace)]
    outcome = train(compose_config("train", *overrides, folder=workplace), workplace / "outputs" / "taught")
    assert outcome.metrics["iterations"] == 4 and outcome.metrics["train/teacher"] >= 0


@pytest.mark.parametrize("model", UNTRAINED)
def test_models_without_training_convert(model: str, workplace: Path) -> None:
    config = compose_config("convert", f"model={model}", folder=workplace)
    kind = MODELS.get(config["model"]["name"])
    assert not kind.trained and FeatureSpec.from_dict(config["features"]) == load_preset(kind.preset)
    if "iterations" in {f.name for f in fields(kind.Controls)}:
        config["controls"]["iterations"] = 3
    clip = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed/p901/*.flac"))
    converter = from_settings(config, "cpu")
    source = converter.audio(clip)
    targets = () if kind.target == "none" else clip
    assert len(converter.convert(source, targets).samples) == len(source.samples)
    with pytest.raises(UserError, match=f"convert.py model={config['model']['name']}"):
        train(compose_config("train", f"model={model}", folder=workplace), workplace / "outputs" / "nothing")


@pytest.mark.slow
@pytest.mark.parametrize(
    "experiment",
    [
        name
        for name in names("experiment")
        if not name.startswith(("voice", "student", "phones_t", "codegan", "demo_vocoder", "verifier_real", "pitch"))
    ],
)
def test_every_experiment_trains_on_the_embedded_corpus(experiment: str, workplace: Path) -> None:
    # one process: a second one would be started by repeating this program, the test run
    one = ["trainer=cpu", "trainer.devices=1"]
    alone = ["data.batch_size=1", "data.speakers=[p1001]"] if experiment in PUBLISHED else []
    overrides = [f"experiment={experiment}", "data=synthetic", *HASTY, *one, *alone, *one_copy(experiment)]
    config = compose_config("train", *overrides, folder=workplace)
    assert train(config, workplace / "outputs" / f"experiment_{experiment}").metrics["iterations"] == 2


@pytest.mark.slow
def test_the_recipe_of_the_converter_that_ships_trains(workplace: Path, teacher: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    for name, clips in (("vctk_mini/p225", 3), ("vctk_mini/p300", 3), ("librispeech_mini/LibriSpeech/7", 2)):
        speakers_folder(real / name, speakers=1, clips=clips)
    tiny = [setting.replace("data.corpus", "data.parts.embedded.corpus") for setting in TINY]
    overrides = ["experiment=voice", f"real={real}", f"model.content_from={teacher}", "held_out=[p225]"]
    config = compose_config("train", *overrides, "debug=tiny", "logger=none", *tiny, folder=workplace)
    for part in config["data"]["parts"].values():  # plain folders stand for corpora whose layout is not the point here
        if part["name"] in ("vctk", "librispeech"):
            part["name"], part["corpus"], part["splits"]["unseen_speakers"] = "folder", {}, 0
        elif part["name"] == "speeds":
            copied = part["corpus"]["of"]
            part["corpus"]["of"] = {"name": "folder", "root": copied["root"], "splits": copied["splits"]}
    first = train(config, tmp_path / "first")
    assert first.metrics["iterations"] == 4
    speakers = revoice.load(first.checkpoint).loaded.description.speakers
    assert "p300-x088" in speakers and not any(name.startswith("p225-x") for name in speakers)
    config["init_from"], config["model"]["tune"] = str(first.checkpoint), True
    before = revoice.load(first.checkpoint).model.content.encoder.conv1.weight
    second = revoice.load(train(config, tmp_path / "second").checkpoint)
    assert second.loaded.description.arguments["tune"] and not second.model.content.encoder.conv1.weight.equal(before)


@pytest.mark.slow
def test_a_student_takes_the_encoder_s_place_and_may_be_tuned(workplace: Path, teacher: Path, tmp_path: Path) -> None:
    common = ["model=recsyn", *HASTY, f"model.content_from={teacher}", "model.frames=48"]
    first = train(compose_config("train", *common, folder=workplace), tmp_path / "first")
    small = ["model.content.name=convolutional", "model.content.channels=12", "model.content.hidden=16"]
    settings = [
        *(f"+{key}" for key in small),
        "model.tune=true",
        "loss.reconstruction=0",
        f"init_from={first.checkpoint}",
    ]
    taught = train(compose_config("train", *common, *settings, folder=workplace), tmp_path / "taught")
    before, after = (revoice.load(run.checkpoint).model for run in (first, taught))
    assert isinstance(after.content.encoder, ConvEncoder) and after.content.channels == before.content.channels
    for name, value in before.decoder.state_dict().items():
        torch.testing.assert_close(after.decoder.state_dict()[name], value)
    more = ["model.tune=true", "model.match=true", f"init_from={taught.checkpoint}"]
    tuned = train(compose_config("train", *common, *more, folder=workplace), tmp_path / "tuned")
    assert isinstance(revoice.load(tuned.checkpoint).model.content.encoder, ConvEncoder)


def test_a_model_that_stands_on_an_encoder_says_how_to_get_one(workplace: Path, trained: Path) -> None:
    config = compose_config("train", "model=recsyn", "debug=tiny", "logger=none", *TINY, folder=workplace)
    with pytest.raises(UserError, match="import_checkpoint.py kind=whisper"):
        train(config, workplace / "outputs" / "nothing")
    config["model"]["content_from"] = str(trained)
    with pytest.raises(UserError, match="holds a adain_vc, expected the encoder"):
        train(config, workplace / "outputs" / "nothing")


@pytest.mark.parametrize("data", names("data"))
def test_every_corpus_config_is_understood(data: str, tmp_path: Path) -> None:
    config = compose_config("prepare", f"data={data}", folder=tmp_path)
    config["data"]["root"] = str(tmp_path / "nowhere")
    if data == "mixture":
        part = compose_config("prepare", "data=vctk", folder=tmp_path)["data"] | {"root": config["data"].pop("root")}
        config["data"]["parts"] = {"a": part, "b": part}
    if data == "speeds":
        config["data"]["corpus"]["of"] = {"name": "folder", "root": config["data"]["root"], "splits": {}}
    setup = build(config["data"])
    if not data.startswith("synthetic"):  # which makes itself
        with pytest.raises(UserError, match="nowhere"):
            setup.manifest()


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_mixture_trains(stream: str, workplace: Path) -> None:
    parts = ["data=mixture", "+data@data.parts.one=synthetic", "+data@data.parts.two=folder"]
    parts += [f"data.stream={stream}"]
    tiny = [setting.replace("data.corpus", "data.parts.one.corpus") for setting in TINY]
    overrides = [*ADAIN, "debug=tiny", "logger=none", "data.weights={one: 3, two: 1}", *parts, *tiny]
    config = compose_config("train", *overrides, "data.streaming.workers=0", folder=workplace)
    folder = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed"))
    config["data"]["parts"]["two"]["root"] = str(folder)
    outcome = train(config, workplace / "outputs" / f"mixture_{stream}")
    assert outcome.metrics["iterations"] == 4
    about = revoice.load(outcome.checkpoint).loaded.description
    assert about.data["corpus"] == "synthetic+folder"
    assert {name.partition("-")[0] for name in about.speakers} >= {"one", "two"}


def test_fine_tuning_on_other_voices_keeps_the_checkpoint_loadable(workplace: Path, tmp_path: Path) -> None:
    overrides = [*VQVAE, "debug=tiny", "logger=none", *TINY]
    first = train(compose_config("train", *overrides, folder=workplace), tmp_path / "first")
    folder = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed"))
    config = compose_config("train", *overrides[: -len(TINY)], "data=folder", folder=workplace)
    config["data"]["splits"]["limit"] = 1
    config["data"]["root"], config["init_from"] = str(folder), str(first.checkpoint)
    second = train(config, tmp_path / "second")
    speakers = [len(revoice.load(run.checkpoint).loaded.description.speakers) for run in (first, second)]
    assert speakers[0] != speakers[1]


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_a_feature_group(preset: str, tmp_path: Path) -> None:
    config = compose_config("prepare", f"features={preset}", folder=tmp_path)
    assert FeatureSpec.from_dict(config["features"]).channels > 0


@pytest.mark.parametrize("vocoder", names("vocoder"))
def test_every_vocoder_is_built(vocoder: str, tmp_path: Path) -> None:
    more = ["vocoder.ckpt=a.ckpt"] if vocoder == "trained" else []
    values = compose_config("convert", f"vocoder={vocoder}", *more, folder=tmp_path)["vocoder"]
    name, ckpt = values.pop("name"), values.pop("ckpt", None)
    assert (name is None) == (ckpt is not None), "sizes of its own, or those of a file"
    spec = FeatureSpec.from_dict(compose_config("prepare", folder=tmp_path)["features"])
    if name not in (None, FOUND):
        assert VOCODERS.build(name, {**values, "spec": spec}).spec == spec


@pytest.mark.parametrize("trainer", names("trainer"))
def test_every_trainer_is_understood(trainer: str, tmp_path: Path) -> None:
    settings_of(compose_config("train", f"trainer={trainer}", folder=tmp_path)["trainer"])


@pytest.mark.parametrize("logger", names("logger"))
def test_every_logger_logs_a_run(logger: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    overrides = [*ADAIN, "debug=tiny", f"logger={logger}", "max_iterations=2", *TINY]
    config = compose_config("train", *overrides, "callbacks.samples={count: 1, every: 1}", folder=workplace)
    folder = workplace / "outputs" / f"logger_{logger}"
    train(config, folder)
    left = {path.name for path in folder.iterdir()}
    assert {"csv": {"logs"}, "wandb": {"wandb", "logs"}, "tensorboard": {"tensorboard"}, "none": set()}[logger] <= left


@pytest.mark.parametrize("search", names("hparams_search"))
def test_every_search_is_composed(search: str) -> None:
    from hydra import compose, initialize_config_dir

    import revoice.cli.app  # noqa: F401  its resolvers

    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        config = compose("train", [f"hparams_search={search}"], return_hydra_config=True)
    assert config.hydra.mode.name == "MULTIRUN" and config.max_iterations > 0
    for key in config.hydra.sweeper.params:
        assert key == "features" or OmegaConf.select(config, key) is not None, key


def test_callbacks_and_loggers_of_the_configs_are_all_there_are(tmp_path: Path) -> None:
    config = compose_config("train", folder=tmp_path)
    chosen = compose_config("train", "metrics=conversion", folder=tmp_path)
    assert set(config["callbacks"]) | {"conversion"} == set(chosen["callbacks"]) == set(CALLBACKS.names())
    assert set(LOGGERS.names()) == set(names("logger")) - {"none"}
