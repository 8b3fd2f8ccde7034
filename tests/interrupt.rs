//! Interrupting a cell: whatever it does, it stops soon, and the session keeps everything it had.
#![cfg(test)]

use std::time::{Duration, Instant};

use spectral::context::{Context, Interrupt};
use spectral::script::engine::EngineOptions;
use spectral::script::failure::End;
use spectral::session::{Options, Session};

fn session(interrupt: &Interrupt) -> Session {
    let context = Context { interrupt: interrupt.clone(), ..Context::default() };
    let engine = EngineOptions { context, ..EngineOptions::default() };
    Session::new(Options { engine, ..Options::default() })
}

/// Runs a cell that would take minutes, interrupts it, and checks that the session still works.
#[track_caller]
fn stops(prepare: &str, long: &str) {
    let interrupt = Interrupt::default();
    let mut session = session(&interrupt);
    session.run_cell(prepare, "cell 1").unwrap_or_else(|e| panic!("{}", e.render(false)));
    let user = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(150));
        interrupt.raise();
        Instant::now()
    });
    let cell = format!("let before = tensor::ones([3]); {long}");
    let Err(report) = session.run_cell(&cell, "cell 2") else { panic!("the cell should not end") };
    let took = user.join().unwrap().elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    assert_eq!((report.end, report.message.as_str()), (End::Interrupted, "interrupted"));
    assert!(report.place.is_some(), "{report:?}");
    let check = "
        assert_eq(before.sum().item(), 3.0);
        assert((tensor([1.0], #{ requires_grad: true }) * 2).requires_grad);
        assert_eq((tensor::ones([2, 2]) @ tensor::ones([2, 2])).dtype, \"float32\");
        let model = model::dit(#{ preset: \"fashion_tiny\" });
        let run = train::fit(model, data::fashion_mnist().take(8), #{ steps: 1, batch: 4 });
        assert(run.loss < 100.0);
    ";
    session.run_cell(check, "cell 3").unwrap_or_else(|e| panic!("{}", e.render(false)));
}

#[test]
fn training() {
    let prepare =
        "let net = model::dit(#{ preset: \"fashion_tiny\" }); let set = data::fashion_mnist().take(200);";
    stops(prepare, "train::fit(net, set, #{ steps: 100000, batch: 64 });");
    stops(prepare, "train::fit(net, set, #{ steps: 100000, batch: 4, precision: \"bfloat16\" });");
    stops(
        prepare,
        "train::fit(net, set, #{ steps: 100000, batch: 2, on_step: |s| for i in 0..1000000 { tensor::ones([99, 99]).exp(); } });",
    );
}

#[test]
fn a_run_that_was_interrupted_is_there_afterwards() {
    let interrupt = Interrupt::default();
    let mut session = session(&interrupt);
    let prepare =
        "let net = model::dit(#{ preset: \"fashion_tiny\" }); let set = data::fashion_mnist().take(20);";
    session.run_cell(prepare, "cell 1").unwrap_or_else(|e| panic!("{}", e.render(false)));
    let none = session.run_cell("train::last()", "cell 2").map(drop).unwrap_err();
    assert!(none.message.contains("no run was stopped in this session"), "{none:?}");
    let user = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(600));
        interrupt.raise();
    });
    let long = "let run = train::fit(net, set, #{ steps: 100000, batch: 2, log_every: 1 });";
    let report = session.run_cell(long, "cell 3").map(drop).unwrap_err();
    user.join().unwrap();
    assert_eq!(report.end, End::Interrupted);
    let check = "
        let run = train::last();
        assert(run.steps > 0 && run.losses.len() == run.steps);
        assert_eq(run.history[-1].step, run.steps);
        assert_eq(flow::sample(run.ema, #{ labels: [0], steps: 1 }).shape, [1, 1, 28, 28]);
        train::fit(net, set, #{ steps: 1, batch: 2 });
    ";
    session.run_cell(check, "cell 4").unwrap_or_else(|e| panic!("{}", e.render(false)));
    session.run_cell("train::last()", "cell 5").map(drop).unwrap_err();
}

#[test]
fn training_with_parts() {
    // A part that runs long, and one that is called often.
    let model = |body: &str| {
        format!(
            "let own = nn::part(|b| {{
                 let gate = b.linear(\"gate\", b.width, b.width, #{{ init: \"zeros\" }});
                 |x, c| {{ {body} x + gate.forward(c.time).unsqueeze(1) * x }}
             }});
             let net = model::dit(#{{ preset: \"fashion_tiny\", parts: own.at(\"attn\") }});
             let set = data::fashion_mnist().take(200);"
        )
    };
    stops(
        &model("for i in 0..1000000 { tensor::ones([99, 99]).exp(); }"),
        "train::fit(net, set, #{ steps: 100000, batch: 4 });",
    );
    stops(&model(""), "train::fit(net, set, #{ steps: 100000, batch: 4, accumulate: 2 });");
    stops(&model(""), "flow::sample(net, #{ labels: tensor::arange(1000) % 10, steps: 1000 });");
}

#[test]
fn training_by_hand() {
    stops(
        "let net = model::dit(#{ preset: \"fashion_tiny\" }); let set = data::fashion_mnist().take(200);",
        "let opt = optim::adamw(net); let loader = set.loader(#{ batch: 64 });
         while true {
            let batch = loader.next();
            let t = tensor::rand([64]);
            let pair = flow::pair(batch.images, t);
            opt.step((net.forward(pair.x_t, t, batch.labels) - pair.target).square().mean());
         }",
    );
}

#[test]
fn sampling_and_evaluation() {
    stops(
        "let net = model::dit(#{ preset: \"fashion_tiny\" });",
        "flow::sample(net, #{ labels: tensor::arange(1000) % 10, steps: 1000 });",
    );
    stops(
        "let real = data::fashion_mnist(#{ split: \"test\" }); let noise = tensor::randn([5000, 1, 28, 28]).clamp(-1, 1);",
        "loop { eval::compare(real, noise); }",
    );
}

#[test]
fn one_call_that_takes_long() {
    stops(
        "let x = tensor::full([300, 300], 1.0 / 300.0, #{ requires_grad: true });
         let y = x; for i in 0..3000 { y = y @ x; }",
        "y.sum().backward();",
    );
}

#[test]
fn what_is_saved_after_an_interrupt_is_whole() {
    let interrupt = Interrupt::default();
    let guard = {
        spectral::torch::start();
        interrupt.raise();
        spectral::torch::interruptible(&interrupt)
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let x = spectral::torch::uninterrupted(|| {
        spectral::torch::Tensor::ones(&[2], spectral::torch::DType::Float32, spectral::torch::Device::Cpu)
    })
    .unwrap();
    let tensors = [("x".to_string(), x)].into();
    spectral::torch::io::save_safetensors(&path, &tensors, &Default::default()).unwrap();
    drop(guard);
    let loaded = spectral::torch::io::load_safetensors(&path, spectral::torch::Device::Cpu).unwrap();
    assert_eq!(loaded.tensors["x"].to_f32().unwrap(), [1.0, 1.0]);
}
