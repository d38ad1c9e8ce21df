"""Embedding tables: made in order, kept whole, refused when damaged."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from hdt_fm.data import embeddings
from hdt_fm.data.embeddings import compute_embeddings, fuser, load_table, save_table
from hdt_fm.schema.errors import CorruptShardError, ShapeError, ShardError
from hdt_fm.schema.protocols import Embeddings


class Toy(torch.nn.Module):
    """Embeds a modality as (mean, window id, mode); projects onto the unit circle."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(2.0))

    def embed(self, batch):
        values = torch.zeros(len(batch), len(batch.modalities), 3)
        for column, name in enumerate(batch.modalities):
            if name in batch.signals:
                mean = batch.signals[name].values.mean(dim=(1, 2)) * self.gain
                mode = torch.full_like(mean, float(self.training))
                values[:, column] = torch.stack([mean, batch.window_id.float(), mode], dim=1)
        return Embeddings(values * batch.present[..., None], batch.present)

    def project(self, embeddings):
        values = torch.nn.functional.normalize(embeddings.values[..., :2], dim=-1)
        return Embeddings(values, embeddings.present)


@pytest.fixture(scope="module")
def table(f32_folder):
    calls = []
    model = Toy().train()
    made = compute_embeddings(
        model, f32_folder, model_digest="d" * 64, batch_size=50, progress=lambda *call: calls.append(call)
    )
    assert model.training
    assert calls[-1] == (len(calls), len(calls), "embed")
    return made


def test_rows_are_sorted_and_belong_together(table, f32_folder):
    assert len(table) == f32_folder.windows
    keys = list(zip(table.subject.tolist(), table.time_s.tolist(), strict=True))
    assert keys == sorted(keys)
    place = {int(wid): row for row, wid in enumerate(f32_folder.window_ids)}
    for row in range(0, len(table), 13):
        position = np.array([place[int(table.window_id[row])]])
        batch = f32_folder.gather(position)
        assert table.present[row].tolist() == batch.present[0].tolist()
        assert table.subject[row] == batch.subject[0]
        assert table.time_s[row] == batch.time_s[0]
        assert np.array_equal(table.labels["stress"][row], batch.labels["stress"][0], equal_nan=True)
        for column, name in enumerate(table.modalities):
            if table.present[row, column]:
                mean = float(batch.signals[name].values.mean()) * 2
                assert table.embeddings[row, column] == pytest.approx([mean, int(table.window_id[row]), 0], rel=1e-4)
            else:
                assert not table.embeddings[row, column].any()
                assert not table.projections[row, column].any()


def test_groups_tie_people(table, f32_folder, tiny):
    names = list(table.subjects)
    rows = [names.index(tiny.KEY.pseudonym("tiny", f"rawid-{person}")) for person in (3, 4, 5)]
    groups = [set(table.group[table.subject == row].tolist()) for row in rows]
    assert groups[1] == groups[2] != groups[0]
    assert len(np.unique(table.group)) == 6


def test_a_table_comes_back_whole(table, tmp_path):
    save_table(table, tmp_path / "t")
    back = load_table(tmp_path / "t")
    for entry in fields(table):
        old, new = getattr(table, entry.name), getattr(back, entry.name)
        if isinstance(old, np.ndarray):
            assert old.dtype == new.dtype
            assert np.array_equal(old, new)
        elif entry.name == "labels":
            assert all(np.array_equal(old[name], new[name], equal_nan=True) for name in old)
            assert old.keys() == new.keys()
        else:
            assert old == new, entry.name
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["embeddings.safetensors", "table.json"]


def test_damage_is_seen(table, tmp_path):
    with pytest.raises(ShardError, match="no embedding table"):
        load_table(tmp_path)
    save_table(table, tmp_path)
    path = tmp_path / "embeddings.safetensors"
    data = path.read_bytes()
    for raw in (data[:-1], data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], b""):
        path.write_bytes(raw)
        with pytest.raises(CorruptShardError, match="differ from what was written"):
            load_table(tmp_path)
    path.write_bytes(data)
    facts = json.loads((tmp_path / "table.json").read_text())
    (tmp_path / "table.json").write_text(json.dumps(facts | {"version": 99}))
    with pytest.raises(ShardError, match="another version"):
        load_table(tmp_path)


def test_the_table_names_what_made_it(table, f32_folder):
    assert table.model_digest == "d" * 64
    assert table.data_digest == f32_folder.digest


class Fusing(Toy):
    """Its fusion is the sum of those present; it says what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.fusion = torch.nn.Identity()

    def fuse(self, embeddings):
        assert not self.training
        return torch.where(embeddings.present[..., None], embeddings.values, 0.0).sum(1)


def test_a_model_with_a_fusion_gives_a_column_of_the_whole_window(table, f32_folder, tmp_path):
    assert table.fused is None
    model = Fusing().train()
    made = compute_embeddings(model, f32_folder, model_digest="d" * 64, batch_size=50)
    assert model.training
    np.testing.assert_array_equal(made.embeddings, table.embeddings)
    np.testing.assert_allclose(made.fused, made.embeddings.sum(1), rtol=1e-6)
    save_table(made, tmp_path / "t")
    np.testing.assert_array_equal(load_table(tmp_path / "t").fused, made.fused)
    # It was made of all of them, so it stays with them alone.
    wider = (*made.modalities, "glucose")
    assert made.over(wider).fused is made.fused
    assert made.over(made.modalities[:1]).fused is None
    with pytest.raises(ShapeError, match="`fused` does not fit"):
        replace(made, fused=made.fused[:-1])


def test_a_fusion_is_made_again_of_modalities_by_name(table, monkeypatch):
    model, known = Fusing(), ("glucose", *table.modalities)
    monkeypatch.setattr(embeddings, "FUSED_AT_ONCE", 7)
    assert fuser(Toy(), known) is None
    fuse, some = fuser(model, known), table.modalities[::-1][:2]
    columns = [table.modalities.index(name) for name in some]
    present = table.present[:, columns] & (np.arange(len(table))[:, None] % 3 != np.arange(2))
    found = fuse(some, table.embeddings[:, columns].astype(np.float64), present)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (table.embeddings[:, columns] * present[..., None]).sum(1), rtol=1e-6)
