//! What a loss knows of a training step.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::declare::{Display, FromValue, Map, Value};
use crate::error::{Error, Result, list, nearest};
use crate::{functions, scripted};

/// Names of the values that a forward pass gives.
const OF_FORWARD: [&str; 2] = ["kept", "v"];

type Forward = Arc<dyn Fn() -> Result<Map> + Send + Sync>;

/// Values of a training step by name. The velocity that the model predicts, and what its parts keep, are computed only
/// for code that reads them, once for a step and its copies.
#[derive(Clone)]
pub struct Step {
    values: Map,
    computed: Arc<Mutex<Computed>>,
}

/// The values of the forward pass.
#[derive(Default)]
struct Computed {
    values: Map,
    /// Computes the values; `None` once they are there, or the step is over.
    forward: Option<Forward>,
}

impl Step {
    /// Returns a step with these values. `forward` returns `v` and `kept`; an error is returned to whoever reads them,
    /// and the next one to read them tries again.
    pub fn new(values: Map, forward: impl Fn() -> Result<Map> + Send + Sync + 'static) -> Self {
        let computed = Computed { values: Map::new(), forward: Some(Arc::new(forward)) };
        Self { values, computed: Arc::new(Mutex::new(computed)) }
    }

    fn computed(&self) -> MutexGuard<'_, Computed> {
        self.computed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the value of a name, which is computed first if need be.
    pub fn get(&self, name: &str) -> Result<Value> {
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        let forward = {
            let computed = self.computed();
            if let Some(value) = computed.values.get(name) {
                return Ok(value.clone());
            }
            computed.forward.clone().filter(|_| OF_FORWARD.contains(&name))
        };
        // Code of the model runs here, so the lock must not be held.
        if let Some(forward) = forward {
            let values = forward()?;
            let mut computed = self.computed();
            *computed = Computed { values, forward: None };
            if let Some(value) = computed.values.get(name) {
                return Ok(value.clone());
            }
        }
        if OF_FORWARD.contains(&name) {
            return Err(Error::argument(format!("`s.{name}` was not read during the step, which is over"))
                .hint("read it in the loss"));
        }
        let names = self.names();
        let error = Error::argument(format!("a loss knows no `{name}`"));
        Err(match nearest(name, names.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("it knows {}", list(&names))),
        })
    }

    /// Returns the names, in alphabetical order.
    pub fn names(&self) -> Vec<String> {
        let computed = self.computed();
        let mut names: Vec<String> = self.values.keys().chain(computed.values.keys()).cloned().collect();
        if computed.forward.is_some() {
            names.extend(OF_FORWARD.iter().map(|name| name.to_string()));
        }
        names.sort();
        names.dedup();
        names
    }

    /// Returns all values, which are computed first.
    pub fn to_map(&self) -> Result<Map> {
        self.names().into_iter().map(|name| Ok((name.clone(), self.get(&name)?))).collect()
    }

    /// Ends the step: what has not been computed is not computed any more.
    pub fn end(&self) {
        self.computed().forward = None;
    }

    /// Returns a copy with other values.
    fn with(&self, others: Map) -> Self {
        let mut values = self.values.clone();
        values.extend(others);
        Self { values, computed: Arc::clone(&self.computed) }
    }
}

/// Prints the values as a map.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_map() {
            Ok(map) => write!(f, "{:?}", Value::Map(map)),
            Err(error) => f.write_str(&error.message()),
        }
    }
}

scripted!(
    Step,
    "step",
    |s| Display::text(format!("{s:?}")),
    describe = |_| ("the values of a step", String::new()),
    facts = |s| vec![("names", s.names().join(", "))],
);

/// Values of a step, or a map of such values.
pub struct StepOrMap(pub Value);

impl StepOrMap {
    /// Returns the value of a name, if there is one.
    pub fn get(&self, name: &str) -> Result<Option<Value>> {
        match (&self.0, self.0.downcast::<Step>()) {
            (_, Some(step)) if step.names().iter().any(|known| known == name) => step.get(name).map(Some),
            (Value::Map(map), _) => Ok(map.get(name).cloned()),
            _ => Ok(None),
        }
    }
}

impl FromValue for StepOrMap {
    fn label() -> String {
        "map".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Map(_) => Ok(Self(value.clone())),
            _ if value.downcast::<Step>().is_some() => Ok(Self(value.clone())),
            _ => Err(value.mismatch("a map")),
        }
    }
}

