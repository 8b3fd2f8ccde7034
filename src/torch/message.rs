//! Conversion of libtorch's messages to ours: short, lower case, with a hint where one is known.

use super::interrupt;
use super::wording::{hint, in_our_words};
use crate::error::{Error, Kind, Problem, Result};

pub(super) const TOO_LARGE: &str =
    "it does not fit; use a smaller shape or batch, `accumulate` in training, or a narrower dtype";

/// Parts of libtorch's message when the sizes of operands do not fit.
const SIZES: [&str; 4] =
    ["must match the size of tensor b", "mat1 and mat2 shapes", "Expected size", "expected size"];

/// Parts of libtorch's messages about integers below -2^62, which it keeps for sizes that are not yet known.
const SYMBOLS: [&str; 2] =
    ["cannot be represented as a SymInt", "SymIntArrayRef expected to contain only concrete integers"];

/// Returns whether a device ran out of memory. What the failed operation had allocated has been freed.
pub fn is_out_of_memory(error: &Error) -> bool {
    matches!(error.problem(), Problem::OutOfMemory { .. })
}

/// Converts an out-of-memory message: names the device and the size of the request.
fn out_of_memory(message: &str) -> Option<Error> {
    let between = |start: &str, end: &str| {
        let (_, rest) = message.split_once(start)?;
        rest.split_once(end).map(|(found, _)| found.trim())
    };
    let (device, wanted, free) = match between("you tried to allocate ", " bytes") {
        Some(bytes) => ("the cpu".to_string(), size(bytes.parse().ok()?), None),
        None if message.contains("CUDA out of memory") => (
            format!("cuda:{}", between("GPU ", " has").unwrap_or("0")),
            between("Tried to allocate ", ". ").unwrap_or("unknown size").to_string(),
            between("of which ", " is free").map(str::to_string),
        ),
        None => return None,
    };
    let problem = Problem::OutOfMemory { device, wanted, free };
    Some(Error::of(Kind::Torch, problem).hint(TOO_LARGE).detail(Some(message.trim())))
}

/// Formats a number of bytes in a suitable unit.
fn size(bytes: u64) -> String {
    let units = ["bytes", "KB", "MB", "GB", "TB", "PB", "EB"];
    let power = (bytes.max(1).ilog10() / 3) as usize;
    match power {
        0 => format!("{bytes} bytes"),
        _ => {
            format!("{:.1} {}", bytes as f64 / 1000f64.powi(power as i32), units[power.min(units.len() - 1)])
        }
    }
}

/// Returns a warning of libtorch in our style, with the function that it names.
pub(super) fn plain(text: &str) -> String {
    lower_first(&text.trim().trim_end_matches('.').replace('\n', " "))
}

/// Converts libtorch's message: its first paragraph, lower case, no final full stop.
pub(crate) fn torch_error(message: &str) -> Error {
    if interrupt::was_refused() {
        return Error::interrupted();
    }
    let message = message.strip_prefix("Internal torch error: ").unwrap_or(message);
    if let Some(error) = out_of_memory(message) {
        return error;
    }
    if SYMBOLS.iter().any(|part| message.contains(part)) {
        let said = "expected sizes and positions above -2^62, found a lower integer".to_string();
        return Error::of(Kind::Torch, Problem::Said(said)).detail(Some(message.trim()));
    }
    let end = message.find("\nException raised from").unwrap_or(message.len());
    let mut text = message[..end].trim();
    // An operator's registration record only concerns libtorch.
    for cut in [
        "\n\n",
        "\nException raised",
        "Set the environment variable",
        " This could be because",
        " (when checking arg",
    ] {
        if let Some(i) = text.find(cut) {
            text = &text[..i];
        }
    }
    if let Some((_, rest)) = text.split_once("please report a bug to PyTorch.") {
        // libtorch blames itself where a library below it refuses a value.
        let rest = rest.split(". Most certainly").next().unwrap_or_default().trim();
        text = if rest.is_empty() { "libtorch met a case that it does not handle" } else { rest };
        text = text.strip_prefix("torch.").unwrap_or(text);
    }
    let hint = hint(text);
    let text = in_our_words(strip_origin(&text.replace('\n', " ")));
    let text = lower_first(text.trim().trim_end_matches('.'));
    let whole = message.trim();
    let cut = whole.trim_end_matches('.').len() != text.len();
    let problem = match SIZES.iter().any(|part| text.contains(part)) {
        true => Problem::Sizes(text),
        false => Problem::Said(text),
    };
    let error = Error::of(Kind::Torch, problem).detail(cut.then_some(whole));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Removes the prefix of a sentence: `[enforce fail at file.cpp:119] err == 0. `, or the name of the C++ function
/// such as `mean(): `, because our message already starts with the function's name.
fn strip_origin(text: &str) -> &str {
    if let (true, Some((_, rest))) = (text.starts_with("[enforce fail at"), text.split_once(". ")) {
        return strip_origin(rest);
    }
    match text.split_once(": ") {
        Some((origin, rest))
            if origin == "DefaultCPUAllocator"
                || !origin.contains(' ') && (origin.ends_with(')') || origin.starts_with("linalg."))
                || is_place(origin) =>
        {
            strip_origin(rest)
        }
        _ => text,
    }
}

/// Returns whether a text is a line of a C++ file, as `/build/aten/src/ATen/Register.cpp:3009`.
fn is_place(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(file, line)| {
        [".cpp", ".h", ".cu", ".cuh"].iter().any(|end| file.ends_with(end))
            && !line.is_empty()
            && line.bytes().all(|b| b.is_ascii_digit())
    })
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        // Abbreviations such as CUDA keep their capitals.
        (Some(a), Some(b)) if a.is_uppercase() && !b.is_uppercase() => {
            a.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_string(),
    }
}

