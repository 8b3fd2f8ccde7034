//! Additions of our dialect to rhai: indices for several dimensions, and in-place operators.
#![cfg(test)]

use spectral::session::{Options, Session};

/// Runs a script whose assertions must hold.
fn holds(script: &str) {
    let mut session = Session::new(Options::default());
    if let Err(report) = session.run_cell(script, "cell") {
        panic!("{script}\n{}", report.render(false));
    }
}

/// Returns the message, hint and column of a script's error.
fn refused(script: &str) -> (String, String, usize) {
    let report =
        Session::new(Options::default()).run_cell(script, "cell").err().unwrap_or_else(|| panic!("{script}"));
    let column = report.place.as_ref().map_or(0, |p| p.column);
    (report.message, report.hint.unwrap_or_default(), column)
}

#[test]
fn a_closure_may_read_the_value_whose_method_calls_it() {
    for assert in [
        "let xs = [1.0, 2.0]; assert_eq(xs.map(|x| x / xs[1]), [0.5, 1.0]); xs[0] = 3.0; assert_eq(xs, [3.0, 2.0]);",
        "let m = #{ a: 1, b: 2 }; assert_eq(m.keys().filter(|k| m[k] > 1), [\"b\"]);",
        "let m = #{ a: 1, b: 2 }; let large = |k| m[k] > 1; assert_eq(m.keys().filter(large), [\"b\"]);",
        "let m = #{ xs: [1, 2], k: 3 }; assert_eq(m.xs.map(|x| x * m.k), [3, 6]);",
        "let xs = [3, 1]; assert_eq(xs.reduce(|sum, x| sum + x * xs[0], 0), 12); assert(xs.some(|x| x > xs[1]));",
        "let xs = [1, 2]; let out = []; xs.for_each(|i| out.push(i + xs[0])); assert_eq(out, [1, 2]);",
        "let xs = [[1], [2]]; assert_eq(xs.map(|x| x.filter(|y| xs.len() > y)), [[1], []]);",
    ] {
        holds(assert);
    }
    let (message, hint, column) = refused("let xs = [1, 2]; xs.retain(|x| x > xs[0]);");
    assert_eq!(message, "`xs` cannot be read in the function that `xs.retain(..)` calls");
    assert!(hint.contains("`let before = xs;`") && column == 0, "{hint} {column}");
    holds("let xs = [1, 2]; let before = xs; xs.retain(|x| x > before[0]); assert_eq(xs, [2]);");
}

const X: &str = "let x = tensor([[1, 2, 3], [4, 5, 6]]); ";

#[test]
fn a_tensor_is_read_with_an_index_for_each_dimension() {
    for assert in [
        "assert_eq(x[0, 1].item(), 2);",
        "assert_eq(x[-1, -1].item(), 6);",
        "assert_eq(x[.., 0], tensor([1, 4]));",
        "assert_eq(x[0, ..], tensor([1, 2, 3]));",
        "assert_eq(x[.., ..], x); assert_eq(x[..], x);",
        "assert_eq(x[.., 1..], tensor([[2, 3], [5, 6]]));",
        "assert_eq(x[.., ..2], tensor([[1, 2], [4, 5]]));",
        "assert_eq(x[.., -2..], tensor([[2, 3], [5, 6]]));",
        "assert_eq(x[.., ..-1], tensor([[1, 2], [4, 5]]));",
        "assert_eq(x[1.., 0..=1], tensor([[4, 5]]));",
        "assert_eq(x[(), 1], tensor([2, 5]));",
        "assert_eq(x[.., [2, 0]], tensor([[3, 1], [6, 4]]));",
        "assert_eq(x[x[.., 0] > 1, 0], tensor([4]));",
        "let m = #{ a: #{ b: x } }; assert_eq(m.a.b[0, 1].item(), 2); assert_eq(m[\"a\"].b[1, 0].item(), 4);",
        "let l = [x, x]; assert_eq(l[1][1, 2].item(), 6);",
        "let f = |a| a; assert_eq(f.call(x)[0, 1].item(), 2); assert_eq((x + x)[0, 1].item(), 4);",
        "let i = 1; assert_eq(x[i, i + 1].item(), 6); assert_eq(x[x[0, 0].item(), 0].item(), 4);",
        "assert_eq(x[.., 1..][1, 0].item(), 5); assert_eq(x[1, 1..][0].item(), 5);",
        "assert_eq(`${x[0, 1].item()} x[0, 1]`, \"2 x[0, 1]\");",
        "fn g() { this[0, 1] } assert_eq(x.g().item(), 2);",
        "assert_eq(x?[0, 1].item(), 2);",
        "assert_eq([x[0, 0], x[1, 1]].map(|v| v.item()), [1, 5]); // x[9, 9]",
        "let y = tensor::zeros([2, 1, 4, 4]); assert_eq(y[0, 0, 1, 2].item(), 0.0); assert_eq(y[.., 0, 1..3].shape, [2, 2, 4]);",
        "let v = switch 1 { 1 => [1, 2], _ => [] }; assert_eq(v, [1, 2]); let w = |a| [a, 1]; assert_eq(w.call(3), [3, 1]);",
    ] {
        holds(&format!("{X}{assert}"));
    }
}

