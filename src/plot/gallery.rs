//! Gallery of every kind of figure, written to files for visual inspection; the test checks that they contain ink
//! and text.

use crate::error::Result;
use crate::plot::*;

/// Pseudorandom numbers that are the same on every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }
}

fn spectra() -> Result<Figure> {
    let mut noise = Noise(1);
    let rings: Vec<f64> = (1..=64).map(f64::from).collect();
    let mut curve = |fall: f64, floor: f64| -> Vec<f64> {
        rings.iter().map(|r| (3e3 * r.powf(-fall) + floor) * (1.0 + 0.08 * noise.normal())).collect()
    };
    let real = curve(2.3, 2e-2);
    let mut line =
        Line::new(Axis::new("spatial frequency (cycles per image)").log(), Axis::new("power (a.u.)").log())
            .title("Radial power spectrum of generated and real images")
            .palette(Palette::Ordered(ColorMap::Viridis))
            .series(Series::new("real images", rings.clone(), real).color(Color::BLACK).width(2.4));
    for (i, cutoff) in ["0.125", "0.25", "0.5", "0.75"].into_iter().enumerate() {
        let y = curve(2.3 + 0.22 * (4 - i) as f64, 3e-3);
        let spread: Vec<f64> = y.iter().map(|v| 0.2 * v).collect();
        line = line.series(Series::new(format!("cutoff {cutoff}"), rings.clone(), y).band(spread));
    }
    line.figure()
}

fn metric() -> Result<Figure> {
    let cutoffs = [0.125, 0.25, 0.375, 0.5, 0.75, 1.0];
    Line::new(Axis::new("cutoff (fraction of Nyquist)").ticks(cutoffs), Axis::new("FID (lower is better)"))
        .title("FID against cutoff, 3 seeds")
        .series(
            Series::new("SpectralDiT, time gate", cutoffs, [41.2, 37.9, 36.1, 36.8, 38.8, 40.1])
                .errors([1.1, 0.8, 0.9, 0.6, 1.2, 0.9]),
        )
        .series(
            Series::new("SpectralDiT, static gate", cutoffs, [42.0, 40.4, 39.0, 38.1, 39.9, 40.9])
                .errors([0.9, 1.0, 0.7, 0.8, 0.7, 1.1]),
        )
        .horizontal(Reference::new(40.6).label("DiT baseline (mean ± std)").spread(0.7))
        .figure()
}

fn loss() -> Result<Figure> {
    let mut noise = Noise(5);
    let steps: Vec<f64> = (0..400).map(|i| f64::from(i) * 5000.0).collect();
    let mut line = Line::new(Axis::new("training step"), Axis::new("loss (mean squared error)").log())
        .title("Training loss")
        .vertical(Reference::new(300_000.0).label("warm-up ends").dash(Dash::Dotted));
    for (name, floor) in [("DiT", 0.17), ("SpectralDiT", 0.155), ("SpectralDiT, wide gate", 0.15)] {
        let mut y: Vec<f64> = steps
            .iter()
            .map(|s| floor + (-s / 3e5).exp() * (1.0 + 0.03 * noise.normal()) + 0.004 * noise.normal())
            .collect();
        for v in &mut y[150..170] {
            *v = if name == "DiT" { f64::NAN } else { *v };
        }
        line = line.series(Series::new(name, steps.clone(), y));
    }
    line.figure()
}

fn gates() -> Result<Figure> {
    let panel = |title: &str, phase: f64| {
        let values: Vec<f64> = (0..44)
            .map(|i| {
                let (block, t) = (f64::from(i / 11), f64::from(i % 11) / 10.0);
                0.62 * ((t - phase) * (2.0 + block)).sin() * (1.0 - 0.12 * block)
            })
            .collect();
        Matrix::new(title, 4, 11, values)
    };
    Heatmap::panels([panel("low band", 0.25)?, panel("high band", 0.7)?])
        .title("Gate coefficients by block and timestep")
        .columns(Labels::Numbers((0..=10).map(|i| f64::from(i) / 10.0).collect()))
        .rows(Labels::Names((1..=4).map(|b| format!("block {b}")).collect()))
        .x_label("timestep t (0 is noise, 1 is data)")
        .bar_label("gate coefficient")
        .map(ColorMap::Diverging)
        .figure()
}

fn response() -> Result<Figure> {
    let panel = |title: &str, cutoff: f64| {
        let values: Vec<f64> = (0..64 * 64)
            .map(|i| {
                let (y, x) = (f64::from(i / 64) / 32.0 - 1.0, f64::from(i % 64) / 32.0 - 1.0);
                1.0 / (1.0 + (x.hypot(y) / cutoff).powi(8))
            })
            .collect();
        Matrix::new(title, 64, 64, values)
    };
    let axis: Vec<f64> = (-32..32).map(f64::from).collect();
    Heatmap::panels([panel("cutoff 0.25", 0.25)?, panel("cutoff 0.5", 0.5)?, panel("cutoff 0.75", 0.75)?])
        .title("Measured response of the Butterworth filter")
        .rows(Labels::Numbers(axis.clone()))
        .columns(Labels::Numbers(axis))
        .x_label("horizontal frequency (cycles per grid)")
        .y_label("vertical frequency (cycles per grid)")
        .bar_label("gain")
        .limits(0.0, 1.0)
        .square(true)
        .figure()
}

