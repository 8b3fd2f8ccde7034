//! Log likelihoods: Gaussian data, whose flow is known, and independence of images.

use super::*;
use crate::declare::{FromValue, Function, IntoValue};
use crate::flow::ode::adaptive::column;
use crate::flow::path::{Interpolant, PathOptions};
use crate::torch::{Device, Generator};

const TIGHT: Tolerance = Tolerance { rtol: 1e-9, atol: 1e-10 };

fn randn(shape: &[i64], seed: u64) -> Tensor {
    Tensor::randn(shape, DType::Float64, Device::Cpu, Some(&Generator::new(seed, Device::Cpu).unwrap()))
        .unwrap()
}

/// Mean and standard deviations of the data, one for each of four numbers.
const MEAN: [f64; 4] = [1.0, -0.5, 0.2, 0.0];
const DEVIATION: [f64; 4] = [0.5, 1.3, 0.2, 1.0];

/// Returns one number per dimension as [1, 1, 2, 2].
fn each(values: impl Iterator<Item = f64>) -> Tensor {
    Tensor::from_f64(&values.collect::<Vec<_>>(), &[1, 1, 2, 2]).unwrap()
}

/// Returns the velocity that leads from standard normal noise to the data along the path.
fn gaussian(path: &Path) -> impl Fn(&Tensor, &[f64], &[usize]) -> Result<Tensor> {
    move |x, t, _| {
        let rows: Vec<Tensor> = t
            .iter()
            .enumerate()
            .map(|(i, t)| {
                let [alpha, sigma, d_alpha, d_sigma] = path.slopes(*t)?;
                let slope = |s: f64| {
                    (alpha * d_alpha * s * s + sigma * d_sigma) / ((alpha * s).powi(2) + sigma * sigma)
                };
                let own = x.narrow(0, i as i64, 1)?.sub(&each(MEAN.iter().map(|m| alpha * m)))?;
                own.mul(&each(DEVIATION.iter().map(|s| slope(*s))))?
                    .add(&each(MEAN.iter().map(|m| d_alpha * m)))
            })
            .collect::<Result<_>>()?;
        Tensor::cat(&rows, 0)
    }
}

/// Returns the likelihoods of images under a velocity that leads to standard normal noise.
fn found(velocity: &Velocity, images: &Tensor, probes: Option<&Tensor>, times: (f64, f64)) -> Likelihood {
    found_with(velocity, images, probes, times, 1.0)
}

/// Returns the likelihoods of images under a velocity that leads to noise of a standard deviation.
fn found_with(
    velocity: &Velocity,
    images: &Tensor,
    probes: Option<&Tensor>,
    times: (f64, f64),
    spread: f64,
) -> Likelihood {
    let all = integrate(velocity, images, probes, times, TIGHT, |_| ()).unwrap();
    result(&all, images, spread, &Context::default()).unwrap()
}

/// The path `x_t = t x1 + 3 (1 - t^2) noise`, whose factors are functions.
fn own_path() -> Path {
    let of = |f: fn(&Tensor) -> Result<Tensor>| {
        Some(Function::new(move |values| f(&Tensor::from_value(&values[0])?).map(IntoValue::into_value)))
    };
    let sigma = of(|t| t.square()?.rsub_scalar(1.0)?.mul_scalar(3.0));
    Path::new(PathOptions { alpha: of(|t| Ok(t.clone())), sigma, ..PathOptions::default() }).unwrap()
}

