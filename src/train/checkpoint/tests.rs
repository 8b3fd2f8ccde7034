//! Checkpoints of a training loop: what is restored and what is rejected.

use super::*;
use crate::data::Loader;
use crate::data::{FromTensorsOptions, LoaderOptions, from_tensors};
use crate::declare::{Named, OneOrMany, Options};
use crate::error::Kind;
use crate::model::{Config, OpenOptions, Weights};
use crate::torch::Generator;
use crate::train::{AdamWOptions, EmaOptions, Optimizer, Parameters};

fn config() -> Config {
    Config {
        image_size: 4,
        patch_size: 2,
        in_channels: 1,
        num_classes: 2,
        depth: 1,
        hidden_size: 8,
        num_heads: 2,
        ..Config::preset("fashion_tiny").unwrap()
    }
}

/// Creates all parts, with weights from a seed.
fn parts(seed: i64) -> PartsOptions {
    let model = Model::new(config(), seed, Device::Cpu).unwrap();
    let images = Tensor::from_u8(&(0..160).collect::<Vec<u8>>(), &[10, 1, 4, 4]).unwrap();
    let labels = Tensor::from_i64(&[0, 1, 0, 1, 0, 1, 0, 1, 0, 1], &[10]).unwrap();
    let data = from_tensors(&images, &labels, FromTensorsOptions::default()).unwrap();
    PartsOptions {
        ema: Some(Ema::new(&model, 0.9, &EmaOptions::default()).unwrap()),
        averages: OneOrMany(vec![Ema::power(&model, 0.1).unwrap()]),
        optimizer: Some(Optimizer::new(&Parameters::of(&model).unwrap(), &AdamWOptions::default()).unwrap()),
        loader: Some(Loader::new(&data, &LoaderOptions { batch: 4, ..Default::default() }).unwrap()),
        generator: Some(Generator::new(seed as u64, Device::Cpu).unwrap()),
        values: Map::from([("step".to_string(), Value::Int(seed))]),
        model: Some(model),
        ..PartsOptions::default()
    }
}

/// Runs some training steps, so that the state of every part changes.
fn work(parts: &PartsOptions, steps: usize) -> Vec<f64> {
    let (model, rng) = (parts.model.as_ref().unwrap(), parts.generator.as_ref());
    let step = || {
        let batch = parts.loader.as_ref().unwrap().next().unwrap();
        let t = Tensor::rand(&[4], DType::Float32, Device::Cpu, rng).unwrap();
        let pair = crate::flow::path::pair(&batch.images, &t, None, rng).unwrap();
        let velocity = model.forward(&pair.x_t, &t, &batch.labels).unwrap();
        let loss = crate::flow::loss(&velocity, &pair.target).unwrap();
        parts.optimizer.as_ref().unwrap().step(&loss, Some(1.0)).unwrap();
        parts.ema.iter().chain(&parts.averages.0).for_each(|ema| ema.update(model).unwrap());
        loss.item().unwrap()
    };
    (0..steps).map(|_| step()).collect()
}

fn bits(parts: &PartsOptions) -> Vec<Vec<u8>> {
    let tensors = [
        parts.model.as_ref().unwrap().parameters().iter().map(|(_, t)| t.clone()).collect::<Vec<_>>(),
        parts.ema.as_ref().unwrap().model().parameters().iter().map(|(_, t)| t.clone()).collect(),
        parts.averages.0[0].model().parameters().iter().map(|(_, t)| t.clone()).collect(),
        parts.optimizer.as_ref().unwrap().state().unwrap().into_values().collect(),
        vec![parts.generator.as_ref().unwrap().state().unwrap()],
    ];
    tensors.iter().flatten().map(|t| t.to_bytes().unwrap()).collect()
}

#[test]
fn a_loop_that_is_put_back_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let first = parts(1);
    first.optimizer.as_ref().unwrap().set_lr(3e-3).unwrap();
    work(&first, 4);
    save(&path, &first).unwrap();
    let losses = work(&first, 4);

    let second = parts(2);
    let values = Checkpoint::read(&path).unwrap().restore(&second).unwrap();
    assert!(matches!(values["step"], Value::Int(1)));
    assert_eq!(second.optimizer.as_ref().unwrap().lr(), 3e-3);
    assert_eq!(second.ema.as_ref().unwrap().updates(), 4);
    assert_eq!(work(&second, 4), losses);
    assert_eq!(bits(&first), bits(&second));
}