fn confusion() -> Result<Figure> {
    let mut noise = Noise(9);
    let values: Vec<f64> =
        (0..36).map(|i| if i % 7 == 0 { 60.0 + 40.0 * noise.next() } else { 20.0 * noise.next() }).collect();
    let names =
        ["T-shirt/top", "trouser", "pullover", "dress", "coat", "ankle boot"].map(String::from).to_vec();
    Heatmap::new(Matrix::new("", 6, 6, values)?)
        .title("Nearest class of generated images")
        .rows(Labels::Names(names.clone()))
        .columns(Labels::Names(names))
        .x_label("nearest real class")
        .y_label("label asked for")
        .bar_label("share (%)")
        .map(ColorMap::Cividis)
        .square(true)
        .figure()
}

fn samples() -> Result<Figure> {
    let classes = [
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ];
    let mut noise = Noise(3);
    let mut data = Vec::new();
    for i in 0..64 {
        let (cx, cy, r) = (9.0 + 10.0 * noise.next(), 9.0 + 10.0 * noise.next(), 4.0 + 6.0 * noise.next());
        for p in 0..28 * 28 {
            let (x, y) = (f64::from(p % 28), f64::from(p / 28));
            let d = if i % 2 == 0 { (x - cx).hypot(y - cy) } else { (x - cx).abs().max((y - cy).abs()) };
            data.push((1.0 - (d - r).clamp(-1.0, 1.0) + 0.1 * noise.normal() - 1.0) as f32);
        }
    }
    ImageGrid::new(Images::new(64, 1, 28, 28, data)?)
        .columns(8)
        .captions((0..64).map(|i| classes[i % 10]))
        .title("Samples after 400 steps, guidance 2")
        .figure()
}

fn color_samples() -> Result<Figure> {
    let mut data = vec![0.0_f32; 12 * 3 * 32 * 32];
    for (i, v) in data.iter_mut().enumerate() {
        let (image, channel, y, x) = (i / 3072, i / 1024 % 3, i / 32 % 32, i % 32);
        *v = ((x * (image + 1)) as f32 / 20.0 + channel as f32 + y as f32 / 9.0).sin();
    }
    ImageGrid::new(Images::new(12, 3, 32, 32, data)?)
        .column_captions(["t = 0", "0.33", "0.67", "t = 1"])
        .row_captions(["DiT", "cutoff 0.25", "cutoff 0.5"])
        .title("From noise to data")
        .figure()
}

fn bars() -> Result<Figure> {
    Bars::new(
        ["FID", "precision", "recall", "spectrum gap", "high-frequency ratio"],
        Axis::new("relative to DiT (%)"),
    )
    .title("Metrics against the plain DiT")
    .group(BarGroup::new("binomial", [92.0, 103.0, 101.0, 81.0, 97.0]).errors([3.0, 1.0, 2.0, 6.0, 2.0]))
    .group(BarGroup::new("gaussian", [90.0, 104.0, 102.0, 74.0, 99.0]).errors([2.0, 2.0, 1.0, 5.0, 2.0]))
    .group(BarGroup::new("butterworth", [95.0, 101.0, 99.0, 88.0, 94.0]).errors([4.0, 1.0, 2.0, 4.0, 3.0]))
    .horizontal(Reference::new(100.0).label("DiT"))
    .figure()
}

fn intervals() -> Result<Figure> {
    Intervals::new(
        [
            "SpectralDiT (paper)",
            "static gate",
            "three bands",
            "at the attention residual",
            "gates at a tenth of the rate",
        ],
        Axis::new("FID minus that of the plain DiT, paired over ten seeds"),
    )
    .title("Change of FID with 95 % intervals")
    .estimates(Estimates::new(
        "equal steps",
        [1.8, 0.4, -1.2, 2.6, -0.3],
        [0.2, -0.9, -2.3, f64::NAN, -1.0],
        [3.3, 1.6, -0.1, f64::NAN, 0.5],
    ))
    .estimates(Estimates::new(
        "equal time",
        [2.1, 0.5, -0.8, 3.1, f64::NAN],
        [0.6, -0.8, -1.9, 1.5, f64::NAN],
        [3.7, 1.7, 0.4, 4.4, f64::NAN],
    ))
    .vertical(Reference::new(0.0).label("no difference"))
    .figure()
}

fn histogram() -> Result<Figure> {
    let mut noise = Noise(7);
    let real: Vec<f64> = (0..3000).map(|_| noise.normal() * 0.5).collect();
    let made: Vec<f64> = (0..2000).map(|_| noise.normal() * 0.7 + 0.4).collect();
    Histogram::new(Axis::new("feature 17 (standard units)"))
        .title("One feature of real and generated images")
        .values("real", real)
        .values("generated", made)
        .density(true)
        .vertical(Reference::new(0.0).label("mean of real"))
        .figure()
}

