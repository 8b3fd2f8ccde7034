mod modules;

use super::*;
use crate::declare::Function;
use crate::declare::function;
use crate::model::{Config, Design, Model};
use crate::nn::{Heads, Layer, QkNorm, SharedBuilder};
use crate::spectral::{correction, filter, gate};
use crate::torch::{DType, Device, Generator, Tensor};

fn config() -> Config {
    Config {
        image_size: 8,
        patch_size: 2,
        in_channels: 1,
        num_classes: 3,
        depth: 3,
        hidden_size: 16,
        num_heads: 2,
        ..Config::preset("fashion_tiny").unwrap()
    }
}

/// Creates a part from a Rust closure of the value and the call, without parameters.
fn part(run: impl Fn(Tensor, Call) -> Result<Tensor> + Clone + Send + Sync + 'static) -> Part {
    let make = function(move |_: SharedBuilder| Ok(function(run.clone())));
    Part::of_code(Code::Live(make), &PartOptions::default()).unwrap()
}

/// Creates a part for weights from a Rust closure, without parameters.
fn of_weight(run: impl Fn(Tensor) -> Result<Tensor> + Clone + Send + Sync + 'static) -> Part {
    let make = function(move |_: SharedBuilder| Ok(function(run.clone())));
    Part::of_code(Code::Live(make), &PartOptions::default()).unwrap()
}

fn model(parts: Vec<Part>) -> Result<Model> {
    let model = Model::new(config().with_parts(parts), 0, Device::Cpu)?;
    randomize(&model);
    Ok(model)
}

/// Sets every parameter of the plain model to random values, which depend on the order of the parameters.
fn randomize(model: &Model) {
    let generator = Generator::new(1, Device::Cpu).unwrap();
    for (name, parameter) in model.parameters() {
        if !name.contains("parts") {
            let values =
                Tensor::randn(&parameter.shape(), DType::Float32, Device::Cpu, Some(&generator)).unwrap();
            parameter.copy_(&values.mul_scalar(0.2).unwrap()).unwrap();
        }
    }
}

fn inputs() -> (Tensor, Tensor, Tensor) {
    let generator = Generator::new(5, Device::Cpu).unwrap();
    let x = Tensor::randn(&[2, 1, 8, 8], DType::Float32, Device::Cpu, Some(&generator)).unwrap();
    (x, Tensor::from_f32(&[0.2, 0.7], &[2]).unwrap(), Tensor::from_i64(&[1, 3], &[2]).unwrap())
}

fn forward(model: &Model) -> Result<Tensor> {
    let (x, t, y) = inputs();
    model.forward(&x, &t, &y)
}

fn error(part: Part) -> Error {
    model(vec![part]).and_then(|m| forward(&m)).unwrap_err()
}

#[test]
fn a_part_that_changes_nothing_leaves_every_bit_at_every_place() {
    let plain = forward(&model(Vec::new()).unwrap()).unwrap();
    for place in place::PLACES {
        let part = match place {
            Place::Span | Place::Attention | Place::FeedForward => part(|x, call| call_inner(&call, &x)),
            Place::Qk | Place::Modulation => same_map(),
            Place::Attend => at_heads(|x, call| call.attend(&x)),
            Place::Weight => of_weight(Ok),
            _ => part(|x, _| Ok(x)),
        };
        let same = model(vec![part.at(place, None).unwrap()]).unwrap();
        assert!(forward(&same).unwrap().equal(&plain).unwrap(), "{place}");
        assert!(same.starts_plain().unwrap(), "{place}");
    }
}

/// Calls `c.inner(x)`.
fn call_inner(call: &Call, x: &Tensor) -> Result<Tensor> {
    let [_, inner] = call::methods::declarations() else { panic!("two methods") };
    let arguments = [call.clone().into_value(), x.clone().into_value(), Value::Unit];
    Tensor::from_value(&(inner.body)(&Context::default(), &arguments)?)
}

