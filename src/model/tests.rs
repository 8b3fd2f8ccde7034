use super::*;
use crate::spectral::{Correction, Filter, Gate, correction, filter, gate};
use crate::torch::{DType, Device, Generator, Tensor, autograd};

fn small() -> Config {
    Config { depth: 2, hidden_size: 16, num_heads: 2, ..Config::preset("fashion_tiny").unwrap() }
}

fn zero_gates() -> Vec<Correction> {
    let low = filter::gaussian(filter::Gaussian { sigma: 1.0 }).unwrap();
    let ideal = filter::ideal(filter::Ideal { cutoff: 0.3 }).unwrap();
    vec![
        correction(&low, gate::time(gate::Time::default()).unwrap()).unwrap(),
        correction(&ideal, gate::r#static(gate::Static::default()).unwrap()).unwrap(),
        correction(&low, gate::constant(gate::Constant::default()).unwrap()).unwrap(),
        correction(
            filter::learned(filter::Learned { size: 3, init: filter::LearnedInit::Box }).unwrap(),
            gate::time(gate::Time::default()).unwrap(),
        )
        .unwrap(),
        correction(
            Filter::new(filter::Custom::new(|grid| grid.tanh())).unwrap(),
            gate::time_label(()).unwrap(),
        )
        .unwrap(),
    ]
}

/// Corrections with several bands or coefficients for each channel, whose gates start at zero.
fn banded() -> Vec<Correction> {
    let coarse = filter::gaussian(filter::Gaussian { sigma: 2.0 }).unwrap();
    let fine = filter::binomial(()).unwrap();
    let ideal = filter::ideal(filter::Ideal { cutoff: 0.3 }).unwrap();
    let learned = filter::learned(filter::Learned { size: 3, init: filter::LearnedInit::Box }).unwrap();
    let code = Filter::new(filter::Custom::new(|grid| grid.tanh())).unwrap();
    let channel = || gate::Per::Channel;
    let time = gate::time(gate::Time { per: channel(), ..Default::default() }).unwrap();
    let time_label = gate::time_label(()).unwrap();
    let fixed = gate::r#static(gate::Static { per: channel(), ..Default::default() }).unwrap();
    let zeros = gate::constant(gate::Constant { values: vec![0.0; 4], ..Default::default() }).unwrap();
    let of = |filters: &[&Filter], gate: &Gate| {
        Correction::new(filters.iter().map(|filter| (*filter).clone()).collect(), gate).unwrap()
    };
    vec![
        of(&[&coarse, &fine], &time),
        of(&[&ideal, &learned], &time_label),
        of(&[&fine], &fixed),
        of(&[&coarse, &ideal, &fine], &zeros),
        of(&[&code, &learned], &time),
    ]
}

fn noise(seed: u64, shape: &[i64]) -> Tensor {
    let generator = Generator::new(seed, Device::Cpu).unwrap();
    Tensor::randn(shape, DType::Float32, Device::Cpu, Some(&generator)).unwrap()
}

fn inputs() -> (Tensor, Tensor, Tensor) {
    let t = Tensor::from_f32(&[0.0, 0.4, 1.0], &[3]).unwrap();
    (noise(1, &[3, 1, 28, 28]), t, Tensor::from_i64(&[0, 9, 10], &[3]).unwrap())
}

/// Without a bias the model is one whose biases are zero and stay so, and has that many parameters fewer.
#[test]
fn a_model_without_qkv_bias_equals_one_with_zeros_there() {
    let bare = Config { qkv_bias: false, ..small() };
    let with = Model::new(small(), 3, Device::Cpu).unwrap();
    let without = Model::new(bare.clone(), 3, Device::Cpu).unwrap();
    let missing = |m: &Model| !m.parameters().iter().any(|(name, _)| name.ends_with("attn.qkv.bias"));
    assert!(missing(&without) && !missing(&with));
    assert_eq!(with.num_parameters() - without.num_parameters(), 2 * 3 * 16);
    let costs = accounting::Accounting::of(&bare).unwrap();
    assert_eq!(costs.parameters, without.num_parameters());
    assert!(without.summary(None).contains("2 heads, qkv_bias false"), "{}", without.summary(None));
    assert!(!with.summary(None).contains("qkv_bias"));
    // Blocks start as the identity, so that only random weights show what they compute.
    for (i, (name, weight)) in without.parameters().iter().enumerate() {
        let value = noise(10 + i as u64, &weight.shape()).mul_scalar(0.3).unwrap();
        let same = with.parameters().iter().find(|(other, _)| other == name).unwrap();
        weight.copy_(&value).unwrap();
        same.1.copy_(&value).unwrap();
    }
    let (x, t, y) = inputs();
    let run = |model: &Model| model.forward(&x, &t, &y).unwrap();
    assert!(run(&with).equal(&run(&without)).unwrap());
    let slope = |model: &Model| {
        let weight = model.parameters().iter().find(|(name, _)| name.ends_with("attn.qkv.weight")).unwrap();
        let sum = run(model).square().unwrap().sum(&[], false).unwrap();
        autograd::grad(&[sum], std::slice::from_ref(&weight.1), None, false, false)
            .unwrap()
            .remove(0)
            .unwrap()
    };
    assert!(slope(&with).equal(&slope(&without)).unwrap());
    let bias = with.parameters().iter().find(|(name, _)| name.ends_with("attn.qkv.bias")).unwrap();
    bias.1.fill_(0.5).unwrap();
    assert!(!run(&with).equal(&run(&without)).unwrap());
}

#[test]
fn a_file_of_a_model_without_qkv_bias_opens_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bare.safetensors");
    let bare = Model::new(Config { qkv_bias: false, ..small() }, 3, Device::Cpu).unwrap();
    bare.save(&path).unwrap();
    let opened = open(path.as_path(), ()).unwrap();
    assert_eq!(opened.config(), bare.config());
    let error = Model::blank(small(), Device::Cpu).unwrap().load(&path, &Default::default()).unwrap_err();
    assert!(error.message().contains("`blocks.0.attn.qkv.bias`"), "{error}");
}

