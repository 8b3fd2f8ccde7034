//! Parts built into a model, with their parameters.

use std::ops::Range;
use std::sync::Arc;

use super::call::{At, Seen, Within};
use super::coefficients::Coefficients;
use super::{Body, Call, Part, Pass, Place};
use crate::declare::{Function, IntoValue, Map, Value, check_count};
use crate::error::{Error, Kind, Result};
use crate::model::Config;
use crate::nn::attention::Usual;
use crate::nn::shared_builder::Facts;
use crate::nn::{Builder, Heads, SharedBuilder};
use crate::spectral::correction::{Layer, add_gated, corrected};
use crate::spectral::gate::Condition;
use crate::torch::autograd::is_autocasting;
use crate::torch::{Tensor, flops, fused};

/// State that every part of one forward pass receives.
#[derive(Clone)]
pub(in crate::model) struct Passing {
    pub seen: Arc<Seen>,
    pub pass: Pass,
}

/// A built part with code.
pub(in crate::model) struct Running {
    run: Function,
    part: Part,
    place: Place,
    block: Option<i64>,
    /// `grid` of its builder.
    grid: Option<i64>,
}

/// One step at a place.
enum Step {
    Code(Running),
    /// Adjacent corrections, all of which see the same residual.
    Corrections(Vec<Layer>),
}

/// All steps at one place, in one block if the place is in blocks.
#[derive(Default)]
pub(in crate::model) struct Steps(Vec<Step>);

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} parts", self.0.len())
    }
}

