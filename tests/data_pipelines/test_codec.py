"""Packed members: bit-exact, the same bytes for any number of threads, bounded; read by libraries that are not ours."""

import io
import os
import random
import subprocess
import sys
import tarfile
from contextlib import suppress

import blosc2
import numpy as np
import pcodec
import pytest
import webdataset

from data_pipelines.pack import write_shard
from hdt_fm.data.shards import ShardFolder
from hdt_fm.data.stock import decode, one_by_one
from hdt_fm.schema.codec import MAX_DECODED_BYTES, decode_into, decoded, encode
from hdt_fm.schema.errors import ConfigError, CorruptShardError, ShardError
from hdt_fm.schema.npy import npy_header
from hdt_fm.schema.shard_index import codec_of, name_of, read_index, write_index
from hdt_fm.schema.shard_walk import walk_tar

CODECS = ("b2", "pco")
EVERY_BIT = np.random.default_rng(0).integers(0, 2**32, 5000, dtype=np.uint32).view(np.float32)
ARRAYS = {
    "walk": np.random.default_rng(1).normal(size=(7, 3, 500)).cumsum(-1).astype(np.float32),
    "codes": (np.random.default_rng(2).normal(size=(7, 3, 500)).cumsum(-1) * 9).astype(np.int16),
    "noise": np.random.default_rng(3).integers(-(2**15), 2**15, (5, 2, 700)).astype(np.int16),
    "bits": np.full((31, 80), 255, np.uint8),
    "zeros": np.zeros((3, 2, 500), np.int16),
    "one": np.ones((1, 1, 1), np.float32),
    "not numbers, signed zeros, denormals, infinities": np.array([np.nan, -0.0, np.inf, -np.inf, 1e-45], np.float32),
    "every bit pattern": EVERY_BIT,
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("case", ARRAYS)
def test_what_comes_back_is_the_same_to_the_bit(codec, case):
    array = ARRAYS[case]
    packed = encode(array, codec)
    assert decoded(packed, codec, array.dtype, array.shape, where="x").tobytes() == array.tobytes()
    into = np.full((2, *array.shape), 1, array.dtype)
    decode_into(memoryview(packed), codec, into[1], where="x")
    assert into[1].tobytes() == array.tobytes()
    assert (into[0] == 1).all()


def test_the_libraries_themselves_read_what_we_write():
    array = ARRAYS["codes"]
    assert blosc2.decompress2(encode(array, "b2")) == array.tobytes()
    assert np.array_equal(pcodec.standalone.simple_decompress(encode(array, "pco")), array.reshape(-1))


def test_packed_bytes_are_the_same_again_and_in_a_process_with_more_threads(made, tmp_path):
    for codec in CODECS:
        made.write_folder(tmp_path / codec, codec)
        made.write_folder(tmp_path / f"{codec}-again", codec)
    code = (
        "import sys, pathlib, numpy as np; sys.path[:0] = sys.argv[1:3]; out = pathlib.Path(sys.argv[3])\n"
        "import fabricate_shards as f; from hdt_fm.schema.codec import encode\n"
        f"for codec in {CODECS}:\n"
        "    f.write_folder(out / (codec + '-threads'), codec)\n"
        "    (out / (codec + '-large')).write_bytes(encode(np.load(sys.argv[3] + '/large.npy'), codec))"
    )
    large = np.random.default_rng(0).normal(size=400_000).cumsum().astype(np.int16)
    np.save(tmp_path / "large.npy", large)
    tests = os.path.dirname(made.__file__)
    threads = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    environment = os.environ | dict.fromkeys(threads, "4")
    subprocess.run([sys.executable, "-c", code, tests, os.path.dirname(tests), tmp_path], env=environment, check=True)
    for codec in CODECS:
        assert (tmp_path / f"{codec}-large").read_bytes() == encode(large, codec)
        for path in (tmp_path / codec).rglob("*.*"):
            place = path.relative_to(tmp_path / codec)
            assert path.read_bytes() == (tmp_path / f"{codec}-again" / place).read_bytes()
            assert path.read_bytes() == (tmp_path / f"{codec}-threads" / place).read_bytes()


@pytest.mark.parametrize(
    "name", ["CLEVEL", "COMPRESSOR", "BLOCKSIZE", "SPLITMODE", "SHUFFLE", "TYPESIZE", "DELTA", "NTHREADS"]
)
def test_an_environment_that_changes_the_bytes_is_refused(monkeypatch, name):
    monkeypatch.setenv("BLOSC_NTHREADS", "1")
    encode(ARRAYS["walk"], "b2")
    monkeypatch.setenv(f"BLOSC_{name}", "4")
    encode(ARRAYS["walk"], "pco")
    with pytest.raises(ConfigError, match=f"unset BLOSC_{name}"):
        encode(ARRAYS["walk"], "b2")


@pytest.mark.parametrize("codec", CODECS)
def test_a_packed_folder_gives_the_very_batch_of_a_plain_one(made, tmp_path, codec):
    plain = made.write_folder(tmp_path / "plain")
    packed = made.write_folder(tmp_path / codec, codec)
    assert sum(e.bytes for e in packed.splits["train"]) < 0.9 * sum(e.bytes for e in plain.splits["train"])
    order = np.random.default_rng(0).permutation(plain.windows)
    expected = ShardFolder.open(tmp_path / "plain").gather(order)
    found = ShardFolder.open(tmp_path / codec).gather(order)
    for name, signal in expected.signals.items():
        assert (found.signals[name].values == signal.values).all()
        assert (found.signals[name].observed == signal.observed).all()
    assert (found.window_id == expected.window_id).all()


@pytest.mark.parametrize("codec", CODECS)
def test_the_tar_is_plain_the_names_tell_the_codec_and_stock_webdataset_reads_it(made, tmp_path, codec):
    made.write_folder(tmp_path / "a", codec)
    path = tmp_path / "a" / "train" / "made-00000.tar"
    with tarfile.open(path) as tar:
        names = tar.getnames()
    assert f"b000000.ppg.npy.{codec}" in names
    assert f"b000000.ppg_observed.npy.{codec}" in names
    assert {"b000000.wid.npy", "b000000.mask.npy", "b000000.y_stress.npy"} <= set(names)
    dataset = webdataset.WebDataset([str(path)], shardshuffle=False).map(decode)
    windows = list(dataset.compose(one_by_one))
    assert [int(window["wid"]) for window in windows] == list(range(12))
    assert np.array_equal(windows[4]["acc"], made.window(4)["acc"])
    written, walked = read_index(path.with_suffix(".idx")), walk_tar(path)
    assert written.members.tobytes() == walked.members.tobytes()
    assert {codec_of(record) for record in walked.members} == {"none", codec}


def test_a_member_that_would_not_get_smaller_stays_plain(made, tmp_path):
    noise = np.random.default_rng(0).integers(-(2**15), 2**15, (2, 1, 256)).astype(np.int16)
    for codec in CODECS:
        write_shard(tmp_path / "a.tar", made.header(codec), [(0, {"ppg": noise, "wid": np.arange(2)})])
        assert [name_of(record) for record in walk_tar(tmp_path / "a.tar").members] == [
            "b000000.ppg.npy",
            "b000000.wid.npy",
        ]


def tar_with(path, made, name, data):
    members = {"__hdt__/header.json": made.header("b2").model_dump_json().encode(), name: data}
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in members:
            info = tarfile.TarInfo(name)
            info.size = len(members[name])
            tar.addfile(info, io.BytesIO(members[name]))
    return path


SMALL = np.arange(30, dtype=np.int16).reshape(3, 1, 10)
HOSTILE = {
    "declares 8 TB": ("ppg.npy.b2", (2**40, 1, 4), encode(SMALL, "b2")),
    "declares a little too much": ("ppg.npy.pco", (1, 1, MAX_DECODED_BYTES // 2 + 1), encode(SMALL, "pco")),
    "four axes": ("ppg.npy.b2", (1, 1, 3, 10), encode(SMALL, "b2")),
    "nothing behind the header": ("ppg.npy.b2", (3, 1, 10), b""),
    "a codec that nobody has": ("ppg.npy.zip", (3, 1, 10), encode(SMALL, "b2")),
    "two codecs": ("ppg.npy.b2.pco", (3, 1, 10), encode(SMALL, "b2")),
    "a pickle": ("ppg.pkl.b2", (3, 1, 10), encode(SMALL, "b2")),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_packed_members_are_refused_before_anything_is_unpacked(made, tmp_path, case, monkeypatch):
    name, shape, payload = HOSTILE[case]
    monkeypatch.setattr("hdt_fm.schema.codec.import_module", lambda name: pytest.fail("something was unpacked"))
    path = tar_with(tmp_path / "a.tar", made, f"b000000.{name}", npy_header(np.dtype("<i2"), shape) + payload)
    with pytest.raises(ShardError):
        walk_tar(path)


def test_an_index_that_declares_a_bomb_is_refused(made, tmp_path):
    made.write_folder(tmp_path / "a", "pco")
    path = tmp_path / "a" / "train" / "made-00000.idx"
    index = read_index(path)
    for field, value in (("shape", [2**40, 2**40, 2]), ("codec", 9), ("header", 60000), ("dtype", 77)):
        members = index.members.copy()
        members[field][0] = value
        write_index(path, type(index)(index.tar_bytes, index.tar_sha256, members))
        with pytest.raises(CorruptShardError, match="outside its shard"):
            read_index(path)


@pytest.mark.parametrize("codec", CODECS)
def test_a_bomb_that_unpacks_to_more_or_less_than_declared_is_refused(codec):
    packed = encode(np.zeros(1_000_000, np.int16), codec)
    assert len(packed) < 2000
    for count in (1, 999_999, 1_000_001):
        out = np.full(count, 7, np.int16)
        guard = np.full(count + 64, 7, np.int16)
        with pytest.raises(CorruptShardError, match="does not become"):
            decode_into(packed, codec, out, where="x")
        with pytest.raises(CorruptShardError):
            decode_into(packed, codec, guard[:count], where="x")
        assert (guard[count:] == 7).all()


def test_b2_chunks_that_name_other_codecs_filters_or_plug_ins_never_reach_the_library(monkeypatch):
    array = ARRAYS["codes"]
    good = bytearray(encode(array, "b2"))
    other = blosc2.compress2(array.view(np.uint8).reshape(-1), codec=blosc2.Codec.ZSTD, typesize=2)
    monkeypatch.setattr("blosc2.decompress2", lambda *what, **how: pytest.fail("the library was asked"))
    for place, value in (
        (0, 6),
        (2, 0xA5),
        (16, 36),
        (21, 35),
        (22, 33),
        (23, 1),
        (24, 1),
        (30, 8),
        (31, 0x08),
        (31, 0x40),
    ):
        chunk = bytearray(good)
        chunk[place] = value
        with pytest.raises(CorruptShardError):
            decoded(bytes(chunk), "b2", array.dtype, array.shape, where="x")
    with pytest.raises(CorruptShardError):
        decoded(other, "b2", array.dtype, array.shape, where="x")


@pytest.mark.parametrize("codec", CODECS)
def test_damaged_bytes_never_do_more_than_raise(codec):
    """Checksums are compared before; this is what a forged checksum would meet."""
    chance, array = random.Random(0), ARRAYS["walk"]
    good = encode(array, codec)
    for turn in range(300):
        raw = bytearray(good)
        raw[chance.randrange(len(raw) if turn % 2 else 64)] = chance.randrange(256)
        raw = raw[: chance.randrange(len(raw))] if turn % 5 == 0 else raw
        with suppress(CorruptShardError):
            assert decoded(bytes(raw), codec, array.dtype, array.shape, where="x").shape == array.shape


@pytest.mark.parametrize("codec", CODECS)
def test_a_missing_library_is_named_with_the_extra(made, tmp_path, monkeypatch, codec):
    made.write_folder(tmp_path / "a", codec)
    monkeypatch.setitem(sys.modules, {"b2": "blosc2", "pco": "pcodec"}[codec], None)
    folder = ShardFolder.open(tmp_path / "a")
    with pytest.raises(ConfigError, match=r"hdt-fm\[codecs\]"):
        folder.gather(np.arange(3))
    with pytest.raises(ConfigError, match="not installed"):
        made.write_folder(tmp_path / "b", codec)
    assert not list((tmp_path / "b").rglob("*.tar*"))


def test_without_a_codec_nothing_is_written_of_it(made):
    assert "codec" not in made.header().model_dump_json()
    assert type(made.header()).model_validate_json(made.header("b2").model_dump_json()) == made.header("b2")
