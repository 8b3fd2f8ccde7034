//! Benchmark of the parts of one block: forward alone and with gradients; on CUDA under autocast, as in a training
//! step.

use serde_json::json;

use super::{Setting, rounded};
use crate::error::Result;
use crate::nn::Builder;
use crate::spectral::correction::add_filtered;
use crate::spectral::filter::Plan;
use crate::torch::{DType, Device, Tensor, autograd, fused, no_grad};

/// A part: its name, its inputs and its function.
type Part = (&'static str, Vec<Tensor>, Box<dyn Fn(&[Tensor]) -> Result<Tensor>>);

/// Times each part on random tokens of the model's shape.
pub(super) fn bench(setting: &Setting) -> Result<()> {
    for (name, inputs, part) in parts(setting)? {
        let part = || match setting.device {
            Device::Cpu => part(&inputs),
            cuda => autograd::autocast(cuda, || part(&inputs)),
        };
        let forward = setting.time(|| no_grad(part).map(drop))?;
        let value = no_grad(part)?;
        let weight = Tensor::ones(&value.shape(), value.dtype(), setting.device)?;
        let both = setting.time(|| {
            let value = part()?;
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
    let single = |shape: &[i64]| {
        Tensor::randn(shape, DType::Float32, setting.device, None)?.mul_scalar(0.1)?.set_requires_grad(true)
    };
    // Linear layers return bfloat16 under autocast.
    let mapped = |shape: &[i64]| match setting.device {
        Device::Cpu => single(shape),
        Device::Cuda(_) => single(shape)?.detach()?.to_dtype(DType::BFloat16)?.set_requires_grad(true),
    };
    let tokens = || single(&[batch, n, d]);
    let made = || mapped(&[batch, n, d]);
    let one = || mapped(&[batch, 1, d]);
    let mut builder = Builder::seeded(0, DType::Float32, setting.device);
    let filters = setting.options.filters()?;
    let layers =
        filters.iter().zip(0..).map(|(f, i)| f.layer(&mut builder, &format!("filter_{i}"), config.grid()));
    let plans: Vec<Plan> = layers.collect::<Result<_>>()?;
    let coefficients = || plans.iter().map(|_| mapped(&[batch, 2])).collect::<Result<Vec<_>>>();
    let inputs = [vec![tokens()?, made()?, one()?], coefficients()?].concat();
    let linear = |v: &[Tensor]| fused::linear(&v[0], &v[1], &v[2]);
    Ok(vec![
        (
            "norm and modulation",
            vec![tokens()?, one()?, one()?],
            Box::new(|v| fused::norm_modulate(&v[0], &v[1], &v[2])),
        ),
        ("qkv", vec![made()?, single(&[3 * d, d])?, single(&[3 * d])?], Box::new(linear)),
        (
            "attention",
            vec![mapped(&[batch, n, 3 * d])?, single(&[d / heads])?, single(&[d / heads])?],
            Box::new(move |v| fused::attend(&v[0], &v[1], &v[2], heads)),
        ),
        ("projection", vec![made()?, single(&[d, d])?, single(&[d])?], Box::new(linear)),
        (
            "mlp",
            vec![made()?, single(&[inner, d])?, single(&[inner])?, single(&[d, inner])?, single(&[d])?],
            Box::new(|v| fused::mlp(&v[0], (&v[1], &v[2]), (&v[3], &v[4]))),
        ),
        ("residual", vec![tokens()?, made()?, one()?], Box::new(|v| fused::gated_add(&v[0], &v[1], &v[2]))),
        (
            "corrected residual",
            inputs,
            Box::new(move |v| {
                let pairs: Vec<_> =
                    plans.iter().map(std::slice::from_ref).zip(v[3..].iter().cloned()).collect();
                add_filtered(&v[0], &v[1], &v[2], &pairs)
            }),
        ),
    ])
}