/// Sets every parameter to random values, the same for one name in two models; gates stay at zero.
fn randomize(model: &Model) {
    for (name, parameter) in model.parameters().iter().filter(|(name, _)| !name.contains("freq_gate")) {
        let seed = name.bytes().fold(0u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
        parameter.copy_(&noise(seed, &parameter.shape()).mul_scalar(0.2).unwrap()).unwrap();
    }
}

#[test]
fn gates_of_zero_are_the_plain_dit_to_the_last_bit() {
    let plain = Model::new(small(), 0, Device::Cpu).unwrap();
    randomize(&plain);
    let (x, t, y) = inputs();
    let expected = plain.forward(&x, &t, &y).unwrap();
    assert!(expected.abs().unwrap().amax(&[], false).unwrap().item().unwrap() > 0.1);
    for all in [zero_gates(), banded()] {
        for count in 1..=5 {
            let corrections = all[..count].to_vec();
            let model = Model::new(small().with_corrections(corrections), 0, Device::Cpu).unwrap();
            randomize(&model);
            assert!(model.forward(&x, &t, &y).unwrap().equal(&expected).unwrap(), "{count} corrections");
        }
    }
}

#[test]
fn bands_add_up_to_the_residual_and_are_traced() {
    let model = Model::new(small().with_corrections(banded()), 0, Device::Cpu).unwrap();
    randomize(&model);
    let (x, t, y) = inputs();
    for block in model.trace(&x, &t, &y).unwrap() {
        for (split, correction) in block.corrections.iter().zip(model.config().unwrap().corrections.iter()) {
            assert_eq!(split.bands.len() as i64, correction.bands());
            assert_eq!(split.gates.shape()[1], correction.bands());
            let first = split.bands[0].clone();
            let sum = split.bands[1..].iter().fold(first, |sum, band| sum.add(band).unwrap());
            assert!(sum.allclose(&block.mlp_residual, 1e-5, 1e-4).unwrap(), "{correction}");
        }
        let map = block.to_map();
        let names: Vec<&str> = map.keys().map(String::as_str).collect();
        assert!(names.contains(&"bands") && !names.contains(&"low"), "{names:?}");
    }
}

#[test]
fn a_gradient_reaches_every_coefficient_of_every_channel() {
    let model = Model::new(small().with_corrections(banded()), 0, Device::Cpu).unwrap();
    randomize(&model);
    let (x, t, y) = inputs();
    let loss = model.forward(&x, &t, &y).unwrap().square().unwrap().mean(&[], false).unwrap();
    loss.backward(None, false).unwrap();
    let last =
        |name: &str| name.contains("freq_gate") && (name.ends_with("2.bias") || name.ends_with("logits"));
    let mut counts = Vec::new();
    for (name, parameter) in model.parameters().iter().filter(|(name, _)| last(name)) {
        let gradient = parameter.grad().unwrap();
        assert!(gradient.to_f64().unwrap().iter().all(|g| *g != 0.0), "{name}");
        counts.push(gradient.count());
    }
    assert_eq!(counts, [[3 * 16, 3, 2 * 16, 3 * 16], [3 * 16, 3, 2 * 16, 3 * 16]].concat());
}

#[test]
fn a_filter_is_trained_with_its_block_and_counted() {
    let learned = filter::learned(()).unwrap();
    let gate = gate::constant(gate::Constant { low: 0.5, high: -0.5, ..Default::default() }).unwrap();
    let model =
        Model::new(small().with_corrections(vec![correction(&learned, &gate).unwrap()]), 0, Device::Cpu)
            .unwrap();
    randomize(&model);
    let counted = accounting::Accounting::of_model(&model).unwrap();
    assert_eq!(counted.parameters - counted.plain_parameters, 2 * 3);
    let (x, t, y) = inputs();
    model
        .forward(&x, &t, &y)
        .unwrap()
        .square()
        .unwrap()
        .mean(&[], false)
        .unwrap()
        .backward(None, false)
        .unwrap();
    let filters = model.parameters().iter().filter(|(name, _)| name.contains("freq_filter"));
    let gradients: Vec<f64> = filters
        .map(|(_, p)| p.grad().unwrap().abs().unwrap().amax(&[], false).unwrap().item().unwrap())
        .collect();
    assert!(gradients.len() == 2 && gradients.iter().all(|g| *g > 0.0), "{gradients:?}");
}

#[test]
fn corrections_add_up() {
    let fixed = |low, high| gate::constant(gate::Constant { low, high, ..Default::default() }).unwrap();
    let blur = filter::r#box(filter::BoxBlur { width: 3 }).unwrap();
    let model = |corrections| {
        let model = Model::new(small().with_corrections(corrections), 0, Device::Cpu).unwrap();
        randomize(&model);
        model
    };
    let twice = model(vec![
        correction(&blur, fixed(0.5, -0.25)).unwrap(),
        correction(&blur, fixed(0.25, 0.5)).unwrap(),
    ]);
    let once = model(vec![correction(&blur, fixed(0.75, 0.25)).unwrap()]);
    let (x, t, y) = inputs();
    let (a, b) = (twice.forward(&x, &t, &y).unwrap(), once.forward(&x, &t, &y).unwrap());
    assert!(a.allclose(&b, 1e-4, 1e-4).unwrap());
    let trace = twice.trace(&x, &t, &y).unwrap();
    assert_eq!(trace[0].corrections.len(), 2);
    assert!(
        trace[1]
            .output
            .sub(&trace[1].corrected)
            .unwrap()
            .isfinite()
            .unwrap()
            .all(&[], false)
            .unwrap()
            .item()
            .unwrap()
            > 0.0
    );
}

#[test]
fn parameters_have_the_names_of_the_papers_checkpoints_and_later_corrections_a_number() {
    let model = Model::new(small().with_corrections(zero_gates()), 0, Device::Cpu).unwrap();
    let names: Vec<&str> = model.parameters().iter().map(|(name, _)| name.as_str()).collect();
    for name in ["blocks.1.freq_gate.2.bias", "blocks.0.freq_gate_2_static_logits", "patch_embed.proj.weight"]
    {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
}

#[test]
fn counted_parameters_are_those_that_are_made() {
    for corrections in [Vec::new(), zero_gates(), banded()] {
        let config = small().with_corrections(corrections);
        let model = Model::new(config, 0, Device::Cpu).unwrap();
        assert_eq!(accounting::Accounting::of_model(&model).unwrap().parameters, model.num_parameters());
    }
}

#[test]
fn a_seed_means_the_same_weights_with_and_without_corrections() {
    let plain = Model::new(small(), 5, Device::Cpu).unwrap();
    let corrected = Model::new(small().with_corrections(zero_gates()), 5, Device::Cpu).unwrap();
    let other = Model::new(small(), 6, Device::Cpu).unwrap();
    let get = |m: &Model, name: &str| m.parameters().iter().find(|(n, _)| n == name).unwrap().1.clone();
    for (name, weight) in plain.parameters() {
        assert!(get(&corrected, name).equal(weight).unwrap(), "{name}");
    }
    let name = "blocks.1.mlp.net.0.weight";
    assert!(!get(&other, name).equal(&get(&plain, name)).unwrap());
}

#[test]
fn a_new_model_gives_zero() {
    let model = Model::new(small().with_corrections(zero_gates()), 0, Device::Cpu).unwrap();
    let (x, t, y) = inputs();
    let v = model.forward(&x, &t, &y).unwrap();
    assert!(v.to_f32().unwrap().iter().all(|v| *v == 0.0));
}

#[test]
fn a_copy_is_equal_and_shares_nothing() {
    let model = Model::new(small(), 3, Device::Cpu).unwrap();
    let copy = model.copy().unwrap();
    for ((name, a), (_, b)) in model.parameters().iter().zip(copy.parameters()) {
        assert!(a.equal(b).unwrap(), "{name}");
        assert!(b.requires_grad());
    }
    model.parameters()[0].1.fill_(7.0).unwrap();
    assert!(!model.parameters()[0].1.equal(&copy.parameters()[0].1).unwrap());
}

#[test]
fn a_copy_is_frozen_where_its_model_is() {
    let model = Model::new(Config { family: Family::Dit, ..small() }, 3, Device::Cpu).unwrap();
    let frozen =
        |model: &Model| -> Vec<bool> { model.parameters().iter().map(|(_, p)| !p.requires_grad()).collect() };
    assert!(frozen(&model).contains(&true));
    model.unfreeze(&["*".to_string()]).unwrap();
    model.freeze(&["blocks.*".to_string()]).unwrap();
    assert_eq!(frozen(&model.copy().unwrap()), frozen(&model));
}

#[test]
fn a_model_without_a_null_label_starts_plain_too() {
    let config = Config { class_dropout_prob: 0.0, family: Family::Dit, ..small() };
    let model = Model::new(config.with_corrections(zero_gates()), 0, Device::Cpu).unwrap();
    assert!(model.last_label() < model.num_classes() && model.starts_plain().unwrap());
}

#[test]
fn labels_are_dropped_with_the_configured_chance() {
    let labels = Tensor::zeros(&[20_000], DType::Int64, Device::Cpu).unwrap();
    let dropped = |chance: f64, seed: u64| {
        let model = Model::new(Config { class_dropout_prob: chance, ..small() }, 0, Device::Cpu).unwrap();
        let generator = Generator::new(seed, Device::Cpu).unwrap();
        model.drop_labels(&labels, Some(&generator)).unwrap().to_i64().unwrap()
    };
    let found = dropped(0.25, 1);
    assert_eq!(found, dropped(0.25, 1));
    assert!(found.iter().all(|y| *y == 0 || *y == 10));
    // Five standard deviations of the binomial distribution: sqrt(20000 * 0.25 * 0.75) is 61.
    let null = found.iter().filter(|y| **y == 10).count() as i64;
    assert!((null - 5000).abs() < 306, "{null}");
    assert!(dropped(0.0, 1).iter().all(|y| *y == 0) && dropped(1.0, 1).iter().all(|y| *y == 10));
}

#[test]
fn wrong_inputs_are_named() {
    let model = Model::new(small(), 0, Device::Cpu).unwrap();
    let (x, t, y) = inputs();
    let message = |x: &Tensor, t: &Tensor, y: &Tensor| model.forward(x, t, y).unwrap_err().to_string();
    let ints = |v: &[i64]| Tensor::from_i64(v, &[v.len() as i64]).unwrap();
    assert_eq!(
        message(&x, &t, &ints(&[0, 11, 3])),
        "label 11 is out of range: the model has 10 classes\nhint: labels are from 0 to 9, and 10 is the null label"
    );
    assert!(message(&x, &t, &ints(&[0, -1, 3])).starts_with("label -1 is out of range"));
    assert!(message(&x, &t.add_scalar(0.5).unwrap(), &y).starts_with("time 1.5 is out of range"));
    // Ten steps of 0.1 end one rounding beyond 1.
    let sum = t.mul_scalar(0.0).unwrap().add_scalar(1.000_000_1).unwrap();
    assert!(model.forward(&x, &sum, &y).is_ok() && model.forward(&x, &t.sub(&sum).unwrap(), &y).is_err());
    assert!(message(&x, &sum.mul_scalar(1.001).unwrap(), &y).starts_with("time 1.001"));
    assert!(message(&x, &t.mul_scalar(f64::NAN).unwrap(), &y).starts_with("time NaN is out of range"));
    assert_eq!(
        message(&noise(1, &[3, 3, 28, 28]), &t, &y),
        "expected images [B, 1, H, W], found tensor [3, 3, 28, 28] float32"
    );
    assert!(message(&x, &t, &ints(&[1, 2])).starts_with("expected labels [3], one per image"));
    assert!(message(&x, &t, &y.to_dtype(DType::Float32).unwrap()).starts_with("expected int64 labels"));
}

#[test]
fn a_float64_model_agrees_with_its_float32_twin() {
    let (x, t, y) = inputs();
    let twin = |dtype| {
        let model =
            Model::new(Config { dtype, ..small().with_corrections(zero_gates()) }, 0, Device::Cpu).unwrap();
        randomize(&model);
        model.forward(&x.to_dtype(dtype).unwrap(), &t, &y).unwrap().to_f64().unwrap()
    };
    let (single, double) = (twin(DType::Float32), twin(DType::Float64));
    assert!(single.iter().zip(&double).all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + b.abs())));
}

