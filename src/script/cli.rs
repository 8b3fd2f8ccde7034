//! Native half of namespace `cli`: options of a script, parsed by clap, so that help, validation and suggestions
//! for typos work as on other command lines.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::context::Invocation;
use crate::declare::convert::FromValue;
use crate::declare::{Map, Options, Value};
use crate::ensure;
use crate::error::{Error, Result, Subject, list};
use crate::functions;

/// Limits of a command-line option.
#[derive(Debug, Clone, Options)]
pub struct LimitsOptions {
    /// Smallest number.
    pub min: Option<f64>,
    /// Largest number.
    pub max: Option<f64>,
    /// The permitted values.
    pub one_of: Vec<Value>,
}

pub mod native {
    use super::*;
    functions! { script in "cli";
        /// Describes one option for `cli::options`: its name, default, meaning and limits.
        ///
        /// The default determines the type: an integer, a float, text, an array of one of these (separated by
        /// commas on the command line), or a flag that is off (`false`) or on (`true`). With the default `()` it is
        /// text that may be omitted.
        ///
        /// ```rhai
        /// let steps = cli::option("steps", 400, "optimizer updates per run", #{ min: 1 });
        /// assert_eq(cli::options("Trains.", [steps]).steps, 400);
        /// ```
        fn option(name: String, value: Value, help: String, limits: LimitsOptions) -> Map {
            let mut spec = Options::to_map(&limits);
            spec.insert("name".to_string(), Value::Str(name));
            spec.insert("value".to_string(), value);
            spec.insert("help".to_string(), Value::Str(help));
            Ok(spec)
        }

        /// Returns an environment variable, as text or in the type of its default.
        ///
        /// Without a default it is an error if the variable is not set. A variable that is set to nothing counts as not set.
        ///
        /// ```rhai
        /// let task = cli::env("SLURM_ARRAY_TASK_ID", 0);
        /// assert_eq(type_of(task), "i64");
        /// assert_eq(cli::env("NO_SUCH_FOLDER", "runs"), "runs");
        /// ```
        fn env(name: String, default: Option<Value>) -> Value { variable(&name, default, std::env::var(&name).ok()) }

        /// Parses the command line and returns a map with `values`, or with the
        /// help as `help` if it was requested.
        ///
        /// `cli::options` is built on it; use it to handle help in another way.
        ///
        /// ```rhai
        /// let read = cli::parse("Trains.", [cli::option("steps", 400, "updates")]);
        /// assert_eq(read.values.steps, 400);
        /// ```
        fn parse<cx>(about: String, options: Value) -> Map {
            let read = match read(&about, &specs(&options)?, &cx.invocation)? {
                Read::Help(text) => ("help", Value::Str(text)),
                Read::Values(values) => ("values", Value::Map(values)),
            };
            Ok(Map::from([(read.0.to_string(), read.1)]))
        }
    }
}

/// One option of a script.
#[derive(Debug, Clone)]
struct Spec {
    name: String,
    default: Value,
    help: String,
    limits: LimitsOptions,
}

/// Result of parsing a command line.
#[derive(Debug)]
enum Read {
    Help(String),
    Values(Map),
}

/// Returns the options in order: of an array as written, of a map (`#{ steps: #{ value: 400 } }`) by name.
fn specs(options: &Value) -> Result<Vec<Spec>> {
    let specs: Vec<Spec> = match options {
        Value::List(list) => list
            .iter()
            .map(|entry| {
                let mut map = Map::from_value(entry)?;
                match map.remove("name") {
                    Some(Value::Str(name)) => spec(name, map),
                    _ => Err(Error::argument("an option has no name").hint("make it with cli::option(..)")),
                }
            })
            .collect::<Result<_>>()?,
        Value::Map(map) => map
            .iter()
            .map(|(name, entry)| match entry {
                Value::Map(map) => spec(name.clone(), map.clone()),
                default => spec(name.clone(), Map::from([("value".to_string(), default.clone())])),
            })
            .collect::<Result<_>>()?,
        other => return Err(other.mismatch("an array of options made with cli::option(..)")),
    };
    for (i, spec) in specs.iter().enumerate() {
        ensure!(
            specs[..i].iter().all(|s| long(&s.name) != long(&spec.name)),
            "option `{}` is declared twice",
            spec.name
        );
    }
    Ok(specs)
}