/// Averages and updates of bfloat16 weights are kept in float32, and checkpoints keep the full precision.
#[test]
fn a_loop_in_bfloat16_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let parts = |seed: u64| {
        let config = Config { dtype: DType::BFloat16, ..config() };
        let model = Model::new(config, seed as i64, Device::Cpu).unwrap();
        PartsOptions {
            ema: Some(Ema::new(&model, 0.99, &EmaOptions::default()).unwrap()),
            optimizer: Some(
                Optimizer::new(&Parameters::of(&model).unwrap(), &AdamWOptions::default()).unwrap(),
            ),
            model: Some(model),
            ..PartsOptions::default()
        }
    };
    let work = |parts: &PartsOptions, steps: usize| {
        let (model, rng) = (parts.model.as_ref().unwrap(), Generator::new(3, Device::Cpu).unwrap());
        let dtype = DType::BFloat16;
        for _ in 0..steps {
            let side = model.image_shape()[1];
            let x = Tensor::randn(&[2, 1, side, side], dtype, Device::Cpu, Some(&rng)).unwrap();
            let t = Tensor::rand(&[2], DType::Float32, Device::Cpu, Some(&rng)).unwrap();
            let y = Tensor::from_i64(&[0, 1], &[2]).unwrap();
            let velocity = model.forward(&x, &t, &y).unwrap();
            let loss = crate::flow::loss(&velocity, &x).unwrap();
            parts.optimizer.as_ref().unwrap().step(&loss, None).unwrap();
            parts.ema.as_ref().unwrap().update(model).unwrap();
        }
    };
    let bits = |parts: &PartsOptions| {
        let ema = parts.ema.as_ref().unwrap();
        let all = ema
            .masters()
            .into_values()
            .chain(parts.optimizer.as_ref().unwrap().state().unwrap().into_values());
        let own = ema.model().parameters().iter().map(|(_, t)| t.clone()).collect::<Vec<_>>();
        all.chain(own).map(|t| t.to_bytes().unwrap()).collect::<Vec<_>>()
    };
    let first = parts(1);
    work(&first, 3);
    save(&path, &first).unwrap();
    work(&first, 3);
    let second = parts(2);
    let mut saved = Checkpoint::read(&path).unwrap();
    saved.restore(&second).unwrap();
    work(&second, 3);
    assert_eq!(bits(&first), bits(&second));
    // A checkpoint from a version without master weights can be restored too.
    let masters: Vec<String> = saved.tensors.keys().filter(|n| n.contains("master")).cloned().collect();
    assert!(masters.iter().any(|n| n.starts_with("ema_master.")), "{masters:?}");
    masters.iter().for_each(|name| drop(saved.tensors.remove(name)));
    saved.restore(&parts(3)).unwrap();
}

/// Texts in `values` are restored as texts; the first format could not tell "inf" from an infinity.
#[test]
fn values_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let values = Map::from([
        ("text".to_string(), Value::Str("inf".to_string())),
        ("loss".to_string(), Value::Float(f64::NAN)),
    ]);
    save(&path, &PartsOptions { values: values.clone(), ..PartsOptions::default() }).unwrap();
    let read = || format!("{:?}", Checkpoint::read(&path).unwrap().values());
    assert_eq!(read(), format!("{values:?}"));
    let mut loaded = load_safetensors(&path, Device::Cpu).unwrap();
    let old = r#"{"parts": [], "values": {"loss": "NaN", "best": "inf"}}"#;
    loaded.metadata.insert("state".to_string(), old.to_string());
    loaded.metadata.insert("format".to_string(), "spectral checkpoint 1".to_string());
    save_safetensors(&path, &loaded.tensors, &loaded.metadata).unwrap();
    assert_eq!(read(), r#"{"best": inf, "loss": NaN}"#);
}

