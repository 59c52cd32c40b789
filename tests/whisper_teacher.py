"""A tiny encoder of Whisper's form with random weights, for what stands on one."""

from pathlib import Path

import torch

from revoice.audio.presets import load_preset
from revoice.checkpoint.description import Description
from revoice.checkpoint.save import save
from revoice.models.base import MODELS


def write_teacher(path: Path) -> None:
    """As `import_checkpoint.py kind=whisper` leaves them."""
    torch.manual_seed(0)
    arguments = {"n_features": 80, "width": 16, "heads": 2, "layers": 1}
    features = load_preset("whisper_16k").to_dict()
    save(MODELS.build("whisper", arguments), Description(model="whisper", arguments=arguments, features=features), path)
