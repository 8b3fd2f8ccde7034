//! Device of new tensors and models that name none, and of what is used together.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{Device, Generator, Tensor};
use crate::declare::Value;
use crate::error::{Error, Result};
use crate::functions;

crate::api! { functions: [space] }

pub(crate) mod space {
    use super::*;
    functions! { in "tensor";
        /// Sets the default device, on which tensors, models and loaders without the option `device` are created:
        /// "auto", "cpu", "cuda" or "cuda:N".
        ///
        /// It is the CPU until a script sets another one, and applies whenever an option `device` is omitted. In a
        /// function that the library calls with tensors, such as a loss, a part, the times of a path or `augment`,
        /// the device of these tensors is the default. Data sets and tensors that are read from files stay in main
        /// memory.
        ///
        /// ```rhai
        /// tensor::set_default_device("auto");           // the first GPU, or the CPU if there is none
        /// let net = model::dit(#{ depth: 1 });
        /// let x = tensor::randn([2, 1, 28, 28]);
        /// assert_eq(net.forward(x, tensor::rand([2]), tensor([3, 5])).device, x.device);
        /// tensor::set_default_device("cpu");
        /// ```
        fn set_default_device(device: Device) -> () {
            device.set_default();
            Ok(())
        }

        /// Returns the device on which tensors, models and loaders without the option `device` are created; see
        /// `tensor::set_default_device`.
        ///
        /// ```rhai
        /// assert_eq(tensor::default_device(), tensor::zeros([1]).device);
        /// ```
        fn default_device() -> Device { Ok(Device::of_new()) }
    }
}

/// Device chosen for the process: the number of a CUDA device, or -1 for the CPU.
static CHOSEN: AtomicI64 = AtomicI64::new(-1);

thread_local! {
    /// Device within the function that this thread runs, if it belongs to one.
    static WITHIN: Cell<Option<Device>> = const { Cell::new(None) };
}

impl Device {
    /// Returns the device on which scripts create what names no device: that of the tensors which the running function was
    /// called with, else the one that [`set_default`](Device::set_default) chose, else the CPU.
    pub fn of_new() -> Self {
        WITHIN.get().unwrap_or_else(|| match usize::try_from(CHOSEN.load(Ordering::Relaxed)) {
            Ok(number) => Device::Cuda(number),
            Err(_) => Device::Cpu,
        })
    }

    /// Chooses the device on which scripts of this process create what names no device.
    pub fn set_default(self) {
        let number = match self {
            Device::Cpu => -1,
            Device::Cuda(number) => number as i64,
        };
        CHOSEN.store(number, Ordering::Relaxed);
    }

    /// Runs user code that works on tensors of this device, so that it creates tensors there.
    pub fn within<T>(self, body: impl FnOnce() -> T) -> T {
        struct Outer(Option<Device>);
        impl Drop for Outer {
            fn drop(&mut self) {
                WITHIN.set(self.0);
            }
        }
        let _outer = Outer(WITHIN.replace(Some(self)));
        body()
    }
}

/// Fails unless `others`, given with their devices, are on the device of their `owner`. The message names them as they are
/// given: `the model`, `` `x` ``.
pub fn together<N: fmt::Display>(
    owner: impl fmt::Display,
    device: Device,
    others: impl IntoIterator<Item = (N, Device)>,
) -> Result<()> {
    match others.into_iter().find(|(_, other)| *other != device) {
        None => Ok(()),
        Some((name, other)) => {
            Err(Error::argument(format!("{owner} is on {device}, but {name} is on {other}"))
                .hint(format!("move one of them: `.to(\"{device}\")`")))
        }
    }
}

/// Returns the device of the first tensor or generator among the arguments of a function.
pub fn of_arguments<'a>(arguments: impl IntoIterator<Item = &'a Value>) -> Option<Device> {
    arguments.into_iter().find_map(|value| match value {
        Value::Object(object) => match object.as_any().downcast_ref::<Tensor>() {
            Some(tensor) => Some(tensor.device()),
            None => object.as_any().downcast_ref::<Generator>().map(Generator::device),
        },
        Value::Map(map) => of_arguments(map.values()),
        Value::List(list) => of_arguments(list),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::IntoValue;
    use crate::torch::DType;

    #[test]
    fn the_innermost_function_says_where_new_tensors_belong() {
        assert_eq!(Device::of_new(), Device::Cpu);
        Device::Cuda(1).within(|| {
            assert_eq!(Device::of_new(), Device::Cuda(1));
            Device::Cpu.within(|| assert_eq!(Device::of_new(), Device::Cpu));
            assert_eq!(Device::of_new(), Device::Cuda(1));
            let other = std::thread::spawn(Device::of_new).join().unwrap();
            assert_eq!(other, Device::Cpu);
        });
        let failed = std::panic::catch_unwind(|| Device::Cuda(1).within(|| panic!("on purpose")));
        assert!(failed.is_err());
        assert_eq!(Device::of_new(), Device::Cpu);
    }

    #[test]
    fn what_is_elsewhere_is_named_with_both_devices() {
        let places = |x, t| together("the model", Device::Cuda(0), [("`x`", x), ("`t`", t)]);
        places(Device::Cuda(0), Device::Cuda(0)).unwrap();
        let error = places(Device::Cuda(0), Device::Cpu).unwrap_err();
        assert_eq!(error.message(), "the model is on cuda:0, but `t` is on cpu");
        assert_eq!(error.hint_text(), Some("move one of them: `.to(\"cuda:0\")`"));
        assert_eq!(
            places(Device::Cuda(1), Device::Cpu).unwrap_err().message(),
            "the model is on cuda:0, but `x` is on cuda:1"
        );
    }

    #[test]
    fn arguments_are_searched_in_order_also_inside_of_maps() {
        let tensor = || Tensor::zeros(&[1], DType::Float32, Device::Cpu).unwrap().into_value();
        assert_eq!(of_arguments(&[Value::Int(3), Value::Str("cuda".to_string())]), None);
        assert_eq!(of_arguments(&[Value::Int(3), tensor()]), Some(Device::Cpu));
        let map = Value::Map([("t".to_string(), Value::List(vec![tensor()]))].into());
        assert_eq!(of_arguments(&[map]), Some(Device::Cpu));
    }
}
