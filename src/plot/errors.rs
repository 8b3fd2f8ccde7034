//! Lengths of error bars, equal or different on the two sides of a value.

/// Lengths of error bars, or half heights of a band, below and above each value.
///
/// From one number for each value, which counts on both sides, or from pairs of a length below and one above. Signs do
/// not count.
///
/// ```
/// use spectral::plot::{BarGroup, Errors};
/// let group = BarGroup::new("recall", [0.5, 0.6]).errors([(0.1, 0.2), (0.1, 0.3)]);
/// assert_eq!(Errors::from([0.1, 0.2]), Errors::from([(0.1, 0.1), (0.2, 0.2)]));
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Errors(Vec<(f64, f64)>);

impl Errors {
    /// Returns the number of values that they belong to.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether they belong to no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the length below and the one above each value.
    pub fn pairs(&self) -> &[(f64, f64)] {
        &self.0
    }

    /// Returns the low and the high ends of the bars at these values.
    pub(crate) fn ends(&self, values: &[f64]) -> (Vec<f64>, Vec<f64>) {
        values.iter().zip(&self.0).map(|(v, (below, above))| (v - below.abs(), v + above.abs())).unzip()
    }
}

macro_rules! lengths {
    ($([$($generics:tt)*] $equal:ty, $pairs:ty;)*) => {$(
        impl<$($generics)*> From<$equal> for Errors {
            fn from(lengths: $equal) -> Self {
                Self(lengths.iter().map(|length| (*length, *length)).collect())
            }
        }

        impl<$($generics)*> From<$pairs> for Errors {
            fn from(pairs: $pairs) -> Self {
                Self(pairs.to_vec())
            }
        }
    )*};
}

lengths! {
    [] Vec<f64>, Vec<(f64, f64)>;
    [] &[f64], &[(f64, f64)];
    [const N: usize] [f64; N], [(f64, f64); N];
    [const N: usize] &[f64; N], &[(f64, f64); N];
}
