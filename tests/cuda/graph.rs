//! Graphs compared with the same work without graphs: on the CPU with a recorder that replays operators and
//! kernels, on a GPU with libtorch's graphs.

use std::cell::Cell;
use std::sync::Mutex;

use spectral::context::Context;
use spectral::data::{Dataset, FromTensorsOptions, from_tensors};
use spectral::declare::{Function, IntoValue, OneOrMany, Value};
use spectral::error::{Error, Kind, Result};
use spectral::flow::losses::Step;
use spectral::flow::ode::Solver;
use spectral::flow::path::Predict;
use spectral::flow::sample::sample;
use spectral::flow::{Labels, Loss, Path, PathOptions, SampleOptions};
use spectral::model::{Config, Model};
use spectral::spectral::{Filter, correction, filter, gate};
use spectral::torch::graph::{Counts, Graphs, MOST, WARM_UP};
use spectral::torch::{DType, Device, Generator, Tensor, autograd, call, fused, no_grad};
use spectral::train::fit::fit;
use spectral::train::{FitOptions, Group, Groups, NotFinite, Precision, Run, Schedule};

use crate::emulation::{device, with_kernels};
use crate::recording::{replays, with_graphs};

fn random(shape: &[i64], seed: u64) -> Tensor {
    let generator = Generator::new(seed, Device::Cpu).unwrap();
    let values = Tensor::randn(shape, DType::Float32, Device::Cpu, Some(&generator)).unwrap();
    values.to_device(device()).unwrap()
}

/// Compares bit for bit on the CPU. On a GPU, allows the difference between two runs of the same product.
fn same(a: &Tensor, b: &Tensor) -> bool {
    if device().is_cuda() { a.allclose(b, 1e-4, 1e-5).unwrap() } else { a.equal(b).unwrap() }
}

/// Returns a model with `filter` on an odd grid, without any parameter equal to zero.
fn model(filter: &Filter) -> Model {
    let config = Config {
        image_size: 10,
        depth: 2,
        hidden_size: 20,
        num_heads: 2,
        ..Config::preset("fashion_tiny")
            .unwrap()
            .with_corrections(vec![correction(filter, gate::time(gate::Time::default()).unwrap()).unwrap()])
    };
    let model = Model::new(config, 0, device()).unwrap();
    for (i, (_, p)) in model.parameters().iter().enumerate() {
        let moved = random(&p.shape(), i as u64).mul_scalar(0.2).unwrap();
        no_grad(|| p.copy_(&p.add(&moved)?)).unwrap();
    }
    model
}

fn paper() -> Filter {
    filter::binomial(filter::Binomial::default()).unwrap()
}

/// Returns a body that computes `w x + 1` and counts its calls.
fn affine<'a>(w: &'a Tensor, calls: &'a Cell<usize>) -> impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + 'a {
    move |v| {
        calls.set(calls.get() + 1);
        Ok(vec![v[0].mul(w)?.add_scalar(1.0)?])
    }
}

fn one(graphs: &mut Graphs, x: &Tensor, body: &dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>) -> Tensor {
    graphs.run(0, std::slice::from_ref(x), body).unwrap().remove(0)
}

#[test]
fn a_function_runs_until_it_is_recorded_and_never_again() {
    with_graphs(|| {
        let (w, calls) = (random(&[3], 0), Cell::new(0));
        let body = affine(&w, &calls);
        let mut graphs = Graphs::new(device(), vec![w.clone()]);
        let mut earlier: Option<Tensor> = None;
        for i in 0..6 {
            let x = random(&[2, 3], 10 + i);
            let found = one(&mut graphs, &x, &body);
            assert!(same(&found, &x.mul(&w).unwrap().add_scalar(1.0).unwrap()), "call {i}");
            // A recording writes to its own memory, so each replay overwrites the earlier result.
            if i > WARM_UP as u64 {
                assert!(earlier.is_some_and(|earlier| earlier.equal(&found).unwrap()), "call {i}");
            }
            earlier = Some(found);
        }
        assert_eq!(calls.get(), WARM_UP + 1);
        assert_eq!(graphs.counts(), Counts { plain: WARM_UP, recorded: 1, replayed: 4 });
    });
}

