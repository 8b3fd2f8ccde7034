//! Operators of a block with the CUDA kernels, compared with libtorch's operators: values and gradients.
//!
//! The kernels are emulated on the CPU, or run on the GPU that `SPECTRAL_TEST_DEVICE` names, as in
//! `cargo xtask test --cuda`.

use spectral::error::Result;
use spectral::spectral::correction::{add_filtered, filtered};
use spectral::spectral::filter::{self, Filter, Plan};
use spectral::torch::{DType, Tensor, autograd, fused, kernels, optim};

use crate::case::{Case, cast};
use crate::emulation::{Emulator, device, with_kernels};
use crate::shared::{Draw, Form, corrected, lopsided, same_with_a_graph, tokens, value_and_gradients};

const SINGLE: f64 = 3e-6;
/// Two roundings to 8 bits of precision.
const HALF: f64 = 2e-2;

/// Batch, grid and width: odd grids, widths that are not a multiple of the pack size, one image, one token.
const SHAPES: [(i64, i64, i64); 5] = [(2, 7, 20), (1, 14, 128), (3, 5, 37), (1, 1, 4), (20, 4, 50)];

#[test]
fn norm_and_modulation() {
    let form = |v: &[Tensor]| fused::norm_modulate(&v[0], &v[1], &v[2]).unwrap();
    let kernels = ["norm_modulate", "norm_modulate_backward", "norm_modulate_sums"];
    for (batch, grid, width) in SHAPES {
        for (dtype, tolerance) in [(DType::Float32, SINGLE), (DType::BFloat16, HALF)] {
            let draw = Draw::new(dtype);
            let inputs = [
                draw.next(&[batch, grid * grid, width]),
                draw.next(&[batch, 1, width]),
                draw.next(&[batch, 1, width]),
            ];
            let what = format!("{batch} {grid} {width} {}", dtype.name());
            Case { what, form: &form, inputs: &inputs, tolerance, cast: false, kernels: &kernels }.check();
        }
    }
    // Under autocast, tokens are float32, and shift, scale and result are bfloat16. Has more rows than one block
    // handles.
    let (single, half) = (Draw::new(DType::Float32), Draw::new(DType::BFloat16));
    let inputs = [single.next(&[2, 100, 192]), half.next(&[2, 1, 192]), half.next(&[2, 1, 192])];
    let what = "autocast".to_string();
    Case { what, form: &form, inputs: &inputs, tolerance: HALF, cast: true, kernels: &kernels }.check();
    // One modulation for all images, and slices of one tensor, as adaLN produces them.
    let inputs = [single.next(&[3, 9, 24]), single.next(&[1, 1, 48]), single.next(&[3, 1, 48])];
    let parts = |v: &[Tensor]| {
        let all = form(&[v[0].clone(), v[1].narrow(2, 0, 24).unwrap(), v[1].narrow(2, 24, 24).unwrap()]);
        let each = form(&[v[0].clone(), v[2].narrow(2, 0, 24).unwrap(), v[2].narrow(2, 24, 24).unwrap()]);
        all.add(&each.mul_scalar(2.0).unwrap()).unwrap()
    };
    let what = "parts".to_string();
    Case { what, form: &parts, inputs: &inputs, tolerance: SINGLE, cast: false, kernels: &kernels }.check();
}