#[test]
fn autocast_changes_velocities_and_gradients_by_its_rounding_alone() {
    let model = Model::new(small().with_corrections(zero_gates()), 0, Device::Cpu).unwrap();
    randomize(&model);
    let (x, t, y) = inputs();
    let parameters: Vec<Tensor> = model.parameters().iter().map(|(_, p)| p.clone()).collect();
    let run = |cast: bool| {
        let forward = || model.forward(&x, &t, &y);
        let v = if cast { autograd::autocast(Device::Cpu, forward) } else { forward() };
        let v = v.unwrap().to_dtype(DType::Float32).unwrap();
        let gradients = autograd::grad(
            &[v.mse_loss(&x, crate::torch::ops::loss::Reduction::Mean).unwrap()],
            &parameters,
            None,
            false,
            false,
        )
        .unwrap();
        let all: Vec<Tensor> = gradients.into_iter().flatten().map(|g| g.flatten(0, -1).unwrap()).collect();
        (v, Tensor::cat(&all, 0).unwrap())
    };
    let ((v, g), (cast_v, cast_g)) = (run(false), run(true));
    let norm = |x: &Tensor| x.square().unwrap().sum(&[], false).unwrap().item().unwrap().sqrt();
    // bfloat16 keeps 8 bits, so errors of a few per cent over two blocks; without any error, nothing was cast.
    for (exact, cast) in [(v, cast_v), (g, cast_g)] {
        let error = norm(&cast.sub(&exact).unwrap()) / norm(&exact);
        assert!(error > 1e-5 && error < 0.05, "{error}");
    }
}

