#!/usr/bin/env python3
"""Makes a script of a notebook with rhai cells, for `spectral check` and `spectral run`.

    python nbconvert_rhai.py notebook.ipynb        # writes notebook.rhai

`jupyter nbconvert --to script` only puts the cells one below the other. A script needs more: a semicolon behind the result of a
cell, and comments in place of text, of help (`filter::gaussian?`), of commands (`:vars`), and of cells that fail on purpose or use
results by number (`_3`), which exist in a session alone.
"""

import pathlib
import re
import sys

from nbconvert import ScriptExporter

RESULT = re.compile(r"(?<![\w.])_\d*(?!\w)")
STRING = re.compile(r'"(?:\\.|[^"\\])*"|`[^`]*`|//[^\n]*|/\*.*?\*/', re.DOTALL)


def comment(text):
    return "\n".join(f"// {line}".rstrip() for line in text.split("\n"))


def statement(cell):
    """A cell as a part of a script."""
    source = cell.source.strip()
    code = STRING.sub(lambda m: "" if m[0].startswith("/") else '""', source).strip()
    asks = source.startswith((":", "?")) or source.endswith("?")
    if asks or RESULT.search(code) or "raises-exception" in cell.metadata.get("tags", []):
        return comment(source)
    if not code or code.endswith(";"):
        return source
    # A comment at the end would swallow a semicolon.
    return source + ("\n;" if "//" in source.split("\n")[-1] else ";")


class RhaiExporter(ScriptExporter):
    """Exports a notebook as a script of rhai."""

    def from_notebook_node(self, nb, resources=None, **options):
        parts = []
        for cell in nb.cells:
            if cell.cell_type == "markdown":
                parts.append(comment(cell.source.strip()))
            elif cell.cell_type == "code" and cell.source.strip():
                parts.append(statement(cell))
        resources = dict(resources or {}, output_extension=".rhai")
        return "\n\n".join(parts) + "\n", resources


if __name__ == "__main__":
    if not sys.argv[1:] or any(name.startswith("-") for name in sys.argv[1:]):
        sys.exit(__doc__)
    for name in sys.argv[1:]:
        script, _ = RhaiExporter().from_filename(name)
        written = pathlib.Path(name).with_suffix(".rhai")
        written.write_text(script, encoding="utf-8")
        print(f"{name} -> {written}")
