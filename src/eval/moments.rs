//! Means and covariances of features, and the npz files in which FID evaluators exchange them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::features::Extracted;
use super::features::extractor::short;
use super::images::vectors;
use crate::data::npz::listed;
use crate::declare::Display;
use crate::error::{Error, Result};
use crate::torch::io::{About, TensorFile, save_npz};
use crate::torch::{DType, Device, Tensor};
use crate::{ensure, scripted};

/// Names of mean and covariance of features, as pytorch-fid and ADM's evaluator write them.
const NAMES: [&str; 2] = ["mu", "sigma"];
/// Names of those of spatial features, as ADM's evaluator reads them.
const SPATIAL_NAMES: [&str; 2] = ["mu_s", "sigma_s"];
/// Name of an array with the bytes of the features' label, which only we write and others pass over.
const LABEL: &str = "spectral_features";

/// Mean and covariance of a set of features.
#[derive(Debug, Clone)]
pub struct Moments {
    /// `[D]` float64.
    pub mean: Tensor,
    /// [D, D] float64, divided by the number of samples minus 1.
    pub covariance: Tensor,
}

impl Moments {
    /// Returns those of features [N, D] with at least two rows, which messages call `name`.
    pub fn of(features: &Tensor, name: &str) -> Result<Self> {
        let features = vectors(features)?;
        let count = features.size(0)?;
        ensure!(count >= 2, "the Fréchet distance needs at least 2 {name} samples, found {count}");
        let mean = features.mean(&[0], false)?;
        let centered = features.sub(&mean)?;
        let covariance = centered.transpose(0, 1)?.matmul(&centered)?.div_scalar((count - 1) as f64)?;
        Ok(Self { mean, covariance })
    }

    /// Returns the number of dimensions.
    pub fn dims(&self) -> i64 {
        self.mean.count() as i64
    }

    fn hash_into(&self, hasher: &mut Sha256) -> Result<()> {
        hasher.update(self.mean.to_bytes()?);
        hasher.update(self.covariance.to_bytes()?);
        Ok(())
    }
}

/// Statistics of the features of a set of images, to compare others with; clones share them.
#[derive(Debug, Clone)]
pub struct Statistics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What they are of, for messages: the path of a file or `features NAME@HASH`.
    origin: String,
    features: Moments,
    spatial: Option<Moments>,
    /// Name and hash of the features, if known.
    label: Option<String>,
}

scripted!(
    Statistics,
    "statistics",
    |s| Display::text(format!("statistics of {}, {}", dimensions(s.features().dims()), s.0.origin)),
    describe = |s| ("the statistics", format!("of {} features", s.features().dims())),
    bytes = |s| {
        let all = [Some(s.features()), s.0.spatial.as_ref()];
        all.into_iter().flatten().map(|m| m.mean.bytes() + m.covariance.bytes()).sum()
    },
    facts = |s| vec![("dims", s.features().dims().to_string())],
);

fn dimensions(count: i64) -> String {
    if count == 1 { "1 dimension".to_string() } else { format!("{count} dimensions") }
}

impl Statistics {
    /// Returns those of extracted features; `label` is name and hash of the extractor.
    pub fn of(extracted: &Extracted, label: &str) -> Result<Self> {
        let spatial = extracted.spatial.as_ref().map(|s| Moments::of(s, "measured")).transpose()?;
        let features = Moments::of(&extracted.features, "measured")?;
        let (origin, label) = (format!("features {label}"), Some(label.to_string()));
        Ok(Self(Arc::new(Inner { origin, features, spatial, label })))
    }

    /// Returns whether an npz file has statistics.
    pub fn are_in(file: &TensorFile) -> bool {
        NAMES.iter().any(|name| file.tensors.contains_key(*name))
    }

