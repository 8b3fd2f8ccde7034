//! Labels of a folder of images from a CSV file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::classes::{Found, in_order, some};
use crate::declare::Value;
use crate::error::{Error, Result};
use crate::table::{ReadCsvOptions, Table};

/// Names of the columns with paths and with classes, if they are given.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// Paths of the images in the folder.
    pub file: Option<&'a str>,
    /// Classes.
    pub label: Option<&'a str>,
}

/// Returns the images of a folder with the classes that the rows of a CSV file give them.
///
/// Classes are ordered as folders are. Every row must name an image and every image must have one row, unless `skip`;
/// then a note counts those without.
pub fn labeled(
    folder: &Path,
    images: Vec<PathBuf>,
    file: &Path,
    columns: Columns<'_>,
    skip: bool,
) -> Result<Found> {
    let table = Table::read_csv(file, &ReadCsvOptions::default())?;
    let [files, labels] = named(&table, file, columns)?;
    let row = |i: usize| format!("row {} of {}", i + 1, file.display());
    let mut by_name = BTreeMap::new();
    for (place, image) in images.iter().enumerate() {
        let name = image.strip_prefix(folder).unwrap_or(image);
        by_name.insert(slashes(name), place);
    }
    // Names without their ending, unless two images share one.
    let mut by_stem: BTreeMap<String, Option<usize>> = BTreeMap::new();
    for (name, place) in &by_name {
        let stem = slashes(&Path::new(name).with_extension(""));
        by_stem.entry(stem).and_modify(|at| *at = None).or_insert(Some(*place));
    }
    let mut classes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut rows: BTreeMap<usize, usize> = BTreeMap::new();
    let mut missing = Vec::new();
    for (i, (name, label)) in files.iter().zip(&labels).enumerate() {
        let name = word(name).ok_or_else(|| {
            Error::file(
                file,
                format!("expected the path of an image in row {}, found {}", i + 1, name.describe()),
            )
        })?;
        let key = slashes(Path::new(name.strip_prefix("./").unwrap_or(&name)));
        let Some(place) = by_name.get(&key).copied().or_else(|| by_stem.get(&key).copied().flatten()) else {
            missing.push(name);
            continue;
        };
        if let Some(first) = rows.insert(place, i) {
            return Err(Error::file(
                file,
                format!("rows {} and {} are of one image, {name}", first + 1, i + 1),
            )
            .hint("an image has one label: keep one of the rows"));
        }
        let label = word(label).ok_or_else(|| {
            Error::argument(format!("expected a name or a whole number as label, found {}", label.describe()))
                .context(row(i))
        })?;
        classes.entry(label).or_default().push(place);
    }
    let without: Vec<String> =
        by_name.iter().filter(|(_, at)| !rows.contains_key(at)).map(|(n, _)| n.clone()).collect();
    let mut found = Found::default();
    for (several, one, names) in [
        ("rows name no image of the folder", "row names no image of the folder", &missing),
        ("images have no row", "image has no row", &without),
    ] {
        if names.is_empty() {
            continue;
        }
        let what = if names.len() == 1 { one } else { several };
        let text = format!("{} {what}: {}", names.len(), some(names));
        if !skip {
            let hint = "correct the file, or pass over them with `on_error: \"skip\"`; paths are relative to the folder";
            return Err(Error::file(file, text).hint(hint));
        }
        found.notes.push(format!("{}: {text}", file.display()));
    }
    if classes.is_empty() {
        return Err(Error::file(
            file,
            format!("expected rows of images of {}, found none", folder.display()),
        ));
    }
    let mut classes: Vec<(String, Vec<usize>)> = classes.into_iter().collect();
    in_order(&mut classes);
    let mut all: Vec<(usize, i64)> = Vec::new();
    for (label, (class, places)) in classes.into_iter().enumerate() {
        all.extend(places.into_iter().map(|place| (place, label as i64)));
        found.classes.push(class);
    }
    // The order of the images is that of their names, whatever the order of the rows.
    all.sort_unstable();
    found.images = all.into_iter().map(|(place, label)| (images[place].clone(), label)).collect();
    Ok(found)
}

fn slashes(path: &Path) -> String {
    path.display().to_string().replace('\\', "/")
}

