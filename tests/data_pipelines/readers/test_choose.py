import runpy
from pathlib import Path

import pytest

from data_pipelines.readers import choose, detect
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ReaderError, UnknownNameError

LOGGERS = {
    "actigraph": ("actigraph_csv", "counts.csv"),
    "actiwatch": ("actiware", "actiwatch.csv"),
    "axivity_cwa": ("cwa", "axivity.cwa"),
    "garmin_health_sdk": ("garmin", "garmin"),
    "geneactiv_bin": ("geneactiv", "geneactiv.bin"),
    "ibutton": ("ibutton", "ibutton.csv"),
    "parmay_matrix": ("matrix", "matrix.BIN"),
    "withings": ("withings", "withings"),
}


def module(name):
    return runpy.run_path(str(Path(__file__).with_name(f"{name}.py")))


@pytest.fixture
def one_of_each(fabricate, tmp_path):
    """(reader, path) of a small file or folder of every format, and of the other forms some have."""
    loggers = module("fabricate_loggers")
    made = {
        "bidmc_csv": fabricate.bidmc(tmp_path / "bidmc"),
        "edf": fabricate.edf(tmp_path / "a.edf"),
        "empatica_e4": fabricate.e4_zip(tmp_path / "e4.zip"),
        "table": fabricate.table(tmp_path / "table", "sampling_rate_hz: 4\nsignals: {}\n", "a\n1\n"),
        "wfdb_record": fabricate.wfdb_record(tmp_path / "wfdb"),
        **module("fabricate_signals")["examples"](tmp_path / "signals"),
        **module("fabricate_exports")["one_of_each"](tmp_path / "exports"),
        **{name: loggers[maker](tmp_path / file) for name, (maker, file) in LOGGERS.items()},
    }
    assert set(made) == set(registry.names("readers"))
    others = [
        ("actigraph", loggers["gt3x"](tmp_path / "raw.gt3x")),
        ("empatica_e4", fabricate.e4_folder(tmp_path / "e4")),
        ("apple_health", module("fabricate_exports")["apple_zip"](tmp_path / "apple.zip")),
    ]
    return [*made.items(), *others]


def test_every_reader_keeps_the_contract():
    names = registry.names("readers")
    assert len(names) == 28
    for name in names:
        reader = registry.find("readers", name)
        assert callable(reader.detect)
        assert callable(reader.read)
        for heading in ("Format:", "Units:", "Lossy:"):
            assert heading in reader.__doc__, f"{name} does not say its {heading}"


def test_each_format_is_recognised_by_its_own_reader(one_of_each):
    for name, path in one_of_each:
        takers = [other for other in registry.names("readers") if registry.find("readers", other).detect(path)]
        assert takers == [name], path.name
        assert detect(path) == choose(path)[0] == name


def test_paths_that_nobody_takes(tmp_path):
    with pytest.raises(ReaderError, match="nothing at this path"):
        choose(tmp_path / "none")
    with pytest.raises(ReaderError, match="folder is empty"):
        choose(tmp_path)
    (tmp_path / "a.doc").write_text("hello")
    with pytest.raises(ReaderError, match=r"a \.doc"):
        choose(tmp_path / "a.doc")
    with pytest.raises(UnknownNameError, match="empatica_e4"):
        choose(tmp_path / "a.doc", "empatica_e5")
