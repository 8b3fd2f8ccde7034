//! Option maps as typed structs: names, types, defaults, ranges and documentation in one place.

use super::convert::{FromValue, IntoValue};
use super::value::{Map, Value};
use crate::error::{Error, Result, Subject, list};

/// Constraint on the values of an option beyond its type.
#[derive(Debug, Clone, Copy)]
pub enum Allowed {
    /// Every value of the type.
    Any,
    /// Numbers from the first to the second, both included; arrays are checked entry by entry.
    Range(f64, f64),
    /// Numbers from the first up to the second, which is not included.
    Below(f64, f64),
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// Strings that are names of something, of which this returns an error if there is none of that name.
    Named(fn(&str) -> Result<()>),
}

impl Allowed {
    /// Fails if the value of option `name` is not allowed.
    pub fn check(&self, name: &str, value: &Value) -> Result<()> {
        match (self, value) {
            (_, Value::List(list)) => list.iter().try_for_each(|v| self.check(name, v)),
            (Allowed::Range(low, high) | Allowed::Below(low, high), Value::Int(_) | Value::Float(_)) => {
                let x = f64::from_value(value)?;
                let open = matches!(self, Allowed::Below(..));
                if x >= *low && (x < *high || (x == *high && !open)) {
                    return Ok(());
                }
                Err(Error::not_allowed(name, self.describe(), x))
            }
            (Allowed::OneOf(words), Value::Str(s)) if !words.contains(&s.as_str()) => {
                Err(Error::not_allowed(name, self.describe(), format_args!("\"{s}\""))
                    .did_you_mean(s, words.iter().copied()))
            }
            (Allowed::Named(known), Value::Str(name)) => known(name),
            _ => Ok(()),
        }
    }

    /// Returns the constraint in words, empty if there is none: `from 0 to 1`, `at least 1`, `one of ..`.
    pub fn describe(&self) -> String {
        match self {
            Allowed::Any | Allowed::Named(_) => String::new(),
            Allowed::Range(low, high) if high.is_infinite() => format!("at least {low}"),
            Allowed::Range(low, high) => format!("from {low} to {high}"),
            Allowed::Below(low, high) => format!("at least {low} and below {high}"),
            Allowed::OneOf(words) => format!("one of {}", list(words)),
        }
    }
}

/// One declared option.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Key in the map.
    pub name: &'static str,
    /// Meaning, with units.
    pub doc: &'static str,
    /// Type name shown to users.
    pub label: fn() -> String,
    /// Default value.
    pub default: fn() -> Value,
    /// Permitted values.
    pub allowed: fn() -> Allowed,
    /// Options of the maps that it takes, alone or in an array; empty for all others.
    pub fields: fn() -> &'static [Field],
    /// How a line about the whole mentions the option, with `{}` for its value; empty if it does not.
    pub shown: &'static str,
    /// Whether the call that resumes a run may change the option.
    pub changeable: bool,
    /// Former name, which is still accepted; empty if there is none.
    pub alias: &'static str,
    /// Keys and types of the map that a function in this option receives; empty for all others.
    pub receives: &'static [(&'static str, &'static str)],
    /// Arguments that a function in this option is called with, `x, t`: one entry for each number of arguments that
    /// it may take; empty for all others.
    pub takes: &'static [&'static str],
}

impl Field {
    /// Returns whether a key of an option map means this option.
    pub fn is_called(&self, key: &str) -> bool {
        self.name == key || (!self.alias.is_empty() && self.alias == key)
    }

    /// Fails if a function in this option takes a number of arguments that it is never given; `place` ends
    /// the message.
    pub fn check_count(&self, count: usize, place: &str) -> Result<()> {
        check_count(self.takes, count, place).map_err(|e| e.within(Subject::Option(self.name.to_string())))
    }

    /// Checks how many arguments the function in an entry of an option map takes, if that is known.
    fn check_function(&self, value: &Value) -> Result<()> {
        match value {
            Value::Function(function) => {
                function.takes().map_or(Ok(()), |count| self.check_count(count, &function.written()))
            }
            _ => Ok(()),
        }
    }
}

