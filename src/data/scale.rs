//! Normalization of latents: a shift and a factor, of all channels or of each.

use std::path::Path;

use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::io::load_named;
use crate::torch::{DType, Device, Tensor};

/// Normalization of latents [N, C, H, W] to `(x - shift) * factor`, so that a model sees a variance near 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// Shift of each channel, or one of all.
    shift: Vec<f64>,
    /// Factor of each channel, or one of all.
    factor: Vec<f64>,
}

impl Scale {
    /// Returns the one of all channels, as in Stable Diffusion.
    pub fn of_all(factor: f64, shift: f64) -> Self {
        Self { shift: vec![shift], factor: vec![factor] }
    }

    /// Returns `(x - mean) / std * multiplier` of each channel, as in LightningDiT.
    pub fn of_each(mean: &[f64], std: &[f64], multiplier: f64) -> Result<Self> {
        let (means, stds) = (mean.len(), std.len());
        ensure!(
            means == stds && means > 0,
            "expected a mean and a std of each channel, found {means} and {stds}"
        );
        let wrong = std.iter().find(|s| !(s.is_finite() && **s > 0.0));
        ensure!(wrong.is_none(), "expected stds above 0, found {}", wrong.unwrap_or(&0.0));
        ensure!(mean.iter().all(|m| m.is_finite()), "the means hold NaN or infinite values");
        Ok(Self { shift: mean.to_vec(), factor: std.iter().map(|s| multiplier / s).collect() })
    }

    /// Returns the one of standard deviations of latents, which a shift does not change.
    pub fn of_std(&self) -> Self {
        Self { shift: vec![0.0; self.shift.len()], factor: self.factor.clone() }
    }

    /// Normalizes latents [N, C, H, W].
    pub fn apply(&self, latents: &Tensor) -> Result<Tensor> {
        let exact = exact(latents)?;
        let [shift, factor] = self.tensors(&exact)?;
        exact.sub(&shift)?.mul(&factor)?.to_dtype(latents.dtype())
    }

    /// Restores latents from normalized ones.
    pub fn undo(&self, latents: &Tensor) -> Result<Tensor> {
        let exact = exact(latents)?;
        let [shift, factor] = self.tensors(&exact)?;
        exact.div(&factor)?.add(&shift)?.to_dtype(latents.dtype())
    }

    /// Returns shift and factor in a shape that broadcasts to the latents.
    fn tensors(&self, latents: &Tensor) -> Result<[Tensor; 2]> {
        let channels = latents.size(1)?;
        let count = self.shift.len() as i64;
        ensure!(
            count == 1 || count == channels,
            "expected latents of {count} channels like their statistics, found {channels}"
        );
        let tensor = |values: &[f64]| {
            let tensor = Tensor::from_f64(values, &[1, count, 1, 1])?;
            tensor.to_dtype(latents.dtype())?.to_device(latents.device())
        };
        Ok([tensor(&self.shift)?, tensor(&self.factor)?])
    }
}

/// Returns latents in float32 at least: a factor that is rounded to bfloat16 is off by up to 0.4 %.
fn exact(latents: &Tensor) -> Result<Tensor> {
    match latents.dtype() {
        DType::Float64 => Ok(latents.clone()),
        _ => latents.to_dtype(DType::Float32),
    }
}