#[test]
fn a_tensor_is_written_with_an_index_for_each_dimension() {
    for assert in [
        "x[0, 1] = 9; assert_eq(x, tensor([[1, 9, 3], [4, 5, 6]]));",
        "x[.., 0] = 0; assert_eq(x, tensor([[0, 2, 3], [0, 5, 6]]));",
        "x[1, 1..] = tensor([7, 8]); assert_eq(x, tensor([[1, 2, 3], [4, 7, 8]]));",
        "x[0, 1] += 10; assert_eq(x[0, 1].item(), 12);",
        "x[.., 2] *= tensor([2, 3]); assert_eq(x[.., 2], tensor([6, 18]));",
        "x[x[.., 0] > 1, 0] -= 1; assert_eq(x[.., 0], tensor([1, 3]));",
        "let m = #{ a: x }; m.a[0, 1] = 5; assert_eq(x[0, 1].item(), 5);",
        "let l = [x]; l[0][1, 2] = 5; assert_eq(x[1, 2].item(), 5);",
        "x[0][1] = 5; assert_eq(x[0, 1].item(), 5);",
        "for i in 0..2 { for j in 0..3 { x[i, j] = i * j; } } assert_eq(x, tensor([[0, 0, 0], [0, 1, 2]]));",
    ] {
        holds(&format!("{X}{assert}"));
    }
}

/// NumPy and PyTorch change the copy alone.
#[test]
fn an_assignment_into_a_copy_is_an_error() {
    let setup = "let mask = tensor([true, false]); let rows = [1, 0]; ";
    for write in [
        "x[mask][0] = 7;",
        "x[x > 3][1] += 1;",
        "x[rows][0, 1] = 7;",
        "x[tensor(rows)][0][1] = 7;",
        "x[0][mask.logical_not(), ..][0] = 7;",
        "x[mask].zero_();",
        "x[rows, 1].add_(1);",
        "let m = #{ a: x }; m.a[mask][0] = 7;",
    ] {
        let (message, hint, _) = refused(&format!("{X}{setup}{write}"));
        assert!(message.starts_with("a mask or several indices select a copy"), "{write}: {message}");
        assert!(hint.contains("x[mask] = part"), "{hint}");
    }
    for write in [
        "let part = x[mask]; part[0] = 7; x[mask] = part; assert_eq(x[0], tensor([7, 7, 7]));",
        "let i = 1; x[i][0] = 7; x[i][1..][0] = 8; assert_eq(x[1], tensor([7, 8, 6]));",
        "let i = tensor(1); x[i][0] = 7; assert_eq(x[1, 0].item(), 7);",
        "let i = 0; x[i, 1..][0] = 9; x[i].add_(1); assert_eq(x[0], tensor([2, 10, 4]));",
        "let g = [[1, 2], [3]]; for i in 0..2 { g[i][0] = 5; } assert_eq(g, [[5, 2], [5]]);",
        "let k = \"a\"; let m = #{ a: [x] }; m[k][0][1] = 0; assert_eq(x[1].sum().item(), 0);",
        "assert_eq(x[mask][0].sum().item(), 6);",
    ] {
        holds(&format!("{X}{setup}{write}"));
    }
}

#[test]
fn a_switch_compares_variables_that_closures_have_captured() {
    holds(
        r#"
        let pick = |word| |x| switch word { "a" => x, "b" | "c" => -x, _ => 0 };
        assert_eq([pick.call("a").call(2), pick.call("c").call(2), pick.call("d").call(2)], [2, -2, 0]);
        let n = 3;
        let read = || n;
        assert_eq(switch n { 3 => "three", 1..3 => "low", _ => "none" }, "three");
        n = 1;
        assert_eq(switch [n, read.call()] { [1, 1] => "ones", _ => "none" }, "ones");
        assert_eq(switch n { 0..2 => "low", _ => "none" }, "low");
        "#,
    );
}

