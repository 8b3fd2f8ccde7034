//! Reads and edits ELF programs: the C library that they need and their library search path.

use object::Endianness;
use object::elf::{DT_RPATH, DT_RUNPATH, FileHeader64};
use object::read::StringTable;
use object::read::elf::{Dyn, FileHeader, SectionHeader};

use crate::failure::{Failure, Result};

/// Symbol versions of the C++ library and the minor version of the oldest glibc (2.x) of a distribution that has
/// them. These are the limits that `manylinux` sets.
const CXX: [(&str, u32); 9] = [
    ("GLIBCXX_3.4.24", 28),
    ("GLIBCXX_3.4.28", 31),
    ("GLIBCXX_3.4.29", 34),
    ("GLIBCXX_3.4.30", 35),
    ("GLIBCXX_3.4.33", 39),
    ("CXXABI_1.3.11", 28),
    ("CXXABI_1.3.12", 31),
    ("CXXABI_1.3.13", 34),
    ("CXXABI_1.3.15", 39),
];

fn unreadable(cause: object::Error) -> Failure {
    Failure::new(format!("expected a 64-bit ELF program: {cause}"))
}

/// Returns the x of the oldest glibc 2.x on which a program starts.
pub fn glibc(program: &[u8]) -> Result<u32> {
    let header = FileHeader64::<Endianness>::parse(program).map_err(unreadable)?;
    let endian = header.endian().map_err(unreadable)?;
    let sections = header.sections(endian, program).map_err(unreadable)?;
    let mut oldest = 0;
    let Some((mut needs, strings)) = sections.gnu_verneed(endian, program).map_err(unreadable)? else {
        return Ok(oldest);
    };
    let strings = sections.strings(endian, program, strings).map_err(unreadable)?;
    while let Some((_, mut versions)) = needs.next().map_err(unreadable)? {
        while let Some(version) = versions.next().map_err(unreadable)? {
            let name = version.name(endian, strings).map_err(unreadable)?;
            oldest = oldest.max(needed(&String::from_utf8_lossy(name))?);
        }
    }
    Ok(oldest)
}

/// Returns the x of the glibc 2.x that provides a symbol version.
fn needed(version: &str) -> Result<u32> {
    if let Some(rest) = version.strip_prefix("GLIBC_2.") {
        return Ok(rest.split('.').next().and_then(|minor| minor.parse().ok()).unwrap_or(0));
    }
    let Some((name, _)) = version.split_once("_").filter(|(name, _)| ["GLIBCXX", "CXXABI"].contains(name))
    else {
        // Symbol versions of libgcc are older than all of these.
        return Ok(0);
    };
    let wanted = numbers(version);
    let fits = |(limit, _): &&(&str, u32)| limit.starts_with(name) && wanted <= numbers(limit);
    CXX.iter().find(fits).map(|(_, glibc)| *glibc).ok_or_else(|| {
        Failure::new(format!("the program needs {version} of the C++ library, which no wheel tag covers"))
            .hint("build with an older compiler, on an older distribution")
    })
}

/// Returns the numbers of a version, for comparison.
fn numbers(version: &str) -> Vec<u32> {
    let digits = version.rsplit('_').next().unwrap_or_default();
    digits.split('.').filter_map(|n| n.parse().ok()).collect()
}

/// Replaces the library search path of a program. The new path must not be longer than the old one.
pub fn search_in(program: &mut [u8], folders: &str) -> Result<()> {
    let (from, before) = search_path(program)?.ok_or_else(|| {
        Failure::new("expected a program with a library search path for libtorch, found none")
    })?;
    if folders.len() > before.len() {
        return Err(Failure::new(format!(
            "the folder of the libtorch that was linked, {before}, has a name shorter than {folders}"
        ))
        .hint("give it a longer one, or unset LIBTORCH"));
    }
    let place = &mut program[from..from + before.len()];
    place.fill(0);
    place[..folders.len()].copy_from_slice(folders.as_bytes());
    Ok(())
}

/// Returns the library search path of a program and its byte offset.
fn search_path(program: &[u8]) -> Result<Option<(usize, String)>> {
    let header = FileHeader64::<Endianness>::parse(program).map_err(unreadable)?;
    let endian = header.endian().map_err(unreadable)?;
    let sections = header.sections(endian, program).map_err(unreadable)?;
    let Some((entries, strings)) = sections.dynamic(endian, program).map_err(unreadable)? else {
        return Ok(None);
    };
    let (from, _) = sections.section(strings).map_err(unreadable)?.file_range(endian).unwrap_or_default();
    let strings: StringTable<'_> = sections.strings(endian, program, strings).map_err(unreadable)?;
    for entry in entries {
        let (tag, at) = (entry.tag(endian), entry.val(endian));
        if tag == DT_RUNPATH || tag == DT_RPATH {
            let text = strings.get(at as u32).unwrap_or_default();
            return Ok(Some(((from + at) as usize, String::from_utf8_lossy(text).into_owned())));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_name_the_oldest_glibc() {
        for (version, glibc) in [
            ("GLIBC_2.2.5", 2),
            ("GLIBC_2.34", 34),
            ("GLIBCXX_3.4", 28),
            ("GLIBCXX_3.4.9", 28),
            ("GLIBCXX_3.4.29", 34),
            ("GLIBCXX_3.4.30", 35),
            ("GLIBCXX_3.4.31", 39),
            ("CXXABI_1.3.12", 31),
            ("GCC_3.0", 0),
        ] {
            assert_eq!(needed(version).unwrap(), glibc, "{version}");
        }
        assert!(needed("GLIBCXX_3.4.99").is_err());
    }

    #[test]
    fn this_program_needs_a_glibc_that_this_machine_has() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = glibc(&own).unwrap();
        assert!((2..100).contains(&needs), "{needs}");
        assert!(glibc(b"#!/bin/sh\n").is_err());
    }

    #[test]
    fn a_search_path_is_replaced_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let (source, program) = (folder.path().join("a.rs"), folder.path().join("a"));
        std::fs::write(&source, "fn main() {}").unwrap();
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let built = std::process::Command::new(rustc)
            .args(["-C", "link-arg=-Wl,-rpath,/a/folder/with/a/long/name"])
            .arg(&source)
            .arg("-o")
            .arg(&program)
            .status();
        assert!(built.unwrap().success());
        let mut bytes = std::fs::read(&program).unwrap();
        search_in(&mut bytes, "$ORIGIN/../torch/lib").unwrap();
        assert_eq!(search_path(&bytes).unwrap().unwrap().1, "$ORIGIN/../torch/lib");
        std::fs::write(&program, &bytes).unwrap();
        assert!(std::process::Command::new(&program).status().unwrap().success());
        let longer = "/x".repeat(40);
        assert!(search_in(&mut bytes, &longer).unwrap_err().to_string().contains("shorter"));
    }
}
