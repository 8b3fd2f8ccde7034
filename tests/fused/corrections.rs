//! Corrections: of the gated residual, and of tokens where a norm or a sum makes them.

use spectral::nn::Builder;
use spectral::spectral::correction::{add_filtered, filtered};
use spectral::spectral::filter::{self, Filter, Plan, Response};
use spectral::torch::{self, DType, Device, Tensor, autograd, fused};

use crate::shared::{
    Draw, Form, corrected, corrected_by, lopsided, same_with_a_graph, tokens, value_and_gradients,
};
use crate::{SHAPES, agree};

pub fn filters() -> Vec<Filter> {
    vec![
        filter::binomial(filter::Binomial { order: 4 }).unwrap(),
        filter::gaussian(filter::Gaussian { sigma: 2.5 }).unwrap(),
        filter::r#box(filter::BoxBlur { width: 3 }).unwrap(),
        filter::ideal(filter::Ideal { cutoff: 0.5 }).unwrap(),
        filter::butterworth(filter::Butterworth { cutoff: 0.4, order: 2 }).unwrap(),
        filter::dct(filter::Dct { cutoff: 0.5 }).unwrap(),
        // Gains of both signs, and gains of zero, which remove every frequency.
        Filter::new(Response::new(|radius| Ok(0.5 - radius)).unwrap()).unwrap(),
        Filter::new(Response::new(|_| Ok(0.0)).unwrap()).unwrap(),
    ]
}

#[test]
fn the_corrected_residual() {
    let draw = Draw::new(DType::Float32);
    for shape in SHAPES {
        for filter in filters().into_iter().chain([lopsided()]) {
            let what = format!("{filter} on {shape:?}");
            // Gradients of coefficients sum values of both signs and lose precision.
            agree(&what, &corrected(&filter, shape.1), &tokens(&draw, shape), 1e-5);
        }
    }
}

/// Returns filters with several kinds of matrices, and one in user code.
pub fn several() -> Vec<Filter> {
    let halves = Filter::new(filter::Custom::new(|grid| grid.mul_scalar(0.5))).unwrap();
    vec![filters()[0].clone(), filters()[5].clone(), lopsided(), halves, filters()[4].clone()]
}

#[test]
fn several_corrections_are_one_pass() {
    let draw = Draw::new(DType::Float32);
    for shape in SHAPES.into_iter().chain([(2, 2, 70), (1, 3, 130)]) {
        for count in [2, 3, 5] {
            let mut inputs = tokens(&draw, shape);
            inputs.extend((1..count).map(|_| draw.next(&[shape.0, 2])));
            let form = corrected_by(&several()[..count], shape.1);
            agree(&format!("{count} filters on {shape:?}"), &form, &inputs, 2e-5);
        }
    }
}

/// Returns the gated residual with one correction per list of filters, as a function of x, m, gate and the
/// coefficients of each.
fn banded(filters: &[&[Filter]], grid: i64) -> impl Fn(&[Tensor]) -> Tensor + use<> {
    let plan = |filter: &Filter| filter.plan(grid, DType::Float32, Device::Cpu).unwrap();
    let plans: Vec<Vec<Plan>> = filters.iter().map(|filters| filters.iter().map(plan).collect()).collect();
    move |v: &[Tensor]| {
        let pairs: Vec<_> = plans.iter().map(|plans| &plans[..]).zip(v[3..].iter().cloned()).collect();
        add_filtered(&v[0], &v[1], &v[2], &pairs).unwrap()
    }
}

#[test]
fn bands_and_channels_are_one_pass() {
    for (dtype, tolerance) in [(DType::Float32, 2e-5), (DType::BFloat16, 3e-2)] {
        let draw = Draw::new(dtype);
        for shape in SHAPES.into_iter().chain([(2, 2, 70), (1, 3, 130), (2, 9, 256)]) {
            let (batch, grid, width) = shape;
            // With one token, all bands but one are zero, and the sums consist of rounding errors.
            let tolerance = match (grid, dtype) {
                (1, DType::BFloat16) => continue,
                (1, _) => 10.0 * tolerance,
                _ => tolerance,
            };
            for count in [1, 2, 3] {
                let all = [filters()[1].clone(), lopsided(), filters()[4].clone()];
                let form = banded(&[&all[..count]], grid);
                let bands = count as i64 + 1;
                for coefficients in [vec![batch, bands], vec![batch, bands, width]] {
                    let mut inputs = tokens(&draw, shape);
                    inputs[3] = draw.next(&coefficients);
                    let what = format!("{bands} bands on {shape:?}, {coefficients:?}, {}", dtype.name());
                    agree(&what, &form, &inputs, tolerance);
                }
            }
        }
    }
}

