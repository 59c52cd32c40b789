"""How long an evaluation of AdaIN-VC small takes without external recognizers, scaled to 1,000 conversions.

    python benchmarks/evaluation_speed.py [--sentences 2] [--conversions 1000]

Conversions between 8 unseen voices of the embedded corpus by a network that has learned nothing (its speed is that of
one that has), all metrics but words. What grows with the conversions is told apart from what is done once by two runs,
one of a quarter of the size. On a busy machine the seconds of the processors say more than those of the clock.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from revoice.audio.presets import config_dir, load_preset
from revoice.checkpoint.description import Description
from revoice.checkpoint.load import Loaded
from revoice.conversion.converter import Converter
from revoice.data.config import build
from revoice.evaluation.session import Protocol, evaluate_systems
from revoice.models.base import MODELS


def converter(config: dict) -> Converter:
    arguments, spec = {**config["model"], "n_features": 80}, load_preset("mel_22k")
    torch.manual_seed(0)
    model = MODELS.build(arguments.pop("name"), arguments).eval()
    about = Description(model="adain_vc", arguments=arguments, features=spec.to_dict(), trim_db=30.0)
    return Converter(Loaded(model, spec, about, None, ""))


def spent(system: Converter, manifest, sentences: int) -> tuple[int, float, float]:
    """Conversions, seconds by the clock, seconds of the processors (those of ended worker processes too)."""
    protocol = Protocol(groups="unseen", sentences_per_pair=sentences, recognizer=None)
    begin, before = time.perf_counter(), sum(os.times()[:4])
    with tempfile.TemporaryDirectory() as folder:
        found = evaluate_systems({"adain_vc_small": system}, manifest, protocol, Path(folder))
    count = found["adain_vc_small"].summaries["unseen"]["trials"]
    return count, time.perf_counter() - begin, sum(os.times()[:4]) - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=4)
    parser.add_argument("--conversions", type=int, default=1000)
    given = parser.parse_args()
    corpus = ["data.corpus.per_voice=6", "data.corpus.test_sentences=8", "data.corpus.tested_voices=12"]
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        config = OmegaConf.to_container(compose("train", ["model=adain_vc_small", *corpus]), resolve=True)
    manifest, system = build(config["data"]).manifest(), converter(config)
    few, many = (spent(system, manifest, sentences) for sentences in (max(1, given.sentences // 4), given.sentences))
    for count, clock, processors in (few, many):
        print(f"{count:5} conversions: {clock:6.1f} s by the clock, {processors:6.1f} s of the processors")
    each = [(many[k] - few[k]) / (many[0] - few[0]) for k in (1, 2)]
    whole = [few[k] + each[k - 1] * (given.conversions - few[0]) for k in (1, 2)]
    print(
        f"{given.conversions} conversions at that rate: {whole[0]:.0f} s by the clock, {whole[1]:.0f} s of the "
        f"processors (over {os.cpu_count()} cores: {whole[1] / (os.cpu_count() or 1):.0f} s or more)"
    )


if __name__ == "__main__":
    main()