fn scatter() -> Result<Figure> {
    let mut noise = Noise(11);
    let mut scatter = Scatter::new(Axis::new("first component"), Axis::new("second component"))
        .title("Features, projected");
    for (name, x, y) in [("real", 0.0, 0.0), ("DiT", 1.5, 0.8), ("SpectralDiT", 0.4, 0.3)] {
        let xs: Vec<f64> = (0..150).map(|_| x + noise.normal()).collect();
        let ys: Vec<f64> = (0..150).map(|_| y + 0.6 * noise.normal()).collect();
        scatter = scatter.points(Points::new(name, xs, ys));
    }
    scatter.figure()
}

fn gallery() -> Result<Vec<(&'static str, Figure)>> {
    let all =
        Panels::new([spectra()?, metric()?, bars()?, gates()?]).title("Ablation of the cutoff").figure()?;
    Ok(vec![
        ("spectra", spectra()?),
        ("metric", metric()?),
        ("loss", loss()?),
        ("gates", gates()?),
        ("response", response()?),
        ("confusion", confusion()?),
        ("samples", samples()?),
        ("color_samples", color_samples()?),
        ("bars", bars()?),
        ("intervals", intervals()?),
        ("histogram", histogram()?),
        ("scatter", scatter()?),
        ("panels", all),
    ])
}

/// Writes every figure below `target/gallery` for visual inspection.
#[test]
fn every_kind_of_figure_can_be_saved_and_holds_ink() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/gallery");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, figure) in gallery().unwrap() {
        figure.save(folder.join(format!("{name}.svg"))).unwrap();
        figure.save(folder.join(format!("{name}.pdf"))).unwrap();
        let (width, height) = figure.size();
        let bytes = figure.to_png(width, height).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), &bytes).unwrap();
        let mut reader = ::png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        assert_eq!((info.width, info.height), (2 * width, 2 * height), "{name}");
        let ink = rgb.chunks(3).filter(|p| p.iter().any(|c| *c < 200)).count();
        assert!(ink > 1000, "{name} holds only {ink} dark pixels");
        // Nothing may touch the edge of the figure, since that is how clipped labels show.
        let row = info.width as usize * 3;
        let rim = rgb.iter().take(row * 4).chain(rgb.iter().skip(rgb.len() - row * 4));
        assert!(rim.into_iter().all(|c| *c == 255), "{name} touches its upper or lower edge");
        let sides = rgb.chunks(row).all(|r| r[..12].iter().chain(&r[row - 12..]).all(|c| *c == 255));
        assert!(sides, "{name} touches its left or right edge");
    }
}

/// Figures are drawn or refused for any numbers and any size, without undefined coordinates.
#[test]
fn strange_numbers_never_panic() {
    let ordinary = [0.0, 1.0, -1.0, 2.5, 0.3, 40.0, 7.0, -0.2];
    let strange = [-0.0, 1e-310, 1e300, -1e300, 1e12, 1e12 + 1.0, f64::NAN, f64::INFINITY, 3e-9, 1e100];
    let mut noise = Noise(21);
    let (mut drawn, mut refused) = (0, 0);
    for round in 0..200_u32 {
        let mut pick = |count: usize| -> Vec<f64> {
            let from = if round % 4 == 0 { strange.as_slice() } else { ordinary.as_slice() };
            let some = |noise: &mut Noise| match noise.next() < 0.1 {
                true => strange[(noise.next() * strange.len() as f64) as usize],
                false => from[(noise.next() * from.len() as f64) as usize],
            };
            (0..count).map(|_| some(&mut noise)).collect()
        };
        let count = (round % 7) as usize;
        let axis = |log: bool| if log { Axis::new("x").log() } else { Axis::new("x") };
        let (x, y, e) = (pick(count), pick(count), pick(count));
        let figure = match round % 5 {
            0 => Bars::new(["a"; 3], axis(round % 2 == 0))
                .group(BarGroup::new("g", pick(3)).errors(pick(3)))
                .figure(),
            1 => Histogram::new(Axis::new("x")).values("v", pick(9)).figure(),
            2 => Matrix::new("m", 2, 3, pick(6))
                .and_then(|m| Heatmap::new(m).map(ColorMap::Diverging).figure()),
            3 => Scatter::new(axis(round % 3 == 0), axis(round % 2 == 0))
                .points(Points::new("p", x, y))
                .figure(),
            _ => Line::new(axis(round % 3 == 0), axis(round % 4 == 0))
                .series(Series::new("s", x, y).errors(e))
                .horizontal(Reference::new(pick(1)[0]).label("r").spread(pick(1)[0]))
                .figure(),
        };
        let size = (20 + (noise.next() * 300.0) as u32, 20 + (noise.next() * 240.0) as u32);
        match figure.and_then(|figure| Ok((figure.to_svg(size.0, size.1)?, figure.to_png(size.0, size.1)?))) {
            Ok((svg, _)) => {
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                drawn += 1;
            }
            Err(error) => {
                assert_ne!(error.kind(), crate::error::Kind::Internal, "{error}");
                refused += 1;
            }
        }
    }
    assert!(drawn > 20 && refused > 20, "{drawn} drawn, {refused} refused");
}
