//! Arguments of a call, read one after the other.

use super::convert::FromValue;
use super::value::Value;
use crate::error::{Error, Kind, Problem, Result, Subject};

/// Reads positional arguments in order; used by [`functions!`](crate::functions).
#[derive(Debug)]
pub struct Arguments<'a> {
    values: std::slice::Iter<'a, Value>,
    taken: usize,
    /// Why a map was not what an optional argument takes, which may be the options behind it.
    passed_over: Option<Error>,
}

impl<'a> Arguments<'a> {
    /// Starts at the first argument.
    pub fn new(values: &'a [Value]) -> Self {
        Self { values: values.iter(), taken: 0, passed_over: None }
    }

    /// Reads the next argument as a `T`; error messages name it `name`. A map at the end that an optional argument does not take
    /// is left for the options: `tensor::arange(10, #{ dtype: "float64" })`.
    pub fn take<T: FromValue>(&mut self, name: &str) -> Result<T> {
        let index = self.taken;
        self.taken += 1;
        let before = self.values.clone();
        match self.values.next() {
            Some(value) if T::fields().is_empty() => {
                let taken = T::from_value(value).map_err(|e| e.within(Subject::argument(name, index)));
                match (taken, T::missing()) {
                    (Err(error), Some(missing))
                        if matches!(value, Value::Map(_)) && self.values.len() == 0 =>
                    {
                        self.values = before;
                        self.passed_over.get_or_insert(error);
                        missing
                    }
                    (taken, _) => taken,
                }
            }
            // The message of an option map already names the option.
            Some(value) => T::from_value(value),
            None => T::missing().unwrap_or_else(|| {
                let (name, expected) = (name.to_string(), T::label());
                Err(Error::of(Kind::Argument, Problem::MissingArgument { name, expected }))
            }),
        }
    }

    /// Reads the next argument of a closure, whose arguments have no names.
    pub fn take_next<T: FromValue>(&mut self) -> Result<T> {
        let which = ["first", "second", "third", "fourth"].get(self.taken).unwrap_or(&"fifth");
        let place = format!("the {which} argument of the closure");
        self.taken += 1;
        match self.values.next() {
            Some(value) => T::from_value(value).map_err(|e| e.context(place)),
            None => T::missing().unwrap_or_else(|| {
                Err(Error::argument(format!("{place} is not given: expected {}", T::label()))
                    .hint("take fewer arguments"))
            }),
        }
    }

    /// Fails if arguments are left over.
    pub fn end(&mut self) -> Result<()> {
        match (self.values.next(), self.passed_over.take()) {
            (None, _) => Ok(()),
            (Some(_), Some(error)) => Err(error),
            (Some(extra), None) => {
                Err(Error::argument(format!("one argument too many: {}", extra.describe())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::Map;

    #[test]
    fn a_map_behind_what_is_left_out_is_the_options() {
        let map = || Value::Map(Map::from([("dtype".to_string(), Value::Str("float64".to_string()))]));
        let values = [Value::Int(3), map()];
        let mut arguments = Arguments::new(&values);
        assert_eq!(arguments.take::<i64>("n").unwrap(), 3);
        assert_eq!(arguments.take::<Option<i64>>("stop").unwrap(), None);
        assert!(arguments.take::<Map>("options").unwrap().contains_key("dtype"));
        arguments.end().unwrap();
        // Without options the map is a wrong value, and an argument that must be there is not passed over.
        let mut arguments = Arguments::new(&values);
        arguments.take::<i64>("n").unwrap();
        assert_eq!(arguments.take::<Option<i64>>("stop").unwrap(), None);
        let error = arguments.end().unwrap_err().message();
        assert!(error.starts_with("argument `stop`: expected int"), "{error}");
        let mut arguments = Arguments::new(&values);
        arguments.take::<i64>("n").unwrap();
        assert!(arguments.take::<i64>("stop").is_err());
        let values = [map(), Value::Int(3)];
        assert!(Arguments::new(&values).take::<Option<i64>>("stop").is_err());
    }
}