/// Creates a part at `qk` or `modulation` that changes nothing.
fn same_map() -> Part {
    let make = function(|_: SharedBuilder| Ok(function(|map: Map, _: Call| Ok(map))));
    Part::of_code(Code::Live(make), &PartOptions::default()).unwrap()
}

/// Creates a part at `attend` from a Rust closure of the queries, keys and values and the call.
fn at_heads(run: impl Fn(Heads, Call) -> Result<Tensor> + Clone + Send + Sync + 'static) -> Part {
    let make = function(move |_: SharedBuilder| Ok(function(run.clone())));
    let part = Part::of_code(Code::Live(make), &PartOptions::default()).unwrap();
    part.at(Place::Attend, None).unwrap()
}

/// The configurations whose attention and MLP are computed in different ways.
fn kinds() -> Vec<Config> {
    let norms = [QkNorm::None, QkNorm::Rms, QkNorm::Layer];
    let norms = norms.map(|qk_norm| Config { qk_norm: Some(qk_norm), ..config() });
    let lightning = Config {
        position: Some(crate::model::Position::Rope),
        mlp: Some(crate::nn::MlpKind::SwiGlu),
        ..config()
    };
    norms.into_iter().chain([lightning]).collect()
}

#[test]
fn parts_inside_of_attention_and_the_mlp_start_plain_in_every_kind_of_block() {
    let zero = |x: &Tensor, by: &Tensor| x.add(&by.mul_scalar(0.0)?);
    let parts: Vec<(&str, Part)> = vec![
        ("attend", at_heads(|x, call| call.attend(&x))),
        (
            "values",
            at_heads(move |x, call| {
                let v = zero(&x.v, &x.q)?;
                call.attend(&Heads { v, ..x })
            }),
        ),
        ("heads", part(move |x, call| zero(&x, &call.input()?)).at(Place::Heads, None).unwrap()),
        ("norm_mlp", part(move |x, _| zero(&x, &x)).at(Place::NormMlp, None).unwrap()),
        ("hidden", part(move |x, _| zero(&x, &x)).at(Place::Hidden, None).unwrap()),
    ];
    for config in kinds() {
        for (name, part) in &parts {
            let config = config.clone().with_parts(vec![part.clone()]);
            for dtype in [DType::Float32, DType::Float64, DType::BFloat16] {
                let model = Model::new(config.clone(), 0, Device::Cpu).unwrap();
                let model = model.converted_copy(dtype, Device::Cpu).unwrap();
                assert!(model.starts_plain().unwrap(), "{name} {dtype:?} {:?}", config.qk_norm);
            }
        }
    }
    // Changed queries have the bits of the fused operator if they have no norm.
    let queries = at_heads(move |x, call| {
        let q = zero(&x.q, &x.k)?;
        call.attend(&Heads { q, ..x })
    });
    let model = Model::new(kinds()[0].clone().with_parts(vec![queries]), 0, Device::Cpu).unwrap();
    assert!(model.starts_plain().unwrap());
}

#[test]
fn what_is_written_into_queries_is_seen_by_attention() {
    let double = |in_place: bool| {
        let part = at_heads(move |x, call| {
            let x = match in_place {
                true => {
                    crate::torch::no_grad(|| x.q.copy_(&x.q.mul_scalar(2.0)?))?;
                    x
                }
                false => Heads { q: x.q.mul_scalar(2.0)?, ..x },
            };
            call.attend(&x)
        });
        crate::torch::no_grad(|| forward(&model(vec![part]).unwrap())).unwrap()
    };
    assert!(double(true).equal(&double(false)).unwrap());
    assert!(!double(true).allclose(&forward(&model(Vec::new()).unwrap()).unwrap(), 1e-3, 1e-3).unwrap());
}

