"""Rust cells under evcxr: the kernel that `spectral jupyter install --evcxr` installs, and its example notebook."""

import contextlib
import pathlib
import queue
import subprocess
import time

import nbformat
import pytest
from conftest import PREFIX, PROGRAM, ROOT
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient
from talk import of, run

NOTEBOOK = ROOT / "examples" / "notebooks" / "model_from_rust.ipynb"

# Timeout in seconds. The first notebook of a user compiles spectral and libtorch's bindings.
COMPILING = 3600


@pytest.fixture(scope="module", autouse=True)
def installed():
    subprocess.run([PROGRAM, "jupyter", "install", "--evcxr", "--prefix", PREFIX], check=True)


def test_values_show_themselves_and_errors_keep_variables():
    manager, client = start_new_kernel(kernel_name="spectral-rust", startup_timeout=120)
    try:
        begin = time.monotonic()
        first = f':dep spectral = {{ path = "{ROOT}", default-features = false }}\nuse spectral::prelude::*;\n'
        answer, messages = run(client, first + "filter::gaussian(filter::Gaussian { sigma: 1.5 })?", timeout=COMPILING)
        print(f"first cell: {time.monotonic() - begin:.1f} s")
        assert answer["status"] == "ok", of(messages, "error") or of(messages, "stream")
        begin = time.monotonic()
        _, messages = run(client, "let x = tensor::arange(6, None, None, ())?; plot::line([3.0, 1.0, 2.0], ())?", timeout=600)
        print(f"a cell with a figure: {time.monotonic() - begin:.1f} s")
        shown = of(messages, "execute_result") + of(messages, "display_data")
        forms = set().union(*(c["data"] for c in shown))
        assert {"text/plain", "image/png", "image/svg+xml"} <= forms
        answer, messages = run(client, "filter::gaussian(filter::Gaussian { sigma: 1000.0 })?", timeout=600)
        text = str(of(messages, "error")) + str(of(messages, "stream"))
        # evcxr forwards the errors of the process line by line, the last ones after it has reported the end of the
        # cell.
        end = time.monotonic() + 30
        while "found 1000" not in text and time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                text += str(client.get_iopub_msg(timeout=1)["content"])
        assert "`sigma` must be from 0.1 to 64, found 1000" in text
        _, messages = run(client, "x.shape()", timeout=600)
        assert "[6]" in str(of(messages, "execute_result"))
        _, messages = run(client, 'model::dit(())?', timeout=600)
        shown = of(messages, "execute_result") + of(messages, "display_data")
        assert any("<table" in c["data"].get("text/html", "") for c in shown)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_the_notebook_runs_and_shows_what_was_shipped():
    shipped = nbformat.read(NOTEBOOK, as_version=4)
    fresh = nbformat.read(NOTEBOOK, as_version=4)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    # The first cell names the clone by a path relative to the notebook.
    begin = time.monotonic()
    NotebookClient(
        fresh,
        kernel_name="spectral-rust",
        timeout=COMPILING,
        startup_timeout=120,
        resources={"metadata": {"path": str(pathlib.Path(NOTEBOOK).parent)}},
    ).execute()
    print(f"the notebook: {time.monotonic() - begin:.1f} s")

    def kinds(notebook):
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        found = []
        for cell in cells:
            forms = set()
            for output in cell.outputs:
                assert output.output_type != "error", output
                forms |= set(output.get("data", {}))
            found.append(forms)
        return found

    assert kinds(fresh) == kinds(shipped)
    text = NOTEBOOK.read_text()
    assert "/home/" not in text and "/root/" not in text and str(ROOT) not in text
