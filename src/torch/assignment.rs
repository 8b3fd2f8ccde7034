//! Linear assignment: a different column for each row of a matrix of costs.

use super::{DType, Tensor};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::functions;

crate::api! { functions: [scripts] }

mod scripts {
    use super::*;
    functions! { methods;
        /// Returns a different column for each row of a matrix of costs [N, M] with the smallest sum of costs:
        /// integers [N].
        ///
        /// Of several solutions, equal costs always give the same one. M may be larger than N. Computed on the CPU in
        /// float64, with at most N² M steps: some milliseconds for 256 rows. Source: Crouse 2016 (doi
        /// 10.1109/TAES.2016.140952), the method of SciPy's `linear_sum_assignment`.
        /// ```rhai
        /// let cost = tensor([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0], [3.0, 2.0, 2.0]]);
        /// assert_eq(cost.assignment(), tensor([1, 0, 2]));
        /// let x = tensor::randn([8, 2], #{ seed: 1 });
        /// let y = x.flip([0]) + 0.01;                          // which row of y belongs to which of x
        /// assert_close(y.index_select(0, x.cdist(y).assignment()), x, 0.011);
        /// ```
        fn assignment<cx>(cost: Tensor) -> Tensor { cost.assignment(cx) }
    }
}

impl Tensor {
    /// Returns a different column for each row of a matrix of costs [N, M] with N <= M, so that the sum of their costs
    /// is the smallest: int64 `[N]` on the device of the costs. Stops on an interrupt.
    pub fn assignment(&self, cx: &Context) -> Result<Tensor> {
        let (rows, columns) = match self.shape()[..] {
            [rows, columns] if rows <= columns => (rows, columns),
            [_, _] => {
                return Err(Error::argument(format!(
                    "expected costs [N, M] with at least as many columns as rows, found {}",
                    self.signature()
                ))
                .hint("`cost.transpose(0, 1).assignment()` finds a row for each column"));
            }
            _ => {
                return Err(Error::argument(format!(
                    "expected a matrix of costs [N, M], found {}",
                    self.signature()
                ))
                .hint("`x.flatten(1).cdist(y.flatten(1))` are the distances between images"));
            }
        };
        if self.dtype().is_complex() {
            return Err(Error::argument(format!("expected real costs, found {}", self.signature())));
        }
        let cost = self.detach()?.to_dtype(DType::Float64)?.to_f64()?;
        if let Some(bad) = cost.iter().find(|c| !c.is_finite()) {
            return Err(Error::argument(format!("expected finite costs, found {bad}"))
                .hint("give a pair that is not allowed a cost that is larger than all others together"));
        }
        let found = columns_of_rows(&cost, rows as usize, columns as usize, cx)?;
        Tensor::from_i64(&found, &[rows])?.to_device(self.device())
    }
}

