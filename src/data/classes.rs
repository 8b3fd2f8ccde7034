//! Image files and classes of a folder, on disk or in archives.

use std::path::{Path, PathBuf};

use super::tree::Tree;
use crate::error::{Error, Result};

/// Folders created by other systems, to be ignored; names that start with a dot are ignored too.
const LITTER: [&str; 8] = [
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "__pycache__",
    "Thumbs.db",
];

/// Returns whether a folder was created by another system.
pub fn is_litter(name: &str) -> bool {
    LITTER.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Extensions of supported image files.
pub const READ: [&str; 4] = ["png", "jpg", "jpeg", "webp"];
/// Returns whether a name is that of a supported image file.
pub fn is_image(name: &Path) -> bool {
    let ending = name.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    READ.contains(&ending.as_str())
}

/// Extensions of unsupported image files.
pub const OTHERS: [&str; 9] = ["gif", "bmp", "tif", "tiff", "avif", "heic", "jfif", "jp2", "ppm"];

/// Maximum number of names in a note.
const NAMED: usize = 4;

/// Contents of a folder.
#[derive(Debug, Default)]
pub struct Found {
    /// Image files with their labels, ordered by class and name.
    pub images: Vec<(PathBuf, i64)>,
    /// Names of the classes, in the order of their labels.
    pub classes: Vec<String>,
    /// Notes on skipped files and folders.
    pub notes: Vec<String>,
}

/// Finds the images of a folder. Subfolders with images, at any depth, are the classes; without any, the folder's own
/// images form one class. Names that are numbers, or a word and a number, are ordered by number, others
/// alphabetically.
pub fn find(tree: &Tree, path: &Path) -> Result<Found> {
    let mut found = Found::default();
    let mut search = Search::of(tree);
    let own = search.images_in(path)?;
    search.way.push(tree.real(path)?);
    let (mut empty, mut classes) = (Vec::new(), Vec::new());
    for (name, folder) in search.folders_in(path)? {
        let images = search.images_below(&folder, Path::new(&name))?;
        match images.is_empty() {
            true => empty.push(name),
            false => classes.push((name, images)),
        }
    }
    let Search { litter, deep, others, .. } = search;
    let is_split = |name: &str| SPLITS.iter().any(|split| split.eq_ignore_ascii_case(name));
    if classes.len() > 1 && classes.iter().all(|(name, _)| is_split(name)) {
        let first = path.join(&classes[0].0);
        return Err(Error::file(path, format!("expected classes, found splits: {}", some(&names(&classes))))
            .hint(format!("open one of them, such as {}", first.display())));
    }
    in_order(&mut classes);
    if !litter.is_empty() {
        found.notes.push(format!(
            "skipped {} created by another system: {}",
            folders(litter.len()),
            some(&litter)
        ));
    }
    if !empty.is_empty() {
        let what =
            format!("skipped {} without PNG, JPEG or WebP images: {}", folders(empty.len()), some(&empty));
        found.notes.push(what);
    }
    if !deep.is_empty() {
        found.notes.push(format!(
            "{} inside the class folders belong to the class: {}",
            folders(deep.len()),
            some(&deep)
        ));
    }
    match classes.is_empty() {
        true => {
            found.images.extend(own.into_iter().map(|image| (image, 0)));
            found.classes.push("images".to_string());
        }
        false => {
            if !own.is_empty() {
                let beside = own.len();
                found.notes.push(format!("skipped {beside} images outside of the class folders"));
            }
            for (label, (class, images)) in classes.into_iter().enumerate() {
                found.images.extend(images.into_iter().map(|image| (image, label as i64)));
                found.classes.push(class);
            }
        }
    }
    found.notes.extend(others.note());
    if found.images.is_empty() {
        let error = Error::file(path, "expected PNG, JPEG or WebP images, found none");
        return Err(match found.notes.first() {
            Some(note) => error.hint(note.clone()),
            None => error.hint("each class is a folder of files that end in .png, .jpg or .jpeg"),
        });
    }
    Ok(found)
}

/// Returns all images of a folder and of its subfolders, ordered by path, and notes on skipped files and folders.
pub fn all(tree: &Tree, path: &Path) -> Result<(Vec<PathBuf>, Vec<String>)> {
    let mut search = Search::of(tree);
    let mut images = search.images_below(path, Path::new(""))?;
    images.sort();
    match images.is_empty() {
        true => {
            let error = Error::file(path, "expected PNG, JPEG or WebP images, found none");
            Err(match search.others.note() {
                Some(note) => error.hint(note),
                None => error,
            })
        }
        false => Ok((images, search.others.note().into_iter().collect())),
    }
}

/// Image files of unsupported formats.
#[derive(Default)]
pub struct Others {
    count: usize,
    first: Option<PathBuf>,
}

impl Others {
    /// Counts a file.
    pub fn add(&mut self, path: PathBuf) {
        self.count += 1;
        self.first.get_or_insert(path);
    }

    /// Says how many there were, if any.
    pub fn note(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(format!(
            "skipped {} image files that are not PNG, JPEG or WebP, the first is {}",
            self.count,
            first.display()
        ))
    }
}

/// Names of folders that split a data set.
const SPLITS: [&str; 7] = ["train", "training", "val", "valid", "validation", "test", "testing"];

/// What a search met beside images.
struct Search<'a> {
    tree: &'a Tree,
    /// Folders created by other systems.
    litter: Vec<String>,
    /// Folders with images inside folders of classes.
    deep: Vec<String>,
    others: Others,
    /// The searched folder and the folders on the way to the current one, without links.
    way: Vec<PathBuf>,
}