#[test]
fn parts_at_attend_run_one_inside_the_other_and_may_replace_attention() {
    let double = || at_heads(|x, call| call.attend(&x)?.mul_scalar(2.0));
    let plus = || at_heads(|x, call| call.attend(&x)?.add_scalar(1.0));
    let heads =
        |change: fn(Tensor) -> Result<Tensor>| part(move |x, _| change(x)).at(Place::Heads, None).unwrap();
    for config in kinds() {
        let run = |parts: Vec<Part>| {
            let model = Model::new(config.clone().with_parts(parts), 0, Device::Cpu).unwrap();
            randomize(&model);
            forward(&model).unwrap()
        };
        // The first part of the list is outside.
        let nested = run(vec![double(), plus()]);
        let after = run(vec![heads(|x| x.add_scalar(1.0)?.mul_scalar(2.0))]);
        assert!(nested.allclose(&after, 1e-5, 1e-5).unwrap());
        assert!(!nested.allclose(&run(vec![plus(), double()]), 1e-3, 1e-3).unwrap());
        // Without attention every token has its own values, and with one key for all of them too.
        let own = run(vec![at_heads(|x, _| Ok(x.v))]);
        let one = run(vec![at_heads(|x, call| {
            let mean = |x: &Tensor| x.mean(&[2], true);
            let few = Heads { k: mean(&x.k)?, v: mean(&x.v)?, q: x.q.clone() };
            call.attend(&few)?.sub(&mean(&x.v)?)?.add(&x.v)
        })]);
        assert!(own.allclose(&one, 1e-4, 1e-4).unwrap());
    }
}

#[test]
fn operations_of_attention_that_a_part_replaces_are_not_counted() {
    let flops = |parts: Vec<Part>| {
        crate::model::accounting::Accounting::of_model(&model(parts).unwrap()).unwrap().flops
    };
    let plain = flops(Vec::new());
    // Two products of 16 queries with 16 keys of width 16, in three blocks.
    let attention = 3.0 * 2.0 * 2.0 * 16.0 * 16.0 * 16.0;
    assert_eq!(flops(vec![at_heads(|x, call| call.attend(&x))]), plain);
    assert_eq!(flops(vec![at_heads(|x, _| Ok(x.v))]), plain - attention);
    let stated = |inside: bool| {
        let run = move |x: Heads, call: Call| if inside { call.attend(&x) } else { Ok(x.v) };
        let make = function(move |_: SharedBuilder| Ok(function(run)));
        let options = PartOptions { flops: Some(100.0), ..Default::default() };
        Part::of_code(Code::Live(make), &options).unwrap().at(Place::Attend, None).unwrap()
    };
    assert_eq!(flops(vec![stated(true)]), plain + 300.0);
    assert_eq!(flops(vec![stated(false)]), plain - attention + 300.0);
}

#[test]
fn residuals_are_changed_before_they_are_added() {
    // Without the residuals of attention and the MLP, blocks return their input, so the last layer sees only the
    // tokens.
    let none = |place: &str| part(|x, _| x.mul_scalar(0.0)).at(Place::named(place).unwrap(), None).unwrap();
    let without = model(vec![none("attn"), none("mlp")]).unwrap();
    let around = model(vec![part(|x, _| Ok(x)).at(Place::named("span").unwrap(), None).unwrap()]).unwrap();
    let (a, b) = (forward(&without).unwrap(), forward(&around).unwrap());
    assert!(a.allclose(&b, 1e-4, 1e-4).unwrap());
    let plain = forward(&model(Vec::new()).unwrap()).unwrap();
    assert!(!a.allclose(&plain, 1e-2, 1e-2).unwrap());
}

