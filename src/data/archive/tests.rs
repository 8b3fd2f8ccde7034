//! Archives against folders of the same files, EDM2's reader and WebDataset; damage of every kind.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::*;
use crate::context::Context;
use crate::data::decode::tests::png_of;
use crate::data::folder::{ImageFolderOptions, OnError, images_in};
use crate::data::latents::{LatentsOptions, latents};
use crate::data::noted::{noted, with_notes};
use crate::data::{Dataset, LoaderOptions};
use crate::torch::Tensor;

mod labels;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/archives").join(name)
}

fn expected() -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(fixture("expected.json")).unwrap()).unwrap()
}

fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn options() -> ImageFolderOptions {
    ImageFolderOptions { size: 8, ..Default::default() }
}

fn skipping() -> ImageFolderOptions {
    ImageFolderOptions { on_error: OnError::Skip, ..options() }
}

fn open(path: &Path) -> Result<(Dataset, String)> {
    noted(&[path.to_path_buf()], &options())
}

fn refused(path: &Path, options: &ImageFolderOptions) -> (String, String) {
    let error = noted(&[path.to_path_buf()], options).unwrap_err();
    (error.message(), error.hint_text().unwrap_or_default().to_string())
}

fn sums(set: &Dataset) -> Vec<f64> {
    let bytes = set.images().unwrap().add_scalar(1.0).unwrap().mul_scalar(127.5).unwrap().round().unwrap();
    let each = bytes.flatten(1, -1).unwrap().to_f64().unwrap();
    each.chunks(each.len() / set.len()).map(|image| image.iter().sum()).collect()
}

fn labels(set: &Dataset) -> Vec<i64> {
    set.labels().to_i64().unwrap()
}

/// An image with its number in red.
fn image(number: u8) -> Vec<u8> {
    png_of(8, 8, |x, y| [number, (x * 30) as u8, (y * 30) as u8])
}

/// Number of each image.
fn reds(set: &Dataset) -> Vec<i64> {
    let red = set.images().unwrap().select(1, 0).unwrap().select(1, 0).unwrap().select(1, 0).unwrap();
    red.add_scalar(1.0).unwrap().mul_scalar(127.5).unwrap().round().unwrap().to_i64_of()
}

trait Whole {
    fn to_i64_of(&self) -> Vec<i64>;
}

impl Whole for Tensor {
    fn to_i64_of(&self) -> Vec<i64> {
        self.to_f64().unwrap().into_iter().map(|x| x as i64).collect()
    }
}

fn zipped(files: &[(&str, Vec<u8>)], deflate: bool) -> Vec<u8> {
    let mut zip = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let method = match deflate {
        true => ::zip::CompressionMethod::Deflated,
        false => ::zip::CompressionMethod::Stored,
    };
    let options = ::zip::write::FileOptions::default().compression_method(method);
    for (name, bytes) in files {
        match name.ends_with('/') {
            true => zip.add_directory(*name, options).unwrap(),
            false => {
                zip.start_file(*name, options).unwrap();
                zip.write_all(bytes).unwrap();
            }
        }
    }
    zip.finish().unwrap().into_inner()
}

fn tarred(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = ::tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = ::tar::Header::new_gnu();
        // The builder refuses `..`, so the name is written as it is.
        let field = &mut header.as_old_mut().name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(if name.ends_with('/') {
            ::tar::EntryType::Directory
        } else {
            ::tar::EntryType::Regular
        });
        header.set_cksum();
        tar.append(&header, &bytes[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (place, path)
}

/// Classes with numbers, nested folders and what other systems leave.
fn classes() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("class_10/b.png", image(1)),
        ("class_9/z.png", image(2)),
        ("class_9/deep/a.png", image(3)),
        ("class_10/a.png", image(4)),
        ("__MACOSX/class_9/._z.png", b"no image".to_vec()),
        ("class_9/._z.png", b"no image".to_vec()),
        ("readme.txt", b"text".to_vec()),
    ]
}

