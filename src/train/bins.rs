//! The squared error of the velocity by the times at which it was measured.

use crate::ensure;
use crate::error::{Error, Result};
use crate::flow::losses::{error_of_samples, wide};
use crate::torch::{DType, Device, Tensor, no_grad};

/// Sums of errors since the last row of the log, for equal bins of the times [0, 1]. They stay on the device, so that no
/// step waits for it.
pub(super) struct Bins {
    /// Numbers of the bins [K], float64.
    numbers: Tensor,
    /// Sums of the errors and counts of the samples [2, K], float64.
    sums: Tensor,
}

impl Bins {
    /// Creates `count` empty bins, or none for 0.
    pub fn new(count: usize, device: Device) -> Result<Option<Self>> {
        if count == 0 {
            return Ok(None);
        }
        let numbers: Vec<f64> = (0..count).map(|i| i as f64).collect();
        let count = count as i64;
        Ok(Some(Self {
            numbers: Tensor::from_f64(&numbers, &[count])?.to_device(device)?,
            sums: Tensor::zeros(&[2, count], DType::Float64, device)?,
        }))
    }

    /// Returns the sums and counts [2, K] of a batch: the mean squared error of each sample, at times t `[B]`. Errors that
    /// are not finite are left out.
    pub fn measure(&self, v: &Tensor, target: &Tensor, t: &Tensor) -> Result<Tensor> {
        if t.rank() > 1 {
            return Err(Error::argument("`loss_bins` need one time per image, found times of pixels")
                .hint("leave out `loss_bins`, and measure in a loss with `s.t`"));
        }
        no_grad(|| {
            let error = wide(&v.detach()?)?.sub(&wide(target)?)?;
            let each = error_of_samples(&error)?.to_dtype(DType::Float64)?.unsqueeze(1)?;
            let finite = each.isfinite()?;
            let each = each.nan_to_num(0.0, Some(0.0), Some(0.0))?;
            let count = self.numbers.count();
            let bin = t.to_dtype(DType::Float64)?.mul_scalar(count as f64)?.floor()?;
            let bin = bin.clamp(0.0, (count - 1) as f64)?.unsqueeze(1)?;
            let inside = bin.eq(&self.numbers)?.to_dtype(DType::Float64)?;
            let inside = inside.mul(&finite.to_dtype(DType::Float64)?)?;
            let sums = [inside.mul(&each)?.sum(&[0], false)?, inside.sum(&[0], false)?];
            Tensor::stack(&sums, 0)
        })
    }

    /// Adds the sums and counts of a batch.
    pub fn add(&mut self, batch: &Tensor) -> Result<()> {
        self.sums = self.sums.add(batch)?;
        Ok(())
    }

    /// Returns the mean error of each bin and empties all; a bin without samples has NaN. Waits for the device.
    pub fn take(&mut self) -> Result<Vec<f64>> {
        let sums = self.sums.to_f64()?;
        self.sums = Tensor::zeros(&self.sums.shape(), DType::Float64, self.sums.device())?;
        let (errors, counts) = sums.split_at(sums.len() / 2);
        Ok(errors.iter().zip(counts).map(|(error, count)| error / count).collect())
    }

    /// Returns the number of bins.
    pub fn count(&self) -> usize {
        self.numbers.count()
    }

    /// Returns the sums and counts [2, K] for a checkpoint.
    pub fn saved(&self) -> Tensor {
        self.sums.clone()
    }

