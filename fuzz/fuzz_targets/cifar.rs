//! Opening arbitrary CIFAR files, as a folder or an archive, returns images or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spectral::data::{Cifar10Options, Cifar100Options, Split, cifar10, cifar100};

fuzz_target!(|bytes: &[u8]| {
    let open = |name: &str| {
        spectral_fuzz::with_file(name, bytes, |path| {
            let folder = path.parent().unwrap_or(path);
            for path in [path, folder] {
                let path = path.display().to_string();
                let _ = cifar10(&Cifar10Options { path: path.clone(), split: Split::Test, ..Cifar10Options::default() });
                let _ = cifar100(&Cifar100Options { path, split: Split::Test, ..Cifar100Options::default() });
            }
        });
    };
    open("test_batch.bin");
    open("cifar-10-binary.tar.gz");
});
