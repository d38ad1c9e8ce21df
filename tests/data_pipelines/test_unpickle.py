"""Arrays out of pickles: honest ones of any protocol, and hostile ones, of which nothing runs."""

import builtins
import io
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_pipelines import isolated, unpickle
from data_pipelines.unpickle import Limits, converted
from hdt_fm.schema.errors import ReaderError

SMALL = Limits(file_bytes=1 << 20, array_bytes=1 << 20, entries=100, depth=4, steps=20_000, seconds=20)


def a_visit() -> dict[Any, Any]:
    """The layout of a WESAD file with few samples; each array has its own size."""
    generator = np.random.default_rng(0)
    chest = {"ACC": generator.normal(size=(7, 3)), "Temp": generator.normal(size=(7, 1)).astype(np.float32)}
    wrist = {"BVP": generator.normal(size=(5, 1)), "ACC": np.asfortranarray(generator.integers(-9, 9, (2, 3)))}
    return {
        "signal": {"chest": chest, "wrist": wrist},
        "label": np.arange(11, dtype=np.int32),
        "subject": "S2",
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3)),
        "swapped": np.array([1, 2, 300], dtype=">i2"),
        "words": np.array(["ab", "c"]),
        "scalar": np.float64(2.5),
        "height": 170.5,
        "count": 3,
        "peaks": [1, 2.5],
        "mixed": [np.ones(2), 4],
        "nothing": None,
    }


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "S2.pkl"
    path.write_bytes(data)
    return path


def same_as_a_visit(found: dict[str, np.ndarray]) -> None:
    data = a_visit()
    expected = {
        "signal/chest/ACC": data["signal"]["chest"]["ACC"],
        "signal/chest/Temp": data["signal"]["chest"]["Temp"],
        "signal/wrist/BVP": data["signal"]["wrist"]["BVP"],
        "signal/wrist/ACC": data["signal"]["wrist"]["ACC"],
        **{name: data[name] for name in ("label", "flags", "empty", "swapped", "words")},
        **{name: np.array(data[name]) for name in ("subject", "scalar", "height", "count", "peaks")},
        "mixed/0": np.ones(2),
        "mixed/1": np.array(4),
    }
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].shape == values.shape, name
        assert found[name].dtype == values.dtype.newbyteorder("="), name
        assert np.array_equal(found[name], values), name


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_every_protocol_gives_the_arrays_that_went_in(protocol: int, tmp_path: Path) -> None:
    same_as_a_visit(converted(written(tmp_path, pickle.dumps(a_visit(), protocol))))


class Python2(pickle._Pickler):
    """Writes text and bytes as Python 2 wrote its `str`: STRING with a repr, or BINSTRING."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_old_text(self, value: Any) -> None:
        data = value if isinstance(value, bytes) else value.encode("latin1")
        if not self.bin:
            self.write(pickle.STRING + repr(data)[1:].encode("ascii") + b"\n")
        elif len(data) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_old_text


def by_python_2(data: Any, protocol: int) -> bytes:
    out = io.BytesIO()
    Python2(out, protocol).dump(data)
    return out.getvalue().replace(b"numpy._core.", b"numpy.core.")


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_pickles_of_python_2(protocol: int, tmp_path: Path) -> None:
    data = by_python_2(a_visit(), protocol)
    assert b"numpy.core.multiarray" in data
    assert b"_codecs" not in data, "this is how Python 3 writes bytes; the test would test nothing new"
    same_as_a_visit(converted(written(tmp_path, data)))


def test_a_pickle_of_python_2_written_down_by_hand(tmp_path: Path) -> None:
    data = (
        b"(dp0\nS'label'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\n"
        b"Rp7\n(I1\n(I2\ntp8\ncnumpy\ndtype\np9\n(S'i2'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\n"
        b"tp14\nbI00\nS'\\x01\\x00\\xff\\x00'\np15\ntp16\nbsS'na\\xefve'\np17\nI7\ns."
    )
    found = converted(written(tmp_path, data))
    assert {name: values.tolist() for name, values in found.items()} == {"label": [1, 255], "naïve": 7}


def test_names_may_be_bytes_or_whole_numbers(tmp_path: Path) -> None:
    found = converted(written(tmp_path, pickle.dumps({b"na\xefve": 1, 7: {"a": b"\xe9"}}, 3)))
    assert {name: values.tolist() for name, values in found.items()} == {"naïve": 1, "7/a": "é"}


class Calls:
    """An object whose pickle is `function(*arguments)`, then a state."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self._made = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self._made


