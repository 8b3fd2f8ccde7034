//! Fused operators of a block, compared with the same mathematics in libtorch's operators: values and gradients.
#![cfg(test)]

use spectral::nn::Builder;
use spectral::spectral::correction::{add_filtered, filtered};
use spectral::spectral::filter::{self, Filter, Plan, Response};
use spectral::torch::{self, DType, Device, Generator, Tensor, autograd, fused};

/// Source of random tensors that require gradients.
struct Draw(Generator, DType);

impl Draw {
    fn new(dtype: DType) -> Self {
        torch::start();
        Draw(Generator::new(7, Device::Cpu).unwrap(), dtype)
    }

    fn next(&self, shape: &[i64]) -> Tensor {
        let values = Tensor::randn(shape, DType::Float32, Device::Cpu, Some(&self.0)).unwrap();
        values.to_dtype(self.1).unwrap().set_requires_grad(true).unwrap()
    }
}

/// Operator as a function of its inputs.
type Form<'a> = &'a dyn Fn(&[Tensor]) -> Tensor;

/// Returns the value and the gradients of all inputs, for a random gradient of the value.
fn value_and_gradients(f: Form, inputs: &[Tensor]) -> Vec<Tensor> {
    let value = f(inputs);
    let generator = Generator::new(8, Device::Cpu).unwrap();
    let weight = Tensor::randn(&value.shape(), DType::Float32, Device::Cpu, Some(&generator)).unwrap();
    let weight = weight.to_dtype(value.dtype()).unwrap();
    let gradients =
        autograd::grad(std::slice::from_ref(&value), inputs, Some(&[weight]), false, false).unwrap();
    [value].into_iter().chain(gradients.into_iter().map(|g| g.expect("every input takes part"))).collect()
}

/// Fails unless the fused operator and its reference implementation agree within `tolerance` of the largest value.
fn agree(what: &str, f: Form, inputs: &[Tensor], tolerance: f64) {
    let ours = value_and_gradients(f, inputs);
    let plain = fused::with_reference_operators(|| value_and_gradients(f, inputs));
    for (i, (a, b)) in ours.iter().zip(&plain).enumerate() {
        assert_eq!((a.shape(), a.dtype()), (b.shape(), b.dtype()), "{what}, result {i}");
        let (a, b) = (a.to_f64().unwrap(), b.to_f64().unwrap());
        let largest = b.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
        let worst = a.iter().zip(&b).fold(0.0f64, |m, (x, y)| m.max((x - y).abs()));
        assert!(worst <= tolerance * largest, "{what}, result {i}: {worst:.2e} of {largest:.2e}");
    }
}

/// Batch, grid and width: odd grids, widths that are not a multiple of the vector size, one image, one token.
const SHAPES: [(i64, i64, i64); 6] =
    [(2, 7, 20), (1, 14, 128), (3, 5, 37), (5, 3, 8), (1, 1, 4), (20, 4, 50)];

/// Returns an asymmetric filter, for which the transpose makes a difference.
fn lopsided() -> Filter {
    Filter::new(filter::Taps { taps: vec![1.0, 0.0, 5.0, 2.0, 0.0], normalize: true }).unwrap()
}

