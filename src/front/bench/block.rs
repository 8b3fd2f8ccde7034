//! The parts of one block, forward alone and with their gradients.

use serde_json::json;

use super::{Setting, rounded};
use crate::error::Result;
use crate::spectral::filter;
use crate::torch::{DType, Tensor, autograd, fused, no_grad};

/// A part: its name, its inputs, and what it computes of them.
type Part = (&'static str, Vec<Tensor>, Box<dyn Fn(&[Tensor]) -> Result<Tensor>>);

/// Times each part on random tokens of the model's shape.
pub(super) fn bench(setting: &Setting) -> Result<()> {
    for (name, inputs, part) in parts(setting)? {
        let forward = setting.time(|| no_grad(|| part(&inputs)).map(drop))?;
        let weight = Tensor::ones(&no_grad(|| part(&inputs))?.shape(), DType::Float32, setting.device)?;
        let both = setting.time(|| {
            let value = part(&inputs)?;
            autograd::grad(&[value], &inputs, Some(std::slice::from_ref(&weight)), false, false).map(drop)
        })?;
        setting.row("block", &both, json!({ "stage": name, "forward_ms": rounded(forward.median) }));
    }
    Ok(())
}

fn parts(setting: &Setting) -> Result<Vec<Part>> {
    let config = &setting.config;
    let (batch, n, d, inner) =
        (setting.options.batch, config.tokens(), config.hidden_size, config.inner_size());
    let heads = config.num_heads;
    let draw = |shape: &[i64]| {
        Tensor::randn(shape, DType::Float32, setting.device, None)?.mul_scalar(0.1)?.set_requires_grad(true)
    };
    let tokens = || draw(&[batch, n, d]);
    let one = || draw(&[batch, 1, d]);
    let paper = filter::binomial(filter::Binomial::default())?;
    let plan = paper.plan(config.grid(), DType::Float32, setting.device)?;
    let linear = |v: &[Tensor]| fused::linear(&v[0], &v[1], &v[2]);
    Ok(vec![
        (
            "norm and modulation",
            vec![tokens()?, one()?, one()?],
            Box::new(|v| fused::norm_modulate(&v[0], &v[1], &v[2])),
        ),
        ("qkv", vec![tokens()?, draw(&[3 * d, d])?, draw(&[3 * d])?], Box::new(linear)),
        (
            "attention",
            vec![draw(&[batch, n, 3 * d])?, draw(&[d / heads])?, draw(&[d / heads])?],
            Box::new(move |v| fused::attend(&v[0], &v[1], &v[2], heads)),
        ),
        ("projection", vec![tokens()?, draw(&[d, d])?, draw(&[d])?], Box::new(linear)),
        (
            "mlp",
            vec![tokens()?, draw(&[inner, d])?, draw(&[inner])?, draw(&[d, inner])?, draw(&[d])?],
            Box::new(|v| fused::mlp(&v[0], (&v[1], &v[2]), (&v[3], &v[4]))),
        ),
        ("residual", vec![tokens()?, tokens()?, one()?], Box::new(|v| fused::gated_add(&v[0], &v[1], &v[2]))),
        (
            "corrected residual",
            vec![tokens()?, tokens()?, one()?, draw(&[batch, 2])?],
            Box::new(move |v| match plan.separable() {
                Some(matrix) => fused::gated_add_corrected(&v[0], &v[1], &v[2], &v[3], matrix),
                None => fused::gated_add(&v[0], &v[1], &v[2]),
            }),
        ),
    ])
}
