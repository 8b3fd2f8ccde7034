"""Fault tolerance: misbehaving clients, networks and files."""

import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest
import zmq
from conftest import PROGRAM
from jupyter_client import BlockingKernelClient
from talk import outputs, printed, reply, result, run


def alive(client):
    """Checks that the kernel answers."""
    assert result(run(client, "20 + 22")[1]) == "42"


def resident(pid):
    """Returns the resident memory of a process in bytes."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return 1024 * int(line.split()[1])


def second_client(manager):
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    return client


def test_messages_with_a_wrong_signature_are_dropped(kernel):
    _, client = kernel
    session = client.session
    right = session.key
    for key in (b"something else", b""):
        session.key = key
        client.execute("let stolen = 1;")
    session.key = right
    alive(client)
    assert run(client, "stolen")[0]["status"] == "error"


def test_malformed_messages_are_dropped_or_refused(kernel):
    _, client = kernel
    send = client.shell_channel.socket.send_multipart
    session = client.session
    header = json.dumps(session.msg_header("execute_request"), default=str).encode()
    for frames in (
        [b""],
        [b"<IDS|MSG>"],
        [b"<IDS|MSG>", b"zz"],
        [b"<IDS|MSG>", b"", b"{}", b"{}", b"{}"],
        [b"<IDS|MSG>", b"not hex", header, b"{}", b"{}", b"{}"],
        [b"x" * 100_000],
    ):
        send(frames)
    for parts in (
        [b"{", b"{}", b"{}", b"{}"],
        [b"[]", b"{}", b"{}", b"{}"],
        [b"{}", b"{}", b"{}", b"{}"],
        [header, b"{}", b"{}", b"\xff\xfe"],
        [header, b"{}", b"nothing", b"{}"],
    ):
        send([b"<IDS|MSG>", session.sign(parts), *parts])
    message = session.msg("execute_request", {"code": 5})
    client.shell_channel.send(message)
    answer = reply(client, message["header"]["msg_id"])
    assert answer["status"] == "error" and "malformed" in answer["evalue"]
    message = session.msg("future_request", {})
    client.shell_channel.send(message)
    assert "does not know" in reply(client, message["header"]["msg_id"])["evalue"]
    client.shell_channel.send(session.msg("no_request_at_all", {}))
    alive(client)


def test_a_client_that_vanishes_in_the_middle_of_output(kernel):
    manager, client = kernel
    program = """
import os, sys, time
from jupyter_client import BlockingKernelClient
client = BlockingKernelClient()
client.load_connection_file(sys.argv[1])
client.start_channels()
client.wait_for_ready(timeout=60)
client.execute("for i in 0..300000 { print(`line ${i} of many that nobody reads`); } let finished = 1;")
client.get_iopub_msg(timeout=20)
time.sleep(0.2)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program, manager.connection_file], check=True)
    assert result(run(client, "finished", timeout=120)[1]) == "1"


def test_two_clients_see_the_same_and_each_gets_its_own_replies(kernel):
    manager, first = kernel
    second = second_client(manager)
    try:
        msg_id = first.execute('print("for both"); let x = input("? "); x', allow_stdin=True)
        assert first.get_stdin_msg(timeout=20)["content"]["prompt"] == "? "
        first.input("mine")
        assert result(outputs(first, msg_id)) == '"mine"'
        seen = outputs(second, msg_id)
        assert printed(seen) == "for both\n" and result(seen) == '"mine"'
        assert reply(first, msg_id)["status"] == "ok"
        assert not second.stdin_channel.msg_ready()
        assert result(run(second, "x + x")[1]) == '"minemine"'
    finally:
        second.stop_channels()


def test_an_interrupt_with_nothing_running_harms_nothing(kernel):
    manager, client = kernel
    alive(client)
    for _ in range(3):
        manager.interrupt_kernel()
        manager.provisioner.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    alive(client)


def test_a_cell_that_prints_a_hundred_megabytes_is_cut(kernel):
    manager, client = kernel
    before = resident(manager.provisioner.pid)
    code = 'let line = "x"; for i in 0..10 { line += line; } for i in 0..102400 { print(line); } print("end");'
    answer, messages = run(client, code, timeout=300)
    assert answer["status"] == "ok"
    text = printed(messages)
    assert 1 << 20 < len(text) <= 16 << 20
    assert "more bytes were printed" in printed(messages, "stderr")
    alive(client)
    assert resident(manager.provisioner.pid) - before < 200 << 20


