"""Cells of a notebook, run with a real client."""

import base64
import pathlib
import signal
import time

from talk import of, outputs, printed, reply, result, run

TRAINING = """
let model = model::dit(#{ preset: "fashion_tiny", depth: 2, hidden_size: 64, num_heads: 2 });
let images = data::fashion_mnist(#{ split: "train" });
let done = 0;
train::fit(model, images, #{ steps: 100000, batch: 8, on_step: |s| done = s.step });
"""


def test_results_are_named_and_numbered(client):
    first, messages = run(client, "20 + 1")
    assert result(messages) == "21"
    number = first["execution_count"]
    assert of(messages, "execute_result")[0]["execution_count"] == number
    assert of(messages, "execute_input") == [{"code": "20 + 1", "execution_count": number}]
    assert result(run(client, f"_ + _{number}")[1]) == "42"
    assert result(run(client, "1 + 1;")[1]) is None


def test_what_is_printed_comes_in_order_and_in_few_messages(client):
    _, messages = run(client, "for i in 0..50000 { print(i); } debug(1); print(2);")
    assert printed(messages) == "".join(f"{i}\n" for i in range(50000)) + "2\n"
    assert printed(messages, "stderr") == "1\n"
    assert len(of(messages, "stream")) < 100


def test_printing_does_not_wait_for_the_end_of_the_cell(client):
    msg_id = client.execute("print(1); sleep(3.0); print(2);")
    while client.get_iopub_msg(timeout=10)["msg_type"] != "stream":
        pass
    assert not client.shell_channel.msg_ready(), "the cell had ended before its first line came"
    outputs(client, msg_id)
    reply(client, msg_id)


def test_a_silent_cell_says_nothing_and_has_no_number(client):
    before = run(client, "1")[0]["execution_count"]
    answer, messages = run(client, "print(1); display(2); 3", silent=True)
    assert {m["msg_type"] for m in messages} == {"status"}
    assert answer["status"] == "ok"
    unnumbered, messages = run(client, "let kept = 5; kept", store_history=False)
    assert result(messages) == "5" and unnumbered["execution_count"] == before
    assert run(client, "kept")[0]["execution_count"] == before + 1


def test_expressions_are_evaluated_after_the_cell(client):
    answer, messages = run(
        client,
        "let x = 4;",
        user_expressions={"twice": "2 * x", "wrong": "nothing_of_this_name", "figure": "plot::line([1, 2])"},
    )
    found = answer["user_expressions"]
    assert found["twice"]["data"]["text/plain"] == "8"
    assert found["wrong"]["status"] == "error" and "nothing_of_this_name" in found["wrong"]["evalue"]
    assert "image/png" in found["figure"]["data"]
    assert not of(messages, "error")


def test_an_error_has_caret_calls_and_hint(client):
    run(client, "fn half(x) { tensor::zeros([2, 3]).matmul(x) }")
    answer, messages = run(client, "half(tensor::zeros([5]))")
    (error,) = of(messages, "error")
    text = "\n".join(error["traceback"])
    assert answer["status"] == "error" and error["evalue"] == answer["evalue"]
    assert "^" in text and "called at" in text and "\x1b[" in text
    assert not of(messages, "stream")
    _, messages = run(client, "filter::gausian(#{})")
    assert "did you mean" in "\n".join(of(messages, "error")[0]["traceback"])


def test_an_error_keeps_what_was_there_and_a_panic_is_an_error(client):
    run(client, "let before = 7;")
    run(client, "let during = 8; throw 1; let after = 9;")
    assert result(run(client, "[before, during]")[1]) == "[7, 8]"
    assert run(client, "after")[0]["status"] == "error"
    assert result(run(client, "before")[1]) == "7"


def test_cells_behind_an_error_are_dropped(client):
    first = client.execute("sleep(0.3); throw 1;")
    second = client.execute("let never = 1;")
    third = client.execute("let never = 2;")
    assert reply(client, first)["status"] == "error"
    assert reply(client, second)["status"] == "aborted"
    assert reply(client, third)["status"] == "aborted"
    first = client.execute("throw 1;", stop_on_error=False)
    second = client.execute("let sometimes = 1;")
    assert reply(client, first)["status"] == "error"
    assert reply(client, second)["status"] == "ok"


def test_figures_come_as_svg_and_png_in_their_size(client):
    _, messages = run(client, "plot::line([3, 1, 2], #{ width: 500 })")
    (content,) = of(messages, "execute_result")
    assert content["data"]["image/svg+xml"].startswith("<svg")
    assert base64.b64decode(content["data"]["image/png"])[:4] == b"\x89PNG"
    assert content["metadata"]["image/png"]["width"] == 500
    _, messages = run(client, "for i in 0..2 { plot::line([i, 1]).show(); print(i); }")
    kinds = [m["msg_type"] for m in messages if m["msg_type"] in ("display_data", "stream")]
    assert kinds == ["display_data", "stream", "display_data", "stream"]