RECONSTRUCT = np.array(0).__reduce__()[0]
SCALAR = np.float64(0).__reduce__()[0]


def hostile(canary: Path) -> dict[str, bytes]:
    """Name -> a pickle that would make the canary file if it ran, in each way that we know of."""
    make = f"open({str(canary)!r}, 'w').close()"
    touch = f"touch {canary}"
    as_objects = np.empty(1, dtype=object)
    as_objects[0] = Calls(os.system, touch)
    text = touch.encode()
    whole = {
        "system": Calls(os.system, touch),
        "eval": Calls(builtins.eval, make),
        "exec": Calls(builtins.exec, make),
        "popen": Calls(subprocess.Popen, ["touch", str(canary)]),
        "open": Calls(builtins.open, str(canary), "w"),
        "getattr": Calls(getattr, "", "format"),
        "numpy.load": Calls(np.load, str(canary), "r", True),
        "numpy.save": Calls(np.save, str(canary), 0),
        "objects": as_objects,
        "reconstruct": Calls(RECONSTRUCT, subprocess.Popen, (0,), b"b"),
        "reconstruct_masked": np.ma.array([1]),
        "scalar": Calls(SCALAR, Calls(os.system, touch), b"1"),
        "state": Calls(RECONSTRUCT, np.ndarray, (0,), b"b", state=Calls(os.system, touch)),
        "key": {Calls(os.system, touch): 1},
    }
    by_hand = {
        "inst": b"(S'" + text + b"'\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nS'" + text + b"'\no.",
        "newobj": b"cnumpy\nndarray\n)\x81.",
        "newobj_dtype": b"cnumpy\ndtype\n(S'f8'\nt\x81.",
        "stack_global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(text)]) + text + b"\x85R.",
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.",
        "numpy_os": b"cnumpy.f2py.crackfortran\nos.system\n(S'" + text + b"'\ntR.",
        "f2py_eval": b"cnumpy.f2py.crackfortran\nmyeval\n(S'" + make.replace("'", '"').encode() + b"'\ntR.",
        "exec_command": b"cnumpy.testing._private.utils\nrunstring\n(S'" + text + b"'\n}tR.",
        "ctypes": b"cnumpy.ctypeslib\nload_library\n(S'libc.so.6'\nS'/'\ntR.",
        "persistent": b"Pcanary\n.",
        "persistent_on_stack": b"S'canary'\nQ.",
        "extension": b"\x82\x01.",
        "extension_4": b"\x84\x01\x00\x00\x00.",
        "buffer": b"\x97.",
        "build_on_a_function": b"c_codecs\nencode\n(dS'make'\ncnumpy\ndtype\nsb.",
        "build_on_a_type": b"cnumpy\ndtype\n(dS'build'\nI1\nsb.",
        "call_text": b"S'os.system'\n(S'" + text + b"'\ntR.",
        "encode": b"c_codecs\nencode\n(V" + text + b"\nVpunycode\ntR.",
        "setitem_on_a_list": b"]S'a'\nI1\ns.",
        "reconstruct_a_type": b"(dS'a'\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntS'b'\ntRs.",
        "append_to_an_array": b"cnumpy\nndarray\nI1\na.",
    }
    return {name: pickle.dumps({"a": value}, 2) for name, value in whole.items()} | by_hand


NAMES = sorted(hostile(Path("canary")))


def test_the_canary_dies_without_us(tmp_path: Path) -> None:
    """What the next test calls hostile is: Python's own unpickler runs it."""
    canary = tmp_path / "canary"
    for name in ("system", "eval", "exec", "open", "objects", "stack_global", "inst", "obj", "state"):
        code = "import pickle, sys; pickle.load(sys.stdin.buffer)"
        subprocess.run(
            [sys.executable, "-c", code], input=hostile(canary)[name], stderr=subprocess.DEVNULL, check=False
        )
        assert canary.exists(), name
        canary.unlink()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(ReaderError) as caught:
        converted(written(tmp_path, hostile(canary)[name]))
    assert not canary.exists()
    text = str(caught.value)
    assert "what to do" in text
    assert "canary" not in text, "the message repeats a value of the file"
    assert str(tmp_path) not in text
    assert caught.value.problem.startswith(("The pickle", "An array of the pickle", "A name in the pickle"))


