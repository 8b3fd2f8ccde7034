//! Tests of the autoencoder: blocks by hand, then properties for any weights.

use std::collections::BTreeMap;

use super::blocks::{AttentionBlock, Resample};
use super::*;
use crate::context::Context;
use crate::data::{Dataset, FromTensorsOptions, from_tensors};
use crate::error::{Error, Kind};
use crate::nn::Builder;
use crate::torch::io::{load_safetensors, save_safetensors};
use crate::torch::{DType, Device, Tensor, no_grad};

fn toy() -> VaeOptions {
    VaeOptions {
        block_out_channels: vec![4, 8],
        norm_num_groups: 2,
        layers_per_block: 1,
        latent_channels: 2,
        seed: 5,
        ..VaeOptions::default()
    }
}

fn images(count: i64) -> Tensor {
    let values = Tensor::linspace(-1.0, 1.0, count * 3 * 8 * 12, DType::Float32, Device::Cpu).unwrap();
    values.mul_scalar(7.0).unwrap().sin().unwrap().reshape(&[count, 3, 8, 12]).unwrap()
}

fn set(count: i64) -> Dataset {
    let labels = Tensor::from_i64(&(0..count).map(|i| i % 3).collect::<Vec<_>>(), &[count]).unwrap();
    let class_names = ["a", "b", "c"].map(str::to_string).to_vec();
    from_tensors(images(count), &labels, &FromTensorsOptions { class_names, ..Default::default() }).unwrap()
}

fn close(a: &Tensor, b: &Tensor) {
    assert_eq!(a.shape(), b.shape());
    let difference = a.sub(b).unwrap().abs().unwrap().amax(&[], false).unwrap().item().unwrap();
    assert!(difference < 1e-5, "they differ by {difference}");
}

/// Returns a builder with weights of ones and biases of zeros under a name.
fn ones(name: &str, weight: &[i64]) -> Builder {
    let weights = [("weight", weight, 1.0), ("bias", &weight[..1], 0.0)].map(|(part, shape, value)| {
        let tensor = Tensor::full(shape, value, DType::Float32, Device::Cpu).unwrap();
        (format!("{name}.0.conv.{part}"), tensor)
    });
    Builder::given(BTreeMap::from(weights), DType::Float32, Device::Cpu)
}

#[test]
fn halving_has_zeros_on_the_right_and_below_alone() {
    // A kernel of ones counts the pixels under it; the last kernels reach beyond the image.
    let halve = Resample::halve(&mut ones("downsamplers", &[1, 1, 3, 3]), 1).unwrap();
    let image = Tensor::ones(&[1, 1, 4, 4], DType::Float32, Device::Cpu).unwrap();
    let found = halve.forward(&image).unwrap();
    assert_eq!((found.shape(), found.to_f32().unwrap()), (vec![1, 1, 2, 2], vec![9.0, 6.0, 6.0, 4.0]));
}

#[test]
fn doubling_repeats_every_pixel() {
    let double = Resample::double(&mut ones("upsamplers", &[1, 1, 3, 3]), 1).unwrap();
    let image = Tensor::from_f32(&[1.0, 10.0], &[1, 1, 1, 2]).unwrap();
    // Rows 1 1 10 10 twice, and the sum over each pixel's neighborhood.
    let row = [4.0, 24.0, 42.0, 40.0];
    assert_eq!(double.forward(&image).unwrap().to_f32().unwrap(), [row, row].concat());
}

#[test]
fn attention_to_pixels_that_are_alike_adds_the_mean_of_their_values() {
    // Queries of zeros weight all pixels equally; the value and output maps are the identity.
    let (name, mut weights) = ("attentions.0", BTreeMap::new());
    let mut put = |part: &str, values: &[f32], shape: &[i64]| {
        weights.insert(format!("{name}.{part}"), Tensor::from_f32(values, shape).unwrap());
    };
    let (zeros, identity) = ([0.0; 4], [1.0, 0.0, 0.0, 1.0]);
    put("group_norm.weight", &[2.0, 3.0], &[2]);
    put("group_norm.bias", &[0.5, 0.25], &[2]);
    for (part, map) in [("to_q", &zeros), ("to_k", &identity), ("to_v", &identity), ("to_out.0", &identity)] {
        put(&format!("{part}.weight"), map, &[2, 2]);
        put(&format!("{part}.bias"), &[0.0, 0.0], &[2]);
    }
    let mut builder = Builder::given(weights, DType::Float32, Device::Cpu);
    let block = AttentionBlock::new(&mut builder, name, 2, 2).unwrap();
    let image = Tensor::from_f32(&[1.0, 3.0, -2.0, 8.0], &[1, 2, 1, 2]).unwrap();
    // A normalized channel has mean zero, so the mean of its values is the bias.
    let expected = Tensor::from_f32(&[1.5, 3.5, -1.75, 8.25], &[1, 2, 1, 2]).unwrap();
    close(&block.forward(&image).unwrap(), &expected);
}

