//! Rules that are functions: AdamW written as one, errors that change nothing, memory, masters, skipped updates, runs.

use super::*;
use crate::declare::function;
use crate::train::tests::{model, short, train, weights};
use crate::train::{FitOptions, Group, Method, Optimizer};

fn value(map: &Map, key: &str) -> Tensor {
    map[key].downcast().unwrap()
}

fn number(map: &Map, key: &str) -> f64 {
    match map[key] {
        Value::Float(x) => x,
        Value::Int(i) => i as f64,
        _ => panic!("{key}"),
    }
}

fn maps(entries: &[(&str, Tensor)]) -> Value {
    Value::Map(entries.iter().map(|(key, t)| (key.to_string(), t.clone().into_value())).collect())
}

fn next(param: Tensor, state: &[(&str, Tensor)]) -> Value {
    Value::Map(Map::from([("param".to_string(), param.into_value()), ("state".to_string(), maps(state))]))
}

fn zeros(keys: &'static [&'static str]) -> Option<Function> {
    Some(function(move |p: Map| {
        let zeros = |key: &&'static str| {
            let param = value(&p, "param");
            Ok((*key, Tensor::zeros(&param.shape(), param.dtype(), param.device())?))
        };
        Ok(maps(&keys.iter().map(zeros).collect::<Result<Vec<_>>>()?))
    }))
}

fn rule(update: impl Fn(Map) -> Result<Value> + Send + Sync + 'static) -> CustomOptions {
    CustomOptions { update: Some(function(update)), ..CustomOptions::default() }
}

/// Returns AdamW as a function.
fn adamw() -> CustomOptions {
    let update = |u: Map| {
        let (param, grad) = (value(&u, "param"), value(&u, "grad"));
        let Value::Map(state) = &u["state"] else { panic!("a map") };
        let Value::List(betas) = &u["betas"] else { panic!("an array") };
        let [Value::Float(a), Value::Float(b)] = betas[..] else { panic!("two floats") };
        let (lr, decay, step) = (number(&u, "lr"), number(&u, "weight_decay"), number(&u, "step"));
        let m = value(state, "exp_avg").lerp(&grad, 1.0 - a)?;
        let v = value(state, "exp_avg_sq").lerp(&grad.square()?, 1.0 - b)?;
        let root = v.sqrt()?.mul_scalar(1.0 / (1.0 - b.powf(step)).sqrt())?.add_scalar(number(&u, "eps"))?;
        let moved = m.div(&root)?.mul_scalar(lr / (1.0 - a.powf(step)))?;
        Ok(next(param.mul_scalar(1.0 - lr * decay)?.sub(&moved)?, &[("exp_avg", m), ("exp_avg_sq", v)]))
    };
    CustomOptions { state: zeros(&["exp_avg", "exp_avg_sq"]), ..rule(update) }
}

fn leaf(numbers: &[f64], dtype: DType) -> Tensor {
    let w = Tensor::from_f64(numbers, &[numbers.len() as i64]).unwrap();
    w.to_dtype(dtype).unwrap().set_requires_grad(true).unwrap()
}

fn of(named: &[(&str, &Tensor)]) -> Parameters {
    Parameters::new(named.iter().map(|(name, t)| (name.to_string(), (*t).clone())).collect()).unwrap()
}

/// Returns half the sum of squares, whose gradient is the tensor itself.
fn bowl(w: &Tensor) -> Tensor {
    w.to_dtype(DType::Float64).unwrap().square().unwrap().sum(&[], false).unwrap().mul_scalar(0.5).unwrap()
}

fn custom(w: &Tensor, options: &CustomOptions) -> Optimizer {
    let base = AdamWOptions { lr: 0.1, ..AdamWOptions::default() };
    Optimizer::custom(&of(&[("w", w)]), options, &base).unwrap()
}

