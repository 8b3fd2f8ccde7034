//! Automatic differentiation.

use crate::declare::{FromValue, Function, IntoValue, Map, OneOrMany, Options, Value};
use crate::error::Subject;
use crate::torch::call::call;
use crate::torch::{Device, Tensor, autograd, enable_grad, no_grad};
use crate::{ensure, functions};

/// Options of `backward`.
#[derive(Debug, Clone, Options)]
pub struct BackwardOptions {
    /// Weight of each element of the output, for an output that is not a single number.
    pub gradient: Option<Tensor>,
    /// Whether to keep the graph for another `backward`.
    #[option(default = false)]
    pub retain_graph: bool,
}

/// Options of `grad`.
#[derive(Debug, Clone, Options)]
pub struct GradientOptions {
    /// Weights of the outputs' elements, one tensor per output, for outputs that are not a single number.
    pub weights: Option<OneOrMany<Tensor>>,
    /// Whether to keep the graph for another call.
    #[option(default = false)]
    pub retain_graph: bool,
    /// Whether the gradients can be differentiated again.
    #[option(default = false)]
    pub create_graph: bool,
}

/// Options of `jvp`.
#[derive(Debug, Clone, Options)]
pub struct JvpOptions {
    /// Whether the derivative can be differentiated again.
    #[option(default = false)]
    pub create_graph: bool,
}

/// Options of `autocast`.
#[derive(Debug, Clone, Options)]
pub struct AutocastOptions {
    /// Device whose operators are autocast; by default the CPU and the GPUs.
    pub device: Option<Device>,
}

crate::api! { functions: [properties, methods, closures, space] }

mod properties {
    use super::*;
    functions! { properties;
        /// Whether gradients are recorded for the tensor.
        ///
        /// ```rhai
        /// assert(!tensor([1.0]).requires_grad);
        /// assert((tensor([1.0], #{ requires_grad: true }) * 2).requires_grad);
        /// ```
        fn requires_grad(x: Tensor) -> bool { Ok(x.requires_grad()) }

        /// Whether the tensor was created directly, not computed from tensors that record gradients.
        ///
        /// ```rhai
        /// let w = tensor([1.0], #{ requires_grad: true });
        /// assert(w.is_leaf && !(w * 2).is_leaf);
        /// ```
        fn is_leaf(x: Tensor) -> bool { Ok(x.is_leaf()) }

        /// Gradient that `backward` has accumulated, or `()` before the first `backward`.
        ///
        /// ```rhai
        /// let w = tensor([3.0], #{ requires_grad: true });
        /// assert(w.grad == ());
        /// (w * w).sum().backward();
        /// assert_eq(w.grad, tensor([6.0]));
        /// ```
        fn grad(x: Tensor) -> Option<Tensor> { Ok(x.grad()) }
    }
}