    /// Restores the output of [`Bins::saved`].
    pub fn restore(&mut self, saved: &Tensor) -> Result<()> {
        ensure!(
            saved.shape() == self.sums.shape() && saved.dtype() == DType::Float64,
            "expected `run.bins` to be a {}, found a {}",
            self.sums.signature(),
            saved.signature()
        );
        self.sums = saved.to_device(self.sums.device())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::tests::{model, short, stopped_after, train, weights};
    use crate::train::{FitOptions, Run};

    #[test]
    fn errors_fall_into_the_bins_of_their_times() {
        let mut bins = Bins::new(4, Device::Cpu).unwrap().unwrap();
        let v = Tensor::from_f32(&[1.0, 1.0, 2.0, 4.0, 3.0, 3.0, f32::NAN, 0.0, 0.0, 0.0], &[5, 2]).unwrap();
        let target = Tensor::zeros(&[5, 2], DType::Float32, Device::Cpu).unwrap();
        let t = Tensor::from_f32(&[0.0, 0.1, 1.0, 0.3, 0.75], &[5]).unwrap();
        let batch = bins.measure(&v, &target, &t).unwrap();
        // Errors of 1 and 10 in the first bin, of 9 and 0 in the last, and one that is not finite.
        assert_eq!(batch.to_f64().unwrap(), [11.0, 0.0, 0.0, 9.0, 2.0, 0.0, 0.0, 2.0]);
        bins.add(&batch).unwrap();
        bins.add(&batch).unwrap();
        let found = bins.take().unwrap();
        assert!((found[0], found[3]) == (5.5, 4.5) && found[1].is_nan() && found[2].is_nan(), "{found:?}");
        assert!(bins.take().unwrap().iter().all(|mean| mean.is_nan()));
        assert!(Bins::new(0, Device::Cpu).unwrap().is_none());
    }

    fn rows(run: &Run) -> Vec<Vec<u64>> {
        run.history().iter().map(|row| row.loss_bins.iter().map(|x| x.to_bits()).collect()).collect()
    }

    /// With one bin the mean is that of the default loss, and other losses do not change what is measured.
    #[test]
    fn a_run_measures_the_same_whatever_its_loss() {
        let options = FitOptions { loss_bins: 1, log_every: 4, ..short() };
        let run = train(&model(0), &options).unwrap();
        assert_eq!(run.history().len(), 3);
        for row in run.history() {
            assert!((row.loss_bins[0] - row.loss).abs() < 1e-6, "{row:?}");
        }
        let plain = train(&model(0), &FitOptions { loss_bins: 0, ..options.clone() }).unwrap();
        assert_eq!((plain.losses(), weights(plain.model())), (run.losses(), weights(run.model())));
        assert!(plain.history().iter().all(|row| row.loss_bins.is_empty()));
        // The first step is before any difference of the weights.
        let first = FitOptions { steps: 1, ..options };
        let weighted = FitOptions { loss: crate::flow::losses::min_snr(()).unwrap(), ..first.clone() };
        let [mse, weighted] = [first, weighted].map(|options| train(&model(0), &options).unwrap());
        assert_eq!(rows(&mse), rows(&weighted));
        assert_ne!(mse.losses(), weighted.losses());
    }

    #[test]
    fn a_stopped_run_has_the_same_bins() {
        let folder = tempfile::tempdir().unwrap();
        let options = FitOptions {
            loss_bins: 5,
            log_every: 5,
            checkpoint_every: 3,
            batch: 6,
            accumulate: 2,
            steps: 14,
            ..short()
        };
        let straight = train(&model(0), &options).unwrap();
        let saved = FitOptions { out: folder.path().display().to_string(), ..options };
        for steps in [2, 4, 9] {
            stopped_after(steps, &saved);
        }
        let resumed = train(&model(0), &saved).unwrap();
        assert_eq!(rows(&resumed), rows(&straight));
        let log = std::fs::read_to_string(folder.path().join("log.csv")).unwrap();
        assert!(
            log.starts_with("step,loss,lr,grad_norm,seconds,loss_0,loss_1,loss_2,loss_3,loss_4\n"),
            "{log}"
        );
        assert_eq!(log.lines().count(), 4);
        let error = train(&model(0), &FitOptions { loss_bins: 4, ..saved }).unwrap_err();
        assert!(error.message().contains("`loss_bins` was 5 and is 4"), "{error}");
    }
}
