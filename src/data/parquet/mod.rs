//! Images in Parquet files, as the Hugging Face hub stores data sets: a row for each image, with its bytes and its class.
//!
//! - [`mod@named`]: which files a path names; [`choice`]: which of their columns are read
//! - [`footer`]: the columns of a file and where they are, in the format [`thrift`]; [`page`]: the parts of a column, with
//!   [`snappy`] and the encodings of [`encoding`]
//! - [`mod@column`]: columns that are read as a whole, [`rows`]: images that are read at random
//!
//! A library that decodes whole pages would read a hundred images for each one that a shuffled batch needs, so the positions of
//! rows in their pages are found here. Columns in columns are read as far as the feature `Image` and lists of numbers need it.

use std::sync::Arc;

use super::archive::samples::{Samples, numbered};
use super::archive::{Archive, ReadAt, listing};
use super::item::Item;
use super::labels;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::torch::{DType, Tensor};

pub mod choice;
pub mod column;
pub mod encoding;
pub mod footer;
pub mod named;
pub mod page;
pub mod rows;
pub mod snappy;
#[cfg(test)]
mod tests;
pub mod thrift;

pub use choice::Wanted;
pub use named::{Named, named};
pub use rows::Rows;

use choice::Choice;
use column::{Column, Values};
use footer::Footer;
use rows::Kept;

/// Classes of the rows of a file.
#[derive(Debug)]
enum Classes {
    /// There are none.
    None(u64),
    /// By number, perhaps with names.
    Numbers(Vec<Option<i64>>, Option<Vec<String>>),
    /// By name.
    Words(Vec<Option<String>>),
}

/// What is read of a file when it is opened.
#[derive(Debug)]
struct Opened {
    rows: Rows,
    image: String,
    label: Option<String>,
    caption: Option<String>,
    classes: Classes,
    fields: Vec<Tensor>,
}

/// Opens the images of Parquet files with their classes and fields. Rows without a class are an error, or with `skip` a
/// note.
pub(crate) fn samples(named: &Named, wanted: Wanted<'_>, skip: bool, cx: &Context) -> Result<Samples> {
    let kept = Arc::new(Kept::default());
    let files: Vec<(usize, std::path::PathBuf)> = named.files.iter().cloned().enumerate().collect();
    let read = listing::on_threads(&files, "files", cx, |(number, path), stop| {
        let (archive, opened) = Archive::open(path)?;
        let file = listing::Stoppable { opened, stop };
        opened_file(archive, &file, *number, wanted, &kept).map_err(|e| e.in_file(path))
    })?;
    let read = read.into_iter().collect::<Result<Vec<Opened>>>()?;
    let [first, ..] = &read[..] else { return Err(Error::internal("no Parquet files")) };
    for other in &read[1..] {
        for (what, here, there) in [
            ("images", Some(&first.image), Some(&other.image)),
            ("classes", first.label.as_ref(), other.label.as_ref()),
        ] {
            if here != there {
                let name =
                    |column: Option<&String>| column.map_or("none".to_string(), |name| format!("`{name}`"));
                let text = format!(
                    "expected {what} in the column {}, as in the first file, found {}",
                    name(here),
                    name(there)
                );
                return Err(Error::file(other.rows.file(), text)
                    .hint("name files of one set, or the columns: `image_column`, `label_column`"));
            }
        }
    }
    let mut found = Samples::default();
    if let Some(caption) = &first.caption {
        found.notes.push(format!(
            "the captions in the column `{caption}` are not read: encode them elsewhere and store the embeddings as lists of \
             floats, which `fields` reads"
        ));
    }
    let columns: Vec<Tensor> = (0..wanted.fields.len())
        .map(|i| {
            let parts: Vec<Tensor> = read.iter().map(|file| file.fields[i].clone()).collect();
            joined(&parts, &read).map_err(|e| e.context(format!("field `{}`", wanted.fields[i])))
        })
        .collect::<Result<_>>()?;
    let mut labeled = labeled(read).map_err(|e| e.in_file(&named.root))?;
    let without: Vec<usize> =
        (0..labeled.rows.len()).filter(|place| labeled.labels[*place].is_none()).collect();
    if let Some(first) = without.first() {
        let row = labeled.rows[*first].path();
        let text = match without.len() {
            1 => format!("1 row has no class: {}", row.display()),
            count => format!("{count} rows have no class, the first is {}", row.display()),
        };
        if !skip || without.len() == labeled.rows.len() {
            return Err(Error::file(&named.root, text).hint(
                "`on_error: \"skip\"` passes over them, and `label_column: \"\"` opens the set without classes",
            ));
        }
        found.notes.push(text);
    }
    let with: Vec<i64> =
        (0i64..).zip(&labeled.labels).filter(|(_, label)| label.is_some()).map(|(place, _)| place).collect();
    let places = Tensor::from_i64(&with, &[with.len() as i64])?;
    let labels = labeled.labels.drain(..);
    found.images =
        labeled.rows.into_iter().zip(labels).filter_map(|(row, label)| Some((row, label?))).collect();
    if found.images.is_empty() {
        return Err(Error::file(&named.root, "expected rows with images, found none"));
    }
    found.classes = labeled.names;
    for (name, column) in wanted.fields.iter().zip(columns) {
        let column = if without.is_empty() { column } else { column.index_select(0, &places)? };
        found.columns.insert(name.clone(), column);
    }
    Ok(found)
}