def test_tables_and_models_come_as_html(client):
    _, messages = run(client, 'table::from_rows([#{ name: "a", loss: 0.5 }, #{ name: "b", loss: 0.25 }])')
    assert "<table" in of(messages, "execute_result")[0]["data"]["text/html"]
    _, messages = run(client, 'model::dit(#{ preset: "fashion_tiny" })')
    assert "parameters" in of(messages, "execute_result")[0]["data"]["text/plain"]


def test_a_progress_bar_moves_in_place(client):
    _, messages = run(
        client,
        """
        let model = model::dit(#{ preset: "fashion_tiny", depth: 1, hidden_size: 32, num_heads: 2 });
        train::fit(model, data::fashion_mnist(), #{ steps: 20, batch: 8 });
        """,
        timeout=120,
    )
    bar = [c for c in of(messages, "display_data") if "transient" in c and c["transient"].get("display_id")]
    moves = of(messages, "update_display_data")
    assert bar and moves
    assert {m["transient"]["display_id"] for m in moves} <= {c["transient"]["display_id"] for c in bar}
    assert "20/20" in moves[-1]["data"]["text/plain"] and "<progress" in moves[-1]["data"]["text/html"]


def test_help_and_commands_work_as_at_the_prompt(client):
    _, messages = run(client, "?filter::gaussian")
    (page,) = of(messages, "display_data")
    assert "sigma" in page["data"]["text/plain"] and "| option |" in page["data"]["text/markdown"]
    _, messages = run(client, ":example")
    assert "filter::gaussian(" in printed(messages)
    run(client, "let weights = tensor::zeros([4, 8]);")
    _, messages = run(client, "weights?")
    assert "weights is a variable" in of(messages, "display_data")[0]["data"]["text/plain"]
    _, messages = run(client, ":vars")
    assert "weights" in of(messages, "display_data")[0]["data"]["text/plain"]
    _, messages = run(client, ":time weights.sum()")
    assert printed(messages).startswith("took ") and result(messages)
    _, messages = run(client, "??sweep::run")
    assert "fn run(" in of(messages, "display_data")[0]["data"]["text/plain"]
    answer, messages = run(client, ":quit")
    assert answer["status"] == "error" and "notebook" in answer["evalue"]
    answer, _ = run(client, "wieghts.sum()")
    answer, _ = run(client, ":fix")
    assert answer["payload"][0] == {"source": "set_next_input", "text": "weights.sum()", "replace": True}


def test_own_functions_variables_and_options_are_explained(client):
    run(client, "/// Adds one.\nfn with_one(a) { a + 1 }")
    run(client, 'let title = "a";')
    for question, text in [("?with_one", "Adds one."), ("title?", "title is a variable"), ("??", "explains a function")]:
        _, messages = run(client, question)
        assert text in of(messages, "display_data")[0]["data"]["text/plain"]
    code = "train::fit(model, images, #{ lr: 1e-3 })"
    found = reply(client, client.inspect(code, code.index("lr") + 1))
    assert "option `lr`" in found["data"]["text/plain"]
    assert not reply(client, client.inspect("let t", 5))["found"]


def test_what_follows_a_command_or_a_question_is_not_dropped(client):
    run(client, "let a_value = 5;")
    for code in [":reset a_value", ":vars\nlet b = 1;", "?print\n1 + 1"]:
        answer, _ = run(client, code)
        assert answer["status"] == "error", code
    assert result(run(client, "a_value")[1]) == "5"
    _, messages = run(client, "a_value; // hidden")
    assert not of(messages, "execute_result")


def test_an_exit_with_a_code_is_an_error(client):
    answer, messages = run(client, "exit(3)")
    assert (answer["status"], answer["ename"], answer["evalue"]) == ("error", "exit", "3")
    assert of(messages, "error")
    answer, _ = run(client, "exit(0)")
    assert answer["status"] == "ok"


def test_completion_answers_while_a_cell_runs(client):
    run(client, "let picture = tensor::zeros([2, 3]);")
    busy = client.execute("sleep(3.0)")
    found = reply(client, client.complete("picture.res", 11))
    assert "reshape(" in found["matches"]
    found = reply(client, client.inspect("filter::gaussian", 3))
    assert found["found"]
    assert busy not in client.kept_replies and not client.shell_channel.msg_ready()
    outputs(client, busy)
    reply(client, busy)