#[test]
fn an_archive_is_the_folder_of_its_files() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    for (name, bytes) in classes() {
        let path = at("folder").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let (folder, told) = open(&at("folder")).unwrap();
    assert_eq!(reds(&folder), [2, 3, 4, 1]);
    let prefixed = |prefix: &str| -> Vec<(String, Vec<u8>)> {
        classes().into_iter().map(|(name, bytes)| (format!("{prefix}{name}"), bytes)).collect()
    };
    for prefix in ["", "./", "/", "top/", "top/most/"] {
        let files = prefixed(prefix);
        let files: Vec<(&str, Vec<u8>)> =
            files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        let archives =
            [("a.zip", zipped(&files, false)), ("b.zip", zipped(&files, true)), ("c.tar", tarred(&files))];
        for (name, bytes) in archives {
            std::fs::write(at(name), bytes).unwrap();
            for in_memory in [true, false] {
                let options = ImageFolderOptions { in_memory: Some(in_memory), ..options() };
                let (set, notes) = noted(&[at(name)], &options).unwrap();
                assert_eq!(set.class_names(), folder.class_names(), "{name} {prefix}");
                assert_eq!(labels(&set), labels(&folder));
                assert!(set.images().unwrap().equal(&folder.images().unwrap()).unwrap());
                assert_eq!(set.name(), name.split_once('.').unwrap().0);
                let loading = LoaderOptions { batch: 3, seed: 5, flip: true, ..LoaderOptions::default() };
                let loaders = [&set, &folder].map(|set| set.loader(&loading).unwrap());
                for _ in 0..4 {
                    let [a, b] = [&loaders[0], &loaders[1]].map(|loader| loader.next().unwrap());
                    assert!(a.images.equal(&b.images).unwrap() && a.labels.equal(&b.labels).unwrap());
                }
                if prefix.is_empty() {
                    assert_eq!(notes, told.replace("folder:", &format!("{name}:")), "{name}");
                }
                if prefix.starts_with("top") {
                    let top = prefix.trim_end_matches('/');
                    assert!(notes.contains(&format!("the images are in its folder `{top}`")), "{notes}");
                }
            }
        }
    }
}

#[test]
fn labels_and_images_are_those_of_edm2() {
    for name in ["edm", "edm_labels"] {
        let (set, notes) = open(&fixture(&format!("{name}.zip"))).unwrap();
        let expected = &expected()[name];
        let wanted: Vec<i64> = numbers(&expected["labels"]).iter().map(|x| *x as i64).collect();
        assert_eq!(labels(&set), wanted);
        assert_eq!(sums(&set), numbers(&expected["sums"]));
        assert_eq!(set.classes() as i64, wanted.iter().max().unwrap() + 1);
        assert_eq!((set.class_names()[1].as_str(), set.name(), notes.as_str()), ("1", name, ""));
    }
}

#[test]
fn an_unpacked_set_of_edm2_has_its_labels_too() {
    let place = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(fixture("edm_labels.zip")).unwrap();
    for Entry { name, place: within } in listing::parse(&bytes).unwrap().entries {
        let path = place.path().join(&name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, within.read(&&bytes[..]).unwrap()).unwrap();
    }
    let (set, _) = open(place.path()).unwrap();
    assert_eq!(labels(&set), [0, 2, 4, 1, 3, 0, 2, 4, 1]);
}

