//! npz files of NumPy: zip archives of npy files, stored or deflated. Large arrays are read and written in parts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use zip::read::ZipFile;
use zip::write::FileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::content::Content;
use super::npy::{self, Header};
use super::{About, Loaded, parallel};
use crate::ensure;
use crate::error::{Error, Result};
use crate::files;
use crate::torch::{Device, Tensor, uninterrupted};

/// Extension of the entries of an archive.
const NPY: &str = ".npy";

/// Most bytes that one byte of a deflated entry can hold.
const MOST_DEFLATED: u64 = 1032;

/// Open npz file: the arrays are known, but not read.
pub(super) struct NpzFile {
    zip: ZipArchive<Content>,
    arrays: BTreeMap<String, Array>,
    /// Names of entries that are no arrays of numbers, and why.
    passed: Vec<String>,
}

/// An array of an archive.
#[derive(Debug, Clone)]
struct Array {
    entry: usize,
    header: Header,
    /// Position of the elements in the entry.
    start: u64,
}

impl NpzFile {
    /// Reads the list of entries and the header of each array.
    pub fn open(source: Content, path: &Path) -> Result<Self> {
        let read = || -> Result<Self> {
            let length = source.length();
            let mut zip = ZipArchive::new(source).map_err(|e| unreadable("the npz file", &e))?;
            let (mut arrays, mut passed) = (BTreeMap::new(), Vec::new());
            for entry in 0..zip.len() {
                let mut file = zip.by_index(entry).map_err(|e| unreadable("the npz file", &e))?;
                let Some(name) = file.name().strip_suffix(NPY).map(str::to_string) else {
                    passed.push(format!("`{}` (no array)", file.name()));
                    continue;
                };
                let named = |e: Error| e.context(format!("array `{name}`"));
                let size = file.size();
                let most = match file.compression() {
                    CompressionMethod::Stored => file.compressed_size(),
                    CompressionMethod::Deflated => file.compressed_size().saturating_mul(MOST_DEFLATED),
                    other => {
                        return Err(named(Error::argument(format!(
                            "expected stored or deflated, found {other}"
                        )))
                        .hint("`numpy.savez` and `numpy.savez_compressed` write npz files"));
                    }
                };
                if file.compressed_size() > length || size > most {
                    return Err(named(Error::argument("the array is larger than the file"))
                        .hint("the file may be cut short or damaged"));
                }
                let mut counted = Counted { reader: &mut file, count: 0 };
                match Header::read(&mut counted) {
                    Ok(header) => {
                        let start = counted.count;
                        let claimed = header.bytes().map_err(named)?;
                        if start.checked_add(claimed) != Some(size) {
                            return Err(named(Error::argument(format!(
                                "shape {:?} takes {claimed} bytes, found {}",
                                header.shape,
                                size.saturating_sub(start)
                            )))
                            .hint("the file may be cut short or damaged"));
                        }
                        arrays.insert(name, Array { entry, header, start });
                    }
                    Err(error) => passed.push(format!("`{name}` ({})", error.message())),
                }
            }
            Ok(Self { zip, arrays, passed })
        };
        read().map_err(|e| e.in_file(path))
    }

    /// Returns the shape and dtype of every array.
    pub fn tensors(&self) -> BTreeMap<String, About> {
        let about = |Array { header, .. }: &Array| About {
            shape: header.shape.clone(),
            dtype: header.element.dtype(),
        };
        self.arrays.iter().map(|(name, array)| (name.clone(), about(array))).collect()
    }

    /// Reads the arrays whose names are `wanted`, and verifies their checksums.
    pub fn load(&mut self, wanted: &dyn Fn(&str) -> bool, path: &Path, device: Device) -> Result<Loaded> {
        let wanted: Vec<(&String, &Array)> = self.arrays.iter().filter(|(name, _)| wanted(name)).collect();
        let bytes = wanted.iter().map(|(_, array)| array.header.bytes()).sum::<Result<u64>>()?;
        let read = |zip: &mut ZipArchive<Content>, part: usize| {
            let (name, array) = wanted[part];
            read(zip, array)
                .and_then(|tensor| tensor.to_device(device))
                .map_err(|e| e.context(format!("array `{name}`")).in_file(path))
        };
        let mut tensors = BTreeMap::new();
        parallel::in_order(&self.zip, (wanted.len(), bytes), read, |part, tensor| {
            tensors.insert(wanted[part].0.clone(), tensor);
            Ok(())
        })?;
        let notes = match self.passed.is_empty() {
            true => Vec::new(),
            false => vec![format!("skipped {}", self.passed.join(", "))],
        };
        Ok(Loaded { tensors, notes, ..Loaded::default() })
    }
}

