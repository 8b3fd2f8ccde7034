//! npy files, which hold one tensor each.

use std::io::Read;
use std::path::Path;

use super::content::Content;
use super::open::kind_of;
use super::{Element, not_a};
use crate::error::{Error, Result};
use crate::files::{self, Kind};
use crate::torch::{DType, Device, Tensor};

/// NumPy's names of element types, without the byte order.
const NUMPY: [(&str, DType); 11] = [
    ("f4", DType::Float32),
    ("f8", DType::Float64),
    ("f2", DType::Float16),
    ("i8", DType::Int64),
    ("i4", DType::Int32),
    ("i2", DType::Int16),
    ("i1", DType::Int8),
    ("u1", DType::UInt8),
    ("b1", DType::Bool),
    ("c8", DType::Complex64),
    ("c16", DType::Complex128),
];

/// NumPy's unsigned integer types, which can be read but not written.
const UNSIGNED: [(&str, Element); 3] =
    [("u2", Element::Unsigned(2)), ("u4", Element::Unsigned(4)), ("u8", Element::Unsigned(8))];

/// Writes a tensor atomically as an npy file (format 1.0), which does not support bfloat16.
pub fn save_npy(path: &Path, tensor: &Tensor) -> Result<()> {
    let head = head(&tensor.shape(), tensor.dtype())?;
    files::check_extension(path, &["npy"])?;
    files::write(path, [head, tensor.to_bytes()?].concat())
}

/// Returns everything of an npy file that precedes the elements.
pub(super) fn head(shape: &[i64], dtype: DType) -> Result<Vec<u8>> {
    let (name, _) = NUMPY.iter().find(|(_, d)| *d == dtype).ok_or_else(|| {
        Error::argument(format!("npy has no {}", dtype.name())).hint("convert it first: `.to(\"float32\")`")
    })?;
    let order = if dtype.size() == 1 { '|' } else { '<' };
    let sizes: Vec<String> = shape.iter().map(i64::to_string).collect();
    let comma = if sizes.len() == 1 { "," } else { "" };
    let mut header = format!(
        "{{'descr': '{order}{name}', 'fortran_order': False, 'shape': ({}{comma}), }}",
        sizes.join(", ")
    );
    // The data starts at a multiple of 64 bytes and the header ends with a line feed.
    let padding = 63 - (10 + header.len()) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let length = u16::try_from(header.len())
        .map_err(|_| Error::argument("the tensor has too many dimensions for an npy header"))?;
    Ok([MAGIC, b"\x01\x00", &length.to_le_bytes(), header.as_bytes()].concat())
}

/// Reads an npy file of numbers or bools, in either byte order and either storage order.
pub fn load_npy(path: &Path, device: Device) -> Result<Tensor> {
    read(Content::open(path)?).and_then(|t| t.to_device(device)).map_err(|e| e.in_file(path))
}

/// Parses the content of an npy file; the tensor is on the CPU.
pub fn parse_npy(bytes: Vec<u8>) -> Result<Tensor> {
    read(bytes.into())
}

/// Reads the content of an npy file; the tensor is on the CPU.
pub(super) fn read(mut content: Content) -> Result<Tensor> {
    let failed = |e: std::io::Error| Error::argument(format!("the file cannot be read: {e}"));
    let kind = kind_of(&mut content).map_err(failed)?;
    if kind != Some(Kind::Npy) {
        let unknown = Error::argument("this is not an npy file").hint("`numpy.save` writes npy files");
        return Err(not_a(Kind::Npy, kind, unknown));
    }
    let header = Header::read(&mut content)?;
    if header.is_plain() && header.bytes()? == content.left() {
        return header.element.read(&mut content, &header.shape)?.map_err(failed);
    }
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes).map_err(failed)?;
    header.tensor(bytes)
}

/// First bytes of an npy file.
const MAGIC: &[u8] = b"\x93NUMPY";

/// Maximum length of a header, more than that of any array.
const LONGEST_HEADER: usize = 1 << 20;

/// Header of an npy file.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub element: Element,
    swapped: bool,
    fortran: bool,
    pub shape: Vec<i64>,
}

