//! Namespace `optim`: parts of a training loop.

use std::collections::BTreeMap;

use crate::declare::{Display, IntoValue, Map, Options, Value};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::torch::Tensor;
use crate::train::clip;
pub use crate::train::{
    AdamWOptions, CustomAndAdamWOptions, CustomOptions, Ema, EmaOptions, MuonAndAdamWOptions, Optimizer,
    Parameters,
};
use crate::{functions, scripted};

pub use super::fit::Precision;
pub use super::groups::{Group, Groups};
pub use super::muon::{Method, MuonOptions};
pub use super::schedule::{Constant, Cosine};
pub use space::*;

crate::api! {
    functions: [space, methods, averaging, properties, averages],
}

/// Options of `step` and `update`.
#[derive(Debug, Clone, Options)]
pub struct ClipOptions {
    /// Largest global norm of the gradient; `()` disables clipping.
    #[option(range = 1e-12..)]
    pub clip: Option<f64>,
}

/// Measurements of an update; read only on request, so that CUDA need not wait.
#[derive(Clone)]
pub struct Update {
    norm: Tensor,
}

scripted!(
    Update,
    "update",
    |u| Display::text(match u.norm.item() {
        Ok(norm) => format!("update(grad_norm {norm:.4})"),
        Err(_) => "update".to_string(),
    }),
    bytes = |u| u.norm.bytes()
);

