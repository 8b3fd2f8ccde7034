//! Valid inputs, and the errors for invalid ones.

use std::sync::{Arc, Mutex};

use crate::context::Context;
use crate::plot::Figure;
use crate::script::engine::engine;
use crate::script::failure::native;

/// Returns the description of the figure, or the message and hint of the error.
fn run(code: &str) -> String {
    crate::torch::start();
    let engine = engine(&Context::default(), |_| {});
    match engine.eval::<Figure>(code) {
        Ok(figure) => figure.describe(),
        Err(error) => native(error).to_string(),
    }
}

#[track_caller]
fn says(code: &str, words: &[&str]) {
    let found = run(code);
    for word in words {
        assert!(found.contains(word), "{code}\n  gives {found:?}\n  without {word:?}");
    }
}

#[test]
fn numbers_come_as_arrays_ranges_and_tensors() {
    for ys in
        ["[0, 1.0, 2]", "0..3", "0..=2", "[tensor::zeros([]), 1, tensor::zeros([1]) + 2]", "[0, 1, 2, ()]"]
    {
        says(&format!("plot::line({ys})"), &["line figure: 1 series, x 0 to 2, y 0 to 2"]);
    }
    says("plot::line(tensor::zeros([3]) + 1)", &["x 0 to 2, y "]);
    says("plot::line(10..13, [1, 2, 3])", &["1 series, x 10 to 12, y 1 to 3"]);
    says("plot::line(10..13, [[1, 2, 3], #{ y: [4, 5, 6], x: 0..3 }])", &["2 series, x 0 to 12, y 1 to 6"]);
    says("plot::line([[1, 2, 3], tensor::zeros([2])])", &["2 series, x 0 to 2, y 0 to 3"]);
    says("plot::line([1, 2], #{ y_label: \"loss\" })", &["y 1 to 2 (loss)"]);
    says("plot::line(#{ y: [1, 2], band: [1, 1] })", &["y 0 to 3"]);
}

#[test]
fn error_bars_may_differ_below_and_above() {
    says("plot::line([#{ y: [1, 2], errors: [[1, 3], 0.5] }])", &["y 0 to 4"]);
    says("plot::line([#{ y: [1, 2], band: tensor::zeros([2, 2]) + 1 }])", &["y 0 to 3"]);
    says("plot::scatter([#{ y: [1, 2], errors: [[1, 3], [0, 0]] }])", &["y 0 to 4"]);
    says("plot::bar([#{ values: [1, 2], errors: [[1, 3], [0, 0]] }])", &["y 0 to 4"]);
    says("plot::intervals([\"a\"], #{ values: [1], errors: [[1, 3]] })", &["x 0 to 4"]);
}

#[test]
fn series_that_do_not_fit_are_named() {
    says(
        "plot::line([#{ name: \"real\", y: [1, 2], erors: [1] }])",
        &["plot::line: argument `data`: entry 0 (`real`): unknown option `erors`", "did you mean `errors`?"],
    );
    says(
        "plot::line([[1, 2], #{ name: \"b\", x: [1], y: [1, 2] }])",
        &["entry 1 (`b`): `x` has 1 values and `y` has 2; they must be as many"],
    );
    says("plot::line([#{ y: [1, 2], errors: [1] }])", &["entry 0: `errors` has 1 values and `y` has 2"]);
    says(
        "plot::line([#{ y: [1, 2], errors: [1, [1]] }])",
        &["entry 1: expected a length, or a pair [below, above]"],
    );
    says("plot::line([#{ y: [1, 2], band: tensor::zeros([2, 3]) }])", &["[N, 2] below and above", "[2, 3]"]);
    says("plot::scatter([#{ y: [1, 2], errors: [1] }])", &["`errors` has 1 values and `y` has 2"]);
    says("plot::line([#{ name: \"a\" }])", &["entry 0 (`a`): `y` is missing"]);
    says(
        "plot::line([#{ y: [1], errors: [1], band: [1] }])",
        &["found `errors`, `band`", "`low` with `high`"],
    );
    says("plot::line([#{ y: [1], low: [1] }])", &["found `low`"]);
    says("plot::line([#{ y: [1], color: \"blu\" }])", &["entry 0: `blu` is not a color", "`blue`"]);
    says("plot::line([#{ y: [1], dash: \"dashd\" }])", &["`dash` must be one of", "`dashed`"]);
    says("plot::line([1, \"two\"])", &["entry 1: expected a number, found the string \"two\""]);
    says("plot::line(3)", &["expected numbers", "found the integer 3"]);
    says("plot::line(tensor::zeros([2, 2]))", &["found a tensor of shape [2, 2]", "index a row"]);
    says("plot::line([#{ y: [1] }], [1])", &["expected x as plain numbers before y, found series"]);
    says("plot::line([1], #{}, #{})", &["found two maps of options"]);
    says("plot::line([1], [2], [3])", &["expected a map of options"]);
    says("plot::line([])", &["y"]);
}