    /// Reads the statistics of an npz file of pytorch-fid (`mu`, `sigma`) or ADM (with `mu_s`, `sigma_s`).
    pub fn read(file: &mut TensorFile) -> Result<Self> {
        let path = file.path().to_path_buf();
        let of_file = |e: Error| e.in_file(&path);
        let names = || listed(file.tensors.keys().map(String::as_str));
        if let Some(missing) = NAMES.iter().find(|name| !file.tensors.contains_key(**name)) {
            let text = format!("expected statistics `mu` and `sigma`, found {} and no `{missing}`", names());
            return Err(of_file(
                Error::argument(text).hint("the file may be of another program, or incomplete"),
            ));
        }
        check(&NAMES, &file.tensors).map_err(of_file)?;
        let spatial = match SPATIAL_NAMES.map(|name| file.tensors.contains_key(name)) {
            [true, true] => check(&SPATIAL_NAMES, &file.tensors).map(|()| true).map_err(of_file)?,
            [false, false] => false,
            _ => {
                let text = format!("expected both `mu_s` and `sigma_s` or neither, found {}", names());
                return Err(of_file(Error::argument(text)));
            }
        };
        let wanted = |name: &str| name == LABEL || NAMES.contains(&name) || SPATIAL_NAMES.contains(&name);
        let mut tensors = file.load(wanted, Device::Cpu)?.tensors;
        let mut moments = |[mean, covariance]: [&str; 2]| -> Result<Moments> {
            let mut take = |name: &str| -> Result<Tensor> {
                let tensor =
                    tensors.remove(name).ok_or_else(|| Error::internal("a checked array is missing"))?;
                let tensor = tensor.to_dtype(DType::Float64)?;
                let finite = tensor.isfinite()?.all(&[], false)?.item_i64()? == 1;
                ensure!(finite, "`{name}` holds NaN or infinite values");
                Ok(tensor)
            };
            let found = Moments { mean: take(mean)?, covariance: take(covariance)? };
            check_covariance(covariance, &found.covariance)?;
            Ok(found)
        };
        let features = moments(NAMES).map_err(of_file)?;
        let spatial = if spatial { Some(moments(SPATIAL_NAMES).map_err(of_file)?) } else { None };
        let label =
            tensors.get(LABEL).filter(|l| l.dtype() == DType::UInt8).map(Tensor::to_bytes).transpose()?;
        let label = label.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Self(Arc::new(Inner { origin: format!("from {}", path.display()), features, spatial, label })))
    }

    /// Returns what they are of, for messages.
    pub fn origin(&self) -> &str {
        &self.0.origin
    }

    /// Returns mean and covariance of the features.
    pub fn features(&self) -> &Moments {
        &self.0.features
    }

    /// Returns mean and covariance of the spatial features.
    pub fn spatial(&self) -> Option<&Moments> {
        self.0.spatial.as_ref()
    }

    /// Returns those of the spatial features, or the error that there are none.
    pub fn need_spatial(&self) -> Result<&Moments> {
        self.spatial().ok_or_else(|| {
            Error::argument(format!(
                "expected statistics `mu_s` and `sigma_s` of spatial features, found none ({})",
                self.0.origin
            ))
            .hint("pytorch-fid writes `mu` and `sigma` alone; measure `fid`, or use a reference file of ADM")
        })
    }

    /// Returns name and hash of the features, if known.
    pub fn label(&self) -> Option<&str> {
        self.0.label.as_deref()
    }

    /// Returns the first 12 hexadecimal digits of the SHA-256 of all numbers.
    pub fn hash(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        self.features().hash_into(&mut hasher)?;
        self.spatial().map_or(Ok(()), |spatial| spatial.hash_into(&mut hasher))?;
        Ok(short(hasher))
    }

    /// Returns an error unless these statistics have `dims` dimensions, as `other` has, and are of the network of the
    /// given label, if both are known. `own` are the moments that are compared.
    pub fn check_like(&self, own: &Moments, label: Option<&str>, dims: i64) -> Result<()> {
        let hint = "the option `features` names the network; that of published statistics is `eval::inception(..)`, \
                    with 2048 dimensions";
        let other = label.map_or("the other set".to_string(), |label| format!("the features {label}"));
        if own.dims() != dims {
            return Err(Error::argument(format!(
                "expected statistics of {} like {other}, found {} ({})",
                dimensions(dims),
                own.dims(),
                self.0.origin
            ))
            .hint(hint));
        }
        match (self.label(), label) {
            (Some(found), Some(label)) if found != label => Err(Error::argument(format!(
                "expected statistics of {other}, found those of {found} ({})",
                self.0.origin
            ))
            .hint(hint)),
            _ => Ok(()),
        }
    }

    /// Returns the arrays of a file, by name.
    pub fn arrays(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut arrays = BTreeMap::new();
        let mut put = |names: [&str; 2], moments: &Moments| {
            arrays.insert(names[0].to_string(), moments.mean.clone());
            arrays.insert(names[1].to_string(), moments.covariance.clone());
        };
        put(NAMES, self.features());
        if let Some(spatial) = self.spatial() {
            put(SPATIAL_NAMES, spatial);
        }
        if let Some(label) = self.label() {
            let label = Tensor::from_u8(label.as_bytes(), &[label.len() as i64])?;
            arrays.insert(LABEL.to_string(), label);
        }
        Ok(arrays)
    }

    /// Writes an npz file with `mu` and `sigma`, and `mu_s` and `sigma_s` of spatial features, atomically.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save_npz(path.as_ref(), &self.arrays()?)
    }
}

