//! Scripts written in Rust: the prelude has the same names as scripts, takes typed arguments and computes the same
//! results.
#![cfg(test)]

mod embed;
mod start;

use spectral::declare::Scripted;
use spectral::flow::losses::Step;
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

fn small() -> Config {
    Config {
        image_size: 28,
        depth: 1,
        hidden_size: 16,
        num_heads: 2,
        patch_size: 4,
        ..Size::FashionTiny.into()
    }
}

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

    let low = filter::gaussian(filter::Gaussian { sigma: 1.5 })?;
    let gate = gate::time(gate::Time { scale: 1.0, ..Default::default() })?;
    let corrections = correction(low, gate)?.into();
    let net = model::dit(Config { corrections, ..small() })?;
    let images =
        data::fashion_mnist(FashionMnistOptions { split: Split::Train, ..Default::default() })?.take(64)?;
    let run = train::fit(&net, &images, FitOptions { steps: 3, batch: 8, lr: 1e-3, ..Default::default() })?;
    let labels = Some([0, 1, 2].into());
    let made =
        flow::sample(run.ema(), SampleOptions { labels, steps: 2, guidance: 2.0, ..Default::default() })?;

    assert_eq!(made.shape(), [3, 1, 28, 28]);
    assert!(made.equal(&scripted)?);
    let grid = plot::grid(&made, ())?;
    assert!(grid.describe().contains("3 gray images"), "{}", grid.describe());
    let options = eval::CompareOptions { metrics: vec!["sobel_mean".into()], ..Default::default() };
    let found = eval::compare(&images, data::fashion_mnist(())?.take(64)?, options)?;
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
            let low = filter::gaussian(filter::Gaussian { sigma: 2.0 })?;
            Ok(function(move |r: Tensor, c: Call| {
                let g = gate.forward(&c.time()?)?.tanh()?.unsqueeze(1)?.chunk(2, -1)?;
                let l = low.apply(&r, c.grid())?;
                c.keep("low", l.clone());
                (&r + (&g[0] * &l)?)? + (&g[1] * (&r - &l)?)?
            }))
        }),
        nn::PartOptions { name: "bands".into(), ..Default::default() },
    )?;
    let bands: Part = bands.at(Place::Attn, Some(Blocks::Last))?;
    let net = model::dit(Config { parts: bands.into(), ..small() })?;
    assert!(net.parameters().iter().any(|(name, _)| name == "blocks.0.parts.bands.gate.weight"));
    let images = data::fashion_mnist(())?.take(64)?;
    let noise = Some(function(|z: Tensor, _x1: Value| z * 0.5));
    let path = flow::path(flow::PathOptions { noise, ..Default::default() })?;
    let loss = function(|s: Step| {
        let tensor = |map: &Map, key: &str| map.get(key).and_then(Value::downcast::<Tensor>);
        let s = s.to_map()?;
        let Some(Value::Map(kept)) = s.get("kept") else { return Err(Error::argument("nothing was kept")) };
        match (tensor(&s, "v"), tensor(&s, "target"), tensor(kept, "low")) {
            (Some(v), Some(target), Some(low)) => {
                let error = (v - target)?.square()?.mean(&[], false)?;
                error + (low.square()?.mean(&[], false)? * 0.1)?
            }
            _ => Err(Error::argument("a loss needs `v`, `target` and `low`")),
        }
    });
    let options = FitOptions {
        steps: 3,
        batch: 8,
        lr: 1e-2,
        path: path.clone(),
        loss: loss.into(),
        ..Default::default()
    };
    let run = train::fit(&net, &images, options)?;
    let labels = Some([0, 1].into());
    let made = flow::sample(run.model(), SampleOptions { labels, steps: 2, path, ..Default::default() })?;
    assert!(made.equal(&scripted)?);
    Ok(())
}

#[test]
fn the_loop_by_hand_lowers_the_loss() -> Result<()> {
    let net = model::dit(small())?;
    let loader = data::fashion_mnist(())?.loader(&LoaderOptions { batch: 8, ..Default::default() })?;
    let opt = optim::adamw(&net, AdamWOptions { lr: 1e-2, betas: (0.9, 0.99), ..Default::default() })?;
    let ema = optim::ema(&net, 0.9, ())?;
    let generator = Some(tensor::generator(1, ())?);
    let source = tensor::SourceOptions { generator: generator.clone(), ..Default::default() };
    let draw = tensor::DrawOptions { source, ..Default::default() };
    let mix = flow::PairOptions { generator, ..Default::default() };
    let mut losses = Vec::new();
    for _ in 0..20 {
        let batch = loader.next()?;
        let t = tensor::rand(batch.len(), &draw)?;
        let pair = flow::pair(&batch.images, &t, &mix)?;
        let loss = (net.forward(&pair.x_t, &t, &batch.labels)? - &pair.target)?.square()?.mean(&[], false)?;
        opt.step(&loss, Some(1.0))?;
        ema.update(&net)?;
        losses.push(loss.item()?);
    }
    assert!(losses[19] < losses[0], "{losses:?}");
    Ok(())
}

