"""The releases in this repository: whole, small, and loadable by name without a network."""

import numpy as np
import pytest

import hdt_fm
from hdt_fm.checkpoint import load_preprocess
from hdt_fm.report.check import by_rule
from hdt_fm.report.facts import PROVENANCE_VERSION, read_facts
from hdt_fm.schema.published import published

MOST_BYTES = 8 * 2**20


@pytest.mark.parametrize("name", sorted(published()))
def test_a_release_is_whole_small_and_found_by_name(name: str) -> None:
    folder = published()[name]
    problems = {rule: said for rule, said in by_rule(folder).items() if said}
    if read_facts(folder).version == PROVENANCE_VERSION:
        assert problems == {}
    else:
        # What was not asked when it was published is said plainly, and nothing else is wrong with it.
        assert set(problems) == {"earlier release", "card complete", "subgroups told", "privacy audited"}
        assert "provenance version 1" in problems["earlier release"][0]
        assert "sbom.cdx.json" in problems["earlier release"][0]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST_BYTES
    model = hdt_fm.load(name)  # strict: every tensor, every checksum, the stored embedding
    assert {column.name for column in load_preprocess(name).modalities} == set(model.modalities)
    assert all(np.isfinite(weight.detach().numpy()).all() for weight in model.parameters())


def test_the_wrist_model_is_among_them() -> None:
    assert "hdt-fm-wrist-s" in published()