/// Fails if a function of `count` arguments is none of those in `takes`, `x, t`: one entry for each number of
/// arguments; empty for any. `place` ends the message.
pub fn check_count(takes: &[&str], count: usize, place: &str) -> Result<()> {
    let words = |list: &str| list.split(',').count();
    if takes.is_empty() || takes.iter().any(|list| words(list) == count) {
        return Ok(());
    }
    let forms: Vec<String> = takes.iter().map(|list| format!("`|{list}|`")).collect();
    let values = if count == 1 { "value" } else { "values" };
    Err(Error::argument(format!(
        "expected a function {}, found one that takes {count} {values}{place}",
        forms.join(" or ")
    )))
}

/// A struct whose fields are the keys of an option map; derived.
///
/// ```text
/// /// How a Gaussian blurs.
/// #[derive(Debug, Clone, Options)]
/// pub struct BlurOptions {
///     /// Standard deviation, in tokens.
///     #[option(default = 1.0, range = 0.05..=32.0)]
///     pub sigma: f64,
///     /// What happens at the edge.
///     pub edge: Edge,
/// }
/// ```
///
/// The comments are the documentation of the options. A type that has only certain values, such as a
/// [`Choice`](super::Choice), checks them itself.
pub trait Options: Sized + Default {
    /// The declared options, in order of declaration.
    const FIELDS: &'static [Field];
    /// The documentation of the struct; for kinds (filters, gates, ..) also that of the script constructor.
    const DOC: &'static str;

    /// Sets the options in the map that are declared here; does not check ranges.
    fn set(&mut self, map: &Map) -> Result<()>;

    /// Sets the options to the values in the map as files have them, where handles are data; does not check ranges.
    /// If the map is all of a `file`, which is named in messages, options without a default must be there.
    fn restore(&mut self, map: &Map, file: Option<&str>) -> Result<()> {
        let _ = file;
        self.set(map)
    }

    /// Returns all options with their values.
    fn to_map(&self) -> Map;

    /// Reads a map; unknown names, wrong types and values out of range are errors.
    fn from_map(map: &Map) -> Result<Self> {
        refuse_unknown(map, Self::FIELDS)?;
        for (key, value) in map {
            let field = Self::FIELDS.iter().find(|f| f.is_called(key));
            field.map_or(Ok(()), |field| field.check_function(value))?;
        }
        let mut options = Self::default();
        options.set(map).map_err(|error| for_functions(error, map, Self::FIELDS))?;
        Options::check(&options)?;
        Ok(options)
    }

    /// Checks the permitted values. Native functions call it first, so that Rust users get the same messages as
    /// scripts.
    fn check(&self) -> Result<()> {
        let map = self.to_map();
        Self::FIELDS.iter().try_for_each(|field| match map.get(field.name) {
            Some(value) => (field.allowed)().check(field.name, value),
            None => Ok(()),
        })
    }

    /// Returns the options that are not at their defaults, in order of declaration.
    fn given(&self) -> Vec<(&'static Field, Value)> {
        let mut map = self.to_map();
        let given = |field: &'static Field| {
            let value = map.remove(field.name)?;
            (!same(&value, &(field.default)())).then_some((field, value))
        };
        Self::FIELDS.iter().filter_map(given).collect()
    }

    /// Returns how a line mentions the options that have words for it, without those at their defaults.
    fn mentions(&self) -> Vec<String> {
        let mut given = self.given();
        given.retain(|(field, _)| !field.shown.is_empty());
        given.iter().map(|(field, value)| field.shown.replace("{}", &format!("{value:?}"))).collect()
    }
}

/// A [`Choice`](super::Choice) that sets several options at once.
pub trait Preset<T>: super::Choice + Default {
    /// Sets the options that have no default of their own.
    fn set(self, options: &mut T);
}

/// Returns whether two values are the same; those that cannot be stored are compared as they are shown.
fn same(a: &Value, b: &Value) -> bool {
    match (a.to_json_text(), b.to_json_text()) {
        (None, None) => format!("{a:?}") == format!("{b:?}"),
        (a, b) => a == b,
    }
}

