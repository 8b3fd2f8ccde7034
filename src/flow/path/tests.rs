//! Paths: results of functions, conversion of predictions, and equality.

use super::*;
use crate::context::Context;
use crate::declare::Choice;
use crate::flow::Timesteps;
use crate::torch::DType;

fn generator() -> Generator {
    Generator::new(2, Device::Cpu).unwrap()
}

fn images() -> Tensor {
    Tensor::randn(&[3, 1, 4, 4], DType::Float32, Device::Cpu, Some(&generator())).unwrap()
}

fn times(values: &[f32]) -> Tensor {
    Tensor::from_f32(values, &[values.len() as i64]).unwrap()
}

fn predicting(predict: &str) -> Path {
    Path::new(PathOptions { predict: Predict::named(predict).unwrap(), ..PathOptions::default() }).unwrap()
}

/// A function of tensors, as a script passes it.
fn function(f: impl Fn(&[Tensor]) -> Result<Value> + Send + Sync + 'static) -> Option<Function> {
    Some(Function::new(move |values| f(&values.iter().filter_map(Value::downcast).collect::<Vec<_>>())))
}

fn map(x_t: Tensor, target: Tensor) -> Value {
    Value::Map(Map::from([
        ("x_t".to_string(), x_t.into_value()),
        ("target".to_string(), target.into_value()),
    ]))
}

#[test]
fn the_default_path_is_the_straight_one_bit_for_bit() {
    let (x1, t) = (images(), times(&[0.1, 0.5, 0.99]));
    let straight = pair(&x1, &t, None, Some(&generator())).unwrap();
    let made = Path::default().pair(&x1, &t, None, Some(&generator())).unwrap();
    for (a, b) in
        [(&straight.x_t, &made.x_t), (&straight.target, &made.target), (&straight.noise, &made.noise)]
    {
        assert!(a.equal(b).unwrap());
    }
    assert!(Path::default().velocity(x1.clone(), &x1, &t).unwrap().is_same(&x1));
}

#[test]
fn an_exact_prediction_of_the_image_or_the_noise_gives_the_exact_velocity() {
    let (x1, t) = (images(), times(&[0.06, 0.5, 0.94]));
    for predict in ["x", "noise"] {
        let path = predicting(predict);
        let pair = path.pair(&x1, &t, None, Some(&generator())).unwrap();
        let exact = x1.sub(&pair.noise).unwrap();
        assert!(pair.target.equal(&exact).unwrap(), "{predict}");
        let output = if predict == "x" { x1.clone() } else { pair.noise.clone() };
        let found = path.velocity(output, &pair.x_t, &t).unwrap();
        assert!(found.allclose(&exact, 1e-4, 1e-4).unwrap(), "{predict}");
    }
}

#[test]
fn where_the_division_is_held_an_exact_prediction_has_no_loss() {
    let x1 = images();
    for (predict, ends) in [("x", [0.96, 0.99, 1.0]), ("noise", [0.0, 0.01, 0.04])] {
        let (path, t) = (predicting(predict), times(&ends));
        let pair = path.pair(&x1, &t, None, Some(&generator())).unwrap();
        let output = if predict == "x" { x1.clone() } else { pair.noise.clone() };
        let found = path.velocity(output, &pair.x_t, &t).unwrap();
        assert!(found.allclose(&pair.target, 1e-4, 1e-5).unwrap(), "{predict}");
    }
}

#[test]
fn short_types_keep_their_dtype_and_wide_states_widen() {
    let (x1, t) = (images().to_dtype(DType::BFloat16).unwrap(), times(&[0.1, 0.5, 0.9]));
    let path = predicting("x");
    let pair = path.pair(&x1, &t, None, Some(&generator())).unwrap();
    assert_eq!((pair.x_t.dtype(), pair.target.dtype()), (DType::BFloat16, DType::BFloat16));
    assert_eq!(path.velocity(x1.clone(), &pair.x_t, &t).unwrap().dtype(), DType::BFloat16);
    let wide = images();
    assert_eq!(path.velocity(x1, &wide, &t).unwrap().dtype(), DType::Float32);
}