/// Returns an error unless the arrays are a mean `[D]` and a covariance [D, D] of floats.
fn check(names: &[&str; 2], arrays: &BTreeMap<String, About>) -> Result<()> {
    let array = |name: &str| {
        arrays.get(name).ok_or_else(|| Error::argument(format!("expected an array `{name}`, found none")))
    };
    let (mean, covariance) = (array(names[0])?, array(names[1])?);
    let fits = mean.shape.len() == 1 && covariance.shape == [mean.shape[0]; 2] && mean.shape[0] > 0;
    ensure!(
        fits && mean.dtype.is_float() && covariance.dtype.is_float(),
        "expected `{}` as floats [D] and `{}` as floats [D, D], found {} {:?} and {} {:?}",
        names[0],
        names[1],
        mean.dtype.name(),
        mean.shape,
        covariance.dtype.name(),
        covariance.shape
    );
    Ok(())
}

/// Returns an error unless the matrix is symmetric with a diagonal from 0, up to the rounding of float32.
fn check_covariance(name: &str, matrix: &Tensor) -> Result<()> {
    let rounding = 1e-5 * matrix.abs()?.amax(&[], false)?.item()?;
    let off = matrix.sub(&matrix.transpose(0, 1)?)?.abs()?.amax(&[], false)?.item()?;
    let least = matrix.diagonal(0, 0, 1)?.amin(&[], false)?.item()?;
    ensure!(
        off <= rounding,
        "expected `{name}` to be symmetric, as a covariance is, found entries {off} apart"
    );
    ensure!(least >= -rounding, "expected variances from 0 on the diagonal of `{name}`, found {least}");
    Ok(())
}

/// Opens the npz file of a path in a script; a string that names another file is an error.
pub fn opened(path: &Path) -> Result<TensorFile> {
    if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("npz")) {
        return Err(Error::argument(format!(
            "expected a dataset, a tensor or the path of an .npz file, found the path \"{}\"",
            path.display()
        ))
        .hint("a folder of images is opened by `data::image_folder(path)`"));
    }
    TensorFile::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_covariance_is_refused() {
        let message = |values: [f64; 4]| {
            let matrix = Tensor::from_f64(&values, &[2, 2]).unwrap();
            check_covariance("sigma", &matrix).map_err(|e| e.message())
        };
        assert!(message([1.0, 0.5, 0.5, 0.0]).is_ok());
        assert!(message([1.0, 0.5, -0.5, 1.0]).unwrap_err().contains("`sigma` to be symmetric"));
        assert!(message([1.0, 0.0, 0.0, -2.0]).unwrap_err().contains("found -2"));
    }
}
