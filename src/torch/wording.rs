//! What libtorch says in terms of C++ or of PyTorch's Python, in the terms of scripts, with hints.

use super::DType;
use super::autograd::is_recording;
use super::message::TOO_LARGE;

/// Hint for integers and bools where libtorch computes with floats.
const TO_FLOATS: &str = "convert integers first: `.to(\"float32\")`";
const ONE_OF_THEM: &str = "convert one of them: `.to(\"float32\")`";
const INDICES: &str = "convert the indices: `.to(\"int64\")`";
const MASK: &str = "a comparison such as `x > 0` makes a mask; or convert: `.to(\"bool\")`";
const IN_NO_GRAD: &str = "change parameters inside `no_grad(|| ..)`";
const REAL: &str = "use `.abs()`, `.real` or `.imag` of complex numbers";

/// Hints by a part of libtorch's message.
const HINTS: &[(&str, &str)] = &[
    ("could not infer output dtype", TO_FLOATS),
    ("must be either a floating point or complex dtype", TO_FLOATS),
    ("only supports floating", TO_FLOATS),
    ("only support floating", TO_FLOATS),
    ("xpected a floating point", TO_FLOATS),
    ("either float or double dtype", TO_FLOATS),
    ("Unsupported dtype", "convert first: `.to(\"float32\")`"),
    ("nly Tensors of floating point", "make it of floats first: `.to(\"float32\")`"),
    ("same dtype", ONE_OF_THEM),
    ("expected scalar type", ONE_OF_THEM),
    ("self.dtype to be equal to src.dtype", ONE_OF_THEM),
    ("must have the same scalar type", ONE_OF_THEM),
    ("parameter to have scalar type", ONE_OF_THEM),
    ("but got dtype", ONE_OF_THEM),
    ("Found dtype", ONE_OF_THEM),
    ("can't be cast to the desired output type", "convert first: `.to(\"float32\")`"),
    ("cannot be converted to type", "choose another dtype, such as \"int64\" or \"float32\""),
    (
        "doesn't match the broadcast shape",
        "what is changed in place keeps its shape; `x = x + y` makes a new tensor",
    ),
    ("modified by an inplace operation", "`x = x + y` makes a new tensor where `x += y` changes one"),
    ("Expected all tensors to be on the same device", "move one of them: `y.to(x.device)`"),
    ("Dimension out of range", "dimensions count from 0; negative ones count from the end"),
    (NO_GRADIENT, "call `.requires_grad_()` on a tensor before computing with it"),
    ("a leaf Variable that requires grad", IN_NO_GRAD),
    ("a view of a leaf Variable that requires grad", IN_NO_GRAD),
    (
        SPENT,
        "compute it again before each `backward`, or pass `#{ retain_graph: true }` to the first one to keep its graph",
    ),
    (
        "grad can be implicitly created only for scalar outputs",
        "reduce to one number first, with `.sum()` or `.mean()`",
    ),
    ("view size is not compatible", "use `reshape`, which copies where it must"),
    ("on a bool tensor is not supported", "`!mask` inverts a mask"),
    ("bool tensor is not supported", "use `!` or `^` on masks, or convert: `.to(\"int64\")`"),
    ("two bool tensors is not supported", "use `^` on masks, or convert: `.to(\"int64\")`"),
    ("boolean mask", MASK),
    ("to be a boolean tensor", MASK),
    ("expected BoolTensor", MASK),
    ("tensors used as indices must be", "index with int64 or bool tensors: `.to(\"int64\")`"),
    ("tensor for argument #1 'indices'", INDICES),
    ("int64 for index", INDICES),
    ("long tensor for index", INDICES),
    ("dtype of indices should be", INDICES),
    ("applicable to index tensor of type", INDICES),
    ("index out of range in self", "an index must be from 0 to the size of the dimension - 1"),
    (
        "Index tensor must have the same number of dimensions",
        "give the index as many dimensions as the tensor: `.unsqueeze(dim)`",
    ),
    ("input should be between 0 and 1", "`.sigmoid()` makes probabilities of logits"),
    ("for complex", REAL),
    ("size calculation overflowed", "the tensor does not fit into any memory; use a smaller shape"),
    ("can't allocate memory", TOO_LARGE),
    ("has illegal value", "NaN and infinities are the usual cause: look at `x.isfinite().all()`"),
    ("nonnegative integer exponent", "convert first: `.to(\"float32\")`"),
    ("Integers to negative integer powers", "convert first: `.to(\"float32\")`"),
];