#[test]
fn the_default_generator_goes_on_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    save(&path, PartsOptions::default()).unwrap();
    // Other tests may draw numbers in between, so only the stored state is compared.
    let saved = Checkpoint::read(&path).unwrap();
    assert_eq!(saved.of("random")["cpu"].shape(), rng::default_state(Device::Cpu).unwrap().shape());
    saved.restore(&PartsOptions::default()).unwrap();
    let model = parts(1).model;
    let error = saved.restore(&PartsOptions { model, ..PartsOptions::default() }).unwrap_err();
    assert!(error.message().ends_with("the checkpoint has no model"), "{error}");
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let first = parts(1);
    work(&first, 2);
    save(&path, &first).unwrap();
    let saved = Checkpoint::read(&path).unwrap();
    let refused = |change: &dyn Fn(&mut PartsOptions)| {
        let mut other = parts(2);
        change(&mut other);
        let before = bits(&other);
        let error = saved.restore(&other).unwrap_err();
        assert_eq!(bits(&other), before);
        error.message()
    };
    let wide = Model::new(Config { hidden_size: 16, ..config() }, 0, Device::Cpu).unwrap();
    let message = refused(&|p| p.model = Some(wide.clone()));
    assert!(
        message.ends_with("the model was saved with another setting: `hidden_size` was 8 and is 16"),
        "{message}"
    );
    let message = refused(&|p| {
        let options = EmaOptions { warmup: true };
        p.ema = Some(Ema::new(p.model.as_ref().unwrap(), 0.9, &options).unwrap());
    });
    assert!(message.contains("`warmup` was false and is true"), "{message}");
    let message = refused(&|p| {
        p.averages = OneOrMany(vec![Ema::power(p.model.as_ref().unwrap(), 0.05).unwrap()]);
    });
    assert!(message.contains("`sigma_rel` was 0.1 and is 0.05"), "{message}");
    let message = refused(&|p| {
        let parameters = Parameters::of(p.model.as_ref().unwrap()).unwrap();
        let options = AdamWOptions { betas: (0.5, 0.5), ..Default::default() };
        p.optimizer = Some(Optimizer::new(&parameters, &options).unwrap());
    });
    assert!(message.contains("`betas` was [0.9,0.99] and is [0.5,0.5]"), "{message}");
    let message = refused(&|p| {
        let one = p.model.as_ref().unwrap().parameters()[0].clone();
        p.optimizer =
            Some(Optimizer::new(&Parameters::new(vec![one]).unwrap(), &AdamWOptions::default()).unwrap());
    });
    assert!(message.contains("which no parameter here takes"), "{message}");
    let message = refused(&|p| {
        let images = Tensor::from_u8(&[9; 160], &[10, 1, 4, 4]).unwrap();
        let labels = Tensor::from_i64(&[0; 10], &[10]).unwrap();
        let data = from_tensors(&images, &labels, FromTensorsOptions::default()).unwrap();
        p.loader = Some(data.loader(&LoaderOptions { batch: 4, ..Default::default() }).unwrap());
    });
    assert!(message.contains("saved with data"), "{message}");
}

#[test]
fn tensors_of_another_shape_dtype_or_name_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    save(&path, parts(1)).unwrap();
    let mut saved = Checkpoint::read(&path).unwrap();
    let other = parts(2);
    let before = bits(&other);
    let names: Vec<String> = saved.tensors.keys().cloned().collect();
    for name in names.iter().filter(|n| !n.starts_with("run.")) {
        let tensor = saved.tensors[name].clone();
        let shorter = tensor.flatten(0, -1).unwrap().narrow(0, 0, 0).unwrap();
        let wider = tensor.to_dtype(DType::Float64).unwrap();
        for wrong in [shorter, wider] {
            saved.tensors.insert(name.clone(), wrong);
            assert!(saved.restore(&other).is_err(), "{name}");
            assert_eq!(bits(&other), before, "{name}");
        }
        saved.tensors.remove(name);
        if !name.starts_with("random.") {
            assert!(saved.restore(&other).is_err(), "{name}");
            assert_eq!(bits(&other), before, "{name}");
        }
        saved.tensors.insert(name.clone(), tensor);
    }
    saved.restore(&other).unwrap();
    assert_ne!(bits(&other), before);
}

