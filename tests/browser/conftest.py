"""A browser on the stack of the Docker tests, with an agent that runs what the clicks ask for.

Every test leaves a screenshot in the run's temporary folder. The good ones go to TAXIWAY_SCREENSHOTS as well, if it is
set to a folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, Playwright, Route, expect, sync_playwright

from flows.datasets.tlc import GREEN
from flows.datasets.tlc.generate import generate
from tests.browser.prefect_ui import PrefectUI
from tests.docker import conftest as docker_tests
from tests.docker.project import NAME

CHROMIUM = shutil.which("chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Prefect's pages ask for pictures and statistics elsewhere; here they look as they do without a network.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
SCREEN = {"width": 1280, "height": 800}
# On a busy machine the pages' 10 MB of scripts take their time.
PATIENCE_MS = 60_000
# What comes and goes by itself, and would hide what a picture is of.
PASSING = "[data-sonner-toaster], .notistack-SnackbarContainer, [role=tooltip] { visibility: hidden !important }"

MONTHS = [GREEN.partition(2021, month) for month in (1, 2, 3)]
ROWS = {month: month.published_rows or 0 for month in MONTHS}
# On the containers whose block the tests have had in hand: what it says, and that it is theirs to remove.
LABEL = f"{NAME}.browser"

engine, project, image = docker_tests.engine, docker_tests.project, docker_tests.image
registry, stack, deployed = docker_tests.registry, docker_tests.stack, docker_tests.deployed


@pytest.fixture(scope="session", autouse=True)
def chromium() -> str:
    if CHROMIUM is None:
        pytest.skip("there is no chromium command")
    return CHROMIUM


@pytest.fixture(scope="session")
def source(stack, tmp_path_factory) -> Iterator[str]:
    """A server of generated months on the stack's network; what is deployed from here on loads from it."""
    folder = tmp_path_factory.mktemp("source")
    folder.chmod(0o755)
    for month, rows in ROWS.items():
        generate(month, folder / f"{month.stem}.parquet", rows=rows)
    name = f"{NAME}-source"
    container = [f"--name={name}", f"--network={stack.name}", f"--volume={folder}:/source:ro"]
    serve = ["python", "-m", "http.server", "8000", "--directory", "/source"]
    stack.docker("run", "--detach", "--rm", *container, stack.image, *serve)
    stack.env["TAXIWAY_SOURCE_URL"] = f"http://{name}:8000/{{service}}_tripdata_{{year}}-{{month:02}}.parquet"
    yield stack.env["TAXIWAY_SOURCE_URL"]
    stack.docker("rm", "--force", "--volumes", name)


@pytest.fixture(scope="session")
def agent(source, deployed, tmp_path_factory) -> Iterator[None]:
    """An agent on this host, of what was deployed with that source."""
    with deployed.agent(tmp_path_factory.mktemp("agent") / "log"):
        yield
    left = deployed.docker("ps", "--all", "--quiet", f"--filter=label={LABEL}").split()
    if left:
        deployed.docker("rm", "--force", "--volumes", *left)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(chromium: str, playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def page(browser: Browser, screenshots: Path) -> Iterator[Page]:
    """One page for a whole file of tests: who has logged in stays logged in."""
    context = browser.new_context(viewport=SCREEN)
    context.set_default_timeout(PATIENCE_MS)
    context.route("http://127.0.0.1:*/**", past_the_browsers_network)
    page = context.new_page()
    with (screenshots / "page.log").open("w", buffering=1) as log:
        page.on("requestfailed", lambda request: log.write(f"{request.failure}: {request.method} {request.url}\n"))
        page.on("pageerror", lambda error: log.write(f"{error}\n"))
        page.on("crash", lambda _: log.write("the page crashed\n"))
        yield page
    page.screenshot(path=screenshots / "at-the-end.png")
    context.unroute_all(behavior="ignoreErrors")
    context.close()


def past_the_browsers_network(route: Route) -> None:
    """Answer a page's request through Playwright's own client, which shares the browser's cookies.

    Chromium breaks off every request when an interface comes or goes (ERR_NETWORK_CHANGED), as one does with each
    container that starts or ends; a page that lacks one of its scripts stays blank.
    """
    if route.request.is_navigation_request():
        route.continue_()
        return
    with suppress(Error):  # the page that asked is gone
        route.fulfill(response=route.fetch(timeout=PATIENCE_MS, max_redirects=0))


@pytest.fixture(scope="module")
def ui(page: Page, stack) -> PrefectUI:
    return PrefectUI(page, stack.api.removesuffix("/api"))


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("screenshots")


@pytest.fixture(autouse=True)
def last_sight(request: pytest.FixtureRequest, page: Page, screenshots: Path) -> Iterator[None]:
    """The page as a test left it, for when it fails."""
    yield
    page.screenshot(path=screenshots / f"{request.node.name}.png")


@pytest.fixture(scope="module")
def picture(page: Page, screenshots: Path) -> Callable[[str], None]:
    """Take a picture that is fit to be shown, under a name."""
    folder = os.environ.get("TAXIWAY_SCREENSHOTS")

    def take(name: str) -> None:
        path = (Path(folder) if folder else screenshots) / f"{name}.png"
        page.screenshot(path=path, animations="disabled", style=PASSING)

    return take