#[test]
fn the_stream_and_its_norm() {
    let kernels = ["norm_modulate", "norm_modulate_backward", "norm_modulate_sums"];
    // Uses both results, as in a block; only the second, as after the last block; or only the first.
    let both = |(stream, y): (Tensor, Tensor), which: usize| match which {
        0 => stream.add(&y.to_dtype(stream.dtype()).unwrap().mul_scalar(0.5).unwrap()).unwrap(),
        1 => y,
        _ => stream,
    };
    for shape in SHAPES {
        for (dtype, tolerance) in [(DType::Float32, SINGLE), (DType::BFloat16, HALF)] {
            let draw = Draw::new(dtype);
            let vector = || draw.next(&[shape.0, 1, shape.2]);
            let inputs = [tokens(&draw, shape)[..3].to_vec(), vec![vector(), vector()]].concat();
            for which in 0..3 {
                let what = format!("{shape:?} {} {which}", dtype.name());
                let gated = |v: &[Tensor]| {
                    both(fused::stream_norm(&v[0], Some((&v[1], &v[2])), &v[3], &v[4]).unwrap(), which)
                };
                // Unused inputs have no gradient.
                let inputs = if which == 2 { &inputs[..3] } else { &inputs[..] };
                let rest = [vector(), vector()];
                let form =
                    |v: &[Tensor]| gated(&[&v[..3], if which == 2 { &rest } else { &v[3..] }].concat());
                Case { what: what.clone(), form: &form, inputs, tolerance, cast: false, kernels: &kernels }
                    .check();
                if which == 2 {
                    continue;
                }
                let alone =
                    |v: &[Tensor]| both(fused::stream_norm(&v[0], None, &v[1], &v[2]).unwrap(), which);
                let inputs = [inputs[0].clone(), inputs[3].clone(), inputs[4].clone()];
                Case { what, form: &alone, inputs: &inputs, tolerance, cast: false, kernels: &kernels }
                    .check();
            }
        }
    }
    // Under autocast, the stream stays float32 and the residual is bfloat16.
    let (single, half) = (Draw::new(DType::Float32), Draw::new(DType::BFloat16));
    let vector = || half.next(&[2, 1, 192]);
    let inputs = [single.next(&[2, 70, 192]), half.next(&[2, 70, 192]), vector(), vector(), vector()];
    let form = |v: &[Tensor]| both(fused::stream_norm(&v[0], Some((&v[1], &v[2])), &v[3], &v[4]).unwrap(), 0);
    Case {
        what: "autocast".into(),
        form: &form,
        inputs: &inputs,
        tolerance: HALF,
        cast: true,
        kernels: &kernels,
    }
    .check();
    // One vector for all images beside others for each: the kernel writes all their gradients in one dtype.
    for expanded in 2..5 {
        let shape = |place: usize| if place == expanded { [1, 1, 24] } else { [3, 1, 24] };
        let tokens = || half.next(&[3, 9, 24]);
        let [gate, shift, scale] = [2, 3, 4].map(|place| half.next(&shape(place)));
        let form = |v: &[Tensor]| {
            let [gate, shift, scale] = [2, 3, 4].map(|i: usize| v[i].expand(&[3, 1, 24]).unwrap());
            both(fused::stream_norm(&v[0], Some((&v[1], &gate)), &shift, &scale).unwrap(), 0)
        };
        let what = format!("vector {expanded} expanded");
        let inputs = [tokens(), tokens(), gate, shift, scale];
        Case { what, form: &form, inputs: &inputs, tolerance: HALF, cast: false, kernels: &kernels }.check();
    }
}

/// The gradient of a bias is the column sums that the kernel after it has computed, and stays correct if those
/// cannot be used.
#[test]
fn sums_of_columns_are_those_of_the_gradient() {
    let draw = Draw::new(DType::Float32);
    let (batch, grid, width) = (2, 5, 16);
    let n = grid * grid;
    let inputs = [
        draw.next(&[batch, n, width]),
        draw.next(&[batch, n, width]),
        draw.next(&[width, width]),
        draw.next(&[width]),
        draw.next(&[batch, 1, width]),
        draw.next(&[batch, 2]),
    ];
    let filter = corrected(&lopsided(), grid);
    let residual =
        |v: &[Tensor]| fused::gated_add(&v[0], &fused::linear(&v[1], &v[2], &v[3]).unwrap(), &v[4]).unwrap();
    let filtered = |v: &[Tensor]| {
        let m = fused::linear(&v[1], &v[2], &v[3]).unwrap();
        filter(&[v[0].clone(), m, v[4].clone(), v[5].clone()])
    };
    // Two gradients are added here, so the column sums of one alone would be wrong.
    let twice = |v: &[Tensor]| {
        let m = fused::linear(&v[1], &v[2], &v[3]).unwrap();
        fused::gated_add(&v[0], &m, &v[4]).unwrap().add(&fused::gated_add(&m, &m, &v[4]).unwrap()).unwrap()
    };
    let attended = |v: &[Tensor]| {
        let weight = v[2].narrow(0, 0, 12).unwrap();
        let qkv = fused::linear(&v[1], &weight, &v[3].narrow(0, 0, 12).unwrap()).unwrap();
        fused::attend(
            &qkv,
            &v[4].reshape(&[-1]).unwrap().narrow(0, 0, 2).unwrap(),
            &v[5].reshape(&[-1]).unwrap().narrow(0, 0, 2).unwrap(),
            2,
        )
        .unwrap()
    };
    let cases: [(&str, Form, usize, &[&str]); 4] = [
        ("residual", &residual, 5, &["gated_add_backward"]),
        ("filtered", &filtered, 6, &["corrected_backward"]),
        ("twice", &twice, 5, &["gated_add_backward"]),
        ("attention", &attended, 6, &["qk_norm_backward"]),
    ];
    for (what, form, count, kernels) in cases {
        let skipped = usize::from(what == "attention");
        let form = |v: &[Tensor]| form(&[&inputs[..skipped], v].concat());
        let inputs = &inputs[skipped..count];
        Case { what: what.into(), form: &form, inputs, tolerance: 4e-2, cast: true, kernels }.check();
    }
}

