"""Facts about people as a modality, along the whole path of the command line."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import hdt_fm
from hdt_fm.cli.compose import compose_config
from hdt_fm.cli.finetune import _refuse_input
from hdt_fm.cli.main import EXIT_OK, EXIT_USER_ERROR, main
from hdt_fm.cli.workflow import asked_covariates, hand_made, people_of
from hdt_fm.data.embeddings import load_table
from hdt_fm.data.shards import ShardFolder
from hdt_fm.schema.errors import ConfigError, LeakError

PEOPLE = {"told": 22, "other": 10, "silent": 8}
TINY = ["debug=tiny", "training.steps=6", "training.val_every=3", "encoder.slots=4", "encoder.width=16"]
TINY += ["split.validation=0.2", "near_s=4.0", "protocol.label=stress", "finetune.context=2"]
TINY += ["protocol.personal=[nothing]"]
ASKED = "covariates=[bmi,apoe]"
PUBLISH = ["publish.card=[house,demo]"]


def bmi_of(person: int) -> str:
    """A number that no other line of a file holds by chance."""
    return f"{20 + person % 7}.{person * 7919 + 104729}"


@pytest.fixture(scope="module")
def folders(repo: Path, tmp_path_factory) -> dict[str, Path]:
    """`told`: BMI and genotype, each not known of some; `other`: another band of people with a genotype alone, other
    window length; `silent`: people of whom only the sex is known."""
    spec = importlib.util.spec_from_file_location("tiny_cohort", repo / "tests" / "tiny_cohort.py")
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    root = tmp_path_factory.mktemp("covariates")

    def cohort(called, first, facts):
        class Told(tiny.TinyCohort):
            name = called

            def visits(self):
                for person in range(first, first + PEOPLE[called]):
                    self.seconds = 80 - 8 * person  # recordings of later people are longer; this takes it away again
                    visit = self.visit(person)
                    object.__setattr__(visit, "covariates", facts(person))
                    yield visit

        return Told()

    def of_told(person):
        facts = {"sex": "f" if person % 3 else "m", "apoe": ("33", "34", "44")[person % 3] + "e"}
        return facts if person % 4 == 0 else {**facts, "bmi": bmi_of(person)} if person % 5 else {"bmi": "NA"}

    tiny.build(root / "told", cohort("told", 0, of_told))
    short = tiny.PREPARATION.model_copy(update={"window_s": 2.0, "hop_s": 1.0})
    tiny.build(
        root / "other",
        cohort("other", 100, lambda person: {"apoe": ("33e", "23e")[person % 2], "bmi": "", "sex": "f"}),
        name="other",
        preparation=short,
    )
    tiny.build(root / "silent", cohort("silent", 200, lambda person: {"sex": "f"}), name="silent")
    return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope="module")
def walked(folders, tmp_path_factory) -> Path:
    """Every station once, with facts about people; its folder."""
    root = tmp_path_factory.mktemp("walk") / "run"
    for verb, more in (
        ("pretrain", []),
        ("embed", []),
        ("finetune", []),
        ("evaluate", ["protocol.also=[missing_modalities,zero_shot]"]),
        ("explain", ["explain.windows=2", "explain.withhold_waveforms=true"]),
        ("publish", PUBLISH),
    ):
        settings = [f"root={root}", f"shards={folders['told']}", ASKED, *TINY, *more]
        assert main([verb, *settings]) == EXIT_OK, verb
    return root


def test_the_checkpoint_knows_the_columns_and_no_person(walked: Path, folders) -> None:
    model, folder = hdt_fm.load(walked / "pretrain" / "checkpoint"), ShardFolder.open(folders["told"])
    assert model.modalities == ("ppg", "acc", "temp", "static")
    bmi, apoe = model.config.covariates
    config = compose_config("pretrain", [f"shards={folders['told']}", *TINY])
    train = [folder.manifest.subjects[row].covariates for row in people_of(config, folder).train]
    told = [float(facts["bmi"]) for facts in train if facts.get("bmi", "NA") != "NA"]
    assert (bmi.name, bmi.center, bmi.scale) == ("bmi", pytest.approx(np.mean(told)), pytest.approx(np.std(told)))
    assert apoe.levels == ("33e", "34e", "44e")
    assert set(model.config.statistics) == {"ppg", "acc", "temp"}
    batch = folder.with_static(model.config.covariates).gather(np.arange(folder.windows))
    with torch.no_grad():
        found = model.embed(batch)
    here = batch.column("static")
    assert 0 < here.sum() < len(here)
    assert torch.equal(found.present[:, 3], here)
    for person in batch.subject[here].unique():
        own = found.values[(batch.subject == person) & here, 3]
        torch.testing.assert_close(own, own[:1].expand_as(own))


def test_heads_see_it_as_one_more_column(walked: Path) -> None:
    table = load_table(walked / "embed" / "table")
    assert table.modalities == ("ppg", "acc", "temp", "static")
    assert 0 < table.present[:, 3].sum() < len(table)
    assert table.features().shape[1] == 4 * 16 + 4
    model = hdt_fm.load(walked / "finetune" / "checkpoint")
    assert model.config.heads["probe_stress"].args["in_features"] == 4 * 16 + 4


def test_baselines_are_given_what_the_encoder_is_given(walked: Path, folders) -> None:
    record = json.loads((walked / "evaluate" / "result.json").read_text())
    by_name = {result["protocol"]["task"]: result for result in record["results"]}
    rows = [row["what"] for result in record["results"] for row in result["rows"]]
    assert any("lost" in what or "static" in what for what in rows)
    found = [what for what in rows if what.startswith("retrieval")]
    assert found
    assert not [what for what in found if "static" in what], "it cannot find one of a person's windows"
    assert not [what for what in rows if "taught on static" in what or "asked on static" in what]
    task = next(result for result in by_name.values() if "hand_features" in result["protocol"])
    folder = ShardFolder.open(folders["told"])
    _, names, _ = hand_made(folder, load_table(walked / "embed" / "table"), lambda *_: None, ("bmi", "apoe"))
    assert task["protocol"]["hand_features"] == len(names)
    assert names[-4:] == ("static.bmi", "static.apoe=33e", "static.apoe=34e", "static.apoe=44e")


def test_nothing_of_a_person_leaves_the_run_and_the_card_names_the_columns(walked: Path, folders) -> None:
    told = [row.covariates for row in ShardFolder.open(folders["told"]).manifest.subjects]
    secret = {facts["bmi"] for facts in told if facts.get("bmi", "NA") != "NA"}
    assert len(secret) > 10
    published, report = list((walked / "publish" / "model").iterdir()), list((walked / "explain").iterdir())
    for path in [*published, *report, *walked.glob("*/result.json"), *walked.glob("*/metrics.csv")]:
        text = path.read_bytes().decode("utf-8", errors="replace")
        assert not [value for value in secret if value in text or value[:8] in text], path.name
    stored = torch.frombuffer(bytearray(np.float32([float(one) for one in secret]).tobytes()), dtype=torch.float32)
    for path in published:
        if path.suffix == ".safetensors":
            numbers = np.frombuffer(path.read_bytes()[8:][: (path.stat().st_size - 8) // 4 * 4], dtype=np.float32)
            assert not np.isin(numbers, stored.numpy()).any(), path.name
    card = (walked / "publish" / "model" / "README.md").read_text()
    assert "`bmi` (a number), `apoe` (3 levels)" in card
    assert "other values not shown" in next(line for line in card.splitlines() if line.startswith("People by bmi"))
    explained = (walked / "explain" / "explanation.json").read_text()
    assert '"static"' not in explained


def test_the_published_model_meets_a_cohort_without_the_columns(walked: Path, folders, tmp_path: Path) -> None:
    model = hdt_fm.load(walked / "publish" / "model")
    silent = ShardFolder.open(folders["silent"])
    settings = [f"root={tmp_path}", f"shards={folders['silent']}", f"checkpoint={walked / 'publish' / 'model'}", *TINY]
    assert main(["embed", *settings]) == EXIT_OK
    table = load_table(tmp_path / "embed" / "table")
    assert table.modalities == ("ppg", "acc", "temp")
    assert silent.with_static(model.config.covariates) is silent
    assert main(["evaluate", *settings, "protocol.people=unseen", "protocol.folds=2"]) == EXIT_OK


def test_another_cohort_with_some_of_the_columns_has_the_modality(
    walked: Path, folders, tmp_path: Path, capsys
) -> None:
    settings = [f"root={tmp_path}", f"shards={folders['other']}", *TINY, "protocol.people=unseen", "protocol.folds=2"]
    settings += [f"checkpoint={walked / 'publish' / 'model'}"]
    assert main(["evaluate", *settings]) == EXIT_USER_ERROR
    said = capsys.readouterr().err
    assert "name different covariates" in said
    assert "covariates=[bmi,apoe]" in said
    assert main(["evaluate", *settings, ASKED]) == EXIT_OK


def test_folds_learn_the_columns_from_their_own_people(folders, tmp_path) -> None:
    settings = [f"root={tmp_path}", f"shards={folders['told']}", ASKED, *TINY]
    settings += ["protocol.people=per_fold", "protocol.folds=2", "protocol.only=[ppg,static]"]
    assert main(["evaluate", *settings]) == EXIT_OK
    one, other = (
        hdt_fm.load(tmp_path / "evaluate" / "folds" / str(fold) / "checkpoint").config.covariates[0].center
        for fold in (1, 2)
    )
    assert one != other


def test_a_label_that_is_an_input_is_refused_before_anything_is_trained(folders, tmp_path, capsys, walked) -> None:
    shards = [f"root={tmp_path}", f"shards={folders['told']}", *TINY]
    for verb, more in (("evaluate", ["protocol.people=per_fold"]), ("evaluate", ["--dry-run"])):
        assert main([verb, *shards, "covariates=[stress,sex]", *more]) == EXIT_USER_ERROR
        said = capsys.readouterr().err
        assert "'stress' is a covariate that the encoder reads" in said
    assert not (tmp_path / "evaluate" / "folds").exists()


def test_a_head_is_not_trained_on_what_its_features_were_told(walked: Path) -> None:
    table = load_table(walked / "embed" / "table")
    with pytest.raises(LeakError, match="'bmi' is a covariate that the encoder reads"):
        _refuse_input(table, "bmi", ["bmi", "apoe"])
    _refuse_input(table.over(("ppg", "acc")), "bmi", ["bmi", "apoe"])


def test_a_column_that_nobody_has_is_named_with_those_there_are(folders, tmp_path, capsys) -> None:
    settings = [f"root={tmp_path}", f"shards={folders['told']}", *TINY]
    assert main(["pretrain", *settings, "covariates=[bmi,height]"]) == EXIT_USER_ERROR
    said = capsys.readouterr().err
    assert "'height' cannot be learned from" in said
    assert "columns there are: apoe, bmi, sex" in said
    assert main(["pretrain", *settings, "encoder=static"]) == EXIT_USER_ERROR
    assert "reads facts about people, not signals" in capsys.readouterr().err
    assert main(["pretrain", *settings, ASKED, "static.hidden_layers=2"]) == EXIT_USER_ERROR
    assert "did you mean 'hidden'" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["age", "[age,age]", "[1,2]", "null"])
def test_covariates_are_a_list_of_columns(value) -> None:
    with pytest.raises(ConfigError, match="must be a list of columns"):
        asked_covariates(compose_config("pretrain", [f"covariates={value}"]))


@pytest.mark.parametrize(
    "more",
    [
        ["fusion=attention", "loss=leave_one_out", "loss.others=fused"],
        ["loss=mix", "training.hide.share=0.5", "training.hide.stretch_s=1.0"],
        ["loss=near_in_time", "loss.negatives=all", "loss.across=true", "training.piece=3"],
        ["loss=sigmoid_pairs", "encoder=resnet"],
    ],
)
def test_every_objective_trains_with_it(folders, tmp_path, more) -> None:
    resnet = "encoder=resnet" in more
    settings = [one for one in TINY if not (resnet and one.startswith("encoder."))]
    settings = [one for one in settings if not (resnet and one == "debug=tiny")]
    small = ["training.batch_size=8", "training.warmup_steps=1", "training.checkpoint_every=6"]
    assert (
        main(["pretrain", f"root={tmp_path}", f"shards={folders['told']}", ASKED, *settings, *small, *more]) == EXIT_OK
    )
    model = hdt_fm.load(tmp_path / "pretrain" / "checkpoint")
    assert model.modalities[-1] == "static"


def test_cohorts_with_other_columns_share_one_model(folders, tmp_path) -> None:
    both = f"cohorts=[{folders['silent']},{folders['told']},{folders['other']}]"
    assert main(["pretrain", f"root={tmp_path}", both, "covariates=[apoe,bmi]", *TINY]) == EXIT_OK
    checkpoint = tmp_path / "pretrain" / "checkpoint"
    model = hdt_fm.load(checkpoint)
    apoe, _ = model.config.covariates
    assert apoe.levels == ("23e", "33e", "34e", "44e"), "of the people of all cohorts"
    contracts = json.loads((checkpoint / "preprocess.json").read_text())["cohorts"]
    has = {name: [one["name"] for one in contract["modalities"]][-1] for name, contract in contracts.items()}
    assert has == {"silent": "temp", "told": "static", "other": "static"}
    for name in ("told", "other", "silent"):
        folder = ShardFolder.open(folders[name]).with_static(model.config.covariates)
        with torch.no_grad():
            found = model.embed(folder.gather(np.arange(12)))
        assert found.present[:, -1].any() == (name != "silent")


def test_a_run_without_covariates_is_what_it_was(folders, tmp_path) -> None:
    settings = [f"shards={folders['told']}", *TINY]
    assert main(["pretrain", f"root={tmp_path}/plain", *settings]) == EXIT_OK
    assert main(["pretrain", f"root={tmp_path}/empty", *settings, "covariates=[]"]) == EXIT_OK
    plain, empty = (tmp_path / name / "pretrain" for name in ("plain", "empty"))
    for name in ("model.safetensors", "config.json", "preprocess.json"):
        assert (plain / "checkpoint" / name).read_bytes() == (empty / "checkpoint" / name).read_bytes()
    config = json.loads((plain / "checkpoint" / "config.json").read_text())
    assert "static" not in json.dumps(config)
    record = json.loads((plain / "result.json").read_text())
    sections = ("encoder", "projection", "loss", "training", "split")
    assert record["provenance"]["config"] == compose_config("pretrain", settings).digest(*sections)
    assert "covariates" not in record["summary"]
