//! Loss and gradients of a batch, recorded once and replayed.

use super::AdamW;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::torch::graph::{Counts, Graphs};
use crate::torch::{DType, Tensor};

/// Recordings of a backward pass. What is drawn comes in as inputs, and the update happens outside: its learning rate and
/// its verdict on what is not finite change from step to step.
pub struct RecordedBackward {
    graphs: Graphs,
    optimizer: AdamW,
}

impl RecordedBackward {
    /// Nothing recorded yet; nothing at all, and a warning, where the model's forward is not the same work each time.
    pub fn new(model: &Model, optimizer: &AdamW) -> Option<Self> {
        Some(Self { graphs: model.graphs()?, optimizer: optimizer.clone() })
    }

    /// The loss that `backward` gives for `inputs`, and the gradients that it leaves on the parameters, which keep none.
    ///
    /// The gradients may lie in memory that the next call writes to. `backward` reads nothing else that changes, but weights.
    pub fn run(
        &mut self,
        inputs: &[Tensor],
        backward: &dyn Fn(&[Tensor]) -> Result<Tensor>,
    ) -> Result<(Tensor, Vec<Option<Tensor>>)> {
        let optimizer = &self.optimizer;
        let mut made = self.graphs.run(0, inputs, &|inputs| {
            optimizer.zero_grad()?;
            let loss = backward(inputs)?.detach()?;
            // One that is not there is stood for by a tensor without elements.
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
        // Losses wait on the device until they are read together.
        let loss = made.remove(0).copy()?;
        Ok((loss, made.into_iter().map(|g| (g.count() > 0).then_some(g)).collect()))
    }

    /// Updates the parameters by what [`RecordedBackward::run`] gave; gives the norm before clipping.
    pub fn update(&self, gradients: Vec<Option<Tensor>>, loss: &Tensor, clip: Option<f64>) -> Result<Tensor> {
        self.optimizer.update_by(gradients, Some(loss), clip)
    }

    /// How steps were computed so far.
    pub fn counts(&self) -> Counts {
        self.graphs.counts()
    }
}