/// Fails if the map has a key that is not among the fields.
pub fn refuse_unknown(map: &Map, fields: &[Field]) -> Result<()> {
    for key in map.keys() {
        if !fields.iter().any(|f| f.is_called(key)) {
            let error = Error::unknown_option(key, fields.iter().map(|f| f.name));
            return Err(if fields.is_empty() { error.hint("it takes no options") } else { error });
        }
    }
    Ok(())
}

/// Adds the options that take functions to the error of another option that was given one.
fn for_functions(error: Error, map: &Map, fields: &[Field]) -> Error {
    let takes = |field: &&Field| (field.label)().contains("function");
    let given = |field: &Field| matches!(map.get(field.name), Some(Value::Function(_)));
    let names: Vec<&str> = fields.iter().filter(takes).map(|field| field.name).collect();
    let wrong = fields.iter().any(|field| given(field) && !takes(&field));
    match names.is_empty() || !wrong || error.hint_text().is_some() {
        true => error,
        false => error.hint(format!("options that take a function: {}", list(&names))),
    }
}

/// Reads an option map.
pub fn read<T: Options>(value: &Value) -> Result<T> {
    match value {
        Value::Map(map) => T::from_map(map),
        other => Err(other.not_options()),
    }
}

/// Sets an option to its entry in the map, if there is one.
pub fn assign<T: FromValue>(option: &mut T, map: &Map, name: &str, allowed: fn() -> Allowed) -> Result<()> {
    let Some(value) = map.get(name) else { return Ok(()) };
    *option = T::from_value(value).or_else(|error| {
        // A word that the type does not know.
        if let words @ Allowed::OneOf(_) = allowed() {
            words.check(name, value)?;
        }
        Err(error.within(Subject::Option(name.to_string())))
    })?;
    Ok(())
}

/// Applies the option `preset`, if the map has it.
pub fn preset<T, P: Preset<T> + FromValue>(options: &mut T, map: &Map) -> Result<()> {
    let mut preset = P::default();
    if map.contains_key("preset") {
        assign(&mut preset, map, "preset", P::allowed)?;
        preset.set(options);
    }
    Ok(())
}

/// Adds an option to a map.
pub fn put<T: IntoValue + Clone>(map: &mut Map, name: &str, value: &T) {
    map.insert(name.to_string(), value.clone().into_value());
}

/// Sets an option to its entry in a map as files have it, see [`Options::restore`].
pub fn restore<T: FromValue>(
    option: &mut T,
    map: &Map,
    name: &str,
    file: Option<&str>,
    optional: bool,
) -> Result<()> {
    match (map.get(name), file) {
        (Some(value), Some(_)) => {
            *option = T::from_stored(value).map_err(|e| e.context(format!("`{name}`")))?;
        }
        (Some(value), None) => {
            *option = T::from_stored(value).map_err(|e| e.within(Subject::Option(name.to_string())))?;
        }
        (None, Some(file)) if !optional => return Err(Error::argument(format!("{file} has no `{name}`"))),
        (None, _) => {}
    }
    Ok(())
}

/// No option; fills lists of options until they are complete.
pub const NONE: Field = Field {
    name: "",
    doc: "",
    label: String::new,
    default: || Value::Unit,
    allowed: || Allowed::Any,
    fields: || &[],
    shown: "",
    changeable: false,
    alias: "",
    receives: &[],
    takes: &[],
};

#[cfg(test)]
mod tests {
    use super::{Map, Preset, Result, Subject, Value};
    use crate::declare::{Choice, IntoValue, OneOrMany, Options};

    /// What happens at the edge.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
    enum Edge {
        /// The outermost value is repeated.
        #[default]
        Replicate,
        /// The grid is a torus.
        #[choice(name = "periodic-2d")]
        Torus,
    }

    /// Named blur.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
    enum Strength {
        #[default]
        Weak,
        Strong,
    }

    impl Preset<Blur> for Strength {
        fn set(self, blur: &mut Blur) {
            blur.sigma = if self == Strength::Strong { 8.0 } else { 1.0 };
        }
    }

