//! Script functions that create parts and set their places.

use super::place::PLACES;
use super::{Blocks, Part, Place, call};
use crate::declare::{Code, Function, Map, OneOrMany, Options, Value};
use crate::functions;
use crate::nn::SharedBuilder;
use crate::spectral::Correction;

crate::api! {
    functions: [space, methods, properties, of_correction, nested, call::methods, call::properties],
}

/// Options of `nn::part`.
#[derive(Debug, Clone, Options)]
pub struct PartOptions {
    /// Name of the part in its parameters' names, `blocks.3.parts.NAME.gate.weight`; by default its index in
    /// the model's list.
    pub name: String,
    /// Floating-point operations for one image in one block, or for one weight, for accounting; by default the part is
    /// run once and counted.
    #[option(range = 0.0..)]
    pub flops: Option<f64>,
    /// Whether the part changes nothing before it is trained, so that a model with it starts as the plain DiT.
    /// `model.summary` shows this property, and `model.starts_plain` checks it.
    #[option(default = false)]
    pub plain: bool,
    /// Whether the part replaces the module at its place, whose weights the model then lacks: the adaLN at
    /// `modulation`, the norms at `norm_attn` and `norm_mlp`, attention at `attention`, and the MLP at
    /// `feed_forward`.
    #[option(default = false)]
    pub replaces: bool,
}

/// Options of `at` of a part.
#[derive(Debug, Clone, Options)]
pub struct PartAtOptions {
    /// Blocks that have the part: a range such as `2..4`, an array of numbers, or "all", "even", "odd", "first"
    /// or "last"; -1 is the last block, so `1..-1` omits the first and the last.
    pub blocks: Option<Blocks>,
    /// Another name, for one of several places of the same part.
    pub name: Option<String>,
    /// Weights that a part at `weight` changes: patterns of their names, one or an array, such as "*.attn.*"; by
    /// default those of all linear maps.
    pub names: Option<OneOrMany<String>>,
}

/// Options of `at` of a correction.
#[derive(Debug, Clone, Options)]
pub struct AtOptions {
    /// Blocks that have the part: a range such as `2..4`, an array of numbers, or "all", "even", "odd", "first"
    /// or "last"; -1 is the last block, so `1..-1` omits the first and the last.
    pub blocks: Option<Blocks>,
}

/// Constructors.
pub mod space {
    use super::*;
    functions! { in "nn";
        /// Creates a part: a module with its own parameters, for a place in a DiT.
        ///
        /// `make` is called with a builder when a model is built, once for each block that has the part. It returns
        /// the function that is called in every forward pass; that function takes the value at the place and, if it
        /// has a second argument, the call, whose properties describe the forward pass, and returns a tensor of the
        /// same shape. Set the place with `at`. A part written in a file is stored with the model, as its text and
        /// the values that it captured, and `model::open` needs no script; a part written in a cell must be created
        /// again.
        ///
        /// With `replaces`, the function has the input and the output of the module at the place:
        ///
        /// - `attention`, `feed_forward`: the normalized and modulated tokens [B, N, D], to [B, N, D]
        /// - `norm_attn`, `norm_mlp`: the stream [B, N, D], to the tokens [B, N, D] that the block then modulates
        /// - `modulation`: the embedding c [B, D], to `#{ shift_attn, scale_attn, gate_attn, shift_mlp, scale_mlp, gate_mlp }`
        ///   of [B, 1, D] each
        ///
        /// Other parts at the place surround it or change its output, wherever they are in the list.
        ///
        /// ```rhai
        /// let own = nn::part(|b| {
        ///     let gate = b.linear("gate", b.width, 2 * b.width, #{ init: "zeros" });
        ///     let low = filter::gaussian(#{ sigma: 2.0 });
        ///     |r, c| {
        ///         let g = gate.forward(c.time).tanh().unsqueeze(1).chunk(2, -1);
        ///         let l = low.apply(r, c.grid);
        ///         r + g[0] * l + g[1] * (r - l)
        ///     }
        /// }, #{ plain: true }).at("attn", #{ blocks: "odd" });
        /// let net = model::dit(#{ depth: 2, parts: [own] });
        /// assert_eq(net.parameters()["blocks.1.parts.0.gate.weight"].shape, [256, 128]);
        /// assert(net.starts_plain());
        ///
        /// // The Mix-FFN of SANA: a depthwise convolution on the grid of tokens, between two maps.
        /// let mix = nn::part(|b| {
        ///     let up = b.linear("up", b.width, b.inner);
        ///     let near = b.conv2d("near", b.inner, b.inner, 3, #{ groups: b.inner });
        ///     let down = b.linear("down", b.inner, b.width);
        ///     |x, c| {
        ///         let h = up.forward(x).silu().transpose(1, 2).reshape([x.size(0), -1, c.grid, c.grid]);
        ///         down.forward(near.forward(h).silu().flatten(2).transpose(1, 2))
        ///     }
        /// }, #{ name: "mix", replaces: true }).at("feed_forward");
        /// let net = model::dit(#{ depth: 2, parts: mix });
        /// assert(!("blocks.0.mlp.net.0.weight" in net.parameters()));
        /// ```
        fn part(make: Function, options: PartOptions) -> Part {
            Part::of_code(Code::Live(make), &options)
        }

        /// Lists the places for parts, in the order of the data flow.
        ///
        /// Each is a map of `name`, `shape`, the shape of the part's input and output, and `what`, a description.
        ///
        /// ```rhai
        /// assert_eq(nn::places().map(|p| p.name)[10], "attn");
        /// ```
        fn places() -> Vec<Map> {
            let about = |place: Place| {
                let about = place.about();
                let entry = |name: &str, text: &str| (name.to_string(), Value::Str(text.to_string()));
                Map::from([entry("name", about.name), entry("shape", about.shape), entry("what", about.what)])
            };
            Ok(PLACES.into_iter().map(about).collect())
        }
    }
}