#[test]
fn the_gated_residual() {
    let form = |v: &[Tensor]| fused::gated_add(&v[0], &v[1], &v[2]).unwrap();
    let kernels = ["gated_add", "gated_add_backward", "gated_add_sums"];
    let (single, half) = (Draw::new(DType::Float32), Draw::new(DType::BFloat16));
    for shape in SHAPES {
        let what = format!("{shape:?}");
        let inputs = &tokens(&single, shape)[..3];
        Case { what: what.clone(), form: &form, inputs, tolerance: SINGLE, cast: false, kernels: &kernels }
            .check();
        let mut inputs = tokens(&half, shape)[..3].to_vec();
        Case {
            what: what.clone(),
            form: &form,
            inputs: &inputs,
            tolerance: HALF,
            cast: false,
            kernels: &kernels,
        }
        .check();
        inputs[0] = single.next(&inputs[0].shape());
        Case { what, form: &form, inputs: &inputs, tolerance: HALF, cast: false, kernels: &kernels }.check();
    }
    // Wider than one block, and one gate for all images.
    let inputs = [single.next(&[2, 3, 1100]), single.next(&[2, 3, 1100]), single.next(&[1, 1, 1100])];
    let what = "wide".to_string();
    Case { what, form: &form, inputs: &inputs, tolerance: SINGLE, cast: false, kernels: &kernels }.check();
}

fn binomial() -> Filter {
    filter::binomial(filter::Binomial { order: 4 }).unwrap()
}

const CORRECTED: [&str; 3] = ["corrected", "corrected_backward", "corrected_sums"];

#[test]
fn the_corrected_residual() {
    let draw = Draw::new(DType::Float32);
    let wide = filter::gaussian(filter::Gaussian { sigma: 2.5 }).unwrap();
    let cases = SHAPES.iter().map(|shape| (lopsided(), *shape));
    for (filter, shape) in
        cases.chain([(binomial(), SHAPES[0]), (wide.clone(), SHAPES[1]), (wide, SHAPES[0])])
    {
        let (what, inputs) = (format!("{filter} on {shape:?}"), tokens(&draw, shape));
        let form = corrected(&filter, shape.1);
        Case { what, form: &form, inputs: &inputs, tolerance: SINGLE, cast: false, kernels: &CORRECTED }
            .check();
    }
}

#[test]
fn the_corrected_residual_in_bfloat16_and_mixed() {
    let (single, half) = (Draw::new(DType::Float32), Draw::new(DType::BFloat16));
    for shape in [SHAPES[0], SHAPES[2]] {
        let form = corrected(&lopsided(), shape.1);
        let mut inputs = tokens(&half, shape);
        let what = format!("bfloat16 on {shape:?}");
        Case { what, form: &form, inputs: &inputs, tolerance: HALF, cast: false, kernels: &CORRECTED }
            .check();
        // Under autocast, the residual stream stays float32.
        inputs[0] = single.next(&inputs[0].shape());
        inputs[3] = single.next(&inputs[3].shape());
        let what = format!("mixed on {shape:?}");
        Case { what, form: &form, inputs: &inputs, tolerance: HALF, cast: false, kernels: &CORRECTED }
            .check();
    }
}

/// Returns plans of `count` filters of different reach, the coarsest first.
fn plans(count: usize, grid: i64) -> Vec<Plan> {
    let smooth = filter::gaussian(filter::Gaussian { sigma: 1.2 }).unwrap();
    let all = [smooth, lopsided(), binomial()];
    all[..count].iter().map(|f| f.plan(grid, DType::Float32, device()).unwrap()).collect()
}

/// Returns a correction with these filters, as a function of x, m, the gate and the coefficients.
fn banded(count: usize, grid: i64) -> impl Fn(&[Tensor]) -> Tensor + use<> {
    let plans = plans(count, grid);
    move |v: &[Tensor]| add_filtered(&v[0], &v[1], &v[2], &[(&plans[..], v[3].clone())]).unwrap()
}

