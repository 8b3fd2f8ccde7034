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
