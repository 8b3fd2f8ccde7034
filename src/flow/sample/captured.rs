//! Captured values that functions change while images are sampled in groups.

use super::{Conditions, SampleOptions, Sampler};
use crate::context::Context;
use crate::declare::Function;
use crate::error::list;

/// Code of the functions before the first group of images, with what it captured.
pub(super) struct Captured(Vec<(&'static str, Option<String>)>);

impl Captured {
    /// Reads it, if there are several groups.
    pub fn of(options: &SampleOptions, groups: usize) -> Self {
        let given = if groups > 1 { functions(options) } else { Vec::new() };
        Self(given.into_iter().map(|(name, function)| (name, text(function))).collect())
    }

    /// Says after the first group which functions changed what they captured, since the next group begins with it.
    pub fn check(&self, options: &SampleOptions, context: &Context) {
        if self.0.is_empty() {
            return;
        }
        let changed: Vec<&str> = functions(options)
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

fn functions(options: &SampleOptions) -> Vec<(&'static str, &Function)> {
    let fields = match &options.fields {
        Conditions::Function(function) => Some(function),
        Conditions::Given(_) => None,
    };
    let sampler = match &options.sampler {
        Sampler::Function(function) => Some(function),
        Sampler::Named(_) => None,
    };
    let all = [
        ("guide", options.guide.as_ref()),
        ("velocity", options.velocity.as_ref()),
        ("keep", options.keep.as_ref()),
        ("fields", fields),
        ("sampler", sampler),
    ];
    all.into_iter().filter_map(|(name, function)| Some((name, function?))).collect()
}

fn text(function: &Function) -> Option<String> {
    function.to_compared().ok().map(|code| format!("{code:?}"))
}