#[test]
fn bands_and_channels_are_one_pass() {
    let (single, half) = (Draw::new(DType::Float32), Draw::new(DType::BFloat16));
    for (shape, count) in [(SHAPES[0], 1), (SHAPES[0], 2), (SHAPES[2], 3), (SHAPES[3], 2), (SHAPES[4], 2)] {
        let (batch, grid, width) = shape;
        let form = banded(count, grid);
        let bands = count as i64 + 1;
        for coefficients in [vec![batch, bands], vec![batch, bands, width]] {
            let cases = [(&single, &single, SINGLE), (&half, &half, HALF), (&single, &half, HALF)];
            for (stream, residual, tolerance) in cases {
                let mut inputs = tokens(residual, shape);
                inputs[0] = stream.next(&inputs[0].shape());
                inputs[3] = residual.next(&coefficients);
                let what = format!("{shape:?}, {coefficients:?}, {}", inputs[0].dtype().name());
                // Gradients of coefficients sum values of both signs and lose precision.
                let tolerance = 3.0 * tolerance;
                Case { what, form: &form, inputs: &inputs, tolerance, cast: false, kernels: &CORRECTED }
                    .check();
            }
        }
    }
    // Slices of a longer row as coefficients, as from a network with several outputs.
    let mut inputs = tokens(&single, (2, 5, 24));
    inputs[3] = single.next(&[2, 3, 2, 24]);
    let form = banded(2, 5);
    let part = |v: &[Tensor]| {
        let own = v[3].narrow(2, 1, 1).unwrap().squeeze(&[]).unwrap();
        form(&[v[..3].to_vec(), vec![own]].concat())
    };
    let what = "parts".to_string();
    Case { what, form: &part, inputs: &inputs, tolerance: SINGLE, cast: false, kernels: &CORRECTED }.check();
}

#[test]
fn corrections_of_tokens_alone_need_neither_stream_nor_gate() {
    for (shape, count) in [(SHAPES[0], 1), (SHAPES[2], 3), (SHAPES[3], 2)] {
        let (batch, grid, width) = shape;
        let plans = plans(count, grid);
        let form = |v: &[Tensor]| {
            filtered(&fused::Tokens::Given(v[0].clone()), &[(&plans[..], v[1].clone())]).unwrap()
        };
        let bands = count as i64 + 1;
        for coefficients in [vec![batch, bands], vec![batch, bands, width]] {
            for (dtype, tolerance) in [(DType::Float32, SINGLE), (DType::BFloat16, HALF)] {
                let draw = Draw::new(dtype);
                let inputs = [draw.next(&[batch, grid * grid, width]), draw.next(&coefficients)];
                let what = format!("{shape:?}, {coefficients:?}, {}", dtype.name());
                // Gradients of coefficients sum values of both signs and lose precision.
                let tolerance = 3.0 * tolerance;
                Case { what, form: &form, inputs: &inputs, tolerance, cast: false, kernels: &CORRECTED }
                    .check();
            }
        }
    }
}

#[test]
fn coefficients_of_zero_change_no_bit() {
    let draw = Draw::new(DType::Float32);
    let v = tokens(&draw, (3, 7, 20));
    for (count, coefficients) in [(1, &[3, 2][..]), (1, &[3, 2, 20]), (2, &[3, 3]), (2, &[3, 3, 20])] {
        let none = Tensor::zeros(coefficients, DType::Float32, device()).unwrap();
        let f = banded(count, 7);
        let ((with, without), _) = with_kernels(|| {
            let with = f(&[v[0].clone(), v[1].clone(), v[2].clone(), none]);
            (with, fused::gated_add(&v[0], &v[1], &v[2]).unwrap())
        });
        assert!(with.equal(&without).unwrap(), "{coefficients:?}");
    }
}

#[test]
fn the_gradient_is_the_slope() {
    let draw = Draw::new(DType::Float32);
    let f = corrected(&lopsided(), 5);
    let inputs = tokens(&draw, (2, 5, 12));
    let total = |v: &[Tensor]| f(v).square().unwrap().sum(&[], false).unwrap();
    with_kernels(|| {
        let gradients = autograd::grad(&[total(&inputs)], &inputs, None, false, false).unwrap();
        for (i, gradient) in gradients.into_iter().enumerate() {
            let way = draw.next(&inputs[i].shape()).detach().unwrap();
            let at = |step: f64| {
                let mut moved = inputs.clone();
                moved[i] = inputs[i].add(&way.mul_scalar(step).unwrap()).unwrap();
                total(&moved).item().unwrap()
            };
            let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
            let expected = gradient.unwrap().mul(&way).unwrap().sum(&[], false).unwrap().item().unwrap();
            assert!((slope - expected).abs() <= 5e-3 * expected.abs().max(1.0), "{i}: {slope} {expected}");
        }
    });
}

