//! Recognition of file types by content, for messages about the wrong type of file.

/// File type that can be recognized by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PyTorch file, written by `torch.save`: a zip archive with a pickle.
    PyTorch,
    /// Python pickle outside an archive.
    Pickle,
    /// A safetensors file.
    Safetensors,
    /// One NumPy array.
    Npy,
    /// Several NumPy arrays: a zip archive of npy files.
    Npz,
    /// Any other zip archive.
    Zip,
    /// Data compressed by gzip.
    Gzip,
    /// Data compressed by zstd, xz or bzip2.
    Compressed,
    /// HDF5, including `.h5` files of Keras and `.mat` files of MATLAB.
    Hdf5,
    /// Weights of llama.cpp.
    Gguf,
    /// Parquet.
    Parquet,
    /// A PNG image.
    Png,
    /// A JPEG image.
    Jpeg,
    /// A GIF image.
    Gif,
    /// A WebP image.
    WebP,
    /// A TIFF image.
    Tiff,
    /// A BMP image.
    Bmp,
    /// Pointer that Git LFS leaves in place of a file that was not fetched.
    LfsPointer,
    /// Web page, often an error page saved in place of the file.
    Html,
    /// A JSON document.
    Json,
    /// Text in UTF-16.
    Utf16,
    /// Empty file.
    Empty,
}

/// First bytes that identify one type.
const STARTS: [(&[u8], Kind); 20] = [
    (b"\x93NUMPY", Kind::Npy),
    // An archive without entries, as `numpy.savez` writes without arrays.
    (b"PK\x05\x06", Kind::Npz),
    (b"\x1f\x8b", Kind::Gzip),
    (b"\x28\xb5\x2f\xfd", Kind::Compressed),
    (b"\xfd7zXZ\x00", Kind::Compressed),
    (b"BZh91AY&SY", Kind::Compressed),
    (b"\x89HDF\r\n\x1a\n", Kind::Hdf5),
    (b"GGUF", Kind::Gguf),
    (b"PAR1", Kind::Parquet),
    (b"\x89PNG\r\n\x1a\n", Kind::Png),
    (b"\xff\xd8\xff", Kind::Jpeg),
    (b"GIF87a", Kind::Gif),
    (b"GIF89a", Kind::Gif),
    (b"II*\x00", Kind::Tiff),
    (b"MM\x00*", Kind::Tiff),
    (b"version https://git-lfs", Kind::LfsPointer),
    (b"\xff\xfe", Kind::Utf16),
    (b"\xfe\xff", Kind::Utf16),
    (b"<!doctype html", Kind::Html),
    (b"<html", Kind::Html),
];

/// Returns the file type of the content, or `None` if its first bytes identify none.
pub fn recognize(bytes: &[u8]) -> Option<Kind> {
    if bytes.is_empty() {
        return Some(Kind::Empty);
    }
    // Checked first, since the length of the header may look like the start of any other type.
    if let Some((length, rest)) = bytes.split_first_chunk::<8>()
        && rest.first() == Some(&b'{')
        && u64::from_le_bytes(*length) <= rest.len() as u64
    {
        return Some(Kind::Safetensors);
    }
    if bytes.starts_with(b"PK\x03\x04") {
        let ends = [&bytes[..bytes.len().min(4096)], &bytes[bytes.len().saturating_sub(1 << 16)..]];
        let pickled = ends.iter().any(|part| part.windows(8).any(|name| name == b"data.pkl"));
        return Some(match (pickled, first_entry(bytes).is_some_and(|name| name.ends_with(b".npy"))) {
            (true, _) => Kind::PyTorch,
            (false, true) => Kind::Npz,
            (false, false) => Kind::Zip,
        });
    }
    if bytes[0] == 0x80 && bytes.get(1).is_some_and(|version| (2..=5).contains(version)) {
        return Some(Kind::Pickle);
    }
    // Many texts begin with these two letters, so the reserved zero bytes are checked too.
    if bytes.starts_with(b"BM") && bytes.get(6..10) == Some(&[0; 4]) {
        return Some(Kind::Bmp);
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some(Kind::WebP);
    }
    let text = &bytes[bytes.iter().take(64).take_while(|b| b.is_ascii_whitespace()).count()..];
    let starts =
        |start: &[u8]| text.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start));
    if let Some((_, kind)) = STARTS.iter().find(|(start, kind)| match kind {
        Kind::Html => starts(start),
        _ => bytes.starts_with(start),
    }) {
        return Some(*kind);
    }
    let json = matches!(text, [b'{', b'"' | b' ' | b'\n' | b'\r' | b'}', ..] | [b'[', ..]);
    (json && std::str::from_utf8(&bytes[..bytes.len().min(64)]).is_ok()).then_some(Kind::Json)
}

