import pytest

from data_pipelines.readers import choose, detect
from hdt_fm.schema import registry
from hdt_fm.schema.errors import ReaderError, UnknownNameError


def test_every_reader_keeps_the_contract():
    names = registry.names("readers")
    assert names == ("bidmc_csv", "edf", "empatica_e4", "table", "wfdb_record")
    for name in names:
        reader = registry.find("readers", name)
        assert callable(reader.detect)
        assert callable(reader.read)
        for heading in ("Format:", "Units:", "Lossy:"):
            assert heading in reader.__doc__, f"{name} does not say its {heading}"


def test_each_format_is_recognised_by_its_own_reader(fabricate, tmp_path):
    made = {
        "bidmc_csv": fabricate.bidmc(tmp_path / "bidmc"),
        "edf": fabricate.edf(tmp_path / "a.edf"),
        "empatica_e4": fabricate.e4_zip(tmp_path / "e4.zip"),
        "table": fabricate.table(tmp_path / "table", "sampling_rate_hz: 4\nsignals: {}\n", "a\n1\n"),
        "wfdb_record": fabricate.wfdb_record(tmp_path / "wfdb"),
    }
    assert set(made) == set(registry.names("readers"))
    for name, path in made.items():
        takers = [other for other in made if registry.find("readers", other).detect(path)]
        assert takers == [name]
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
