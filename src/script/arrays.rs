//! Functions of arrays, maps and ranges that call a function of the script for their entries.
//!
//! rhai's own take every result that is not a bool for `false`, and `sort` and `dedup` lose the errors of their
//! function.

use std::mem;
use std::ops::{Range, RangeInclusive};

use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, Map, NativeCallContext};

use super::failure::{At, raise_in};
use super::names;
use crate::declare::Value;
use crate::error::Error;

type Done<T> = Result<T, Box<EvalAltResult>>;
type Call<'a> = NativeCallContext<'a>;

/// Replaces the functions.
pub fn register(engine: &mut Engine) {
    for name in ["sort", "sort_by"] {
        engine.register_fn(name, move |call: Call, array: &mut Array, order: FnPtr| -> Done<()> {
            let sorted =
                sorted(array.clone(), &mut |left, right| comes_first(&call, name, &order, right, left))?;
            *array = sorted;
            Ok(())
        });
    }
    engine.register_fn("dedup", |call: Call, array: &mut Array, same: FnPtr| -> Done<()> {
        let mut kept = Array::new();
        for entry in array.iter() {
            let repeats = match kept.last() {
                Some(last) => {
                    let result = same.call_raw(&call, None, [Dynamic::clone(last), entry.clone()])?;
                    truth(&call, "dedup", result)?
                }
                None => false,
            };
            if !repeats {
                kept.push(entry.clone());
            }
        }
        *array = kept;
        Ok(())
    });
    engine.register_fn("filter", |call: Call, array: &mut Array, test: FnPtr| -> Done<Array> {
        Ok(split(&call, "filter", array.clone(), &test)?.0)
    });
    engine.register_fn("retain", |call: Call, array: &mut Array, test: FnPtr| -> Done<Array> {
        Ok(replaced(array, split(&call, "retain", array.clone(), &test)?))
    });
    engine.register_fn("drain", |call: Call, array: &mut Array, test: FnPtr| -> Done<Array> {
        let (removed, kept) = split(&call, "drain", array.clone(), &test)?;
        Ok(replaced(array, (kept, removed)))
    });
    engine.register_fn("some", |call: Call, array: &mut Array, test: FnPtr| -> Done<bool> {
        Ok(first(&call, "some", array, &test, 0, true)?.is_some())
    });
    engine.register_fn("all", |call: Call, array: &mut Array, test: FnPtr| -> Done<bool> {
        Ok(first(&call, "all", array, &test, 0, false)?.is_none())
    });
    engine.register_fn("index_of", |call: Call, array: &mut Array, test: FnPtr| -> Done<i64> {
        index(first(&call, "index_of", array, &test, 0, true)?)
    });
    engine.register_fn("index_of", |call: Call, array: &mut Array, test: FnPtr, start: i64| -> Done<i64> {
        index(first(&call, "index_of", array, &test, start, true)?)
    });
    engine.register_fn("find", |call: Call, array: &mut Array, test: FnPtr| -> Done<Dynamic> {
        let found = first(&call, "find", array, &test, 0, true)?;
        Ok(found.map_or(Dynamic::UNIT, |i| array[i].clone()))
    });
    engine.register_fn("find", |call: Call, array: &mut Array, test: FnPtr, start: i64| -> Done<Dynamic> {
        let found = first(&call, "find", array, &test, start, true)?;
        Ok(found.map_or(Dynamic::UNIT, |i| array[i].clone()))
    });
    engine.register_fn("map", |call: Call, range: Range<i64>, change: FnPtr| mapped(&call, range, &change));
    engine.register_fn("map", |call: Call, range: RangeInclusive<i64>, change: FnPtr| {
        mapped(&call, *range.start()..range.end().saturating_add(1), &change)
    });
    engine.register_fn("to_json", |call: Call, map: Map| -> Done<String> {
        // A function may have captured the map itself, for which rhai would wait for ever.
        let error = match map.values().any(has_captured) {
            false => match serde_json::to_string(&map) {
                Ok(text) => return Ok(text),
                Err(error) => Error::argument(format!("the map has no form in JSON: {error}")),
            },
            true => Error::argument("a function that captured variables has no form in JSON")
                .hint("leave it out: `m.filter(|k, v| type_of(v) != \"Fn\").to_json()`"),
        };
        Err(raise_in(error, "to_json", At::of(&call)))
    });
    engine.register_fn("filter", |call: Call, map: &mut Map, test: FnPtr| -> Done<Map> {
        Ok(divide(&call, "filter", map.clone(), &test)?.0)
    });
    engine.register_fn("retain", |call: Call, map: &mut Map, test: FnPtr| -> Done<Map> {
        Ok(replaced(map, divide(&call, "retain", map.clone(), &test)?))
    });
    engine.register_fn("drain", |call: Call, map: &mut Map, test: FnPtr| -> Done<Map> {
        let (removed, kept) = divide(&call, "drain", map.clone(), &test)?;
        Ok(replaced(map, (kept, removed)))
    });
}

/// Keeps the first of two parts in a place, and returns the other.
fn replaced<T>(place: &mut T, (kept, removed): (T, T)) -> T {
    *place = kept;
    removed
}

/// Returns what the function makes of each number of a range.
fn mapped(call: &Call, range: Range<i64>, change: &FnPtr) -> Done<Array> {
    let numbers = Value::entries(range.start, range.end);
    let numbers = numbers.map_err(|error| raise_in(error, "map", At::of(call)))?;
    let number = |i: i64| {
        let index = [(i - range.start).into()];
        change.call_raw_with_extra_args("map", call, Some(&mut i.into()), [], index, Some(0))
    };
    numbers.map(number).collect()
}

