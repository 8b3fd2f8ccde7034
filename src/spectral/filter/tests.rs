use super::*;
use crate::declare::Choice;
use crate::nn::Builder;
use crate::torch::Generator;

fn all() -> Vec<Filter> {
    vec![
        binomial(Binomial { order: 4 }).unwrap(),
        gaussian(Gaussian { sigma: 0.8 }).unwrap(),
        r#box(BoxBlur { width: 3 }).unwrap(),
        Filter::new(Taps { taps: vec![1.0, 2.0, 3.0], normalize: true }).unwrap(),
        ideal(Ideal { cutoff: 0.5 }).unwrap(),
        butterworth(Butterworth { cutoff: 0.4, order: 3 }).unwrap(),
        Filter::new(Response::new(|r| Ok((-r).exp())).unwrap()).unwrap(),
        dct(Dct { cutoff: 0.5 }).unwrap(),
        haar(Haar { levels: 1 }).unwrap(),
        learned(Learned { size: 5, init: LearnedInit::Box }).unwrap(),
        Filter::new(Custom::new(|grid| grid.mul_scalar(0.5))).unwrap(),
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
    filter.unwrap_err().message()
}

/// Convolves one channel directly, with replicated edges.
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
        (Filter::new(Taps { taps: vec![1.0, 2.0, 5.0], normalize: true }).unwrap(), vec![0.125, 0.25, 0.625]),
        (Filter::new(Taps { taps: vec![-1.0, 0.0, 1.0], normalize: false }).unwrap(), vec![-1.0, 0.0, 1.0]),
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
fn the_cosine_filter_is_periodic_on_the_mirrored_grid() {
    // On the mirrored grid of twice the size, the cosine of u half turns is the wave of u turns.
    let (g, cutoff) = (6i64, 0.45);
    let tokens = noise(&[1, g * g, 2]);
    let image = tokens.reshape(&[1, g, g, 2]).unwrap();
    let wide = Tensor::cat(&[image.clone(), image.flip(&[2]).unwrap()], 2).unwrap();
    let mirrored = Tensor::cat(&[wide.clone(), wide.flip(&[1]).unwrap()], 1).unwrap();
    let radius = cutoff * (g - 1) as f64 / g as f64;
    let expected = ideal(Ideal { cutoff: radius }).unwrap();
    let expected = expected.apply(&mirrored.reshape(&[1, 4 * g * g, 2]).unwrap(), 2 * g).unwrap();
    let expected = expected.reshape(&[1, 2 * g, 2 * g, 2]).unwrap().narrow(1, 0, g).unwrap();
    let expected = expected.narrow(2, 0, g).unwrap().reshape(&[1, g * g, 2]).unwrap();
    let found = dct(Dct { cutoff }).unwrap().apply(&tokens, g).unwrap();
    assert!(largest(&found.sub(&expected).unwrap()) < 1e-12);
    assert!(largest(&found) > 0.1);
    let mean = dct(Dct { cutoff: 0.0 }).unwrap().apply(&tokens, g).unwrap();
    assert!(largest(&mean.sub(&tokens.mean(&[1], true).unwrap()).unwrap()) < 1e-12);
}

#[test]
fn the_haar_band_is_the_mean_of_blocks_and_only_of_whole_ones() {
    let filter = haar(Haar { levels: 2 }).unwrap();
    let tokens = noise(&[1, 64, 1]);
    let image = tokens.to_f64().unwrap();
    let found = filter.apply(&tokens, 8).unwrap().to_f64().unwrap();
    assert_eq!(found.len(), 64);
    for (i, found) in found.iter().enumerate() {
        let (y, x) = (i / 8 / 4 * 4, i % 8 / 4 * 4);
        let block: f64 = (0..16).map(|k| image[(y + k / 4) * 8 + x + k % 4]).sum();
        assert!((found - block / 16.0).abs() < 1e-12);
    }
    let error = filter.apply(&noise(&[1, 36, 1]), 6).unwrap_err();
    assert!(error.message().contains("needs a token grid divisible by 4, found 6 x 6"), "{error}");
    // The gain is the measured gain averaged over the waves of one frequency and all shifts.
    let measured = filter.response(8).unwrap().to_f64().unwrap();
    assert!((measured[1] - filter.gain(0.25).unwrap()).abs() < 1e-12);
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
        // Replicated edges change the response to a wave of the whole grid by about one part per grid side.
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
        let (x, w) = (noise(&[1, 36, 2]).set_requires_grad(true).unwrap(), noise(&[1, 36, 2]));
        let product = filter.apply(&x, 6).unwrap().mul(&w).unwrap().sum(&[], false).unwrap();
        let found =
            crate::torch::autograd::grad(&[product], std::slice::from_ref(&x), None, false, false).unwrap();
        let found = found[0].clone().unwrap();
        // <F e_i, w> for each unit vector e_i of the first channel.
        for i in 0..36 {
            let mut unit = vec![0.0; 72];
            unit[2 * i] = 1.0;
            let unit = Tensor::from_f64(&unit, &[1, 36, 2]).unwrap();
            let expected =
                filter.apply(&unit, 6).unwrap().mul(&w).unwrap().sum(&[], false).unwrap().item().unwrap();
            assert!((found.to_f64().unwrap()[2 * i] - expected).abs() < 1e-12, "{filter}");
        }
    }
}

