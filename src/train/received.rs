//! Keys and types of the maps that functions given to `fit` receive, for completion and `spectral check`.

/// What `loss` receives.
pub const LOSS: &[(&str, &str)] = &[
    ("v", "tensor"),
    ("target", "tensor"),
    ("x_t", "tensor"),
    ("x1", "tensor"),
    ("noise", "tensor"),
    ("pair", "map"),
    ("t", "tensor"),
    ("y", "tensor"),
    ("indices", "tensor"),
    ("fields", "fields"),
    ("model", "model"),
    ("ema", "model"),
    ("path", "path"),
    ("step", "int"),
    ("seed", "int"),
    ("row", "int"),
    ("batch", "int"),
    ("kept", "map"),
    ("also", "map"),
];

/// What `on_step` receives.
pub const STEP: &[(&str, &str)] = &[
    ("step", "int"),
    ("loss", "float"),
    ("lr", "float"),
    ("grad_norm", "float"),
    ("seconds", "float"),
    ("score", "float"),
    ("best", "map"),
    ("history", "array"),
    ("indices", "tensor"),
    ("model", "model"),
    ("ema", "model"),
    ("tensorboard", "tensorboard"),
];

/// What `score` receives.
pub const SCORE: &[(&str, &str)] = &[
    ("step", "int"),
    ("loss", "float"),
    ("model", "model"),
    ("ema", "model"),
    ("averages", "map"),
    ("tensorboard", "tensorboard"),
];

/// What `update` of an optimizer receives.
pub const UPDATE: &[(&str, &str)] = &[
    ("name", "string"),
    ("param", "tensor"),
    ("grad", "tensor"),
    ("state", "map"),
    ("step", "int"),
    ("lr", "float"),
    ("weight_decay", "float"),
    ("betas", "array"),
    ("eps", "float"),
];

/// What `state` of an optimizer receives.
pub const STATE: &[(&str, &str)] = &[("name", "string"), ("param", "tensor")];
