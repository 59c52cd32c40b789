"""SpeechSplit's generator G, pitch converter P, random resampling and classes of pitch."""

from collections.abc import Mapping
from typing import Any

import torch

from revoice.audio.pitch import log_f0_statistics, normalize_log_f0
from revoice.interop.cases import Result, case
from revoice.interop.fixture import Fixture
from revoice.interop.speechsplit import load_part, sizes
from revoice.models.speechsplit.networks import EncoderSize, Generator, PitchConverter
from revoice.nn.pitch_classes import STEPS, classes, one_hot
from revoice.nn.random_resampling import resampling


@case("ss_g3")
def generator(fixture: Fixture) -> Mapping[str, Result]:
    """Codes and mels `_<name>` of every `x_org_<name>`; `loss_mse_pad`."""
    found = sizes(fixture.state)
    content, rhythm, pitch = (_size(fixture, found, name) for name in ("content", "rhythm", "pitch"))
    mels = found["features"]
    model = Generator(mels, mels, found["voice"], content, rhythm, pitch, found["decoder"]).eval()
    load_part(model, fixture.state)
    results: dict[str, Result] = {}
    for name in _names(fixture):
        both, mel = fixture.input(f"x_f0_{name}").mT, fixture.input(f"x_org_{name}").mT
        codes = model.encode(both[:, :mels], both[:, mels:], mel)
        made = model.decode(codes, fixture.input("spk")).mT.detach()
        results[f"mel_{name}"] = made
        results |= {f"{kind}_code_{name}": getattr(codes, kind).detach() for kind in ("content", "rhythm", "pitch")}
        results[f"loss_mse_{name}"] = torch.nn.functional.mse_loss(made, mel.mT)
    return results


@case("ss_g6")
def pitch_converter(fixture: Fixture) -> Mapping[str, Result]:
    """Codes, logits and their largest class `_<name>` of every `x_org_<name>`."""
    found = sizes(fixture.state)
    rhythm, pitch = (_size(fixture, found, name) for name in ("rhythm", "pitch"))
    model = PitchConverter(found["features"], rhythm, pitch, found["decoder"]).eval()
    load_part(model, fixture.state)
    results: dict[str, Result] = {}
    for name in _names(fixture):
        given = fixture.input(f"x_org_{name}").mT, fixture.input(f"f0_onehot_{name}").mT
        codes, logits = model.encode(*given), model(*given).mT.detach()
        results |= {f"rhythm_code_{name}": codes[0].detach(), f"pitch_code_{name}": codes[1].detach()}
        results |= {f"logits_{name}": logits, f"argmax_{name}": logits.argmax(-1)}
    return results


@case("ss_interp")
def random_resampling(fixture: Fixture) -> Mapping[str, Result]:
    """The recorded draws, given to the vectorized form; without draws nothing is resampled."""
    x = fixture.input("x")
    scales = fixture.input("scales_minus_half").float() + 0.5
    found = resampling(fixture.input("len_seq"), scales, fixture.input("len_seg"), fixture.setting("max_len_pad"))
    return {"y": found.read(x.mT).mT, "y_eval": x}


@case("ss_f0")
def pitch_classes(fixture: Fixture) -> Mapping[str, Result]:
    """Classes and one-hot vectors of normalized contours; mean, deviation and normalization of a logarithmic one."""
    assert fixture.setting("num_bins") == STEPS, "other numbers of steps were never published"
    contour, log_f0 = fixture.input("f0_norm"), fixture.input("log_f0")
    known = log_f0_statistics(log_f0.numpy())
    wide = classes(contour.double())  # numpy's is in float64, torch's in float32: they differ where x is half way
    given = fixture.outputs["index_torch"].shape
    narrow = classes(contour.float()).reshape(given)
    return {
        "index_numpy": wide,
        "onehot_numpy_argmax": one_hot(wide[None])[0].argmax(0),
        "index_torch": narrow,
        "onehot_torch": one_hot(narrow[:, : fixture.outputs["onehot_torch"].shape[1]]).mT,
        "mean_log_f0": torch.tensor(known.mean, dtype=torch.float64),
        "std_log_f0": torch.tensor(known.std, dtype=torch.float64),
        "f0_normalised": torch.from_numpy(normalize_log_f0(log_f0.numpy(), known)),
    }


def _names(fixture: Fixture) -> list[str]:
    """Of the inputs, e.g. pad, short."""
    return [name.removeprefix("x_org_") for name in fixture.listed("in") if name.startswith("x_org_")]


def _size(fixture: Fixture, found: Mapping[str, Any], name: str) -> EncoderSize:
    """Read off the weights, but for how many frames a code stands for."""
    every = {"content": "freq", "rhythm": "freq_2", "pitch": "freq_3"}[name]
    return EncoderSize(**{**vars(found["encoders"][name]), "every": fixture.setting(every)})
