//! Conversion between rhai values and native values.

use std::any::TypeId;
use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use rhai::{
    AST, Array, Dynamic, Engine, EvalAltResult, FnPtr, GlobalRuntimeState, INT, NativeCallContext, Position,
};

use super::captured::captured;
use super::resolver::{Resolver, WeakResolver};
use super::source::Sources;
use super::{bridge, code, failure, stack};
use crate::declare::{Function, IntoValue, Map, Object, Scripted, Value};
use crate::error::{Error, Result};
use crate::torch::interrupt::check;
use crate::torch::{Device, placement};

/// Conversions of one native type that scripts can hold.
struct Handle {
    lift: fn(&Dynamic) -> Option<Value>,
    lower: fn(&dyn Object) -> Option<Dynamic>,
}

/// The native types that an engine knows, and the engine itself for calling closures.
pub struct Types {
    by_id: HashMap<TypeId, Handle>,
    by_name: HashMap<&'static str, TypeId>,
    engine: OnceLock<Weak<Engine>>,
    sources: OnceLock<Sources>,
    imports: OnceLock<WeakResolver>,
    /// Number of callbacks that are running inside each other.
    depth: AtomicUsize,
    /// What is being converted to data.
    storing: Mutex<Storing>,
    /// Columns of the screen that `print` writes to, if it is one.
    columns: Columns,
}

/// Functions that are being converted to data.
#[derive(Default)]
struct Storing {
    /// Addresses of captured values whose functions are being converted.
    open: Vec<(usize, String)>,
    /// Number of functions that are being converted inside each other.
    depth: usize,
    /// Number of functions since the outermost one began, which is one of them.
    functions: usize,
}

/// Maximum number of functions in the data of one. A function that captures two of which each captures two doubles them
/// at every level, although there are few.
const FUNCTIONS: usize = 1000;

/// Returns the columns of a line where printed text is read, if they are known.
pub type Columns = Arc<dyn Fn() -> Option<usize> + Send + Sync>;

/// Limit of nested callbacks, since a callback restarts rhai's count of call levels.
const CALLBACKS: usize = 32;

impl Types {
    /// Creates an empty collection, whose values are printed in lines of `columns`.
    pub fn new(columns: Columns) -> Self {
        Self {
            by_id: HashMap::new(),
            by_name: HashMap::new(),
            engine: OnceLock::new(),
            sources: OnceLock::new(),
            imports: OnceLock::new(),
            depth: AtomicUsize::new(0),
            storing: Mutex::default(),
            columns,
        }
    }

    /// Adds a handle type: its name, how it prints, and its conversion to native code.
    pub fn add<T: Scripted + IntoValue>(&mut self, engine: &mut Engine) {
        engine.register_type_with_name::<T>(T::NAME);
        // By value, so that rhai does not write the entry back after `x[mask].to_string()`.
        engine.register_fn("to_string", |t: T| bridge::shown(T::NAME, || t.text()));
        engine.register_fn("to_debug", |t: T| bridge::shown(T::NAME, || t.text()));
        let columns = Arc::clone(&self.columns);
        engine.register_fn("print", move |t: T| {
            bridge::shown(T::NAME, || columns().map_or_else(|| t.text(), |width| t.text_in(width)))
        });
        let id = TypeId::of::<T>();
        self.by_name.insert(T::NAME, id);
        let handle = Handle {
            lift: |d| d.read_lock::<T>().map(|t| t.clone().into_value()),
            lower: |o| o.as_any().downcast_ref::<T>().map(|t| Dynamic::from(t.clone())),
        };
        self.by_id.insert(id, handle);
    }

