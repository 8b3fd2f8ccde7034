//! Tensors that belong to the images of a batch: text embeddings, masks, other images.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Device, Tensor};
use crate::declare::{Display, FromValue, IntoValue, Map, Value};
use crate::error::{Error, Result, list};
use crate::{ensure, functions, scripted};

/// Tensors [B, ..] by name, with one row for each image of a batch. Clones share the tensors.
#[derive(Clone, Default)]
pub struct Fields(Option<Arc<Inner>>);

struct Inner {
    tensors: BTreeMap<String, Tensor>,
    /// Whether a field was asked for that is not there.
    missed: AtomicBool,
    /// Fields of a training step that belong to another number of images than a call has.
    left_out: Option<LeftOut>,
}

#[derive(Clone)]
struct LeftOut {
    names: Vec<String>,
    /// Number of images of the step.
    rows: i64,
    /// Number of images of the call.
    count: i64,
}

impl Fields {
    /// Returns these tensors as fields.
    pub fn new(tensors: BTreeMap<String, Tensor>) -> Self {
        match tensors.is_empty() {
            true => Self(None),
            false => Self::made(tensors, None),
        }
    }

    fn made(tensors: BTreeMap<String, Tensor>, left_out: Option<LeftOut>) -> Self {
        Self(Some(Arc::new(Inner { tensors, missed: AtomicBool::new(false), left_out })))
    }

    /// Returns these fields for a call of `count` images, and says of those of `step`, which belong to another number of
    /// images, why they are missing.
    pub(crate) fn without(&self, step: &Self, count: i64) -> Self {
        let rows = step.iter().find_map(|(_, tensor)| tensor.shape().first().copied());
        let Some(rows) = rows else { return self.clone() };
        let names = step.iter().map(|(name, _)| name.to_string()).collect();
        let tensors = self.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
        Self::made(tensors, Some(LeftOut { names, rows, count }))
    }

    /// Returns no fields, whose [`Fields::missed`] tells whether one was asked for.
    pub(crate) fn watched() -> Self {
        Self::made(BTreeMap::new(), None)
    }

    /// Returns the same fields, of which [`Fields::missed`] has not been told anything.
    pub(crate) fn anew(&self) -> Self {
        Self::made(self.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect(), None)
    }

    /// Returns whether a field was asked for that is not there.
    pub(crate) fn missed(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.missed.load(Ordering::Relaxed))
    }

    /// Returns the names and tensors, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().flat_map(|inner| inner.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)))
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|inner| inner.tensors.is_empty())
    }

    /// Returns whether there is a field of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.tensors.contains_key(name))
    }

    /// Returns a field, or an error that says what is given and how to give it.
    pub fn get(&self, name: &str) -> Result<Tensor> {
        if let Some(inner) = &self.0 {
            if let Some(tensor) = inner.tensors.get(name) {
                return Ok(tensor.clone());
            }
            inner.missed.store(true, Ordering::Relaxed);
            if let Some(LeftOut { rows, count, .. }) =
                inner.left_out.as_ref().filter(|left_out| left_out.names.iter().any(|known| known == name))
            {
                return Err(Error::argument(format!(
                    "the field `{name}` of the step has {rows} rows, one per image, but this call has {count} images"
                ))
                .hint(format!(
                    "give its rows of these images: `s.model.forward(x, t, y, #{{ fields: #{{ {name}: .. }} }})`, made from \
                     `s.fields.{name}`"
                )));
            }
        }
        let names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
        let found = if names.is_empty() { "none".to_string() } else { list(&names) };
        Err(Error::argument(format!("the field `{name}` is not given, found {found}")).hint(format!(
            "give it with the images: `set.with_fields(#{{ {name}: .. }})` for `train::fit`, and \
             `#{{ fields: #{{ {name}: .. }} }}` for `flow::sample` and `model.forward`"
        )))
    }

    /// Returns what `change` makes of each field.
    pub fn map(&self, change: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        if self.is_empty() {
            return Ok(self.clone());
        }
        let changed = self.iter().map(|(name, tensor)| {
            Ok((name.to_string(), change(tensor).map_err(|e| e.context(format!("the field `{name}`")))?))
        });
        let left_out = self.0.as_ref().and_then(|inner| inner.left_out.clone());
        Ok(Self::made(changed.collect::<Result<_>>()?, left_out))
    }

    /// Returns the `size` rows from `start` on.
    pub fn narrow(&self, start: i64, size: i64) -> Result<Self> {
        self.map(|tensor| tensor.narrow(0, start, size))
    }

    /// Returns the rows at int64 indices.
    pub fn index_select(&self, rows: &Tensor) -> Result<Self> {
        self.map(|tensor| tensor.index_select(0, &rows.to_device(tensor.device())?))
    }

    /// Returns the fields on a device.
    pub fn to_device(&self, device: Device) -> Result<Self> {
        self.map(|tensor| tensor.to_device(device))
    }

    /// Returns the fields for a batch that consists of `count / own` copies of theirs, as guidance makes it.
    pub fn for_copies(&self, count: i64) -> Result<Self> {
        self.map(|tensor| {
            let own = tensor.size(0)?;
            match own > 0 && count > own && count % own == 0 {
                true => Tensor::cat(&vec![tensor.clone(); (count / own) as usize], 0),
                false => Ok(tensor.clone()),
            }
        })
    }

    /// Runs `body`; an error if it changed a field in place, which belongs to the caller or to a data set.
    pub(crate) fn unwritten<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.is_empty() {
            return body();
        }
        let versions = || self.iter().map(|(_, tensor)| tensor.version()).collect::<Vec<_>>();
        let before = versions();
        let given = body()?;
        match before.iter().zip(versions()).zip(self.iter()).find(|((before, after), _)| *before != after) {
            None => Ok(given),
            Some((_, (name, _))) => Err(Error::argument(format!(
                "the field `{name}` was changed in place, but it belongs to the data set or the caller"
            ))
            .hint(format!("return a new tensor, as `c.fields.{name} + 1` does, or change a copy, `c.fields.{name}.clone()`"))),
        }
    }

    /// Returns these fields and those of `others` that have other names.
    pub fn or(&self, others: &Self) -> Self {
        match (self.is_empty(), others.is_empty()) {
            (_, true) => self.clone(),
            (true, false) => others.clone(),
            (false, false) => {
                let both = others.iter().chain(self.iter());
                Self::new(both.map(|(name, tensor)| (name.to_string(), tensor.clone())).collect())
            }
        }
    }

    /// Returns an error unless every field has `count` rows.
    pub fn check_rows(&self, count: i64) -> Result<()> {
        for (name, tensor) in self.iter() {
            ensure!(
                tensor.shape().first() == Some(&count),
                "expected the field `{name}` of shape [{count}, ..], one row per image, found {}",
                tensor.signature()
            );
        }
        Ok(())
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, tensor)| (name, tensor.signature()))).finish()
    }
}

