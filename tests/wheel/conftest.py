"""Fresh environment with the wheel installed.

`cargo xtask wheel --test` sets SPECTRAL_WHEEL to the wheel and SPECTRAL_TORCH to the `torch` folder of PyTorch 2.11. The
folder takes a gigabyte, so it is linked into the environment, which is enough for the wheel to find it.
"""

import os
import pathlib
import subprocess
import sys

import pytest

WHEEL = pathlib.Path(os.environ["SPECTRAL_WHEEL"])
TORCH = pathlib.Path(os.environ["SPECTRAL_TORCH"])


class Environment:
    """Python environment that calls programs as on a machine without Rust, a compiler and a clone."""

    def __init__(self, folder):
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        self.packages = next((folder / "lib").glob("python3.*")) / "site-packages"
        self.home = folder / "home"
        self.home.mkdir()

    def link_torch(self):
        """Links PyTorch and the NVIDIA libraries that it needs, in place of `pip install torch`."""
        (self.packages / "torch").symlink_to(TORCH)
        nvidia = TORCH.resolve().parent / "nvidia"
        if nvidia.exists() and not (self.packages / "nvidia").exists():
            (self.packages / "nvidia").symlink_to(nvidia)

    def pip(self, *arguments):
        """Runs the environment's pip, without its version check over the network."""
        command = [self.folder / "bin/python", "-m", "pip", "--disable-pip-version-check", *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    def call(self, program, *arguments, **more):
        """Runs a program of the environment, isolated from the settings of this machine."""
        environment = {
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            **more.pop("env", {}),
        }
        command = [self.folder / "bin" / program, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=self.home, **more)

    def files(self):
        """Returns all files and folders, except bytecode caches and the home folder."""
        return {
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if "__pycache__" not in path.parts and "home" not in path.relative_to(self.folder).parts
        }


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Returns an environment with PyTorch and the wheel."""
    environment = Environment(tmp_path_factory.mktemp("wheel") / "environment")
    environment.link_torch()
    environment.before = environment.files()
    done = environment.pip("install", "--no-index", "--no-deps", str(WHEEL))
    assert done.returncode == 0, done.stderr
    return environment
