//! Lines, points, bars and histograms.

use super::given::{Categories, Xy};
use super::look::{LookOptions, Marks, SizeOptions, axis, sized};
use super::numbers::Numbers;
use super::series::{self, BarData, Cloud, Curve, Estimates, Group, Many, Second, Set, each, sort, split};
use crate::declare::{Argument, Options};
use crate::error::{Error, Result};
use crate::functions;
use crate::plot::{Bars, Bins, Figure, Histogram, Intervals, Line, Scale, Scatter};

/// Options of `plot::line` and `plot::scatter`.
#[derive(Debug, Clone, Options)]
pub struct ChartOptions {
    /// Title above the figure.
    pub title: String,
    /// Label of the x axis, with its unit: `step`, `cutoff (fraction of Nyquist)`.
    pub x_label: String,
    /// Label of the y axis, with its unit.
    pub y_label: String,
    /// `linear`, or `log` for positive values only.
    pub x_scale: Scale,
    /// `linear`, or `log` for positive values only.
    pub y_scale: Scale,
    /// Limits of the x axis, `[low, high]`; from the data by default.
    pub x_limits: Option<(f64, f64)>,
    /// Limits of the y axis, `[low, high]`; from the data by default.
    pub y_limits: Option<(f64, f64)>,
    /// Values with a tick on the x axis; chosen automatically by default.
    pub x_ticks: Option<Numbers>,
    /// Values with a tick on the y axis; chosen automatically by default.
    pub y_ticks: Option<Numbers>,
    /// Horizontal reference lines, such as a baseline: a value, `#{ value, label, spread, color, dash }`, or
    /// an array of either.
    pub horizontal: Marks,
    /// Vertical reference lines, given like `horizontal`.
    pub vertical: Marks,
    /// Colors and legend.
    #[option(flatten)]
    pub look: LookOptions,
    /// Size.
    #[option(flatten)]
    pub size: SizeOptions,
}

/// Options of `plot::bar`.
#[derive(Debug, Clone, Options)]
pub struct BarOptions {
    /// Title above the figure.
    pub title: String,
    /// Label of the categories.
    pub x_label: String,
    /// Label of the y axis, with its unit.
    pub y_label: String,
    /// Names under the bars, if the data does not hold them; 0, 1, 2, .. by default.
    pub categories: Option<Vec<String>>,
    /// Whether to write its value above every bar.
    #[option(default = false)]
    pub values: bool,
    /// `linear`, or `log` for positive values only.
    pub y_scale: Scale,
    /// Limits of the y axis, `[low, high]`; from the data by default.
    pub y_limits: Option<(f64, f64)>,
    /// Values with a tick on the y axis; chosen automatically by default.
    pub y_ticks: Option<Numbers>,
    /// Horizontal reference lines, such as a baseline: a value, `#{ value, label, spread, color, dash }`, or
    /// an array of either.
    pub horizontal: Marks,
    /// Colors and legend.
    #[option(flatten)]
    pub look: LookOptions,
    /// Size.
    #[option(flatten)]
    pub size: SizeOptions,
}

/// Options of `plot::intervals`.
#[derive(Debug, Clone, Options)]
pub struct IntervalsOptions {
    /// Title above the figure.
    pub title: String,
    /// Label of the x axis, with its unit.
    pub x_label: String,
    /// `linear`, or `log` for positive values only.
    pub x_scale: Scale,
    /// Limits of the x axis, `[low, high]`; from the data by default.
    pub x_limits: Option<(f64, f64)>,
    /// Values with a tick on the x axis; chosen automatically by default.
    pub x_ticks: Option<Numbers>,
    /// Vertical reference lines, such as 0 for no difference: a value,
    /// `#{ value, label, spread, color, dash }`, or an array of either.
    pub vertical: Marks,
    /// Colors and legend.
    #[option(flatten)]
    pub look: LookOptions,
    /// Size.
    #[option(flatten)]
    pub size: SizeOptions,
}