impl<'a> Search<'a> {
    fn of(tree: &'a Tree) -> Self {
        let (litter, deep, others, way) = (Vec::new(), Vec::new(), Others::default(), Vec::new());
        Self { tree, litter, deep, others, way }
    }

    /// Returns the images of a class folder and of its subfolders; `name` is its path in the searched folder.
    fn images_below(&mut self, folder: &Path, name: &Path) -> Result<Vec<PathBuf>> {
        let real = self.tree.real(folder)?;
        // A link may lead back to a folder above.
        if self.way.contains(&real) {
            return Ok(Vec::new());
        }
        let mut images = self.images_in(folder)?;
        if self.way.len() > 1 && !images.is_empty() {
            self.deep.push(name.display().to_string());
        }
        self.way.push(real);
        for (below, folder) in self.folders_in(folder)? {
            images.extend(self.images_below(&folder, &name.join(below))?);
        }
        self.way.pop();
        Ok(images)
    }

    /// Returns the subfolders that may hold images, with their names.
    fn folders_in(&mut self, folder: &Path) -> Result<Vec<(String, PathBuf)>> {
        let mut folders = Vec::new();
        for entry in self.tree.names(folder)? {
            let (name, path) = (entry.to_string_lossy().into_owned(), folder.join(&entry));
            if name.starts_with('.') || !self.tree.is_dir(&path) {
                continue;
            }
            match is_litter(&name) {
                true => self.litter.push(name),
                false => folders.push((name, path)),
            }
        }
        Ok(folders)
    }

    fn images_in(&mut self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut images = Vec::new();
        for entry in self.tree.names(folder)? {
            // macOS creates files such as ._1.png, which contain no image.
            if entry.to_string_lossy().starts_with('.') {
                continue;
            }
            let path = folder.join(&entry);
            let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
            if READ.contains(&ending.as_str()) && self.tree.is_file(&path) {
                images.push(path);
            } else if OTHERS.contains(&ending.as_str()) {
                self.others.add(path);
            }
        }
        Ok(images)
    }
}

fn names<T>(classes: &[(String, T)]) -> Vec<String> {
    classes.iter().map(|(name, _)| name.clone()).collect()
}

/// Orders folders by the numbers at the end of their names, if all have one after the same word.
pub fn in_order<T>(classes: &mut [(String, T)]) {
    let parts = |name: &str| {
        let word = name.trim_end_matches(|c: char| c.is_ascii_digit()).to_string();
        let number = name[word.len()..].parse::<u128>().ok()?;
        Some((word, number))
    };
    let word = classes.first().and_then(|(name, _)| parts(name)).map(|(word, _)| word);
    if word.is_some() && classes.iter().all(|(name, _)| parts(name).map(|(w, _)| w) == word) {
        classes.sort_by_key(|(name, _)| (parts(name).map(|(_, number)| number), name.clone()));
    }
}

fn folders(count: usize) -> String {
    if count == 1 { "1 folder".to_string() } else { format!("{count} folders") }
}

