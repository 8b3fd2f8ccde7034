"""Writes tests/fixtures/exchange: npz files of NumPy, and what public evaluators measure from them.

    pip install numpy scipy torch
    python tests/parity/exchange.py evaluator.py fid_score.py tests/fixtures/exchange

The first file is `evaluations/evaluator.py` of openai/guided-diffusion, the second `src/pytorch_fid/fid_score.py` of
mseitzer/pytorch-fid. Their own code computes everything; only TensorFlow, which multiplies matrices in float32 in ADM's
distances, and the networks are replaced.
"""

import importlib.util
import json
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch


def public(path, absent):
    """Imports a public source file without the packages that it does not need here."""
    for name in absent:
        sys.modules[name] = MagicMock()
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Distances:
    """Stands for ADM's DistanceBlock: squared distances from products in float32, and comparisons with radii."""

    def pairwise_distances(self, u, v):
        norms = lambda x: (x * x).sum(1, dtype=np.float32)
        return np.maximum(norms(u)[:, None] - 2 * (u @ v.T) + norms(v)[None], np.float32(0))

    def less_thans(self, one, radii_one, two, radii_two):
        distances = self.pairwise_distances(one, two)[..., None]
        return (distances <= radii_two).any(1), (distances <= radii_one[:, None]).any(0)


def main():
    adm_path, fid_path, folder = sys.argv[1:]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    adm = public(adm_path, ["tensorflow", "tensorflow.compat", "tensorflow.compat.v1", "requests"])
    fid_score = public(fid_path, ["torchvision", "torchvision.transforms", "pytorch_fid", "pytorch_fid.inception"])
    manifold = adm.ManifoldEstimator.__new__(adm.ManifoldEstimator)
    manifold.distance_block = Distances()
    # Several batches, unequal ones too.
    settings = dict(row_batch_size=150, col_batch_size=110, nhood_sizes=(3,), num_nhoods=1, clamp_to_percentile=None, eps=1e-5)
    vars(manifold).update(settings)
    evaluator = adm.Evaluator.__new__(adm.Evaluator)
    evaluator.manifold_estimator = manifold

    rng = np.random.default_rng(4)
    draw = lambda count, width, shift, scale: (rng.normal(size=(count, width)) @ np.linspace(0.5, 1.5, width * width).reshape(width, width) * 0.1 + scale * rng.normal(size=(count, width)) + shift).astype(np.float32)
    real, made = draw(400, 12, 0.0, 1.0), draw(370, 12, 0.3, 0.8)
    real_s, made_s = draw(400, 20, 0.0, 1.0), draw(370, 20, -0.2, 1.1)
    whole = lambda count: rng.integers(-3, 4, size=(count, 6)).astype(np.float32)
    whole_real, whole_made = whole(160), whole(130) * np.float32(2)

    statistics = [evaluator.compute_statistics(x.astype(np.float64)) for x in (real, made, real_s, made_s)]
    images = rng.integers(0, 256, size=(9, 6, 5, 3), dtype=np.uint8)
    labels = rng.integers(0, 4, size=9)
    r, m, r_s, m_s = statistics
    np.savez_compressed(folder / "reference.npz", arr_0=images, arr_1=labels, mu=r.mu, sigma=r.sigma, mu_s=r_s.mu, sigma_s=r_s.sigma)
    np.savez_compressed(folder / "pytorch_fid.npz", mu=m.mu, sigma=m.sigma)

    x = torch.from_numpy(rng.uniform(-1.1, 1.1, size=(3, 3, 4, 5)).astype(np.float32))
    dit = torch.clamp(127.5 * x + 128.0, 0, 255).permute(0, 2, 3, 1).to("cpu", dtype=torch.uint8).numpy()
    adm_bytes = ((x + 1) * 127.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    np.savez(folder / "numbers.npz", real=real, made=made, real_s=real_s, made_s=made_s, whole_real=whole_real, whole_made=whole_made, x=x.numpy(), dit=dit, adm=adm_bytes)

    # Two constant dimensions: the product of the covariances is singular.
    flat = lambda x: np.concatenate([x, np.ones((len(x), 2), np.float32)], 1).astype(np.float64)
    flat_real, flat_made = (evaluator.compute_statistics(flat(x)) for x in (real, made))
    precision, recall = evaluator.compute_prec_recall(real, made)
    whole_precision, whole_recall = evaluator.compute_prec_recall(whole_real, whole_made)
    found = {
        "fid": m.frechet_distance(r),
        "fid_pytorch": fid_score.calculate_frechet_distance(m.mu, m.sigma, r.mu, r.sigma),
        "fid_constant": flat_made.frechet_distance(flat_real),
        "sfid": m_s.frechet_distance(r_s),
        "precision": precision,
        "recall": recall,
        "whole_precision": whole_precision,
        "whole_recall": whole_recall,
    }
    (folder / "measured.json").write_text(json.dumps({k: float(v) for k, v in found.items()}, indent=1) + "\n")
    print(json.dumps({k: float(v) for k, v in found.items()}, indent=1))


if __name__ == "__main__":
    main()