#[test]
fn filters_print_compare_and_come_back_from_their_stored_form() {
    let filters = all();
    for (i, filter) in filters.iter().enumerate() {
        let restored = Filter::from_data(&filter.to_data()).unwrap();
        match filter.calls_code() {
            false => assert_eq!(&restored, filter),
            // A Rust closure has no text.
            true => {
                assert_ne!(&restored, filter);
                let error = restored.gain(0.5).unwrap_err();
                assert!(error.message().contains("is not compiled"), "{error}");
                let error = restored.compiled(&Context::default()).unwrap_err();
                assert!(error.message().contains("its code was not stored"), "{error}");
            }
        }
        assert!(filters.iter().enumerate().all(|(j, other)| (i == j) == (filter == other)));
    }
    assert_eq!(filters[1].to_string(), "filter::gaussian(#{ sigma: 0.8 })");
    assert_eq!(filters[3].to_string(), "filter::taps([1.0, 2.0, 3.0])");
}

#[test]
fn a_stored_response_needs_no_closure_on_its_grid_alone() {
    let made = Filter::new(Response::new(|r| Ok(1.0 / (1.0 + r))).unwrap()).unwrap();
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
    let nothing = Filter::new(Response::new(|_| Ok(0.0)).unwrap()).unwrap();
    assert_eq!(largest(&nothing.apply(&noise(&[2, 16, 3]), 4).unwrap()), 0.0);
}