/// Part of the message about a graph that an earlier backward pass has freed.
pub(super) const SPENT: &str = "backward through the graph a second time";

/// Part of the message about a tensor that records no gradients.
const NO_GRADIENT: &str = "does not require grad and does not have a grad_fn";

/// Advice to users of Python, from where the message is cut.
const ADVICE: [&str; 5] = [
    " Hint: enable anomaly detection",
    " Saved intermediate values",
    " If you are trying to invert a mask",
    " Use the `^` or",
    "  (Could this error message be improved?",
];

/// Conditions in C++ that a message quotes, and what they say.
const CONDITIONS: [(&str, &str); 1] =
    [("Expected p_in >= 0 && p_in <= 1 to be true, but got false", "expected probabilities from 0 to 1")];

/// Names of dtypes in C++ of several words, or with signs.
const CPP: [(&str, &str); 10] = [
    ("a long tensor", "an int64 tensor"),
    ("struct c10::", "c10::"),
    ("c10::complex<float>", "complex64"),
    ("c10::complex<double>", "complex128"),
    ("c10::BFloat16", "bfloat16"),
    ("c10::Half", "float16"),
    ("long int", "int64"),
    ("short int", "int16"),
    ("unsigned char", "uint8"),
    ("signed char", "int8"),
];

/// libtorch's names of dtypes.
const NAMES: [(&str, DType); 12] = [
    ("Float", DType::Float32),
    ("Double", DType::Float64),
    ("Half", DType::Float16),
    ("BFloat16", DType::BFloat16),
    ("Long", DType::Int64),
    ("Int", DType::Int32),
    ("Short", DType::Int16),
    ("Char", DType::Int8),
    ("Byte", DType::UInt8),
    ("Bool", DType::Bool),
    ("ComplexFloat", DType::Complex64),
    ("ComplexDouble", DType::Complex128),
];

/// Names in C++ that are English or jargon elsewhere, and so are replaced only in sentences about dtypes.
const IN_SENTENCES: [(&str, &str); 9] = [
    ("float", "float32"),
    ("double", "float64"),
    ("long", "int64"),
    ("int", "int32"),
    ("int64_t", "int64"),
    ("int32_t", "int32"),
    ("int16_t", "int16"),
    ("int8_t", "int8"),
    ("uint8_t", "uint8"),
];

/// Signs of a sentence about dtypes.
const ABOUT_DTYPES: [&str; 4] = ["dtype", "converted to type", "tensor for index", "output type"];

/// Returns what to try, if a hint for the message is known.
pub(super) fn hint(message: &str) -> Option<&'static str> {
    if message.contains(NO_GRADIENT) && !is_recording() {
        return Some(
            "gradients are off here, as inside `no_grad(|| ..)` and in functions that a sampler calls",
        );
    }
    if let Some((kernel, dtype, _)) = unsupported(message) {
        return Some(match dtype {
            dtype if dtype.is_complex() => REAL,
            DType::Float32 | DType::Float64 if kernel.starts_with("bitwise") => MASK,
            DType::Float32 | DType::Float64 => "convert first: `.to(\"int64\")`",
            DType::Float16 | DType::BFloat16 => "convert first: `.to(\"float32\")`",
            DType::Bool => "convert bools first: `.to(\"float32\")`",
            _ => TO_FLOATS,
        });
    }
    HINTS.iter().find(|(part, _)| message.contains(part)).map(|(_, hint)| *hint)
}

/// Takes apart `"GeluKernelImpl" not implemented for 'Long'`: the kernel, the dtype and what follows.
fn unsupported(message: &str) -> Option<(&str, DType, &str)> {
    let (kernel, rest) = message.strip_prefix('"')?.split_once("\" not implemented for '")?;
    let (name, rest) = rest.split_once('\'')?;
    Some((kernel, named(name)?, rest))
}

