"""Runs the samplers of the public code of DiT and SiT on small models.

    python tests/parity/samplers.py DIT SIT

DIT and SIT are checkouts of facebookresearch/DiT and willisma/SiT. Needs torch, timm, torchdiffeq, scipy and safetensors. Writes to
`tests/fixtures/families`: a DiT that the public code trained, since the samples of an untrained one are too large to show their noise,
and the samples of both programs. Noise is drawn once and stored, so that another program can use the same.
"""

import importlib
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

FOLDER = Path(__file__).parent.parent / "fixtures" / "families"
LABELS = torch.tensor([1, 3])
SHAPE = (2, 4, 8, 8)


def use(repository):
    """Imports from another checkout than before."""
    for name in [n for n in sys.modules if n.split(".")[0] in ("models", "diffusion", "transport")]:
        del sys.modules[name]
    sys.path[0] = repository


def trained(diffusion):
    """Trains a DiT for a minute on blurred noise around a level for each class."""
    torch.manual_seed(0)
    settings = dict(input_size=8, patch_size=2, in_channels=4, hidden_size=32, depth=1, num_heads=2, num_classes=5)
    net = importlib.import_module("models").DiT(**settings, mlp_ratio=2.0)
    process = diffusion.create_diffusion("")
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.0)
    for _ in range(1500):
        y = torch.randint(5, (32,))
        coarse = torch.nn.functional.interpolate(torch.randn(32, 4, 3, 3), 8, mode="bilinear")
        x = 0.5 * coarse + (y.float() / 5 - 0.4).reshape(-1, 1, 1, 1)
        loss = process.training_losses(net, x, torch.randint(1000, (32,)), dict(y=y))["loss"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"loss of the DiT: {loss.item():.3f}")
    net.eval()
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, FOLDER / "dit_trained.safetensors")
    return net


def sit_model():
    settings = dict(input_size=8, patch_size=2, in_channels=4, hidden_size=48, depth=2, num_heads=3, num_classes=5)
    net = importlib.import_module("models").SiT(**settings, mlp_ratio=4.0, learn_sigma=True)
    net.load_state_dict(torch.load(FOLDER / "sit.training.pt", weights_only=False)["ema"])
    net.eval()
    fixture = load_file(FOLDER / "sit.safetensors")
    with torch.no_grad():
        difference = net(fixture["x"], fixture["t"], fixture["y"]) - fixture["output"]
    assert difference.abs().max() < 1e-5, difference.abs().max()
    return net


class Given:
    """Stands for a function of torch that draws numbers and returns the given ones, one call after another."""

    def __init__(self, module, name, numbers):
        self.module, self.name, self.numbers = module, name, list(numbers)

    def __enter__(self):
        self.usual = getattr(self.module, self.name)
        setattr(self.module, self.name, lambda *_, **__: self.numbers.pop(0))
        return self

    def __exit__(self, *_):
        setattr(self.module, self.name, self.usual)


def save(name, tensors, cases):
    tensors = {key: value.detach().contiguous() for key, value in tensors.items()}
    assert all(value.isfinite().all() for value in tensors.values())
    save_file(tensors, FOLDER / name, {"cases": json.dumps(cases)})
    for key, value in tensors.items():
        print(name, key, list(value.shape), f"{value.double().abs().mean():.3f}")


