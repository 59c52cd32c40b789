"""Shared fixtures. Material that a plain clone does not have (published weights, real speech) is optional: tests skip without it."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def shared_dir() -> Path | None:
    """The folder with golden tensors and real clips: $REVOICE_SHARED, or `shared` beside the repository; None if absent."""
    path = Path(os.environ.get("REVOICE_SHARED", ROOT.parent / "shared"))
    return path if path.is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """`shared_dir()`, or skip."""
    path = shared_dir()
    if path is None:
        pytest.skip("no ../shared folder beside the repository (set REVOICE_SHARED)")
    return path


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small tensors: threads would only wait for each other."""
    import torch

    torch.set_num_threads(1)
