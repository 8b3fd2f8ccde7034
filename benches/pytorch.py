"""Measures the same network as `spectral bench`, in PyTorch.

Prints one JSON line per measurement, with the same keys. `cargo xtask bench` runs both in turn and prints the ratios.

The network is DiT with adaLN-Zero blocks (arXiv 2212.09748) and, with a gate, SpectralDiT's correction of the MLP
residual (arXiv 2606.18765), written in the usual PyTorch style: the low-pass filter is a depth-wise convolution.
"""

import argparse
import contextlib
import json
import math
import statistics
import sys
import time
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

# image side, patch side, channels, classes, blocks, width, heads
PRESETS = {
    "fashion_tiny": (28, 2, 1, 10, 4, 128, 4),
    "cifar10_small": (32, 1, 3, 10, 8, 192, 4),
    "cifar10_base": (32, 1, 3, 10, 12, 384, 6),
    "imagenet100_s2": (32, 2, 4, 100, 12, 384, 6),
    "DiT-S/2": (32, 2, 4, 1000, 12, 384, 6),
    "DiT-B/2": (32, 2, 4, 1000, 12, 768, 12),
    "DiT-L/2": (32, 2, 4, 1000, 24, 1024, 16),
    "DiT-XL/2": (32, 2, 4, 1000, 28, 1152, 16),
}
GATES = ("none", "time", "time_label", "static")
MODES = ("eager", "compile", "max-autotune-no-cudagraphs", "reduce-overhead")


@dataclass
class Size:
    side: int
    patch: int
    channels: int
    classes: int
    blocks: int
    width: int
    heads: int

    @property
    def grid(self) -> int:
        return self.side // self.patch


