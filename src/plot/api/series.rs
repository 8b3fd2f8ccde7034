//! Series of charts: plain numbers, or maps that also name and style them.

use super::numbers::{Data, Numbers, depth, number, real};
use crate::declare::{Choice, FromValue, Map, Options, Value};
use crate::error::{Error, Result, Subject, list};
use crate::plot::{self, Color, Dash, Errors, Marker};
use crate::torch::Tensor;

/// One series of a kind of chart.
pub trait Entry: Options + Clone {
    /// Creates a series from numbers alone.
    fn plain(data: Data) -> Result<Self>;

    /// Returns whether a value is one plain series, and not an array of series.
    fn is_plain(value: &Value) -> bool {
        depth(value).is_some_and(|d| d < 2)
    }

    /// Returns the name of the series; empty if it has none.
    fn name(&self) -> &str;
}

/// The data of a chart: plain numbers, one map, or an array of either.
#[derive(Debug, Clone)]
pub enum Many<S> {
    /// Numbers without a name.
    Plain(Data),
    /// Series.
    Entries(Vec<S>),
}

impl<S: Entry> FromValue for Many<S> {
    fn label() -> String {
        "numbers, map or array of them".to_string()
    }

    fn from_value(value: &Value) -> Result<Self> {
        match value {
            plain if S::is_plain(plain) => Data::from_value(plain).map(Many::Plain),
            Value::List(list) => {
                let entry =
                    |(i, v): (usize, &Value)| one::<S>(v).map_err(|e| e.within(called(i, name_in(v))));
                list.iter().enumerate().map(entry).collect::<Result<_>>().map(Many::Entries)
            }
            other => one::<S>(other).map(|entry| Many::Entries(vec![entry])),
        }
    }
}

impl<S: Entry> Many<S> {
    /// Returns all series.
    pub fn entries(self) -> Result<Vec<S>> {
        match self {
            Many::Plain(data) => Ok(vec![S::plain(data)?]),
            Many::Entries(entries) => Ok(entries),
        }
    }
}

fn one<S: Entry>(value: &Value) -> Result<S> {
    match value {
        Value::Map(map) => S::from_map(map),
        other => Data::from_value(other).and_then(S::plain),
    }
}

fn name_in(value: &Value) -> &str {
    match value {
        Value::Map(map) => match map.get("name").or(map.get("title")) {
            Some(Value::Str(name)) => name,
            _ => "",
        },
        _ => "",
    }
}

/// Returns how messages refer to a series: its index, and its name if it has one.
pub fn called(index: usize, name: &str) -> Subject {
    if name.is_empty() { Subject::Entry(index) } else { Subject::Named(index, name.to_string()) }
}

/// Converts entries to native ones; errors name the entry.
pub fn each<S: Entry, T>(entries: Vec<S>, make: impl Fn(&S) -> Result<T>) -> Result<Vec<T>> {
    let one = |(i, s): (usize, &S)| make(s).map_err(|e| e.within(called(i, s.name())));
    entries.iter().enumerate().map(one).collect()
}

/// A second argument: more data, or already the options.
#[derive(Debug, Clone)]
pub enum Second<S> {
    /// Data.
    Data(Many<S>),
    /// Options.
    Options(Map),
}

impl<S: Entry> FromValue for Second<S> {
    fn label() -> String {
        Many::<S>::label()
    }

    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Map(map) => Ok(Second::Options(map.clone())),
            other => Many::from_value(other).map(Second::Data),
        }
    }
}

/// Separates optional data from options.
pub fn sort<S, O: Options>(second: Option<Second<S>>, options: Option<O>) -> Result<(Option<Many<S>>, O)> {
    match (second, options) {
        (Some(Second::Options(map)), None) => Ok((None, O::from_map(&map)?)),
        (Some(Second::Options(_)), Some(_)) => {
            Err(Error::argument("found two maps of options, expected one")
                .hint("pass series that are maps in an array: [#{ .. }]"))
        }
        (Some(Second::Data(data)), options) => Ok((Some(data), options.unwrap_or_default())),
        (None, options) => Ok((None, options.unwrap_or_default())),
    }
}