/// Reads what is needed of a file before its images.
fn opened_file(
    archive: Archive,
    file: &dyn ReadAt,
    number: usize,
    wanted: Wanted<'_>,
    kept: &Arc<Kept>,
) -> Result<Opened> {
    let footer = Footer::read(file)?;
    let choice = Choice::of(&footer, wanted)?;
    for (_, chunks) in &footer.groups {
        page::Codec::of(&chunks[choice.image.1.number])?;
    }
    let classes = match choice.label {
        None => Classes::None(footer.rows()),
        Some((name, leaf)) => {
            let column =
                Column::read(file, &footer, leaf).map_err(|e| e.context(format!("column `{name}`")))?;
            match column.values {
                Values::Texts(texts) => Classes::Words(spread(texts, &column.lengths)),
                Values::Ints(flags) if leaf.physical == footer::Physical::Bool => {
                    let words = flags.iter().map(|flag| (*flag != 0).to_string()).collect();
                    Classes::Words(spread(words, &column.lengths))
                }
                Values::Ints(numbers) => {
                    Classes::Numbers(spread(numbers, &column.lengths), footer.class_names(name))
                }
                _ => return Err(Error::internal("a column of classes has floats")),
            }
        }
    };
    let field = |(name, leaf): &(&str, &footer::Leaf)| {
        let column = Column::read(file, &footer, leaf)
            .and_then(|column| tensor(column, leaf.repeated > 0, archive.path()));
        column.map_err(|e| e.context(format!("column `{name}`")))
    };
    let fields = choice.fields.iter().map(field).collect::<Result<_>>()?;
    let (image, label) = (choice.image.0.to_string(), choice.label.map(|(name, _)| name.to_string()));
    let caption = choice.caption.map(str::to_string);
    let rows = Rows::new(archive, number, &image, &footer, choice.image.1, Arc::clone(kept));
    Ok(Opened { rows, image, label, caption, classes, fields })
}

/// Returns the value of each row, if it has one.
fn spread<T>(values: Vec<T>, lengths: &[u32]) -> Vec<Option<T>> {
    let mut values = values.into_iter();
    lengths.iter().map(|length| if *length > 0 { values.next() } else { None }).collect()
}

/// Returns numbers [N], or lists of numbers [N, D], as a tensor.
fn tensor(column: Column, is_list: bool, path: &std::path::Path) -> Result<Tensor> {
    let Column { values, lengths, has_gaps } = column;
    let width = lengths.first().copied().unwrap_or(0);
    let odd = lengths.iter().position(|length| *length != width || (!is_list && *length == 0));
    if let Some(row) = odd {
        let at = path.join(format!("row {row}"));
        let text = match is_list {
            true => format!(
                "expected {width} numbers in {}, as in the first row, found {}",
                at.display(),
                lengths[row]
            ),
            false => format!("expected a number in {}, found none", at.display()),
        };
        return Err(Error::argument(text).hint("a field has the same number of values for each image"));
    }
    if has_gaps || (is_list && width == 0 && !lengths.is_empty()) {
        return Err(Error::argument("expected lists of numbers, found missing or no numbers in them"));
    }
    let rows = lengths.len() as i64;
    let shape = if is_list { vec![rows, i64::from(width)] } else { vec![rows] };
    match values {
        Values::Ints(numbers) => Tensor::from_i64(&numbers, &shape),
        Values::Floats(numbers) => Tensor::from_f32(&numbers, &shape),
        Values::Doubles(numbers) => Tensor::from_f64(&numbers, &shape),
        Values::Texts(_) => Err(Error::internal("a field has text")),
    }
}

