//! The part of Python's pickle that `torch.save` needs for weights, as data: nothing is imported or called.
//!
//! What a pickle names must stand in [`GLOBALS`], and an operation must be one of those below; anything else is an
//! error that names it. Values live in one list and refer to each other by their place, since a pickle may share them.

use crate::error::{Error, Result};

/// A value's place in [`Pickle::values`].
pub type Place = usize;

/// A value of a pickle.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text.
    Str(String),
    /// A tuple.
    Tuple(Vec<Place>),
    /// A list.
    List(Vec<Place>),
    /// A dictionary, also an ordered one.
    Dict(Vec<(Place, Place)>),
    /// A name from [`GLOBALS`], as an index into it.
    Global(usize),
    /// What the file stores outside the pickle, described by a tuple.
    Stored(Place),
    /// What the function of this name made of the arguments.
    Made(&'static str, Vec<Place>),
}

/// All that a pickle may name.
pub const GLOBALS: &[&str] = &[
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.Size",
    "torch.FloatStorage",
    "torch.DoubleStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ShortStorage",
    "torch.CharStorage",
    "torch.ByteStorage",
    "torch.BoolStorage",
    "torch.ComplexFloatStorage",
    "torch.ComplexDoubleStorage",
];

/// Names and texts longer than this are nobody's parameter.
const LONGEST_TEXT: usize = 1 << 20;

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle {
    /// Every value.
    pub values: Vec<Item>,
    /// Which of them is the content.
    pub root: Place,
}

/// Reads a pickle of protocol 2 to 5.
pub fn parse(bytes: &[u8]) -> Result<Pickle> {
    let mut machine =
        Machine { bytes, at: 0, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: Vec::new() };
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
    /// Heights of the stack.
    marks: Vec<usize>,
    /// Places by number; a pickle numbers them from 0.
    memo: Vec<Place>,
}

fn broken(what: &str) -> Error {
    Error::argument(format!("the pickle is broken: {what}"))
}

