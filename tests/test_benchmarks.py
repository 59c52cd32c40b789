"""The benchmarks of training run, on a CPU too."""

import pytest

from tests.conftest import ROOT
from tests.forks import run_script


def output(script: str, *arguments: str) -> str:
    done = run_script(ROOT / "benchmarks" / script, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_steps_are_timed_in_every_precision() -> None:
    lines = output("gpu_step.py", "adain_vc_small", "--items", "2", "--steps", "2", "--modes", "float32", "bf16")
    rows = [line.split() for line in lines.splitlines() if line.startswith("adain_vc_small")]
    assert [row[1:3] for row in rows] == [["float32", "2"], ["bf16", "2"]]
    assert all(float(row[3]) > 0 and float(row[4]) > 0 for row in rows)


def test_a_step_stays_half_of_what_it_was() -> None:
    """Dispatched operations in bf16 of the published networks: 2362, 1193 and 1575 before."""
    lines = output("dispatch.py", "adain_vc_code", "vqvae", "recsyn").splitlines()
    rows = {line.split()[0]: line.split() for line in lines}
    assert int(rows["recsyn"][5]) <= 787
    assert int(rows["adain_vc_code"][5]) <= 1060 and int(rows["vqvae"][5]) <= 596
    assert int(rows["vqvae"][3]) <= 20


@pytest.mark.slow
def test_the_published_loop_is_timed_beside_ours() -> None:
    """The reference has as many parameters as the published network, or the script would say so."""
    lines = output("published_loop.py", "--items", "1", "--threads", "1", "--steps", "1", "--rounds", "1").splitlines()
    ratios = {line.partition("  ")[0].strip(): float(line.split()[-1].rstrip("x")) for line in lines[1:]}
    assert ratios.keys() == {"published loop, float32", "train.py, float32", "train.py, bf16"}
    assert ratios["published loop, float32"] == 1.0 and all(value > 0 for value in ratios.values())