fn spec(name: String, mut map: Map) -> Result<Spec> {
    let place = |e: Error| e.within(Subject::Option(name.clone()));
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && name != "help";
    ensure!(
        plain && !name.is_empty(),
        "`{name}` cannot be the name of an option: use letters, digits and `_`"
    );
    let default = map.remove("value").ok_or_else(|| place(Error::argument("it has no default `value`")))?;
    let help = match map.remove("help") {
        Some(help) => String::from_value(&help).map_err(place)?,
        None => String::new(),
    };
    let limits = LimitsOptions::from_value(&Value::Map(map)).map_err(place)?;
    let spec = Spec { name: name.clone(), default, help, limits };
    let kind = spec
        .kind()
        .ok_or_else(|| place(spec.default.mismatch("a number, text, a bool or an array of these")))?;
    if kind != Kind::Optional {
        spec.check(&spec.default).map_err(|e| place(Error::argument(e)))?;
    }
    Ok(spec)
}

/// Type of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flag,
    Int,
    Float,
    Text,
    Optional,
    Ints,
    Floats,
    Texts,
}

impl Spec {
    fn kind(&self) -> Option<Kind> {
        Some(match &self.default {
            Value::Bool(_) => Kind::Flag,
            Value::Int(_) => Kind::Int,
            Value::Float(_) => Kind::Float,
            Value::Str(_) => Kind::Text,
            Value::Unit => Kind::Optional,
            Value::List(list) => match () {
                () if list.is_empty() => Kind::Texts,
                () if list.iter().all(|v| matches!(v, Value::Int(_))) => Kind::Ints,
                () if list.iter().all(|v| matches!(v, Value::Int(_) | Value::Float(_))) => Kind::Floats,
                () if list.iter().all(|v| matches!(v, Value::Str(_))) => Kind::Texts,
                () => return None,
            },
            _ => return None,
        })
    }

    /// Parses one number or word, or returns what was expected.
    fn one(&self, kind: Kind, text: &str) -> Result<Value, String> {
        let value = match kind {
            Kind::Int | Kind::Ints => text.parse().map(Value::Int).map_err(|_| "expected an integer")?,
            Kind::Float | Kind::Floats => {
                let x: f64 = text.parse().map_err(|_| "expected a number")?;
                if !x.is_finite() {
                    return Err("expected a finite number".to_string());
                }
                Value::Float(x)
            }
            _ => Value::Str(text.to_string()),
        };
        self.check(&value).map(|()| value)
    }

    fn check(&self, value: &Value) -> Result<(), String> {
        if let Value::List(list) = value {
            return list.iter().try_for_each(|v| self.check(v));
        }
        let limits = &self.limits;
        let outside = |x: f64| limits.min.is_some_and(|min| x < min) || limits.max.is_some_and(|max| x > max);
        if f64::from_value(value).is_ok_and(outside) {
            return Err(format!("expected a number {}", self.range()));
        }
        let words: Vec<String> = self.limits.one_of.iter().map(word).collect();
        match words.is_empty() || words.contains(&word(value)) {
            true => Ok(()),
            false => Err(format!("expected one of {}", list_of(&words))),
        }
    }

    fn range(&self) -> String {
        match (self.limits.min, self.limits.max) {
            (Some(min), Some(max)) => format!("from {min} to {max}"),
            (Some(min), None) => format!("of at least {min}"),
            (None, Some(max)) => format!("of at most {max}"),
            (None, None) => String::new(),
        }
    }

    fn argument(&self) -> Arg {
        let kind = self.kind().unwrap_or(Kind::Text);
        let mut notes = Vec::new();
        if kind == Kind::Flag {
            let on = matches!(self.default, Value::Bool(true));
            let name = if on { format!("no-{}", long(&self.name)) } else { long(&self.name) };
            let help = if on { format!("Turn off: {}", self.help) } else { self.help.clone() };
            return Arg::new(self.name.clone()).long(name).help(help).action(ArgAction::SetTrue);
        }
        if !self.range().is_empty() {
            notes.push(self.range().trim_start_matches("of ").to_string());
        }
        if !self.limits.one_of.is_empty() {
            // The empty word means that the option is not given.
            let words = self.limits.one_of.iter().map(word).filter(|word| !word.is_empty());
            let words: Vec<String> = words.collect();
            notes.push(format!("one of {}", words.join(", ")));
        }
        if kind != Kind::Optional && !word(&self.default).is_empty() {
            notes.push(format!("default {}", word(&self.default)));
        }
        let notes = if notes.is_empty() { String::new() } else { format!(" [{}]", notes.join("; ")) };
        let spec = self.clone();
        let read = move |text: &str| -> Result<Value, String> {
            match kind {
                Kind::Ints | Kind::Floats | Kind::Texts => {
                    let one = |part: &str| match part.is_empty() {
                        true => {
                            Err("expected values separated by commas, found nothing between two".to_string())
                        }
                        false => spec.one(kind, part),
                    };
                    if text.trim().is_empty() {
                        return Err("expected at least one value".to_string());
                    }
                    text.split(',').map(|part| one(part.trim())).collect::<Result<_, _>>().map(Value::List)
                }
                _ => spec.one(kind, text),
            }
        };
        Arg::new(self.name.clone())
            .long(long(&self.name))
            .value_name(match kind {
                Kind::Int => "INT",
                Kind::Float => "NUMBER",
                Kind::Ints => "INT,..",
                Kind::Floats => "NUMBER,..",
                Kind::Texts => "TEXT,..",
                _ => "TEXT",
            })
            .help(format!("{}{notes}", self.help))
            .allow_hyphen_values(!matches!(kind, Kind::Text | Kind::Optional | Kind::Texts))
            .value_parser(read)
    }