#[test]
fn parts_stand_in_their_blocks_alone_and_in_the_order_of_the_list() {
    let add = |value: f64| {
        part(move |x, _| x.add_scalar(value)).at(Place::named("velocity").unwrap(), None).unwrap()
    };
    let double = part(|x, _| x.mul_scalar(2.0)).at(Place::named("velocity").unwrap(), None).unwrap();
    let zero = part(|x, _| x.mul_scalar(0.0)).at(Place::named("velocity").unwrap(), None).unwrap();
    let both = model(vec![zero, add(1.0), double, add(5.0)]).unwrap();
    assert_eq!(forward(&both).unwrap().amax(&[], false).unwrap().item().unwrap(), 7.0);
    let seen = |blocks: Blocks| {
        let part = part(|x, call| {
            let [keep, _] = call::methods::declarations() else { panic!("two methods") };
            let properties = call::properties::declarations();
            let block = properties.iter().find(|d| d.name == "block").unwrap();
            let block = (block.body)(&Context::default(), &[call.clone().into_value()])?;
            let name = Value::Str(format!("{block:?}"));
            (keep.body)(&Context::default(), &[call.into_value(), name, x.clone().into_value()])?;
            Ok(x)
        });
        let model = model(vec![part.at(Place::named("block").unwrap(), Some(blocks)).unwrap()]).unwrap();
        let (pass, (x, t, y)) = (Pass::default(), inputs());
        model.observe(&x, &t, &y, &pass).unwrap();
        pass.kept.to_map().into_keys().collect::<Vec<_>>()
    };
    assert_eq!(seen(Blocks::Even), ["0", "2"]);
    assert_eq!(seen(Blocks::List(vec![-1])), ["2"]);
}

#[test]
fn a_correction_at_the_mlp_is_the_same_as_in_the_list_of_corrections() {
    let paper = correction(
        filter::binomial(()).unwrap(),
        gate::constant(gate::Constant { low: 0.5, high: -0.25, ..Default::default() }).unwrap(),
    )
    .unwrap();
    let listed = Model::new(config().with_corrections(vec![paper.clone()]), 0, Device::Cpu).unwrap();
    randomize(&listed);
    let placed = model(vec![Part::of_correction(&paper)]).unwrap();
    assert!(forward(&listed).unwrap().equal(&forward(&placed).unwrap()).unwrap());
    // The same computed by hand, in a part with code.
    let low = filter::binomial(()).unwrap();
    let by_hand = part(move |r, _| {
        let low = low.apply(&r, 4)?;
        r.add(&low.mul_scalar(0.5)?)?.add(&r.sub(&low)?.mul_scalar(-0.25)?)
    });
    let by_hand = model(vec![by_hand.at(Place::named("mlp").unwrap(), None).unwrap()]).unwrap();
    assert!(forward(&by_hand).unwrap().allclose(&forward(&placed).unwrap(), 1e-4, 1e-4).unwrap());
}

#[test]
fn corrections_stand_at_every_place_on_a_grid_and_start_plain() {
    let paper = correction(filter::binomial(()).unwrap(), gate::time(()).unwrap()).unwrap();
    for place in place::PLACES {
        let placed = Part::of_correction(&paper).at(place, None);
        match place.on_grid() {
            false => assert!(placed.unwrap_err().message().contains("is not on a grid"), "{place}"),
            true => {
                let model = model(vec![placed.unwrap()]).unwrap();
                assert!(model.starts_plain().unwrap(), "{place}");
                // It filters: with open gates the result differs.
                for (name, p) in model.parameters() {
                    if name.contains("freq_gate.2.bias") {
                        p.copy_(&Tensor::from_f32(&[1.0, -1.0], &[2]).unwrap()).unwrap();
                    }
                }
                assert!(!model.starts_plain().unwrap(), "{place}");
            }
        }
    }
}