/// Reads `mean` and `std` of each channel from a file such as LightningDiT's `latents_stats.pt`, where both are
/// [1, C, 1, 1].
pub fn stats(path: &Path) -> Result<[Vec<f64>; 2]> {
    let tensors = load_named(path, Device::Cpu)?.tensors;
    let values = |name: &str| -> Result<Vec<f64>> {
        let found = tensors.get(name).ok_or_else(|| {
            let names = crate::data::npz::listed(tensors.keys().map(String::as_str));
            Error::argument(format!("expected `mean` and `std` of each channel, found {names}"))
                .hint("LightningDiT writes such a file, `latents_stats.pt`, beside the latents")
        })?;
        let shape = found.shape();
        let channels = shape.iter().copied().max().unwrap_or(1);
        ensure!(
            found.dtype().is_float() && [vec![channels], vec![1, channels, 1, 1]].contains(&shape),
            "expected `{name}` as floats [1, C, 1, 1] or [C], found {}",
            found.signature()
        );
        found.to_dtype(DType::Float64)?.flatten(0, -1)?.to_f64()
    };
    let read = || -> Result<[Vec<f64>; 2]> {
        let (mean, std) = (values("mean")?, values("std")?);
        // Checked here, so that the message names the file.
        Scale::of_each(&mean, &std, 1.0)?;
        Ok([mean, std])
    };
    read().map_err(|e| e.in_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn channels_are_normalized_and_restored() {
        let z = Tensor::from_f64(&[1.0, 3.0, 10.0, 30.0], &[1, 2, 1, 2]).unwrap();
        let each = Scale::of_each(&[1.0, 10.0], &[2.0, 4.0], 0.5).unwrap();
        let normal = each.apply(&z).unwrap();
        assert_eq!(normal.to_f64().unwrap(), [0.0, 0.5, 0.0, 2.5]);
        assert_eq!(each.undo(&normal).unwrap().to_f64().unwrap(), z.to_f64().unwrap());
        let all = Scale::of_all(0.5, 1.0).apply(&z).unwrap();
        assert_eq!(all.to_f64().unwrap(), [0.0, 1.0, 4.5, 14.5]);
        let three = Tensor::zeros(&[1, 3, 1, 1], DType::Float64, Device::Cpu).unwrap();
        assert!(
            each.apply(&three).unwrap_err().message().contains("2 channels like their statistics, found 3")
        );
        assert!(Scale::of_each(&[0.0], &[0.0], 1.0).is_err());
    }

    #[test]
    fn latents_of_half_precision_are_scaled_by_the_whole_factor() {
        let values: Vec<f64> = (0..64).map(|i| f64::from(i) / 8.0 - 4.0).collect();
        let exact = Tensor::from_f64(&values, &[1, 1, 8, 8]).unwrap().to_dtype(DType::Float32).unwrap();
        let scale = Scale::of_all(0.18215, 0.1159);
        for dtype in [DType::BFloat16, DType::Float16] {
            let half = exact.to_dtype(dtype).unwrap();
            let rounded = |x: &Tensor| x.to_dtype(dtype).unwrap().to_dtype(DType::Float32).unwrap();
            let same = |a: Tensor, b: Tensor| {
                a.dtype() == dtype && a.to_dtype(DType::Float32).unwrap().equal(&rounded(&b)).unwrap()
            };
            assert!(same(scale.apply(&half).unwrap(), scale.apply(&exact).unwrap()));
            assert!(same(scale.undo(&half).unwrap(), scale.undo(&exact).unwrap()));
        }
    }

    #[test]
    fn files_of_statistics_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latents_stats.safetensors");
        let save = |mean: &[i64], name: &str| {
            let ones = |shape: &[i64]| Tensor::ones(shape, DType::Float32, Device::Cpu).unwrap();
            let tensors =
                BTreeMap::from([("mean".to_string(), ones(mean)), (name.to_string(), ones(&[1, 4, 1, 1]))]);
            crate::torch::io::save_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
            stats(&path)
        };
        assert_eq!(save(&[1, 4, 1, 1], "std").unwrap(), [vec![1.0; 4], vec![1.0; 4]]);
        assert_eq!(save(&[4], "std").unwrap()[0].len(), 4);
        let missing = save(&[4], "var").unwrap_err();
        assert!(missing.message().contains("expected `mean` and `std` of each channel, found `mean`, `var`"));
        assert!(save(&[2, 2], "std").unwrap_err().message().contains("floats [1, C, 1, 1] or [C], found"));
        assert!(save(&[3], "std").unwrap_err().message().contains("found 3 and 4"));
    }
}
