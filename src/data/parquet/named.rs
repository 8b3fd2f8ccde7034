//! Which Parquet files a path names: files, those that a pattern matches, or those of a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::archive::paths;
use crate::data::classes::{self, some};
use crate::data::tree::Tree;
use crate::error::{Error, Result};
use crate::files::{self, Kind};

/// Ending of the names of Parquet files.
const ENDING: &str = "parquet";

/// Most subfolders that are searched.
const MOST_BELOW: usize = 64;

/// Parquet files of a set.
#[derive(Debug)]
pub struct Named {
    /// The files in their order.
    pub files: Vec<PathBuf>,
    /// Path of the set for messages.
    pub root: PathBuf,
    /// Name of the set if none is given.
    pub name: String,
}

/// Returns the Parquet files that paths name, or none if they name something else.
pub fn named(given: &[PathBuf]) -> Result<Option<Named>> {
    let mut found = Vec::new();
    for path in given {
        found.extend(paths::expand(path)?);
    }
    if let [folder] = &found[..]
        && folder.is_dir()
    {
        return in_folder(folder);
    }
    let (ours, others): (Vec<&PathBuf>, Vec<&PathBuf>) = found.iter().partition(|path| is_parquet(path));
    match others.first() {
        _ if ours.is_empty() => return Ok(None),
        Some(other) => {
            return Err(Error::file(
                other,
                "expected Parquet files, found several paths with something else",
            )
            .hint("open them one by one, and join them by `data::join`"));
        }
        None => {}
    }
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = found.iter().find(|path| !seen.insert(*path)) {
        return Err(Error::file(twice, "the file is named twice"));
    }
    let word = word(&found[0]);
    let name = if word.is_empty() { "images".to_string() } else { word };
    let root = match found.len() {
        1 => found[0].clone(),
        count => PathBuf::from(format!("{} and {} more", found[0].display(), count - 1)),
    };
    Ok(Some(Named { files: found, root, name }))
}

fn is_parquet(path: &Path) -> bool {
    path.is_file() && (has_ending(path) || matches!(files::kind(path), Ok(Some(Kind::Parquet))))
}

fn has_ending(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(ENDING))
}

/// Returns the name of a file without the number of its part: `train` of `train-00000-of-00005.parquet`.
fn word(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let parts: Vec<&str> = stem.split('-').collect();
    let is_number = |part: Option<&&str>| part.is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    let of = (1..parts.len())
        .find(|i| parts[*i] == "of" && is_number(parts.get(i - 1)) && is_number(parts.get(i + 1)));
    match of {
        Some(of) => parts[..of - 1].join("-"),
        None => {
            stem.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | '_' | '.')).to_string()
        }
    }
}

/// Returns the Parquet files of a folder without images: its own, or those of its only folder with such files.
fn in_folder(folder: &Path) -> Result<Option<Named>> {
    let own = files_in(folder)?;
    let mut below = Vec::new();
    if own.is_empty() {
        for name in files::entries(folder)? {
            let (path, name) = (folder.join(&name), name.to_string_lossy());
            if !name.starts_with('.') && !classes::is_litter(&name) && path.is_dir() {
                below.push(path);
            }
        }
    }
    // More are folders of classes, which would take long to list. The search for images names one that cannot be read.
    match below.len() > MOST_BELOW {
        true => below.clear(),
        false => below.retain(|path| files_in(path).is_ok_and(|files| !files.is_empty())),
    }
    if (own.is_empty() && below.is_empty()) || classes::all(&Tree::Disk, folder).is_ok() {
        return Ok(None);
    }
    let place = match &below[..] {
        [] => folder,
        [only] => only,
        [first, ..] => {
            let names: Vec<String> = below.iter().map(|path| path.display().to_string()).collect();
            let text =
                format!("expected the Parquet files of one set, found folders of several: {}", some(&names));
            return Err(
                Error::file(folder, text).hint(format!("open one of them, such as {}", first.display()))
            );
        }
    };
    let files = if own.is_empty() { files_in(place)? } else { own };
    let mut words: BTreeMap<String, &PathBuf> = BTreeMap::new();
    for file in &files {
        words.entry(word(file)).or_insert(file);
    }
    if words.len() > 1 {
        let names: Vec<String> = words.keys().cloned().collect();
        let first = if words.contains_key("train") { "train" } else { names[0].as_str() };
        let one = place.join(format!("{first}*.{ENDING}"));
        return Err(Error::file(
            place,
            format!("expected the files of one split, found several: {}", some(&names)),
        )
        .hint(format!("open one of them: \"{}\"", one.display())));
    }
    let name = folder.file_name().map_or("images".to_string(), |name| name.to_string_lossy().into_owned());
    Ok(Some(Named { files, root: place.to_path_buf(), name }))
}

/// Returns the Parquet files in a folder, in alphabetical order.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let all = files::entries(folder)?.into_iter();
    let visible = all.filter(|name| !name.to_string_lossy().starts_with('.'));
    Ok(visible.map(|name| folder.join(name)).filter(|path| has_ending(path) && path.is_file()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_part_is_no_word_of_its_name() {
        for (name, expected) in [
            ("train-00000-of-00005.parquet", "train"),
            ("train-00000-of-00005-a1b2.parquet", "train"),
            ("part-of-day-00000-of-00001.parquet", "part-of-day"),
            ("0000.parquet", ""),
            ("cats_12.parquet", "cats"),
            ("cats.parquet", "cats"),
        ] {
            assert_eq!(word(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn a_folder_has_the_files_of_one_split() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let write = |name: &str| {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), "").unwrap();
        };
        assert!(named(&[at("")]).unwrap().is_none());
        for name in
            ["a/data/train-00001-of-00002.parquet", "a/data/train-00000-of-00002.parquet", "a/README.md"]
        {
            write(name);
        }
        let found = named(&[at("a")]).unwrap().unwrap();
        let files = ["a/data/train-00000-of-00002.parquet", "a/data/train-00001-of-00002.parquet"].map(at);
        assert_eq!((found.files, found.name.as_str()), (files.to_vec(), "a"));
        write("a/data/test-00000-of-00001.parquet");
        let error = named(&[at("a")]).unwrap_err();
        assert!(
            error.message().ends_with("expected the files of one split, found several: `test`, `train`"),
            "{error}"
        );
        assert!(error.hint_text().unwrap().ends_with("data/train*.parquet\""), "{error}");
        let found = named(&[at("a/data/train*.parquet")]).unwrap().unwrap();
        assert_eq!((found.files.len(), found.name.as_str()), (2, "train"));
        write("a/more/x.parquet");
        assert!(named(&[at("a")]).unwrap_err().message().contains("found folders of several"));
        write("b/cat/0.png");
        write("b/metadata.parquet");
        assert!(named(&[at("b")]).unwrap().is_none());
        write("a/x.tar");
        let error = named(&[at("a/more/x.parquet"), at("a/x.tar")]).unwrap_err();
        assert!(error.message().contains("found several paths with something else"), "{error}");
    }
}