#[test]
fn a_filter_that_reaches_too_far_is_libtorchs() {
    let draw = Draw::new(DType::Float32);
    let wide = filter::gaussian(filter::Gaussian { sigma: 4.0 }).unwrap();
    let inputs = tokens(&draw, (1, 14, 8));
    let form = corrected(&wide, 14);
    let emulator = Emulator::default();
    let before = kernels::started();
    let ours = kernels::emulated(&emulator, || form(&inputs));
    // A kernel may still add the residual itself.
    assert!(kernels::started() <= before + 1 && !emulator.ran().contains_key("corrected"));
    assert_eq!(ours.shape(), [1, 196, 8]);
}

#[test]
fn a_matrix_that_changed_is_looked_at_again() {
    let draw = Draw::new(DType::Float32);
    let v = tokens(&draw, (1, 4, 8));
    let matrix =
        Tensor::from_f32(&(0..16).map(|i| f32::from(u8::from(i % 5 == 0))).collect::<Vec<_>>(), &[1, 4, 4])
            .and_then(|matrix| matrix.to_device(device()))
            .unwrap();
    let run = || {
        let filter = fused::GridFilter { matrix: matrix.clone(), gains: None };
        fused::gated_add_corrected(&v[0], &v[1], &v[2], &[(v[3].clone(), vec![filter])]).unwrap()
    };
    for _ in 0..2 {
        let ((ours, _), plain) = (with_kernels(run), fused::with_reference_operators(run));
        assert!(ours.allclose(&plain, 1e-5, 1e-5).unwrap());
        let more = Tensor::ones(&[1, 4, 4], DType::Float32, device()).unwrap();
        spectral::torch::no_grad(|| matrix.copy_(&more)).unwrap();
    }
}

#[test]
fn rms_norm_and_modulation() {
    let kernels = ["norm_modulate", "norm_modulate_backward", "norm_modulate_sums"];
    for (batch, n, width) in [(2, 9, 48), (1, 30, 37), (3, 17, 200)] {
        for (dtype, tolerance) in [(DType::Float32, 1e-5), (DType::BFloat16, 3e-2)] {
            let draw = Draw::new(dtype);
            let (tokens, one) = (|| draw.next(&[batch, n, width]), || draw.next(&[batch, 1, width]));
            let what = format!("{batch} {n} {width} {}", dtype.name());
            let form = |v: &[Tensor]| fused::rms_modulate(&v[0], &v[1], &v[2]).unwrap();
            let inputs = [tokens(), one(), one()];
            Case {
                what: what.clone(),
                form: &form,
                inputs: &inputs,
                tolerance,
                cast: false,
                kernels: &kernels,
            }
            .check();
            let form = |v: &[Tensor]| {
                let (s, y) = fused::stream_rms_norm(&v[0], Some((&v[1], &v[2])), &v[3], &v[4]).unwrap();
                s.add(&y).unwrap()
            };
            let inputs = [tokens(), tokens(), one(), one(), one()];
            let what = format!("{what} with a residual");
            Case { what, form: &form, inputs: &inputs, tolerance, cast: false, kernels: &kernels }.check();
        }
    }
}

#[test]
fn queries_and_keys() {
    let kernels = ["qk_norm", "qk_norm_backward"];
    for (batch, n, heads, size) in [(2, 9, 2, 8), (1, 30, 4, 48), (3, 17, 3, 10), (1, 1, 1, 3)] {
        for (dtype, tolerance) in [(DType::Float32, 1e-5), (DType::BFloat16, 3e-2)] {
            let draw = Draw::new(dtype);
            let form = |v: &[Tensor]| fused::attend(&v[0], &v[1], &v[2], heads).unwrap();
            let inputs = [draw.next(&[batch, n, 3 * heads * size]), draw.next(&[size]), draw.next(&[size])];
            let what = format!("{batch} {n} {heads} {size} {}", dtype.name());
            Case { what, form: &form, inputs: &inputs, tolerance, cast: false, kernels: &kernels }.check();
        }
    }
    // Another epsilon, and no norm at all, which needs no kernel.
    let draw = Draw::new(DType::Float32);
    let form = |v: &[Tensor]| {
        let norm = fused::RmsOfHeads { q_weight: &v[1], k_weight: &v[2], eps: Some(1.0) };
        fused::attend_with(&v[0], Some(norm), 2).unwrap()
    };
    let inputs = [draw.next(&[2, 9, 48]), draw.next(&[8]), draw.next(&[8])];
    let what = "an epsilon of 1".to_string();
    Case { what, form: &form, inputs: &inputs, tolerance: 1e-5, cast: false, kernels: &kernels }.check();
    let form = |v: &[Tensor]| fused::attend_with(&v[0], None, 2).unwrap();
    let what = "no norm".to_string();
    Case { what, form: &form, inputs: &inputs[..1], tolerance: 1e-5, cast: false, kernels: &[] }.check();
    // Under autocast, weights stay float32.
    let (single, half) = (Draw::new(DType::Float32), Draw::new(DType::BFloat16));
    let form = |v: &[Tensor]| fused::attend(&v[0], &v[1], &v[2], 2).unwrap();
    let inputs = [half.next(&[2, 9, 96]), single.next(&[16]), single.next(&[16])];
    let what = "autocast".to_string();
    Case { what, form: &form, inputs: &inputs, tolerance: 3e-2, cast: true, kernels: &kernels }.check();
    let choices = kernels::attention_choices();
    assert!(
        choices.contains("default") && choices.contains("[1, 4, 30, 48] Float, with gradients"),
        "{choices}"
    );
}