impl Header {
    /// Reads everything that precedes the elements.
    pub fn read(reader: &mut dyn Read) -> Result<Self> {
        let mut read = |length: usize| -> Result<Vec<u8>> {
            let mut bytes = vec![0; length];
            reader.read_exact(&mut bytes).map_err(|_| Error::argument("the file is cut short"))?;
            Ok(bytes)
        };
        if read(MAGIC.len())? != MAGIC {
            return Err(Error::argument("this is not an npy file").hint("`numpy.save` writes npy files"));
        }
        let length = match read(2)?[0] {
            1 => 2,
            2 | 3 => 4,
            other => return Err(Error::argument(format!("npy format {other} is not known"))),
        };
        let length = read(length)?.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte));
        if length > LONGEST_HEADER {
            return Err(Error::argument(format!("an npy header of {length} bytes is impossibly long")));
        }
        Self::parse(&String::from_utf8_lossy(&read(length)?))
    }

    /// Returns whether the elements are those of a tensor in memory, byte for byte.
    pub fn is_plain(&self) -> bool {
        !self.swapped && !self.fortran
    }

    /// Returns the number of bytes of the elements.
    pub fn bytes(&self) -> Result<u64> {
        let all = self.shape.iter().try_fold(self.element.size() as i64, |n, size| n.checked_mul(*size));
        all.map(|n| n as u64)
            .ok_or_else(|| Error::argument(format!("shape {:?} is impossibly large", self.shape)))
    }

    /// Parses the Python dictionary, whose three entries may come in any order.
    fn parse(text: &str) -> Result<Self> {
        let value = |key: &str| {
            let quoted = ['\'', '"'].map(|quote| format!("{quote}{key}{quote}"));
            let (_, rest) = quoted.iter().find_map(|key| text.split_once(key.as_str())).unwrap_or_default();
            rest.trim_start()
                .strip_prefix(':')
                .map(str::trim_start)
                .ok_or_else(|| Error::argument(format!("the npy header has no `{key}`")))
        };
        let descr = value("descr")?;
        // Python 2 prefixes Unicode strings with `u`.
        let descr = descr.strip_prefix('u').unwrap_or(descr);
        let descr =
            ['\'', '"'].into_iter().find_map(|quote| Some(descr.strip_prefix(quote)?.split_once(quote)?.0));
        let Some(descr) = descr.filter(|d| d.len() >= 2 && d.is_ascii()) else {
            return Err(Error::argument("npy files of records are not supported")
                .hint("save each field as an array of its own"));
        };
        let (order, name) = descr.split_at(1);
        let native = NUMPY.iter().map(|(name, dtype)| (*name, Element::Native(*dtype)));
        let element = native.chain(UNSIGNED).find(|(known, _)| *known == name).map(|(_, element)| element);
        let element = element.ok_or_else(|| match name {
            _ if name.starts_with('O') => {
                Error::argument("the file holds Python objects, which are never loaded")
            }
            _ => Error::argument(format!("npy dtype '{descr}' is not supported"))
                .hint("save float, int, bool or complex arrays, of at most 8 bytes a number"),
        })?;
        let (shape, _) = value("shape")?
            .strip_prefix('(')
            .and_then(|s| s.split_once(')'))
            .ok_or_else(|| Error::argument("the npy header has no shape"))?;
        let shape = shape
            .split(',')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            // Python 2 writes long integers as 3L.
            .map(|s| s.strip_suffix('L').unwrap_or(s).parse::<i64>().ok().filter(|s| *s >= 0))
            .collect::<Option<Vec<i64>>>()
            .ok_or_else(|| Error::argument("the npy header has an invalid shape"))?;
        let fortran = value("fortran_order")?.starts_with("True");
        Ok(Self { element, swapped: order == ">", fortran, shape })
    }

    /// Creates the tensor of the elements, which must be all and no more.
    pub fn tensor(&self, mut data: Vec<u8>) -> Result<Tensor> {
        let (size, claimed) = (self.element.size(), self.bytes()?);
        if claimed != data.len() as u64 {
            return Err(Error::argument(format!(
                "shape {:?} of {size} bytes each takes {claimed} bytes, found {}",
                self.shape,
                data.len()
            ))
            .hint(match claimed > data.len() as u64 {
                true => "the file may be cut short",
                false => "more follows the array; several `numpy.save` into one file are not read",
            }));
        }
        if self.swapped {
            // Both parts of a complex number are byte-swapped separately.
            let complex = matches!(self.element, Element::Native(dtype) if dtype.is_complex());
            let unit = if complex { size / 2 } else { size };
            data.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
        }
        if !self.fortran {
            return self.element.tensor(&data, &self.shape);
        }
        let reversed: Vec<i64> = self.shape.iter().rev().copied().collect();
        let order: Vec<i64> = (0..self.shape.len() as i64).rev().collect();
        self.element.tensor(&data, &reversed)?.permute(&order)?.contiguous()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn numpy_byte_and_storage_orders_are_understood() {
        let header = "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n";
        let data: Vec<u8> = [1i16, 4, 2, 5, 3, 6].iter().flat_map(|i| i.to_be_bytes()).collect();
        let tensor = parse_npy(npy(header, &data)).unwrap();
        assert_eq!((tensor.shape(), tensor.to_i64().unwrap()), (vec![2, 3], vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn unsigned_integers_and_headers_of_python_2_are_understood() {
        let read = |descr: &str, shape: &str, data: &[u8]| {
            let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
            parse_npy(npy(&header, data)).map(|t| (t.dtype(), t.to_i64().unwrap()))
        };
        assert_eq!(read("'<u2'", "(2L,)", &[1, 0, 255, 255]).unwrap(), (DType::Int32, vec![1, 65535]));
        assert_eq!(read("'>u2'", "(1L, 2L)", &[0, 1, 255, 255]).unwrap(), (DType::Int32, vec![1, 65535]));
        assert_eq!(read("u'<u4'", "(1,)", &[255; 4]).unwrap(), (DType::Int64, vec![4294967295]));
        assert_eq!(read("\"<u8\"", "()", &7u64.to_le_bytes()).unwrap(), (DType::Int64, vec![7]));
        assert!(read("'<u8'", "(1,)", &[255; 8]).unwrap_err().message().contains("does not fit int64"));
    }

    #[test]
    fn lying_and_broken_npy_files_are_refused() {
        let refused = |bytes: Vec<u8>| parse_npy(bytes).unwrap_err().message();
        let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000000,), }";
        assert!(refused(npy(huge, &[0; 8])).contains("bytes, found 8"));
        let larger = "{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 4000000000), }";
        assert!(refused(npy(larger, &[])).contains("impossibly large"));
        let object = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }";
        assert!(refused(npy(object, &[])).contains("never loaded"));
        assert_eq!(refused(b"\x93NUMPY\x01\x00\xff\xff{".to_vec()), "the file is cut short");
        assert_eq!(refused(b"no array".to_vec()), "this is not an npy file");
        assert_eq!(refused(b"PK\x03\x04".to_vec()), "expected an npy file of numpy, found a zip archive");
        let whole = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", &[0; 8]);
        for length in 0..whole.len() {
            assert!(parse_npy(whole[..length].to_vec()).is_err(), "{length} bytes");
        }
    }
}
