"""Autoencoder of latent diffusion in plain PyTorch, and its results for small random weights.

    python tests/parity/vae.py tests/fixtures/vae.safetensors
    python tests/parity/vae.py --count

The first writes the fixture of `vae.rs`: weights under `w.`, images, and the results. The second prints the number of
parameters of the full size. It needs torch and safetensors. The architecture is that of Rombach et al. 2022
(arXiv:2112.10752), first stage with a KL penalty and a factor of 8.
"""

import math
import sys

import torch
import torch.nn.functional as F


def names_and_shapes(widths, layers, latent, channels=3):
    """Returns the shape of each layer's weight by the layer's name."""
    found = {}

    def conv(name, inputs, outputs, size):
        found[name] = (outputs, inputs, size, size)

    def block(name, inputs, outputs):
        found[f"{name}.norm1"] = (inputs,)
        conv(f"{name}.conv1", inputs, outputs, 3)
        found[f"{name}.norm2"] = (outputs,)
        conv(f"{name}.conv2", outputs, outputs, 3)
        if inputs != outputs:
            conv(f"{name}.conv_shortcut", inputs, outputs, 1)

    def half(name, conv_in, order, count, resample, out):
        conv(f"{name}.conv_in", conv_in, order[0], 3)
        before = order[0]
        side = "down_blocks" if name == "encoder" else "up_blocks"
        for stage, width in enumerate(order):
            for i in range(count):
                block(f"{name}.{side}.{stage}.resnets.{i}", before, width)
                before = width
            if stage + 1 < len(order):
                conv(f"{name}.{side}.{stage}.{resample}.0.conv", width, width, 3)
        middle = widths[-1]
        for i in range(2):
            block(f"{name}.mid_block.resnets.{i}", middle, middle)
        found[f"{name}.mid_block.attentions.0.group_norm"] = (middle,)
        for part in ["to_q", "to_k", "to_v", "to_out.0"]:
            found[f"{name}.mid_block.attentions.0.{part}"] = (middle, middle)
        found[f"{name}.conv_norm_out"] = (order[-1],)
        conv(f"{name}.conv_out", order[-1], out, 3)

    half("encoder", channels, widths, layers, "downsamplers", 2 * latent)
    conv("quant_conv", 2 * latent, 2 * latent, 1)
    conv("post_quant_conv", latent, latent, 1)
    half("decoder", latent, widths[::-1], layers + 1, "upsamplers", channels)
    return found


class Oracle:
    """Functions of the autoencoder for a dictionary of weights, in float64."""

    def __init__(self, weights, widths, layers, groups):
        self.w = {name: tensor.double() for name, tensor in weights.items()}
        self.widths, self.layers, self.groups = widths, layers, groups

    def conv(self, name, x, **how):
        return F.conv2d(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"], **how)

    def norm(self, name, x):
        b, c, h, w = x.shape
        grouped = x.reshape(b, self.groups, -1)
        mean = grouped.mean(2, keepdim=True)
        variance = ((grouped - mean) ** 2).mean(2, keepdim=True)
        x = ((grouped - mean) / torch.sqrt(variance + 1e-6)).reshape(b, c, h, w)
        return x * self.w[f"{name}.weight"].view(1, c, 1, 1) + self.w[f"{name}.bias"].view(1, c, 1, 1)

    @staticmethod
    def silu(x):
        return x / (1 + torch.exp(-x))

    def block(self, name, x):
        y = self.conv(f"{name}.conv1", self.silu(self.norm(f"{name}.norm1", x)), padding=1)
        y = self.conv(f"{name}.conv2", self.silu(self.norm(f"{name}.norm2", y)), padding=1)
        if f"{name}.conv_shortcut.weight" in self.w:
            x = self.conv(f"{name}.conv_shortcut", x)
        return x + y

    def attention(self, name, x):
        b, c, h, w = x.shape
        tokens = self.norm(f"{name}.group_norm", x).reshape(b, c, h * w).permute(0, 2, 1)
        part = lambda p, t: t @ self.w[f"{name}.{p}.weight"].T + self.w[f"{name}.{p}.bias"]
        q, k, v = (part(p, tokens) for p in ["to_q", "to_k", "to_v"])
        mixed = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(c), 2) @ v
        return x + part("to_out.0", mixed).permute(0, 2, 1).reshape(b, c, h, w)

    def middle(self, name, x):
        x = self.block(f"{name}.resnets.0", x)
        return self.block(f"{name}.resnets.1", self.attention(f"{name}.attentions.0", x))

    def out(self, name, x):
        x = self.silu(self.norm(f"{name}.conv_norm_out", x))
        return self.conv(f"{name}.conv_out", x, padding=1)

    def encode(self, x):
        x = self.conv("encoder.conv_in", x, padding=1)
        for stage in range(len(self.widths)):
            for i in range(self.layers):
                x = self.block(f"encoder.down_blocks.{stage}.resnets.{i}", x)
            if stage + 1 < len(self.widths):
                # Stride 2 with padding by zeros on the right and at the bottom only.
                x = F.pad(x, (0, 1, 0, 1))
                x = self.conv(f"encoder.down_blocks.{stage}.downsamplers.0.conv", x, stride=2)
        x = self.out("encoder", self.middle("encoder.mid_block", x))
        mean, logvar = self.conv("quant_conv", x).chunk(2, 1)
        return mean, logvar.clamp(-30, 20)

    def decode(self, z):
        x = self.conv("decoder.conv_in", self.conv("post_quant_conv", z), padding=1)
        x = self.middle("decoder.mid_block", x)
        for stage in range(len(self.widths)):
            for i in range(self.layers + 1):
                x = self.block(f"decoder.up_blocks.{stage}.resnets.{i}", x)
            if stage + 1 < len(self.widths):
                x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
                x = self.conv(f"decoder.up_blocks.{stage}.upsamplers.0.conv", x, padding=1)
        return self.out("decoder", x)


def count(widths, layers, latent):
    shapes = names_and_shapes(widths, layers, latent).values()
    return sum(math.prod(shape) + shape[0] for shape in shapes)


def main():
    if sys.argv[1:] == ["--count"]:
        print(count([128, 256, 512, 512], 2, 4))
        return
    from safetensors.torch import save_file

    widths, layers, groups, latent = [8, 8, 16], 1, 4, 4
    generator = torch.Generator().manual_seed(18)
    draw = lambda *shape: torch.randn(*shape, generator=generator)
    weights = {}
    for name, shape in names_and_shapes(widths, layers, latent).items():
        inputs = math.prod(shape[1:])
        around_one = len(shape) == 1
        weight = 1 + 0.3 * draw(*shape) if around_one else draw(*shape) / math.sqrt(inputs)
        # Half precision keeps the file small and loses nothing, since the oracle uses the rounded weights.
        weights[f"{name}.weight"] = weight.half()
        weights[f"{name}.bias"] = (0.3 * draw(shape[0])).half()
    oracle = Oracle(weights, widths, layers, groups)
    # Height and width differ, so that mixing them up is noticed.
    images = (2 * torch.rand(2, 3, 16, 24, generator=generator) - 1).float()
    mean, logvar = oracle.encode(images.double())
    latents = draw(2, latent, 4, 6)
    tensors = {f"w.{name}": tensor.contiguous() for name, tensor in weights.items()}
    tensors |= {"images": images, "mean": mean, "logvar": logvar, "latents": latents}
    tensors["decoded"] = oracle.decode(latents.double())
    metadata = {"groups": str(groups), "widths": " ".join(map(str, widths)), "layers": str(layers)}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, sys.argv[1], metadata)


if __name__ == "__main__":
    main()
