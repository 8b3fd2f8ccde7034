//! What stored code takes from the files that it imports.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use rhai::{Dynamic, Engine};

use super::data::{compared, from_data};
use super::pieces::{Called, Outside, Piece, Text, joined};
use super::{compile, field, pieces_of, shown};
use crate::context::Context;
use crate::declare::{Map, Value};
use crate::error::{Error, Result};
use crate::script::resolver::{Resolver, find, read_script};
use crate::script::stored::{Linked, StoredFile};
use crate::script::values::Types;
use crate::text::tokens::is_word;

/// Imports and constants of a text. Files are numbered as in the list of all.
#[derive(Default)]
pub struct Links {
    /// File under each name.
    names: BTreeMap<String, usize>,
    /// File of each path that a function imports when it runs.
    paths: BTreeMap<String, usize>,
    /// Values of the constants that functions read as `global::NAME`.
    pub constants: Map,
}

impl Links {
    /// Returns the links as entries of stored code.
    pub fn into_entries(self) -> impl Iterator<Item = (String, Value)> {
        let numbers = |files: BTreeMap<String, usize>| {
            files.into_iter().map(|(name, i)| (name, Value::Int(i as i64))).collect::<Map>()
        };
        [("imports", numbers(self.names)), ("paths", numbers(self.paths)), ("constants", self.constants)]
            .into_iter()
            .filter(|(_, map)| !map.is_empty())
            .map(|(name, map)| (name.to_string(), Value::Map(map)))
    }
}

/// An imported file, of which the code needs something.
struct Library {
    file: String,
    text: String,
    /// Whether all of it is needed, since it has something that is no function and not known.
    whole: bool,
    pieces: Vec<Piece>,
    links: Links,
    /// Values that others read as `file::NAME`.
    variables: Map,
    /// Names that were looked up.
    seen: BTreeSet<Vec<String>>,
}

/// All files that a function needs, in the order in which its code names them.
pub struct Libraries<'a> {
    types: &'a Arc<Types>,
    engine: &'a Engine,
    imports: &'a Resolver,
    found: Vec<Library>,
    open: VecDeque<(usize, Vec<String>)>,
    incomplete: Option<Error>,
}

impl<'a> Libraries<'a> {
    pub fn new(types: &'a Arc<Types>, engine: &'a Engine, imports: &'a Resolver) -> Self {
        Self { types, engine, imports, found: Vec::new(), open: VecDeque::new(), incomplete: None }
    }

    /// Records why the code cannot be stored; the first reason counts.
    pub fn incomplete(&mut self, error: Error) {
        self.incomplete.get_or_insert(error);
    }

    /// Adds the files that the code of a source needs, and links it to them.
    pub fn link(&mut self, home: &str, called: &Called, links: &mut Links) {
        for outside in &called.outside {
            let Some(path) = &outside.path else {
                self.incomplete(
                    Error::argument("it imports a file whose name is computed")
                        .hint("write the name as a text: `import \"file\" as name`"),
                );
                continue;
            };
            let index = match self.file(home, path) {
                Ok(index) => index,
                Err(error) => {
                    self.incomplete(error);
                    continue;
                }
            };
            let (all, name) = match outside.inside {
                true => (&mut links.paths, path),
                false => (&mut links.names, &outside.import),
            };
            if all.insert(name.clone(), index).is_some_and(|before| before != index) {
                self.incomplete(
                    Error::argument(format!("it uses two files that are imported as `{name}`"))
                        .hint("import one of them under another name"),
                );
            }
            if !outside.names.is_empty() {
                self.open.push_back((index, outside.names.clone()));
            }
        }
    }