pub(crate) fn checked<T>(result: Result<T, tch::TchError>) -> Result<T> {
    result.map_err(|e| torch_error(&e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_loses_its_trace_and_gains_a_hint() {
        let raw = "Internal torch error: mean(): could not infer output dtype. Input dtype must be either a \
                   floating point or complex dtype. Got: Long\nException raised from infer at Reduce.cpp:1";
        let error = torch_error(raw);
        let expected = "could not infer output dtype. Input dtype must be either a floating point or complex \
                        dtype. Got: int64";
        assert_eq!(error.message(), expected);
        assert_eq!(error.hint_text(), Some("convert integers first: `.to(\"float32\")`"));
        assert!(error.detail_text().unwrap().ends_with("Exception raised from infer at Reduce.cpp:1"));
        assert_eq!(torch_error("Sizes differ.").detail_text(), None);
    }

    #[test]
    fn operands_of_different_dtypes_are_no_matter_of_sizes() {
        let sizes = torch_error("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)");
        assert!(matches!(sizes.problem(), Problem::Sizes(_)));
        let error = torch_error("mat1 and mat2 must have the same dtype, but got Float and BFloat16");
        assert_eq!(error.message(), "mat1 and mat2 must have the same dtype, but got float32 and bfloat16");
        assert_eq!(error.hint_text(), Some("convert one of them: `.to(\"float32\")`"));
    }

    #[test]
    fn a_want_of_memory_names_the_device_and_the_allocation() {
        let cpu = torch_error(
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate \
                               memory: you tried to allocate 4000000000 bytes. Error code 12 (Cannot allocate memory)",
        );
        assert_eq!(cpu.message(), "out of memory on the cpu: an allocation of 4.0 GB failed");
        let cuda = torch_error(
            "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 1 has a total capacity of 79.11 GiB of which \
             3.50 GiB is free. Including non-PyTorch memory, this process has 75.59 GiB memory in use.",
        );
        let expected = "out of memory on cuda:1: an allocation of 20.00 GiB failed, where 3.50 GiB are free";
        assert_eq!(cuda.message(), expected);
        assert!(is_out_of_memory(&cpu) && is_out_of_memory(&cuda) && !is_out_of_memory(&torch_error("no")));
        assert_eq!(
            [size(0), size(999), size(1000), size(u64::MAX)],
            ["0 bytes", "999 bytes", "1.0 KB", "18.4 EB"]
        );
    }

    #[test]
    fn a_request_that_no_machine_can_meet_leaves_everything_usable() {
        use crate::torch::{DType, Device, Tensor, start};
        start();
        let error = Tensor::zeros(&[1 << 44], DType::Float32, Device::Cpu).unwrap_err();
        assert!(is_out_of_memory(&error), "{error}");
        assert_eq!(error.message(), "out of memory on the cpu: an allocation of 70.4 TB failed");
        assert_eq!(Tensor::ones(&[3], DType::Float32, Device::Cpu).unwrap().to_f32().unwrap(), [1.0; 3]);
    }

    #[test]
    fn refusals_of_libraries_are_not_defects_of_libtorch() {
        let assert = "INTERNAL ASSERT FAILED at \"/a/b.cpp\":1613, please report a bug to PyTorch.";
        let raw =
            format!("false {assert} torch.linalg.lstsq: Argument 6 has illegal value. Most certainly a bug");
        let error = torch_error(&raw);
        assert_eq!(error.message(), "argument 6 has illegal value");
        assert!(error.hint_text().unwrap().contains("isfinite"));
        assert_eq!(torch_error(assert).message(), "libtorch met a case that it does not handle");
    }

    #[test]
    fn integers_that_libtorch_keeps_for_itself_are_named() {
        use crate::torch::{DType, Device, Tensor, start};
        start();
        let x = Tensor::ones(&[3], DType::Float32, Device::Cpu).unwrap();
        let expected = "expected sizes and positions above -2^62, found a lower integer";
        for error in [x.reshape(&[i64::MIN]).unwrap_err(), x.repeat(&[-(1 << 62) - 1]).unwrap_err()] {
            assert_eq!(error.message(), expected);
        }
        let raw =
            "/build/aten/Register_0.cpp:3009: SymIntArrayRef expected to contain only concrete integers";
        assert_eq!(torch_error(raw).message(), expected);
        assert_eq!(torch_error("/a/b/Copy.cpp:12: Sizes differ.").message(), "sizes differ");
    }

    #[test]
    fn abbreviations_keep_their_capitals() {
        assert_eq!(torch_error("CUDA is off.").message(), "CUDA is off");
        assert_eq!(torch_error("Sizes differ.").message(), "sizes differ");
    }
}