#[test]
fn other_shapes_dtypes_and_functions_have_recordings_of_their_own() {
    with_graphs(|| {
        let (w, calls) = (random(&[3], 0), Cell::new(0));
        let body = affine(&w, &calls);
        let mut graphs = Graphs::new(device(), vec![w.clone()]);
        let wide = random(&[2, 3], 1);
        let half = wide.to_dtype(DType::BFloat16).unwrap();
        let narrow = random(&[1, 3], 2);
        let plus = |v: &[Tensor]| Ok(vec![v[0].add_scalar(7.0)?]);
        for _ in 0..WARM_UP + 2 {
            for x in [&wide, &half, &narrow] {
                assert!(same(&one(&mut graphs, x, &body), &x.mul(&w).unwrap().add_scalar(1.0).unwrap()));
            }
            let found = graphs.run(1, std::slice::from_ref(&wide), &plus).unwrap();
            assert!(same(&found[0], &wide.add_scalar(7.0).unwrap()));
        }
        assert_eq!(graphs.counts().recorded, 4);
        // This is one more than the cache keeps: the least recently used recording is dropped and must be recorded
        // again.
        let other = random(&[5, 3], 3);
        for x in [&other, &wide] {
            for _ in 0..WARM_UP + 1 {
                assert!(same(&one(&mut graphs, x, &body), &x.mul(&w).unwrap().add_scalar(1.0).unwrap()));
            }
        }
        assert_eq!(graphs.counts().recorded, MOST + 2);
    });
}

#[test]
fn weights_may_change_in_place_and_when_they_move_it_is_recorded_anew() {
    with_graphs(|| {
        let (w, calls) = (random(&[3], 0), Cell::new(0));
        let body = affine(&w, &calls);
        let mut graphs = Graphs::new(device(), vec![w.clone()]);
        let x = random(&[2, 3], 1);
        let check = |graphs: &mut Graphs| {
            let found = one(graphs, &x, &body);
            assert!(same(&found, &x.mul(&w).unwrap().add_scalar(1.0).unwrap()));
        };
        (0..WARM_UP + 1).for_each(|_| check(&mut graphs));
        w.copy_(&random(&[3], 5)).unwrap();
        check(&mut graphs);
        assert_eq!(graphs.counts().recorded, 1);
        let elsewhere = |seed| {
            let storage = [w.clone().into_value(), random(&[3], seed).into_value()];
            no_grad(|| call::call("set_.source_Tensor", &storage, &Default::default())).unwrap();
        };
        for round in 0..3 {
            elsewhere(6 + round);
            check(&mut graphs);
            check(&mut graphs);
            assert_eq!(graphs.counts().recorded, 2 + round as usize);
        }
        // Weights that keep moving are not worth recording again.
        elsewhere(9);
        let before = graphs.counts();
        check(&mut graphs);
        check(&mut graphs);
        assert_eq!(graphs.counts(), Counts { plain: before.plain + 2, ..before });
    });
}