#[test]
fn corrections_of_both_kinds_are_one_pass() {
    let draw = Draw::new(DType::Float32);
    let (one, two, code) = (several()[..1].to_vec(), several()[1..3].to_vec(), several()[2..4].to_vec());
    let form = banded(&[&two, &one, &code], 5);
    let mut inputs = tokens(&draw, (3, 5, 37));
    inputs[3] = draw.next(&[3, 3]);
    inputs.extend([draw.next(&[3, 2, 37]), draw.next(&[3, 3, 37])]);
    agree("corrections of both kinds", &form, &inputs, 2e-5);
}

/// Returns tokens with one correction by the filters, as a function of the tokens and the coefficients.
fn alone(filters: &[Filter], grid: i64) -> impl Fn(&[Tensor]) -> Tensor + use<> {
    let plan = |filter: &Filter| filter.plan(grid, DType::Float32, Device::Cpu).unwrap();
    let plans: Vec<Plan> = filters.iter().map(plan).collect();
    move |v: &[Tensor]| filtered(&fused::Tokens::Given(v[0].clone()), &[(&plans[..], v[1].clone())]).unwrap()
}

#[test]
fn corrections_of_tokens_alone_need_neither_stream_nor_gate() {
    for (dtype, tolerance) in [(DType::Float32, 2e-5), (DType::BFloat16, 3e-2)] {
        let draw = Draw::new(dtype);
        for shape in SHAPES.into_iter().filter(|(_, grid, _)| *grid > 1) {
            let (batch, grid, width) = shape;
            let some = [filters()[1].clone(), lopsided(), filters()[4].clone()];
            for coefficients in [vec![batch, 4], vec![batch, 4, width]] {
                let inputs = [draw.next(&[batch, grid * grid, width]), draw.next(&coefficients)];
                let what = format!("{coefficients:?} on {shape:?}, {}", dtype.name());
                let form = alone(&some, grid);
                agree(&what, &form, &inputs, tolerance);
                let none = inputs[1].mul_scalar(0.0).unwrap();
                assert!(form(&[inputs[0].clone(), none]).equal(&inputs[0]).unwrap(), "{what}");
                // The same sum as with a stream of zeros and a gate of ones.
                let zeros = inputs[0].mul_scalar(0.0).unwrap();
                let one = Tensor::ones(&[batch, 1, width], dtype, Device::Cpu).unwrap();
                let whole = banded(&[&some], grid)(&[zeros, inputs[0].clone(), one, inputs[1].clone()]);
                assert!(form(&inputs).allclose(&whole, 1e-6, 1e-6).unwrap(), "{what}");
            }
        }
    }
}

/// Returns a norm or a sum as tokens to correct, given three inputs.
fn tokens_of(kind: &str, v: &[Tensor]) -> fused::Tokens {
    let [a, b, c] = [0, 1, 2].map(|i: usize| v[i].clone());
    match kind {
        "sum" => fused::Tokens::Sum { x: a, m: b, gate: c },
        _ => fused::Tokens::Norm { x: a, shift: b, scale: c, centered: kind == "layer norm" },
    }
}

#[test]
fn tokens_are_corrected_where_they_are_made() {
    // With as many images as threads, and at least 16, each is corrected by itself; two are in a pass of their own.
    let many = torch::threads().max(16) as i64;
    for (batch, grid, width) in [(many + 1, 5, 37), (many, 3, 150), (2, 5, 37)] {
        for (stream, residual) in [
            (DType::Float32, DType::Float32),
            (DType::BFloat16, DType::BFloat16),
            (DType::Float32, DType::BFloat16),
        ] {
            let tolerance = if residual == DType::Float32 { 2e-5 } else { 3e-2 };
            let (draw, other) = (Draw::new(stream), Draw::new(residual));
            let some = [filters()[1].clone(), filters()[4].clone()];
            let plans: Vec<Plan> =
                some.iter().map(|f| f.plan(grid, DType::Float32, Device::Cpu).unwrap()).collect();
            for kind in ["layer norm", "RMS norm", "sum"] {
                let (n, one) = (grid * grid, [batch, 1, width]);
                let second = if kind == "sum" { other.next(&[batch, n, width]) } else { other.next(&one) };
                let inputs = [
                    draw.next(&[batch, n, width]),
                    second,
                    other.next(&one),
                    draw.next(&[batch, 3]),
                    other.next(&[batch, 2, width]),
                ];
                let both = |v: &[Tensor]| [(&plans[..], v[3].clone()), (&plans[..1], v[4].clone())];
                let fused = |v: &[Tensor]| filtered(&tokens_of(kind, v), &both(v)).unwrap();
                let apart = |v: &[Tensor]| {
                    let made = tokens_of(kind, v).plain().unwrap();
                    filtered(&fused::Tokens::Given(made), &both(v)).unwrap()
                };
                let what = format!("{kind}, {batch} images, {} and {}", stream.name(), residual.name());
                agree(&what, &fused, &inputs, tolerance);
                let (a, b) = (value_and_gradients(&fused, &inputs), value_and_gradients(&apart, &inputs));
                for (i, (a, b)) in a.iter().zip(&b).enumerate() {
                    assert!(a.equal(b).unwrap(), "{what}, result {i}");
                }
            }
        }
    }
}