def test_the_message_says_what_the_pickle_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ReaderError) as caught:
        converted(written(tmp_path, b"cos\nsystem\n(S'true'\ntR."))
    assert caught.value.got == "os.system"
    assert "nothing of it was run" in caught.value.problem
    with pytest.raises(ReaderError) as caught:
        converted(written(tmp_path, b"Pid\n."))
    assert caught.value.got == "PERSID"


def test_there_are_as_many_attacks_as_we_think() -> None:
    assert len(NAMES) == 36


def test_a_hole_in_the_table_is_still_a_sealed_process(tmp_path: Path) -> None:
    """The bug we fear: somebody adds `os.system` to the names that may be asked for."""
    canary = tmp_path / "canary"
    code = (
        "import io, os, sys; from data_pipelines import _pickle_arrays as a, _pickle_worker as w\n"
        "a.NAMES['os', 'system'] = a.Name(os.system)\n"
        "limits = dict(file_bytes=10**6, array_bytes=10**6, entries=9, depth=9, steps=999)\n"
        f"data = b\"(dS'a'\\ncos\\nsystem\\n(S'touch {canary}'\\ntRs.\"\n"
        "if sys.argv[1] == 'sealed': w.seal()\n"
        "try: w.read(io.BytesIO(data), limits)\n"
        "except a.RefusedError as error: print(error.said['problem'], error.said.get('got'))\n"
    )
    for how, left in (("open", True), ("sealed", False)):
        done = subprocess.run([sys.executable, "-c", code, how], capture_output=True, text=True, check=False)
        assert canary.exists() == left, done.stderr
        canary.unlink(missing_ok=True)
    assert "os.system" in done.stdout


def a_bomb_of_dictionaries(levels: int) -> bytes:
    """Each level holds the one below twice: 2 ** levels leaves in a few hundred bytes."""
    inner: dict[str, Any] = {"a": 1}
    for _ in range(levels):
        inner = {"a": inner, "b": inner}
    return pickle.dumps(inner, 2)


def shared(count: int) -> bytes:
    """One large array under many names."""
    values = np.zeros(60_000, dtype=np.uint8)
    return pickle.dumps({f"a{number}": values for number in range(count)}, 4)