/// Options of `plot::histogram`.
#[derive(Debug, Clone, Options)]
pub struct HistogramOptions {
    /// Title above the figure.
    pub title: String,
    /// Label of the x axis, with its unit.
    pub x_label: String,
    /// Label of the y axis; `count` or `density` by default.
    pub y_label: Option<String>,
    /// Number of bins; by default from the rule of Freedman and Diaconis (1981), 5 to 100.
    #[option(range = 1..=10000)]
    pub bins: Option<usize>,
    /// Outer edges of the bins, `[low, high]`; from the data by default.
    pub x_limits: Option<(f64, f64)>,
    /// Values with a tick on the x axis; chosen automatically by default.
    pub x_ticks: Option<Numbers>,
    /// Whether to scale every set to area one, so that sets of different sizes are comparable.
    #[option(default = false)]
    pub density: bool,
    /// Vertical reference lines: a value, `#{ value, label, spread, color, dash }`, or an array of either.
    pub vertical: Marks,
    /// Colors and legend.
    #[option(flatten)]
    pub look: LookOptions,
    /// Size.
    #[option(flatten)]
    pub size: SizeOptions,
}

fn ticks(numbers: &Option<Numbers>) -> Option<Vec<f64>> {
    numbers.as_ref().map(|n| n.0.clone())
}

impl ChartOptions {
    fn axes(&self) -> Result<(crate::plot::Axis, crate::plot::Axis)> {
        Ok((
            axis(&self.x_label, self.x_scale, self.x_limits, ticks(&self.x_ticks))?,
            axis(&self.y_label, self.y_scale, self.y_limits, ticks(&self.y_ticks))?,
        ))
    }
}

fn draw_line(data: Many<Curve>, y: Option<Many<Curve>>, chart: &ChartOptions) -> Result<Figure> {
    let (shared, curves) = split(data, y)?;
    let (x_axis, y_axis) = chart.axes()?;
    let mut line = Line::new(x_axis, y_axis)
        .title(&chart.title)
        .palette(chart.look.palette.into())
        .legend(chart.look.legend);
    for series in each(curves, |curve| series::curve(curve, &shared))? {
        line = line.series(series);
    }
    line = chart.horizontal.references()?.into_iter().fold(line, Line::horizontal);
    line = chart.vertical.references()?.into_iter().fold(line, Line::vertical);
    sized(line.figure()?, &chart.size)
}

fn draw_scatter(data: Many<Cloud>, y: Option<Many<Cloud>>, chart: &ChartOptions) -> Result<Figure> {
    let (shared, clouds) = split(data, y)?;
    let (x_axis, y_axis) = chart.axes()?;
    let mut scatter = Scatter::new(x_axis, y_axis)
        .title(&chart.title)
        .palette(chart.look.palette.into())
        .legend(chart.look.legend);
    for points in each(clouds, |cloud| series::cloud(cloud, &shared))? {
        scatter = scatter.points(points);
    }
    scatter = chart.horizontal.references()?.into_iter().fold(scatter, Scatter::horizontal);
    scatter = chart.vertical.references()?.into_iter().fold(scatter, Scatter::vertical);
    sized(scatter.figure()?, &chart.size)
}

fn draw_bar(data: BarData, values: Option<Many<Group>>, chart: &BarOptions) -> Result<Figure> {
    let (names, groups) = match (data, values) {
        (BarData::Categories(names), Some(values)) => (Some(names), values.entries()?),
        (BarData::Categories(_), None) => {
            return Err(Error::argument("found names without values")
                .hint("write plot::bar([\"a\", \"b\"], [1, 2]), or plot::bar(#{ a: 1, b: 2 })"));
        }
        (_, Some(_)) => {
            return Err(Error::argument("expected names of categories before the values")
                .hint("write plot::bar([\"a\", \"b\"], [1, 2])"));
        }
        (BarData::Named(pairs), None) => {
            let (names, values): (Vec<String>, Vec<f64>) = pairs.into_iter().unzip();
            (Some(names), vec![Group { values: Some(Numbers(values)), ..Group::default() }])
        }
        (BarData::Groups(groups), None) => (None, groups.entries()?),
    };
    let names = match (names, chart.categories.clone()) {
        (Some(_), Some(_)) => {
            return Err(Error::argument("found names in the data and in the option `categories`"));
        }
        (Some(names), None) | (None, Some(names)) => names,
        (None, None) => {
            let count = groups.iter().find_map(|g| g.values.as_ref()).map_or(0, |values| values.0.len());
            (0..count).map(|i| i.to_string()).collect()
        }
    };
    let y_axis = axis(&chart.y_label, chart.y_scale, chart.y_limits, ticks(&chart.y_ticks))?;
    let categories = names.len();
    let mut bars = Bars::new(names, y_axis)
        .title(&chart.title)
        .x_label(&chart.x_label)
        .values(chart.values)
        .palette(chart.look.palette.into())
        .legend(chart.look.legend);
    for group in each(groups, |group| series::group(group, categories))? {
        bars = bars.group(group);
    }
    bars = chart.horizontal.references()?.into_iter().fold(bars, Bars::horizontal);
    sized(bars.figure()?, &chart.size)
}