#[test]
fn flipped_bits_and_cuts_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let w = Tensor::ones(&[2], DType::Float32, Device::Cpu).unwrap().set_requires_grad(true).unwrap();
    let parameters = Parameters::new(vec![("w".to_string(), w)]).unwrap();
    let optimizer = Optimizer::new(&parameters, &AdamWOptions::default()).unwrap();
    save(&path, &PartsOptions { optimizer: Some(optimizer), ..PartsOptions::default() }).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let damaged = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let error = Checkpoint::read(&path).unwrap_err();
        assert_eq!(error.kind(), Kind::File, "{error}");
        assert!(error.message().contains("a.safetensors: "), "{error}");
    };
    // Deterministic numbers, so that a failure can be reproduced.
    let mut state = 7u64;
    let mut below = |limit: usize| {
        state = rng::mix(state, 1);
        (state % limit as u64) as usize
    };
    // In the header a flipped bit may change the meaning, so a third of its bits are tested; after it all bytes are
    // equivalent.
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let bits =
        (0..8 * header).step_by(3).chain((0..500).map(|_| 8 * header + below(8 * (whole.len() - header))));
    for bit in bits.collect::<Vec<_>>() {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        damaged(&bytes);
    }
    for _ in 0..200 {
        damaged(&whole[..below(whole.len())]);
    }
    std::fs::write(&path, &whole).unwrap();
    Checkpoint::read(&path).unwrap();
}

#[test]
fn other_files_are_named_for_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    Model::new(config(), 0, Device::Cpu).unwrap().save(at("net.safetensors")).unwrap();
    let error = Checkpoint::read(at("net.safetensors")).unwrap_err();
    assert!(error.message().ends_with("the file is not a checkpoint"), "{error}");
    let texts = BTreeMap::from([("format".to_string(), "spectral checkpoint 9".to_string())]);
    save_safetensors(&at("later.safetensors"), &BTreeMap::new(), &texts).unwrap();
    let error = Checkpoint::read(at("later.safetensors")).unwrap_err();
    assert!(error.message().contains("\"spectral checkpoint 9\", expected"), "{error}");
}

#[test]
fn both_weights_of_a_checkpoint_open_as_models() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let parts = parts(1);
    work(&parts, 3);
    save(&path, &parts).unwrap();
    let weights = |m: &Model| m.parameters().iter().map(|(_, t)| t.to_bytes().unwrap()).collect::<Vec<_>>();
    let open = |part| {
        weights(
            &crate::model::open::open(
                &path,
                &OpenOptions { weights: Some(part), ..Default::default() },
                &crate::context::Context::default(),
            )
            .unwrap(),
        )
    };
    assert_eq!(open(Weights::Model), weights(parts.model.as_ref().unwrap()));
    assert_eq!(open(Weights::Ema), weights(&parts.ema.as_ref().unwrap().model()));
    assert_ne!(open(Weights::Ema), open(Weights::Model));
}

#[test]
fn groups_keep_their_rates_and_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let parts = |lr: f64, globs: &[&str]| {
        let model = Model::new(config(), 0, Device::Cpu).unwrap();
        let group = |glob: &&str| crate::train::Group {
            r#match: OneOrMany(vec![glob.to_string()]),
            lr: Some(1e-2),
            ..Default::default()
        };
        let groups = crate::train::Groups(globs.iter().map(group).collect());
        let options = AdamWOptions { lr, groups, ..AdamWOptions::default() };
        let optimizer = Some(Optimizer::new(&Parameters::of(&model).unwrap(), &options).unwrap());
        PartsOptions { optimizer, ..PartsOptions::default() }
    };
    let first = parts(1e-3, &["*.bias"]);
    first.optimizer.as_ref().unwrap().set_lr(5e-4).unwrap();
    save(&path, &first).unwrap();
    // The base rate may differ, and the saved rates are restored.
    let second = parts(1e-4, &["*.bias"]);
    Checkpoint::read(&path).unwrap().restore(&second).unwrap();
    assert_eq!(second.optimizer.as_ref().unwrap().rates(), [5e-4, 5e-3]);
    let error = Checkpoint::read(&path).unwrap().restore(&parts(1e-3, &["*.weight"])).unwrap_err();
    assert!(error.message().contains("`groups` was ") && error.message().contains("*.weight"), "{error}");
    save(&path, parts(1e-3, &[])).unwrap();
    assert!(
        Checkpoint::read(&path).unwrap().restore(&first).unwrap_err().message().contains("`groups` was []")
    );
}

