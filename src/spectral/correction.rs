//! Correction of a block's MLP residual by filters and a gate.

pub(crate) mod api;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::filter::Plan;
use super::gate::{Condition, GateLayer, Width};
use super::{Filter, Gate};
use crate::context::Context;
use crate::declare::{Code, Display, Map, Value};
use crate::document::Document;
use crate::error::{Error, Result};
use crate::nn::Builder;
use crate::scripted;
use crate::torch::{Tensor, flops, fused};

/// Low-pass filters that split the residual into bands, and the gate that weights them.
///
/// With r the MLP residual and one filter F, low = F(r) and high = r - low, and a block's output is
/// `x + r + g_low low + g_high high` (SpectralDiT, arXiv 2606.18765). Filters F_1 to F_n, the coarsest first, split
/// r into n + 1 bands: F_1(r), F_2(r) - F_1(r), .., r - F_n(r).
#[derive(Clone, Debug, PartialEq)]
pub struct Correction {
    /// Filters that separate the bands, the coarsest first.
    pub filters: Vec<Filter>,
    /// Gate that computes the coefficients of the bands.
    pub gate: Gate,
}

scripted!(
    Correction,
    "correction",
    |c| Display::text(c.to_string()),
    document = |c, _| Document::code(&c.to_string()),
    describe = |c| ("the", c.to_string()),
    data = |c| Some(c.to_data()),
    restore = Correction::from_data,
);

impl Correction {
    /// Combines filters, the coarsest first, with a gate for one more band than there are filters.
    pub fn new(filters: Vec<Filter>, gate: &Gate) -> Result<Self> {
        if filters.is_empty() {
            return Err(Error::argument("expected at least one filter, found an empty array"));
        }
        let correction = Self { filters, gate: gate.clone() };
        correction.gate.check_bands(correction.bands())?;
        Ok(correction)
    }

    /// Returns the number of bands that the residual is split into.
    pub fn bands(&self) -> i64 {
        self.filters.len() as i64 + 1
    }

    /// Builds the correction of one block for a given grid and width of tokens; `index` counts a block's
    /// corrections from 0.
    ///
    /// The gate parameters of the first correction are named `freq_gate..`, as in the paper's checkpoints, those of
    /// the second `freq_gate_2..`, and so on. Likewise, the parameters of its first filter are named
    /// `freq_filter..`, and those of its later filters `freq_filter_band_2..` and so on.
    pub fn layer(&self, builder: &mut Builder, index: usize, grid: i64, width: Width) -> Result<Layer> {
        let name = |part: &str| match index {
            0 => format!("freq_{part}"),
            later => format!("freq_{part}_{}", later + 1),
        };
        let gate = self.gate.layer(builder, &name("gate"), self.bands(), width)?;
        let filter = |(i, filter): (usize, &Filter)| match i {
            0 => filter.layer(builder, &name("filter"), grid),
            later => filter.layer(builder, &format!("{}_band_{}", name("filter"), later + 1), grid),
        };
        let plans = self.filters.iter().enumerate().map(filter).collect::<Result<_>>()?;
        let own = Arc::new(OnGrid { plans, flops: self.flops([grid; 2], width)? });
        Ok(Layer { correction: self.clone(), width, own, others: Mutex::default(), gate })
    }

    /// Returns whether a filter or the gate calls user code in every forward pass.
    pub fn calls_code(&self) -> bool {
        !self.code().is_empty()
    }

    /// Returns the user code that it calls, by its place in the stored form: `gate`, `filter` or `filters[1]`.
    pub fn code(&self) -> Vec<(String, &Code)> {
        let place = |i| if self.filters.len() == 1 { "filter".to_string() } else { format!("filters[{i}]") };
        let filters =
            self.filters.iter().enumerate().filter_map(|(i, filter)| Some((place(i), filter.code()?)));
        filters.chain(self.gate.code().map(|code| ("gate".to_string(), code))).collect()
    }

    /// Returns a copy whose code is compiled if it was read from a file.
    pub fn compiled(&self, context: &Context) -> Result<Self> {
        let filters = self.filters.iter().map(|filter| filter.compiled(context)).collect::<Result<_>>()?;
        Ok(Self { filters, gate: self.gate.compiled(context)? })
    }