impl From<BTreeMap<String, Tensor>> for Fields {
    fn from(tensors: BTreeMap<String, Tensor>) -> Self {
        Self::new(tensors)
    }
}

impl<N: Into<String>, const K: usize> From<[(N, Tensor); K]> for Fields {
    fn from(tensors: [(N, Tensor); K]) -> Self {
        Self::new(tensors.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect())
    }
}

/// Fields are a map of tensors or arrays of numbers, or the fields of a call.
impl FromValue for Fields {
    fn label() -> String {
        "map of tensors".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        if let Some(GivenFields(fields)) = value.downcast() {
            return Ok(fields);
        }
        let Value::Map(map) = value else { return Err(value.mismatch("a map of tensors")) };
        let tensor = |(name, value): (&String, &Value)| {
            let tensor = match value.downcast::<Tensor>() {
                Some(tensor) => Ok(tensor),
                None => Tensor::from_nested(value, None, Device::of_new()),
            };
            Ok((name.clone(), tensor.map_err(|e| e.context(format!("the field `{name}`")))?))
        };
        map.iter().map(tensor).collect::<Result<_>>().map(Self::new)
    }
}

impl IntoValue for Fields {
    fn label() -> String {
        "map of tensors".to_string()
    }
    fn into_value(self) -> Value {
        let entries = self.iter().map(|(name, tensor)| (name.to_string(), tensor.clone().into_value()));
        Value::Map(entries.collect::<Map>())
    }
}

/// Fields that a part or a loss reads; unlike a map they explain a name that is missing.
#[derive(Debug, Clone)]
pub struct GivenFields(pub Fields);

scripted!(
    GivenFields,
    "fields",
    |f| Display::text(text(&f.0)),
    bytes = |f| f.0.iter().map(|(_, tensor)| tensor.bytes()).sum(),
    facts = |f| vec![("names", f.0.iter().map(|(name, _)| name).collect::<Vec<_>>().join(", "))],
);

fn text(fields: &Fields) -> String {
    let each: Vec<String> = fields
        .iter()
        .map(|(name, tensor)| format!("{name} {:?} {}", tensor.shape(), tensor.dtype().name()))
        .collect();
    if each.is_empty() { "no fields".to_string() } else { each.join(", ") }
}

pub(crate) mod methods {
    use super::*;
    functions! { methods;
        /// Returns the field of a name, [B, ..]: `c.fields.text` or `c.fields["text"]`.
        ///
        /// ```rhai
        /// let part = nn::part(|b| |e, c| e + c.fields.shift).at("condition");
        /// let net = model::dit(#{ depth: 1, parts: part });
        /// let given = #{ fields: #{ shift: tensor::ones([2, 128]) } };
        /// let v = net.forward(tensor::zeros([2, 1, 28, 28]), tensor::zeros([2]), tensor([3, 4]), given);
        /// assert_eq(v.shape, [2, 1, 28, 28]);
        /// ```
        fn field["[]"](fields: GivenFields, name: String) -> Tensor { fields.0.get(&name) }

        /// Returns whether there is a field of a name: `"mask" in c.fields`.
        ///
        /// ```rhai
        /// let part = nn::part(|b| |e, c| if "shift" in c.fields { e + c.fields.shift } else { e }).at("condition");
        /// let net = model::dit(#{ depth: 1, parts: part });
        /// assert_eq(net.forward(tensor::zeros([1, 1, 28, 28]), tensor::zeros([1]), tensor([3])).shape, [1, 1, 28, 28]);
        /// ```
        fn contains(fields: GivenFields, name: String) -> bool { Ok(fields.0.contains(&name)) }

        /// Returns the names of the fields, in alphabetical order.
        ///
        /// ```rhai
        /// let loss = |s| { assert_eq(s.fields.keys(), ["weight"]); (s.fields.weight * (s.v - s.target).square()).mean() };
        /// let set = data::fashion_mnist().take(8).with_fields(#{ weight: tensor::ones([8, 1, 28, 28]) });
        /// train::fit(model::dit(#{ depth: 1 }), set, #{ steps: 1, batch: 4, loss: loss });
        /// ```
        fn keys(fields: GivenFields) -> Vec<String> {
            Ok(fields.0.iter().map(|(name, _)| name.to_string()).collect())
        }
    }
}