#[test]
fn functions_make_noise_and_points() {
    let (x1, t) = (images(), times(&[0.25, 0.5, 1.0]));
    let options = PathOptions {
        noise: function(|v| v[0].mul_scalar(2.0).map(IntoValue::into_value)),
        mix: function(|v| Ok(map(v[0].sub(&v[1])?, v[1].clone()))),
        ..PathOptions::default()
    };
    let path = Path::new(options).unwrap();
    let pair = path.pair(&x1, &t, None, Some(&generator())).unwrap();
    let z = super::pair(&x1, &t, None, Some(&generator())).unwrap().noise;
    assert!(pair.noise.equal(&z.mul_scalar(2.0).unwrap()).unwrap());
    assert!(pair.x_t.equal(&x1.sub(&pair.noise).unwrap()).unwrap());
    assert!(pair.target.equal(&pair.noise).unwrap());
    // Noise that is given is used unchanged.
    assert!(path.pair(&x1, &t, Some(&z), None).unwrap().noise.equal(&z).unwrap());
}

#[test]
fn what_functions_give_is_checked() {
    let (x1, t) = (images(), times(&[0.25, 0.5, 1.0]));
    let message =
        |options: PathOptions| Path::new(options).unwrap().pair(&x1, &t, None, None).unwrap_err().message();
    let noise = |noise| message(PathOptions { noise, ..PathOptions::default() });
    assert_eq!(
        noise(function(|v| v[0].narrow(0, 0, 2).map(IntoValue::into_value))),
        "`noise` of the path must return a tensor [3, 1, 4, 4] float32, found a tensor [2, 1, 4, 4] float32"
    );
    assert!(
        noise(function(|v| v[0].to_dtype(DType::Float64).map(IntoValue::into_value))).contains("float64")
    );
    assert_eq!(
        noise(function(|_| Ok(Value::Int(3)))),
        "`noise` of the path: expected a tensor [3, 1, 4, 4] float32, found the integer 3"
    );
    let mix = |mix| message(PathOptions { mix, ..PathOptions::default() });
    assert!(
        mix(function(|v| Ok(v[0].clone().into_value()))).starts_with("`mix` of the path: expected a map")
    );
    assert_eq!(
        mix(function(|v| Ok(map(v[0].clone(), v[2].clone())))),
        "`target` of `mix` must be a tensor [3, 1, 4, 4] float32, as the images, found a tensor [3] float32"
    );
    let other = Map::from([("predict".to_string(), "y".into_value())]);
    let error = PathOptions::from_map(&other).unwrap_err();
    assert!(error.message().starts_with("`predict` must be one of"), "{error}");
}

#[test]
fn times_of_a_function_lie_on_the_path() {
    let draw = |give: Option<Function>| {
        let options = PathOptions { times: give.map(Times::Function), ..PathOptions::default() };
        Path::new(options).unwrap().times(3, Device::Cpu, &generator()).unwrap()
    };
    let good = draw(function(|_| Ok(times(&[0.0, 0.5, 1.0]).into_value()))).unwrap();
    assert_eq!(good.to_f32().unwrap(), [0.0, 0.5, 1.0]);
    for (given, part) in [
        (vec![0.0, 0.5], "must return a tensor [3] float32, found a tensor [2] float32"),
        (vec![0.0, 0.5, 1.5], "must return times from 0, noise, to 1, data, found 1.5"),
        (vec![f32::NAN, 0.5, 0.5], "found NaN"),
    ] {
        let error = draw(function(move |_| Ok(times(&given).into_value()))).unwrap_err();
        assert!(error.message().contains(part), "{error}");
    }
    assert!(Path::default().times(3, Device::Cpu, &generator()).is_none());
}