#[test]
fn gradients_reach_parameters_of_parts_also_twice() {
    let make = Function::new(|values| {
        let builder = SharedBuilder::from_value(&values[0])?;
        let scale = builder.parameter("scale", &[1], crate::nn::Init::Ones)?;
        Ok(Value::Function(function(move |x: Tensor, _: Call| x.mul(&scale.square()?))))
    });
    let part = Part::of_code(Code::Live(make), &PartOptions { name: "own".into(), ..Default::default() });
    let model =
        model(vec![part.unwrap().at(Place::named("mlp").unwrap(), Some(Blocks::Last)).unwrap()]).unwrap();
    let (name, scale) = model.parameters().iter().find(|(name, _)| name.contains("parts")).unwrap();
    assert_eq!(name, "blocks.2.parts.own.scale");
    let loss = forward(&model).unwrap().square().unwrap().mean(&[], false).unwrap();
    let first = &crate::torch::autograd::grad(
        std::slice::from_ref(&loss),
        std::slice::from_ref(scale),
        None,
        true,
        true,
    )
    .unwrap()[0];
    let first = first.clone().unwrap();
    let second = crate::torch::autograd::grad(
        std::slice::from_ref(&first),
        std::slice::from_ref(scale),
        None,
        false,
        false,
    )
    .unwrap();
    assert!(first.item().unwrap().abs() > 1e-8 && second[0].clone().unwrap().item().unwrap().abs() > 1e-8);
}

#[test]
fn what_does_not_fit_says_where_it_is_and_what_was_expected() {
    let narrow = |place: &str| {
        part(|x, _| x.narrow(1, 0, 1)).at(Place::named(place).unwrap(), Some(Blocks::List(vec![1]))).unwrap()
    };
    let found = error(narrow("attn"));
    assert_eq!(
        found.message(),
        "the part at attn in block 1: expected a tensor of shape [2, 16, 16] like its input, found [2, 1, 16]"
    );
    let nothing =
        Part::of_code(Code::Live(function(|_: SharedBuilder| Ok(3i64))), &PartOptions::default()).unwrap();
    assert!(
        error(nothing.at(Place::named("mlp").unwrap(), None).unwrap())
            .message()
            .contains("expected the function that is called in every forward, found the integer 3")
    );
    let unplaced = part(|x, _| Ok(x));
    let found = error(unplaced.clone());
    assert!(found.message().contains("has no place") && found.hint_text().unwrap().contains("norm_attn"));
    let found = Place::named("atn").unwrap_err();
    assert_eq!(found.hint_text(), Some("did you mean `attn`?"));
    let found = unplaced.at(Place::named("tokens").unwrap(), Some(Blocks::Last)).unwrap_err();
    assert!(found.message().contains("takes no `blocks`"), "{found}");
    let found = error(unplaced.at(Place::named("mlp").unwrap(), Some(Blocks::Range(2, 5))).unwrap());
    assert!(found.message().ends_with("block 3 is out of range: the model has 3 blocks"), "{found}");
    let named = |name: &str| {
        let make = function(|_: SharedBuilder| Ok(function(|x: Tensor, _: Call| Ok(x))));
        Part::of_code(Code::Live(make), &PartOptions { name: name.into(), ..Default::default() })
    };
    let twice = || named("same").unwrap().at(Place::named("mlp").unwrap(), None).unwrap();
    assert_eq!(model(vec![twice(), twice()]).unwrap_err().message(), "two parts are called `same`");
    assert!(named("a.b").unwrap_err().message().contains("letters, digits"));
    let around = |blocks| part(|x, _| Ok(x)).at(Place::named("span").unwrap(), Some(blocks)).unwrap();
    let found = model(vec![around(Blocks::Range(0, 2)), around(Blocks::Range(1, 3))]).unwrap_err();
    assert!(found.hint_text().unwrap().contains("spans must not share blocks"), "{found}");
    assert!(error(around(Blocks::Even)).message().contains("consecutive blocks"));
    let inner = part(|x, call| call_inner(&call, &x)).at(Place::named("mlp").unwrap(), None).unwrap();
    assert!(error(inner).to_string().contains("there is nothing inside of this part"));
}

