"""Measures the evaluation of `spectral bench` in torch-fidelity: Inception features of a batch, and metrics of features.

Prints one JSON line per run, with the same keys. `cargo xtask bench --metrics` runs both in turn and prints the ratios.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Inception
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from pytorch import PRESETS, forget_peak, resident

COUNT, WIDTH = 5000, 2048


def network():
    """Returns torch-fidelity's Inception with random weights. It requires a file of weights, so it gets an empty one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.pth"
        torch.save({}, path)
        load, Inception.load_state_dict = Inception.load_state_dict, lambda self, state: None
        net = Inception("random", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path))
        Inception.load_state_dict = load
    return net


class Bench:
    def __init__(self, a: argparse.Namespace) -> None:
        self.a, self.before = a, resident("VmRSS")
        side = PRESETS[a.preset][0]
        self.net = network().to(a.device).eval()
        self.images = torch.randint(0, 256, (a.batch, 3, side, side), dtype=torch.uint8, device=a.device)
        self.real, self.made = torch.randn(COUNT, WIDTH).abs(), torch.randn(COUNT, WIDTH).abs() + 0.1

    def inception(self) -> None:
        with torch.no_grad():
            self.net(self.images)

    def fid(self) -> None:
        statistics = [fid_features_to_statistics(features) for features in (self.real, self.made)]
        fid_statistics_to_metric(*statistics, False)

    def kid(self) -> None:
        kid_features_to_metric(self.real, self.made, kid_subsets=100, kid_subset_size=1000, verbose=False)

    def precision_recall(self) -> None:
        prc_features_to_metric(self.real, self.made, prc_neighborhood=3, verbose=False)

    def once(self, what: str) -> dict:
        start, used = time.perf_counter(), time.process_time()
        getattr(self, what)()
        if self.a.device == "cuda":
            torch.cuda.synchronize()
        ms, cpu_ms = (time.perf_counter() - start) * 1e3, (time.process_time() - used) * 1e3
        peak = max(resident("VmHWM") - self.before, 0) / 2**30
        return dict(what=what, batch=self.a.batch, ms=round(ms, 3), cpu_ms=round(cpu_ms, 3), peak_gib=round(peak, 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--preset", default="cifar10_small", choices=list(PRESETS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--what", default="inception,fid,kid,precision_recall")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--serve", action="store_true", help="one run for each line of the input that names a kind")
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    bench, kinds = Bench(a), a.what.split(",")
    for what in kinds:
        for _ in range(max(a.warmup, 1)):
            bench.once(what)
    forget_peak()
    if a.serve:
        print(json.dumps({"ready": kinds}), flush=True)
    for what in (line.strip() for line in sys.stdin) if a.serve else kinds:
        print(json.dumps(bench.once(what)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
