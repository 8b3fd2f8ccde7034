//! How functions of PyTorch and NumPy take their arguments, where ours take them in another way.
//!
//! A translation that runs but means something else is worse than none, so an argument that has no certain place
//! here makes the whole call untranslatable.

/// Names of functions, and what PyTorch calls their arguments, after the input of a method and in PyTorch's order;
/// `theirs=ours` renames one, and those after `*` have no position.
const ORDERS: &[(&str, &str)] = &[
    ("std var var_mean", "dim unbiased keepdim"),
    (
        "sum mean nansum nanmean amax amin argmax argmin mode max min median logsumexp all any prod",
        "dim keepdim dtype",
    ),
    ("quantile", "q dim keepdim * interpolation"),
    ("kthvalue", "k dim keepdim"),
    ("topk", "k dim largest sorted"),
    ("sort argsort", "dim descending stable"),
    ("norm", "p|ord=p dim keepdim"),
    ("matrix_norm", "ord=order"),
    ("unique", "sorted return_inverse return_counts dim"),
    ("unique_consecutive", "return_inverse return_counts dim"),
    ("bincount", "weights minlength"),
    ("histogram", "bins * range weight density"),
    ("multinomial", "num_samples=count replacement"),
    ("allclose isclose", "other=y rtol atol equal_nan"),
    ("add sub", "other=y * alpha"),
    ("add_ sub_ mul mul_ div_ floor_divide fmod remainder maximum minimum", "other=y"),
    ("eq ne lt le gt ge equal logical_and logical_or logical_xor", "other=y"),
    ("hypot copysign xlogy kron logaddexp", "other=y"),
    ("div", "other=y * rounding_mode=rounding"),
    ("pow", "exponent=y"),
    ("addcmul addcdiv", "tensor1=a tensor2=b * value"),
    ("matmul mm bmm", "other|mat2=y"),
    ("dot outer", "other|tensor|vec2=y"),
    ("cdist", "x2=y p"),
    ("cross", "other=y dim"),
    ("clamp clip clamp_", "min=low max=high"),
    ("clamp_min", "min=low"),
    ("clamp_max", "max=high"),
    ("flatten", "start_dim=start end_dim=end"),
    ("transpose", "dim0=a dim1=b"),
    ("swapaxes", "axis0=a axis1=b"),
    ("diagonal", "offset dim1=a dim2=b"),
    ("rot90", "k=times dims"),
    ("movedim", "source=from destination=to"),
    ("repeat tile", "repeats|dims=times"),
    ("repeat_interleave", "repeats=times dim"),
    ("permute flip", "dims"),
    ("view reshape expand broadcast_to", "shape|size=shape"),
    ("split", "split_size|split_size_or_sections=size dim"),
    ("chunk", "chunks=count dim"),
    ("diff", "n=order dim"),
    ("trapezoid", "x * dx dim"),
    ("unfold", "dimension|dim=dim size step"),
    ("scatter", "dim index src|value=source"),
    ("scatter_add", "dim index src=source"),
    ("round", "* decimals"),
    ("searchsorted", "values * right"),
    ("bucketize", "boundaries * right"),
    ("backward", "gradient retain_graph create_graph"),
    ("grad", "outputs inputs grad_outputs=weights retain_graph create_graph allow_unused"),
    ("lstsq", "b"),
    ("fft ifft rfft irfft", "n dim norm"),
    ("fft2 ifft2 rfft2", "s dim norm"),
    ("irfft2", "s=size dim norm"),
    ("fftn ifftn", "s dim norm"),
    ("fftfreq rfftfreq", "n d=spacing"),
    ("gelu", "* approximate"),
    ("relu relu6 silu sigmoid hardsigmoid hardswish mish selu", "inplace"),
    ("elu celu", "alpha inplace"),
    ("leaky_relu", "negative_slope=slope inplace"),
    ("hardtanh", "min_val=low max_val=high inplace"),
    ("hardshrink softshrink", "lambd=lambda"),
    ("threshold", "threshold value inplace"),
    ("softmax log_softmax softmin", "dim"),
    ("one_hot", "num_classes=classes"),
    ("layer_norm", "normalized_shape=shape weight bias eps"),
    ("rms_norm", "normalized_shape=shape weight eps"),
    ("group_norm", "num_groups=groups weight bias eps"),
    ("instance_norm", "running_mean running_var weight bias use_input_stats momentum eps"),
    ("batch_norm", "running_mean running_var weight bias training momentum eps"),
    ("attention", "key value attn_mask=mask dropout_p is_causal=causal"),
    ("cosine_similarity", "x2=y dim"),
    ("normalize", "p dim"),
    ("dropout", "p training inplace"),
    ("conv1d conv2d", "weight bias stride padding dilation groups"),
    ("conv_transpose2d", "weight bias stride padding output_padding groups dilation"),
    ("max_pool1d max_pool2d", "kernel_size=kernel stride padding dilation ceil_mode return_indices"),
    ("avg_pool1d avg_pool2d", "kernel_size=kernel stride padding ceil_mode count_include_pad"),
    ("adaptive_avg_pool2d", "output_size=size"),
    ("pixel_shuffle", "upscale_factor=factor"),
    ("pixel_unshuffle", "downscale_factor=factor"),
    ("im2col", "kernel_size=kernel dilation padding stride"),
    ("col2im", "output_size=size kernel_size=kernel dilation padding stride"),
    ("interpolate", "size scale_factor=scale mode align_corners recompute_scale_factor antialias"),
    ("pad", "pad=sizes mode value"),
    ("mse_loss l1_loss", "target size_average reduce reduction"),
    ("smooth_l1_loss", "target size_average reduce reduction beta"),
    ("huber_loss", "target reduction delta"),
    ("cross_entropy", "target weight size_average ignore_index reduce reduction label_smoothing"),
    ("nll_loss", "target weight size_average ignore_index reduce reduction"),
    ("binary_cross_entropy", "target weight size_average reduce reduction"),
    ("binary_cross_entropy_with_logits", "target weight size_average reduce reduction pos_weight"),
    ("poisson_nll_loss", "target log_input full size_average eps reduce reduction"),
    ("gaussian_nll_loss", "target var=variance full eps reduction"),
    ("kl_div", "target size_average reduce reduction log_target"),
    ("uniform_", "from=low to=high"),
    ("zeros ones empty rand randn new_zeros new_ones", "size=shape"),
    ("full", "size=shape fill_value=value"),
    ("full_like", "input=x fill_value=value"),
    ("zeros_like ones_like rand_like randn_like empty_like", "input=x"),
    ("arange", "start=n end=stop step"),
    ("linspace logspace", "start end=stop steps"),
    ("eye", "n m=columns"),
    ("randint", "low high size=shape"),
    ("normal", "mean std size=shape"),
    ("randperm", "n=count"),
    ("hann_window", "window_length=length"),
    ("load", "f=path map_location=device * weights_only mmap"),
];