#[test]
fn arguments_convert_to_what_a_function_takes() -> Result<()> {
    // Numbers, and optional arguments that are left out or given.
    assert_eq!(tensor::arange(3, None, None, ())?.to_i64()?, [0, 1, 2]);
    let options = tensor::MakeOptions { dtype: Some(DType::Float64), ..Default::default() };
    assert_eq!(tensor::arange(0, Number::from(1), Number::from(0.5), options)?.to_f64()?, [0.0, 0.5]);
    assert_eq!(tensor::eye(2, None, ())?.shape(), [2, 2]);
    assert_eq!(tensor::eye(2, 3, ())?.shape(), [2, 3]);
    assert_eq!(train::generator(7, ())?.device(), Device::Cpu);
    // Shapes and nested numbers.
    assert_eq!(tensor::zeros([2, 3], ())?.shape(), [2, 3]);
    assert_eq!(tensor::zeros(4, ())?.shape(), [4]);
    assert_eq!(tensor([[1, 2], [3, 4]], ())?.to_i64()?, [1, 2, 3, 4]);
    assert_eq!(tensor(vec![0.5, 1.5], ())?.to_f64()?, [0.5, 1.5]);
    let (a, b) = (tensor::ones([2], ())?, tensor::zeros([1], ())?);
    assert_eq!(tensor::cat([a.clone(), b], None)?.to_f64()?, [1.0, 1.0, 0.0]);
    assert_eq!(tensor::r#where(tensor([true, false], ())?, &a, 2.0)?.to_f64()?, [1.0, 2.0]);
    // Arrays, vectors, slices, ranges and tensors of numbers, with options and series.
    let numbers = vec![3.0, 1.0, 2.0];
    for figure in [
        plot::line(&numbers, ())?,
        plot::line(&numbers[..], ())?,
        plot::line([3.0, 1.0, 2.0], ())?,
        plot::line((0..3, &numbers), ())?,
        plot::line(tensor(numbers.clone(), ())?, ())?,
        plot::line(
            (0..3, plot::series::Curve { y: Some(numbers.clone().into()), ..Default::default() }),
            (),
        )?,
    ] {
        assert!(figure.describe().starts_with("line figure: 1 series, x 0 to 2"), "{}", figure.describe());
    }
    let labeled = plot::ChartOptions { y_label: "loss".into(), ..Default::default() };
    assert!(plot::line(&numbers, &labeled)?.describe().contains("(loss)"));
    assert!(plot::heatmap([[0.0, 1.0], [2.0, 3.0]], ())?.describe().contains("2 x 2 cells"));
    assert!(plot::heatmap(&tensor::zeros([2, 3, 4], ())?, ())?.describe().contains("2"));
    // One value or several, strings, paths and devices.
    let both = correction([filter::haar(())?, filter::binomial(())?], gate::time(())?)?;
    assert!(both.to_string().starts_with("correction(["), "{both}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("net.safetensors");
    model::dit(small())?.save(&file)?;
    assert_eq!(model::open(&file, ())?.num_parameters(), model::dit(small())?.num_parameters());
    // Names that are Rust keywords.
    assert_eq!(gate::r#static(())?.name(), "static");
    assert_eq!(filter::r#box(filter::BoxBlur { width: 3 })?.name(), "box");
    // A closure with two arguments.
    let end = flow::integrate(
        function(|x: Tensor, _t: Tensor| Ok(x)),
        tensor::ones([1], ())?,
        flow::IntegrateOptions { steps: 20, sampler: flow::OdeSolver::Rk4, ..Default::default() },
    )?;
    assert!((end.item()? - std::f64::consts::E).abs() < 1e-5);
    let row = |a: i64, b: &str| Map::from([("a".to_string(), a.into()), ("b".to_string(), b.into())]);
    let table = table::from_rows([row(1, "x"), row(2, "y")], ())?;
    assert_eq!(table.len(), 2);
    assert!(Object::text(&report::start("Title", ())?).contains("Title"));
    Ok(())
}

#[test]
fn values_out_of_range_have_the_messages_of_scripts() {
    let told = |error: Error| format!("{error}");
    let range = told(filter::gaussian(filter::Gaussian { sigma: 1000.0 }).unwrap_err());
    assert!(
        range.contains("`filter::gaussian`") && range.contains("`sigma` must be from 0.1 to 64, found 1000"),
        "{range}"
    );
    let inner = told(model::dit(Config { depth: 0, ..small() }).unwrap_err());
    assert!(inner.contains("`depth` must be from 1 to 65536, found 0"), "{inner}");
    let negative = told(tensor::zeros([2, -1], ()).unwrap_err());
    assert!(negative.contains("a size of -1 in shape [2, -1] is negative"), "{negative}");
    let images =
        told(eval::fid(Tensor::zeros(&[3], DType::Float32, Device::Cpu).unwrap(), ones(), ()).unwrap_err());
    assert!(images.contains("`eval::fid`"), "{images}");
    let options = nn::ConvOptions { groups: 0, ..nn::ConvOptions::default() };
    let groups = nn::builder(()).and_then(|b| b.conv2d("c", 4, 4, 3, &options).map(|_| ()));
    assert_eq!(told(groups.unwrap_err()), "`groups` must be at least 1, found 0");
    let closure = function(|r: f64| if r > 0.5 { Err(Error::argument("no")) } else { Ok(r) });
    assert!(told(filter::response(closure).unwrap_err()).contains("no"));
}

#[test]
fn errors_of_closures_say_which_option_and_argument() -> Result<()> {
    let net = model::dit(small())?;
    let images = data::fashion_mnist(())?.take(8)?;
    let on_step = Some(function(|_: i64| Ok(true)));
    let error = train::fit(&net, &images, FitOptions { steps: 1, batch: 8, on_step, ..Default::default() });
    assert_eq!(
        error.err().map(|e| e.message()).unwrap_or_default(),
        "`train::fit`: `on_step`: the first argument of the closure: expected int, found a map of 12"
    );
    // `guide` is called with up to five values.
    let guide = Some(function(|c: Tensor, _u: Tensor, _x: Tensor, _t: Tensor, y: Tensor| {
        assert_eq!(y.shape(), [1]);
        Ok(c)
    }));
    let labels = Some([0].into());
    flow::sample(&net, SampleOptions { labels, steps: 1, guide, ..Default::default() })?;
    Ok(())
}

fn ones() -> Tensor {
    Tensor::ones(&[2, 2], DType::Float32, Device::Cpu).unwrap()
}

#[test]
fn options_are_kept_in_formats_of_serde() -> Result<()> {
    let correction = correction(filter::gaussian(filter::Gaussian { sigma: 1.5 })?, gate::r#static(())?)?;
    let config = Config { corrections: correction.into(), qkv_bias: false, ..small() };
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);

    let fit =
        FitOptions { steps: 7, lr: 1e-3, ema: 0.99.into(), path: flow::path(())?, ..Default::default() };
    let text = serde_json::to_string(&fit).unwrap();
    let read: FitOptions = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    assert_eq!((read.steps, read.lr), (7, 1e-3));

    macro_rules! come_back {
        ($($options:ty),*) => {$(
            let text = serde_json::to_string(&<$options>::default()).unwrap();
            let read: $options =
                serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", stringify!($options)));
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        )*};
    }
    come_back!(FitOptions, SampleOptions, FashionMnistOptions, LoaderOptions, filter::Gaussian, gate::Time);
    come_back!(eval::CompareOptions, eval::KidOptions, plot::ChartOptions, flow::PathOptions);
    come_back!(flow::LikelihoodOptions, model::OpenOptions, data::ImageFolderOptions, vae::VaeOptions);

    // A part of the options is enough, and what is wrong is said as in a script.
    let read: FitOptions = serde_json::from_str(r#"{"steps": 9}"#).unwrap();
    assert_eq!((read.steps, read.batch), (9, FitOptions::default().batch));
    let wrong = |text: &str| serde_json::from_str::<FitOptions>(text).unwrap_err().to_string();
    assert!(wrong(r#"{"step": 9}"#).contains("unknown option `step`"), "{}", wrong(r#"{"step": 9}"#));
    assert_eq!(
        wrong(r#"{"steps": -1}"#),
        "option `steps`: expected an integer of at least 0, found the integer -1"
    );
    assert!(
        wrong(r#"{"lr": -1}"#).contains("`lr` must be from 0 to 1000, found -1"),
        "{}",
        wrong(r#"{"lr": -1}"#)
    );
    assert_eq!(serde_json::to_string(&Split::Train).unwrap(), r#""train""#);
    assert_eq!(serde_json::from_str::<Split>(r#""test""#).unwrap(), Split::Test);
    assert!(serde_json::from_str::<Split>(r#""tests""#).is_err());
    // A function is not read back.
    let mean = function(|error: Tensor| error.mean(&[], false));
    let fit = FitOptions { loss: mean.into(), ..Default::default() };
    let error = serde_json::from_str::<FitOptions>(&serde_json::to_string(&fit).unwrap()).unwrap_err();
    assert!(error.to_string().contains("has functions, which are not read back"), "{error}");
    Ok(())
}
