//! A scripting laboratory for diffusion transformers.
//!
//! Modules, each importing only from those above it:
//!
//! - [`error`] error type; [`context`] interrupts and progress; [`text`] number and duration formatting; [`files`]
//!   reading and writing
//! - [`declare`] declared functions and options, with documentation and examples
//! - [`table`] tables of results; [`report`] HTML pages of text, tables and figures
//! - [`torch`] tensors; the only module that names libtorch
//! - [`ranks`] several processes that make one run
//! - [`nn`] layers and named parameters
//! - [`spectral`] bases, filters, gates, and corrections made of filters and gates
//! - [`model`] DiT and SpectralDiT
//! - [`flow`] flow matching and samplers
//! - [`train`] training; [`eval`] metrics; [`vae`] latents of images
//! - [`registry`] everything that scripts and Rust programs can call
//! - [`script`] the rhai language
//! - [`session`] cells run one after another, for every front end
//! - [`front`] commands: run, check, docs, data, repl
//!
//! [`data`] imports from `torch`, [`plot`] only from `error`.

pub mod context;
pub mod data;
pub mod declare;
pub mod document;
pub mod error;
pub mod eval;
pub mod files;
pub mod flow;
#[cfg(feature = "front")]
pub mod front;
pub mod model;
pub mod nn;
pub mod plot;
pub mod ranks;
pub mod registry;
pub mod report;
pub mod script;
pub mod session;
pub mod spectral;
pub mod table;
pub mod text;
pub mod torch;
pub mod train;
pub mod vae;

// The paths of scripts: `filter::gaussian(..)`, `gate::time(..)`.
pub use spectral::{filter, gate};

/// Every namespace of scripts with its functions, which take options as [`map!`], and the types.
///
/// A script's `f(#{ a: 1 })` is `f(map! { a: 1 })?`, an omitted argument is `()`, and a value that is used again is
/// borrowed: `&model`. Methods are those of the types, `images.loader(..)`; properties are methods without
/// arguments, `run.ema()`. The first script of the README:
///
/// ```no_run
/// use spectral::prelude::*;
///
/// let low = filter::gaussian(map! { sigma: 1.5 })?;
/// let gate = gate::time(map! { scale: 1.0 })?;
/// let model = model::dit(map! { preset: "fashion_tiny", corrections: [correction(low, gate)?] })?;
/// println!("{}", model.text());
///
/// let images = data::fashion_mnist(map! { split: "train" })?;
/// let run = train::fit(&model, &images, map! { steps: 200, batch: 32, lr: 1e-3, out: "runs/first" })?;
/// let labels = (tensor::arange(100, (), (), ())? % 10)?;
/// let made = flow::sample(run.ema(), map! { labels: labels, steps: 50, guidance: 2.0 })?;
/// plot::grid(&made, ())?.save("made.png")?;
/// println!("{}", eval::compare(data::fashion_mnist(map! { split: "test" })?, &made, ())?.text());
/// # Ok::<(), Error>(())
/// ```
///
/// The same training loop written out:
///
/// ```no_run
/// use spectral::prelude::*;
///
/// let model = model::dit(map! { preset: "fashion_tiny" })?;
/// let loader = data::fashion_mnist(())?.loader(&LoaderOptions { batch: 32, ..Default::default() })?;
/// let opt = optim::adamw(&model, map! { lr: 1e-3, betas: [0.9, 0.99] })?;
/// let ema = optim::ema(&model, 0.999, ())?;
/// for _ in 0..200 {
///     let batch = loader.next()?;
///     let t = tensor::rand([batch.len()], ())?;
///     let pair = flow::pair(&batch.images, &t, ())?; // x_t and the target velocity
///     let labels = model.drop_labels(&batch.labels, None)?;
///     let loss = (model.forward(&pair.x_t, &t, &labels)? - &pair.target)?.square()?.mean(&[], false)?;
///     opt.step(&loss, Some(1.0))?;
///     ema.update(&model)?;
/// }
/// # Ok::<(), Error>(())
/// ```
///
/// A part of a model, `nn::part(|b| { .. |r, c| .. }).at("mlp")` in a script, is a closure that returns a closure:
///
/// ```
/// use spectral::prelude::*;
///
/// let scale = nn::part(
///     function(|b: SharedBuilder| {
///         let s = b.parameter("s", &[b.fact("width")?], Init::Zeros)?;
///         Ok(function(move |r: Tensor, _: Call| &r + (&r * &s)?))
///     }),
///     map! { name: "scale" },
/// )?;
/// let net = model::dit(map! { depth: 1, parts: scale.at(Place::Mlp, None)? })?;
/// assert!(net.starts_plain()?);
/// # Ok::<(), Error>(())
/// ```
pub mod prelude {
    pub use crate::declare::rust::function;
    pub use crate::registry::{global::*, namespaces::*};

    pub use crate::context::Context;
    pub use crate::data::{Batch, Dataset, Loader, LoaderOptions};
    pub use crate::declare::{Function, IntoValue, Map, Object, Value};
    pub use crate::error::{Error, Result};
    pub use crate::eval::{Classifier, Comparison, Features};
    pub use crate::flow::{Loss, Pair, Path};
    pub use crate::map;
    pub use crate::model::Model;
    pub use crate::model::parts::{Blocks, Call, Part, Place};
    pub use crate::nn::{Init, Layer, SharedBuilder};
    pub use crate::plot::Figure;
    pub use crate::report::Report;
    pub use crate::spectral::{Correction, Filter, Gate};
    pub use crate::table::Table;
    pub use crate::torch::{DType, Device, Generator, Tensor, no_grad};
    pub use crate::train::{AdamW, Ema, Run};
    pub use crate::vae::Vae;
}
