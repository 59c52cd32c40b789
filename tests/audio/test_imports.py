"""The audio package must be quick to import: the slow libraries wait until they are used."""

import subprocess
import sys


def test_slow_libraries_are_imported_only_when_used():
    modules = "io spec presets features stft mel scale condition trim loudness pitch speaker vad".split()
    lines = [f"import revoice.audio.{name}" for name in modules] + ["import revoice.vocoders.griffin_lim"]
    slow = ["librosa", "pyworld", "scipy.signal", "resemblyzer", "webrtcvad", "torchaudio", "matplotlib"]
    code = "; ".join([*lines, "import sys", f"print([n for n in {slow} if n in sys.modules])"])
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
