//! Image batches in npz files, as ADM's evaluator exchanges them: `arr_0` [N, H, W, 3] uint8 and labels `arr_1`.

use std::path::Path;

use super::Dataset;
use super::labels;
use super::store::{MEMORY, Store};
use crate::declare::{Choice, Options};
use crate::error::{Error, Result, list};
use crate::torch::io::{Rows, TensorFile};
use crate::torch::{DType, Device, Tensor};

/// Order of the dimensions of images in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Layout {
    /// Channels last, [N, H, W, C].
    #[default]
    Nhwc,
    /// Channels first, [N, C, H, W].
    Nchw,
}

/// Options of `npz`.
#[derive(Debug, Clone, Options)]
pub struct NpzOptions {
    /// Name of the array of images, uint8.
    #[option(default = "arr_0")]
    pub images: String,
    /// Name of the array of labels `[N]`, whole numbers; by default `arr_1` if the file has it. With `""`, or
    /// without labels, all images are of one class.
    pub labels: Option<String>,
    /// Names of further arrays [N, ..] with one row per image, which become fields of the data set.
    pub fields: Vec<String>,
    /// Order of the dimensions of the images: "nhwc" or "nchw".
    pub layout: Layout,
    /// Whether to keep all images and fields in memory. By default, arrays of up to 1 GiB are kept; larger ones are read
    /// on demand. In a compressed file that is fast in order only. The file's checksum is verified when all images have
    /// been read, those on demand in order, as for statistics.
    pub in_memory: Option<bool>,
    /// Name of the data set, recorded with every result; by default the file name.
    pub name: Option<String>,
    /// Name of the split, recorded with every result.
    #[option(default = "all")]
    pub split: String,
}

/// Opens the images of an npz file as a data set.
pub(crate) fn npz(path: &Path, options: &NpzOptions) -> Result<Dataset> {
    options.check()?;
    let mut file = TensorFile::open(path)?;
    let Some(about) = file.tensors.get(&options.images) else {
        let names = file.tensors.keys().map(String::as_str);
        return Err(Error::file(
            path,
            format!("expected images in the array `{}`, found none", options.images),
        )
        .did_you_mean(&options.images, names.clone())
        .hint(format!("the file holds {}; option `images` names the array", listed(names))));
    };
    check_images(&options.images, &about.shape, about.dtype, options.layout).map_err(|e| e.in_file(path))?;
    let count = about.shape[0];
    let bytes: i64 = about.shape.iter().product();
    let shapes = file.tensors.clone();
    let mut load = |array: &str| Ok(file.load(|name| name == array, Device::Cpu)?.tensors.remove(array));
    let store = match options.in_memory.unwrap_or(bytes <= MEMORY) {
        true => {
            let images: Option<Tensor> = load(&options.images)?;
            let images = images.ok_or_else(|| Error::internal("an array of the file is gone"))?;
            Store::Tensor(match options.layout {
                Layout::Nhwc => images.permute(&[0, 3, 1, 2])?.contiguous()?,
                Layout::Nchw => images.contiguous()?,
            })
        }
        false => Store::of_rows(Rows::open(path, &options.images)?, options.layout),
    };
    let known = || shapes.keys().map(String::as_str);
    let labels = labels::in_file(options.labels.as_deref(), "arr_1", count, known(), &mut load)
        .map_err(|e| e.in_file(path))?;
    let class_names = labels::class_names(&labels, None).map_err(|e| e.in_file(path))?;
    let stem = path.file_stem().map_or("images".to_string(), |s| s.to_string_lossy().into_owned());
    let name = options.name.as_deref().unwrap_or(&stem);
    let field = |name: &String| -> Result<(String, Store)> {
        let about = shapes.get(name).ok_or_else(|| no_field(name, known()))?;
        let bytes = about.shape.iter().product::<i64>() * about.dtype.size() as i64;
        let store = match options.in_memory.unwrap_or(bytes <= MEMORY) {
            true => Store::Tensor(load(name)?.ok_or_else(|| no_field(name, known()))?),
            false => Store::of_rows(Rows::open(path, name)?, Layout::Nchw),
        };
        Ok((name.clone(), store))
    };
    let fields = options.fields.iter().map(field).collect::<Result<_>>().map_err(|e| e.in_file(path))?;
    Dataset::of_store(store, &labels, name, &options.split, class_names)
        .and_then(|set| set.with_stored_fields(fields))
        .map_err(|e| e.in_file(path))
}