/// Methods of a part.
pub mod methods {
    use super::*;
    functions! { methods;
        /// Returns the part at a place, in all blocks or some.
        ///
        /// Places are `image`, `tokens`, `condition`, `span`, `modulation`, `norm_attn`, `attention`, `qk`, `attend`, `heads`,
        /// `attn`, `norm_mlp`, `feed_forward`, `hidden`, `mlp`, `block`, `velocity` and `weight`; `nn::places()` describes them. A
        /// part at `qk` takes and returns `#{ q, k }`, and one at `modulation` a map of six coefficients. One at `attend` takes
        /// `#{ q, k, v }` and returns the mixed values. Parts at `span`, `attention`, `attend` and `feed_forward` run what they
        /// surround with `c.inner(x)`.
        ///
        /// A part at `weight` is built for each weight [outputs, inputs] of a linear map that `names` and `blocks` select.
        /// Its function takes the weight and returns the one that the forward pass uses. Linear maps are those of attention
        /// and the MLP, of adaLN, of the time embedding and the final layer, and the patch embedding as a map of the C P P
        /// pixels of a patch; layers of other parts and gates are not changed.
        ///
        /// ```rhai
        /// let half = nn::part(|b| |r, c| r * 0.5).at("mlp", #{ blocks: 1..3 });
        /// assert_eq(model::dit(#{ depth: 4, parts: half }).config.parts.len(), 1);
        /// let same = nn::part(|b| |r, c| r, #{ name: "same" });
        /// let two = [same.at("attn"), same.at("mlp", #{ name: "same_mlp" })];
        /// assert_eq(model::dit(#{ depth: 1, parts: two }).config.parts.len(), 2);
        ///
        /// let low_rank = nn::part(|b| {
        ///     let down = b.parameter("down", [4, b.inputs], #{ init: "kaiming_uniform" });
        ///     let up = b.parameter("up", [b.outputs, 4], #{ init: "zeros" });
        ///     |w| w + up @ down
        /// }, #{ name: "low_rank", plain: true }).at("weight", #{ names: ["*.attn.qkv.*", "*.mlp.*"] });
        /// let net = model::dit(#{ depth: 2, parts: low_rank });
        /// assert(net.starts_plain());
        /// assert_eq(net.parameters()["blocks.1.attn.qkv.parts.low_rank.up"].shape, [384, 4]);
        /// ```
        fn at(part: Part, place: Place, options: PartAtOptions) -> Part {
            let mut part = part.at(place, options.blocks)?;
            if let Some(names) = options.names {
                part = part.of_names(&names)?;
            }
            match options.name {
                Some(name) => part.named(&name),
                None => Ok(part),
            }
        }
    }
}