#[test]
fn paths_print_compare_and_become_data() {
    assert_eq!(format!("{:?}", Path::default()), "flow::path()");
    let code = || {
        Function::new(|_| Ok(Value::Unit))
            .with_code(|| Ok(Value::Map(Map::from([("text".to_string(), "z * 2.0".into_value())]))))
    };
    let made = |noise| {
        let times = Some(Times::Sampler(Timesteps::named("logit_normal").unwrap()));
        Path::new(PathOptions {
            noise: Some(noise),
            times,
            predict: Predict::Image,
            ..PathOptions::default()
        })
        .unwrap()
    };
    let path = made(code());
    assert_eq!(
        format!("{path:?}"),
        "flow::path(#{ noise: <function>, times: flow::logit_normal(#{ mean: 0.0, std: 1.0 }), predict: \"x\" })"
    );
    let text = path.to_data().to_json_text().unwrap();
    assert!(text.contains(r#""noise":{"text":"z * 2.0"}"#) && text.contains(r#""predict":"x""#), "{text}");
    // Equal code is equal; a function without code is equal only to itself.
    assert!(path == made(code()) && path != Path::default());
    let closure = || Function::new(|_| Ok(Value::Unit));
    let own = made(closure());
    assert!(own == own.clone() && own != made(closure()));
    assert!(own.to_data().to_json_text().unwrap().contains(r#""noise":null"#));
}

#[test]
fn a_stored_path_comes_back_with_its_code() {
    use crate::context::Context;
    let double = || {
        function(|v| v[0].mul_scalar(2.0).map(IntoValue::into_value)).map(|f| {
            f.with_code(|| Ok(Value::Map(Map::from([("text".to_string(), "z * 2.0".into_value())]))))
        })
    };
    let times = Some(Times::Sampler(Timesteps::named("logit_normal").unwrap()));
    let path =
        Path::new(PathOptions { noise: double(), times, predict: Predict::Noise, ..PathOptions::default() })
            .unwrap();
    let compile: crate::context::Compile = Arc::new(move |code| {
        assert_eq!(code, r#"{"text":"z * 2.0"}"#);
        Ok(Arc::new(double().unwrap()))
    });
    let context = Context { compile, ..Context::default() };
    let again = Path::from_data(&path.to_data(), &context).unwrap();
    assert!(again == path);
    let x1 = images();
    assert!(again.noise(x1.clone(), None).unwrap().equal(&x1.mul_scalar(2.0).unwrap()).unwrap());
    // If code cannot be compiled or was not stored, the error names the part.
    let error = Path::from_data(&path.to_data(), &Context::default()).unwrap_err();
    assert!(
        error.message().starts_with("`noise` of the path: code of a script cannot be run here"),
        "{error}"
    );
    let closure =
        Path::new(PathOptions { mix: function(|_| Ok(Value::Unit)), ..PathOptions::default() }).unwrap();
    let error = Path::from_data(&closure.to_data(), &context).unwrap_err();
    assert_eq!(error.message(), "`mix` of the path was a function that could not be stored");
}

#[test]
fn predictions_are_converted_into_each_other_on_every_interpolant() {
    let (x1, t) = (images().to_dtype(DType::Float64).unwrap(), times(&[0.06, 0.5, 0.94]));
    let all = [Predict::Velocity, Predict::Image, Predict::Noise, Predict::Score];
    for interpolant in Interpolant::ALL.iter().copied() {
        let of = |predict| Path::new(PathOptions { predict, interpolant, ..PathOptions::default() }).unwrap();
        let pair = of(Predict::Velocity).pair(&x1, &t, None, Some(&generator())).unwrap();
        let exact = |to| of(Predict::Velocity).convert(&pair.target, &pair.x_t, &t, to).unwrap();
        assert!(exact(Predict::Image).allclose(&x1, 1e-9, 1e-9).unwrap(), "{interpolant}");
        assert!(exact(Predict::Noise).allclose(&pair.noise, 1e-9, 1e-9).unwrap(), "{interpolant}");
        for from in all {
            for to in all {
                let found = of(from).convert(&exact(from), &pair.x_t, &t, to).unwrap();
                assert!(found.allclose(&exact(to), 1e-8, 1e-8).unwrap(), "{interpolant} {from} {to}");
            }
            let v = of(from).velocity(exact(from), &pair.x_t, &t).unwrap();
            assert!(v.allclose(&pair.target, 1e-8, 1e-8).unwrap(), "{interpolant} {from}");
            // What training compares with is what an exact network gives, at the ends too.
            let late = times(&[0.02, 0.98, 0.999]);
            let own = of(from).pair(&x1, &late, None, Some(&generator())).unwrap();
            let factors = interpolant.at(&late).unwrap();
            let output = from.of(&x1, &own.noise, &factors, 1e-12).unwrap();
            let v = of(from).velocity(output, &own.x_t, &late).unwrap();
            assert!(v.allclose(&own.target, 1e-5, 1e-5).unwrap(), "{interpolant} {from}");
            let ends = times(&[0.0, 1.0, 0.5]);
            let own = of(from).pair(&x1, &ends, None, Some(&generator())).unwrap();
            assert!(
                own.target.isfinite().unwrap().all(&[], false).unwrap().item().unwrap() == 1.0,
                "{interpolant} {from}"
            );
        }
    }
}

#[test]
fn a_velocity_keeps_the_prediction_where_its_divisor_is_clamped() {
    let (x, t) = (images().to_dtype(DType::Float64).unwrap(), times(&[0.01, 0.97, 0.9999]));
    let output = x.cos().unwrap();
    for interpolant in Interpolant::ALL.iter().copied() {
        for predict in [Predict::Velocity, Predict::Image, Predict::Noise, Predict::Score] {
            let path = Path::new(PathOptions { predict, interpolant, ..PathOptions::default() }).unwrap();
            let v = path.velocity(output.clone(), &x, &t).unwrap();
            let convert = |to| path.convert(&output, &x, &t, to).unwrap();
            assert!(convert(Predict::Velocity).equal(&v).unwrap(), "{interpolant} {predict}");
            let image = path.image(&v, &x, &t).unwrap();
            assert!(image.allclose(&convert(Predict::Image), 1e-6, 1e-6).unwrap(), "{interpolant} {predict}");
        }
    }
    // At t = 1 a predicted image has a velocity with the divisor 0.05.
    let path = Path::new(PathOptions { predict: Predict::Image, ..PathOptions::default() }).unwrap();
    let (x, t) = (Tensor::from_f64(&[1.0], &[1, 1]).unwrap(), times(&[1.0]));
    let v = path.convert(&x.mul_scalar(1.1).unwrap(), &x, &t, Predict::Velocity).unwrap();
    assert!((v.item().unwrap() - 2.0).abs() < 1e-6);
}

#[test]
fn what_needs_other_noise_or_other_points_is_refused() {
    let noise = || function(|v| v[0].mul_scalar(2.0).map(IntoValue::into_value));
    let mix = function(|v| Ok(map(v[0].clone(), v[1].clone())));
    for predict in [Predict::Image, Predict::Noise, Predict::Score, Predict::Ddpm] {
        let error =
            Path::new(PathOptions { mix: mix.clone(), predict, ..PathOptions::default() }).unwrap_err();
        assert!(error.message().starts_with("a path with `mix` has points of its own"), "{error}");
    }
    let error = Path::new(PathOptions { noise: noise(), predict: Predict::Score, ..PathOptions::default() });
    assert!(error.unwrap_err().message().contains("whose score is not known"));
    let path = Path::new(PathOptions { noise: noise(), ..PathOptions::default() }).unwrap();
    let (x, t) = (images(), times(&[0.2, 0.5, 0.9]));
    let error = path.convert(&x, &x, &t, Predict::Score).unwrap_err();
    assert_eq!(
        error.message(),
        "a path with `noise` has noise of another distribution, whose score is not known, and `convert` needs it"
    );
    path.convert(&x, &x, &t, Predict::Image).unwrap();
}

#[test]
fn interpolants_are_stored_and_named() {
    let path = Path::new(PathOptions {
        interpolant: Interpolant::Gvp,
        min_divisor: Some(0.01),
        predict: Predict::Score,
        ..PathOptions::default()
    })
    .unwrap();
    assert_eq!(
        format!("{path:?}"),
        "flow::path(#{ predict: \"score\", interpolant: \"gvp\", min_divisor: 0.01 })"
    );
    assert_eq!(Path::from_data(&path.to_data(), &Context::default()).unwrap(), path);
    let ddpm = PathOptions { interpolant: Interpolant::Vp, predict: Predict::Ddpm, ..PathOptions::default() };
    assert!(Path::new(ddpm).unwrap_err().message().contains("takes no `interpolant`"));
}
