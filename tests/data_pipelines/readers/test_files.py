import gzip
import zipfile

import pytest

from data_pipelines.readers import _files
from data_pipelines.readers._files import members, read_bytes
from hdt_fm.schema.errors import ReaderError


def zipped(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["../evil.csv", "/etc/evil.csv", "a/../../evil.csv", "..\\evil.csv"])
def test_a_zip_that_points_outside_is_refused(tmp_path, name):
    with pytest.raises(ReaderError, match="outside"):
        members(zipped(tmp_path / "a.zip", [("ACC.csv", "1"), (name, "2")]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]


def test_a_zip_bomb_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "MAX_BYTES", 1000)
    found = members(zipped(tmp_path / "a.zip", [("ACC.csv", b"0" * 5000), ("BVP.csv", b"1" * 1000)]))
    assert len(found["BVP.csv"]()) == 1000
    with pytest.raises(ReaderError, match="too large") as caught:
        found["ACC.csv"]()
    assert "ACC.csv" in str(caught.value)


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", [("ACC.csv", b"0" * 5000)])
    data = path.read_bytes().replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(data)
    monkeypatch.setattr(_files, "MAX_BYTES", 1000)
    with pytest.raises(ReaderError):
        members(path)["ACC.csv"]()


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "MAX_BYTES", 1000)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"0" * 5000))
    with pytest.raises(ReaderError, match="too large"):
        read_bytes(tmp_path / "a.csv.gz")


def test_a_cut_gzip_speaks(tmp_path):
    data = gzip.compress(bytes(range(256)) * 40)
    (tmp_path / "a.csv.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ReaderError, match="truncated or damaged"):
        read_bytes(tmp_path / "a.csv.gz")


def test_a_flipped_byte_in_a_zip_speaks(tmp_path):
    path = zipped(tmp_path / "a.zip", [("ACC.csv", bytes(range(256)) * 40)])
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(ReaderError, match="truncated or damaged"):
        members(path)["ACC.csv"]()


def test_too_many_members_and_two_of_one_name(tmp_path, monkeypatch):
    with pytest.raises(ReaderError, match="two recordings"):
        members(zipped(tmp_path / "a.zip", [("S1/ACC.csv", "1"), ("S2/ACC.csv", "2")]))
    monkeypatch.setattr(_files, "MAX_MEMBERS", 2)
    with pytest.raises(ReaderError, match="too many"):
        members(zipped(tmp_path / "b.zip", [(f"{i}.csv", "1") for i in range(3)]))


def test_nothing_inside(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReaderError, match="folder is empty"):
        members(tmp_path / "empty")
    with pytest.raises(ReaderError, match="zip is empty"):
        members(zipped(tmp_path / "a.zip", []))
    with pytest.raises(ReaderError, match="no such file"):
        members(tmp_path / "none.zip")


def test_resource_forks_of_a_mac_are_passed_over(tmp_path):
    entries = [("S1/ACC.csv", "1"), ("__MACOSX/S1/._ACC.csv", "x"), ("S1/.DS_Store", "x")]
    assert list(members(zipped(tmp_path / "a.zip", entries))) == ["ACC.csv"]


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_spoilt_anywhere_is_read_or_speaks(tmp_path, packing):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("S1/ACC.csv", "1,2,3\n" * 20)
        archive.writestr("S1/BVP.csv", "7\n" * 20)
    whole = path.read_bytes()
    # What says how the members lie lies behind them; of themselves, every fifth byte.
    places = [*range(0, len(whole), 5), *range(whole.index(b"PK\x01\x02"), len(whole))]
    spoilt = [whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :] for i in places]
    spoilt += [whole[:i] for i in range(0, len(whole), 15)]
    refused = 0
    for data in spoilt:
        path.write_bytes(data)
        try:
            for read in members(path).values():
                read()
        except ReaderError:
            refused += 1
    assert refused > len(spoilt) // 2


def test_a_member_without_a_name_is_damage(tmp_path):
    path = zipped(tmp_path / "a.zip", [("A", "1"), ("BVP.csv", "2")])
    path.write_bytes(path.read_bytes().replace(b"A", b"."))
    with pytest.raises(ReaderError, match="truncated or damaged"):
        members(path)


def test_a_place_outside_of_the_file_is_damage(tmp_path):
    path = zipped(tmp_path / "a.zip", [("ACC.csv", "1")])
    data = bytearray(path.read_bytes())
    # Where the member begins, by the list of members at the end: such a place brings an OSError or worse.
    entry = data.index(b"PK\x01\x02")
    data[entry + 42 : entry + 46] = b"\xff\xff\xff\x7f"
    path.write_bytes(bytes(data))
    (read,) = members(path).values()
    with pytest.raises(ReaderError, match="truncated or damaged"):
        read()
