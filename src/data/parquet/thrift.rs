//! Values of Thrift's compact protocol, in which Parquet stores its footer and the headers of its pages.

/// Most levels of nesting; Parquet has 6.
const DEEPEST: usize = 16;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// A truth value.
    Bool(bool),
    /// A whole number of any size.
    Int(i64),
    /// A floating-point number, which Parquet does not use.
    Float,
    /// Bytes or text.
    Bytes(&'a [u8]),
    /// A list or set.
    List(Vec<Value<'a>>),
    /// Values by number.
    Struct(Vec<(i16, Value<'a>)>),
}

impl<'a> Value<'a> {
    /// Reads a struct from the start of some bytes, and returns it with its length. There is none if the bytes end before, or
    /// are something else.
    pub fn read(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let mut reader = Reader { bytes, at: 0 };
        let value = reader.structure(0)?;
        Some((value, reader.at))
    }

    /// Returns a value of a struct.
    pub fn field(&self, number: i16) -> Option<&Self> {
        match self {
            Self::Struct(fields) => fields.iter().find(|(n, _)| *n == number).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Returns a whole number of a struct.
    pub fn int(&self, number: i16) -> Option<i64> {
        match self.field(number) {
            Some(Self::Int(i)) => Some(*i),
            _ => None,
        }
    }

    /// Returns a number of a struct that counts something or is a position.
    pub fn count(&self, number: i16) -> Option<u64> {
        u64::try_from(self.int(number)?).ok()
    }

    /// Returns a truth value of a struct.
    pub fn flag(&self, number: i16) -> Option<bool> {
        match self.field(number) {
            Some(Self::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// Returns a text of a struct; bytes that are no UTF-8 are replaced.
    pub fn text(&self, number: i16) -> Option<String> {
        match self.field(number) {
            Some(Self::Bytes(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        }
    }

    /// Returns a list of a struct.
    pub fn list(&self, number: i16) -> Option<&[Self]> {
        match self.field(number) {
            Some(Self::List(list)) => Some(list),
            _ => None,
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let (number, length) = varint(self.bytes.get(self.at..)?)?;
        self.at += length;
        Some(number)
    }

    fn structure(&mut self, depth: usize) -> Option<Value<'a>> {
        if depth > DEEPEST {
            return None;
        }
        let (mut fields, mut last) = (Vec::new(), 0i16);
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(Value::Struct(fields));
            }
            last = match head >> 4 {
                0 => i16::try_from(zigzag(self.number()?)).ok()?,
                step => last.checked_add(i16::from(step))?,
            };
            let value = match head & 15 {
                1 => Value::Bool(true),
                2 => Value::Bool(false),
                kind => self.value(kind, depth)?,
            };
            fields.push((last, value));
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Option<Value<'a>> {
        Some(match kind {
            // In a list a truth value takes a byte.
            1 | 2 => Value::Bool(self.byte()? == 1),
            3 => Value::Int(i64::from(self.byte()? as i8)),
            4..=6 => Value::Int(zigzag(self.number()?)),
            7 => {
                self.take(8)?;
                Value::Float
            }
            8 => {
                let length = self.number()?;
                Value::Bytes(self.take(length)?)
            }
            9 | 10 if depth < DEEPEST => {
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => self.number()?,
                    few => u64::from(few),
                };
                let mut list = Vec::new();
                for _ in 0..count {
                    list.push(self.value(head & 15, depth + 1)?);
                }
                Value::List(list)
            }
            12 => self.structure(depth + 1)?,
            _ => return None,
        })
    }
}

/// Reads a number of 7 bits a byte, and returns it with its length.
pub fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0;
    for (place, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((number, place + 1));
        }
    }
    None
}

/// Returns the signed number that is stored as 2n, or -2n - 1 if it is negative.
pub fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struct_is_read_and_a_cut_one_is_none() {
        // 1: -3, 2: true, 20: "ab", 21: [1, 2], 22: {1: false}
        let bytes = [0x15, 5, 0x11, 8, 40, 2, b'a', b'b', 0x19, 0x25, 2, 4, 0x1c, 0x12, 0, 0, 99];
        let (value, length) = Value::read(&bytes).unwrap();
        assert_eq!(length, bytes.len() - 1);
        assert_eq!((value.int(1), value.flag(2), value.text(20)), (Some(-3), Some(true), Some("ab".into())));
        assert_eq!(value.list(21), Some(&[Value::Int(1), Value::Int(2)][..]));
        assert_eq!(value.field(22).and_then(|inner| inner.flag(1)), Some(false));
        assert_eq!(value.count(1), None);
        for cut in 0..length {
            assert_eq!(Value::read(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(Value::read(&[0x1c; 100]), None);
        assert_eq!(varint(&[0xff; 11]), None);
    }
}
