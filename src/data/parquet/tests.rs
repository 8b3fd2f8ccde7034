//! Files written by pyarrow 26.0.1 with `tests/parity/parquet.py`, against the same images in a folder.

use std::path::{Path, PathBuf};

use super::super::folder::{ImageFolderOptions, OnError};
use super::super::noted::noted;
use super::super::{Dataset, LoaderOptions};
use crate::error::Result;
use crate::torch::Tensor;

/// Files with the twelve images, in which `train-*` are the two that the hub would have.
const ALL: [&str; 6] = [
    "train-*.parquet",
    "plain.parquet",
    "zstd_v2.parquet",
    "gzip.parquet",
    "snappy_v2.parquet",
    "lengths.parquet",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parquet").join(name)
}

fn options() -> ImageFolderOptions {
    ImageFolderOptions { size: 6, ..Default::default() }
}

fn opened(name: &str, options: &ImageFolderOptions) -> Result<Dataset> {
    Ok(noted(&[fixture(name)], options)?.0)
}

/// Returns the message and the hint of the error of a file.
fn refused(name: &str, options: &ImageFolderOptions) -> String {
    let error = opened(name, options).unwrap_err();
    assert!(error.message().contains(name), "{error}");
    format!("{}; {}", error.message(), error.hint_text().unwrap_or_default())
}

/// Returns the images of the folder in the order of the rows, of which row 4 has those of row 1.
fn images() -> Tensor {
    opened("images", &options()).unwrap().images().unwrap()
}