mod methods {
    use super::*;
    functions! { methods;
        /// Turns gradient recording on, or off with `false`, in place.
        ///
        /// It can be turned off only for a leaf; `detach` returns the values of a computed tensor without gradients.
        ///
        /// ```rhai
        /// let w = tensor([2.0]).requires_grad_();
        /// w.exp().backward();
        /// assert_close(w.grad, [7.389056], 1e-5);
        /// ```
        fn requires_grad_(x: Tensor, on: Option<bool>) -> Tensor { x.set_requires_grad(on.unwrap_or(true)) }

        /// Turns gradient recording on or off in place, like `requires_grad_`.
        ///
        /// ```rhai
        /// let w = tensor([2.0]).requires_grad(true);
        /// assert(w.requires_grad);
        /// ```
        fn requires_grad(x: Tensor, on: bool) -> Tensor { x.set_requires_grad(on) }

        /// Turns gradient recording on in place, like `requires_grad_()`.
        ///
        /// ```rhai
        /// assert(tensor([2.0]).require_grad().requires_grad);
        /// ```
        fn require_grad(x: Tensor) -> Tensor { x.set_requires_grad(true) }

        /// Computes the gradients of this tensor, a single number, and adds them to the `grad` of every leaf it was
        /// computed from.
        ///
        /// A tensor of several elements needs the option `gradient`. Gradients accumulate until `zero_grad`.
        ///
        /// ```rhai
        /// let w = tensor([1.0, 2.0], #{ requires_grad: true });
        /// (w ** 2).sum().backward();
        /// assert_eq(w.grad, tensor([2.0, 4.0]));
        /// (w * 3).backward(#{ gradient: tensor([1.0, 10.0]) });
        /// assert_eq(w.grad, tensor([5.0, 34.0]));
        /// ```
        fn backward(x: Tensor, options: BackwardOptions) -> () {
            x.backward(options.gradient.as_ref(), options.retain_graph)
        }

        /// Sets the gradient to zero. Call it before the next `backward`, which adds to it.
        ///
        /// ```rhai
        /// let w = tensor([1.0], #{ requires_grad: true });
        /// w.sum().backward();
        /// w.zero_grad();
        /// assert_eq(w.grad, tensor([0.0]));
        /// ```
        fn zero_grad(x: Tensor) -> () {
            x.zero_grad();
            Ok(())
        }

        /// Returns the same elements, detached from the graph.
        ///
        /// ```rhai
        /// let w = tensor([2.0], #{ requires_grad: true });
        /// assert(!(w * 3).detach().requires_grad);
        /// ```
        fn detach(x: Tensor) -> Tensor { x.detach() }

        /// Keeps the gradient of a non-leaf tensor, so that it can be read after `backward`.
        ///
        /// ```rhai
        /// let w = tensor([2.0], #{ requires_grad: true });
        /// let y = (w * 3).retain_grad();
        /// (y * y).sum().backward();
        /// assert_eq(y.grad, tensor([12.0]));
        /// ```
        fn retain_grad(x: Tensor) -> Tensor {
            call("retain_grad", &[x.clone().into_value()], &Map::new())?;
            Ok(x.clone())
        }
    }
}

