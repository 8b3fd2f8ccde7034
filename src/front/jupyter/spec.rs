//! Kernelspecs, the folders in which Jupyter finds kernels.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::evcxr;
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::front::terminal;

/// Default name of the kernelspec.
const NAME: &str = "spectral";

/// Files of the kernelspec's folder beside `kernel.json`.
const LOGOS: [(&str, &[u8]); 3] = [
    ("logo-svg.svg", include_bytes!("../../../kernels/jupyter/spectral/logo-svg.svg")),
    ("logo-32x32.png", include_bytes!("../../../kernels/jupyter/spectral/logo-32x32.png")),
    ("logo-64x64.png", include_bytes!("../../../kernels/jupyter/spectral/logo-64x64.png")),
];

/// Location and name of a kernelspec.
#[derive(Debug, Clone, Default, Args)]
pub struct Place {
    /// In the folder of this user; the default.
    #[arg(long, group = "place")]
    user: bool,
    /// In the active virtual or conda environment, or else in that of `python3`.
    #[arg(long, group = "place")]
    sys_prefix: bool,
    /// In DIR/share/jupyter/kernels.
    #[arg(long, group = "place", value_name = "DIR")]
    prefix: Option<PathBuf>,
    /// Name that `jupyter kernelspec list` shows.
    #[arg(long)]
    name: Option<String>,
    /// The Jupyter kernel for Rust cells: evcxr, with the locations of libtorch and of its build folders.
    #[arg(long)]
    evcxr: bool,
}

impl Place {
    /// Returns the name of the kernelspec: the given one, else that of its Jupyter kernel.
    fn name(&self) -> Result<String> {
        let name = self.name.as_deref().unwrap_or(if self.evcxr { evcxr::NAME } else { NAME });
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match !name.is_empty() && name.chars().all(fits) && !name.starts_with('.') {
            true => Ok(name.to_lowercase()),
            false => Err(Error::usage(format!("`{name}` cannot be the name of a kernel"))
                .hint("use letters, digits, `-`, `_` and `.`")),
        }
    }

    /// Returns the folder of the kernelspec.
    fn folder(&self) -> Result<PathBuf> {
        let data = match (&self.prefix, self.sys_prefix) {
            (Some(prefix), _) => std::path::absolute(prefix)
                .map_err(|error| files::failed(prefix, &error))?
                .join("share/jupyter"),
            (None, true) => environment()?.join("share/jupyter"),
            (None, false) => user_data(&|name| std::env::var_os(name).map(PathBuf::from))?,
        };
        Ok(data.join("kernels").join(self.name()?))
    }
}

/// Returns the user's Jupyter data folder, by Jupyter's own rules.
fn user_data(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    let set = |name: &str| variable(name).filter(|path| !path.as_os_str().is_empty());
    if let Some(folder) = set("JUPYTER_DATA_DIR") {
        return Ok(folder);
    }
    let home = || {
        set("HOME").or_else(|| etcetera::home_dir().ok()).ok_or_else(|| {
            Error::new(Kind::File, "this user has no home folder").hint("name a folder with --prefix DIR")
        })
    };
    if cfg!(target_os = "macos") {
        return Ok(home()?.join("Library/Jupyter"));
    }
    if let (true, Some(folder)) = (cfg!(windows), set("APPDATA")) {
        return Ok(folder.join("jupyter"));
    }
    match set("XDG_DATA_HOME") {
        Some(folder) => Ok(folder.join("jupyter")),
        None => Ok(home()?.join(".local/share/jupyter")),
    }
}

/// Returns the active Python environment.
fn environment() -> Result<PathBuf> {
    let named = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().find_map(std::env::var_os);
    if let Some(folder) = named.filter(|folder| !folder.is_empty()) {
        return Ok(PathBuf::from(folder));
    }
    let program = "import sys; print(sys.prefix)";
    let output = std::process::Command::new("python3").args(["-c", program]).output();
    let prefix = output
        .ok()
        .filter(|o| o.status.success())
        .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string());
    prefix.filter(|p| !p.is_empty()).map(PathBuf::from).ok_or_else(|| {
        Error::new(Kind::File, "no Python environment is active, and python3 could not be run to find one")
            .hint("activate an environment, or pass its folder with --prefix DIR")
    })
}

/// A kernelspec of spectral that Jupyter finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Folder with `kernel.json`, named after the Jupyter kernel.
    pub folder: PathBuf,
    /// Program that Jupyter starts; a bare name is searched for on the PATH.
    pub program: PathBuf,
}

