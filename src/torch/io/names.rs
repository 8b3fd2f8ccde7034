//! Names of tensors in a pickle, derived from keys of any type.

use super::pickle::{Item, Pickle, Place};

/// Maximum length of a name; needed because keys may contain each other.
const LONGEST: usize = 400;
/// Maximum depth of nested tuples in a key.
const DEEPEST: usize = 8;

/// Step on the path to a value: its part of the name, and its Python notation.
#[derive(Debug, Clone)]
pub struct Step {
    /// Part of the name: `weight`, `0`, `(1, 2)`.
    pub name: String,
    /// Python notation: `["weight"]`, `[0]`, `[(1, 2)]`.
    pub python: String,
}

impl Step {
    /// Returns the step into a dictionary by a key.
    pub fn key(pickle: &Pickle, key: Place) -> Self {
        let python = written(pickle, key, 0);
        match pickle.item(key) {
            Item::Str(name) => Self { name: name.clone(), python: format!("[{python}]") },
            _ => Self { python: format!("[{python}]"), name: python },
        }
    }

    /// Returns the step to an entry of a list.
    pub fn entry(index: usize) -> Self {
        Self { name: index.to_string(), python: format!("[{index}]") }
    }
}

/// Returns the name at the end of a path: the steps joined by dots, or `tensor` if there are none.
pub fn name(steps: &[Step]) -> String {
    let name = steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>().join(".");
    if name.is_empty() { "tensor".to_string() } else { name }
}

/// Returns the steps in Python notation, or `the whole file` if there are none.
pub fn python(steps: &[Step]) -> String {
    match steps {
        [] => "the whole file".to_string(),
        _ => steps.iter().map(|step| step.python.as_str()).collect(),
    }
}

/// Formats a key as Python does.
fn written(pickle: &Pickle, place: Place, depth: usize) -> String {
    let all = |items: &[Place]| -> Vec<String> {
        match depth < DEEPEST {
            true => items.iter().take(LONGEST).map(|item| written(pickle, *item, depth + 1)).collect(),
            false => vec!["..".to_string()],
        }
    };
    let text = match pickle.item(place) {
        Item::None => "None".to_string(),
        Item::Bool(true) => "True".to_string(),
        Item::Bool(false) => "False".to_string(),
        Item::Int(number) => number.to_string(),
        Item::Long(bytes) => decimal(bytes),
        Item::Float(number) => float(*number),
        Item::Str(text) => format!("{text:?}"),
        Item::Bytes(count) => format!("{count} bytes"),
        Item::Tuple(items) => match all(items).as_slice() {
            [only] => format!("({only},)"),
            items => format!("({})", items.join(", ")),
        },
        Item::List(items) => format!("[{}]", all(items).join(", ")),
        Item::Dict(pairs) => format!("a dictionary of {}", pairs.len()),
        Item::Global(..) => pickle.name(place).unwrap_or_default(),
        Item::Stored(_) => "a storage".to_string(),
        Item::Made { function, arguments, .. } => {
            let arguments = match pickle.item(*arguments) {
                Item::Tuple(items) => all(items).join(", "),
                _ => String::new(),
            };
            format!("{}({arguments})", pickle.name(*function).unwrap_or_default())
        }
    };
    // Each level is truncated, so that keys that contain each other stay small.
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}

/// Formats a float as Python does: exponents have two digits and a sign.
fn float(number: f64) -> String {
    let size = number.abs();
    if number.is_nan() {
        return "nan".to_string();
    }
    if number == 0.0 || !number.is_finite() || (1e-4..1e16).contains(&size) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    match text.split_once('e').and_then(|(digits, power)| Some((digits, power.parse::<i32>().ok()?))) {
        Some((digits, power)) => {
            format!("{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
        }
        None => text,
    }
}

/// Formats a long integer, two's complement with the least significant byte first, in decimal digits.
fn decimal(bytes: &[u8]) -> String {
    if bytes.len() > 128 {
        return format!("an integer of {} bytes", bytes.len());
    }
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut size: Vec<u8> = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in &mut size {
            let (flipped, over) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (flipped, over);
        }
    }
    let mut digits = Vec::new();
    while size.iter().any(|byte| *byte != 0) {
        let mut rest = 0u32;
        for byte in size.iter_mut().rev() {
            let value = rest << 8 | u32::from(*byte);
            (*byte, rest) = ((value / 10) as u8, value % 10);
        }
        digits.push(char::from(b'0' + rest as u8));
    }
    let digits: String = digits.into_iter().rev().collect();
    format!("{}{digits}", if negative { "-" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_and_long_integers_read_as_in_python() {
        let shown: Vec<String> =
            [0.5, 1.0, 1e-5, 1e16, 0.0001, 1.5e300, -2.0, f64::INFINITY].map(float).to_vec();
        assert_eq!(shown, ["0.5", "1.0", "1e-05", "1e+16", "0.0001", "1.5e+300", "-2.0", "inf"]);
        assert_eq!(decimal(&[251, 255, 255, 255, 255, 255, 255, 255, 0]), "18446744073709551611");
        assert_eq!(decimal(&[0, 0, 0, 0, 0, 0, 0, 0, 0xff]), "-18446744073709551616");
    }
}
