"""Papermill parameters in rhai: every value is read back as it was written."""

import json
import math
import subprocess
import sys

import nbformat
import pytest
from conftest import ROOT
from talk import result, run

sys.path.insert(0, str(ROOT / "kernels" / "jupyter"))
from papermill_rhai import RESERVED, RhaiTranslator  # noqa: E402

COMMAND = [sys.executable, str(ROOT / "kernels" / "jupyter" / "papermill_rhai.py")]

TEXTS = [
    "",
    "plain",
    'a "quoted" word',
    "back\\slash \\n \\x41 \\u0041",
    "line\nfeed\r\n\ttab",
    "`${1 + 1}` #{ } // no comment /* nor here */",
    "bell \x07, escape \x1b[31m, delete \x7f, null \x00",
    "ünï çødé, \u202eright to left\u2028, 日本語, 😀",
    "it's; let x = 1;",
]
VALUES = [
    None,
    True,
    False,
    0,
    -7,
    2**63 - 1,
    -(2**63) + 1,
    0.5,
    3.0,
    -2.5,
    1e-5,
    1e16,
    1.5e300,
    5e-324,
    [],
    {},
    [1, [2.5, "three", None], {"four": []}],
    {"a": 1, "with space": {"new": True, 'quo"te': "x\ny"}, "": [False]},
]


@pytest.mark.parametrize("value", TEXTS + VALUES, ids=range(len(TEXTS + VALUES)))
def test_a_value_comes_back_as_it_was(client, value):
    _, messages = run(client, RhaiTranslator.codify({"given": value}) + "\nprint(text::json(given));")
    text = "".join(m["content"]["text"] for m in messages if m["msg_type"] == "stream")
    back = json.loads(text)
    assert back == value and type(back) is type(value)


def test_a_float_stays_a_float_and_may_be_infinite(client):
    code = RhaiTranslator.codify({"a": 3.0, "b": math.inf, "c": -math.inf, "d": math.nan})
    _, messages = run(client, code + "\n`${type_of(a)} ${b} ${c} ${d}`")
    assert result(messages) == '"f64 inf -inf NaN"'


def test_what_rhai_cannot_hold_is_refused():
    for values in [{"a": 2**63}, {"a-b": 1}, {"let": 1}, {"_": 1}, {"1a": 1}, {"a": "\udcff"}]:
        with pytest.raises(ValueError):
            RhaiTranslator.codify(values)


def test_every_reserved_word_is_one(client):
    for word in sorted(RESERVED):
        answer, _ = run(client, f"let {word} = 1; {word} + 1")
        assert answer["status"] == "error", f"`{word}` is a good name"


def test_the_command_line_takes_parameters_of_every_kind(tmp_path):
    cells = [
        nbformat.v4.new_code_cell("let steps = 1;  // updates to make\nlet name = ();\nlet options = #{};"),
        nbformat.v4.new_code_cell("[steps * 2, name, options]"),
    ]
    cells[0].metadata["tags"] = ["parameters"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "spectral", "language": "rhai", "display_name": "Spectral (rhai)"}
    nbformat.write(notebook, tmp_path / "in.ipynb")
    help = subprocess.run(COMMAND + ["--help-notebook", "in.ipynb"], cwd=tmp_path, capture_output=True, text=True)
    assert "updates to make" in help.stdout, help.stdout + help.stderr
    options = ["-p", "steps", "20", "-r", "name", 'say "hi"\\', "-y", "options: {lr: 1e-3, flip: yes}"]
    done = subprocess.run(
        COMMAND + ["in.ipynb", "out.ipynb", *options], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "unknown parameter" not in done.stderr
    written = nbformat.read(tmp_path / "out.ipynb", 4)
    assert written.cells[1].metadata.tags == ["injected-parameters"]
    text = written.cells[2].outputs[0].data["text/plain"]
    assert "40" in text and 'say \\"hi\\"\\\\' in text and "flip: true" in text, text
