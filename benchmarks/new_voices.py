"""What the voices are worth that a VoiceGAN samples, beside real ones.

python benchmarks/new_voices.py RUN_OR_CKPT                     voices of espeak-ng, see configs/data/synthetic_voices
python benchmarks/new_voices.py RUN_OR_CKPT data=common_voice data.root=FOLDER
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor

from revoice.audio.presets import config_dir
from revoice.audio.spec import FeatureSpec
from revoice.checkpoint.load import load_checkpoint
from revoice.data.config import build
from revoice.data.prepare.preparation import Prepared
from revoice.data.read.store import MemoryStore
from revoice.data.read.tables import GENDERS, Tables
from revoice.evaluation.new_voices import judge_voices, voices_picture
from revoice.models.voicegan import VoiceGAN


def voices_of(prepared: Prepared, *splits: str) -> tuple[Tensor, Tensor]:
    """One embedding (N, D) of each voice of known gender, the mean of its clips, and the genders (N,)."""
    store = MemoryStore(prepared, splits, ["embedding"])
    places = Tables.of(store.rows).index(store.rows)
    vectors = store.vectors("embedding", np.arange(len(store)))
    found, genders = [], []
    for speaker in np.unique(places["speaker"]):
        own = np.flatnonzero(places["speaker"] == speaker)
        if places["gender"][own[0]] >= 0:
            found.append(vectors[torch.from_numpy(own)].mean(0))
            genders.append(int(places["gender"][own[0]]))
    return torch.stack(found), torch.tensor(genders)


def main() -> None:
    """Print and, with --out, write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path, help="PNG of 150 samples among the real voices")
    given = parser.parse_args()
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        composed = compose("prepare", ["data=synthetic_voices", *given.overrides])
    config: Any = OmegaConf.to_container(composed, resolve=True)
    model = load_checkpoint(given.checkpoint).model
    assert isinstance(model, VoiceGAN), f"{given.checkpoint} holds a {model.name}"
    spec = FeatureSpec.from_dict(config["features"])
    prepared = build(config["data"]).prepare(spec, ["embedding"], config["paths"]["prepared_dir"])
    assert isinstance(prepared, Prepared)
    voices = voices_of(prepared, "train")
    held_out = voices_of(prepared, "val", "test_seen", "test_unseen")
    found = judge_voices(model.sample, voices, held_out, given.samples)
    print(f"{len(voices[0])} training voices, {len(held_out[0])} held out, {given.samples} samples")
    print("\n".join(found.lines()))
    if given.picture:
        wanted = torch.arange(150) % len(GENDERS)
        made = torch.cat([model.sample(GENDERS[int(g)], number) for number, g in enumerate(wanted)])
        given.picture.write_bytes(voices_picture(voices, (made, wanted)))
    if given.out:
        given.out.write_text(json.dumps(found.to_dict(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