#[test]
fn options_that_make_no_filter_are_refused() {
    assert_eq!(
        message(ideal(Ideal { cutoff: 7.0 })),
        "`filter::ideal`: `cutoff` must be from 0 to 1.5, found 7"
    );
    assert!(message(r#box(BoxBlur { width: 4 })).contains("`width` must be odd"));
    assert!(message(binomial(Binomial { order: 3 })).contains("`order` must be even"));
    assert!(message(Filter::new(Taps { taps: vec![1.0, 2.0], normalize: true })).contains("must be odd"));
    assert!(
        message(Filter::new(Taps { taps: vec![-1.0, 0.0, 1.0], normalize: true })).contains("sum to zero")
    );
    assert!(message(Response::new(|_| Ok(f64::NAN)).and_then(Filter::new)).contains("finite"));
}

#[test]
fn tokens_that_are_no_grid_are_refused() {
    let error = all()[0].apply(&noise(&[1, 24, 2]), 5).unwrap_err();
    assert_eq!(error.message(), "a grid of 5 x 5 has 25 tokens, found 24 in shape [1, 24, 2]");
}

#[test]
fn code_of_the_users_sees_images_and_must_keep_their_shape() {
    // The closure sees row-major images with channels first: subtract each channel's first token.
    let first = Filter::new(Custom::new(|grid| {
        assert_eq!(grid.shape(), [2, 3, 4, 4]);
        grid.narrow(2, 0, 1)?.narrow(3, 0, 1)?.expand(&[2, 3, 4, 4])
    }))
    .unwrap();
    let tokens = noise(&[2, 16, 3]);
    let expected = tokens.narrow(1, 0, 1).unwrap().expand(&[2, 16, 3]).unwrap();
    assert!(first.apply(&tokens, 4).unwrap().equal(&expected).unwrap());
    let smaller = Filter::new(Custom::new(|grid| grid.narrow(2, 0, 2))).unwrap();
    let error = smaller.apply(&tokens, 4).unwrap_err();
    assert!(
        error.message().contains("shape [2, 3, 4, 4] from the closure of filter::custom, found [2, 3, 2, 4]")
    );
    // The measured gain of taps equals their gain.
    let taps = binomial(Binomial { order: 4 }).unwrap();
    let plan = taps.plan(64, DType::Float32, Device::Cpu).unwrap();
    let same = Filter::new(Custom::new(move |grid| {
        let tokens = grid.reshape(&[2, 1, 64 * 64])?.transpose(1, 2)?;
        plan.apply(&tokens)?.transpose(1, 2)?.reshape(&[2, 1, 64, 64])
    }))
    .unwrap();
    for radius in [0.0, 0.3, 1.0, 1.2] {
        assert!((same.gain(radius).unwrap() - taps.gain(radius).unwrap()).abs() < 1e-6, "{radius}");
    }
}

#[test]
fn learned_taps_start_as_told_and_have_gradients() {
    for (init, order) in [("binomial", Some(4)), ("box", None)] {
        let spec = Learned { size: 5, init: LearnedInit::named(init).unwrap() };
        let start = match order {
            Some(order) => binomial(Binomial { order }),
            None => r#box(BoxBlur { width: 5 }),
        };
        let tokens = noise(&[1, 49, 2]);
        let mut builder = Builder::seeded(0, DType::Float64, Device::Cpu);
        let plan = learned(spec).unwrap().layer(&mut builder, "freq_filter", 7).unwrap();
        let (name, logits) = builder.finish().remove(0);
        assert_eq!((name.as_str(), logits.shape()), ("freq_filter.logits", vec![3]));
        let expected = start.unwrap().apply(&tokens, 7).unwrap();
        assert!(largest(&plan.apply(&tokens).unwrap().sub(&expected).unwrap()) < 1e-12);

        // The gradient of a weighted sum, compared with finite differences.
        let weights = noise(&[1, 49, 2]).flip(&[1]).unwrap();
        let sum = || plan.apply(&tokens).unwrap().mul(&weights).unwrap().sum(&[], false).unwrap();
        let found = crate::torch::autograd::grad(&[sum()], std::slice::from_ref(&logits), None, false, false);
        let found = found.unwrap()[0].clone().unwrap().to_f64().unwrap();
        for (i, found) in found.iter().enumerate() {
            let moved = |by: f64| {
                let mut values = [0.0; 3];
                values[i] = by;
                let values = Tensor::from_f64(&values, &[3]).unwrap();
                crate::torch::autograd::no_grad(|| logits.copy_(&values)).unwrap();
                sum().item().unwrap()
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((found - slope).abs() < 1e-7, "{init}: {found} {slope}");
            // A constant passes whatever the logits are.
            moved(2.0);
            let flat = Tensor::ones(&[1, 49, 1], DType::Float64, Device::Cpu).unwrap();
            assert!(largest(&plan.apply(&flat).unwrap().sub(&flat).unwrap()) < 1e-12);
            moved(0.0);
        }
    }
}

/// Noise [1, H * W, 2] of a grid.
fn on_grid([height, width]: [i64; 2]) -> Tensor {
    noise(&[1, height * width, 2])
}

#[test]
fn a_grid_of_any_sides_is_filtered_along_each_axis() {
    // Binomial taps by hand, on 1 x 3 tokens: (0, 4, 0) becomes (1, 2, 1), and rows of one token stay.
    let tokens = Tensor::from_f64(&[0.0, 4.0, 0.0], &[1, 3, 1]).unwrap();
    let low = binomial(Binomial { order: 2 }).unwrap();
    assert_eq!(low.apply_on(&tokens, [1, 3]).unwrap().to_f64().unwrap(), [1.0, 2.0, 1.0]);
    for filter in all() {
        for grid in [[4, 6], [6, 4], [8, 2]] {
            let x = on_grid(grid);
            let found = filter.apply_on(&x, grid).unwrap();
            // Exchanged axes are filtered alike.
            let exchange = |t: &Tensor, [h, w]: [i64; 2]| {
                let images = t.reshape(&[1, h, w, 2]).unwrap().transpose(1, 2).unwrap();
                images.reshape(&[1, h * w, 2]).unwrap()
            };
            let other = filter.apply_on(&exchange(&x, grid), [grid[1], grid[0]]).unwrap();
            assert!(exchange(&other, [grid[1], grid[0]]).allclose(&found, 1e-12, 1e-12).unwrap(), "{filter}");
            // What is constant along rows is filtered as on the square grid of that side.
            let line = noise(&[1, 1, grid[1], 2]);
            let flat =
                |h: i64| line.expand(&[1, h, grid[1], 2]).unwrap().reshape(&[1, h * grid[1], 2]).unwrap();
            let square = filter.apply(&flat(grid[1]), grid[1]).unwrap().narrow(1, 0, grid[1]).unwrap();
            let found = filter.apply_on(&flat(grid[0]), grid).unwrap().narrow(1, 0, grid[1]).unwrap();
            assert!(found.allclose(&square, 1e-9, 1e-9).unwrap(), "{filter} {grid:?}");
        }
    }
}

#[test]
fn waves_of_a_rectangle_pass_by_their_radius() {
    // Waves of the periodic grid 4 x 8: i cycles down and j across have the radius (2i / 4, 2j / 8).
    let low = ideal(Ideal { cutoff: 0.6 }).unwrap();
    for (i, j, passes) in [(0, 2, 1.0), (0, 3, 0.0), (1, 0, 1.0), (1, 1, 1.0), (1, 2, 0.0), (2, 0, 0.0)] {
        let angle = |place: usize| {
            let (row, column) = ((place / 8) as f64, (place % 8) as f64);
            2.0 * std::f64::consts::PI * (f64::from(i) * row / 4.0 + f64::from(j) * column / 8.0)
        };
        let wave: Vec<f64> = (0..32).map(|place| angle(place).cos()).collect();
        let wave = Tensor::from_f64(&wave, &[1, 32, 1]).unwrap();
        let expected = wave.mul_scalar(passes).unwrap();
        assert!(largest(&low.apply_on(&wave, [4, 8]).unwrap().sub(&expected).unwrap()) < 1e-12, "{i} {j}");
    }
}
