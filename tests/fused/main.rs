//! Fused operators of a block, compared with the same mathematics in libtorch's operators: values and gradients.
#![cfg(test)]

use spectral::torch::{self, DType, Device, Tensor, autograd, fused};

use crate::corrections::{filters, learned, several};
use crate::shared::{
    Draw, Form, corrected, corrected_by, lopsided, near, same_with_a_graph, tokens, value_and_gradients,
};

mod corrections;
#[path = "../shared/fused.rs"]
mod shared;

fn device() -> Device {
    Device::Cpu
}

/// Fails unless the fused operator and its reference implementation agree within `tolerance` of the largest value.
fn agree(what: &str, f: Form, inputs: &[Tensor], tolerance: f64) {
    let ours = value_and_gradients(f, inputs);
    let plain = fused::with_reference_operators(|| value_and_gradients(f, inputs));
    for (i, (a, b)) in ours.iter().zip(&plain).enumerate() {
        assert_eq!(a.dtype(), b.dtype(), "{what}, result {i}");
        near(&format!("{what}, result {i}"), a, b, tolerance);
    }
}

/// Batch, grid and width: odd grids, widths that are not a multiple of the vector size, one image, one token.
const SHAPES: [(i64, i64, i64); 6] =
    [(2, 7, 20), (1, 14, 128), (3, 5, 37), (5, 3, 8), (1, 1, 4), (20, 4, 50)];

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
    let [cos, sin] = rotation(&draw, 3, 150, 16);
    let turned = move |v: &[Tensor]| {
        fused::attend_rotated(&v[0], None, Some(fused::Rotation { cos: &cos, sin: &sin }), 2).unwrap()
    };
    cases.push(("rotated attention", vec![x.clone()], Box::new(turned)));
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

/// Tables of rotations by random angles, [images, n, size].
fn rotation(draw: &Draw, images: i64, n: i64, size: i64) -> [Tensor; 2] {
    let angles = draw.next(&[images, n, size / 2, 1]).detach().unwrap();
    let angles = angles.expand(&[images, n, size / 2, 2]).unwrap().reshape(&[images, n, size]).unwrap();
    [angles.cos().unwrap(), angles.sin().unwrap()]
}

#[test]
fn attention_with_rotary_positions() {
    let draw = Draw::new(DType::Float32);
    for (batch, n, heads, size) in
        [(2, 9, 2, 8), (1, 196, 4, 32), (3, 17, 3, 12), (1, 1, 1, 4), (1, 1100, 1, 20), (2, 513, 2, 72)]
    {
        for images in [1, batch] {
            let [cos, sin] = &rotation(&draw, images, n, size);
            let rotation = Some(fused::Rotation { cos, sin });
            let what = format!("{batch} {n} {heads} {size}, tables of {images} images");
            let plain = |v: &[Tensor]| fused::attend_rotated(&v[0], None, rotation, heads).unwrap();
            let normed = |v: &[Tensor]| {
                let norm = fused::RmsOfHeads { q_weight: &v[1], k_weight: &v[2], eps: None };
                fused::attend_rotated(&v[0], Some(norm), rotation, heads).unwrap()
            };
            let inputs = [draw.next(&[batch, n, 3 * heads * size]), draw.next(&[size]), draw.next(&[size])];
            let tolerance = if n == 1 { 1e-3 } else { 1e-5 };
            agree(&format!("{what} without a norm"), &plain, &inputs[..1], 1e-5);
            agree(&what, &normed, &inputs, tolerance);
            same_with_a_graph(&what, &normed, &inputs, tolerance);
        }
    }
    let draw = Draw::new(DType::BFloat16);
    let [cos, sin] = &rotation(&draw, 1, 50, 16);
    let f = |v: &[Tensor]| fused::attend_rotated(&v[0], None, Some(fused::Rotation { cos, sin }), 2).unwrap();
    agree("bfloat16", &f, &[draw.next(&[2, 50, 96])], 4e-2);
    // Attention of rotated queries and keys by hand: without an angle it is plain, to the last bit.
    let qkv = draw.next(&[2, 50, 96]).to_dtype(DType::Float32).unwrap();
    let zero = Tensor::zeros(&[1, 50, 16], DType::Float32, Device::Cpu).unwrap();
    let one = Tensor::ones(&[1, 50, 16], DType::Float32, Device::Cpu).unwrap();
    let turned = |cos, sin| fused::attend_rotated(&qkv, None, Some(fused::Rotation { cos, sin }), 2).unwrap();
    let plain = fused::attend_with(&qkv, None, 2).unwrap();
    assert!(turned(&one, &zero).equal(&plain).unwrap());
    // A common angle of all tokens turns queries and keys alike, which changes no score.
    let (cos, sin) = (one.mul_scalar(0.6).unwrap(), one.mul_scalar(0.8).unwrap());
    assert!(turned(&cos, &sin).allclose(&plain, 1e-5, 1e-5).unwrap());
    let short = zero.narrow(1, 0, 49).unwrap();
    let refused = fused::attend_rotated(&qkv, None, Some(fused::Rotation { cos: &short, sin: &zero }), 2);
    assert!(refused.unwrap_err().message().contains("tables of a rotation"));
}

