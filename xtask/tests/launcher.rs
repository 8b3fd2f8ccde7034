//! Where an installed wheel looks for its program and for PyTorch, in miniature environments.
#![cfg(test)]

use std::fs;
use std::path::PathBuf;

use launcher::{PROGRAM, find, version};

/// Creates an environment with the program and, if given, this line in `torch/version.py`.
fn environment(packages: &str, torch: Option<&str>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let packages = folder.path().join(packages);
    fs::create_dir_all(packages.join("spectral_program")).unwrap();
    fs::write(packages.join(PROGRAM), "").unwrap();
    if let Some(line) = torch {
        fs::create_dir_all(packages.join("torch")).unwrap();
        fs::write(packages.join("torch/version.py"), format!("__all__ = ['__version__']\n{line}\n")).unwrap();
    }
    let own = folder.path().join("bin/spectral");
    (folder, own)
}

#[test]
fn the_program_beside_the_right_torch_is_found_in_every_layout() {
    for packages in [
        "lib/python3.11/site-packages",
        "lib64/python3.9/site-packages",
        "local/lib/python3.12/dist-packages",
        ".",
    ] {
        for line in
            ["__version__ = '2.11.0+cu130'", "__version__ = \"2.11.0\"", "__version__: str='2.11.0+cpu'"]
        {
            let (folder, own) = environment(packages, Some(line));
            let found = find(&own, None).unwrap();
            assert_eq!(
                found.program.canonicalize().unwrap(),
                folder.path().canonicalize().unwrap().join(packages).join(PROGRAM).canonicalize().unwrap()
            );
            assert_eq!(found.libraries, None);
        }
    }
}

#[test]
fn another_torch_and_none_are_one_sentence_and_the_command_to_type() {
    for (line, found) in [
        (Some("__version__ = '2.10.0+cu128'"), "found 2.10.0+cu128 in"),
        (Some("__version__ = '2.11.1'"), "found 2.11.1 in"),
        (None, "found none in"),
    ] {
        let (_folder, own) = environment("lib/python3.11/site-packages", line);
        let message = find(&own, None).unwrap_err().to_string();
        assert!(message.contains("runs on PyTorch 2.11.0") && message.contains(found), "{message}");
        assert!(message.contains("-m pip install torch==2.11.0"), "{message}");
    }
}

#[test]
fn of_two_pythons_the_one_with_the_right_torch_is_taken() {
    let (folder, own) = environment("lib/python3.11/site-packages", Some("__version__ = '2.11.0'"));
    let newer = folder.path().join("lib/python3.13/site-packages");
    fs::create_dir_all(newer.join("spectral_program")).unwrap();
    fs::write(newer.join(PROGRAM), "").unwrap();
    assert!(find(&own, None).unwrap().program.to_string_lossy().contains("python3.11"));
}

#[test]
fn a_libtorch_that_the_user_names_wins_when_it_fits() {
    let (folder, own) = environment("lib/python3.11/site-packages", None);
    let archive = folder.path().join("libtorch");
    fs::create_dir_all(&archive).unwrap();
    fs::write(archive.join("build-version"), "2.11.0+cpu\n").unwrap();
    assert_eq!(find(&own, Some(&archive)).unwrap().libraries, Some(archive.join("lib")));
    fs::write(archive.join("build-version"), "2.1.0\n").unwrap();
    let message = find(&own, Some(&archive)).unwrap_err().to_string();
    assert!(message.contains("found 2.1.0") && message.contains("unset LIBTORCH"), "{message}");
}

#[test]
fn an_incomplete_installation_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let message = find(&folder.path().join("bin/spectral"), None).unwrap_err().to_string();
    assert!(message.contains("incomplete") && message.contains("--force-reinstall"), "{message}");
}

#[test]
fn the_version_is_read_from_python_source() {
    let (folder, _) = environment(".", Some("__version__ = '2.11.0+cu130'\ndebug = False"));
    assert_eq!(version(&folder.path().join("torch")).as_deref(), Some("2.11.0+cu130"));
    fs::write(folder.path().join("torch/version.py"), "version = 1").unwrap();
    assert_eq!(version(&folder.path().join("torch")), None);
}