/// Lists names; of many only the first.
pub fn some(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(NAMED);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for file in files {
            let path = place.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        place
    }

    fn classes(files: &[&str]) -> (Vec<String>, String) {
        let found = find(&Tree::Disk, folder(files).path()).unwrap();
        (found.classes, found.notes.join("\n"))
    }

    #[test]
    fn litter_and_empty_folders_are_no_classes_and_that_is_said_once() {
        let files = [
            "cat/0.png",
            "cat/._0.png",
            "cat/Thumbs.db",
            "dog/0.JPEG",
            "__MACOSX/cat/._0.png",
            "__MACOSX/x.png",
            "@eaDir/SYNO.jpg",
            "$RECYCLE.BIN/a.png",
            ".ipynb_checkpoints/a.png",
            ".DS_Store",
            "lists/train.txt",
            "lists/deep/notes.txt",
            "beside.png",
            "cat/1.gif",
            "cat/2.HEIC",
        ];
        let (classes, notes) = classes(&files);
        assert_eq!(classes, ["cat", "dog"]);
        for part in [
            "skipped 3 folders created by another system: `$RECYCLE.BIN`, `@eaDir`, `__MACOSX`",
            "skipped 1 folder without PNG, JPEG or WebP images: `lists`",
            "skipped 1 images outside of the class folders",
            "skipped 2 image files that are not PNG, JPEG or WebP, the first is ",
        ] {
            assert!(notes.contains(part), "{notes}");
        }
        let (classes, notes) = tests::classes(&["a.png", "b.jpg"]);
        assert_eq!((classes, notes.as_str()), (vec!["images".to_string()], ""));
    }

    #[test]
    fn images_at_any_depth_belong_to_their_class_and_splits_are_no_classes() {
        let place = folder(&["cat/0.png", "cat/more/1.png", "cat/more/most/2.png", "dog/images/0.png"]);
        #[cfg(unix)]
        std::os::unix::fs::symlink(place.path(), place.path().join("dog/circle.png")).unwrap();
        let found = find(&Tree::Disk, place.path()).unwrap();
        assert_eq!(found.classes, ["cat", "dog"]);
        assert_eq!(found.images.iter().map(|(_, label)| *label).collect::<Vec<_>>(), [0, 0, 0, 1]);
        let note = "3 folders inside the class folders belong to the class: `cat/more`, `cat/more/most`, `dog/images`";
        assert_eq!(found.notes, [note]);
        let error = find(&Tree::Disk, folder(&["train/a/0.png", "val/a/0.png"]).path()).unwrap_err();
        assert!(error.message().ends_with("expected classes, found splits: `train`, `val`"), "{error}");
        assert!(error.hint_text().unwrap().ends_with("train"), "{error}");
        for splits in [["flat/train/0.png", "flat/val/0.png"], ["flat/Train/0.png", "flat/TEST/0.png"]] {
            let error = find(&Tree::Disk, &folder(&splits).path().join("flat")).unwrap_err();
            assert!(error.message().contains("expected classes, found splits"), "{error}");
        }
        assert_eq!(classes(&["train/0.png", "bus/0.png"]).0, ["bus", "train"]);
    }

    #[cfg(unix)]
    #[test]
    fn names_need_not_be_text() {
        use std::os::unix::ffi::OsStrExt;
        let place = folder(&["a/0.png"]);
        let odd = place.path().join(std::ffi::OsStr::from_bytes(b"b\xe9"));
        std::fs::create_dir(&odd).unwrap();
        std::fs::write(odd.join(std::ffi::OsStr::from_bytes(b"\xe9.png")), "").unwrap();
        let found = find(&Tree::Disk, place.path()).unwrap();
        assert_eq!(found.classes, ["a", "b\u{fffd}"]);
        assert!(found.images[1].0.is_file());
    }

    #[test]
    fn numbered_folders_are_ordered_by_number() {
        let order = |names: &[&str]| {
            let files: Vec<String> = names.iter().map(|name| format!("{name}/0.png")).collect();
            classes(&files.iter().map(String::as_str).collect::<Vec<_>>()).0
        };
        assert_eq!(order(&["10", "9", "0", "2"]), ["0", "2", "9", "10"]);
        assert_eq!(order(&["class_10", "class_9"]), ["class_9", "class_10"]);
        assert_eq!(order(&["01", "1", "10", "2"]), ["01", "1", "2", "10"]);
        assert_eq!(order(&["b10", "a9", "b9"]), ["a9", "b10", "b9"]);
        assert_eq!(order(&["10", "9", "cat"]), ["10", "9", "cat"]);
        assert_eq!(order(&["n01443537", "n01440764"]), ["n01440764", "n01443537"]);
    }

    #[test]
    fn a_folder_of_other_formats_says_so() {
        let error = find(&Tree::Disk, folder(&["a/0.avif"]).path()).unwrap_err();
        assert!(error.message().contains("expected PNG, JPEG or WebP images, found none"), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("skipped")), "{error}");
    }
}
