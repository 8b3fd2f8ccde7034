"""Notebooks in JupyterLab, driven by keyboard and mouse in a real browser.

Chromium is taken from $CHROMIUM or the PATH. If $SPECTRAL_SCREENSHOTS is set, screenshots are written to that folder.
"""

import os
import pathlib
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from playwright.sync_api import TimeoutError, expect, sync_playwright

NAMES = ["chromium", "chromium-browser", "google-chrome"]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Timeout in milliseconds, generous since a busy machine is slow.
PATIENCE = 90_000


def chromium():
    """Returns the path of the browser."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.fail(f"no browser: none of {', '.join(NAMES)} is on the PATH, and CHROMIUM names none", pytrace=False)
    return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Starts JupyterLab and yields its address, its token and the folder it serves."""
    folder = tmp_path_factory.mktemp("lab")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    log = open(folder / "lab.log", "w")
    served = folder / "served"
    served.mkdir()
    # No news or updates from the network, and no dialog about them over the notebook.
    quiet = folder / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{ "fetchNews": "false", "checkForUpdates": false, "doNotDisturbMode": true }')
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root"]
        + ["--ServerApp.port_retries=0", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={served}"],
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=served,
        env=os.environ
        | {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(folder / "spaces")},
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            assert server.poll() is None and time.monotonic() < deadline, (folder / "lab.log").read_text()
            try:
                urllib.request.urlopen(f"{address}/api?token={token}", timeout=5)
                break
            except OSError:
                time.sleep(0.3)
        yield address, token, served
    finally:
        server.terminate()
        server.wait(30)
        log.close()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def notebook(lab, browser, request):
    """Opens a new notebook with rhai cells."""
    address, token, served = lab
    name = request.node.name.removeprefix("test_") + ".ipynb"
    # JupyterLab adds a cell some time after opening a notebook that has none.
    new = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell()])
    new.metadata["kernelspec"] = {"name": "spectral", "display_name": "Spectral (rhai)", "language": "rhai"}
    nbformat.write(new, served / name)
    context = browser.new_context(viewport={"width": 1180, "height": 860})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}/lab/workspaces/{request.node.name}/tree/{name}?token={token}", wait_until="domcontentloaded")
    opened = Notebook(page)
    opened.wait_for_kernel()
    yield opened
    page.keyboard.press("Control+s")
    context.close()


class Notebook:
    """Notebook that is open in the browser."""

    def __init__(self, page):
        self.page = page
        self.cells = page.locator(".jp-Notebook .jp-CodeCell")

    def wait_for_kernel(self):
        self.page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
        self.cells.last.locator(".cm-content").click()

    def type(self, text):
        """Inserts text into the last cell unchanged, without automatic closing of brackets."""
        content = self.cells.last.locator(".cm-content")
        for attempt in range(10):
            content.click()
            self.page.keyboard.insert_text(text)
            try:
                # An editor that is still being set up loses its text, at once or a moment later.
                expect(content).to_contain_text(text.splitlines()[0].strip(), timeout=5000)
                self.page.wait_for_timeout(500)
                expect(content).to_contain_text(text.splitlines()[0].strip(), timeout=100)
                return
            except AssertionError:
                if attempt == 9:
                    raise

    def run(self, text=""):
        """Runs the last cell and returns it. A new cell appears below."""
        count = self.cells.count()
        if text:
            self.type(text)
        self.page.keyboard.press("Shift+Enter")
        expect(self.cells).to_have_count(count + 1, timeout=PATIENCE)
        return self.cells.nth(count - 1)

    def menu(self, *names):
        for name in names:
            item = self.page.get_by_role("menuitem", name=re.compile(f"^{name}"))
            item.first.click()

    def picture(self, name):
        folder = os.environ.get("SPECTRAL_SCREENSHOTS")
        if folder:
            pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=f"{folder}/{name}.png")


def output(cell, text):
    """Waits until an output of the cell contains the text, and returns the output."""
    found = cell.locator(".jp-OutputArea-output").filter(has_text=text).first
    expect(found).to_be_visible(timeout=PATIENCE)
    return found


def test_a_cell_runs_and_its_code_is_colored(notebook):
    cell = notebook.run("let answer = 6 * 7;\nanswer")
    output(cell, re.compile("^42$"))
    colors = cell.locator(".cm-line").first.evaluate(
        """line => {
            const color = node => getComputedStyle(node).color;
            const word = [...line.querySelectorAll("span")].find(span => span.textContent == "let");
            return [word ? color(word) : null, color(line)];
        }"""
    )
    assert colors[0] and colors[0] != colors[1], f"`let` looks like all other words: {colors}"
    notebook.picture("result")