#[test]
fn latents_are_the_means_of_edm2() {
    let channels = |values: [f64; 4]| Tensor::from_f64(&values, &[4]).unwrap();
    let place = tempfile::tempdir().unwrap();
    let stats = place.path().join("stats.safetensors");
    let tensors = [
        ("mean".to_string(), channels([5.81, 3.25, 0.12, -2.15])),
        ("std".to_string(), channels([4.17, 4.62, 3.71, 3.28])),
    ];
    crate::torch::io::save_safetensors(&stats, &tensors.into(), &Default::default()).unwrap();
    let scaled = LatentsOptions {
        scale: 0.5,
        stats: Some(stats.display().to_string()),
        fields: vec!["std".to_string()],
        ..Default::default()
    };
    let set = latents(&fixture("edm_latents.zip"), &scaled, &Context::default()).unwrap();
    let expected = &expected()["edm_latents"];
    assert_eq!((set.image_shape(), labels(&set)), ([4, 2, 2], vec![4, 3, 2, 1, 0]));
    let found = set.images().unwrap().flatten(0, -1).unwrap().to_f64().unwrap();
    for (found, wanted) in found.iter().zip(numbers(&expected["encoded"])) {
        assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
    }
    // Means, not normalized, and standard deviations are all that the files hold.
    let raw = LatentsOptions { fields: vec!["std".to_string()], ..Default::default() };
    let raw = latents(&fixture("edm_latents.zip"), &raw, &Context::default()).unwrap();
    let std = raw.fields().unwrap().get("std").unwrap().clone();
    let both = Tensor::cat(&[raw.images().unwrap(), std], 1).unwrap().flatten(1, -1).unwrap();
    let both = both.to_f64().unwrap();
    for (found, wanted) in both.chunks(32).zip(numbers(&expected["sums"])) {
        assert!((found.iter().sum::<f64>() - wanted).abs() < 1e-4);
    }
    let error = images_in(&[fixture("edm_latents.zip")], &options(), &Context::default()).unwrap_err();
    assert!(error.hint_text().unwrap().contains("`data::latents(path)`"), "{error}");
    let error = latents(&fixture("edm.zip"), &LatentsOptions::default(), &Context::default()).unwrap_err();
    assert!(error.hint_text().unwrap().contains("`data::image_folder(path)`"), "{error}");
}

#[test]
fn shards_are_those_of_webdataset() {
    let all = expected();
    let samples = all["shards"].as_array().unwrap();
    let each = |key: &str| -> Vec<f64> { samples.iter().map(|s| s[key].as_f64().unwrap()).collect() };
    let shards = [fixture("train-000000.tar"), fixture("train-000001.tar")];
    for paths in [&shards[..], &[fixture("train-{000000..000001}.tar")], &[fixture("train-*.tar")]] {
        for in_memory in [true, false] {
            let options = ImageFolderOptions {
                fields: vec!["text".to_string()],
                in_memory: Some(in_memory),
                ..options()
            };
            let (set, notes) = noted(paths, &options).unwrap();
            let wanted: Vec<i64> = each("label").iter().map(|x| *x as i64).collect();
            assert_eq!((labels(&set), set.classes(), set.name()), (wanted, 4, "train"));
            assert_eq!(sums(&set), each("sum"));
            let text: Vec<f64> = samples.iter().flat_map(|s| numbers(&s["text"])).collect();
            let text: Vec<f32> = text.into_iter().map(|x| x as f32).collect();
            let fields = set.fields().unwrap();
            assert_eq!(fields.get("text").unwrap().flatten(0, -1).unwrap().to_f32().unwrap(), text);
            assert!(notes.contains("the captions (.txt) of 8 images are not read"), "{notes}");
            // Rows stay with their images in a loader.
            let loader =
                set.loader(&LoaderOptions { batch: 3, seed: 1, ..LoaderOptions::default() }).unwrap();
            for _ in 0..4 {
                let batch = loader.next().unwrap();
                let rows = fields.get("text").unwrap().index_select(0, &batch.indices).unwrap();
                assert!(batch.fields.get("text").unwrap().equal(&rows).unwrap());
            }
        }
    }
    // Names of classes in the `.json` are ordered as folders are.
    let options = ImageFolderOptions { label_column: Some("wnid".to_string()), ..options() };
    let (set, _) = noted(&shards, &options).unwrap();
    assert_eq!(set.class_names(), ["n01", "n02", "n09", "n10"]);
    let names: Vec<&str> = labels(&set).iter().map(|l| set.class_names()[*l as usize].as_str()).collect();
    assert_eq!(names, samples.iter().map(|s| s["wnid"].as_str().unwrap()).collect::<Vec<_>>());
    let wrong = |options: &ImageFolderOptions| noted(&shards, options).unwrap_err();
    let error = wrong(&ImageFolderOptions { label_column: Some("wind".to_string()), ..options.clone() });
    assert!(error.message().contains("8 samples have no `wind` in the `.json`"), "{error}");
    let error = wrong(&ImageFolderOptions { fields: vec!["txt".to_string()], ..options });
    assert!(error.message().ends_with("expected the field `txt`, found none"), "{error}");
}