/// Returns the error of a field that a file does not have.
pub(super) fn no_field<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    Error::argument(format!("expected the field `{name}`, found none")).did_you_mean(name, known)
}

/// Returns names for a message.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "no arrays".to_string() } else { list(&names) }
}

/// Returns an error unless an array is of uint8 images of 1 or 3 channels in the given layout.
fn check_images(name: &str, shape: &[i64], dtype: DType, layout: Layout) -> Result<()> {
    let expected = match layout {
        Layout::Nhwc => "[N, H, W, 3]",
        Layout::Nchw => "[N, 3, H, W]",
    };
    let wrong = || {
        let dtype = dtype.name();
        Error::argument(format!("expected `{name}` as uint8 images {expected}, found {dtype} {shape:?}"))
    };
    let channels = |at: usize| shape.get(at).is_some_and(|size| [1, 3].contains(size));
    let (own, other) = match layout {
        Layout::Nhwc => (3, 1),
        Layout::Nchw => (1, 3),
    };
    match shape.len() {
        4 if shape.contains(&0) => Err(wrong().hint("the array has no images")),
        4 if !channels(own) && channels(other) => Err(wrong().hint(match layout {
            Layout::Nhwc => "its channels come first: open it with `data::npz(path, #{ layout: \"nchw\" })`",
            Layout::Nchw => "its channels come last: leave out the option `layout` of `data::npz`",
        })),
        4 if !channels(own) => Err(wrong().hint("images have 1 or 3 channels; decode latents first")),
        4 if dtype.is_float() => Err(wrong().hint(
            "`tensor::load(path)` reads floats; use its images if they are [N, C, H, W] in [-1, 1], or convert \
             them where they were written: `((x + 1) * 127.5).clip(0, 255).astype(\"uint8\")`",
        )),
        4 if dtype != DType::UInt8 => Err(wrong().hint("convert them to uint8 from 0 to 255")),
        4 => Ok(()),
        _ => Err(wrong().hint("`data::npz(path, #{ images: \"name\" })` opens another array of the file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    fn file(arrays: &[(&str, Tensor)]) -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("samples.npz");
        let arrays: BTreeMap<_, _> = arrays.iter().map(|(n, t)| (n.to_string(), t.clone())).collect();
        crate::torch::io::save_npz(&path, &arrays).unwrap();
        (place, path)
    }

    fn bytes(shape: &[i64]) -> Tensor {
        let count = shape.iter().product::<i64>();
        let values: Vec<u8> = (0..count).map(|i| (i * 7 % 256) as u8).collect();
        Tensor::from_u8(&values, shape).unwrap()
    }

    #[test]
    fn images_in_memory_and_on_demand_are_the_same() {
        let images = bytes(&[6, 4, 5, 3]);
        let labels = Tensor::from_i64(&[2, 0, 1, 1, 0, 2], &[6]).unwrap();
        let (_place, path) = file(&[("arr_0", images.clone()), ("arr_1", labels)]);
        let open = |in_memory| npz(&path, &NpzOptions { in_memory, ..Default::default() }).unwrap();
        let (kept, read) = (open(None), open(Some(false)));
        let expected = images.permute(&[0, 3, 1, 2]).unwrap();
        for set in [&kept, &read] {
            assert!(set.stored().load().unwrap().equal(&expected).unwrap());
            assert_eq!((set.image_shape(), set.classes(), set.name()), ([3, 4, 5], 3, "samples"));
            let some = set.subset(&[4, 5, 1, 4]).unwrap();
            let index = Tensor::from_i64(&[4, 5, 1, 4], &[4]).unwrap();
            let chosen = expected.index_select(0, &index).unwrap();
            assert!(some.stored().load().unwrap().equal(&chosen).unwrap());
            assert_eq!(some.labels().to_i64().unwrap(), [0, 2, 0, 0]);
        }
        assert_eq!(kept.stored().content_hash().unwrap(), read.stored().content_hash().unwrap());
        assert_eq!((kept.stored().bytes(), read.stored().bytes()), (360, 0));
    }

    #[test]
    fn damaged_images_are_refused_when_all_have_been_read() {
        let (_place, path) = file(&[("arr_0", bytes(&[6, 4, 5, 3]))]);
        let mut content = std::fs::read(&path).unwrap();
        content[300] ^= 1;
        std::fs::write(&path, content).unwrap();
        let open = |in_memory| npz(&path, &NpzOptions { in_memory: Some(in_memory), ..Default::default() });
        assert!(open(true).unwrap_err().message().contains("invalid checksum"));
        let set = open(false).unwrap();
        assert!(set.take(3).unwrap().images().is_ok());
        assert!(set.stored().content_hash().unwrap_err().message().contains("invalid checksum"));
    }

    #[test]
    fn labels_too_large_for_classes_are_refused() {
        for largest in [1_000_000, 20_000_000_000, i64::MAX] {
            let labels = Tensor::from_i64(&[0, largest], &[2]).unwrap();
            let (_place, path) = file(&[("arr_0", bytes(&[2, 4, 5, 3])), ("arr_1", labels)]);
            let error = npz(&path, &NpzOptions::default()).unwrap_err();
            let text = format!("expected labels from 0 to 999999, found {largest}");
            assert!(error.message().ends_with(&text), "{error}");
        }
    }

    #[test]
    fn further_arrays_are_fields_in_memory_and_on_demand() {
        let words = Tensor::from_f32(&(0..30).map(|i| i as f32).collect::<Vec<_>>(), &[6, 5]).unwrap();
        let depth = bytes(&[6, 1, 2, 2]);
        let (_place, path) =
            file(&[("arr_0", bytes(&[6, 4, 4, 3])), ("words", words.clone()), ("depth", depth)]);
        let fields = vec!["words".to_string(), "depth".to_string()];
        let open = |in_memory| {
            npz(&path, &NpzOptions { in_memory, fields: fields.clone(), ..Default::default() }).unwrap()
        };
        let (kept, read) = (open(None), open(Some(false)));
        let index = Tensor::from_i64(&[4, 5, 1, 4], &[4]).unwrap();
        for set in [&kept, &read] {
            let some = set.subset(&[4, 5, 1, 4]).unwrap().fields().unwrap();
            assert!(some.get("words").unwrap().equal(&words.index_select(0, &index).unwrap()).unwrap());
            assert_eq!(some.get("depth").unwrap().signature(), "tensor [4, 1, 2, 2] uint8");
        }
        let state =
            |set: &Dataset| set.loader(&crate::data::LoaderOptions::default()).unwrap().state().unwrap();
        assert_eq!(format!("{:?}", state(&kept)), format!("{:?}", state(&read)));
        let wrong = NpzOptions { fields: vec!["word".to_string()], ..Default::default() };
        let error = npz(&path, &wrong).unwrap_err();
        assert!(error.message().contains("expected the field `word`, found none"), "{error}");
        assert_eq!(error.hint_text(), Some("did you mean `words`?"));
    }

    #[test]
    fn arrays_that_are_no_images_are_refused_with_the_option_that_fits() {
        let refused = |array: Tensor, options: &NpzOptions| {
            let (_place, path) = file(&[("arr_0", array)]);
            let error = npz(&path, options).unwrap_err();
            (error.message(), error.hint_text().unwrap_or_default().to_string())
        };
        let options = NpzOptions::default();
        let (message, hint) = refused(bytes(&[2, 3, 8, 8]), &options);
        assert!(message.contains("expected `arr_0` as uint8 images [N, H, W, 3], found uint8 [2, 3, 8, 8]"));
        assert!(hint.contains("`data::npz(path, #{ layout: \"nchw\" })`"), "{hint}");
        let floats = bytes(&[2, 8, 8, 3]).to_dtype(DType::Float32).unwrap();
        let (message, hint) = refused(floats, &options);
        assert!(message.contains("found float32 [2, 8, 8, 3]") && hint.contains("astype"), "{message}");
        assert!(refused(bytes(&[2, 8, 8, 4]), &options).1.contains("1 or 3 channels"));
        let (_place, path) = file(&[("images", bytes(&[2, 3, 8, 8]))]);
        let error = npz(&path, &options).unwrap_err();
        assert!(error.message().contains("expected images in the array `arr_0`, found none"), "{error}");
        let named =
            NpzOptions { images: "images".to_string(), layout: Layout::Nchw, ..NpzOptions::default() };
        assert_eq!(npz(&path, &named).unwrap().image_shape(), [3, 8, 8]);
    }
}