#[test]
fn the_density_of_gaussian_data_is_exact_on_every_path() {
    let images = randn(&[3, 1, 2, 2], 1);
    let ln = |x: &[f64]| -> f64 {
        let one = |((x, m), s): ((&f64, f64), f64)| {
            -0.5 * ((x - m) / s).powi(2) - s.ln() - 0.5 * (2.0 * std::f64::consts::PI).ln()
        };
        x.iter().zip(MEAN).zip(DEVIATION).map(one).sum()
    };
    let named = Interpolant::ALL.iter().copied().map(|interpolant| {
        (interpolant, Path::new(PathOptions { interpolant, ..PathOptions::default() }).unwrap())
    });
    for (interpolant, path) in named.chain([(Interpolant::Linear, own_path())]) {
        // Noise of the variance-preserving diffusion is normal up to its last step, and its velocity infinite at data.
        let (from, tolerance) = if interpolant == Interpolant::Vp { (1.0 - 1e-4, 2e-2) } else { (1.0, 1e-5) };
        let spread = path.spread(0.0).unwrap();
        // The Jacobian is diagonal, so probes of 1 and -1 are exact too.
        let probes = randn(&[1, 3, 1, 2, 2], 2).sign().unwrap();
        for probes in [None, Some(&probes)] {
            let found = found_with(&gaussian(&path), &images, probes, (from, 0.0), spread);
            let (nats, bits) = (found.nats.to_f64().unwrap(), found.bits_per_dim.to_f64().unwrap());
            for (row, x) in images.to_f64().unwrap().chunks(4).enumerate() {
                let exact = ln(x);
                assert!(
                    (nats[row] - exact).abs() < tolerance * exact.abs().max(1.0),
                    "{interpolant}: {} {exact}",
                    nats[row]
                );
                assert!((bits[row] + nats[row] / (4.0 * 2f64.ln())).abs() < 1e-12);
            }
        }
    }
}

/// A velocity whose Jacobian is full and depends on the state, and on the image for each row.
fn mixing(x: &Tensor, t: &[f64], rows: &[usize]) -> Result<Tensor> {
    let flat = x.reshape(&[x.size(0)?, 4])?;
    let own: Vec<f64> = rows.iter().zip(t).map(|(row, t)| 1.0 + *row as f64 + t).collect();
    let mixed = flat.matmul(&randn(&[4, 4], 5))?.mul(&column(&own, &flat)?)?.sin()?;
    mixed.sub(&flat)?.reshape(&x.shape())
}

#[test]
fn estimates_have_the_exact_divergence_as_their_mean() {
    let x = randn(&[2, 1, 2, 2], 3);
    let of = |probes: Option<&Tensor>| {
        diverging(&mixing, &x, &[0.2, 0.7], &[0, 1], probes).unwrap().1.to_f64().unwrap()
    };
    let exact = of(None);
    // By finite differences.
    let h = 1e-6;
    for (row, expected) in exact.iter().enumerate() {
        let sum: f64 = (0..4)
            .map(|i| {
                let unit = Tensor::eye(4, 4, DType::Float64, Device::Cpu).unwrap().narrow(0, i, 1).unwrap();
                let unit = unit.reshape(&[1, 1, 2, 2]).unwrap().mul_scalar(h).unwrap();
                let v = |x: Tensor| mixing(&x, &[0.2, 0.7], &[0, 1]).unwrap().reshape(&[2, 4]).unwrap();
                let change = v(x.add(&unit).unwrap()).sub(&v(x.sub(&unit).unwrap())).unwrap();
                change.to_f64().unwrap()[4 * row + i as usize] / (2.0 * h)
            })
            .sum();
        assert!((sum - expected).abs() < 1e-6, "{sum} {expected}");
    }
    let normal = randn(&[4000, 2, 1, 2, 2], 4);
    for probes in [normal.sign().unwrap(), normal] {
        for (estimate, exact) in of(Some(&probes)).iter().zip(&exact) {
            assert!((estimate - exact).abs() < 0.35, "{estimate} {exact}");
        }
    }
}

#[test]
fn the_density_is_that_of_the_change_of_variables() {
    // The derivative of the noise with respect to the image, by finite differences.
    let x = randn(&[1, 1, 2, 2], 6).mul_scalar(0.5).unwrap();
    let of = |x: &Tensor| found(&mixing, x, None, (1.0, 0.0));
    let one = of(&x);
    let h = 1e-5;
    let columns: Vec<Tensor> = (0..4)
        .map(|i| {
            let unit = Tensor::eye(4, 4, DType::Float64, Device::Cpu).unwrap().narrow(0, i, 1).unwrap();
            let unit = unit.reshape(&[1, 1, 2, 2]).unwrap().mul_scalar(h).unwrap();
            let change = of(&x.add(&unit).unwrap()).noise.sub(&of(&x.sub(&unit).unwrap()).noise).unwrap();
            change.mul_scalar(0.5 / h).unwrap().reshape(&[4]).unwrap()
        })
        .collect();
    let rows: Vec<Vec<f64>> = columns.iter().map(|column| column.to_f64().unwrap()).collect();
    let normal: f64 = one.noise.to_f64().unwrap().iter().map(|z| -0.5 * z * z).sum();
    let expected = normal - 2.0 * (2.0 * std::f64::consts::PI).ln() + determinant(rows).abs().ln();
    assert!((one.nats.to_f64().unwrap()[0] - expected).abs() < 1e-5);
}