#[test]
fn samples_without_a_part_are_named() {
    let sample = |bytes: &[(&str, &[u8])]| {
        let files: Vec<(&str, Vec<u8>)> = bytes.iter().map(|(name, bytes)| (*name, bytes.to_vec())).collect();
        written("a.tar", &tarred(&files))
    };
    let png = image(7);
    let (place, path) =
        sample(&[("0.png", &png), ("0.cls", b"1"), ("1.png", &png), ("2.cls", b"1"), ("3.gif", b"")]);
    let (message, hint) = refused(&path, &options());
    assert!(
        message.contains("1 sample has no PNG, JPEG or WebP image") && hint.contains("skip"),
        "{message}"
    );
    let (set, notes) = noted(&[path], &skipping()).unwrap();
    assert_eq!((set.len(), labels(&set)), (1, vec![1]));
    for part in
        ["1 sample has no `.cls`: ", "1 sample has no PNG, JPEG or WebP image: ", "not PNG, JPEG or WebP"]
    {
        assert!(notes.contains(part), "{notes}");
    }
    drop(place);
    for (files, told) in [
        (
            &[("0.png", &png[..]), ("0.cls", b"cat"), ("1.png", &png), ("1.cls", b"3")][..],
            "found both, `3` and `cat`",
        ),
        (&[("0.png", &png), ("0.cls", b"-1")], "expected classes from 0 up, found -1"),
        (&[("0.png", &png), ("0.cls", b" \n")], "0.cls: expected a class as text, found none"),
        (&[("0.png", &png), ("0.jpg", &png), ("0.cls", b"1")], "1 sample has no `.cls`"),
        (&[("0.png", &png), ("0.cls", b"5000000")], "expected labels from 0 to 999999, found 5000000"),
    ] {
        let (_place, path) = sample(files);
        assert!(refused(&path, &options()).0.contains(told), "{}", refused(&path, &options()).0);
    }
    // Without classes these are images of a folder, whose captions are not read.
    let (_place, path) = sample(&[("0.png", &png), ("0.txt", b"a cat"), ("0.json", b"{}")]);
    let (set, notes) = open(&path).unwrap();
    assert_eq!(set.class_names(), ["images"]);
    assert!(notes.contains("the captions (.txt) of 1 images are not read"), "{notes}");
    let (_place, path) = sample(&[("0.png", &png), ("0.cls", b"cat\n"), ("1.mask.png", &png)]);
    let (set, notes) = open(&path).unwrap();
    assert_eq!(set.class_names(), ["cat"]);
    assert!(notes.contains("1 further images of samples are not read, the first is 1.mask.png"), "{notes}");
}

#[test]
fn names_and_links_of_all_formats_of_tar() {
    for (name, long) in [("ustar", "d".repeat(90)), ("gnu", "x".repeat(120)), ("pax", "x".repeat(120))] {
        let bytes = std::fs::read(fixture(&format!("{name}.tar"))).unwrap();
        let index = listing::parse(&bytes).unwrap();
        let names: Vec<&str> = index.entries.iter().map(|entry| entry.name.as_str()).collect();
        let first = format!("long/{long}/{}.png", "e".repeat(60));
        assert_eq!(
            names,
            [first.as_str(), "ümlaut/ö.png", "__MACOSX/long/._a.png", "long/hard.png"],
            "{name}"
        );
        assert_eq!(index.entries[1].place, index.entries[3].place);
        assert_eq!((index.passed, index.cut), (vec![(What::Link, "./long/soft.png".to_string())], None));
        let (set, notes) = open(&fixture(&format!("{name}.tar"))).unwrap();
        assert_eq!(
            (set.class_names(), labels(&set)),
            (&["long".to_string(), "ümlaut".into()][..], vec![0, 0, 1])
        );
        assert!(notes.contains("skipped 1 symbolic link: `./long/soft.png`"), "{notes}");
    }
}