BOMBS = {
    "laughs": (a_bomb_of_dictionaries(3), None),
    "many laughs": (a_bomb_of_dictionaries(60), "nested too deeply"),
    "wide laughs": (pickle.dumps([[[[1, "a"] * 10] * 10] * 10]), "no dictionary"),
    "wide laughs in a name": (pickle.dumps({"a": [[["a", 1] * 5] * 10] * 10}), "too many entries"),
    "a dictionary in itself": (b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.", "nested too deeply"),
    "a list in itself": (b"\x80\x02}X\x01\x00\x00\x00a]q\x00(h\x00I1\nes.", "nested too deeply"),
    "deep": (b"\x80\x02}X\x01\x00\x00\x00a" + b"]" * 9000 + b"a" * 8999 + b"s.", "nested too deeply"),
    "many pieces": (b"(" + b"I1\n" * 30_000 + b"l.", "too many small pieces"),
    "many times": (shared(30), "too large"),
    "a huge string": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc.", "ends in the middle"),
    "a huge buffer": (b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"abc.", "ends in the middle"),
    "a huge frame": (b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"abc.", "ends in the middle"),
    "a huge text": (b"\x80\x02X\xff\xff\xff\xffabc.", "ends in the middle"),
    "a huge number": (b"I" + b"9" * 100_000 + b"\n.", "damaged"),
    "a number past 64 bits": (pickle.dumps({"a": 1 << 90}), "not plain data"),
    "a far memo": (b"\x80\x02}r\xff\xff\xff\xff.", None),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_in_a_message(name: str, tmp_path: Path) -> None:
    data, expected = BOMBS[name]
    path = written(tmp_path, data)
    if expected is None:
        converted(path, limits=SMALL)
        return
    with pytest.raises(ReaderError, match=expected) as caught:
        converted(path, limits=SMALL)
    assert caught.value.fix


def test_an_array_that_is_shorter_than_it_says(tmp_path: Path) -> None:
    data = pickle.dumps({"a": np.zeros(3)}, 2)
    huge = data.replace(b"K\x03\x85", b"\x8a\x05\x00\x00\x00\x00\x10\x85")
    assert huge != data
    with pytest.raises(ReaderError, match="not as long as it says"):
        converted(written(tmp_path, huge))


def test_a_worker_that_runs_out_of_time_or_memory_is_a_message(tmp_path: Path) -> None:
    # Whole numbers with one hash, spelt in full: each one is compared with all the others.
    step = (1 << 61) - 1
    data = b"(" + b"".join(b"L%dL\nI1\n" % (step * number) for number in range(1, 40_000)) + b"d."
    limits = Limits(seconds=1)
    with pytest.raises(ReaderError, match="more time or memory"):
        converted(written(tmp_path, data), limits=limits)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing bounds the memory of a process")
def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, pickle.dumps({"a": np.zeros(40 << 20, np.uint8)}, 2))
    assert converted(path)["a"].shape == (40 << 20,)
    monkeypatch.setattr(unpickle, "ROOM_BYTES", 16 << 20)
    monkeypatch.setattr(unpickle, "ROOM_TIMES", 0)
    with pytest.raises(ReaderError, match="memory"):
        converted(path)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "ends in the middle"),
        (pickle.dumps(a_visit(), 4)[:-200], "ends in the middle"),
        (pickle.dumps(a_visit(), 2)[:300], "ends in the middle"),
        (b"time,value\n1,2\n", "no pickle"),
        (b"PK\x03\x04 a zip", "no pickle|does not need"),
        (b"\x80\x63}.", "no pickle"),
        (pickle.dumps({"a": 1}) + b"more", "follows after the end"),
        (pickle.dumps([1, 2]), "no dictionary"),
        (pickle.dumps(np.ones(3)), "no dictionary"),
        (pickle.dumps({"a/b": 1}), "cannot be used"),
        (pickle.dumps({"": 1}), "cannot be used"),
        (pickle.dumps({"a\nb": 1}), "cannot be used"),
        (pickle.dumps({"a": 1, b"a": 2}, 3), "one name"),
        (pickle.dumps({"1": 1, 1: 2}), "one name"),
        (pickle.dumps({(1, 2): 2}), "neither text nor a whole number"),
        (pickle.dumps({"a": 1j}), "not plain data"),
        (pickle.dumps({"a": {1, 2}}, 4), "does not need"),
        (pickle.dumps({"a": np.zeros(2, "M8[s]")}), "not of numbers or text"),
        (pickle.dumps({"a": np.zeros(2, [("x", "f8")])}), "not of numbers or text"),
        (pickle.dumps({"a": np.array([1, "a"], dtype=object)}), "not of numbers or text"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(data: bytes, expected: str, tmp_path: Path) -> None:
    path = written(tmp_path, data)
    with pytest.raises(ReaderError, match=expected) as caught:
        converted(path)
    assert caught.value.fix
    assert "S2" not in str(caught.value), "a file may be named after a person"


def test_no_name_with_a_digit_is_told(tmp_path: Path) -> None:
    data = pickle.dumps({"Person_17": {"EDA": [1, 2], "x": {b"a": 1, "a": 1}}}, 3)
    with pytest.raises(ReaderError, match="one name") as caught:
        converted(written(tmp_path, data))
    assert caught.value.where == "?/x/a"


def test_a_missing_or_large_file(tmp_path: Path) -> None:
    with pytest.raises(ReaderError, match="no such file"):
        converted(tmp_path / "S2.pkl")
    with pytest.raises(ReaderError, match="too large"):
        converted(written(tmp_path, bytes(3)), limits=Limits(file_bytes=2))


def test_nothing_of_the_environment_reaches_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = "import json, os; json.dump({'names': sorted(os.environ)}, open('answer.json', 'w'))\n"
    monkeypatch.setattr(isolated, "START", spy + "import numpy as np; np.savez('arrays.npz', *range(99))")
    monkeypatch.setenv("A_SECRET", "1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = set(converted(written(tmp_path, b"")))
    assert not found & {"A_SECRET", "PYTHONPATH", "HOME"}


def test_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = written(tmp_path, pickle.dumps({"a": 1}))
    converted(path)
    path.write_bytes(b"Pid\n.")
    with pytest.raises(ReaderError):
        converted(path)
    assert [child.name for child in tmp_path.iterdir()] == ["S2.pkl"]
