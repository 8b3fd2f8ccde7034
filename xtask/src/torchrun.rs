//! torchrun for the tests of several ranks, out of the PyTorch that provides libtorch.
//!
//! The provisioned PyTorch lacks the CUDA libraries, two gigabytes that a launcher of processes never calls, but
//! which the system's loader wants to see before Python can import anything. Stand-ins take their place: libraries
//! of the same names whose functions end the process.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::environment::Environment;
use crate::failure::{Doing, Failure, Result};
use crate::libtorch::Place;
use crate::machine::Machine;
use crate::steps;

const ENVIRONMENT: Environment =
    Environment { name: "torchrun", what: "torchrun", requirements: &["xtask/torchrun/requirements.txt"] };

/// The wheels of the provisioned PyTorch.
const WHEELS: &str = include_str!("../wheels/libtorch-2.11.0-cpu.txt");

const SCRIPT: &str = include_str!("../torchrun/torchrun.py");

/// Folders beside PyTorch's that it imports from or loads libraries of.
const BESIDE: [&str; 3] = ["torchgen", "functorch", "nvidia"];

/// Returns the path of a torchrun: the one that `SPECTRAL_TORCHRUN` names, or one in the cache, which is made if it is
/// missing.
pub fn provision(machine: &Machine, place: &Place) -> Result<PathBuf> {
    if let Some(named) = env::var_os("SPECTRAL_TORCHRUN").filter(|value| !value.is_empty()) {
        return Ok(named.into());
    }
    let torch = place.folder();
    let also = format!("{SCRIPT}{}", torch.display());
    let folder = ENVIRONMENT.provision_with(machine, &also, |folder| {
        add_torch(folder, torch)?;
        write_script(folder)?;
        works(&folder.join("torchrun"))
    })?;
    Ok(folder.join("torchrun"))
}

/// Adds PyTorch to an environment: a link to the provisioned one if it is built for this Python, or another one.
fn add_torch(folder: &Path, torch: &Path) -> Result<()> {
    let question = "import sysconfig as s; print(s.get_path('purelib'), s.get_config_var('EXT_SUFFIX'))";
    let answer =
        Command::new(folder.join("bin/python")).args(["-c", question]).output().doing("start python")?;
    let answer = String::from_utf8_lossy(&answer.stdout);
    let Some((packages, suffix)) = answer.trim().rsplit_once(' ') else {
        return Err(Failure::new(format!(
            "expected python to name its folder of packages, found {answer:?}"
        )));
    };
    let packages = Path::new(packages);
    if torch.join(format!("_C{suffix}")).exists() {
        let beside = BESIDE.map(|name| torch.with_file_name(name));
        for from in [torch.to_path_buf()].into_iter().chain(beside).filter(|from| from.exists()) {
            let to = packages.join(from.file_name().unwrap_or_default());
            symlink(&from, &to).doing(format!("link {} to {}", to.display(), from.display()))?;
        }
    } else {
        // The same wheels, of this Python. Their checksums are those of another one.
        let wheels =
            WHEELS.lines().filter(|line| line.contains("==")).filter_map(|line| line.split(' ').next());
        ENVIRONMENT.install(folder, ["--no-deps"].into_iter().chain(wheels).map(PathBuf::from))?;
    }
    match cfg!(target_os = "linux") {
        true => replace_absent(&packages.join("torch/lib/libtorch_python.so"), &folder.join("absent")),
        // PyTorch has no CUDA there.
        false => Ok(()),
    }
}

