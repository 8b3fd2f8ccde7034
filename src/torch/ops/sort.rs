//! Sorting, searching and distinct values.

use super::ops;
use super::reduce::pair;
use crate::declare::{IntoValue, Map, Value};
use crate::error::{Error, Result};
use crate::torch::{Tensor, checked};

ops! {
    /// Returns the indices that sort a dimension; equal elements keep their order.
    argsort(dim: i64, descending: bool) = f_argsort_stable(true, dim, descending);
    /// Returns the insertion index of each of `values` in this ascending sequence, int64.
    searchsorted(values: &Tensor, right: bool) = f_search(values.raw(), right);
    /// Returns the index of the interval between ascending `boundaries` that contains each element, int64.
    bucketize(boundaries: &Tensor, right: bool) = f_bucketize(boundaries.raw(), false, right);
}

/// tch takes the values as the receiver; the sorted sequence reads better there.
trait Search {
    fn f_search(&self, values: &tch::Tensor, right: bool) -> Result<tch::Tensor, tch::TchError>;
}

impl Search for tch::Tensor {
    fn f_search(&self, values: &tch::Tensor, right: bool) -> Result<tch::Tensor, tch::TchError> {
        let side = if right { "right" } else { "left" };
        values.f_searchsorted(self, false, right, side, None::<&tch::Tensor>)
    }
}

impl Tensor {
    /// Returns the sorted values along a dimension and their indices.
    pub fn sort(&self, dim: i64, descending: bool) -> Result<(Tensor, Tensor)> {
        checked(self.raw().f_sort(dim, descending)).map(|(v, i)| (Tensor::wrap(v), Tensor::wrap(i)))
    }

    /// Returns the `k` largest (or smallest) values along a dimension and their indices.
    pub fn topk(&self, k: i64, dim: i64, largest: bool) -> Result<(Tensor, Tensor)> {
        checked(self.raw().f_topk(k, dim, largest, true)).map(|(v, i)| (Tensor::wrap(v), Tensor::wrap(i)))
    }

    /// Returns the `k`th smallest values (from 1) along a dimension and their indices.
    pub fn kthvalue(&self, k: i64, dim: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
        pair(self.raw().f_kthvalue(k, dim, keepdim))
    }

    /// Returns the distinct values, ascending, the index of each element's value among them, and their counts.
    pub fn unique(&self) -> Result<(Tensor, Tensor, Tensor)> {
        let arguments = [self.clone().into_value(), Value::Bool(true), Value::Bool(true), Value::Bool(true)];
        three(crate::torch::call::call("_unique2", &arguments, &Map::new())?)
    }

    /// Returns the distinct slices along a dimension, sorted, the index of each slice among them, and their counts.
    pub fn unique_dim(&self, dim: i64) -> Result<(Tensor, Tensor, Tensor)> {
        checked(self.raw().f_unique_dim(dim, true, true, true))
            .map(|(a, b, c)| (Tensor::wrap(a), Tensor::wrap(b), Tensor::wrap(c)))
    }

    /// Removes consecutive repeats; returns the values and the length of each run.
    pub fn unique_consecutive(&self, dim: Option<i64>) -> Result<(Tensor, Tensor)> {
        checked(self.raw().f_unique_consecutive(false, true, dim))
            .map(|(values, _, counts)| (Tensor::wrap(values), Tensor::wrap(counts)))
    }
}

fn three(value: Value) -> Result<(Tensor, Tensor, Tensor)> {
    let Value::List(list) = &value else {
        return Err(Error::internal("the operator did not return three tensors"));
    };
    match list.as_slice() {
        [a, b, c] => match (a.downcast(), b.downcast(), c.downcast()) {
            (Some(a), Some(b), Some(c)) => Ok((a, b, c)),
            _ => Err(Error::internal("the operator did not return three tensors")),
        },
        _ => Err(Error::internal("the operator did not return three tensors")),
    }
}
