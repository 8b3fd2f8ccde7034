//! Muon: the published code, properties, groups, master weights, resumed runs.

use super::*;
use crate::model::{Config, Model};
use crate::spectral::{correction, filter, gate};
use crate::torch::Device;
use crate::train::checkpoint::{Checkpoint, PartsOptions, save};
use crate::train::tests::{model, short, stopped_after, train, weights};
use crate::train::{FitOptions, Group, Optimizer};

/// Returns the matrix whose elements are `sin(1 + 7 k + 3 i + 1.7 j + i j)`.
fn matrix(rows: i64, columns: i64, k: i64) -> Tensor {
    let at = |i: i64, j: i64| (1.0 + (7 * k + 3 * i) as f64 + 1.7 * j as f64 + (i * j) as f64).sin() as f32;
    let all: Vec<f32> = (0..rows).flat_map(|i| (0..columns).map(move |j| at(i, j))).collect();
    Tensor::from_f32(&all, &[rows, columns]).unwrap()
}

/// Updates a parameter by a gradient.
fn step(optimizer: &Optimizer, w: &Tensor, gradient: &Tensor) {
    optimizer.step(&w.mul(gradient).unwrap().sum(&[], false).unwrap(), None).unwrap();
}

fn any(globs: &str) -> MuonOptions {
    MuonOptions { r#match: OneOrMany(vec![globs.to_string()]), ..MuonOptions::default() }
}

/// The numbers are those of `SingleDeviceMuon` of the public repository after five steps, with the iteration in both
/// dtypes.
#[test]
fn five_steps_of_the_published_code() {
    let fixture: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/fixtures/muon.json")).unwrap();
    for (precision, rows, columns) in [
        (Precision::Float32, 6, 4),
        (Precision::Float32, 3, 8),
        (Precision::BFloat16, 6, 4),
        (Precision::BFloat16, 3, 8),
    ] {
        let w = matrix(rows, columns, 0).mul_scalar(0.5).unwrap().set_requires_grad(true).unwrap();
        let parameters = Parameters::new(vec![("w".to_string(), w.clone())]).unwrap();
        let options = MuonOptions { precision: Some(precision), weight_decay: 0.1, ..any("w") };
        let optimizer = Optimizer::muon(&parameters, &options, &AdamWOptions::default()).unwrap();
        for k in 1..=5 {
            step(&optimizer, &w, &matrix(rows, columns, k));
        }
        let name = format!("{precision} {rows}x{columns}");
        let state = optimizer.state().unwrap();
        assert_eq!(state.keys().collect::<Vec<_>>(), ["momentum.w", "step.w"]);
        for (key, found) in [("weight", &w), ("momentum", &state["momentum.w"])] {
            let expected: Vec<f64> = serde_json::from_value(fixture[&name][key].clone()).unwrap();
            let found = found.to_f64().unwrap();
            let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            assert!(apart.fold(0.0, f64::max) < 1e-5, "{name} {key}: {found:?}");
        }
        assert_eq!(optimizer.updates(), 5);
    }
}

/// All singular values of an update are near 1, whatever those of the gradient are.
#[test]
fn updates_are_nearly_orthogonal() {
    let rule = MuonOptions { momentum: 0.0, ..any("w") }.rules(&Groups::default())[0];
    for (rows, columns) in [(5, 5), (4, 9), (9, 4)] {
        let x = matrix(rows, columns, 1).mul(&matrix(rows, columns, 2).mul_scalar(3.0).unwrap()).unwrap();
        let made = rule.orthogonal(&x).unwrap();
        let (small, large) = match rows > columns {
            true => (made.transpose(0, 1).unwrap().matmul(&made).unwrap(), columns),
            false => (made.matmul(&made.transpose(0, 1).unwrap()).unwrap(), rows),
        };
        // The trace is the sum of the squares of as many singular values.
        let trace: f64 = (0..large).map(|i| small.to_f64().unwrap()[(i * large + i) as usize]).sum();
        assert!((0.4..1.6).contains(&(trace / large as f64)), "{trace} of {large}");
    }
}

#[test]
fn a_model_gives_its_matrices_of_blocks_to_muon() {
    let low = filter::gaussian(filter::Gaussian { sigma: 1.0 }).unwrap();
    let gate = gate::time_label(()).unwrap();
    let config: Config = model(0).config().unwrap().clone();
    let gated = config.with_corrections(vec![correction(&low, gate).unwrap()]);
    let net = Model::new(gated, 0, Device::Cpu).unwrap();
    let parameters = Parameters::of(&net).unwrap();
    let taken = MuonOptions::default().takes(&parameters).unwrap();
    for ((name, tensor), taken) in parameters.named().iter().zip(taken) {
        let hidden = name.starts_with("blocks.") && tensor.rank() == 2 && !name.contains("gate");
        assert_eq!(taken, hidden, "{name}");
    }
    let none = Optimizer::muon(&parameters, &any("*.bias"), &AdamWOptions::default()).unwrap_err();
    assert!(none.message().starts_with("no parameter is a matrix for Muon"), "{none}");
}

/// Groups change the rates of both rules, in proportion to the schedule, and short weights have master weights.
#[test]
fn groups_and_masters_are_those_of_every_optimizer() {
    for dtype in [DType::Float32, DType::BFloat16] {
        let make = |name: &str| {
            let w = matrix(4, 4, 3).to_dtype(dtype).unwrap().set_requires_grad(true).unwrap();
            (name.to_string(), w)
        };
        let named = vec![make("a.weight"), make("b.weight"), make("c.bias")];
        let group = Group { r#match: OneOrMany(vec!["b.*".to_string()]), lr: Some(0.2), ..Group::default() };
        let adamw = AdamWOptions { lr: 1e-3, groups: Groups(vec![group]), ..AdamWOptions::default() };
        let muon = MuonOptions { lr: 0.1, precision: Some(Precision::Float32), ..any("*.weight") };
        let optimizer = Optimizer::muon(&Parameters::new(named.clone()).unwrap(), &muon, &adamw).unwrap();
        assert_eq!(optimizer.rates(), [1e-3, 0.2, 0.1, 0.2]);
        let before: Vec<Vec<f64>> = named.iter().map(|(_, w)| w.to_f64().unwrap()).collect();
        let terms: Vec<Tensor> = named
            .iter()
            .map(|(_, w)| w.mul(&matrix(4, 4, 5).to_dtype(dtype).unwrap()).unwrap().sum(&[], false).unwrap())
            .collect();
        let loss = Tensor::stack(&terms, 0).unwrap().sum(&[], false).unwrap();
        optimizer.step(&loss, None).unwrap();
        let size = |i: usize| -> f64 {
            let after = named[i].1.to_f64().unwrap();
            after.iter().zip(&before[i]).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
        };
        assert!((size(1) / size(0) - 2.0).abs() < 0.05 && size(2) < 0.1 * size(0), "{dtype:?}");
        optimizer.set_lr(5e-4).unwrap();
        assert_eq!(optimizer.rates(), [5e-4, 0.1, 0.05, 0.1]);
        let state = optimizer.state().unwrap();
        assert_eq!(state.contains_key("master.a.weight"), dtype == DType::BFloat16);
        assert_eq!(state["momentum.a.weight"].dtype(), DType::Float32);
        assert!(format!("{optimizer:?}").starts_with("muon(lr 0.05, momentum 0.95"), "{optimizer:?}");
    }
}

#[test]
fn an_update_that_is_not_finite_changes_nothing() {
    let w = matrix(3, 3, 0).set_requires_grad(true).unwrap();
    let parameters = Parameters::new(vec![("w".to_string(), w.clone())]).unwrap();
    let optimizer = Optimizer::muon(&parameters, &any("w"), &AdamWOptions::default()).unwrap();
    step(&optimizer, &w, &matrix(3, 3, 1));
    let before = (w.to_f32().unwrap(), optimizer.state().unwrap()["momentum.w"].to_f32().unwrap());
    let loss = w.sum(&[], false).unwrap().mul_scalar(f64::NAN).unwrap();
    assert!(optimizer.step(&loss, Some(1.0)).is_err());
    let state = optimizer.state().unwrap();
    assert_eq!((w.to_f32().unwrap(), state["momentum.w"].to_f32().unwrap()), before);
    assert_eq!((state["step.w"].item().unwrap(), optimizer.updates()), (1.0, 1));
}

#[test]
fn it_learns_with_muon() {
    let options =
        FitOptions { steps: 250, batch: 32, optimizer: Method::Muon(MuonOptions::default()), ..short() };
    let run = train(&model(0), &options).unwrap();
    let first = run.losses()[..10].iter().sum::<f64>() / 10.0;
    assert!(run.loss() < 0.5 * first, "from {first} to {}", run.loss());
}

#[test]
fn a_run_with_muon_that_was_stopped_is_the_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let muon = MuonOptions { weight_decay: 0.01, ..MuonOptions::default() };
    let options = FitOptions {
        optimizer: Method::Muon(muon.clone()),
        schedule: crate::train::Schedule::Cosine,
        ..short()
    };
    let straight = train(&model(0), &options).unwrap();
    assert_ne!(weights(straight.model()), weights(train(&model(0), &short()).unwrap().model()));
    let saved = FitOptions { out: folder.path().display().to_string(), ..options };
    for steps in [2, 7] {
        stopped_after(steps, &saved);
    }
    let other = Method::Muon(MuonOptions { momentum: 0.9, ..muon });
    let error = train(&model(0), &FitOptions { optimizer: other, ..saved.clone() }).unwrap_err();
    assert!(error.message().contains("`optimizer.momentum` was 0.95 and is 0.9"), "{error}");
    let resumed = train(&model(0), &saved).unwrap();
    assert_eq!(weights(resumed.model()), weights(straight.model()));
    assert_eq!(resumed.losses(), straight.losses());
}

#[test]
fn a_checkpoint_restores_rates_and_momenta() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let parts = |muon: &MuonOptions| {
        let w = matrix(4, 3, 0).set_requires_grad(true).unwrap();
        let parameters = Parameters::new(vec![("w".to_string(), w.clone())]).unwrap();
        let optimizer = Optimizer::muon(&parameters, muon, &AdamWOptions::default()).unwrap();
        (w, PartsOptions { optimizer: Some(optimizer), ..PartsOptions::default() })
    };
    let (w, first) = parts(&any("w"));
    let optimizer = first.optimizer.as_ref().unwrap();
    step(optimizer, &w, &matrix(4, 3, 1));
    optimizer.set_lr(5e-5).unwrap();
    save(&path, &first).unwrap();
    // The base rate may differ, since the saved rates are restored.
    let (again, second) = parts(&MuonOptions { lr: 0.5, ..any("w") });
    Checkpoint::read(&path).unwrap().restore(&second).unwrap();
    again.copy_(&w).unwrap();
    let restored = second.optimizer.as_ref().unwrap();
    assert_eq!(restored.rates(), optimizer.rates());
    for (optimizer, w) in [(optimizer, &w), (restored, &again)] {
        step(optimizer, w, &matrix(4, 3, 2));
    }
    assert_eq!(w.to_f32().unwrap(), again.to_f32().unwrap());
    let (_, other) = parts(&MuonOptions { nesterov: false, ..any("w") });
    let error = Checkpoint::read(&path).unwrap().restore(&other).unwrap_err();
    assert!(error.message().contains("nesterov"), "{error}");
    let plain = Optimizer::new(&Parameters::try_from(&w).unwrap(), &AdamWOptions::default()).unwrap();
    let plain = PartsOptions { optimizer: Some(plain), ..PartsOptions::default() };
    assert!(Checkpoint::read(&path).unwrap().restore(&plain).is_err());
}