/// Returns x, if it was passed on its own before the series, and the series.
pub fn split<S: Entry>(first: Many<S>, second: Option<Many<S>>) -> Result<(Option<Numbers>, Vec<S>)> {
    match (first, second) {
        (Many::Plain(x), Some(second)) => Ok((Some(x.numbers()?), second.entries()?)),
        (Many::Entries(_), Some(_)) => {
            Err(Error::argument("expected x as plain numbers before y, found series")
                .hint("write (x, y) or (x, [series, ..]), or give every series its own `x`"))
        }
        (first, None) => Ok((None, first.entries()?)),
    }
}

/// Shape of the points of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
pub enum CurveMarker {
    /// Not drawn.
    None,
    /// Drawn.
    #[choice(flatten)]
    Shown(Marker),
}

impl From<CurveMarker> for Option<Marker> {
    fn from(marker: CurveMarker) -> Self {
        match marker {
            CurveMarker::None => None,
            CurveMarker::Shown(marker) => Some(marker),
        }
    }
}

/// A line.
#[derive(Debug, Clone, Options)]
pub struct Curve {
    /// Name in the legend.
    pub name: String,
    /// Horizontal positions of the points; 0, 1, 2, .. by default.
    pub x: Option<Numbers>,
    /// Vertical positions of the points; required.
    pub y: Option<Numbers>,
    /// Half lengths of error bars, one per point or a pair `[below, above]`, in units of y.
    pub errors: Option<Errors>,
    /// Half heights of a shaded band, one per point or a pair `[below, above]`, in units of y.
    pub band: Option<Errors>,
    /// Lower edge of a shaded band; goes with `high`.
    pub low: Option<Numbers>,
    /// Upper edge of a shaded band; goes with `low`.
    pub high: Option<Numbers>,
    /// Color, `#rrggbb` or a name; the next one of the palette by default.
    #[option(alias = "colour")]
    pub color: Option<String>,
    /// Width of the line in pixels.
    #[option(default = 1.8, range = 0.1..=20.0)]
    pub width: f64,
    /// Dash pattern of the line; the next one by default.
    pub dash: Option<Dash>,
    /// Shape of the points, or `none`; by default only short series show their points.
    pub marker: Option<CurveMarker>,
}

/// A cloud of points.
#[derive(Debug, Clone, Options)]
pub struct Cloud {
    /// Name in the legend.
    pub name: String,
    /// Horizontal positions; 0, 1, 2, .. by default.
    pub x: Option<Numbers>,
    /// Vertical positions.
    pub y: Option<Numbers>,
    /// Both positions as a tensor [N, 2], instead of `x` and `y`.
    pub points: Option<Tensor>,
    /// Half lengths of vertical error bars, one per point or a pair `[below, above]`, in units of y.
    pub errors: Option<Errors>,
    /// Color, `#rrggbb` or a name; the next one of the palette by default.
    #[option(alias = "colour")]
    pub color: Option<String>,
    /// Shape of the points; the next one by default.
    pub marker: Option<Marker>,
    /// Radius of the points in pixels; by default smaller the more there are.
    #[option(range = 0.2..=50.0)]
    pub radius: Option<f64>,
}

/// Bars of one color, one per category.
#[derive(Debug, Clone, Options)]
pub struct Group {
    /// Name in the legend.
    pub name: String,
    /// Heights of the bars; required.
    pub values: Option<Numbers>,
    /// Half lengths of error bars, one per bar or a pair `[below, above]`.
    pub errors: Option<Errors>,
    /// Color, `#rrggbb` or a name; the next one of the palette by default.
    #[option(alias = "colour")]
    pub color: Option<String>,
}

/// Estimates of one color, one per row, with their intervals.
#[derive(Debug, Clone, Options)]
pub struct Estimates {
    /// Name in the legend.
    pub name: String,
    /// The estimates; required.
    pub values: Option<Numbers>,
    /// Lower ends of the intervals, one per row; goes with `high`.
    pub low: Option<Numbers>,
    /// Upper ends of the intervals, one per row; goes with `low`.
    pub high: Option<Numbers>,
    /// Half lengths of the intervals, one per row or a pair `[below, above]`, instead of `low` and `high`.
    pub errors: Option<Errors>,
    /// Color, `#rrggbb` or a name; the next one of the palette by default.
    #[option(alias = "colour")]
    pub color: Option<String>,
}

/// Values of a histogram.
#[derive(Debug, Clone, Options)]
pub struct Set {
    /// Name in the legend.
    pub name: String,
    /// The values: an array, or a tensor of any shape; required.
    pub values: Option<Data>,
}