#[test]
fn the_stored_form_comes_back_but_for_code_of_programs() {
    let paper = correction(filter::binomial(()).unwrap(), gate::time(()).unwrap()).unwrap();
    for blocks in [None, Some(Blocks::Range(1, 3)), Some(Blocks::Odd), Some(Blocks::List(vec![0, -1]))] {
        let part = Part::of_correction(&paper).at(Place::named("attn").unwrap(), blocks).unwrap();
        let design = Design::from(config().with_parts(vec![part]));
        let text = design.to_json().unwrap().to_string();
        assert_eq!(Design::from_json(&serde_json::from_str(&text).unwrap()).unwrap(), design);
    }
    let own: Design =
        config().with_parts(vec![part(|x, _| Ok(x)).at(Place::named("mlp").unwrap(), None).unwrap()]).into();
    let json = own.to_json().unwrap();
    let again = Design::from_json(&json).unwrap().compiled(&Context::default()).unwrap_err();
    assert!(again.message().contains("its code was not stored"), "{again}");
}

#[test]
fn attaching_shares_weights_and_leaves_them_as_they_are() {
    let net = model(Vec::new()).unwrap();
    net.freeze(&["*".to_string()]).unwrap();
    let paper = correction(filter::binomial(()).unwrap(), gate::time(()).unwrap()).unwrap();
    let grown = net.attach(&[Part::of_correction(&paper)], 7).unwrap();
    assert!(forward(&grown).unwrap().equal(&forward(&net).unwrap()).unwrap());
    let trained: Vec<&str> =
        grown.parameters().iter().filter(|(_, p)| p.requires_grad()).map(|(name, _)| name.as_str()).collect();
    assert!(trained.len() == 12 && trained.iter().all(|name| name.contains("freq_gate")), "{trained:?}");
    // The weights are shared: a write to one model is visible in the other.
    let bias = |model: &Model| {
        model.parameters().iter().find(|(n, _)| n == "final_layer.linear.bias").unwrap().1.clone()
    };
    bias(&net).copy_(&bias(&net).add_scalar(1.0).unwrap()).unwrap();
    assert!(bias(&grown).equal(&bias(&net)).unwrap());
    let copied = grown.copy().unwrap();
    assert_eq!(copied.parameters().iter().filter(|(_, p)| p.requires_grad()).count(), 12);
    assert!(
        net.freeze(&["*.freq_gate*".to_string()]).unwrap_err().message().contains("no parameter matches")
    );
}

#[test]
fn operations_of_code_are_counted_or_stated() {
    let plain = model(Vec::new()).unwrap();
    let accounting = |model: &Model| crate::model::accounting::Accounting::of_model(model).unwrap();
    assert_eq!(accounting(&plain).flops, accounting(&plain).plain_flops);
    let product = || {
        Function::new(|values| {
            let builder = SharedBuilder::from_value(&values[0])?;
            let linear = nn_linear(&builder)?;
            Ok(Value::Function(function(move |x: Tensor, _: Call| linear.forward(&x))))
        })
    };
    let of = |flops| {
        let options = PartOptions { flops, ..Default::default() };
        let part = Part::of_code(Code::Live(product()), &options).unwrap();
        accounting(
            &model(vec![part.at(Place::named("attn").unwrap(), Some(Blocks::List(vec![0, 1]))).unwrap()])
                .unwrap(),
        )
    };
    let counted = of(None);
    assert_eq!(counted.flops - counted.plain_flops, 2.0 * (2.0 * 16.0 * 16.0 * 16.0));
    assert_eq!(counted.parameters - counted.plain_parameters, 2 * (16 * 16 + 16));
    assert_eq!(of(Some(100.0)).flops - of(Some(100.0)).plain_flops, 200.0);
}

fn nn_linear(builder: &SharedBuilder) -> Result<Layer> {
    let declared =
        crate::nn::shared_builder::api::methods::declarations().iter().find(|d| d.name == "linear").unwrap();
    let arguments =
        [builder.clone().into_value(), Value::Str("linear".into()), Value::Int(16), Value::Int(16)];
    Layer::from_value(&(declared.body)(&Context::default(), &arguments)?)
}

