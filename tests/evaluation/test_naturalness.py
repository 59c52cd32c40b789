"""DNSMOS, where its packages are installed."""

from pathlib import Path

import numpy as np
import pytest

from revoice.audio.io import Audio, read_audio
from revoice.data.corpora.manifest import Manifest
from revoice.errors import UserError
from revoice.evaluation.evaluate import build_metrics
from revoice.evaluation.metrics.naturalness import Naturalness, opinion
from revoice.evaluation.protocol import Protocol
from revoice.evaluation.session import natural


@pytest.mark.skipif(bool(Naturalness.missing()), reason="speechmos or onnxruntime is not installed")
def test_noise_is_heard(shared: Path) -> None:
    clip = read_audio(min((shared / "data/vctk_mini/wav16").rglob("*.wav")))
    noise = np.random.default_rng(0).standard_normal(len(clip.samples)) * 0.1 * np.abs(clip.samples).max()
    clean, noisy = opinion(clip), opinion(Audio((clip.samples + noise).astype(np.float32), clip.sample_rate))
    assert clean[0] > noisy[0] + 0.3 and clean[1] > noisy[1]
    assert 1 <= noisy[0] < clean[0] <= 5
    assert opinion(Audio(3 * clip.samples, clip.sample_rate))[0] > 1  # louder than full scale


def test_without_its_packages_it_is_left_out_or_refused(corpus: Manifest, monkeypatch) -> None:
    monkeypatch.setattr("revoice.evaluation.metrics.naturalness.PACKAGES", ("not_there",))
    assert "naturalness" not in [metric.name for metric in build_metrics(corpus)]
    with pytest.raises(UserError, match="not installed: not_there.*revoice\\[naturalness\\]"):
        build_metrics(corpus, ["naturalness"])


def test_a_setting_leaves_it_out_or_insists(monkeypatch) -> None:
    monkeypatch.setattr(Naturalness, "missing", lambda: "")
    assert natural(Protocol()) and natural(Protocol(naturalness=True)) and not natural(Protocol(naturalness=False))
    monkeypatch.setattr(Naturalness, "missing", lambda: "not installed: speechmos")
    assert not natural(Protocol())
    with pytest.raises(UserError, match="metrics.naturalness: not installed: speechmos: pip install"):
        Protocol(naturalness=True)