/// Returns a determinant by elimination.
fn determinant(mut rows: Vec<Vec<f64>>) -> f64 {
    let mut product = 1.0;
    for i in 0..rows.len() {
        product *= rows[i][i];
        let pivot = rows[i].clone();
        for row in &mut rows[i + 1..] {
            let factor = row[i] / pivot[i];
            row.iter_mut().zip(&pivot).for_each(|(x, p)| *x -= factor * p);
        }
    }
    product
}

#[test]
fn an_image_does_not_depend_on_the_others() {
    let images = randn(&[3, 1, 2, 2], 7);
    let probes = randn(&[2, 3, 1, 2, 2], 8).sign().unwrap();
    let path = Path::default();
    let together = found(&gaussian(&path), &images, Some(&probes), (1.0, 0.0));
    for row in 0..3 {
        let own = found(
            &gaussian(&path),
            &images.narrow(0, row, 1).unwrap(),
            Some(&probes.narrow(1, row, 1).unwrap()),
            (1.0, 0.0),
        );
        for (all, one) in [(&together.nats, &own.nats), (&together.evaluations, &own.evaluations)] {
            assert_eq!(all.to_f64().unwrap()[row as usize], one.to_f64().unwrap()[0]);
        }
    }
}

fn model() -> Model {
    sample::tests::model()
}

#[test]
fn likelihoods_of_a_model_do_not_depend_on_batches_and_follow_the_labels() {
    let images = randn(&[3, 1, 4, 4], 9).to_dtype(DType::Float32).unwrap();
    let run = |options: LikelihoodOptions| {
        log_likelihood(&model(), &images, &options, &Context::default()).unwrap()
    };
    let options = LikelihoodOptions { probes: 2, labels: Some(vec![0, 1, 2].into()), ..Default::default() };
    let whole = run(options.clone()).nats.to_f64().unwrap();
    let parts = run(LikelihoodOptions { batch: Some(2), ..options.clone() }).nats.to_f64().unwrap();
    for (a, b) in whole.iter().zip(&parts) {
        assert!((a - b).abs() < 1e-3, "{a} {b}");
    }
    let null = run(LikelihoodOptions { labels: Some(vec![3, 3, 3].into()), ..options.clone() });
    assert!(run(LikelihoodOptions { labels: None, ..options.clone() }).nats.equal(&null.nats).unwrap());
    assert!(!run(options.clone()).nats.equal(&null.nats).unwrap());
    // Within a script's `no_grad` too.
    assert!(no_grad(|| run(options.clone())).nats.equal(&run(options).nats).unwrap());
}

#[test]
fn wrong_requests_say_what_would_do() {
    let images = randn(&[2, 1, 4, 4], 9);
    let message = |images: &Tensor, options: LikelihoodOptions| {
        log_likelihood(&model(), images, &options, &Context::default()).unwrap_err().message()
    };
    assert_eq!(
        message(&images.expand(&[2, 2, 4, 4]).unwrap(), LikelihoodOptions::default()),
        "expected images [B, 1, H, W], found tensor [2, 2, 4, 4] float64"
    );
    let labels = Some(vec![0].into());
    assert_eq!(
        message(&images, LikelihoodOptions { labels, ..Default::default() }),
        "`labels` must have one label per image, 2, found 1"
    );
    assert_eq!(
        message(&images, LikelihoodOptions { probe: Probe::Exact, probes: 3, ..Default::default() }),
        "the exact divergence takes no probes: leave out `probes` and `probe_noise`"
    );
    assert_eq!(
        message(&images, LikelihoodOptions { from: 0.0, to: 1.0, ..Default::default() }),
        "the images must come after the noise: `from` must be above `to`, found 0 and 1"
    );
    let context = Context::default();
    context.interrupt.raise();
    let error = log_likelihood(&model(), &images, &LikelihoodOptions::default(), &context).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Interrupted);
}
