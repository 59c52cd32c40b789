"""`voice=pseudo`, `voice=sample` and `model=anonymizer` as a user types them."""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, current_thread

import numpy as np
import pytest
import torch

from revoice.atomic import digest
from revoice.audio.io import read_audio, write_audio
from revoice.audio.presets import load_preset
from revoice.checkpoint.description import Description
from revoice.checkpoint.save import save
from revoice.cli.convert import _convert
from revoice.conversion.jobs import Result
from revoice.conversion.load import load
from revoice.conversion.outputs import Job, Target
from revoice.conversion.veil import Veil
from revoice.errors import UserError
from revoice.models.base import MODELS


@pytest.fixture(scope="module")
def people(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of each of two voices, a folder each."""
    root = tmp_path_factory.mktemp("people")
    for folder in sorted((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed/p90*"))[:2]:
        for file in sorted(folder.glob("*.flac"))[:2]:
            (root / folder.name).mkdir(exist_ok=True)
            shutil.copy(file, root / folder.name / file.name)
    return root


@pytest.fixture(scope="module")
def pool(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One clip of each of four other voices."""
    root = tmp_path_factory.mktemp("pool")
    for folder in sorted((workplace / "data" / "synthetic").glob("*/wav48_silence_trimmed/p*"))[-4:]:
        (root / folder.name).mkdir()
        shutil.copy(sorted(folder.glob("*.flac"))[0], root / folder.name)
    return str(root)


def targets(folder: Path, each: bool = False) -> dict[str, set[str]]:
    """What the names of the outputs say: the voices that each speaker's clips, or each clip, were given."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*.wav")):
        source, _, voice = path.stem.partition("_to_")
        found.setdefault(source if each else path.parent.name, set()).add(voice)
    return found


@pytest.mark.slow
def test_every_speaker_has_a_voice_of_its_own_and_keeps_it(command, trained, people: Path, pool: str, tmp_path) -> None:
    say = ("convert", f"ckpt={trained}", f"src={people}", "voice=pseudo", f"voices.pool={pool}", "vocoder.iterations=1")
    status, out, err = command(*say, f"out={tmp_path / 'a'}")
    assert status == 0 and "4 converted" in out, err
    given = targets(tmp_path / "a")
    assert all(len(voices) == 1 for voices in given.values()) and len(set.union(*given.values())) == 2
    status, out, err = command(*say, f"out={tmp_path / 'a'}")
    assert status == 0 and "4 of 4 were there" in err and targets(tmp_path / "a") == given
    command(*say, "voices.per=all", f"out={tmp_path / 'b'}")
    assert len(set.union(*targets(tmp_path / "b").values())) == 1
    several = []
    for seed in range(5):  # two of which give the same once in 24
        command(*say, f"seed={seed}", "voices.far=1", "voices.per=utterance", f"out={tmp_path / str(seed)}")
        several.append(targets(tmp_path / str(seed), each=True))
    assert any(each != several[0] for each in several) and len(set.union(*several[0].values())) == 4


@pytest.mark.parametrize("way", ["voice=pseudo", "model=anonymizer"])
def test_nothing_beside_an_output_tells_who_was_hidden(way: str, command, trained, people, pool, tmp_path) -> None:
    """Names neither, with `name={hidden}`; and what was converted is known again all the same."""
    voice = (
        [f"ckpt={trained}", f"voices.pool={pool}", "vocoder.iterations=1"]
        if way == "voice=pseudo"
        else ["workers=0", "model.by.seed=8675309"]
    )
    broken = people / "p900" / "broken.wav"
    broken.parent.mkdir()
    broken.write_bytes(b"no sound")
    say = ("convert", f"src={people}", way, *voice)
    out = tmp_path / "out"
    status, said, err = command(*say, f"out={out}", "name='{hidden}'")
    assert status == 0 and "4 converted, 1 skipped" in said and "broken.wav" in err
    written = {path: path.read_text() for path in out.rglob("*.json")}
    assert len(written) == 4 and all(path.parent == out for path in out.rglob("*.wav"))
    sources = [path for path in people.rglob("*.*") if path != broken]
    words = {str(people), *(word for path in sources for word in (path.stem, path.parent.name, digest(path)))}
    words |= {"8675309", pool}
    for path, text in written.items():
        assert not [word for word in words if word and (word in text or word in str(path.relative_to(out)))]
    status, said, err = command(*say, f"out={out}", "name='{hidden}'")
    assert status == 0 and "0 converted, 4 kept" in said and {path: path.read_text() for path in written} == written
    shutil.rmtree(broken.parent)


def test_what_was_hidden_by_an_earlier_version_is_made_anew_and_told_no_longer(command, people, tmp_path) -> None:
    clip = next(people.rglob("*.flac"))
    say = ("convert", "model=anonymizer", f"src={clip}", f"out={tmp_path / 'o'}")
    assert command(*say)[0] == 0
    (record,) = (tmp_path / "o").glob("*.json")
    told = json.loads(record.read_text()) | {"source": str(clip), "source_sha256": digest(clip), "target": []}
    del told["output"]
    record.write_text(json.dumps(told))
    assert command(*say)[0] == 0 and [*(tmp_path / "o").glob("*.json")] == [record]
    assert str(clip) not in record.read_text() and str(digest(clip)) not in record.read_text()


def test_another_key_is_another_name_and_the_same_key_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "a"))
    veil = Veil.of_user()
    assert veil("x") == Veil.of_user()("x") != veil("y") and veil([None, "x"]) == [None, veil("x")]
    key = tmp_path / "a" / "revoice" / "hiding.key"
    assert key.stat().st_mode & 0o777 == 0o600 and veil.key not in repr(veil).encode()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "b"))
    assert Veil.of_user()("x") != veil("x")
    key.write_bytes(b"short")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "a"))
    with pytest.raises(UserError, match="is no key"):
        Veil.of_user()
    monkeypatch.setenv("XDG_STATE_HOME", str(key))
    with pytest.raises(UserError, match="set XDG_STATE_HOME=FOLDER"):
        Veil.of_user()


def test_who_starts_together_draws_one_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    exists, together = Path.exists, Barrier(8)

    def nobody_has_one_yet(path: Path) -> bool:
        found = exists(path)
        if path.name == "hiding.key" and current_thread() not in asked:
            asked.add(current_thread())
            together.wait()
        return found

    asked: set[object] = set()
    monkeypatch.setattr(Path, "exists", nobody_has_one_yet)
    with ThreadPoolExecutor(8) as several:
        keys = {each.result().key for each in [several.submit(Veil.of_user) for _ in range(8)]}
    assert keys == {(tmp_path / "revoice" / "hiding.key").read_bytes()}


def test_a_drawn_voice_is_one_nobody_has(command, people: Path, pool: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    arguments = {"width": 16}
    about = Description(model="voicegan", arguments=arguments, features=load_preset("mel_22k").to_dict())
    save(MODELS.build("voicegan", arguments), about, tmp_path / "voicegan.safetensors")
    clip = next(people.rglob("*.flac"))
    say = ("convert", f"src={clip}", "voice=sample", f"voices.pool={pool}", "vocoder.iterations=1", "gender=female")
    status, _, err = command(*say, f"out={tmp_path / 'a'}")
    assert status == 2 and "voices.ckpt=" in err
    records = []
    for seed in (1, 1, 2):
        out = tmp_path / f"{seed}{len(records)}"
        status, _, err = command(*say, f"voices.ckpt={tmp_path / 'voicegan.safetensors'}", f"seed={seed}", f"out={out}")
        assert status == 0, err
        records.append(json.loads(next(out.glob("*.json")).read_text()))
        assert "_to_female" in next(out.glob("*.wav")).name
    vectors, sums = ([record[key] for record in records] for key in ("target_embedding", "output_sha256"))
    assert vectors[0] == vectors[1] != vectors[2] and sums[0] == sums[1] != sums[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["voice=pseudo", "tgt=b.wav"], "give one"),
        (["voice=psuedo"], "did you mean 'pseudo'"),
        (["voice=sample", "voices.ckpt=x.ckpt"], "takes recordings only"),
        (["voice=pseudo", "voices.far=0"], "voices.far=0"),
        (["voice=pseudo", "voices.pool=nowhere"], "nowhere"),
        (["voice=pseudo", "gender=female"], "voices.gender=female does nothing with voice=pseudo: add voice=sample"),
        (["voice=pseudo", "voices.ckpt=x.ckpt"], "does nothing with voice=pseudo"),
        (["voice=sample", "voices.far=0.1"], "voices.far=0.1 does nothing with voice=sample: add voice=pseudo"),
        (["tgt=b.wav", "voices.pool=x"], "voices.pool=x does nothing alone: add voice=pseudo or voice=sample"),
        (["tgt=b.wav", "adapt.rate=0.1"], "adapt.rate=0.1 does nothing without steps: add adapt.steps=20"),
        (["model=anonymizer", "ckpt=null", "tgt=b.wav"], "takes no target voice"),
        (["model=anonymizer", "ckpt=null", "voice=pseudo"], "takes no target voice"),
        (["model=anonymizer", "ckpt=null", "features=mel_22k"], "features=complex_16k"),
        (["model=anonymizer", "ckpt=null", "model.by.name=wrold"], "did you mean 'world'"),
        (["model=anonymizer", "ckpt=null", "model.by.f0_range=[3]"], "model.by.f0_range"),
        ([], "tgt= is missing"),
    ],
)
def test_mistakes_are_told_in_a_line(command, trained, people: Path, arguments: list[str], words: str) -> None:
    given = [a for a in arguments if a != "ckpt=null"]
    ckpt = [] if "ckpt=null" in arguments else [f"ckpt={trained}"]
    status, _, err = command("convert", *ckpt, f"src={people}", *given)
    assert status == 2 and words in err and err.count("\n") == 1


def test_a_folder_is_anonymized_and_goes_on_where_it_stopped(command, people: Path, tmp_path: Path) -> None:
    say = ("convert", "model=anonymizer", f"src={people}", f"out={tmp_path / 'a'}", "workers=0")
    status, out, err = command(*say)
    assert status == 0 and "4 converted" in out, err
    made = sorted((tmp_path / "a").rglob("*.wav"))
    first = made[0].read_bytes()
    made[0].unlink()
    status, out, err = command(*say)
    assert status == 0 and "1 converted, 3 kept" in out and made[0].read_bytes() == first
    status, out, _ = command(*say, "model.by.seed=1")
    assert "4 converted" in out and made[0].read_bytes() != first
    source = read_audio(next(people.rglob(made[0].name.split("_to_")[0] + ".flac")), 16000)
    hidden = read_audio(made[0])
    assert hidden.sample_rate == 16000 and len(hidden.samples) == len(source.samples)
    assert np.corrcoef(hidden.samples, source.samples)[0, 1] < 0.5


@pytest.mark.slow
def test_processes_side_by_side_write_what_one_does(command, people: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        out = tmp_path / str(workers)
        (people / "p0").mkdir(exist_ok=True)
        (people / "p0" / "broken.wav").write_bytes(b"no sound")
        status, said, err = command("convert", "model=anonymizer", f"src={people}", f"out={out}", f"workers={workers}")
        assert status == 0 and "4 converted, 1 skipped" in said, err
    shutil.rmtree(people / "p0")
    one, two = (sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*.wav")) for n in ("0", "2"))
    assert one == two and len(one) == 4
    assert all((tmp_path / "0" / name).read_bytes() == (tmp_path / "2" / name).read_bytes() for name in one)


def test_all_chunks_of_a_long_recording_have_one_voice(people: Path, tmp_path: Path) -> None:
    clip = read_audio(next(people.rglob("*.flac")), 16000)
    times = int(np.ceil(45 / clip.seconds))
    write_audio(tmp_path / "long.wav", np.tile(clip.samples, times), 16000)
    stretch = {"name": "world", "envelope_stretch": [0.6, 1.8], "f0_range": [80, 300]}
    made = load("anonymizer", settings={"by": stretch}).convert(tmp_path / "long.wav")
    size = len(clip.samples)
    pieces = [made.samples[i * size : (i + 1) * size] for i in range(times)]
    spectra = [np.abs(np.fft.rfft(piece, 1 << 17)) for piece in pieces]
    smooth = [np.convolve(s, np.ones(400) / 400, "valid")[::200] for s in spectra]
    for other in smooth[1:]:
        assert np.corrcoef(np.log(smooth[0] + 1e-3), np.log(other + 1e-3))[0, 1] > 0.95


def test_files_with_a_voice_each_share_one_bar_and_one_set_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def one(converter, jobs, *arguments, advance, **settings) -> Result:
        advance()
        return Result([job.out for job in jobs])

    def side_by_side(converter, pairs, controls, workers, show, watched) -> Result:
        assert [target.label for _, target in pairs] == ["0", "1", "2"]
        seen.append((len(pairs), workers))
        return Result()

    @contextmanager
    def bar(total: int, show: bool) -> Iterator[Callable[[], None]]:
        yield lambda: seen.append((total, 0))

    monkeypatch.setattr("revoice.conversion.jobs.convert_files", one)
    monkeypatch.setattr("revoice.conversion.jobs.bar", bar)
    monkeypatch.setattr("revoice.conversion.side_by_side.convert_side_by_side", side_by_side)
    jobs = [Job(Path(f"{i}.wav"), Path(f"out/{i}.wav")) for i in range(3)]
    voices = {job.source: Target([Path("v.wav")], str(i)) for i, job in enumerate(jobs)}
    converter = load("random_cnn")
    assert len(_convert(converter, jobs, voices, None).written) == 3 and seen == [(3, 0)] * 3
    _convert(converter, jobs, voices, 2)
    assert seen[3:] == [(3, 2)]