pub(crate) mod space {
    use super::*;
    functions! { in "optim";
        /// Creates an AdamW optimizer over the parameters of a model or over given tensors.
        ///
        /// `parameters` is a model, a tensor, an array of tensors, or a map from names to tensors. All must record
        /// gradients, except the frozen parameters of a model, which stay unchanged. `state()` returns the moments
        /// for saving. Parameters in bfloat16 or float16 have float32 master weights, which take the updates and
        /// are rounded into the parameters. `groups` gives some parameters other hyperparameters; clipping acts on
        /// all parameters together. Source: Loshchilov and Hutter 2019, algorithm 2.
        ///
        /// ```rhai
        /// let w = tensor::ones([1]).requires_grad(true);
        /// let gate = tensor::ones([1]).requires_grad(true);
        /// let opt = optim::adamw(#{ w: w, gate: gate }, #{ lr: 0.1, groups: [#{ match: "ga*", lr: 0.01 }] });
        /// opt.step((w * w * gate).sum());
        /// assert_close(w, 0.9, 1e-6);   // the first update has the size of the learning rate
        /// assert_close(gate, 0.99, 1e-6);
        /// ```
        fn adamw(parameters: Parameters, options: AdamWOptions) -> Optimizer { Optimizer::new(&parameters, &options) }

        /// Creates an optimizer that updates matrices by Muon and all other parameters by AdamW.
        ///
        /// Muon replaces the momentum of a matrix by a nearly orthogonal matrix with the same singular vectors, so that all
        /// directions of an update have about the same size. `parameters` is what `optim::adamw` takes; by default Muon
        /// takes the matrices of blocks. `state()` has `momentum.NAME` for its parameters. Source: Jordan et al. 2024,
        /// "Muon: An optimizer for hidden layers in neural networks".
        ///
        /// ```rhai
        /// let net = model::dit(#{ preset: "fashion_tiny" });
        /// let opt = optim::muon(net, #{ lr: 0.02, adamw: #{ lr: 1e-4 } });
        /// assert_eq(opt.state()["momentum.blocks.0.attn.qkv.weight"].shape, net.parameters()["blocks.0.attn.qkv.weight"].shape);
        /// // An update turns every direction of a gradient into a step of about the learning rate.
        /// let w = tensor::zeros([2, 2]).requires_grad(true);
        /// let opt = optim::muon(#{ w: w }, #{ match: "w", lr: 0.1 });
        /// opt.step((w * tensor([[5.0, 0.0], [0.0, 0.1]])).sum());
        /// assert_close(w, [[-0.1, 0.0], [0.0, -0.1]], 0.04);
        /// ```
        fn muon(parameters: Parameters, options: MuonAndAdamWOptions) -> Optimizer {
            Optimizer::muon(&parameters, &options.muon, &options.adamw)
        }

        /// Creates an optimizer whose update rule is a function, for all parameters or for some of them.
        ///
        /// `update` gets a map u of one parameter and returns its new value, or a map of `param` and `state`. `state` makes
        /// the tensors that the rule remembers, under names such as m; they are saved in checkpoints as `m.NAME`. AdamW
        /// updates the parameters that `match` and `except` leave out, with the options in `adamw`. Gradients are summed
        /// over all ranks, clipped, and finite; parameters in bfloat16 or float16 come as their float32 master weights.
        /// All new values are computed before the first one is written, which takes memory for one copy of them. An error,
        /// a value that is not finite, or a shape that differs leaves everything as it was. `optimizer` of `train::fit`
        /// takes the same map, with `lr`, `betas`, `weight_decay` and `groups` of the run in place of `adamw`.
        ///
        /// ```rhai
        /// // Momentum, with the sign of it as the step.
        /// let rule = #{
        ///     state: |p| #{ m: tensor::zeros_like(p.param) },
        ///     update: |u| {
        ///         let m = u.state.m.lerp(u.grad, 0.1);
        ///         #{ param: u.param * (1 - u.lr * u.weight_decay) - u.lr * m.sign(), state: #{ m: m } }
        ///     },
        /// };
        /// let w = tensor::ones([2]).requires_grad(true);
        /// let opt = optim::custom(#{ w: w }, rule + #{ lr: 0.25 });
        /// opt.step((w * tensor([3.0, -1.0])).sum());
        /// assert_close(w, [0.75, 1.25], 1e-6);
        /// assert_close(opt.state()["m.w"], [0.3, -0.1], 1e-6);
        /// ```
        fn custom(parameters: Parameters, options: CustomAndAdamWOptions) -> Optimizer {
            Optimizer::custom(&parameters, &options.custom, &options.adamw)
        }

        /// Starts an exponential moving average (EMA) of a model's weights.
        ///
        /// Each `update(model)` moves the average by `(1 - decay) (weights - average)`. The paper uses 0.9999,
        /// which remembers some 10,000 updates: for short runs choose a smaller decay, or `warmup`, which
        /// `train::fit` uses. Weights in bfloat16 or float16 are averaged in float32, and rounded for `ema.model`.
        ///
        /// ```rhai
        /// let model = model::dit(#{ preset: "fashion_tiny" });
        /// let ema = optim::ema(model, 0.99);
        /// ema.update(model);
        /// assert_eq(ema.updates, 1);
        /// ```
        fn ema(model: Model, decay: f64, options: EmaOptions) -> Ema { Ema::new(&model, decay, &options) }

        /// Starts a power-function average of a model's weights, whose length grows with the training.
        ///
        /// The weights of the updates u up to n are proportional to `u^p`, with the p that gives them the standard
        /// deviation `sigma_rel n`; `sigma_rel` is from 0.001 to 0.28. The n-th update, from 1, has the decay
        /// `(1 - 1 / n)^(p + 1)`, so the first one replaces the initial weights. Source: Karras et al. 2024 (EDM2),
        /// section 3.1.
        ///
        /// ```rhai
        /// let model = model::dit(#{ preset: "fashion_tiny" });
        /// let ema = optim::power_ema(model, 0.1);
        /// ema.update(model);
        /// assert_eq(ema.updates, 1);
        /// ```
        fn power_ema(model: Model, sigma_rel: f64) -> Ema { Ema::power(&model, sigma_rel) }

        /// Returns the learning-rate factor of a linear warm-up followed by half a cosine.
        ///
        /// `step` counts updates from 0. Multiply the learning rate by the factor:
        /// `opt.set_lr(1e-4 * optim::cosine(step, ..))`. Source: Loshchilov and Hutter 2017 (SGDR), equation 5,
        /// without restarts.
        ///
        /// ```rhai
        /// let options = #{ warmup: 10, steps: 110, min_ratio: 0.1 };
        /// assert_close(optim::cosine(0, options), 0.1, 1e-12);
        /// assert_close(optim::cosine(10, options), 1.0, 1e-12);
        /// assert_close(optim::cosine(60, options), 0.55, 1e-12);
        /// assert_close(optim::cosine(110, options), 0.1, 1e-12);
        /// ```
        fn cosine(step: usize, options: Cosine) -> f64 { Ok(options.factor(step)) }

        /// Returns the learning-rate factor of a linear warm-up followed by the full rate.
        ///
        /// ```rhai
        /// assert_close(optim::constant(0, #{ warmup: 4 }), 0.25, 1e-12);
        /// assert_close(optim::constant(9, #{ warmup: 4 }), 1.0, 1e-12);
        /// ```
        fn constant(step: usize, options: Constant) -> f64 { Ok(options.factor(step)) }

        /// Scales all gradients together so that their global norm is at most `max`, and returns the norm before
        /// scaling.
        ///
        /// Equivalent to `torch.nn.utils.clip_grad_norm_`. `parameters` is what `optim::adamw` takes.
        ///
        /// ```rhai
        /// let w = tensor::ones([4]).requires_grad(true);
        /// w.sum().backward();
        /// assert_close(optim::clip_grad_norm(w, 1.0), 2.0, 1e-6);
        /// assert_close(w.grad, tensor::zeros([4]) + 0.5, 1e-5);
        /// ```
        fn clip_grad_norm(parameters: Parameters, max: f64) -> f64 {
            clip::clip_grad_norm(&parameters, max)?.item()
        }
    }
}

