use super::*;
use crate::torch::Generator;

fn all() -> Vec<Filter> {
    vec![
        binomial(Binomial { order: 4 }).unwrap(),
        gaussian(Gaussian { sigma: 0.8 }).unwrap(),
        r#box(BoxBlur { width: 3 }).unwrap(),
        taps(Taps { taps: vec![1.0, 2.0, 3.0], normalise: true }).unwrap(),
        ideal(Ideal { cutoff: 0.5 }).unwrap(),
        butterworth(Butterworth { cutoff: 0.4, order: 3 }).unwrap(),
        response(Response::new(|r| Ok((-r).exp())).unwrap()).unwrap(),
    ]
}

fn noise(shape: &[i64]) -> Tensor {
    let generator = Generator::new(3, Device::Cpu).unwrap();
    Tensor::randn(shape, DType::Float64, Device::Cpu, Some(&generator)).unwrap()
}

fn largest(t: &Tensor) -> f64 {
    t.to_f64().unwrap().iter().fold(0.0, |m, x| m.max(x.abs()))
}

fn message(filter: Result<Filter>) -> String {
    filter.unwrap_err().message().to_string()
}

/// Convolves one channel directly, edges replicated.
fn blur(image: &[f64], g: usize, taps: &[f64]) -> Vec<f64> {
    let radius = (taps.len() / 2) as i64;
    let at = |y: i64, x: i64| {
        let clamp = |i: i64| i.clamp(0, g as i64 - 1) as usize;
        image[clamp(y) * g + clamp(x)]
    };
    let place = |i: usize| ((i / g) as i64, (i % g) as i64);
    let sum = |(y, x): (i64, i64)| {
        let rows = taps.iter().zip(-radius..);
        rows.map(|(a, dy)| taps.iter().zip(-radius..).map(|(b, dx)| a * b * at(y + dy, x + dx)).sum::<f64>())
            .sum()
    };
    (0..g * g).map(|i| sum(place(i))).collect()
}

#[test]
fn taps_are_a_convolution_with_replicated_edges() {
    let cases: [(Filter, Vec<f64>); 4] = [
        (binomial(Binomial { order: 2 }).unwrap(), vec![0.25, 0.5, 0.25]),
        (r#box(BoxBlur { width: 5 }).unwrap(), vec![0.2; 5]),
        (taps(Taps { taps: vec![1.0, 2.0, 5.0], normalise: true }).unwrap(), vec![0.125, 0.25, 0.625]),
        (taps(Taps { taps: vec![-1.0, 0.0, 1.0], normalise: false }).unwrap(), vec![-1.0, 0.0, 1.0]),
    ];
    for (filter, taps) in cases {
        // A grid smaller than the taps and an odd one.
        for g in [2usize, 7] {
            let tokens = noise(&[1, (g * g) as i64, 1]);
            let found = filter.apply(&tokens, g as i64).unwrap().to_f64().unwrap();
            let expected = blur(&tokens.to_f64().unwrap(), g, &taps);
            for (a, b) in found.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-12, "{filter} on {g}: {a} {b}");
            }
        }
    }
}

#[test]
fn a_periodic_filter_is_a_mask_on_the_fft() {
    for filter in [ideal(Ideal { cutoff: 0.45 }), butterworth(Butterworth { cutoff: 0.3, order: 2 })] {
        let filter = filter.unwrap();
        for g in [1i64, 5, 6] {
            let tokens = noise(&[2, g * g, 3]);
            let radius = |k: i64| 2.0 * k.min(g - k) as f64 / g as f64;
            let mask: Vec<f64> =
                (0..g * g).map(|i| filter.gain(radius(i / g).hypot(radius(i % g))).unwrap()).collect();
            let image = tokens.transpose(1, 2).unwrap().reshape(&[2, 3, g, g]).unwrap();
            let waves = image.fft2("backward").unwrap();
            let passed = waves.mul(&Tensor::from_f64(&mask, &[g, g]).unwrap()).unwrap();
            let expected = passed.ifft2("backward").unwrap().real().unwrap();
            let expected = expected.reshape(&[2, 3, g * g]).unwrap().transpose(1, 2).unwrap();
            let error = filter.apply(&tokens, g).unwrap().sub(&expected).unwrap();
            assert!(largest(&error) < 1e-12, "{filter} on {g}");
        }
    }
}

#[test]
fn a_constant_passes_every_filter_that_keeps_the_mean() {
    for filter in all().into_iter().filter(|f| (f.gain(0.0).unwrap() - 1.0).abs() < 1e-12) {
        let flat = Tensor::ones(&[1, 36, 2], DType::Float64, Device::Cpu).unwrap();
        let error = filter.apply(&flat, 6).unwrap().sub(&flat).unwrap();
        assert!(largest(&error) < 1e-12, "{filter}");
    }
}