#[test]
fn a_wrong_index_is_shown_where_it_stands() {
    let (message, _, column) = refused("let x = tensor([[1, 2, 3]]);  x[0, 7]");
    assert_eq!(message, "index 7 is out of bounds for dimension 1 of size 3");
    assert_eq!(column, 32);
    // Rewriting before the parser must not shift the columns that follow.
    let (message, _, column) = refused("let x = tensor([[1]]); x[0, 0] + x[.., 0] + nothing");
    assert_eq!((message.as_str(), column), ("there is no variable `nothing`", 45));
    let (message, ..) = refused("let x = tensor([1]); x[0, 0]");
    assert!(message.starts_with("2 indices are too many"), "{message}");
    for script in ["[[1, 2]][0, 1]", "let a = [[1, 2]]; a[0, 1]", "let m = #{ a: 1 }; m[0, 1]"] {
        let (message, hint, _) = refused(script);
        assert!(hint.contains("`x[0][1]`"), "{script}: {message}; {hint}");
    }
}

#[test]
fn operators_in_place_write_into_the_tensor() {
    for script in [
        "let x = tensor([6.0]); let y = x; x += 2; x -= 1; x *= 3; x /= 7; assert_eq(y, tensor([3.0]));",
        "let x = tensor([7, 5]); let y = x; x %= 4; x **= 2; assert_eq(y, tensor([9, 1]));",
        "let m = tensor([true, false]); let n = m; m &= true; m |= n; m ^= tensor([true, true]); assert_eq(n, tensor([false, true]));",
        "let x = tensor([1.0]); let y = x; x = x + 1; assert_eq(y, tensor([1.0]));",
        "fn twice(t) { t *= 2; } let x = tensor([1.0]); twice(x); assert_eq(x, tensor([2.0]));",
        "let l = [tensor([1.0])]; for t in l { t += 1; } assert_eq(l[0], tensor([2.0]));",
        "let l = [tensor([1.0])]; for t in l { t += 1; let f = || t; } assert_eq(l[0], tensor([2.0]));",
        "let m = #{ a: tensor([1.0]) }; let y = m.a; m.a += 1; assert_eq(y, tensor([2.0]));",
        // A number is promoted to a new tensor, as in Python.
        "let t = tensor([1.0]); let sum = 0; for i in 0..2 { sum += t; } assert_eq([sum, t], [tensor([2.0]), tensor([1.0])]);",
        "let x = tensor([1.0, 2.0], #{ requires_grad: true }); no_grad(|| { x -= 0.5; }); assert_eq(x.detach(), tensor([0.5, 1.5]));",
        "let x = tensor([1.0], #{ requires_grad: true }); let y = x * 2; y += 1; y.sum().backward(); assert_eq(x.grad, tensor([2.0]));",
        "let x = tensor([3.0], #{ requires_grad: true }); (x * x).sum().backward(); x.grad *= 2; assert_eq(x.grad, tensor([12.0]));",
        "let x = tensor([1.0]).to(\"bfloat16\"); x += 1; assert_eq(x.dtype, \"bfloat16\");",
        "let a = [1]; a += 2; assert_eq(a, [1, 2]); let s = \"a\"; s += \"b\"; assert_eq(s, \"ab\");",
    ] {
        holds(script);
    }
}

#[test]
fn operators_in_place_are_refused_as_in_pytorch() {
    let leaf = "let x = tensor([1.0, 2.0], #{ requires_grad: true }); ";
    let (message, hint, _) = refused(&format!("{leaf}x += 1;"));
    assert_eq!(message, "a leaf Variable that requires grad is being used in an in-place operation");
    assert!(hint.contains("no_grad"), "{hint}");
    let (message, ..) = refused(&format!("{leaf}x[0] *= 2;"));
    assert_eq!(
        message,
        "a view of a leaf Variable that requires grad is being used in an in-place operation"
    );
    let (message, ..) = refused("let x = tensor([1, 2]); x += 0.5;");
    assert!(message.contains("float32 can't be cast to the desired output type int64"), "{message}");
    let (message, hint, _) = refused("let x = tensor([1, 2]); x += tensor([[1, 2], [3, 4]]);");
    assert!(
        message.contains("doesn't match the broadcast shape") && hint.contains("x = x + y"),
        "{message}; {hint}"
    );
    let (message, ..) = refused("const X = tensor([1.0]); X += 1;");
    assert!(message.contains("`X` is a constant"), "{message}");
}

