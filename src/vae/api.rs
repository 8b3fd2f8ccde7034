//! Namespace `vae`, and the methods of autoencoders.

use std::path::PathBuf;

use crate::data::Dataset;
use crate::declare::{IntoValue, Map};
use crate::functions;
use crate::torch::{Device, Tensor};
use crate::vae::{self, DecodeOptions, EncodeOptions, LoadOptions, Vae, VaeOptions};

crate::api! {
    types: [Vae],
    functions: [space, properties, methods],
}

pub mod space {
    use super::*;
    functions! { in "vae";
        /// Loads the weights of an image autoencoder, such as Stable Diffusion's, from a file.
        ///
        /// The file is safetensors or PyTorch's own format (`.bin`, `.pth`, `.ckpt`), from which no code is executed.
        /// Its tensors are named as in an `AutoencoderKL` of diffusers, with the current or older names of the
        /// attention, or as those of CompVis, also after `first_stage_model.` or `state_dict.`; tensors of the
        /// training are skipped. Sizes are taken from the tensors; every name, shape and type is checked. The
        /// settings that no tensor determines, the number of groups of the norms and the scale of the latents, are
        /// options; `save` writes them into the file, and diffusers writes a `config.json` next to the file, which is
        /// read. The weights may be float16, bfloat16 or float32. Source: Rombach et al. 2022 (arXiv:2112.10752).
        ///
        /// ```rhai
        /// let toy = #{ block_out_channels: [8, 16], norm_num_groups: 4, layers_per_block: 1, seed: 3 };
        /// vae::random(toy).save("vae.safetensors");
        /// let net = vae::load("vae.safetensors");
        /// assert_eq(net.config.block_out_channels, [8, 16]);
        /// assert_eq(net.hash, vae::random(toy).hash);
        /// ```
        fn load<cx>(path: PathBuf, options: LoadOptions) -> Vae {
            let (vae, notes) = vae::load_noted(path, &options)?;
            notes.iter().for_each(|note| cx.note(note));
            Ok(vae)
        }

        /// Creates an image autoencoder with random weights and the architecture of Stable Diffusion's.
        ///
        /// It is for tests, for timings without a download, and for training of your own. The seed determines the
        /// weights on every device. With the defaults it has 83,653,863 parameters.
        ///
        /// ```rhai
        /// let net = vae::random(#{ block_out_channels: [8, 16, 16], norm_num_groups: 4, layers_per_block: 1 });
        /// assert_eq(net.encode(tensor::zeros([2, 3, 16, 16])).shape, [2, 4, 4, 4]);
        /// ```
        fn random(options: VaeOptions) -> Vae { Vae::random(&options) }
    }
}

