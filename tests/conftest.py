"""Shared by all tests: MindSpore as the lessons use it, a browser that reaches no network, and small fixtures."""

import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

# Each of pytest-xdist's processes, and the kernels and programs that it starts, keeps to its share of the cores.
# Otherwise the threads of one wait, busily, for cores that the other's hold: 68 s instead of 43 for four files on two.
if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_setaffinity"):
    worker, workers = os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"), os.environ["PYTEST_XDIST_WORKER_COUNT"]
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[int(worker)::int(workers)] or cores)

import twins_lib  # noqa: F401  sets what must be set before MindSpore is imported
import mindspore as ms

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def cpu():
    ms.set_device("CPU")
    ms.runtime.launch_blocking()


@pytest.fixture(scope="session")
def browser():
    """The machine's own Chromium; `make browser` installs it."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("needs Chromium: make browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


def watched_page(browser):
    """An empty page, and a list that grows by what it asks from a network and by the errors of its scripts."""
    page, complaints = browser.new_page(), []
    page.on("request", lambda ask: complaints.append(ask.url) if ask.url.startswith(("http", "ws")) else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page, complaints


@pytest.fixture
def page(browser):
    """A page for one test, which fails if the page asked for anything from a network or if a script of it stopped."""
    page, complaints = watched_page(browser)
    yield page
    page.close()
    assert complaints == []


@pytest.fixture
def full_disk():
    """A function after whose call every file ends at 20 kB: what a full disk does to a writer."""
    resource = pytest.importorskip("resource")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """On the project's test machine a test that is skipped for want of a program has failed."""
    report = yield
    wanting = report.skipped and re.search(r"needs (Chromium|mpirun|nm|g\+\+)", str(report.longrepr))
    if os.environ.get("CI") == "true" and wanting:
        report.outcome = "failed"
    return report


def pytest_terminal_summary(terminalreporter):
    """The matrix of bugs and checks (test_lesson_08.py), at the end of the output, from whichever process."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, text in getattr(report, "user_properties", []):
            if name == "bug matrix" and report.when == "call":
                terminalreporter.section(name)
                terminalreporter.write_line(text)