#[test]
fn code_in_a_model_of_diffusion_steps_sees_times() {
    let gate = gate::Schedule {
        rule: crate::declare::Code::Live(crate::declare::Function::new(|given| {
            let t = crate::declare::FromValue::from_value(&given[0]).map(|t: Tensor| t)?;
            Ok(crate::declare::Value::List(vec![
                crate::declare::IntoValue::into_value(t.clone()),
                crate::declare::IntoValue::into_value(t),
            ]))
        })),
    };
    let low = filter::gaussian(filter::Gaussian { sigma: 1.0 }).unwrap();
    let all = vec![correction(&low, Gate::new(gate).unwrap()).unwrap()];
    let x = Tensor::ones(&[2, 1, 28, 28], DType::Float32, Device::Cpu).unwrap();
    let y = Tensor::from_i64(&[1, 2], &[2]).unwrap();
    let mut found = Vec::new();
    for (family, time_scale, t) in [
        (Family::Dit, 1.0, [0.0, 999.0]),
        (Family::Dit, 1000.0, [0.0, 0.999]),
        (Family::Sit, 1.0, [0.25, 1.0]),
    ] {
        let config = Config { family, time_scale, ..small() }.with_corrections(all.clone());
        let model = Model::new(config, 0, Device::Cpu).unwrap();
        let t = Tensor::from_f64(&t, &[2]).unwrap();
        let trace = model.trace(&x, &t, &y).unwrap();
        found.push(trace[0].corrections[0].gates.to_f64().unwrap());
    }
    for steps in &found[..2] {
        assert!((steps[0] - 0.99).abs() < 1e-3 && (steps[2] - 0.0063).abs() < 1e-3, "{steps:?}");
    }
    assert_eq!(found[2], [0.25, 0.25, 1.0, 1.0]);
}

