//! Parser that reads Python pickles as data: nothing is imported, called or built.
//!
//! Numbers, texts and containers become values. A global is kept as its name, and a call is kept as the name with
//! its arguments ([`Item::Made`]), so that the reader of weights can use those that it knows and skip the rest. All
//! values are in one list and refer to each other by index, since a pickle may share them; every value takes memory
//! in proportion to the bytes that created it.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// Index of a value in [`Pickle::values`].
pub type Place = usize;

/// Value of a pickle.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A longer integer: two's complement, least significant byte first.
    Long(Vec<u8>),
    /// A float.
    Float(f64),
    /// Text.
    Str(String),
    /// Bytes, which weights never need; only their number is kept, where it is known.
    Bytes(usize),
    /// A tuple.
    Tuple(Vec<Place>),
    /// A list, or the entries of a set.
    List(Vec<Place>),
    /// A dictionary, ordered or not.
    Dict(Vec<(Place, Place)>),
    /// A global name: the indices of the module's name and its own.
    Global(Place, Place),
    /// A persistent object, stored outside the pickle and described by a tuple.
    Stored(Place),
    /// Result of a call of `function`, which is not carried out.
    Made {
        /// Function that would be called.
        function: Place,
        /// Arguments, a tuple.
        arguments: Place,
        /// Parts added after the call: state, entries and attributes.
        parts: Vec<Place>,
    },
}

/// Maximum length of a name or text; no parameter has a longer one.
const LONGEST_TEXT: usize = 1 << 20;

/// Parsed pickle.
#[derive(Debug)]
pub struct Pickle {
    /// All values.
    pub values: Vec<Item>,
    /// Index of the value that is the content.
    pub root: Place,
}

impl Pickle {
    /// Returns the value at an index.
    pub fn item(&self, place: Place) -> &Item {
        self.values.get(place).unwrap_or(&Item::None)
    }

