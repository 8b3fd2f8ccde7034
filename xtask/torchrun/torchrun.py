"""torchrun of PyTorch, whose CUDA libraries may be stand-ins that `cargo xtask` compiled beside this file."""

import ctypes
import pathlib
import sys
import warnings

folder = pathlib.Path(__file__).parent
# Loaded by path and not found by LD_LIBRARY_PATH, which the ranks would inherit.
for library in sorted(folder.glob("absent/*")):
    ctypes.CDLL(str(library))
# PyTorch's folder belongs to the builds, so its bytecode is kept elsewhere.
sys.dont_write_bytecode = False
sys.pycache_prefix = str(folder / "bytecode")
warnings.filterwarnings("ignore", "Failed to initialize NumPy")

from torch.distributed.run import main  # noqa: E402

main()
