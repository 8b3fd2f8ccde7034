//! `train::tensorboard` and its methods.

use std::path::PathBuf;

use super::TensorBoard;
use crate::declare::{FromValue, Options, Value};
use crate::error::Result;
use crate::functions;
use crate::ranks::Ranks;
use crate::torch::Tensor;

/// Options of `train::tensorboard`.
#[derive(Debug, Clone, Options)]
pub struct TensorBoardOptions {
    /// First step that this process writes, if an earlier one wrote steps before it: TensorBoard hides what that one wrote
    /// from this step on.
    #[option(range = 0..)]
    pub first: Option<usize>,
}

/// A number, or a tensor of one element.
pub struct Number(f64);

impl FromValue for Number {
    fn label() -> String {
        "float or tensor of one element".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match (value, value.downcast::<Tensor>()) {
            (_, Some(tensor)) => tensor.item().map(Self),
            (Value::Int(_) | Value::Float(_), _) => f64::from_value(value).map(Self),
            _ => Err(value.mismatch("a number or a tensor of one element")),
        }
    }
}

pub mod space {
    use super::*;
    functions! { in "train";
        /// Creates a log for TensorBoard: a new event file in a folder, to which scalars, images and texts are written at once.
        ///
        /// `tensorboard --logdir runs` shows the logs of all folders in `runs`. It is for custom training loops;
        /// `train::fit` has the option `tensorboard`. On several ranks only rank 0 writes.
        ///
        /// ```rhai
        /// let log = train::tensorboard("runs/own");
        /// for step in 1..4 { log.scalar("loss", 1.0 / step, step); }
        /// assert_eq(files::list("runs/own").len(), 1);
        /// ```
        fn tensorboard<cx>(folder: PathBuf, options: TensorBoardOptions) -> TensorBoard {
            match Ranks::of(cx).is_first() {
                true => TensorBoard::create(folder, &format!("{}.spectral", std::process::id()), options.first),
                false => Ok(TensorBoard::mute()),
            }
        }
    }
}

pub mod methods {
    use super::*;
    functions! { methods;
        /// Writes a number, or a tensor of one element, of a step. Names with `/` are shown in groups.
        ///
        /// ```rhai
        /// let log = train::tensorboard("runs/scalars");
        /// log.scalar("critic/loss", tensor(0.5), 1);
        /// ```
        fn scalar(log: TensorBoard, name: String, value: Number, step: i64) -> () { log.scalar(&name, value.0, step) }

        /// Writes an image [C, H, W], or several [B, C, H, W] in a square, from -1, black, to 1, white.
        ///
        /// ```rhai
        /// let log = train::tensorboard("runs/images");
        /// log.image("samples", tensor::rand([4, 3, 8, 8]) * 2 - 1, 1);
        /// ```
        fn image(log: TensorBoard, name: String, images: Tensor, step: i64) -> () { log.image(&name, &images, step) }

        /// Writes a text, which TensorBoard shows as Markdown.
        ///
        /// ```rhai
        /// let log = train::tensorboard("runs/texts");
        /// log.text("note", "with a **critic** of one layer", 0);
        /// ```
        fn text(log: TensorBoard, name: String, text: String, step: i64) -> () { log.text(&name, &text, step) }
    }
}
