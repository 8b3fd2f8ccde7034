use super::*;
use crate::nn::Builder;
use crate::torch::{DType, Device};

fn all() -> Vec<Gate> {
    vec![
        time(Time { scale: 0.5 }).unwrap(),
        time_label(TimeLabel { scale: 0.5 }).unwrap(),
        r#static(Static { scale: 2.0 }).unwrap(),
        constant(Constant { low: 0.25, high: -1.0 }).unwrap(),
    ]
}

/// The coefficients for one sample, and the gate's parameters, after `set` has changed them.
fn coefficients(gate: &Gate, set: impl Fn(&str, &Tensor)) -> Vec<f64> {
    let mut builder = Builder::seeded(0, DType::Float64, Device::Cpu);
    let layer = gate.layer(&mut builder, "freq_gate", 8).unwrap();
    builder.finish().iter().for_each(|(name, parameter)| set(name, parameter));
    let full = |value| Tensor::full(&[1, 8], value, DType::Float64, Device::Cpu).unwrap();
    let (time, time_label) = (full(1.0), full(2.0));
    layer.forward(&Condition { time: &time, time_label: &time_label }).unwrap().to_f64().unwrap()
}

fn near(found: &[f64], expected: [f64; 2]) -> bool {
    found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12)
}

#[test]
fn trained_gates_start_at_zero_and_fixed_ones_where_they_are_set() {
    let gates = all();
    for gate in &gates[..3] {
        assert_eq!(coefficients(gate, |_, _| ()), [0.0, 0.0], "{gate}");
    }
    assert_eq!(coefficients(&gates[3], |_, _| ()), [0.25, -1.0]);
}

#[test]
fn coefficients_are_those_of_the_formula() {
    let gates = all();
    let set = |name: &str, parameter: &Tensor| {
        assert!(name.starts_with("freq_gate"));
        // W1 of ones over eight inputs, b1 = 0, W2 of ones over two, b2 = -1.
        parameter
            .fill_(if name.ends_with("2.bias") {
                -1.0
            } else if name.ends_with("0.bias") {
                0.0
            } else {
                1.0
            })
            .unwrap();
    };
    let silu = |x: f64| x / (1.0 + (-x).exp());
    let expected = |c: f64| 0.5 * (2.0 * silu(8.0 * c) - 1.0).tanh();
    assert!(near(&coefficients(&gates[0], set), [expected(1.0); 2]));
    assert!(near(&coefficients(&gates[1], set), [expected(2.0); 2]));
    assert!(near(&coefficients(&gates[2], set), [2.0 * 1f64.tanh(); 2]));
}

#[test]
fn counted_parameters_are_those_that_are_made() {
    for gate in all() {
        let mut builder = Builder::blank(DType::Float32, Device::Cpu);
        gate.layer(&mut builder, "freq_gate", 16).unwrap();
        let made: i64 = builder.finish().iter().map(|(_, p)| p.count() as i64).sum();
        assert_eq!(gate.parameters(16), made, "{gate}");
    }
}

#[test]
fn gates_print_compare_and_come_back_from_their_stored_form() {
    let gates = all();
    for (i, gate) in gates.iter().enumerate() {
        assert_eq!(&Gate::from_data(&gate.to_data()).unwrap(), gate);
        assert!(gates.iter().enumerate().all(|(j, other)| (i == j) == (gate == other)));
    }
    assert_eq!(gates[2].to_string(), "gate::static(#{ scale: 2.0 })");
    let error = Gate::from_data(&kind::stored("tme", Map::new())).unwrap_err();
    assert_eq!(error.hint_text(), Some("did you mean `time`?"));
}
