"""Notebooks of examples/: they run from a clean state, contain their outputs, and work with Jupyter's tools."""

import base64
import pathlib
import re
import shutil
import subprocess
import sys

import nbformat
import pexpect
import pytest
from conftest import PROGRAM, ROOT
from nbclient import NotebookClient
from nbconvert import HTMLExporter, ScriptExporter

sys.path.insert(0, str(ROOT / "kernels" / "jupyter"))
from nbconvert_rhai import statement  # noqa: E402

FOLDER = ROOT / "examples" / "notebooks"
RUNS_OURS = lambda path: nbformat.read(path, 4).metadata.kernelspec.name == "spectral"  # noqa: E731
NOTEBOOKS = sorted(path for path in FOLDER.glob("*.ipynb") if RUNS_OURS(path))
NAMES = [path.stem for path in NOTEBOOKS]

# Absolute paths that belong to a machine or a user.
PATHS = re.compile(r"/(home|Users|root|tmp|work|mnt|opt|usr|var|private)/|[A-Za-z]:\\\\")

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)


@pytest.fixture
def place(tmp_path):
    """Returns a copy of the folder of notebooks, in which they may write."""
    return pathlib.Path(shutil.copytree(FOLDER, tmp_path / "notebooks", ignore=shutil.ignore_patterns("runs")))


def tags(cell):
    return cell.metadata.get("tags", [])


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def kinds(cell):
    """Returns the kinds of a cell's outputs, in order. Their numbers differ between machines."""
    return [
        (o.output_type, *(sorted(o.data) if "data" in o else [o.get("name") or o.get("ename")])) for o in cell.outputs
    ]


def test_there_are_notebooks():
    assert {"tour", "ablation", "own_filter", "gates_over_time", "ideas"} <= set(NAMES)


@every
def test_a_notebook_runs_and_is_shipped_with_what_it_shows(path, place):
    shipped, ran = nbformat.read(path, 4), nbformat.read(path, 4)
    for cell in code(ran):
        cell.outputs, cell.execution_count = [], None
    # `execute` raises the error of a cell without the tag `raises-exception`.
    NotebookClient(ran, timeout=600, kernel_name="spectral", resources={"metadata": {"path": str(place)}}).execute()
    for number, (old, new) in enumerate(zip(code(shipped), code(ran), strict=True), 1):
        assert kinds(old) == kinds(new), f"cell {number} shows something else than it was shipped with:\n{new.source}"
        assert old.execution_count == number, f"cell {number} was not shipped from one run from top to bottom"
        assert ("raises-exception" in tags(new)) == any(o.output_type == "error" for o in new.outputs), new.source
    assert {p.name for p in place.iterdir()} - {p.name for p in FOLDER.iterdir()} <= {"runs"}


