"""Jupyter's own conformance tests for kernels, complete."""

import jupyter_kernel_test


class SpectralKernelTests(jupyter_kernel_test.KernelTests):
    kernel_name = "spectral"
    language_name = "rhai"
    file_extension = ".rhai"

    code_hello_world = 'print("hello, world")'
    code_stderr = 'debug("to standard error")'
    completion_samples = [
        {"text": "filter::gau", "matches": {"gaussian("}},
        {"text": "let x = tensor::zero", "matches": {"zeros(", "zeros_like("}},
    ]
    complete_code_samples = ["1 + 1", "let f = |x| x + 1;", "fn twice(x) { 2 * x }", ":vars", "filter?"]
    incomplete_code_samples = ["fn f(x) {", "[1, 2,", "let s = `open", "1 +", "/* open"]
    invalid_code_samples = ["x)", "let = 3", "1 2"]
    # Help is an output of its cell instead of a pager, so that it stays in the notebook and appears in every
    # client. A pager is a payload, which the protocol calls deprecated.
    code_page_something = ""
    code_generate_error = 'throw "an error"'
    code_execute_result = [
        {"code": "6 * 7", "result": "42"},
        {"code": '"text"', "result": '"text"'},
        {"code": "[1, 2, 3]", "result": "[1, 2, 3]"},
    ]
    code_display_data = [
        {"code": "plot::line([3, 1, 2]).show()", "mime": "image/png"},
        {"code": "plot::line([3, 1, 2]).show()", "mime": "image/svg+xml"},
        {"code": "filter?", "mime": "text/plain"},
        {"code": "filter::gaussian?", "mime": "text/markdown"},
    ]
    code_history_pattern = "6 ? 7*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "filter::gaussian"
    code_clear_output = "clear()"


class SpectralWelcomeTests(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = "spectral"
    support_iopub_welcome = True