    /// Returns the type ids by their script names.
    pub fn names(&self) -> impl Iterator<Item = (&'static str, TypeId)> + '_ {
        self.by_name.iter().map(|(name, id)| (*name, *id))
    }

    /// Returns the rhai type of a handle, or of a built-in type, by its script name.
    pub fn id(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied().or(match name {
            "int" => Some(TypeId::of::<INT>()),
            "float" => Some(TypeId::of::<f64>()),
            "array" => Some(TypeId::of::<Array>()),
            "map" => Some(TypeId::of::<rhai::Map>()),
            "string" => Some(TypeId::of::<rhai::ImmutableString>()),
            _ => None,
        })
    }

    /// Sets the engine that runs the closures, and its resolver; called once.
    pub fn bind(&self, engine: &Arc<Engine>, imports: &Resolver) {
        let _ = (self.engine.set(Arc::downgrade(engine)), self.sources.set(imports.sources().clone()));
        let _ = self.imports.set(imports.downgrade());
    }

    /// Converts a rhai value to a native one.
    pub fn lift(self: &Arc<Self>, value: &Dynamic) -> Result<Value> {
        if let Ok(i) = value.as_int() {
            return Ok(Value::Int(i));
        }
        if let Ok(x) = value.as_float() {
            return Ok(Value::Float(x));
        }
        if let Ok(b) = value.as_bool() {
            return Ok(Value::Bool(b));
        }
        if value.is_unit() {
            return Ok(Value::Unit);
        }
        if value.is_string() || value.is_char() {
            // A captured variable is shared, and its text would say so.
            return Ok(Value::Str(value.flatten_clone().to_string()));
        }
        // Large values are converted part by part, and the user may have requested a stop.
        if let Some(array) = value.read_lock::<Array>() {
            check()?;
            return array.iter().map(|v| self.lift(v)).collect::<Result<_>>().map(Value::List);
        }
        if let Some(map) = value.read_lock::<rhai::Map>() {
            check()?;
            let entries = map.iter().map(|(k, v)| Ok((k.to_string(), self.lift(v)?)));
            return entries.collect::<Result<Map>>().map(Value::Map);
        }
        if let Some(range) = value.read_lock::<Range<INT>>() {
            return Ok(Value::Range(range.start, range.end));
        }
        if let Some(range) = value.read_lock::<RangeInclusive<INT>>() {
            return Ok(Value::Range(*range.start(), range.end().saturating_add(1)));
        }
        if let Some(pointer) = value.read_lock::<FnPtr>() {
            return Ok(Value::Function(self.function(pointer.clone())));
        }
        // A shared value (captured by a closure) reports the type of its content.
        match self.handle(value) {
            Some(value) => Ok(value),
            None => Err(Error::argument(format!("values of type {} cannot be used here", value.type_name()))),
        }
    }

    /// Converts a handle; `None` for every other value.
    pub fn handle(&self, value: &Dynamic) -> Option<Value> {
        self.by_id.get(&value.type_id()).and_then(|handle| (handle.lift)(value))
    }

    /// Converts a native value to a rhai one; fails if it has a type that was not added.
    pub fn lower(self: &Arc<Self>, value: Value) -> Result<Dynamic> {
        Ok(match value {
            Value::Unit => Dynamic::UNIT,
            Value::Bool(b) => b.into(),
            Value::Int(i) => i.into(),
            Value::Float(x) => x.into(),
            Value::Str(s) => s.into(),
            Value::List(list) => {
                check()?;
                list.into_iter().map(|v| self.lower(v)).collect::<Result<Array>>()?.into()
            }
            Value::Map(map) => {
                check()?;
                let entries = map.into_iter().map(|(k, v)| Ok((k.into(), self.lower(v)?)));
                entries.collect::<Result<rhai::Map>>()?.into()
            }
            Value::Range(a, b) => Dynamic::from(a..b),
            Value::Function(function) => self.pointer(function),
            Value::Object(object) => {
                let id = (*object).as_any().type_id();
                self.by_id.get(&id).and_then(|h| (h.lower)(&*object)).ok_or_else(|| {
                    let name = object.type_name();
                    Error::argument(format!("this session does not know the type `{name}`"))
                        .hint("a Rust program adds its own types with `EngineOptions::types`")
                })?
            }
        })
    }

    fn function(self: &Arc<Self>, pointer: FnPtr) -> Function {
        let (types, stored) = (Arc::clone(self), pointer.clone());
        self.function_in(pointer, None).with_code(move || {
            let (engine, imports) = types.home()?;
            code::store(&types, &engine, &imports, &stored)
        })
    }

    /// Returns the engine that runs the closures, and its resolver.
    pub fn home(&self) -> Result<(Arc<Engine>, Resolver)> {
        match (self.engine.get().and_then(Weak::upgrade), self.imports.get().and_then(WeakResolver::upgrade))
        {
            (Some(engine), Some(imports)) => Ok((engine, imports)),
            _ => Err(Error::internal("the engine that made this function is gone")),
        }
    }

    /// Makes a function that sees the functions, imports and constants of `surroundings`.
    pub fn function_in(
        self: &Arc<Self>,
        pointer: FnPtr,
        surroundings: Option<GlobalRuntimeState>,
    ) -> Function {
        let types = Arc::clone(self);
        let takes =
            self.sources.get().filter(|_| pointer.is_anonymous()).and_then(|s| s.arity(pointer.fn_name()));
        let takes = takes.map(|all| all.saturating_sub(pointer.curry().len()));
        let (sources, name) = (self.sources.get().cloned(), pointer.fn_name().to_string());
        let (all, own) = (sources.clone(), name.clone());
        let (known, held, values) = (sources.clone(), pointer.clone(), Arc::clone(self));
        let captured = move || captured(&values, known.as_ref(), &held);
        let text = move || all.as_ref()?.origins(&own).first().map(|origin| origin.text.clone());
        let place = move || {
            let origins = sources.as_ref()?.origins(&name);
            let origin = origins.first()?;
            Some(format!("line {} of {}", origin.body.0 + origin.before, origin.file))
        };
        let written = place.clone();
        let function = Function::new(move |arguments| {
            // rhai would look for a function of the closure's name, and panic if the closure captured a variable.
            if let Some(takes) = takes.filter(|takes| *takes != arguments.len()) {
                let values = if takes == 1 { "value" } else { "values" };
                let (given, place) = (arguments.len(), written());
                let values_given: Vec<String> = arguments.iter().map(Value::describe).collect();
                let place = place.map_or_else(String::new, |place| format!(" in {place}"));
                let error = Error::argument(format!(
                    "the closure{place} takes {takes} {values}, but was given {given}"
                ));
                return Err(match values_given.as_slice() {
                    [] => error,
                    given => error.hint(format!("it is called with {}", given.join(" and "))),
                });
            }
            let Some(engine) = types.engine.get().and_then(Weak::upgrade) else {
                return Err(Error::internal("the engine that made this function is gone"));
            };
            if types.depth.load(Ordering::Relaxed) >= CALLBACKS {
                return Err(Error::argument(format!(
                    "functions given to functions, as to `map`, call each other more than {CALLBACKS} deep"
                ))
                .hint("a recursive function needs a base case; deeper recursion is written as a loop"));
            }
            let device = placement::of_arguments(arguments).unwrap_or_else(Device::of_new);
            let arguments = arguments.iter().map(|v| types.lower(v.clone())).collect::<Result<Array>>()?;
            // A closure of rhai 1.25 carries its own definition and surroundings.
            types.depth.fetch_add(1, Ordering::Relaxed);
            let result = device.within(|| match &surroundings {
                None => pointer.call(&engine, &AST::empty(), arguments),
                Some(global) => call_in(&engine, global, &pointer, arguments),
            });
            types.depth.fetch_sub(1, Ordering::Relaxed);
            types.lift(&result.map_err(failure::native)?)
        });
        function.taking(takes).with_captured(captured).with_place(place).with_text(text)
    }

    fn pointer(self: &Arc<Self>, function: Function) -> Dynamic {
        let types = Arc::clone(self);
        let call = move |context: NativeCallContext, arguments: &mut [&mut Dynamic]| {
            let lifted: Result<Vec<Value>> = arguments.iter().map(|a| types.lift(a)).collect();
            let result = lifted.and_then(|values| function.call(&values));
            result.and_then(|v| types.lower(v)).map_err(|e| failure::raise(e, failure::At::of(&context)))
        };
        #[expect(deprecated, reason = "only to say that it may change, and the version is pinned")]
        // The name only shows when the pointer is printed.
        FnPtr::from_dyn_fn("native", Box::new(call)).map_or(Dynamic::UNIT, Dynamic::from)
    }
}

/// Calls a function in a state of its own.
pub fn call_in(
    engine: &Engine,
    global: &GlobalRuntimeState,
    pointer: &FnPtr,
    arguments: Array,
) -> std::result::Result<Dynamic, Box<EvalAltResult>> {
    let context = NativeCallContext::from((engine, pointer.fn_name(), None, global, Position::NONE));
    pointer.call_raw(&context, None, arguments)
}

/// A captured value whose functions are being converted to data, until this is dropped.
pub struct Inside<'a>(&'a Types, bool);

