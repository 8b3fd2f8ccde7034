//! Paths: results of functions, conversion of predictions, and equality.

use super::*;
use crate::context::Context;
use crate::declare::{Choice, FromValue};
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
    let made = Path::default().pair(&x1, &t, None, Some(&generator()), &PathStep::default()).unwrap();
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
        let pair = path.pair(&x1, &t, None, Some(&generator()), &PathStep::default()).unwrap();
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
        let pair = path.pair(&x1, &t, None, Some(&generator()), &PathStep::default()).unwrap();
        let output = if predict == "x" { x1.clone() } else { pair.noise.clone() };
        let found = path.velocity(output, &pair.x_t, &t).unwrap();
        assert!(found.allclose(&pair.target, 1e-4, 1e-5).unwrap(), "{predict}");
    }
}

#[test]
fn short_types_keep_their_dtype_and_wide_states_widen() {
    let (x1, t) = (images().to_dtype(DType::BFloat16).unwrap(), times(&[0.1, 0.5, 0.9]));
    let path = predicting("x");
    let pair = path.pair(&x1, &t, None, Some(&generator()), &PathStep::default()).unwrap();
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
    let pair = path.pair(&x1, &t, None, Some(&generator()), &PathStep::default()).unwrap();
    let z = super::pair(&x1, &t, None, Some(&generator())).unwrap().noise;
    assert!(pair.noise.equal(&z.mul_scalar(2.0).unwrap()).unwrap());
    assert!(pair.x_t.equal(&x1.sub(&pair.noise).unwrap()).unwrap());
    assert!(pair.target.equal(&pair.noise).unwrap());
    // Noise that is given is used unchanged.
    assert!(path.pair(&x1, &t, Some(&z), None, &PathStep::default()).unwrap().noise.equal(&z).unwrap());
}