/// Arguments that change nothing here if they have this value; `*` stands for any.
const NEUTRAL: [(&str, &str); 13] = [
    ("inplace", "false"),
    ("sorted", "true"),
    ("stable", "false"),
    ("dropout_p", "0.0"),
    ("dropout_p", "0"),
    ("ceil_mode", "false"),
    ("return_indices", "false"),
    ("count_include_pad", "true"),
    ("equal_nan", "false"),
    ("non_blocking", "*"),
    ("pin_memory", "*"),
    ("weights_only", "*"),
    ("mmap", "*"),
];

/// Functions of PyTorch that have another name here, the module before them if it matters.
const RENAMED: [(&str, &str, &str); 17] = [
    ("", "inv", "inverse"),
    ("", "pinv", "pinverse"),
    ("", "vector_norm", "norm"),
    ("", "concat", "cat"),
    ("", "concatenate", "cat"),
    ("", "absolute", "abs"),
    ("", "multiply", "mul"),
    ("", "subtract", "sub"),
    ("", "divide", "div"),
    ("", "as_tensor", "tensor"),
    ("", "from_numpy", "tensor"),
    ("np", "array", "tensor"),
    ("np", "asarray", "tensor"),
    ("", "scaled_dot_product_attention", "attention"),
    ("F", "unfold", "im2col"),
    ("F", "fold", "col2im"),
    ("plt", "plot", "line"),
];

