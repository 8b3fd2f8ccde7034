//! Files as they were stored with code: that code imports them, and never those on disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use rhai::{AST, Dynamic, Engine, EvalAltResult, GlobalRuntimeState, ImmutableString, Position, Scope};

use super::failure::{self, At};
use super::resolver::{self, SharedModule};
use crate::error::{Error, Result};

/// Variable that holds the values of constants while a stored file is evaluated.
const HELD: &str = "__held";

/// Path under which a stored file imports what it has under a name; no file can have it.
const NAMED: char = '\u{1}';

/// What a stored file takes from others, and the values that it had.
#[derive(Clone, Default)]
pub struct Linked {
    /// Its imports: the source under each name.
    pub names: BTreeMap<String, String>,
    /// The source of each path that its functions import when they run.
    pub paths: BTreeMap<String, String>,
    /// Constants, which its functions read as `global::NAME`.
    pub constants: BTreeMap<String, Dynamic>,
    /// Values that other files read as `file::NAME`.
    pub variables: BTreeMap<String, Dynamic>,
}

/// A stored file, compiled. The same data, which has one key, is kept once.
#[derive(Clone)]
pub struct StoredFile {
    key: String,
    ast: AST,
    links: Arc<Linked>,
}

impl StoredFile {
    /// Makes an entry of compiled text.
    pub fn new(key: String, ast: AST, links: Linked) -> Self {
        Self { key, ast, links: Arc::new(links) }
    }

    /// Returns whether its code uses other stored files or stored constants.
    pub fn has_imports(&self) -> bool {
        let Linked { names, paths, constants, .. } = &*self.links;
        !(names.is_empty() && paths.is_empty() && constants.is_empty())
    }
}

/// A stored file and its module.
pub enum Entry {
    /// Not imported yet.
    Compiled(StoredFile),
    /// Being evaluated; importing it again would never end.
    Loading(StoredFile),
    /// Imported before.
    Loaded(StoredFile, SharedModule),
}

impl Entry {
    fn file(&self) -> &StoredFile {
        match self {
            Entry::Compiled(file) | Entry::Loading(file) | Entry::Loaded(file, _) => file,
        }
    }
}

type Resolved = std::result::Result<SharedModule, Box<EvalAltResult>>;

/// All stored files of an engine, by the name of their source; clones share them.
#[derive(Clone, Default)]
pub struct StoredFiles(Arc<Entries>);

/// What stored files are shared by.
pub type Entries = Mutex<BTreeMap<String, Entry>>;

impl StoredFiles {
    /// Returns them for values that the engine holds.
    pub fn downgrade(&self) -> Weak<Entries> {
        Arc::downgrade(&self.0)
    }

    /// Returns them while they live.
    pub fn upgrade(weak: &Weak<Entries>) -> Option<Self> {
        weak.upgrade().map(Self)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a source name that begins with `shown`: that of the entry made from `key`, or one that is free.
    pub fn name(&self, shown: &str, key: &str) -> String {
        let entries = self.entries();
        let of = |n: usize| if n == 1 { shown.to_string() } else { format!("{shown} ({n})") };
        let fits = |name: &String| entries.get(name).is_none_or(|entry| entry.file().key == key);
        (1..).map(of).find(fits).unwrap_or_default()
    }

    /// Returns the file of a source.
    pub fn get(&self, source: &str) -> Option<StoredFile> {
        self.entries().get(source).map(|entry| entry.file().clone())
    }

    /// Adds the file of a source.
    pub fn add(&self, source: &str, file: StoredFile) {
        self.entries().insert(source.to_string(), Entry::Compiled(file));
    }

    /// Returns what `import "path"` means in a source, which is that of the place; `None` if it is no stored file.
    pub fn import(
        &self,
        engine: &Engine,
        global: &mut GlobalRuntimeState,
        path: &str,
        at: &At,
    ) -> Option<Resolved> {
        let file = self.get(&at.source)?;
        let found = match path.strip_prefix(NAMED) {
            Some(name) => file.links.names.get(name),
            None => file.links.paths.get(path),
        };
        let error = || {
            Error::argument(format!("\"{path}\" was not stored with the code that imports it"))
                .hint("a file is stored if the text of the import names it: `import \"file\" as name`")
        };
        Some(match found {
            Some(name) => self.load(engine, global, name, at),
            None => Err(failure::raise(error(), at.clone())),
        })
    }

    fn load(&self, engine: &Engine, global: &mut GlobalRuntimeState, source: &str, at: &At) -> Resolved {
        let file = match self.entries().get(source) {
            Some(Entry::Loaded(_, module)) => return Ok(module.clone()),
            Some(Entry::Compiled(file)) => file.clone(),
            other => {
                let what = if other.is_some() { "imports itself" } else { "is missing" };
                let error = Error::argument(format!("{source}: the file {what}"));
                return Err(failure::raise(error, at.clone()));
            }
        };
        self.entries().insert(source.to_string(), Entry::Loading(file.clone()));
        let module = evaluated(engine, global, source, &file);
        let entry = match &module {
            Ok(module) => Entry::Loaded(file, module.clone()),
            Err(_) => Entry::Compiled(file),
        };
        self.entries().insert(source.to_string(), entry);
        module
    }

    /// Returns the state in which the functions of a source run: they see each other, its imports and its constants.
    pub fn surroundings(&self, engine: &Engine, source: &str) -> Result<GlobalRuntimeState> {
        let mut global = engine.new_global_runtime_state();
        let Some(file) = self.get(source) else {
            return Err(Error::internal(format!("{source} is not stored")));
        };
        for (name, other) in &file.links.names {
            let at = At { source: source.to_string(), position: Position::NONE };
            let module = self.load(engine, &mut global, other, &at).map_err(failure::native)?;
            global.push_import(name.as_str(), module);
        }
        let constants = file.links.constants.iter().map(|(name, value)| (name.into(), value.clone()));
        let constants: BTreeMap<ImmutableString, Dynamic> = constants.collect();
        global.constants = (!constants.is_empty()).then(|| Arc::new(RwLock::new(constants)));
        global.lib.push(file.ast.shared_lib().clone());
        global.source = Some(source.into());
        Ok(global)
    }
}

/// Makes a module of a file, with its imports and constants.
fn evaluated(engine: &Engine, global: &mut GlobalRuntimeState, source: &str, file: &StoredFile) -> Resolved {
    let imports = file.links.names.keys().map(|name| format!("import \"{NAMED}{name}\" as {name};"));
    let constants = file.links.constants.keys().enumerate();
    let constants = constants.map(|(i, name)| format!("const {name} = {HELD}[{i}];"));
    let mut ast = engine.compile(imports.chain(constants).collect::<String>())?;
    ast.combine(file.ast.clone());
    ast.set_source(source);
    let mut scope = Scope::new();
    let held: rhai::Array = file.links.constants.values().cloned().collect();
    scope.push_constant(HELD, held);
    let mut module = resolver::evaluated(engine, global, &mut scope, &ast)?;
    for (name, value) in &file.links.variables {
        module.set_var(name.as_str(), value.clone());
    }
    module.build_index();
    Ok(module.into())
}