#[test]
fn options_are_checked() {
    says("plot::line([1, 2], #{ titel: \"\" })", &["unknown option `titel`", "`title`"]);
    says("plot::line([1, 2], #{ y_scale: \"logg\" })", &["`y_scale` must be one of `linear`, `log`"]);
    says("plot::line([1, 2], #{ x_limits: [1] })", &["option `x_limits`: expected [float, float]"]);
    says(
        "plot::line([1, 2], #{ horizontal: #{ valu: 1 } })",
        &["option `horizontal`: unknown option `valu`"],
    );
    says(
        "plot::line([1, 2], #{ horizontal: [1, #{ label: \"a\" }] })",
        &["entry 1: a reference line has no `value`"],
    );
    says(
        "plot::line([1, 2], #{ horizontal: [9, #{ value: 5, spread: 1, color: \"#ff0000\" }] })",
        &["1 series"],
    );
    says("plot::line([1, 2], #{ width: 9000 })", &["`width` must be from 1 to 8000"]);
    says("plot::line([1, 2], #{ palette: \"ordered\", legend: \"right\" })", &["1 series"]);
}

#[test]
fn clouds_bars_and_sets() {
    says("plot::scatter([1, 2], [3, 4])", &["scatter figure: 1 series, x 1 to 2, y 3 to 4"]);
    says("plot::scatter(tensor::zeros([4, 2]))", &["scatter figure: 1 series"]);
    says(
        "plot::scatter([#{ points: tensor::zeros([4, 3]) }])",
        &["entry 0: expected points [N, 2]", "[4, 3]"],
    );
    says("plot::scatter([#{ points: tensor::zeros([4, 2]), x: [1] }])", &["found both"]);
    says("plot::bar(#{ a: 1, b: 2.5 })", &["bar figure: 1 series, 2 categories, y 0 to 2.5"]);
    says("plot::bar([\"a\", \"b\"], [1, 2])", &["2 categories"]);
    says("plot::bar([1, 2, 3])", &["3 categories"]);
    says(
        "plot::bar([#{ values: [1, 2] }, #{ values: [3, 4] }], #{ categories: [\"a\", \"b\"] })",
        &["2 series"],
    );
    says(
        "plot::bar([\"a\", \"b\"], [#{ name: \"g\", values: [1] }])",
        &["entry 0 (`g`): `values` has 1 values for 2 categories"],
    );
    says("plot::bar([\"a\"])", &["found names without values", "plot::bar(["]);
    says("plot::bar(#{ a: \"x\" })", &["`a`: expected a number"]);
    says("plot::histogram(tensor::zeros([2, 3]))", &["histogram figure: 1 series"]);
    says("plot::histogram([[1, 2], tensor::zeros([2, 2])])", &["2 series"]);
    says(
        "plot::histogram([#{ name: \"n\", values: [1, \"a\"] }])",
        &["entry 0 (`n`): option `values`: entry 1"],
    );
    says("plot::histogram([1, 2], #{ bins: 0 })", &["`bins` must be from 1 to 10000"]);
}

