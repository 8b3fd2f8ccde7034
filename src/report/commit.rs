//! The commit that a folder's git repository is at, read from its files.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Returns the commit of the repository around a folder, or `None` if there is none.
pub fn of(folder: &Path) -> Option<String> {
    let git = folder.ancestors().map(|folder| folder.join(".git")).find(|git| git.exists())?;
    // A worktree has a file that names its folder.
    let git = match read_to_string(&git) {
        Ok(text) => git.parent()?.join(text.strip_prefix("gitdir:")?.trim()),
        Err(_) => git,
    };
    let head = read_to_string(git.join("HEAD")).ok()?;
    let Some(name) = head.strip_prefix("ref:").map(str::trim) else { return hash(&head) };
    let shared =
        read_to_string(git.join("commondir")).map_or_else(|_| git.clone(), |path| git.join(path.trim()));
    let loose = |folder: &PathBuf| read_to_string(folder.join(name)).ok().and_then(|text| hash(&text));
    loose(&git).or_else(|| loose(&shared)).or_else(|| packed(&shared, name))
}

fn packed(git: &Path, name: &str) -> Option<String> {
    let all = read_to_string(git.join("packed-refs")).ok()?;
    all.lines().find_map(|line| hash(line.strip_suffix(name)?.strip_suffix(' ')?))
}

fn hash(text: &str) -> Option<String> {
    let text = text.trim();
    (text.len() >= 40 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    #[test]
    fn a_commit_is_found_from_below_and_in_worktrees() {
        let place = tempfile::tempdir().unwrap();
        let (git, below) = (place.path().join(".git"), place.path().join("a/b"));
        for folder in
            [git.join("refs/heads/x"), git.join("worktrees/w"), below.clone(), place.path().join("w")]
        {
            create_dir_all(folder).unwrap();
        }
        let [one, two] = ["1".repeat(40), "2".repeat(40)];
        write(git.join("HEAD"), "ref: refs/heads/x/y\n").unwrap();
        assert_eq!(of(&below), None);
        write(git.join("packed-refs"), format!("# pack\n{two} refs/heads/x/y\n{one} refs/heads/y\n"))
            .unwrap();
        assert_eq!(of(&below), Some(two.clone()));
        write(git.join("refs/heads/x/y"), format!("{one}\n")).unwrap();
        assert_eq!(of(&below), Some(one.clone()));
        write(place.path().join("w/.git"), "gitdir: ../.git/worktrees/w\n").unwrap();
        write(git.join("worktrees/w/HEAD"), "ref: refs/heads/x/y\n").unwrap();
        write(git.join("worktrees/w/commondir"), "../..\n").unwrap();
        assert_eq!(of(&place.path().join("w")), Some(one));
        write(git.join("worktrees/w/HEAD"), &two).unwrap();
        assert_eq!(of(&place.path().join("w")), Some(two));
    }
}