def dit(repository):
    use(repository)
    diffusion = importlib.import_module("diffusion")
    net = trained(diffusion)
    spaced = importlib.import_module("diffusion.respace").space_timesteps
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(SHAPE, generator=generator)
    step_noise = torch.randn((50, *SHAPE), generator=generator)
    cases, tensors = [], {"noise": noise, "step_noise": step_noise}
    # A number for each number of steps that depends on all of them and their order.
    sums = [sum((i + 1) * step for i, step in enumerate(sorted(spaced(1000, str(n))))) for n in range(1, 1001)]
    tensors["spaced"] = torch.tensor(sums)
    strides = {}
    for n in range(1, 1001):
        try:
            strides[n] = sorted(spaced(1000, f"ddim{n}"))[1]
        except ValueError:
            pass
    for sampler in ("ddpm", "ddim"):
        for respacing in ("50", "ddim50", "7"):
            for guidance in (1.0, 4.0):
                for extra in extras(sampler):
                    if respacing != "50" and (extra or guidance == 1.0):
                        continue
                    case = dict(sampler=sampler, respacing=respacing, guidance=guidance, **extra)
                    name = " ".join(str(value) for value in case.values())
                    tensors[name] = sampled(net, diffusion, noise, step_noise, **case)
                    cases.append(dict(name=name, **case))
    tensors |= losses(net, diffusion)
    save("dit_samplers.safetensors", tensors, dict(cases=cases, strides=strides))


def losses(net, diffusion):
    """Computes the loss of a batch, its parts, and the gradient of the last layer."""
    generator = torch.Generator().manual_seed(2)
    x, noise = (torch.randn((4, *SHAPE[1:]), generator=generator) for _ in range(2))
    # Also images at both ends of the range, which the first step treats in another way.
    x = (0.8 * x).clamp(-1, 1)
    steps = torch.tensor([0, 1, 400, 999])
    terms = diffusion.create_diffusion("").training_losses(net, x, steps, dict(y=torch.arange(4)), noise)
    weight = net.final_layer.linear.weight
    gradient = torch.autograd.grad(terms["loss"].mean(), weight)[0]
    found = dict(images=x, noise=noise, steps=steps, mse=terms["mse"], vb=terms["vb"], gradient=gradient)
    return {f"loss {name}": value for name, value in found.items()}


def extras(sampler):
    if sampler == "ddim":
        return [{}, dict(eta=0.7), dict(eta=1.0, clip=True)]
    return [{}, dict(clip=True), dict(variance="small"), dict(variance="large")]


@torch.no_grad()
def sampled(net, diffusion, noise, step_noise, sampler, respacing, guidance, eta=0.0, clip=False, variance="learned"):
    learned = variance == "learned"
    process = diffusion.create_diffusion(respacing, learn_sigma=learned, sigma_small=variance == "small")
    twice = lambda x: torch.cat([x, x])

    def call(x, t, y, cfg_scale):
        if cfg_scale == 1.0:
            output = net(x, t, y)
        else:
            output = net.forward_with_cfg(x, t, y, cfg_scale)
        return output if learned else output[:, :4]

    arguments = dict(y=LABELS, cfg_scale=guidance)
    if guidance != 1.0:
        arguments["y"] = torch.cat([LABELS, torch.full_like(LABELS, 5)])
        noise = twice(noise)
    module = importlib.import_module("diffusion.gaussian_diffusion").th
    numbers = [step if guidance == 1.0 else twice(step) for step in step_noise]
    options = dict(noise=noise, clip_denoised=clip, model_kwargs=arguments, device="cpu")
    with Given(module, "randn_like", numbers):
        if sampler == "ddpm":
            images = process.p_sample_loop(call, noise.shape, **options)
        else:
            images = process.ddim_sample_loop(call, noise.shape, eta=eta, **options)
    return images[:2]


