"""The Triton kernels against the reference in float64, run by Triton's interpreter on the CPU.

The interpreter must be chosen before triton is imported, and once chosen nothing else can be compiled: so `test_`
functions run in the usual process and start another one, which collects the `check_` functions of this file.
"""

import itertools
import math
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import distributed, multiprocessing
from torch.nn.functional import normalize

from hdt_fm.ops.contrastive import reference
from hdt_fm.ops.contrastive import triton as room
from hdt_fm.ops.contrastive.pairs import Exclusion, Pairs, all_pairs, rows_of_pairs
from hdt_fm.ops.contrastive.triton import configs, forward, gradients, launch, packing
from hdt_fm.ops.contrastive.triton.configs import Config, Key, Tile
from hdt_fm.schema.errors import ConfigError

REPO = Path(__file__).resolve().parents[2]
# All sides of a tile differ, and a panel is shorter than the batches: swapped sides cannot hide.
SMALL = Config(Tile(16, 32, 16, 1, 1), Tile(32, 16, 16, 1, 1), Tile(16, 32, 16, 1, 1), 32, Tile(16, 32, 16, 1, 1))
LARGE = Config(Tile(32, 64, 32, 1, 1), Tile(64, 32, 32, 1, 1), Tile(32, 64, 32, 1, 1), 64, Tile(64, 32, 32, 1, 1))
KINDS = ("softmax", "sigmoid")
# Which route makes the gradients, and with which tiles.
NOW = {"tiles": LARGE, "route": "chip"}


def test_checks_pass_in_interpret_mode():
    pytest.importorskip("triton", reason="the kernels need triton")
    # Without the checker of shapes, which torch.compile cannot look through.
    options = ["-o", "python_functions=check_*", "-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider"]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", __file__, "-q", *options],
        capture_output=True,
        text=True,
        cwd=REPO,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
    )
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
    assert int(found.stdout.rsplit(" passed", 1)[0].split()[-1]) >= 40, "the walk over checks found too few"


def test_the_room_opens_without_triton():
    code = (
        "import sys; import torch\n"
        "from hdt_fm.ops.contrastive import triton as room\n"
        "from hdt_fm.ops.contrastive.pairs import Pairs\n"
        "from hdt_fm.schema.errors import ConfigError\n"
        "print('triton' in sys.modules); sys.modules['triton'] = None\n"
        "try: room.pair_losses(Pairs(torch.zeros(2, 3, 4), ((0, 1),), torch.ones(1, 3, dtype=torch.bool), (None,)),"
        " torch.ones(1))\n"
        "except ConfigError as error: print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO)
    loaded, said = found.stdout.split("\n", 1)
    assert loaded == "False"
    assert "needs Triton" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="it would run")
def test_the_check_for_gpus_loads_without_jaxtyping_and_says_that_there_is_none():
    script = str(REPO / "scripts" / "gpu_check.py")
    code = f"import sys, runpy; sys.modules['jaxtyping'] = None; runpy.run_path({script!r}, run_name='__main__')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert found.returncode == 2, found.stderr[-2000:]
    assert "no GPU here" in found.stderr


def test_what_it_cannot_do_speaks(tmp_path):
    problem = pairs_of(unit(2, 4, 3))
    with pytest.raises(ConfigError, match="no float64"):
        room.pair_losses(replace(problem, embeddings=problem.embeddings.double()), torch.ones(1))
    if os.environ.get("TRITON_INTERPRET", "0") != "1":
        pytest.importorskip("triton", reason="the kernels need triton")
        with pytest.raises(ConfigError, match="needs a GPU"):
            room.pair_losses(problem, torch.ones(1))
    with pytest.raises(ConfigError, match="fits"):
        configs.config_for("sm70", "half", 64, False)


def test_tables_of_configurations_are_read_back_and_come_first(tmp_path, monkeypatch):
    wide, narrow = Key("sm90", "half", configs.WIDE, True), Key("sm90", "half", 64, True)
    configs.write_configs(tmp_path / "found.json", {narrow: LARGE, wide: SMALL})
    monkeypatch.setenv(configs.OVERRIDE, str(tmp_path / "found.json"))
    assert configs.config_for("sm90", "half", 64, True) == LARGE
    assert configs.config_for("sm90", "half", 65, True) == SMALL
    assert configs.config_for("sm90", "half", 64, False) == configs.CONFIGS[Key("sm90", "half", 64, False)]
    (tmp_path / "bad.json").write_text('[{"key": 1}]')
    with pytest.raises(ConfigError, match="cannot be read"):
        configs.read_configs(tmp_path / "bad.json")


