import inspect

import pytest

from hdt_fm.schema import registry
from hdt_fm.schema.protocols import Cohort

NAMES = (
    *("folder", "stress_predict", "bidmc", "sp_sw_har", "ppg_dalia", "wesad", "uci_har", "pamap2", "sleep_edf"),
    *("azt1d", "t1d_uom", "shanghai_diabetes", "lifesnaps_daily", "welltory_covid19", "export"),
)


@pytest.mark.parametrize("name", NAMES)
def test_every_cohort_keeps_the_contract(name, tmp_path):
    assert {*NAMES, "synthetic", "virtual_diabetes"} == set(registry.names("cohorts"))
    cohort = registry.build("cohorts", name, {"path": str(tmp_path), "subject_key": "public"})
    assert isinstance(cohort, Cohort)
    assert all(
        isinstance(getattr(cohort, word), str) and getattr(cohort, word) for word in ("name", "licence", "source")
    )
    parameters = inspect.signature(type(cohort)).parameters.values()
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters)
