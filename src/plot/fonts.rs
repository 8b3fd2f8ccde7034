//! System fonts, for characters that the embedded font lacks.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ab_glyph::{Font, FontVec, GlyphId};

/// Environment variable that names a folder with fonts, which is searched first.
const VARIABLE: &str = "SPECTRAL_FONTS";

/// Number of font files that are searched, and their largest size.
const MOST: usize = 2000;
const LARGEST: u64 = 64 << 20;

/// System fonts loaded so far.
#[derive(Debug)]
pub(crate) struct Fonts {
    state: RefCell<State>,
    /// Folder that is searched before those of the system.
    own: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct State {
    fonts: Vec<FontVec>,
    /// Font and glyph of each character searched for; `None` if no font has it.
    found: BTreeMap<char, Option<(usize, GlyphId)>>,
}

impl Default for Fonts {
    fn default() -> Self {
        Self::with_folder(std::env::var_os(VARIABLE).map(PathBuf::from))
    }
}

impl Fonts {
    /// Creates an empty collection; the fonts in the folder take precedence over those of the system.
    pub fn with_folder(own: Option<PathBuf>) -> Self {
        Self { state: RefCell::default(), own }
    }

    /// Searches for all characters at once in the system fonts, since each search opens files.
    pub fn look_for(&self, characters: impl Iterator<Item = char>) {
        let state = &mut *self.state.borrow_mut();
        let mut wanted: BTreeSet<char> = characters.filter(|c| !state.found.contains_key(c)).collect();
        for (number, font) in state.fonts.iter().enumerate() {
            wanted.retain(|c| match glyph(font, *c) {
                Some(id) => state.found.insert(*c, Some((number, id))).is_some(),
                None => true,
            });
        }
        let mut files = if wanted.is_empty() { Vec::new() } else { files(self.own.as_deref()) }.into_iter();
        while let (false, Some(file)) = (wanted.is_empty(), files.next()) {
            let Ok(bytes) = std::fs::read(&file) else { continue };
            // The fonts of one file share most of their characters.
            let Ok(font) = FontVec::try_from_vec_and_index(bytes, 0) else { continue };
            let has: Vec<(char, GlyphId)> =
                wanted.iter().filter_map(|c| Some((*c, glyph(&font, *c)?))).collect();
            if has.is_empty() {
                continue;
            }
            for (c, id) in has {
                wanted.remove(&c);
                state.found.insert(c, Some((state.fonts.len(), id)));
            }
            state.fonts.push(font);
        }
        state.found.extend(wanted.into_iter().map(|c| (c, None)));
    }

    /// Calls `read` with the font and glyph of a character that was searched for; returns `None` if no font has it.
    pub fn with<T>(&self, character: char, read: impl FnOnce(usize, &FontVec, GlyphId) -> T) -> Option<T> {
        let state = self.state.borrow();
        let (number, id) = (*state.found.get(&character)?)?;
        state.fonts.get(number).map(|font| read(number, font, id))
    }
}

/// Returns the glyph of a character if it can be drawn; color fonts have no outlines.
fn glyph(font: &FontVec, character: char) -> Option<GlyphId> {
    let id = font.glyph_id(character);
    (id.0 != 0 && font.outline(id).is_some()).then_some(id)
}

/// Returns the font files of the system: those of the given folder first, then those with many characters.
fn files(own: Option<&Path>) -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let folders = [
        PathBuf::from("/usr/share/fonts"),
        PathBuf::from("/usr/local/share/fonts"),
        home.join(".fonts"),
        home.join(".local/share/fonts"),
        home.join("Library/Fonts"),
        PathBuf::from("/Library/Fonts"),
        PathBuf::from("/System/Library/Fonts"),
        PathBuf::from("C:\\Windows\\Fonts"),
    ];
    let mut found = Vec::new();
    if let Some(own) = own {
        collect(own, &mut found);
    }
    let first = found.len();
    folders.iter().for_each(|folder| collect(folder, &mut found));
    let rank = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let wide = ["cjk", "unifont", "wqy", "droid", "pingfang", "msyh", "noto", "symbol"];
        let plain = !["bold", "italic", "oblique", "light", "black", "serif", "mono"]
            .iter()
            .any(|w| name.contains(w));
        (!plain, wide.iter().position(|w| name.contains(w)).unwrap_or(wide.len()), name)
    };
    found[first..].sort_by_cached_key(rank);
    found.truncate(MOST);
    found
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        if found.len() >= MOST {
            return;
        }
        // A link may lead back to a parent folder.
        if path.is_dir() && !path.is_symlink() {
            collect(&path, found);
            continue;
        }
        let kind = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        let small = std::fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= LARGEST);
        if small && ["ttf", "otf", "ttc", "otc"].contains(&kind.as_str()) {
            found.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a font that has one character, a square of 500 units with an advance of 600.
    fn square(character: char) -> Vec<u8> {
        let u16s =
            |values: &[i32]| values.iter().flat_map(|v| (*v as u16).to_be_bytes()).collect::<Vec<u8>>();
        let head = [
            u16s(&[1, 0, 1, 0, 0, 0]),
            0x5f0f_3cf5_u32.to_be_bytes().to_vec(),
            u16s(&[0, 1000]),
            vec![0; 16],
            u16s(&[0, 0, 500, 500, 0, 8, 2, 0, 0]),
        ];
        let hhea = u16s(&[1, 0, 800, -200, 0, 600, 0, 0, 500, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
        let maxp = [u16s(&[1, 0, 2]), vec![0; 26]];
        let glyph =
            [u16s(&[1, 0, 0, 500, 500, 3, 0]), vec![1; 4], u16s(&[0, 500, 0, -500]), u16s(&[0, 0, 500, 0])];
        let glyph = glyph.concat();
        let group = [u32::from(character), u32::from(character), 1].map(u32::to_be_bytes).concat();
        let cmap = [u16s(&[0, 1, 3, 10, 0, 12, 12, 0]), [28_u32, 0, 1].map(u32::to_be_bytes).concat(), group];
        let tables: [(&[u8; 4], Vec<u8>); 7] = [
            (b"cmap", cmap.concat()),
            (b"glyf", glyph.clone()),
            (b"head", head.concat()),
            (b"hhea", hhea),
            (b"hmtx", u16s(&[600, 0, 600, 0])),
            (b"loca", u16s(&[0, 0, glyph.len() as i32 / 2])),
            (b"maxp", maxp.concat()),
        ];
        let mut directory = [u16s(&[1, 0]), u16s(&[7, 64, 2, 48])].concat();
        let mut body = Vec::new();
        for (tag, table) in &tables {
            directory.extend_from_slice(*tag);
            for number in [0, 12 + 16 * 7 + body.len() as u32, table.len() as u32] {
                directory.extend_from_slice(&number.to_be_bytes());
            }
            body.extend_from_slice(table);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        [directory, body].concat()
    }

    #[test]
    fn a_character_is_found_in_a_font_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (here, nowhere) = ('\u{10fffd}', '\u{10fffc}');
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        std::fs::write(folder.path().join("inner/square.ttf"), square(here)).unwrap();
        std::fs::write(folder.path().join("broken.ttf"), b"no font").unwrap();
        let fonts = Fonts::with_folder(Some(folder.path().to_path_buf()));
        fonts.look_for([here, nowhere].into_iter());
        let advance = fonts.with(here, |_, font, id| font.h_advance_unscaled(id));
        assert_eq!(advance, Some(600.0));
        assert!(fonts.with(nowhere, |_, _, _| ()).is_none());
    }
}
