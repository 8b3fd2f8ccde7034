//! Structs that are maps in scripts.

/// Declares the conversion of a struct to a map and back: its fields are the keys.
macro_rules! record {
    ($type:ident { $first:ident $(, $field:ident)* $(,)? }) => {
        impl $crate::declare::FromValue for $type {
            fn label() -> String {
                <$type as $crate::declare::IntoValue>::label()
            }
            fn from_value(value: &$crate::declare::Value) -> $crate::error::Result<Self> {
                let map = <$crate::declare::Map as $crate::declare::FromValue>::from_value(value)?;
                let part = |name: &str| map.get(name).unwrap_or(&$crate::declare::Value::Unit);
                Ok(Self {
                    $first: $crate::declare::FromValue::from_value(part(stringify!($first)))?,
                    $($field: $crate::declare::FromValue::from_value(part(stringify!($field)))?,)*
                })
            }
        }

        impl $crate::declare::IntoValue for $type {
            fn label() -> String {
                concat!("map of ", stringify!($first) $(, ", ", stringify!($field))*).to_string()
            }
            fn into_value(self) -> $crate::declare::Value {
                $crate::declare::Value::Map($crate::declare::Map::from([
                    (stringify!($first).to_string(), $crate::declare::IntoValue::into_value(self.$first)),
                    $((stringify!($field).to_string(), $crate::declare::IntoValue::into_value(self.$field)),)*
                ]))
            }
        }
    };
}
pub(crate) use record;