#[test]
fn absurd_widths_digits_and_ranges_are_errors_or_plain_text() {
    let (message, ..) = refused("text::pad_left(\"a\", 9223372036854775807)");
    assert!(message.contains("`width`: expected at most 100000"), "{message}");
    for script in [
        "tensor([1.0]).sum(-9223372036854775808..2)",
        "tensor(0..9223372036854775807)",
        "plot::line(0..1000000000)",
    ] {
        let (message, ..) = refused(script);
        assert!(message.contains("has more than 10000000 entries"), "{script}: {message}");
    }
    holds(
        "assert_eq(text::pad(\"ab\", 4), \"ab  \"); assert_eq(text::fmt(0.5, 9223372036854775807), \"0.5\");",
    );
}

#[test]
fn functions_that_sort_and_choose_entries_may_fail_and_must_answer_with_a_bool_or_a_number() {
    holds(
        "let r = [0.3, 0.1, 0.2, 0.1].map(|loss, i| #{ loss: loss, i: i });
         r.sort(|a, b| a.loss - b.loss);
         assert_eq(r.map(|x| x.i), [1, 3, 2, 0]);
         r.sort(|a, b| a.loss > b.loss);
         assert_eq(r.map(|x| x.i), [0, 2, 1, 3]);
         r.sort(|a, b| b.i - a.i);
         assert_eq(r.map(|x| x.i), [3, 2, 1, 0]);
         let limit = 1;
         fn large(x) { x > 2 }
         assert_eq([[1, 2, 3].filter(|x| x > limit), [1, 2, 3].filter(|x, i| i == 0)], [[2, 3], [1]]);
         assert_eq([[1, 2, 3].filter(large), [1, 2, 3].filter(|| this < 2)], [[3], [1]]);
         assert_eq([[1, 2, 3].some(large), [1, 2, 3].all(large), [].all(large)], [true, false, true]);
         assert_eq([[1, 2, 3].find(large), [1, 2].find(large), [1, 5, 7].find(large, -1)], [3, (), 7]);
         assert_eq([[1, 2, 3].index_of(large), [1, 2].index_of(large), [1, 3].index_of(3)], [2, -1, 1]);
         assert_eq([(1..4).map(|i| i * i), (1..=2).map(|n, i| n * 10 + i), (3..3).map(large)], [[1, 4, 9], [10, 21], []]);
         let a = [1, 2, 3, 4];
         assert_eq([a.retain(large), a], [[1, 2], [3, 4]]);
         assert_eq([a.drain(|x| x == 3), a, a.drain(0..1), a], [[3], [4], [4], []]);
         let m = #{ a: 1, b: 3 };
         assert_eq([m.filter(|k, v| v > 2), m.filter(|k| k == \"a\")], [#{ b: 3 }, #{ a: 1 }]);
         assert_eq([m.retain(|k, v| v > 2), m], [#{ a: 1 }, #{ b: 3 }]);
         let d = [1, 2, 2, 4];
         d.dedup(|a, b| b - a < 2);
         assert_eq(d, [1, 4]);",
    );
    for (script, text) in [
        ("let a = [2, 1]; a.sort(|a, b| throw \"no\");", "no"),
        ("let a = [2, 1]; a.dedup(|a, b| throw \"no\");", "no"),
        (
            "let a = [2, 1]; a.sort(|a, b| 0.0 / 0.0);",
            "expected a function that returns a number or a bool, found NaN",
        ),
        ("let a = [2, 1]; a.sort(|a, b| print(a));", "found `()`"),
        ("[2, 1].filter(|x| x % 2)", "filter: expected a function that returns a bool, found int"),
        ("[tensor(1)].all(|x| x > 0)", "all: expected a function that returns a bool, found tensor"),
        ("#{ a: 1 }.filter(|k| k)", "filter: expected a function that returns a bool, found string"),
        ("(0..1000000000000).map(|i| i)", "has more than 10000000 entries"),
        ("[3, \"x\"].sort()", "elements of different types cannot be sorted"),
    ] {
        let (message, ..) = refused(script);
        assert!(message.contains(text), "{script}: {message}");
    }
}