    /// Returns the number of parameters of the correction in one block.
    pub fn parameters(&self, width: Width) -> i64 {
        let filters: i64 = self.filters.iter().map(Filter::parameters).sum();
        self.gate.parameters(self.bands(), width) + filters
    }

    /// Returns the floating-point operations for one image in one block.
    pub fn flops(&self, grid: [i64; 2], width: Width) -> Result<f64> {
        let gate = 2.0 * self.gate.multiplications(self.bands(), width) as f64;
        let filters = self.filters.iter().map(|filter| filter.flops(grid)).sum::<Result<f64>>()?;
        Ok(filters * width.channels as f64 + gate)
    }

    /// Returns the stored form: one filter as `filter` or several as `filters`, and the gate as `gate`.
    pub fn to_data(&self) -> Value {
        let filters = match &self.filters[..] {
            [filter] => ("filter".to_string(), filter.to_data()),
            several => ("filters".to_string(), Value::List(several.iter().map(Filter::to_data).collect())),
        };
        Value::Map(Map::from([filters, ("gate".to_string(), self.gate.to_data())]))
    }

    /// Restores a correction from the output of [`Correction::to_data`].
    pub fn from_data(data: &Value) -> Result<Self> {
        let Value::Map(map) = data else {
            return Err(data.mismatch("a stored correction"));
        };
        let part = |name: &str| {
            map.get(name).ok_or_else(|| Error::argument(format!("a stored correction has a `{name}`")))
        };
        let filters = match map.get("filters") {
            Some(Value::List(several)) => several.iter().map(Filter::from_data).collect::<Result<_>>()?,
            Some(other) => return Err(other.mismatch("an array of stored filters").context("`filters`")),
            None => vec![Filter::from_data(part("filter")?)?],
        };
        Self::new(filters, &Gate::from_data(part("gate")?)?)
    }
}

impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.filters[..] {
            [filter] => write!(f, "correction({filter}, {})", self.gate),
            several => {
                let filters: Vec<String> = several.iter().map(ToString::to_string).collect();
                write!(f, "correction([{}], {})", filters.join(", "), self.gate)
            }
        }
    }
}

/// A correction built into one block.
#[derive(Debug)]
pub struct Layer {
    correction: Correction,
    width: Width,
    /// The filters on the grid of the model.
    own: Arc<OnGrid>,
    /// The same on other grids. They stay, since recorded graphs read their matrices.
    others: Mutex<Vec<([i64; 2], Arc<OnGrid>)>>,
    gate: Box<dyn GateLayer>,
}

/// The filters of one correction on one grid.
#[derive(Debug)]
struct OnGrid {
    plans: Vec<Plan>,
    /// Operations for one image, as [`Correction::flops`] returns them.
    flops: f64,
}

/// Output of one correction.
#[derive(Debug, Clone)]
pub struct Bands {
    /// Coefficients of the bands, [B, k] or [B, k, D]; those of tokens are [B, N, k] or [B, N, k, D].
    pub gates: Tensor,
    /// Whether each token has coefficients of its own.
    pub of_tokens: bool,
    /// Residual as filtered by each filter, [B, N, D], the coarsest first.
    pub passed: Vec<Tensor>,
}

impl Layer {
    /// Returns the filters on a grid, by default that of the model.
    fn on(&self, grid: Option<[i64; 2]>) -> Result<Arc<OnGrid>> {
        let Some(grid) = grid.filter(|grid| self.own.plans.iter().any(|plan| plan.grid() != *grid)) else {
            return Ok(Arc::clone(&self.own));
        };
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = others.iter().find(|(other, _)| *other == grid) {
            return Ok(Arc::clone(found));
        }
        let filters = &self.correction.filters;
        let plans = self.own.plans.iter().zip(filters).map(|(plan, filter)| plan.on(filter, grid));
        let plans = plans.collect::<Result<_>>()?;
        let made = Arc::new(OnGrid { plans, flops: self.correction.flops(grid, self.width)? });
        others.push((grid, Arc::clone(&made)));
        Ok(made)
    }

