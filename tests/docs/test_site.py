"""The built documentation: links lead somewhere, nothing is fetched from elsewhere, pages fit a desk and a phone."""

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import msg

ROOT = Path(__file__).parents[2]
SCREENS = {"desktop": (1280, 800), "phone": (390, 844)}
PAGES = [
    "index.html",
    "quickstart.html",
    "guides/own-neuron.html",
    "gradients.html",
    "api/msg.models.MSG.html",
    "auto_examples/index.html",
    "auto_examples/plot_gradient_rules.html",
    "search.html?q=neuron",
]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site():
    """The folder of the pages, built as `make docs` does (only what changed since)."""
    pytest.importorskip("sphinx", reason="the documentation needs the extra docs")
    out = ROOT / "docs" / "_build" / "html"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(ROOT / "docs"), str(out)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return out


def test_every_public_name_has_a_page(site):
    from sphinx.util.inventory import InventoryFile

    listed = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    known = {name for kind, names in listed.items() if kind.startswith("py:") for name in names}
    # rooms are those of the package, but for the one that has names of others alone and the one that has none
    rooms = [import_module(f"msg.{room}") for room in {*msg.__all__} - {"nn", "report"} if find_spec(f"msg.{room}")]
    public = {f"{room.__name__}.{name}" for room in rooms for name in getattr(room, "__all__", ())}
    assert len(public) > 200
    assert not public - known


class Page(HTMLParser):
    """What a page links to, loads and can be linked at."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loaded = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.anchors.update(found[key] for key in ("id", "name") if found.get(key))
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        self.loaded += [found[key] for key in ("src", "srcset") if found.get(key)]
        if tag == "link" and found.get("rel") not in ("canonical", "search", "next", "prev", "index"):
            self.loaded.append(found["href"])


def test_every_link_within_leads_to_a_page_and_a_place_on_it(site):
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert len(pages) > 300
    lost = []
    for path, page in pages.items():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert not lost


def test_nothing_is_loaded_from_another_host(site):
    loaded = {link for path in site.rglob("*.html") for link in Page(path).loaded}
    for sheet in site.rglob("*.css"):
        loaded.update(re.findall(r"url\([\"']?([^\"')]+)", sheet.read_text(encoding="utf-8")))
    assert loaded
    assert not [link for link in loaded if urlsplit(link).netloc]


@pytest.fixture(scope="module")
def address(site):
    """Where the pages are served on this machine."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_the_screen_and_asks_nobody_else(name, screen, address, browser, tmp_path):
    width, height = SCREENS[screen]
    page = browser.new_page(viewport={"width": width, "height": height})
    said, failed, asked = [], [], []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/{name}", wait_until="networkidle")
    kept = tmp_path / f"{screen}.png"
    page.screenshot(path=kept)
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    page.close()
    assert kept.stat().st_size > 10_000  # a picture of something
    assert wide <= 0
    assert (said, failed) == ([], [])
    assert all(url.startswith((address, "data:")) for url in asked)


@pytest.mark.parametrize("screen", SCREENS)
def test_the_first_view_says_what_it_is_and_where_to_go(screen, address, browser):
    width, height = SCREENS[screen]
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(address, wait_until="networkidle")
    for what in (".landing", "text=pip install", ".highlight-python", ".landing-picture img", ".doors"):
        box = page.locator(what).first.bounding_box()
        assert box is not None
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= height, f"{what} ends below the first view"
    page.close()