def test_a_figure_stands_below_its_cell(notebook):
    cell = notebook.run('plot::line([3, 1, 2], #{ title: "Three numbers", width: 480 })')
    figure = cell.locator(".jp-OutputArea-output :is(svg, img)").first
    expect(figure).to_be_visible(timeout=PATIENCE)
    assert figure.bounding_box()["width"] == pytest.approx(480, abs=2)
    notebook.picture("figure")


def test_tab_offers_names(notebook):
    notebook.type("filter::")
    offered = notebook.page.locator(".jp-Completer-item")
    # JupyterLab ignores a Tab before it has connected cell and kernel.
    for _ in range(20):
        notebook.page.keyboard.press("Tab")
        try:
            offered.first.wait_for(timeout=4000)
            break
        except TimeoutError:
            pass
    expect(offered.filter(has_text="gaussian").first).to_be_visible()
    for name in ["binomial", "box", "butterworth", "response"]:
        expect(offered.filter(has_text=name).first).to_be_attached()
    notebook.picture("completion")
    notebook.page.keyboard.type("gau")
    expect(offered).to_have_count(1, timeout=PATIENCE)
    notebook.page.keyboard.press("Enter")
    expect(notebook.cells.last.locator(".cm-content")).to_have_text("filter::gaussian(", timeout=30_000)


def test_shift_tab_shows_documentation(notebook):
    notebook.type("filter::gaussian(")
    notebook.page.keyboard.press("Shift+Tab")
    tooltip = notebook.page.locator(".jp-Tooltip")
    expect(tooltip).to_be_visible(timeout=PATIENCE)
    expect(tooltip).to_contain_text("Blurs with a Gaussian", timeout=PATIENCE)
    expect(tooltip).to_contain_text("sigma")
    notebook.picture("tooltip")


def test_an_interrupt_keeps_variables_and_a_restart_forgets_them(notebook):
    notebook.run("let kept = 41;")
    loop = notebook.run("loop {}")
    expect(loop.locator(".jp-InputPrompt")).to_have_text("[*]:", timeout=PATIENCE)
    # The shortcut is available in command mode only.
    notebook.page.keyboard.press("Escape")
    notebook.page.keyboard.press("i")
    notebook.page.keyboard.press("i")
    output(loop, re.compile("interrupted", re.IGNORECASE))
    output(notebook.run("kept + 1"), re.compile("^42$"))

    training = notebook.run(
        'let net = model::dit(#{ preset: "fashion_tiny", depth: 1, hidden_size: 32, num_heads: 2 });\n'
        "train::fit(net, data::fashion_mnist(), #{ steps: 100000, batch: 8 });"
    )
    expect(training.locator("progress")).to_be_visible(timeout=PATIENCE)
    notebook.picture("training")
    notebook.menu("Kernel", "Interrupt Kernel")
    output(training, re.compile("interrupted", re.IGNORECASE))
    output(notebook.run("net.device"), "cpu")

    notebook.menu("Kernel", "Restart Kernel…")
    notebook.page.locator(".jp-Dialog button", has_text="Restart").click()
    notebook.wait_for_kernel()
    output(notebook.run("kept"), re.compile("kept"))
    notebook.picture("restarted")
    output(notebook.run("20 + 1"), re.compile("^21$"))


def test_a_notebook_for_the_guide(notebook):
    """Shows a figure and a progress bar on one screen."""
    notebook.page.keyboard.press("Control+b")  # hides the file browser
    notebook.run(
        'let model = model::dit(#{ preset: "fashion_tiny", patch_size: 4, depth: 2 });\n'
        "let images = data::fashion_mnist();\n"
        "let run = train::fit(model, images, #{ steps: 60, batch: 16, lr: 3e-3 });"
    )
    figure = notebook.run(
        "plot::line(run.history.map(|row| row.step), run.history.map(|row| row.loss), #{\n"
        '    title: "Training", x_label: "step", y_label: "loss, mean of 10 steps", height: 280,\n'
        "})"
    )
    expect(figure.locator(".jp-OutputArea-output :is(svg, img)").first).to_be_visible(timeout=2 * PATIENCE)
    output(notebook.cells.first, "60/60")
    notebook.run("text::fmt(run.loss, 3)")
    expect(notebook.cells.nth(2).locator(".jp-OutputArea-output")).to_be_visible(timeout=PATIENCE)
    notebook.picture("jupyterlab")