def test_completion_knows_options_variables_and_characters_beyond_ascii(client):
    run(client, "let sharpness = tensor::zeros([2, 3]);")
    code = "print(`Schärfe β`); filter::gaussian(#{ sig"
    found = reply(client, client.complete(code, len(code)))
    assert found["matches"] == ["sigma: "]
    assert (found["cursor_start"], found["cursor_end"]) == (len(code) - 3, len(code))
    (detail,) = found["metadata"]["_jupyter_types_experimental"]
    assert detail["type"] == "param" and "deviation" in detail["signature"]
    found = reply(client, client.complete("/* ä */ sharp"))
    assert found["matches"] == ["sharpness"] and found["cursor_start"] == 8
    assert "[2, 3]" in found["metadata"]["_jupyter_types_experimental"][0]["signature"]


def test_a_cell_can_ask(client):
    msg_id = client.execute('let name = input("who? "); name + "!"', allow_stdin=True)
    question = client.get_stdin_msg(timeout=20)["content"]
    assert question == {"prompt": "who? ", "password": False}
    client.input("me")
    assert result(outputs(client, msg_id)) == '"me!"'
    reply(client, msg_id)
    answer, _ = run(client, 'input("who? ")', allow_stdin=False)
    assert answer["status"] == "error" and "takes no input" in answer["evalue"]


def test_outputs_can_be_taken_away(client):
    _, messages = run(client, "print(1); clear(); print(2);")
    assert of(messages, "clear_output") == [{"wait": True}]


def training(kernel):
    """Starts training and returns the client and the id of the request once training is under way."""
    _, client = kernel
    msg_id = client.execute(TRAINING)
    deadline = time.monotonic() + 60
    moves = 0
    while moves < 2 and time.monotonic() < deadline:
        moves += client.get_iopub_msg(timeout=60)["msg_type"] == "update_display_data"
    assert moves == 2
    return client, msg_id


def test_an_interrupt_by_message_stops_training_and_keeps_variables(kernel):
    manager, _ = kernel
    client, msg_id = training(kernel)
    start = time.monotonic()
    manager.interrupt_kernel()
    assert reply(client, msg_id)["ename"] == "interrupted"
    print(f"interrupt by message: {1000 * (time.monotonic() - start):.0f} ms")
    outputs(client, msg_id)
    assert int(result(run(client, "done")[1])) > 0


def test_an_interrupt_ends_user_expressions(kernel):
    manager, client = kernel
    msg_id = client.execute("1", user_expressions={"long": "sleep(1000)"})
    time.sleep(1.0)
    manager.interrupt_kernel()
    answer = reply(client, msg_id)
    assert answer["user_expressions"]["long"]["ename"] == "interrupted"


def test_an_interrupt_by_signal_does_the_same(kernel):
    manager, _ = kernel
    client, msg_id = training(kernel)
    start = time.monotonic()
    manager.provisioner.process.send_signal(signal.SIGINT)
    assert reply(client, msg_id)["ename"] == "interrupted"
    print(f"interrupt by signal: {1000 * (time.monotonic() - start):.0f} ms")
    outputs(client, msg_id)
    assert result(run(client, "done > 0")[1]) == "true"


def test_an_interrupt_ends_waiting_and_endless_loops(kernel):
    manager, client = kernel
    for code in ("sleep(60)", "loop {}", 'input("never answered")'):
        msg_id = client.execute(code, allow_stdin=True)
        time.sleep(0.5)
        manager.interrupt_kernel()
        assert reply(client, msg_id, timeout=20)["ename"] == "interrupted"
        outputs(client, msg_id)


def test_restart_begins_anew(kernel):
    manager, client = kernel
    run(client, "let gone = 1;")
    manager.restart_kernel()
    client.wait_for_ready(timeout=60)
    assert run(client, "gone")[0]["status"] == "error"
    assert result(run(client, "1 + 1")[1]) == "2"


def test_a_shutdown_ends_the_process_in_the_middle_of_a_cell(kernel):
    manager, client = kernel
    client.execute("loop {}")
    time.sleep(0.5)
    client.shutdown()
    deadline = time.monotonic() + 10
    while manager.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not manager.is_alive()


def test_there_are_no_comms(client):
    found = reply(client, client.comm_info())
    assert found == {"status": "ok", "comms": {}}
    message = client.session.msg("comm_open", {"comm_id": "x", "target_name": "jupyter.widget", "data": {}})
    client.shell_channel.send(message)
    messages = outputs(client, message["header"]["msg_id"])
    assert of(messages, "comm_close")[0]["comm_id"] == "x"


def test_imports_and_functions_last_over_cells(client):
    file = pathlib.Path("mine_for_a_test.rhai")
    file.write_text("fn twice(x) { 2 * x }")
    try:
        run(client, 'import "mine_for_a_test" as mine;')
    finally:
        file.unlink()
    assert result(run(client, "mine::twice(4)")[1]) == "8"
    run(client, "let f = |x| mine::twice(x) + 1;")
    assert result(run(client, "f.call(4)")[1]) == "9"
