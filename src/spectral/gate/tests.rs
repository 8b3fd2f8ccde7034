use super::*;
use crate::nn::Builder;
use crate::torch::{DType, Device};

fn width(both: i64) -> Width {
    Width { embedding: both, channels: both }
}

fn all() -> Vec<Gate> {
    vec![
        time(Time { scale: 0.5, ..Default::default() }).unwrap(),
        time_label(TimeLabel { scale: 0.5, ..Default::default() }).unwrap(),
        r#static(Static { scale: 2.0, ..Default::default() }).unwrap(),
        constant(Constant { low: 0.25, high: -1.0, ..Default::default() }).unwrap(),
    ]
}

/// Returns one gate per trainable kind, with a coefficient for each channel.
fn per_channel() -> Vec<Gate> {
    let per = || Per::Channel;
    vec![
        time(Time { scale: 0.5, per: per() }).unwrap(),
        time_label(TimeLabel { scale: 0.5, per: per() }).unwrap(),
        r#static(Static { scale: 2.0, per: per() }).unwrap(),
    ]
}

/// Returns the coefficients of two bands for one sample, after `set` has changed the parameters.
fn coefficients(gate: &Gate, set: impl Fn(&str, &Tensor)) -> Vec<f64> {
    of_bands(gate, 2, set).to_f64().unwrap()
}

fn of_bands(gate: &Gate, bands: i64, set: impl Fn(&str, &Tensor)) -> Tensor {
    let mut builder = Builder::seeded(0, DType::Float64, Device::Cpu);
    let layer = gate.layer(&mut builder, "freq_gate", bands, width(8)).unwrap();
    builder.finish().iter().for_each(|(name, parameter)| set(name, parameter));
    let full = |value| Tensor::full(&[1, 8], value, DType::Float64, Device::Cpu).unwrap();
    let (time, time_label) = (full(1.0), full(2.0));
    let t = Tensor::from_f64(&[0.5], &[1]).unwrap();
    layer.forward(&Condition { t: &t, time: &time, time_label: &time_label, grid: None }).unwrap()
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
    for gate in all().into_iter().chain(per_channel()) {
        for bands in if gate.name() == "constant" { 2..3 } else { 2..5 } {
            let mut builder = Builder::blank(DType::Float32, Device::Cpu);
            gate.layer(&mut builder, "freq_gate", bands, width(16)).unwrap();
            let made: i64 = builder.finish().iter().map(|(_, p)| p.count() as i64).sum();
            assert_eq!(gate.parameters(bands, width(16)), made, "{gate}");
        }
    }
}

#[test]
fn coefficients_are_one_for_each_band_or_for_each_channel_of_it() {
    let bias = |name: &str, parameter: &Tensor| {
        // The weights of the last layer are zero, so only its biases count.
        if name.ends_with("2.bias") || name.ends_with("logits") {
            let count = parameter.count();
            let values: Vec<f64> = (0..count).map(|i| i as f64 / count as f64).collect();
            parameter.copy_(&Tensor::from_f64(&values, &parameter.shape()).unwrap()).unwrap();
        }
    };
    for (i, (band, channel)) in all().iter().zip(per_channel()).enumerate() {
        let scale = if i == 2 { 2.0 } else { 0.5 };
        for (gate, shape) in [(band, &[1, 3][..]), (&channel, &[1, 3, 8])] {
            let found = of_bands(gate, 3, bias);
            assert_eq!(found.shape(), shape, "{gate}");
            let count = found.count();
            for (i, value) in found.to_f64().unwrap().into_iter().enumerate() {
                let expected = scale * (i as f64 / count as f64).tanh();
                assert!((value - expected).abs() < 1e-12, "{gate}: {value} {expected}");
            }
        }
    }
    let fixed = constant(Constant { values: vec![1.0, 2.0, 3.0], ..Default::default() }).unwrap();
    assert_eq!(of_bands(&fixed, 3, |_, _| ()).to_f64().unwrap(), [1.0, 2.0, 3.0]);
}

