//! Engine with every declared function.

use std::any::Any;
use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalAltResult, NativeCallContext, OptimizationLevel, Token};

use super::bridge;
use super::code;
use super::failure::{At, raise};
use super::names;
use super::resolver::Resolver;
use super::source::Sources;
use super::stops::Stop;
use super::values::{Columns, Types};
use crate::context::{Compile, Context, Print};
use crate::declare::{Declaration, IntoValue, Scripted, TypeRegistry, Value};
use crate::error::{Error, Result};

/// Number of script functions that may run inside each other. `stops` ends a script earlier if its thread is small.
pub const CALLS: usize = 1000;

/// Options of an engine.
#[derive(Clone)]
pub struct EngineOptions {
    /// Interrupts and progress of native code, and how the script was started.
    pub context: Context,
    /// Receives what scripts print.
    pub print: Print,
    /// Columns that printed tables and the like are fitted into, asked for at each call; by default there is no limit.
    pub columns: Columns,
    /// Receives what `debug(..)` prints; `print` by default.
    pub debug: Option<Print>,
    /// Functions in addition to those of this crate, declared with [`functions!`](crate::functions). Their types must
    /// be among `types`, if they are not of this crate.
    pub functions: Vec<&'static Declaration>,
    /// Types that scripts can hold in addition to those of this crate.
    pub types: Vec<HostType>,
}

/// A type of a Rust program that scripts can hold, declared with [`scripted!`](crate::scripted).
#[derive(Clone, Copy)]
pub struct HostType(fn(&mut Types, &mut Engine));

impl HostType {
    /// Returns the entry of the type `T` for [`EngineOptions::types`].
    pub fn of<T: Scripted + IntoValue>() -> Self {
        Self(Types::add::<T>)
    }
}

impl Default for EngineOptions {
    /// Never interrupted, silent, and without output.
    fn default() -> Self {
        Self {
            context: Context::default(),
            print: Arc::new(|_| {}),
            columns: Arc::new(|| None),
            debug: None,
            functions: Vec::new(),
            types: Vec::new(),
        }
    }
}

/// An engine with its types and sources.
#[derive(Clone)]
pub struct Language {
    /// Runs scripts.
    pub engine: Arc<Engine>,
    /// Converts values between scripts and native code.
    pub types: Arc<Types>,
    /// Texts that it compiled.
    pub sources: Sources,
    /// Scripts that it imported.
    pub imports: Resolver,
}

/// The token of a script that called `exit(code)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8);

/// Adds types to an engine and to the conversions.
struct Registering<'a> {
    types: &'a mut Types,
    engine: &'a mut Engine,
}

impl TypeRegistry for Registering<'_> {
    fn add<T: Scripted + IntoValue>(&mut self) {
        self.types.add::<T>(self.engine);
    }
}

/// Makes an engine with its types and sources.
pub fn language(options: EngineOptions) -> Language {
    let mut types = Types::new(Arc::clone(&options.columns));
    let mut engine = Engine::new();
    super::types(&mut Registering { types: &mut types, engine: &mut engine });
    let EngineOptions { context, print, debug, functions, types: own, .. } = options;
    own.iter().for_each(|HostType(add)| add(&mut types, &mut engine));
    let types = Arc::new(types);
    let sources = Sources::default();

    set_dialect(&mut engine);
    let context = Context { print: Arc::clone(&print), ..context };
    let context = Context { compile: compile(&types, &context), ..context };
    let debug = debug.unwrap_or_else(|| Arc::clone(&print));
    engine.on_print(move |text| print(text));
    engine.on_debug(move |text, _, _| debug(text));
    let interrupt = context.interrupt.clone();
    engine.on_progress(move |operation| match Stop::due(operation) {
        Some(stop) => Some(Dynamic::from(stop)),
        None => interrupt.is_raised().then_some(Dynamic::UNIT),
    });
    let imports = Resolver::new(sources.clone());
    engine.set_module_resolver(imports.clone());
    imports.register(&mut engine);
    let libraries = super::std_lib::modules(&engine, &sources);
    super::indexing::add_iteration(&mut engine);
    super::indexing::add_indices(&mut engine, &types);
    super::indexing::add_setters(&mut engine);
    let own = functions.clone();
    let declarations = [super::declarations(), functions].concat();
    bridge::register(&mut engine, &declarations, libraries, &types, &context);
    super::core::replace_sleep(&mut engine, &context);
    super::help::add(&mut engine, &own);
    super::lengths::limit(&mut engine);
    super::arrays::register(&mut engine);
    compare_as_the_processor_does(&mut engine);
    register_exit(&mut engine);
    super::errors::register_caught(&mut engine, &types, &sources);
    super::attempts::register(&mut engine, &types, &sources);

    let engine = Arc::new(engine);
    types.bind(&engine, &imports);
    Language { engine, types, sources, imports }
}

