"""Helpers for the Jupyter messaging protocol."""

import time


def outputs(client, msg_id, timeout=60):
    """Returns all messages on iopub that belong to a request, up to idle."""
    found = []
    deadline = time.monotonic() + timeout
    while True:
        message = client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
        parent = message["parent_header"]
        # The manager, which sends interrupts, uses the client's session but counts its messages separately.
        if parent.get("msg_id") != msg_id or parent.get("msg_type") == "interrupt_request":
            continue
        found.append(message)
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return found


def run(client, code, timeout=60, **options):
    """Runs a cell. Returns the content of its reply and the messages on iopub."""
    msg_id = client.execute(code, **options)
    found = outputs(client, msg_id, timeout)
    return reply(client, msg_id, timeout), found


def reply(client, msg_id, timeout=60):
    """Returns the content of the reply on the shell channel. Replies to other requests are kept for later."""
    kept = vars(client).setdefault("kept_replies", {})
    deadline = time.monotonic() + timeout
    while msg_id not in kept:
        message = client.get_shell_msg(timeout=max(0.1, deadline - time.monotonic()))
        kept[message["parent_header"].get("msg_id")] = message["content"]
    return kept.pop(msg_id)


def of(messages, kind):
    """Returns the contents of the messages of a type."""
    return [m["content"] for m in messages if m["msg_type"] == kind]


def printed(messages, name="stdout"):
    """Returns the printed text."""
    return "".join(c["text"] for c in of(messages, "stream") if c["name"] == name)


def result(messages):
    """Returns the plain text of the result, or None."""
    found = of(messages, "execute_result")
    return found[0]["data"]["text/plain"] if found else None
