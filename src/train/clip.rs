//! Gradient clipping by global norm.

use super::Parameters;
use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::{Tensor, no_grad, optim, uninterrupted};

/// Scales all gradients so that their global norm is at most `max`, and returns the norm before.
///
/// As `torch.nn.utils.clip_grad_norm_`: gradients within the bound are unchanged. The norm is a scalar on the
/// parameters' device. Source: Pascanu et al. 2013, algorithm 1.
pub fn clip_grad_norm(parameters: &Parameters, max: f64) -> Result<Tensor> {
    ensure!(max > 0.0, "expected a largest norm above 0, found {max}");
    let grads: Vec<Tensor> = parameters.named().iter().filter_map(|(_, t)| t.grad()).collect();
    if grads.is_empty() {
        return Err(no_gradients());
    }
    no_grad(|| {
        let norm = optim::global_norm(&grads)?;
        let factor = excess(&norm, max)?.rdiv_scalar(1.0)?;
        uninterrupted(|| optim::scale_all(&grads, &factor))?;
        Ok(norm)
    })
}

/// Returns the ratio of a norm to its bound, at least 1: the divisor of the gradients.
pub(super) fn excess(norm: &Tensor, max: f64) -> Result<Tensor> {
    norm.add_scalar(1e-6)?.mul_scalar(1.0 / max)?.clamp_min(1.0)
}

pub(super) fn no_gradients() -> Error {
    Error::argument("no parameter has a gradient").hint("call `loss.backward()` first")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_gradient(values: &[f32]) -> (Parameters, Tensor) {
        let w = Tensor::from_f32(values, &[values.len() as i64]).unwrap().set_requires_grad(true).unwrap();
        // The gradient of half the squared norm is the tensor itself.
        w.square().unwrap().sum(&[], false).unwrap().mul_scalar(0.5).unwrap().backward(None, false).unwrap();
        (Parameters::new(vec![("w".into(), w.clone())]).unwrap(), w)
    }

    #[test]
    fn large_gradients_shrink_to_the_bound_and_keep_their_direction() {
        let (parameters, w) = with_gradient(&[3.0, -4.0]);
        assert_eq!(clip_grad_norm(&parameters, 1.0).unwrap().item().unwrap(), 5.0);
        let grad = w.grad().unwrap().to_f64().unwrap();
        assert!((grad[0] - 0.6).abs() < 1e-6 && (grad[1] + 0.8).abs() < 1e-6, "{grad:?}");
    }

    #[test]
    fn small_gradients_are_left_alone() {
        let (parameters, w) = with_gradient(&[0.3, -0.4]);
        clip_grad_norm(&parameters, 1.0).unwrap();
        assert_eq!(w.grad().unwrap().to_f32().unwrap(), [0.3, -0.4]);
    }

    #[test]
    fn without_gradients_it_says_what_to_do() {
        let w = Tensor::from_f32(&[1.0], &[1]).unwrap().set_requires_grad(true).unwrap();
        let parameters = Parameters::new(vec![("w".into(), w)]).unwrap();
        assert_eq!(
            clip_grad_norm(&parameters, 1.0).unwrap_err().hint_text(),
            Some("call `loss.backward()` first")
        );
    }
}
