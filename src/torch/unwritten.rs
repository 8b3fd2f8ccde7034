//! Tensors that user code reads and must not change.

use super::Tensor;
use crate::error::{Error, Result};

/// Runs `body`, which calls user code; an error if it changed one of these tensors in place. Its name is what the message says
/// was changed: `the images` or `` `x` ``.
pub fn unwritten<T>(shared: &[(&str, &Tensor)], body: impl FnOnce() -> Result<T>) -> Result<T> {
    let before: Vec<i64> = shared.iter().map(|(_, tensor)| tensor.version()).collect();
    let made = body()?;
    match shared.iter().zip(before).find(|((_, tensor), before)| tensor.version() != *before) {
        None => Ok(made),
        Some(((name, _), _)) => {
            Err(Error::argument(format!("expected {name} to stay as given, found a change in place"))
                .hint("return a new tensor, as `x * 0.5` does, or change a copy, `x.clone()`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{DType, Device};

    #[test]
    fn writes_are_found_also_through_views() {
        let zeros = || Tensor::zeros(&[4, 2], DType::Float32, Device::Cpu).unwrap();
        let (x, t) = (zeros(), zeros());
        assert_eq!(unwritten(&[("the images", &x)], || Ok(1)).unwrap(), 1);
        unwritten(&[("the images", &x)], || t.add_(&t)).unwrap();
        let part = x.narrow(0, 1, 2).unwrap();
        let error = unwritten(&[("the times", &t), ("the images", &x)], || part.add_(&part)).unwrap_err();
        assert_eq!(error.message(), "expected the images to stay as given, found a change in place");
        assert!(unwritten(&[("the images", &part)], || x.add_(&x)).is_err());
    }
}