#[test]
fn large_and_prefixed_zips() {
    let bytes = std::fs::read(fixture("zip64.zip")).unwrap();
    let prefixed = [b"PK\x03\x04 a program that unpacks the rest\n".as_slice(), &bytes].concat();
    for bytes in [bytes, prefixed] {
        let index = listing::parse(&bytes).unwrap();
        let names: Vec<&str> = index.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["a/0.png", "b/1.png", "a/2.png"]);
        let (_place, path) = written("large.zip", &bytes);
        assert_eq!(labels(&open(&path).unwrap().0), [0, 0, 1]);
    }
}

#[test]
fn tars_in_a_tar_are_classes_and_joined_tars_are_one() {
    let inner = |numbers: [u8; 2]| {
        let names = numbers.map(|n| format!("n0_{n}.JPEG"));
        tarred(&[(&names[0], image(numbers[0])), (&names[1], image(numbers[1]))])
    };
    let outer = tarred(&[("n02.tar", inner([1, 2])), ("n01.tar", inner([3, 4]))]);
    let (_place, path) = written("train.tar", &outer);
    let (set, _) = open(&path).unwrap();
    assert_eq!((set.class_names(), reds(&set)), (&["n01".to_string(), "n02".into()][..], vec![3, 4, 1, 2]));
    let joined = [tarred(&[("a/0.png", image(1))]), tarred(&[("b/0.png", image(2))])].concat();
    let (_place, path) = written("joined.tar", &joined);
    assert_eq!(reds(&open(&path).unwrap().0), [1, 2]);
}

#[test]
fn odd_names_are_told() {
    let files = [
        ("a/0.png", image(1)),
        ("../a/1.png", image(2)),
        ("b\\2.png", image(3)),
        ("a/0.png", image(4)),
        ("c/", Vec::new()),
        ("/b//./3.png", image(5)),
    ];
    // The writer of zip files makes no second entry of a name.
    for (name, bytes) in
        [("odd.tar", tarred(&files)), ("odd.zip", zipped(&[&files[..3], &files[4..]].concat(), true))]
    {
        let (_place, path) = written(name, &bytes);
        let (set, notes) = open(&path).unwrap();
        let first = if name == "odd.tar" { 4 } else { 1 };
        assert_eq!((reds(&set), labels(&set)), (vec![first, 3, 5], vec![0, 1, 1]), "{name}");
        assert!(notes.contains("skipped 1 entry whose name leads out of the archive: `../a/1.png`"));
        assert_eq!(notes.contains("skipped 1 earlier entry of the same name"), name == "odd.tar", "{notes}");
    }
}

#[test]
fn a_folder_in_an_archive_is_opened_by_its_path() {
    let files = [
        ("pets/train/cat/0.png", image(1)),
        ("pets/train/dog/0.png", image(2)),
        ("pets/val/cat/0.png", image(3)),
        ("pets/val/dog/0.png", image(4)),
    ];
    let (_place, path) = written("pets.zip", &zipped(&files, true));
    let (message, hint) = refused(&path, &options());
    assert!(message.ends_with("expected classes, found splits: `train`, `val`"), "{message}");
    assert!(hint.ends_with("pets.zip/pets/train"), "{hint}");
    let (set, notes) = open(&path.join("pets/val")).unwrap();
    assert_eq!((reds(&set), set.name(), notes.as_str()), (vec![3, 4], "val", ""));
    let (message, hint) = refused(&path.join("pets/test"), &options());
    assert!(message.ends_with("there is no such folder in the archive") && hint.contains("`pets`"), "{hint}");
    // Classes of a file, with the paths in the folder.
    let csv = path.with_file_name("labels.csv");
    std::fs::write(&csv, "file,label\ncat/0.png,x\ndog/0,y\n").unwrap();
    let options = ImageFolderOptions { labels: Some(csv.display().to_string()), ..options() };
    assert_eq!(noted(&[path.join("pets/train")], &options).unwrap().0.class_names(), ["x", "y"]);
}

