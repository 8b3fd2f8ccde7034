//! libtorch's CUDA library exports the functions that record graphs under the names that we look up.

use std::process::Command;

use spectral::torch::{graph, libtorch_folder};

use crate::emulation::device;

#[test]
fn libtorchs_cuda_half_has_the_functions_that_record() {
    let library = libtorch_folder().join("libtorch_cuda.so");
    if !library.exists() {
        eprintln!("not tested: {} is not there; libtorch was installed without CUDA", library.display());
        return;
    }
    // nm comes with the C++ compiler, without which this crate cannot be built.
    let output = match Command::new("nm").args(["-D", "--defined-only"]).arg(&library).output() {
        // A machine that only runs what was built elsewhere may have none; there the recordings need the functions.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && device().is_cuda() => {
            eprintln!("not tested: there is no `nm`");
            return;
        }
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8_lossy(&output.stdout);
    let text: std::collections::HashSet<&str> =
        listed.lines().filter_map(|line| line.split_once(" T ").map(|(_, name)| name)).collect();
    assert!(text.len() > 1000, "nm lists {} functions", text.len());
    let symbols = graph::symbols();
    assert_eq!(symbols.lines().count(), 5);
    for name in symbols.lines() {
        assert!(text.contains(name), "{name} is missing");
    }
}