fn filters() -> Vec<Filter> {
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

/// Returns the gated residual with one correction per filter, as a function of x, m, gate and the coefficients of
/// each.
fn corrected_by(filters: &[Filter], grid: i64) -> impl Fn(&[Tensor]) -> Tensor + use<> {
    let plan = |filter: &Filter| filter.plan(grid, DType::Float32, Device::Cpu).unwrap();
    let plans: Vec<Plan> = filters.iter().map(plan).collect();
    move |v: &[Tensor]| {
        let pairs: Vec<_> = plans.iter().map(std::slice::from_ref).zip(v[3..].iter().cloned()).collect();
        add_filtered(&v[0], &v[1], &v[2], &pairs).unwrap()
    }
}

fn corrected(filter: &Filter, grid: i64) -> impl Fn(&[Tensor]) -> Tensor + use<> {
    corrected_by(std::slice::from_ref(filter), grid)
}

fn tokens(draw: &Draw, (batch, grid, width): (i64, i64, i64)) -> Vec<Tensor> {
    let n = grid * grid;
    vec![
        draw.next(&[batch, n, width]),
        draw.next(&[batch, n, width]),
        draw.next(&[batch, 1, width]),
        draw.next(&[batch, 2]),
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
fn several() -> Vec<Filter> {
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

/// Returns a norm or, without an epsilon, a sum as tokens to correct, given three inputs.
fn tokens_of(kind: &str, v: &[Tensor]) -> fused::Tokens {
    let [a, b, c] = [0, 1, 2].map(|i: usize| v[i].clone());
    match kind {
        "sum" => fused::Tokens::Sum { x: a, m: b, gate: c },
        _ => fused::Tokens::Norm { x: a, shift: b, scale: c, centered: kind == "layer norm" },
    }
}

#[test]
fn tokens_are_corrected_where_they_are_made() {
    // Seventeen images are corrected one by one, two in a pass of their own.
    for (batch, grid, width) in [(17, 5, 37), (16, 3, 150), (2, 5, 37)] {
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
fn learned(
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

/// Operator with its name and inputs.
type Case = (&'static str, Vec<Tensor>, Box<dyn Fn(&[Tensor]) -> Tensor>);

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let draw = Draw::new(DType::Float32);
    let mut cases: Vec<Case> = Vec::new();
    let (mut inputs, trained) = learned(&draw, (3, 7, 150), 5);
    let several = corrected_by(&several()[..3], 7);
    inputs.extend([draw.next(&[3, 2]), draw.next(&[3, 2])]);
    let both = move |v: &[Tensor]| {
        let pick = |places: &[usize]| places.iter().map(|i| v[*i].clone()).collect::<Vec<_>>();
        several(&pick(&[0, 1, 2, 3, 5, 6])).add(&trained(&v[..5])).unwrap()
    };
    cases.push(("corrections", inputs, Box::new(both)));
    let x = draw.next(&[3, 150, 96]);
    let (w1, b1, w2, b2) =
        (draw.next(&[200, 96]), draw.next(&[200]), draw.next(&[96, 200]), draw.next(&[96]));
    let inputs = vec![x.clone(), w1.clone(), b1.clone(), w2, b2];
    // Without AVX2, libraries compute the products, and use a different one for a single thread.
    if fused::instruction_set() != "base" {
        let mlp = |v: &[Tensor]| fused::mlp(&v[0], (&v[1], &v[2]), (&v[3], &v[4])).unwrap();
        cases.push(("feed-forward", inputs, Box::new(mlp)));
        let linear = |v: &[Tensor]| fused::linear(&v[0], &v[1], &v[2]).unwrap();
        cases.push(("linear", vec![x.clone(), w1.clone(), b1.clone()], Box::new(linear)));
        let gate = |v: &[Tensor]| fused::gate(&v[0], (&v[1], &v[2]), (&v[3], &v[4]), 0.7).unwrap();
        let c = draw.next(&[300, 96]);
        cases.push(("gate", vec![c, w1, b1, draw.next(&[2, 200]), draw.next(&[2])], Box::new(gate)));
    }
    let attend = |v: &[Tensor]| fused::attend(&v[0], &v[1], &v[2], 2).unwrap();
    cases.push(("attention", vec![x, draw.next(&[16]), draw.next(&[16])], Box::new(attend)));

    let before = torch::threads();
    for (what, inputs, f) in &cases {
        let all: Vec<Vec<Tensor>> = [1, 2, 5]
            .map(|threads| {
                torch::set_threads(threads);
                value_and_gradients(f, inputs)
            })
            .into();
        torch::set_threads(before);
        for (i, first) in all[0].iter().enumerate() {
            assert!(all.iter().all(|other| other[i].equal(first).unwrap()), "{what}, result {i}");
        }
    }
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

#[test]
fn norm_and_modulation() {
    let f = |v: &[Tensor]| fused::norm_modulate(&v[0], &v[1], &v[2]).unwrap();
    for (batch, grid, width) in SHAPES {
        for (dtype, tolerance) in [(DType::Float32, 3e-6), (DType::BFloat16, 3e-2)] {
            let draw = Draw::new(dtype);
            let inputs = [
                draw.next(&[batch, grid * grid, width]),
                draw.next(&[batch, 1, width]),
                draw.next(&[batch, 1, width]),
            ];
            agree(&format!("{batch} {grid} {width} {}", dtype.name()), &f, &inputs, tolerance);
        }
    }
}

#[test]
fn attention() {
    let draw = Draw::new(DType::Float32);
    // More than 512 keys are processed in several passes.
    let shapes =
        [(2, 9, 2, 8), (1, 196, 4, 32), (3, 17, 3, 10), (1, 1, 1, 4), (1, 1100, 1, 20), (1, 513, 2, 72)];
    for (batch, n, heads, size) in shapes {
        let f = |v: &[Tensor]| fused::attend(&v[0], &v[1], &v[2], heads).unwrap();
        let inputs = [draw.next(&[batch, n, 3 * heads * size]), draw.next(&[size]), draw.next(&[size])];
        // The gradients of the weights are small sums of larger terms. With one token they are rounding errors
        // only.
        let tolerance = if n == 1 { 1e-3 } else { 1e-5 };
        agree(&format!("{batch} {n} {heads} {size}"), &f, &inputs, tolerance);
    }
    let draw = Draw::new(DType::BFloat16);
    let f = |v: &[Tensor]| fused::attend(&v[0], &v[1], &v[2], 2).unwrap();
    let inputs = [draw.next(&[2, 50, 3 * 2 * 16]), draw.next(&[16]), draw.next(&[16])];
    agree("bfloat16", &f, &inputs, 4e-2);
}

#[test]
fn attention_without_a_norm_or_with_another_epsilon() {
    let draw = Draw::new(DType::Float32);
    for (batch, n, heads, size) in
        [(2, 9, 2, 8), (1, 196, 4, 32), (3, 17, 3, 10), (1, 1100, 1, 20), (1, 513, 2, 72)]
    {
        let what = format!("{batch} {n} {heads} {size}");
        let qkv = draw.next(&[batch, n, 3 * heads * size]);
        let plain = |v: &[Tensor]| fused::attend_with(&v[0], None, heads).unwrap();
        agree(&format!("{what} without a norm"), &plain, std::slice::from_ref(&qkv), 1e-5);
        // An epsilon as large as the mean square shows.
        let normed = |v: &[Tensor]| {
            let norm = fused::RmsOfHeads { q_weight: &v[1], k_weight: &v[2], eps: Some(1.0) };
            fused::attend_with(&v[0], Some(norm), heads).unwrap()
        };
        let inputs = [qkv, draw.next(&[size]), draw.next(&[size])];
        agree(&format!("{what} with an epsilon of 1"), &normed, &inputs, 1e-5);
        let usual = fused::attend(&inputs[0], &inputs[1], &inputs[2], heads).unwrap();
        assert!(!usual.allclose(&normed(&inputs), 1e-4, 1e-4).unwrap(), "{what}");
    }
    let qkv = Draw::new(DType::BFloat16).next(&[2, 50, 96]);
    agree("bfloat16", &|v| fused::attend_with(&v[0], None, 2).unwrap(), &[qkv], 4e-2);
}

#[test]
fn rms_norm_and_modulation() {
    for (dtype, tolerance) in [(DType::Float32, 1e-5), (DType::BFloat16, 3e-2)] {
        let draw = Draw::new(dtype);
        for (batch, n, width) in [(3, 25, 48), (1, 4, 17), (2, 9, 200)] {
            let what = format!("{batch} {n} {width} {}", dtype.name());
            let one = || draw.next(&[batch, 1, width]);
            let tokens = || draw.next(&[batch, n, width]);
            let alone = |v: &[Tensor]| fused::rms_modulate(&v[0], &v[1], &v[2]).unwrap();
            agree(&what, &alone, &[tokens(), one(), one()], tolerance);
            let stream = |v: &[Tensor]| {
                let (s, y) = fused::stream_rms_norm(&v[0], Some((&v[1], &v[2])), &v[3], &v[4]).unwrap();
                s.add(&y).unwrap()
            };
            agree(
                &format!("{what} with a residual"),
                &stream,
                &[tokens(), tokens(), one(), one(), one()],
                tolerance,
            );
        }
    }
    // A mean of 3 stays in the norm: sqrt(mean([9, 9])) = 3.
    let x = Tensor::from_f32(&[3.0, 3.0], &[1, 1, 2]).unwrap();
    let zero = Tensor::zeros(&[1, 1, 2], DType::Float32, Device::Cpu).unwrap();
    let found = fused::rms_modulate(&x, &zero, &zero).unwrap();
    assert!(found.to_f64().unwrap().iter().all(|y| (y - 1.0).abs() < 1e-6));
}

#[test]
fn the_feed_forward_part() {
    let draw = Draw::new(DType::Float32);
    let f = |v: &[Tensor]| fused::mlp(&v[0], (&v[1], &v[2]), (&v[3], &v[4])).unwrap();
    // Covers slices of the inner layer, several groups of tokens, and library products for large weights.
    let shapes = [(3, 50, 36, 72), (1, 1, 4, 5), (2, 9, 7, 33), (2, 150, 130, 300), (1, 70, 260, 300)];
    for (batch, n, width, inner) in shapes {
        let inputs = [
            draw.next(&[batch, n, width]),
            draw.next(&[inner, width]),
            draw.next(&[inner]),
            draw.next(&[width, inner]),
            draw.next(&[width]),
        ];
        agree(&format!("{batch} {n} {width} {inner}"), &f, &inputs, 3e-6);
        // Without gradients, the operator takes another path.
        let value = torch::no_grad(|| f(&inputs));
        assert!(value.equal(&f(&inputs)).unwrap());
    }
    let draw = Draw::new(DType::BFloat16);
    let inputs = [&[2, 9, 40][..], &[70, 40], &[70], &[40, 70], &[40]].map(|shape| draw.next(shape));
    agree("bfloat16", &f, &inputs, 3e-2);
}

#[test]
fn the_network_of_a_gate() {
    let f = |v: &[Tensor]| fused::gate(&v[0], (&v[1], &v[2]), (&v[3], &v[4]), 0.7).unwrap();
    let with_outputs = |draw: &Draw, batch, width, inner, outputs| {
        vec![
            draw.next(&[batch, width]),
            draw.next(&[inner, width]),
            draw.next(&[inner]),
            draw.next(&[outputs, inner]).mul_scalar(0.2).unwrap(),
            draw.next(&[outputs]).mul_scalar(0.2).unwrap(),
        ]
    };
    let inputs = |draw: &Draw, batch, width, inner| with_outputs(draw, batch, width, inner, 2);
    let draw = Draw::new(DType::Float32);
    // Covers widths that are not a multiple of the vector size, one image, several groups of images, and weights
    // that are large enough for library products.
    for (batch, width, inner) in [(3, 20, 5), (1, 4, 1), (150, 128, 32), (2, 300, 260)] {
        agree(&format!("{batch} {width} {inner}"), &f, &inputs(&draw, batch, width, inner), 3e-6);
    }
    // Several bands, and one coefficient per channel of each band.
    for (batch, width, inner, outputs) in [(3, 20, 5, 3), (40, 20, 5, 8), (40, 128, 32, 384), (5, 20, 5, 60)]
    {
        let inputs = with_outputs(&draw, batch, width, inner, outputs);
        agree(&format!("{batch} {width} {inner} {outputs}"), &f, &inputs, 3e-6);
        // A last layer of zeros must give exact zeros.
        let mut zeros = inputs.clone();
        for (i, input) in inputs.iter().enumerate().skip(3) {
            zeros[i] = Tensor::zeros(&input.shape(), DType::Float32, Device::Cpu).unwrap();
        }
        assert!(f(&zeros).to_f32().unwrap().iter().all(|y| *y == 0.0), "{outputs}");
    }
    // In bfloat16, both forms use libtorch's operators.
    agree("bfloat16", &f, &inputs(&Draw::new(DType::BFloat16), 3, 20, 5), 0.0);
}

#[test]
fn linear_maps() {
    let draw = Draw::new(DType::Float32);
    let f = |v: &[Tensor]| fused::linear(&v[0], &v[1], &v[2]).unwrap();
    for (batch, n, width, out) in
        [(3, 50, 36, 108), (1, 1, 4, 5), (2, 9, 7, 33), (2, 150, 130, 390), (1, 70, 260, 300)]
    {
        let inputs = [draw.next(&[batch, n, width]), draw.next(&[out, width]), draw.next(&[out])];
        agree(&format!("{batch} {n} {width} {out}"), &f, &inputs, 3e-6);
        // Gradients of the tokens only, and of everything but the tokens.
        for kept in [0, 1] {
            let inputs: Vec<Tensor> = inputs
                .iter()
                .enumerate()
                .map(|(i, t)| t.detach().unwrap().set_requires_grad((i == 0) == (kept == 0)).unwrap())
                .collect();
            let wanted: Vec<Tensor> = inputs.iter().filter(|t| t.requires_grad()).cloned().collect();
            let gradients = || {
                let sum = f(&inputs).square().unwrap().sum(&[], false).unwrap();
                autograd::grad(&[sum], &wanted, None, false, false).unwrap()
            };
            for (a, b) in gradients().into_iter().zip(fused::with_reference_operators(gradients)) {
                let (a, b) = (a.unwrap().to_f64().unwrap(), b.unwrap().to_f64().unwrap());
                let largest = b.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
                assert!(a.iter().zip(&b).all(|(x, y)| (x - y).abs() <= 3e-6 * largest), "{width} {out}");
            }
        }
    }
}

#[test]
fn the_loops_for_lesser_processors_agree_too() {
    const WANTED: &str = "SPECTRAL_LOOPS";
    torch::start();
    if let Ok(wanted) = std::env::var(WANTED) {
        assert_eq!(fused::instruction_set(), wanted);
        return;
    }
    let lesser: &[&str] = match &fused::instruction_set()[..] {
        "avx512" => &["avx2", "base"],
        "avx2" => &["base"],
        _ => &[],
    };
    for loops in lesser {
        let mut all = std::process::Command::new(std::env::current_exe().unwrap());
        let out = all.env(WANTED, loops).output().unwrap();
        assert!(out.status.success(), "{loops}: {}", String::from_utf8_lossy(&out.stdout));
    }
}

#[test]
fn linear_maps_of_embeddings() {
    let draw = Draw::new(DType::Float32);
    let f = |v: &[Tensor]| fused::linear(&v[0], &v[1], &v[2]).unwrap();
    // Several rows, one row, and too few rows for a weight of this size.
    for (rows, width, out) in [(40, 36, 108), (1, 7, 33), (2, 130, 390)] {
        let inputs = [draw.next(&[rows, width]), draw.next(&[out, width]), draw.next(&[out])];
        agree(&format!("{rows} {width} {out}"), &f, &inputs, 3e-6);
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    let draw = Draw::new(DType::Float32);
    let one = |v: f32| Tensor::from_f32(&[v], &[1, 1]).unwrap();
    let bias = Tensor::from_f32(&[0.0], &[1]).unwrap();
    let x = Tensor::from_f32(&[f32::NAN, -200.0, -9.0, 0.0, 9.0, 200.0], &[1, 6, 1]).unwrap();
    let y = fused::mlp(&x, (&one(1.0), &bias), (&one(1.0), &bias)).unwrap().to_f32().unwrap();
    assert!(y[0].is_nan());
    assert!(y[1].abs() < 1e-30 && y[2].abs() < 1e-12 && y[3] == 0.0 && y[4] == 9.0 && y[5] == 200.0, "{y:?}");
    let v = tokens(&draw, (1, 3, 4));
    let broken = v[1].mul_scalar(f64::NAN).unwrap();
    let out = corrected(&filters()[0], 3)(&[v[0].clone(), broken, v[2].clone(), v[3].clone()]);
    assert!(out.to_f32().unwrap().iter().all(|x| x.is_nan()));
}

#[test]
fn gradients_of_gradients() {
    let draw = Draw::new(DType::Float32);
    let v = tokens(&draw, (2, 3, 8));
    let matrix = corrected(&lopsided(), 3);
    let (qkv, w) = (draw.next(&[2, 9, 24]), draw.next(&[4]));
    let gate =
        vec![draw.next(&[3, 8]), draw.next(&[4, 8]), draw.next(&[4]), draw.next(&[2, 4]), draw.next(&[2])];
    let cases: [(&str, Vec<Tensor>, Form); 4] = [
        ("correction", vec![v[1].clone(), v[0].clone(), v[2].clone(), v[3].clone()], &|v| {
            matrix(&[v[1].clone(), v[0].clone(), v[2].clone(), v[3].clone()])
        }),
        ("norm", vec![v[0].clone(), v[2].clone(), draw.next(&[2, 1, 8])], &|v| {
            fused::norm_modulate(&v[0], &v[1], &v[2]).unwrap()
        }),
        ("gate", gate, &|v| fused::gate(&v[0], (&v[1], &v[2]), (&v[3], &v[4]), 0.7).unwrap()),
        ("attention", vec![qkv, w.clone(), w], &|v| fused::attend(&v[0], &v[1], &v[2], 2).unwrap()),
    ];
    for (what, inputs, f) in cases {
        // Slope of the squared gradient, through the graph and by finite differences.
        let gradient = |x: &Tensor, graph: bool| {
            let mut inputs = inputs.clone();
            inputs[0] = x.clone();
            let loss = f(&inputs).square().unwrap().sum(&[], false).unwrap();
            autograd::grad(&[loss], &inputs[..1], None, graph, graph).unwrap().remove(0).unwrap()
        };
        let size = |x: &Tensor, graph: bool| gradient(x, graph).square().unwrap().sum(&[], false).unwrap();
        let x = &inputs[0];
        let second = autograd::grad(&[size(x, true)], &inputs[..1], None, false, false).unwrap();
        let way = draw.next(&x.shape()).detach().unwrap();
        let at = |step: f64| {
            let moved = x.detach().unwrap().add(&way.mul_scalar(step).unwrap()).unwrap();
            size(&moved.set_requires_grad(true).unwrap(), false).item().unwrap()
        };
        let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
        let expected =
            second[0].as_ref().unwrap().mul(&way).unwrap().sum(&[], false).unwrap().item().unwrap();
        assert!((slope - expected).abs() <= 0.03 * expected.abs().max(1.0), "{what}: {slope} {expected}");
    }
}