    /// Filters the residual [B, N, D] and computes the coefficients.
    pub fn bands(&self, residual: &Tensor, condition: &Condition) -> Result<Bands> {
        let passed =
            self.on(condition.grid)?.plans.iter().map(|plan| plan.apply(residual)).collect::<Result<_>>()?;
        let gates = condition.on_grid(self.gate.forward(condition)?)?;
        Ok(Bands { gates, of_tokens: condition.is_of_tokens(), passed })
    }
}

impl Bands {
    /// Returns the coefficients of one band, shaped to multiply tokens.
    fn coefficient(&self, band: usize) -> Result<Tensor> {
        let band = band as i64;
        match (self.of_tokens, self.gates.rank()) {
            (false, 2) => self.gates.narrow(1, band, 1)?.unsqueeze(2),
            (false, _) => self.gates.narrow(1, band, 1),
            (true, 3) => self.gates.narrow(2, band, 1),
            (true, _) => self.gates.select(2, band),
        }
    }

    /// Returns the factor of the residual itself: the coefficients of the highest band.
    fn whole(&self) -> Result<Tensor> {
        self.coefficient(self.passed.len())
    }

    /// Adds the filtered residuals, each times its coefficients minus those of the next band.
    fn add_passed(&self, sum: Tensor) -> Result<Tensor> {
        self.passed.iter().enumerate().try_fold(sum, |sum, (i, passed)| {
            sum.addcmul(&self.coefficient(i)?.sub(&self.coefficient(i + 1)?)?, passed, 1.0)
        })
    }

    /// Returns the bands of the residual, [B, N, D] each; their sum is the residual.
    pub fn split(&self, residual: &Tensor) -> Result<Vec<Tensor>> {
        let mut bands = self.passed[..1].to_vec();
        for pair in self.passed.windows(2) {
            bands.push(pair[1].sub(&pair[0])?);
        }
        let finest = self.passed.last().ok_or_else(|| Error::internal("a correction without a filter"))?;
        bands.push(residual.sub(finest)?);
        Ok(bands)
    }
}

/// Adds `r = gate m` with its corrections to `x`, as [`add_corrected`] does, for tokens x and m [B, N, D] and one
/// gate [B, 1, D] per image.
///
/// Corrections with linear filters are applied in one pass over the tokens; those that call code follow. The gate may be one for
/// each token, [B, N, D]. Coefficients of tokens are applied one after another by libtorch's operators.
pub fn add_gated(
    x: &Tensor,
    m: &Tensor,
    gate: &Tensor,
    corrections: &[Layer],
    condition: &Condition,
) -> Result<Tensor> {
    counted(corrections, condition, || match condition.is_of_tokens() && !corrections.is_empty() {
        true => add_each(fused::gated_add(x, m, gate)?, &gate.mul(m)?, corrections, condition),
        false => add_filtered(x, m, gate, &weighted(&coefficients(corrections, condition)?)),
    })
}

/// Returns tokens [B, N, D] with their corrections, as [`add_gated`] does with x = 0 and a gate of 1.
pub fn corrected(tokens: &fused::Tokens, corrections: &[Layer], condition: &Condition) -> Result<Tensor> {
    counted(corrections, condition, || match condition.is_of_tokens() {
        true => {
            let residual = tokens.plain()?;
            add_each(residual.clone(), &residual, corrections, condition)
        }
        false => filtered(tokens, &weighted(&coefficients(corrections, condition)?)),
    })
}

/// Adds what each correction adds to the residual [B, N, D] to a sum; coefficients of zero preserve every bit of it.
fn add_each(sum: Tensor, residual: &Tensor, corrections: &[Layer], condition: &Condition) -> Result<Tensor> {
    corrections.iter().try_fold(sum, |sum, correction| {
        let bands = correction.bands(residual, condition)?;
        bands.add_passed(sum.addcmul(&bands.whole()?, residual, 1.0)?)
    })
}

/// Counts the stated operations of corrections instead of those of the operators that happen to compute them.
fn counted(
    corrections: &[Layer],
    condition: &Condition,
    body: impl FnOnce() -> Result<Tensor>,
) -> Result<Tensor> {
    if corrections.is_empty() {
        return body();
    }
    // A gate is computed for each token that has a time of its own.
    let more = if condition.is_of_tokens() { condition.time.size(1)? - 1 } else { 0 };
    let each = |c: &Layer| {
        let gate = c.correction.gate.multiplications(c.correction.bands(), c.width);
        Ok(c.on(condition.grid)?.flops + 2.0 * (more * gate) as f64)
    };
    let flops = corrections.iter().map(each).sum::<Result<f64>>()?;
    let images = condition.t.size(0)? as f64;
    flops::instead(|| images * flops, body)
}