#[test]
fn fixed_coefficients_are_for_their_number_of_bands() {
    let both = constant(Constant { low: 1.0, values: vec![1.0], ..Default::default() }).unwrap_err();
    assert_eq!(both.message(), "`gate::constant`: expected `values`, or `low` and `high`, found both");
    let three = constant(Constant { values: vec![1.0, 2.0, 3.0], ..Default::default() }).unwrap();
    let message = |gate: &Gate, bands| gate.check_bands(bands).unwrap_err().message();
    assert_eq!(message(&three, 2), "a gate for three bands cannot weight two");
    assert_eq!(message(&all()[3], 3), "a gate for two bands cannot weight three");
    assert_eq!(three.to_string(), "gate::constant(#{ values: [1.0, 2.0, 3.0] })");
}

#[test]
fn gates_print_compare_and_come_back_from_their_stored_form() {
    let gates = [all(), per_channel()].concat();
    for (i, gate) in gates.iter().enumerate() {
        assert_eq!(&Gate::from_data(&gate.to_data()).unwrap(), gate);
        assert!(gates.iter().enumerate().all(|(j, other)| (i == j) == (gate == other)));
    }
    assert_eq!(gates[2].to_string(), "gate::static(#{ scale: 2.0 })");
    let error = Gate::from_data(&kind::stored("tme", Map::new())).unwrap_err();
    assert_eq!(error.hint_text(), Some("did you mean `time`?"));
}

#[test]
fn functions_of_the_user_give_coefficients_of_any_number_of_bands() {
    use crate::declare::function;
    use crate::declare::{Code, Function, IntoValue, Map, Value};
    let of = |rule: Function, bands| {
        let gate = Gate::new(Schedule { rule: Code::Live(rule) }).unwrap();
        let mut builder = Builder::seeded(0, DType::Float64, Device::Cpu);
        let layer = gate.layer(&mut builder, "freq_gate", bands, width(8)).unwrap();
        let time = Tensor::full(&[2, 8], 1.0, DType::Float64, Device::Cpu).unwrap();
        let t = Tensor::from_f64(&[0.25, 0.5], &[2]).unwrap();
        layer.forward(&Condition { t: &t, time: &time, time_label: &time, grid: None })
    };
    let mixed = function(|t: Tensor| {
        let early = t.rsub_scalar(1.0)?;
        Ok(vec![early.into_value(), Value::Int(2), Value::Float(-0.5)])
    });
    let found = of(mixed.clone(), 3).unwrap();
    assert_eq!(found.to_f64().unwrap(), [0.75, 2.0, -0.5, 0.5, 2.0, -0.5]);
    let error = of(mixed, 2).unwrap_err();
    assert!(
        error.message().contains("coefficients of 2 bands, [B, 2] or [B, 2, D], found an array of 3"),
        "{error}"
    );
    let wide = function(|t: Tensor| t.reshape(&[2, 1, 1])?.expand(&[2, 2, 8]));
    assert_eq!(of(wide.clone(), 2).unwrap().shape(), [2, 2, 8]);
    assert!(of(wide, 3).unwrap_err().message().contains("found shape [2, 2, 8]"));
    let own = Gate::new(Custom {
        make: Code::Live(Function::new(|values| {
            let builder = crate::nn::SharedBuilder::from_value(&values[0])?;
            let scale = builder.parameter("scale", &[1, 2], crate::nn::Init::Zeros)?;
            Ok(Value::Function(function(move |c: Map| {
                let time = Tensor::from_value(&c["time"])?;
                time.narrow(1, 0, 2)?.mul(&scale)
            })))
        })),
    });
    let own = own.unwrap();
    use crate::declare::FromValue;
    let mut builder = Builder::seeded(0, DType::Float64, Device::Cpu);
    own.layer(&mut builder, "freq_gate", 2, width(8)).unwrap();
    assert_eq!(builder.finish()[0].0, "freq_gate.scale");
    assert!(own == own.clone() && own != Gate::new(Schedule::default()).unwrap());
}
