//! Facts and sizes in the list of variables: every kind of value that holds tensors reports its bytes and facts.
#![cfg(test)]

use spectral::declare::Value;
use spectral::session::{Options, Session};

fn value(session: &mut Session, code: &str) -> Value {
    let outcome = session.run_cell(code, "cell").map_err(|e| e.render(false)).unwrap();
    outcome.value().unwrap().clone()
}

fn facts(value: &Value) -> Vec<(&'static str, String)> {
    let Value::Object(object) = value else { panic!("{value:?}") };
    object.facts()
}

#[test]
fn tensors_and_what_holds_them() {
    let mut session = Session::new(Options::default());
    let mut get = |code: &str| value(&mut session, code);
    let x = get("let x = tensor::zeros([3, 5]); x");
    assert_eq!(x.bytes(), 60);
    let shown = [("shape", "[3, 5]"), ("dtype", "float32"), ("device", "cpu")];
    assert_eq!(facts(&x), shown.map(|(k, v)| (k, v.to_string())));
    assert_eq!(get("x.to(\"float64\")").bytes(), 120);
    // Containers add up the bytes of their tensors. Numbers and strings count as zero.
    assert_eq!(get("[x, #{ a: x, b: 1, c: [\"text\", x > 0.0] }]").bytes(), 60 + 60 + 15);

    let model =
        get("let net = model::dit(#{ image_size: 4, patch_size: 2, in_channels: 1, num_classes: 2, depth: 1,
        hidden_size: 16, num_heads: 2 }); net");
    let parameters = facts(&model)[0].1.parse::<u64>().unwrap();
    assert_eq!(model.bytes(), 4 * parameters);
    // Two moments as large as the parameters, and one update count per tensor.
    let Value::Int(tensors) = get("net.parameters().len()") else { panic!() };
    assert_eq!(get("optim::adamw(net)").bytes(), 8 * parameters + 4 * tensors as u64);
    assert_eq!(get("optim::ema(net, 0.9)").bytes(), 4 * parameters);
    let set = get("let set = data::from_tensors(tensor::zeros([6, 1, 4, 4]), tensor::arange(6) % 2); set");
    assert_eq!(set.bytes(), 6 * 16 * 4 + 6 * 8);
    // The first batch draws an order of six int64 values.
    assert_eq!(get("let l = set.loader(#{ batch: 2 }); l.next(); l").bytes(), set.bytes() + 6 * 8);
    let run = get("train::fit(net, set, #{ steps: 1, batch: 2 })");
    // The model keeps the gradients of the last step.
    assert_eq!(run.bytes(), 3 * 4 * parameters);
    assert_eq!(facts(&run)[0], ("steps", "1".to_string()));
    assert!(get("eval::features()").bytes() > 1000);
}
