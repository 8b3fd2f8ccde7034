//! Parameters and floating-point operations, compared with the plain DiT.

use super::parts::Place;
use super::{Config, Design, Family, Model, Position, presets};
use crate::declare::Options;
use crate::document::{Column, Look, Table};
use crate::error::Result;
use crate::nn::embed::TIME_FEATURES;
use crate::nn::{MlpKind, QkNorm, TokenNorm};
use crate::spectral::Correction;
use crate::torch::DType;

/// Parameters and operations of a model.
///
/// Operations are those of one forward pass for one image; a multiplication with its addition counts as two.
/// Counted are linear maps, both products of attention, the patch embedding, and the low-pass filter in its usual
/// form: taps as one dense two-dimensional convolution (k x k per token and channel), a frequency response as an
/// FFT and its inverse. As in the paper, operations that touch each number once are not counted: normalization,
/// activations, modulation, residual sums. The paper's filter therefore adds 50 operations per token and channel,
/// which is its +0.6 % at `cifar10_small`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accounting {
    /// Number of trainable parameters.
    pub parameters: i64,
    /// Number of trainable parameters of the plain DiT.
    pub plain_parameters: i64,
    /// Operations of one forward pass for one image; NaN if code needs fields that no forward pass had.
    pub flops: f64,
    /// Operations of one forward pass of the plain DiT.
    pub plain_flops: f64,
}

impl Accounting {
    /// Counts from the configuration alone, without building a model.
    pub fn of(config: &Config) -> Result<Self> {
        config.check()?;
        let (plain_parameters, plain_flops) = (plain_parameters(config), plain_flops(config));
        let (mut parameters, mut flops) = (plain_parameters, plain_flops);
        let mut add = |correction: &Correction, place: Place, places: i64| -> Result<()> {
            let (grid, width) = config.size_at(place);
            parameters += places * correction.parameters(width);
            flops += places as f64 * correction.flops([grid; 2], width)?;
            Ok(())
        };
        for correction in &config.corrections {
            add(correction, Place::Mlp, config.depth)?;
        }
        for part in &config.parts {
            let Some(correction) = part.correction() else { continue };
            let place = part.place()?;
            let places = if place.in_blocks() { part.blocks().of(config.depth)?.len() as i64 } else { 1 };
            add(correction, place, places)?;
        }
        Ok(Self { parameters, plain_parameters, flops, plain_flops })
    }

    /// Counts for a model that was built.
    ///
    /// The operations of code are counted in one forward pass; a user-defined network is compared with itself
    /// without parts.
    pub fn of_model(model: &Model) -> Result<Self> {
        let parameters = model.num_parameters();
        match model.design() {
            Design::Dit(config) => {
                let costs = Self::of(config)?;
                let flops = costs.flops + model.flops_of_code()?;
                Ok(Self { parameters, flops, ..costs })
            }
            Design::Custom(_) => {
                let flops = model.flops_of_code()?;
                let (plain_parameters, plain_flops) = match model.without_parts()? {
                    Some(plain) => (plain.num_parameters(), plain.flops_of_code()?),
                    None => (parameters, flops),
                };
                Ok(Self { parameters, plain_parameters, flops, plain_flops })
            }
        }
    }

    /// Returns the parameters beyond the plain DiT's, as a fraction of the plain DiT's.
    pub fn parameter_excess(&self) -> f64 {
        (self.parameters - self.plain_parameters) as f64 / self.plain_parameters as f64
    }

    /// Returns the operations beyond the plain DiT's, as a fraction of the plain DiT's.
    pub fn flops_excess(&self) -> f64 {
        (self.flops - self.plain_flops) / self.plain_flops
    }

    /// Returns the summary as a table.
    pub fn table(&self, model: &Model) -> Table {
        let mut rows = self.rows(model).into_iter();
        let head = rows.next().unwrap_or_default();
        let side = |i: usize| if i > 1 { Column::right() } else { Column::left() };
        let mut table = Table::new(Look::Framed, (0..head.len()).map(side).collect()).with_head(head);
        rows.for_each(|row| table.push(row));
        table
    }