impl Machine<'_> {
    /// Carries out one operation; `true` when it was the last.
    fn step(&mut self) -> Result<bool> {
        let code = self.take(1)?[0];
        match code {
            // The protocol's number, and the length of a frame, which says nothing that is needed.
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
            0x8a => {
                let long = self.long()?;
                self.push(Item::Int(long));
            }
            b'G' => {
                let number = f64::from_be_bytes(self.array()?);
                self.push(Item::Float(number));
            }
            b'X' | b'T' => self.text(4)?,
            0x8c | b'U' => self.text(1)?,
            0x8d => self.text(8)?,
            b')' => self.push(Item::Tuple(Vec::new())),
            b']' => self.push(Item::List(Vec::new())),
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
            b'a' => {
                let item = self.pop()?;
                self.list()?.push(item);
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.list()?.extend(items);
            }
            b's' => {
                let pair = self.pop_many(2)?;
                self.dict()?.push((pair[0], pair[1]));
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                if !items.len().is_multiple_of(2) {
                    return Err(broken("a key without a value"));
                }
                self.dict()?.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
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
                self.global(&module, &name)?;
            }
            0x93 => {
                let pair = self.pop_many(2)?;
                let (Item::Str(module), Item::Str(name)) = (self.value(pair[0]), self.value(pair[1])) else {
                    return Err(broken("a name that is not a text"));
                };
                let (module, name) = (module.clone(), name.clone());
                self.global(&module, &name)?;
            }
            b'Q' => {
                let about = self.pop()?;
                self.push(Item::Stored(about));
            }
            b'R' => self.make()?,
            // The attributes of an ordered dictionary, such as the version of a module; weights need none.
            b'b' => {
                self.pop()?;
                self.dict()?;
            }
            other => {
                return Err(Error::argument(format!(
                    "the pickle holds operation 0x{other:02x}, which weights do not need"
                ))
                .hint("save a dictionary of tensors: `torch.save(model.state_dict(), path)`"));
            }
        }
        Ok(false)
    }

    /// A call. It is looked up, not carried out.
    fn make(&mut self) -> Result<()> {
        let pair = self.pop_many(2)?;
        let Item::Global(name) = *self.value(pair[0]) else {
            return Err(broken("something is called that is not a function"));
        };
        let Item::Tuple(arguments) = self.value(pair[1]).clone() else {
            return Err(broken("a function is called without arguments"));
        };
        match GLOBALS.get(name) {
            Some(&"collections.OrderedDict") if arguments.is_empty() => self.push(Item::Dict(Vec::new())),
            Some(name @ (&"torch._utils._rebuild_tensor_v2" | &"torch._utils._rebuild_parameter")) => {
                self.push(Item::Made(name, arguments));
            }
            Some(&"torch.Size") if arguments.len() == 1 => self.push(self.value(arguments[0]).clone()),
            name => {
                let name = name.copied().unwrap_or_default();
                return Err(Error::argument(format!(
                    "the pickle calls `{name}` with {} arguments, which weights do not need",
                    arguments.len()
                )));
            }
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        let full = format!("{module}.{name}");
        match GLOBALS.iter().position(|known| *known == full) {
            Some(index) => {
                self.push(Item::Global(index));
                Ok(())
            }
            None => Err(Error::argument(format!("the pickle names `{full}`, which is not loaded")).hint(
                "only tensors in dictionaries and lists are read, and nothing is executed; save \
                       `model.state_dict()` alone, or convert the file to safetensors in Python",
            )),
        }
    }

    fn value(&self, place: Place) -> &Item {
        // Places are made by `push` alone, so that each is there.
        self.values.get(place).unwrap_or(&Item::None)
    }

    fn push(&mut self, item: Item) {
        self.stack.push(self.values.len());
        self.values.push(item);
    }

    /// Nothing is taken from below a mark.
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
            Item::List(list) => Ok(list),
            _ => Err(broken("entries for something that is not a list")),
        }
    }

    fn dict(&mut self) -> Result<&mut Vec<(Place, Place)>> {
        match self.top()? {
            Item::Dict(dict) => Ok(dict),
            _ => Err(broken("entries for something that is not a dictionary")),
        }
    }

    fn remember(&mut self, number: u64) -> Result<()> {
        let place = self.pop()?;
        self.stack.push(place);
        match usize::try_from(number) {
            Ok(number) if number < self.memo.len() => self.memo[number] = place,
            Ok(number) if number == self.memo.len() => self.memo.push(place),
            _ => return Err(broken("a value is numbered out of order")),
        }
        Ok(())
    }

    fn recall(&mut self, number: u64) -> Result<()> {
        let place = usize::try_from(number).ok().and_then(|n| self.memo.get(n).copied());
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

    /// An integer of as many bytes as its first one says, in two's complement.
    fn long(&mut self) -> Result<i64> {
        let count = self.number(1)? as usize;
        if count > 8 {
            return Err(Error::argument("the pickle holds an integer of more than 64 bits"));
        }
        let bytes = self.take(count)?;
        let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let mut whole = [fill; 8];
        whole[..count].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(whole))
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
        // {"a": [1, -2, 300, 2.5], "b": (True, None)}, written down from the list of operations.
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
    fn what_is_not_weights_is_named() {
        let refused = |bytes: &[u8]| parse(bytes).unwrap_err().message().to_string();
        assert!(refused(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.").contains("`os.system`"));
        assert!(refused(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.").contains("`builtins.eval`"));
        assert!(refused(b"\x80\x02i.").contains("operation 0x69"));
        assert!(refused(b"\x80\x02ctorch\nSize\n)R.").contains("calls `torch.Size` with 0 arguments"));
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
            b"Nq\x05.",
            b"K\x01K\x02s.",
            b"}(Nu.",
            b"]Nb.",
            b"X\xff\xff\xff\xffa.",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.",
            b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00.",
            b"NN\x86R.",
            b"cabc",
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