/// Reads one array. The checksum is compared at the end of its entry.
fn read(zip: &mut ZipArchive<Content>, array: &Array) -> Result<Tensor> {
    let mut file = entry(zip, array)?;
    let failed = |e: std::io::Error| unreadable("it", &e);
    let Array { header, .. } = array;
    let tensor = if header.is_plain() {
        header.element.read(&mut file, &header.shape)?.map_err(failed)?
    } else {
        let mut bytes = Vec::new();
        file.by_ref().take(header.bytes()?).read_to_end(&mut bytes).map_err(failed)?;
        header.tensor(bytes)?
    };
    match file.read(&mut [0]).map_err(failed)? {
        0 => Ok(tensor),
        _ => Err(unreadable("it", &"it is longer than its elements")),
    }
}

/// Opens the entry of an array at its elements.
fn entry<'a>(zip: &'a mut ZipArchive<Content>, array: &Array) -> Result<ZipFile<'a>> {
    let mut file = zip.by_index(array.entry).map_err(|e| unreadable("it", &e))?;
    let skipped = std::io::copy(&mut file.by_ref().take(array.start), &mut std::io::sink());
    skipped.map_err(|e| unreadable("it", &e))?;
    Ok(file)
}

fn unreadable(what: &str, why: &dyn std::fmt::Display) -> Error {
    Error::argument(format!("{what} cannot be read: {}", why.to_string().to_lowercase()))
        .hint("the file may be cut short or damaged")
}

/// Reader that counts the bytes.
struct Counted<'a, R> {
    reader: &'a mut R,
    count: u64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(to)?;
        self.count += count as u64;
        Ok(count)
    }
}

/// An array of an npz file whose rows are read on demand, so that it never is in memory as a whole.
///
/// Stored arrays are read at any position; a deflated one is decompressed from its first byte whenever an earlier row
/// than the last one is read. The checksum covers the whole array: it is compared when the rows have been read in order,
/// from the first to the last.
#[derive(Debug)]
pub struct Rows {
    path: PathBuf,
    name: String,
    header: Header,
    /// Position of the first byte of the entry in the file, and its length.
    place: (u64, u64),
    start: u64,
    deflated: bool,
    open: Mutex<Option<Open>>,
    /// Bytes before the elements, which the checksum covers too.
    head: Vec<u8>,
    checksum: u32,
    summed: Mutex<Option<Summed>>,
}

/// Checksum of the first rows of an array.
#[derive(Debug)]
struct Summed {
    crc: Crc,
    rows: i64,
}

/// Reader that adds the bytes to a checksum.
struct Summing<'a, R> {
    reader: &'a mut R,
    crc: Option<&'a mut Crc>,
}

impl<R: Read> Read for Summing<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(to)?;
        if let Some(crc) = &mut self.crc {
            crc.update(&to[..count]);
        }
        Ok(count)
    }
}

/// Stream of a deflated array.
struct Open {
    stream: DeflateDecoder<std::io::Take<BufReader<File>>>,
    /// Number of rows that were read.
    rows: i64,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Open(row {})", self.rows)
    }
}

impl Rows {
    /// Opens the array `name` of an npz file.
    pub fn open(path: &Path, name: &str) -> Result<Self> {
        let mut npz = NpzFile::open(Content::open(path)?, path)?;
        let Some(array) = npz.arrays.remove(name) else {
            let names = npz.arrays.keys().map(String::as_str);
            return Err(Error::file(path, format!("there is no array `{name}`")).did_you_mean(name, names));
        };
        let of_array = |e: Error| e.context(format!("array `{name}`")).in_file(path);
        if !array.header.is_plain() || array.header.shape.is_empty() {
            return Err(of_array(
                Error::argument("expected rows of little-endian numbers in C order")
                    .hint("read the whole array: with `in_memory: true`, or `tensor::load(path)`"),
            ));
        }
        let mut file = npz.zip.by_index(array.entry).map_err(|e| of_array(unreadable("it", &e)))?;
        let mut head = Vec::new();
        let read = file.by_ref().take(array.start).read_to_end(&mut head);
        read.map_err(|e| of_array(unreadable("it", &e)))?;
        Ok(Self {
            path: path.to_path_buf(),
            name: name.to_string(),
            place: (file.data_start(), file.compressed_size()),
            deflated: file.compression() != CompressionMethod::Stored,
            header: array.header,
            start: array.start,
            open: Mutex::new(None),
            head,
            checksum: file.crc32(),
            summed: Mutex::new(None),
        })
    }

