use super::*;
use crate::script::engine::{EngineOptions, language};

/// Returns message and hint of a line that does not parse.
fn grammar_of(line: &str) -> (String, String) {
    let engine = language(EngineOptions::default()).engine;
    let names = Names::of(&engine, None);
    match grammar::instead(&Line::new(line), &names) {
        Some((Some(message), hint)) => (message, hint),
        _ => panic!("nothing is said about {line}"),
    }
}

#[test]
fn a_line_that_cannot_be_parsed_has_one_to_write() {
    for (line, ours) in [
        ("x[:, 0]", "x[.., 0]"),
        ("let y = x[1:3, -1] + 1;", "let y = x[1..3, -1] + 1;"),
        ("x[..., 0]", "x.select(-1, 0)"),
        ("x[::2]", "x.slice(0, (), (), 2)"),
        ("x.sum(dim=1)", "x.sum(1)"),
        ("x.sum(axis=1, keepdims=True)", "x.sum(1, #{ keepdim: true })"),
        ("softmax(x, dim=1)", "softmax(x, 1)"),
        (
            "let t = tensor::zeros([2], dtype=\"int64\");",
            "let t = tensor::zeros([2], #{ dtype: \"int64\" });",
        ),
        ("f(x, dim=1)", "f(x, #{ dim: 1 })"),
        ("filter::gaussian(sigma=1.5)", "filter::gaussian(#{ sigma: 1.5 })"),
        ("print(f\"{x:.2f} of {n}\")", "print(`${x} of ${n}`)"),
        ("let c = a if b else 2;", "let c = if b { a } else { 2 };"),
        ("let c = f(a) if not b else None", "let c = if !b { f(a) } else { () }"),
        ("let f = lambda x, y: x + y;", "let f = |x, y| x + y;"),
        ("xs.map(lambda x: x * 2)", "xs.map(|x| x * 2)"),
        ("let ys = [x * 2 for x in xs];", "let ys = xs.map(|x| x * 2);"),
        ("let ys = [f(x) for x in xs if x > 1];", "let ys = xs.filter(|x| x > 1).map(|x| f(x));"),
        ("let ys = [i for i in range(10)];", "let ys = []; for i in 0..10 { ys.push(i); }"),
        ("let m = {k: f(k) for k in ks};", "let m = #{}; for k in ks { m[k] = f(k); }"),
        ("def f(x: int, y=2) -> int:", "fn f(x, y) { .. }"),
        ("if x > 1:", "if x > 1 { .. }"),
        ("elif not x:", "else if !x { .. }"),
        ("for i in range(2, 10):", "for i in 2..10 { .. }"),
        ("for i, x in enumerate(xs):", "for (x, i) in xs { .. }"),
        ("for i, x in xs {", "for (i, x) in xs {"),
        ("while True: x += 1", "while true { x += 1 }"),
        ("with torch.no_grad():", "no_grad(|| { .. })"),
        ("try:", "try { .. } catch (e) { .. }"),
        ("except ValueError as e:", "try { .. } catch (e) { .. }"),
        ("let d = {\"a\": 1, \"b\": 2};", "let d = #{\"a\": 1, \"b\": 2};"),
        ("let y = match x { 1 => 2, _ => 3 };", "let y = switch x { 1 => 2, _ => 3 };"),
        ("match x {", "switch x {"),
        ("let s = (2, 3);", "let s = [2, 3];"),
        ("let a, b = f(x);", "let both = f(x); let a = both[0]; let b = both[1];"),
        ("let a, b = b, a;", "let both = [b, a]; let a = both[0]; let b = both[1];"),
        ("let (a, b) = f(x);", "let both = f(x); let a = both[0]; let b = both[1];"),
        ("let [h, w] = x.shape;", "let both = x.shape; let h = both[0]; let w = both[1];"),
        ("(a, b) = (b, a)", "let both = [b, a]; let a = both[0]; let b = both[1];"),
        ("@torch.no_grad()", "no_grad(|| { .. })"),
        ("let d = \"cuda\" if torch.cuda.is_available() else \"cpu\";", "\"auto\""),
        ("let d = {'a': 1, 'b': x};", "let d = #{\"a\": 1, \"b\": x};"),
        ("print(\"a\", end=\"\")", "`print` has no options"),
        ("let y = x[::-1];", "let y = x.flip([0]);"),
        ("let y = x[:, ::-1];", "let y = x.flip([1]);"),
        ("let x = 5 # five", "// five"),
        ("a is not None", "a != ()"),
        ("a not in xs", "a !in xs"),
        ("assert x == 1", "assert(x == 1);"),
        ("raise ValueError(\"x\")", "throw"),
        ("print x", "print(x);"),
        ("let x: int = 5;", "let x = 5;"),
        ("x: float = .5", "let x = .5"),
        ("print(.5)", "print(0.5)"),
    ] {
        let (message, hint) = grammar_of(line);
        assert!(hint.contains(ours), "{line}: {message}; {hint}");
    }
    for line in
        ["import torch", "import numpy as np", "from torch import nn", "class A:", "pass", "del x", "yield x"]
    {
        let (message, _) = grammar_of(line);
        assert!(!message.contains("expected"), "{line}: {message}");
    }
}

#[test]
fn a_loop_after_other_statements_is_no_comprehension() {
    let engine = language(EngineOptions::default()).engine;
    let names = Names::of(&engine, None);
    for line in [
        "let go = |o| { let b = 9.0; for i in 0..3 { b = 2.0; } b };",
        "let y = (x; for i in 0..3 { x += i; }",
        "fn go(o) { if b { c() } for i in 0..3 { o(i) } }",
    ] {
        let found = grammar::instead(&Line::new(line), &names);
        assert!(found.is_none(), "{line}: {found:?}");
    }
}

