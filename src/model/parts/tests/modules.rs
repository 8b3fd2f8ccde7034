//! Parts around the modules of a block, and parts that replace one.

use super::*;
use crate::model::accounting::Accounting;
use crate::model::parts::coefficients::NAMES;
use crate::model::{Family, MlpKind, Position, TokenNorm};
use crate::nn::Init;
use crate::nn::shared_builder::AttentionLayerOptions;
use crate::torch::autograd::{autocast, grad};
use crate::torch::no_grad;

/// Creates a part at `modulation` from a Rust closure of the coefficients by name.
fn of_map(run: impl Fn(Map, Call) -> Result<Map> + Clone + Send + Sync + 'static) -> Part {
    let make = function(move |_: SharedBuilder| Ok(function(run.clone())));
    Part::of_code(Code::Live(make), &PartOptions::default()).unwrap().at(Place::Modulation, None).unwrap()
}

/// Creates a part that replaces the module at a place, from its function of a builder.
fn instead<R>(place: Place, make: impl Fn(SharedBuilder) -> Result<R> + Clone + Send + Sync + 'static) -> Part
where
    R: IntoValue + 'static,
{
    let options = PartOptions { name: format!("own_{place}"), replaces: true, ..Default::default() };
    Part::of_code(Code::Live(function(make)), &options).unwrap().at(place, None).unwrap()
}

fn at(place: Place, run: impl Fn(Tensor, Call) -> Result<Tensor> + Clone + Send + Sync + 'static) -> Part {
    part(run).at(place, None).unwrap()
}

fn built(config: Config) -> Model {
    let model = Model::new(config, 0, Device::Cpu).unwrap();
    randomize(&model);
    model
}

fn named(tensors: impl IntoIterator<Item = Tensor>) -> Map {
    let names = NAMES.iter().map(ToString::to_string);
    names.zip(tensors.into_iter().map(IntoValue::into_value)).collect()
}

/// The kinds of blocks, and the families.
fn all_kinds() -> Vec<Config> {
    let families = [Family::Dit, Family::Sit, Family::LightningDit];
    let families = families.map(|family| Config { family, ..config() });
    let short = Config { shift: false, norm: Some(TokenNorm::Rms), ..config() };
    kinds().into_iter().chain(families).chain([short]).collect()
}

/// The replacement of each module by its own layers.
fn replacements(config: &Config) -> Vec<(Place, &'static str, Part)> {
    let (qk_norm, kind) = (config.qk_norm(), config.mlp());
    let rope = (config.position() == Position::Rope).then_some((4, 4));
    let outputs = if config.shift { 6 } else { 4 };
    let options =
        AttentionLayerOptions { qk_norm, qkv_bias: config.qkv_bias, rope, rope_theta: config.rope_theta };
    let attention = instead(Place::Attention, move |b: SharedBuilder| {
        let own = b.attention("own", 16, 2, &options)?;
        Ok(function(move |x: Tensor| own.forward(&x)))
    });
    let mlp = instead(Place::FeedForward, move |b: SharedBuilder| {
        let own = b.mlp("own", 16, b.fact("inner")?, kind)?;
        Ok(function(move |x: Tensor| own.forward(&x)))
    });
    let ada_ln = instead(Place::Modulation, move |b: SharedBuilder| {
        let own = b.linear("own", 16, outputs * 16, Init::Zeros)?;
        Ok(function(move |embedding: Tensor| {
            let mut all = own.forward(&embedding.silu()?)?.unsqueeze(1)?.chunk(outputs, -1)?;
            if outputs == 4 {
                let zeros = all[0].mul_scalar(0.0)?;
                all.insert(2, zeros.clone());
                all.insert(0, zeros);
            }
            Ok(Value::Map(named(all)))
        }))
    });
    vec![
        (Place::Attention, "attn.", attention),
        (Place::FeedForward, "mlp.", mlp),
        (Place::Modulation, if config.family.is_public() { "adaLN_modulation." } else { "ada_ln." }, ada_ln),
    ]
}

/// Returns the number of the parameter's block and whether it is one of the module's.
fn of_block(name: &str, module: &str) -> bool {
    let mut parts = name.splitn(3, '.');
    parts.next() == Some("blocks") && parts.nth(1).is_some_and(|rest| rest.starts_with(module))
}

#[test]
fn a_part_around_a_module_that_runs_it_keeps_every_bit_in_every_kind_of_block() {
    let parts = [
        at(Place::Attention, |x, call| call.inner(&x, None)),
        at(Place::FeedForward, |x, call| call.inner(&x, None)),
        of_map(|all, _| Ok(all)),
        at(Place::NormAttn, |x, call| call.stream().map(|_| x)),
        at(Place::NormMlp, |x, call| call.stream().map(|_| x)),
    ];
    for config in all_kinds() {
        for dtype in [DType::Float32, DType::Float64, DType::BFloat16] {
            let model = Model::new(config.clone().with_parts(parts.to_vec()), 0, Device::Cpu).unwrap();
            let model = model.converted_copy(dtype, Device::Cpu).unwrap();
            assert!(model.starts_plain().unwrap(), "{dtype:?} {config:?}");
        }
    }
}

#[test]
fn a_part_that_replaces_a_module_by_its_equal_computes_the_same_without_its_weights() {
    for config in all_kinds() {
        let plain = built(config.clone());
        let (x, t, y) = inputs();
        let values = |model: &Model| {
            let x = x.copy().unwrap().set_requires_grad(true).unwrap();
            let v = model.forward(&x, &t, &y).unwrap();
            let loss = v.square().unwrap().mean(&[], false).unwrap();
            (v, grad(&[loss], &[x], None, false, false).unwrap()[0].clone().unwrap())
        };
        let (v, slope) = values(&plain);
        for (place, module, part) in replacements(&config) {
            let model = built(config.clone().with_parts(vec![part]));
            let (own, others): (Vec<_>, Vec<_>) =
                model.parameters().iter().partition(|(name, _)| name.contains(".parts."));
            let (theirs, rest): (Vec<_>, Vec<_>) =
                plain.parameters().iter().partition(|(name, _)| of_block(name, module));
            // The backbone has the same parameters but for those of the module, which are nowhere.
            let names = |all: &[&(String, Tensor)]| all.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
            assert_eq!(names(&others), names(&rest), "{place}");
            assert_eq!(own.len(), theirs.len(), "{place}");
            no_grad(|| {
                for ((_, to), (_, from)) in
                    own.iter().zip(&theirs).chain(others.iter().zip(&rest)).map(|(a, b)| (*a, *b))
                {
                    to.copy_(from).unwrap();
                }
            });
            let (found, found_slope) = values(&model);
            let about = format!("{place} {config:?}");
            // Heads have another epsilon in a layer than in the public families.
            let within = if config.family.is_public() { 1e-3 } else { 1e-5 };
            assert!(found.allclose(&v, within, within).unwrap(), "{about}");
            assert!(found_slope.allclose(&slope, within, within).unwrap(), "{about}");
            let (costs, plain) =
                (Accounting::of_model(&model).unwrap(), Accounting::of_model(&plain).unwrap());
            assert_eq!((costs.flops, costs.parameters), (plain.flops, plain.parameters), "{about}");
            assert!(!model.starts_plain().unwrap(), "{about}");
            let copy = model.copy().unwrap();
            assert!(forward(&copy).unwrap().equal(&found).unwrap(), "{about}");
        }
    }
}

/// Norms of tokens by hand.
fn norm_by_hand(place: Place, rms: bool) -> Part {
    instead(place, move |_: SharedBuilder| {
        Ok(function(move |x: Tensor, call: Call| {
            assert!(x.equal(&call.stream()?)?);
            let x = if rms { x } else { x.sub(&x.mean(&[-1], true)?)? };
            x.div(&x.square()?.mean(&[-1], true)?.add_scalar(1e-6)?.sqrt()?)
        }))
    })
}

#[test]
fn a_part_that_replaces_a_norm_gets_the_stream_and_is_modulated() {
    for (norm, rms) in [(TokenNorm::Layer, false), (TokenNorm::Rms, true)] {
        for shift in [true, false] {
            let config = Config { norm: Some(norm), shift, ..config() };
            let plain = built(config.clone());
            let parts = [Place::NormAttn, Place::NormMlp].map(|place| norm_by_hand(place, rms)).to_vec();
            let replaced = Model::new(config.with_parts(parts), 0, Device::Cpu).unwrap();
            for (name, to) in replaced.parameters() {
                let (_, from) = plain.parameters().iter().find(|(other, _)| other == name).unwrap();
                to.copy_(from).unwrap();
            }
            // An RMS norm has a weight.
            for (name, weight) in plain.parameters().iter().filter(|(name, _)| name.contains(".norm")) {
                assert!(
                    rms && !replaced.parameters().iter().any(|(other, _)| other == name)
                        || name.contains("final")
                );
                weight.copy_(&weight.mul_scalar(0.0).unwrap().add_scalar(1.0).unwrap()).unwrap();
                if let Some((_, own)) = replaced.parameters().iter().find(|(other, _)| other == name) {
                    own.copy_(weight).unwrap();
                }
            }
            let (a, b) = (forward(&plain).unwrap(), forward(&replaced).unwrap());
            assert!(a.allclose(&b, 1e-4, 1e-4).unwrap(), "{norm:?} {shift}");
            let weights = if rms { 2 * 3 } else { 0 };
            assert_eq!(plain.parameters().len() - replaced.parameters().len(), weights);
        }
    }
}

#[test]
fn parts_nest_around_a_module_and_around_what_replaces_it() {
    for place in [Place::Attention, Place::FeedForward] {
        let double = || at(place, |x, call| call.inner(&x, None)?.mul_scalar(2.0));
        let plus = || at(place, |x, call| call.inner(&x, None)?.add_scalar(1.0));
        let both = at(place, |x, call| call.inner(&x, None)?.add_scalar(1.0)?.mul_scalar(2.0));
        let run = |parts: Vec<Part>| forward(&model(parts).unwrap()).unwrap();
        let nested = run(vec![double(), plus()]);
        assert!(nested.equal(&run(vec![both])).unwrap(), "{place}");
        assert!(!nested.allclose(&run(vec![plus(), double()]), 1e-3, 1e-3).unwrap(), "{place}");
        // The part that replaces the module is innermost, wherever it is in the list.
        let halved = || instead(place, |_: SharedBuilder| Ok(function(|x: Tensor| x.mul_scalar(0.5))));
        let by_hand = instead(place, |_: SharedBuilder| {
            Ok(function(|x: Tensor| x.mul_scalar(0.5)?.add_scalar(1.0)?.mul_scalar(2.0)))
        });
        let by_hand = run(vec![by_hand]);
        for order in [vec![halved(), double(), plus()], vec![double(), halved(), plus()]] {
            assert!(run(order).equal(&by_hand).unwrap(), "{place}");
        }
    }
}

#[test]
fn a_module_runs_any_number_of_times_on_other_tokens() {
    // Attention to the tokens of each half alone is attention in two calls.
    let halves = at(Place::Attention, |x, call| {
        let all: Vec<Tensor> =
            x.chunk(2, 1)?.iter().map(|half| call.inner(half, None)).collect::<Result<_>>()?;
        Tensor::cat(&all, 1)
    });
    let masked = at_heads(|x, call| {
        let halves = [x.q.chunk(2, 2)?, x.k.chunk(2, 2)?, x.v.chunk(2, 2)?];
        let half = |i: usize| {
            let [q, k, v] = [0, 1, 2].map(|part: usize| halves[part][i].clone());
            call.attend(&Heads { q, k, v })
        };
        Tensor::cat(&[half(0)?, half(1)?], 2)
    });
    let [a, b] = [halves.clone(), masked].map(|part| forward(&model(vec![part]).unwrap()).unwrap());
    assert!(a.allclose(&b, 1e-4, 1e-4).unwrap());
    let config = Config { position: Some(Position::Rope), ..config() };
    let refused = forward(&built(config.with_parts(vec![halves]))).unwrap_err();
    assert!(
        refused.message().contains("expected the 16 tokens of the grid of its rotary positions, found 8"),
        "{refused}"
    );
    let indices = at(Place::FeedForward, |x, call| call.inner(&x, Some(&Tensor::from_i64(&[0], &[1])?)));
    assert!(error(indices).message().contains("a module of a block takes no indices"));
}

#[test]
fn coefficients_are_those_of_the_sums() {
    // With gates of zero a block returns its input, as without residuals.
    let none = of_map(|mut all, _| {
        for gate in ["gate_attn", "gate_mlp"] {
            let zero = Tensor::from_value(&all[gate])?.mul_scalar(0.0)?;
            all.insert(gate.to_string(), zero.into_value());
        }
        Ok(all)
    });
    let skipped = at(Place::Span, |x, _| Ok(x));
    let [a, b] = [none, skipped].map(|part| forward(&model(vec![part]).unwrap()).unwrap());
    assert!(a.allclose(&b, 1e-4, 1e-4).unwrap());
    // Each coefficient does in the sums what its name says.
    let by = [0.5, -0.25, 0.75, 0.1, 0.3, -0.6];
    let fixed = of_map(move |all, _| {
        let zero = Tensor::from_value(&all["gate_mlp"])?.mul_scalar(0.0)?;
        Ok(named(by.iter().map(|by| zero.add_scalar(*by).unwrap())))
    });
    let keep = |place: Place, taken: &'static str, made: &'static str| {
        let blocks = place.in_blocks().then_some(Blocks::First);
        let run = move |x: Tensor, call: Call| {
            let runs = [Place::Attention, Place::FeedForward].contains(&place);
            let y = if runs { call.inner(&x, None)? } else { x.clone() };
            call.keep(taken, x);
            call.keep(made, y.clone());
            if place == Place::NormMlp {
                call.keep("stream", call.stream()?);
            }
            Ok(y)
        };
        part(run).at(place, blocks).unwrap()
    };
    let model = model(vec![
        fixed,
        keep(Place::Tokens, "x", "x"),
        keep(Place::Attention, "normal", "attended"),
        keep(Place::NormMlp, "", ""),
        keep(Place::FeedForward, "normal_mlp", "made"),
        keep(Place::Block, "output", "output"),
    ])
    .unwrap();
    let (pass, (x, t, y)) = (Pass::default(), inputs());
    model.observe(&x, &t, &y, &pass).unwrap();
    let kept = pass.kept.to_map();
    let seen = |name: &str| Tensor::from_value(&kept[name]).unwrap();
    let norm = |x: &Tensor, i: usize| {
        let normal = x.layer_norm(&[16], None, None, 1e-6).unwrap();
        normal.mul_scalar(1.0 + by[i + 1]).unwrap().add_scalar(by[i]).unwrap()
    };
    let sum =
        |x: &str, residual: &str, i: usize| seen(x).add(&seen(residual).mul_scalar(by[i]).unwrap()).unwrap();
    for (found, expected) in [
        ("normal", norm(&seen("x"), 0)),
        ("stream", sum("x", "attended", 2)),
        ("normal_mlp", norm(&seen("stream"), 3)),
        ("output", sum("stream", "made", 5)),
    ] {
        assert!(seen(found).allclose(&expected, 1e-5, 1e-5).unwrap(), "{found}");
    }
}

#[test]
fn what_replaces_a_module_is_checked() {
    let message = |parts: Vec<Part>| model(parts).and_then(|m| forward(&m)).unwrap_err();
    let mlp = |blocks: Option<Blocks>, name: &str| {
        let make = function(|_: SharedBuilder| Ok(function(|x: Tensor| Ok(x))));
        let options = PartOptions { name: name.into(), replaces: true, ..Default::default() };
        Part::of_code(Code::Live(make), &options).unwrap().at(Place::FeedForward, blocks)
    };
    let error = message(vec![mlp(None, "a").unwrap(), mlp(Some(Blocks::Last), "b").unwrap()]);
    assert!(
        error
            .message()
            .starts_with("the part `a` at feed_forward and the part `b` at feed_forward both replace"),
        "{error}"
    );
    let apart = vec![mlp(Some(Blocks::Range(0, 2)), "a").unwrap(), mlp(Some(Blocks::Last), "b").unwrap()];
    assert!(model(apart).and_then(|m| forward(&m)).is_ok());
    let hidden = || part(|x, _| Ok(x)).at(Place::Hidden, Some(Blocks::Odd)).unwrap();
    let error = message(vec![hidden(), mlp(None, "a").unwrap()]);
    assert!(
        error.message().contains(
            "the part at hidden is inside of a module that the part `a` at feed_forward replaces in block 1"
        ),
        "{error}"
    );
    assert!(model(vec![hidden(), mlp(Some(Blocks::Even), "a").unwrap()]).is_ok());
    for place in place::PLACES.into_iter().filter(|place| !place::MODULES.contains(place)) {
        let unplaced = mlp(None, "a").unwrap();
        let error = unplaced.at(place, None).unwrap_err();
        assert_eq!(error.message(), format!("the part replaces a module, and there is none at `{place}`"));
    }
    let both = PartOptions { plain: true, replaces: true, ..Default::default() };
    let make = function(|_: SharedBuilder| Ok(function(|x: Tensor| Ok(x))));
    assert!(
        Part::of_code(Code::Live(make), &both).unwrap_err().message().contains("cannot start as the plain")
    );
    let inner = instead(Place::FeedForward, |_: SharedBuilder| {
        Ok(function(|x: Tensor, call: Call| call.inner(&x, None)))
    });
    let error = message(vec![inner]);
    assert!(error.message().contains("`c.inner` has nothing to run"), "{error}");
    assert!(error.hint_text().unwrap().contains("leave `replaces` out"), "{error}");
}

#[test]
fn coefficients_that_do_not_fit_are_named() {
    let changed = |name: &'static str, change: fn(Tensor) -> Result<Tensor>| {
        let part = of_map(move |mut all, _| {
            let new = change(Tensor::from_value(&all["gate_attn"])?)?;
            all.insert(name.to_string(), new.into_value());
            Ok(all)
        });
        error(part)
    };
    let found = changed("gate_mpl", Ok);
    assert!(found.message().ends_with("a block has no coefficient `gate_mpl`"), "{found}");
    assert_eq!(found.hint_text(), Some("did you mean `gate_mlp`?"));
    let found = changed("gate_mlp", |x| x.squeeze(&[1]));
    let expected = "the part at modulation in block 0: expected `gate_mlp` of shape [2, 1, 16], one vector for each image, found [2, 16]";
    assert_eq!(found.message(), expected);
    let found = changed("gate_mlp", |x| x.to_dtype(DType::Float64));
    assert!(found.message().ends_with("expected `gate_mlp` of float32, found float64"), "{found}");
    let found = error(of_map(|mut all, _| {
        all.remove("shift_mlp");
        Ok(all)
    }));
    assert!(found.message().ends_with("one vector for each image, found none"), "{found}");
    let found = error(at(Place::Modulation, |_, _| Tensor::from_f32(&[1.0], &[1])));
    assert!(found.to_string().contains("map"), "{found}");
}

