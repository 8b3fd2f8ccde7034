//! Calls of any ATen operator by name, through libtorch's dispatcher.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::null;

use super::ffi::{self, Raw};
use super::refusal::Refusal;
use super::{Generator, Tensor};
use crate::declare::{IntoValue, Map, Value};
use crate::error::{Error, Kind, Result};

/// Calls the operator `name` (`relu`, `aten::sum.dim_IntList`) with positional and then named arguments.
///
/// Missing arguments take the defaults of the schema. Without an overload in the name, each overload is tried in
/// turn and the first that accepts the arguments runs.
pub fn call(name: &str, positional: &[Value], named: &Map) -> Result<Value> {
    let (base, overload) = split(name);
    let all = schemas(&base)?;
    let overloads: Vec<String> = match overload {
        Some(overload) => vec![overload],
        None => all.iter().map(|s| overload_of(s)).collect(),
    };
    let mut first = None;
    for overload in &overloads {
        match call_overload(&base, overload, positional, named) {
            Ok(value) => return Ok(value),
            // Only rejected arguments are a reason to try the next overload.
            Err(Failed::Refused(refusal)) => first = first.or(Some(refusal)),
            Err(Failed::Otherwise(error)) => return Err(error),
        }
    }
    let error = match first {
        Some(refusal) => refusal.error(Kind::Argument),
        None => Error::argument("no overload takes these arguments"),
    };
    Err(error.context(name).hint(format!("its schema is {}", all.join("\nor "))))
}

/// Returns the schemas of an operator's overloads. For an unknown name the error suggests the nearest known one.
pub fn schemas(name: &str) -> Result<Vec<String>> {
    let (base, _) = split(name);
    let c_name = ffi::c_string(&base)?;
    // SAFETY: the name outlives the call.
    let lines = ffi::text(unsafe { ffi::sp_schemas(c_name.as_ptr()) }).unwrap_or_default();
    let lines: Vec<String> = lines.lines().map(str::to_string).collect();
    if lines.is_empty() {
        let names = operator_names();
        let name = base.trim_start_matches("aten::");
        return Err(Error::argument(format!("libtorch has no operator `{name}`"))
            .did_you_mean(name, names.iter().map(|n| n.trim_start_matches("aten::"))));
    }
    Ok(lines)
}

/// Returns the names of all operators, without overloads, sorted.
pub fn operator_names() -> Vec<String> {
    // SAFETY: returns a string or null.
    let names = ffi::text(unsafe { ffi::sp_operator_names() }).unwrap_or_default();
    let mut names: Vec<String> = names.lines().map(str::to_string).collect();
    names.sort();
    names.dedup();
    names
}

fn split(name: &str) -> (String, Option<String>) {
    let (space, rest) = name.split_once("::").unwrap_or(("aten", name));
    match rest.split_once('.') {
        Some((base, overload)) => (format!("{space}::{base}"), Some(overload.to_string())),
        None => (format!("{space}::{rest}"), None),
    }
}

fn overload_of(schema: &str) -> String {
    let head = schema.split('(').next().unwrap_or_default();
    head.split_once('.').map_or("", |(_, o)| o).to_string()
}

/// Why a call of an overload failed.
enum Failed {
    /// The overload does not take the arguments.
    Refused(Refusal),
    Otherwise(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Otherwise(error)
    }
}

fn call_overload(base: &str, overload: &str, positional: &[Value], named: &Map) -> Result<Value, Failed> {
    let (op, overload) = (ffi::c_string(base)?, ffi::c_string(overload)?);
    let mut arena = Arena::default();
    let mut values = Vec::new();
    let mut names: Vec<*const c_char> = Vec::new();
    let keys: Vec<CString> = named.keys().map(|k| ffi::c_string(k)).collect::<Result<_>>()?;
    for value in positional {
        values.push(arena.lower(value)?);
        names.push(null());
    }
    for (key, value) in keys.iter().zip(named.values()) {
        values.push(arena.lower(value)?);
        names.push(key.as_ptr());
    }
    let mut results: Vec<Value> = Vec::new();
    // SAFETY: everything pointed to lives in `arena`, `keys` and `named` until the call returns, and the sink is
    // the vector that `collect` expects.
    let code = unsafe {
        ffi::sp_call(
            op.as_ptr(),
            overload.as_ptr(),
            values.as_ptr(),
            names.as_ptr(),
            values.len() as i64,
            collect,
            (&raw mut results).cast(),
        )
    };
    if code == ffi::REFUSED {
        return Err(Failed::Refused(Refusal::last()));
    }
    ffi::check(code)?;
    Ok(match results.len() {
        0 => Value::Unit,
        1 => results.remove(0),
        _ => Value::List(results),
    })
}