#[test]
fn an_optimizer_is_written_as_it_is_read() {
    for text in [r#""adamw""#, r#""muon""#, r#"{"kind":"muon","lr":0.05,"match":"*.weight"}"#] {
        let method = Method::from_value(&Value::from_json_text(text).unwrap()).unwrap();
        assert_eq!(Method::from_value(&method.clone().into_value()).unwrap(), method, "{text}");
        assert_eq!(method == Method::AdamW, text.contains("adamw"));
    }
    let message =
        |text: &str| Method::from_value(&Value::from_json_text(text).unwrap()).unwrap_err().to_string();
    assert!(message(r#""moun""#).contains("did you mean `muon`?"));
    for name in READY {
        assert!(
            include_str!("../../../std-lib/optimizers.rhai").contains(&format!("\nfn {name}(")),
            "{name}"
        );
        assert!(message(&format!("\"{name}\"")).contains(&format!("optimizer: optimizers::{name}()")));
    }
    let function = Value::Function(crate::declare::Function::new(|_| Ok(Value::Unit)));
    assert!(Method::from_value(&function).unwrap_err().to_string().contains("optimizer: #{ update: |u|"));
    assert!(message(r#"{"lr":0.05}"#).contains("has a `kind`"));
    assert!(message(r#"{"kind":"muon","betas":[0.9,0.9]}"#).contains("unknown option `betas`"));
}
