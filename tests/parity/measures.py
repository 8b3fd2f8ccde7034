"""Writes measures.json, inception.safetensors and means.pt: reference results of other implementations.

    pip install torch==2.11.0 torchvision==0.26.0 torch-fidelity==0.4.0 numpy scipy safetensors
    python tests/parity/measures.py tests/fixtures

The distances come from torch-fidelity and SciPy, or from the papers' definitions in plain NumPy, for the features in
metrics_float64.safetensors. The network is torch-fidelity's `inception-v3-compat` with weights from a formula, so
that the file holds only the network's outputs for a few images; the test computes the same weights.
"""

import json
import sys
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.stats
import torch
from safetensors.numpy import load_file, save_file
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_kid import kernel_mmd


def squared_distances(a, b):
    return np.stack([((row - b) ** 2).sum(1) for row in a])


def kid_of_unequal(a, b):
    """Returns the unbiased MMD^2 with the kernel (x.y / D + 1)^3, computed by its definition."""
    k = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3
    own = lambda x: (k(x, x).sum() - np.trace(k(x, x))) / (len(x) * (len(x) - 1))
    return own(a) + own(b) - 2 * k(a, b).mean()


def density_coverage(real, made, k):
    """Returns density and coverage by equations 4 and 5 of Naeem et al. 2020."""
    radii = np.sort(np.sqrt(squared_distances(real, real)), axis=1)[:, k]
    distances = np.sqrt(squared_distances(real, made))
    inside = distances <= radii[:, None]
    return inside.sum() / (k * len(made)), inside.any(1).mean()


def gaussian_mmd(a, b, sigma=10.0, scale=1000.0):
    """Returns the biased MMD estimate of Jayasumana et al. 2024, with vectors normalized to length one."""
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    a, b = unit(a), unit(b)
    mean = lambda x, y: np.exp(-squared_distances(x, y) / (2 * sigma**2)).mean()
    return scale * (mean(a, a) + mean(b, b) - 2 * mean(a, b))


def frechet_singular(a, b):
    """Returns the Frechet distance to 50 digits for fewer samples than dimensions, via a matrix with equal singular values."""
    import mpmath

    mpmath.mp.dps = 50
    m, n = a.mean(0), b.mean(0)
    a, b = (a - m) / np.sqrt(len(a) - 1), (b - n) / np.sqrt(len(b) - 1)
    # tr (S T)^(1/2) is the nuclear norm of A B^T where S = A^T A and T = B^T B.
    cross = mpmath.matrix((a @ b.T).tolist())
    root = sum(mpmath.svd_r(cross, compute_uv=False))
    return float(((m - n) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * float(root))


def numbers(arrays):
    a, b = arrays["features_real"], arrays["features_fake"]
    statistics = lambda x: {"mu": x.mean(0), "sigma": np.cov(x, rowvar=False)}
    fid = fid_statistics_to_metric(statistics(a), statistics(b), False)["frechet_inception_distance"]
    density, coverage = density_coverage(a, b, 5)
    few_a, few_b = a[:15], b[:12]
    x = np.array([0.31, 0.28, 0.35, 0.30, 0.33])
    y = np.array([0.27, 0.29, 0.30, 0.26, 0.31])
    t = scipy.stats.ttest_rel(x, y)
    flips = scipy.stats.permutation_test((x, y), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", vectorized=True)
    return {
        "fid": float(fid),
        "fid_singular": frechet_singular(few_a, few_b),
        "kid_of_260": float(kernel_mmd(a[:260], b[:260])),
        "kid_of_all": float(kid_of_unequal(a, b)),
        "density": float(density),
        "coverage": float(coverage),
        "mmd": float(gaussian_mmd(a, b)),
        "paired": {"x": x.tolist(), "y": y.tolist(), "t": float(t.statistic), "p": float(t.pvalue), "p_flips": float(flips.pvalue)},
    }


def pattern(index, count):
    """Returns values in [-1, 1) that every language can reproduce: the finalizer of SplitMix64, by tensor and position."""
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) + np.uint64(index) * np.uint64(1 << 32)
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1


def weights(shapes):
    """Returns weights by name in alphabetical order, scaled so that activations keep their size from layer to layer."""
    made = {}
    for index, (name, shape) in enumerate(sorted(shapes.items())):
        u = pattern(index, int(np.prod(shape))).reshape(shape)
        if name.endswith("conv.weight"):
            u = u * np.sqrt(6 / np.prod(shape[1:]))
        elif name.endswith(("bn.weight", "running_var")):
            u = 1 + 0.25 * u
        elif name == "fc.weight":
            u = u * np.sqrt(6 / shape[1])
        else:
            u = 0.1 * u
        made[name] = u.astype(np.float32)
    return made


class Network(FeatureExtractorInceptionV3):
    def __init__(self, path):
        super().__init__("compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=path)


def images(index, shape):
    return ((pattern(1000 + index, int(np.prod(shape))) + 1) * 128).astype(np.uint8).reshape(shape)


def network(folder):
    # `load_state_dict` is replaced to read the shapes of the weights from the network itself.
    shapes = {}
    load = FeatureExtractorInceptionV3.load_state_dict
    FeatureExtractorInceptionV3.load_state_dict = lambda self, state: shapes.update(
        {k: tuple(v.shape) for k, v in self.state_dict().items() if not k.endswith("num_batches_tracked")}
    )
    path = folder / "unused.pth"
    torch.save({}, path)
    Network(path)
    FeatureExtractorInceptionV3.load_state_dict = load
    torch.save({k: torch.from_numpy(v) for k, v in weights(shapes).items()}, path)
    FeatureExtractorInceptionV3.load_state_dict = lambda self, state: load(self, state, strict=False)
    net = Network(path)
    FeatureExtractorInceptionV3.load_state_dict = load
    path.unlink()
    return net


def inception(folder):
    net = network(folder)
    spatial = []
    net.Mixed_6d.branch1x1.register_forward_hook(lambda _m, _i, out: spatial.append(out[:, :7].flatten(1).clone()))
    out = {}
    # Smaller than the network's 299 x 299, larger, and not square.
    for name, index, shape in (("small", 0, (2, 3, 32, 32)), ("tall", 1, (1, 3, 340, 310))):
        with torch.no_grad():
            features, logits = net(torch.from_numpy(images(index, shape)))
        out |= {f"{name}.features": features, f"{name}.logits": logits, f"{name}.spatial": spatial.pop()}
        print(name, {k: (tuple(v.shape), float(v.std())) for k, v in out.items() if k.startswith(name)})
    save_file({k: v.contiguous().numpy() for k, v in out.items()}, folder / "inception.safetensors")


class Means(torch.nn.Module):
    """Network for the TorchScript test: returns the means of the channels and two logits."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[1.0, 2.0, 3.0], [-1.0, 0.5, 0.0]]))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        means = x.mean([2, 3])
        return {"features": means, "logits": means @ self.weight.T}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = numbers(load_file(folder / "metrics_float64.safetensors"))
    (folder / "measures.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    torch.jit.script(Means()).save(folder / "means.pt")
    inception(folder)