pub(crate) mod closures {
    use super::*;
    functions! { script global;
        /// Runs a closure without recording gradients and returns its result.
        ///
        /// Recording is restored afterwards, even if the closure fails. See also `enable_grad`.
        ///
        /// ```rhai
        /// let w = tensor([1.0], #{ requires_grad: true });
        /// assert(!no_grad(|| w * 2).requires_grad);
        /// try { no_grad(|| throw "stop") } catch {}
        /// assert((w * 2).requires_grad);
        /// ```
        fn no_grad(body: Function) -> Value { no_grad(|| body.call(&[])) }

        /// Runs a closure with gradients recorded and returns its result, even where recording is off.
        ///
        /// `flow::sample` records no gradients, so a function that it calls needs this to compute one, such as that
        /// of a classifier. Afterwards recording is restored, even if the closure fails.
        ///
        /// ```rhai
        /// let slope = no_grad(|| enable_grad(|| {
        ///     let x = tensor([3.0]).requires_grad(true);
        ///     grad(x ** 2, x)
        /// }));
        /// assert_eq(slope, tensor([6.0]));
        /// ```
        fn enable_grad(body: Function) -> Value { enable_grad(|| body.call(&[])) }

        /// Runs a closure with matrix products and attention in bfloat16 and returns its result.
        ///
        /// Sums, norms and losses stay in float32; parameters keep their dtype.
        ///
        /// ```rhai
        /// let a = tensor::ones([2, 2]);
        /// assert_eq(autocast(|| a @ a).dtype, "bfloat16");
        /// assert_eq((a @ a).dtype, "float32");
        /// ```
        fn autocast(body: Function, options: AutocastOptions) -> Value {
            let run = |device| autograd::autocast(device, || body.call(&[]));
            match (options.device, Device::auto()) {
                (Some(device), _) => run(device),
                (None, Device::Cpu) => run(Device::Cpu),
                // Flags of the two kinds of device are independent.
                (None, gpu) => autograd::autocast(gpu, || run(Device::Cpu)),
            }
        }

        /// Returns the gradients of the sum of outputs with respect to inputs, without changing any `grad`.
        ///
        /// For an array of inputs the result is an array, with `()` for an input that the outputs do not depend on.
        /// With `create_graph` the gradients can be differentiated again.
        ///
        /// ```rhai
        /// let x = tensor([3.0], #{ requires_grad: true });
        /// let first = grad(x ** 3, x, #{ create_graph: true });
        /// assert_eq(first, tensor([27.0]));
        /// assert_eq(grad(first, [x]), [tensor([18.0])]);
        /// ```
        fn grad(outputs: OneOrMany<Tensor>, inputs: Value, options: GradientOptions) -> Value {
            let list = OneOrMany::<Tensor>::from_value(&inputs).map_err(|e| e.within(Subject::argument("inputs", 1)))?.0;
            let weights = options.weights.as_ref().map(|w| w.0.as_slice());
            let mut found =
                autograd::grad(&outputs.0, &list, weights, options.retain_graph, options.create_graph)?;
            Ok(match inputs {
                Value::List(_) => found.into_value(),
                _ => found.pop().flatten().into_value(),
            })
        }

        /// Returns the output of a function and its derivative along tangents, `[f(x), J(x) v]`, as `torch.func.jvp`.
        ///
        /// The function takes each tensor of `inputs` as an argument and returns a tensor. `tangents` are tensors of
        /// the inputs' shapes; `()` stands for a zero tangent. The derivative of a network along the path, as in
        /// MeanFlow (Geng et al. 2025), is `jvp(|x, t| net.forward(x, t, y), [x_t, t], [v, tensor::ones_like(t)])`.
        /// The output has gradients with respect to parameters as usual; the derivative only with `create_graph`. It
        /// costs about three forward and backward passes.
        ///
        /// ```rhai
        /// let x = tensor([3.0]);
        /// assert_eq(jvp(|x| x ** 3, x, tensor([2.0])), [tensor([27.0]), tensor([54.0])]);
        /// let t = tensor([0.5]);
        /// let both = jvp(|x, t| x ** 2 * t, [x, t], [tensor([1.0]), tensor([1.0])]);
        /// assert_eq(both, [tensor([4.5]), tensor([12.0])]);
        /// assert_eq(jvp(|x, t| x ** 2 * t, [x, t], [(), tensor([1.0])])[1], tensor([9.0]));
        /// ```
        fn jvp(f: Function, inputs: OneOrMany<Tensor>, tangents: OneOrMany<Option<Tensor>>, options: JvpOptions) -> Vec<Tensor> {
            let (inputs, tangents) = (inputs.0, tangents.0);
            ensure!(
                inputs.len() == tangents.len(),
                "expected a tangent or `()` for each input, found {} and {} in `inputs`",
                tangents.len(),
                inputs.len()
            );
            for (i, (x, tangent)) in inputs.iter().zip(&tangents).enumerate() {
                let Some(tangent) = tangent else { continue };
                ensure!(
                    tangent.shape() == x.shape() && tangent.dtype() == x.dtype(),
                    "tangent {i} must be a {} as its input, found a {}",
                    x.signature(),
                    tangent.signature()
                );
                ensure!(
                    x.dtype().is_float(),
                    "input {i} of `jvp` must be of floats to be differentiated, found a {}; capture it instead",
                    x.signature()
                );
            }
            let run = |inputs: &[Tensor]| {
                let arguments: Vec<Value> = inputs.iter().map(|x| x.clone().into_value()).collect();
                let answer = f.call(&arguments)?;
                answer.downcast::<Tensor>().ok_or_else(|| answer.mismatch("a tensor").context("the function of `jvp`"))
            };
            let (output, derivative) = autograd::jvp(run, &inputs, &tangents, options.create_graph)?;
            Ok(vec![output, derivative])
        }
    }
}

pub(crate) mod space {
    use super::*;
    functions! { in "tensor";
        /// Returns whether gradients are being recorded.
        ///
        /// ```rhai
        /// assert(tensor::grad_enabled());
        /// assert(!no_grad(|| tensor::grad_enabled()));
        /// ```
        fn grad_enabled() -> bool { Ok(autograd::is_recording()) }
    }
}