fn draw_intervals(rows: Vec<String>, data: Many<Estimates>, chart: &IntervalsOptions) -> Result<Figure> {
    let x_axis = axis(&chart.x_label, chart.x_scale, chart.x_limits, ticks(&chart.x_ticks))?;
    let count = rows.len();
    let mut figure = Intervals::new(rows, x_axis)
        .title(&chart.title)
        .palette(chart.look.palette.into())
        .legend(chart.look.legend);
    for set in each(data.entries()?, |set| series::estimates(set, count))? {
        figure = figure.estimates(set);
    }
    figure = chart.vertical.references()?.into_iter().fold(figure, Intervals::vertical);
    sized(figure.figure()?, &chart.size)
}

fn draw_histogram(data: Many<Set>, chart: &HistogramOptions) -> Result<Figure> {
    let x_axis = axis(&chart.x_label, Scale::Linear, chart.x_limits, ticks(&chart.x_ticks))?;
    let mut histogram = Histogram::new(x_axis)
        .title(&chart.title)
        .bins(chart.bins.map_or(Bins::Auto, Bins::Count))
        .density(chart.density)
        .palette(chart.look.palette.into())
        .legend(chart.look.legend);
    if let Some(label) = &chart.y_label {
        histogram = histogram.y_label(label);
    }
    for (name, values) in each(data.entries()?, |set| Ok((set.name.clone(), series::values(set)?)))? {
        histogram = histogram.values(name, values);
    }
    histogram = chart.vertical.references()?.into_iter().fold(histogram, Histogram::vertical);
    sized(histogram.figure()?, &chart.size)
}

/// Draws lines; [`Xy`] lists what `data` takes.
///
/// ```
/// use spectral::prelude::*;
/// let figure = plot::line([3.0, 1.0, 2.0], ())?;
/// assert!(figure.describe().starts_with("line figure: 1 series"));
/// let curves = [
///     plot::series::Curve { name: "time gate".into(), y: Some([37.9, 36.8].into()), ..Default::default() },
///     plot::series::Curve { name: "no gate".into(), y: Some([39.5, 38.1].into()), ..Default::default() },
/// ];
/// let figure = plot::line(([0.25, 0.5], curves), plot::ChartOptions { y_label: "FID".into(), ..Default::default() })?;
/// assert!(figure.describe().starts_with("line figure: 2 series, x 0.25 to 0.5"));
/// # Ok::<(), Error>(())
/// ```
pub fn line(data: impl Into<Xy<Curve>>, options: impl Argument<ChartOptions>) -> Result<Figure> {
    let data = data.into();
    draw_line(data.first, data.second, &options.argument()?)
}

/// Draws points; [`Xy`] lists what `data` takes.
///
/// ```
/// use spectral::prelude::*;
/// let figure = plot::scatter(([0.0, 0.2, 0.4], [1.0, 2.0, 2.5]), ())?;
/// assert!(figure.describe().starts_with("scatter figure: 1 series"));
/// # Ok::<(), Error>(())
/// ```
pub fn scatter(data: impl Into<Xy<Cloud>>, options: impl Argument<ChartOptions>) -> Result<Figure> {
    let data = data.into();
    draw_scatter(data.first, data.second, &options.argument()?)
}