def test_a_client_that_stops_listening_does_not_stop_the_others(kernel):
    manager, client = kernel
    info = manager.get_connection_info()
    program = """
import os, signal, sys, zmq
socket = zmq.Context().socket(zmq.SUB)
socket.setsockopt(zmq.SUBSCRIBE, b"")
socket.setsockopt(zmq.RCVHWM, 10)
socket.connect(sys.argv[1])
socket.recv_multipart()
print("listening", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""
    address = f"tcp://{info['ip']}:{info['iopub_port']}"
    stopped = subprocess.Popen([sys.executable, "-c", program, address], stdout=subprocess.PIPE, text=True)
    try:
        assert stopped.stdout.readline() == "listening\n"
        time.sleep(0.5)
        code = 'let line = "x"; for i in 0..10 { line += line; } for i in 0..14000 { print(line); } 1 + 1'
        msg_id = client.execute(code)
        assert reply(client, msg_id, timeout=120)["status"] == "ok"
        # The connection was re-established, so the following messages arrive.
        time.sleep(1.0)
        client.get_iopub_msg(timeout=30)
        alive(client)
    finally:
        stopped.kill()


def start(file, **environment):
    return subprocess.Popen(
        [PROGRAM, "jupyter", "kernel", "-f", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def connection_file(folder, mode=0o600, **changes):
    names = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
    info = {"ip": "127.0.0.1", "transport": "tcp", "key": "secret", "signature_scheme": "hmac-sha256"}
    info |= dict(zip(names, free_ports(5))) | changes
    file = pathlib.Path(folder) / "connection.json"
    file.write_text(json.dumps(info))
    file.chmod(mode)
    return file, info


def connect(file):
    client = BlockingKernelClient(connection_file=str(file))
    client.load_connection_file()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    return client


def test_a_port_in_use_is_named(tmp_path):
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    file, _ = connection_file(tmp_path, control_port=port)
    kernel = start(file)
    _, error = kernel.communicate(timeout=60)
    assert kernel.returncode == 1
    assert f"control socket cannot listen on tcp://127.0.0.1:{port}" in error and "hint:" in error


def test_a_connection_file_that_is_missing_or_something_else(tmp_path):
    kernel = start(tmp_path / "none.json")
    _, error = kernel.communicate(timeout=60)
    assert kernel.returncode == 1 and "none.json" in error
    file = tmp_path / "some.json"
    file.write_text("{}")
    kernel = start(file)
    _, error = kernel.communicate(timeout=60)
    assert kernel.returncode == 1 and "is not a connection file" in error


def test_a_key_that_everybody_can_read_is_taken_away_from_them(tmp_path):
    file, _ = connection_file(tmp_path, mode=0o644)
    kernel = start(file)
    client = connect(file)
    try:
        alive(client)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    finally:
        client.shutdown()
        _, error = kernel.communicate(timeout=60)
    assert "other users could read the key" in error and kernel.returncode == 0
    client.stop_channels()


def listening(pid):
    """Returns the addresses on which a process listens."""
    inodes = set()
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                found.add((table, address, int(port, 16)))
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_it_listens_where_the_file_says_and_nowhere_else(tmp_path):
    file, info = connection_file(tmp_path, ip="127.0.0.2")
    kernel = start(file)
    client = connect(file)
    try:
        run(client, 'plot::line([1, 2]); tensor::zeros([2]).sum()')
        ports = {value for name, value in info.items() if name.endswith("_port")}
        assert listening(kernel.pid) == {("tcp", "0200007F", port) for port in ports}
    finally:
        client.shutdown()
        kernel.communicate(timeout=60)
        client.stop_channels()


@pytest.mark.skipif(sys.platform == "win32", reason="sockets of the file system")
def test_it_listens_on_sockets_of_the_file_system(tmp_path):
    prefix = tmp_path / "ipc"
    changes = {name: i + 1 for i, name in enumerate(("shell_port", "iopub_port", "stdin_port"))}
    changes |= {"control_port": 4, "hb_port": 5}
    file, _ = connection_file(tmp_path, ip=str(prefix), transport="ipc", **changes)
    kernel = start(file)
    client = connect(file)
    try:
        alive(client)
        assert not listening(kernel.pid)
    finally:
        client.shutdown()
        kernel.communicate(timeout=60)
        client.stop_channels()


def test_a_kernel_does_not_outlive_the_client_that_started_it(tmp_path):
    file, _ = connection_file(tmp_path)
    program = """
import os, subprocess, sys
kernel = subprocess.Popen([sys.argv[1], "jupyter", "kernel", "-f", sys.argv[2]])
print(kernel.pid, flush=True)
sys.stdin.read()
os._exit(1)
"""
    starter = subprocess.Popen(
        [sys.executable, "-c", program, PROGRAM, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "JPY_PARENT_PID": "1"},
    )
    pid = int(starter.stdout.readline())
    client = connect(file)
    alive(client)
    starter.stdin.close()
    starter.wait(timeout=20)
    deadline = time.monotonic() + 20
    while pathlib.Path(f"/proc/{pid}/exe").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    gone = not pathlib.Path(f"/proc/{pid}/exe").exists()
    client.stop_channels()
    assert gone


def test_heartbeats_come_back_as_they_were_sent(kernel):
    manager, _ = kernel
    info = manager.get_connection_info()
    beat = zmq.Context.instance().socket(zmq.REQ)
    beat.connect(f"tcp://{info['ip']}:{info['hb_port']}")
    try:
        for text in (b"ping", b"", b"\x00\xff"):
            beat.send(text)
            assert beat.poll(5000) and beat.recv() == text
    finally:
        beat.close(linger=0)


def test_a_session_without_a_key_works(tmp_path):
    file, _ = connection_file(tmp_path, key="")
    kernel = start(file)
    client = connect(file)
    try:
        alive(client)
    finally:
        client.shutdown()
        _, error = kernel.communicate(timeout=60)
        client.stop_channels()
    assert "has no key" in error