#[test]
fn rotated_queries_and_keys() {
    let kernels = ["qk_norm", "qk_norm_backward"];
    let tables = |draw: &Draw, shape: [i64; 3]| {
        let [images, n, size] = shape;
        let angles = draw.next(&[images, n, size / 2, 1]).detach().unwrap();
        let angles = angles.expand(&[images, n, size / 2, 2]).unwrap().reshape(&shape).unwrap();
        [angles.cos().unwrap(), angles.sin().unwrap()]
    };
    for (batch, n, heads, size) in [(2, 9, 2, 8), (1, 30, 4, 48), (3, 17, 3, 12), (2, 5, 1, 4)] {
        for (dtype, tolerance) in [(DType::Float32, 1e-5), (DType::BFloat16, 3e-2)] {
            let (draw, single) = (Draw::new(dtype), Draw::new(DType::Float32));
            for images in [1, batch] {
                let [cos, sin] = &tables(&single, [images, n, size]);
                let rotation = Some(fused::Rotation { cos, sin });
                let what = format!("{batch} {n} {heads} {size} {} of {images}", dtype.name());
                let plain = |v: &[Tensor]| fused::attend_rotated(&v[0], None, rotation, heads).unwrap();
                let normed = |v: &[Tensor]| {
                    let norm = fused::RmsOfHeads { q_weight: &v[1], k_weight: &v[2], eps: None };
                    fused::attend_rotated(&v[0], Some(norm), rotation, heads).unwrap()
                };
                let inputs =
                    [draw.next(&[batch, n, 3 * heads * size]), draw.next(&[size]), draw.next(&[size])];
                let case = |what, form, inputs| {
                    Case { what, form, inputs, tolerance, cast: false, kernels: &kernels }.check();
                };
                case(format!("{what} without a norm"), &plain, &inputs[..1]);
                case(what, &normed, &inputs);
                if dtype == DType::Float32 {
                    with_kernels(|| same_with_a_graph("rotated", &normed, &inputs, 1e-4));
                }
            }
        }
    }
}

#[test]
fn the_feed_forward_part() {
    let form = |v: &[Tensor]| fused::mlp(&v[0], (&v[1], &v[2]), (&v[3], &v[4])).unwrap();
    // In bfloat16, the activation runs in a library's matrix product, which keeps what the backward kernel needs.
    let (own, library): (&[&str], &[&str]) = (&["bias_gelu", "bias_gelu_backward"], &["bias_gelu_backward"]);
    let inputs = |draw: &Draw, (batch, n, width, inner): (i64, i64, i64, i64)| {
        vec![
            draw.next(&[batch, n, width]),
            draw.next(&[inner, width]),
            draw.next(&[inner]),
            draw.next(&[width, inner]),
            draw.next(&[width]),
        ]
    };
    let (single, half) = (Draw::new(DType::Float32), Draw::new(DType::BFloat16));
    for shape in [(3, 50, 36, 72), (1, 1, 4, 5), (2, 9, 7, 33), (1, 4, 8, 1100)] {
        let what = format!("{shape:?}");
        let cases =
            [(&single, 1e-5, false, own), (&half, 4e-2, false, library), (&single, 4e-2, true, library)];
        for (draw, tolerance, cast, kernels) in cases {
            let (what, inputs) = (what.clone(), inputs(draw, shape));
            Case { what, form: &form, inputs: &inputs, tolerance, cast, kernels }.check();
        }
    }
    // Without gradients, the inner layer is overwritten in place.
    let v = inputs(&single, (2, 9, 7, 33));
    let ((with, without), _) = with_kernels(|| (form(&v), spectral::torch::no_grad(|| form(&v))));
    assert!(with.equal(&without).unwrap());
    // In bfloat16, the GPU's matrix product library adds the bias and applies the activation.
    let cast = || spectral::torch::no_grad(|| autograd::autocast(device(), || Ok(form(&v))).unwrap());
    // On a GPU none of our kernels runs here, which `with_kernels` would reject.
    let ours = if device().is_cuda() { cast() } else { with_kernels(cast).0 };
    let plain = fused::with_reference_operators(cast);
    let largest = plain.to_f64().unwrap().iter().fold(0.0f64, |m, x| m.max(x.abs()));
    assert!(ours.allclose(&plain, 0.0, 4e-2 * largest).unwrap());
}

