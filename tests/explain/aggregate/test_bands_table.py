"""The table of planted bands: the band that is read is found by credit of bands, and not by a spectrum of the map."""

import importlib.util
from pathlib import Path


def test_band_credit_finds_what_the_spectrum_of_a_map_does_not() -> None:
    path = Path(__file__).resolve().parents[3] / "scripts" / "explain_bands.py"
    spec = importlib.util.spec_from_file_location("explain_bands", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    told: list[tuple[int, int]] = []
    result = module.table(quick=True, seeds=2, progress=lambda done, total, name: told.append((done, total)))
    metric = "share of credit on the band that is read"
    for band in module.READ:
        ours, spectrum = (result.find(kind, metric, band) for kind in (module.OURS, module.SPECTRUM))
        assert ours.value > 0.85
        assert spectrum.value < ours.value
        assert (ours.n, ours.role) == (2, "ours")
    assert result.find(module.SPECTRUM, metric, "breathing").value < 0.1
    assert told == [(0, 2), (1, 2), (2, 2)]
