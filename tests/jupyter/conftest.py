"""Shared by the notebook tests: the program, a temporary kernelspec, and a running kernel.

`cargo xtask notebooks` sets SPECTRAL to the program under test. By default it is the one in the target folder.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SPECTRAL") or str(ROOT / "target" / "debug" / "spectral")

# Set before Jupyter is imported, so that it finds kernels only here and not in the user's folders.
PREFIX = tempfile.mkdtemp(prefix="spectral-jupyter-")
os.environ["JUPYTER_DATA_DIR"] = f"{PREFIX}/share/jupyter"
os.environ["JUPYTER_RUNTIME_DIR"] = f"{PREFIX}/runtime"
os.environ["JUPYTER_CONFIG_DIR"] = f"{PREFIX}/config"
os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
subprocess.run([PROGRAM, "jupyter", "install", "--prefix", PREFIX], check=True, stdout=subprocess.DEVNULL)

from jupyter_client.manager import start_new_kernel  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture
def kernel():
    """Yields the manager and a client of a fresh kernel."""
    manager, client = start_new_kernel(kernel_name="spectral", startup_timeout=120)
    yield manager, client
    client.stop_channels()
    if manager.is_alive():
        manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def client():
    """Yields a client of a kernel that the tests of a file share."""
    manager, client = start_new_kernel(kernel_name="spectral", startup_timeout=120)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