    /// What a region is filled with.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
    enum Fill {
        /// Zeros.
        #[default]
        Zeros,
        /// As the edge.
        #[choice(flatten)]
        Edge(Edge),
        /// Noise.
        Noise,
    }

    /// How a Gaussian blurs.
    #[derive(Debug, Clone, PartialEq, Options)]
    #[options(preset = Strength, stored = "a stored blur")]
    struct Blur {
        /// Standard deviation,
        /// in tokens.
        #[option(range = 0.05..=32.0, shown = "sigma {}")]
        pub sigma: f64,
        /// What happens at the edge.
        #[option(default = Edge::Replicate, omit, shown = "{} edge", alias = "border")]
        pub edge: Edge,
    }

    #[test]
    fn a_range_may_leave_out_its_end() {
        let below = super::Allowed::Below(0.0, 1.0);
        assert!(
            below.check("x", &Value::Float(0.0)).is_ok() && below.check("x", &Value::Float(0.999)).is_ok()
        );
        for wrong in [-0.1, 1.0, f64::NAN] {
            let error = below.check("x", &Value::Float(wrong)).unwrap_err();
            assert!(error.message().starts_with("`x` must be at least 0 and below 1, found "), "{error}");
        }
    }

    /// Several blurs.
    #[derive(Debug, Clone, Options)]
    struct BlursOptions {
        /// Name.
        #[option(default = "blur")]
        pub r#type: String,
        /// The blur.
        #[option(flatten)]
        pub blur: Blur,
        /// Other edges.
        pub edges: OneOrMany<Edge>,
        /// Number of passes.
        #[option(default = 2, range = 1.., changeable)]
        pub passes: usize,
    }

    fn read(entries: &[(&str, Value)]) -> Result<BlursOptions> {
        BlursOptions::from_map(&entries.iter().map(|(k, v)| (k.to_string(), v.clone())).collect())
    }

    #[test]
    fn a_struct_declares_its_options_and_those_inside() {
        let names: Vec<&str> = BlursOptions::FIELDS.iter().map(|field| field.name).collect();
        assert_eq!(names, ["type", "preset", "sigma", "edge", "edges", "passes"]);
        let defaults: Vec<String> =
            BlursOptions::FIELDS.iter().map(|field| format!("{:?}", (field.default)())).collect();
        assert_eq!(defaults, ["\"blur\"", "\"weak\"", "()", "\"replicate\"", "[]", "2"]);
        let allowed: Vec<String> =
            BlursOptions::FIELDS.iter().map(|field| (field.allowed)().describe()).collect();
        let edges = "one of `replicate`, `periodic-2d`";
        let words = "one of `weak`, `strong`";
        assert_eq!(allowed, ["", words, "from 0.05 to 32", edges, edges, "at least 1"]);
        assert_eq!(Blur::FIELDS[1].doc, " Standard deviation,\n in tokens.\n");
        assert_eq!((Blur::DOC, Edge::DOCS[1]), (" How a Gaussian blurs.\n", " The grid is a torus.\n"));
    }

    #[test]
    fn a_choice_may_have_the_words_of_another() {
        assert_eq!(Fill::NAMES, ["zeros", "replicate", "periodic-2d", "noise"]);
        assert_eq!(
            Fill::ALL,
            [Fill::Zeros, Fill::Edge(Edge::Replicate), Fill::Edge(Edge::Torus), Fill::Noise]
        );
        assert_eq!(Fill::DOCS[2..], [" The grid is a torus.\n", " Noise.\n"]);
        for fill in Fill::ALL {
            assert_eq!(Fill::named(fill.name()).unwrap(), *fill);
        }
        assert_eq!(Fill::Edge(Edge::Torus).to_string(), "periodic-2d");
    }

    #[test]
    fn options_that_are_given_differ_from_their_defaults() {
        let given = |options: &BlursOptions| -> Vec<&str> {
            options.given().iter().map(|(field, _)| field.name).collect()
        };
        // The preset sets `sigma`, which has no default of its own.
        let usual = BlursOptions::default();
        assert_eq!(given(&usual), ["sigma"]);
        let other = BlursOptions { passes: 3, edges: vec![Edge::Torus].into(), ..usual };
        assert_eq!(given(&other), ["sigma", "edges", "passes"]);
        let changeable = BlursOptions::FIELDS.iter().filter(|field| field.changeable);
        assert_eq!(changeable.map(|field| field.name).collect::<Vec<_>>(), ["passes"]);
    }