def sit(repository):
    use(repository)
    net = sit_model()
    transport = importlib.import_module("transport")
    torch_of_steps = importlib.import_module("transport.integrators").th
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(SHAPE, generator=generator)
    step_noise = torch.randn((20, *SHAPE), generator=generator)
    cases, tensors = [], {"noise": noise, "step_noise": step_noise}

    def add(images, **case):
        name = " ".join(str(value) for value in case.values())
        tensors[name] = images
        cases.append(dict(name=name, **case))

    @torch.no_grad()
    def ode(path, predict, method, steps, rtol=1e-3, atol=1e-6, guidance=1.0):
        process = transport.create_transport(path, predict)
        call, x, arguments = net.forward, noise, dict(y=LABELS)
        if guidance != 1.0:
            call, x = net.forward_with_cfg, torch.cat([noise, noise])
            arguments = dict(y=torch.cat([LABELS, torch.full_like(LABELS, 5)]), cfg_scale=guidance)
        # The number of times, one more than that of steps.
        run = transport.Sampler(process).sample_ode(sampling_method=method, num_steps=steps + 1, rtol=rtol, atol=atol)
        images = run(x, call, **arguments)[-1][:2]
        first, last = process.check_interval(process.train_eps, process.sample_eps, eval=True)
        add(
            images, sampler=method, path=path, predict=predict, steps=steps, rtol=rtol, atol=atol, guidance=guidance,
            first=first, last=last,
        )

    for path in ("Linear", "GVP", "VP"):
        for predict in ("velocity", "noise", "score"):
            ode(path, predict, "euler", 10)
        ode(path, "velocity", "heun2", 10)
        ode(path, "velocity", "dopri5", 1, rtol=1e-5)
    ode("Linear", "velocity", "heun2", 10, guidance=4.0)
    ode("Linear", "velocity", "dopri5", 1)
    ode("Linear", "velocity", "rk4", 10)

    @torch.no_grad()
    def sde(path, predict, method, form, last_step, norm=1.0):
        process = transport.create_transport(path, predict)
        if form == "SBDM" and path != "VP":
            # With 0, the value for velocities, the diffusion is infinite at the first time.
            process.sample_eps = 1e-3
        # `constant` works with a tensor alone.
        given = torch.tensor(norm) if form == "constant" else norm
        run = transport.Sampler(process).sample_sde(
            sampling_method=method, diffusion_form=form, diffusion_norm=given, last_step=last_step, num_steps=20
        )
        with Given(torch_of_steps, "randn", step_noise):
            images = run(noise, net.forward, y=LABELS)[-1]
        size = 0.0 if last_step is None else 0.04
        first, last = process.check_interval(
            process.train_eps, process.sample_eps, diffusion_form=form, sde=True, eval=True, last_step_size=size
        )
        case = dict(sampler=f"sde {method}", path=path, predict=predict, form=form, last_step=last_step, norm=norm)
        if not images.isfinite().all():
            print("not finite:", case)
            return
        add(images, **case, first=first, last=last)

    # The public code's spelling of the last one.
    forms = ("constant", "SBDM", "sigma", "linear", "decreasing", "inccreasing-decreasing")
    for method in ("Euler", "Heun"):
        for form in forms:
            sde("Linear", "velocity", method, form, "Mean")
        for last_step in ("Tweedie", "Euler", None):
            sde("Linear", "velocity", method, "sigma", last_step)
        for path in ("GVP", "VP"):
            for form in ("SBDM", "sigma"):
                sde(path, "velocity", method, form, "Mean")
    for path in ("Linear", "GVP", "VP"):
        for predict in ("noise", "score"):
            sde(path, predict, "Euler", "linear", "Tweedie", 0.5)

    # Log likelihoods with one given probe for all evaluations.
    probes = torch.randint(2, (1, *SHAPE), generator=generator).float()
    tensors["probes"] = probes * 2 - 1
    tensors["images"] = torch.randn(SHAPE, generator=generator) * 0.5
    for path, predict in [("Linear", "velocity"), ("GVP", "velocity"), ("VP", "velocity")]:
        process = transport.create_transport(path, predict)
        run = transport.Sampler(process).sample_ode_likelihood(num_steps=2, rtol=1e-5, atol=1e-5)
        with torch.no_grad(), Given(torch_of_steps, "randint", [probes[0]] * 100000):
            log_likelihood, end = run(tensors["images"].clone(), net.forward, y=LABELS)
        first, last = process.check_interval(process.train_eps, process.sample_eps, eval=True)
        add(log_likelihood, sampler="likelihood", path=path, predict=predict, first=first, last=last)
    save("sit_samplers.safetensors", tensors, cases)


if __name__ == "__main__":
    dit(sys.argv[1])
    sit(sys.argv[2])
