"""What `import_checkpoint.py` says, and what it finds out before it works."""

import json
import shlex
from pathlib import Path

import pytest
import torch
import yaml

from revoice.audio.presets import load_preset
from revoice.checkpoint.load import load_checkpoint
from revoice.interop.importers import IMPORTERS
from revoice.vocoders.hifigan import HiFiGAN
from tests.conversion.untrusted_helpers import command, refusal
from tests.interop.test_published_models import S2S, speech2speech
from tests.interop.vocoder_files import HIFIGAN_JSON, hifigan_names, published, tiny_hifigan

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_every_kind_is_named_where_one_looks() -> None:
    text = (CONFIGS / "import_checkpoint.yaml").read_text()
    listed = next(line for line in text.splitlines() if line.startswith("kind:"))
    assert set(listed.partition("# ")[2].split(", ")) == set(IMPORTERS.names())
    assert all(f"kind={kind} " in text for kind in IMPORTERS.names())
    assert yaml.safe_load(text)["kind"] is None


@pytest.mark.parametrize("name", ["{0}", "{out.x}", "a b", "\x1b[31mred\nx"])
def test_names_from_a_file_are_shown_as_they_are(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "{x} y"
    folder.mkdir()
    torch.save(speech2speech()[1], folder / "w.pth")
    (folder / "model_config.json").write_text(json.dumps({**S2S, "speaker_dic": {name: 0, "226": 1}}))
    out = folder / "a.ckpt"
    command("import_checkpoint", "kind=speech2speech", f"path={folder / 'w.pth'}", f"out={out}")
    said = capsys.readouterr().out
    assert said.isascii() and said[:-1].isprintable() and said.startswith(f"wrote {out}; ")
    typed = shlex.split(said.partition("convert with: ")[2])
    assert typed[:3] == ["python", "convert.py", f"ckpt={out}"]
    assert typed[4] == f"tgt={name}" or not name.isprintable()
    assert load_checkpoint(out).description.speakers == [name, "p226"]


@pytest.mark.parametrize("hop", ["{0}", [256], 0, None])
def test_a_hop_that_is_none_is_refused(hop: object, tmp_path: Path) -> None:
    torch.save(tiny_hifigan()[1], tmp_path / "g_1")
    (tmp_path / "config.json").write_text(json.dumps(HIFIGAN_JSON | {"hop_size": hop}))
    arguments = ["kind=hifigan", f"path={tmp_path / 'g_1'}", f"out={tmp_path / 'a.ckpt'}"]
    said = refusal(tmp_path / "config.json", lambda: command("import_checkpoint", *arguments))
    assert "config.json: hop_size" in said and "expected a whole number from 1" in said


def test_longer_rows_of_dilations_are_read_as_the_published_blocks_do(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = HiFiGAN(load_preset("mel_22k"), channels=16, block=2, block_kernels=(3,), dilations=((1, 3),)).eval()
    torch.save(published(model, hifigan_names(2)), tmp_path / "g_1")
    sizes = {"resblock": "2", "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 5]]}
    (tmp_path / "config.json").write_text(json.dumps(HIFIGAN_JSON | sizes))
    command("import_checkpoint", "kind=hifigan", f"path={tmp_path / 'g_1'}", f"out={tmp_path / 'a.ckpt'}")
    features = torch.randn(1, 80, 5)
    assert torch.equal(load_checkpoint(tmp_path / "a.ckpt").model(features), model(features))


def test_what_cannot_be_is_found_out_before_the_work(tmp_path: Path) -> None:
    for kind in ("hifigan", "adain_vc", "vocos"):
        arguments = [f"kind={kind}", f"path={tmp_path}", f"out={tmp_path / 'a.ckpt'}"]
        said = refusal(tmp_path, lambda given=arguments: command("import_checkpoint", *given))
        assert f"path={tmp_path} is a folder: give the published file" in said
        said = refusal(tmp_path, lambda given=arguments: command("import_checkpoint", *given, "half=true"))
        assert "half=true: a .ckpt has 32 bits: leave it out, or name a .safetensors file" in said