/// Returns spectral's kernelspecs in the folders that a Jupyter with the program `jupyter` searches, in its order.
pub fn installed_for(jupyter: Option<&Path>) -> Vec<Installed> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let mut folders: Vec<PathBuf> = variable("JUPYTER_PATH")
        .iter()
        .flat_map(|paths| std::env::split_paths(paths).collect::<Vec<_>>())
        .collect();
    folders.extend(user_data(&|name| std::env::var_os(name).map(PathBuf::from)).ok());
    let own = std::env::current_exe().ok();
    let prefixes = [jupyter.map(Path::to_path_buf), Some(program_on_path().unwrap_or_default()), own];
    let prefixes = prefixes.into_iter().flatten().filter_map(|p| Some(p.parent()?.parent()?.to_path_buf()));
    let named = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(variable).map(PathBuf::from);
    folders.extend(prefixes.chain(named).map(|prefix| prefix.join("share/jupyter")));
    folders.extend(["/usr/local/share/jupyter", "/usr/share/jupyter"].map(PathBuf::from));
    let mut found: Vec<Installed> = Vec::new();
    for spec in folders.iter().flat_map(|folder| specs(&folder.join("kernels"))) {
        if !found.iter().any(|known| known.folder == spec.folder) {
            found.push(spec);
        }
    }
    found
}

/// Returns the kernelspecs in a folder that start spectral.
fn specs(kernels: &Path) -> Vec<Installed> {
    let ours = |name: &String| {
        let folder = kernels.join(name);
        let spec: Value = serde_json::from_str(&files::read_text(folder.join("kernel.json")).ok()?).ok()?;
        let argv: Vec<&str> = spec["argv"].as_array()?.iter().filter_map(Value::as_str).collect();
        let program = argv.first()?.replace("{resource_dir}", &folder.display().to_string());
        (argv.get(1..3)? == ["jupyter", "kernel"]).then(|| Installed { folder, program: program.into() })
    };
    files::list(kernels).unwrap_or_default().iter().filter_map(ours).collect()
}

/// Returns the absolute path with which this program was started. A process started by a launcher keeps the
/// launcher's path.
fn program_on_path() -> Option<PathBuf> {
    let named = PathBuf::from(std::env::args_os().next()?);
    (named.is_absolute() && named.is_file()).then_some(named)
}

/// Writes a kernelspec and returns the exit code.
pub fn install(place: &Place) -> u8 {
    finish(installed(place))
}

fn installed(place: &Place) -> Result<String> {
    if place.evcxr {
        return rust_installed(place);
    }
    let own = program_on_path().map_or_else(std::env::current_exe, Ok);
    let program =
        own.map_err(|error| Error::new(Kind::File, format!("the path of this program is unknown: {error}")))?;
    let folder = place.folder()?;
    write(&folder, &program)?;
    let name = place.name()?;
    let mut text = format!("the kernel `{name}` is in {}", folder.display());
    if program.components().any(|part| part.as_os_str() == "target") {
        text += &format!(
            "\nit starts {}, which a clean build removes; `cargo xtask install` gives a program that stays",
            program.display()
        );
    }
    text += &format!("\n`jupyter lab` offers it, `jupyter console --kernel {name}` starts it in a terminal");
    Ok(text)
}

fn rust_installed(place: &Place) -> Result<String> {
    let folder = place.folder()?;
    let found = evcxr::install_evcxr(&folder, None)?;
    Ok(format!(
        "the kernel `{}` is in {}\nit runs {} and keeps what it compiles in {}\na first cell is \
         `:dep spectral = {{ path = \"..\", default-features = false }}`",
        place.name()?,
        folder.display(),
        found.program.display(),
        found.builds.display()
    ))
}