    /// Returns the number of the file that a path means in a source.
    fn file(&mut self, home: &str, path: &str) -> Result<usize> {
        let sources = self.imports.sources();
        let file = find(&sources.folder(home), path)?.display().to_string();
        if let Some(index) = self.found.iter().position(|library| library.file == file) {
            return Ok(index);
        }
        // A function may import a file that no function has imported so far.
        let text = sources.text_of(&file).map_or_else(|| read_script(Path::new(&file)), Ok)?;
        self.found.push(Library {
            file,
            text,
            whole: false,
            pieces: Vec::new(),
            links: Links::default(),
            variables: Map::new(),
            seen: BTreeSet::new(),
        });
        Ok(self.found.len() - 1)
    }

    /// Returns the value of a constant as data.
    pub fn constant(&mut self, source: &str, name: &str, value: &Dynamic) -> Value {
        let types = self.types;
        let Some(_inside) = types.inside_constant(source, name) else {
            self.incomplete(Error::argument(format!("its constant `{name}` captures itself")));
            return Value::Unit;
        };
        let (data, why) = compared(types, value);
        if let Some(error) = why {
            self.incomplete(error.context(format!("its constant `{name}`")));
        }
        data
    }

    /// Follows all names, and returns the files as data, and why they cannot be stored if so.
    pub fn finish(mut self) -> (Vec<Value>, Option<Error>) {
        while let Some((index, names)) = self.open.pop_front() {
            if self.found[index].seen.insert(names.clone()) {
                self.follow(index, &names);
            }
        }
        let data = self.found.into_iter().map(|library| {
            let lines = library.pieces.iter().map(|piece| Value::Int(piece.line as i64)).collect();
            let texts = library.pieces.into_iter().map(|piece| Value::Str(piece.text)).collect();
            let entries = [
                ("file", Value::Str(library.file)),
                ("lines", Value::List(lines)),
                ("pieces", Value::List(texts)),
            ];
            let variables = (!library.variables.is_empty())
                .then(|| ("variables".to_string(), Value::Map(library.variables)));
            let entries = entries.into_iter().map(|(name, value)| (name.to_string(), value));
            Value::Map(entries.chain(library.links.into_entries()).chain(variables).collect())
        });
        (data.collect(), self.incomplete)
    }

    /// Adds what a name in a file means: a function, another import, or a value.
    fn follow(&mut self, index: usize, names: &[String]) {
        let (file, content) = (self.found[index].file.clone(), self.found[index].text.clone());
        let text = Text::new(self.engine, &content);
        match names {
            [name] if text.function(name).is_some() => self.add(index, &file, text.called_by(name)),
            [name] => {
                let module = self.imports.module(self.engine, Path::new(&file));
                match module.and_then(|module| module.get_var(name)) {
                    Some(value) => {
                        let value = self.constant(&file, name, &value);
                        self.found[index].variables.insert(name.clone(), value);
                    }
                    None => self.add_all(index, &file, &text),
                }
            }
            [import, rest @ ..] => match text.import_of_file(import) {
                Some(outside) => {
                    let outside = vec![Outside { names: rest.to_vec(), ..outside }];
                    self.add(index, &file, Called { outside, ..Called::default() });
                }
                None => self.add_all(index, &file, &text),
            },
            [] => {}
        }
    }

    fn add(&mut self, index: usize, file: &str, called: Called) {
        let mut links = std::mem::take(&mut self.found[index].links);
        self.link(file, &called, &mut links);
        // What is stored must not depend on whether the file was imported before.
        if !called.constants.is_empty() {
            self.imports.module(self.engine, Path::new(file));
        }
        let mut unknown = false;
        for name in &called.constants {
            match self.imports.sources().constant_of(file, name) {
                _ if links.constants.contains_key(name) => {}
                Some(value) => {
                    let value = self.constant(file, name, &value);
                    links.constants.insert(name.clone(), value);
                }
                None => unknown = true,
            }
        }
        let library = &mut self.found[index];
        library.links = links;
        if library.whole {
            return;
        }
        for piece in called.pieces {
            if !library.pieces.contains(&piece) {
                library.pieces.push(piece);
            }
        }
        library.pieces.sort_by_key(|piece| piece.line);
        if unknown {
            let content = library.text.clone();
            self.add_all(index, file, &Text::new(self.engine, &content));
        }
    }

