//! Values, and with them all option structs, in serde's data model: JSON, TOML and every other format.
//!
//! In a text, the three floats that JSON lacks are the strings `NaN`, `inf` and `-inf`, as rhai prints them.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};

use super::convert::FromValue;
use super::options::{Options, refuse_unknown};
use super::value::{Map, Value};
use crate::error::{Error, Result};

/// The special floats and their spellings.
const SPECIAL: [(&str, f64); 3] = [("NaN", f64::NAN), ("inf", f64::INFINITY), ("-inf", f64::NEG_INFINITY)];

impl Value {
    /// Converts the value to JSON for other programs, or returns `None` if it cannot be stored. The three special
    /// floats become strings; [`Value::to_json_text`] returns a form that can be read back.
    pub fn to_json(&self) -> Option<serde_json::Value> {
        serde_json::to_value(self).ok()
    }

    /// Converts JSON that [`Value::to_json`] made; strings with its spelling of special floats become floats.
    pub fn from_json(json: &serde_json::Value) -> Result<Value> {
        Value::deserialize(json)
            .map_err(|e| Error::argument(format!("the JSON is no value of a script: {e}")))
    }
}

/// Functions and the objects that are not data cannot be stored.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Unit => to.serialize_unit(),
            Value::Bool(b) => to.serialize_bool(*b),
            Value::Int(i) => to.serialize_i64(*i),
            Value::Float(x) if to.is_human_readable() && !x.is_finite() => to.serialize_str(&x.to_string()),
            Value::Float(x) => to.serialize_f64(*x),
            Value::Str(s) => to.serialize_str(s),
            Value::List(list) => to.collect_seq(list),
            Value::Map(map) => to.collect_map(map),
            Value::Range(a, b) => to.collect_seq(Value::entries(*a, *b).map_err(S::Error::custom)?),
            Value::Function(_) => Err(S::Error::custom("a function cannot be stored")),
            Value::Object(object) => match object.to_data() {
                Some(data) => data.serialize(to),
                None => Err(S::Error::custom(format!("{} cannot be stored", object.describe()))),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let special = from.is_human_readable();
        from.deserialize_any(Reader { special })
    }
}

/// Reader of a value.
struct Reader {
    /// Whether strings with the spelling of special floats are floats.
    special: bool,
}

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a number, string, bool, list or map")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Unit)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Unit)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        Value::deserialize(from)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, i: i64) -> Result<Value, E> {
        Ok(Value::Int(i))
    }

    /// Integers beyond those of scripts become the nearest float.
    fn visit_u64<E>(self, i: u64) -> Result<Value, E> {
        Ok(i64::try_from(i).map_or(Value::Float(i as f64), Value::Int))
    }

    fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
        Ok(Value::Float(x))
    }

    fn visit_str<E>(self, s: &str) -> Result<Value, E> {
        let special = SPECIAL.iter().find(|(word, _)| self.special && *word == s);
        Ok(special.map_or_else(|| Value::Str(s.to_string()), |(_, x)| Value::Float(*x)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, value)) = entries.next_entry()? {
            map.insert(key, value);
        }
        Ok(Value::Map(map))
    }
}

/// Writes an option struct as the map of all its options; the derived `Serialize` is this function.
pub fn serialize<T: Options, S: Serializer>(options: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(&options.to_map())
}

/// Reads an option struct from a map of any of its options; the derived `Deserialize` is this function. Unknown names,
/// wrong types and values out of range are errors.
pub fn deserialize<'de, T: Options, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let map = Map::deserialize(from)?;
    let read = || -> Result<T> {
        refuse_unknown(&map, T::FIELDS)?;
        let mut options = T::default();
        options.restore(&map, None)?;
        options.check()?;
        Ok(options)
    };
    read().map_err(D::Error::custom)
}

/// Reads the word of a choice; the derived `Deserialize` is this function.
pub fn choice<'de, T: FromValue, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    T::from_value(&Value::deserialize(from)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{DType, Device, Tensor};

    #[test]
    fn values_come_back_from_json() {
        let list =
            [Value::Unit, Value::Bool(true), Value::Int(i64::MIN), Value::Float(0.1), Value::Float(1.0)];
        let specials = SPECIAL.map(|(_, x)| Value::Float(x));
        let all = Value::Map(Map::from([
            ("list".to_string(), Value::List(list.to_vec())),
            ("specials".to_string(), Value::List(specials.to_vec())),
            ("map".to_string(), Value::Map(Map::from([("ä\"".to_string(), Value::Str("text".into()))]))),
        ]));
        let json = all.to_json().unwrap();
        let text = r#"{"list":[null,true,-9223372036854775808,0.1,1.0],"map":{"ä\"":"text"},"specials":["NaN","inf","-inf"]}"#;
        assert_eq!(json.to_string(), text);
        assert_eq!(format!("{:?}", Value::from_json(&json).unwrap()), format!("{all:?}"));
        let read: Value = serde_json::from_str(text).unwrap();
        assert_eq!(format!("{read:?}"), format!("{all:?}"));
        assert_eq!(
            serde_json::from_str::<Value>("18446744073709551615").unwrap().to_json().unwrap(),
            u64::MAX as f64
        );
    }

    #[test]
    fn what_is_no_data_is_an_error() {
        let tensor = Tensor::ones(&[2], DType::Float32, Device::Cpu).unwrap();
        let error = serde_json::to_string(&Value::from(tensor)).unwrap_err();
        assert_eq!(error.to_string(), "a tensor [2] float32 cannot be stored");
    }
}
