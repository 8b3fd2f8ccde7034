//! Images of other sizes: positions by hand and as in public code, then properties of models.

use super::*;
use crate::declare::Choice;
use crate::model::{Family, LoadOptions, OpenOptions, open};
use crate::spectral::{Correction, Filter, correction, filter, gate};
use crate::torch::{Generator, autograd, flops};

/// A model of 8 x 8 images in patches of 2 x 2, whose heads have 8 channels.
fn small() -> Config {
    Config {
        image_size: 8,
        patch_size: 2,
        in_channels: 1,
        num_classes: 2,
        depth: 2,
        hidden_size: 16,
        num_heads: 2,
        ..Config::preset("fashion_tiny").unwrap()
    }
}

fn noise(seed: u64, shape: &[i64]) -> Tensor {
    let generator = Generator::new(seed, Device::Cpu).unwrap();
    Tensor::randn(shape, DType::Float32, Device::Cpu, Some(&generator)).unwrap()
}

/// A model whose weights are random, apart from its positions.
fn random(config: Config) -> Model {
    let model = Model::new(config, 0, Device::Cpu).unwrap();
    for (i, (name, parameter)) in model.parameters().iter().enumerate() {
        if name != POSITIONS {
            parameter.copy_(&noise(i as u64, &parameter.shape()).mul_scalar(0.2).unwrap()).unwrap();
        }
    }
    model
}

fn run(model: &Model, [height, width]: [i64; 2]) -> Tensor {
    let x = noise(3, &[2, 1, height, width]);
    let (t, y) = (Tensor::from_f32(&[0.2, 0.7], &[2]).unwrap(), Tensor::from_i64(&[0, 2], &[2]).unwrap());
    model.forward(&x, &t, &y).unwrap()
}

/// Every kind of position embedding, with its scaling.
fn kinds() -> Vec<Config> {
    let of = |position, position_scaling| Config { position: Some(position), position_scaling, ..small() };
    let mut all: Vec<Config> = [Position::Sincos, Position::Rope]
        .into_iter()
        .flat_map(|position| PositionScaling::ALL.iter().map(move |scaling| of(position, *scaling)))
        .collect();
    all.push(of(Position::Learned, PositionScaling::None));
    all.extend([Family::Sit, Family::LightningDit].map(|family| Config { family, ..small() }));
    all
}