    /// Returns the full name of an [`Item::Global`], such as `torch.FloatStorage`.
    pub fn name(&self, place: Place) -> Option<String> {
        match self.item(place) {
            Item::Global(module, name) => match (self.item(*module), self.item(*name)) {
                (Item::Str(module), Item::Str(name)) => Some(format!("{module}.{name}")),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns for every value whether `is` accepts it or a value that it contains.
    pub fn holding(&self, is: impl Fn(&Item) -> bool) -> Vec<bool> {
        // Edges from each value to its containers, so that one traversal answers for all values.
        let mut held: Vec<(Place, Place)> = Vec::new();
        for (holder, item) in self.values.iter().enumerate() {
            match item {
                Item::Tuple(items) | Item::List(items) => held.extend(items.iter().map(|i| (*i, holder))),
                Item::Dict(pairs) => {
                    pairs.iter().for_each(|(key, value)| held.extend([(*key, holder), (*value, holder)]));
                }
                Item::Made { function, arguments, parts } => {
                    held.extend([(*function, holder), (*arguments, holder)]);
                    held.extend(parts.iter().map(|part| (*part, holder)));
                }
                _ => {}
            }
        }
        held.sort_unstable();
        let mut open: Vec<Place> = (0..self.values.len()).filter(|place| is(self.item(*place))).collect();
        let mut holding = vec![false; self.values.len()];
        while let Some(place) = open.pop() {
            if std::mem::replace(&mut holding[place], true) {
                continue;
            }
            let start = held.partition_point(|(value, _)| *value < place);
            let holders = held[start..].iter().take_while(|(value, _)| *value == place);
            open.extend(holders.map(|(_, holder)| *holder).filter(|holder| !holding[*holder]));
        }
        holding
    }
}

/// Parses a pickle of protocol 2 to 5.
pub fn parse(bytes: &[u8]) -> Result<Pickle> {
    let mut machine = Machine {
        bytes,
        at: 0,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    loop {
        if machine.step()? {
            let root = machine.pop()?;
            return Ok(Pickle { values: machine.values, root });
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Item>,
    stack: Vec<Place>,
    /// Stack heights at marks.
    marks: Vec<usize>,
    /// Indices of values by memo number.
    memo: HashMap<u64, Place>,
}

fn broken(what: &str) -> Error {
    Error::argument(format!("the pickle is broken: {what}"))
}

impl Machine<'_> {
    /// Executes one operation; returns `true` after the last.
    fn step(&mut self) -> Result<bool> {
        let code = self.take(1)?[0];
        match code {
            // The protocol number and the length of a frame are not needed.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'.' => return Ok(true),
            b'N' => self.push(Item::None),
            0x88 => self.push(Item::Bool(true)),
            0x89 => self.push(Item::Bool(false)),
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Item::Int(number.into()));
            }
            b'K' => {
                let number = self.number(1)?;
                self.push(Item::Int(number as i64));
            }
            b'M' => {
                let number = self.number(2)?;
                self.push(Item::Int(number as i64));
            }
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => {
                let number = f64::from_be_bytes(self.array()?);
                self.push(Item::Float(number));
            }
            b'X' | b'T' => self.text(4)?,
            0x8c | b'U' => self.text(1)?,
            0x8d => self.text(8)?,
            b'C' => self.skip(1)?,
            b'B' => self.skip(4)?,
            0x8e | 0x96 => self.skip(8)?,
            b')' => self.push(Item::Tuple(Vec::new())),
            b']' | 0x8f => self.push(Item::List(Vec::new())),
            b'}' => self.push(Item::Dict(Vec::new())),
            b'(' => self.marks.push(self.stack.len()),
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Item::Tuple(items));
            }
            0x85..=0x87 => {
                let count = usize::from(code - 0x84);
                let items = self.pop_many(count)?;
                self.push(Item::Tuple(items));
            }
            0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Item::List(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.list()?.push(item);
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.list()?.extend(items);
            }
            b's' => {
                let pair = self.pop_many(2)?;
                self.put(&pair)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                if !items.len().is_multiple_of(2) {
                    return Err(broken("a key without a value"));
                }
                self.put(&items)?;
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let place = self.pop()?;
                self.stack.extend([place, place]);
            }
            b'q' => {
                let number = self.number(1)?;
                self.remember(number)?;
            }
            b'r' => {
                let number = self.number(4)?;
                self.remember(number)?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'h' => {
                let number = self.number(1)?;
                self.recall(number)?;
            }
            b'j' => {
                let number = self.number(4)?;
                self.recall(number)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let pair = [module, name].map(|text| self.add(Item::Str(text)));
                self.push(Item::Global(pair[0], pair[1]));
            }
            0x93 => {
                let pair = self.pop_many(2)?;
                let (Item::Str(_), Item::Str(_)) = (self.value(pair[0]), self.value(pair[1])) else {
                    return Err(broken("a name that is not a text"));
                };
                self.push(Item::Global(pair[0], pair[1]));
            }
            b'Q' => {
                let about = self.pop()?;
                self.push(Item::Stored(about));
            }
            // A call, an object of a class, and an object with named arguments.
            b'R' | 0x81 => {
                let pair = self.pop_many(2)?;
                self.make(pair[0], pair[1], Vec::new())?;
            }
            0x92 => {
                let three = self.pop_many(3)?;
                self.make(three[0], three[1], vec![three[2]])?;
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                let pair = [module, name].map(|text| self.add(Item::Str(text)));
                let items = self.pop_to_mark()?;
                let (function, arguments) =
                    (self.add(Item::Global(pair[0], pair[1])), self.add(Item::Tuple(items)));
                self.make(function, arguments, Vec::new())?;
            }
            b'o' => {
                let mut items = self.pop_to_mark()?;
                if items.is_empty() {
                    return Err(broken("an object without a class"));
                }
                let function = items.remove(0);
                let arguments = self.add(Item::Tuple(items));
                self.make(function, arguments, Vec::new())?;
            }
            b'b' => {
                let state = self.pop()?;
                match self.top()? {
                    Item::Made { parts, .. } => parts.push(state),
                    // Attributes of an ordered dictionary, such as the version of a module, are not needed for
                    // weights.
                    Item::Dict(_) => {}
                    _ => return Err(broken("attributes for something that has none")),
                }
            }
            other => {
                return Err(Error::argument(format!(
                    "the pickle contains operation 0x{other:02x}, which files of weights do not need"
                ))
                .hint("save a dictionary of tensors: `torch.save(model.state_dict(), path)`"));
            }
        }
        Ok(false)
    }

    /// Records a call, which is never carried out. The results of a few functions that make containers are known.
    fn make(&mut self, function: Place, arguments: Place, parts: Vec<Place>) -> Result<()> {
        let Item::Tuple(given) = self.value(arguments) else {
            return Err(broken("a function call without a tuple of arguments"));
        };
        if !matches!(self.value(function), Item::Global(..)) {
            return Err(broken("a call of something that is not a function"));
        }
        let only = match given[..] {
            [only] => Some(only),
            _ => None,
        };
        let none = given.is_empty();
        let text = |place: Place| match self.value(place) {
            Item::Str(text) => text.as_str(),
            _ => "",
        };
        let Item::Global(module, name) = *self.value(function) else { return Ok(()) };
        match (text(module), text(name)) {
            ("collections", "OrderedDict") if none => self.push(Item::Dict(Vec::new())),
            ("collections", "OrderedDict") if only.is_some_and(|o| self.pairs(o).is_some()) => {
                let pairs = only.and_then(|place| self.pairs(place)).unwrap_or_default();
                self.push(Item::Dict(pairs));
            }
            // Bytes, as protocol 2 writes them.
            ("_codecs", "encode") => self.push(Item::Bytes(0)),
            // The argument is the factory of missing entries.
            ("collections", "defaultdict") => self.push(Item::Dict(Vec::new())),
            ("torch", "Size") if only.is_some_and(|o| matches!(self.value(o), Item::Tuple(_))) => {
                self.stack.extend(only);
            }
            _ => self.push(Item::Made { function, arguments, parts }),
        }
        Ok(())
    }

    /// Returns the entries of a list of pairs.
    fn pairs(&self, list: Place) -> Option<Vec<(Place, Place)>> {
        let Item::List(items) = self.value(list) else { return None };
        let pair = |place: &Place| match self.value(*place) {
            Item::List(pair) | Item::Tuple(pair) if pair.len() == 2 => Some((pair[0], pair[1])),
            _ => None,
        };
        items.iter().map(pair).collect()
    }

    /// Adds alternating keys and values.
    fn put(&mut self, items: &[Place]) -> Result<()> {
        match self.top()? {
            Item::Dict(dict) => dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            Item::Made { parts, .. } => parts.extend(items),
            _ => return Err(broken("entries for something that is not a dictionary")),
        }
        Ok(())
    }

    fn value(&self, place: Place) -> &Item {
        // Only `push` creates indices, so each is valid.
        self.values.get(place).unwrap_or(&Item::None)
    }

    fn push(&mut self, item: Item) {
        let place = self.add(item);
        self.stack.push(place);
    }

    /// Adds a value without pushing it on the stack.
    fn add(&mut self, item: Item) -> Place {
        self.values.push(item);
        self.values.len() - 1
    }

    /// Pops a value; never takes one from below a mark.
    fn pop(&mut self) -> Result<Place> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => self.stack.pop().ok_or_else(|| broken("the stack is empty")),
            false => Err(broken("the stack is empty")),
        }
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Place>> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        items.reverse();
        Ok(items)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Place>> {
        let mark = self.marks.pop().ok_or_else(|| broken("a mark is missing"))?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Result<&mut Item> {
        let place = self.pop()?;
        self.stack.push(place);
        self.values.get_mut(place).ok_or_else(|| broken("the stack is empty"))
    }

    fn list(&mut self) -> Result<&mut Vec<Place>> {
        match self.top()? {
            Item::List(list) | Item::Made { parts: list, .. } => Ok(list),
            _ => Err(broken("entries for something that is not a list")),
        }
    }

    fn remember(&mut self, number: u64) -> Result<()> {
        let place = self.pop()?;
        self.stack.push(place);
        self.memo.insert(number, place);
        Ok(())
    }

    fn recall(&mut self, number: u64) -> Result<()> {
        let place = self.memo.get(&number).copied();
        self.stack.push(place.ok_or_else(|| broken("a value is used that was not given a number"))?);
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let part =
            end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| broken("it is cut short"))?;
        self.at += count;
        Ok(part)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| broken("it is cut short"))
    }

