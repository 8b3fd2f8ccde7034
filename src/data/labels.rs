//! Labels stored in a file beside its images.

use super::npz::listed;
use crate::error::{Error, Result};
use crate::torch::{DType, Device, Tensor};

/// Returns the labels `[N]` of a file, int64: those of the array `given`, which must exist, or else those of the array
/// with the usual name, if the file has one. An empty name means no labels; without labels all images are of class 0.
///
/// `arrays` are the names in the file, and `load` reads one of them.
pub fn in_file<'a>(
    given: Option<&str>,
    usual: &str,
    count: i64,
    arrays: impl Iterator<Item = &'a str> + Clone,
    load: impl FnOnce(&str) -> Result<Option<Tensor>>,
) -> Result<Tensor> {
    let name = given.unwrap_or(usual);
    let there = arrays.clone().any(|array| array == name);
    if name.is_empty() || (given.is_none() && !there) {
        return Tensor::zeros(&[count], DType::Int64, Device::Cpu);
    }
    match load(name)? {
        Some(labels) => class_numbers(&labels, count).map_err(|e| e.context(format!("`{name}`"))),
        None => Err(Error::argument(format!("expected labels in the array `{name}`, found none"))
            .did_you_mean(name, arrays.clone())
            .hint(format!("the file holds {}; option `labels` names the array", listed(arrays)))),
    }
}

/// Most classes of a data set.
pub const CLASSES: i64 = 1_000_000;

/// Returns the numbers of the classes as names: of as many as given, or up to the largest of the labels `[N]`, which must
/// not be so large that their names take the memory.
pub fn class_names(labels: &Tensor, classes: Option<i64>) -> Result<Vec<String>> {
    let largest = if labels.count() > 0 { labels.amax(&[], false)?.item_i64()? } else { 0 };
    if classes.is_none() && largest >= CLASSES {
        let text = format!("expected labels from 0 to {}, found {largest}", CLASSES - 1);
        return Err(Error::argument(text).hint(
            "labels are numbers of classes, which are counted from 0: number them anew if they are not",
        ));
    }
    Ok((0..classes.unwrap_or_else(|| largest.max(0) + 1)).map(|i| i.to_string()).collect())
}

/// Returns how labels with a second dimension of this size become numbers of classes.
pub fn advice(columns: i64) -> &'static str {
    match columns {
        1 => "store the numbers of the classes as [N]: `labels.squeeze(1)`",
        _ => "store the numbers of the classes; of one row per image they are `labels.argmax(1)`",
    }
}

/// Converts labels to int64; floats must be whole numbers.
fn class_numbers(labels: &Tensor, count: i64) -> Result<Tensor> {
    let wrong = |hint: &str| {
        let text = format!("expected {count} labels [{count}], one per image, found {}", labels.signature());
        Error::argument(text).hint(hint)
    };
    if labels.rank() == 2 && labels.shape()[0] == count {
        return Err(wrong(advice(labels.shape()[1])));
    }
    if labels.shape() != [count] {
        return Err(wrong("option `labels` names another array, and `\"\"` means that there are no labels"));
    }
    if labels.dtype().is_complex() || labels.dtype() == DType::Bool {
        return Err(wrong("labels are integers from 0 up"));
    }
    let numbers = labels.to_dtype(DType::Int64)?;
    if labels.dtype().is_float() && !numbers.to_dtype(labels.dtype())?.equal(labels)? {
        return Err(wrong("they are not whole numbers; labels are integers from 0 up"));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: Option<&str>, array: &Tensor) -> Result<Vec<i64>> {
        in_file(given, "arr_1", 2, ["arr_0", "arr_1"].into_iter(), |name| {
            Ok((name == "arr_1").then(|| array.clone()))
        })?
        .to_i64()
    }

    #[test]
    fn whole_numbers_of_any_type_are_labels() {
        let ints = Tensor::from_i64(&[3, 1], &[2]).unwrap();
        for labels in
            [ints.clone(), ints.to_dtype(DType::Float32).unwrap(), ints.to_dtype(DType::UInt8).unwrap()]
        {
            assert_eq!(read(None, &labels).unwrap(), [3, 1]);
            assert_eq!(read(Some("arr_1"), &labels).unwrap(), [3, 1]);
            assert_eq!(read(Some(""), &labels).unwrap(), [0, 0]);
        }
    }

    #[test]
    fn labels_that_are_missing_or_something_else_are_refused() {
        let half = Tensor::from_f64(&[0.0, 1.5], &[2]).unwrap();
        let error = read(None, &half).unwrap_err();
        assert!(error.hint_text().unwrap().contains("whole numbers"), "{error}");
        let rows = Tensor::from_i64(&[0, 1, 1, 0], &[2, 2]).unwrap();
        assert!(read(None, &rows).unwrap_err().hint_text().unwrap().contains("argmax(1)"));
        let error = read(Some("lables"), &half).unwrap_err();
        assert!(error.message().contains("expected labels in the array `lables`, found none"), "{error}");
        assert!(error.hint_text().unwrap().contains("the file holds `arr_0`, `arr_1`"), "{error}");
        let none = in_file(None, "arr_1", 2, ["arr_0"].into_iter(), |_| Ok(None)).unwrap();
        assert_eq!(none.to_i64().unwrap(), [0, 0]);
    }
}