/// Returns the sum of squares of all gradients of the sum of squares of a function, which has second gradients.
fn second<'a>(f: Form<'a>) -> impl Fn(&[Tensor]) -> Tensor + 'a {
    move |v: &[Tensor]| {
        let total = f(v).square().unwrap().sum(&[], false).unwrap();
        let first = autograd::grad(&[total], v, None, true, true).unwrap();
        let squares = first.into_iter().map(|g| g.unwrap().square().unwrap().sum(&[], false).unwrap());
        squares.reduce(|a, b| a.add(&b).unwrap()).unwrap()
    }
}

#[test]
fn corrections_of_tokens_have_second_gradients() {
    let draw = Draw::new(DType::Float32);
    agree("given", &second(&alone(&[lopsided()], 5)), &[draw.next(&[2, 25, 37]), draw.next(&[2, 2])], 1e-5);
    let plan = lopsided().plan(3, DType::Float32, Device::Cpu).unwrap();
    for kind in ["layer norm", "sum"] {
        let form = |v: &[Tensor]| {
            filtered(&tokens_of(kind, v), &[(std::slice::from_ref(&plan), v[3].clone())]).unwrap()
        };
        let second_shape = if kind == "sum" { [16, 9, 20] } else { [16, 1, 20] };
        let inputs = [&[16, 9, 20], &second_shape, &[16, 1, 20]].map(|shape| draw.next(shape));
        let inputs = [&inputs[..], &[draw.next(&[16, 2])]].concat();
        agree(kind, &second(&form), &inputs, 1e-4);
    }
    // As in a block, where the residual is computed from the stream.
    let itself = |v: &[Tensor]| {
        let tokens = fused::Tokens::Sum { x: v[0].clone(), m: v[0].tanh().unwrap(), gate: v[1].clone() };
        filtered(&tokens, &[(std::slice::from_ref(&plan), v[2].clone())]).unwrap()
    };
    let inputs = [draw.next(&[16, 9, 20]), draw.next(&[16, 1, 20]), draw.next(&[16, 2])];
    same_with_a_graph("sum with itself", &itself, &inputs, 1e-5);
}

#[test]
fn bands_are_weighted_as_by_hand() {
    let draw = Draw::new(DType::Float32);
    let (batch, grid, width) = (2, 7, 20);
    let [coarse, fine] = [filters()[1].clone(), filters()[0].clone()];
    let mut v = tokens(&draw, (batch, grid, width));
    v[3] = draw.next(&[batch, 3, width]);
    let r = v[2].mul(&v[1]).unwrap();
    let [low, middle] = [&coarse, &fine].map(|filter| filter.apply(&r, grid).unwrap());
    let bands = [low.clone(), middle.sub(&low).unwrap(), r.sub(&middle).unwrap()];
    let mut expected = v[0].add(&r).unwrap();
    for (band, i) in bands.iter().zip(0..) {
        expected = expected.add(&v[3].narrow(1, i, 1).unwrap().mul(band).unwrap()).unwrap();
    }
    let form = banded(&[&[coarse, fine]], grid);
    assert!(form(&v).allclose(&expected, 1e-5, 1e-5).unwrap());
    // Equal coefficients for all channels give the value and gradients of one coefficient per band.
    let one = draw.next(&[batch, 3]);
    let each = |one: &Tensor| one.unsqueeze(2).unwrap().expand(&[batch, 3, width]).unwrap();
    let inputs = [v[..3].to_vec(), vec![one]].concat();
    let channels = |v: &[Tensor]| form(&[v[..3].to_vec(), vec![each(&v[3])]].concat());
    let (a, b) = (value_and_gradients(&form, &inputs), value_and_gradients(&channels, &inputs));
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        assert!(a.allclose(b, 1e-5, 1e-4).unwrap(), "result {i}");
    }
}

