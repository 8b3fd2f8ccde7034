"""Writes tests/fixtures/vae_public: small autoencoders of diffusers with random weights, and their results.

    pip install torch diffusers safetensors
    python tests/parity/vae_public.py tests/fixtures/vae_public

`four` has the architecture of Stable Diffusion 1 to XL, `sixteen` that of Stable Diffusion 3 and FLUX, without the
convolutions around the latents. Each folder is as diffusers saves it; `results.safetensors` holds images, latents and what
the network makes of them.
"""

import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

CONFIGS = {
    "four": dict(latent_channels=4, scaling_factor=0.13025),
    "sixteen": dict(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
}


def main():
    folder = Path(sys.argv[1])
    results = {}
    for seed, (name, config) in enumerate(CONFIGS.items()):
        torch.manual_seed(seed)
        stages = 2
        net = AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * stages,
            up_block_types=["UpDecoderBlock2D"] * stages,
            block_out_channels=[4, 8],
            layers_per_block=1,
            norm_num_groups=2,
            **config,
        )
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
            # Half precision keeps the files small, and the results are those of the rounded weights.
            net.half().save_pretrained(folder / name)
            net.double()
            images = 2 * torch.rand(2, 3, 8, 12, dtype=torch.float64) - 1
            moments = net.encode(images).latent_dist
            latents = torch.randn(2, config["latent_channels"], 4, 6, dtype=torch.float64)
            shift, scale = config.get("shift_factor", 0.0), config["scaling_factor"]
            results |= {
                f"{name}.images": images,
                f"{name}.encoded": (moments.mean - shift) * scale,
                f"{name}.logvar": moments.logvar,
                f"{name}.latents": latents,
                f"{name}.decoded": net.decode(latents / scale + shift).sample,
            }
    # What LightningDiT writes beside its latents.
    stats = {"mean": torch.randn(1, 4, 1, 1), "std": torch.rand(1, 4, 1, 1) + 0.5}
    torch.save(stats, folder / "latents_stats.pt")
    results |= {f"stats.{name}": tensor for name, tensor in stats.items()}
    save_file({name: tensor.contiguous() for name, tensor in results.items()}, folder / "results.safetensors")


if __name__ == "__main__":
    main()