    fn number(&mut self, bytes: usize) -> Result<u64> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    /// Reads an integer in two's complement whose size in bytes is given by the `length` bytes before it.
    fn long(&mut self, length: usize) -> Result<()> {
        let count = self.number(length)? as usize;
        let bytes = self.take(count)?;
        let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let item = match count {
            0..=8 => {
                let mut whole = [fill; 8];
                whole[..count].copy_from_slice(bytes);
                Item::Int(i64::from_le_bytes(whole))
            }
            _ => Item::Long(bytes.to_vec()),
        };
        self.push(item);
        Ok(())
    }

    /// Skips bytes whose number is given by the `length` bytes before them.
    fn skip(&mut self, length: usize) -> Result<()> {
        let count = usize::try_from(self.number(length)?).map_err(|_| broken("it is cut short"))?;
        self.take(count)?;
        self.push(Item::Bytes(count));
        Ok(())
    }

    fn text(&mut self, length: usize) -> Result<()> {
        let length = self.number(length)?;
        if length > LONGEST_TEXT as u64 {
            return Err(broken("a text longer than a megabyte"));
        }
        let text = std::str::from_utf8(self.take(length as usize)?)
            .map_err(|_| broken("a text that is not UTF-8"))?;
        let text = text.to_string();
        self.push(Item::Str(text));
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest
            .iter()
            .take(1000)
            .position(|b| *b == b'\n')
            .ok_or_else(|| broken("a name without an end"))?;
        let line =
            std::str::from_utf8(&rest[..end]).map_err(|_| broken("a name that is not UTF-8"))?.to_string();
        self.at += end + 1;
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_texts_and_containers_by_hand() {
        // {"a": [1, -2, 300, 2.5], "b": (True, None)}, written by hand from the list of operations.
        let mut bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00a]q\x01(K\x01J\xfe\xff\xff\xffM\x2c\x01G".to_vec();
        bytes.extend(2.5f64.to_be_bytes());
        bytes.extend(b"eX\x01\x00\x00\x00b\x88N\x86u.");
        let Pickle { values, root } = parse(&bytes).unwrap();
        let Item::Dict(pairs) = &values[root] else { panic!("{values:?}") };
        let Item::List(list) = &values[pairs[0].1] else { panic!("{values:?}") };
        let list: Vec<&Item> = list.iter().map(|place| &values[*place]).collect();
        assert_eq!(list, [&Item::Int(1), &Item::Int(-2), &Item::Int(300), &Item::Float(2.5)]);
        let Item::Tuple(pair) = &values[pairs[1].1] else { panic!("{values:?}") };
        assert_eq!([&values[pair[0]], &values[pair[1]]], [&Item::Bool(true), &Item::None]);
        assert_eq!(parse(b"\x80\x02\x8a\x01\x80.").map(|p| p.values).unwrap(), [Item::Int(-128)]);
    }

    #[test]
    fn integers_of_any_length_are_read() {
        let only = |bytes: &[u8]| parse(bytes).map(|p| p.values).unwrap();
        assert_eq!(only(b"\x80\x02\x8a\x00."), [Item::Int(0)]);
        // 2^64 - 5 takes nine bytes, since the top bit of the eighth would be the sign.
        let nine = [251, 255, 255, 255, 255, 255, 255, 255, 0];
        assert_eq!(only(&[b"\x80\x02\x8a\x09", &nine[..], b"."].concat()), [Item::Long(nine.to_vec())]);
        let many = vec![1u8; 300];
        assert_eq!(
            only(&[b"\x80\x02\x8b\x2c\x01\x00\x00", &many[..], b"."].concat()),
            [Item::Long(many.clone())]
        );
    }

    #[test]
    fn calls_are_kept_as_names_and_never_made() {
        let made = |bytes: &[u8]| {
            let pickle = parse(bytes).unwrap();
            let Item::Made { function, parts, .. } = pickle.item(pickle.root) else { panic!("{pickle:?}") };
            (pickle.name(*function).unwrap(), parts.len())
        };
        assert_eq!(made(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R."), ("os.system".into(), 0));
        // An object of a class with attributes, in today's form, with named arguments, and in two old forms.
        assert_eq!(made(b"\x80\x02cargparse\nNamespace\n)\x81}b."), ("argparse.Namespace".into(), 1));
        assert_eq!(made(b"\x80\x04\x8c\x01m\x8c\x01C\x93)}\x92."), ("m.C".into(), 1));
        assert_eq!(made(b"\x80\x02(im\nC\n."), ("m.C".into(), 0));
        assert_eq!(made(b"\x80\x02(cm\nC\nK\x01o."), ("m.C".into(), 0));
        // Entries of a custom class that is a list or a dictionary.
        assert_eq!(made(b"\x80\x02cm\nC\n)\x81(K\x01K\x02e."), ("m.C".into(), 2));
        assert_eq!(made(b"\x80\x02cm\nC\n)\x81K\x01K\x02s."), ("m.C".into(), 2));
        assert_eq!(parse(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.").unwrap().values.len(), 3);
    }

    /// A few bytes that repeat the same arguments many times take memory in proportion to the bytes alone.
    #[test]
    fn shared_arguments_are_not_copied() {
        let mut bytes = b"\x80\x02(".to_vec();
        bytes.extend([b'N'; 10_000]);
        bytes.extend(b"tq\x00cm\nf\nq\x01");
        for _ in 0..10_000 {
            bytes.extend(b"h\x01h\x00R0");
        }
        bytes.extend(b"N.");
        let held: usize = parse(&bytes)
            .unwrap()
            .values
            .iter()
            .map(|item| match item {
                Item::Tuple(items) | Item::List(items) => items.len(),
                Item::Made { parts, .. } => parts.len(),
                _ => 0,
            })
            .sum();
        assert_eq!(held, 10_000);
    }

    #[test]
    fn broken_pickles_are_refused() {
        for bytes in [
            &b""[..],
            b"\x80\x02",
            b".",
            b"t.",
            b"(.",
            b"N(.",
            b"h\x00.",
            b"K\x01K\x02s.",
            b"}(Nu.",
            b"]Nb.",
            b"\x80\x02I1\n.",
            b"N(o.",
            b"\x8b\xff\xff\xff\xff\x00.",
            b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffa.",
            b"X\xff\xff\xff\xffa.",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.",
            b"\x8a\x09\x00.",
            b"NN\x86R.",
            b"cabc",
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