#[test]
fn positions_of_each_scaling_by_hand() {
    let config = Config { position_base: Some(8), image_size: 16, ..small() };
    let axis =
        |position_scaling, count| axes(&Config { position_scaling, ..config.clone() }, [count, 4], 100.0)[0];
    let positions = |axis: Axis| (0..axis.count).map(|token| axis.position(token)).collect::<Vec<_>>();
    assert_eq!(positions(axis(PositionScaling::None, 8))[..4], [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(positions(axis(PositionScaling::Linear, 8))[..4], [0.0, 0.5, 1.0, 1.5]);
    assert_eq!(positions(axis(PositionScaling::Linear, 2)), [0.0, 2.0]);
    assert_eq!(positions(axis(PositionScaling::Ntk, 8))[..4], [0.0, 1.0, 2.0, 3.0]);
    // Frequencies theta^(-i / 2): the first stays 1, the second is halved on a grid of twice the size.
    let theta = axis(PositionScaling::Ntk, 8).theta(2);
    assert!((theta.powf(-0.5) - 0.5 * 100f64.powf(-0.5)).abs() < 1e-12, "{theta}");
    assert_eq!(axis(PositionScaling::Ntk, 2).theta(2), 100.0);
    assert_eq!(axis(PositionScaling::Ntk, 8).theta(1), 100.0);
}

/// `get_2d_sincos_pos_embed` of PixArt with a `base_size` of 4: `arange(grid) / (grid / base_size)`, columns first.
#[test]
fn scaled_sines_are_those_of_pixart() {
    let config = Config { family: Family::Sit, position_scaling: PositionScaling::Linear, ..small() };
    let (rows, columns) = (6, 3);
    let found = fixed(&config, [rows, columns]).unwrap().to_f64().unwrap();
    let scaled = |i: i64, side: i64| i as f64 / (side as f64 / 4.0);
    for row in 0..rows {
        for column in 0..columns {
            let places = [scaled(column, columns), scaled(row, rows)];
            for (half, place) in places.into_iter().enumerate() {
                for i in 0..4 {
                    let angle = place / 10000f64.powf(f64::from(i) / 4.0);
                    let at = ((row * columns + column) * 16 + half as i64 * 8 + i64::from(i)) as usize;
                    assert!((found[at] - angle.sin()).abs() < 1e-6, "{row} {column} {i}");
                    assert!((found[at + 4] - angle.cos()).abs() < 1e-6, "{row} {column} {i}");
                }
            }
        }
    }
}

/// `VisionRotaryEmbeddingFast` of LightningDiT: `arange(ft_seq_len) / ft_seq_len * pt_seq_len`, times `theta^(-2i / half)`.
#[test]
fn scaled_rotations_are_those_of_lightningdit() {
    let config = Config {
        position: Some(Position::Rope),
        position_scaling: PositionScaling::Linear,
        rope_theta: 50.0,
        ..small()
    };
    let rope = rope(&config, [3, 6], DType::Float32, Device::Cpu).unwrap().unwrap();
    let cos = rope.tables().0.to_f32().unwrap();
    for (token, row) in cos.chunks(8).enumerate() {
        let (down, across) = (token / 6, token % 6);
        for (i, found) in row.iter().enumerate() {
            let position = if i < 4 { down as f32 / 3.0 * 4.0 } else { across as f32 / 6.0 * 4.0 };
            let angle = position / 50f32.powf((2 * (i % 4 / 2)) as f32 / 4.0);
            assert!((found - angle.cos()).abs() < 1e-6, "{token} {i}");
        }
    }
}

#[test]
fn scaling_matters_at_another_size_alone() {
    for position in [Position::Sincos, Position::Rope] {
        let made =
            |position_scaling| random(Config { position: Some(position), position_scaling, ..small() });
        let [none, linear, ntk] =
            [PositionScaling::None, PositionScaling::Linear, PositionScaling::Ntk].map(made);
        for other in [&linear, &ntk] {
            assert!(run(other, [8, 8]).equal(&run(&none, [8, 8])).unwrap());
            assert!(!run(other, [12, 12]).equal(&run(&none, [12, 12])).unwrap());
        }
        assert!(!run(&linear, [12, 12]).equal(&run(&ntk, [12, 12])).unwrap());
    }
}

/// A model that was made for another size and takes these images computes what one made for them does.
#[test]
fn other_sizes_are_those_of_a_model_made_for_them() {
    for config in kinds() {
        let what = format!("{:?} {:?} {:?}", config.family, config.position(), config.position_scaling);
        let model = random(config.clone());
        let larger = model.at_size(12, None).unwrap();
        let base = (config.position_scaling != PositionScaling::None).then_some(8);
        assert_eq!((larger.config().unwrap().image_size, larger.config().unwrap().position_base), (12, base));
        assert!(run(&model, [12, 12]).equal(&run(&larger, [12, 12])).unwrap(), "{what}");
        // The same at the size before, and for images that are not square.
        for size in [[8, 8], [12, 8], [4, 10]] {
            let found = run(&model, size);
            assert_eq!(found.shape(), [2, 1, size[0], size[1]], "{what}");
            if config.position() != Position::Learned {
                assert!(found.equal(&run(&larger, size)).unwrap(), "{what} {size:?}");
            }
        }
        let parameters = |model: &Model| model.num_parameters();
        let more =
            if config.position() == Position::Learned || config.family.is_public() { 20 * 16 } else { 0 };
        assert_eq!(parameters(&larger), parameters(&model) + more, "{what}");
    }
}

/// The rotation of a grid is that of the grid with exchanged axes, whose halves of a head are exchanged.
#[test]
fn rows_and_columns_are_not_confused() {
    for scaling in PositionScaling::ALL {
        let config = Config { position: Some(Position::Rope), position_scaling: *scaling, ..small() };
        let [down, across] = [[3, 5], [5, 3]].map(|grid| {
            let rope = rope(&config, grid, DType::Float64, Device::Cpu).unwrap().unwrap();
            rope.tables().0.reshape(&[grid[0], grid[1], 8]).unwrap()
        });
        let exchanged = across.transpose(0, 1).unwrap();
        let halves = |t: &Tensor| [t.narrow(2, 0, 4).unwrap(), t.narrow(2, 4, 4).unwrap()];
        let ([a, b], [c, d]) = (halves(&down), halves(&exchanged));
        assert!(a.equal(&d).unwrap() && b.equal(&c).unwrap(), "{scaling:?}");
    }
}

#[test]
fn trained_positions_are_interpolated_and_learn_at_every_size() {
    let model = random(Config { position: Some(Position::Learned), ..small() });
    let table = &model.parameters().iter().find(|(name, _)| name == POSITIONS).unwrap().1;
    table.copy_(&noise(50, &[1, 16, 16])).unwrap();
    let other = bicubic(table, 4, [6, 4]).unwrap();
    // Columns keep their number, so each row of the result is a cubic of the rows: of the first two here, and the edge.
    let rows = table.reshape(&[4, 4, 16]).unwrap();
    let row = |i: i64| rows.select(0, i).unwrap().mul_scalar(1.0).unwrap();
    // The center of row 1 of 6 lies at (1.5 / 6) 4 - 0.5 = 0.5: weights -3/32, 19/32, 19/32 and -3/32 for a = -0.75.
    let expected = row(0).add(&row(1)).unwrap().mul_scalar(19.0 / 32.0).unwrap();
    let outer = row(0).add(&row(2)).unwrap().mul_scalar(-3.0 / 32.0).unwrap();
    let found = other.reshape(&[6, 4, 16]).unwrap().select(0, 1).unwrap();
    assert!(found.allclose(&expected.add(&outer).unwrap(), 1e-5, 1e-5).unwrap());
    let loss = run(&model, [12, 8]).square().unwrap().sum(&[], false).unwrap();
    let gradient = autograd::grad(&[loss], std::slice::from_ref(table), None, false, false).unwrap();
    assert!(gradient[0].as_ref().unwrap().abs().unwrap().amin(&[], false).unwrap().item().unwrap() > 0.0);
    // The table of the next step counts, not that of the first.
    let before = run(&model, [12, 8]);
    table.copy_(&noise(51, &[1, 16, 16])).unwrap();
    assert!(!run(&model, [12, 8]).equal(&before).unwrap());
}

#[test]
fn a_stored_table_of_other_positions_is_kept() {
    let model = random(Config { family: Family::Sit, ..small() });
    let table = &model.parameters().iter().find(|(name, _)| name == POSITIONS).unwrap().1;
    let sines = run(&model, [12, 12]);
    table.copy_(&noise(50, &[1, 16, 16])).unwrap();
    let other = run(&model, [12, 12]);
    assert!(!other.equal(&sines).unwrap());
    let larger = model.at_size(12, None).unwrap();
    assert!(run(&larger, [12, 12]).equal(&other).unwrap());
    let stored = &larger.parameters().iter().find(|(name, _)| name == POSITIONS).unwrap().1;
    assert!(stored.equal(&bicubic(table, 4, [6, 6]).unwrap()).unwrap() && !stored.requires_grad());
}

/// Corrections of every kind of filter, with coefficients that are not zero.
fn corrections() -> Vec<Correction> {
    let constant = |values: [f64; 2]| {
        let values = values.to_vec();
        gate::constant(gate::Constant { values, ..Default::default() }).unwrap()
    };
    let of = |filter: Filter| correction(filter, constant([0.5, -0.3])).unwrap();
    let code = Filter::new(filter::Custom::new(|grid| grid.tanh())).unwrap();
    vec![
        of(filter::gaussian(filter::Gaussian { sigma: 1.0 }).unwrap()),
        of(filter::ideal(filter::Ideal { cutoff: 0.4 }).unwrap()),
        of(filter::learned(filter::Learned { size: 3, init: filter::LearnedInit::Box }).unwrap()),
        of(code),
    ]
}

#[test]
fn operations_of_corrections_are_counted_on_the_grid_of_the_images() {
    let config = small().with_corrections(corrections()[..2].to_vec());
    let counted = |model: &Model| flops::count(|| Ok(run(model, [16, 16]))).unwrap().1;
    let (own, larger) = (random(config.clone()), random(Config { image_size: 16, ..config }));
    assert_eq!(counted(&own), counted(&larger));
    let plain = random(Config { image_size: 16, ..small() });
    assert!(counted(&own) > counted(&plain));
}

#[test]
fn corrections_filter_the_grid_of_the_images() {
    for (count, corrections) in (1..=4).map(|count| (count, corrections()[..count].to_vec())) {
        let model = random(small().with_corrections(corrections));
        let larger = model.at_size(12, None).unwrap();
        for size in [[12, 12], [8, 8], [12, 8], [6, 10]] {
            assert!(run(&model, size).equal(&run(&larger, size)).unwrap(), "{count} {size:?}");
        }
        assert!(larger.trace(&noise(0, &[1, 1, 8, 4]), &time(), &label()).is_ok());
    }
    // The parameters of a filter learn at another size as well.
    let model = random(small().with_corrections(corrections()[2..3].to_vec()));
    let loss = run(&model, [12, 8]).square().unwrap().sum(&[], false).unwrap();
    let (name, logits) = model.parameters().iter().find(|(name, _)| name.ends_with("logits")).unwrap();
    let found = autograd::grad(&[loss], std::slice::from_ref(logits), None, false, false).unwrap();
    assert!(
        found[0].as_ref().unwrap().abs().unwrap().amax(&[], false).unwrap().item().unwrap() > 0.0,
        "{name}"
    );
}

fn time() -> Tensor {
    Tensor::from_f32(&[0.5], &[1]).unwrap()
}

fn label() -> Tensor {
    Tensor::from_i64(&[1], &[1]).unwrap()
}

#[test]
fn files_open_at_another_size() {
    let folder = tempfile::tempdir().unwrap();
    for (i, config) in kinds().into_iter().enumerate() {
        let path = folder.path().join(format!("{i}.safetensors"));
        let model = random(config.clone());
        model.save(&path).unwrap();
        let options = OpenOptions { image_size: Some(12), ..OpenOptions::default() };
        let opened = open(path.as_path(), options).unwrap();
        assert_eq!(opened.config().unwrap().image_size, 12);
        assert!(run(&opened, [12, 12]).equal(&run(&model, [12, 12])).unwrap(), "{config:?}");
        // Saved again it is a file of its own size, which opens and loads to the same bits.
        opened.save(&path).unwrap();
        let again = open(path.as_path(), ()).unwrap();
        assert_eq!(again.config(), opened.config());
        let blank = Model::blank(opened.config().unwrap().clone(), Device::Cpu).unwrap();
        blank.load(&path, &LoadOptions::default()).unwrap();
        for other in [&again, &blank] {
            assert!(run(other, [12, 12]).equal(&run(&opened, [12, 12])).unwrap(), "{config:?}");
        }
    }
    let path = folder.path().join("0.safetensors");
    let linear = Some(PositionScaling::Linear);
    let options = OpenOptions { position_scaling: linear, image_size: Some(24), ..OpenOptions::default() };
    let config = open(path.as_path(), options).unwrap().config().unwrap().clone();
    assert_eq!((config.position_scaling, config.position_base), (PositionScaling::Linear, Some(12)));
}

#[test]
fn sizes_and_options_that_do_not_fit_have_a_message() {
    let model = random(small());
    let error = model.forward(&noise(0, &[1, 1, 8, 7]), &time(), &label()).unwrap_err();
    assert_eq!(
        error.message(),
        "expected images whose height and width are multiples of the patch size 2, found 8 x 7"
    );
    assert_eq!(error.hint_text(), Some("the nearest size is 8 x 8"));
    let error = model.forward(&noise(0, &[1, 3, 8, 8]), &time(), &label()).unwrap_err();
    assert!(error.message().starts_with("expected images [B, 1, H, W], found"), "{error}");
    assert!(model.at_size(9, None).unwrap_err().message().contains("not divisible by patch size 2"));
    let message = |config: Config| config.check().unwrap_err().message();
    assert_eq!(
        message(Config { rope_theta: 500.0, ..small() }),
        "`rope_theta` is the base of rotary positions, found `position: \"sincos\"`"
    );
    assert!(message(Config { position_base: Some(8), ..small() }).contains("without `position_scaling`"));
    let linear = Config { position_scaling: PositionScaling::Linear, ..small() };
    assert!(message(Config { position: Some(Position::Learned), ..linear.clone() }).contains("\"learned\""));
    assert_eq!(
        message(Config { position_base: Some(7), ..linear }),
        "`position_base` must be divisible by the patch size 2, found 7"
    );
    // A filter that a grid does not fit.
    let haar = filter::haar(filter::Haar { levels: 1 }).unwrap();
    let fixed = gate::constant(gate::Constant::default()).unwrap();
    let model = random(small().with_corrections(vec![correction(haar, fixed).unwrap()]));
    let error = model.forward(&noise(0, &[1, 1, 12, 10]), &time(), &label()).unwrap_err();
    assert!(error.message().contains("divisible by 2, found 6 x 5"), "{error}");
}

#[test]
fn an_unfrozen_table_has_gradients_at_other_sizes() {
    let model = random(Config { family: Family::Sit, ..small() });
    model.unfreeze(&[POSITIONS.to_string()]).unwrap();
    let table = &model.parameters().iter().find(|(name, _)| name == POSITIONS).unwrap().1;
    for size in [[8, 8], [12, 8]] {
        let sum = run(&model, size).square().unwrap().sum(&[], false).unwrap();
        let gradient = autograd::grad(&[sum], std::slice::from_ref(table), None, false, false).unwrap();
        let gradient = gradient.into_iter().next().flatten().unwrap();
        assert!(gradient.abs().unwrap().sum(&[], false).unwrap().item().unwrap() > 0.0, "{size:?}");
    }
}

#[test]
fn a_table_that_is_written_again_with_its_values_keeps_its_other_grids() {
    let mut builder = Builder::seeded(0, DType::Float32, Device::Cpu);
    let positions = Positions::new(&mut builder, &Config { family: Family::Sit, ..small() }).unwrap();
    let count = || positions.others.lock().unwrap().len();
    for _ in 0..3 {
        positions.table.copy_(&positions.table.copy().unwrap()).unwrap();
        positions.of([6, 6]).unwrap();
    }
    assert_eq!(count(), 1);
    positions.table.copy_(&noise(7, &positions.table.shape())).unwrap();
    positions.of([6, 6]).unwrap();
    assert_eq!(count(), 2);
}