impl Entry for Curve {
    fn plain(data: Data) -> Result<Self> {
        Ok(Curve { y: Some(data.numbers()?), ..Curve::default() })
    }
    fn name(&self) -> &str {
        &self.name
    }
}

impl Entry for Cloud {
    fn plain(data: Data) -> Result<Self> {
        match data {
            Data::Tensor(points) if points.rank() == 2 => {
                Ok(Cloud { points: Some(points), ..Cloud::default() })
            }
            data => Ok(Cloud { y: Some(data.numbers()?), ..Cloud::default() }),
        }
    }
    fn name(&self) -> &str {
        &self.name
    }
}

impl Entry for Group {
    fn plain(data: Data) -> Result<Self> {
        Ok(Group { values: Some(data.numbers()?), ..Group::default() })
    }
    fn name(&self) -> &str {
        &self.name
    }
}

impl Entry for Estimates {
    fn plain(data: Data) -> Result<Self> {
        Ok(Estimates { values: Some(data.numbers()?), ..Estimates::default() })
    }
    fn name(&self) -> &str {
        &self.name
    }
}

impl Entry for Set {
    fn plain(data: Data) -> Result<Self> {
        Ok(Set { values: Some(data), ..Set::default() })
    }
    fn is_plain(value: &Value) -> bool {
        value.downcast::<Tensor>().is_some() || depth(value).is_some_and(|d| d < 2)
    }
    fn name(&self) -> &str {
        &self.name
    }
}

fn required<'a, T>(value: &'a Option<T>, key: &str) -> Result<&'a T> {
    value.as_ref().ok_or_else(|| Error::argument(format!("`{key}` is missing")))
}

fn same_length(key: &str, found: usize, of: &str, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::argument(format!(
        "`{key}` has {found} values and `{of}` has {expected}; they must be as many"
    )))
}

/// Returns x as given, shared, or counted from 0, with the length of y.
fn places(own: &Option<Numbers>, shared: &Option<Numbers>, y: &[f64]) -> Result<Vec<f64>> {
    match own.as_ref().or(shared.as_ref()) {
        Some(x) => same_length("x", x.0.len(), "y", y.len()).map(|()| x.0.clone()),
        None => Ok((0..y.len()).map(|i| i as f64).collect()),
    }
}

/// Converts to a native line series; `shared` is x if the series has none of its own.
pub fn curve(curve: &Curve, shared: &Option<Numbers>) -> Result<plot::Series> {
    let y = &required(&curve.y, "y")?.0;
    let x = places(&curve.x, shared, y)?;
    let lengths = |errors: &Option<Errors>| errors.as_ref().map(Errors::len);
    let count = |edge: &Option<Numbers>| edge.as_ref().map(|numbers| numbers.0.len());
    let spreads = [
        ("errors", lengths(&curve.errors)),
        ("band", lengths(&curve.band)),
        ("low", count(&curve.low)),
        ("high", count(&curve.high)),
    ];
    for (key, found) in spreads {
        if let Some(found) = found {
            same_length(key, found, "y", y.len())?;
        }
    }
    let mut series = plot::Series::new(&curve.name, x, y.as_slice()).width(curve.width);
    series = match (&curve.errors, &curve.band, &curve.low, &curve.high) {
        (None, None, None, None) => series,
        (Some(errors), None, None, None) => series.errors(errors.pairs()),
        (None, Some(band), None, None) => series.band(band.pairs()),
        (None, None, Some(low), Some(high)) => series.between(low.0.as_slice(), high.0.as_slice()),
        _ => {
            let given: Vec<&str> = spreads.iter().filter(|(_, s)| s.is_some()).map(|(key, _)| *key).collect();
            return Err(Error::argument(format!("expected one kind of spread, found {}", list(&given)))
                .hint("use `errors`, or `band`, or `low` with `high`"));
        }
    };
    if let Some(color) = &curve.color {
        series = series.color(Color::parse(color)?);
    }
    if let Some(dash) = curve.dash {
        series = series.dash(dash);
    }
    Ok(match curve.marker {
        None => series,
        Some(marker) => series.marker(marker.into()),
    })
}