#[test]
fn replaced_modules_run_under_autocast_and_are_stored() {
    let config = Config { family: Family::Sit, mlp: Some(MlpKind::SwiGlu), ..config() };
    let parts: Vec<Part> = replacements(&config).into_iter().map(|(_, _, part)| part).collect();
    let norms = [Place::NormAttn, Place::NormMlp].map(|place| norm_by_hand(place, false));
    let parts: Vec<Part> = parts.into_iter().chain(norms).collect();
    let model = built(config.clone().with_parts(parts.clone()));
    let (found, expected) = (autocast(Device::Cpu, || forward(&model)).unwrap(), forward(&model).unwrap());
    assert!(found.to_dtype(DType::Float32).unwrap().allclose(&expected, 0.1, 0.1).unwrap());
    for part in parts {
        let again = Part::from_data(&part.to_data()).unwrap();
        assert!(part.replaces() && again.replaces());
        assert!(again.to_string().contains(&format!("replaces {}", part.place().unwrap())), "{again}");
    }
}

#[test]
fn a_replacing_part_that_is_attached_leaves_the_weights_of_the_module_out() {
    for config in all_kinds() {
        let net = built(config.clone());
        for (_, module, part) in replacements(&config) {
            let grown = net.attach(&[part], 7).unwrap();
            let names: Vec<&str> = grown.parameters().iter().map(|(name, _)| name.as_str()).collect();
            assert!(names.iter().any(|name| name.contains("parts")));
            assert!(!names.iter().any(|name| of_block(name, module)), "{names:?}");
            // Others are shared, and the origin keeps its own.
            for (name, own) in net.parameters().iter().filter(|(name, _)| !of_block(name, module)) {
                let (_, shared) = grown.parameters().iter().find(|(other, _)| other == name).unwrap();
                assert!(shared.is_same(own), "{name}");
            }
            assert!(forward(&grown).is_ok() && forward(&net).is_ok());
        }
    }
}