#[test]
fn rows_are_the_images_of_a_folder_bit_for_bit() {
    let expected = std::fs::read(fixture("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    let labels: Vec<i64> =
        expected["labels"].as_array().unwrap().iter().map(|label| label.as_i64().unwrap()).collect();
    let images = images();
    let loading = LoaderOptions { batch: 5, seed: 3, ..LoaderOptions::default() };
    for name in ALL {
        let sets = [Some(true), Some(false)].map(|in_memory| {
            let options = ImageFolderOptions { in_memory, ..options() };
            opened(name, &options).unwrap()
        });
        for set in &sets {
            assert_eq!(set.class_names(), ["ant", "bee", "cat"], "{name}");
            assert_eq!(set.labels().to_i64().unwrap(), labels, "{name}");
            assert!(set.images().unwrap().equal(&images).unwrap(), "{name}");
            let some = set.subset(&[11, 0, 7, 7]).unwrap().images().unwrap();
            let places = Tensor::from_i64(&[11, 0, 7, 7], &[4]).unwrap();
            assert!(some.equal(&images.index_select(0, &places).unwrap()).unwrap(), "{name}");
        }
        let loaders = sets.map(|set| set.loader(&loading).unwrap());
        for _ in 0..4 {
            let [a, b] = [&loaders[0], &loaders[1]].map(|loader| loader.next().unwrap());
            assert!(a.images.equal(&b.images).unwrap() && a.labels.equal(&b.labels).unwrap(), "{name}");
        }
    }
}

#[test]
fn files_have_a_name_and_captions_are_reported() {
    let (set, notes) = noted(&[fixture("train-*.parquet")], &options()).unwrap();
    assert_eq!((set.name(), set.len()), ("train", 12));
    assert!(notes.contains("the captions in the column `text` are not read"), "{notes}");
    let parts = ["train-00001-of-00002.parquet", "train-00000-of-00002.parquet"].map(fixture);
    let (set, _) = noted(&parts, &options()).unwrap();
    assert_eq!(set.labels().to_i64().unwrap()[..5], [1, 0, 0, 1, 2]);
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(place.path().join("hub/data")).unwrap();
    for part in &parts {
        std::fs::copy(part, place.path().join("hub/data").join(part.file_name().unwrap())).unwrap();
    }
    let (set, _) = noted(&[place.path().join("hub")], &options()).unwrap();
    assert_eq!((set.name(), set.len()), ("hub", 12));
    assert!(set.images().unwrap().equal(&images()).unwrap());
}

#[test]
fn numbers_and_lists_become_fields() {
    for name in &ALL[..5] {
        let options = ImageFolderOptions { fields: vec!["embedding".into(), "score".into()], ..options() };
        let set = opened(name, &options).unwrap().subset(&[10, 3]).unwrap();
        let fields = set.fields().unwrap();
        let embedding = fields.get("embedding").unwrap();
        assert_eq!(embedding.shape(), [2, 3], "{name}");
        assert_eq!(embedding.to_f64().unwrap(), [10.0, 5.0, -1.0, 3.0, 1.5, -1.0], "{name}");
        assert_eq!(fields.get("score").unwrap().to_f64().unwrap(), [2.5, 0.75], "{name}");
    }
    let options = ImageFolderOptions { fields: vec!["text".into()], ..options() };
    assert!(
        refused("plain.parquet", &options)
            .contains("expected numbers or lists of numbers in the column `text`")
    );
    let options = ImageFolderOptions { fields: vec!["embeding".into()], ..options };
    assert!(refused("plain.parquet", &options).contains("embedding"));
}

#[test]
fn columns_are_found_or_named() {
    let set = opened("binary.parquet", &options()).unwrap();
    assert_eq!(set.class_names(), ["cat", "dog"]);
    assert_eq!(set.labels().to_i64().unwrap(), [1, 0, 1]);
    let plain = ImageFolderOptions { label_column: Some(String::new()), ..options() };
    assert_eq!(opened("binary.parquet", &plain).unwrap().class_names(), ["images"]);
    let by_id = ImageFolderOptions { label_column: Some("id".into()), ..options() };
    assert_eq!(opened("binary.parquet", &by_id).unwrap().class_names(), ["x", "y", "z"]);
    let message = refused("two.parquet", &options());
    assert!(message.contains("expected one column of images, found `before`, `after`"), "{message}");
    let after = ImageFolderOptions { image_column: Some("after".into()), ..options() };
    let set = opened("two.parquet", &after).unwrap();
    let expected = images().narrow(0, 2, 2).unwrap();
    assert!(set.images().unwrap().equal(&expected).unwrap());
    let wrong = ImageFolderOptions { image_column: Some("label".into()), ..options() };
    let message = refused("plain.parquet", &wrong);
    assert!(
        message.contains("expected images in the column `label`, binary or a struct of bytes, found int64"),
        "{message}"
    );
    let wrong = ImageFolderOptions { label_column: Some("score".into()), ..options() };
    assert!(
        refused("plain.parquet", &wrong).contains("expected names or whole numbers in the column `score`")
    );
    let csv = ImageFolderOptions { labels: Some("labels.csv".into()), ..options() };
    let error = opened("plain.parquet", &csv).unwrap_err();
    assert!(error.message().contains("`labels` is for folders"), "{error}");
    let folder = ImageFolderOptions { image_column: Some("image".into()), ..options() };
    let error = opened("images", &folder).unwrap_err();
    assert!(error.message().contains("`image_column` belongs to Parquet files"), "{error}");
}

#[test]
fn files_without_images_say_what_they_hold() {
    for (name, part) in [
        ("none.parquet", "expected a column of images, found `text` (string), `n` (float64)"),
        ("lists.parquet", "`images` has several images in a row: write a row for each"),
        ("empty.parquet", "expected rows with images, found none"),
        ("brotli.parquet", "expected no compression, or snappy, gzip or zstd, found brotli"),
        ("encrypted.parquet", "the Parquet file is encrypted"),
        ("encrypted_columns.parquet", "the Parquet file is encrypted"),
        ("unlabeled.parquet", "expected a class from 0 to 2, found -1; test sets of the hub have no classes"),
    ] {
        let message = refused(name, &options());
        assert!(message.contains(part), "{name}: {message}");
    }
    let plain = ImageFolderOptions { label_column: Some(String::new()), ..options() };
    assert_eq!(opened("unlabeled.parquet", &plain).unwrap().len(), 1);
}

#[test]
fn rows_without_an_image_or_a_class_are_named_or_skipped() {
    let message = refused("missing.parquet", &options());
    assert!(message.contains("1 row has no class: ") && message.contains("row 2"), "{message}");
    let plain = ImageFolderOptions { label_column: Some(String::new()), ..options() };
    let message = refused("missing.parquet", &plain);
    assert!(
        message.contains("missing.parquet/row 1: the column `image` has no image in this row"),
        "{message}"
    );
    let skip = ImageFolderOptions { on_error: OnError::Skip, ..options() };
    let (set, notes) = noted(&[fixture("missing.parquet")], &skip).unwrap();
    assert_eq!(set.labels().to_i64().unwrap(), [0, 1]);
    for part in ["1 row has no class: ", "1 of 3 images could not be read and were skipped"] {
        assert!(notes.contains(part), "{notes}");
    }
}

#[test]
fn damage_is_an_error_wherever_it_is() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.parquet");
    for name in &ALL[1..] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for cut in [0, 3, 9, 40, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = noted(std::slice::from_ref(&path), &options()).unwrap_err();
            assert!(error.message().contains("a.parquet"), "{name} {cut}: {error}");
            assert!(error.hint_text().is_some(), "{name} {cut}: {error}");
        }
        // No byte that changes makes it panic, or take all memory.
        for at in (0..whole.len()).step_by(13) {
            let mut other = whole.clone();
            other[at] ^= 0x5b;
            std::fs::write(&path, &other).unwrap();
            drop(noted(std::slice::from_ref(&path), &options()));
        }
    }
    // A checksum notices what decoding would not.
    let mut bytes = std::fs::read(fixture("zstd_v2.parquet")).unwrap();
    let at = bytes.windows(4).position(|part| part == b"\x28\xb5\x2f\xfd").unwrap();
    bytes[at + 40] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = noted(std::slice::from_ref(&path), &options()).unwrap_err();
    assert!(error.message().contains("the checksum of a page is wrong"), "{error}");
    let message = noted(&[path, fixture("images")], &options()).unwrap_err().message();
    assert!(message.contains("expected Parquet files, found several paths with something else"), "{message}");
}

#[test]
fn a_file_that_changed_is_noticed() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.parquet");
    std::fs::copy(fixture("plain.parquet"), &path).unwrap();
    let on_disk = ImageFolderOptions { in_memory: Some(false), ..options() };
    let (set, _) = noted(std::slice::from_ref(&path), &on_disk).unwrap();
    std::fs::copy(fixture("gzip.parquet"), &path).unwrap();
    let error = set.images().unwrap_err();
    assert!(error.message().contains("was changed after it was opened"), "{error}");
}
