//! Random scripts call every declared function with random values of every type. Whatever the arguments, the result
//! is a value or an error with one message. `SPECTRAL_CALLS` sets the number of calls, `SPECTRAL_CALLS_SEED` the
//! number of the first call.
#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use spectral::context::{Context, Interrupt};
use spectral::declare::{Allowed, Declaration, Field, Form};
use spectral::script::engine::EngineOptions;
use spectral::script::entries;
use spectral::session::{Options, Session};

/// Number of calls in a normal test run.
const CALLS: u64 = 4_000;

/// Maximum time of a call, which is interrupted if it takes long. The limit is generous, since a busy machine is
/// not a failure.
const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// Bytes that no call with values this small needs. A call that allocates more than twice as much fails, or ends
/// the test.
const MEMORY: u64 = 4 << 30;

/// Call number that means that no call is running.
const BETWEEN: u64 = 0;

/// Functions that wait or end the program on purpose.
const WAITING: [&str; 3] = ["sleep", "input", "exit"];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 33) as usize) % n.max(1)
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

const INTEGERS: [&str; 14] = [
    "0",
    "1",
    "-1",
    "2",
    "3",
    "4",
    "5",
    "16",
    "28",
    "-7",
    "1000",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
];
const FLOATS: [&str; 10] =
    ["0.0", "1.0", "0.5", "-0.25", "1e-30", "1e300", "3.7", "(1.0 / 0.0)", "(0.0 / 0.0)", "-1e18"];