#[test]
fn the_full_size_has_the_parameters_of_stable_diffusion() {
    let builder = Builder::blank(DType::Float16, Device::Cpu);
    let full = Vae::build(&VaeOptions::default(), builder).unwrap();
    assert_eq!((full.num_parameters(), full.parameters().len()), (83_653_863, 248));
    assert_eq!(full.latent_shape(256, 512).unwrap(), [4, 32, 64]);
}

#[test]
fn batches_change_nothing_and_bytes_are_images_too() {
    let (vae, cx) = (Vae::random(&toy()).unwrap(), Context::default());
    let images = images(5);
    let by = |batch| EncodeOptions { sample: true, seed: 3, batch: Some(batch) };
    let latents = vae.encode(&images, &by(5), &cx).unwrap();
    assert_eq!(latents.shape(), [5, 2, 4, 6]);
    close(&latents, &vae.encode(&images, &by(2), &cx).unwrap());
    let decoded = vae.decode(&latents, &DecodeOptions::default(), &cx).unwrap();
    assert_eq!(decoded.shape(), images.shape());
    close(&decoded, &vae.decode(&latents, &DecodeOptions { batch: Some(2), clamp: true }, &cx).unwrap());
    assert!(!decoded.requires_grad());
    let bytes = images.add_scalar(1.0).unwrap().mul_scalar(127.5).unwrap().to_dtype(DType::UInt8).unwrap();
    let floats = bytes.to_dtype(DType::Float32).unwrap().div_scalar(127.5).unwrap().sub_scalar(1.0).unwrap();
    let encode = |x: &Tensor| vae.encode(x, &EncodeOptions::default(), &cx).unwrap();
    close(&encode(&bytes), &encode(&floats));
}

#[test]
fn gradients_reach_parameters_that_record_them() {
    let (vae, cx) = (Vae::random(&toy()).unwrap(), Context::default());
    let images = images(3);
    let options = EncodeOptions { batch: Some(2), ..Default::default() };
    let latents = vae.encode(&images, &options, &cx).unwrap();
    assert!(!latents.requires_grad());
    for (_, parameter) in vae.parameters() {
        parameter.set_requires_grad(true).unwrap();
    }
    assert!(!no_grad(|| vae.encode(&images, &options, &cx)).unwrap().requires_grad());
    let latents = vae.encode(&images, &options, &cx).unwrap();
    assert!(latents.requires_grad() && vae.posterior(&images, None, &cx).unwrap().logvar.requires_grad());
    let decode = |latents: &Tensor| {
        let options = DecodeOptions { batch: Some(2), clamp: false };
        vae.decode(latents, &options, &cx).unwrap()
    };
    assert!(decode(&latents.detach().unwrap()).requires_grad());
    let loss = || {
        let error = decode(&vae.encode(&images, &options, &cx).unwrap()).sub(&images).unwrap();
        error.square().unwrap().mean(&[], false).unwrap()
    };
    let (first, hash) = (loss(), vae.hash().unwrap());
    first.backward(None, false).unwrap();
    let mut squares = 0.0;
    for (name, parameter) in vae.parameters() {
        let grad = parameter.grad().unwrap_or_else(|| panic!("no gradient reaches {name}"));
        squares += grad.square().unwrap().sum(&[], false).unwrap().item().unwrap();
    }
    // The slope along the gradient is its squared length.
    let step = 1e-3 / squares.sqrt();
    no_grad(|| {
        for (_, parameter) in vae.parameters() {
            parameter.add_(&parameter.grad().unwrap().mul_scalar(-step).unwrap()).unwrap();
        }
    });
    let found = (first.item().unwrap() - loss().item().unwrap()) / step;
    assert!((found / squares - 1.0).abs() < 5e-2, "{found} {squares}");
    // Latents are stored with the hash of the weights that made them.
    assert_ne!(vae.hash().unwrap(), hash);
}