/// Filters and coefficients [B, k] or [B, k, D] of a correction.
type Weighted<'a> = (&'a [Plan], Tensor);

fn coefficients(corrections: &[Layer], condition: &Condition) -> Result<Vec<(Arc<OnGrid>, Tensor)>> {
    corrections.iter().map(|c| Ok((c.on(condition.grid)?, c.gate.forward(condition)?))).collect()
}

fn weighted(corrections: &[(Arc<OnGrid>, Tensor)]) -> Vec<Weighted<'_>> {
    corrections.iter().map(|(on, gates)| (&on.plans[..], gates.clone())).collect()
}

/// Same as [`add_gated`], given the filters and the coefficients [B, k] or [B, k, D] of each correction.
pub fn add_filtered(x: &Tensor, m: &Tensor, gate: &Tensor, corrections: &[Weighted]) -> Result<Tensor> {
    in_one_pass(corrections, |linear| fused::gated_add_corrected(x, m, gate, linear), || gate.mul(m))
}

/// Same as [`corrected`], given the filters and the coefficients [B, k] or [B, k, D] of each correction.
pub fn filtered(tokens: &fused::Tokens, corrections: &[Weighted]) -> Result<Tensor> {
    in_one_pass(corrections, |linear| fused::corrected(tokens, linear), || tokens.plain())
}

/// Calls `pass` with all corrections by linear filters, and adds the others for the residual.
fn in_one_pass(
    corrections: &[Weighted],
    pass: impl FnOnce(&[fused::Correction]) -> Result<Tensor>,
    residual: impl FnOnce() -> Result<Tensor>,
) -> Result<Tensor> {
    let (mut linear, mut others) = (Vec::new(), Vec::new());
    for (plans, gates) in corrections {
        match plans.iter().map(Plan::matrices).collect::<Result<Option<Vec<_>>>>()? {
            Some(filters) => linear.push((gates.clone(), filters)),
            None => others.push((plans, gates)),
        }
    }
    let sum = pass(&linear)?;
    if others.is_empty() {
        return Ok(sum);
    }
    let residual = residual()?;
    others.into_iter().try_fold(sum, |sum, (plans, gates)| {
        let passed = plans.iter().map(|plan| plan.apply(&residual)).collect::<Result<_>>()?;
        let bands = Bands { gates: gates.clone(), of_tokens: false, passed };
        bands.add_passed(sum.addcmul(&bands.whole()?, &residual, 1.0)?)
    })
}

/// Adds a residual with its corrections: `x + (1 + Σ g_k) r + Σ (g_i - g_{i+1}) F_i(r)`, in order.
///
/// With coefficients of zero the result equals `x + r` to the last bit: 1 r and 0 F_i(r) are exact, and so are the
/// sums.
pub fn add_corrected(x: &Tensor, residual: &Tensor, corrections: &[Bands]) -> Result<Tensor> {
    let Some((first, rest)) = corrections.split_first() else {
        return x.add(residual);
    };
    let whole =
        rest.iter().try_fold(first.whole()?.add_scalar(1.0)?, |sum, bands| sum.add(&bands.whole()?))?;
    corrections.iter().try_fold(x.addcmul(&whole, residual, 1.0)?, |sum, bands| bands.add_passed(sum))
}

#[cfg(test)]
mod tests {
    use super::api::global::correction;
    use super::*;

    fn row(values: [f64; 2]) -> Tensor {
        Tensor::from_f64(&values, &[1, 1, 2]).unwrap()
    }