#[test]
fn coefficients_of_zero_are_the_plain_residual_to_the_last_bit() {
    for dtype in [DType::Float32, DType::BFloat16] {
        let draw = Draw::new(dtype);
        for shape in SHAPES {
            let v = tokens(&draw, shape);
            let expected = fused::gated_add(&v[0], &v[1], &v[2]).unwrap();
            for coefficients in [vec![shape.0, 3], vec![shape.0, 3, shape.2]] {
                let none = Tensor::zeros(&coefficients, dtype, Device::Cpu).unwrap();
                let form = banded(&[&filters()[3..5]], shape.1);
                let inputs = [v[..3].to_vec(), vec![none]].concat();
                let run = || form(&inputs);
                assert!(run().equal(&expected).unwrap(), "{shape:?} {}", dtype.name());
                let plain =
                    fused::with_reference_operators(|| fused::gated_add(&v[0], &v[1], &v[2]).unwrap());
                assert!(
                    fused::with_reference_operators(run).equal(&plain).unwrap(),
                    "plain, {shape:?} {}",
                    dtype.name()
                );
            }
        }
    }
}

#[test]
fn coefficients_that_do_not_fit_the_filters_are_named() {
    let draw = Draw::new(DType::Float32);
    let v = tokens(&draw, (2, 3, 8));
    let filter = filters()[0].plan(3, DType::Float32, Device::Cpu).unwrap().matrices().unwrap().unwrap();
    let both = [(v[3].clone(), vec![filter.clone(), filter])];
    let error = fused::gated_add_corrected(&v[0], &v[1], &v[2], &both).unwrap_err();
    assert_eq!(error.message(), "expected coefficients [B, 3] or [B, 3, D] for 2 filters, found [2, 2]");
}

#[test]
fn a_pass_is_the_sum_of_its_corrections() {
    let draw = Draw::new(DType::Float32);
    let mut v = tokens(&draw, (2, 7, 20));
    v.push(draw.next(&[2, 2]));
    let both = corrected_by(&several()[..2], 7)(&v);
    let one = |i: usize| corrected(&several()[i], 7)(&[&v[..3], &v[3 + i..4 + i]].concat());
    let plain = fused::gated_add(&v[0], &v[1], &v[2]).unwrap();
    let sum = one(0).add(&one(1)).unwrap().sub(&plain).unwrap();
    let off = both.sub(&sum).unwrap().to_f64().unwrap().iter().fold(0.0f64, |m, x| m.max(x.abs()));
    assert!(off < 1e-5, "{off}");
}

/// Returns tokens and the logits of a learned filter, and the corrected residual as a function of x, m, gate,
/// coefficients and logits.
pub fn learned(
    draw: &Draw,
    shape: (i64, i64, i64),
    size: i64,
) -> (Vec<Tensor>, impl Fn(&[Tensor]) -> Tensor + use<>) {
    let filter = filter::learned(filter::Learned { size, init: filter::LearnedInit::Binomial }).unwrap();
    let mut builder = Builder::seeded(0, DType::Float32, Device::Cpu);
    let plan = filter.layer(&mut builder, "filter", shape.1).unwrap();
    let (_, logits) = builder.finish().remove(0);
    let start = draw.next(&logits.shape()).detach().unwrap();
    torch::no_grad(|| logits.copy_(&start)).unwrap();
    let inputs = [tokens(draw, shape), vec![logits]].concat();
    (inputs, move |v: &[Tensor]| {
        add_filtered(&v[0], &v[1], &v[2], &[(std::slice::from_ref(&plan), v[3].clone())]).unwrap()
    })
}