/// Returns the dtype of one of libtorch's names, or of a type that has it, as `torch.FloatTensor` or `CPUFloatType`.
fn named(word: &str) -> Option<DType> {
    let start = ["torch.cuda.", "torch.", "CPU", "CUDA"].iter().find_map(|start| word.strip_prefix(start));
    let word = start.unwrap_or(word);
    let name = ["Tensor", "Type"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
    NAMES.iter().find(|(theirs, _)| *theirs == name).map(|(_, dtype)| *dtype)
}

/// Returns a sentence of libtorch without advice for Python and with the names of dtypes that scripts use.
pub(super) fn in_our_words(message: &str) -> String {
    if let Some((_, dtype, rest)) = unsupported(message) {
        return format!("not implemented for {}{rest}", dtype.name());
    }
    let end = ADVICE.iter().filter_map(|advice| message.find(advice)).min().unwrap_or(message.len());
    let text = CONDITIONS
        .iter()
        .chain(&CPP)
        .fold(message[..end].to_string(), |text, (theirs, ours)| text.replace(theirs, ours));
    let about = ABOUT_DTYPES.iter().any(|sign| text.contains(sign));
    let ours = |word: &str| match IN_SENTENCES.iter().find(|(theirs, _)| about && *theirs == word) {
        Some((_, ours)) => Some(*ours),
        None => named(word).map(DType::name),
    };
    let mut translated = String::new();
    for piece in text.split_inclusive(|c: char| !c.is_alphanumeric() && c != '_' && c != '.') {
        let word = piece.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '_');
        translated.push_str(ours(word).unwrap_or(word));
        translated.push_str(&piece[word.len()..]);
    }
    translated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{enable_grad, no_grad, torch_error};

    #[test]
    fn dtypes_have_the_names_of_scripts() {
        for (theirs, ours) in [
            (
                "expected m1 and m2 to have the same dtype, but got: c10::complex<float> != struct c10::BFloat16",
                "expected m1 and m2 to have the same dtype, but got: complex64 != bfloat16",
            ),
            (
                "expected m1 and m2 to have the same dtype, but got: double != float",
                "expected m1 and m2 to have the same dtype, but got: float64 != float32",
            ),
            ("expected scalar type Long but found Float", "expected scalar type int64 but found float32"),
            (
                "result type Float can't be cast to the desired output type long int",
                "result type float32 can't be cast to the desired output type int64",
            ),
            (
                "value cannot be converted to type uint8_t without overflow",
                "value cannot be converted to type uint8 without overflow",
            ),
            (
                "types: Long, Int; but got torch.FloatTensor instead",
                "types: int64, int32; but got float32 instead",
            ),
            ("one of [CPUFloatType [3]]", "one of [float32 [3]]"),
            ("\"GeluKernelImpl\" not implemented for 'Long'", "not implemented for int64"),
            // Words of English stay.
            ("start (2) + length (5) exceeds a long way", "start (2) + length (5) exceeds a long way"),
        ] {
            assert_eq!(torch_error(theirs).message(), ours);
        }
    }

    #[test]
    fn advice_for_python_is_left_out() {
        for (theirs, ours, part) in [
            (
                "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, \
                 use the `~` or `logical_not()` operator instead.",
                "negation, the `-` operator, on a bool tensor is not supported",
                "`!mask`",
            ),
            (
                "Trying to backward through the graph a second time. Saved intermediate values of the graph are freed when ..",
                "trying to backward through the graph a second time",
                "#{ retain_graph: true }",
            ),
            (
                "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error message be improved?  \
                 If so, please report an enhancement request to PyTorch.)",
                "expected probabilities from 0 to 1",
                "",
            ),
        ] {
            let error = torch_error(theirs);
            assert_eq!(error.message(), ours);
            assert!(error.hint_text().unwrap_or_default().contains(part), "{error}");
        }
    }

    #[test]
    fn hints_follow_from_the_dtype() {
        for (message, part) in [
            ("\"GeluKernelImpl\" not implemented for 'Byte'", "float32"),
            ("\"bitwise_not_cpu\" not implemented for 'Float'", "mask"),
            ("\"bincount_cpu\" not implemented for 'Float'", "int64"),
            ("\"lt_cpu\" not implemented for 'ComplexFloat'", ".real"),
            ("std and var only support floating point and complex dtypes", "float32"),
            ("gather(): Expected dtype int32/int64 for index", "int64"),
            ("index_select(): Expected dtype int32 or int64 for index", "int64"),
        ] {
            assert!(hint(message).unwrap().contains(part), "{message}");
        }
    }

    #[test]
    fn where_gradients_are_off_the_hint_says_so() {
        let message = "element 0 of tensors does not require grad and does not have a grad_fn";
        assert!(enable_grad(|| hint(message)).unwrap().contains("requires_grad_()"));
        assert!(no_grad(|| hint(message)).unwrap().starts_with("gradients are off here"));
    }
}
