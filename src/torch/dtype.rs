//! Element types.

use std::fmt::Display;

use crate::declare::{Allowed, FromValue, IntoValue, Number, Value};
use crate::error::{Error, Result};

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of PyTorch")]
pub enum DType {
    Float32,
    Float64,
    Float16,
    BFloat16,
    Int64,
    Int32,
    Int16,
    Int8,
    UInt8,
    Bool,
    Complex64,
    Complex128,
}

use DType::*;

/// All element types with their names and libtorch's values.
const TABLE: [(DType, &str, tch::Kind); 12] = [
    (Float32, "float32", tch::Kind::Float),
    (Float64, "float64", tch::Kind::Double),
    (Float16, "float16", tch::Kind::Half),
    (BFloat16, "bfloat16", tch::Kind::BFloat16),
    (Int64, "int64", tch::Kind::Int64),
    (Int32, "int32", tch::Kind::Int),
    (Int16, "int16", tch::Kind::Int16),
    (Int8, "int8", tch::Kind::Int8),
    (UInt8, "uint8", tch::Kind::Uint8),
    (Bool, "bool", tch::Kind::Bool),
    (Complex64, "complex64", tch::Kind::ComplexFloat),
    (Complex128, "complex128", tch::Kind::ComplexDouble),
];

impl DType {
    /// Names of all element types.
    pub const NAMES: [&'static str; 12] = [
        "float32",
        "float64",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
        "complex64",
        "complex128",
    ];

    /// Returns the name as in PyTorch, such as `float32`.
    pub fn name(self) -> &'static str {
        TABLE.iter().find(|(d, ..)| *d == self).map_or("float32", |(_, name, _)| name)
    }

    /// Returns the element type with this name.
    pub fn named(name: &str) -> Result<Self> {
        let name = name.strip_prefix("torch.").unwrap_or(name);
        let short = match name {
            "float" => "float32",
            "double" => "float64",
            "half" => "float16",
            "long" => "int64",
            "int" => "int32",
            other => other,
        };
        TABLE.iter().find(|(_, n, _)| *n == short).map(|(d, ..)| *d).ok_or_else(|| {
            Error::argument(format!("unknown dtype \"{name}\"")).did_you_mean(name, Self::NAMES)
        })
    }

    /// Returns whether elements are real floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Float32 | Float64 | Float16 | BFloat16)
    }

    /// Returns float64 for float64 and float32 for every other type.
    pub fn at_least_float32(self) -> Self {
        if self == Float64 { Float64 } else { Float32 }
    }

    /// Returns whether elements are complex numbers.
    pub fn is_complex(self) -> bool {
        matches!(self, Complex64 | Complex128)
    }

    /// Returns the range of integers in which the type holds every one.
    pub fn integers(self) -> (i64, i64) {
        match self {
            Int64 => (i64::MIN, i64::MAX),
            Int32 => (i32::MIN.into(), i32::MAX.into()),
            Int16 => (i16::MIN.into(), i16::MAX.into()),
            Int8 => (i8::MIN.into(), i8::MAX.into()),
            UInt8 => (0, u8::MAX.into()),
            Bool => (0, 1),
            // A significand of n bits holds the integers up to 2^n.
            _ => {
                let most = (2.0 / self.epsilon()) as i64;
                (-most, most)
            }
        }
    }

    /// Fails unless a type of integers can represent a number, after its fraction is cut off. As in PyTorch, uint8
    /// also takes negative integers above -256, counted from 256, and bool takes every number.
    pub(super) fn admit(self, number: Number) -> Result<()> {
        if self.is_float() || self.is_complex() || self == Bool {
            return Ok(());
        }
        let (low, high) = self.integers();
        let (whole, lowest) = match number {
            Number::Int(i) => (i128::from(i), if self == UInt8 { -high } else { low }),
            Number::Float(x) if x.is_nan() => (i128::MAX, low),
            Number::Float(x) => (x as i128, low),
        };
        if (i128::from(lowest)..=i128::from(high)).contains(&whole) {
            return Ok(());
        }
        Err(match number {
            Number::Int(i) => self.too_small_for(i),
            Number::Float(x) => self.too_small_for(x),
        })
    }

    /// Returns the error for a number outside the range of the type.
    pub(super) fn too_small_for(self, number: impl Display) -> Error {
        let (low, high) = self.integers();
        let error = Error::argument(format!(
            "expected numbers from {low} to {high}, which are those of {}, found {number}",
            self.name()
        ));
        error.hint("choose another dtype, such as \"int64\" or \"float32\"")
    }

    /// Returns the number of bytes per element.
    pub fn size(self) -> usize {
        self.kind().elt_size_in_bytes()
    }

    /// Returns the machine epsilon of a float type, as `torch.finfo(dtype).eps`.
    pub fn epsilon(self) -> f64 {
        match self {
            Float64 | Complex128 => f64::EPSILON,
            Float16 => 2f64.powi(-10),
            BFloat16 => 2f64.powi(-7),
            _ => f64::from(f32::EPSILON),
        }
    }

    pub(crate) fn kind(self) -> tch::Kind {
        TABLE.iter().find(|(d, ..)| *d == self).map_or(tch::Kind::Float, |(.., kind)| *kind)
    }

    pub(crate) fn of(kind: tch::Kind) -> Result<Self> {
        TABLE
            .iter()
            .find(|(.., k)| *k == kind)
            .map(|(d, ..)| *d)
            .ok_or_else(|| Error::argument(format!("tensors of element type {kind:?} are not supported")))
    }
}

impl TryFrom<&str> for DType {
    type Error = Error;

    /// Returns the type of that name, such as "float32".
    fn try_from(name: &str) -> Result<Self> {
        Self::named(name)
    }
}

impl FromValue for DType {
    fn label() -> String {
        "dtype".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Str(name) => DType::named(name),
            other => Err(other.mismatch("a dtype such as \"float32\"")),
        }
    }
    fn allowed() -> Allowed {
        Allowed::Named(|name| DType::named(name).map(drop))
    }
}

impl IntoValue for DType {
    fn label() -> String {
        "string".to_string()
    }
    fn into_value(self) -> Value {
        Value::Str(self.name().to_string())
    }
}