#[test]
fn labels_that_do_not_fit_their_images_are_named() {
    let with = |json: &str| {
        let files =
            [("0/a.png", image(1)), ("0/b.png", image(2)), ("dataset.json", json.as_bytes().to_vec())];
        written("set.zip", &zipped(&files, false))
    };
    for (json, told) in [
        ("{\"labels\": [[\"0/a.png\", 1]]}", "1 image has no label: `0/b.png`"),
        ("{\"labels\": [[\"0/a.png\", 1], [\"0/b.png\", null]]}", "1 image has no label: `0/b.png`"),
        (
            "{\"labels\": [[\"0/a.png\", 1], [\"0/b.png\", 0], [\"0/c.png\", 0]]}",
            "1 label names no image: `0/c.png`",
        ),
        (
            "{\"labels\": [[\"0/a.png\", 1], [\"0/a.png\", 2], [\"0/b.png\", 0]]}",
            "`0/a.png` has two labels, 1 and 2",
        ),
        (
            "{\"labels\": [[\"0/a.png\", [0.5, 1.0]]]}",
            "expected a whole number as the label of `0/a.png`, found [0.5,1.0]",
        ),
        ("{\"labels\": [[\"0/a.png\", -1]]}", "expected a whole number as the label of `0/a.png`, found -1"),
        ("{\"labels\": {\"0/a.png\": 1}}", "found other JSON"),
        ("{\"labels\": [[", "found other JSON"),
    ] {
        let (_place, path) = with(json);
        let (message, _) = refused(&path, &options());
        assert!(message.contains("set.zip/dataset.json: ") && message.contains(told), "{message}");
    }
    let (_place, path) = with("{\"labels\": [[\"0/b.png\", 1], [\"0/c.png\", 0]]}");
    let (set, notes) = noted(&[path], &skipping()).unwrap();
    assert_eq!((reds(&set), labels(&set), set.classes()), (vec![2], vec![1], 2));
    assert!(notes.contains("1 image has no label") && notes.contains("1 label names no image"), "{notes}");
    let (_place, path) = with("{\"labels\": null}");
    assert_eq!(open(&path).unwrap().0.class_names(), ["images"]);
    let (_place, path) = with("{\"info\": 3}");
    let (set, notes) = open(&path).unwrap();
    assert_eq!(set.class_names(), ["0"]);
    assert!(notes.contains("`dataset.json` has no `labels`"), "{notes}");
}

#[test]
fn truncated_archives_never_have_fewer_images_in_silence() {
    let files = [("a/0.png", image(1)), ("b/1.png", image(2)), ("b/2.png", image(3))];
    let place = tempfile::tempdir().unwrap();
    for (name, bytes) in [("a.zip", zipped(&files, true)), ("a.tar", tarred(&files))] {
        let path = place.path().join(name);
        // The blocks of zeros at the end of a tar hold nothing: one of them is enough.
        let needed = match name {
            "a.tar" => bytes.len() - 512,
            _ => bytes.len(),
        };
        for length in (0..needed).step_by(37).chain([needed - 1]) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let (message, hint) = refused(&path, &options());
            assert!(message.contains(name) && !hint.is_empty(), "{length}: {message}");
            if length > 512 {
                assert!(message.contains("cut short"), "{name} {length}: {message}");
            }
        }
        std::fs::write(&path, &bytes[..needed]).unwrap();
        assert_eq!(open(&path).unwrap().0.len(), 3);
    }
    // What a tar has before the cut is read on request.
    let bytes = tarred(&files);
    let path = place.path().join("a.tar");
    std::fs::write(&path, &bytes[..bytes.len() - 1500]).unwrap();
    let (message, hint) = refused(&path, &options());
    assert!(
        message.contains("`b/2.png` ends behind its end") && hint.contains("the 2 entries before"),
        "{hint}"
    );
    let (set, notes) = noted(&[path], &skipping()).unwrap();
    assert_eq!(reds(&set), [1, 2]);
    assert!(notes.contains("cut short") && notes.contains("the 2 entries before are read"), "{notes}");
}