pub(crate) mod methods {
    use super::*;
    functions! { methods;
        /// Returns the value of a name: `s.target` or `s["target"]`.
        ///
        /// The forward pass of the model that gives `s.v` and `s.kept` runs only for a loss that reads them, so one that calls
        /// the model itself takes no time for it, and needs no fields for it.
        ///
        /// ```rhai
        /// let still = |s| {
        ///     let v = s.model.forward(s.x_t, s.t * 0.0, s.y);   // one forward pass, since `s.v` is not read
        ///     (v - s.target).square().mean()
        /// };
        /// train::fit(model::dit(#{ depth: 1 }), data::fashion_mnist().take(8), #{ steps: 1, batch: 4, loss: still });
        /// ```
        fn value["[]"](step: Step, name: String) -> Value { step.get(&name) }

        /// Replaces the value of a name, or adds one: `s.target = other`. Other variables with the step keep theirs, as with
        /// a map.
        ///
        /// ```rhai
        /// fn half(s) { s.target = s.target * 0.5; loss::mse().of(s) }
        /// let both = |s| half(s) + loss::mse().of(s);   // the second loss has the whole target
        /// train::fit(model::dit(#{ depth: 1 }), data::fashion_mnist().take(8), #{ steps: 1, batch: 4, loss: both });
        /// ```
        fn set_value["[]="](step: Step, name: String, value: Value) -> Step {
            Ok(step.with(Map::from([(name, value)])))
        }

        /// Returns a copy of the values in which the entries of a map replace those with the same names.
        ///
        /// ```rhai
        /// let edges = |z| z.narrow(3, 1, z.size(3) - 1) - z.narrow(3, 0, z.size(3) - 1);
        /// let sharp = |s| loss::mse().of(s) + loss::mse().of(s + #{ v: edges.call(s.v), target: edges.call(s.target) });
        /// train::fit(model::dit(#{ depth: 1 }), data::fashion_mnist().take(8), #{ steps: 1, batch: 4, loss: sharp });
        /// ```
        fn with["+"](step: Step, others: Map) -> Step { Ok(step.with(others)) }

        /// Returns whether there is a value of a name: `"x1" in s`.
        ///
        /// ```rhai
        /// let loss = |s| { assert("v" in s && !("w" in s)); loss::mse().of(s) };
        /// train::fit(model::dit(#{ depth: 1 }), data::fashion_mnist().take(8), #{ steps: 1, batch: 4, loss: loss });
        /// ```
        fn contains(step: Step, name: String) -> bool { Ok(step.names().contains(&name)) }

        /// Returns the names of the values, in alphabetical order.
        ///
        /// ```rhai
        /// let loss = |s| { assert_eq(s.keys()[0], "also"); loss::mse().of(s) };
        /// train::fit(model::dit(#{ depth: 1 }), data::fashion_mnist().take(8), #{ steps: 1, batch: 4, loss: loss });
        /// ```
        fn keys(step: Step) -> Vec<String> { Ok(step.names()) }

        /// Returns the values in the order of their names; the forward pass of the model is computed for them.
        ///
        /// ```rhai
        /// let loss = |s| { assert_eq(s.values().len(), s.len()); loss::mse().of(s) };
        /// train::fit(model::dit(#{ depth: 1 }), data::fashion_mnist().take(8), #{ steps: 1, batch: 4, loss: loss });
        /// ```
        fn values(step: Step) -> Vec<Value> { Ok(step.to_map()?.into_values().collect()) }

        /// Returns the number of values.
        ///
        /// ```rhai
        /// let loss = |s| { assert_eq(s.len(), s.keys().len()); loss::mse().of(s) };
        /// train::fit(model::dit(#{ depth: 1 }), data::fashion_mnist().take(8), #{ steps: 1, batch: 4, loss: loss });
        /// ```
        fn len(step: Step) -> usize { Ok(step.names().len()) }

        /// Returns the value of a name, or `()` if there is none.
        ///
        /// ```rhai
        /// let loss = |s| { assert(s.get("w") == ()); (s.get("v") - s.get("target")).square().mean() };
        /// train::fit(model::dit(#{ depth: 1 }), data::fashion_mnist().take(8), #{ steps: 1, batch: 4, loss: loss });
        /// ```
        fn get(step: Step, name: String) -> Value {
            if step.names().contains(&name) { step.get(&name) } else { Ok(Value::Unit) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::declare::IntoValue;

    fn counted() -> (Step, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        let step = Step::new(Map::from([("t".to_string(), 0.5.into_value())]), move || {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(Map::from([
                ("v".to_string(), 2i64.into_value()),
                ("kept".to_string(), Value::Map(Map::new())),
            ]))
        });
        (step, calls)
    }

    #[test]
    fn the_forward_pass_runs_when_it_is_first_read() {
        let (step, calls) = counted();
        assert_eq!(step.names(), ["kept", "t", "v"]);
        assert!(matches!(step.get("t"), Ok(Value::Float(_))));
        assert!(step.get("w").unwrap_err().to_string().contains("it knows `kept`, `t`, `v`"));
        let other = step.with(Map::from([("t".to_string(), 1i64.into_value())]));
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        assert!(matches!((other.get("v"), other.get("t")), (Ok(Value::Int(2)), Ok(Value::Int(1)))));
        assert!(matches!((step.get("v"), step.get("kept")), (Ok(Value::Int(2)), Ok(Value::Map(_)))));
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        assert_eq!(format!("{step:?}"), "#{ kept: #{}, t: 0.5, v: 2 }");
        step.end();
        assert!(step.get("v").is_ok());
    }

    #[test]
    fn a_velocity_that_was_set_is_not_computed_and_none_is_after_the_step() {
        let (step, calls) = counted();
        let other = step.with(Map::from([("v".to_string(), 3i64.into_value())]));
        assert!(matches!(other.get("v"), Ok(Value::Int(3))));
        step.end();
        assert!(matches!(other.get("v"), Ok(Value::Int(3))));
        assert!(other.get("kept").is_err());
        assert!(step.get("kept").unwrap_err().message().contains("the step, which is over"));
        assert_eq!(calls.load(Ordering::Relaxed), 0);
    }
}