/// Returns a name or a whole number as text.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::Str(text) if !text.trim().is_empty() => Some(text.trim().to_string()),
        Value::Int(i) => Some(i.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

/// Returns the entries of the two columns: those given, `file` and `label`, or the first and second of two.
fn named(table: &Table, file: &Path, columns: Columns<'_>) -> Result<[Vec<Value>; 2]> {
    let all = table.columns();
    let known = |given: Option<&str>, usual: &str, place: usize| match given {
        Some(name) => Some(name.to_string()),
        None if all.iter().any(|c| c == usual) => Some(usual.to_string()),
        None => (all.len() == 2).then(|| all[place].clone()),
    };
    let (name, label) = (known(columns.file, "file", 0), known(columns.label, "label", 1));
    let (Some(name), Some(label)) = (name, label) else {
        return Err(Error::file(
            file,
            format!("expected columns `file` and `label`, found {}", all.join(", ")),
        )
        .hint(which(&all, columns)));
    };
    let entries = |name: &str| table.column(name).map_err(|e| e.context(file.display().to_string()));
    Ok([entries(&name)?, entries(&label)?])
}

/// Returns a hint with the options that name columns of the file, those whose names suggest paths and classes if there are
/// some.
fn which(all: &[String], columns: Columns<'_>) -> String {
    const FILES: [&str; 6] = ["file", "path", "image", "img", "photo", "id"];
    const LABELS: [&str; 9] =
        ["label", "class", "target", "category", "species", "breed", "kind", "type", "name"];
    let usual = |words: &[&str], but: Option<&str>| {
        let others = || all.iter().filter(|c| Some(c.as_str()) != but);
        let named = words.iter().find_map(|w| others().find(|c| c.to_lowercase().contains(w)));
        named.or_else(|| others().next()).cloned()
    };
    let files = columns.file.map(str::to_string).or_else(|| usual(&FILES, columns.label));
    let labels = columns.label.map(str::to_string).or_else(|| usual(&LABELS, files.as_deref()));
    match (files, labels) {
        (Some(files), Some(labels)) => {
            format!("name them, for example `file_column: {files:?}, label_column: {labels:?}`")
        }
        _ => "the file needs a column with the paths of the images and one with their classes".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(rows: &str, skip: bool) -> Result<Found> {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("labels.csv");
        std::fs::write(&file, rows).unwrap();
        let images = ["a.png", "b/1.jpg", "b/2.jpg"].map(|name| Path::new("set").join(name)).to_vec();
        labeled(Path::new("set"), images, &file, Columns { file: None, label: None }, skip)
    }

    fn labels(rows: &str) -> (Vec<String>, Vec<i64>) {
        let found = open(rows, false).unwrap();
        (found.classes, found.images.iter().map(|(_, label)| *label).collect())
    }

    #[test]
    fn names_and_numbers_are_classes_in_the_order_of_folders() {
        let all = |names: &[&str]| names.iter().map(|n| (*n).to_string()).collect::<Vec<_>>();
        assert_eq!(labels("id,x\nb/2,pug\na,cat\nb/1,pug\n"), (all(&["cat", "pug"]), vec![0, 1, 1]));
        assert_eq!(
            labels("size,label,file\n1,10,./a.png\n2,9,b/1.jpg\n3,10,b/2.jpg\n"),
            (all(&["9", "10"]), vec![1, 0, 1])
        );
    }

    #[test]
    fn rows_and_images_that_do_not_match_are_named() {
        let message = |rows: &str| open(rows, false).unwrap_err().message();
        let missing = "file,label\na.png,1\nb/1.jpg,1\nb/2.jpg,1\nc.png,1\n";
        assert!(
            message(missing).ends_with("1 row names no image of the folder: `c.png`"),
            "{}",
            message(missing)
        );
        let without = "file,label\na.png,1\n";
        assert!(
            message(without).ends_with("2 images have no row: `b/1.jpg`, `b/2.jpg`"),
            "{}",
            message(without)
        );
        let twice = "file,label\na.png,1\na,2\n";
        assert!(message(twice).ends_with("rows 1 and 2 are of one image, a"), "{}", message(twice));
        assert!(message("a,b,c\n1,2,3\n").contains("expected columns `file` and `label`, found a, b, c"));
        let hint = |rows: &str| open(rows, false).unwrap_err().hint_text().map(str::to_string).unwrap();
        assert!(
            hint("size,photo,species\n1,a.png,cat\n")
                .ends_with("`file_column: \"photo\", label_column: \"species\"`")
        );
        assert!(hint("a,b,c\n1,2,3\n").ends_with("`file_column: \"a\", label_column: \"b\"`"));
        assert!(hint("a\n1\n").starts_with("the file needs a column"));
        assert!(message("file,label\na.png,0.5\n").contains("expected a name or a whole number as label"));
        let skipped = open(without, true).unwrap();
        assert_eq!((skipped.images.len(), skipped.notes.len()), (1, 1));
    }
}
