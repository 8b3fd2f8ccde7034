//! Where the images of a set are: a folder on disk, or archives and perhaps a folder in them.

use std::path::{Path, PathBuf};

use super::archive::{Listing, Packing, paths};
use super::classes;
use super::manifest;
use super::tree::Tree;
use crate::context::Context;
use crate::ensure;
use crate::error::{Error, Result};
use crate::files;

/// A folder of images.
#[derive(Debug)]
pub struct Place {
    /// Where the folder is.
    pub tree: Tree,
    /// Its path.
    pub folder: PathBuf,
    /// Name of the set if none is given.
    pub name: String,
}

impl Place {
    /// Opens what paths name: one folder, or zip and tar files, by name, with braces or with `*`. A path may lead to a
    /// folder in an archive. Of files with the endings `small` the content is read with the index. With `skip` an
    /// archive whose end is missing is read up to there.
    pub fn open(given: &[PathBuf], small: &[&str], skip: bool, cx: &Context) -> Result<Self> {
        let mut found = Vec::new();
        for path in given {
            found.extend(paths::expand(path)?);
        }
        ensure!(!found.is_empty(), "expected the path of a folder, or of zip or tar files, found none");
        let [first, others @ ..] = &found[..] else { return Err(Error::internal("no paths")) };
        let (archive, folder) = paths::split(first);
        if others.is_empty() && !archive.is_file() {
            let name =
                first.file_name().map_or("images".to_string(), |name| name.to_string_lossy().into_owned());
            return Ok(Self { tree: Tree::Disk, folder: first.clone(), name });
        }
        if let Some(dir) = found.iter().find(|path| path.is_dir()) {
            return Err(Error::file(
                dir,
                "expected one folder, or zip and tar files, found several paths with a folder",
            )
            .hint("put the images into one folder, or their archives into one array"));
        }
        let (mut archives, mut seen) = (Vec::new(), std::collections::HashSet::new());
        for path in &found {
            let (archive, inside) = paths::split(path);
            if inside != folder {
                let text = "expected the same folder in all archives";
                return Err(Error::file(path, text).hint("name the archives, or one folder in all of them"));
            }
            if !seen.insert(archive.clone()) {
                return Err(Error::file(&archive, "the archive is named twice"));
            }
            archives.push(archive);
        }
        let name = match folder.file_name().or_else(|| archives[0].file_stem()) {
            Some(name) => name.to_string_lossy().into_owned(),
            None => "images".to_string(),
        };
        let (root, name) = match archives.len() {
            1 => (archives[0].clone(), name),
            count => {
                let word =
                    name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
                let word = if word.is_empty() { &name } else { word }.to_string();
                (PathBuf::from(format!("{} and {} more", archives[0].display(), count - 1)), word)
            }
        };
        let listing = Listing::open(&archives, &root, small, skip, cx)?;
        listing.notes.iter().for_each(|note| cx.note(&format!("{}: {note}", root.display())));
        let tree = Tree::Archives(listing);
        let folder = if folder.as_os_str().is_empty() { root.clone() } else { root.join(folder) };
        if !tree.is_dir(&folder) {
            return Err(Error::file(&folder, "there is no such folder in the archive")
                .hint(format!("its top holds {}", classes::some(&visible(&tree, &root)?))));
        }
        let top = common(&tree, folder.clone())?;
        if top != folder {
            cx.note(&format!("{}: the images are in its folder `{}`", root.display(), inside(&top, &root)));
        }
        Ok(Self { tree, folder: top, name })
    }

    /// Adds to the error of a folder without images that it holds archives, or an archive of latents.
    pub fn explain(&self, error: Error) -> Error {
        if !error.message().ends_with("found none") {
            return error;
        }
        if let Tree::Archives(listing) = &self.tree {
            let is_array = |name: &str| name.ends_with(".npy");
            return match listing.files().iter().find(|file| is_array(&file.entry.name)) {
                // Arrays in a tar have no checksum, which a set of latents is known by.
                Some(file) if file.entry.place.packing == Packing::Tar => error.hint(
                    "it holds arrays: `data::latents(path)` opens those of latents in a zip file, so unpack it and zip them",
                ),
                Some(_) => error.hint("it holds arrays: `data::latents(path)` opens those of latents"),
                None => error,
            };
        }
        let Ok(names) = files::entries(&self.folder) else { return error };
        let ending = |name: &Path| {
            let found = name.extension()?.to_str()?.to_lowercase();
            paths::ENDINGS.into_iter().find(|ending| *ending == found)
        };
        match names.iter().find_map(|name| ending(Path::new(name))) {
            Some(ending) => {
                let all = self.folder.join(format!("*.{ending}"));
                error.hint(format!("the folder holds archives, which \"{}\" opens", all.display()))
            }
            None => error,
        }
    }
}

fn inside(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// Returns the names in a folder that other systems did not leave there.
fn visible(tree: &Tree, folder: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> =
        tree.names(folder)?.into_iter().map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.') && !classes::is_litter(name));
    names.dedup();
    Ok(names)
}

/// Returns the folder that holds the classes: while a folder holds one folder and no images, and that holds folders or
/// `dataset.json`, it is that one, since archives are often made of a folder as a whole.
fn common(tree: &Tree, folder: PathBuf) -> Result<PathBuf> {
    let mut folder = folder;
    loop {
        let names = visible(tree, &folder)?;
        let folders: Vec<PathBuf> =
            names.iter().map(|name| folder.join(name)).filter(|path| tree.is_dir(path)).collect();
        let [only] = &folders[..] else { return Ok(folder) };
        let is_image = |name: &String| classes::is_image(Path::new(name));
        if names.iter().any(|name| is_image(name) || name == manifest::NAME) {
            return Ok(folder);
        }
        let below = visible(tree, only)?;
        if !below.iter().any(|name| name == manifest::NAME || tree.is_dir(&only.join(name))) {
            return Ok(folder);
        }
        folder = only.clone();
    }
}