/// Returns the hint of a line that begins with a module of Python, or calls a method with other arguments.
fn call_of(line: &str) -> String {
    let engine = language(EngineOptions::default()).engine;
    let names = Names::of(&engine, None);
    let parts = Line::new(line);
    if let Some((_, hint)) = grammar::instead(&parts, &names) {
        return hint;
    }
    match modules::MODULES.contains(&parts.part(0).as_str()) {
        true => modules::module(&parts, 0, &names).map(|(_, hint)| hint).unwrap_or_default(),
        false => {
            let open = parts.find(0, "(").unwrap();
            arguments::rewritten(&parts, open, &names).map(|(.., code)| code).unwrap_or_default()
        }
    }
}

#[test]
fn a_call_of_pytorch_keeps_its_meaning() {
    for (line, ours) in [
        ("x[:, None]", "x.unsqueeze(1)"),
        ("x[None, :]", "x.unsqueeze(0)"),
        ("x[None]", "x.unsqueeze(0)"),
        ("x[..., None]", "x.unsqueeze(-1)"),
        ("x[0, :, None]", "x[0, ..].unsqueeze(1)"),
        ("F.softmax(x[:, None], dim=-1)", "x.unsqueeze(1).softmax(-1)"),
        ("torch.std(x, 1, false)", "x.std(1, #{ unbiased: false })"),
        ("x.std(1, false)", "std(1, #{ unbiased: false })"),
        ("x.std(correction=0)", "x.std((), #{ unbiased: false })"),
        (
            "F.conv_transpose2d(x, w, b, 2, 1, 1, 4, 1)",
            "x.conv_transpose2d(w, #{ bias: b, stride: 2, padding: 1, output_padding: 1, groups: 4, dilation: 1 })",
        ),
        ("F.batch_norm(x, None, None, training=True)", "x.batch_norm(#{ training: true })"),
        ("F.kl_div(x, y)", "x.kl_div(y, #{ reduction: \"mean\" })"),
        ("F.unfold(x, 3, 1, 2)", "x.im2col(3, #{ dilation: 1, padding: 2 })"),
        ("F.embedding(i, w)", "w.embedding(i)"),
        ("torch.exp(-x)", "(-x).exp()"),
        ("torch.exp(a - b)", "(a - b).exp()"),
        ("torch.histogram(x, bins=4)", "x.histogram(4)"),
        ("torch.save(x, \"x.pt\")", "tensor::save(\"x.safetensors\", #{ x: x })"),
        ("torch.save(net.state_dict(), \"net.pth\")", "net.save(\"net.safetensors\")"),
        ("time.time()", "time::now()"),
        ("torch.save(x, p)", "tensor::save(p, x)"),
        ("torch.randint(10, [2])", "tensor::randint(0, 10, [2])"),
        ("torch.arange(10, dtype=torch.float64)", "tensor::arange(10, (), (), #{ dtype: \"float64\" })"),
        ("torch.einsum(\"ij,kj->ik\", x, y)", "tensor::einsum(\"ij,kj->ik\", [x, y])"),
        ("torch.fft.fft(x, 8)", "x.fft((), #{ n: 8 })"),
        ("math.log(2)", "ln(2.0)"),
        ("x.clamp(min=0)", "x.clamp(0)"),
        ("x.clamp(max=1.0)", "x.clamp((), 1.0)"),
        ("x.sort(descending=True)", "x.sort((), #{ descending: true })"),
        ("x.to(dtype=torch.float64)", "x.to(\"float64\")"),
        ("x.flip(0, 1)", "flip([0, 1])"),
        ("~m", "!m"),
        ("torch::randn(2, 3)", "tensor::randn([2, 3])"),
        ("torch.cuda.is_available()", "tensor::set_default_device(\"auto\")"),
        ("torch::cuda::empty_cache()", "leave the line out"),
        ("torch.device(\"cuda\")", "a device is a text"),
    ] {
        let hint = call_of(line);
        assert!(hint.contains(ours), "{line}: {hint}");
    }
}

#[test]
fn a_call_that_would_mean_something_else_is_not_translated() {
    for line in [
        "F.binary_cross_entropy_with_logits(x, y, w)",
        "torch.linalg.norm(x, 2)",
        "torch.max(x, y)",
        "torch.nn.Linear(2, 3)",
        "np.std(x)",
        "np.median(x)",
        "np.repeat(x, 2)",
        "torch.trapezoid(y, x)",
        "x.softmax(dim=1, dtype=torch.float64)",
        "x.unique(return_counts=True)",
        "F.interpolate(x, scale_factor=2, mode=\"area\")",
        "x[i, None]",
    ] {
        let hint = call_of(line);
        assert!(!hint.contains("write `"), "{line}: {hint}");
    }
}

#[test]
fn other_faults_are_left_to_the_grammar() {
    let engine = language(EngineOptions::default()).engine;
    let names = Names::of(&engine, None);
    for line in [
        "let a = (1 + 2;",
        "let x = null;",
        "if x = 3 { }",
        "let f = filter::gaussian(#{ sigma: 1.5 );",
        "let y = if a { b } else { c } d;",
        "for i in 0..3 { print(i) ",
        "x[0, 1",
        "switch x { 1 => 2 3 => 4 }",
        "#{ a: 1, b 2 }",
    ] {
        assert_eq!(grammar::instead(&Line::new(line), &names), None, "{line}");
    }
}