    #[test]
    fn given_options_replace_defaults_and_what_a_preset_sets() {
        let found = read(&[("preset", "strong".into_value()), ("edge", "periodic-2d".into_value())]).unwrap();
        assert_eq!(found.blur, Blur { sigma: 8.0, edge: Edge::Torus });
        let found = read(&[("preset", "strong".into_value()), ("sigma", Value::Int(2))]).unwrap();
        assert_eq!((found.blur.sigma, found.passes, found.r#type.as_str()), (2.0, 2, "blur"));
        let again = BlursOptions::from_map(&found.to_map()).unwrap();
        assert_eq!(again.blur, found.blur);
        assert_eq!(found.blur.mentions(), ["sigma 2.0"]);
        assert_eq!(Blur { edge: Edge::Torus, ..found.blur }.mentions()[1], "\"periodic-2d\" edge");
    }

    #[test]
    fn what_is_not_permitted_is_an_error_that_names_the_option() {
        let error = |name: &str, value: Value| read(&[(name, value)]).unwrap_err().to_string();
        assert_eq!(error("sigm", Value::Int(1)), "unknown option `sigm`\nhint: did you mean `sigma`?");
        assert_eq!(error("sigma", Value::Int(0)), "`sigma` must be from 0.05 to 32, found 0");
        assert_eq!(
            error("passes", "two".into_value()),
            "option `passes`: expected int, found the string \"two\""
        );
        let expected =
            "must be one of `replicate`, `periodic-2d`, found \"replicat\"\nhint: did you mean `replicate`?";
        assert_eq!(error("edge", "replicat".into_value()), format!("`edge` {expected}"));
        assert_eq!(error("edges", ["replicat"].into_value()), format!("`edges` {expected}"));
        assert_eq!(error("edge", Value::Int(1)), "option `edge`: expected string, found the integer 1");
        let wrong = read(&[("passes", "two".into_value())]).unwrap_err();
        assert_eq!(wrong.subject(), Some(Subject::Option("passes".to_string())));
        let wrong = Blur { sigma: 99.0, ..Blur::default() };
        assert!(Options::check(&wrong).is_err());
    }

    #[test]
    fn a_file_may_be_older_than_an_option_with_a_default() {
        let blur = Blur { sigma: 3.0, edge: Edge::Replicate };
        assert_eq!(blur.to_stored().keys().collect::<Vec<_>>(), ["sigma"]);
        assert_eq!(Blur::from_stored(&blur.to_stored()).unwrap(), blur);
        let torus = Blur { edge: Edge::Torus, ..blur };
        assert_eq!(Blur::from_stored(&torus.to_stored()).unwrap(), torus);
        let error = Blur::from_stored(&Map::new()).unwrap_err();
        assert_eq!(error.message(), "a stored blur has no `sigma`");
    }

    #[test]
    fn a_former_name_is_accepted_and_noted() {
        let former = [("border", "periodic-2d".into_value())];
        assert_eq!(read(&former).unwrap().blur.edge, Edge::Torus);
        assert_eq!(read(&former).unwrap().to_map().get("border").map(|_| ()), None);
        assert_eq!(crate::declare::renamed::take_renamed(), [("border", "edge"); 2]);
        assert!(crate::declare::renamed::take_renamed().is_empty());
        let both = [("border", "replicate".into_value()), ("edge", "replicate".into_value())];
        let error = read(&both).unwrap_err().to_string();
        assert!(error.starts_with("the options `edge` and `border` are the same"), "{error}");
        let stored = Map::from(
            [("sigma", Value::Float(1.0)), ("border", "periodic-2d".into_value())]
                .map(|(k, v)| (k.to_string(), v)),
        );
        assert_eq!(Blur::from_stored(&stored).unwrap().edge, Edge::Torus);
    }
}
