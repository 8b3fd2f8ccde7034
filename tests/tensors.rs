//! Tensors at the prompt: language features beyond function calls, and the messages that a user reads after a
//! mistake.
#![cfg(test)]

use spectral::session::{Options, Session};

/// Returns the printed result of a cell.
fn shown(code: &str) -> String {
    let mut session = Session::new(Options::default());
    match session.run_cell(code, "cell") {
        Ok(outcome) => outcome.display(80).map(|d| d.text).unwrap_or_default(),
        Err(report) => panic!("{code}\n{}", report.render(false)),
    }
}

/// Returns the report of a cell that must fail.
fn refused(code: &str) -> String {
    let mut session = Session::new(Options::default());
    match session.run_cell(code, "cell") {
        Ok(_) => panic!("{code}\nwas expected to fail"),
        Err(report) => report.render(false),
    }
}

#[test]
fn compound_assignment_is_in_place() {
    assert_eq!(
        shown("let x = tensor([1.0, 2.0]); let y = x; x += 2; x *= 3; [x.to_array(), y.to_array()]"),
        { "[[9.0, 12.0], [9.0, 12.0]]" }
    );
}

#[test]
fn names_share_a_tensor_until_it_is_copied() {
    let code = "let x = tensor([1, 2]); let y = x; let z = x.clone(); y[0] = 9; [x[0].item(), z[0].item()]";
    assert_eq!(shown(code), "[9, 1]");
}

