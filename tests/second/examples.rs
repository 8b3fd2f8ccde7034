//! Every example of the documentation runs unchanged where the default device is not the CPU.

use spectral::torch::Device;

use crate::{library, listed};

#[test]
fn every_example_runs() {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // Before libtorch is first asked about CUDA, since its answer holds for the life of a process.
    // SAFETY: the library only registers itself with libtorch.
    let library = unsafe { Library::open(Some(library::library()), RTLD_NOW | RTLD_GLOBAL) }.unwrap();
    std::mem::forget(library);
    listed::run_all(Device::named("cuda").unwrap());
}
