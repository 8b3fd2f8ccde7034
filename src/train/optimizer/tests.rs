//! Updates by hand, clipping, values that are not finite, restored states, master weights.

use super::*;

fn scalar(value: f64) -> (Tensor, Parameters) {
    let w = Tensor::from_f64(&[value], &[1]).unwrap().set_requires_grad(true).unwrap();
    (w.clone(), Parameters::new(vec![("w".into(), w)]).unwrap())
}

/// Returns the loss `w^2 / 2`, whose gradient is w.
fn bowl(w: &Tensor) -> Tensor {
    w.square().unwrap().sum(&[], false).unwrap().mul_scalar(0.5).unwrap()
}

#[test]
fn two_updates_by_hand() {
    let (w, parameters) = scalar(2.0);
    let options =
        AdamWOptions { lr: 0.1, betas: (0.5, 0.75), weight_decay: 0.2, eps: 0.0, ..Default::default() };
    let opt = Optimizer::new(&parameters, &options).unwrap();
    // First: m = 0.5 * 2 = 1, corrected 1 / 0.5 = 2; v = 0.25 * 4 = 1, corrected 1 / 0.25 = 4; so the
    // step is 2 / 2 = 1, and the decay takes 0.1 * 0.2 of the weight before: 2 * 0.98 - 0.1 = 1.86.
    opt.step(&bowl(&w), None).unwrap();
    assert!((w.item().unwrap() - 1.86).abs() < 1e-12);
    // Second: m = 0.5 * 1 + 0.5 * 1.86, corrected by 0.75; v = 0.75 * 1 + 0.25 * 1.86^2, by 0.4375.
    let expected = 1.86 * 0.98 - 0.1 * (1.43 / 0.75) / (1.6149f64 / 0.4375).sqrt();
    opt.step(&bowl(&w), None).unwrap();
    assert!((w.item().unwrap() - expected).abs() < 1e-12);
    assert_eq!(opt.updates(), 2);
}

#[test]
fn clipping_inside_the_update_equals_clipping_before_it() {
    let options = AdamWOptions { lr: 0.1, eps: 1.0, ..Default::default() };
    let (a, parameters) = scalar(7.0);
    let fused = Optimizer::new(&parameters, &options).unwrap();
    assert_eq!(fused.step(&bowl(&a), Some(0.5)).unwrap().item().unwrap(), 7.0);
    let (b, parameters) = scalar(7.0);
    let plain = Optimizer::new(&parameters, &options).unwrap();
    bowl(&b).backward(None, false).unwrap();
    super::super::clip::clip_grad_norm(&parameters, 0.5).unwrap();
    plain.update(None, None).unwrap();
    assert!(a.allclose(&b, 1e-7, 0.0).unwrap());
    // With eps 1 the size of the gradient matters: unclipped, the step would be 0.1 * 7 / 8.
    assert!((a.item().unwrap() - (7.0 - 0.1 * 0.5 / 1.5)).abs() < 1e-6);
}

#[test]
fn a_loss_is_used_for_one_step() {
    let (w, parameters) = scalar(1.0);
    let opt = Optimizer::new(&parameters, &AdamWOptions::default()).unwrap();
    let loss = bowl(&w);
    opt.step(&loss, None).unwrap();
    let error = opt.step(&loss, None).unwrap_err();
    assert_eq!(error.message(), "an earlier `step` or `backward` has freed the graph of this loss");
    assert!(error.hint_text().unwrap().starts_with("compute the loss again before each step"), "{error}");
    assert_eq!(opt.updates(), 1);
}

#[test]
fn a_loss_that_is_not_finite_changes_nothing_and_is_named() {
    let (w, parameters) = scalar(1.0);
    let opt = Optimizer::new(&parameters, &AdamWOptions::default()).unwrap();
    opt.step(&bowl(&w), None).unwrap();
    let (before, state) = (w.item().unwrap(), opt.state().unwrap());
    for bad in [f64::NAN, f64::INFINITY] {
        let error = opt.step(&bowl(&w).mul_scalar(bad).unwrap(), Some(1.0)).unwrap_err();
        assert!(error.message().contains("at update 2"), "{error}");
        assert_eq!(w.item().unwrap(), before);
        assert!(opt.state().unwrap().iter().all(|(k, t)| t.equal(&state[k]).unwrap()));
    }
    opt.step(&bowl(&w), None).unwrap();
    assert!(w.item().unwrap() < before);
}

