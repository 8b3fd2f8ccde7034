//! Default training loss.

use super::losses::wide;
use crate::error::Result;
use crate::torch::Tensor;
use crate::torch::ops::loss::Reduction;

/// Returns the mean squared error between a predicted velocity and the path's target, in float32 or wider.
///
/// The result is a scalar. Source: Lipman et al. 2023, the conditional flow matching loss, here for the straight
/// path.
pub(crate) fn loss(velocity: &Tensor, target: &Tensor) -> Result<Tensor> {
    // Under autocast the model returns bfloat16, whose 8 bits are too few for a mean over a batch.
    wide(velocity)?.mse_loss(&wide(target)?, Reduction::Mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::DType;

    #[test]
    fn it_is_the_mean_of_squares() {
        let target = Tensor::from_f32(&[1.0, 2.0, 3.0, 4.0], &[2, 2]).unwrap();
        let guess = Tensor::from_f32(&[0.0, 2.0, 3.0, 7.0], &[2, 2]).unwrap();
        assert_eq!(loss(&guess, &target).unwrap().item().unwrap(), 2.5);
        let half = guess.to_dtype(DType::BFloat16).unwrap();
        assert_eq!(loss(&half, &target).unwrap().dtype(), DType::Float32);
        // A model with bfloat16 weights has bfloat16 targets too.
        let learned = half.set_requires_grad(true).unwrap();
        loss(&learned, &target.to_dtype(DType::BFloat16).unwrap()).unwrap().backward(None, false).unwrap();
        assert_eq!(learned.grad().unwrap().to_f32().unwrap(), [-0.5, 0.0, 0.0, 1.5]);
    }
}
