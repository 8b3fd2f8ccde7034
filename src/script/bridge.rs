//! Registration of declarations as rhai functions.

use std::any::TypeId;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Arc, Mutex, Once, PoisonError};

use rhai::{
    Dynamic, Engine, EvalAltResult, FnNamespace, FuncRegistration, Module, NativeCallContext, RhaiFunc,
    Shared,
};

use super::failure::{self, At};
use super::memory;
use super::values::Types;
use crate::context::Context;
use crate::declare::renamed::take_renamed;
use crate::declare::{Declaration, Form, Value};
use crate::error::{Error, Kind, Result};

/// Registers declarations with an engine: methods and operators globally, namespaces as static modules. `libraries`
/// are the functions that scripts add to the namespaces.
pub fn register(
    engine: &mut Engine,
    declarations: &[&'static Declaration],
    libraries: BTreeMap<&'static str, Module>,
    types: &Arc<Types>,
    context: &Context,
) {
    let mut global = Module::new();
    let mut spaces = libraries;
    for declaration in declarations {
        let module = match declaration.form {
            Form::Namespace(space) => spaces.entry(space).or_default(),
            _ => &mut global,
        };
        add(module, declaration, types, context);
    }
    engine.register_global_module(global.into());
    for (name, module) in spaces {
        engine.register_static_module(name, module.into());
    }
}

fn add(module: &mut Module, declaration: &'static Declaration, types: &Arc<Types>, context: &Context) {
    let (least, most) = declaration.arity();
    for count in least..=most {
        let registration = match declaration.form {
            Form::Property => FuncRegistration::new_getter(declaration.name),
            Form::Operator("[]") => FuncRegistration::new_index_getter(),
            // `new_index_setter` sets a flag that a raw function must not have; this is the name it uses.
            Form::Operator("[]=") => FuncRegistration::new("index$set$"),
            Form::Operator(symbol) => FuncRegistration::new(symbol),
            _ => FuncRegistration::new(declaration.name),
        };
        let space = match declaration.form {
            Form::Namespace(_) => FnNamespace::Internal,
            _ => FnNamespace::Global,
        };
        let registration = registration.with_namespace(space);
        // Every parameter takes any value, so that a wrong one gets our message and not "function not found"; only
        // receivers and operands select the function.
        let parameters: Vec<TypeId> = declaration.params[..count]
            .iter()
            .enumerate()
            .map(|(i, p)| match declaration.form {
                Form::Method | Form::Property | Form::Operator(_) if i == 0 => {
                    (p.receiver)().and_then(|name| types.id(name))
                }
                Form::Operator(symbol) if !symbol.starts_with('[') => {
                    (p.receiver)().and_then(|name| types.id(name))
                }
                _ => None,
            })
            .map(|id| id.unwrap_or(TypeId::of::<Dynamic>()))
            .collect();
        let function = body(declaration, Arc::clone(types), context.clone());
        module.set_fn_raw_with_options(registration, parameters, function);
    }
}

/// Returns whether the result replaces the variable: an assignment to an entry that returns the changed value, so that
/// other variables with the value keep theirs, as with a map.
fn replaces(declaration: &Declaration) -> bool {
    let own = declaration.params.first().map(|p| (p.label)());
    matches!(declaration.form, Form::Operator("[]=")) && own == Some((declaration.returns)())
}

fn body(declaration: &'static Declaration, types: Arc<Types>, context: Context) -> RhaiFunc {
    // A note about each former name comes once, even in a loop.
    let noted = Mutex::new(BTreeSet::new());
    let replaces = replaces(declaration);
    let run = move |call: Option<NativeCallContext>, arguments: &mut [&mut Dynamic]| {
        let _timer = context.profile.enter(|| declaration.path());
        memory::called();
        let named = matches!(declaration.form, Form::Operator("[]" | "[]="))
            && arguments.get(1).is_some_and(|index| index.is_string())
            // If names are all it takes, its own message is better.
            && declaration.params.get(1).is_some_and(|p| (p.label)() != "string");
        let values: Result<Vec<Value>> = arguments.iter().map(|a| types.lift(a)).collect();
        let target = values.as_ref().ok().and_then(|v| v.first()).map_or("value", Value::type_name);
        let result = values.and_then(|values| guarded(|| (declaration.body)(&context, &values)));
        let result = match (result, arguments.first_mut()) {
            (Ok(value), Some(variable)) if replaces => types.lower(value).map(|value| {
                // A variable that a closure captured is shared, and its content is replaced.
                if let Some(mut content) = variable.write_lock::<Dynamic>() {
                    *content = value;
                }
                Value::Unit
            }),
            (result, _) => result,
        };
        for (former, name) in take_renamed() {
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.insert((former, name)) {
                context.note(&format!("the option `{former}` is now called `{name}`"));
            }
        }
        result.and_then(|value| types.lower(value)).map_err(|error| {
            let at = call.map_or_else(At::default, |c| At::of(&c));
            if named {
                // rhai tries an index of this name for every property that it does not find or cannot set, and
                // ignores only this error.
                let text = format!("{target} [string]: {error}");
                return Box::new(EvalAltResult::ErrorIndexingType(text, at.position));
            }
            failure::raise_in(name_function(error, declaration), &declaration.path(), at)
        })
    };
    let func = Shared::new(run);
    match declaration.form {
        // rhai refuses such a function for a constant, and hands it the variable itself and no copy.
        _ if replaces => RhaiFunc::Method { func, has_context: true, is_pure: false, is_volatile: true },
        Form::Operator(_) => RhaiFunc::Method { func, has_context: true, is_pure: true, is_volatile: true },
        // Nothing declared changes the script's value itself, and rhai writes the receiver of a `Method` back where it
        // was read: `x[mask].sum()` would call the index setter.
        _ => RhaiFunc::Pure { func, has_context: true, is_pure: true, is_volatile: true },
    }
}

thread_local! {
    /// Whether native code that may panic is running; see [`quiet_panics`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Silences panics in guarded code, which become errors. Other panics print as before.
pub fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                previous(info);
            }
        }));
    });
}

/// Runs native code and converts a panic to an error, so that the session stays usable.
pub fn guarded<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    GUARDED.set(outer);
    result.unwrap_or_else(|panic| {
        if crate::torch::interrupt::was_refused() {
            return Err(Error::interrupted());
        }
        let message = panic_message(&*panic);
        Err(Error::internal(format!("internal error in spectral: {message}"))
            .hint("the session is intact; please report this with the script that caused it"))
    })
}

/// Returns the text of a handle, or that it cannot be shown. rhai asks for it in a call of its own, which must neither
/// panic, since that would end the process, nor fail, since that would print the name of the type instead.
pub fn shown(name: &str, text: impl FnOnce() -> String) -> String {
    guarded(|| Ok(text())).unwrap_or_else(|error| format!("<{name}: {}>", error.message()))
}

/// Returns the first line of a panic's message.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.and_then(|t| t.lines().next()).unwrap_or("unknown").to_string()
}

/// Prepends the function's name to messages about its arguments.
fn name_function(error: Error, declaration: &Declaration) -> Error {
    if error.origin().is_some() || matches!(error.kind(), Kind::Interrupted | Kind::Usage) {
        return error;
    }
    match declaration.form {
        // The operands of an operator have no names that its user could know.
        Form::Operator(symbol) => error.in_operator(symbol),
        Form::Property | Form::Method => error.in_function(declaration.name, true),
        // The options belong to the script function that calls it, which the frames name.
        _ if declaration.name == "with_defaults" => error,
        _ => error.in_function(declaration.path(), false),
    }
}
