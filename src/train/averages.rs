//! Averages of a run: which ones, and their names.

use super::ema::{Ema, Profile};
use crate::declare::{Field, FromValue, IntoValue, Map, Options, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::model::Model;

/// One average of a run.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct AverageOptions {
    /// Name, of letters, digits, `_`, `-` and `.`; by default the decay, or `power_` and `sigma_rel`.
    pub name: String,
    /// Decay of an exponential average.
    #[option(range = 0.0..=1.0)]
    pub decay: Option<f64>,
    /// Whether early updates of an exponential average use a smaller decay; by default the option `ema_warmup`.
    pub warmup: Option<bool>,
    /// Width of a power-function average as a fraction of the steps so far, see `optim::power_ema`.
    #[option(range = 0.001..=0.28)]
    pub sigma_rel: Option<f64>,
}

impl AverageOptions {
    /// Returns an exponential average.
    pub fn decay(decay: f64) -> Self {
        Self { decay: Some(decay), ..Self::default() }
    }

    /// Returns a power-function average.
    pub fn power(sigma_rel: f64) -> Self {
        Self { sigma_rel: Some(sigma_rel), ..Self::default() }
    }

    fn start(&self, model: &Model, warmup: bool) -> Result<Ema> {
        self.check()?;
        let profile = match (self.decay, self.sigma_rel) {
            (Some(decay), None) => Profile::Exponential { decay, warmup: self.warmup.unwrap_or(warmup) },
            (None, Some(sigma_rel)) => {
                ensure!(
                    self.warmup.is_none(),
                    "a power-function average has no `warmup`, which is for `decay`"
                );
                Profile::power(sigma_rel)?
            }
            _ => {
                return Err(Error::argument("an average has either `decay` or `sigma_rel`")
                    .hint("`ema: [0.999, #{ sigma_rel: 0.1 }]`"));
            }
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        ensure!(
            self.name.chars().all(legal),
            "the name of an average has letters, digits, `_`, `-` and `.`, found \"{}\"",
            self.name
        );
        Ema::with(model, profile, &self.name)
    }
}

/// Averages of a run, the main one first.
#[derive(Debug, Clone, PartialEq)]
pub struct Averages(pub Vec<AverageOptions>);

impl Averages {
    /// Starts the averages at the weights of a model, followed by those with these lengths, which
    /// `posthoc` tracks.
    pub(super) fn start(&self, model: &Model, warmup: bool, widths: &[f64]) -> Result<Vec<Ema>> {
        ensure!(!self.0.is_empty(), "`ema` needs at least one average, found none");
        let named = |width: &f64| AverageOptions {
            name: format!("posthoc_{width}"),
            ..AverageOptions::power(*width)
        };
        let widths = widths.iter().map(named);
        let all = self.0.iter().cloned().chain(widths);
        let all = all.map(|one| one.start(model, warmup)).collect::<Result<Vec<Ema>>>()?;
        for (i, one) in all.iter().enumerate() {
            ensure!(
                all[..i].iter().all(|other| other.name() != one.name()),
                "two averages are called \"{}\"; give one of them another `name`",
                one.name()
            );
        }
        Ok(all)
    }
}

impl Default for Averages {
    fn default() -> Self {
        Self::from(0.9999)
    }
}

impl From<f64> for Averages {
    fn from(decay: f64) -> Self {
        Self(vec![AverageOptions::decay(decay)])
    }
}

impl From<Vec<f64>> for Averages {
    fn from(decays: Vec<f64>) -> Self {
        Self(decays.into_iter().map(AverageOptions::decay).collect())
    }
}

impl From<Vec<AverageOptions>> for Averages {
    fn from(all: Vec<AverageOptions>) -> Self {
        Self(all)
    }
}

/// Reads a decay, a map, or an array of both.
impl FromValue for Averages {
    fn label() -> String {
        "float, map or array".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        let one = |value: &Value| match value {
            Value::Map(_) => AverageOptions::from_value(value),
            Value::Int(_) | Value::Float(_) => f64::from_value(value).map(AverageOptions::decay),
            other => Err(other.mismatch("a decay, or a map such as #{ sigma_rel: 0.1 }")),
        };
        match value {
            Value::List(list) => list.iter().map(one).collect::<Result<_>>().map(Averages),
            other => one(other).map(|one| Averages(vec![one])),
        }
    }
    fn fields() -> &'static [Field] {
        AverageOptions::FIELDS
    }
}

/// Returns the decay of a single average, as written when there was no other kind.
impl IntoValue for Averages {
    fn label() -> String {
        "float or array".to_string()
    }
    fn into_value(self) -> Value {
        let mut all: Vec<Value> = self
            .0
            .into_iter()
            .map(|one| match one.decay {
                Some(decay) if one == AverageOptions::decay(decay) => Value::Float(decay),
                _ => {
                    let given = one.given().into_iter();
                    Value::Map(given.map(|(field, value)| (field.name.to_string(), value)).collect::<Map>())
                }
            })
            .collect();
        match all.len() {
            1 => all.remove(0),
            _ => Value::List(all),
        }
    }
}

/// Snapshots of power-function averages for `train::posthoc_average`.
#[derive(Debug, Clone, PartialEq, Options)]
pub struct PosthocOptions {
    /// Widths of the averages that are tracked, fractions of the steps so far.
    #[option(default = vec![0.05, 0.10], range = 0.001..=0.28)]
    pub sigma_rel: Vec<f64>,
    /// Steps between snapshots, each of the size of the model in float32 for each width.
    #[option(default = 500, range = 1..)]
    pub every: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_written_as_they_are_read() {
        for text in ["0.99", "[0.999,0.9999]", r#"[{"decay":0.9,"name":"fast"},{"sigma_rel":0.1}]"#] {
            let value = Value::from_json_text(text).unwrap();
            let averages = Averages::from_value(&value).unwrap();
            assert_eq!(averages.clone().into_value().to_json_text().unwrap(), text);
            assert_eq!(Averages::from_value(&averages.clone().into_value()).unwrap(), averages);
        }
        assert!(Averages::from_value(&Value::Str("0.9".to_string())).is_err());
    }
}