#[test]
fn what_waits_for_the_device_is_computed_plainly() {
    const ALONE: &str = "SPECTRAL_TEST_ALONE";
    // No graph is recorded on CUDA in a process where one could not be ended.
    if device().is_cuda() && std::env::var_os(ALONE).is_none() {
        let mut own = std::process::Command::new(std::env::current_exe().unwrap());
        own.args(["--exact", "graph::what_waits_for_the_device_is_computed_plainly"]).env(ALONE, "1");
        let output = own.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    with_graphs(|| {
        let mut graphs = Graphs::new(device(), Vec::new());
        let body = |v: &[Tensor]| Ok(vec![v[0].mul_scalar(v[0].sum(&[], false)?.item()?)?]);
        for i in 0..5 {
            let x = random(&[4], i);
            let expected = body(std::slice::from_ref(&x)).unwrap().remove(0);
            assert!(same(&one(&mut graphs, &x, &body), &expected));
        }
        assert_eq!(graphs.counts(), Counts { plain: 5, recorded: 0, replayed: 0 });

        // The default generator draws, and other functions are computed.
        let drawn = || Tensor::rand(&[8], DType::Float32, device(), None).unwrap();
        assert!(!same(&drawn(), &drawn()));
        let (mut others, x) = (Graphs::new(device(), Vec::new()), random(&[4], 9));
        for _ in 0..5 {
            let found = one(&mut others, &x, &|v: &[Tensor]| Ok(vec![v[0].add_scalar(1.0)?]));
            assert!(same(&found, &x.add_scalar(1.0).unwrap()));
        }
    });
}

#[test]
fn an_error_or_an_interrupt_of_the_function_is_its_own() {
    with_graphs(|| {
        for kind in [Kind::Argument, Kind::Interrupted] {
            let mut graphs = Graphs::new(device(), Vec::new());
            let fails = Cell::new(false);
            let body = |v: &[Tensor]| match (fails.get(), kind) {
                (false, _) => Ok(vec![v[0].add_scalar(1.0)?]),
                (_, Kind::Interrupted) => Err(Error::interrupted()),
                _ => Err(Error::argument("the body fails")),
            };
            let x = random(&[4], 0);
            for _ in 0..WARM_UP {
                one(&mut graphs, &x, &body);
            }
            fails.set(true);
            let error = graphs.run(0, std::slice::from_ref(&x), &body).unwrap_err();
            assert_eq!(error.kind(), kind);
            // A failed recording leaves no trace: the device works, and so does the next call.
            fails.set(false);
            assert!(same(&one(&mut graphs, &x, &body), &x.add_scalar(1.0).unwrap()));
        }
    });
}

#[test]
fn without_a_recorder_or_under_autocast_it_is_computed_plainly() {
    let run = || {
        let (w, calls) = (random(&[3], 0), Cell::new(0));
        let body = affine(&w, &calls);
        let mut graphs = Graphs::new(device(), vec![w.clone()]);
        let x = random(&[2, 3], 1);
        for _ in 0..5 {
            one(&mut graphs, &x, &body);
        }
        graphs.counts()
    };
    let plainly = Counts { plain: 5, recorded: 0, replayed: 0 };
    assert_eq!(with_graphs(|| autograd::autocast(device(), || Ok(run())).unwrap()), plainly);
    if !device().is_cuda() {
        assert_eq!(run(), plainly);
    }
}

#[test]
fn copies_of_weights_in_bfloat16_are_current_in_a_replay() {
    let model = model(&paper());
    let weights = || model.parameters().iter().map(|(_, p)| p.clone()).collect();
    let (x, t) = (random(&[2, 1, 10, 10], 1), Tensor::full(&[2], 0.5, DType::Float32, device()).unwrap());
    let y = Tensor::from_i64(&[1, 10], &[2]).unwrap().to_device(device()).unwrap();
    let velocity = |v: &[Tensor]| {
        Ok(vec![autograd::autocast(device(), || model.forward_unchecked(&v[0], &v[1], &v[2]))?])
    };
    let inputs = [x, t, y];
    with_kernels(|| {
        with_graphs(|| {
            no_grad(|| {
                let mut graphs = Graphs::new(device(), weights());
                for round in 0..WARM_UP as u64 + 3 {
                    let found = graphs.run(0, &inputs, &velocity).unwrap()[0].copy().unwrap();
                    let expected = velocity(&inputs).unwrap().remove(0);
                    assert!(same(&found, &expected), "round {round}");
                    // The next round reads other weights, of which the bfloat16 copies are stale.
                    for (i, (_, p)) in model.parameters().iter().enumerate() {
                        let moved = random(&p.shape(), 100 * round + i as u64).mul_scalar(0.01).unwrap();
                        p.copy_(&p.add(&moved).unwrap()).unwrap();
                    }
                }
                assert_eq!(graphs.counts().replayed, 3);
            });
        });
    });
}

fn samples(model: &Model, cuda_graph: bool, sampler: Solver) -> Tensor {
    let options = SampleOptions { cuda_graph, sampler: sampler.into(), ..SampleOptions::default() };
    guided_samples(model, options)
}

fn guided_samples(model: &Model, options: SampleOptions) -> Tensor {
    let labels = Tensor::from_i64(&[0, 1, 2, 3, 10], &[5]).unwrap();
    let options = SampleOptions {
        labels: Some(Labels::Tensor(labels)),
        steps: 6,
        guidance: 1.7,
        guidance_interval: (0.3, 0.9),
        batch: Some(2),
        ..options
    };
    sample(model, &options, &Context::default()).unwrap()
}

#[test]
fn samples_are_those_without_graphs() {
    let model = model(&paper());
    for sampler in [Solver::Euler, Solver::Heun, Solver::Rk4] {
        // Without our fused CPU operators, which the recorder cannot see, since they are not libtorch operators.
        fused::with_reference_operators(|| {
            let plain = samples(&model, false, sampler);
            let before = if device().is_cuda() { 0 } else { replays() };
            assert!(
                same(&samples(&model, true, sampler), &plain),
                "{sampler}, where nothing may be recorded"
            );
            let recorded = with_graphs(|| samples(&model, true, sampler));
            assert!(same(&recorded, &plain), "{sampler}");
            assert!(device().is_cuda() || replays() > before, "{sampler}: nothing was replayed");
        });
    }
    let ((plain, recorded), _) = with_kernels(|| {
        (samples(&model, false, Solver::Heun), with_graphs(|| samples(&model, true, Solver::Heun)))
    });
    assert!(same(&recorded, &plain), "with kernels");
}

/// The host writes nothing while a graph is recorded: a replay would not write it again.
#[test]
fn guidance_by_a_weaker_model_or_of_some_channels_is_recorded() {
    let (strong, weak) = (model(&paper()), model(&paper()));
    for (_, p) in weak.parameters() {
        no_grad(|| p.copy_(&p.mul_scalar(0.8)?)).unwrap();
    }
    let weaker = SampleOptions { autoguidance: Some(weak.clone()), ..SampleOptions::default() };
    let some = SampleOptions { guidance_channels: Some(1), ..SampleOptions::default() };
    fused::with_reference_operators(|| {
        for (what, options) in [("a weaker model", &weaker), ("some channels", &some)] {
            let plain = guided_samples(&strong, options.clone());
            let before = if device().is_cuda() { 0 } else { replays() };
            let recorded = with_graphs(|| {
                guided_samples(&strong, SampleOptions { cuda_graph: true, ..options.clone() })
            });
            assert!(same(&recorded, &plain), "{what}");
            assert!(device().is_cuda() || replays() > before, "{what}: nothing was replayed");
        }
        let code = Some(model(&Filter::new(filter::Custom::default()).unwrap()));
        let options = SampleOptions { autoguidance: code, cuda_graph: true, ..SampleOptions::default() };
        let before = if device().is_cuda() { 0 } else { replays() };
        with_graphs(|| guided_samples(&strong, options));
        assert!(device().is_cuda() || replays() == before, "code of the weaker model was recorded");
    });
}

#[test]
fn a_filter_of_the_users_code_is_not_recorded() {
    let model = model(&Filter::new(filter::Custom::default()).unwrap());
    assert!(model.graphs(None).is_none());
    fused::with_reference_operators(|| {
        let plain = samples(&model, false, Solver::Euler);
        assert!(same(&with_graphs(|| samples(&model, true, Solver::Euler)), &plain));
    });
}

#[test]
fn an_interrupt_stops_sampling_between_replays() {
    let model = model(&paper());
    let context = Context::default();
    context.interrupt.raise();
    let labels = Some(Labels::Tensor(Tensor::from_i64(&[0], &[1]).unwrap()));
    let options = SampleOptions { labels, cuda_graph: true, ..SampleOptions::default() };
    let error = with_graphs(|| sample(&model, &options, &context)).unwrap_err();
    assert_eq!(error.kind(), Kind::Interrupted);
}

fn images() -> Dataset {
    let images = random(&[12, 1, 10, 10], 3).clamp(-1.0, 1.0).unwrap().to_device(Device::Cpu).unwrap();
    let labels = Tensor::from_i64(&(0..12).map(|i| i % 10).collect::<Vec<_>>(), &[12]).unwrap();
    from_tensors(&images, &labels, FromTensorsOptions::default()).unwrap()
}

fn trained(options: &FitOptions) -> (Model, Run) {
    let model = model(&paper());
    let run = fit(&model, &images(), options, &Context::default()).unwrap();
    (model, run)
}

fn assert_same_run(options: &FitOptions, what: &str) {
    let plain = trained(&FitOptions { cuda_graph: false, ..options.clone() });
    let before = if device().is_cuda() { 0 } else { replays() };
    let recorded = with_graphs(|| trained(&FitOptions { cuda_graph: true, ..options.clone() }));
    assert!(device().is_cuda() || replays() > before, "{what}: nothing was replayed");
    for ((name, a), (_, b)) in recorded.0.parameters().iter().zip(plain.0.parameters()) {
        assert!(same(a, b), "{what}: {name}");
        assert!(a.grad().is_none(), "{what}: {name} keeps a gradient");
    }
    let ema = |run: &Run| run.ema().parameters().iter().map(|(_, p)| p.clone()).collect::<Vec<_>>();
    for (a, b) in ema(&recorded.1).iter().zip(&ema(&plain.1)) {
        assert!(same(a, b), "{what}: the average");
    }
    if !device().is_cuda() {
        assert_eq!(recorded.1.losses(), plain.1.losses(), "{what}");
    }
}

#[test]
fn a_trained_model_is_that_without_graphs() {
    let options =
        FitOptions { steps: 7, batch: 4, lr: 1e-2, warmup: 3, log_every: 3, ..FitOptions::default() };
    let parts = FitOptions { accumulate: 2, clip: None, schedule: Schedule::Cosine, ..options.clone() };
    let bfloat16 = FitOptions { precision: Precision::BFloat16, ..options.clone() };
    fused::with_reference_operators(|| {
        assert_same_run(&options, "float32");
        assert_same_run(&parts, "in parts");
    });
    with_kernels(|| {
        assert_same_run(&options, "float32 with kernels");
        assert_same_run(&bfloat16, "bfloat16 with kernels");
    });
}

#[test]
fn predictions_of_the_image_and_groups_are_recorded_too() {
    let path = Path::new(PathOptions { predict: Predict::Image, ..PathOptions::default() }).unwrap();
    let bias = Group { r#match: OneOrMany(vec!["*.bias".to_string()]), lr: Some(1e-3), ..Group::default() };
    let options = FitOptions {
        steps: 6,
        batch: 4,
        lr: 1e-2,
        groups: Groups(vec![bias]),
        path,
        ..FitOptions::default()
    };
    fused::with_reference_operators(|| assert_same_run(&options, "a path and groups"));
    with_kernels(|| assert_same_run(&options, "a path and groups with kernels"));
}

#[test]
fn code_in_a_loss_or_in_guidance_is_not_recorded() {
    let loss = Function::new(|values| {
        let s: Step = values[0].downcast().unwrap();
        let [v, target] = ["v", "target"].map(|name| s.get(name).unwrap().downcast::<Tensor>().unwrap());
        spectral::flow::loss(&v, &target).map(IntoValue::into_value)
    });
    let options = FitOptions { steps: 5, batch: 4, loss: Loss::Function(loss), ..FitOptions::default() };
    let guide = Function::new(|values| Ok(values[0].clone()));
    let labels = Some(Labels::Tensor(Tensor::from_i64(&[0, 1], &[2]).unwrap()));
    let steered = |cuda_graph| {
        let options = SampleOptions {
            labels: labels.clone(),
            steps: 5,
            guide: Some(guide.clone()),
            cuda_graph,
            ..SampleOptions::default()
        };
        sample(&model(&paper()), &options, &Context::default()).unwrap()
    };
    fused::with_reference_operators(|| {
        let (plain, expected) = (trained(&options).1, steered(false));
        let before = if device().is_cuda() { 0 } else { replays() };
        let run = with_graphs(|| trained(&FitOptions { cuda_graph: true, ..options.clone() }).1);
        assert!(same(&with_graphs(|| steered(true)), &expected));
        assert!(device().is_cuda() || replays() == before, "code was recorded");
        if !device().is_cuda() {
            assert_eq!(run.losses(), plain.losses());
        }
    });
}

#[test]
fn a_run_goes_on_with_and_without_graphs() {
    fused::with_reference_operators(|| {
        let folder = tempfile::tempdir().unwrap();
        let options = |steps, cuda_graph, out: &str| FitOptions {
            steps,
            batch: 4,
            lr: 1e-2,
            out: out.to_string(),
            cuda_graph,
            ..FitOptions::default()
        };
        let whole = trained(&options(9, false, "")).0;
        let out = folder.path().join("run").to_string_lossy().into_owned();
        with_graphs(|| trained(&options(5, true, &out)));
        trained(&options(7, false, &out));
        let (last, _) = with_graphs(|| trained(&options(9, true, &out)));
        for ((name, a), (_, b)) in last.parameters().iter().zip(whole.parameters()) {
            assert!(same(a, b), "{name}");
        }
    });
}

/// Returns a callback that sets a weight to NaN after step 4, when steps are replayed, and restores it after step
/// 6.
fn breaks(weight: Tensor) -> Function {
    let kept = Mutex::new(None);
    Function::new(move |values| {
        let Value::Map(row) = &values[0] else { unreachable!() };
        if matches!(row["step"], Value::Int(4)) {
            *kept.lock().unwrap() = Some(weight.copy()?);
            weight.fill_(f64::NAN)?;
        }
        if matches!(row["step"], Value::Int(6)) {
            weight.copy_(kept.lock().unwrap().as_ref().unwrap())?;
        }
        Ok(Value::Unit)
    })
}

#[test]
fn a_loss_that_is_not_finite_changes_nothing_also_in_a_replay() {
    let run = |cuda_graph, not_finite: NotFinite| {
        let model = model(&paper());
        let options = FitOptions {
            steps: 9,
            batch: 4,
            lr: 1e-2,
            cuda_graph,
            not_finite,
            on_step: Some(breaks(model.parameters()[0].1.clone())),
            ..FitOptions::default()
        };
        let outcome = fit(&model, &images(), &options, &Context::default());
        (model, outcome.map(|run| run.skipped().to_vec()).map_err(|e| e.message()))
    };
    fused::with_reference_operators(|| {
        for not_finite in [NotFinite::Skip, NotFinite::Stop] {
            let (plain, expected) = run(false, not_finite);
            let (recorded, outcome) = with_graphs(|| run(true, not_finite));
            assert_eq!(outcome, expected);
            assert_eq!(outcome.is_ok(), not_finite == NotFinite::Skip);
            // The first parameter is the one that was set to NaN.
            for ((name, a), (_, b)) in recorded.parameters().iter().zip(plain.parameters()).skip(1) {
                assert!(same(a, b), "{not_finite}: {name}");
            }
        }
    });
}