pub(crate) mod methods {
    use super::*;
    functions! { methods;
        /// Performs one training step: clears old gradients, computes those of `loss`, clips them and updates the
        /// parameters.
        ///
        /// Returns the update, whose `grad_norm` is the global norm before clipping. A loss or gradient that is not
        /// finite is an error and changes nothing; on CUDA it is checked every 16 updates, and updates after it are
        /// skipped until then.
        ///
        /// ```rhai
        /// let w = tensor::ones([4]).requires_grad(true);
        /// let opt = optim::adamw([w], #{ lr: 0.1 });
        /// let update = opt.step(w.sum(), #{ clip: 1.0 });
        /// assert_close(update.grad_norm, 2.0, 1e-6);
        /// ```
        fn step<cx>(optimizer: Optimizer, loss: Tensor, options: ClipOptions) -> Update {
            optimizer.tell_left_out(cx);
            optimizer.step(&loss, options.clip).map(|norm| Update { norm })
        }

        /// Updates the parameters from the gradients that `loss.backward()` computed.
        ///
        /// ```rhai
        /// let w = tensor::ones([1]).requires_grad(true);
        /// let opt = optim::adamw(w, #{ lr: 0.5 });
        /// w.sum().backward();
        /// opt.update();
        /// assert_close(w, 0.5, 1e-6);
        /// ```
        fn update<cx>(optimizer: Optimizer, options: ClipOptions) -> Update {
            optimizer.tell_left_out(cx);
            let norm = optimizer.update(None, options.clip)?;
            optimizer.verify()?;
            Ok(Update { norm })
        }

        /// Clears the gradients of all parameters.
        ///
        /// ```rhai
        /// let w = tensor::ones([1]).requires_grad(true);
        /// let opt = optim::adamw(w);
        /// w.sum().backward();
        /// opt.zero_grad();
        /// assert_eq(w.grad, ());
        /// ```
        fn zero_grad(optimizer: Optimizer) -> () { optimizer.zero_grad() }

        /// Sets the learning rate of future updates; that of each group changes in proportion.
        ///
        /// ```rhai
        /// let opt = optim::adamw(tensor::ones([1]).requires_grad(true));
        /// opt.set_lr(0.01);
        /// assert_eq(opt.lr, 0.01);
        /// ```
        fn set_lr(optimizer: Optimizer, lr: f64) -> () { optimizer.set_lr(lr) }

        /// Returns a copy of the optimizer's state: a map of tensors, to save or to pass to `load_state`.
        ///
        /// It holds `exp_avg.NAME`, `exp_avg_sq.NAME` and `step.NAME` for each parameter of AdamW, `momentum.NAME` and
        /// `step.NAME` for each of Muon, and `step.NAME` and the tensors of its state for each of a function.
        ///
        /// ```rhai
        /// let w = tensor::ones([1]).requires_grad(true);
        /// let opt = optim::adamw(#{ w: w });
        /// opt.step(w.sum());
        /// assert_close(opt.state()["exp_avg.w"], 0.1, 1e-6);
        /// ```
        fn state(optimizer: Optimizer) -> Map {
            Ok(optimizer.state()?.into_iter().map(|(name, tensor)| (name, tensor.into_value())).collect())
        }

        /// Restores a state from `state()`; a different name, shape or dtype is an error and changes nothing.
        ///
        /// ```rhai
        /// let w = tensor::ones([1]).requires_grad(true);
        /// let opt = optim::adamw(#{ w: w });
        /// opt.step(w.sum());
        /// let other = optim::adamw(#{ w: tensor::ones([1]).requires_grad(true) });
        /// other.load_state(opt.state());
        /// assert_eq(other.updates, 1);
        /// ```
        fn load_state(optimizer: Optimizer, state: Map) -> () { optimizer.load_state(&tensors(&state)?) }
    }

