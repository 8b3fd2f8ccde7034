//! The files that a path names: with braces as in `train-{000..009}.tar`, with `*` and `?`, or inside an archive.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;

/// Endings of archives.
pub const ENDINGS: [&str; 2] = ["tar", "zip"];

/// Most files that braces may name.
const MOST: usize = 1_000_000;

/// Returns the files that a path names. What exists is taken as it is; otherwise braces are expanded, and `*` and `?`
/// match names in alphabetical order.
pub fn expand(path: &Path) -> Result<Vec<PathBuf>> {
    let Some(text) = path.to_str().filter(|text| !path.exists() && text.contains(['{', '*', '?'])) else {
        return Ok(vec![path.to_path_buf()]);
    };
    let mut found = Vec::new();
    for name in braces(text)? {
        match name.contains(['*', '?']) {
            true => {
                let before = found.len();
                matching(Path::new(""), &name, &mut found)?;
                if found.len() == before {
                    return Err(Error::file(&name, "no file has such a name"));
                }
            }
            false => found.push(PathBuf::from(name)),
        }
    }
    Ok(found)
}

/// Expands `{a,b}` and `{000..009}`, from the left.
fn braces(text: &str) -> Result<Vec<String>> {
    let wrong =
        || Error::argument(format!("expected braces such as {{000..009}} or {{a,b}}, found \"{text}\""));
    let Some((before, rest)) = text.split_once('{') else { return Ok(vec![text.to_string()]) };
    let (inside, after) = rest.split_once('}').ok_or_else(wrong)?;
    let words: Vec<String> = match inside.split_once("..") {
        Some((first, last)) => {
            let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
            let (from, to) = (number(first)?, number(last)?);
            if from > to || to - from >= MOST {
                return Err(wrong());
            }
            // As in bash, the longer of both numbers says how many digits there are, if one begins with 0.
            let padded = [first, last].iter().any(|text| text.len() > 1 && text.starts_with('0'));
            let width = if padded { first.len().max(last.len()) } else { 0 };
            (from..=to).map(|i| format!("{i:0width$}")).collect()
        }
        None if inside.contains(',') => inside.split(',').map(str::to_string).collect(),
        None => return Err(wrong()),
    };
    let ends = braces(after)?;
    if words.len().saturating_mul(ends.len()) > MOST {
        return Err(wrong());
    }
    Ok(words.iter().flat_map(|word| ends.iter().map(move |end| format!("{before}{word}{end}"))).collect())
}

/// Adds the paths that match `pattern`, part by part, from the folder `found` on.
fn matching(folder: &Path, pattern: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    let (part, rest) = match pattern.split_once('/') {
        Some((part, rest)) => (part, Some(rest)),
        None => (pattern, None),
    };
    let next = |path: PathBuf, found: &mut Vec<PathBuf>| match rest {
        // The rest is a folder in the archive.
        Some(rest) if is_archive(&path) => {
            found.push(path.join(rest));
            Ok(())
        }
        Some(rest) => matching(&path, rest, found),
        None if path.exists() => {
            found.push(path);
            Ok(())
        }
        None => Ok(()),
    };
    if !part.contains(['*', '?']) {
        let root = part.is_empty() && folder.as_os_str().is_empty();
        return next(if root { PathBuf::from("/") } else { folder.join(part) }, found);
    }
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if !listed.is_dir() {
        return Ok(());
    }
    for name in files::entries(listed)? {
        let hidden = name.to_string_lossy().starts_with('.') && !part.starts_with('.');
        if !hidden && fits(part.as_bytes(), name.as_encoded_bytes()) {
            next(folder.join(&name), found)?;
        }
    }
    Ok(())
}

fn is_archive(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) && path.is_file()
}

/// Returns whether a name fits a pattern of `*` and `?`.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => (star, p) = (Some((p, n)), p + 1),
            Some(c) if *c == b'?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                // The last star takes one more byte.
                Some((at, taken)) => (star, p, n) = (Some((at, taken + 1)), at + 1, taken + 1),
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// Splits a path such as `set.zip/train`, which leads into an archive, into the archive and the folder in it.
pub fn split(path: &Path) -> (PathBuf, PathBuf) {
    let whole = || (path.to_path_buf(), PathBuf::new());
    if path.exists() {
        return whole();
    }
    let file = path.ancestors().skip(1).find(|part| part.is_file());
    match file.and_then(|file| Some((file, path.strip_prefix(file).ok()?))) {
        Some((file, inside)) => (file.to_path_buf(), inside.to_path_buf()),
        None => whole(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_those_of_bash() {
        let all = |text: &str| braces(text).unwrap().join(" ");
        assert_eq!(all("a-{098..101}.tar"), "a-098.tar a-099.tar a-100.tar a-101.tar");
        assert_eq!(all("{8..10}"), "8 9 10");
        assert_eq!(all("{a,b}/{0..1}"), "a/0 a/1 b/0 b/1");
        for wrong in ["{a", "{}", "{1..x}", "{3..1}", "{0..99999999}", "{0..9999}{0..9999}"] {
            assert!(braces(wrong).unwrap_err().message().contains("expected braces"), "{wrong}");
        }
    }

    #[test]
    fn patterns_match_names() {
        for (pattern, name, fit) in [
            ("*.tar", "a.tar", true),
            ("*.tar", "a.tar.gz", false),
            ("a*b*c", "aXbYbZc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**", "", true),
            ("a*", "b", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), fit, "{pattern} {name}");
        }
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        for name in ["b/1.tar", "a/2.tar", "a/1.tar", "a/.3.tar", "a/x.zip", "a/*"] {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), "").unwrap();
        }
        assert_eq!(expand(&at("?/*.tar")).unwrap(), [at("a/1.tar"), at("a/2.tar"), at("b/1.tar")]);
        assert_eq!(expand(&at("a/?.zip/train")).unwrap(), [at("a/x.zip/train")]);
        assert_eq!(expand(&at("{b,a}/1.tar")).unwrap(), [at("b/1.tar"), at("a/1.tar")]);
        assert_eq!(expand(&at("a/*")).unwrap(), [at("a/*")]);
        assert!(expand(&at("c/*.tar")).unwrap_err().message().ends_with("no file has such a name"));
        assert_eq!(split(&at("a/x.zip/train/cats")), (at("a/x.zip"), PathBuf::from("train/cats")));
        assert_eq!(split(&at("a")), (at("a"), PathBuf::new()));
        assert_eq!(split(&at("no/where")), (at("no/where"), PathBuf::new()));
    }
}