    /// Returns the cells of the summary, the header first; rows may be shorter than the header.
    fn rows(&self, model: &Model) -> Vec<Vec<String>> {
        let [channels, height, width] = model.image_shape();
        let device = model.device();
        let dtype = match model.dtype() {
            DType::Float32 => String::new(),
            other => format!(", {}", other.name()),
        };
        // A plain DiT needs no comparison with itself.
        let parts = model.design().parts();
        let plain = parts.is_empty() && model.config().is_none_or(|c| c.corrections.is_empty());
        let columns = if plain { 2 } else { 4 };
        let row = |cells: &[&str]| cells.iter().take(columns).map(ToString::to_string).collect::<Vec<_>>();
        let images = format!("{channels} x {height} x {width}, {} classes", model.num_classes());
        let other = if model.config().is_some() { "plain DiT" } else { "network without parts" };
        let mut rows = vec![row(&[&model.title(), "", other, "excess"]), row(&["images", &images])];
        if let Some(config) = model.config() {
            let tokens = format!("{0} x {0} of {1} x {1} pixels", config.grid(), config.patch_size);
            let body = config.mentions().join(", ");
            rows.extend([row(&["tokens", &tokens]), row(&["body", &body])]);
        }
        rows.push(row(&["device", &format!("{device}{dtype}")]));
        if let Some(config) = model.config() {
            for correction in &config.corrections {
                let lines: Vec<String> = correction.filters.iter().map(ToString::to_string).collect();
                rows.push(row(&["correction", &format!("{}\n{}", lines.join("\n"), correction.gate)]));
            }
        }
        for part in parts {
            let plain = if part.plain() { format!("\nstarts as the {other}") } else { String::new() };
            rows.push(row(&["part", &format!("{part}{plain}")]));
        }
        let frozen = model.parameters().iter().filter(|(_, p)| !p.requires_grad());
        let frozen: i64 = frozen.map(|(_, p)| p.count() as i64).sum();
        if frozen > 0 && (model.config().is_some() || !parts.is_empty()) {
            rows.push(row(&["frozen", &format!("{} parameters", grouped(frozen))]));
        }
        if self.flops.is_nan() || self.plain_flops.is_nan() {
            let [ours, plain] = [self.parameters, self.plain_parameters].map(grouped);
            let excess = format!("{:+.4} %", 100.0 * self.parameter_excess());
            rows.push(row(&["parameters", &ours, &plain, &excess]));
            rows.push(row(&["FLOPs per image", "counted after a forward pass with its fields", "", ""]));
            return rows;
        }
        let parameters = [self.parameters, self.plain_parameters].map(grouped);
        let flops = [self.flops, self.plain_flops].map(engineering);
        for (name, [ours, plain], excess) in [
            ("parameters", parameters, self.parameter_excess()),
            ("FLOPs per image", flops, self.flops_excess()),
        ] {
            // A network may have nothing but parts.
            let excess = if excess.is_finite() { format!("{:+.4} %", 100.0 * excess) } else { String::new() };
            rows.push(row(&[name, &ours, &plain, &excess]));
        }
        rows
    }
}

/// Returns a name for headings and messages, such as `SpectralDiT "fashion_tiny"` or `DiT`.
pub fn title(config: &Config) -> String {
    let corrected = !config.corrections.is_empty() || config.parts.iter().any(|p| p.correction().is_some());
    let family = match config.family {
        Family::SpectralDit if corrected => "SpectralDiT",
        other => other.title(),
    };
    match presets::name_of(config) {
        Some(name) => format!("{family} \"{name}\""),
        None => family.to_string(),
    }
}

fn plain_parameters(config: &Config) -> i64 {
    let (d, inner) = (config.hidden_size, config.inner_size());
    let linear = |inputs: i64, outputs: i64| (inputs + 1) * outputs;
    let pixels = config.patch_size * config.patch_size * config.in_channels;
    let qkv = linear(d, 3 * d) - if config.qkv_bias { 0 } else { 3 * d };
    let head = d / config.num_heads;
    let qk_norm = match config.qk_norm() {
        QkNorm::None => 0,
        QkNorm::Rms => 2 * head,
        QkNorm::Layer => 4 * head,
    };
    let norm = if config.norm() == TokenNorm::Rms { d } else { 0 };
    let attention = qkv + linear(d, d) + qk_norm;
    let mlp = linear(d, halves(config) * inner) + linear(inner, d);
    let block = attention + mlp + linear(d, adaptive(config) * d) + 2 * norm;
    let stored = config.family.is_public() || config.position() == Position::Learned;
    linear(pixels, d)
        + linear(TIME_FEATURES, d)
        + linear(d, d)
        + config.label_rows() * d
        + config.depth * block
        + linear(d, 2 * d)
        + linear(d, pixels * outputs(config))
        + norm
        + if stored { config.tokens() * d } else { 0 }
}

/// Returns the number of inner widths that the first map of the MLP gives.
fn halves(config: &Config) -> i64 {
    if config.mlp() == MlpKind::SwiGlu { 2 } else { 1 }
}

