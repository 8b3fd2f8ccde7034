"""Wheel in a fresh environment: scripts, the prompt, a cell, the doctor, another PyTorch, and its removal."""

import json
import re
import zipfile

from conftest import TORCH, WHEEL, Environment


def test_the_wheel_says_what_it_needs_and_is_small():
    assert re.fullmatch(r"spectral-[\d.]+-py3-none-manylinux_2_\d+_(x86_64|aarch64)\.whl", WHEEL.name)
    assert WHEEL.stat().st_size < 25_000_000
    with zipfile.ZipFile(WHEEL) as archive:
        names = archive.namelist()
        metadata = archive.read(next(n for n in names if n.endswith("METADATA"))).decode()
    assert "Requires-Dist: torch==2.11.0" in metadata
    assert "Requires-Python: >=3.10" in metadata
    # A module of this name would hide another package's module.
    assert not any(name.startswith("spectral/") for name in names)


def test_a_script_trains(installed):
    (installed.home / "a.rhai").write_text(
        """
        let model = model::dit(#{ preset: "fashion_tiny", depth: 1, corrections: [correction(filter::gaussian(), gate::time())] });
        let images = data::fashion_mnist(#{ split: "test" });
        let run = train::fit(model, images, #{ steps: 2, batch: 8, out: "run" });
        print(`trained ${run.ema.parameters().len} tensors`);
        """
    )
    done = installed.call("spectral", "run", "a.rhai")
    assert done.returncode == 0 and "trained" in done.stdout, done.stdout + done.stderr
    assert (installed.home / "run").is_dir()


def test_the_prompt_and_its_version(installed):
    done = installed.call("spectral-repl", input="1 + 1\nfilter::gaussian().name\n")
    assert done.returncode == 0 and done.stdout.split() == ["2", '"gaussian"'], done.stdout + done.stderr
    assert installed.call("spectral-repl", "--version").stdout.startswith("spectral")


def test_the_doctor_finds_the_torch_of_the_environment(installed):
    done = installed.call("spectral", "doctor", "--json", "--device", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["libtorch"]["state"] == "ok"
    assert str(TORCH.resolve()) in findings["libtorch"]["found"]
    assert findings["kernel"]["state"] == "ok"
    assert str(installed.folder / "bin/spectral") in findings["kernel"]["found"]


def test_a_cell_runs_in_jupyter(installed, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", str(installed.folder / "share/jupyter"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="spectral", startup_timeout=60)
    try:
        shown = []
        client.execute_interactive("tensor::ones([2, 3]).sum()", output_hook=shown.append, timeout=60)
        results = [m["content"]["data"]["text/plain"] for m in shown if m["msg_type"] == "execute_result"]
        assert results and "6" in results[0], shown
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_kernel_installed_by_hand_starts_what_is_on_the_path(installed):
    done = installed.call("spectral", "jupyter", "install", "--prefix", str(installed.home / "prefix"))
    assert done.returncode == 0, done.stderr
    spec = json.loads((installed.home / "prefix/share/jupyter/kernels/spectral/kernel.json").read_text())
    assert spec["argv"][0] == str(installed.folder / "bin/spectral")


def test_another_torch_is_one_sentence(tmp_path):
    environment = Environment(tmp_path / "environment")
    assert environment.pip("install", "--no-index", "--no-deps", str(WHEEL)).returncode == 0
    without = environment.call("spectral", "info")
    assert without.returncode == 1
    assert without.stderr.startswith("error: spectral runs on PyTorch 2.11.0, found none in"), without.stderr
    assert "-m pip install torch==2.11.0" in without.stderr
    assert "symbol" not in without.stderr and len(without.stderr.splitlines()) == 2
    # A libtorch that the user names works as well.
    named = environment.call("spectral", "info", "--json", env={"LIBTORCH": str(TORCH)})
    assert named.returncode == 0, named.stderr
    (environment.packages / "torch").mkdir()
    (environment.packages / "torch/version.py").write_text("__version__ = '2.9.1+cu128'\n")
    other = environment.call("spectral-repl")
    assert other.returncode == 1 and "found 2.9.1+cu128 in" in other.stderr, other.stderr


def test_nothing_stays_behind(installed):
    """Checks that uninstalling removes everything. It must run last."""
    done = installed.pip("uninstall", "--yes", "spectral")
    assert done.returncode == 0, done.stderr
    left = {path for path in installed.files() - installed.before if (installed.folder / path).is_file()}
    assert not left, left