#[test]
fn the_measured_response_is_the_gain_where_the_grid_is_periodic() {
    let filter = butterworth(Butterworth { cutoff: 0.5, order: 1 }).unwrap();
    let measured = filter.response(8).unwrap().to_f64().unwrap();
    for (i, found) in measured.iter().enumerate() {
        let radius = |k: usize| 2.0 * k.min(8 - k) as f64 / 8.0;
        let expected = filter.gain(radius(i / 8).hypot(radius(i % 8))).unwrap();
        assert!((found - expected).abs() < 1e-12);
    }
}

#[test]
fn the_measured_response_of_taps_nears_the_gain_on_a_large_grid() {
    let filter = binomial(Binomial { order: 4 }).unwrap();
    let measured = filter.response(32).unwrap().to_f64().unwrap();
    for (k, found) in measured.iter().take(17).enumerate() {
        // Replicated edges change what a wave of the whole grid becomes by about one part per grid side.
        let gain = filter.gain(k as f64 / 16.0).unwrap();
        assert!((found - gain).abs() < 0.04, "{k}: {found} {gain}");
    }
}

#[test]
fn gains_beyond_one_axis_reach_the_corner() {
    let filter = binomial(Binomial { order: 2 }).unwrap();
    assert!((filter.gain(0.5).unwrap() - 0.5).abs() < 1e-12);
    assert!(filter.gain(2f64.sqrt()).unwrap().abs() < 1e-12);
    assert!(filter.gain(1.5).unwrap_err().message().contains("from 0 to sqrt(2)"));
}

#[test]
fn gradients_are_those_of_the_transposed_filter() {
    for filter in all() {
        let (x, w) = (noise(&[1, 25, 2]).set_requires_grad(true).unwrap(), noise(&[1, 25, 2]));
        let product = filter.apply(&x, 5).unwrap().mul(&w).unwrap().sum(&[], false).unwrap();
        let found =
            crate::torch::autograd::grad(&[product], std::slice::from_ref(&x), None, false, false).unwrap();
        let found = found[0].clone().unwrap();
        // <F e_i, w> for each unit vector e_i of the first channel.
        for i in 0..25 {
            let mut unit = vec![0.0; 50];
            unit[2 * i] = 1.0;
            let unit = Tensor::from_f64(&unit, &[1, 25, 2]).unwrap();
            let expected =
                filter.apply(&unit, 5).unwrap().mul(&w).unwrap().sum(&[], false).unwrap().item().unwrap();
            assert!((found.to_f64().unwrap()[2 * i] - expected).abs() < 1e-12, "{filter}");
        }
    }
}

#[test]
fn filters_print_compare_and_come_back_from_their_stored_form() {
    let filters = all();
    for (i, filter) in filters.iter().enumerate() {
        let restored = Filter::from_data(&filter.to_data()).unwrap();
        assert_eq!(&restored, filter);
        assert!(filters.iter().enumerate().all(|(j, other)| (i == j) == (filter == other)));
    }
    assert_eq!(filters[1].to_string(), "filter::gaussian(#{ sigma: 0.8 })");
    assert_eq!(filters[3].to_string(), "filter::taps([1.0, 2.0, 3.0])");
}

#[test]
fn a_stored_response_needs_no_closure_on_its_grid_alone() {
    let made = response(Response::new(|r| Ok(1.0 / (1.0 + r))).unwrap()).unwrap();
    let tokens = noise(&[1, 25, 2]);
    let expected = made.apply(&tokens, 5).unwrap();
    let restored = Filter::from_data(&made.to_data()).unwrap();
    assert!(restored.apply(&tokens, 5).unwrap().equal(&expected).unwrap());
    assert!((restored.gain(0.33).unwrap() - made.gain(0.33).unwrap()).abs() < 1e-3);
    let error = restored.apply(&noise(&[1, 49, 2]), 7).unwrap_err();
    assert!(error.message().contains("without a sample"), "{error}");
}

#[test]
fn a_response_of_zero_removes_everything() {
    let nothing = response(Response::new(|_| Ok(0.0)).unwrap()).unwrap();
    assert_eq!(largest(&nothing.apply(&noise(&[2, 16, 3]), 4).unwrap()), 0.0);
}

#[test]
fn options_that_make_no_filter_are_refused() {
    assert_eq!(message(ideal(Ideal { cutoff: 7.0 })), "`cutoff` must be from 0 to 1.5, found 7");
    assert!(message(r#box(BoxBlur { width: 4 })).starts_with("`width` must be odd"));
    assert!(message(binomial(Binomial { order: 3 })).starts_with("`order` must be even"));
    assert!(message(taps(Taps { taps: vec![1.0, 2.0], normalise: true })).contains("must be odd"));
    assert!(message(taps(Taps { taps: vec![-1.0, 0.0, 1.0], normalise: true })).contains("sum to zero"));
    assert!(message(Response::new(|_| Ok(f64::NAN)).and_then(response)).contains("finite"));
}

#[test]
fn tokens_that_are_no_grid_are_refused() {
    let error = all()[0].apply(&noise(&[1, 24, 2]), 5).unwrap_err();
    assert_eq!(error.message(), "a grid of 5 x 5 has 25 tokens, found 24 in shape [1, 24, 2]");
}