def positions(width: int, grid: int) -> torch.Tensor:
    """Returns the fixed embedding of rows and columns, [grid * grid, width]: a quarter each of sines and cosines."""
    waves = 10000.0 ** (-torch.arange(width // 4) / (width // 4))
    rows, columns = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    angles = [place.reshape(-1, 1) * waves for place in (rows, columns)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


def modulated(x, shift, scale):
    x = F.layer_norm(x, x.shape[-1:], eps=1e-6)
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


def low_pass(tokens, kernel, grid: int):
    """Blurs the token grid [B, N, D] with a binomial filter. Edge tokens are repeated as padding."""
    b, n, d = tokens.shape
    image = tokens.transpose(1, 2).reshape(b, d, grid, grid)
    image = F.pad(image, (2, 2, 2, 2), mode="replicate")
    image = F.conv2d(image, kernel.to(image.dtype).expand(d, 1, 5, 5), groups=d)
    return image.reshape(b, d, n).transpose(1, 2)


class Block(nn.Module):
    def __init__(self, size: Size, gate: str) -> None:
        super().__init__()
        d = size.width
        self.size, self.gate = size, gate
        self.modulation = nn.Linear(d, 6 * d)
        self.qkv, self.projection = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.q_norm, self.k_norm = nn.RMSNorm(d // size.heads), nn.RMSNorm(d // size.heads)
        self.inner, self.outer = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        if gate == "static":
            self.logits = nn.Parameter(torch.zeros(2))
        elif gate != "none":
            self.coefficients = nn.Sequential(nn.Linear(d, d // 4), nn.SiLU(), nn.Linear(d // 4, 2))
        taps = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        self.register_buffer("kernel", torch.outer(taps, taps), persistent=False)

    def attention(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.size.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        q = F.rms_norm(q, q.shape[-1:], self.q_norm.weight.to(q.dtype))
        k = F.rms_norm(k, k.shape[-1:], self.k_norm.weight.to(k.dtype))
        return self.projection(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))

    def forward(self, x, condition, time_condition):
        a_shift, a_scale, a_gate, m_shift, m_scale, m_gate = self.modulation(F.silu(condition)).chunk(6, dim=-1)
        x = x + a_gate.unsqueeze(1) * self.attention(modulated(x, a_shift, a_scale))
        inner = F.gelu(self.inner(modulated(x, m_shift, m_scale)), approximate="tanh")
        residual = m_gate.unsqueeze(1) * self.outer(inner)
        if self.gate == "none":
            return x + residual
        if self.gate == "static":
            g = self.logits.expand(x.shape[0], 2)
        else:
            g = self.coefficients(time_condition if self.gate == "time" else condition)
        g_low, g_high = torch.tanh(g)[:, :, None, None].unbind(1)
        low = low_pass(residual, self.kernel, self.size.grid)
        return x + residual + g_low * low + g_high * (residual - low)


class DiT(nn.Module):
    def __init__(self, size: Size, gate: str) -> None:
        super().__init__()
        d = size.width
        self.size = size
        self.patches = nn.Conv2d(size.channels, d, size.patch, stride=size.patch)
        self.time = nn.Sequential(nn.Linear(256, d), nn.SiLU(), nn.Linear(d, d))
        self.labels = nn.Embedding(size.classes + 1, d)
        self.blocks = nn.ModuleList(Block(size, gate) for _ in range(size.blocks))
        self.last_modulation = nn.Linear(d, 2 * d)
        self.last = nn.Linear(d, size.patch**2 * size.channels)
        self.register_buffer("positions", positions(d, size.grid), persistent=False)
        self.register_buffer("waves", torch.exp(-math.log(10000.0) * torch.arange(128) / 128), persistent=False)

    def forward(self, x, t, y):
        size = self.size
        if self.training:
            y = torch.where(torch.rand(y.shape, device=y.device) < 0.1, size.classes, y)
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = tokens + self.positions.to(tokens.dtype)
        angles = t[:, None].float() * self.waves
        time_condition = self.time(torch.cat([angles.cos(), angles.sin()], dim=-1))
        condition = time_condition + self.labels(y)
        for block in self.blocks:
            tokens = block(tokens, condition, time_condition)
        shift, scale = self.last_modulation(F.silu(condition)).chunk(2, dim=-1)
        out = self.last(modulated(tokens, shift, scale))
        g, p, c = size.grid, size.patch, size.channels
        return out.reshape(-1, g, g, p, p, c).permute(0, 5, 1, 3, 2, 4).reshape(-1, c, g * p, g * p)


def resident(name: str) -> int:
    """Returns a field of /proc/self/status in bytes, or 0 if there is none."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name + ":"))
    except (OSError, StopIteration):
        return 0


def forget_peak() -> None:
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


class Bench:
    def __init__(self, a: argparse.Namespace) -> None:
        self.a, self.device = a, a.device
        size = replace(Size(*PRESETS[a.preset]), **sizes(a.sizes))
        self.before = resident("VmRSS")
        self.model = DiT(size, a.gate).to(a.device)
        for p in self.model.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)
        self.network = self.model
        if a.mode != "eager":
            self.network = torch.compile(self.model, mode=None if a.mode == "compile" else a.mode)
        self.images = torch.randn(a.batch, size.channels, size.side, size.side, device=a.device)
        self.labels = torch.randint(0, size.classes, (a.batch,), device=a.device)
        self.parameters = list(self.model.parameters())
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, fused=True)

    def precision(self):
        return torch.autocast("cuda", dtype=torch.bfloat16) if self.device == "cuda" else contextlib.nullcontext()

    def attention(self):
        return sdpa_kernel(SDPBackend.CUDNN_ATTENTION) if self.a.sdpa == "cudnn" else contextlib.nullcontext()

    def train(self) -> None:
        t = torch.rand(self.a.batch, device=self.device)
        noise, s = torch.randn_like(self.images), t.view(-1, 1, 1, 1)
        with self.precision(), self.attention():
            velocity = self.network((1 - s) * noise + s * self.images, t, self.labels)
        F.mse_loss(velocity.float(), self.images - noise).backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        torch._foreach_lerp_(self.average, self.parameters, 1e-4)

    def forward(self) -> None:
        with torch.no_grad(), self.precision(), self.attention():
            self.network(self.images, torch.full((self.a.batch,), 0.5, device=self.device), self.labels)

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def prepare(self, what: str) -> None:
        """Runs the warm-up and resets the peak memory statistics."""
        self.model.train(what == "train")
        for _ in range(max(self.a.warmup, 1)):
            getattr(self, what)()
        self.wait()
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            forget_peak()

    def once(self, what: str) -> tuple[float, float]:
        """Returns the wall time and the CPU time of all processors of one run, in milliseconds."""
        self.model.train(what == "train")
        start, used = time.perf_counter(), time.process_time()
        getattr(self, what)()
        self.wait()
        return (time.perf_counter() - start) * 1e3, (time.process_time() - used) * 1e3

    def row(self, what: str, runs: list[tuple[float, float]]) -> dict:
        times, used = zip(*runs)
        cuda = self.device == "cuda"
        peak = torch.cuda.max_memory_allocated() if cuda else max(resident("VmHWM") - self.before, 0)
        return dict(
            what=what, preset=self.a.preset, gate=self.a.gate, batch=self.a.batch, mode=self.a.mode,
            sdpa=self.a.sdpa, device=torch.cuda.get_device_name() if cuda else f"cpu x{torch.get_num_threads()}",
            torch=torch.__version__, ms=round(statistics.median(times), 3), min=round(min(times), 3),
            max=round(max(times), 3), cpu_ms=round(statistics.median(used), 3), peak_gib=round(peak / 2**30, 3),
        )


# Names of the sizes in `spectral bench`.
NAMES = dict(image_size="side", patch_size="patch", depth="blocks", hidden_size="width", num_heads="heads")


def sizes(text: str) -> dict:
    pairs = (part.split("=") for part in text.split(",") if part)
    return {NAMES[name]: int(number) for name, number in pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", default="cifar10_small", choices=list(PRESETS))
    parser.add_argument("--with", dest="sizes", default="", help="sizes other than the preset's: depth=8,hidden_size=256")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--mode", default="eager", choices=MODES)
    parser.add_argument("--gate", default="none", choices=GATES)
    parser.add_argument("--sdpa", default="default", choices=["default", "cudnn"])
    parser.add_argument("--what", default="train,forward")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--serve", action="store_true", help="one run for each line of the input that names a kind")
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    torch.set_float32_matmul_precision("high")
    bench = Bench(a)
    kinds = a.what.split(",")
    if a.serve:
        for what in kinds:
            bench.prepare(what)
        print(json.dumps({"ready": kinds}), flush=True)
        for line in sys.stdin:
            print(json.dumps(bench.row(line.strip(), [bench.once(line.strip())])), flush=True)
        return
    for what in kinds:
        bench.prepare(what)
        print(json.dumps(bench.row(what, [bench.once(what) for _ in range(a.runs)])), flush=True)


if __name__ == "__main__":
    sys.exit(main())
