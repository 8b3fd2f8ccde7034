//! Checks of Jupyter, its installed spectral kernels, and pictures in the terminal.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::front::jupyter::{self, Installed};
use crate::front::picture::Protocol;

/// Checks for Jupyter on the PATH, and each kernelspec of spectral.
pub(super) fn look() -> Vec<Finding> {
    let jupyter = on_path(Path::new("jupyter"));
    let kernels = jupyter::installed_for(jupyter.as_deref());
    let program = match &jupyter {
        Some(program) => Finding::ok("jupyter", program.display().to_string()),
        None => Finding::warning("jupyter", "not on the PATH", "notebooks need it: pip install jupyterlab"),
    };
    let mut all = vec![program];
    if kernels.is_empty() {
        all.push(Finding::warning(
            "kernel",
            "Jupyter knows none for rhai cells",
            "spectral jupyter install, or spectral jupyter install --sys-prefix in an environment",
        ));
    }
    all.extend(kernels.iter().map(kernel));
    all
}

fn kernel(kernel: &Installed) -> Finding {
    let name = kernel.folder.file_name().unwrap_or_default().to_string_lossy();
    let place = kernel.folder.display();
    match on_path(&kernel.program) {
        Some(program) => {
            let program = program.canonicalize().unwrap_or(program);
            Finding::ok("kernel", format!("`{name}` in {place} starts {}", program.display()))
        }
        None => Finding::failure(
            "kernel",
            format!("`{name}` in {place} starts {}, which does not exist", kernel.program.display()),
            "`spectral jupyter install` reinstalls it; `jupyter kernelspec remove` removes it",
        ),
    }
}

/// Returns the program with this path, or with this name on the PATH.
fn on_path(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_path_buf());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|program| program.is_file())
}

/// Checks how figures are shown in this terminal.
pub(super) fn pictures() -> Finding {
    if !std::io::stdout().is_terminal() {
        return Finding::ok("pictures", "standard output is not a terminal, so no figures are drawn");
    }
    match Protocol::of_terminal() {
        Protocol::None => Finding::warning(
            "pictures",
            "this terminal cannot show images",
            "figures are still saved and shown in notebooks; SPECTRAL_IMAGES=blocks draws them with characters",
        ),
        Protocol::Blocks => {
            Finding::ok("pictures", "drawn with blocks; kitty, WezTerm, foot and others show pixels")
        }
        protocol => Finding::ok("pictures", format!("drawn as pixels ({})", protocol.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::front::doctor::State;

    #[test]
    fn a_kernel_whose_program_is_gone_is_a_failure() {
        let here = std::env::current_exe().unwrap();
        let of = |program: PathBuf| kernel(&Installed { folder: "/k/spectral".into(), program });
        assert_eq!(of(here).state, State::Ok);
        let gone = of("/no/such/spectral".into());
        assert_eq!(gone.state, State::Failure);
        assert!(gone.found.contains("which does not exist"), "{}", gone.found);
    }

    #[test]
    fn a_name_is_looked_for_on_the_path_and_a_path_is_not() {
        assert!(on_path(Path::new("sh")).is_some_and(|program| program.is_absolute()));
        assert_eq!(on_path(Path::new("no-such-program-anywhere")), None);
        assert_eq!(on_path(Path::new("./sh-is-not-here")), None);
    }
}
