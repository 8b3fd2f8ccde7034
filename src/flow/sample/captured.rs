//! Captured values that functions change while images are sampled in groups.

use super::{Conditions, SampleOptions, Sampler};
use crate::context::Context;
use crate::declare::Function;
use crate::error::list;

/// Code of the functions before the first group of images, with what it captured.
pub(in crate::flow) struct Captured(Vec<(&'static str, Option<String>)>);

/// Functions by the name of their option.
type Given<'a> = Vec<(&'static str, &'a Function)>;

impl Captured {
    /// Reads it, if there are several groups.
    pub fn of(given: Given, groups: usize) -> Self {
        let given = if groups > 1 { given } else { Vec::new() };
        Self(given.into_iter().map(|(name, function)| (name, text(function))).collect())
    }

    /// Says after the first group which functions changed what they captured, since the next group begins with it.
    pub fn check(&self, given: Given, context: &Context) {
        if self.0.is_empty() {
            return;
        }
        let changed: Vec<&str> = given
            .into_iter()
            .zip(&self.0)
            .filter(|((_, function), (_, before))| before.is_some() && text(function) != *before)
            .map(|((name, _), _)| name)
            .collect();
        if !changed.is_empty() {
            context.note(&format!(
                "{} changed values that it captured, and the next images, which are computed after the first ones, begin \
                 with them; `c.state` of the last argument `c` is new for each `batch` of images",
                list(&changed)
            ));
        }
    }
}

impl Conditions {
    /// Returns the function, if it is one, with the name of the option.
    pub(in crate::flow) fn function(&self) -> Option<(&'static str, &Function)> {
        match self {
            Conditions::Function(function) => Some(("fields", function)),
            Conditions::Given(_) => None,
        }
    }
}

/// Returns the functions of `flow::sample`.
pub(super) fn functions(options: &SampleOptions) -> Given<'_> {
    let sampler = match &options.sampler {
        Sampler::Function(function) => Some(function),
        Sampler::Named(_) => None,
    };
    let all = [
        ("guide", options.guide.as_ref()),
        ("velocity", options.velocity.as_ref()),
        ("keep", options.keep.as_ref()),
        ("sampler", sampler),
    ];
    let all = all.into_iter().filter_map(|(name, function)| Some((name, function?)));
    all.chain(options.fields.function()).collect()
}

fn text(function: &Function) -> Option<String> {
    function.to_compared().ok().map(|code| format!("{code:?}"))
}
