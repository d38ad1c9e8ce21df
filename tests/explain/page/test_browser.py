"""The report in a real browser: no console error, no request beside the file itself, figures there, print whole."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from hdt_fm.explain.explanation import Explanation
from hdt_fm.explain.page.document import write_report
from hdt_fm.explain.page.report import Report

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), "")
pytestmark = pytest.mark.skipif(not BROWSER, reason=f"none of {', '.join(NAMES)} is in PATH")
QUIET = (
    *("--headless", "--disable-gpu", "--no-first-run", "--disable-extensions", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-default-apps"),
    # A proxy where nobody listens: whatever is asked of the network is written down and fails.
    *("--proxy-server=127.0.0.1:9", "--proxy-bypass-list=<-loopback>"),
)


@dataclass(frozen=True)
class Visit:
    """What a browser did with a page: the document that it made, its console, and what it asked of the network."""

    dom: str
    console: tuple[str, ...]
    requests: tuple[str, ...]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Root may not use the sandbox; a page from here needs none.
    own = ("--no-sandbox",) if os.geteuid() == 0 else ()
    # A profile of its own: a browser that has not quite ended would still hold a shared one. It takes two seconds
    # alone; the limit is for a machine that does much else.
    with TemporaryDirectory(dir=folder, prefix="profile", ignore_cleanup_errors=True) as profile:
        command = (BROWSER, *QUIET, *own, f"--user-data-dir={profile}", *arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)


def visit(page: Path, folder: Path) -> Visit:
    log = folder / "net.json"
    done = run(folder, "--enable-logging=stderr", f"--log-net-log={log}", "--dump-dom", page.as_uri())
    told = json.loads(log.read_text())
    number = told["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    starts = [one.get("params", {}) for one in told["events"] if one["type"] == number]
    # What the browser asks for itself has no origin; what a page asks for has the page's.
    asked = tuple(one["url"] for one in starts if "url" in one and one.get("initiator") != "not an origin")
    return Visit(done.stdout, tuple(re.findall(r":CONSOLE[:(].*", done.stderr)), asked)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


def test_the_watch_sees_a_page_that_does_wrong(folder: Path) -> None:
    wrong = folder / "wrong.html"
    wrong.write_text(
        "<!doctype html><title>w</title><img src='http://report.invalid/x.png'><script>console.error('oh')</script>"
    )
    found = visit(wrong, folder)
    assert any("oh" in line for line in found.console)
    assert found.requests == ("http://report.invalid/x.png",)


def test_the_report_is_whole_in_a_browser(folder: Path, fabricated: Callable[..., Explanation]) -> None:
    made = fabricated(verdict="fail")
    events = {"meal": [np.array([1.0])] * 6}
    other = replace(made, reference="zero")
    page, _ = write_report(Report(made, scope="person", alternative=other, events=events), folder, pictures=False)
    found = visit(page, folder)
    assert found.console == ()
    assert found.requests == ()
    assert found.dom.count('class="channel"') == 3 * (1 + 3) * (2 + 2)
    assert found.dom.count(">NOT RELIABLE HERE</text>") == 3 * (1 + 3) * (2 + 2)
    assert "Verdict: FAIL" in found.dom
    assert re.search(r"most credit lies on PPG: \d+ % \(\d+ to \d+ %\)", found.dom)
    assert found.dom.rstrip().endswith("</html>")


def test_the_print_opens_what_is_folded(folder: Path, fabricated: Callable[..., Explanation]) -> None:
    page, _ = write_report(Report(fabricated(), scope="person"), folder, pictures=False)
    text = page.read_text()
    folded = re.sub(r"details[^{}]*\{ [^{}]*display: block[^{}]*\}", "", text)  # without the rules that open
    assert folded != text
    page.with_name("folded.html").write_text(folded)
    assert pages(page, folder) > pages(page.with_name("folded.html"), folder) >= 4


def pages(page: Path, folder: Path) -> int:
    run(folder, f"--print-to-pdf={page.with_suffix('.pdf')}", "--no-pdf-header-footer", page.as_uri())
    return len(re.findall(rb"/Type\s*/Page\b", page.with_suffix(".pdf").read_bytes()))
