//! Loss and gradients of a batch, recorded once as a CUDA graph and replayed.

use super::Optimizer;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::torch::graph::{Counts, Graphs};
use crate::torch::{DType, Tensor};

/// Recordings of a backward pass. Random draws are inputs, and the update stays outside the graph, because its
/// learning rate and its check for values that are not finite change from step to step.
pub struct RecordedBackward {
    graphs: Graphs,
    optimizer: Optimizer,
}

impl RecordedBackward {
    /// Creates an empty recorder; returns `None`, with a warning, if the model calls code in its forward pass,
    /// which cannot be recorded.
    pub fn new(model: &Model, optimizer: &Optimizer) -> Option<Self> {
        Some(Self { graphs: model.graphs(None)?, optimizer: optimizer.clone() })
    }

    /// Returns the loss of `backward` for `inputs` and the gradients it computes, which are removed from the
    /// parameters.
    ///
    /// The next call may overwrite the memory of the gradients. Apart from the weights, `backward` must not read
    /// anything else that changes.
    pub fn run(
        &mut self,
        inputs: &[Tensor],
        backward: &dyn Fn(&[Tensor]) -> Result<Tensor>,
    ) -> Result<(Tensor, Vec<Option<Tensor>>)> {
        let optimizer = &self.optimizer;
        let mut made = self.graphs.run(0, inputs, &|inputs| {
            optimizer.zero_grad()?;
            let loss = backward(inputs)?.detach()?;
            // Missing gradients become empty tensors.
            let gradients = optimizer.gradients().into_iter().map(|gradient| match gradient {
                Some(gradient) => Ok(gradient),
                None => Tensor::zeros(&[0], DType::Float32, loss.device()),
            });
            let made = [Ok(loss.clone())].into_iter().chain(gradients).collect();
            optimizer.zero_grad()?;
            made
        })?;
        if made.is_empty() {
            return Err(Error::internal("a backward pass gives a loss"));
        }
        // Losses stay on the device until several are read together.
        let loss = made.remove(0).copy()?;
        Ok((loss, made.into_iter().map(|g| (g.count() > 0).then_some(g)).collect()))
    }

    /// Updates the parameters with the result of [`RecordedBackward::run`], and returns the norm before clipping.
    pub fn update(&self, gradients: Vec<Option<Tensor>>, loss: &Tensor, clip: Option<f64>) -> Result<Tensor> {
        self.optimizer.update_by(gradients, Some(loss), clip)
    }

    /// Returns the counts of recorded and other steps.
    pub fn counts(&self) -> Counts {
        self.graphs.counts()
    }
}
