//! A scripting environment for research on diffusion transformers.
//!
//! Modules, each importing only from those above it:
//!
//! - [`error`] error type; [`context`] interrupts and progress; [`text`] number and duration formatting; [`files`]
//!   reading and writing
//! - [`notebook`] display of values in Rust notebooks
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
//! [`data`] and [`plot`] import from `torch`. `docs/architecture.md` has the whole table.

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
pub mod notebook;
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

/// The functions of scripts, by the same names, and their types.
///
/// A namespace of scripts is a module: `model::dit`, `flow::sample`, `tensor::zeros`. A script's `f(x, #{ a: 1 })` is
/// `f(&x, Options { a: 1, ..Default::default() })?`, where the struct of options is the one that the function takes,
/// and `()` stands for its defaults. What other arguments may be is described at
/// [`Argument`](crate::declare::Argument). Methods are those of the types, `images.loader(..)`; properties are methods
/// without arguments, `run.ema()`. The first script of the README:
///
/// ```no_run
/// use spectral::prelude::*;
///
/// let low = filter::gaussian(filter::Gaussian { sigma: 1.5 })?;
/// let corrections = correction(low, gate::time(())?)?.into();
/// let model = model::dit(Config { corrections, ..Size::FashionTiny.into() })?;
/// println!("{}", model.text());
///
/// let images = data::fashion_mnist(())?;
/// let options = FitOptions { steps: 200, batch: 32, lr: 1e-3, out: "runs/first".into(), ..Default::default() };
/// let run = train::fit(&model, &images, options)?;
/// let labels = Some((tensor::arange(100, None, None, ())? % 10)?.into());
/// let made = flow::sample(run.ema(), SampleOptions { labels, steps: 50, guidance: 2.0, ..Default::default() })?;
/// plot::grid(&made, ())?.save("made.png")?;
/// let test = data::fashion_mnist(FashionMnistOptions { split: Split::Test, ..Default::default() })?;
/// println!("{}", eval::compare(test, &made, ())?.text());
/// # Ok::<(), Error>(())
/// ```
///
/// The same training loop written out:
///
/// ```no_run
/// use spectral::prelude::*;
///
/// let model = model::dit(())?;
/// let loader = data::fashion_mnist(())?.loader(&LoaderOptions { batch: 32, ..Default::default() })?;
/// let opt = optim::adamw(&model, AdamWOptions { lr: 1e-3, betas: (0.9, 0.99), ..Default::default() })?;
/// let ema = optim::ema(&model, 0.999, ())?;
/// for _ in 0..200 {
///     let batch = loader.next()?;
///     let t = tensor::rand(batch.len(), ())?;
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
///     nn::PartOptions { name: "scale".into(), ..Default::default() },
/// )?;
/// let parts = scale.at(Place::Mlp, None)?.into();
/// let net = model::dit(Config { depth: 1, parts, ..Default::default() })?;
/// assert!(net.starts_plain()?);
/// # Ok::<(), Error>(())
/// ```
///
/// The compiler refuses an option that does not exist, a value of the wrong type, and a handle of the wrong kind:
///
/// ```compile_fail,E0560
/// use spectral::prelude::*;
/// let low = filter::gaussian(filter::Gaussian { sigm: 1.5 })?;
/// # Ok::<(), Error>(())
/// ```
///
/// ```compile_fail,E0308
/// use spectral::prelude::*;
/// let net = model::dit(Config { depth: "two", ..Default::default() })?;
/// # Ok::<(), Error>(())
/// ```
///
/// ```compile_fail,E0277
/// use spectral::prelude::*;
/// let made = flow::sample(filter::binomial(())?, ())?;
/// # Ok::<(), Error>(())
/// ```
pub mod prelude {
    pub use crate::declare::function;
    pub use crate::flow::losses as loss;
    pub use crate::spectral::{basis, correction, filter, gate};
    pub use crate::torch::{constructors as tensor, constructors::tensor};
    pub use crate::train::{checkpoint, optim};
    pub use crate::{data, eval, flow, model, plot, ranks, report, table, train, vae};

    /// Layers and their builders, parts of a DiT, and networks of your own.
    pub mod nn {
        pub use crate::model::custom::{Interface, NetworkOptions, model};
        pub use crate::model::dit::layer::{DitBlockOptions, DitLayer, FinalLayerOptions};
        pub use crate::model::parts::{AtOptions, PartOptions, part, places};
        pub use crate::nn::*;
    }

    pub use crate::context::Context;
    pub use crate::data::{Batch, Dataset, FashionMnistOptions, Loader, LoaderOptions, Split};
    pub use crate::declare::{Function, IntoValue, Map, Number, Object, OneOrMany, Value};
    pub use crate::error::{Error, Result};
    pub use crate::eval::{Classifier, Comparison, Features};
    pub use crate::flow::{Loss, Pair, Path, SampleOptions};
    pub use crate::model::parts::{Blocks, Call, Part, Place};
    pub use crate::model::{Config, DitOptions, Model, Size};
    pub use crate::nn::{Init, Layer, SharedBuilder};
    pub use crate::plot::Figure;
    pub use crate::report::Report;
    pub use crate::spectral::{Correction, Filter, Gate};
    pub use crate::table::Table;
    pub use crate::torch::{DType, Device, Fields, Generator, Tensor, no_grad};
    pub use crate::train::{AdamWOptions, Ema, FitOptions, Optimizer, Run};
    pub use crate::vae::Vae;
}

/// The examples of the guide compile.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide/rust.md")]
struct Guide;
