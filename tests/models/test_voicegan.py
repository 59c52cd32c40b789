"""VoiceGAN: its size, what it samples, what it learns, and published code's habits as options."""

from pathlib import Path

import numpy as np
import pytest
import torch

from revoice.checkpoint.load import load_checkpoint
from revoice.data.read.batch import Batch
from revoice.data.read.sampler import CropSampler
from revoice.errors import UserError
from revoice.models.voicegan import VoiceGAN
from revoice.nn.adversarial import gradient_penalty, joint_gradient_penalty
from revoice.nn.draws import Draws
from revoice.training.run import train
from tests.conftest import TINY, compose_config

VOICES = [*TINY, "data.corpus.more_voices=0"]


def batch(items: int = 6, draws: Draws | None = None) -> Batch:
    embedding = torch.rand(items, 256, generator=torch.Generator().manual_seed(0))
    gender = torch.arange(items) % 2
    return Batch(
        id=("",) * items, features=torch.zeros(items, 0, 0), lengths=torch.zeros(items, dtype=torch.long),
        embedding=torch.nn.functional.normalize(embedding, dim=1), gender=gender, draws=draws,
    )  # fmt: skip


def test_published_size() -> None:
    assert sum(p.numel() for p in VoiceGAN().parameters()) == 1_577_216