fn index(found: Option<usize>) -> Done<i64> {
    Ok(found.and_then(|i| i64::try_from(i).ok()).unwrap_or(-1))
}

/// Returns the type of a value as scripts name it.
fn kind(call: &Call, value: &Dynamic) -> String {
    match value.is_unit() {
        true => "`()`".to_string(),
        false => names::word(call.engine().map_type_name(value.type_name())).to_string(),
    }
}

/// Returns the bool that a function returned, or an error for anything else.
fn truth(call: &Call, name: &str, result: Dynamic) -> Done<bool> {
    result.as_bool().map_err(|_| {
        let found = kind(call, &result);
        let error =
            Error::argument(format!("{name}: expected a function that returns a bool, found {found}"))
                .hint("compare in it, as in `|x| x > 0`; a tensor becomes a bool with `.item()`");
        raise_in(error, name, At::of(call))
    })
}

/// Returns what the function says of an entry, which it receives as its parameter or as `this`, followed by the index.
fn holds(call: &Call, name: &str, test: &FnPtr, entry: &mut Dynamic, index: usize) -> Done<bool> {
    let index = [i64::try_from(index).unwrap_or(i64::MAX).into()];
    truth(call, name, test.call_raw_with_extra_args(name, call, Some(entry), [], index, Some(0))?)
}

/// Returns the index of the first entry, from `start` on, of which the function says `wanted`. A negative start counts
/// from the end.
fn first(
    call: &Call,
    name: &str,
    array: &mut Array,
    test: &FnPtr,
    start: i64,
    wanted: bool,
) -> Done<Option<usize>> {
    let length = i64::try_from(array.len()).unwrap_or(i64::MAX);
    let start = if start < 0 { start.saturating_add(length).max(0) } else { start.min(length) };
    for (i, entry) in array.iter_mut().enumerate().skip(start as usize) {
        if holds(call, name, test, entry, i)? == wanted {
            return Ok(Some(i));
        }
    }
    Ok(None)
}

/// Returns the entries of which the function says `true`, and the others.
fn split(call: &Call, name: &str, array: Array, test: &FnPtr) -> Done<(Array, Array)> {
    let (mut those, mut others) = (Array::new(), Array::new());
    for (i, mut entry) in array.into_iter().enumerate() {
        match holds(call, name, test, &mut entry, i)? {
            true => those.push(entry),
            false => others.push(entry),
        }
    }
    Ok((those, others))
}

/// Returns the entries of a map of which the function says `true`, and the others. It receives the key and the value.
fn divide(call: &Call, name: &str, map: Map, test: &FnPtr) -> Done<(Map, Map)> {
    let (mut those, mut others) = (Map::new(), Map::new());
    for (key, mut value) in map {
        let given = [key.clone().into()];
        let result = test.call_raw_with_extra_args(name, call, Some(&mut value), given, [], Some(1))?;
        match truth(call, name, result)? {
            true => those.insert(key, value),
            false => others.insert(key, value),
        };
    }
    Ok((those, others))
}

/// Returns whether `left` must stand before `right`: a function of both returns a negative number, or `true`.
fn comes_first(call: &Call, name: &str, order: &FnPtr, left: &Dynamic, right: &Dynamic) -> Done<bool> {
    let result = order.call_raw(call, None, [left.clone(), right.clone()])?;
    let found = match (result.as_int(), result.as_float(), result.as_bool()) {
        (Ok(sign), _, _) => return Ok(sign < 0),
        (_, Ok(sign), _) if !sign.is_nan() => return Ok(sign < 0.0),
        (_, _, Ok(less)) => return Ok(less),
        (_, Ok(_), _) => "NaN".to_string(),
        _ => kind(call, &result),
    };
    let error = Error::argument(format!(
        "{name}: expected a function that returns a number or a bool, found {found}"
    ))
    .hint("`|a, b| a.loss - b.loss` and `|a, b| a.loss < b.loss` put the lowest loss first");
    Err(raise_in(error, name, At::of(call)))
}

/// Sorts by merging, which keeps the order of equal entries, stops at the first error, and ends for every function,
/// even one that contradicts itself. `right_first` says whether its second argument must stand before its first one.
fn sorted(mut array: Array, right_first: &mut impl FnMut(&Dynamic, &Dynamic) -> Done<bool>) -> Done<Array> {
    if array.len() < 2 {
        return Ok(array);
    }
    let right = sorted(array.split_off(array.len() / 2), right_first)?;
    let left = sorted(array, right_first)?;
    let mut merged = Array::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    let (mut a, mut b) = (left.next(), right.next());
    loop {
        let taken = match (&a, &b) {
            (Some(x), Some(y)) if right_first(x, y)? => mem::replace(&mut b, right.next()),
            (Some(_), _) => mem::replace(&mut a, left.next()),
            (None, Some(_)) => mem::replace(&mut b, right.next()),
            (None, None) => return Ok(merged),
        };
        merged.extend(taken);
    }
}

/// Returns whether a value is or holds a function that captured variables.
fn has_captured(value: &Dynamic) -> bool {
    if let Some(function) = value.read_lock::<FnPtr>() {
        return !function.curry().is_empty();
    }
    if let Some(map) = value.read_lock::<Map>() {
        return map.values().any(has_captured);
    }
    value.read_lock::<Array>().is_some_and(|array| array.iter().any(has_captured))
}