/// Two tokens of one head whose second channel pair is zero: scores are products of rotated vectors.
#[test]
fn rotated_scores_by_hand() {
    torch::start();
    let angle = 0.7f64;
    // Queries (1, 0) and keys (1, 0) of both tokens, values 1 and 2; only the second token is rotated.
    let qkv = Tensor::from_f64(&[1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 2.0, 2.0], &[1, 2, 6]);
    let qkv = qkv.unwrap().to_dtype(DType::Float32).unwrap();
    let table = |a: f64, b: f64| {
        Tensor::from_f64(&[a, a, b, b], &[1, 2, 2]).unwrap().to_dtype(DType::Float32).unwrap()
    };
    let (cos, sin) = (table(1.0, angle.cos()), table(0.0, angle.sin()));
    let rotation = Some(fused::Rotation { cos: &cos, sin: &sin });
    let found = fused::attend_rotated(&qkv, None, rotation, 1).unwrap().to_f64().unwrap();
    let [same, other] = [1.0, angle.cos()].map(|score| (score / 2f64.sqrt()).exp());
    for (found, expected) in found.iter().zip([
        (same + 2.0 * other) / (same + other),
        (same + 2.0 * other) / (same + other),
        (other + 2.0 * same) / (same + other),
        (other + 2.0 * same) / (same + other),
    ]) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
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
                near(&format!("{width} {out}"), &a.unwrap(), &b.unwrap(), 3e-6);
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

fn turned(t: &Tensor) -> Tensor {
    t.transpose(0, -1).unwrap()
}

#[test]
fn inputs_that_do_not_lie_dense_have_gradients_with_a_graph() {
    let draw = Draw::new(DType::Float32);
    let vectors = |sizes: &[&[i64]]| sizes.iter().map(|shape| draw.next(shape)).collect::<Vec<_>>();
    let linear = |v: &[Tensor]| fused::linear(&turned(&v[0]), &v[1], &v[2]).unwrap();
    let mlp = |v: &[Tensor]| fused::mlp(&turned(&v[0]), (&v[1], &v[2]), (&v[3], &v[4])).unwrap();
    let gate = |v: &[Tensor]| fused::gate(&turned(&v[0]), (&v[1], &v[2]), (&v[3], &v[4]), 0.7).unwrap();
    let cases: [(&str, Form, Vec<Tensor>); 9] = [
        ("linear", &linear, vectors(&[&[8, 5, 3], &[4, 8], &[4]])),
        ("linear of rows", &linear, vectors(&[&[8, 5], &[4, 8], &[4]])),
        ("large linear", &linear, vectors(&[&[600, 2, 2], &[600, 600], &[600]])),
        ("mlp", &mlp, vectors(&[&[8, 5, 3], &[6, 8], &[6], &[4, 6], &[4]])),
        ("large mlp", &mlp, vectors(&[&[600, 2, 2], &[600, 600], &[600], &[4, 600], &[4]])),
        ("gate", &gate, vectors(&[&[8, 5], &[6, 8], &[6], &[2, 6], &[2]])),
        ("wide gate", &gate, vectors(&[&[8, 50], &[6, 8], &[6], &[20, 6], &[20]])),
        (
            "norm",
            &|v| fused::norm_modulate(&turned(&v[0]), &v[1], &v[2]).unwrap(),
            vectors(&[&[8, 5, 3], &[3, 1, 8], &[3, 1, 8]]),
        ),
        (
            "attention",
            &|v| fused::attend(&turned(&v[0]), &v[1], &v[2], 2).unwrap(),
            vectors(&[&[24, 5, 3], &[4], &[4]]),
        ),
    ];
    for (what, f, inputs) in cases {
        same_with_a_graph(what, f, &inputs, 1e-5);
    }
}

#[test]
fn inputs_that_depend_on_each_other_are_counted_once_with_a_graph() {
    let draw = Draw::new(DType::Float32);
    let (x, c, w) = (draw.next(&[2, 9, 8]), draw.next(&[2, 1, 8]), draw.next(&[8, 8]));
    let m = |x: &Tensor| x.tanh().unwrap();
    let cases: [(&str, Form, Vec<Tensor>); 6] = [
        ("residual", &|v| fused::gated_add(&v[0], &m(&v[0]), &v[1]).unwrap(), vec![x.clone(), c.clone()]),
        (
            "residual of one tensor",
            &|v| fused::gated_add(&v[0], &v[0], &v[1]).unwrap(),
            vec![x.clone(), c.clone()],
        ),
        ("norm", &|v| fused::norm_modulate(&v[0], &v[1], &m(&v[1])).unwrap(), vec![x.clone(), c.clone()]),
        (
            "linear",
            &|v| fused::linear(&v[0], &v[1], &m(&v[1]).select(0, 0).unwrap()).unwrap(),
            vec![x.clone(), w.clone()],
        ),
        (
            "mlp",
            &|v| {
                let (w, b) = (&v[1], v[1].select(0, 0).unwrap());
                fused::mlp(&v[0], (w, &b), (w, &b)).unwrap()
            },
            vec![x.clone(), w.clone()],
        ),
        (
            "attention",
            &|v| fused::attend(&v[0], &v[1], &v[1], 2).unwrap(),
            vec![draw.next(&[2, 9, 24]), draw.next(&[4])],
        ),
    ];
    for (what, f, inputs) in cases {
        same_with_a_graph(what, f, &inputs, 1e-5);
    }
    // The others record no gradients.
    let [m, gate] = [&x, &c].map(|t| t.detach().unwrap());
    let inputs = [x];
    same_with_a_graph("stream", &|v| fused::gated_add(&v[0], &m, &gate).unwrap(), &inputs, 1e-6);
}
