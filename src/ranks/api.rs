//! Namespace `ranks`.

use super::Ranks;
use crate::declare::{IntoValue, Value};
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::{DType, Device, Tensor};

crate::api! { types: [], functions: [space] }

/// Sums a number or tensor over all ranks.
fn sum_value(ranks: &Ranks, x: &Value) -> Result<Value> {
    match x {
        Value::Int(_) | Value::Float(_) => {
            ranks.same(&[("the type of a sum", x.type_name().to_string())])?;
            let all = scalar(x)?;
            ranks.sum(std::slice::from_ref(&all))?;
            if matches!(x, Value::Int(_)) {
                Ok(Value::Int(all.item_i64()?))
            } else {
                Ok(Value::Float(all.item()?))
            }
        }
        _ => {
            let tensor = tensor(x)?;
            ranks.same(&[("the tensor to sum", tensor.signature())])?;
            let all = tensor.detach()?.contiguous()?.copy()?;
            ranks.sum(std::slice::from_ref(&all))?;
            Ok(all.into_value())
        }
    }
}

fn tensor(x: &Value) -> Result<Tensor> {
    x.downcast().ok_or_else(|| x.mismatch("a number or a tensor"))
}

fn scalar(x: &Value) -> Result<Tensor> {
    match x {
        Value::Int(x) => Tensor::from_i64(&[*x], &[1]),
        Value::Float(x) => Tensor::from_f64(&[*x], &[1]),
        _ => Err(x.mismatch("a number")),
    }
}

fn text(x: &Value) -> Result<String> {
    x.to_json_text()
        .ok_or_else(|| x.not_stored("a tensor, or data that can be stored (numbers, text, arrays, maps)"))
}

fn of_text(text: &str) -> Result<Value> {
    Value::from_json_text(text).map_err(Error::internal)
}

/// Returns what rank `root` passed.
fn broadcast_value(ranks: &Ranks, x: &Value, root: usize) -> Result<Value> {
    crate::ensure!(root < ranks.size(), "expected a rank below {}, found {root}", ranks.size());
    if !ranks.are_several() {
        return Ok(x.clone());
    }
    let tensor = x.downcast::<Tensor>();
    let about = match &tensor {
        Some(tensor) => {
            Value::List(vec![tensor.shape().into_value(), tensor.dtype().name().to_string().into_value()])
        }
        None => Value::List(vec![x.clone()]),
    };
    let about = if ranks.rank() == root { text(&about) } else { Ok(String::new()) };
    let about = ranks.agree(about)?;
    let about = ranks.gather_texts(&about)?.swap_remove(root);
    let Value::List(mut about) = of_text(&about)? else {
        return Err(Error::internal("a broadcast value is described by a list"));
    };
    match &about[..] {
        [Value::List(shape), Value::Str(dtype)] => {
            let shape: Vec<i64> =
                shape.iter().filter_map(|n| if let Value::Int(n) = n { Some(*n) } else { None }).collect();
            let device = tensor.as_ref().map_or(Device::Cpu, Tensor::device);
            let received = match tensor.filter(|_| ranks.rank() == root) {
                Some(tensor) => tensor.detach()?.contiguous()?.copy()?,
                None => Tensor::zeros(&shape, DType::named(dtype)?, device)?,
            };
            ranks.broadcast(&received, root)?;
            Ok(received.into_value())
        }
        _ => Ok(about.swap_remove(0)),
    }
}

/// Returns the tensors of all ranks as one, or other values as an array.
fn gather_value(ranks: &Ranks, x: &Value) -> Result<Value> {
    match x.downcast::<Tensor>() {
        Some(tensor) => {
            let row = tensor.shape().get(1..).map(<[i64]>::to_vec);
            let about = format!("rows {:?} {}", row.unwrap_or_default(), tensor.dtype().name());
            ranks.same(&[("the tensor to gather", about)])?;
            let tensor = if tensor.rank() == 0 { tensor.reshape(&[1])? } else { tensor };
            Ok(ranks.gather(&tensor.detach()?)?.into_value())
        }
        None => {
            let all = ranks.gather_texts(&text(x)?)?;
            Ok(Value::List(all.iter().map(|text| of_text(text)).collect::<Result<_>>()?))
        }
    }
}