def test_narrow_rows_of_half_precision_take_the_route_on_chip():
    for rule, width in itertools.product((False, True), (1, 8, 40, 64, 65, 80, 128, 129, 512)):
        config = configs.config_for("sm90", "half", width, rule)
        assert config.on_chip(width) == (width <= 128)
        assert config.packed_width(width) == (
            64 if width <= 64 else -(-width // 128) * 128 if width <= 128 else 64 * -(-width // 64)
        )
        # Three TF32 products of float32 rows, and masks beside the older matrix units, leave no registers for it.
        assert not configs.config_for("sm90", "float32", width, rule).on_chip(width)
        assert configs.config_for("sm80", "half", width, rule).on_chip(width) == (width <= 128 and not rule)
    for key, config in configs.CONFIGS.items():
        assert config.chip is None or config.chip.depth == key.width


def test_panels_bound_memory():
    for pairs, rows in itertools.product((1, 10), (128, 2048, 32768, 131072, 2**20)):
        panel = SMALL._replace(panel=4096).panel_rows(pairs, rows, rows)
        assert panel % SMALL.room == 0
        assert panel <= rows
        assert pairs * panel * rows <= max(configs.PANEL_ENTRIES, configs.LEAST_PANEL * pairs * rows)


# --- what follows is collected in interpret mode only ---


@pytest.fixture(scope="session", autouse=True)
def _wrapped_once():
    """The interpreter wraps Triton's whole language anew in each call of a helper function, which takes half of the
    time; nothing else runs in this process, so once is enough."""
    if os.environ.get("TRITON_INTERPRET", "0") == "1":
        runpy.run_path(str(Path(__file__).with_name("interpreted.py")))["wrap_once"]()


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch):
    monkeypatch.setattr(launch, "config_for", config_now)


def config_now(_arch, _precision, width, _rule):
    tiles = NOW["tiles"]
    if NOW["route"] == "panel":
        return tiles._replace(chip=None)
    # On a GPU, too, the tile of a route on chip is as deep as rows are wide.
    return tiles._replace(chip=tiles.chip._replace(depth=max(tiles.chip.depth, 1 << (width - 1).bit_length())))


def unit(*shape, seed=0):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def near_partners(rows, dim, seed=0, apart=0.7):
    first, noise = unit(2, rows, dim, seed=seed)
    return torch.stack((first, normalize(first + apart * noise, dim=-1)))


def pairs_of(rows, **others):
    pairs = all_pairs(len(rows))
    both = torch.ones(len(pairs), rows.shape[1], dtype=torch.bool)
    return Pairs(**({"embeddings": rows, "pairs": pairs, "both": both, "exclusions": (None,) * len(pairs)} | others))