/// Sets what every engine that compiles scripts must agree on.
pub fn set_dialect(engine: &mut Engine) {
    // Without optimization a function with side effects runs exactly when the script calls it.
    engine.set_optimization_level(OptimizationLevel::None);
    // rhai reserves these words; here they name a gate, the variance, a namespace, and an option.
    #[expect(deprecated, reason = "only to say that it may change, and the version is pinned")]
    engine.on_parse_token(|token, _, _| match token {
        Token::Reserved(word) if matches!(word.as_str(), "static" | "var" | "eval" | "match") => {
            Token::Identifier(word)
        }
        token => token,
    });
    // rhai's fast path for built-in operators loses the position of an error such as a division by zero.
    engine.set_fast_operators(false);
    // rhai's own limits are too small for real experiments.
    engine.set_max_expr_depths(128, 64);
    engine.set_max_call_levels(CALLS);
    super::indexing::add_operators(engine);
}

/// Makes only an engine. `print` receives what scripts print.
pub fn engine(context: &Context, print: impl Fn(&str) + Send + Sync + 'static) -> Arc<Engine> {
    let options =
        EngineOptions { context: context.clone(), print: Arc::new(print), ..EngineOptions::default() };
    language(options).engine
}

/// Returns a compiler of stored code that uses this engine.
fn compile(types: &Arc<Types>, context: &Context) -> Compile {
    let (types, context) = (Arc::clone(types), context.clone());
    Arc::new(move |text| compiled(&types, &context, text))
}

fn compiled(types: &Arc<Types>, context: &Context, text: &str) -> Result<Arc<dyn Any + Send + Sync>> {
    let data = Value::from_json_text(text).map_err(Error::argument)?;
    let (engine, imports) = types.home()?;
    // Stored code may contain stored code.
    let context = Context { compile: compile(types, context), ..context.clone() };
    let function = code::restore(types, &engine, &imports, &context, &data)?;
    Ok(Arc::new(function))
}

/// Registers the IEEE 754 comparisons of floats. rhai compares them with a tolerance that makes infinity equal to
/// nothing, greater than nothing, and NaN equal to itself; a script that looks for a diverged loss needs the
/// standard ones.
fn compare_as_the_processor_does(engine: &mut Engine) {
    macro_rules! compare {
        ($($symbol:tt)*) => {$(
            engine.register_fn(stringify!($symbol), |a: f64, b: f64| a $symbol b);
            engine.register_fn(stringify!($symbol), |a: f64, b: i64| a $symbol b as f64);
            engine.register_fn(stringify!($symbol), |a: i64, b: f64| (a as f64) $symbol b);
        )*};
    }
    compare!(== != < <= > >=);
}

/// Registers an `exit` that ends the script from any depth; rhai's own cannot be told from a result.
fn register_exit(engine: &mut Engine) {
    type Ended = Result<(), Box<EvalAltResult>>;
    let refused = |context: &NativeCallContext, found: String| -> Ended {
        let error = Error::argument(format!("exit: expected a code from 0 to 255, found {found}"))
            .hint("`throw \"..\"` ends the script with a message and code 1");
        Err(raise(error, At::of(context)))
    };
    let end = move |context: &NativeCallContext, code: i64| -> Ended {
        let Ok(code) = u8::try_from(code) else { return refused(context, code.to_string()) };
        let exit = Exit(code);
        Err(EvalAltResult::ErrorTerminated(Dynamic::from(exit), context.call_position()).into())
    };
    engine.register_fn("exit", move |context: NativeCallContext| -> Ended { end(&context, 0) });
    engine.register_fn("exit", move |context: NativeCallContext, code: i64| -> Ended { end(&context, code) });
    engine.register_fn("exit", move |context: NativeCallContext, other: Dynamic| -> Ended {
        refused(&context, names::word(other.type_name()).to_string())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinity_and_nan_compare_as_everywhere_else() {
        let engine = language(EngineOptions::default()).engine;
        let holds = |code: &str| engine.eval::<bool>(code).unwrap_or_else(|e| panic!("{code}: {e}"));
        for code in [
            "1.0 / 0.0 > 1.0",
            "1.0 / 0.0 >= 1.0",
            "1.0 / 0.0 == 1.0 / 0.0",
            "0.0 / 0.0 != 0.0 / 0.0",
            "1 < 1.0 / 0.0",
            "-1.0 / 0.0 < 0",
            "1 == 1.0",
            "2.0 > 1",
            "0.1 + 0.2 != 0.3",
        ] {
            assert!(holds(code), "{code}");
        }
        for code in ["0.0 / 0.0 == 0.0 / 0.0", "0.0 / 0.0 < 1.0", "0.0 / 0.0 >= 1", "1.0 / 0.0 < 1"] {
            assert!(!holds(code), "{code}");
        }
    }
}
