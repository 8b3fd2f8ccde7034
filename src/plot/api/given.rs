//! Data of figures from Rust values.

use std::ops::Range;

use super::images::Pictures;
use super::look::{Mark, Marks};
use super::matrix::{Cells, Matrices, Names, Panel};
use super::numbers::{Data, Numbers};
use super::series::{BarData, Entry, Group, Many};
use crate::error::{Error, Result};
use crate::plot::Labels;
use crate::torch::Tensor;

/// The data of lines and points: y alone, or x and y.
///
/// From numbers (an array, slice or vector of `f64`, a range, or a tensor), from one series or several
/// ([`Curve`](super::series::Curve), [`Cloud`](super::series::Cloud)), and from a pair `(x, y)` of numbers, or of
/// numbers and series.
#[derive(Debug, Clone)]
pub struct Xy<S> {
    pub(super) first: Many<S>,
    pub(super) second: Option<Many<S>>,
}

/// The data of a bar chart: heights, named or not.
///
/// From pairs of a name and a number, from numbers, from one group or several ([`Group`]), and from a pair of names
/// and numbers, or of names and groups.
#[derive(Debug, Clone)]
pub struct Categories {
    pub(super) data: BarData,
    pub(super) values: Option<Many<Group>>,
}

macro_rules! numbers {
    ($([$($generics:tt)*] $source:ty: $convert:expr;)*) => {$(
        impl<$($generics)*> From<$source> for Numbers {
            fn from(source: $source) -> Self {
                let convert: fn($source) -> Vec<f64> = $convert;
                Numbers(convert(source))
            }
        }

        impl<$($generics)*> From<$source> for Data {
            fn from(source: $source) -> Self {
                Data::Numbers(source.into())
            }
        }

        impl<S: Entry, $($generics)*> From<$source> for Many<S> {
            fn from(source: $source) -> Self {
                Many::Plain(source.into())
            }
        }

        impl<S: Entry, $($generics)*> From<$source> for Xy<S> {
            fn from(source: $source) -> Self {
                Xy { first: source.into(), second: None }
            }
        }

        impl<$($generics)*> From<$source> for Categories {
            fn from(source: $source) -> Self {
                Categories { data: BarData::Groups(source.into()), values: None }
            }
        }
    )*};
}

numbers! {
    [] Vec<f64>: |numbers| numbers;
    [] &Vec<f64>: |numbers| numbers.clone();
    [] &[f64]: |numbers| numbers.to_vec();
    [const N: usize] [f64; N]: |numbers| numbers.to_vec();
    [const N: usize] &[f64; N]: |numbers| numbers.to_vec();
    [] Range<i32>: |range| range.map(f64::from).collect();
}

macro_rules! series {
    ($([$($generics:tt)*] $source:ty: $convert:expr;)*) => {$(
        impl<S: Entry, $($generics)*> From<$source> for Many<S> {
            fn from(source: $source) -> Self {
                let convert: fn($source) -> Self = $convert;
                convert(source)
            }
        }

        impl<S: Entry, $($generics)*> From<$source> for Xy<S> {
            fn from(source: $source) -> Self {
                Xy { first: source.into(), second: None }
            }
        }
    )*};
}

series! {
    [] S: |one| Many::Entries(vec![one]);
    [] Vec<S>: Many::Entries;
    [] &Vec<S>: |many| Many::Entries(many.clone());
    [] &[S]: |many| Many::Entries(many.to_vec());
    [const N: usize] [S; N]: |many| Many::Entries(many.to_vec());
    [] Tensor: |tensor| Many::Plain(tensor.into());
    [] &Tensor: |tensor| Many::Plain(tensor.into());
}

impl From<Tensor> for Data {
    fn from(tensor: Tensor) -> Self {
        Data::Tensor(tensor)
    }
}

impl From<&Tensor> for Data {
    fn from(tensor: &Tensor) -> Self {
        Data::Tensor(tensor.clone())
    }
}

/// From x and y.
impl<S: Entry, X: Into<Data>, Y: Into<Many<S>>> From<(X, Y)> for Xy<S> {
    fn from((x, y): (X, Y)) -> Self {
        Xy { first: Many::Plain(x.into()), second: Some(y.into()) }
    }
}

impl From<Group> for Categories {
    fn from(group: Group) -> Self {
        Categories { data: BarData::Groups(group.into()), values: None }
    }
}

impl From<Vec<Group>> for Categories {
    fn from(groups: Vec<Group>) -> Self {
        Categories { data: BarData::Groups(groups.into()), values: None }
    }
}

