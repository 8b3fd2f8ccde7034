//! Background color of transparent images.

use crate::declare::{FromValue, IntoValue, Value};
use crate::error::{Error, Result};

/// Red, green and blue from 0 to 255; white by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Background(pub [u8; 3]);

/// Colors with a name.
const NAMES: [(&str, [u8; 3]); 3] = [("white", [255; 3]), ("black", [0; 3]), ("gray", [128; 3])];

impl Default for Background {
    fn default() -> Self {
        Self([255; 3])
    }
}

impl Background {
    /// Returns a color laid over this background with an opacity from 0 to 255.
    pub fn under(self, color: [u8; 3], opacity: u8) -> [u8; 3] {
        let opacity = u32::from(opacity);
        std::array::from_fn(|i| {
            let mixed = u32::from(color[i]) * opacity + u32::from(self.0[i]) * (255 - opacity);
            ((mixed + 127) / 255) as u8
        })
    }
}

fn hexadecimal(text: &str) -> Option<[u8; 3]> {
    let digits =
        text.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    Some([(number >> 16) as u8, (number >> 8) as u8, number as u8])
}

impl FromValue for Background {
    fn label() -> String {
        "string or array of ints".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        let expected =
            "a color: \"white\", \"black\", \"gray\", \"#rrggbb\", or red, green and blue from 0 to 255";
        match value {
            Value::Str(name) => {
                let known = NAMES.iter().find(|(known, _)| known == name).map(|(_, color)| *color);
                known.or_else(|| hexadecimal(name)).map(Self).ok_or_else(|| {
                    Error::argument(format!("expected {expected}, found \"{name}\""))
                        .did_you_mean(name, NAMES.iter().map(|(known, _)| *known))
                })
            }
            Value::List(list) => {
                let parts: Option<Vec<u8>> = list
                    .iter()
                    .map(|part| match part {
                        Value::Int(i) => u8::try_from(*i).ok(),
                        _ => None,
                    })
                    .collect();
                let parts = parts.and_then(|parts| <[u8; 3]>::try_from(parts).ok());
                parts
                    .map(Self)
                    .ok_or_else(|| Error::argument(format!("expected {expected}, found {value:?}")))
            }
            other => Err(other.mismatch(expected)),
        }
    }
}

impl IntoValue for Background {
    fn label() -> String {
        "string".to_string()
    }
    fn into_value(self) -> Value {
        let [r, g, b] = self.0;
        match NAMES.iter().find(|(_, color)| *color == self.0) {
            Some((name, _)) => Value::Str(name.to_string()),
            None => Value::Str(format!("#{r:02x}{g:02x}{b:02x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_named_or_given_by_numbers() {
        let read = |value: Value| Background::from_value(&value);
        let text = |text: &str| Value::Str(text.to_string());
        assert_eq!(read(text("black")).unwrap(), Background([0; 3]));
        assert_eq!(read(text("#10a0FF")).unwrap(), Background([16, 160, 255]));
        let list = |numbers: &[i64]| Value::List(numbers.iter().map(|n| Value::Int(*n)).collect());
        assert_eq!(read(list(&[1, 2, 255])).unwrap(), Background([1, 2, 255]));
        for wrong in [text("gray42"), text("#12345"), list(&[1, 2]), list(&[1, 2, 256]), Value::Float(0.5)] {
            assert!(read(wrong).unwrap_err().message().contains("expected a color"));
        }
        for color in [[255; 3], [16, 160, 255]] {
            assert_eq!(read(Background(color).into_value()).unwrap().0, color);
        }
        assert_eq!(Background::default().under([255, 0, 0], 0), [255; 3]);
        assert_eq!(Background([0; 3]).under([255, 100, 0], 51), [51, 20, 0]);
    }
}