/// Returns the number of vectors that the adaLN of a block gives.
fn adaptive(config: &Config) -> i64 {
    if config.shift { 6 } else { 4 }
}

/// Returns the outputs of the network per channel.
fn outputs(config: &Config) -> i64 {
    if config.learn_sigma() { 2 } else { 1 }
}

fn plain_flops(config: &Config) -> f64 {
    let (n, d, inner) = (config.tokens() as f64, config.hidden_size as f64, config.inner_size() as f64);
    let pixels = (config.patch_size * config.patch_size * config.in_channels) as f64;
    let mlp = (1 + halves(config)) as f64 * d * inner;
    let block = n * (4.0 * d * d + 2.0 * n * d + mlp) + adaptive(config) as f64 * d * d;
    let ends = (1 + outputs(config)) as f64 * n * pixels * d + TIME_FEATURES as f64 * d + d * d + 2.0 * d * d;
    2.0 * (config.depth as f64 * block + ends)
}

/// Groups digits by thousands: `5496195` becomes `5,496,195`.
pub fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn engineering(number: f64) -> String {
    let (scale, unit) = match number {
        x if x >= 1e12 => (1e12, "T"),
        x if x >= 1e9 => (1e9, "G"),
        x if x >= 1e6 => (1e6, "M"),
        _ => (1e3, "k"),
    };
    format!("{:.3} {unit}", number / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Block, Document, escape_html};
    use crate::spectral::{correction, filter, gate};
    use crate::torch::Device;

    fn spectral(preset: &str) -> Accounting {
        let paper = correction(filter::binomial(()).unwrap(), gate::time(()).unwrap()).unwrap();
        Accounting::of(&Config::preset(preset).unwrap().with_corrections(vec![paper])).unwrap()
    }

    #[test]
    fn the_papers_figures_come_out() {
        let cifar = spectral("cifar10_small");
        assert_eq!(cifar.plain_parameters, 5_496_195);
        assert_eq!(cifar.parameters - cifar.plain_parameters, 74_896);
        assert_eq!(format!("{:.4}", 100.0 * cifar.parameter_excess()), "1.3627");
        assert_eq!(format!("{:.1}", 100.0 * cifar.flops_excess()), "0.6");

        let imagenet = spectral("imagenet100_s2");
        assert_eq!(imagenet.plain_parameters, 32_514_832);
        assert_eq!(imagenet.parameters - imagenet.plain_parameters, 445_848);
        assert_eq!(format!("{:.4}", 100.0 * imagenet.parameter_excess()), "1.3712");
    }

    #[test]
    fn the_summary_has_the_same_cells_in_text_and_html() {
        let config = Config::preset("cifar10_small").unwrap();
        let paper = correction(filter::binomial(()).unwrap(), gate::time(()).unwrap()).unwrap();
        for config in [config.clone(), config.with_corrections(vec![paper])] {
            let model = Model::blank(config, Device::Cpu).unwrap();
            let costs = Accounting::of_model(&model).unwrap();
            let (text, html) = (
                Document::of(Block::Table(costs.table(&model))).to_text(None),
                costs.table(&model).to_html(),
            );
            let rows = costs.rows(&model);
            for cell in rows.iter().flatten().flat_map(|cell| cell.lines()) {
                assert!(text.contains(cell) && html.contains(&escape_html(cell)), "{cell}\n{text}\n{html}");
            }
            let cells = |line: &str| line.matches("</t").count() - 1;
            let lines: Vec<&str> = html.lines().filter(|line| line.contains("<tr>")).collect();
            assert_eq!(lines.len(), rows.len());
            assert!(lines[1..].iter().all(|line| cells(line) == rows[0].len()), "{html}");
        }
    }

    #[test]
    fn operations_of_a_model_small_enough_for_paper_and_pencil() {
        let config = Config {
            image_size: 2,
            patch_size: 1,
            in_channels: 1,
            num_classes: 1,
            depth: 1,
            hidden_size: 4,
            num_heads: 1,
            mlp_ratio: 1.0,
            ..Config::preset("fashion_tiny").unwrap()
        };
        // Four tokens of width 4: embedding 16, final map 16, time 256 * 4 + 16, final adaLN 32. Block:
        // qkv 192, proj 64, mlp 128, attention 2 * 4 * 4 * 4 = 128, adaLN 96.
        let products = 16 + 16 + (1024 + 16) + 32 + (192 + 64 + 128 + 128 + 96);
        assert_eq!(Accounting::of(&config).unwrap().plain_flops, 2.0 * f64::from(products));
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([grouped(12), grouped(5_496_195), grouped(100_000)], ["12", "5,496,195", "100,000"]);
    }
}
