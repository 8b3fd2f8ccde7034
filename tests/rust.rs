//! Scripts written in Rust: the prelude has the same names as scripts, accepts the same arguments and computes the
//! same results.
#![cfg(test)]

use spectral::declare::Scripted;
use spectral::prelude::*;
use spectral::session::Session;

/// Returns the value of a script.
fn script<T: Scripted>(source: &str) -> T {
    let mut session = Session::new(Default::default());
    let outcome =
        session.run_cell(source, "script").unwrap_or_else(|report| panic!("{}", report.render(false)));
    outcome.value().and_then(|value| value.downcast()).expect("a value of this type")
}

const SMALL: &str = "image_size: 28, depth: 1, hidden_size: 16, num_heads: 2, patch_size: 4";

#[test]
fn a_script_and_its_twin_in_rust_make_the_same_images() -> Result<()> {
    let scripted: Tensor = script(&format!(
        r#"
        let low = filter::gaussian(#{{ sigma: 1.5 }});
        let gate = gate::time(#{{ scale: 1.0 }});
        let net = model::dit(#{{ preset: "fashion_tiny", corrections: [correction(low, gate)], {SMALL} }});
        let images = data::fashion_mnist(#{{ split: "train" }}).take(64);
        let run = train::fit(net, images, #{{ steps: 3, batch: 8, lr: 1e-3 }});
        flow::sample(run.ema, #{{ labels: [0, 1, 2], steps: 2, guidance: 2.0 }})
        "#
    ));

    let low = filter::gaussian(map! { sigma: 1.5 })?;
    let gate = gate::time(map! { scale: 1.0 })?;
    let net = model::dit(map! {
        preset: "fashion_tiny", corrections: [correction(low, gate)?],
        image_size: 28, depth: 1, hidden_size: 16, num_heads: 2, patch_size: 4,
    })?;
    let images = data::fashion_mnist(map! { split: "train" })?.take(64)?;
    let run = train::fit(&net, &images, map! { steps: 3, batch: 8, lr: 1e-3 })?;
    let made = flow::sample(run.ema(), map! { labels: [0, 1, 2], steps: 2, guidance: 2.0 })?;

    assert_eq!(made.shape(), [3, 1, 28, 28]);
    assert!(made.equal(&scripted)?);
    let grid = plot::grid(&made, ())?;
    assert!(grid.describe().contains("3 grey images"), "{}", grid.describe());
    let found = eval::compare(&images, data::fashion_mnist(())?.take(64)?, map! { metrics: ["sobel_mean"] })?;
    assert_eq!(found.value("sobel_mean")?, found.real_value("sobel_mean")?);
    Ok(())
}

#[test]
fn a_part_its_loss_and_its_path_in_rust_are_those_of_a_script() -> Result<()> {
    let scripted: Tensor = script(&format!(
        r#"
        let bands = nn::part(|b| {{
            let gate = b.linear("gate", b.width, 2 * b.width, #{{ init: "kaiming_uniform" }});
            let low = filter::gaussian(#{{ sigma: 2.0 }});
            |r, c| {{
                let g = gate.forward(c.time).tanh().unsqueeze(1).chunk(2, -1);
                let l = low.apply(r, c.grid);
                c.keep("low", l);
                r + g[0] * l + g[1] * (r - l)
            }}
        }}, #{{ name: "bands" }}).at("attn", #{{ blocks: "last" }});
        let net = model::dit(#{{ parts: bands, {SMALL} }});
        let images = data::fashion_mnist().take(64);
        let path = flow::path(#{{ noise: |z, x1| z * 0.5 }});
        let loss = |s| (s.v - s.target).square().mean() + 0.1 * s.kept.low.square().mean();
        let run = train::fit(net, images, #{{ steps: 3, batch: 8, lr: 1e-2, path: path, loss: loss }});
        flow::sample(run.model, #{{ labels: [0, 1], steps: 2, path: path }})
        "#
    ));

    let bands = nn::part(
        function(|b: SharedBuilder| {
            let width = b.fact("width")?;
            let gate = b.linear("gate", width, 2 * width, Init::KaimingUniform)?;
            let low = filter::gaussian(map! { sigma: 2.0 })?;
            Ok(function(move |r: Tensor, c: Call| {
                let g = gate.forward(&c.time()?)?.tanh()?.unsqueeze(1)?.chunk(2, -1)?;
                let l = low.apply(&r, c.grid())?;
                c.keep("low", l.clone());
                (&r + (&g[0] * &l)?)? + (&g[1] * (&r - &l)?)?
            }))
        }),
        map! { name: "bands" },
    )?;
    let bands: Part = bands.at(Place::Attn, Some(Blocks::Last))?;
    let net = model::dit(map! {
        parts: &bands, image_size: 28, depth: 1, hidden_size: 16, num_heads: 2, patch_size: 4,
    })?;
    assert!(net.parameters().iter().any(|(name, _)| name == "blocks.0.parts.bands.gate.weight"));
    let images = data::fashion_mnist(())?.take(64)?;
    let path: Path = flow::path(map! { noise: function(|z: Tensor, _x1: Value| z * 0.5) })?;
    let loss = function(|s: Map| {
        let tensor = |map: &Map, key: &str| map.get(key).and_then(Value::downcast::<Tensor>);
        let Some(Value::Map(kept)) = s.get("kept") else { return Err(Error::argument("nothing was kept")) };
        match (tensor(&s, "v"), tensor(&s, "target"), tensor(kept, "low")) {
            (Some(v), Some(target), Some(low)) => {
                let error = (v - target)?.square()?.mean(&[], false)?;
                error + (low.square()?.mean(&[], false)? * 0.1)?
            }
            _ => Err(Error::argument("a loss needs `v`, `target` and `low`")),
        }
    });
    let run = train::fit(&net, &images, map! { steps: 3, batch: 8, lr: 1e-2, path: &path, loss: loss })?;
    let made = flow::sample(run.model(), map! { labels: [0, 1], steps: 2, path: &path })?;
    assert!(made.equal(&scripted)?);
    Ok(())
}

#[test]
fn the_loop_by_hand_lowers_the_loss() -> Result<()> {
    let net = model::dit(map! { depth: 1, hidden_size: 16, num_heads: 2, patch_size: 4 })?;
    let loader = data::fashion_mnist(())?.loader(&LoaderOptions { batch: 8, ..Default::default() })?;
    let opt = optim::adamw(&net, map! { lr: 1e-2, betas: [0.9, 0.99] })?;
    let ema = optim::ema(&net, 0.9, ())?;
    let generator = tensor::generator(1, ())?;
    let mut losses = Vec::new();
    for _ in 0..20 {
        let batch = loader.next()?;
        let t = tensor::rand([batch.len()], map! { generator: &generator })?;
        let pair = flow::pair(&batch.images, &t, map! { generator: &generator })?;
        let loss = (net.forward(&pair.x_t, &t, &batch.labels)? - &pair.target)?.square()?.mean(&[], false)?;
        opt.step(&loss, Some(1.0))?;
        ema.update(&net)?;
        losses.push(loss.item()?);
    }
    assert!(losses[19] < losses[0], "{losses:?}");
    Ok(())
}

#[test]
fn every_argument_may_be_what_a_script_could_give() -> Result<()> {
    // Arguments left out, in the middle and at the end.
    assert_eq!(tensor::arange(3, (), (), ())?.to_i64()?, [0, 1, 2]);
    assert_eq!(tensor::arange(0, 1, 0.5, map! { dtype: "float64" })?.to_f64()?, [0.0, 0.5]);
    // Arrays, vectors, slices, ranges and nested arrays.
    assert_eq!(tensor([[1, 2], [3, 4]], ())?.shape(), [2, 2]);
    let numbers = vec![3.0, 1.0, 2.0];
    let lines = plot::line(0..3, [map! { name: "loss", y: &numbers }], map! { y_label: "loss" })?;
    assert!(lines.describe().starts_with("line figure: 1 series, x 0 to 2"), "{}", lines.describe());
    assert!(plot::line(&numbers[..], (), ())?.describe().contains("1 series"));
    // An options struct, which the compiler checks.
    let typed = filter::ideal(spectral::filter::Ideal { cutoff: 0.5 })?;
    assert_eq!(typed, filter::ideal(map! { cutoff: 0.5 })?);
    // Names that are Rust keywords.
    assert_eq!(gate::r#static(())?.name(), "static");
    assert_eq!(filter::r#box(map! { width: 3 })?.name(), "box");
    // A closure with two arguments.
    let end = flow::integrate(
        function(|x: Tensor, _t: Tensor| Ok(x)),
        tensor::ones([1], ())?,
        map! { steps: 20, sampler: "rk4" },
    )?;
    assert!((end.item()? - std::f64::consts::E).abs() < 1e-5);
    let table = table::from_rows([map! { a: 1, b: "x" }, map! { a: 2, b: "y" }], ())?;
    assert_eq!(table.len(), 2);
    assert!(Object::text(&report::start("Title", ())?).contains("Title"));
    Ok(())
}

#[test]
fn messages_are_those_of_scripts() {
    let told = |error: Error| format!("{error}");
    let typo = told(filter::gaussian(map! { sigm: 1.5 }).unwrap_err());
    assert!(
        typo.contains("`filter::gaussian`: unknown option `sigm`") && typo.contains("did you mean `sigma`?"),
        "{typo}"
    );
    let range = told(filter::gaussian(map! { sigma: 1000 }).unwrap_err());
    assert!(range.contains("`sigma` must be from 0.1 to 64, found 1000"), "{range}");
    let wrong = told(flow::sample("model", ()).unwrap_err());
    assert!(wrong.contains("argument `model`: expected model, found the string"), "{wrong}");
    let closure = function(|r: f64| if r > 0.5 { Err(Error::argument("no")) } else { Ok(r) });
    assert!(told(filter::response(closure).unwrap_err()).contains("no"));
}