/// Functions of a script that runs on several ranks.
pub(crate) mod space {
    use super::*;
    functions! { in "ranks";
        /// Returns the rank of this process in the run, from 0.
        ///
        /// `spectral run --ranks 4 script.rhai`, torchrun, srun and mpirun start several processes, which run the
        /// same script. Rank 0 prints; the others are quiet unless they fail. Files that a script writes on its own
        /// are written by every rank, so let rank 0 alone append to a file.
        ///
        /// ```rhai
        /// if ranks::rank() == 0 { files::append_line("notes.txt", "started"); }
        /// assert(ranks::rank() < ranks::size());
        /// ```
        fn rank<cx>() -> usize { Ok(Ranks::of(cx).rank()) }

        /// Returns the number of ranks of the run; 1 for a script that was started alone.
        ///
        /// ```rhai
        /// assert(ranks::size() >= 1);
        /// ```
        fn size<cx>() -> usize { Ok(Ranks::of(cx).size()) }

        /// Returns the sum of the numbers, or of the tensors, that all ranks pass.
        ///
        /// Tensors must have the same shape and dtype on all ranks; the result has no gradient history. On the CPU,
        /// floats are added in the order of the ranks.
        ///
        /// ```rhai
        /// assert_eq(ranks::sum(1), ranks::size());
        /// assert_eq(ranks::sum(tensor::ones([2])), tensor::ones([2]) * ranks::size());
        /// ```
        fn sum<cx>(x: Value) -> Value { sum_value(&Ranks::of(cx), &x) }

        /// Returns the mean of the numbers, or of the float tensors, that all ranks pass.
        ///
        /// ```rhai
        /// assert_eq(ranks::mean(2.5), 2.5);
        /// assert_eq(ranks::mean(ranks::rank()), (ranks::size() - 1) / 2.0);
        /// ```
        fn mean<cx>(x: Value) -> Value {
            let ranks = Ranks::of(cx);
            let x = if let Value::Int(x) = x { Value::Float(x as f64) } else { x };
            match sum_value(&ranks, &x)? {
                Value::Float(sum) => Ok(Value::Float(sum / ranks.size() as f64)),
                sum => Ok(tensor(&sum)?.div_scalar(ranks.size() as f64)?.into_value()),
            }
        }

        /// Returns the values of all ranks: tensors joined along their first dimension in the order of the ranks,
        /// anything else as an array.
        ///
        /// The number of rows of the tensors may differ between ranks.
        ///
        /// ```rhai
        /// assert_eq(ranks::gather(ranks::rank())[-1], ranks::size() - 1);
        /// assert_eq(ranks::gather(tensor::zeros([2, 3])).shape, [2 * ranks::size(), 3]);
        /// ```
        fn gather<cx>(x: Value) -> Value { gather_value(&Ranks::of(cx), &x) }

        /// Returns the value of rank `root`, by default rank 0: a number, text, array, map or tensor.
        ///
        /// A rank that passes a tensor receives one on its own device.
        ///
        /// ```rhai
        /// let name = ranks::broadcast(if ranks::rank() == 0 { time::iso() } else { () });
        /// assert_eq(ranks::gather(name).filter(|other| other != name), []);
        /// ```
        fn broadcast<cx>(x: Value, root: Option<usize>) -> Value {
            broadcast_value(&Ranks::of(cx), &x, root.unwrap_or(0))
        }

        /// Waits until all ranks have reached this call.
        ///
        /// ```rhai
        /// if ranks::rank() == 0 { files::write_text("shared.txt", "ready"); }
        /// ranks::barrier();
        /// assert_eq(files::read_text("shared.txt"), "ready");
        /// ```
        fn barrier<cx>() -> () { Ranks::of(cx).barrier() }
    }
}