#[test]
fn what_functions_give_is_checked() {
    let (x1, t) = (images(), times(&[0.25, 0.5, 1.0]));
    let message = |options: PathOptions| {
        Path::new(options).unwrap().pair(&x1, &t, None, None, &PathStep::default()).unwrap_err().message()
    };
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
        Path::new(options)
            .unwrap()
            .times(&[3, 1, 4, 4], Device::Cpu, &generator(), &PathStep::default())
            .unwrap()
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
    assert!(Path::default().times(&[3, 1, 4, 4], Device::Cpu, &generator(), &PathStep::default()).is_none());
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
    assert!(
        again
            .noise(x1.clone(), None, &PathStep::default())
            .unwrap()
            .equal(&x1.mul_scalar(2.0).unwrap())
            .unwrap()
    );
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
        let pair =
            of(Predict::Velocity).pair(&x1, &t, None, Some(&generator()), &PathStep::default()).unwrap();
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
            let own = of(from).pair(&x1, &late, None, Some(&generator()), &PathStep::default()).unwrap();
            let factors = interpolant.at(&late).unwrap();
            let output = from.of(&x1, &own.noise, &factors, 1e-12).unwrap();
            let v = of(from).velocity(output, &own.x_t, &late).unwrap();
            assert!(v.allclose(&own.target, 1e-5, 1e-5).unwrap(), "{interpolant} {from}");
            let ends = times(&[0.0, 1.0, 0.5]);
            let own = of(from).pair(&x1, &ends, None, Some(&generator()), &PathStep::default()).unwrap();
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

/// A function of the times, as a script passes it.
fn of_times(f: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static) -> Option<Function> {
    function(move |v| f(&v[0]).map(IntoValue::into_value))
}

const HALF: f64 = std::f64::consts::FRAC_PI_2;

/// The interpolant "gvp", written as functions.
fn gvp() -> PathOptions {
    PathOptions {
        alpha: of_times(|t| t.mul_scalar(HALF)?.sin()),
        sigma: of_times(|t| t.mul_scalar(HALF)?.cos()),
        ..PathOptions::default()
    }
}

#[test]
fn functions_of_time_are_the_interpolant_that_they_describe() {
    let (x1, t) = (images().to_dtype(DType::Float64).unwrap(), times(&[0.0, 0.5, 0.94]));
    let near = |a: &Tensor, b: &Tensor| a.allclose(b, 1e-9, 1e-9).unwrap();
    for predict in [Predict::Velocity, Predict::Image, Predict::Noise, Predict::Score] {
        let own = Path::new(PathOptions { predict, ..gvp() }).unwrap();
        let named =
            Path::new(PathOptions { predict, interpolant: Interpolant::Gvp, ..PathOptions::default() });
        let named = named.unwrap();
        let step = PathStep::default();
        let noise = x1.sin().unwrap();
        let [a, b] = [&own, &named].map(|p| p.pair(&x1, &t, Some(&noise), None, &step).unwrap());
        assert!(near(&a.x_t, &b.x_t) && near(&a.target, &b.target), "{predict}");
        let [a, b] = [&own, &named].map(|p| p.velocity(x1.cos().unwrap(), &x1, &t).unwrap());
        assert!(near(&a, &b), "{predict}");
        let state = b.clone();
        let [a, b] = [&own, &named].map(|p| p.score(&x1, &state, &t).unwrap());
        assert!(near(&a, &b), "{predict}");
        for to in [Predict::Velocity, Predict::Image, Predict::Noise, Predict::Score] {
            let [a, b] = [&own, &named].map(|p| p.convert(&x1.cos().unwrap(), &x1, &t, to).unwrap());
            assert!(near(&a, &b), "{predict} {to}");
        }
        assert!(!own.is_straight() && own.converts_by_code() == (predict != Predict::Velocity));
    }
    // No gradient is recorded, and none is needed around the call.
    let found = crate::torch::no_grad(|| Path::new(gvp()).unwrap().slopes(1.0 / 3.0)).unwrap();
    let exact = [0.5, 0.75f64.sqrt(), HALF * 0.75f64.sqrt(), -HALF * 0.5];
    assert!(found.iter().zip(exact).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
}

#[test]
fn constants_have_no_slope_and_infinite_slopes_are_those_beside_the_end() {
    // A variance-exploding path: the image as it is, and noise from 80 to 0.
    let options = PathOptions {
        alpha: Some(Function::new(|_| Ok(Value::Int(1)))),
        sigma: of_times(|t| t.square()?.rsub_scalar(1.0)?.sqrt()?.mul_scalar(80.0)),
        ..PathOptions::default()
    };
    let path = Path::new(options).unwrap();
    let found = path.slopes(0.6).unwrap();
    assert!(found.iter().zip([1.0, 64.0, 0.0, -60.0]).all(|(a, b)| (a - b).abs() < 1e-10), "{found:?}");
    let end = path.slopes(1.0).unwrap();
    let t: f64 = 1.0 - 1e-5;
    assert!(
        (end[1], end[2]) == (0.0, 0.0) && (end[3] + 80.0 * t / (1.0 - t * t).sqrt()).abs() < 1e-3,
        "{end:?}"
    );
    assert_eq!(path.starting(times(&[0.5]), 0.0).unwrap().to_f64().unwrap(), [40.0]);
    assert_eq!(Path::default().starting(times(&[0.5]), 0.0).unwrap().to_f64().unwrap(), [0.5]);
}

#[test]
fn functions_of_time_that_are_no_path_are_refused() {
    let message = |options: PathOptions| Path::new(options).unwrap_err().to_string();
    let told = message(PathOptions { sigma: None, ..gvp() });
    assert!(told.starts_with("`alpha` is given without `sigma`"), "{told}");
    let told = message(PathOptions { interpolant: Interpolant::Vp, ..gvp() });
    assert_eq!(told, "give either `alpha` and `sigma`, or `interpolant`");
    let told = message(PathOptions { mix: function(|_| Ok(Value::Unit)), ..gvp() });
    assert_eq!(told, "give either `alpha` and `sigma`, or `mix`");
    assert!(
        message(PathOptions { predict: Predict::Ddpm, ..gvp() }).contains("takes no `alpha` and `sigma`")
    );
    // A schedule of a paper in which time 0 is data.
    let turned = PathOptions { alpha: gvp().sigma, sigma: gvp().alpha, ..gvp() };
    let told = message(turned);
    assert!(
        told.contains("time 0 is noise, where `sigma` must be above `alpha`") && told.contains("`1.0 - t`"),
        "{told}"
    );
    let told = message(PathOptions { sigma: of_times(|t| t.reciprocal()), ..gvp() });
    assert!(told.starts_with("`sigma` of the path must be finite at time 0, found inf"), "{told}");
    let told = message(PathOptions { sigma: of_times(|t| t.mean(&[], false)), ..gvp() });
    assert!(
        told.starts_with("`sigma` of the path must return one number for each time, a tensor [2]"),
        "{told}"
    );
    let told = message(PathOptions { alpha: function(|_| Ok("t".into_value())), ..gvp() });
    assert!(told.starts_with("`alpha` of the path: expected a tensor [2] float64, or a number"), "{told}");
}

#[test]
fn functions_read_the_step_if_they_take_it() {
    let (x1, t) = (images(), times(&[0.25, 0.5, 1.0]));
    let step: PathStep = Facts { step: Some(3), seed: Some(11), ..Facts::default() }.into();
    let steps = |count: usize| {
        Function::new(move |values| {
            let known: PathStep = values[count - 1].downcast().unwrap();
            Tensor::from_value(&values[0])?.mul_scalar(known.step()? as f64).map(IntoValue::into_value)
        })
        .taking(Some(count))
    };
    let path = Path::new(PathOptions { noise: Some(steps(3)), ..PathOptions::default() }).unwrap();
    let z = Path::default().pair(&x1, &t, None, Some(&generator()), &step).unwrap().noise;
    let pair = path.pair(&x1, &t, None, Some(&generator()), &step).unwrap();
    assert!(pair.noise.equal(&z.mul_scalar(3.0).unwrap()).unwrap());
    let error = path.pair(&x1, &t, None, None, &PathStep::default()).unwrap_err();
    assert_eq!(error.message(), "`noise` of the path: `c.step` is not known here, found `fields`");
    let times = Function::new(|values| {
        let known: PathStep = values[2].downcast().unwrap();
        Tensor::full(&[i64::from_value(&values[0])?], known.step()? as f64 / 4.0, DType::Float32, Device::Cpu)
            .map(IntoValue::into_value)
    });
    let with =
        |times: Function| PathOptions { times: Some(Times::Function(times)), ..PathOptions::default() };
    let path = Path::new(with(times.clone().taking(Some(3)))).unwrap();
    let drawn = path.times(&x1.shape(), Device::Cpu, &generator(), &step).unwrap().unwrap();
    assert_eq!(drawn.to_f32().unwrap(), [0.75; 3]);
    // Only code that may read what belongs to the images needs the whole batch.
    assert!(
        path.calls_code_of_images()
            && !Path::new(with(times.taking(Some(2)))).unwrap().calls_code_of_images()
    );
}

#[test]
fn other_entries_of_mix_belong_to_the_pair_and_are_divided_like_the_batch() {
    let (x1, t) = (images(), times(&[0.25, 0.5, 1.0]));
    let pair = |more: &[(&str, Value)]| {
        let more: Map = more.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        let mix = function(move |v| {
            let Value::Map(mut all) = map(v[0].clone(), v[1].clone()) else { unreachable!() };
            all.insert("noise".to_string(), v[0].clone().into_value());
            all.extend(more.clone());
            Ok(Value::Map(all))
        });
        let path = Path::new(PathOptions { mix, ..PathOptions::default() }).unwrap();
        // The images have the numbers of the other generator.
        let generator = Generator::new(3, Device::Cpu).unwrap();
        path.pair(&x1, &t, None, Some(&generator), &PathStep::default())
    };
    let made = pair(&[("weight", t.clone().into_value()), ("scale", 2.5.into_value())]).unwrap();
    // The noise is that of the path, whatever the map says.
    assert!(!made.noise.equal(&x1).unwrap() && made.target.equal(&made.noise).unwrap());
    assert_eq!(made.others.keys().collect::<Vec<_>>(), ["scale", "weight"]);
    let part = narrowed(&made.others, 1, 2).unwrap();
    assert_eq!(Tensor::from_value(&part["weight"]).unwrap().to_f32().unwrap(), [0.5, 1.0]);
    assert!(matches!(part["scale"], Value::Float(2.5)));
    let again = Pair::from_value(&made.into_value()).unwrap();
    assert_eq!(again.others.len(), 2);
    for (wrong, found) in [
        (t.narrow(0, 0, 2).unwrap().into_value(), "found a tensor [2] float32"),
        (Value::List(Vec::new()), "found an array of 0"),
    ] {
        let error = pair(&[("weight", wrong)]).unwrap_err();
        assert!(error.message().starts_with("`weight` of `mix` must be a tensor [3, ..]"), "{error}");
        assert!(error.message().ends_with(found), "{error}");
    }
}

#[test]
fn each_pixel_may_have_its_own_time() {
    let x1 = images();
    let t = Tensor::rand(&[3, 1, 4, 4], DType::Float32, Device::Cpu, Some(&generator())).unwrap();
    let noise = Tensor::randn(&x1.shape(), DType::Float32, Device::Cpu, Some(&generator())).unwrap();
    for interpolant in Interpolant::ALL.iter().copied() {
        for predict in [Predict::Velocity, Predict::Image, Predict::Noise, Predict::Score] {
            let path = Path::new(PathOptions { predict, interpolant, ..PathOptions::default() }).unwrap();
            let whole = path.pair(&x1, &t, Some(&noise), None, &PathStep::default()).unwrap();
            let output = x1.cos().unwrap();
            let v = path.velocity(output.clone(), &whole.x_t, &t).unwrap();
            let image = path.convert(&output, &whole.x_t, &t, Predict::Image).unwrap();
            // One pixel of all images, with one time each.
            let at = |x: &Tensor| x.narrow(2, 1, 1).unwrap().narrow(3, 2, 1).unwrap();
            let near = |a: &Tensor, b: &Tensor| a.allclose(&at(b), 1e-5, 1e-5).unwrap();
            let (x, own) = (at(&x1), at(&t).reshape(&[3]).unwrap());
            let pixel = path.pair(&x, &own, Some(&at(&noise)), None, &PathStep::default()).unwrap();
            assert!(near(&pixel.x_t, &whole.x_t), "{interpolant} {predict}");
            assert!(near(&pixel.target, &whole.target), "{interpolant} {predict}");
            assert!(near(&path.velocity(at(&output), &pixel.x_t, &own).unwrap(), &v));
            let converted = path.convert(&at(&output), &pixel.x_t, &own, Predict::Image).unwrap();
            assert!(near(&converted, &image), "{interpolant} {predict}");
        }
    }
    let narrow = t.narrow(3, 0, 2).unwrap();
    let error = Path::default().pair(&x1, &narrow, None, None, &PathStep::default()).unwrap_err();
    assert!(error.hint_text().unwrap().ends_with("[3, 1, 4, 4]"), "{error}");
}
