#!/usr/bin/env python3
"""papermill for notebooks with rhai cells: its own command line, and parameters written in rhai.

    python papermill_rhai.py in.ipynb out.ipynb -p steps 20 -y "cutoffs: [0.25, 0.5]"

papermill writes parameters in the notebook's language and knows none of ours; this file tells it. Another program that uses
papermill as a library need only import it.
"""

import math
import re

from papermill.models import Parameter
from papermill.translators import Translator, papermill_translators

# Words that rhai keeps for itself.
RESERVED = set(
    """as async await break case catch const continue default do else export false fn for goto if import in is let loop
    module new null nil package print private protected public return shared spawn super switch sync this thread throw true
    try until use void while with yield Fn call curry debug go type_of is_def_fn is_def_var is_shared""".split()
)
NAME = re.compile(r"_*[A-Za-z][A-Za-z0-9_]*")
ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class RhaiTranslator(Translator):
    """Writes JSON and YAML values as rhai."""

    @classmethod
    def translate(cls, val):
        if isinstance(val, (tuple, set)):
            val = list(val)
        return super().translate(val)

    @classmethod
    def translate_escaped_str(cls, str_val):
        return '"' + "".join(cls.character(c) for c in str(str_val)) + '"'

    @staticmethod
    def character(c):
        if c in ESCAPES:
            return ESCAPES[c]
        if 0xD800 <= ord(c) < 0xE000:
            raise ValueError("a parameter holds bytes that are no text")
        return f"\\u{ord(c):04x}" if not c.isprintable() and ord(c) < 0x10000 else c

    @classmethod
    def translate_none(cls, val):
        return "()"

    @classmethod
    def translate_int(cls, val):
        if not -(2**63) < val < 2**63:
            raise ValueError(f"{val} is no integer of rhai, which has 64 bits; write it as a float")
        return str(val)

    @classmethod
    def translate_float(cls, val):
        if math.isnan(val):
            return "(0.0 / 0.0)"
        if math.isinf(val):
            return "(1.0 / 0.0)" if val > 0 else "(-1.0 / 0.0)"
        digits, e, exponent = repr(val).partition("e")
        if "." not in digits:
            digits += ".0"
        return digits + (f"e{int(exponent)}" if e else "")

    @classmethod
    def translate_list(cls, val):
        return "[" + ", ".join(cls.translate(v) for v in val) + "]"

    @classmethod
    def translate_dict(cls, val):
        if not val:
            return "#{}"
        entries = (f"{cls.translate_escaped_str(k)}: {cls.translate(v)}" for k, v in val.items())
        return "#{ " + ", ".join(entries) + " }"

    @classmethod
    def comment(cls, cmt_str):
        return f"// {cmt_str}".strip()

    @classmethod
    def assign(cls, name, str_val):
        if not NAME.fullmatch(name) or name in RESERVED:
            raise ValueError(f"`{name}` cannot be the name of a variable in rhai")
        return f"let {name} = {str_val};"

    @classmethod
    def inspect(cls, parameters_cell):
        """The parameters of a cell: its lines `let name = value;`, with what a comment behind says."""
        line = re.compile(r"^let\s+(\w+)\s*=\s*(.*?)\s*;\s*(?://\s*(.*))?$", re.MULTILINE)
        found = line.findall(parameters_cell["source"])
        return [Parameter(name, "None", default, help) for name, default, help in found]


papermill_translators.register("rhai", RhaiTranslator)

if __name__ == "__main__":
    from papermill.__main__ import papermill

    papermill()