/// A model and its parts among `others` hold the same state as the main ones.
#[test]
fn other_parts_are_restored_like_the_main_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let both = |seed: i64| {
        let critic = PartsOptions { values: Map::new(), ..parts(seed + 10) };
        let tensors = Named(BTreeMap::from([(
            "scale".to_string(),
            Tensor::full(&[2], seed as f64, DType::Float32, Device::Cpu).unwrap(),
        )]));
        let others = Others(BTreeMap::from([("critic".to_string(), PartsOptions { tensors, ..critic })]));
        PartsOptions { others, ..parts(seed) }
    };
    let critic = |parts: &PartsOptions| parts.others.0["critic"].clone();
    let first = both(1);
    let train = |parts: &PartsOptions| (work(parts, 3), work(&critic(parts), 3));
    train(&first);
    save(&path, &first).unwrap();
    let losses = train(&first);
    let second = both(2);
    let saved = Checkpoint::read(&path).unwrap();
    saved.restore(&second).unwrap();
    assert_eq!(critic(&second).tensors.0["scale"].to_f32().unwrap(), [1.0, 1.0]);
    assert_eq!(train(&second), losses);
    assert_eq!(bits(&first), bits(&second));
    assert_eq!(bits(&critic(&first)), bits(&critic(&second)));

    // Nothing changes if one of the others does not fit.
    let mut wide = both(3);
    let own = wide.others.0.get_mut("critic").unwrap();
    own.model = Some(Model::new(Config { hidden_size: 16, ..config() }, 3, Device::Cpu).unwrap());
    let before = bits(&wide);
    let error = saved.restore(&wide).unwrap_err().message();
    assert!(error.contains("`others.critic`: the model was saved with another setting"), "{error}");
    assert_eq!(bits(&wide), before);
    let mut renamed = both(3);
    let own = renamed.others.0.remove("critic").unwrap();
    renamed.others.0.insert("critics".to_string(), own);
    let error = saved.restore(&renamed).unwrap_err();
    assert!(error.message().contains("the checkpoint has no `others.critics`"), "{}", error.message());
    assert_eq!(error.hint_text(), Some("it holds `critic`"));
}

#[test]
fn tensors_of_a_loop_must_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let of = |name: &str, shape: &[i64]| PartsOptions {
        tensors: Named(BTreeMap::from([(
            name.to_string(),
            Tensor::zeros(shape, DType::Float32, Device::Cpu).unwrap(),
        )])),
        ..PartsOptions::default()
    };
    save(&path, of("mean", &[3])).unwrap();
    let saved = Checkpoint::read(&path).unwrap();
    saved.restore(&of("mean", &[3])).unwrap();
    let message = |parts: PartsOptions| saved.restore(&parts).unwrap_err().message();
    assert!(message(of("means", &[3])).contains("the checkpoint has no tensor `means`"));
    assert!(
        message(of("mean", &[1, 3]))
            .contains("expected `mean` to be a tensor [1, 3] float32, found a tensor [3]")
    );
    let parts =
        |json: &str| PartsOptions::from_map(&Map::from_value(&Value::from_json_text(json).unwrap()).unwrap());
    for (json, text) in [
        (r#"{"others": {"a.b": {}}}"#, "a name in `others` has letters"),
        (r#"{"others": {"a": {"values": {"step": 1}}}}"#, "has `values` or `others` of its own"),
        (r#"{"others": {"a": {"modell": 1}}}"#, "modell"),
        (r#"{"others": {"a": 1}}"#, "option `others`: `a`: expected a map of options"),
        (r#"{"tensors": {"a": 1}}"#, "option `tensors`: `a`: expected tensor"),
    ] {
        let message = parts(json).unwrap_err().message();
        assert!(message.contains(text), "{json}: {message}");
    }
}