    fn value(&self, matches: &ArgMatches) -> Value {
        match &self.default {
            Value::Bool(on) => Value::Bool(*on != matches.get_flag(&self.name)),
            default => matches.get_one::<Value>(&self.name).unwrap_or(default).clone(),
        }
    }
}

/// Returns the value of an environment variable, `found` if it is set.
fn variable(name: &str, default: Option<Value>, found: Option<String>) -> Result<Value> {
    match (found.filter(|text| !text.is_empty()), default) {
        (None, Some(default)) => Ok(default),
        (None, None) => Err(Error::argument(format!("the environment variable `{name}` is not set"))
            .hint(format!("give a default: `cli::env(\"{name}\", ..)`"))),
        (Some(text), None | Some(Value::Unit)) => Ok(Value::Str(text)),
        (Some(text), Some(default)) => {
            let (name, help, limits) = (name.to_string(), String::new(), LimitsOptions::default());
            let spec = Spec { name, default, help, limits };
            match spec.kind() {
                Some(kind @ (Kind::Int | Kind::Float | Kind::Text)) => {
                    spec.one(kind, &text).map_err(|expected| {
                        let name = &spec.name;
                        Error::argument(format!(
                            "the environment variable `{name}` is \"{text}\", {expected}"
                        ))
                    })
                }
                _ => Err(spec.default.mismatch("a default that is a number or text")),
            }
        }
    }
}

fn long(name: &str) -> String {
    name.replace('_', "-")
}

fn list_of(words: &[String]) -> String {
    list(words)
}

/// Formats a value as it is given on a command line.
fn word(value: &Value) -> String {
    match value {
        Value::Str(s) => s.clone(),
        Value::Float(x) => format!("{x}"),
        Value::List(list) => list.iter().map(word).collect::<Vec<_>>().join(","),
        other => format!("{other:?}"),
    }
}