#[test]
fn the_plain_model_counted_is_the_plain_model_computed() {
    let model = model(Vec::new()).unwrap();
    let (x, t, y) = inputs();
    let one = |tensor: &Tensor| tensor.narrow(0, 0, 1).unwrap();
    let (_, counted) = crate::torch::flops::count(|| model.forward(&one(&x), &one(&t), &one(&y))).unwrap();
    assert_eq!(counted, crate::model::accounting::Accounting::of_model(&model).unwrap().plain_flops);
}

/// A part around all blocks that runs them on the tokens of the last row and column of a 4 x 4 grid first.
fn routed(indices: bool) -> Part {
    let order: Vec<i64> = (0..16).rev().collect();
    part(move |x, call| {
        let tokens = Tensor::from_i64(&order, &[16])?;
        let inner = call.inner(&x.index_select(1, &tokens)?, indices.then_some(&tokens))?;
        inner.index_select(1, &tokens)
    })
}

#[test]
fn rotary_positions_follow_the_tokens_that_a_part_selects() {
    let build = |parts: Vec<Part>| {
        let config = Config { position: Some(crate::model::Position::Rope), ..config() }.with_parts(parts);
        let model = Model::new(config, 0, Device::Cpu).unwrap();
        randomize(&model);
        model
    };
    let span = |part: Part| part.at(Place::named("span").unwrap(), None).unwrap();
    let plain = forward(&build(Vec::new())).unwrap();
    assert!(forward(&build(vec![span(routed(true))])).unwrap().allclose(&plain, 1e-4, 1e-4).unwrap());
    assert!(!forward(&build(vec![span(routed(false))])).unwrap().allclose(&plain, 1e-3, 1e-3).unwrap());
    let half = part(|x, call| {
        let few = call.inner(&x.narrow(1, 0, 8)?, None)?;
        Tensor::cat(&[few, x.narrow(1, 8, 8)?], 1)
    });
    let error = forward(&build(vec![span(half.clone())])).unwrap_err();
    assert!(error.message().contains("which 8 of the 16 tokens"), "{error}");
    assert_eq!(error.hint_text(), Some("pass their indices: `c.inner(x, indices)`"));
    // Without rotary positions blocks take any tokens, unless they have a correction.
    assert!(forward(&model(vec![span(half.clone())]).unwrap()).is_ok());
    let low = filter::gaussian(filter::Gaussian { sigma: 1.0 }).unwrap();
    let low = correction(&low, gate::constant(gate::Constant::default()).unwrap()).unwrap();
    let config = config().with_parts(vec![span(half)]).with_corrections(vec![low]);
    let error = forward(&Model::new(config, 0, Device::Cpu).unwrap()).unwrap_err();
    assert!(error.message().contains("needs all 16 tokens of the grid, found 8"), "{error}");
}

#[test]
fn a_part_that_changes_the_dtype_is_named() {
    let wide = |place: &str| part(|x, _| x.to_dtype(DType::Float64)).at(Place::named(place).unwrap(), None);
    let error = error(wide("mlp").unwrap());
    assert!(
        error.message().contains("expected a tensor of float32 like its input, found float64"),
        "{error}"
    );
    assert!(error.message().contains("at mlp in block 0"), "{error}");
    assert!(model(vec![wide("velocity").unwrap()]).and_then(|m| forward(&m)).is_ok());
}

#[test]
fn a_part_at_weight_must_not_write_into_the_weight() {
    let double = of_weight(|w| w.mul_scalar_(2.0).map(|()| w));
    let net = model(vec![double.at(Place::Weight, None).unwrap()]).unwrap();
    let error = crate::torch::no_grad(|| forward(&net)).unwrap_err();
    assert!(error.message().contains("changed the stored weight itself, in place"), "{error}");
    assert!(error.hint_text().unwrap().contains("`w * 2.0`"));
}