/// Converts to a native cloud of points; `shared` is x if the cloud has none of its own.
pub fn cloud(cloud: &Cloud, shared: &Option<Numbers>) -> Result<plot::Points> {
    let (x, y) = match (&cloud.points, &cloud.x, &cloud.y) {
        (Some(points), None, None) => {
            if points.rank() != 2 || points.size(1)? != 2 {
                let shape = points.shape();
                return Err(Error::argument(format!(
                    "expected points [N, 2], found a tensor of shape {shape:?}"
                ))
                .hint("columns of a matrix: `plot::scatter(m.select(1, 0), m.select(1, 1))`"));
            }
            real(points)?.chunks(2).map(|p| (p[0], p[1])).unzip()
        }
        (Some(_), ..) => return Err(Error::argument("expected `points` or `x` and `y`, found both")),
        (None, x, y) => {
            let y = &required(y, "y")?.0;
            (places(x, shared, y)?, y.clone())
        }
    };
    let count = y.len();
    let mut points = plot::Points::new(&cloud.name, x, y);
    if let Some(errors) = &cloud.errors {
        same_length("errors", errors.len(), "y", count)?;
        points = points.errors(errors.pairs());
    }
    if let Some(color) = &cloud.color {
        points = points.color(Color::parse(color)?);
    }
    if let Some(marker) = cloud.marker {
        points = points.marker(marker);
    }
    if let Some(radius) = cloud.radius {
        points = points.radius(radius);
    }
    Ok(points)
}

/// Converts to a native group of bars over this many categories.
pub fn group(group: &Group, categories: usize) -> Result<plot::BarGroup> {
    let values = &required(&group.values, "values")?.0;
    if values.len() != categories {
        return Err(Error::argument(format!(
            "`values` has {} values for {categories} categories",
            values.len()
        )));
    }
    let mut bars = plot::BarGroup::new(&group.name, values.as_slice());
    if let Some(errors) = &group.errors {
        same_length("errors", errors.len(), "values", values.len())?;
        bars = bars.errors(errors.pairs());
    }
    match &group.color {
        Some(color) => Ok(bars.color(Color::parse(color)?)),
        None => Ok(bars),
    }
}

/// Converts to native estimates over this many rows.
pub fn estimates(set: &Estimates, rows: usize) -> Result<plot::Estimates> {
    let values = &required(&set.values, "values")?.0;
    if values.len() != rows {
        return Err(Error::argument(format!("`values` has {} values for {rows} rows", values.len())));
    }
    for (key, found) in [
        ("low", set.low.as_ref().map(|low| low.0.len())),
        ("high", set.high.as_ref().map(|high| high.0.len())),
        ("errors", set.errors.as_ref().map(Errors::len)),
    ] {
        if let Some(found) = found {
            same_length(key, found, "values", rows)?;
        }
    }
    let (low, high) = match (&set.low, &set.high, &set.errors) {
        (Some(low), Some(high), None) => (low.0.clone(), high.0.clone()),
        (None, None, Some(errors)) => errors.ends(values),
        (None, None, None) => (vec![f64::NAN; rows], vec![f64::NAN; rows]),
        _ => {
            return Err(Error::argument("expected `low` with `high`, or `errors`, for the intervals"));
        }
    };
    let native = plot::Estimates::new(&set.name, values.as_slice(), low, high);
    match &set.color {
        Some(color) => Ok(native.color(Color::parse(color)?)),
        None => Ok(native),
    }
}

/// Returns the values of a histogram.
pub fn values(set: &Set) -> Result<Vec<f64>> {
    match required(&set.values, "values")? {
        Data::Tensor(tensor) => real(tensor),
        Data::Numbers(numbers) => Ok(numbers.0.clone()),
    }
}

/// The data of a bar chart as passed: names first, a map of numbers, or series.
#[derive(Debug, Clone)]
pub enum BarData {
    /// Names of the categories; the values follow.
    Categories(Vec<String>),
    /// A number under each name.
    Named(Vec<(String, f64)>),
    /// Groups of bars.
    Groups(Many<Group>),
}

impl FromValue for BarData {
    fn label() -> String {
        "numbers, names, map or array of maps".to_string()
    }

    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::List(list) if list.iter().any(|v| matches!(v, Value::Str(_))) => {
                Vec::<String>::from_value(value).map(BarData::Categories)
            }
            Value::Map(map) if !map.values().any(|v| depth(v) == Some(1)) => {
                let one = |(name, v): (&String, &Value)| match number(v) {
                    Ok(x) => Ok((name.clone(), x)),
                    Err(error) => Err(error.context(format!("`{name}`"))),
                };
                map.iter().map(one).collect::<Result<_>>().map(BarData::Named)
            }
            other => Many::from_value(other).map(BarData::Groups),
        }
    }
}
