from pathlib import Path

import pytest

from revoice.errors import UserError
from revoice.training.run import train
from tests.conftest import ADAIN, TINY, compose_config
from tests.hostile import full_after


def test_a_full_disk_leaves_the_previous_checkpoint(workplace: Path, trained: Path, tmp_path: Path) -> None:
    config = compose_config("train", *ADAIN, "debug=tiny", "logger=none", *TINY, folder=workplace)
    checkpoints = tmp_path / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    whole = (trained / "checkpoints" / "last.ckpt").read_bytes()
    (checkpoints / "last.ckpt").write_bytes(whole)
    with full_after(200_000), pytest.raises(UserError, match=r"cannot write \w+\.ckpt to .*: File too large"):
        train(config, tmp_path / "run")
    assert [path.name for path in checkpoints.iterdir()] == ["last.ckpt"]
    assert (checkpoints / "last.ckpt").read_bytes() == whole
