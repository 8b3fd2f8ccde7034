//! Functions that belong to no namespace.

use std::time::{Duration, Instant};

use rhai::{Engine, EvalAltResult, NativeCallContext};

use super::assertions;
use super::failure::{At, raise_in};
use crate::context::Context;
use crate::declare::{Display, Value};
use crate::error::{Error, Result};
use crate::{ensure, functions};

functions! { script global;
    /// Fails unless the condition holds.
    ///
    /// ```rhai
    /// assert(1 + 1 == 2, "arithmetic works");
    /// ```
    fn assert(condition: bool, message: Option<String>) -> () {
        if condition {
            return Ok(());
        }
        Err(Error::argument(message.unwrap_or_else(|| "the condition does not hold".to_string())))
    }

    /// Fails unless both values are equal; the error begins with `message`.
    ///
    /// The integer 1 and the float 1.0 differ. Tensors must agree in shape, dtype and every element, and
    /// may be on different devices; NaN equals NaN.
    ///
    /// ```rhai
    /// assert_eq([1, 2].len(), 2);
    /// assert_eq(tensor::zeros([2]), tensor::zeros([2]), "zeros");
    /// ```
    fn assert_eq(found: Value, expected: Value, message: Option<String>) -> () {
        assertions::equal(&found, &expected).map_err(|error| match message {
            Some(message) => error.context(message),
            None => error,
        })
    }

    /// Fails unless two numbers, or arrays or tensors of them, differ by at most `tolerance` everywhere.
    ///
    /// Shapes must agree; dtypes need not, and integers may be compared with floats. A tensor may be compared with
    /// nested arrays, and a tensor of one element with a number.
    ///
    /// ```rhai
    /// assert_close(0.1 + 0.2, 0.3, 1e-12);
    /// assert_close(tensor::zeros([2]), [0.0, 0.001], 0.01);
    /// ```
    fn assert_close(found: Value, expected: Value, tolerance: f64) -> () {
        assertions::close(&found, &expected, tolerance)
    }

    /// Asks the user for a line of text and returns it without its line end.
    ///
    /// In a notebook, an input field opens below the cell; in a terminal, the prompt is printed before the cursor.
    /// Ctrl-C cancels. Fails if nobody can answer: in a script whose input has ended, or in a notebook that a
    /// program runs.
    ///
    /// ```rhai
    /// let name = "first";
    /// try {
    ///     name = input("name of the run: ");
    /// } catch {
    ///     print("nobody answers, so it is the first");
    /// }
    /// print(`runs/${name}`);
    /// ```
    fn input<cx>(prompt: Option<String>) -> String { cx.ask(&prompt.unwrap_or_default(), false) }

    /// Shows a value like the result of a cell: figures as pictures, tables as tables.
    ///
    /// Use it inside loops and functions, which have no cell result. If no picture can be shown, the text is
    /// printed.
    ///
    /// ```rhai
    /// for depth in [2, 4] {
    ///     display(model::dit(#{ preset: "fashion_tiny", depth: depth }));
    /// }
    /// ```
    fn display<cx>(value: Value) -> () {
        let display = match &value {
            Value::Object(object) => object.display(),
            Value::Str(text) => Display::text(text),
            other => Display::text(format!("{other:?}")),
        };
        if !cx.show(&display) {
            cx.print(&display.text);
        }
        Ok(())
    }

    /// Clears the output of the running cell; in a terminal it clears the screen.
    ///
    /// In a notebook, the old output is removed when the next output arrives, so that repeated updates do not
    /// flicker.
    ///
    /// ```rhai
    /// for step in 0..3 {
    ///     clear();
    ///     print(`step ${step}`);
    /// }
    /// ```
    fn clear<cx>() -> () {
        cx.clear();
        Ok(())
    }

    /// Waits for a number of seconds; Ctrl-C ends the wait.
    ///
    /// ```rhai
    /// let begin = time::now();
    /// sleep(0.01);
    /// assert(time::now() > begin);
    /// ```
    fn sleep<cx>(seconds: f64) -> () {
        pause(cx, seconds)
    }
}

fn pause(context: &Context, seconds: f64) -> Result<()> {
    ensure!(seconds.is_finite() && seconds >= 0.0, "expected seconds from 0 up, found {seconds}");
    let until = Instant::now() + Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4);
    loop {
        context.check()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
}

/// Replaces rhai's own `sleep`, which Ctrl-C does not interrupt.
pub fn replace_sleep(engine: &mut Engine, context: &Context) {
    type Slept = Result<(), Box<EvalAltResult>>;
    let sleep = |context: &Context, call: &NativeCallContext, seconds: f64| -> Slept {
        pause(context, seconds).map_err(|error| raise_in(error, "sleep", At::of(call)))
    };
    let (floats, ints) = (context.clone(), context.clone());
    engine.register_fn("sleep", move |call: NativeCallContext, seconds: f64| sleep(&floats, &call, seconds));
    engine.register_fn("sleep", move |call: NativeCallContext, seconds: i64| {
        sleep(&ints, &call, seconds as f64)
    });
}