#[test]
fn weights_are_rounded_again_when_they_change() {
    let draw = Draw::new(DType::Float32);
    // No length is a multiple of 8, so all are padded.
    let inputs = [draw.next(&[3, 4, 6]), draw.next(&[5, 6]), draw.next(&[5])];
    let form = |v: &[Tensor]| fused::linear(&v[0], &v[1], &v[2]).unwrap();
    let emulator = Emulator::default();
    for round in 0..3 {
        let run = || value_and_gradients(&cast(&form), &inputs);
        // A product starts none of our kernels.
        let (ours, plain) = (kernels::emulated(&emulator, run), fused::with_reference_operators(run));
        for (i, (a, b)) in ours.iter().zip(&plain).enumerate() {
            assert_eq!(a.dtype(), b.dtype(), "result {i}");
            assert!(a.allclose(b, 2e-2, 2e-2).unwrap(), "result {i}");
        }
        // Changes the weight with an operator on one tensor, then with one on several.
        let more = Tensor::ones(&inputs[1].shape(), DType::Float32, device()).unwrap();
        match round {
            0 => spectral::torch::no_grad(|| inputs[1].copy_(&inputs[1].add(&more).unwrap())).unwrap(),
            _ => optim::lerp_all(&inputs[1..2], &[more], 0.5).unwrap(),
        }
    }
}

#[test]
fn gradients_of_gradients() {
    let draw = Draw::new(DType::Float32);
    let v = tokens(&draw, (2, 3, 8));
    let matrix = corrected(&lopsided(), 3);
    let (qkv, w) = (draw.next(&[2, 9, 24]), draw.next(&[4]));
    let cases: [(&str, Vec<Tensor>, Form); 4] = [
        ("correction", v.clone(), &matrix),
        ("stream", [v[..3].to_vec(), vec![draw.next(&[2, 1, 8]), draw.next(&[2, 1, 8])]].concat(), &|v| {
            let (s, y) = fused::stream_norm(&v[0], Some((&v[1], &v[2])), &v[3], &v[4]).unwrap();
            s.add(&y).unwrap()
        }),
        ("norm", vec![v[0].clone(), v[2].clone(), draw.next(&[2, 1, 8])], &|v| {
            fused::norm_modulate(&v[0], &v[1], &v[2]).unwrap()
        }),
        ("mlp", vec![qkv, draw.next(&[5, 24]), draw.next(&[5]), draw.next(&[4, 5]), w], &|v| {
            fused::mlp(&v[0], (&v[1], &v[2]), (&v[3], &v[4])).unwrap()
        }),
    ];
    for (what, inputs, f) in cases {
        // Gradient of the squared gradient, through the kernels' graph and through libtorch's.
        let second = || {
            let loss = f(&inputs).square().unwrap().sum(&[], false).unwrap();
            let first = autograd::grad(&[loss], &inputs, None, true, true).unwrap();
            let sizes: Vec<Tensor> =
                first.into_iter().map(|g| g.unwrap().square().unwrap().sum(&[], false).unwrap()).collect();
            let total = sizes[1..].iter().fold(sizes[0].clone(), |sum, s| sum.add(s).unwrap());
            autograd::grad(&[total], &inputs, None, false, false).unwrap()
        };
        let ((ours, _), plain) = (with_kernels(second), fused::with_reference_operators(second));
        for (i, (a, b)) in ours.into_iter().zip(plain).enumerate() {
            let (a, b) = (a.unwrap(), b.unwrap());
            let largest = b.to_f64().unwrap().iter().fold(0.0f64, |m, x| m.max(x.abs()));
            assert!(a.allclose(&b, 1e-3, 1e-4 * largest).unwrap(), "{what}, input {i}");
        }
    }
}