#[test]
fn images_of_another_dtype_are_named() {
    let model = Model::new(Config { dtype: DType::BFloat16, ..small() }, 0, Device::Cpu).unwrap();
    let x = Tensor::ones(&[1, 1, 28, 28], DType::Float32, Device::Cpu).unwrap();
    let (t, y) = (Tensor::from_f32(&[0.5], &[1]).unwrap(), Tensor::from_i64(&[1], &[1]).unwrap());
    let error = model.forward(&x, &t, &y).unwrap_err();
    assert_eq!(error.message(), "expected images of bfloat16, the dtype of the model, found float32");
    assert_eq!(error.hint_text(), Some("convert them: `.to(\"bfloat16\")`"));
    assert!(model.forward(&x.to_dtype(DType::BFloat16).unwrap(), &t, &y).is_ok());
    // Autocast converts what it needs.
    let wide = model.converted_copy(DType::Float32, Device::Cpu).unwrap();
    assert!(autograd::autocast(Device::Cpu, || wide.forward(&x, &t, &y)).is_ok());
}

#[test]
fn a_model_that_does_not_fit_into_memory_is_an_error() {
    for family in [Family::SpectralDit, Family::LightningDit] {
        let config = Config { family, image_size: 65536, patch_size: 1, hidden_size: 1024, ..small() };
        let error = Model::new(config, 0, Device::Cpu).unwrap_err();
        assert!(crate::torch::is_out_of_memory(&error), "{error}");
    }
}

#[test]
fn a_copy_in_another_dtype_has_the_same_weights() {
    let model = Model::new(small(), 3, Device::Cpu).unwrap();
    let narrow = model.converted_copy(DType::BFloat16, Device::Cpu).unwrap();
    assert_eq!((narrow.dtype(), narrow.design().dtype()), (DType::BFloat16, DType::BFloat16));
    for ((_, a), (_, b)) in model.parameters().iter().zip(narrow.parameters()) {
        assert!(a.to_dtype(DType::BFloat16).unwrap().equal(b).unwrap());
    }
    assert!(model.converted_copy(DType::Int64, Device::Cpu).is_err());
}