/// Methods of a correction.
pub mod of_correction {
    use super::*;
    functions! { methods;
        /// Returns a correction as a part at a place, in all blocks or some; it stays native and fused.
        ///
        /// The places are `attn` and `mlp`, the two residuals of a block, and `image`, `tokens`, `norm_attn`,
        /// `heads`, `norm_mlp`, `hidden`, `block` and `velocity`, where the value itself is corrected. Adjacent corrections in the list see the
        /// same residual.
        ///
        /// ```rhai
        /// let paper = correction(filter::binomial(), gate::time()).at("attn", #{ blocks: "last" });
        /// let net = model::dit(#{ depth: 2, parts: [paper] });
        /// assert("blocks.1.parts.0.freq_gate.0.weight" in net.parameters());
        /// ```
        fn at(correction: Correction, place: Place, options: AtOptions) -> Part {
            Part::of_correction(&correction).at(place, options.blocks)
        }
    }
}

/// Builder method that nests a part in another part.
pub mod nested {
    use super::*;
    functions! { methods;
        /// Builds another part's parameters below a name and returns the function that runs it.
        ///
        /// ```rhai
        /// let scale = nn::part(|b| { let s = b.parameter("s", [1], #{ init: "ones" }); |x, c| x * s });
        /// let twice = nn::part(|b| {
        ///     let first = b.part("first", scale);
        ///     let second = b.part("second", scale);
        ///     |x, c| second.call(first.call(x, c), c)
        /// }).at("tokens");
        /// assert("parts.0.second.s" in model::dit(#{ depth: 1, parts: twice }).parameters());
        /// ```
        fn part(builder: SharedBuilder, name: String, part: Part) -> Function {
            match part.body() {
                super::super::Body::Code(code) => {
                    let code = code.function()?.clone();
                    builder.below(&name, || super::super::built::make(&code, &builder, &[]))
                }
                super::super::Body::Correction(_) => Err(crate::error::Error::argument(
                    "a correction cannot be part of another part",
                )
                .hint("put it at a place of the model: correction(..).at(\"mlp\")")),
            }
        }
    }
}

/// Properties of a part.
pub mod properties {
    use super::*;
    use crate::declare::IntoValue;
    functions! { properties;
        /// Name of the part; `()` if it has none and its index in the model's list is used instead.
        ///
        /// ```rhai
        /// assert_eq(nn::part(|b| |x, c| x, #{ name: "same" }).name, "same");
        /// ```
        fn name(part: Part) -> Value {
            Ok(part.name().map_or(Value::Unit, |name| Value::Str(name.to_string())))
        }

        /// Place of the part; `()` if it has none.
        ///
        /// ```rhai
        /// assert_eq(nn::part(|b| |x, c| x).at("attn").place, "attn");
        /// ```
        fn place(part: Part) -> Value { Ok(part.place().map_or(Value::Unit, IntoValue::into_value)) }

        /// Blocks that have the part, as passed to `at`.
        ///
        /// ```rhai
        /// assert_eq(nn::part(|b| |x, c| x).at("attn", #{ blocks: "odd" }).blocks, "odd");
        /// ```
        fn blocks(part: Part) -> Blocks { Ok(part.blocks().clone()) }

        /// Patterns of the names of the weights that the part changes; empty unless its place is `weight`.
        ///
        /// ```rhai
        /// let half = nn::part(|b| |w| w * 0.5);
        /// assert_eq(half.at("weight", #{ names: "*.mlp.*" }).names, ["*.mlp.*"]);
        /// assert_eq(half.at("weight").names, ["*"]);
        /// ```
        fn names(part: Part) -> Vec<String> { Ok(part.names().to_vec()) }

        /// Whether the part is declared to change nothing before it is trained.
        ///
        /// ```rhai
        /// assert(nn::part(|b| |x, c| x, #{ plain: true }).plain);
        /// ```
        fn plain(part: Part) -> bool { Ok(part.plain()) }

        /// Whether the part replaces the module at its place.
        ///
        /// ```rhai
        /// assert(nn::part(|b| |x| x.tanh(), #{ replaces: true }).at("norm_attn").replaces);
        /// ```
        fn replaces(part: Part) -> bool { Ok(part.replaces()) }
    }
}