/// Joins a field of several files, which must have one shape and type.
fn joined(parts: &[Tensor], files: &[Opened]) -> Result<Tensor> {
    let with_rows: Vec<(&Tensor, &Opened)> =
        parts.iter().zip(files).filter(|(part, _)| part.shape()[0] > 0).collect();
    let Some((first, _)) = with_rows.first() else {
        return Tensor::zeros(&[0], DType::Float32, parts[0].device());
    };
    for (part, file) in &with_rows {
        if part.shape()[1..] != first.shape()[1..] || part.dtype() != first.dtype() {
            let (expected, found) = (first.signature(), part.signature());
            let text = format!("expected rows as in the first file, {expected}, found {found}");
            return Err(Error::file(file.rows.file(), text));
        }
    }
    let tensors: Vec<Tensor> = with_rows.iter().map(|(part, _)| (*part).clone()).collect();
    Tensor::cat(&tensors, 0)
}

/// Rows of all files with their labels.
struct Labeled {
    rows: Vec<Item>,
    labels: Vec<Option<i64>>,
    names: Vec<String>,
}

/// Numbers the classes of the rows of all files.
fn labeled(read: Vec<Opened>) -> Result<Labeled> {
    let (mut rows, mut numbers, mut words) = (Vec::new(), Vec::new(), Vec::new());
    let (mut all_names, mut is_plain): (Option<Option<Vec<String>>>, bool) = (None, false);
    for Opened { rows: file, classes, .. } in read {
        let file = Arc::new(file);
        let item = |row: u64| Item::Row { rows: Arc::clone(&file), row };
        let count = match classes {
            Classes::None(count) => {
                is_plain = true;
                count
            }
            Classes::Words(found) => {
                words.extend(found);
                words.len() as u64 - rows.len() as u64
            }
            Classes::Numbers(found, names) => {
                if all_names.get_or_insert_with(|| names.clone()) != &names {
                    return Err(Error::file(file.file(), "the file has other names of classes than the first")
                        .hint("open the files one by one, and join them by `data::join`, which matches classes by name"));
                }
                numbers.extend(found);
                numbers.len() as u64 - rows.len() as u64
            }
        };
        rows.extend((0..count).map(item));
    }
    if is_plain {
        let labels = vec![Some(0); rows.len()];
        return Ok(Labeled { rows, labels, names: vec!["images".to_string()] });
    }
    if words.len() == rows.len() {
        let known: Vec<String> = words.iter().flatten().cloned().collect();
        let (found, names) = numbered(&known)?;
        let mut found = found.into_iter();
        let labels = words.iter().map(|word| word.as_ref().and_then(|_| found.next())).collect();
        return Ok(Labeled { rows, labels, names });
    }
    if numbers.len() != rows.len() {
        return Err(Error::argument("expected classes of one type in all files, found names and numbers"));
    }
    let names = all_names.flatten();
    let most = names.as_ref().map_or(labels::CLASSES, |names| names.len() as i64);
    for (row, number) in rows.iter().zip(&numbers) {
        let Some(number) = number.filter(|number| !(0..most).contains(number)) else { continue };
        let error =
            Error::file(row.path(), format!("expected a class from 0 to {}, found {number}", most - 1));
        return Err(match number {
            -1 => error.hint(
                "test sets of the hub have no classes, which -1 stands for: `label_column: \"\"` opens them without",
            ),
            _ => error,
        });
    }
    let names = match names {
        Some(names) => names,
        None => {
            let known: Vec<i64> = numbers.iter().copied().flatten().collect();
            labels::class_names(&Tensor::from_i64(&known, &[known.len() as i64])?, None)?
        }
    };
    Ok(Labeled { rows, labels: numbers, names })
}

/// Reads the footer of a Parquet file in memory and the first row of its column of images, for tests on arbitrary bytes.
pub fn parse(bytes: &[u8]) -> Result<()> {
    let footer = Footer::read(&bytes)?;
    let choice = Choice::of(&footer, Wanted { image: None, label: None, fields: &[] })?;
    for leaf in [choice.label.map(|(_, leaf)| leaf), Some(choice.image.1)].into_iter().flatten() {
        for (_, chunks) in &footer.groups {
            page::each(&bytes, &chunks[leaf.number], leaf, |page| {
                column::places(&page);
                Ok(())
            })?;
        }
        if leaf.path.is_empty() && (leaf.is_text || leaf.physical != footer::Physical::Bytes) {
            Column::read(&bytes, &footer, leaf)?;
        }
    }
    Ok(())
}