    #[test]
    fn bands_are_weighted_by_their_coefficients() {
        let (x, residual) = (row([10.0, 20.0]), row([1.0, 2.0]));
        let bands = |low, gates: [f64; 2]| Bands {
            gates: Tensor::from_f64(&gates, &[1, 2]).unwrap(),
            of_tokens: false,
            passed: vec![row(low)],
        };
        // x + r + g_low low + g_high (r - low), first with low = (3, 1), then with low = (0, 2) as well.
        let first = bands([3.0, 1.0], [0.5, -0.25]);
        let once = add_corrected(&x, &residual, std::slice::from_ref(&first)).unwrap();
        assert_eq!(once.to_f64().unwrap(), [10.0 + 1.0 + 1.5 + 0.5, 20.0 + 2.0 + 0.5 - 0.25]);
        let twice = add_corrected(&x, &residual, &[first, bands([0.0, 2.0], [1.0, 2.0])]).unwrap();
        assert_eq!(twice.to_f64().unwrap(), [13.0 + 2.0, 22.25 + 2.0]);
        assert_eq!(add_corrected(&x, &residual, &[]).unwrap().to_f64().unwrap(), [11.0, 22.0]);
    }

    #[test]
    fn several_filters_make_bands_that_add_up_and_channels_may_have_their_own_coefficients() {
        let (x, residual) = (row([10.0, 20.0]), row([1.0, 2.0]));
        // Bands (3, 1), (2, 3) - (3, 1) = (-1, 2) and (1, 2) - (2, 3) = (-1, -1).
        let bands = |gates: &[f64], shape: &[i64]| Bands {
            gates: Tensor::from_f64(gates, shape).unwrap(),
            of_tokens: shape.len() > 2 && shape[1] == 1,
            passed: vec![row([3.0, 1.0]), row([2.0, 3.0])],
        };
        let found = |bands: &Bands| {
            add_corrected(&x, &residual, std::slice::from_ref(bands)).unwrap().to_f64().unwrap()
        };
        let per_band = bands(&[0.5, 2.0, -1.0], &[1, 3]);
        assert_eq!(found(&per_band), [11.0 + 1.5 - 2.0 + 1.0, 22.0 + 0.5 + 4.0 + 1.0]);
        let per_channel = bands(&[0.5, 1.0, 2.0, 0.0, -1.0, 4.0], &[1, 3, 2]);
        assert_eq!(found(&per_channel), [11.0 + 1.5 - 2.0 + 1.0, 22.0 + 1.0 - 4.0]);
        // The same coefficients of the only token.
        let of_token = bands(&[0.5, 2.0, -1.0], &[1, 1, 3]);
        assert_eq!(found(&of_token), found(&per_band));
        let of_its_channels = bands(&[0.5, 1.0, 2.0, 0.0, -1.0, 4.0], &[1, 1, 3, 2]);
        assert_eq!(found(&of_its_channels), found(&per_channel));
        let split = per_band.split(&residual).unwrap();
        let values: Vec<_> = split.iter().map(|band| band.to_f64().unwrap()).collect();
        assert_eq!(values, [[3.0, 1.0], [-1.0, 2.0], [-1.0, -1.0]]);
    }

    #[test]
    fn the_stored_form_of_one_filter_is_what_it_was_and_several_come_back() {
        let filter = |name| Filter::named(name).unwrap();
        let gate = crate::spectral::gate::time(()).unwrap();
        let one = correction(filter("box"), &gate).unwrap();
        let Value::Map(stored) = one.to_data() else { panic!("not a map") };
        assert_eq!(stored.keys().collect::<Vec<_>>(), ["filter", "gate"]);
        assert!(matches!(&stored["gate"], Value::Map(gate)
            if matches!(&gate["options"], Value::Map(options) if options.keys().eq(["scale"]))));
        let several = Correction::new(vec![filter("gaussian"), filter("box")], &gate).unwrap();
        for made in [&one, &several] {
            assert_eq!(&Correction::from_data(&made.to_data()).unwrap(), made);
        }
        assert_eq!(
            several.to_string(),
            format!("correction([{}, {}], {gate})", filter("gaussian"), filter("box"))
        );
        assert_ne!(one, several);
    }

    #[test]
    fn a_gate_for_another_number_of_bands_is_refused() {
        let filters = vec![Filter::named("gaussian").unwrap(), Filter::named("box").unwrap()];
        let pair = crate::spectral::gate::constant(()).unwrap();
        let error = Correction::new(filters, &pair).unwrap_err();
        assert_eq!(error.message(), "a gate for two bands cannot weight three");
        let none = Correction::new(Vec::new(), &pair).unwrap_err();
        assert_eq!(none.message(), "expected at least one filter, found an empty array");
    }
}