/// Returns the name of the first entry of a zip archive.
fn first_entry(bytes: &[u8]) -> Option<&[u8]> {
    const NAME: usize = 30;
    let length = bytes.get(26..28)?;
    bytes.get(NAME..NAME + usize::from(u16::from_le_bytes([length[0], length[1]])))
}

impl Kind {
    /// Returns the name of the type for messages, with its article.
    pub fn describe(self) -> &'static str {
        match self {
            Self::PyTorch => "a file of PyTorch (`torch.save`)",
            Self::Pickle => "a Python pickle",
            Self::Safetensors => "a safetensors file",
            Self::Npy => "an npy file of numpy",
            Self::Npz => "an npz file of numpy",
            Self::Zip => "a zip archive",
            Self::Gzip => "a file compressed by gzip",
            Self::Compressed => "a compressed file",
            Self::Hdf5 => "an HDF5 file",
            Self::Gguf => "a GGUF file of llama.cpp",
            Self::Parquet => "a Parquet file",
            Self::Png => "a PNG image",
            Self::Jpeg => "a JPEG image",
            Self::Gif => "a GIF image",
            Self::WebP => "a WebP image",
            Self::Tiff => "a TIFF image",
            Self::Bmp => "a BMP image",
            Self::LfsPointer => "a pointer of Git LFS, which stands where the file itself was not fetched",
            Self::Html => "a web page",
            Self::Json => "a JSON document",
            Self::Utf16 => "text in UTF-16",
            Self::Empty => "an empty file",
        }
    }

    /// Returns advice on what to do with such a file.
    pub fn advice(self) -> &'static str {
        match self {
            Self::PyTorch => "read it with `tensor::load(path)`, which takes .pt and .pth",
            Self::Pickle | Self::Hdf5 | Self::Gguf => {
                "convert it in Python: `safetensors.torch.save_file(tensors, path)` writes tensors by name"
            }
            Self::Parquet => {
                "images in it are opened by `data::image_folder(path)`; convert other tables in Python: \
                 `pandas.read_parquet(path).to_csv(other)`"
            }
            Self::Safetensors => "read it with `tensor::load_safetensors(path)`",
            Self::Npy => "read it with `tensor::load_npy(path)`",
            Self::Npz => "read it with `tensor::load(path)`, which gives a map of its arrays",
            Self::Zip | Self::Gzip | Self::Compressed => "unpack it first",
            Self::Png | Self::Jpeg | Self::WebP => {
                "a folder of images is opened by `data::image_folder(path)`"
            }
            Self::Gif | Self::Tiff | Self::Bmp => "convert it to PNG",
            Self::LfsPointer => "fetch it: `git lfs pull`",
            Self::Html => "the download went wrong; the page may say why",
            Self::Json => "read it with `files::read_json(path)`",
            Self::Utf16 => "save it as UTF-8",
            Self::Empty => "whoever wrote it was perhaps stopped, or the disk was full",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_tells_the_kind() {
        let safetensors = [&640u64.to_le_bytes()[..], b"{\"w\":", &[b' '; 700]].concat();
        let torch = [b"PK\x03\x04".as_slice(), &[0; 26], b"archive/data.pkl"].concat();
        let npz = [b"PK\x03\x04".as_slice(), &[0; 22], b"\x09\x00\x00\x00", b"arr_0.npydata"].concat();
        for (bytes, kind) in [
            (&npz[..], Some(Kind::Npz)),
            (&safetensors[..], Some(Kind::Safetensors)),
            (&torch, Some(Kind::PyTorch)),
            (b"PK\x03\x04rest", Some(Kind::Zip)),
            (b"\x80\x02}q\x00.", Some(Kind::Pickle)),
            (b"\x93NUMPY\x01\x00", Some(Kind::Npy)),
            (b"RIFF\x10\x00\x00\x00WEBPVP8 ", Some(Kind::WebP)),
            (b"\n<!DOCTYPE html><title>404", Some(Kind::Html)),
            (b"version https://git-lfs.github.com/spec/v1\n", Some(Kind::LfsPointer)),
            (b"{\"a\": 1}", Some(Kind::Json)),
            (b"", Some(Kind::Empty)),
            (b"a,b\n1,2\n", None),
            (b"BMI,age\n20,30\n", None),
            (b"BM\x3a\x00\x00\x00\x00\x00\x00\x00\x36", Some(Kind::Bmp)),
            (b"\x80", None),
        ] {
            assert_eq!(recognize(bytes), kind, "{bytes:?}");
        }
    }
}