macro_rules! named {
    ($([$($generics:tt)*] $names:ty, $pairs:ty;)*) => {$(
        /// From names and values.
        impl<K: Into<String>, V: Into<Many<Group>>, $($generics)*> From<($names, V)> for Categories {
            fn from((names, values): ($names, V)) -> Self {
                let names = names.into_iter().map(Into::into).collect();
                Categories { data: BarData::Categories(names), values: Some(values.into()) }
            }
        }

        /// From pairs of a name and a value.
        impl<K: Into<String>, $($generics)*> From<$pairs> for Categories {
            fn from(pairs: $pairs) -> Self {
                let pairs = pairs.into_iter().map(|(name, value)| (name.into(), value)).collect();
                Categories { data: BarData::Named(pairs), values: None }
            }
        }
    )*};
}

named! {
    [] Vec<K>, Vec<(K, f64)>;
    [const N: usize] [K; N], [(K, f64); N];
}

impl From<f64> for Marks {
    fn from(value: f64) -> Self {
        Mark { value: Some(value), ..Mark::default() }.into()
    }
}

impl From<Mark> for Marks {
    fn from(mark: Mark) -> Self {
        Marks(vec![mark])
    }
}

impl From<Vec<Mark>> for Marks {
    fn from(marks: Vec<Mark>) -> Self {
        Marks(marks)
    }
}

impl<T: Into<Numbers>> From<T> for Names {
    fn from(numbers: T) -> Self {
        Names(Labels::Numbers(numbers.into().0))
    }
}

impl From<Vec<String>> for Names {
    fn from(names: Vec<String>) -> Self {
        Names(Labels::Names(names))
    }
}

impl<const N: usize> From<[&str; N]> for Names {
    fn from(names: [&str; N]) -> Self {
        Names(Labels::Names(names.map(str::to_string).to_vec()))
    }
}

impl From<Tensor> for Cells {
    fn from(tensor: Tensor) -> Self {
        Cells::Tensor(tensor)
    }
}

impl From<&Tensor> for Cells {
    fn from(tensor: &Tensor) -> Self {
        Cells::Tensor(tensor.clone())
    }
}

impl From<Vec<Vec<f64>>> for Cells {
    fn from(rows: Vec<Vec<f64>>) -> Self {
        Cells::Rows(rows.into_iter().map(Numbers).collect())
    }
}

impl<const R: usize, const C: usize> From<[[f64; C]; R]> for Cells {
    fn from(rows: [[f64; C]; R]) -> Self {
        Cells::Rows(rows.map(Numbers::from).to_vec())
    }
}

/// From a tensor [R, C], or [N, R, C] for several matrices.
impl TryFrom<&Tensor> for Matrices {
    type Error = Error;

    fn try_from(tensor: &Tensor) -> Result<Self> {
        if tensor.rank() != 3 {
            return Cells::from(tensor).matrix("").map(|matrix| Matrices(vec![matrix]));
        }
        let one =
            |i| Cells::from(tensor.select(0, i)?).matrix("").map_err(|e| e.context(format!("entry {i}")));
        (0..tensor.size(0)?).map(one).collect::<Result<_>>().map(Matrices)
    }
}

/// From a tensor [R, C], or [N, R, C] for several matrices.
impl TryFrom<Tensor> for Matrices {
    type Error = Error;

    fn try_from(tensor: Tensor) -> Result<Self> {
        Self::try_from(&tensor)
    }
}

/// From rows of equal length.
impl TryFrom<Vec<Vec<f64>>> for Matrices {
    type Error = Error;

    fn try_from(rows: Vec<Vec<f64>>) -> Result<Self> {
        Cells::from(rows).matrix("").map(|matrix| Matrices(vec![matrix]))
    }
}

/// From rows.
impl<const R: usize, const C: usize> TryFrom<[[f64; C]; R]> for Matrices {
    type Error = Error;

    fn try_from(rows: [[f64; C]; R]) -> Result<Self> {
        Cells::from(rows).matrix("").map(|matrix| Matrices(vec![matrix]))
    }
}

/// From matrices with titles.
impl TryFrom<Vec<Panel>> for Matrices {
    type Error = Error;

    fn try_from(panels: Vec<Panel>) -> Result<Self> {
        panels.iter().map(Panel::matrix).collect::<Result<_>>().map(Matrices)
    }
}

impl TryFrom<Tensor> for Pictures {
    type Error = Error;

    fn try_from(tensor: Tensor) -> Result<Self> {
        Self::try_from(&tensor)
    }
}

/// From rows of images [N, C, H, W], or from images [C, H, W].
impl<const N: usize> TryFrom<[&Tensor; N]> for Pictures {
    type Error = Error;

    fn try_from(parts: [&Tensor; N]) -> Result<Self> {
        Self::try_from(parts.map(Tensor::clone).as_slice())
    }
}