/// Returns the column of each row, by shortest augmenting paths: each row in turn gets a column, and rows before it
/// move along the cheapest alternating path to a free one.
fn columns_of_rows(cost: &[f64], rows: usize, columns: usize, cx: &Context) -> Result<Vec<i64>> {
    // Prices of rows and columns: `cost - row_price - column_price` is never negative, and zero for assigned pairs.
    let (mut row_price, mut column_price) = (vec![0.0; rows], vec![0.0; columns]);
    let mut row_of: Vec<Option<usize>> = vec![None; columns];
    let mut column_of = vec![0usize; rows];
    let mut before = vec![0usize; columns];
    for first in 0..rows {
        cx.check()?;
        let mut distance = vec![f64::INFINITY; columns];
        let mut open: Vec<usize> = (0..columns).rev().collect();
        let (mut reached, mut visited) = (Vec::new(), Vec::new());
        let (mut row, mut length) = (first, 0.0);
        let end = loop {
            visited.push(row);
            let (costs, price) = (&cost[row * columns..(row + 1) * columns], row_price[row]);
            let (mut nearest, mut shortest) = (None, f64::INFINITY);
            for (place, &column) in open.iter().enumerate() {
                let through = length + costs[column] - price - column_price[column];
                if through < distance[column] {
                    (distance[column], before[column]) = (through, row);
                }
                let here = distance[column];
                // Of equally near columns a free one ends the search.
                if here < shortest || here == shortest && row_of[column].is_none() {
                    (nearest, shortest) = (Some(place), here);
                }
            }
            let Some(place) = nearest else {
                return Err(Error::argument("expected costs whose sums are finite, found larger ones"));
            };
            length = shortest;
            let column = open.swap_remove(place);
            reached.push(column);
            match row_of[column] {
                Some(next) => row = next,
                None => break column,
            }
        };
        for &row in &visited {
            row_price[row] += if row == first { length } else { length - distance[column_of[row]] };
        }
        for &column in &reached {
            column_price[column] -= length - distance[column];
        }
        let mut column = end;
        loop {
            let row = before[column];
            row_of[column] = Some(row);
            let earlier = std::mem::replace(&mut column_of[row], column);
            if row == first {
                break;
            }
            column = earlier;
        }
    }
    Ok(column_of.into_iter().map(|column| column as i64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::Device;
    use crate::torch::Generator;

    fn sum(cost: &[f64], columns: usize, chosen: &[i64]) -> f64 {
        chosen.iter().enumerate().map(|(row, column)| cost[row * columns + *column as usize]).sum()
    }

    /// Returns the smallest sum over all ways to choose columns for the rows from `row` on.
    fn smallest(cost: &[f64], rows: usize, columns: usize, row: usize, used: &mut Vec<bool>) -> f64 {
        if row == rows {
            return 0.0;
        }
        let mut best = f64::INFINITY;
        for column in 0..columns {
            if !std::mem::replace(&mut used[column], true) {
                let rest = smallest(cost, rows, columns, row + 1, used);
                best = best.min(cost[row * columns + column] + rest);
                used[column] = false;
            }
        }
        best
    }

    #[test]
    fn sums_are_the_smallest_of_all() {
        let (generator, cx) = (Generator::new(3, Device::Cpu).unwrap(), Context::default());
        for (rows, columns) in [(1, 1), (1, 4), (2, 2), (4, 6), (6, 6), (7, 7), (3, 8)] {
            for whole in [false, true, true] {
                let draws =
                    Tensor::randn(&[rows, columns], DType::Float64, Device::Cpu, Some(&generator)).unwrap();
                // Rounded costs have ties.
                let cost = if whole { draws.mul_scalar(2.0).unwrap().round().unwrap() } else { draws };
                let found = cost.assignment(&cx).unwrap().to_i64().unwrap();
                assert_eq!(found, cost.assignment(&cx).unwrap().to_i64().unwrap());
                let (cost, columns) = (cost.to_f64().unwrap(), columns as usize);
                let mut each = found.clone();
                each.sort_unstable();
                each.dedup();
                assert_eq!(each.len(), rows as usize);
                let best = smallest(&cost, rows as usize, columns, 0, &mut vec![false; columns]);
                assert!((sum(&cost, columns, &found) - best).abs() < 1e-9, "{cost:?} {found:?}");
            }
        }
    }

    #[test]
    fn a_hidden_permutation_is_found() {
        let (generator, cx) = (Generator::new(5, Device::Cpu).unwrap(), Context::default());
        let x = Tensor::randn(&[96, 3], DType::Float32, Device::Cpu, Some(&generator)).unwrap();
        let order: Vec<i64> = (0..96).map(|i| i * 35 % 96).collect();
        let moved = x.index_select(0, &Tensor::from_i64(&order, &[96]).unwrap()).unwrap();
        let found = moved.cdist(&x, 2.0).unwrap().assignment(&cx).unwrap();
        assert_eq!(found.to_i64().unwrap(), order);
        let none = Tensor::zeros(&[0, 3], DType::Float32, Device::Cpu).unwrap();
        assert_eq!(none.assignment(&cx).unwrap().shape(), [0]);
    }

    #[test]
    fn what_is_no_matrix_of_finite_costs_is_refused() {
        let cx = Context::default();
        let make = |shape: &[i64]| Tensor::ones(shape, DType::Float32, Device::Cpu).unwrap();
        let tall = make(&[3, 2]).assignment(&cx).unwrap_err();
        assert!(tall.message().contains("as many columns as rows, found tensor [3, 2]"), "{tall}");
        assert!(make(&[3]).assignment(&cx).unwrap_err().message().contains("[N, M], found tensor [3]"));
        let nan = make(&[2, 2]).mul_scalar(f64::NAN).unwrap().assignment(&cx).unwrap_err();
        assert!(nan.message().contains("finite costs, found NaN"), "{nan}");
    }
}
