"""A training step beside other work: OpenMP's threads as they come, as revoice has them, and a single one.

`busy_machine.py [PROCESSES]` keeps so many processes busy beside it (three for each core; 0 where the machine is busy
already). Prints steps per second and their ratio to a single thread, all measured one after the other in one run.
"""

import os
import subprocess
import sys
import time

SECONDS = 10.0
CASES = {
    "threads that spin": {"OMP_WAIT_POLICY": None, "GOMP_SPINCOUNT": None, "KMP_BLOCKTIME": None},
    "threads as revoice has them": {},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def measure() -> None:
    """Steps per second of twelve convolutions on 16 crops, on standard output."""
    import torch

    layers = torch.nn.Sequential(*[torch.nn.Conv1d(160, 160, 3, padding=1) for _ in range(12)])
    optimizer, crops = torch.optim.Adam(layers.parameters()), torch.randn(16, 160, 128)
    began, steps = 0.0, -2
    while steps < 1 or time.perf_counter() - began < SECONDS:
        optimizer.zero_grad()
        layers(crops).square().mean().backward()
        optimizer.step()
        steps += 1
        if steps == 0:
            began = time.perf_counter()
    print(steps / (time.perf_counter() - began))


def main() -> None:
    """Run every case in a process of its own, since OpenMP reads the environment once."""
    import revoice  # noqa: F401  sets the environment

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3 * (os.cpu_count() or 1)
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        speeds = {}
        for name, changes in CASES.items():
            merged = {**os.environ, **changes}
            environment = {key: value for key, value in merged.items() if value is not None}
            command = [sys.executable, __file__, "measure"]
            speeds[name] = float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    finally:
        for other in others:
            other.kill()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{count} busy processes, load {load:.1f}, {os.cpu_count()} cores")
    for name, speed in speeds.items():
        print(f"{name:<28} {speed:6.2f} steps/s, {speed / speeds['one thread']:.2f} of one thread")


if __name__ == "__main__":
    measure() if sys.argv[1:] == ["measure"] else main()