const TEXTS: [&str; 22] = [
    "\"\"",
    "\"a\"",
    "\"loss\"",
    "\"cpu\"",
    "\"cuda\"",
    "\"float32\"",
    "\"int64\"",
    "\"bfloat16\"",
    "\"complex64\"",
    "\"mean\"",
    "\"fashion_tiny\"",
    "\"test\"",
    "\"a.csv\"",
    "\"a.png\"",
    "\"a.json\"",
    "\"a.npy\"",
    "\"a.safetensors\"",
    "\"folder\"",
    "\"missing/file\"",
    "\"é\\u{1F600}\"",
    "\"1,2\\n3\"",
    "\"%Y {x} ${\"",
];
/// Type and name of the variables that the first cell defines.
const NAMES: [(&str, &str); 35] = [
    ("tensor", "t0"),
    ("tensor", "t1"),
    ("tensor", "t2"),
    ("tensor", "t4"),
    ("tensor", "ti"),
    ("tensor", "tb"),
    ("tensor", "tc"),
    ("tensor", "te"),
    ("tensor", "tn"),
    ("tensor", "tg"),
    ("tensor", "tl"),
    ("tensor", "th"),
    ("filter", "fi"),
    ("filter", "fx"),
    ("gate", "ga"),
    ("basis", "ba"),
    ("correction", "co"),
    ("model", "net"),
    ("model", "spec"),
    ("dataset", "ds"),
    ("loader", "lo"),
    ("table", "ta"),
    ("table", "tz"),
    ("report", "re"),
    ("figure", "fg"),
    ("generator", "ge"),
    ("timesteps", "ts"),
    ("path", "pa"),
    ("loss", "ls"),
    ("adamw", "op"),
    ("ema", "em"),
    ("error", "er"),
    ("comparison", "cm"),
    ("vae", "va"),
    ("features", "t2"),
];
const SETUP: &str = r##"
let tiny = #{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1, hidden_size: 16, num_heads: 2 };
let t0 = tensor(1.5); let t1 = tensor([1.0, -2.0, 3.0]); let t2 = tensor([[1.0, 2.0], [3.0, 4.0]]);
let t4 = tensor::ones([2, 1, 4, 4]); let ti = tensor([0, 1, 2]); let tb = tensor([true, false, true]);
let tc = tensor([1.0, 2.0]).to("complex64"); let te = tensor::zeros([0, 3]); let tn = tensor([0.0 / 0.0, 1.0 / 0.0]);
let tg = tensor([1.0, 2.0], #{ requires_grad: true }); let tl = tensor([9223372036854775807, -1]); let th = t2.to("bfloat16");
let fi = filter::gaussian(); let fx = filter::response(|r| 1.0 - r); let ga = gate::time(); let ba = basis::haar(); let co = correction(fi, ga);
let net = model::dit(tiny); let spec = model::dit(tiny + #{ corrections: co });
let ds = data::from_tensors(tensor::zeros([6, 1, 4, 4]), tensor([0, 1, 0, 1, 0, 1])); let lo = ds.loader(#{ batch: 2 });
let ta = table::from_rows([#{ a: 1, b: "x" }, #{ a: 2.5, b: () }]); let tz = table::empty(["a"]);
let re = report::start("r"); let fg = plot::line([3, 1, 2]); let ge = tensor::generator(1);
let ts = flow::uniform(); let pa = flow::path(); let ls = loss::mse(); let op = optim::adamw(net); let em = optim::ema(net, 0.9);
let er = (); try { throw "e" } catch (e) { er = e; }
let cm = (); let va = ();
"##;

/// Generator of random scripts.
struct ValueMaker {
    random: Random,
    declarations: Vec<&'static Declaration>,
    scripted: Vec<(String, usize, Vec<String>)>,
}

impl ValueMaker {
    fn integer(&mut self) -> String {
        // Large sizes are rare, because they are rejected or slow.
        let most = if self.random.below(8) == 0 { INTEGERS.len() } else { 10 };
        self.random.pick(&INTEGERS[..most]).to_string()
    }

    fn float(&mut self) -> String {
        self.random.pick(&FLOATS).to_string()
    }

    fn any(&mut self, depth: usize) -> String {
        match self.random.below(if depth > 2 { 7 } else { 12 }) {
            0 => self.integer(),
            1 => self.float(),
            2 => self.random.pick(&TEXTS).to_string(),
            3 => self.random.pick(&["true", "false"]).to_string(),
            4 => "()".to_string(),
            5 | 6 => self.handle("tensor"),
            7 => NAMES[self.random.below(NAMES.len())].1.to_string(),
            8 => self.array(depth, |m, depth| m.any(depth)),
            9 => self.map(depth),
            10 => self.closure(),
            _ => format!("{}..{}", self.integer(), self.integer()),
        }
    }

    fn handle(&mut self, kind: &str) -> String {
        let fitting: Vec<&str> = NAMES.iter().filter(|(k, _)| *k == kind).map(|(_, n)| *n).collect();
        if fitting.is_empty() {
            NAMES[self.random.below(NAMES.len())].1.to_string()
        } else {
            self.random.pick(&fitting).to_string()
        }
    }

    fn array(&mut self, depth: usize, entry: impl Fn(&mut Self, usize) -> String) -> String {
        let entries: Vec<String> = (0..self.random.below(4)).map(|_| entry(self, depth + 1)).collect();
        format!("[{}]", entries.join(", "))
    }

    fn map(&mut self, depth: usize) -> String {
        let keys = ["a", "b", "x", "loss", "t", "seed", "name"];
        let from = self.random.below(keys.len());
        let entries: Vec<String> = keys[from..]
            .iter()
            .take(self.random.below(3))
            .map(|key| format!("{key}: {}", self.any(depth + 1)))
            .collect();
        format!("#{{{}}}", entries.join(", "))
    }

    fn closure(&mut self) -> String {
        let body = self.any(2);
        let head = self.random.pick(&["||", "|a|", "|a, b|", "|a, b, c|"]);
        match self.random.below(4) {
            0 => format!("{head} {{ throw \"no\" }}"),
            1 if head.contains('a') => format!("{head} a"),
            _ => format!("{head} ({body})"),
        }
    }

    /// Returns a value of the described type, most of the time.
    fn of(&mut self, label: &str, depth: usize) -> String {
        if self.random.below(5) == 0 {
            return self.any(depth);
        }
        let alternatives: Vec<&str> = label.split(" or ").flat_map(|l| l.split(", ")).collect();
        let label = alternatives[self.random.below(alternatives.len())].trim();
        if let Some(inner) = label.strip_prefix("array of ") {
            let inner = spectral::declare::singular(inner).to_string();
            return self.array(depth, |m, depth| m.of(&inner, depth));
        }
        match label {
            "int" => self.integer(),
            "float" | "number" => {
                if self.random.below(3) == 0 {
                    self.integer()
                } else {
                    self.float()
                }
            }
            "string" | "dtype" | "device" | "names" => self.random.pick(&TEXTS).to_string(),
            "bool" => self.random.pick(&["true", "false"]).to_string(),
            "array" | "numbers" | "matrix" | "array of numbers" => self.array(depth, |m, _| m.float()),
            "map" => self.map(depth),
            "function" => self.closure(),
            "range" => format!("{}..{}", self.integer(), self.integer()),
            "any" | "value" => self.any(depth),
            kind if NAMES.iter().any(|(k, _)| *k == kind) => self.handle(kind),
            _ => self.any(depth),
        }
    }

    fn field(&mut self, field: &Field) -> String {
        match (field.allowed)() {
            Allowed::OneOf(words) if self.random.below(4) > 0 => format!("\"{}\"", self.random.pick(words)),
            _ => self.of(&(field.label)(), 1),
        }
    }

    fn options(&mut self, fields: &[Field]) -> String {
        let mut entries: Vec<String> = Vec::new();
        for field in fields {
            if self.random.below(fields.len()) < 2 {
                // Keeps calls short: long work is not what this test is about.
                let value = match field.name {
                    "steps" | "epochs" | "bins" | "samples" => {
                        let most = if self.random.below(12) == 0 { 7 } else { 5 };
                        self.random
                            .pick(
                                &["0", "1", "2", "-1", "1.5", "1099511627776", "9223372036854775807"][..most],
                            )
                            .to_string()
                    }
                    _ => self.field(field),
                };
                entries.push(format!("{}: {value}", field.name));
            }
        }
        if self.random.below(20) == 0 {
            entries.push("frob: 1".to_string());
        }
        format!("#{{ {} }}", entries.join(", "))
    }

    fn arguments(&mut self, declaration: &Declaration, from: usize) -> Vec<String> {
        let (least, most) = declaration.arity();
        let mut count = least + self.random.below(most - least + 1);
        if self.random.below(30) == 0 {
            count += 1;
        }
        (from..count)
            .map(|i| match declaration.params.get(i) {
                Some(p) if !(p.fields)().is_empty() && self.random.below(6) > 0 => self.options((p.fields)()),
                Some(p) => self.of(&(p.label)(), 0),
                None => self.any(0),
            })
            .collect()
    }

    fn script(&mut self) -> String {
        let chosen = self.random.below(self.declarations.len() + self.scripted.len());
        let Some(declaration) = self.declarations.get(chosen).copied() else {
            let (path, count, labels) = self.scripted[chosen - self.declarations.len()].clone();
            let given: Vec<String> = (0..count)
                .map(|i| match labels.get(i) {
                    Some(label) => self.of(&label.clone(), 0),
                    None => self.any(0),
                })
                .collect();
            return format!("{path}({})", given.join(", "));
        };
        let receiver = match declaration.params.first() {
            Some(p) if declaration.form != Form::Global => self.of(&(p.label)(), 0),
            _ => String::new(),
        };
        match declaration.form {
            Form::Global => format!("{}({})", declaration.name, self.arguments(declaration, 0).join(", ")),
            Form::Namespace(_) => {
                format!("{}({})", declaration.path(), self.arguments(declaration, 0).join(", "))
            }
            Form::Method => {
                format!("({receiver}).{}({})", declaration.name, self.arguments(declaration, 1).join(", "))
            }
            Form::Property => format!("({receiver}).{}", declaration.name),
            Form::Operator("[]") => format!("{}[{}]", self.handle("tensor"), self.index()),
            Form::Operator("[]=") => {
                let (x, index, value) = (self.handle("tensor"), self.index(), self.any(1));
                format!("let v = {x}.clone(); v[{index}] = {value}; v")
            }
            Form::Operator(symbol)
                if symbol.ends_with('=') && !["==", "!=", "<=", ">="].contains(&symbol) =>
            {
                let value = self.any(1);
                format!("let v = ({receiver}); v {symbol} {value}; v")
            }
            Form::Operator(symbol) if declaration.params.len() == 1 => format!("{symbol}({receiver})"),
            Form::Operator(symbol) => {
                let right = self.of(&(declaration.params[1].label)(), 0);
                format!("({receiver}) {symbol} ({right})")
            }
        }
    }

    fn index(&mut self) -> String {
        let one = |m: &mut Self| match m.random.below(6) {
            0 => "..".to_string(),
            1 => format!("{}..", m.integer()),
            2 => format!("..{}", m.integer()),
            3 => m.any(1),
            _ => m.integer(),
        };
        let count = 1 + self.random.below(3);
        (0..count).map(|_| one(self)).collect::<Vec<_>>().join(", ")
    }
}

fn labels(signature: &str) -> Vec<String> {
    let inside = signature.split_once('(').map_or("", |(_, rest)| rest);
    let inside = inside.rsplit_once(')').map_or("", |(inside, _)| inside);
    inside.split(", ").filter_map(|p| p.split_once(": ")).map(|(_, label)| label.to_string()).collect()
}

fn session(interrupt: &Interrupt) -> Session {
    let context = Context { interrupt: interrupt.clone(), ..Context::default() };
    let mut session = Session::new(Options {
        engine: EngineOptions { context, ..EngineOptions::default() },
        ..Options::default()
    });
    if let Err(report) = session.run_cell(SETUP, "setup") {
        panic!("{}", report.render(false));
    }
    session
}

/// Limits the address space of the process to its current size plus twice the memory of a call.
fn bound_memory() {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let Some(pages) = pages.split(' ').next().and_then(|p| p.parse::<u64>().ok()) else { return };
    let most = pages * 4096 + 2 * MEMORY;
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the limit lives during the call.
    unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
}

#[test]
fn every_function_answers_whatever_it_is_given() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let (calls, first) =
        (setting("SPECTRAL_CALLS").unwrap_or(CALLS), setting("SPECTRAL_CALLS_SEED").unwrap_or(1));
    let folder = tempfile::tempdir().unwrap();
    std::env::set_current_dir(folder.path()).unwrap();
    bound_memory();
    // If the process dies, this file holds the last call.
    let last = std::env::temp_dir().join(format!("spectral-calls-{}.rhai", std::process::id()));
    let run = {
        let last = last.clone();
        move || calls_from(first, calls, &last)
    };
    let thread = std::thread::Builder::new().stack_size(spectral::front::STACK).spawn(run).unwrap();
    let findings = thread.join().unwrap();
    let _ = std::fs::remove_file(last);
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
}

/// Runs the calls and returns the findings.
fn calls_from(first: u64, calls: u64, last: &std::path::Path) -> Vec<String> {
    let interrupt = Interrupt::default();
    // A call that takes long is interrupted.
    let (running, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let watch = {
        let (running, done, interrupt) = (Arc::clone(&running), Arc::clone(&done), interrupt.clone());
        let (mut seen, mut since) = (0, Instant::now());
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
                let now = running.load(Ordering::Relaxed);
                // Creating a session does not count as a call.
                if now != seen || now == BETWEEN {
                    (seen, since) = (now, Instant::now());
                } else if since.elapsed() > Duration::from_millis(500) {
                    interrupt.raise();
                }
            }
        })
    };
    let waiting = |d: &&&Declaration| !WAITING.contains(&d.name);
    let declarations: Vec<&'static Declaration> = spectral::script::declarations();
    let scripted = entries::all().into_iter().filter(|e| e.source.is_some()).map(|e| {
        let labels = labels(&e.signature);
        (e.path, labels.len(), labels)
    });
    let mut maker = ValueMaker {
        random: Random(1),
        declarations: declarations.iter().filter(waiting).copied().collect(),
        scripted: scripted.collect(),
    };
    let mut session_now = session(&interrupt);
    let mut findings = Vec::new();
    for number in first..first + calls {
        if number % 400 == 0 {
            running.store(BETWEEN, Ordering::Relaxed);
            session_now = session(&interrupt);
        }
        maker.random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let script = maker.script();
        std::fs::write(last, format!("// call {number}\n{SETUP}\n{script}\n")).unwrap();
        let before = spectral::torch::memory().resident.unwrap_or(0);
        let started = Instant::now();
        running.store(number, Ordering::Relaxed);
        let result = session_now.run_cell(&script, "call");
        // Displaying a value must work as well.
        let message = match &result {
            Ok(outcome) => {
                let _ = outcome.display(80);
                String::new()
            }
            Err(report) => report.message.clone(),
        };
        let took = started.elapsed();
        let after = spectral::torch::memory().resident.unwrap_or(0);
        let mut wrong = |what: String| findings.push(format!("call {number}: {what}\n    {script}"));
        if message.contains("internal error in spectral") {
            wrong(message.clone());
        }
        if ["c10::", "ErrorRuntime", ".cpp:", "RuntimeError", "INTERNAL ASSERT"]
            .iter()
            .any(|raw| message.contains(raw))
        {
            wrong(format!("a raw message: {message}"));
        }
        if took > STOPS_WITHIN {
            wrong(format!("took {took:.1?}"));
        }
        if after > before + MEMORY {
            wrong(format!("took {} MB", (after - before) >> 20));
        }
    }
    done.store(true, Ordering::Relaxed);
    let _ = watch.join();
    findings
}