fn close(a: &Tensor, b: &Tensor, rtol: f64) {
    let (a, b) = (a.to_f64().unwrap(), b.to_f64().unwrap());
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= rtol * (1.0 + b.abs())), "{a:?} {b:?}");
}

#[test]
fn adamw_as_a_function_equals_the_native_one() {
    for (dtype, rounding) in [(DType::Float64, 1e-13), (DType::Float32, 1e-6), (DType::BFloat16, 1e-6)] {
        let start = [3.0, -2.0, 0.5, 1.25];
        let group = Group {
            r#match: OneOrMany(vec!["b".into()]),
            lr: Some(0.01),
            betas: Some((0.5, 0.75)),
            ..Group::default()
        };
        let options = AdamWOptions {
            lr: 0.05,
            weight_decay: 0.1,
            groups: Groups(vec![group]),
            ..AdamWOptions::default()
        };
        let run = |custom: bool| {
            let (a, b) = (leaf(&start, dtype), leaf(&start, dtype));
            let parameters = of(&[("a", &a), ("b", &b)]);
            let optimizer = match custom {
                true => Optimizer::custom(&parameters, &adamw(), &options).unwrap(),
                false => Optimizer::new(&parameters, &options).unwrap(),
            };
            for step in 0..20 {
                optimizer.set_lr(0.05 * (1.0 - f64::from(step) / 30.0)).unwrap();
                optimizer.step(&bowl(&a).add(&bowl(&b)).unwrap(), Some(1.0)).unwrap();
            }
            (optimizer.state().unwrap(), optimizer.updates(), a, b)
        };
        let (native, own) = (run(false), run(true));
        assert_eq!(native.0.keys().collect::<Vec<_>>(), own.0.keys().collect::<Vec<_>>());
        native.0.iter().for_each(|(key, tensor)| close(&own.0[key], tensor, rounding));
        assert_eq!(own.1, 20);
        if dtype != DType::BFloat16 {
            close(&own.2, &native.2, rounding);
            close(&own.3, &native.3, rounding);
        }
    }
}