#[test]
fn updates_after_an_unreported_failure_change_nothing() {
    let (w, parameters) = scalar(1.0);
    let opt = Optimizer::new(&parameters, &AdamWOptions::default()).unwrap();
    for factor in [f64::NAN, 1.0, 1.0] {
        let loss = bowl(&w).mul_scalar(factor).unwrap();
        opt.zero_grad().unwrap();
        loss.backward(None, false).unwrap();
        opt.update(Some(&loss), None).unwrap();
    }
    assert_eq!(w.item().unwrap(), 1.0);
    assert!(opt.verify().unwrap_err().message().contains("at update 1;"));
}

#[test]
fn a_restored_state_continues_alike() {
    let (a, parameters) = scalar(3.0);
    let opt = Optimizer::new(&parameters, &AdamWOptions::default()).unwrap();
    opt.step(&bowl(&a), None).unwrap();
    let (b, parameters) = scalar(a.item().unwrap());
    let other = Optimizer::new(&parameters, &AdamWOptions::default()).unwrap();
    other.load_state(&opt.state().unwrap()).unwrap();
    opt.step(&bowl(&a), None).unwrap();
    other.step(&bowl(&b), None).unwrap();
    assert_eq!(a.item().unwrap(), b.item().unwrap());
    assert_eq!(other.updates(), 2);

    let mut state = opt.state().unwrap();
    state.remove("exp_avg.w");
    assert_eq!(other.load_state(&state).unwrap_err().message(), "the state lacks `exp_avg.w`");
    state.insert("exp_avg.w".into(), Tensor::from_f64(&[1.0, 2.0], &[2]).unwrap());
    assert!(other.load_state(&state).unwrap_err().message().contains("must be a tensor [1] float64"));
}

/// Steps too small for bfloat16 still accumulate: near 1 its numbers are 1/128 apart.
#[test]
fn small_steps_of_short_parameters_add_up() {
    for dtype in [DType::BFloat16, DType::Float16] {
        let make = || {
            let w = Tensor::ones(&[2], dtype, Device::Cpu).unwrap().set_requires_grad(true).unwrap();
            let parameters = Parameters::new(vec![("w".into(), w.clone())]).unwrap();
            let options = AdamWOptions { lr: 1e-4, ..Default::default() };
            (w, Optimizer::new(&parameters, &options).unwrap())
        };
        let step =
            |w: &Tensor, opt: &Optimizer| opt.step(&w.sum(&[], false).unwrap(), None).map(drop).unwrap();
        let (w, opt) = make();
        (0..300).for_each(|_| step(&w, &opt));
        assert!((w.to_f64().unwrap()[0] - 0.97).abs() < 0.005, "{dtype:?}");
        // A restored state continues to the same bits, master weights included.
        let state = opt.state().unwrap();
        assert_eq!(state["master.w"].dtype(), DType::Float32);
        let (other, again) = make();
        other.copy_(&w.detach().unwrap()).unwrap();
        again.load_state(&state).unwrap();
        for _ in 0..50 {
            step(&w, &opt);
            step(&other, &again);
        }
        let bits = |opt: &Optimizer| opt.state().unwrap()["master.w"].to_f32().unwrap();
        assert_eq!(bits(&opt), bits(&again));
        // A parameter set from outside is picked up, and so is a state without master weights and with moments
        // in the parameter's dtype.
        w.fill_(5.0).unwrap();
        step(&w, &opt);
        assert!(bits(&opt).iter().all(|x| (x - 5.0).abs() < 0.01));
        let mut old = state;
        old.remove("master.w");
        for key in ["exp_avg.w", "exp_avg_sq.w"] {
            old.insert(key.to_string(), old[key].to_dtype(dtype).unwrap());
        }
        again.load_state(&old).unwrap();
        assert_eq!(bits(&again), other.to_f32().unwrap());
    }
}

#[test]
fn parameters_must_record_gradients() {
    let w = Tensor::from_f32(&[1.0], &[1]).unwrap();
    let error = Parameters::new(vec![("w".into(), w)]).unwrap_err();
    assert_eq!(error.message(), "parameter `w` does not record gradients");
}