#[test]
fn taps_that_are_trained() {
    let draw = Draw::new(DType::Float32);
    // With one token, all taps coincide, and their gradients consist of rounding errors.
    let shapes = SHAPES.into_iter().filter(|(_, grid, _)| *grid > 1);
    for shape in shapes.chain([(2, 2, 70), (1, 3, 130)]) {
        for size in [3, 5, 9] {
            let (inputs, form) = learned(&draw, shape, size);
            agree(&format!("{size} taps on {shape:?}"), &form, &inputs, 1e-5);
        }
    }
    // A trained matrix with arbitrary entries, beside fixed ones.
    let grid = 5;
    let matrix = draw.next(&[1, grid, grid]);
    let [fixed, waves] = [0, 6].map(|i: usize| {
        filters()[i].plan(grid, DType::Float32, Device::Cpu).unwrap().matrices().unwrap().unwrap()
    });
    let form = |v: &[Tensor]| {
        let trained = fused::GridFilter { matrix: v[6].clone(), gains: None };
        let all = [
            (v[3].clone(), vec![fixed.clone()]),
            (v[4].clone(), vec![trained]),
            (v[5].clone(), vec![waves.clone()]),
        ];
        fused::gated_add_corrected(&v[0], &v[1], &v[2], &all).unwrap()
    };
    let mut inputs = tokens(&draw, (3, grid, 37));
    inputs.extend([draw.next(&[3, 2]), draw.next(&[3, 2]), matrix.clone()]);
    agree("a matrix", &form, &inputs, 1e-5);
    // Two trained matrices in one correction, with coefficients per channel.
    let form = |v: &[Tensor]| {
        let trained = |i: usize| fused::GridFilter { matrix: v[i].clone(), gains: None };
        fused::gated_add_corrected(&v[0], &v[1], &v[2], &[(v[3].clone(), vec![trained(4), trained(5)])])
            .unwrap()
    };
    inputs.truncate(3);
    inputs.extend([draw.next(&[3, 3, 37]), matrix, draw.next(&[1, grid, grid])]);
    agree("matrices and channels", &form, &inputs, 1e-5);
}

#[test]
fn the_corrected_residual_in_bfloat16_and_mixed() {
    let (half, single) = (Draw::new(DType::BFloat16), Draw::new(DType::Float32));
    for shape in SHAPES {
        for filter in [&filters()[0], &filters()[5], &lopsided()] {
            let f = corrected(filter, shape.1);
            let inputs = tokens(&half, shape);
            agree(&format!("{filter}, bfloat16 on {shape:?}"), &f, &inputs, 4e-2);
            // Under autocast, the residual stream stays float32.
            let mixed = [vec![single.next(&inputs[0].shape())], inputs[1..].to_vec()].concat();
            agree(&format!("{filter}, mixed on {shape:?}"), &f, &mixed, 4e-2);
        }
    }
}

#[test]
fn inputs_that_do_not_lie_dense() {
    let draw = Draw::new(DType::Float32);
    let (batch, grid, width) = (2, 7, 20);
    let turned = |t: &Tensor| t.transpose(1, 2).unwrap();
    let inputs = [
        draw.next(&[batch, width, grid * grid]),
        draw.next(&[batch, width, grid * grid]),
        draw.next(&[batch, 1, 2 * width]),
        draw.next(&[1, 2]),
    ];
    let f = corrected(&lopsided(), grid);
    let strided = |v: &[Tensor]| {
        let gate = v[2].narrow(2, width, width).unwrap();
        f(&[turned(&v[0]), turned(&v[1]), gate, v[3].expand(&[batch, 2]).unwrap()])
    };
    agree("strided", &strided, &inputs, 2e-6);
}

#[test]
fn coefficients_of_zero_change_no_bit() {
    let draw = Draw::new(DType::Float32);
    let v = tokens(&draw, (3, 7, 20));
    let none = Tensor::zeros(&[3, 2], DType::Float32, Device::Cpu).unwrap();
    let same = |filters: &[Filter]| {
        let inputs = [v[..3].to_vec(), vec![none.clone(); filters.len()]].concat();
        let with = corrected_by(filters, 7)(&inputs);
        assert!(with.equal(&fused::gated_add(&v[0], &v[1], &v[2]).unwrap()).unwrap(), "{filters:?}");
    };
    filters().into_iter().for_each(|filter| same(&[filter]));
    same(&several());
}

#[test]
fn the_gradient_is_the_slope() {
    let draw = Draw::new(DType::Float32);
    let f = corrected(&lopsided(), 5);
    let inputs = tokens(&draw, (2, 5, 12));
    let total = |v: &[Tensor]| f(v).square().unwrap().sum(&[], false).unwrap();
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
        assert!((slope - expected).abs() <= 5e-3 * expected.abs().max(1.0), "input {i}: {slope} {expected}");
    }
}
