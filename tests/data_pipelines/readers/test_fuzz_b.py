"""Broken files of loggers: a visit or an error that speaks, never anything else, and never long.

`HDT_FM_FUZZ=700 pytest tests/data_pipelines/readers/test_fuzz_b.py` tries that many inputs a format instead of 60.
"""

import os
import runpy
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data_pipelines.readers.actigraph import Actigraph
from data_pipelines.readers.actiwatch import Actiwatch
from data_pipelines.readers.axivity_cwa import AxivityCwa
from data_pipelines.readers.garmin_health_sdk import GarminHealthSdk
from data_pipelines.readers.geneactiv_bin import GeneactivBin
from data_pipelines.readers.ibutton import Ibutton
from data_pipelines.readers.parmay_matrix import ParmayMatrix
from data_pipelines.readers.withings import Withings
from hdt_fm.schema.errors import HdtError
from hdt_fm.schema.recording import Visit

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("fabricate_loggers.py"))))
INPUTS = max(int(os.environ.get("HDT_FM_FUZZ", "60")), 60)
MAX_CPU_S = 5.0


def withings_file(path):
    return make.withings(path.parent) / path.name


def garmin_file(path):
    return make.garmin(path.parent) / path.name


FORMATS = {
    "cwa": (AxivityCwa, "a.cwa", lambda path: make.cwa(path, blocks=8), 512),
    "cwa six axes": (AxivityCwa, "a.cwa", lambda path: make.cwa(path, blocks=8, axes=6, packed=False), 512),
    "geneactiv": (GeneactivBin, "a.bin", lambda path: make.geneactiv(path, pages=3), 3850),
    "matrix": (ParmayMatrix, "a.BIN", lambda path: make.matrix(path, packets=3, gyro=True), 700),
    "actigraph": (Actigraph, "a.csv", make.actigraph_csv, 40),
    "gt3x": (Actigraph, "a.gt3x", make.gt3x, 60),
    "gt3x log": (Actigraph, "a.gt3x", None, 144),
    "actiwatch": (Actiwatch, "a.csv", make.actiware, 40),
    "ibutton": (Ibutton, "a.csv", make.ibutton, 32),
    "withings raw": (Withings, "raw_sleep-monitor_sleep-state.csv", withings_file, 30),
    "withings nights": (Withings, "sleep.csv", withings_file, 30),
    "garmin acc": (GarminHealthSdk, "acc.csv", garmin_file, 40),
    "garmin stream": (GarminHealthSdk, "data.csv", None, 45),
}


def original(name, path):
    """Bytes to break, and how to write them."""
    if name == "gt3x log":
        # What is inside of the zip, as a broken zip hides it.
        return make.gt3x_log(seconds=8), lambda data: make.gt3x(path, data)
    if name == "garmin stream":
        import gzip

        return gzip.decompress((make.garmin(path.parent) / "data.csv.gz").read_bytes()), path.write_bytes
    return FORMATS[name][2](path).read_bytes(), path.write_bytes


def broken(data, generator, part):
    """One of the ways in which a file breaks."""
    place = int(generator.integers(len(data)))
    way = generator.integers(6)
    if way == 0:
        return data[:place]
    if way == 1:
        flipped = bytearray(data)
        for at in generator.integers(len(data), size=generator.integers(1, 20)):
            flipped[at] ^= 1 << int(generator.integers(8))
        return bytes(flipped)
    if way == 2:
        other = int(generator.integers(len(data)))
        first, second = sorted((place // part * part, other // part * part))
        return (
            data[:first]
            + data[second : second + part]
            + data[first + part : second]
            + data[first : first + part]
            + data[second + part :]
        )
    if way == 3:
        return data[:place] + data[place + part :]
    if way == 4:
        return data[:place] + data[place : place + part] * 3 + data[place:]
    # A stretch of noise, often of digits, so that numbers of tables grow as well.
    size = int(generator.integers(1, 12))
    noise = generator.integers(48, 58, size) if generator.integers(2) else generator.integers(0, 256, size)
    return data[:place] + noise.astype(np.uint8).tobytes() + data[place + size :]


def repaired(name, data):
    """Right checksums on wrong content, for half of the inputs of the formats that have them."""
    if not name.startswith("cwa"):
        return data
    parts = [bytearray(data[i : i + 512]) for i in range(1024, len(data) - 511, 512)]
    for part in parts:
        part[510:] = (-int(np.frombuffer(bytes(part[:510]), "<u2").sum()) & 0xFFFF).to_bytes(2, "little")
    return data[:1024] + b"".join(parts)


@pytest.mark.parametrize("name", FORMATS)
def test_a_broken_file_gives_a_visit_or_an_error_that_speaks(tmp_path, name):
    reader, file, _, part = FORMATS[name]
    path = tmp_path / "x" / file
    path.parent.mkdir()
    data, write = original(name, path)
    generator = np.random.default_rng(sum(map(ord, name)))
    read = 0
    for _ in range(INPUTS):
        spoilt = broken(data, generator, part)
        write(repaired(name, spoilt) if generator.integers(2) else spoilt)
        begin = time.process_time()
        reader.detect(path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                visit = reader().read(path, subject="s" + "9" * 32)
            read += isinstance(visit, Visit)
        except HdtError:
            pass
        assert time.process_time() - begin < MAX_CPU_S
    # Not all ways of breaking make a file unreadable; if none could be read, the test would try nothing.
    assert read > 0 or name == "gt3x"