/// Draws bars; [`Categories`] lists what `data` takes.
///
/// ```
/// use spectral::prelude::*;
/// let figure = plot::bar([("DiT", 40.6), ("SpectralDiT", 36.8)], ())?;
/// assert!(figure.to_svg(600, 400)?.contains("SpectralDiT"));
/// let group = plot::series::Group { values: Some([92.0, 103.0].into()), ..Default::default() };
/// assert!(plot::bar((["FID", "recall"], group), ())?.to_svg(600, 400)?.contains("recall"));
/// # Ok::<(), Error>(())
/// ```
pub fn bar(data: impl Into<Categories>, options: impl Argument<BarOptions>) -> Result<Figure> {
    let data = data.into();
    draw_bar(data.data, data.values, &options.argument()?)
}

/// Charts of which a script gives x and y as two arguments.
pub(crate) mod pairs {
    use super::*;
    functions! { script in "plot";
        /// Draws lines.
        ///
        /// - `plot::line(ys)` or `plot::line(xs, ys)`: one line; numbers are an array, a range or a tensor of one
        ///   dimension, and NaN or `()` is a gap
        /// - `plot::line([series, ..])`: several, each plain numbers or a map
        /// - `plot::line(xs, [series, ..])`: several over the same x
        ///
        /// The map of a series takes `y`, and optionally: `name` for the legend; `x`; `errors`, half lengths of error
        /// bars, one per point or pairs `[below, above]`; `band`, half heights of a shaded band in the same form, or
        /// its edges `low` and `high`; `color`, `#rrggbb` or one of `blue`, `vermillion`, `green`, `purple`,
        /// `orange`, `sky`, `yellow`, `black`, `gray`; `width` in pixels; `dash`, one of `solid`, `dashed`,
        /// `dash_dot`, `dotted`; `marker`, one of `none`, `circle`, `square`, `triangle`, `diamond`, `down`, `plus`,
        /// `cross`. Error bars and markers of several series at one x stand a few pixels beside each other; the
        /// lines stay in place. A figure is 600 x 400 layout pixels by default.
        ///
        /// ```rhai
        /// let cutoffs = [0.25, 0.5, 0.75];
        /// let figure = plot::line(cutoffs, [
        ///     #{ name: "time gate", y: [37.9, 36.8, 38.8], errors: [0.8, 0.6, 1.2] },
        ///     #{ name: "no gate", y: [39.5, 38.1, 39.0], errors: [[0.4, 1.1], [0.3, 0.6], [0.5, 1.4]] },
        /// ], #{ x_label: "cutoff (fraction of Nyquist)", y_label: "FID", horizontal: #{ value: 40.6, label: "DiT" } });
        /// figure.save("fid.svg");
        /// assert(files::read_text("fid.svg").contains("cutoff (fraction of Nyquist)"));
        /// assert(figure.description.starts_with("line figure: 2 series"), figure.description);
        /// ```
        fn line(data: Many<Curve>, y: Option<Second<Curve>>, options: Option<ChartOptions>) -> Figure {
            let (y, chart) = sort(y, options)?;
            draw_line(data, y, &chart)
        }

        /// Draws points.
        ///
        /// - `plot::scatter(xs, ys)` or `plot::scatter(points)`, a tensor [N, 2]: one cloud
        /// - `plot::scatter([cloud, ..])`: several, each a tensor [N, 2] or a map
        /// - `plot::scatter(xs, [cloud, ..])`: several over the same x
        ///
        /// The map of a cloud takes `x` and `y`, or `points` as a tensor [N, 2], and optionally: `name` for the
        /// legend; `errors`, half lengths of vertical error bars as for `plot::line`; `color`, `#rrggbb` or a name;
        /// `marker`, one of `circle`, `square`, `triangle`, `diamond`, `down`, `plus`, `cross`; `radius` in pixels.
        /// Points that are not finite are omitted.
        ///
        /// ```rhai
        /// let figure = plot::scatter([
        ///     #{ name: "real", x: [0.1, 0.4, 0.3], y: [1, 2, 2.5] },
        ///     #{ name: "generated", points: tensor::zeros([5, 2]), marker: "cross" },
        /// ], #{ x_label: "first component", y_label: "second component" });
        /// assert(figure.svg().contains("generated"));
        /// assert_eq(figure.description,
        ///     "scatter figure: 2 series, x 0 to 0.4 (first component), y 0 to 2.5 (second component)");
        /// ```
        fn scatter(data: Many<Cloud>, y: Option<Second<Cloud>>, options: Option<ChartOptions>) -> Figure {
            let (y, chart) = sort(y, options)?;
            draw_scatter(data, y, &chart)
        }

        /// Draws bars.
        ///
        /// - `plot::bar(#{ DiT: 40.6, SpectralDiT: 36.8 })`: a bar for each name, in alphabetical order
        /// - `plot::bar(names, values)`: the same in the given order
        /// - `plot::bar(names, [group, ..])`: several bars for each name, side by side; a group is numbers or a map
        ///
        /// The option `categories` can hold the names instead of the first argument. The map of a group takes `values`,
        /// one per name, and optionally: `name` for the legend; `errors`, half lengths of error bars, and
        /// `color`, `#rrggbb` or a name, as for `plot::line`. White hatches tell groups apart in grayscale print; a group
        /// of a given `color` and an ordered `palette` have none.
        ///
        /// ```rhai
        /// let figure = plot::bar(["FID", "precision", "recall"], [
        ///     #{ name: "binomial", values: [92, 103, 101], errors: [3, 1, 2] },
        ///     #{ name: "gaussian", values: [90, 104, 102], errors: [[2, 4], [1, 1], [1, 3]] },
        /// ], #{ y_label: "relative to DiT (%)", horizontal: 100 });
        /// assert(figure.svg().contains("precision"));
        /// assert(plot::bar(#{ DiT: 40.6, SpectralDiT: 36.8 }, #{ values: true }).svg().contains("36.8"));
        /// ```
        fn bar(data: BarData, values: Option<Second<Group>>, options: Option<BarOptions>) -> Figure {
            let (values, chart) = sort(values, options)?;
            draw_bar(data, values, &chart)
        }
    }
}