#[test]
fn a_rule_takes_some_parameters_and_adamw_the_others() {
    let make = || (leaf(&[1.0, 2.0], DType::Float32), leaf(&[1.0, 2.0], DType::Float32));
    let descent =
        |u: Map| Ok(value(&u, "param").sub(&value(&u, "grad").mul_scalar(number(&u, "lr"))?)?.into_value());
    let options = CustomOptions {
        r#match: OneOrMany(vec!["w*".into()]),
        except: OneOrMany(vec!["w.bias".into()]),
        lr: Some(0.5),
        ..rule(descent)
    };
    let (w, bias) = make();
    let base = AdamWOptions { lr: 0.1, ..AdamWOptions::default() };
    let optimizer = Optimizer::custom(&of(&[("w", &w), ("w.bias", &bias)]), &options, &base).unwrap();
    assert_eq!(optimizer.rates(), [0.1, 0.5]);
    let (plain, _) = make();
    let other = Optimizer::new(&of(&[("plain", &plain)]), &base).unwrap();
    optimizer.step(&bowl(&w).add(&bowl(&bias)).unwrap(), None).unwrap();
    other.step(&bowl(&plain), None).unwrap();
    assert_eq!(w.to_f32().unwrap(), [0.5, 1.0]);
    assert_eq!(bias.to_f32().unwrap(), plain.to_f32().unwrap());
    // A rule without a state needs no memory.
    assert_eq!(
        optimizer.state().unwrap().keys().collect::<Vec<_>>(),
        ["exp_avg.w.bias", "exp_avg_sq.w.bias", "step.w", "step.w.bias"]
    );
    assert!(format!("{optimizer:?}").starts_with("custom(lr 0.5, 1 tensors) and adamw(lr 0.1,"));
    let none = CustomOptions { r#match: OneOrMany(vec!["x*".into()]), ..options };
    let error = Optimizer::custom(&of(&[("w", &w)]), &none, &base).unwrap_err();
    assert!(error.message().starts_with("no parameter is updated by custom"), "{error}");
}

#[test]
fn what_a_function_may_not_return_is_named_and_changes_nothing() {
    type Update = Box<dyn Fn(Map) -> Result<Value> + Send + Sync>;
    let cases: [(Update, &str); 9] = [
        (
            Box::new(|_| Ok(Value::Unit)),
            "expected the new value of the parameter, a tensor, or a map #{ param, state }, found `()`",
        ),
        (Box::new(|u| Ok(value(&u, "param").into_value())), "the returned state lacks `m`"),
        (
            Box::new(|u| Ok(next(value(&u, "param").sum(&[], false)?, &[("m", value(&u, "grad"))]))),
            "expected `param` to be a tensor [2] float32, found a tensor [] float32",
        ),
        (
            Box::new(|u| Ok(next(value(&u, "param"), &[("m", value(&u, "grad").to_dtype(DType::Float64)?)]))),
            "expected `state.m` to be a tensor [2] float32, found a tensor [2] float64",
        ),
        (
            Box::new(|u| Ok(next(value(&u, "param"), &[("m", value(&u, "grad")), ("n", value(&u, "grad"))]))),
            "the returned state has `n`, which the initial one has not",
        ),
        (
            Box::new(|u| Ok(next(value(&u, "param"), &[("m", value(&u, "grad").mul_scalar(f64::NAN)?)]))),
            "the update made the state `m` of `w` NaN",
        ),
        (
            Box::new(|u| {
                Ok(next(value(&u, "param").mul_scalar(f64::INFINITY)?, &[("m", value(&u, "grad"))]))
            }),
            "the update made the parameter `w` not finite",
        ),
        (Box::new(|u| Ok(maps(&[("m", value(&u, "grad"))]))), "the returned map has `m`"),
        (Box::new(|_| Ok(maps(&[]))), "the returned map lacks `param`"),
    ];
    for (update, message) in cases {
        let w = leaf(&[1.0, 2.0], DType::Float32);
        let optimizer = custom(&w, &CustomOptions { state: zeros(&["m"]), ..rule(update) });
        let error = optimizer.step(&bowl(&w), None).unwrap_err();
        assert!(error.to_string().contains(message), "{error} / {message}");
        assert_eq!((w.to_f32().unwrap(), optimizer.updates()), (vec![1.0, 2.0], 0));
        assert!(optimizer.state().unwrap().values().all(|t| t.to_f64().unwrap().iter().all(|x| *x == 0.0)));
    }
    let w = leaf(&[1.0, 2.0], DType::Float32);
    let changes = custom(
        &w,
        &rule(|u| {
            value(&u, "param").fill_(0.0)?;
            Ok(value(&u, "param").into_value())
        }),
    );
    let error = changes.step(&bowl(&w), None).unwrap_err();
    assert!(error.message().contains("`update` changed `w` or its state in place"), "{error}");
    let all = CustomOptions {
        update_all: Some(function(|_: Vec<Map>| Ok(Vec::<Value>::new()))),
        ..CustomOptions::default()
    };
    let error = custom(&w, &all).step(&bowl(&w), None).unwrap_err();
    assert!(
        error.message().contains("expected an array of 1, one entry for each parameter, found an array of 0"),
        "{error}"
    );
    let base = AdamWOptions::default();
    let made = |options: CustomOptions| Optimizer::custom(&of(&[("w", &w)]), &options, &base).unwrap_err();
    assert!(made(CustomOptions::default()).message().contains("needs `update`"));
    assert!(made(CustomOptions { update_all: all.update_all, ..adamw() }).message().contains("found both"));
    assert!(made(CustomOptions { state: zeros(&["step"]), ..adamw() }).message().contains("other than"));
    assert!(
        made(CustomOptions { state: Some(function(|_: Map| Ok(1.0))), ..adamw() })
            .message()
            .contains("a map of tensors")
    );
}

/// What is returned may be what was given: the old parameter, the gradient, or another tensor of the state.
#[test]
fn memory_that_an_update_changes_is_copied_first() {
    let w = leaf(&[1.0, 2.0], DType::Float32);
    let update = |u: Map| {
        let Value::Map(state) = &u["state"] else { panic!("a map") };
        let [a, b] = ["a", "b"].map(|key| value(state, key));
        let param = value(&u, "param");
        let (old, grad) = (param.clone(), value(&u, "grad"));
        Ok(next(param.mul_scalar(0.5)?, &[("a", b), ("b", a), ("g", grad), ("old", old)]))
    };
    let state = function(|p: Map| {
        let like = |x: f64| value(&p, "param").mul_scalar(0.0)?.add_scalar(x);
        Ok(maps(&[("a", like(1.0)?), ("b", like(2.0)?), ("g", like(0.0)?), ("old", value(&p, "param"))]))
    });
    let optimizer = custom(&w, &CustomOptions { state: Some(state), ..rule(update) });
    optimizer.step(&bowl(&w), None).unwrap();
    let state = optimizer.state().unwrap();
    let found = |key: &str| state[key].to_f32().unwrap();
    assert_eq!([found("a.w"), found("b.w")], [[2.0, 2.0], [1.0, 1.0]]);
    assert_eq!([found("g.w"), found("old.w"), w.to_f32().unwrap()], [[1.0, 2.0], [1.0, 2.0], [0.5, 1.0]]);
    optimizer.zero_grad().unwrap();
    assert_eq!(optimizer.state().unwrap()["g.w"].to_f32().unwrap(), [1.0, 2.0]);
}

/// On CUDA the function runs although the update is skipped: its gradients are zero, and nothing changes.
#[test]
fn a_skipped_update_gives_zero_gradients_and_changes_nothing() {
    let w = leaf(&[1.0, 2.0], DType::Float32);
    let parameters = of(&[("w", &w)]);
    let values = [w.detach().unwrap()];
    let rule = Custom::new(&adamw(), &parameters, &values, &[true]).unwrap();
    let steps = [Tensor::zeros(&[], DType::Float32, w.device()).unwrap()];
    let constants = |_: usize| AdamW { lr: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.1, eps: 1e-8 };
    let names = ["w".to_string()];
    let grad = |x: f64| Tensor::from_f64(&[x, 1.0], &[2]).unwrap().to_dtype(DType::Float32).unwrap();
    let go = |x: f64, skip: f64| {
        let items = [Item { index: 0, param: values[0].clone(), grad: grad(x) }];
        let skip = Tensor::zeros(&[], DType::Float32, w.device()).unwrap().add_scalar(skip).unwrap();
        let staged = rule.next(&names, &items, &constants, None, Some(&skip)).unwrap();
        let fails = staged.fails().unwrap().unwrap().item().unwrap();
        crate::torch::no_grad(|| rule.apply(staged, &items, &steps, Some(&skip))).unwrap();
        fails
    };
    assert_eq!(go(f64::NAN, 1.0), 0.0);
    assert_eq!((w.to_f32().unwrap(), steps[0].item().unwrap()), (vec![1.0, 2.0], 0.0));
    rule.recount(&steps).unwrap();
    assert_eq!(go(1.0, 0.0), 0.0);
    assert_eq!(steps[0].item().unwrap(), 1.0);
    close(&w, &Tensor::from_f64(&[0.89, 1.88], &[2]).unwrap(), 1e-6);
    assert_eq!(go(f64::NAN, 0.0), 1.0);
}

#[test]
fn a_loss_that_is_not_finite_does_not_call_the_function() {
    let w = leaf(&[1.0], DType::Float32);
    let update = |u: Map| {
        assert!(value(&u, "grad").item()?.is_finite());
        Ok(value(&u, "param").mul_scalar(0.5)?.into_value())
    };
    let optimizer = custom(&w, &rule(update));
    let error = optimizer.step(&bowl(&w).mul_scalar(f64::NAN).unwrap(), None).unwrap_err();
    assert!(error.message().contains("not finite at update 1"), "{error}");
    optimizer.step(&bowl(&w), None).unwrap();
    assert_eq!((w.item().unwrap(), optimizer.updates()), (0.5, 1));
}

/// A function may read the optimizer that calls it.
#[test]
fn the_optimizer_is_not_locked_while_the_function_runs() {
    use std::sync::{Arc, OnceLock};
    let place: Arc<OnceLock<Optimizer>> = Arc::default();
    let inside = place.clone();
    let w = leaf(&[1.0], DType::Float32);
    let optimizer = custom(
        &w,
        &rule(move |u| {
            let lr = inside.get().map_or(0.0, Optimizer::lr);
            Ok(value(&u, "param").add_scalar(-lr)?.into_value())
        }),
    );
    assert!(place.set(optimizer.clone()).is_ok());
    optimizer.step(&bowl(&w), None).unwrap();
    assert!((w.item().unwrap() - 0.9).abs() < 1e-6);
}

#[test]
fn runs_resume_to_the_bit_and_go_on_from_those_of_adamw() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).display().to_string();
    let own = |options: CustomOptions| FitOptions { optimizer: Method::Custom(Box::new(options)), ..short() };
    let straight = train(&model(0), &own(adamw())).unwrap();
    let native = train(&model(0), &short()).unwrap();
    let apart =
        weights(straight.model()).into_iter().zip(weights(native.model())).map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f32::max) < 1e-4);
    let saved = FitOptions { out: at("own"), checkpoint_every: 5, ..own(adamw()) };
    train(&model(0), &FitOptions { steps: 5, ..saved.clone() }).unwrap();
    let resumed = train(&model(0), &saved).unwrap();
    assert_eq!((weights(resumed.model()), resumed.losses()), (weights(straight.model()), straight.losses()));
    assert_eq!(weights(resumed.ema()), weights(straight.ema()));

    // The state of another rule does not fit, and that of AdamW does.
    let descent = rule(|u| Ok(value(&u, "param").sub(&value(&u, "grad"))?.into_value()));
    let error =
        train(&model(0), &FitOptions { optimizer: Method::Custom(Box::new(descent)), ..saved.clone() });
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("`optimizer.state` was given before but not now") || error.contains("exp_avg"),
        "{error}"
    );
    train(&model(0), &FitOptions { steps: 4, out: at("native"), ..short() }).unwrap();
    let on = train(&model(1), &FitOptions { steps: 4, from: at("native"), ..own(adamw()) }).unwrap();
    let on_native = train(&model(1), &FitOptions { steps: 4, from: at("native"), ..short() }).unwrap();
    let apart = weights(on.model()).into_iter().zip(weights(on_native.model())).map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f32::max) < 1e-4);
    let accumulated = train(&model(0), &FitOptions { accumulate: 2, ..own(adamw()) }).unwrap();
    let apart =
        weights(accumulated.model()).into_iter().zip(weights(straight.model())).map(|(a, b)| (a - b).abs());
    assert!(apart.fold(0.0, f32::max) < 1e-3);
}

#[test]
fn functions_receive_the_entries_that_are_declared() {
    let keys = |map: &Map| map.keys().cloned().collect::<std::collections::BTreeSet<_>>();
    let declared = |all: &[(&str, &str)]| all.iter().map(|(key, _)| (*key).to_string()).collect();
    let update = move |u: Map| {
        assert_eq!(keys(&u), declared(received::UPDATE));
        Ok(next(value(&u, "param"), &[]))
    };
    let state = function(move |p: Map| {
        assert_eq!(keys(&p), declared(received::STATE));
        Ok(maps(&[]))
    });
    let w = leaf(&[1.0], DType::Float32);
    custom(&w, &CustomOptions { state: Some(state), ..rule(update) }).step(&bowl(&w), None).unwrap();
}