#[test]
fn gradients_that_record_a_graph_are_those_that_do_not() {
    let (single, half) = (Draw::new(DType::Float32), Draw::new(DType::BFloat16));
    let stream = |v: &[Tensor], m: &Tensor| {
        let (s, y) = fused::stream_norm(&v[0], Some((m, &v[1])), &v[2], &v[3]).unwrap();
        s.add(&y).unwrap()
    };
    let vectors = || [0; 3].map(|_| single.next(&[2, 1, 8])).to_vec();
    let streamed = || [vec![single.next(&[2, 9, 8])], vectors()].concat();
    let cases: [(&str, Form, Vec<Tensor>); 6] = [
        // As in a block, where the residual is computed from the stream.
        ("residual of the stream", &|v| stream(v, &v[0].tanh().unwrap()), streamed()),
        ("stream twice", &|v| stream(v, &v[0]), streamed()),
        (
            "gate of the stream",
            &|v| fused::gated_add(&v[0], &v[0], &v[0].mean(&[1], true).unwrap()).unwrap(),
            vec![single.next(&[2, 9, 8])],
        ),
        (
            "norm alone",
            &|v| fused::norm_modulate(&v[0], &v[1], &v[1]).unwrap(),
            vec![single.next(&[2, 9, 8]), single.next(&[2, 1, 8])],
        ),
        (
            "attention of strided tokens",
            &|v| fused::attend(&v[0].transpose(1, 2).unwrap(), &v[1], &v[1], 2).unwrap(),
            vec![single.next(&[2, 24, 9]), single.next(&[4])],
        ),
        (
            "mlp",
            &|v| {
                let b = v[1].select(0, 0).unwrap();
                fused::mlp(&v[0].transpose(1, 2).unwrap(), (&v[1], &b), (&v[1], &b)).unwrap()
            },
            vec![single.next(&[2, 8, 9]), single.next(&[8, 8])],
        ),
    ];
    for (what, form, inputs) in cases {
        with_kernels(|| same_with_a_graph(what, form, &inputs, 1e-5));
    }
    // Only the stream records gradients.
    let rest: Vec<Tensor> = vectors().iter().map(|t| t.detach().unwrap()).collect();
    let m = single.next(&[2, 9, 8]).detach().unwrap();
    let alone = |v: &[Tensor]| fused::gated_add(&v[0], &m, &rest[0]).unwrap();
    with_kernels(|| same_with_a_graph("stream alone", &alone, &[single.next(&[2, 9, 8])], 1e-5));
    // 36 outputs are padded, so attention takes a strided view.
    let attended = |v: &[Tensor]| {
        let qkv = fused::linear(&v[0], &v[1], &v[2]).unwrap();
        fused::attend(&qkv, &v[3], &v[4], 2).unwrap()
    };
    let shapes: [&[i64]; 4] = [&[36, 24], &[36], &[6], &[6]];
    let inputs = [vec![half.next(&[2, 9, 24])], shapes.map(|shape| single.next(shape)).to_vec()].concat();
    with_kernels(|| same_with_a_graph("attention of a map", &cast(&attended), &inputs, 4e-2));
}

#[test]
fn sizes_that_do_not_match_are_errors() {
    let draw = Draw::new(DType::Float32);
    let [x, qkv] = [[2, 3, 6], [2, 3, 48]].map(|shape| draw.next(&shape));
    let fails = |what: &str, form: &dyn Fn() -> Result<Tensor>| {
        let run = || autograd::autocast(device(), form);
        let emulator = Emulator::default();
        assert!(kernels::emulated(&emulator, run).is_err(), "{what} under autocast");
        assert!(kernels::emulated(&emulator, form).is_err(), "{what}");
    };
    for (weight, bias) in [([4, 5], 4), ([4, 6], 3), ([4, 7], 4)] {
        let (w, b) = (draw.next(&weight), draw.next(&[bias]));
        let (fit, own) = (draw.next(&[weight[0], 6]), draw.next(&[6]));
        let what = format!("{weight:?} and {bias}");
        fails(&format!("linear of {what}"), &|| fused::linear(&x, &w, &b));
        let second = draw.next(&[6, weight[0]]);
        fails(&format!("mlp with first {what}"), &|| fused::mlp(&x, (&w, &b), (&second, &own)));
        if weight[1] != 6 {
            let inner = draw.next(&[weight[0]]);
            fails(&format!("mlp with second {what}"), &|| fused::mlp(&x, (&fit, &inner), (&w, &b)));
        }
    }
    for (q, k) in [(4, 4), (8, 4), (16, 8)] {
        let (q, k) = (draw.next(&[q]), draw.next(&[k]));
        fails("attention", &|| fused::attend(&qkv, &q, &k, 2));
    }
}