@every
def test_a_shipped_notebook_is_clean(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    spec = notebook.metadata.kernelspec
    assert (spec.name, spec.display_name, spec.language) == ("spectral", "Spectral (rhai)", "rhai")
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert "execution" not in cell.metadata, "times of execution are of no use to others"
        assert not PATHS.search(cell.source), cell.source
        for output in cell.get("outputs", []):
            # Base64 data may contain anything by chance.
            text = "\n".join(str(v) for k, v in output.get("data", output).items() if k != "image/png")
            assert not PATHS.search(text), PATHS.search(text)
    assert notebook.cells[0].cell_type == "markdown" and notebook.cells[0].source.startswith("# ")


@every
def test_figures_of_a_shipped_notebook_say_what_they_show(path):
    figures = [o for c in code(nbformat.read(path, 4)) for o in c.outputs if "image/svg+xml" in o.get("data", {})]
    assert len(figures) >= 3
    for figure in figures:
        assert "<text" in figure.data["image/svg+xml"], figure.data["text/plain"]
        assert figure.metadata["image/png"]["width"] <= 860, "wider than the page of a code host"


def test_a_notebook_becomes_a_page():
    body, _ = HTMLExporter(template_name="lab").from_filename(str(FOLDER / "tour.ipynb"))
    figures = re.findall(r'src="?data:image/svg\+xml;base64,([^">\s]+)', body)
    assert any("What each filter lets through" in base64.b64decode(f).decode() for f in figures)
    assert re.search('<span class="k[a-z]*">let</span>', body), "code is not highlighted"
    assert "<progress" in body and "did you mean" in body


@every
def test_a_notebook_becomes_a_script(path, place):
    program = [sys.executable, str(ROOT / "kernels" / "jupyter" / "nbconvert_rhai.py")]
    subprocess.run(program + [path.name], cwd=place, check=True, stdout=subprocess.DEVNULL)
    checked = subprocess.run([PROGRAM, "check", f"{path.stem}.rhai"], cwd=place, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    text = (place / f"{path.stem}.rhai").read_text()
    assert all(cell.source.split("\n")[0] in text for cell in code(nbformat.read(path, 4)))


def test_a_script_has_comments_for_what_only_a_session_has():
    sources = {
        "1 + 1": "1 + 1;",
        "let x = 2;": "let x = 2;",
        "x // twice": "x // twice\n;",
        'print("?");': 'print("?");',
        'x + "_1".len()': 'x + "_1".len();',
        "_ + _12": "// _ + _12",
        "filter::gaussian?": "// filter::gaussian?",
        ":vars": "// :vars",
        "// nothing": "// nothing",
        "[1].map(|_x| _x)": "[1].map(|_x| _x);",
    }
    for source, expected in sources.items():
        assert statement(nbformat.v4.new_code_cell(source)) == expected
    failing = nbformat.v4.new_code_cell("throw 1;\n2", metadata={"tags": ["raises-exception"]})
    assert statement(failing) == "// throw 1;\n// 2"


def test_nbconvert_knows_the_extension_of_a_script():
    body, resources = ScriptExporter().from_filename(str(FOLDER / "tour.ipynb"))
    assert resources["output_extension"] == ".rhai" and "let steps = 20;" in body


def test_papermill_runs_a_notebook_as_it_is(place):
    done = papermill([sys.executable, "-m", "papermill"], place, "own_filter.ipynb", [])
    assert not any(o.output_type == "error" for c in code(done) for o in c.outputs)


def test_papermill_runs_a_notebook_with_parameters(place):
    program = [sys.executable, str(ROOT / "kernels" / "jupyter" / "papermill_rhai.py")]
    done = papermill(program, place, "ablation.ipynb", ["-p", "steps", "2", "-y", "{seeds: 1, cutoffs: [0.5], out: runs/few}"])
    injected = next(c for c in code(done) if "injected-parameters" in tags(c))
    assert "let steps = 2;" in injected.source and "let cutoffs = [0.5];" in injected.source
    assert any("[2/2] cutoff 0.5, seed 0" in o.get("text", "") for c in code(done) for o in c.outputs)
    assert (place / "runs" / "few" / "journal.jsonl").is_file()


def papermill(program, place, name, options):
    command = program + [name, "out.ipynb", "--no-progress-bar", *options]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return nbformat.read(place / "out.ipynb", 4)


def test_the_console_shows_results_and_errors_and_ends(tmp_path):
    console = pexpect.spawn(
        sys.executable,
        ["-m", "jupyter", "console", "--kernel", "spectral", "--simple-prompt"],
        cwd=tmp_path,
        encoding="utf-8",
        timeout=120,
        dimensions=(40, 160),
    )
    try:
        console.expect(r"In \[1\]: ")
        console.sendline("20 + 22")
        console.expect(r"Out\[1\]: 42\r?\n")
        console.expect(r"In \[2\]: ")
        console.sendline("let wide = filter::gaussian(#{ sgima: 3.0 });")
        console.expect("unknown option `sgima`")
        console.expect("did you mean `sigma`")
        console.expect(r"In \[\d+\]: ")
        console.sendline('print("still " + "here");')
        console.expect("still here\r?\n")
        console.expect(r"In \[\d+\]: ")
        console.sendeof()
        if console.expect([r"\(\[?y\]?/\[?n\]?\)", pexpect.EOF]) == 0:
            console.sendline("y")
            console.expect(pexpect.EOF)
        console.wait()
        assert console.exitstatus == 0
    finally:
        console.close(force=True)
