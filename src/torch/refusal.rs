//! Arguments that an ATen operator does not take.

use std::ffi::{CStr, c_char};
use std::fmt;
use std::ptr::null;

use super::ffi;
use crate::error::{Error, Kind, Subject};

/// Why an operator does not take its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A value of another type.
    Type {
        name: String,
        expected: String,
        found: &'static str,
    },
    /// A type that no script value has.
    Unpassable {
        name: String,
        expected: String,
    },
    /// A name that no argument has.
    Unknown {
        name: String,
    },
    TooMany {
        most: i64,
        found: i64,
    },
    /// The remaining arguments must be named.
    TooManyByPosition {
        most: i64,
    },
    Twice {
        name: String,
    },
    Missing {
        name: String,
    },
}

impl Refusal {
    /// Returns the refusal of the last call on this thread.
    pub fn last() -> Self {
        let mut unfit = ffi::Unfit { reason: 0, name: null(), expected: null(), found: 0, count: 0 };
        // SAFETY: writes the struct; its texts are terminated and stay valid until the next call.
        unsafe { ffi::sp_refusal(&raw mut unfit) };
        let text = |text: *const c_char| match text.is_null() {
            true => String::new(),
            // SAFETY: as above.
            false => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
        };
        let (name, expected) = (text(unfit.name), text(unfit.expected));
        // In the order of the enum `Reason` of the shim.
        match unfit.reason {
            0 => Refusal::Type { name, expected, found: kind(unfit.found) },
            1 => Refusal::Unpassable { name, expected },
            2 => Refusal::Unknown { name },
            3 => Refusal::TooMany { most: unfit.count, found: unfit.found },
            4 => Refusal::TooManyByPosition { most: unfit.count },
            5 => Refusal::Twice { name },
            _ => Refusal::Missing { name },
        }
    }

    /// Returns the error. The argument is one of the operator, so it has no index in the call of a script.
    pub fn error(&self, kind: Kind) -> Error {
        let error = Error::new(kind, self.to_string());
        match self {
            Refusal::Type { name, .. }
            | Refusal::Unpassable { name, .. }
            | Refusal::Unknown { name }
            | Refusal::Twice { name }
            | Refusal::Missing { name } => error.about(Subject::Argument { name: name.clone(), index: None }),
            Refusal::TooMany { .. } | Refusal::TooManyByPosition { .. } => error,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Type { name, expected, found } => {
                write!(f, "argument `{name}` is {expected}, found {found}")
            }
            Refusal::Unpassable { name, expected } => {
                write!(f, "argument `{name}` is {expected}, which scripts cannot pass")
            }
            Refusal::Unknown { name } => write!(f, "no argument is called `{name}`"),
            Refusal::TooMany { most, found } => write!(f, "expected at most {most} arguments, found {found}"),
            Refusal::TooManyByPosition { most } => {
                write!(f, "expected at most {most} arguments by position, found more")
            }
            Refusal::Twice { name } => write!(f, "argument `{name}` is given twice"),
            Refusal::Missing { name } => write!(f, "argument `{name}` is missing"),
        }
    }
}

/// Returns the name of a tag's type.
fn kind(tag: i64) -> &'static str {
    match i32::try_from(tag) {
        Ok(ffi::TENSOR) => "a tensor",
        Ok(ffi::INT) => "an integer",
        Ok(ffi::FLOAT) => "a float",
        Ok(ffi::BOOL) => "a bool",
        Ok(ffi::STRING) => "a string",
        Ok(ffi::LIST) => "a list",
        Ok(ffi::GENERATOR) => "a generator",
        _ => "nothing",
    }
}

#[cfg(test)]
mod tests {
    use crate::declare::{IntoValue, Map, Value};
    use crate::torch::call::call;
    use crate::torch::{DType, Device, Tensor};

    #[test]
    fn every_refusal_names_its_argument() {
        crate::torch::start();
        let x = || Tensor::ones(&[2], DType::Float32, Device::Cpu).unwrap().into_value();
        let told = |name: &str, values: &[Value], named: &[(&str, Value)]| {
            let named: Map = named.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
            call(name, values, &named).unwrap_err().message()
        };
        let text = || Value::Str("a".to_string());
        for (found, expected) in [
            (told("relu", &[text()], &[]), "relu: argument `self` is Tensor, found a string"),
            (told("relu", &[], &[]), "relu: argument `self` is missing"),
            (told("relu", &[x()], &[("x", x())]), "relu: no argument is called `x`"),
            (told("relu", &[x()], &[("self", x())]), "relu: argument `self` is given twice"),
            (told("relu.", &[x(), x()], &[]), "relu.: expected at most 1 arguments, found 2"),
            (
                told("mean.dim", &[x(), Value::Int(0), Value::Bool(true), Value::Int(6)], &[]),
                "mean.dim: expected at most 3 arguments by position, found more",
            ),
        ] {
            assert_eq!(found, expected);
        }
        // An error of the operator itself is no refusal, so no other overload is tried.
        assert!(told("reshape", &[x(), vec![3].into_value()], &[]).contains("invalid for input"));
    }
}