pub mod methods {
    use super::*;
    functions! { methods;
        /// Encodes images [B, C, H, W] in [-1, 1] or uint8 as latents [B, Z, h, w], scaled for a diffusion model.
        ///
        /// Z is `config.latent_channels`, and h and w are H and W divided by `factor`, which must divide both. The
        /// latents are the encoder's means, or with `sample` draws from its normal distributions, minus
        /// `config.shift_factor`, times `config.scaling_factor`, or normalized by channel. Images are encoded a few at a
        /// time; Ctrl-C stops it. NaN is an error, and a note says if floats are far outside of
        /// [-1, 1]. Gradients flow to images and to parameters that record them.
        ///
        /// ```rhai
        /// let net = vae::random(#{ block_out_channels: [8, 16], norm_num_groups: 4, layers_per_block: 1 });
        /// let images = tensor::linspace(-1, 1, 2 * 3 * 8 * 8).reshape([2, 3, 8, 8]);
        /// let latents = net.encode(images);
        /// assert_eq(latents.shape, [2, 4, 4, 4]);
        /// assert_close(latents, net.posterior(images).mean * 0.18215, 1e-6);
        /// let drawn = net.encode(images, #{ sample: true, seed: 5 });
        /// assert_close(drawn, net.encode(images, #{ sample: true, seed: 5, batch: 1 }), 1e-5);
        /// ```
        fn encode<cx>(vae: Vae, images: Tensor, options: EncodeOptions) -> Tensor {
            vae.encode(&images, &options, cx)
        }

        /// Decodes latents [B, Z, h, w], scaled as from `encode` or from a model's samples, to images [B, C, H, W].
        ///
        /// The scale of `encode` is first reversed, and the images are clamped to [-1, 1] unless
        /// `clamp` is false. Latents are decoded a few at a time; Ctrl-C stops it. Gradients flow to latents and to
        /// parameters that record them, as for a loss of the images; the activations of the whole batch are then kept.
        ///
        /// ```rhai
        /// let net = vae::random(#{ block_out_channels: [8, 16], norm_num_groups: 4, layers_per_block: 1 });
        /// let images = net.decode(tensor::randn([3, 4, 4, 4]));
        /// assert_eq(images.shape, [3, 3, 8, 8]);
        /// assert(images.abs().max().item() <= 1.0);
        /// let z = tensor::zeros([1, 4, 4, 4], #{ requires_grad: true });
        /// assert_eq(grad(net.decode(z).square().mean(), z).shape, [1, 4, 4, 4]);
        /// ```
        fn decode<cx>(vae: Vae, latents: Tensor, options: DecodeOptions) -> Tensor {
            vae.decode(&latents, &options, cx)
        }

        /// Returns the normal distributions of the latents of images [B, C, H, W]: a map of unscaled `mean` and
        /// `logvar`.
        ///
        /// Both are [B, Z, h, w]. `logvar` is the natural logarithm of the variance, clamped to between -30 and 20.
        /// Gradients flow to images and to parameters that record them.
        ///
        /// ```rhai
        /// let net = vae::random(#{ block_out_channels: [8, 16], norm_num_groups: 4, layers_per_block: 1 });
        /// let moments = net.posterior(tensor::zeros([1, 3, 8, 8]));
        /// assert_eq(moments.mean.shape, moments.logvar.shape);
        /// ```
        fn posterior<cx>(vae: Vae, images: Tensor) -> Map {
            let found = vae.posterior(&images, None, cx)?;
            let entry = |name: &str, tensor: Tensor| (name.to_string(), tensor.into_value());
            Ok(Map::from([entry("mean", found.mean), entry("logvar", found.logvar)]))
        }

        /// Returns the latents of a data set as a data set to train on, encoded once and kept in a safetensors
        /// file.
        ///
        /// If the file exists, it is read instead, provided that a hash shows it was made from these images and
        /// labels with these weights and options; otherwise it is an error, and the file stays unchanged. The file
        /// holds `latents` [N, Z, h, w], float32 and unscaled, `labels` [N] and the fields of the set when they were encoded; the
        /// data set holds scaled latents, and the fields of the set.
        /// The file is written once all images are encoded: after Ctrl-C the work starts over. Of several ranks each
        /// encodes a part of the images, and rank 0 writes the file.
        ///
        /// ```rhai
        /// let net = vae::random(#{ in_channels: 1, block_out_channels: [8, 16], norm_num_groups: 4, layers_per_block: 1 });
        /// let images = data::fashion_mnist(#{ split: "test" }).take(20);
        /// let latents = net.latents(images, "runs/latents.safetensors");
        /// assert_eq([latents.len, latents.image_shape], [20, [4, 14, 14]]);
        /// assert_close(latents.images(), net.encode(images.images()), 1e-5);
        /// assert_eq(net.latents(images, "runs/latents.safetensors").class_names, images.class_names);
        /// ```
        fn latents<cx>(vae: Vae, images: Dataset, path: String, options: EncodeOptions) -> Dataset {
            vae::latents(&vae, &images, path, &options, cx)
        }

        /// Returns the parameters by their names in diffusers.
        ///
        /// They are fixed at first: those to be trained must record gradients.
        ///
        /// ```rhai
        /// let net = vae::random(#{ block_out_channels: [8, 16], norm_num_groups: 4 });
        /// let p = net.parameters();
        /// assert_eq(p["encoder.mid_block.attentions.0.to_q.weight"].shape, [16, 16]);
        /// p["encoder.conv_in.weight"].requires_grad(true);
        /// assert(net.encode(tensor::zeros([1, 3, 8, 8])).requires_grad);
        /// ```
        fn parameters(vae: Vae) -> Map {
            Ok(vae.parameters().iter().map(|(name, p)| (name.clone(), p.clone().into_value())).collect())
        }

        /// Writes all weights and sizes to a safetensors file, which `vae::load` reads.
        ///
        /// The file is written atomically.
        ///
        /// ```rhai
        /// vae::random(#{ block_out_channels: [8, 16], norm_num_groups: 4 }).save("vae.safetensors");
        /// assert_eq(vae::load("vae.safetensors").config.norm_num_groups, 4);
        /// ```
        fn save(vae: Vae, path: String) -> () { vae.save(path) }
    }
}

pub mod properties {
    use super::*;
    functions! { properties;
        /// The sizes of the network and the scale of its latents, as a map.
        ///
        /// ```rhai
        /// assert_eq(vae::random(#{ block_out_channels: [32] }).config.scaling_factor, 0.18215);
        /// ```
        fn config(vae: Vae) -> Map { Ok(vae.sizes()) }

        /// The factor by which latents are smaller than images, along each side.
        ///
        /// ```rhai
        /// assert_eq(vae::random(#{ block_out_channels: [8, 8, 8], norm_num_groups: 4 }).factor, 4);
        /// ```
        fn factor(vae: Vae) -> i64 { Ok(vae.options().factor()) }

        /// The number of parameters.
        ///
        /// ```rhai
        /// let net = vae::random(#{ block_out_channels: [8], norm_num_groups: 4, layers_per_block: 1 });
        /// assert(net.num_parameters > 1000);
        /// ```
        fn num_parameters(vae: Vae) -> i64 { Ok(vae.num_parameters()) }

        /// The first 12 hexadecimal digits of the SHA-256 over sizes and weights.
        ///
        /// ```rhai
        /// let toy = |seed| vae::random(#{ block_out_channels: [8], norm_num_groups: 4, seed: seed }).hash;
        /// assert(toy.call(1) == toy.call(1) && toy.call(1) != toy.call(2));
        /// ```
        fn hash(vae: Vae) -> String { vae.hash() }

        /// The device of the parameters.
        ///
        /// ```rhai
        /// assert_eq(vae::random(#{ block_out_channels: [8], norm_num_groups: 4, device: "cpu" }).device, "cpu");
        /// ```
        fn device(vae: Vae) -> Device { Ok(vae.options().device) }
    }
}
