//! Plain values of a pickle: the settings that training programs store beside the weights.

use crate::declare::{Map, Value};
use crate::torch::io::pickle::{Item, Pickle, Place};

/// Maximum depth of nested values.
const DEEPEST: usize = 8;

/// Maximum number of values; a small pickle can refer to one value over and over.
const MOST: usize = 10_000;

/// Class whose attributes are settings.
const NAMESPACE: &str = "argparse.Namespace";

/// Returns the plain values of the dictionary that a pickle is, by name. Other values are left out.
pub fn of(pickle: &Pickle) -> Map {
    let mut values = Values { pickle, left: MOST };
    match values.value(pickle.root, 0) {
        Some(Value::Map(map)) => map,
        _ => Map::new(),
    }
}

struct Values<'a> {
    pickle: &'a Pickle,
    left: usize,
}

impl Values<'_> {
    fn value(&mut self, place: Place, depth: usize) -> Option<Value> {
        if self.left == 0 || depth > DEEPEST {
            return None;
        }
        self.left -= 1;
        match self.pickle.item(place) {
            Item::None => Some(Value::Unit),
            Item::Bool(value) => Some(Value::Bool(*value)),
            Item::Int(value) => Some(Value::Int(*value)),
            Item::Float(value) => Some(Value::Float(*value)),
            Item::Str(text) => Some(Value::Str(text.clone())),
            Item::Dict(pairs) => Some(Value::Map(self.map(pairs, depth))),
            Item::Tuple(items) | Item::List(items) => {
                Some(Value::List(items.iter().filter_map(|item| self.value(*item, depth + 1)).collect()))
            }
            Item::Made { function, parts, .. } => {
                if self.pickle.name(*function).as_deref() != Some(NAMESPACE) {
                    return None;
                }
                let mut all = Map::new();
                for part in parts {
                    if let Item::Dict(pairs) = self.pickle.item(*part) {
                        all.extend(self.map(pairs, depth));
                    }
                }
                Some(Value::Map(all))
            }
            _ => None,
        }
    }

    fn map(&mut self, pairs: &[(Place, Place)], depth: usize) -> Map {
        let mut map = Map::new();
        for (key, value) in pairs {
            if let Item::Str(name) = self.pickle.item(*key)
                && let Some(value) = self.value(*value, depth + 1)
            {
                map.insert(name.clone(), value);
            }
        }
        map
    }
}