/// Owner of everything that a [`Raw`] points to.
#[derive(Default)]
struct Arena {
    strings: Vec<CString>,
    lists: Vec<Vec<Raw>>,
    tensors: Vec<Tensor>,
    generators: Vec<Generator>,
}

impl Arena {
    fn lower(&mut self, value: &Value) -> Result<Raw> {
        let mut raw = Raw { tag: ffi::NONE, integer: 0, number: 0.0, pointer: null(), length: 0 };
        match value {
            Value::Unit => {}
            Value::Bool(b) => (raw.tag, raw.integer) = (ffi::BOOL, i64::from(*b)),
            Value::Int(i) => (raw.tag, raw.integer) = (ffi::INT, *i),
            Value::Float(x) => (raw.tag, raw.number) = (ffi::FLOAT, *x),
            Value::Str(s) => {
                let text = ffi::c_string(s)?;
                (raw.tag, raw.pointer) = (ffi::STRING, text.as_ptr().cast());
                self.strings.push(text);
            }
            Value::List(list) => {
                let entries: Vec<Raw> = list.iter().map(|v| self.lower(v)).collect::<Result<_>>()?;
                (raw.tag, raw.pointer, raw.length) =
                    (ffi::LIST, entries.as_ptr().cast(), entries.len() as i64);
                self.lists.push(entries);
            }
            other => {
                if let Some(tensor) = other.downcast::<Tensor>() {
                    (raw.tag, raw.pointer) = (ffi::TENSOR, ffi::raw(&tensor) as *const c_void);
                    self.tensors.push(tensor);
                } else if let Some(generator) = other.downcast::<Generator>() {
                    (raw.tag, raw.pointer) = (ffi::GENERATOR, generator.pointer());
                    self.generators.push(generator);
                } else {
                    return Err(other.mismatch("a tensor, number, bool, string, array, generator or ()"));
                }
            }
        }
        Ok(raw)
    }
}

/// Appends one result of a call to the sink.
unsafe extern "C" fn collect(sink: *mut c_void, value: *const Raw) {
    // SAFETY: `sink` is the vector passed to `sp_call`, and `value` is valid during this call.
    unsafe { (*sink.cast::<Vec<Value>>()).push(lift(&*value)) }
}

/// # Safety
/// `raw` must be a result of the shim; this function takes ownership of its tensors.
unsafe fn lift(raw: &Raw) -> Value {
    match raw.tag {
        // SAFETY: the shim allocated the tensor and gives up ownership.
        ffi::TENSOR => unsafe { ffi::owned(raw.pointer as *mut _) }.into_value(),
        ffi::INT => Value::Int(raw.integer),
        ffi::FLOAT => Value::Float(raw.number),
        ffi::BOOL => Value::Bool(raw.integer != 0),
        ffi::STRING => {
            // SAFETY: a zero-terminated string that is valid during this call.
            Value::Str(unsafe { CStr::from_ptr(raw.pointer.cast()) }.to_string_lossy().into_owned())
        }
        ffi::LIST => {
            // SAFETY: `length` results, each as above.
            let entries =
                unsafe { std::slice::from_raw_parts(raw.pointer.cast::<Raw>(), raw.length as usize) };
            // SAFETY: each is a result of the shim, owned by the list.
            Value::List(entries.iter().map(|r| unsafe { lift(r) }).collect())
        }
        _ => Value::Unit,
    }
}

/// Calls an exact overload that returns one tensor; see [`call`].
pub(crate) fn call_one(name: &str, positional: &[Value], named: &Map) -> Result<Tensor> {
    let (base, overload) = split(name);
    let called = call_overload(&base, overload.as_deref().unwrap_or(""), positional, named);
    let value = called.map_err(|failed| match failed {
        Failed::Refused(refusal) => refusal.error(Kind::Torch),
        Failed::Otherwise(error) => error,
    })?;
    value.downcast().ok_or_else(|| Error::internal(format!("{name} returned {}", value.describe())))
}