functions! { in "plot";
    /// Draws estimates with confidence intervals, one named row each (a forest plot).
    ///
    /// `rows` are the names from top to bottom. `data` is a map or an array of maps, drawn below each other within
    /// a row: `values`, one per row; `low` and `high`, the ends of the intervals, or `errors`, their half lengths as
    /// for `plot::line`; `name` for the legend; `color`, `#rrggbb` or a name as for `plot::line`. NaN or `()` is not
    /// drawn; an interval with one end is drawn from the value to it. Columns of `eval::paired` and `eval::summary`
    /// can be passed as they are.
    ///
    /// ```rhai
    /// let figure = plot::intervals(["static gate", "three bands"], [
    ///     #{ name: "equal steps", values: [0.4, -1.2], low: [-0.8, -2.1], high: [1.5, -0.2] },
    ///     #{ name: "equal time", values: [0.5, -0.9], errors: [1.1, 1.0] },
    /// ], #{ x_label: "FID minus that of the plain DiT", vertical: 0.0 });
    /// assert(figure.svg().contains("three bands"));
    /// assert(figure.description.starts_with("interval figure: 2 series, 2 rows"), figure.description);
    /// ```
    fn intervals(rows: Vec<String>, data: Many<Estimates>, options: IntervalsOptions) -> Figure {
        draw_intervals(rows, data, &options)
    }

    /// Draws histograms.
    ///
    /// Data is an array of numbers or a tensor of any shape, a map `#{ name, values }`, or an array of these, which
    /// share their bins. Values that are not finite are omitted.
    ///
    /// ```rhai
    /// let figure = plot::histogram([
    ///     #{ name: "real", values: [0.1, 0.2, 0.2, 0.7] },
    ///     #{ name: "generated", values: tensor::zeros([3, 4]) },
    /// ], #{ x_label: "feature 17", density: true });
    /// assert(figure.svg().contains("density"));
    /// assert(figure.description.contains("2 series"), figure.description);
    /// ```
    fn histogram(data: Many<Set>, options: HistogramOptions) -> Figure { draw_histogram(data, &options) }
}