#[test]
fn gradients_reach_latents_and_images_that_record_them() {
    let (vae, cx) = (Vae::random(&toy()).unwrap(), Context::default());
    let slope = |x: &Tensor, f: &dyn Fn(&Tensor) -> Tensor| {
        let x = x.copy().unwrap().set_requires_grad(true).unwrap();
        f(&x).square().unwrap().sum(&[], false).unwrap().backward(None, false).unwrap();
        x.grad().unwrap()
    };
    let images = images(3);
    let latents = vae.encode(&images, &EncodeOptions::default(), &cx).unwrap();
    let decode = |batch: usize| {
        let (vae, cx) = (&vae, &cx);
        move |z: &Tensor| vae.decode(z, &DecodeOptions { batch: Some(batch), clamp: false }, cx).unwrap()
    };
    let (one, all) = (slope(&latents, &decode(1)), slope(&latents, &decode(3)));
    assert!(all.abs().unwrap().amin(&[], false).unwrap().item().unwrap() > 0.0);
    let largest = all.abs().unwrap().amax(&[], false).unwrap().item().unwrap();
    close(&one.div_scalar(largest).unwrap(), &all.div_scalar(largest).unwrap());
    // The slope along itself is the change of the sum of squares.
    let value = |z: &Tensor| {
        let squares = decode(3)(z).to_dtype(DType::Float64).unwrap().square().unwrap();
        squares.sum(&[], false).unwrap().item().unwrap()
    };
    let step = |by: f64| value(&latents.add(&all.mul_scalar(by).unwrap()).unwrap());
    let length = all.square().unwrap().sum(&[], false).unwrap().item().unwrap();
    let small = 1e-2 / length.sqrt();
    let found = (step(small) - step(-small)) / (2.0 * small);
    assert!((found / length - 1.0).abs() < 2e-2, "{found} {length}");
    let encode = |x: &Tensor| vae.posterior(x, Some(2), &cx).unwrap().mean;
    assert!(slope(&images, &encode).abs().unwrap().amax(&[], false).unwrap().item().unwrap() > 0.0);
    assert!(vae.parameters().iter().all(|(_, p)| p.grad().is_none()));
}

#[test]
fn draws_have_the_mean_and_deviation_of_the_posterior() {
    let mean = Tensor::full(&[20_000], 3.0, DType::Float32, Device::Cpu).unwrap();
    let posterior =
        Posterior { logvar: mean.mul_scalar(0.0).unwrap().add_scalar(0.25f64.ln()).unwrap(), mean };
    let generator = crate::torch::Generator::new(1, Device::Cpu).unwrap();
    let drawn = posterior.pick(Some(&generator)).unwrap().to_f64().unwrap();
    let mean = drawn.iter().sum::<f64>() / 20_000.0;
    let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
    // Six standard errors.
    assert!((mean - 3.0).abs() < 6.0 * 0.5 / 20_000f64.sqrt(), "{mean}");
    assert!((variance - 0.25).abs() < 6.0 * 0.25 * (2.0 / 20_000f64).sqrt(), "{variance}");
}

#[test]
fn the_scale_is_taken_off_again() {
    let cx = Context::default();
    let scaled = |scaling_factor| Vae::random(&VaeOptions { scaling_factor, ..toy() }).unwrap();
    let (one, half, images) = (scaled(1.0), scaled(0.5), images(1));
    let latents = one.encode(&images, &EncodeOptions::default(), &cx).unwrap();
    close(&latents.mul_scalar(0.5).unwrap(), &half.encode(&images, &EncodeOptions::default(), &cx).unwrap());
    let decoded = one.decode(&latents, &DecodeOptions::default(), &cx).unwrap();
    let halved = latents.mul_scalar(0.5).unwrap();
    close(&decoded, &half.decode(&halved, &DecodeOptions::default(), &cx).unwrap());
}

#[test]
fn what_does_not_fit_is_refused() {
    let (vae, cx) = (Vae::random(&toy()).unwrap(), Context::default());
    let zeros = |shape: &[i64]| Tensor::zeros(shape, DType::Float32, Device::Cpu).unwrap();
    let encode = |shape: &[i64]| vae.encode(&zeros(shape), &EncodeOptions::default(), &cx).unwrap_err();
    assert!(encode(&[1, 3, 7, 8]).message().contains("multiples of 2, found 7 x 8"));
    assert!(
        encode(&[1, 1, 8, 8]).message().contains("expected images [B, 3, H, W], found tensor [1, 1, 8, 8]")
    );
    assert!(encode(&[3, 8, 8]).hint_text().is_some_and(|hint| hint.contains("unsqueeze")));
    let decode = vae.decode(&zeros(&[1, 4, 2, 2]), &DecodeOptions::default(), &cx).unwrap_err();
    assert!(decode.message().contains("expected latents [B, 2, H, W]"), "{decode}");
    let sizes = |options: VaeOptions| Vae::random(&options).unwrap_err().message();
    assert!(
        sizes(VaeOptions { norm_num_groups: 3, ..toy() }).contains("4 channels cannot be divided into 3")
    );
    assert!(sizes(VaeOptions { block_out_channels: vec![], ..toy() }).contains("1 to 8 stages, found 0"));
}

