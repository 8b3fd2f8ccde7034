//! Matrices of heat maps, and the labels of their rows and columns.

use super::numbers::{Numbers, depth, real};
use super::series::called;
use crate::declare::{FromValue, IntoValue, Options, Value};
use crate::error::{Error, Result, Subject};
use crate::plot::{Labels, Matrix};
use crate::torch::Tensor;

const EXPECTED: &str = "a matrix (a tensor [R, C] or an array of rows) or an array of matrices";

/// A matrix with a title.
#[derive(Debug, Clone, Options)]
pub struct Panel {
    /// Title above the panel.
    pub title: String,
    /// The matrix, row 0 at the top; required.
    pub values: Option<Cells>,
}

/// The numbers of a matrix: a tensor [R, C], or rows.
#[derive(Debug, Clone)]
pub enum Cells {
    /// A tensor [R, C].
    Tensor(Tensor),
    /// Rows of equal length.
    Rows(Vec<Numbers>),
}

impl FromValue for Cells {
    fn label() -> String {
        "tensor or array of rows".to_string()
    }

    fn from_value(value: &Value) -> Result<Self> {
        if let Some(tensor) = value.downcast() {
            return Ok(Cells::Tensor(tensor));
        }
        let Value::List(list) = value else { return Err(value.mismatch(EXPECTED)) };
        let row = |(i, v): (usize, &Value)| Numbers::from_value(v).map_err(|e| e.context(format!("row {i}")));
        list.iter().enumerate().map(row).collect::<Result<_>>().map(Cells::Rows)
    }
}

impl IntoValue for Cells {
    fn label() -> String {
        <Cells as FromValue>::label()
    }

    fn into_value(self) -> Value {
        match self {
            Cells::Tensor(tensor) => tensor.into_value(),
            Cells::Rows(rows) => rows.into_value(),
        }
    }
}

/// One matrix or several: tensors [R, C] or [N, R, C], nested arrays, maps with titles.
#[derive(Debug, Clone)]
pub struct Matrices(pub Vec<Matrix>);

impl FromValue for Matrices {
    fn label() -> String {
        "matrix, map or array of them".to_string()
    }

    fn from_value(value: &Value) -> Result<Self> {
        let panels = match (value, depth(value)) {
            (Value::Map(_), _) | (_, Some(2)) => return Ok(Matrices(vec![panel(value)?])),
            (Value::List(list), Some(3)) => list.clone(),
            (Value::List(list), None) => list.clone(),
            (other, Some(3)) => match other.downcast::<Tensor>() {
                Some(tensor) => return Matrices::try_from(&tensor),
                None => return Err(other.mismatch(EXPECTED)),
            },
            (other, _) => return Err(other.mismatch(EXPECTED)),
        };
        let one = |(i, v): (usize, &Value)| panel(v).map_err(|e| e.within(called(i, "")));
        panels.iter().enumerate().map(one).collect::<Result<_>>().map(Matrices)
    }
}

fn panel(value: &Value) -> Result<Matrix> {
    match value {
        Value::Map(map) => Panel::from_map(map)?.matrix(),
        other => Cells::from_value(other)?.matrix(""),
    }
}

impl Panel {
    /// Converts to a native matrix.
    pub(super) fn matrix(&self) -> Result<Matrix> {
        match &self.values {
            Some(values) => {
                values.matrix(&self.title).map_err(|e| e.within(Subject::Option("values".to_string())))
            }
            None => {
                Err(Error::argument("`values` is missing").hint("write #{ title: \"..\", values: matrix }"))
            }
        }
    }
}

impl Cells {
    /// Converts to a native matrix.
    pub(super) fn matrix(&self, title: &str) -> Result<Matrix> {
        let rows = match self {
            Cells::Rows(rows) => rows,
            Cells::Tensor(tensor) => {
                return match tensor.shape()[..] {
                    [rows, columns] => Matrix::new(title, rows as usize, columns as usize, real(tensor)?),
                    _ => {
                        let shape = tensor.shape();
                        Err(Error::argument(format!("expected a matrix [R, C], found shape {shape:?}")))
                    }
                };
            }
        };
        let columns = rows.first().map_or(0, |row| row.0.len());
        if let Some(i) = rows.iter().position(|row| row.0.len() != columns) {
            let found = rows[i].0.len();
            return Err(Error::argument(format!("row {i} has {found} values, but row 0 has {columns}")));
        }
        let cells: Vec<f64> = rows.iter().flat_map(|row| row.0.iter().copied()).collect();
        Matrix::new(title, rows.len(), columns, cells)
    }
}

/// Labels beside rows or under columns: an array of names, or numbers.
#[derive(Debug, Clone)]
pub struct Names(pub Labels);

impl FromValue for Names {
    fn label() -> String {
        "array of strings, or numbers".to_string()
    }

    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::List(list) if list.iter().any(|v| matches!(v, Value::Str(_))) => {
                Vec::<String>::from_value(value).map(|names| Names(Labels::Names(names)))
            }
            other => Numbers::from_value(other).map(|numbers| Names(Labels::Numbers(numbers.0))),
        }
    }
}

impl IntoValue for Names {
    fn label() -> String {
        <Names as FromValue>::label()
    }

    fn into_value(self) -> Value {
        match self.0 {
            Labels::Names(names) => names.into_value(),
            Labels::Numbers(numbers) => numbers.into_value(),
            Labels::Index => Value::Unit,
        }
    }
}
