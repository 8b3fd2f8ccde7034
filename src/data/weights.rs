//! How often each image of a data set is drawn.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Dataset;
use crate::declare::{FromValue, IntoValue, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::{DType, Device, Generator, Tensor};

/// Weights of images in the draws of a loader: one number for each image, or for each class.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageWeights(Arc<Vec<f64>>);

/// Largest count of numbers that are listed in settings; of more there is a hash.
const LISTED: usize = 100;

impl ImageWeights {
    /// Returns the weights as data for comparisons.
    pub(crate) fn to_compared(&self) -> Value {
        match self.0.len() <= LISTED {
            true => self.clone().into_value(),
            false => Value::Str(self.identity()),
        }
    }

    /// Returns a text that other weights do not have.
    pub(super) fn identity(&self) -> String {
        let mut hasher = Sha256::new();
        self.0.iter().for_each(|weight| hasher.update(weight.to_le_bytes()));
        let hash: String = hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        format!("{} numbers, {hash}", self.0.len())
    }

    /// Returns the draws from a data set, or an error if the weights do not fit it.
    pub(super) fn of(&self, set: &Dataset) -> Result<Weighted> {
        let labels = set.labels().to_i64()?;
        let by_class = || labels.iter().map(|label| self.0[*label as usize]).collect::<Vec<f64>>();
        let (images, classes) = (self.0.len() == set.len(), self.0.len() == set.classes());
        let weights = match (images, classes) {
            (true, true) if by_class() != *self.0 => {
                return Err(Error::argument(format!(
                    "{} weights may be those of the images or of the classes, which the set has equally many of",
                    self.0.len()
                ))
                .hint("weights of other values than those of the classes need another image or class"));
            }
            (true, _) => self.0.to_vec(),
            (false, true) => by_class(),
            (false, false) => {
                let (found, images, classes) = (self.0.len(), set.len(), set.classes());
                let text = format!(
                    "expected weights of the {images} images or of the {classes} classes, found {found}"
                );
                return Err(Error::argument(text));
            }
        };
        if let Some(wrong) = weights.iter().find(|weight| !(weight.is_finite() && **weight >= 0.0)) {
            return Err(Error::argument(format!("expected finite weights of at least 0, found {wrong}")));
        }
        ensure!(weights.iter().any(|weight| *weight > 0.0), "expected a weight above 0, found only 0");
        Ok(Weighted { weights, labels })
    }
}

impl From<Vec<f64>> for ImageWeights {
    fn from(weights: Vec<f64>) -> Self {
        Self(Arc::new(weights))
    }
}

impl FromValue for ImageWeights {
    fn label() -> String {
        "array of numbers or tensor".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        if !matches!(value, Value::List(_)) && value.downcast::<Tensor>().is_none() {
            return Err(value.mismatch("an array or tensor [N] of numbers"));
        }
        let tensor = Tensor::from_nested(value, Some(DType::Float64), Device::Cpu)?;
        ensure!(
            tensor.rank() == 1,
            "expected an array or tensor [N] of numbers, found {}",
            tensor.signature()
        );
        Ok(Self(Arc::new(tensor.to_f64()?)))
    }
}

impl IntoValue for ImageWeights {
    fn label() -> String {
        <Self as FromValue>::label()
    }
    fn into_value(self) -> Value {
        Value::List(self.0.iter().map(|weight| Value::Float(*weight)).collect())
    }
}

/// Weights and labels of all images.
#[derive(Debug)]
pub(super) struct Weighted {
    weights: Vec<f64>,
    labels: Vec<i64>,
}

impl Weighted {
    /// Returns the N images of an epoch, `[N]` int64 on the CPU, in random order.
    ///
    /// An image of weight w is among them N w / sum(w) times, rounded up or down, and so are the images of a class together:
    /// systematic sampling, whose expected counts are exact and vary less than those of independent draws.
    pub fn order(&self, generator: &Generator) -> Result<Tensor> {
        let count = self.weights.len() as i64;
        let permutation = || Tensor::randperm(count, Device::Cpu, Some(generator))?.to_i64();
        let mut images = permutation()?;
        images.sort_by_key(|image| self.labels[*image as usize]);
        let start = Tensor::rand(&[1], DType::Float64, Device::Cpu, Some(generator))?.item()?;
        let total = images.iter().fold(0.0, |sum, image| sum + self.weights[*image as usize]);
        // Rounding may leave the last points beyond the sum.
        let last = images.iter().rposition(|image| self.weights[*image as usize] > 0.0).unwrap_or(0);
        let (mut at, mut end) = (0, self.weights[images[0] as usize]);
        let mut drawn = Vec::with_capacity(images.len());
        for k in 0..count {
            let point = (k as f64 + start) * (total / count as f64);
            while end <= point && at < last {
                at += 1;
                end += self.weights[images[at] as usize];
            }
            drawn.push(images[at]);
        }
        let shuffled: Vec<i64> = permutation()?.into_iter().map(|place| drawn[place as usize]).collect();
        Tensor::from_i64(&shuffled, &[count])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{FromTensorsOptions, Loader, LoaderOptions, from_tensors};

    /// Images of classes with 60, 30 and 10 of them.
    fn hundred() -> Dataset {
        let images = Tensor::from_u8(&(0..100).collect::<Vec<_>>(), &[100, 1, 1, 1]).unwrap();
        let labels: Vec<i64> = (0..100).map(|i| i64::from(i >= 60) + i64::from(i >= 90)).collect();
        let labels = Tensor::from_i64(&labels, &[100]).unwrap();
        from_tensors(&images, &labels, FromTensorsOptions::default()).unwrap()
    }

    fn loader(weights: Vec<f64>, batch: i64) -> Result<Loader> {
        hundred().loader(&LoaderOptions {
            image_weights: Some(weights.into()),
            batch,
            ..LoaderOptions::default()
        })
    }

    fn counts(numbers: &Tensor, of: usize) -> Vec<i64> {
        numbers.bincount(None, of as i64).unwrap().to_i64().unwrap()
    }

    #[test]
    fn an_epoch_has_each_image_and_class_as_often_as_its_weight_says() {
        let balanced = loader(vec![1.0 / 60.0, 1.0 / 30.0, 1.0 / 10.0], 100).unwrap();
        let mut seen = vec![0; 100];
        for _ in 0..30 {
            let batch = balanced.next().unwrap();
            // 33.3 of each class.
            assert!(counts(&batch.labels, 3).iter().all(|count| (33..=34).contains(count)));
            let each = counts(&batch.indices, 100);
            assert!(
                each[..60].iter().all(|n| (0..=1).contains(n))
                    && each[90..].iter().all(|n| (3..=4).contains(n))
            );
            seen.iter_mut().zip(each).for_each(|(seen, n)| *seen += n);
        }
        // 16.7, 33.3 and 100 times; the first two are sums of 30 draws of 0 or 1, and of 1 or 2.
        assert!(seen[..60].iter().all(|n| (5..=28).contains(n)), "{seen:?}");
        assert!(seen[60..90].iter().all(|n| (30..=45).contains(n)), "{seen:?}");
        let equal = loader(vec![0.3; 100], 100).unwrap().next().unwrap();
        assert_eq!(counts(&equal.indices, 100), vec![1; 100]);
        let mut some = vec![0.0; 100];
        (some[7], some[99]) = (3.0, 1.0);
        let drawn = counts(&loader(some, 100).unwrap().next().unwrap().indices, 100);
        assert_eq!((drawn[7], drawn[99]), (75, 25));
    }

    #[test]
    fn draws_resume_and_other_weights_are_other_draws() {
        let of = |first: f64| loader(vec![first, 1.0, 4.0], 7).unwrap();
        let straight = of(1.0);
        let indices = |loader: &Loader| loader.next().unwrap().indices.to_i64().unwrap();
        (0..20).for_each(|_| drop(indices(&straight)));
        let state = straight.state().unwrap();
        let resumed = of(1.0);
        resumed.restore(&state).unwrap();
        assert_eq!(indices(&resumed), indices(&straight));
        assert!(of(2.0).restore(&state).unwrap_err().message().contains("image_weights"));
        let plain = hundred().loader(&LoaderOptions { batch: 7, ..LoaderOptions::default() }).unwrap();
        assert!(plain.restore(&state).unwrap_err().message().contains("image_weights"));
        assert!(of(1.0).restore(&plain.state().unwrap()).unwrap_err().message().contains("image_weights"));
    }

    #[test]
    fn weights_that_cannot_be_are_refused() {
        let message = |weights: &[f64]| loader(weights.to_vec(), 4).unwrap_err().message();
        assert!(message(&[1.0; 4]).contains("of the 100 images or of the 3 classes, found 4"));
        assert!(message(&[1.0, -1.0, 0.0]).contains("found -1"));
        assert!(message(&[1.0, f64::INFINITY, 0.0]).contains("found inf"));
        assert!(message(&[0.0; 3]).contains("found only 0"));
        let three = hundred().subset(&[0, 60, 61]).unwrap();
        let of = |weights: [f64; 3]| ImageWeights::from(weights.to_vec()).of(&three).map(|w| w.weights);
        assert!(of([1.0, 2.0, 3.0]).unwrap_err().message().contains("equally many"));
        assert_eq!(of([1.0, 2.0, 2.0]).unwrap(), [1.0, 2.0, 2.0]);
    }
}
