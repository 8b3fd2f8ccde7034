//! Common options of figures.

use crate::declare::{Choice, FromValue, IntoValue, Options, Value};
use crate::error::{Error, Result, Subject};
use crate::plot::{Axis, Color, ColorMap, Dash, Figure, Legend, Palette, Reference, Scale};

/// Longest side of a figure, in layout pixels.
const LONGEST: u32 = 8000;

/// A reference line across a chart at one value, such as a baseline.
#[derive(Debug, Clone, Options)]
pub struct Mark {
    /// Position in units of its axis; required.
    pub value: Option<f64>,
    /// Name in the legend.
    pub label: String,
    /// Half the height of a shaded band around it, such as one standard deviation, in units of its axis.
    #[option(default = 0.0, range = 0.0..)]
    pub spread: f64,
    /// Color, `#rrggbb` or a name.
    #[option(default = "gray", alias = "colour")]
    pub color: String,
    /// Dash pattern of the line.
    #[option(default = Dash::Dashed)]
    pub dash: Dash,
}

/// Reference lines: a number, a map, or an array of them.
#[derive(Debug, Clone, Default)]
pub struct Marks(pub Vec<Mark>);

impl Marks {
    /// Converts the lines to native ones.
    pub fn references(&self) -> Result<Vec<Reference>> {
        self.0.iter().map(reference).collect()
    }
}

fn reference(mark: &Mark) -> Result<Reference> {
    let Some(value) = mark.value else {
        return Err(
            Error::argument("a reference line has no `value`").hint("write #{ value: 0.5, label: .. }")
        );
    };
    Ok(Reference::new(value)
        .label(&mark.label)
        .spread(mark.spread)
        .color(Color::parse(&mark.color)?)
        .dash(mark.dash))
}

impl FromValue for Marks {
    fn label() -> String {
        "number, map or array of them".to_string()
    }

    fn from_value(value: &Value) -> Result<Self> {
        let one = |value: &Value| -> Result<Mark> {
            let mark = match value {
                Value::Map(map) => Mark::from_map(map)?,
                Value::Int(_) | Value::Float(_) => {
                    Mark { value: Some(f64::from_value(value)?), ..Mark::default() }
                }
                other => return Err(other.mismatch("a number or a map #{ value, label, spread }")),
            };
            reference(&mark).map(|_| mark)
        };
        match value {
            Value::List(list) => {
                let entry = |(i, v): (usize, &Value)| one(v).map_err(|e| e.within(Subject::Entry(i)));
                list.iter().enumerate().map(entry).collect::<Result<_>>().map(Marks)
            }
            other => one(other).map(|mark| Marks(vec![mark])),
        }
    }
}

impl IntoValue for Marks {
    fn label() -> String {
        "array of maps".to_string()
    }

    fn into_value(self) -> Value {
        Value::List(self.0.iter().map(|mark| Value::Map(mark.to_map())).collect())
    }
}

/// Creates an axis from its options.
pub fn axis(label: &str, scale: Scale, limits: Option<(f64, f64)>, ticks: Option<Vec<f64>>) -> Result<Axis> {
    let mut axis = Axis::new(label).scale(scale);
    if let Some((low, high)) = limits {
        axis = axis.limits(low, high);
    }
    if let Some(ticks) = ticks {
        axis = axis.ticks(ticks);
    }
    Ok(axis)
}

/// Palette of a chart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum PaletteChoice {
    /// Colors for different things.
    #[default]
    Distinct,
    /// Steps along the usual color map, for values of one quantity.
    Ordered,
    /// Steps along this color map.
    #[choice(flatten)]
    Along(ColorMap),
}

impl From<PaletteChoice> for Palette {
    fn from(choice: PaletteChoice) -> Self {
        match choice {
            PaletteChoice::Distinct => Palette::Distinct,
            PaletteChoice::Ordered => Palette::Ordered(ColorMap::default()),
            PaletteChoice::Along(map) => Palette::Ordered(map),
        }
    }
}

/// Colors and legend of a chart.
#[derive(Debug, Clone, Options)]
pub struct LookOptions {
    /// `distinct` colors for different things; `ordered`, or the name of a color map, for values of one
    /// quantity.
    pub palette: PaletteChoice,
    /// Position of the legend: where it covers nothing in the plot, else beside or above it; `right`, or `hidden`.
    pub legend: Legend,
}

/// Size of a figure.
#[derive(Debug, Clone, Options)]
pub struct SizeOptions {
    /// Width in layout pixels; a PNG has two pixels for each. By default it fits the content.
    #[option(range = 1..=8000)]
    pub width: Option<usize>,
    /// Height in layout pixels. By default it fits the content.
    #[option(range = 1..=8000)]
    pub height: Option<usize>,
}

/// Sets the requested size, and refuses what is too large to draw.
pub fn sized(figure: Figure, asked: &SizeOptions) -> Result<Figure> {
    let natural = figure.size();
    let side = |asked: Option<usize>, natural: u32| asked.map_or(natural, |side| side as u32);
    let (wide, high) = (side(asked.width, natural.0), side(asked.height, natural.1));
    if wide > LONGEST || high > LONGEST {
        return Err(Error::argument(format!(
            "the figure would be {wide} x {high} pixels, and a side is at most {LONGEST}"
        ))
        .hint("show less of it, or set `width` and `height`"));
    }
    Ok(figure.sized(wide, high))
}
