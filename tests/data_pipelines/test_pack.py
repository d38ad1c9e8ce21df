"""What is in a tar, by readers that are not ours: tarfile, numpy and stock webdataset."""

import io
import json
import tarfile

import numpy as np
import pytest
import webdataset

from data_pipelines.pack import quantise, write_shard
from hdt_fm.data.stock import decode, one_by_one
from hdt_fm.schema.errors import ShardError
from hdt_fm.schema.shard import ModalityColumn, ShardHeader
from hdt_fm.schema.shard_index import read_index
from hdt_fm.schema.shard_walk import walk_tar

HEADER = ShardHeader(
    modalities=(ModalityColumn(name="ppg", unit="au", channels=2, sampling_rate_hz=5, samples=7, encoding="f32"),),
    labels=(),
    window_s=1.4,
    hop_s=1.4,
)


def blocks():
    generator = np.random.default_rng(0)
    for number, size in ((0, 5), (1, 3)):
        yield (
            number,
            {
                "ppg": generator.normal(size=(size, 2, 7)).astype(np.float32),
                "mask": np.ones((size, 1), np.uint8),
                "wid": np.arange(size) + 10 * number,
            },
        )


def test_tarfile_and_numpy_read_the_very_arrays_at_aligned_places(tmp_path):
    packed = write_shard(tmp_path / "a.tar", HEADER, blocks())
    assert (packed.windows, packed.blocks) == (8, 2)
    assert packed.bytes == (tmp_path / "a.tar").stat().st_size
    with tarfile.open(tmp_path / "a.tar") as tar:
        members = tar.getmembers()
        assert members[0].name == "__hdt__/header.json"
        assert ShardHeader(**json.load(tar.extractfile(members[0]))) == HEADER
        expected = {f"b{n:06d}.{name}.npy": array for n, block in blocks() for name, array in block.items()}
        assert [member.name for member in members[1:]] == list(expected)
        for member in members[1:]:
            data = tar.extractfile(member).read()
            array = np.load(io.BytesIO(data), allow_pickle=False)
            assert array.dtype == expected[member.name].dtype
            assert np.array_equal(array, expected[member.name])
            assert (member.offset_data + len(data) - array.nbytes) % 64 == 0
        assert all((member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "") for member in members)


def test_the_written_index_is_the_one_a_walk_makes(tmp_path):
    write_shard(tmp_path / "a.tar", HEADER, blocks())
    written, walked = read_index(tmp_path / "a.idx"), walk_tar(tmp_path / "a.tar")
    assert (written.tar_bytes, written.tar_sha256) == (walked.tar_bytes, walked.tar_sha256)
    assert written.members.tobytes() == walked.members.tobytes()
    assert len(walked.members) == 6


def test_stock_webdataset_reads_shards_in_three_lines(tiny, tmp_path):
    tiny.build(tmp_path / "a", encoding="f32")
    paths = sorted(str(path) for path in (tmp_path / "a").glob("all/*.tar"))
    dataset = webdataset.WebDataset(paths, shardshuffle=False).map(decode)
    found = list(dataset)
    assert [block["__key__"] for block in found] == [f"b{number:06d}" for number in range(len(found))]
    assert len(found) > len(paths) > 1
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_bytes())
    assert sum(len(block["wid"]) for block in found) == manifest["counts"]["windows_kept"]
    assert found[0]["acc"].shape == (16, 3, 32)
    windows = list(dataset.compose(one_by_one))
    assert sorted(int(window["wid"]) for window in windows) == list(range(len(windows)))
    assert windows[17]["ppg"].shape == (1, 64)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("../evil", np.zeros(3, np.float32)),
        ("Upper", np.zeros(3, np.float32)),
        ("a.b", np.zeros(3, np.float32)),
        ("x" * 65, np.zeros(3, np.float32)),
        ("objects", np.array([None, {}], dtype=object)),
        ("doubles", np.zeros(3, np.float64)),
        ("big_endian", np.zeros(3, ">f4")),
    ],
)
def test_what_may_not_be_in_a_shard_is_not_written(tmp_path, name, array):
    with pytest.raises(ShardError, match="may not be in a shard"):
        write_shard(tmp_path / "a.tar", HEADER, [(0, {name: array})])
    assert not (tmp_path / "a.tar").exists()


def test_quantise_by_hand():
    values = np.array([[[0.0, 0.24, 0.26, -1.0, 1e9, 7.0]]], np.float32)
    observed = np.array([[True, True, True, True, True, False]])
    assert quantise(values, observed, lsb=0.5, offset=0.0).tolist() == [[[0, 0, 1, -2, 32767, 0]]]
    assert quantise(values, observed, lsb=0.5, offset=2.0).tolist() == [[[-4, -4, -3, -6, 32767, 0]]]
    # A hair above full range: float32 rounding would wrap to -32768 here.
    almost_flat = np.full((1, 1, 3), 33.125, np.float32) + np.array([0, 1e-5, 32767.49e-9], np.float32)
    assert quantise(almost_flat, np.ones((1, 3), bool), lsb=1e-9, offset=33.125).min() >= 0