impl Types {
    /// Begins to convert the functions of a captured value to data; `None` if that is under way, since a function captures
    /// what holds the function itself.
    pub fn inside(&self, value: &Dynamic) -> Option<Inside<'_>> {
        let map = || value.read_lock::<rhai::Map>().map(|map| std::ptr::from_ref(&*map) as usize);
        let array = || value.read_lock::<Array>().map(|array| std::ptr::from_ref(&*array) as usize);
        let function = || value.read_lock::<FnPtr>().map(|function| std::ptr::from_ref(&*function) as usize);
        // Only what is shared can be captured by something inside of it.
        let address = if value.is_shared() { map().or_else(array).or_else(function) } else { None };
        self.begin(address.map(|address| (address, String::new())))
    }

    /// As [`Types::inside`], for a constant of a source, which functions do not capture.
    pub fn inside_constant(&self, source: &str, name: &str) -> Option<Inside<'_>> {
        self.begin(Some((0, format!("{source}\n{name}"))))
    }

    fn begin(&self, what: Option<(usize, String)>) -> Option<Inside<'_>> {
        let begun = what.is_some();
        let mut storing = self.storing();
        match what {
            Some(what) if storing.open.contains(&what) => return None,
            Some(what) => storing.open.push(what),
            None => {}
        }
        Some(Inside(self, begun))
    }

    fn storing(&self) -> MutexGuard<'_, Storing> {
        self.storing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to convert a function to data; fails if the function that this belongs to has too many, or if they go too
    /// deep for the stack.
    pub fn begin_function(&self) -> Result<Counted<'_>> {
        if stack::is_used_up() {
            return Err(stack::too_deep());
        }
        let mut storing = self.storing();
        if storing.depth == 0 {
            storing.functions = 0;
        }
        if storing.functions >= FUNCTIONS {
            return Err(Error::argument(format!(
                "it captures more than {FUNCTIONS} functions, itself or through those that it captures"
            ))
            .hint("a loop may wrap a function again and again: keep what changes in an array"));
        }
        storing.functions += 1;
        storing.depth += 1;
        Ok(Counted(self))
    }
}

/// A function that is being converted to data, until this is dropped.
pub struct Counted<'a>(&'a Types);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.storing().depth -= 1;
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.storing().open.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::Display;

    #[derive(Clone)]
    struct Torn;

    crate::scripted!(Torn, "torn", |_| -> Display { panic!("torn apart") });

    #[test]
    fn a_value_that_cannot_be_shown_does_not_end_the_process() {
        let mut engine = Engine::new();
        Types::new(Arc::new(|| None)).add::<Torn>(&mut engine);
        let mut scope = rhai::Scope::new();
        scope.push("x", Torn);
        for code in ["`${x}`", "x.to_string()", "[x].to_string()", "\"\" + x"] {
            let text = engine.eval_with_scope::<String>(&mut scope, code).unwrap();
            assert!(text.contains("<torn: internal error in spectral: torn apart>"), "{text}");
        }
    }
}