def rule_of(name, rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    subject = torch.randint(-3, 4, (rows,), generator=generator) * 2**40
    time_s = torch.randint(0, 30, (rows,), generator=generator).double() * 29.7 + 0.1
    whole = torch.rand(rows, generator=generator) < 0.1
    return {
        "none": None,
        "subject": Exclusion(subject, time_s, math.inf),
        "near": Exclusion(subject, time_s, 59.4),
        "whole": Exclusion(subject, time_s.masked_fill(whole, torch.nan), 59.4, whole),
        "only whole": Exclusion(subject, time_s, -math.inf, whole),
        "everyone": Exclusion(torch.zeros_like(subject), time_s, math.inf),
    }[name]


def answers(functions, kind, problem, scale, bias=-3.0, routes=("chip", "panel")):
    """Losses, empty rows, and gradients of a weighted sum of the losses, by each route from the same forward pass."""
    rows = problem.embeddings.detach().clone().requires_grad_()
    numbers = scale.to(problem.exact).clone().requires_grad_()
    shift = torch.tensor(bias, dtype=problem.exact, requires_grad=True)
    given_ = replace(problem, embeddings=rows)
    leaves = [rows, numbers, shift][: 2 if kind == "softmax" else 3]
    NOW["route"] = "chip"
    if kind == "softmax":
        out = functions.pair_losses(given_, numbers)
    else:
        out = functions.sigmoid_losses(given_, numbers, shift)
    total, found = (out.loss * torch.arange(1, len(scale) + 1)).sum(), []
    for route in routes:
        NOW["route"] = route
        of_rows, *learned = torch.autograd.grad(total, leaves, retain_graph=True)
        found.append((out.loss.detach(), out.empty, of_rows, learned[0], learned[-1]))
    NOW["route"] = "chip"
    return found


def answer(functions, kind, problem, scale, bias=-3.0):
    """The same by the route on chip."""
    return answers(functions, kind, problem, scale, bias, ("chip",))[0]


def gap(got, expected):
    assert torch.isfinite(got).all()
    return float((got.double() - expected).norm() / expected.norm().clamp(min=1e-300))


def compare(kind, problem, scale, loss_at=5e-6, grad_at=1e-5, scale_at=5e-5, bias=-3.0):
    wide = replace(problem, embeddings=problem.embeddings.double())
    expected = answer(reference, kind, wide, scale.double(), bias)
    for got in answers(room, kind, problem, scale, bias):
        assert got[0].dtype == torch.float32
        assert got[2].dtype == problem.embeddings.dtype
        assert got[1].tolist() == expected[1].tolist()
        found = [gap(got[i], expected[i]) for i in (0, 2, 3, 4)]
        for at, limit in zip(found, (loss_at, grad_at, scale_at, scale_at), strict=True):
            assert at < limit, found
    return got


@pytest.mark.parametrize(
    ("rows", "dim", "scale", "rule", "direction", "weighted"),
    [
        (1, 8, 14.3, "none", "both", False),
        (2, 8, 1.0, "none", "both", False),
        (2, 64, 14.3, "subject", "first", True),
        (31, 80, 14.3, "none", "second", True),
        (31, 40, 60.0, "near", "both", False),
        (64, 64, 100.0, "none", "both", False),
        (64, 8, 1.0, "subject", "both", True),
        (97, 40, 14.3, "whole", "first", True),
        (97, 8, 60.0, "only whole", "both", False),
        (130, 80, 100.0, "none", "both", True),
        (130, 40, 14.3, "near", "both", False),
        (60, 128, 14.3, "near", "both", True),
        (70, 128, 100.0, "none", "second", False),
    ],
)
def check_one_pair(monkeypatch, rows, dim, scale, rule, direction, weighted):
    if rows <= 50:
        monkeypatch.setitem(NOW, "tiles", SMALL)
    weight = torch.rand(rows, generator=torch.Generator().manual_seed(1)) if weighted else None
    if weighted:
        weight[::7] = 0
    rule = rule_of(rule, rows)
    problem = pairs_of(near_partners(rows, dim), exclusions=(rule,), weight=weight, direction=direction)
    # A cosine's last bit, times the scale, is in the exponent.
    grad_at = 2e-5 if scale >= 100 else 1e-5
    compare("softmax", problem, torch.tensor([scale]), grad_at=grad_at)
    if rows < 100 and rows not in (64, 70):
        compare("sigmoid", problem, torch.tensor([scale]), grad_at=grad_at)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def check_half_precision_against_the_same_rounded_rows(kind, dtype):
    rows = near_partners(45, 24).to(dtype)
    # bfloat16 is cut off here where a GPU rounds, which costs a factor of two.
    grad_at = 1e-3 if dtype == torch.float16 else 8e-3
    compare(kind, pairs_of(rows), torch.tensor([14.3]), loss_at=1e-6, grad_at=grad_at, scale_at=1e-4)


def check_bfloat16_products_of_float32_rows():
    rows = near_partners(40, 24)
    rounded = answer(reference, "softmax", pairs_of(rows.bfloat16().double()), torch.tensor([14.3]).double())
    for got in answers(room, "softmax", pairs_of(rows, products="bf16"), torch.tensor([14.3])):
        assert got[2].dtype == torch.float32
        assert gap(got[0], rounded[0]) < 1e-6
        assert gap(got[2], rounded[2]) < 8e-3


def check_float16_pushes_of_a_solved_batch_do_not_sink():
    # Pushes of 1e-12 and less, where float16 ends at 6e-8: without a factor of theirs all would be 0.
    rows, grads = near_partners(40, 64, apart=0.05).half(), []
    for functions, values, route in ((room, rows, "chip"), (room, rows, "panel"), (reference, rows.double(), "")):
        NOW["route"] = route or "chip"
        leaf = values.clone().requires_grad_()
        loss = functions.pair_losses(pairs_of(leaf), torch.tensor([25.0], dtype=pairs_of(leaf).exact)).loss.sum()
        # As a gradient scaler does it, since the answer is in float16 too.
        (loss * 2**28).backward()
        grads.append(leaf.grad)
        assert loss.item() < 1e-7
    assert gap(grads[0], grads[2]) < 1e-3
    assert gap(grads[1], grads[2]) < 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "rules", [("none", "none", "none"), ("whole", "near", "none"), ("subject", "only whole", "near")]
)
def check_ragged_pairs_with_absent_rows(kind, rules):
    present = torch.rand(50, 3, generator=torch.Generator().manual_seed(3)) < 0.7
    rows = unit(3, 50, 12).masked_fill(~present.T[..., None], torch.nan)
    pairs = all_pairs(3)
    problem = pairs_of(
        rows,
        both=rows_of_pairs(present, pairs),
        exclusions=tuple(rule_of(name, 50, seed) for seed, name in enumerate(rules)),
    )
    got = compare(kind, problem, torch.tensor([14.3, 5.0, 30.0]))
    assert (got[2][~present.T] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def check_pairs_with_one_row_or_none_are_exactly_zero(kind):
    rows = unit(3, 20, 6)
    both = torch.zeros(3, 20, dtype=torch.bool)
    both[0, 3], both[2, 5:7] = True, True
    rows = rows.masked_fill(~torch.stack((both[0], both[0] | both[2], both[2]))[..., None], torch.nan)
    got = compare(kind, pairs_of(rows, both=both), torch.tensor([9.0, 9.0, 9.0]))
    assert got[0][:2].tolist() == [0, 0]
    assert got[3][:2].tolist() == [0, 0]
    assert (got[2][0] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def check_no_batch_is_zero(kind):
    for batch in (0, 1):
        got = answer(room, kind, pairs_of(torch.full((3, batch, 4), torch.nan)), torch.tensor([9.0, 9.0, 9.0]))
        assert got[0].tolist() == got[3].tolist() == [0, 0, 0]
        assert torch.equal(got[2], torch.zeros(3, batch, 4))


@pytest.mark.parametrize("rows", [7, 40])
def check_everyone_excluded_is_exactly_zero(rows):
    problem = pairs_of(unit(2, rows, 8) * 20, exclusions=(rule_of("everyone", rows),))
    got = answer(room, "softmax", problem, torch.tensor([14.3]))
    assert got[0].tolist() == got[3].tolist() == [0]
    assert got[1].tolist() == [rows]
    assert (got[2] == 0).all()


def check_a_solved_batch_keeps_its_digits():
    eye = torch.eye(24)
    got = compare("softmax", pairs_of(torch.stack((eye, eye))), torch.tensor([50.0]))
    assert 0 < got[0].item() < 1e-20


@pytest.mark.parametrize("rule", ["none", "near"])
@pytest.mark.parametrize("scale", [100.0, 300.0])
def check_sums_that_sink_are_repaired(scale, rule):
    # All cosines near -1: exp(-100 - 12) and less, under the offset.
    rows = unit(1, 40, 12).expand(2, 40, 12)[:, :1] + 0.1 * unit(2, 40, 12, seed=1)
    rows = normalize(rows, dim=-1) * torch.tensor([1.0, -1.0])[:, None, None]
    rows[:, 7] = unit(12)
    problem = pairs_of(rows, exclusions=(rule_of(rule, 40),))
    compare("softmax", problem, torch.tensor([scale]), grad_at=2e-5, scale_at=1e-4)


def check_opposed_partners_do_not_overflow():
    rows = unit(2, 40, 12)
    rows[1] = -rows[0]
    compare("softmax", pairs_of(rows), torch.tensor([100.0]))


def check_long_rows():
    # Logits of thousands: float32 keeps three digits after the point of them.
    rows = torch.randn(2, 50, 16, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 7, 50)[:, None]
    assert rows.norm(dim=-1).max() > 25
    compare("softmax", pairs_of(rows), torch.tensor([14.3]), grad_at=1e-3, scale_at=1e-3)


# Making a failing example small takes minutes in the interpreter.
@settings(max_examples=24, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(data=st.data())
def check_random_configurations(data):
    seed = data.draw(st.integers(0, 2**31), label="seed")
    generator = torch.Generator().manual_seed(seed)
    # Three pairs, each with its rows, scale and rule, cost less than three problems.
    modalities = data.draw(st.sampled_from([2, 3]), label="modalities")
    tiles, most = data.draw(st.sampled_from([(SMALL, 24), (LARGE, 40), (LARGE, 40)]), label="tiles")
    batch = data.draw(st.integers(2, most), label="batch")
    dim = data.draw(st.integers(2, 14), label="dim")
    rows = normalize(torch.randn(modalities, batch, dim, generator=generator), dim=-1)
    rows = rows * data.draw(st.sampled_from([1.0, 1.0, 2.0]), label="length")
    present = torch.rand(batch, modalities, generator=generator) < data.draw(st.sampled_from([0.4, 0.8, 1.0]))
    pairs = all_pairs(modalities)
    names = st.sampled_from(["none", "none", "subject", "near", "whole", "only whole", "everyone"])
    problem = Pairs(
        rows.masked_fill(~present.T[..., None], torch.nan),
        pairs,
        rows_of_pairs(present, pairs),
        tuple(rule_of(data.draw(names), batch, seed) for _ in pairs),
        torch.rand(batch, generator=generator) if data.draw(st.booleans(), label="weighted") else None,
        data.draw(st.sampled_from(["both", "first", "second"])),
    )
    scale = torch.tensor([data.draw(st.sampled_from([0.5, 1.0, 14.3, 60.0, 100.0])) for _ in pairs])
    kind = data.draw(st.sampled_from(KINDS))
    patch = pytest.MonkeyPatch()
    patch.setattr(launch, "config_for", config_now)
    patch.setitem(NOW, "tiles", tiles)
    both_routes = answers(room, kind, problem, scale)
    patch.undo()
    expected = answer(reference, kind, replace(problem, embeddings=problem.embeddings.double()), scale.double())
    # A gradient is a difference of pushes and pulls, which are no larger than the loss; below 1e-30 digits are lost.
    size = expected[0].norm()
    limits = ((0, 1e-5, 0.0), (2, 2e-5, 3e-6 * scale.max()), (3, 5e-5, 3e-6), (4, 5e-5, 3e-6))
    for got, (place, at, of_size) in itertools.product(both_routes, limits):
        assert got[1].tolist() == expected[1].tolist()
        wide = expected[place].double()
        assert torch.isfinite(got[place]).all()
        assert (got[place].double() - wide).norm() <= at * wide.norm() + of_size * size + 1e-30, place


@pytest.mark.parametrize("kind", KINDS)
def check_nothing_around_the_rows_is_read_and_all_memory_is_written(kind):
    rows = unit(2, 37, 20)
    plain = answers(room, kind, pairs_of(rows, exclusions=(rule_of("near", 37),)), torch.tensor([20.0]))
    field = torch.full((4, 41, 26), torch.nan)
    field[1:3, 2:39, 3:23] = rows
    torch.use_deterministic_algorithms(True)
    try:
        # New memory now holds NaN, and the largest integers.
        assert torch.utils.deterministic.fill_uninitialized_memory
        assert torch.empty(3).isnan().all()
        guarded = Guarded.apply(field)
        problem = pairs_of(rows, exclusions=(rule_of("near", 37),))
        again = answers(room, kind, replace(problem, embeddings=guarded), torch.tensor([20.0]))
        view = field[1:3, 2:39, 3:23].requires_grad_()
        strided = room.pair_losses(replace(problem, embeddings=view), torch.tensor([20.0])).loss
    finally:
        torch.use_deterministic_algorithms(False)
    for one, other in zip(itertools.chain(*plain), itertools.chain(*again), strict=True):
        assert torch.equal(one, other)
    if kind == "softmax":
        assert torch.equal(strided.detach(), plain[0][0])


class Guarded:
    """The rows inside of a field of NaN, as a plain tensor."""

    @staticmethod
    def apply(field):
        return field[1:3, 2:39, 3:23]


@pytest.mark.parametrize("kind", KINDS)
def check_runs_repeat_bit_by_bit_whatever_the_number_of_programs(kind, monkeypatch):
    both = torch.rand(3, 35, generator=torch.Generator().manual_seed(0)) < 0.6
    problem = pairs_of(unit(3, 35, 12), both=both, exclusions=(rule_of("near", 35), None, None))
    found = []
    monkeypatch.setitem(NOW, "tiles", SMALL)
    for processors in (0, 1):
        monkeypatch.setattr(launch, "_processors", lambda _, processors=processors: processors)
        found.append(answers(room, kind, problem, torch.tensor([14.3, 5.0, 30.0])))
    assert launch.programs(problem.embeddings, 100, SMALL.sums) == 8
    for other in found[1:]:
        for one, another in zip(found[0], other, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, another, strict=True))


def check_euler_identity():
    # The loss is a function of scale * cosines: scale dL/dscale = <Q, dL/dQ> = <K, dL/dK>.
    rows = near_partners(45, 24, apart=1.0)
    _, _, d_rows, d_scale, _ = answer(room, "softmax", pairs_of(rows), torch.tensor([20.0]))
    for side in range(2):
        assert (rows[side] * d_rows[side]).sum().item() == pytest.approx(20 * d_scale.item(), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sunk", [False, True])
def check_blocks_of_query_rows_add_up_to_the_whole(monkeypatch, kind, sunk):
    monkeypatch.setitem(NOW, "tiles", SMALL)
    rows = unit(2, 54, 12)
    if sunk:
        rows = normalize(rows[:1, :1] + 0.1 * rows, dim=-1) * torch.tensor([1.0, -1.0])[:, None, None] * 2
    problem = pairs_of(rows, exclusions=(rule_of("whole", 54),))
    both = problem.both.clone()
    both[0, ::9] = False
    whole, weight, longest = packed_of(replace(problem, both=both))
    scale, bias, shares = torch.tensor([50.0]), torch.tensor(-2.0), (0.3, 0.7)
    offset = forward.offset_of(scale, longest, 54)
    parts = [block_of(whole, first, rows_) for first, rows_ in ((0, 13), (13, 32), (45, 0), (45, 3))]
    assert sum(int(part.rows) for part in parts) == int(whole.columns) == 48
    if kind == "sigmoid":
        expected = forward.question_losses(whole, scale, bias, weight, shares)
        # Columns cost what they cost in any block: their sum is over all.
        found = sum(forward.question_losses(part, scale, bias, weight, shares) for part in parts)
        pulled = [(gradients.question_gradients, part, bias) for part in (whole, *parts)]
    else:
        row, column = forward.sums(whole, scale, offset)
        sums = [forward.sums(part, scale, offset) for part in parts]
        together = torch.stack([each[1] for each in sums]).logsumexp(0)
        torch.testing.assert_close(together, column, rtol=1e-5, atol=1e-5)
        expected = forward.losses_of(whole, scale, row, column, weight, shares)
        rows_of_parts = [each[0] for each in sums]
        found = sum(
            forward.losses_of(part, scale, each, together, weight, shares)
            for part, each in zip(parts, rows_of_parts, strict=True)
        )
        pulled = [(gradients.gradients, whole, offset, row, column)] + [
            (gradients.gradients, part, offset, each, together) for part, each in zip(parts, rows_of_parts, strict=True)
        ]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    for config in (whole.config, whole.config._replace(chip=None)):
        first, *others = (
            function(part._replace(config=config), scale, *known, weight, shares) for function, part, *known in pulled
        )
        assert config.on_chip(whole.query.shape[2]) == (config.chip is not None)
        # Logits of hundreds have lost the digits after the fifth.
        at = 1e-3 if sunk else 1e-5
        blocks = [each.query[:, : int(part.rows)] for part, each in zip(parts, others, strict=True)]
        assert gap(torch.cat(blocks, 1), first.query[:, :48].double()) < at
        for name in ("key", "scale", "bias"):
            total = sum(getattr(each, name).double() for each in others)
            assert gap(total, getattr(first, name).double()) < at, name
        assert all((each.query[:, int(part.rows) :] == 0).all() for part, each in zip(parts, others, strict=True))


def packed_of(problem):
    """What the forward pass packs."""
    rule = problem.exclusions[0]
    order, _, count, near, _ = torch.ops.hdt_fm.contrastive_rows(
        problem.both, [rule.subject], [rule.time_s], [rule.whole], [rule.within_s], [0]
    )
    packed, longest = packing.pack(problem.embeddings, order, count, near, (0, 1), "exact")
    return packed, packing.weights_of(None, order, count, packed.own), longest


def block_of(whole, first, rows):
    query = torch.zeros_like(whole.query[:, : max(32, -(-rows // 32) * 32)])
    query[:, :rows] = whole.query[:, first : first + rows]
    number = torch.tensor([rows], dtype=torch.int32)
    return whole._replace(query=query, rows=number, first=torch.tensor([first], dtype=torch.int32))


@pytest.mark.parametrize("kind", KINDS)
def check_compiled_is_the_same(kind):
    present = torch.rand(20, 3, generator=torch.Generator().manual_seed(3)) < 0.8
    pairs = all_pairs(3)
    rule = rule_of("near", 20)

    def loss(rows, scale, bias):
        problem = Pairs(rows, pairs, rows_of_pairs(present, pairs), (rule, None, rule))
        if kind == "softmax":
            return room.pair_losses(problem, scale).loss.sum()
        return room.sigmoid_losses(problem, scale, bias).loss.sum()

    found = []
    for function in (loss, torch.compile(loss, backend="aot_eager", fullgraph=True)):
        leaves = unit(3, 20, 6).requires_grad_(), torch.full((3,), 9.0, requires_grad=True), torch.tensor(-2.0)
        function(*leaves).backward()
        found.append((leaves[0].grad, leaves[1].grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def check_operators_keep_their_promises():
    problem = pairs_of(unit(2, 20, 6))
    rule = rule_of("near", 20)
    arguments = (problem.both, [rule.subject], [rule.time_s], [torch.zeros(20, dtype=torch.bool)], [59.4], [0])
    torch.library.opcheck(torch.ops.hdt_fm.contrastive_rows.default, arguments)
    order, place, count, near, _ = torch.ops.hdt_fm.contrastive_rows(*arguments)
    rows, scale = problem.embeddings.requires_grad_(), torch.tensor([9.0], requires_grad=True)
    for bias in (None, torch.tensor(-2.0)):
        given_ = (rows, scale, bias, None, order, place, count, near, [0, 1], [0.5, 0.5], "exact")
        torch.library.opcheck(
            torch.ops.hdt_fm.contrastive_forward.default,
            given_,
            test_utils=("test_schema", "test_faketensor", "test_autograd_registration"),
        )


def check_two_processes_with_their_rows_are_one_with_all(monkeypatch, tmp_path):
    """The same cases as of the tiles, in single precision, since the kernels have no other."""
    if not (distributed.is_available() and distributed.is_gloo_available()):
        pytest.skip("torch was built without gloo")
    worker = runpy.run_path(str(REPO / "tests" / "ops" / "one_of_several.py"))
    cases = worker["CASES"]
    for name in list(cases):
        if "single precision" in name:
            del cases[name]
        else:
            cases[name] |= {"dtype": torch.float32, "impl": "triton"}
    multiprocessing.start_processes(_start, args=(worker["run"], str(tmp_path)), nprocs=2, start_method="fork")
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for case in cases:
        z, present, scale, asked = worker["problem"](case, 2)
        wide = {
            name: one.double() if torch.is_tensor(one) and one.is_floating_point() else one
            for name, one in asked.items()
        }
        whole = worker["answer"](z.double(), present, scale.double(), wide | {"impl": "reference"})
        # Logits of thousands have lost the digits after the fourth.
        at = 1e-3 if case == "far apart" else 2e-6
        for rank, (name, expected) in itertools.product(range(2), whole.items()):
            got, mine = found[rank][case][name], slice(*((0, 40), (40, 65))[rank])
            if name == "rows":
                assert (got[~present[mine].T] == 0).all()
                got, expected = got / 2, expected[:, mine]
            assert gap_or_zero(got, expected) < at, (case, rank, name)
        assert all(torch.equal(found[0][case][name], found[1][case][name]) for name in ("loss", "scale"))


def _start(rank, run, folder):
    run(rank, 2, folder)


def gap_or_zero(got, expected):
    return float((got.double() - expected.double()).norm() / expected.double().norm().clamp(min=1e-30))


def check_second_derivatives_are_refused():
    rows = unit(2, 8, 6).requires_grad_()
    loss = room.pair_losses(pairs_of(rows), torch.tensor([9.0])).loss.sum()
    (grad,) = torch.autograd.grad(loss, rows, create_graph=True)
    with pytest.raises(RuntimeError):
        grad.square().sum().backward()
