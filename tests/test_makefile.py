"""What `make setup CPU=1` installs, as far as that can be told without the index it comes from."""

import re
import subprocess
from pathlib import Path

from tests.conftest import ROOT


def make(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)


def names(lock: str) -> list[str]:
    return re.findall(r"^([a-z0-9.-]+)==", lock, re.MULTILINE)


def test_without_cuda_the_lock_is_the_same_but_for_cuda_and_torch() -> None:
    whole, rest = (ROOT / "requirements.lock").read_text(), make("cpu-lock").stdout
    left_out = [name for name in names(whole) if name not in names(rest)]
    assert {"torch", "torchaudio", "triton", "nvidia-cudnn-cu13"} <= set(left_out) and "torchmetrics" in names(rest)
    assert all(name.split("-")[0] in ("torch", "torchaudio", "triton", "nvidia", "cuda") for name in left_out)
    assert names(rest) == [name for name in names(whole) if name not in left_out]
    assert len(names(rest)) <= rest.count("--hash=sha256:") < whole.count("--hash=sha256:")


def test_torch_comes_from_its_own_index_in_the_lock_s_version_and_the_choice_is_kept(tmp_path: Path) -> None:
    told = make("-n", "setup", "CPU=1", f"VENV={tmp_path}").stdout
    version = re.search(r"^torch==([0-9.]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert version and f"--index-url https://download.pytorch.org/whl/cpu torch=={version[1]} torchaudio==" in told
    for file in (".installed", ".cpu"):
        (tmp_path / file).touch()
    asked = [make("-q", "setup", f"VENV={tmp_path}", *more).returncode for more in ([], ["CPU=1"], ["CPU=0"])]
    assert asked == [0, 0, 1]  # only going back to CUDA is work