/// Functions of NumPy that compute the same as PyTorch's of the same name. The others differ: `np.std` divides by
/// the number of elements, `np.repeat` repeats each element, `np.median` averages the middle ones, and `log` of a
/// float, which `np.log` takes too, has the base 10.
const NUMPY: &str = "array asarray zeros ones full empty eye arange linspace zeros_like ones_like full_like load \
     exp log2 log10 log1p expm1 sqrt abs absolute sin cos tan tanh sinh cosh square sign floor ceil sum mean \
     prod all any argmax argmin clip where maximum minimum isnan isinf isfinite reshape squeeze stack concatenate \
     sinc tile outer matmul seed rand randn normal randint";

/// Returns our name of a function of a module, or `None` if it computes something else here.
pub fn name_of(root: &str, inner: &str, name: &str) -> Option<String> {
    let group = match (root, inner) {
        ("np" | "numpy" | "jnp" | "jax", _) => "np",
        ("F", _) | (_, "functional") => "F",
        ("plt" | "matplotlib", _) => "plt",
        _ => "",
    };
    if group == "np" && !NUMPY.split_whitespace().any(|n| n == name) {
        return None;
    }
    let renamed = RENAMED.iter().find(|(of, theirs, _)| *theirs == name && (of.is_empty() || *of == group));
    Some(renamed.map_or_else(|| name.to_string(), |(.., ours)| ours.to_string()))
}

/// An argument of a call: its name, if it has one, and its value.
pub type Given = (Option<String>, String);

/// Gives the arguments of a call of PyTorch's function the names that they have here, and leaves out those that
/// change nothing; `None` if one has no certain name.
pub fn named(function: &str, given: Vec<Given>) -> Option<Vec<Given>> {
    let order = ORDERS.iter().find(|(names, _)| names.split(' ').any(|n| n == function)).map(|o| o.1);
    let tokens: Vec<&str> = order.map(|o| o.split(' ').collect()).unwrap_or_default();
    let positions = tokens.iter().position(|t| *t == "*").unwrap_or(tokens.len());
    let mut found = Vec::new();
    for (i, (name, value)) in given.into_iter().enumerate() {
        // `to` takes its two targets in any order.
        let target = function == "to" && matches!(name.as_deref(), Some("dtype" | "device" | "other"));
        let name = name.filter(|_| !target);
        // Options in a map are ours already.
        if name.is_none() && (order.is_none() || value.starts_with("#{")) {
            found.push((None, value));
            continue;
        }
        let of = |token: &&&str| {
            let theirs = token.split('=').next().unwrap_or(token);
            name.as_deref().is_some_and(|name| theirs.split('|').any(|t| same(t, name)))
        };
        let token = match &name {
            None => Some(tokens.get(i).filter(|_| i < positions)?),
            Some(_) => tokens.iter().find(of),
        };
        let (theirs, ours) = match (token, &name) {
            (Some(token), _) => token.split_once('=').unwrap_or((token, token)),
            (None, Some(name)) => (name.as_str(), name.as_str()),
            (None, None) => return None,
        };
        let neutral = |(n, v): &(&str, &str)| *n == theirs && (*v == "*" || *v == value);
        if NEUTRAL.iter().any(neutral) {
            continue;
        }
        match (function, theirs, value.as_str()) {
            ("std" | "var" | "var_mean", "correction", "0") => {
                found.push((Some("unbiased".to_string()), "false".to_string()));
            }
            ("std" | "var" | "var_mean", "correction", "1") => {}
            _ => found.push((Some(ours.to_string()), value)),
        }
    }
    // The default is another one here.
    if function == "kl_div" && found.iter().all(|(name, _)| name.as_deref() != Some("reduction")) {
        found.push((Some("reduction".to_string()), "\"mean\"".to_string()));
    }
    Some(found)
}

/// Returns whether a function may take the entries of its first argument one by one, as `view(2, -1)` does.
pub fn spreads(function: &str) -> bool {
    let order = ORDERS.iter().find(|(names, _)| names.split(' ').any(|n| n == function));
    order.is_none_or(|(_, order)| order.split(' ').take_while(|t| *t != "*").count() == 1)
}

/// Returns whether two names mean the same in PyTorch and NumPy.
pub fn same(ours: &str, theirs: &str) -> bool {
    let plain = |name: &str| match name {
        "axis" | "dims" => "dim".to_string(),
        "keepdims" => "keepdim".to_string(),
        "learning_rate" => "lr".to_string(),
        name => name.to_string(),
    };
    plain(ours) == plain(theirs)
}