fn read(about: &str, specs: &[Spec], invocation: &Invocation) -> Result<Read> {
    let script = invocation.script.as_deref().unwrap_or("SCRIPT");
    let mut command = Command::new("script")
        .bin_name(format!("spectral run {script} --"))
        .no_binary_name(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .max_term_width(100)
        .about(about.to_string());
    for spec in specs {
        command = command.arg(spec.argument());
    }
    match command.try_get_matches_from(&invocation.arguments) {
        Ok(matches) => Ok(Read::Values(specs.iter().map(|s| (s.name.clone(), s.value(&matches))).collect())),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Ok(Read::Help(error.render().to_string())),
        Err(error) => Err(usage(&error)),
    }
}

/// Converts clap's error to ours: its first line is the message, its suggestion the hint.
fn usage(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_string();
    let near = [ContextKind::SuggestedArg, ContextKind::SuggestedValue].iter().find_map(|kind| {
        match error.get(*kind)? {
            ContextValue::String(s) => Some(s.clone()),
            ContextValue::Strings(all) => all.first().cloned(),
            ContextValue::StyledStr(s) => Some(s.to_string()),
            _ => None,
        }
    });
    Error::usage(message).hint(match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`--help` behind the `--` lists the options".to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind as ErrorKind;

    fn sample() -> Vec<Spec> {
        let map = |pairs: &[(&str, Value)]| {
            Value::Map(pairs.iter().map(|(k, v)| (k.to_string(), v.clone())).collect())
        };
        let named = |name: &str, value: Value| map(&[("name", Value::Str(name.into())), ("value", value)]);
        let floats = Value::List(vec![Value::Float(0.25), Value::Float(0.5)]);
        specs(&Value::List(vec![
            map(&[
                ("name", Value::Str("steps".into())),
                ("value", Value::Int(400)),
                ("min", Value::Int(1)),
                ("help", Value::Str("updates per run".into())),
            ]),
            named("cutoffs", floats),
            named("base_lr", Value::Float(1e-4)),
            named("quick", Value::Bool(false)),
            named("ema", Value::Bool(true)),
            named("out", Value::Unit),
        ]))
        .unwrap()
    }

    fn run(arguments: &[&str]) -> Result<Read> {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        read("Tries.", &sample(), &Invocation { script: Some("try.rhai".into()), arguments, sha256: None })
    }

    fn values(arguments: &[&str]) -> Map {
        match run(arguments).unwrap() {
            Read::Values(values) => values,
            Read::Help(text) => panic!("{text}"),
        }
    }

    #[test]
    fn environment_variables_have_the_type_of_their_default() {
        let read = |default: Option<Value>, found: &str| variable("X", default, Some(found.to_string()));
        assert!(matches!(read(Some(Value::Int(0)), "7").unwrap(), Value::Int(7)));
        assert!(matches!(read(Some(Value::Float(0.5)), "2").unwrap(), Value::Float(2.0)));
        assert!(matches!(read(None, "7").unwrap(), Value::Str(text) if text == "7"));
        assert!(matches!(read(Some(Value::Int(3)), "").unwrap(), Value::Int(3)));
        assert!(read(Some(Value::Int(0)), "x").unwrap_err().message().contains("`X` is \"x\""));
        assert!(read(None, "").unwrap_err().message().contains("not set"));
    }

    #[test]
    fn the_default_decides_the_type() {
        let all = values(&["--steps", "5", "--cutoffs", "0.25, 1", "--quick", "--no-ema", "--base-lr=-2"]);
        let expected =
            r#"#{ base_lr: -2.0, cutoffs: [0.25, 1.0], ema: false, out: (), quick: true, steps: 5 }"#;
        assert_eq!(format!("{:?}", Value::Map(all)), expected);
        let none = values(&[]);
        assert_eq!(format!("{:?}{:?}", none["cutoffs"], none["ema"]), "[0.25, 0.5]true");
    }

    #[test]
    fn typos_and_bad_values_are_usage_errors() {
        for (arguments, message, hint) in [
            (&["--step", "5"][..], "unexpected argument '--step'", "did you mean `--steps`?"),
            (&["--steps", "0"], "expected a number of at least 1", "--help"),
            (&["--steps", "1.5"], "expected an integer", "--help"),
            (&["--cutoffs", "0.1,x"], "expected a number", "--help"),
            (&["--steps"], "a value is required for '--steps <INT>'", "--help"),
            (&["stray"], "unexpected argument 'stray'", "--help"),
        ] {
            let error = run(arguments).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.message().contains(message), "{error}");
            assert!(error.hint_text().is_some_and(|h| h.contains(hint)), "{error}");
        }
    }

    #[test]
    fn help_shows_options_in_the_order_written() {
        let Read::Help(text) = run(&["--help"]).unwrap() else { panic!("no help") };
        assert!(text.contains("Usage: spectral run try.rhai -- [OPTIONS]"), "{text}");
        let place = |word: &str| text.find(word).unwrap_or_else(|| panic!("{word} is not in\n{text}"));
        assert!(
            place("--steps <INT>") < place("--cutoffs") && place("--quick") < place("--no-ema"),
            "{text}"
        );
        assert!(text.contains("updates per run [at least 1; default 400]"), "{text}");
    }

    #[test]
    fn an_empty_default_is_not_shown() {
        let entry = |(name, value): (&str, Value)| (name.to_string(), value);
        let words = ["", "dit", "sit"].map(|word| Value::Str(word.into())).to_vec();
        let family = [
            ("name", Value::Str("family".into())),
            ("value", Value::Str(String::new())),
            ("one_of", Value::List(words)),
        ];
        let specs = specs(&Value::List(vec![Value::Map(family.map(entry).into())])).unwrap();
        let invocation = Invocation { arguments: vec!["--help".to_string()], ..Invocation::default() };
        let Read::Help(text) = read("Tries.", &specs, &invocation).unwrap() else { panic!("no help") };
        assert!(text.contains("[one of dit, sit]"), "{text}");
    }

    #[test]
    fn a_default_outside_its_own_limits_is_the_authors_mistake() {
        let spec = |min: i64| {
            let map = Map::from([("value".to_string(), Value::Int(1)), ("min".to_string(), Value::Int(min))]);
            specs(&Value::Map(Map::from([("n".to_string(), Value::Map(map))])))
        };
        assert!(spec(1).is_ok());
        assert_eq!(spec(2).unwrap_err().message(), "option `n`: expected a number of at least 2");
    }
}