#[test]
fn numbers_for_tensors_of_libtorch_operators_are_exact_and_keep_the_dtype() {
    let code = r#"
        let one = tensor([1.0], #{ dtype: "float64" });
        [
            aten("eq", [tensor([16777217]), 16777216]).item(), aten("mul", [one, 0.1]).item() == 0.1,
            aten("where.self", [tensor([true]), tensor([1]), 16777217]).dtype,
            aten("where.self", [tensor([false]), tensor([1]), 16777217]).item(),
            aten("mul", [tensor([1.0]), 0.1]).dtype, aten("add", [tensor([1.0], #{ dtype: "bfloat16" }), 2]).dtype,
            aten("add", [tensor([1]), 0.5]).dtype,
        ]"#;
    let expected = r#"[false, true, "int64", 16777217, "float32", "bfloat16", "float32"]"#;
    assert_eq!(shown(code), expected);
}

#[test]
fn rows_and_elements_are_iterated_over() {
    let code = "let s = []; for row in tensor([[1, 2], [3, 4]]) { for x in row { s.push(x.item()) } } s";
    assert_eq!(shown(code), "[1, 2, 3, 4]");
    assert!(refused("for x in tensor(3) { x }").contains("has no rows to iterate over"));
}

#[test]
fn chained_indices_write_through() {
    let code = "let x = tensor::zeros([2, 3]); x[1][2] = 7; x[0][0..2] += 1; x.to_array()";
    assert_eq!(shown(code), "[[1.0, 1.0, 0.0], [0.0, 0.0, 7.0]]");
}

#[test]
fn a_method_of_entries_leaves_the_tensor_alone() {
    let code = "let w = tensor([[1.0, 2.0], [3.0, 4.0]]).requires_grad(true);
        fn twice() { this * 2 }
        let e = w.exp();
        let both = grad(e[.., 0].sum() + e.sum(), w) / e;
        [w[0].sum().item(), w[w > 2].sum().item(), w[0].twice().sum().item(), both[0].detach().round().to_array()]";
    assert_eq!(shown(code), "[3.0, 7.0, 6.0, [2.0, 1.0]]");
    // A mask or a list gives a copy, as in PyTorch, and an integer or a range a view.
    let code = "let z = tensor([3.0, -1.0, 5.0]);
        let copy = z[z > 0]; copy.clamp_(0, 2);
        let before = z.to_array(); z[1].fill_(7); z[z > 4] += 1; [before, z.to_array()]";
    assert_eq!(shown(code), "[[3.0, -1.0, 5.0], [3.0, 8.0, 6.0]]");
}

#[test]
fn entries_that_change_keep_their_gradients() {
    let code = "let w = tensor([[1.0, 2.0], [3.0, 4.0]]).requires_grad(true);
        let slopes = |change| { let y = w * 1; change.call(y); grad(y.sum(), w).to_array() };
        [slopes.call(|y| { y[0] *= 3; }), slopes.call(|y| { y[1][0] = 7; }), slopes.call(|y| { y[0] = y[0].detach(); })]";
    assert_eq!(shown(code), "[[[3.0, 3.0], [1.0, 1.0]], [[1.0, 1.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]]]");
}

#[test]
fn constants_can_be_computed_with() {
    assert_eq!(shown("const C = tensor([1, 2]); (C * 2 + C[0] - 1).to_array()"), "[2, 4]");
}

#[test]
fn the_matrix_product_binds_as_a_product() {
    let code = "let a = tensor([[1, 2], [3, 4]]); let v = tensor([1, 1]); (a @ v + v * 10).to_array()";
    assert_eq!(shown(code), "[13, 17]");
    assert_eq!(shown("fn f(a, b) { a @ b } f(tensor([1, 2]), tensor([3, 4])).item()"), "11");
}

#[test]
fn text_and_tensors_meet_in_messages() {
    assert_eq!(shown("let x = tensor(2); `x is ${x}`"), "\"x is tensor [] int64 cpu: 2\"");
    assert_eq!(shown("\"x: \" + tensor(2)"), "\"x: tensor [] int64 cpu: 2\"");
}

#[test]
fn recording_goes_on_after_a_failing_closure() {
    let code =
        "let w = tensor([1.0]).requires_grad_(); try { no_grad(|| w.nope()) } catch {} (w * 2).requires_grad";
    assert_eq!(shown(code), "true");
}

#[test]
fn attention_can_be_differentiated_twice() {
    // The gradient of the squared gradients, against attention written out in operators.
    let code = r#"
        for dtype in ["float32", "float64"] { for kind in ["plain", "causal", "mask", "fewer keys"] {
            tensor::seed(1);
            let keys = if kind == "fewer keys" { 3 } else { 5 };
            let draw = |n| tensor::randn([2, 3, n, 4], #{ dtype: dtype });
            let inputs = [draw.call(5), draw.call(keys), draw.call(keys)];
            for x in inputs { x.requires_grad_(); }
            let q = inputs[0];
            let k = inputs[1];
            let v = inputs[2];
            let bias = tensor::zeros([5, keys], #{ dtype: dtype });
            if kind == "causal" { bias = bias.masked_fill(tensor::ones([5, 5]).triu(1) > 0.5, -1e30); }
            if kind == "mask" { bias = tensor::randn([5, 5], #{ dtype: dtype }); }
            let fused = switch kind {
                "causal" => q.attention(k, v, #{ causal: true }),
                "mask" => q.attention(k, v, #{ mask: bias }),
                _ => q.attention(k, v),
            };
            let written = (q.matmul(k.transpose(-1, -2)) / 2.0 + bias).softmax(-1).matmul(v);
            let twice = |out| {
                let first = grad((out ** 3).sum(), inputs, #{ create_graph: true });
                let sizes = first.map(|g| g.square().sum());
                grad(sizes[0] + sizes[1] + sizes[2], inputs)
            };
            let found = twice.call(fused);
            let expected = twice.call(written);
            for i in 0..3 {
                let allowed = if dtype == "float64" { 1e-13 } else { 1e-5 };
                let error = ((found[i] - expected[i]).abs().max() / expected[i].abs().max()).item();
                assert(error < allowed, `${dtype}, ${kind}, input ${i}: ${error}`);
            }
        } }"#;
    shown(code);
}

#[test]
fn derivatives_along_a_tangent_are_those_of_finite_differences() {
    let code = r#"
        for family in ["spectraldit", "sit", "lightningdit"] {
            let net = model::dit(#{
                image_size: 8, patch_size: 2, in_channels: 1, num_classes: 2, depth: 2, hidden_size: 32, num_heads: 2,
                family: family, corrections: correction(filter::gaussian(#{ sigma: 1.0 }), gate::time()),
            }).to("float64");
            tensor::seed(2);
            no_grad(|| { for p in net.parameters().values() { p.copy_(tensor::randn(p.shape) * 0.2); } });
            let draw = || tensor::randn([3, 1, 8, 8], #{ dtype: "float64" });
            let x = draw.call();
            let v = draw.call();
            let t = tensor([0.2, 0.5, 0.7], #{ dtype: "float64" });
            let y = tensor([0, 1, 0]);
            let f = |x, t| net.forward(x, t, y);
            let both = jvp(f, [x, t], [v, tensor::ones_like(t)]);
            // Times are embedded in float32, too coarse for differences of times.
            let e = 1e-5;
            let expected = no_grad(|| (f.call(x + v * e, t) - f.call(x - v * e, t)) / (2 * e));
            let error = (jvp(f, [x, t], [v, ()])[1] - expected).abs().max() / expected.abs().max();
            assert(error.item() < 1e-7, `${family}: ${error}`);
            // A weighted sum of the derivative is the gradient of the weighted output along the tangents.
            let w = draw.call();
            x.requires_grad_();
            t.requires_grad_();
            let slope = grad((f.call(x, t) * w).sum(), [x, t]);
            let expected = ((slope[0] * v).sum() + slope[1].sum()).item();
            assert_close((both[1] * w).sum().item() / expected, 1.0, 1e-6);
            assert(both[0].requires_grad && !both[1].requires_grad);
            assert_eq(both[0].detach(), no_grad(|| f.call(x, t)));
        }"#;
    shown(code);
    // An input that is computed from another one moves alone, and what does not depend on a moving input stays.
    let code = r#"
        let a = tensor([2.0], #{ requires_grad: true });
        let b = a * 3;
        let one = tensor([1.0]);
        let both = jvp(|a, b| a * b, [a, b], [one, ()]);
        let none = jvp(|a| b * 5, a, one);
        let curve = jvp(|a| a ** 3, a, one, #{ create_graph: true })[1];
        let off = no_grad(|| jvp(|a| a * 2, a, one));
        [both[1].item(), grad(both[0], a).item(), none[1].item(), grad(curve, a).item(), off[0].requires_grad]"#;
    assert_eq!(shown(code), "[6.0, 12.0, 0.0, 12.0, false]");
    let error = refused("jvp(|x| x * 2, tensor([1.0, 2.0]), tensor([1.0]))");
    assert!(error.contains("tangent 0 must be a tensor [2] float32 as its input"), "{error}");
    let error = refused("jvp(|x, y| x * y, [tensor([1.0]), tensor([1.0])], tensor([1.0]))");
    assert!(error.contains("a tangent or `()` for each input, found 1 and 2 in `inputs`"), "{error}");
}

#[test]
fn parameters_change_inside_no_grad_only() {
    let code = "let w = tensor([1.0]).requires_grad_(); no_grad(|| w.sub_(0.5)); w.item()";
    assert_eq!(shown(code), "0.5");
    assert!(
        refused("tensor([1.0]).requires_grad_().add_(1)")
            .contains("change parameters inside `no_grad(|| ..)`")
    );
}

#[test]
fn a_script_trains_a_line_by_hand() {
    let code = "
        let x = tensor::linspace(-1, 1, 32).unsqueeze(1);
        let y = 3.0 * x + 0.5;
        let w = tensor([[0.0]]).requires_grad_();
        let b = tensor([0.0]).requires_grad_();
        for step in 0..200 {
            let loss = (x @ w + b).mse_loss(y);
            loss.backward();
            no_grad(|| { w.sub_(0.3 * w.grad); b.sub_(0.3 * b.grad); });
            w.zero_grad();
            b.zero_grad();
        }
        assert_close([w.item(), b.item()], [3.0, 0.5], 1e-4);
    ";
    shown(code);
}

/// The results are those of PyTorch 2.11.
#[test]
fn numbers_and_empty_arguments_act_as_in_pytorch() {
    let first = "fn u8(x) { tensor(x, #{ dtype: \"uint8\" }) } let mask = tensor([true, false]);";
    for (code, expected) in [
        ("tensor::arange(24).reshape([2, 3, 4]).at(0, (), 1)", "[1, 5, 9]"),
        ("u8([0, 1, 2, 200, 255]).trapezoid()", "330.5"),
        ("u8([1, 2]).copysign(-1)", "[-1.0, -2.0]"),
        ("u8([1, 200]).fmod(300)", "[1, 24]"),
        ("u8([1, 200]).floor_divide(300)", "[0, 4]"),
        ("u8([1, 200]).div(-3, #{ rounding: \"floor\" })", "[0, 0]"),
        ("tensor([1, 2]).where(mask, 2.5)", "[1.0, 2.5]"),
        ("tensor::where(mask, u8([1, 2]), -1)", "[1, 255]"),
        ("mask.scatter(0, tensor([1]), 1)", "[true, true]"),
        ("tensor([1, 5]).scatter(0, tensor([1]), 2.5)", "[1, 2]"),
        ("tensor([1, 5]).masked_fill(mask, 2.5)", "[2, 5]"),
        ("tensor([1, 5]).index_fill(0, tensor([1]), 2.5)", "[1, 2]"),
        ("let z = tensor(3.0); z[z > 0]", "[3.0]"),
        ("tensor([[1, 2], [3, 4]]).prod((), #{ keepdim: true })", "[[24]]"),
        ("tensor([[1, 2], [3, 4]]).sum(#{ keepdim: true })", "[[10]]"),
        ("tensor([[1, 2], [3, 4]]).prod([0, -1])", "24"),
        ("tensor([[1, 2], [3, 4]]).median((), #{ keepdim: true })", "[[2]]"),
        ("tensor::zeros([2, 2]).gaussian_nll_loss(tensor::ones([2, 2]), tensor([1.0, 1.0]))", "0.5"),
    ] {
        let (last, before) = code.rsplit_once("; ").map_or((code, ""), |(before, last)| (last, before));
        assert_eq!(shown(&format!("{first} {before}; ({last}).to_array()")), expected, "{code}");
    }
}

#[test]
fn every_mistake_has_one_clear_message() {
    let cases = [
        ("tensor::ones([2, 3]) + tensor::ones([4])", "`+`: shapes [2, 3] and [4] cannot be broadcast"),
        (
            "tensor::ones([1, 2]) @ tensor::ones([1, 2])",
            "the last size on the left must equal the second last",
        ),
        ("tensor([[1.0]]) @ tensor([[1]])", "convert one of them: `.to(\"float32\")`"),
        ("tensor([1, 2]).mean()", "convert integers first: `.to(\"float32\")`"),
        ("tensor::ones([2, 3]).sum(5)", "dimensions count from 0; negative ones count from the end"),
        ("tensor::ones([2]).sum(0, #{ keepdims: true })", "did you mean `keepdim`?"),
        ("tensor::zeros([2], #{ dtype: \"flaot32\" })", "did you mean `float32`?"),
        ("tensor([1.0]).to(\"gpu\")", "unknown device \"gpu\""),
        ("tensor([1.0]).to(\"mps\")", "\"mps\" is neither a dtype nor a device"),
        ("tensor::zeros([-1])", "a size of -1 in shape [-1] is negative"),
        ("tensor::zeros([1000000000000, 1000000000000])", "use a smaller shape"),
        ("tensor::linspace(0, 1, -3)", "number of steps must be non-negative"),
        ("tensor([[1, 2], [3]])", "entry 1 has shape [1], but entry 0 has shape [2]"),
        ("tensor([1.0, 2.0])[5]", "index 5 is out of bounds for dimension 0 of size 2"),
        ("tensor([1.0, 2.0])[[0, 9]]", "index 9 is out of bounds for dimension 0 of size 2"),
        ("tensor([1.0, 2.0])[[0.5]]", "expected indices of dtype int64 or a bool mask"),
        ("tensor([1.0])[\"a\"]", "an array, a mask or an int64 tensor, found the string \"a\""),
        ("let x = tensor([1.0]); x[\"a\"] = 3", "an int64 tensor, found the string \"a\""),
        ("tensor([1.0]).shap", "did you mean `shape`?"),
        ("tensor([1.0]).summ()", "did you mean `sum`?"),
        ("tensor([1.0]).sum(\"a\")", "argument `dim`: expected int or array of ints, found the string \"a\""),
        ("tensor([1.0]) + \"a\"", "expected a tensor or a number, found the string \"a\""),
        ("tensor([1.0]) + [1.0]", "make the array a tensor: `tensor([..])`"),
        ("tensor::cat([1, 2])", "entry 0: expected tensor, found the integer 1"),
        ("if tensor([1.0, 2.0]) > 1 { 5 }", "a mask becomes one bool"),
        ("tensor([1.0, 2.0]).item()", "expected a tensor with one element, found shape [2]"),
        ("tensor([1.0]).backward()", "call `.requires_grad_()` on a tensor before computing with it"),
        ("tensor([1]).requires_grad_()", "make it of floats first"),
        ("tensor([1.0, 2.0]).topk(7)", "expected k from 0 to 2"),
        ("tensor::ones([2, 3]).mse_loss(tensor::ones([3]))", "expected a target of shape [2, 3], found [3]"),
        ("tensor::ones([2, 3]).cross_entropy(tensor([0, 1]).int())", "convert the labels: `.to(\"int64\")`"),
        ("tensor::ones([2, 3]).cross_entropy(tensor([0.0, 1.0]))", "convert the labels: `.to(\"int64\")`"),
        ("tensor::ones([2, 3]).cross_entropy(tensor([0, 7]))", "target 7 is out of bounds"),
        ("tensor([[1.0]]).embedding(tensor([3]))", "index 3 is out of range for dimension 0 of size 1"),
        ("-tensor([true])", "`!mask` inverts a mask"),
        ("!tensor([1.0])", "a comparison such as `x > 0` makes a mask"),
        ("tensor([1]).gelu()", "gelu: not implemented for int64"),
        ("tensor([1, 2]).std()", "convert integers first: `.to(\"float32\")`"),
        ("tensor([1.0]).gather(0, tensor([0.0]))", "convert the indices: `.to(\"int64\")`"),
        ("tensor::bernoulli(1.5, [2])", "expected a probability from 0 to 1, found 1.5"),
        ("tensor([1, 2, 3]).clamp_(0.5, 2.5)", "result type float32 can't be cast to"),
        ("let x = tensor([1], #{ dtype: \"int8\" }); x[0] = 300", "expected numbers from -128 to 127"),
        ("tensor::full([2], 300, #{ dtype: \"uint8\" })", "which are those of uint8, found 300"),
        (
            "tensor([[1.0, 2.0]]).pad([1, 1], #{ mode: \"reflect\", value: 3 })",
            "option `value` has no meaning",
        ),
        ("tensor([1], #{ dtype: \"uint8\" }).maximum(-3)", "expected numbers from 0 to 255"),
        ("let w = tensor([1.0]).requires_grad_(); no_grad(|| (w * 2).backward())", "gradients are off here"),
        (
            "tensor::zeros([2]).gaussian_nll_loss(tensor::ones([2]), tensor([1.0, -1.0]))",
            "variances of at least 0",
        ),
        ("tensor::ones([2, 3]).instance_norm()", "expected more than one value per mean, found shape [2, 3]"),
        ("tensor::ones([1, 3]).group_norm(3)", "expected more than one value per mean, found shape [1, 3]"),
        ("tensor::ones([1, 3]).batch_norm(#{ training: true })", "expected more than one value per mean"),
        ("tensor::rand(2, #{ seed: 1, generator: tensor::generator(1) })", "are mutually exclusive"),
        ("tensor::load(\"none.npy\")", "none.npy: there is no such file or folder"),
        ("tensor::load(\"none.txt\")", "none.txt: there is no such file or folder"),
        ("tensor([1]).save(\"none.txt\")", "expected a .npy, .npz or .safetensors file, found"),
        ("aten(\"rleu\", [tensor([1.0])])", "did you mean `relu`?"),
        ("aten(\"relu\", [tensor([1.0])], #{ slope: 1 })", "its schema is"),
    ];
    for (code, expected) in cases {
        let report = refused(code);
        assert!(report.contains(expected), "{code}\n{report}");
        assert!(!report.contains("defect") && !report.contains(".cpp"), "{code}\n{report}");
        assert!(report.starts_with("error: ") && report.contains("^"), "{code}\n{report}");
    }
}

/// libtorch computes sums and products of these values before it checks that they fit.
#[test]
fn windows_too_large_for_any_image_are_refused() {
    let code = r#"
        let x = tensor::rand([1, 1, 4, 4]); let line = tensor::rand([1, 1, 4]); let w = tensor::ones([1, 1, 2, 2]);
        let said = [];
        for k in [9223372036854775807, -9223372036854775807, 4611686018427387904, 2147483648, 2147483647, 1000000] {
            for f in [
                || line.max_pool1d(k), || line.avg_pool1d(k), || x.max_pool2d(k), || x.avg_pool2d(k),
                || line.max_pool1d(2, #{ padding: k }), || x.max_pool2d(2, #{ padding: k }),
                || x.conv2d(w, #{ padding: k }), || x.conv2d(w, #{ dilation: k }), || x.conv2d(w, #{ groups: k }),
                || x.conv_transpose2d(w, #{ stride: k }), || x.conv_transpose2d(w, #{ dilation: k }),
                || x.pixel_shuffle(k), || x.pixel_unshuffle(k), || x.im2col(k), || x.im2col(2, #{ dilation: k }),
                || line.col2im(k, 2), || x.adaptive_avg_pool2d(k),
            ] {
                try { f.call(); said.push("nothing") } catch (e) { said.push(e.message) }
            }
        }
        [said.len, said.filter(|m| m == "nothing").len]
    "#;
    assert_eq!(shown(code), "[102, 0]");
    let told = refused("tensor::rand([1, 1, 4]).max_pool1d(9223372036854775807)");
    assert!(told.contains("expected a `kernel` of at most 2147483647, found 9223372036854775807"), "{told}");
}