def test_samples_are_embeddings_that_a_seed_repeats() -> None:
    model = VoiceGAN(width=32)
    voices = model.sample("female", 3, count=4)
    assert voices.shape == (4, 256) and bool((voices >= 0).all())
    torch.testing.assert_close(voices.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(model.sample("F", 3), voices[:1])
    assert torch.equal(model.sample("F", 3), model.sample("female", 3)) and not torch.equal(
        model.sample("F", 4), voices[:1]
    )
    assert not torch.equal(model.sample("male", 3), model.sample("female", 3))
    with pytest.raises(UserError, match="woman"):
        model.sample("woman", 0)


def test_nothing_left_by_the_rectifier_is_no_nan() -> None:
    model = VoiceGAN(width=8)
    with torch.no_grad():
        model.layers[-1].weight.zero_()
        model.layers[-1].bias.fill_(-1.0)
    assert model.sample("F", 0).abs().sum() == 0


def test_genders_are_drawn_as_often_as_the_data_has_them() -> None:
    model = VoiceGAN(width=8)
    model.set_labels({"gender": torch.tensor([30, 10]), "emotion": torch.zeros(0)})
    play = model.play(batch(4000, Draws(0, 0, 0, 4000, 4000)))
    assert play.wanted is not None and play.own is not None and play.fake is not None
    assert abs(float((play.wanted == 0).float().mean()) - 0.75) < 0.03
    halves = [model.play(batch(4000, Draws(0, 0, first, 2000, 4000))).wanted for first in (0, 2000)]
    assert torch.equal(torch.cat([half[:2000] for half in halves]), play.wanted), "as many processes as there may be"
    assert torch.equal(model.play(batch()).wanted, batch().gender), "in validation like with like"


def test_the_distance_to_the_data_is_0_for_the_data_alone() -> None:
    model = VoiceGAN(width=8)
    assert model.measures(batch())["distance"] > 0.01


def test_joint_penalty_is_that_of_every_mixture_together() -> None:
    """Of a linear critic the slope is w everywhere: B of them are |w| sqrt(B) long."""
    real, fake = (torch.rand(4, 5, generator=torch.Generator().manual_seed(seed)).double() for seed in (1, 2))
    w, mix = torch.rand(5).double().requires_grad_(True), torch.rand(4).double()
    alone, joint = (f(lambda x: [x @ w], real, fake, mix) for f in (gradient_penalty, joint_gradient_penalty))
    torch.testing.assert_close(alone, (w.norm() - 1).square())
    torch.testing.assert_close(joint, (2 * w.norm() - 1).square())
    shares: list[torch.Tensor] = []
    joint_gradient_penalty(lambda x: [shares.append(x.detach()) or x @ w], real, fake, mix)
    torch.testing.assert_close(shares[0].view(4, 4, 5)[1, 2], mix[1] * real[2] + (1 - mix[1]) * fake[2])


def test_in_order_goes_through_one_gender_after_the_other() -> None:
    genders = np.array([1, 0, 1, 0, 0, 1])
    sampler = CropSampler(np.arange(6), np.zeros(6, int), genders, batch_size=3, frames=0, mode="in_order")
    drawn = [genders[sampler.draw(i).utterances].tolist() for i in range(3)]
    assert drawn == [[0, 0, 0], [1, 1, 1], [0, 0, 0]]


def test_a_run_learns_from_embeddings_alone(workplace: Path, tmp_path: Path) -> None:
    config = compose_config(
        "train", "model=voicegan", "debug=tiny", "logger=none", "max_iterations=6", *VOICES, folder=workplace
    )
    config["model"]["width"] = 16
    config["critics"]["voices"] |= {"width": 16, "joint": True}
    config["model"]["sampler"] = "in_order"
    outcome = train(config, tmp_path)
    assert {"train/total/voices", "train/class/voices", "train/adversarial/voices"} <= {*outcome.metrics}
    loaded = load_checkpoint(outcome.checkpoint)
    assert isinstance(loaded.model, VoiceGAN) and 0 < float(loaded.model.women) < 1
    prepared = {
        path.name.split("-")[0] for path in (workplace / "data" / "prepared").glob("synthetic/*/*") if path.is_dir()
    }
    assert "embedding" in prepared


def test_the_published_recipe_trains(workplace: Path, tmp_path: Path) -> None:
    overrides = ["experiment=voicegan_published", "data=synthetic", "debug=tiny", "logger=none", *TINY]
    config = compose_config("train", *overrides, folder=workplace)
    assert config["critics"]["voices"]["joint"] and config["model"]["sampler"] == "in_order"
    config["model"]["width"] = config["critics"]["voices"]["width"] = 16
    assert train(config, tmp_path).metrics["iterations"] == 4


def test_a_run_goes_on_bit_for_bit(workplace: Path, tmp_path: Path) -> None:
    overrides = ["model=voicegan_small", "data=synthetic", "debug=tiny", "logger=none", *TINY, "max_iterations=12"]
    config = compose_config("train", *overrides, "trainer.val_every=6", folder=workplace)
    config["schedule"][0]["turns"][1]["every"] = 2
    whole = train(config, tmp_path / "whole").folder
    train({**config, "max_iterations": 6}, tmp_path / "half")
    again = train({**config, "ckpt_path": str(tmp_path / "half")}, tmp_path / "again").folder
    one, two = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in (whole, again)
    )
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_voices_are_streamed(workplace: Path, tmp_path: Path) -> None:
    overrides = ["model=voicegan_small", "data=synthetic", "data.stream=true", "data.streaming.workers=0"]
    config = compose_config("train", *overrides, "debug=tiny", "logger=none", *TINY, folder=workplace)
    outcome = train(config, tmp_path)
    assert outcome.metrics["iterations"] == 4
    assert float(load_checkpoint(outcome.checkpoint).model.women) == 0.5, "a stream does not tell how many there are"
    config["model"]["sampler"] = "in_order"
    with pytest.raises(UserError, match="shuffled"):
        train(config, tmp_path / "again")


def test_data_without_genders_is_refused(workplace: Path, tmp_path: Path) -> None:
    folder = next((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed"))
    config = compose_config("train", "model=voicegan", "data=folder", "logger=none", folder=workplace)
    config["data"]["root"], config["data"]["splits"]["limit"] = str(folder), 1
    with pytest.raises(UserError, match="the gender is known"):
        train(config, tmp_path)


@pytest.mark.parametrize("noise", [4, 20, 256])
def test_the_first_of_many_are_those_of_few_whatever_is_drawn(noise: int) -> None:
    model = VoiceGAN(noise=noise)
    assert torch.equal(model._noise(5, 3)[:2], model._noise(2, 3))