    /// Adds the whole file, which then computes its own values.
    fn add_all(&mut self, index: usize, file: &str, text: &Text) {
        let library = &mut self.found[index];
        if !std::mem::replace(&mut library.whole, true) {
            library.pieces = vec![Piece { line: 1, text: library.text.clone() }];
            // Its constants are computed by the file itself.
            let called = Called { constants: BTreeSet::new(), ..text.called_by_all() };
            self.add(index, file, called);
        }
    }
}

/// The values of stored code, or of one of its files: constants, and variables that others read.
#[derive(Default)]
pub struct Values {
    constants: BTreeMap<String, Dynamic>,
    variables: BTreeMap<String, Dynamic>,
}

impl Values {
    /// Rebuilds the values, which may be functions with code of their own.
    pub fn of(types: &Arc<Types>, context: &Context, code: &Map) -> Result<Self> {
        let values = |name: &str| {
            let value = |(name, value)| Ok((name, from_data(types, context, &value)?));
            part(code, name)?.into_iter().map(value).collect::<Result<BTreeMap<_, _>>>()
        };
        Ok(Self { constants: values("constants")?, variables: values("variables")? })
    }
}

fn part(code: &Map, name: &str) -> Result<Map> {
    code.get(name).map_or_else(|| Ok(Map::new()), |_| field(code, name))
}

/// The sources of all files that stored code imports, in the order of its list.
pub struct Sources(Vec<String>);

/// Compiles the files that stored code imports, unless they were before. Each of them is identified by `key` and its number.
pub fn restored(
    types: &Arc<Types>,
    engine: &Engine,
    imports: &Resolver,
    context: &Context,
    code: &Map,
    key: &str,
) -> Result<Sources> {
    let stored = imports.stored();
    let libraries: Vec<Map> = match code.get("libraries") {
        Some(_) => field(code, "libraries")?,
        None => Vec::new(),
    };
    // The code of values has sources too, which must not take the names of these.
    let values = libraries.iter().map(|library| Values::of(types, context, library));
    let values = values.collect::<Result<Vec<_>>>()?;
    let key = |i: usize| format!("{key} {i}");
    let name = |(i, library)| Ok(stored.name(&shown(&field::<String>(library, "file")?), &key(i)));
    let sources = Sources(libraries.iter().enumerate().map(name).collect::<Result<_>>()?);
    for (i, (library, values)) in libraries.iter().zip(values).enumerate() {
        let source = &sources.0[i];
        if stored.get(source).is_none() {
            // A file of which only values are needed has no pieces.
            let pieces = match library.get("pieces") {
                Some(Value::List(none)) if none.is_empty() => Vec::new(),
                _ => pieces_of(library)?,
            };
            let ast = compile(engine, imports, source, &joined(&pieces))?;
            stored.add(source, StoredFile::new(key(i), ast, sources.links(library, values)?));
        }
    }
    Ok(sources)
}

impl Sources {
    /// Returns the links of stored code, or of one of its files.
    pub fn links(&self, code: &Map, values: Values) -> Result<Linked> {
        let files = |name: &str| {
            let source = |(name, number): (String, Value)| {
                let source = match number {
                    Value::Int(i) => usize::try_from(i).ok().and_then(|i| self.0.get(i)),
                    _ => None,
                };
                let missing =
                    || Error::argument(format!("stored code lacks the file of its import `{name}`"));
                Ok((name.clone(), source.ok_or_else(missing)?.clone()))
            };
            part(code, name)?.into_iter().map(source).collect::<Result<BTreeMap<_, _>>>()
        };
        let Values { constants, variables } = values;
        let linked = Linked { names: files("imports")?, paths: files("paths")?, constants, variables };
        let mut written = linked.names.keys().chain(linked.constants.keys());
        crate::ensure!(
            written.all(|name| !name.is_empty() && name.chars().all(is_word)),
            "stored code has names for its imports and constants"
        );
        Ok(linked)
    }
}