#[test]
fn an_interrupt_stops_it() {
    let (vae, cx) = (Vae::random(&toy()).unwrap(), Context::default());
    cx.interrupt.raise();
    let error = vae.encode(&images(1), &EncodeOptions::default(), &cx).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
}

#[test]
fn a_file_gives_the_same_network_back_whatever_its_attention_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vae.safetensors");
    let vae = Vae::random(&toy()).unwrap();
    vae.save(&path).unwrap();
    let loaded = load(&path, LoadOptions::default()).unwrap();
    assert_eq!(loaded.hash().unwrap(), vae.hash().unwrap());
    assert_eq!(format!("{:?}", loaded.sizes()), format!("{:?}", vae.sizes()));
    let old = [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")];
    let old_name = |name: &str| old.iter().fold(name.to_string(), |n, (new, old)| n.replace(new, old));
    let tensors = vae.parameters().iter().map(|(name, p)| (old_name(name), p.clone())).collect();
    // Without metadata, as other programs write them.
    save_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let options = LoadOptions { norm_num_groups: Some(2), ..LoadOptions::default() };
    assert_eq!(load(&path, &options).unwrap().hash().unwrap(), vae.hash().unwrap());
    let error = load(&path, LoadOptions::default()).unwrap_err();
    assert!(error.message().contains("4 channels cannot be divided into 32 groups"), "{error}");
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vae.safetensors");
    Vae::random(&toy()).unwrap().save(&path).unwrap();
    let saved = load_safetensors(&path, Device::Cpu).unwrap();
    let change = |edit: &dyn Fn(&mut BTreeMap<String, Tensor>)| -> Error {
        let mut tensors = saved.tensors.clone();
        edit(&mut tensors);
        save_safetensors(&path, &tensors, &saved.metadata).unwrap();
        load(&path, LoadOptions::default()).unwrap_err()
    };
    let name = "decoder.mid_block.resnets.1.conv2.weight";
    let missing = change(&|w| drop(w.remove(name)));
    assert!(missing.message().contains(&format!("there is no tensor `{name}`, of shape [8, 8, 3, 3]")));
    let shape = change(&|w| drop(w.insert(name.to_string(), images(1))));
    assert!(shape.message().contains(&format!("expected `{name}` to be floats of shape [8, 8, 3, 3]")));
    let extra = change(&|w| drop(w.insert("encoder.extra".to_string(), images(1))));
    assert!(extra.message().contains("does not use 1 of the tensors: `encoder.extra`"), "{extra}");
    let other = change(&|w| w.retain(|name, _| !name.starts_with("encoder.")));
    assert!(other.message().contains("vae.safetensors: expected the weights of an AutoencoderKL"), "{other}");
}

