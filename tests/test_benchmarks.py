"""The benchmarks of training run, on a CPU too."""

import pytest

from tests.conftest import ROOT
from tests.forks import run_script


def output(script: str, *arguments: str) -> str:
    done = run_script(ROOT / "benchmarks" / script, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_steps_are_timed_in_every_precision() -> None:
    lines = output("gpu_step.py", "adain_vc_small", "--items", "2", "--steps", "2", "--modes", "float32", "bf16")
    rows = [line.split() for line in lines.splitlines() if line.startswith("adain_vc_small")]
    assert [row[1:3] for row in rows] == [["float32", "2"], ["bf16", "2"]]
    assert all(float(row[3]) > 0 and float(row[4]) > 0 for row in rows)


HALF = {  # of the operations dispatched in a step in bf16 at first: 2362, 1193, 1575, 439, 2036, 1248; of 862
    "adain_vc_code": 1060, "vqvae": 590, "recsyn": 787, "vqvae_speech2speech": 219, "adain_vc_stat_transfer": 920,
    "phones": 600, "phone_teacher": 520,
}  # fmt: skip

PAIRED = "adain_vc_stat_transfer"  # goes through crops and references at once, which have to be as long


@pytest.mark.slow
def test_a_step_stays_half_of_what_it_was() -> None:  # the recognizer's teacher 0.6 of it
    short = [name for name in HALF if name != PAIRED]  # of crops, which do not change the counts
    lines = output("dispatch.py", *short, "--frames", "32") + output("dispatch.py", PAIRED)
    rows = {line.split()[0]: line.split() for line in lines.splitlines()}
    found = {name: int(rows[name][5]) for name in HALF}
    assert all(found[name] <= most for name, most in HALF.items()), found
    assert int(rows["vqvae"][3]) <= 20  # of the optimizer


@pytest.mark.slow
def test_the_published_loop_is_timed_beside_ours() -> None:
    """The reference has as many parameters as the published network, or the script would say so."""
    lines = output("published_loop.py", "--items", "1", "--threads", "1", "--steps", "1", "--rounds", "1").splitlines()
    ratios = {line.partition("  ")[0].strip(): float(line.split()[-1].rstrip("x")) for line in lines[1:]}
    assert ratios.keys() == {"published loop, float32", "train.py, float32", "train.py, bf16"}
    assert ratios["published loop, float32"] == 1.0 and all(value > 0 for value in ratios.values())