#[test]
fn any_changed_byte_is_noticed_or_harmless() {
    let files =
        [("a/0.png", image(1)), ("b/1.png", image(2)), ("dataset.json", b"{\"labels\": null}".to_vec())];
    let content = |index: &Index, bytes: &[u8]| -> Vec<Result<Vec<u8>>> {
        index.entries.iter().map(|entry| entry.place.read(&bytes)).collect()
    };
    for (bytes, is_zip) in
        [(zipped(&files, true), true), (zipped(&files, false), true), (tarred(&files), false)]
    {
        for at in 0..bytes.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                let Ok(index) = listing::parse(&changed) else { continue };
                for (i, read) in content(&index, &changed).into_iter().enumerate() {
                    // A tar has no checksum of its content.
                    if let (Ok(read), true) = (read, is_zip) {
                        assert!(
                            read.is_empty() || files.iter().any(|(_, file)| *file == read),
                            "{i} at {at}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_read_in_place_is_explained() {
    let files = [("a/0.png", image(1))];
    // Flags of encryption and another method in the list and before the content.
    for (at, local, value, told) in
        [(8, 6, 1, "the entry is encrypted"), (10, 8, 93, "found method 93 of zip")]
    {
        let mut bytes = zipped(&files, false);
        let list = bytes.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
        (bytes[list + at], bytes[local]) = (value, value);
        let (_place, path) = written("a.zip", &bytes);
        let (message, hint) = refused(&path, &options());
        assert!(message.contains("a.zip/a/0.png: ") && message.contains(told), "{message}");
        assert!(hint.contains("unpack the archive first"), "{hint}");
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tarred(&files)).unwrap();
    let (place, path) = written("a.tar.gz", &gzip.finish().unwrap());
    let (message, hint) = refused(&path, &options());
    assert!(message.contains("found a compressed file") && hint.contains("gunzip"), "{message}");
    std::fs::rename(&path, place.path().join("a.tar")).unwrap();
    assert!(
        refused(place.path(), &options()).1.contains("*.tar\" opens"),
        "{}",
        refused(place.path(), &options()).1
    );
    let (message, _) = refused(&place.path().join("no-{0..3}.tar"), &options());
    assert!(message.contains("no-0.tar") && message.contains("no such file"), "{message}");
    let twice = [place.path().join("a.tar"), place.path().join("a.tar")];
    assert!(noted(&twice, &options()).unwrap_err().message().ends_with("the archive is named twice"));
    assert!(noted(&[], &options()).is_err());
}

#[test]
fn an_archive_that_changes_later_is_not_misread() {
    let files = [("a/0.png", image(1)), ("b/1.png", image(2))];
    let (_place, path) = written("a.tar", &tarred(&files));
    let lazy = ImageFolderOptions { in_memory: Some(false), ..options() };
    let (set, _) = noted(std::slice::from_ref(&path), &lazy).unwrap();
    let first = set.stored().identity().unwrap();
    std::fs::write(&path, tarred(&[files[1].clone(), files[0].clone(), ("c/2.png", image(3))])).unwrap();
    let error = set.images().unwrap_err();
    assert!(error.message().contains("the archive was changed after it was opened"), "{error}");
    let (again, _) = noted(&[path], &lazy).unwrap();
    assert_ne!(again.take(2).unwrap().stored().identity().unwrap(), first);
}
