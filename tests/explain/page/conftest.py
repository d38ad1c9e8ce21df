"""Explanations made by hand, so that a page can be tested without a model; and a reader of pages."""

from collections.abc import Callable, Mapping
from html.parser import HTMLParser

import numpy as np
import pytest

from hdt_fm.explain.explanation import Check, Explanation, MethodMap, Reliability, SignalView, Verdict
from hdt_fm.explain.methods import METHODS
from hdt_fm.schema.modalities import modality

VOID = {"meta", "rect", "line", "polyline", "path", "use", "br", "link", "img", "hr"}
SIZES = {"ppg": (1, 40), "acc": (3, 20), "temp": (2, 5)}


class Outline(HTMLParser):
    """Collects what a reader or a browser would find, and checks that tags close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []  # (innermost tag, text)
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append((self.open[-1], data))
            self.text += data

    def count(self, tag: str, **attributes: str) -> int:
        return sum(t == tag and attributes.items() <= a.items() for t, a in self.tags)

    def words(self, tag: str) -> list[str]:
        return [text for inner, text in self.texts if inner == tag]


def fabricate(
    *,
    windows: int = 6,
    people: int = 1,
    window_s: float = 5.0,
    sizes: Mapping[str, tuple[int, int]] = SIZES,
    methods: tuple[str, ...] = ("integrated_gradients", "saliency", "occlusion"),
    verdict: Verdict = "pass",
    reference: str = "window_mean",
    absent: tuple[str, ...] = ("temp",),
    seed: int = 0,
) -> Explanation:
    """Random maps of random windows; a fifth of the first modality was not measured."""
    generator = np.random.default_rng(seed)
    present = np.array([[name not in absent for name in sizes]] * windows)
    signals, maps = {}, {method: {} for method in methods}
    for place, (name, (channels, samples)) in enumerate(sizes.items()):
        entry = modality(name)
        seen = np.ones((windows, samples), dtype=bool)
        if not place:
            seen[:, samples // 2 : samples // 2 + samples // 5] = False
        values = (place + generator.normal(size=(windows, channels, samples))).astype(np.float32)
        signals[name] = SignalView(entry.label, entry.unit, samples / window_s, values, seen)
        held = seen[:, None] & present[:, [place], None]
        for method in methods:
            credit = generator.normal(size=values.shape) / samples / (1 + 3 * place)
            maps[method][name] = np.where(held, credit, 0.0).astype(np.float32)
    checks = (
        Check("completeness", "pass", 1e-4, "gap <= 1 %", "Credits add up."),
        Check("noise", verdict, 0.7, "at least 0.8", "Noise moves the map a little."),
        Check("agreement", "pass", 0.5, "at least 0.4", "Methods agree in part.", {"saliency and occlusion": 0.5}),
    )
    return Explanation(
        target="stress",
        target_index=1,
        reference=reference,
        segments=5,
        window_s=window_s,
        modalities=tuple(sizes),
        present=present,
        person=np.arange(windows) % people,
        signals=signals,
        output=generator.normal(size=windows),
        reference_output=generator.normal(size=windows),
        maps=tuple(MethodMap(one, maps[one], np.full(windows, 1e-4) if METHODS[one].sums else None) for one in methods),
        settings={"steps": 32, "segments": 5, "reference": reference, "seed": 0},
        provenance={"checkpoint": "ab" * 16, "split": "people of the test part"},
        reliability=Reliability(checks),
    )


@pytest.fixture
def fabricated() -> Callable[..., Explanation]:
    return fabricate


@pytest.fixture
def outline() -> Callable[[str], Outline]:
    return Outline