    /// Returns shape and dtype.
    pub fn about(&self) -> About {
        About { shape: self.header.shape.clone(), dtype: self.header.element.dtype() }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads `count` rows from `first` on.
    pub fn read(&self, first: i64, count: i64) -> Result<Tensor> {
        let rows = self.header.shape[0];
        ensure!(
            first >= 0 && count >= 0 && first + count <= rows,
            "expected some of {rows} rows, found {first} to {}",
            first + count
        );
        self.checked(first, count)
            .map_err(|e| e.context(format!("array `{}`", self.name)).in_file(&self.path))
    }

    /// Reads rows, and compares the checksum if they end a pass over all rows in order.
    fn checked(&self, first: i64, count: i64) -> Result<Tensor> {
        let kept = || self.summed.lock().unwrap_or_else(PoisonError::into_inner);
        let follows = |summed: &mut Summed| first > 0 && summed.rows == first;
        let mut summed = match first {
            0 => Some(Summed { crc: Crc::new(), rows: 0 }),
            _ => kept().take_if(follows),
        };
        if let (0, Some(summed)) = (first, &mut summed) {
            summed.crc.update(&self.head);
        }
        let tensor = self.part(first, count, summed.as_mut().map(|summed| &mut summed.crc))?;
        let Some(mut summed) = summed else { return Ok(tensor) };
        summed.rows += count;
        if summed.rows == self.header.shape[0] {
            return match summed.crc.sum() == self.checksum {
                true => Ok(tensor),
                false => Err(unreadable("it", &"invalid checksum")),
            };
        }
        *kept() = Some(summed);
        Ok(tensor)
    }

    fn part(&self, first: i64, count: i64, crc: Option<&mut Crc>) -> Result<Tensor> {
        let failed = |e: std::io::Error| unreadable("it", &e);
        let mut shape = self.header.shape.clone();
        let row = self.header.bytes()? / shape[0].max(1) as u64;
        shape[0] = count;
        let file = || File::open(&self.path).map_err(failed);
        let at = |file: &mut dyn Seek, position: u64| file.seek(SeekFrom::Start(position)).map_err(failed);
        if !self.deflated {
            let mut file = file()?;
            at(&mut file, self.place.0 + self.start + first as u64 * row)?;
            let mut file = Summing { reader: &mut file, crc };
            return self.header.element.read(&mut file, &shape)?.map_err(failed);
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stream = match open.take().filter(|open| open.rows <= first) {
            Some(open) => open,
            None => {
                let mut file = BufReader::new(file()?);
                at(&mut file, self.place.0)?;
                let mut stream = DeflateDecoder::new(file.take(self.place.1));
                skip(&mut stream, self.start).map_err(failed)?;
                Open { stream, rows: 0 }
            }
        };
        skip(&mut stream.stream, (first - stream.rows) as u64 * row).map_err(failed)?;
        let mut summing = Summing { reader: &mut stream.stream, crc };
        let tensor = self.header.element.read(&mut summing, &shape)?.map_err(failed)?;
        stream.rows = first + count;
        *open = Some(stream);
        Ok(tensor)
    }
}

fn skip(stream: &mut impl Read, count: u64) -> std::io::Result<()> {
    match std::io::copy(&mut stream.take(count), &mut std::io::sink())? == count {
        true => Ok(()),
        false => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Writer of the arrays of an npz file, one after another.
pub struct NpzWriter<'a> {
    zip: ZipWriter<Until<'a>>,
    path: &'a Path,
    /// Shape of a row and number of rows that are missing of the current array.
    missing: (Vec<i64>, i64),
}

/// Writes an npz file atomically; `fill` writes its arrays. They are stored and not compressed, as by `numpy.savez`,
/// and equal arrays give equal files.
pub fn write_npz(path: &Path, fill: impl FnOnce(&mut NpzWriter) -> Result<()>) -> Result<()> {
    files::check_extension(path, &["npz"])?;
    files::write_with(path, |file| {
        let zip = ZipWriter::new(Until { file, failure: None });
        let mut writer = NpzWriter { zip, path, missing: (Vec::new(), 0) };
        fill(&mut writer)?;
        writer.check()?;
        let written = writer.zip.finish().map_err(|e| Error::file(path, e.to_string()))?;
        written.failure.map_or(Ok(()), |e| Err(files::failed(path, &e)))
    })
}

/// A file up to its first error, which is kept; later bytes are dropped. The library ends an archive even after an
/// error, and would print a second one.
struct Until<'a> {
    file: &'a mut File,
    failure: Option<std::io::Error>,
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.failure.is_none() {
            match self.file.write(bytes) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Err(error),
                Err(error) => self.failure = Some(error),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Until<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

/// Writes tensors atomically as an npz file.
pub fn save_npz(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    uninterrupted(|| {
        write_npz(path, |npz| tensors.iter().try_for_each(|(name, tensor)| npz.array(name, tensor)))
    })
}

impl NpzWriter<'_> {
    /// Writes a whole array.
    pub fn array(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        let head = npy::head(&tensor.shape(), tensor.dtype()).map_err(|e| e.context(format!("`{name}`")))?;
        self.start(name, &head, tensor.bytes())?;
        self.bytes(&tensor.to_bytes()?)
    }

    /// Starts an array whose rows follow in calls of [`rows`](Self::rows).
    pub fn array_of_rows(&mut self, name: &str, about: &About) -> Result<()> {
        let head = npy::head(&about.shape, about.dtype)?;
        let count: i64 = about.shape.iter().product();
        self.start(name, &head, count as u64 * about.dtype.size() as u64)?;
        self.missing = (about.shape[1..].to_vec(), about.shape[0]);
        Ok(())
    }

    /// Writes the next rows of the current array.
    pub fn rows(&mut self, rows: &Tensor) -> Result<()> {
        let shape = rows.shape();
        let (row, missing) = &mut self.missing;
        ensure!(
            shape[1..] == row[..] && shape[0] <= *missing,
            "expected at most {missing} rows of {row:?}, found {shape:?}"
        );
        *missing -= shape[0];
        self.bytes(&rows.to_bytes()?)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.missing.1 == 0, "{} rows of an array were not written", self.missing.1);
        Ok(())
    }

    fn start(&mut self, name: &str, head: &[u8], bytes: u64) -> Result<()> {
        self.check()?;
        let options = FileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .large_file(bytes + head.len() as u64 >= u64::from(u32::MAX));
        self.zip
            .start_file(format!("{name}{NPY}"), options)
            .map_err(|e| Error::file(self.path, e.to_string()))?;
        self.bytes(head)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.zip.write_all(bytes).map_err(|e| files::failed(self.path, &e))
    }
}

/// Parses the content of an npz file; `path` is used in messages.
pub fn parse_npz(bytes: Vec<u8>, path: &Path) -> Result<Loaded> {
    NpzFile::open(bytes.into(), path)?.load(&|_| true, path, Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::io::load_named;

    fn counting(shape: &[i64]) -> Tensor {
        let values: Vec<u8> = (0..shape.iter().product::<i64>()).map(|i| (i % 251) as u8).collect();
        Tensor::from_u8(&values, shape).unwrap()
    }

    /// Writes an archive as `numpy.savez_compressed` does.
    fn deflated(path: &Path, arrays: &[(&str, &Tensor)]) {
        let mut zip = ZipWriter::new(File::create(path).unwrap());
        for (name, tensor) in arrays {
            let options = FileOptions::default().compression_method(CompressionMethod::Deflated);
            zip.start_file(format!("{name}.npy"), options).unwrap();
            zip.write_all(&npy::head(&tensor.shape(), tensor.dtype()).unwrap()).unwrap();
            zip.write_all(&tensor.to_bytes().unwrap()).unwrap();
        }
        zip.finish().unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_one_plain_error() {
        let array = BTreeMap::from([("a".to_string(), counting(&[3000]))]);
        let error = save_npz(Path::new("/dev/full"), &array).unwrap_err();
        assert_eq!(error.message(), "/dev/full: no space left on the disk");
    }

    #[test]
    fn arrays_come_back_from_stored_and_deflated_files() {
        let folder = tempfile::tempdir().unwrap();
        let (stored, packed) = (folder.path().join("a.npz"), folder.path().join("b.npz"));
        let images = counting(&[7, 4, 5, 3]);
        let means = Tensor::from_f64(&[1.5, -2.0], &[2]).unwrap();
        let all = BTreeMap::from([("arr_0".to_string(), images.clone()), ("mu".to_string(), means.clone())]);
        save_npz(&stored, &all).unwrap();
        deflated(&packed, &[("arr_0", &images), ("mu", &means)]);
        for path in [&stored, &packed] {
            let loaded = load_named(path, Device::Cpu).unwrap();
            assert!(loaded.tensors["arr_0"].equal(&images).unwrap() && loaded.notes.is_empty());
            assert_eq!(loaded.tensors["mu"].to_f64().unwrap(), [1.5, -2.0]);
            let rows = Rows::open(path, "arr_0").unwrap();
            // Forward, over a gap, and back.
            for (first, count) in [(0, 2), (2, 1), (5, 2), (1, 3), (0, 7)] {
                let expected = images.narrow(0, first, count).unwrap();
                assert!(rows.read(first, count).unwrap().equal(&expected).unwrap(), "{first}, {count}");
            }
            assert!(rows.read(6, 2).is_err());
            assert_eq!(Rows::open(path, "arr_1").unwrap_err().hint_text(), Some("did you mean `arr_0`?"));
        }
        let bytes = std::fs::read(&stored).unwrap();
        save_npz(&stored, &all).unwrap();
        assert_eq!(std::fs::read(&stored).unwrap(), bytes);
    }

    #[test]
    fn rows_are_written_in_parts_and_must_be_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parts.npz");
        let images = counting(&[5, 2, 2, 3]);
        let about = About { shape: images.shape(), dtype: images.dtype() };
        let write = |parts: &[(i64, i64)]| {
            write_npz(&path, |npz| {
                npz.array_of_rows("arr_0", &about)?;
                parts.iter().try_for_each(|(first, count)| npz.rows(&images.narrow(0, *first, *count)?))
            })
        };
        write(&[(0, 2), (2, 3)]).unwrap();
        assert!(load_named(&path, Device::Cpu).unwrap().tensors["arr_0"].equal(&images).unwrap());
        assert!(write(&[(0, 2)]).unwrap_err().message().contains("3 rows of an array were not written"));
        assert!(write(&[(0, 5), (0, 1)]).unwrap_err().message().contains("at most 0 rows"));
        // The file of the whole array is still there.
        assert!(load_named(&path, Device::Cpu).is_ok());
    }

    #[test]
    fn cut_and_damaged_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        save_npz(&path, &BTreeMap::from([("arr_0".to_string(), counting(&[40, 2, 2, 3]))])).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let refused = |bytes: &[u8]| parse_npz(bytes.to_vec(), &path).unwrap_err();
        for length in 0..whole.len() {
            let error = refused(&whole[..length]);
            assert!(error.message().contains("a.npz"), "{length} bytes: {error}");
        }
        let cut = refused(&whole[..whole.len() / 2]);
        assert!(cut.message().contains("the npz file cannot be read"), "{cut}");
        assert_eq!(cut.hint_text(), Some("the file may be cut short or damaged"));
        let mut changed = whole.clone();
        changed[300] ^= 1;
        assert!(refused(&changed).message().contains("array `arr_0`: it cannot be read: invalid checksum"));
    }

    #[test]
    fn rows_read_in_order_are_compared_with_the_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let (path, packed) = (folder.path().join("a.npz"), folder.path().join("b.npz"));
        let images = counting(&[40, 2, 2, 3]);
        save_npz(&path, &BTreeMap::from([("arr_0".to_string(), images.clone())])).unwrap();
        deflated(&packed, &[("arr_0", &images)]);
        for path in [&path, &packed] {
            let rows = Rows::open(path, "arr_0").unwrap();
            for parts in
                [&[(0, 40)][..], &[(0, 10), (10, 25), (3, 2), (35, 5)], &[(0, 20), (0, 30), (30, 10)]]
            {
                parts.iter().for_each(|(first, count)| assert!(rows.read(*first, *count).is_ok()));
            }
        }
        let mut changed = std::fs::read(&path).unwrap();
        changed[300] ^= 1;
        std::fs::write(&path, changed).unwrap();
        let rows = Rows::open(&path, "arr_0").unwrap();
        for start in [0, 10, 20, 30] {
            let read = rows.read(start, 10);
            assert_eq!(read.is_ok(), start < 30);
            let told = "array `arr_0`: it cannot be read: invalid checksum";
            assert!(read.is_ok() || read.unwrap_err().message().contains(told));
        }
    }

    #[test]
    fn objects_are_passed_over_with_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        let header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n";
        zip.start_file("names.npy", FileOptions::default()).unwrap();
        zip.write_all(b"\x93NUMPY\x01\x00").unwrap();
        zip.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
        zip.write_all(header.as_bytes()).unwrap();
        zip.finish().unwrap();
        let loaded = load_named(&path, Device::Cpu).unwrap();
        assert!(loaded.tensors.is_empty());
        assert!(
            loaded.notes[0].starts_with("skipped `names` (the file holds Python objects"),
            "{:?}",
            loaded.notes
        );
    }
}
