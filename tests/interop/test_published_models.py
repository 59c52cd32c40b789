"""Published speech2speech, ZeroSpeech and critics of HiFi-GAN become what they are: models, parts, critics."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from revoice.audio.presets import load_preset
from revoice.checkpoint.load import Loaded, load_checkpoint
from revoice.conversion.load import load
from revoice.critics.period import PeriodCritic
from revoice.critics.scale import ScaleCritic
from revoice.data.read.batch import Batch
from revoice.errors import UserError
from revoice.interop.fixture import load_fixture
from revoice.interop.speech2speech import arguments, our_name, speakers_of
from revoice.models.speech2speech import Speech2Speech
from revoice.models.vqvae import VQVAE
from revoice.models.zerospeech import ZeroSpeech
from revoice.nn.adain_decoder import DecoderSize
from revoice.nn.quantizer import QuantizerSize
from revoice.nn.vq_encoder import VQEncoderSize
from revoice.training.adversary import draw_critic
from tests.conversion.untrusted_helpers import WRITERS, calls, command, refusal

State = dict[str, Tensor]
S2S = {
    "n_bins": 17, "speaker_dic": {"225": 1, "226": 0}, "num_hiddens": 8, "num_residual_hiddens": 4,
    "num_residual_layers": 1, "num_embeddings": 6, "embedding_dim": 4, "speaker_embedding_dim": 3,
}  # fmt: skip


def bring(kind: str, file: Path, out: Path, *more: str) -> Loaded:
    command("import_checkpoint", f"kind={kind}", f"path={file}", f"out={out}", *more)
    return load_checkpoint(out)


def speech2speech() -> tuple[Speech2Speech, State]:
    """One of random weights, and the published names for them, found by trying."""
    torch.manual_seed(0)
    model = Speech2Speech(**arguments(S2S)).eval()
    parts = ("_encoder", "_decoder")
    candidates = [f"{p}._conv_{i}.{w}" for p in parts for i in range(1, 6) for w in ("weight", "bias")]
    candidates += [f"_decoder._conv_trans_{i}.{w}" for i in range(1, 4) for w in ("weight", "bias")]
    candidates += [f"{p}._residual_stack._layers.0._block.{i}.weight" for p in parts for i in (1, 3)]
    candidates += [
        "_pre_vq_conv.weight",
        "_pre_vq_conv.bias",
        "_vq_vae._embedding.weight",
        "_decoder._embedding.weight",
    ]
    own = dict(model.named_parameters())
    state = {name: own[our_name(name)].detach() for name in candidates if our_name(name) in own}
    assert len(state) == len(own)
    return model, state


@pytest.mark.parametrize("form", ["state_dict", "model_state_dict", "module."])
def test_speech2speech(form: str, tmp_path: Path) -> None:
    model, state = speech2speech()
    held: Any = {form: state, "optimizer": {"state": {}}}
    torch.save({f"module.{n}": v for n, v in state.items()} if form == "module." else held, tmp_path / "w.pth")
    (tmp_path / "model_config.json").write_text(json.dumps({**S2S, "decay": 0}))
    loaded = bring("speech2speech", tmp_path / "w.pth", tmp_path / "a.safetensors")
    assert loaded.description.speakers == ["p226", "p225"] and loaded.spec.channels == 17
    features, row = torch.rand(1, 17, 12), Batch.of_clip(torch.zeros(17, 0), speaker=torch.tensor(1))
    found = loaded.model.convert(Batch.of_clip(features[0]), [row], None)  # type: ignore[operator]
    assert torch.equal(found, model.convert(Batch.of_clip(features[0]), [row], None))


def test_rows_are_numbers_whether_written_as_words_or_not() -> None:
    assert speakers_of({f"v{row}": str(row) for row in range(12)}, 12) == [f"v{row}" for row in range(12)]
    assert speakers_of({"b": 1, "a": "0"}, 2) == ["a", "b"]
    with pytest.raises(UserError, match="two voices named p225"):
        speakers_of({"225": 0, "p225": 1}, 2)
    for rows in ({"a": 0}, {"a": 0, "b": 2}, {"a": 0, "b": "one"}, {"a": False, "b": True}, [0, 1], None):
        with pytest.raises(UserError, match="no table of 2 speakers"):
            speakers_of(rows, 2)


def test_speech2speech_without_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(speech2speech()[1], tmp_path / "w.pth")
    assert bring("speech2speech", tmp_path / "w.pth", tmp_path / "a.ckpt").description.speakers == ["0", "1"]
    assert "called 0 to 1" in capsys.readouterr().out
    config = tmp_path / "model_config.json"
    for changed, words in (({"num_hiddens": 9}, "num_hiddens is 9"), ({"speaker_dic": {"225": 0}}, "speaker_dic")):
        config.write_text(json.dumps({**S2S, **changed}))
        assert words in refusal(tmp_path, lambda: bring("speech2speech", tmp_path / "w.pth", tmp_path / "b.ckpt"))


@pytest.mark.parametrize(
    "file", ["checkpoint_model_1.pth", "checkpoint_state_dict_1.pth", "checkpoint_state_dict_10000.pth"]
)
@torch.no_grad()
def test_golden_tensors(file: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "parity" / "speech2speech"
    golden = load_fixture(folder / "vqvae_legacy_stride1.json")
    model = bring("speech2speech", folder / "checkpoints" / file, tmp_path / "a.safetensors").model
    assert isinstance(model, Speech2Speech)
    table, x = golden.setting("speaker_dic"), golden.input("x")
    rows = torch.tensor([table[str(int(number))] for number in golden.input("speaker_id")])
    codes = model.encode(x)
    assert torch.equal(codes.codes, golden.outputs["codes"])
    made, expected = model.decoder(codes.values, model.voice(rows))[..., : x.shape[-1]], golden.outputs["recon"]
    assert (made - expected).abs().max() < 1e-5 * expected.abs().max()


def zerospeech() -> tuple[ZeroSpeech, dict[str, Any]]:
    """One of random weights, and what the published program saves."""
    torch.manual_seed(0)
    size: Any = {"channels": 8, "strides": (1, 1, 2, 1, 1)}
    model = ZeroSpeech(80, VQEncoderSize(**size), QuantizerSize(codebook_size=6, dim=4, init="uniform")).eval()
    for norm in model.encoder.norms:
        norm.running_mean.normal_()  # type: ignore[operator, union-attr]
    state = {}
    for name, value in model.state_dict().items():
        found = re.match(r"encoder\.(convs|norms)\.(\d)\.(.*)", name)
        if found:
            name = f"encoder.{3 * int(found[2]) + (found[1] == 'norms')}.{found[3]}"
        name = name.replace("encoder.out.", "encoder.15.").replace("quantizer.codebook", "codebook.embedding")
        name = name.replace("quantizer.counts", "codebook.ema_count").replace("quantizer.sums", "codebook.ema_weight")
        if name != "quantizer.started":
            state[name] = value.clone()
    return model, {
        "encoder": state | {"jitter.prob": torch.tensor(0.5)},
        "decoder": {"fc1.bias": torch.zeros(2)},
        "step": 5,
    }


def test_zerospeech_is_a_part_that_says_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, content = zerospeech()
    torch.save(content, tmp_path / "model.ckpt-5.pt")
    out = tmp_path / "codes.safetensors"
    loaded = bring("zerospeech", tmp_path / "model.ckpt-5.pt", out)
    assert f"lacks a decoder: python train.py model=vqvae_zerospeech init_from={out}" in capsys.readouterr().out
    assert loaded.spec == load_preset("zerospeech_16k")
    features = torch.rand(1, 80, 22)
    found, expected = loaded.model(features), model(features)
    assert found.codes.shape == (1, 10) and torch.equal(found.codes, expected.codes)
    with pytest.raises(UserError, match="converts nothing: it lacks a decoder: python train.py"):
        load(out)


def test_a_vqvae_grows_from_it() -> None:
    published, _ = zerospeech()
    sizes = VQEncoderSize(channels=8, strides=(1, 1, 2, 1, 1))
    rest: Any = {"decoder": DecoderSize(channels=8, kernel=3, blocks=3), "frames": 32}
    model = VQVAE(80, encoder=sizes, quantizer=QuantizerSize(codebook_size=6, dim=4), **rest).eval()
    model.set_statistics(torch.ones(80), torch.full((80,), 2.0))
    model.grow_from(published)
    features = torch.rand(1, 80, 32)
    inside = model.encode(model.standardizer(features)).codes[:, 3:-3]
    assert torch.equal(inside, published(torch.nn.functional.pad(features, (1, 1))).codes[:, 3:-3])
    other = VQVAE(80, quantizer=QuantizerSize(codebook_size=8, dim=4), **rest)
    with pytest.raises(UserError, match="other sizes"):
        other.grow_from(published)


def critics() -> dict[str, Any]:
    torch.manual_seed(0)
    found: dict[str, Any] = {"steps": 3, "epoch": 1, "optim_g": {}, "optim_d": {}}
    norm = r"parametrizations\.weight\.original"
    for theirs, made, last in (("mpd", PeriodCritic(width=2), 5), ("msd", ScaleCritic(width=16), 7)):
        names = [
            (r"^critics\.", "discriminators."),
            (rf"\.layers\.{last}\.", ".conv_post."),
            (r"\.layers\.", ".convs."),
        ]
        names += [(f"{norm}0", "weight_g"), (f"{norm}1", "weight_v")]
        state = made.state_dict()
        for old, new in names:
            state = {re.sub(old, new, name): value for name, value in state.items()}
        found[theirs] = dict(state)
    return found


@pytest.mark.parametrize("form", ["published", "a.ckpt", "a.safetensors"])
def test_a_run_starts_from_published_critics(form: str, tmp_path: Path) -> None:
    content, file = critics(), tmp_path / "do_00000003"
    torch.save(content, file)
    if form != "published":
        command("import_checkpoint", "kind=hifigan", f"path={file}", f"out={tmp_path / form}")
        with pytest.raises(UserError, match="it holds critics"):
            load_checkpoint(tmp_path / form)
        file = tmp_path / form
    for name, width, theirs in (("period", 2, "mpd"), ("scale", 16, "msd")):
        made = draw_critic(name, {"name": name, "width": width, "init_from": str(file)}, 0)
        own = sorted(float(value.double().sum()) for value in made.critic.state_dict().values())
        assert own == sorted(float(value.double().sum()) for value in content[theirs].values())
    with pytest.raises(UserError, match="critics.0.layers.0.bias"):
        draw_critic("period", {"name": "period", "width": 4, "init_from": str(file)}, 0)
    with pytest.raises(UserError, match="resolution"):
        draw_critic("resolution", {"name": "resolution", "init_from": str(file)}, 0)


def test_the_shared_critics(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = shared / "parity" / "hifigan" / "checkpoints" / "do_00000010", tmp_path / "a.safetensors"
    command("import_checkpoint", "kind=hifigan", f"path={file}", f"out={out}")
    assert f"critics.scale.init_from={out} critics.period.width=2 critics.scale.width=16\n" in capsys.readouterr().out
    golden = load_fixture(shared / "parity" / "hifigan" / "discriminators.json")
    found = load_file(out)
    assert {n.split(".")[0] for n in found} == {"period", "scale"} and len(found) == len(golden.state)


KINDS: dict[str, Callable[[], Any]] = {
    "speech2speech": lambda: speech2speech()[1],
    "zerospeech": lambda: zerospeech()[1]["encoder"],
}
HOSTILE: dict[str, tuple[Callable[[State], Any], str]] = {
    "nothing": (lambda s: {}, "no state_dict"),
    "another": (lambda s: {"a.weight": torch.zeros(2)}, "in it"),
    "one more": (lambda s: s | {"odd.bias": torch.zeros(3)}, "odd.bias is only in the file"),
    "not a number": (lambda s: {k: v * torch.nan if v.is_floating_point() else v for k, v in s.items()}, "not finite"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_none_is_refused(kind: str, what: str, tmp_path: Path) -> None:
    change, words = HOSTILE[what]
    torch.save(change(KINDS[kind]()), tmp_path / "w.pt")
    said = refusal(tmp_path / "w.pt", lambda: bring(kind, tmp_path / "w.pt", tmp_path / "a.ckpt"))
    assert words in said and not (tmp_path / "a.ckpt").exists()


@pytest.mark.parametrize("kind", [*KINDS, "hifigan"])
def test_no_pickle_runs_its_code(kind: str, tmp_path: Path) -> None:
    marker, file, out = tmp_path / "marker", tmp_path / "w.bin", tmp_path / "out.ckpt"
    for call in calls(marker).values():
        WRITERS["zip"](file, call)
        refusal(file, lambda: bring(kind, file, out))
    assert not marker.exists() and not out.exists()


def test_a_setting_of_another_kind(tmp_path: Path) -> None:
    torch.save(speech2speech()[1], tmp_path / "w.pth")
    said = refusal(tmp_path, lambda: bring("speech2speech", tmp_path / "w.pth", tmp_path / "a.ckpt", "coupling=fixed"))
    assert "coupling=fixed: kind=speech2speech takes none" in said