/// Parts are built by the configuration that contains them.
impl Config {
    /// Builds the steps at a place; the builder's path is that of the block, or of the model.
    pub(in crate::model) fn steps(
        &self,
        builder: &mut Builder,
        place: Place,
        block: Option<i64>,
    ) -> Result<Steps> {
        let mut steps: Vec<Step> = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            if part.place()? != place || part.replaces() || !self.stands(part, block)? {
                continue;
            }
            let built = below(builder, index, part, |b| self.step(b, part, place, block))?;
            match (steps.last_mut(), built) {
                (Some(Step::Corrections(all)), Step::Corrections(more)) => all.extend(more),
                (_, built) => steps.push(built),
            }
        }
        Ok(Steps(steps))
    }

    /// Returns the index of the part that replaces the module at a place in a block, if any.
    fn replacing(&self, place: Place, block: i64) -> Result<Option<usize>> {
        for (index, part) in self.parts.iter().enumerate() {
            if part.replaces() && part.place()? == place && self.stands(part, Some(block))? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Builds the module at a place in a block, unless a part replaces it.
    pub(in crate::model) fn unless_replaced<T>(
        &self,
        place: Place,
        block: i64,
        build: impl FnOnce() -> Result<T>,
    ) -> Result<Option<T>> {
        match self.replacing(place, block)? {
            None => build().map(Some),
            Some(_) => Ok(None),
        }
    }

    /// Builds the part that replaces the module at a place in a block.
    pub(in crate::model) fn replacement(
        &self,
        builder: &mut Builder,
        place: Place,
        block: i64,
    ) -> Result<Running> {
        match self.replacing(place, block)? {
            Some(index) => {
                let part = &self.parts[index];
                below(builder, index, part, |b| self.running(b, part, place, Some(block)))
            }
            None => Err(Error::internal("a module was left out that no part replaces")),
        }
    }

    /// Builds the parts around blocks, with their ranges of blocks.
    pub(in crate::model) fn spans(&self, builder: &mut Builder) -> Result<Vec<(Range<usize>, Running)>> {
        let spans = spans(&self.parts, self.depth)?;
        let built = spans.into_iter().map(|(index, first, last)| {
            let part = &self.parts[index];
            let running = below(builder, index, part, |b| self.running(b, part, Place::Span, None))?;
            Ok((first as usize..last as usize + 1, running))
        });
        built.collect()
    }

    fn stands(&self, part: &Part, block: Option<i64>) -> Result<bool> {
        match block {
            None => Ok(true),
            Some(block) => Ok(part.blocks().of(self.depth)?.contains(&block)),
        }
    }

    fn step(&self, builder: &mut Builder, part: &Part, place: Place, block: Option<i64>) -> Result<Step> {
        match part.body() {
            Body::Code(_) => self.running(builder, part, place, block).map(Step::Code),
            Body::Correction(correction) => {
                let (grid, width) = self.size_at(place);
                let layer = correction.layer(builder, 0, grid, width)?;
                Ok(Step::Corrections(vec![layer]))
            }
        }
    }

    /// Builds a part by calling its function.
    fn running(
        &self,
        builder: &mut Builder,
        part: &Part,
        place: Place,
        block: Option<i64>,
    ) -> Result<Running> {
        Running::new(builder, part, (place, block), self.facts())
    }
}

/// Builds a part below its name or, if it has none, below its index in the list. Its own weights are not changed.
pub(super) fn below<T>(
    builder: &mut Builder,
    index: usize,
    part: &Part,
    build: impl FnOnce(&mut Builder) -> Result<T>,
) -> Result<T> {
    let name = part.name().map_or_else(|| index.to_string(), str::to_string);
    builder
        .within("parts", |b| b.within(&name, |b| b.unchanged(build)))
        .map_err(|e| e.context(format!("the {part}")))
}

/// Arguments that the function of a part at a place may take, one entry for each number of them.
const FORMS: &[&str] = &["x", "x, c"];

/// Calls `code` with a builder and returns the function that it returns, which takes one of `forms`; any if there are none.
pub(in crate::model) fn make(code: &Function, builder: &SharedBuilder, forms: &[&str]) -> Result<Function> {
    match code.call(&[builder.clone().into_value()])? {
        Value::Function(run) => {
            run.takes().map_or(Ok(()), |count| check_count(forms, count, &run.written()))?;
            builder.calls(&run);
            Ok(run)
        }
        other => Err(other.mismatch("the function that is called in every forward").hint(
            "a part is a function of a builder that gives a function: `|b| { let gate = b.linear(..); |x, c| .. }`",
        )),
    }
}

/// Returns the tensor that a part returned, which must have the shape and, unless `any_dtype`, the dtype of its input.
pub(super) fn like(given: &Value, input: &Tensor, any_dtype: bool) -> Result<Tensor> {
    let shape = input.shape();
    let found =
        given.downcast::<Tensor>().ok_or_else(|| given.mismatch(&format!("a tensor of shape {shape:?}")))?;
    crate::ensure!(
        found.shape() == shape,
        "expected a tensor of shape {shape:?} like its input, found {:?}",
        found.shape()
    );
    if found.dtype() != input.dtype() && !any_dtype {
        let (expected, found) = (input.dtype().name(), found.dtype().name());
        return Err(Error::argument(format!(
            "expected a tensor of {expected} like its input, found {found}"
        ))
        .hint(format!("convert it: `.to(\"{expected}\")`")));
    }
    Ok(found)
}

impl Running {
    /// Builds a part by calling its function with a builder that has `facts`.
    fn new(
        builder: &mut Builder,
        part: &Part,
        (place, block): (Place, Option<i64>),
        mut facts: Facts,
    ) -> Result<Self> {
        let Body::Code(code) = part.body() else {
            return Err(Error::internal("a correction has no code"));
        };
        facts.extend(block.map(|block| ("block", block)));
        let grid = facts.iter().find(|(name, _)| *name == "grid").map(|(_, grid)| *grid);
        let run = SharedBuilder::lend(builder, facts, |shared| make(code.function()?, shared, FORMS))?;
        Ok(Self { run, part: part.clone(), place, block, grid })
    }

    fn explain(&self, error: Error) -> Error {
        let block = self.block.map_or_else(String::new, |b| format!(" in block {b}"));
        error.context(format!("the {} at {}{block}{}", self.what(), self.place, self.run.written()))
    }

    /// Returns the part with its name, for messages.
    pub fn what(&self) -> String {
        self.part.name().map_or_else(|| "part".to_string(), |name| format!("part `{name}`"))
    }

    /// Calls the part's function with the value and, unless it takes one argument, the call.
    fn call(&self, value: Value, call: Call) -> Result<Value> {
        match self.run.takes() {
            Some(1) => self.run.call(&[value]),
            _ => self.run.call(&[value, call.into_value()]),
        }
    }

    /// Runs the part on a tensor and returns one of the same shape.
    pub fn run(&self, value: &Tensor, passing: &Passing, at: At) -> Result<Tensor> {
        let given = self.given(value.clone().into_value(), passing, at)?;
        self.of_shape(&given, value).map_err(|e| self.explain(e))
    }

    /// Calls the part's function and counts the operations that it states, besides those of what it runs inside.
    fn given(&self, value: Value, passing: &Passing, at: At) -> Result<Value> {
        let at = At { block: self.block, replaces: self.part.replaces(), ..at };
        let explain = |e| self.on_other_grid(e, passing.seen.grid);
        let Some(flops) = self.part.flops() else {
            return self.call(value, Call::new(&passing.seen, &passing.pass, at)).map_err(explain);
        };
        let images = passing.seen.x.size(0)? as f64;
        let (at, inside) = at.counted();
        let call = Call::new(&passing.seen, &passing.pass, at);
        flops::instead(|| flops * images + inside(), || self.call(value, call)).map_err(explain)
    }

    /// Says of an error of the part's code that the images have another grid than the part was built for, which may be why.
    fn on_other_grid(&self, error: Error, [height, width]: [i64; 2]) -> Error {
        let Some(grid) = self.grid.filter(|grid| [height, width] != [*grid; 2]) else { return error };
        if error.kind() == Kind::Interrupted {
            return error;
        }
        let other = format!(
            "`b.grid` was {grid} when the part was made, and these images have a grid of {height} x {width} tokens, `c.grid_size`"
        );
        let hint = error.hint_text().map_or(other.clone(), |own| format!("{own}; {other}"));
        error.hint(hint)
    }

    /// Runs the part on the coefficients of a block or, if it replaces adaLN, on the embedding [B, D].
    pub fn run_coefficients(&self, value: Value, like: &Tensor, passing: &Passing) -> Result<Coefficients> {
        let given = self.given(value, passing, At::default())?;
        Coefficients::of(&given, like).map_err(|e| self.explain(e))
    }

    fn of_shape(&self, given: &Value, input: &Tensor) -> Result<Tensor> {
        // The velocity is the result, which may have any dtype, and under autocast dtypes differ anyway.
        like(given, input, self.place == Place::Velocity || is_autocasting(input.device()))
    }

    /// Runs the part on queries, keys and values.
    fn run_heads(&self, heads: &Heads, passing: &Passing, at: At) -> Result<Tensor> {
        let given = self.given(heads.clone().into_value(), passing, at)?;
        self.of_shape(&given, &heads.q).map_err(|e| self.explain(e))
    }

    /// Runs the part on queries and keys.
    fn run_pair(&self, (q, k): (Tensor, Tensor), passing: &Passing, at: At) -> Result<(Tensor, Tensor)> {
        let pair =
            Map::from([("q".to_string(), q.clone().into_value()), ("k".to_string(), k.clone().into_value())]);
        let given = self.given(Value::Map(pair), passing, at)?;
        let part = |name: &str, like: &Tensor| {
            let Value::Map(map) = &given else { return Err(given.mismatch("a map `#{ q, k }`")) };
            let value = map.get(name).unwrap_or(&Value::Unit);
            self.of_shape(value, like).map_err(|e| e.context(format!("`{name}`")))
        };
        let both = part("q", &q).and_then(|q| Ok((q, part("k", &k)?)));
        both.map_err(|e| self.explain(e))
    }
}

impl Steps {
    /// Builds the steps at a place of a user-defined network, whose parts are made of code.
    pub fn of_network(builder: &mut Builder, parts: &[Part], place: Place, facts: &Facts) -> Result<Self> {
        let mut steps = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            if part.place()? == place {
                let build = |b: &mut Builder| Running::new(b, part, (place, None), facts.clone());
                steps.push(Step::Code(below(builder, index, part, build)?));
            }
        }
        Ok(Self(steps))
    }

    /// Inserts corrections before all other steps.
    pub fn with_corrections(mut self, corrections: Vec<Layer>) -> Self {
        match self.0.first_mut() {
            _ if corrections.is_empty() => {}
            Some(Step::Corrections(after)) => {
                after.splice(0..0, corrections);
            }
            _ => self.0.insert(0, Step::Corrections(corrections)),
        }
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the corrections, in order.
    pub fn corrections(&self) -> impl Iterator<Item = &Layer> {
        self.0.iter().flat_map(|step| match step {
            Step::Corrections(all) => all.as_slice(),
            Step::Code(_) => &[],
        })
    }

    /// Returns whether any step is not a correction.
    pub fn has_code(&self) -> bool {
        self.0.iter().any(|step| matches!(step, Step::Code(_)))
    }

    /// Applies the steps to a value: tokens [B, N, D], images [B, C, H, W] or embeddings [B, D].
    pub fn apply(&self, value: Tensor, at: At, condition: &Condition, passing: &Passing) -> Result<Tensor> {
        self.0.iter().try_fold(value, |value, step| match step {
            Step::Code(running) => running.run(&value, passing, at.clone()),
            Step::Corrections(all) if value.rank() == 4 => on_images(&value, all, condition),
            Step::Corrections(all) => corrected(&fused::Tokens::Given(value), all, condition),
        })
    }

    /// Returns the corrections if there is nothing else, and nothing if there are no steps.
    pub fn only_corrections(&self) -> Option<&[Layer]> {
        match &self.0[..] {
            [Step::Corrections(all)] => Some(all),
            _ => None,
        }
    }

    /// Adds `gate m`, changed by the steps, to tokens `x`. Corrections alone are one pass over the tokens.
    pub fn add(
        &self,
        x: &Tensor,
        m: &Tensor,
        gate: &Tensor,
        condition: &Condition,
        passing: Option<&Passing>,
    ) -> Result<Tensor> {
        match (&self.0[..], passing) {
            ([], _) => add_gated(x, m, gate, &[], condition),
            ([Step::Corrections(all)], _) => add_gated(x, m, gate, all, condition),
            (_, Some(passing)) => {
                let residual = gate.mul(m)?;
                let at = At { stream: Some(x.clone()), ..At::default() };
                let change = self.apply(residual.clone(), at, condition, passing)?.sub(&residual)?;
                // The plain sum rounds once, so a part that changes nothing preserves every bit.
                add_gated(x, m, gate, &[], condition)?.add(&change)
            }
            (_, None) => Err(Error::internal("a part from code was run without its call")),
        }
    }

    /// Applies the steps to the coefficients of a block.
    pub fn coefficients(&self, all: Coefficients, passing: &Passing) -> Result<Coefficients> {
        self.0.iter().try_fold(all, |all, step| match step {
            Step::Code(running) => {
                let like = all.0[0].clone();
                running.run_coefficients(all.into_value(), &like, passing)
            }
            Step::Corrections(_) => Err(Error::internal("a correction cannot change coefficients")),
        })
    }

    /// Runs a module on tokens x, whose output is added to `stream`, with the steps around it: the first step runs the
    /// next one inside, and the last one runs the module.
    pub fn surround(
        self: &Arc<Self>,
        x: &Tensor,
        stream: &Tensor,
        passing: &Passing,
        module: Within,
    ) -> Result<Tensor> {
        surround(self, 0, x, &(module, passing.clone(), stream.clone()))
    }

    /// Applies the steps to the queries and keys of attention to `input`.
    pub fn pair(&self, heads: Heads, passing: &Passing, input: &Tensor) -> Result<Heads> {
        let Heads { q, k, v } = heads;
        let (q, k) = self.0.iter().try_fold((q, k), |pair, step| match step {
            Step::Code(running) => {
                running.run_pair(pair, passing, At { input: Some(input.clone()), ..At::default() })
            }
            Step::Corrections(_) => Err(Error::internal("a correction cannot change queries and keys")),
        })?;
        Ok(Heads { q, k, v })
    }

    /// Mixes the values of attention to `input`: the first step does it, and runs the next one inside; the last one
    /// runs the usual attention.
    pub fn mix(
        self: &Arc<Self>,
        heads: Heads,
        usual: Usual,
        passing: &Passing,
        input: &Tensor,
    ) -> Result<Tensor> {
        mix(self, 0, &heads, &(Arc::new(usual), passing.clone(), input.clone()))
    }
}

/// Runs a module with the steps from index `next` on around it.
fn surround(
    steps: &Arc<Steps>,
    next: usize,
    x: &Tensor,
    around: &(Within, Passing, Tensor),
) -> Result<Tensor> {
    let (module, passing, stream) = around;
    let running = match steps.0.get(next) {
        None => return module(x, None),
        Some(Step::Code(running)) => running,
        Some(Step::Corrections(_)) => return Err(Error::internal("a correction cannot run a module")),
    };
    let (steps, inner) = (Arc::clone(steps), around.clone());
    let within: Within = Arc::new(move |x: &Tensor, tokens: Option<&Tensor>| match tokens {
        None => surround(&steps, next + 1, x, &inner),
        Some(_) => Err(Error::argument("a module of a block takes no indices of tokens")
            .hint("`c.inner(x)`; a part at `span` runs whole blocks on some tokens")),
    });
    running.run(x, passing, At { within: Some(within), stream: Some(stream.clone()), ..At::default() })
}

/// Mixes values by the steps from index `next` on.
fn mix(
    steps: &Arc<Steps>,
    next: usize,
    heads: &Heads,
    around: &(Arc<Usual>, Passing, Tensor),
) -> Result<Tensor> {
    let (usual, passing, input) = around;
    let running = match steps.0.get(next) {
        None => return usual.forward(heads),
        Some(Step::Code(running)) => running,
        Some(Step::Corrections(_)) => return Err(Error::internal("a correction cannot be attention")),
    };
    let (steps, inner) = (Arc::clone(steps), around.clone());
    let attend = Arc::new(move |heads: &Heads| mix(&steps, next + 1, heads, &inner));
    running.run_heads(
        heads,
        passing,
        At { attend: Some(attend), input: Some(input.clone()), ..At::default() },
    )
}

/// Adds corrections to images [B, C, H, W], with pixels as tokens.
fn on_images(images: &Tensor, corrections: &[Layer], condition: &Condition) -> Result<Tensor> {
    let tokens = images.flatten(2, 3)?.transpose(1, 2)?.contiguous()?;
    let condition = &Condition { grid: Some([images.size(2)?, images.size(3)?]), ..*condition };
    corrected(&fused::Tokens::Given(tokens), corrections, condition)?
        .transpose(1, 2)?
        .reshape(&images.shape())
}

/// Returns the parts around blocks: the index of each in the list, its first block and its last.
pub(super) fn spans(parts: &[Part], depth: i64) -> Result<Vec<(usize, i64, i64)>> {
    let mut found: Vec<(usize, i64, i64)> = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        if part.place()? != Place::Span {
            continue;
        }
        let blocks = part.blocks().of(depth)?;
        let (first, last) = (blocks[0], blocks[blocks.len() - 1]);
        crate::ensure!(
            last - first + 1 == blocks.len() as i64,
            "the {part} must be placed around consecutive blocks, found {blocks:?}"
        );
        if let Some((other, a, b)) = found.iter().find(|(_, a, b)| *a <= last && first <= *b) {
            return Err(Error::argument(format!(
                "the {part} covers blocks {first} to {last}, and the {} covers {a} to {b}",
                parts[*other]
            ))
            .hint("spans must not share blocks"));
        }
        found.push((i, first, last));
    }
    found.sort_by_key(|(_, first, _)| *first);
    Ok(found)
}
