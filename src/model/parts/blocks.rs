//! Selection of the blocks that have a part.

use crate::declare::{Allowed, FromValue, IntoValue, Value};
use crate::error::{Error, Result};

/// A selection of blocks, resolved for a depth when a model is built.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Blocks {
    /// Every block.
    #[default]
    All,
    /// Blocks with an even index, including the first.
    Even,
    /// Blocks with an odd index.
    Odd,
    /// The first block.
    First,
    /// The last block.
    Last,
    /// Blocks from the first index up to, but excluding, the second.
    Range(i64, i64),
    /// Blocks with these indices.
    List(Vec<i64>),
}

/// Words that select blocks.
pub const NAMES: [&str; 5] = ["all", "even", "odd", "first", "last"];

const WORDS: [(&str, Blocks); 5] = [
    ("all", Blocks::All),
    ("even", Blocks::Even),
    ("odd", Blocks::Odd),
    ("first", Blocks::First),
    ("last", Blocks::Last),
];

impl Blocks {
    /// Returns the indices of the selected blocks in a model of `depth`, ascending.
    pub fn of(&self, depth: i64) -> Result<Vec<i64>> {
        // Iterating lazily makes a range without end fail at its first index out of range.
        let numbers: Box<dyn Iterator<Item = i64> + '_> = match self {
            Blocks::All => Box::new(0..depth),
            Blocks::Even => Box::new((0..depth).step_by(2)),
            Blocks::Odd => Box::new((1..depth).step_by(2)),
            Blocks::First => Box::new(0..1),
            Blocks::Last => Box::new(depth - 1..depth),
            // An open end, `2..`, extends to the last block.
            Blocks::Range(first, i64::MAX) => Box::new(*first..depth.max(first.saturating_add(1))),
            // An end below zero counts from the last block: `1..-1` leaves out the first and the last.
            Blocks::Range(first, end) if *end < 0 && *first >= 0 => Box::new(*first..*end + depth),
            Blocks::Range(first, end) => Box::new(*first..*end),
            Blocks::List(list) => Box::new(list.iter().copied()),
        };
        let mut found = Vec::new();
        for number in numbers {
            let from_start = if number < 0 { number + depth } else { number };
            if !(0..depth).contains(&from_start) {
                return Err(Error::argument(format!(
                    "block {number} is out of range: the model has {depth} blocks"
                ))
                .hint(format!("blocks are from 0 to {}, and -1 is the last one", depth - 1)));
            }
            found.push(from_start);
        }
        found.sort_unstable();
        found.dedup();
        if found.is_empty() {
            return Err(Error::argument(format!(
                "{:?} gives no blocks of a model with {depth}",
                self.clone().into_value()
            ))
            .hint("a range `0..2` has the blocks 0 and 1"));
        }
        Ok(found)
    }
}

impl FromValue for Blocks {
    fn label() -> String {
        "range, int, array of ints or string".to_string()
    }
    fn allowed() -> Allowed {
        Allowed::OneOf(&NAMES)
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Range(first, end) => Ok(Blocks::Range(*first, *end)),
            Value::Int(one) => Ok(Blocks::List(vec![*one])),
            Value::List(_) => Vec::<i64>::from_value(value).map(Blocks::List),
            Value::Str(word) => {
                let found = WORDS.into_iter().find(|(name, _)| name == word).map(|(_, blocks)| blocks);
                found.ok_or_else(|| {
                    Error::argument(format!("there are no blocks called \"{word}\""))
                        .did_you_mean(word, WORDS.iter().map(|(name, _)| *name))
                        .hint("blocks are a range such as 2..4, an array, \"all\", \"even\", \"odd\", \"first\" or \"last\"")
                })
            }
            // The stored form of a range.
            Value::Map(map) => match (map.get("from"), map.get("to")) {
                (Some(Value::Int(from)), Some(Value::Int(to))) => Ok(Blocks::Range(*from, *to)),
                _ => Err(value.mismatch("blocks")),
            },
            other => Err(other
                .mismatch("blocks: a range such as 2..4, an array of integers, or a word such as \"even\"")),
        }
    }
}

impl IntoValue for Blocks {
    fn label() -> String {
        <Self as FromValue>::label()
    }
    fn into_value(self) -> Value {
        match self {
            Blocks::Range(first, end) => Value::Range(first, end),
            Blocks::List(list) => list.into_value(),
            word => {
                let found = WORDS.into_iter().find(|(_, blocks)| *blocks == word);
                Value::Str(found.map_or("all", |(name, _)| name).to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_becomes_numbers_for_a_depth() {
        let of = |value: Value| Blocks::from_value(&value).and_then(|b| b.of(4));
        assert_eq!(of(Value::Range(2, 4)).unwrap(), [2, 3]);
        assert_eq!(of(Value::Range(1, i64::MAX)).unwrap(), [1, 2, 3]);
        assert_eq!(of(Value::Range(1, -1)).unwrap(), [1, 2]);
        assert_eq!(of(Value::Range(-2, 0)).unwrap(), [2, 3]);
        assert_eq!(of(Value::Str("odd".into())).unwrap(), [1, 3]);
        assert_eq!(of(Value::Str("last".into())).unwrap(), [3]);
        assert_eq!(of(vec![3i64, -4, 3].into_value()).unwrap(), [0, 3]);
        let message = |value: Value| of(value).unwrap_err().message();
        assert_eq!(message(Value::Range(2, 6)), "block 4 is out of range: the model has 4 blocks");
        assert_eq!(message(Value::Range(0, 1 << 40)), "block 4 is out of range: the model has 4 blocks");
        assert_eq!(message(Value::Int(-5)), "block -5 is out of range: the model has 4 blocks");
        assert!(message(Value::Range(2, 2)).contains("no blocks of a model with 4"));
        assert!(message(Value::Range(9, 12)).contains("out of range"));
        assert_eq!(Blocks::Odd.of(1).unwrap_err().message(), "\"odd\" gives no blocks of a model with 1");
    }
}
