import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from revoice.data.prepare.shards import ShardWriter, read_shard, shard_path

NOISE = np.random.default_rng(0).standard_normal((300, 80))


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"empty": np.zeros((0, 80), np.float16)},
        {f"u{length}": NOISE[:length].astype(np.float16) for length in (1, 2, 17, 256, 300)},
        {"vector": NOISE[0].astype(np.float32), "column-major": NOISE[:60].astype(np.int16).T},
    ],
)
def test_a_shard_is_what_tarfile_and_numpy_would_write(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    expected = io.BytesIO()
    with tarfile.open(fileobj=expected, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for id, array in arrays.items():
            member = io.BytesIO()
            np.save(member, np.ascontiguousarray(array))
            info = tarfile.TarInfo(f"{id}.features.npy")
            info.size = member.tell()
            member.seek(0)
            tar.addfile(info, member)

    writer = ShardWriter(tmp_path, 3, "features")
    for id, array in arrays.items():
        writer.add(id, array, 1.0, 0.0)
    writer.close()

    shard = shard_path(tmp_path, 3)
    assert shard.read_bytes() == expected.getvalue()
    found = dict(read_shard(shard))
    assert list(found) == list(arrays)
    for id, array in arrays.items():
        assert found[id].dtype == array.dtype
        assert np.array_equal(found[id], array)