    fn tensors(state: &Map) -> Result<BTreeMap<String, Tensor>> {
        let entry = |(name, value): (&String, &Value)| match value.downcast::<Tensor>() {
            Some(tensor) => Ok((name.clone(), tensor)),
            None => Err(Error::not_allowed(name, "a tensor", value.describe())),
        };
        state.iter().map(entry).collect()
    }
}

pub(crate) mod averaging {
    use super::*;
    functions! { methods;
        /// Moves the average towards the model's current weights.
        ///
        /// ```rhai
        /// let model = model::dit(#{ preset: "fashion_tiny" });
        /// let ema = optim::ema(model, 0.9999, #{ warmup: true });
        /// ema.update(model);
        /// assert_eq(ema.updates, 1);
        /// ```
        fn update(ema: Ema, model: Model) -> () { ema.update(&model) }
    }
}

pub(crate) mod properties {
    use super::*;
    functions! { properties;
        /// The gradient's global norm before clipping.
        ///
        /// ```rhai
        /// let w = tensor::ones([9]).requires_grad(true);
        /// assert_close(optim::adamw(w).step(w.sum()).grad_norm, 3.0, 1e-6);
        /// ```
        fn grad_norm(update: Update) -> f64 { update.norm.item() }

        /// The learning rate of parameters in no group.
        ///
        /// ```rhai
        /// assert_eq(optim::adamw(tensor::ones([1]).requires_grad(true), #{ lr: 0.25 }).lr, 0.25);
        /// ```
        fn lr(optimizer: Optimizer) -> f64 { Ok(optimizer.lr()) }

        /// The number of updates the optimizer has made.
        ///
        /// ```rhai
        /// assert_eq(optim::adamw(tensor::ones([1]).requires_grad(true)).updates, 0);
        /// ```
        fn updates(optimizer: Optimizer) -> i64 { Ok(optimizer.updates() as i64) }
    }
}

pub(crate) mod averages {
    use super::*;
    functions! { properties;
        /// The model with the averaged weights; later updates change it.
        ///
        /// ```rhai
        /// let model = model::dit(#{ preset: "fashion_tiny" });
        /// let ema = optim::ema(model, 0.9);
        /// print(flow::sample(ema.model, #{ labels: [3], steps: 1 }).shape);
        /// ```
        fn model(ema: Ema) -> Model { Ok(ema.model()) }

        /// The number of updates of the average.
        ///
        /// ```rhai
        /// let ema = optim::ema(model::dit(#{ preset: "fashion_tiny" }), 0.9);
        /// assert_eq(ema.updates, 0);
        /// ```
        fn updates(ema: Ema) -> i64 { Ok(ema.updates() as i64) }
    }
}