#[test]
fn matrices() {
    says("plot::heatmap([[1, 2, 3], [4, 5, 6]])", &["heat map: 2 x 3 cells, colors 1 to 6"]);
    says("plot::heatmap(tensor::zeros([2, 3]))", &["2 x 3 cells"]);
    says("plot::heatmap(tensor::zeros([4, 2, 3]))", &["4 panels of 2 x 3 cells"]);
    says("plot::heatmap([#{ title: \"a\", values: [[1]] }, [[2]]])", &["2 panels of 1 x 1 cells"]);
    says("plot::heatmap([[1, 2], [3]])", &["row 1 has 1 values, but row 0 has 2"]);
    says(
        "plot::heatmap([#{ title: \"a\", values: [1] }])",
        &["entry 0: option `values`: row 0: expected numbers"],
    );
    says("plot::heatmap([#{ titel: \"a\" }])", &["entry 0: unknown option `titel`", "`title`"]);
    says("plot::heatmap([1, 2])", &["expected a matrix (a tensor [R, C] or an array of rows)"]);
    says("plot::heatmap([[1, 2]], #{ columns: [\"a\"] })", &["2 columns needs 2 labels", "found 1"]);
    says("plot::heatmap([[1, 2]], #{ map: \"jet\" })", &["`map` must be one of `viridis`"]);
}

#[test]
fn images() {
    says("plot::grid(tensor::zeros([6, 3, 4, 5]), #{ columns: 3 })", &["6", "in 3 columns"]);
    says("plot::grid(tensor::zeros([1, 4, 5]))", &["image grid: 1 "]);
    says(
        "plot::grid([tensor::zeros([5, 1, 4, 4]), tensor::zeros([5, 1, 4, 4])])",
        &["image grid: 10 ", "in 5 columns"],
    );
    says(
        "plot::grid([tensor::zeros([1, 4, 4]), tensor::zeros([1, 4, 5])])",
        &["entry 1 has images of shape [1, 4, 5]"],
    );
    says("plot::grid(tensor::zeros([4, 4]))", &["found shape [4, 4]", "unsqueeze"]);
    says("plot::grid(tensor::zeros([2, 2, 4, 4]))", &["1 or 3 channels, found 2"]);
    says(
        "plot::grid(tensor::zeros([2, 1, 4, 4]) + 200)",
        &["expected images from -1 to 1", "limits: [0, 255]"],
    );
    says("plot::grid(tensor::zeros([2, 1, 4, 4]) + 200, #{ limits: [0, 255] })", &["image grid: 2 "]);
    says("plot::grid(tensor::zeros([2, 1, 4, 4]), #{ limits: [1, 0] })", &["`limits` must rise"]);
    says("plot::grid(tensor::zeros([10001, 1, 1, 1]))", &["at most 10000 images, found 10001"]);
    says("plot::grid(tensor::zeros([100, 1, 900, 900]), #{ factor: 2 })", &["a side is at most 8000"]);
    says("plot::grid(tensor::zeros([4, 1, 4, 4]), #{ captions: [\"a\"] })", &["4 captions", "found 1"]);
    says("plot::panels([])", &["at least one figure"]);
    says("plot::panels([1])", &["entry 0: expected figure, found the integer 1"]);
}

#[test]
fn showing_prints_the_place_and_printing_draws_nothing() {
    crate::torch::start();
    let heard = Arc::new(Mutex::new(Vec::<String>::new()));
    let ears = Arc::clone(&heard);
    let engine = engine(&Context::default(), move |text| ears.lock().unwrap().push(text.to_string()));
    // A size without room for labels cannot be drawn, but it can be printed.
    engine.run("print(plot::line([3, 1, 2], #{ width: 10, height: 10 }))").unwrap();
    assert_eq!(*heard.lock().unwrap(), ["line figure: 1 series, x 0 to 2, y 1 to 3"]);
    let error = native(engine.run("plot::line([3, 1], #{ width: 10 }).svg()").unwrap_err());
    assert!(error.to_string().contains("leaves no room"), "{error}");
}