/// Compiles stand-ins for all libraries that `library` needs, directly or not, and that are missing.
fn replace_absent(library: &Path, into: &Path) -> Result<()> {
    let answer = Command::new("ldd").arg("-r").arg(library).output().doing("start ldd")?;
    let text = [answer.stdout, answer.stderr].concat();
    let absent = Absent::parse(&String::from_utf8_lossy(&text));
    fs::create_dir_all(into).doing(format!("create {}", into.display()))?;
    let (code, versions) = (into.with_extension("c"), into.with_extension("map"));
    fs::write(&code, absent.code()).doing(format!("write {}", code.display()))?;
    fs::write(&versions, absent.versions()).doing(format!("write {}", versions.display()))?;
    for name in &absent.libraries {
        let mut compile = Command::new("cc");
        // Functions of the C library such as `memcpy` are not among them, but the compiler need not know.
        compile.args(["-shared", "-fPIC", "-fno-builtin", "-w"]).arg(&code).arg("-o").arg(into.join(name));
        compile.arg(format!("-Wl,-soname,{name},--version-script={}", versions.display()));
        steps::expect_success(compile, "cc")?;
    }
    Ok(())
}

fn write_script(folder: &Path) -> Result<()> {
    let script = folder.join("torchrun");
    let text = format!("#!{}\n{SCRIPT}", folder.join("bin/python").display());
    fs::write(&script, text).doing(format!("write {}", script.display()))?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&script, executable).doing(format!("make {} a program", script.display()))
}

/// Fails with the last line that torchrun says if it does not start.
fn works(torchrun: &Path) -> Result<()> {
    let answer = Command::new(torchrun).arg("--help").output().doing("start torchrun")?;
    let said = String::from_utf8_lossy(&answer.stderr);
    match answer.status.success() {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "torchrun does not start ({}): {}",
            answer.status,
            said.lines().last().unwrap_or("it says nothing")
        ))
        .hint("name the torchrun of a PyTorch in SPECTRAL_TORCHRUN")),
    }
}

/// Libraries that are missing, and the functions that others expect in them.
#[derive(Debug, Default, PartialEq)]
struct Absent {
    libraries: BTreeSet<String>,
    /// Names by symbol version; the empty one for functions without.
    functions: BTreeMap<String, BTreeSet<String>>,
}

impl Absent {
    /// Reads the output of `ldd -r`.
    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            if let Some((name, _)) = line.split_once(" => not found") {
                found.libraries.insert(name.trim().to_string());
            }
            let Some((_, symbol)) = line.split_once("undefined symbol: ") else { continue };
            let symbol = symbol.split(['\t', '(']).next().unwrap_or_default().trim();
            let (name, version) = symbol.split_once(", version ").unwrap_or((symbol, ""));
            // Python's own names are in the program that loads the library.
            if !name.trim_start_matches('_').starts_with("Py") {
                found.functions.entry(version.to_string()).or_default().insert(name.to_string());
            }
        }
        found
    }

    fn code(&self) -> String {
        let names = self.functions.values().flatten();
        names.map(|name| format!("void {name}(void) {{ __builtin_trap(); }}\n")).collect()
    }

    fn versions(&self) -> String {
        let versioned = self.functions.iter().filter(|(version, _)| !version.is_empty());
        let node = |(version, names): (&String, &BTreeSet<String>)| {
            let names: String = names.iter().map(|name| format!(" {name};")).collect();
            format!("{version} {{{names} }};\n")
        };
        versioned.map(node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_read_from_ldd() {
        let text = "\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n\tlibcudnn.so.9 => not found\n\
                    \tlibcudnn.so.9 => not found\n\
                    undefined symbol: cudnnCreate, version libcudnn.so.9\t(/torch/lib/libtorch_cuda.so)\n\
                    undefined symbol: ncclSend\t(/torch/lib/libtorch_cuda.so)\n\
                    undefined symbol: PyExc_KeyError\t(/torch/lib/libtorch_python.so)\n\
                    undefined symbol: _Py_NoneStruct\t(/torch/lib/libtorch_python.so)\n";
        let absent = Absent::parse(text);
        assert_eq!(absent.libraries, BTreeSet::from(["libcudnn.so.9".to_string()]));
        assert_eq!(absent.versions(), "libcudnn.so.9 { cudnnCreate; };\n");
        let body = "(void) { __builtin_trap(); }\n";
        assert_eq!(absent.code(), format!("void ncclSend{body}void cudnnCreate{body}"));
        assert_eq!(Absent::parse("\tstatically linked\n"), Absent::default());
    }
}