/// Writes the files of the kernelspec; `program` is what Jupyter starts.
fn write(folder: &Path, program: &Path) -> Result<()> {
    files::make_dir(folder)?;
    let template = include_str!("../../../kernels/jupyter/spectral/kernel.json");
    let mut spec: Value = serde_json::from_str(template)
        .map_err(|error| Error::internal(format!("the template of the kernelspec: {error}")))?;
    spec["argv"][0] = program.display().to_string().into();
    let text = serde_json::to_string_pretty(&spec).unwrap_or_default() + "\n";
    files::write(folder.join("kernel.json"), text)?;
    for (name, bytes) in LOGOS {
        files::write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// Removes a kernelspec and returns the exit code.
pub fn uninstall(place: &Place) -> u8 {
    finish(uninstalled(place))
}

fn uninstalled(place: &Place) -> Result<String> {
    let folder = place.folder()?;
    let spec = folder.join("kernel.json");
    let ours = std::fs::read_to_string(&spec).map_err(|_| {
        Error::new(Kind::File, format!("there is no kernel in {}", folder.display())).hint(
            "`jupyter kernelspec list` shows where kernels are; --sys-prefix, --prefix and --name say which",
        )
    })?;
    if !ours.contains("spectral") {
        return Err(Error::new(Kind::File, format!("the kernel in {} is not ours", folder.display()))
            .hint("`jupyter kernelspec remove` removes kernels of others"));
    }
    std::fs::remove_dir_all(&folder).map_err(|error| files::failed(&folder, &error))?;
    Ok(format!("the kernel in {} is removed", folder.display()))
}

/// Prints the result, or the reason for a failure; returns the exit code.
pub(super) fn finish(done: Result<String>) -> u8 {
    match done {
        Ok(text) => {
            terminal::out(&text);
            0
        }
        Err(error) => terminal::fail(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernelspec_is_written_whole_and_removed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { prefix: Some(folder.path().to_path_buf()), ..Place::default() };
        installed(&place).unwrap();
        let spec = folder.path().join("share/jupyter/kernels/spectral");
        let text = std::fs::read_to_string(spec.join("kernel.json")).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        assert!(Path::new(json["argv"][0].as_str().unwrap()).is_absolute(), "{text}");
        assert_eq!(
            (&json["argv"][4], &json["interrupt_mode"]),
            (&"{connection_file}".into(), &"message".into())
        );
        assert_eq!(std::fs::read(spec.join("logo-64x64.png")).unwrap()[..4], *b"\x89PNG");
        uninstalled(&place).unwrap();
        assert!(!spec.exists());
        assert!(uninstalled(&place).unwrap_err().message().contains("there is no kernel in"));
    }

    #[test]
    fn installed_kernels_are_found_with_what_they_start() {
        let folder = tempfile::tempdir().unwrap();
        let kernels = folder.path().join("kernels");
        for (name, argv) in [
            (
                "wheel",
                r#"["{resource_dir}/../../../../bin/spectral", "jupyter", "kernel", "-f", "{connection_file}"]"#,
            ),
            ("python3", r#"["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]"#),
            ("broken", "[5]"),
        ] {
            let spec = kernels.join(name);
            files::make_dir(&spec).unwrap();
            files::write(spec.join("kernel.json"), format!("{{\"argv\": {argv}}}")).unwrap();
        }
        let found = specs(&kernels);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].folder, kernels.join("wheel"));
        assert_eq!(found[0].program, kernels.join("wheel/../../../../bin/spectral"));
        assert!(specs(&folder.path().join("none")).is_empty());
    }

    #[test]
    fn kernels_of_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            prefix: Some(folder.path().to_path_buf()),
            name: Some("python3".to_string()),
            ..Place::default()
        };
        let spec = place.folder().unwrap();
        files::make_dir(&spec).unwrap();
        files::write(spec.join("kernel.json"), "{\"argv\": [\"python\"]}").unwrap();
        assert!(uninstalled(&place).unwrap_err().message().contains("not ours"));
        assert!(spec.join("kernel.json").is_file());
    }

    #[test]
    fn names_are_those_that_jupyter_takes() {
        let named = |name: &str| Place { name: Some(name.to_string()), ..Place::default() }.name();
        assert_eq!(named("Spectral-2").unwrap(), "spectral-2");
        for wrong in ["", "a b", "../x", ".x", "a/b"] {
            assert!(named(wrong).is_err(), "{wrong:?}");
        }
    }

    #[cfg(all(unix, not(target_os = "macos")))]
    #[test]
    fn the_users_folder_follows_the_environment() {
        let at = |set: &'static [(&'static str, &'static str)]| {
            let look =
                move |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, path)| PathBuf::from(path));
            user_data(&look).unwrap()
        };
        assert_eq!(at(&[("HOME", "/h")]), Path::new("/h/.local/share/jupyter"));
        assert_eq!(at(&[("HOME", "/h"), ("XDG_DATA_HOME", "/d")]), Path::new("/d/jupyter"));
        assert_eq!(at(&[("XDG_DATA_HOME", "/d"), ("JUPYTER_DATA_DIR", "/j")]), Path::new("/j"));
    }
}