#[test]
fn latents_are_encoded_once_and_known_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/latents.safetensors");
    let (vae, cx, images) = (Vae::random(&toy()).unwrap(), Context::default(), set(4));
    let options = EncodeOptions::default();
    let first = latents(&vae, &images, &path, &options, &cx).unwrap();
    close(
        &first.images().unwrap(),
        &vae.encode(&images.images().unwrap(), &Default::default(), &cx).unwrap(),
    );
    assert_eq!(first.labels().to_i64().unwrap(), [0, 1, 2, 0]);
    assert_eq!((first.class_names(), first.image_shape()), (images.class_names(), [2, 4, 6]));

    // The file is changed to show that it is read and that nothing is encoded again.
    let mut file = load_safetensors(&path, Device::Cpu).unwrap();
    let marked = file.tensors["latents"].mul_scalar(0.0).unwrap().add_scalar(2.0).unwrap();
    file.tensors.insert("latents".to_string(), marked);
    save_safetensors(&path, &file.tensors, &file.metadata).unwrap();
    let again = latents(&vae, &images, &path, &options, &cx).unwrap().images().unwrap().to_f32().unwrap();
    assert!(again.iter().all(|x| (x - 2.0 * 0.18215).abs() < 1e-6), "{again:?}");

    let bytes = std::fs::read(&path).unwrap();
    let refuse = |vae: &Vae, images: &Dataset, options: &EncodeOptions| {
        let error = latents(vae, images, &path, options, &cx).unwrap_err();
        assert!(error.message().contains("expected latents of images"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    };
    refuse(&Vae::random(&VaeOptions { seed: 6, ..toy() }).unwrap(), &images, &options);
    refuse(&vae, &images.subset(&[0, 1, 3, 2]).unwrap(), &options);
    refuse(&vae, &images, &EncodeOptions { sample: true, ..EncodeOptions::default() });
}

#[test]
fn the_file_is_one_that_the_data_room_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latents.safetensors");
    let (vae, cx) = (Vae::random(&toy()).unwrap(), Context::default());
    let options = EncodeOptions { sample: true, seed: 9, batch: Some(1) };
    let text = Tensor::from_i64(&[7, 8, 9], &[3]).unwrap();
    let images = set(3).with_fields([("text", text)]).unwrap();
    let kept = latents(&vae, &images, &path, &options, &cx).unwrap();
    let fields = vec!["text".to_string()];
    let scale = crate::data::latents::LatentsOptions { scale: 0.18215, fields, ..Default::default() };
    let opened = crate::data::latents(path.to_str().unwrap(), &scale).unwrap();
    close(&kept.images().unwrap(), &opened.images().unwrap());
    assert_eq!(opened.labels().to_i64().unwrap(), kept.labels().to_i64().unwrap());
    for set in [&kept, &opened] {
        assert_eq!(set.fields().unwrap().get("text").unwrap().to_i64().unwrap(), [7, 8, 9]);
    }
    // Equal seeds draw equal latents, other seeds draw others.
    let draw = |seed, file: &str| {
        let options = EncodeOptions { seed, batch: None, ..options.clone() };
        latents(&vae, &set(3), folder.path().join(file), &options, &cx).unwrap().images().unwrap()
    };
    close(&draw(9, "same"), &kept.images().unwrap());
    assert!(
        draw(10, "other")
            .sub(&draw(9, "same"))
            .unwrap()
            .abs()
            .unwrap()
            .amax(&[], false)
            .unwrap()
            .item()
            .unwrap()
            > 1e-3
    );
}

#[test]
fn ranks_share_the_images_of_a_file_of_latents() {
    let (vae, set, folder) = (Vae::random(&toy()).unwrap(), set(300), tempfile::tempdir().unwrap());
    for sample in [false, true] {
        let options = EncodeOptions { sample, seed: 3, batch: None };
        let at = |name: &str| folder.path().join(format!("{name}-{sample}.safetensors"));
        let one = latents(&vae, &set, at("one"), &options, &Context::default()).unwrap().images().unwrap();
        for size in [2, 3] {
            let path = at(&size.to_string());
            let all = crate::ranks::tests::on_ranks(size, |ranks| {
                let cx = ranks.context(Context::default());
                let images = latents(&vae, &set, &path, &options, &cx).unwrap().images().unwrap();
                images.equal(&one).unwrap()
            });
            assert_eq!(all, vec![true; size]);
            assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(at("one")).unwrap());
        }
    }
}

#[test]
fn a_path_that_cannot_be_written_is_refused_before_the_work() {
    let (vae, folder) = (Vae::random(&toy()).unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("file"), "").unwrap();
    let refused = |name: &str| {
        let (options, cx) = (EncodeOptions::default(), Context::default());
        latents(&vae, &set(2), folder.path().join(name), &options, &cx).unwrap_err().message()
    };
    assert!(refused("latents.pt").contains("expected a .safetensors file"));
    assert!(refused("file/latents.safetensors").contains("a file is in the way of this folder"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn images_that_are_no_pixels_are_refused_or_noted() {
    let vae = Vae::random(&toy()).unwrap();
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let notes = std::sync::Arc::clone(&told);
    let note = std::sync::Arc::new(move |text: &str| notes.lock().unwrap().push(text.to_string()));
    let cx = Context { note, ..Context::default() };
    let encode = |images: &Tensor| vae.encode(images, &EncodeOptions::default(), &cx);
    encode(&images(1)).unwrap();
    assert!(told.lock().unwrap().is_empty());
    encode(&images(1).mul_scalar(255.0).unwrap()).unwrap();
    assert!(told.lock().unwrap()[0].contains("[-1, 1] is expected"));
    let error = encode(&images(1).mul_scalar(f64::NAN).unwrap()).unwrap_err();
    assert!(error.message().contains("are NaN or infinite"), "{error}");
}
