//! Augmentation of batches by a user-defined function.

use super::Batch;
use crate::declare::{FromValue, Function, IntoValue, Map, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::fields::GivenFields;
use crate::torch::rng::{self, mix};
use crate::torch::{DType, Device, Fields, Generator, Tensor, no_grad};

/// Keys and types of the map that the function receives, for completion and `spectral check`.
pub const RECEIVED: &[(&str, &str)] = &[
    ("images", "tensor"),
    ("labels", "tensor"),
    ("indices", "tensor"),
    ("fields", "fields"),
    ("seed", "int"),
    ("row", "int"),
    ("batch", "int"),
];

/// Number that tells the seeds of augmentation from others of the same seed.
const AUGMENTATION: u64 = 0x0061_7567_6d65_6e74;

/// What the function is called for.
pub(super) struct Place {
    /// Seed of the loader.
    pub seed: i64,
    /// Images that were drawn before this batch.
    pub position: u64,
    /// Place of the first image in the batch.
    pub row: i64,
    /// Images of the whole batch.
    pub size: i64,
}

/// Returns a batch with the images, and the fields, that `function` makes of its own.
///
/// Its draws from the default generators depend only on the seed and the place of the batch, and leave the generators as they
/// were, so that a batch is the same whenever it is made.
pub(super) fn augmented(function: &Function, batch: Batch, place: &Place) -> Result<Batch> {
    const WHAT: &str = "`augment`";
    let images = &batch.images;
    let (shape, device) = (images.shape(), images.device());
    // Changes in place must not reach the batch, whose labels others hold too.
    let own = |numbers: &Tensor| numbers.narrow(0, place.row, shape[0])?.copy();
    // A seed is not negative.
    let seed = mix(mix(place.seed as u64, AUGMENTATION), place.position) >> 1;
    let seen = Map::from([
        ("images".to_string(), images.clone().into_value()),
        ("labels".to_string(), own(&batch.labels)?.into_value()),
        ("indices".to_string(), own(&batch.indices)?.into_value()),
        ("fields".to_string(), GivenFields(batch.fields.clone()).into_value()),
        ("seed".to_string(), Value::Int(seed as i64)),
        ("row".to_string(), Value::Int(place.row)),
        ("batch".to_string(), Value::Int(place.size)),
    ]);
    let call = || no_grad(|| function.call_as(WHAT, &[Value::Map(seen)]));
    let answer = seeded(mix(seed, place.row as u64), device, call)?;
    let (made, fields) = parts(&answer).map_err(|e| e.context(WHAT))?;
    let made = made.unwrap_or_else(|| images.clone());
    let found = made.shape();
    ensure!(
        found.len() == 4 && found[..2] == shape[..2] && made.dtype().is_float(),
        "{WHAT} must return images [{}, {}, H, W] of a float type, found a {}",
        shape[0],
        shape[1],
        made.signature()
    );
    let made = made.detach()?.to_dtype(DType::Float32)?.to_device(device)?;
    fields.check_rows(shape[0]).map_err(|e| e.context(WHAT))?;
    let fields = fields.map(|field| field.detach()?.to_device(device))?.or(&batch.fields);
    Ok(Batch { images: made, fields, ..batch })
}

/// Returns images and fields of the function's result.
fn parts(answer: &Value) -> Result<(Option<Tensor>, Fields)> {
    let expected = "images, or a map of `images` and `fields`";
    let map = match answer {
        Value::Map(map) => map,
        other => {
            let images = other.downcast::<Tensor>().ok_or_else(|| other.mismatch(expected))?;
            return Ok((Some(images), Fields::default()));
        }
    };
    if let Some(key) = map.keys().find(|key| !["images", "fields"].contains(&key.as_str())) {
        let error = Error::argument(format!("expected {expected}, found the entry `{key}`"));
        return Err(
            error.hint("new fields belong into `fields`: `#{ images: x, fields: #{ name: tensor } }`")
        );
    }
    let images = map
        .get("images")
        .map(|images| images.downcast::<Tensor>().ok_or_else(|| images.mismatch("a tensor as `images`")));
    let fields = map.get("fields").map(Fields::from_value).transpose()?;
    Ok((images.transpose()?, fields.unwrap_or_default()))
}

/// Calls `body` with default generators of this seed, which are then restored.
fn seeded<T>(seed: u64, device: Device, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut devices = vec![Device::Cpu, device];
    devices.dedup();
    let states = devices.iter().map(|device| rng::default_state(*device)).collect::<Result<Vec<_>>>()?;
    for device in &devices {
        rng::restore_default(*device, &Generator::new(seed, *device)?.state()?)?;
    }
    let made = body();
    for (device, state) in devices.iter().zip(&states) {
        rng::restore_default(*device, state)?;
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, FromTensorsOptions, LoaderOptions, from_tensors};

    fn ten() -> Dataset {
        let images = Tensor::from_u8(&(0..60).collect::<Vec<_>>(), &[10, 1, 2, 3]).unwrap();
        let labels = Tensor::from_i64(&(0..10).collect::<Vec<_>>(), &[10]).unwrap();
        let set = from_tensors(&images, &labels, FromTensorsOptions::default()).unwrap();
        let row = Tensor::from_i64(&(0..10).collect::<Vec<_>>(), &[10]).unwrap();
        set.with_fields([("row", row)]).unwrap()
    }

    fn options(f: impl Fn(&Map) -> Result<Value> + Send + Sync + 'static) -> LoaderOptions {
        let augment = Function::new(move |values| match values {
            [Value::Map(s)] => f(s),
            _ => Err(Error::internal("one map")),
        });
        LoaderOptions { batch: 4, seed: 5, augment: Some(augment), ..LoaderOptions::default() }
    }

    fn tensor(s: &Map, name: &str) -> Tensor {
        s[name].downcast().unwrap()
    }

    fn int(s: &Map, name: &str) -> i64 {
        i64::from_value(&s[name]).unwrap()
    }

    /// Adds a draw of each image, from the seed and the rows of the batch, which is also a field.
    fn shifted(s: &Map) -> Result<Value> {
        let generator = Generator::new(int(s, "seed") as u64, Device::Cpu)?;
        let images = tensor(s, "images");
        let draws = Tensor::rand(&[int(s, "batch"), 1, 1, 1], DType::Float32, Device::Cpu, Some(&generator))?
            .narrow(0, int(s, "row"), images.size(0)?)?;
        let fields = Map::from([("shift".to_string(), draws.reshape(&[-1, 1])?.into_value())]);
        Ok(Value::Map(Map::from([
            ("images".to_string(), images.add(&draws)?.into_value()),
            ("fields".to_string(), Value::Map(fields)),
        ])))
    }

    #[test]
    fn changes_of_labels_in_place_stay_in_the_function() {
        let options = options(|s| {
            tensor(s, "labels").fill_(0.0)?;
            Ok(s["images"].clone())
        });
        let batch = ten().loader(&LoaderOptions { shuffle: false, ..options }).unwrap().next().unwrap();
        assert_eq!(batch.labels.to_i64().unwrap(), [0, 1, 2, 3]);
    }

    #[test]
    fn images_and_fields_are_those_that_the_function_returns() {
        let loader = ten().loader(&options(shifted)).unwrap();
        let plain = ten().loader(&LoaderOptions { augment: None, ..options(shifted) }).unwrap();
        for _ in 0..4 {
            let (made, before) = (loader.next().unwrap(), plain.next().unwrap());
            let shift = made.fields.get("shift").unwrap();
            let expected = before.images.add(&shift.reshape(&[-1, 1, 1, 1]).unwrap()).unwrap();
            assert!(made.images.equal(&expected).unwrap());
            assert!(made.fields.get("row").unwrap().equal(&made.indices).unwrap());
            assert!(shift.to_f32().unwrap().windows(2).all(|pair| pair[0] != pair[1]));
        }
    }

    #[test]
    fn shares_and_resumed_loaders_give_the_bits_of_the_whole() {
        let whole = ten().loader(&options(shifted)).unwrap();
        let share = ten().loader(&options(shifted)).unwrap();
        let mut state = Map::new();
        for step in 0..5 {
            if step == 3 {
                state = whole.state().unwrap();
            }
            let (batch, part) = (whole.next().unwrap(), share.next_share(1, 2).unwrap());
            assert!(part.images.equal(&batch.images.narrow(0, 1, 2).unwrap()).unwrap());
            let shift = |batch: &Batch| batch.fields.get("shift").unwrap();
            assert!(shift(&part).equal(&shift(&batch).narrow(0, 1, 2).unwrap()).unwrap());
        }
        let resumed = ten().loader(&options(shifted)).unwrap();
        resumed.restore(&state).unwrap();
        resumed.next().unwrap();
        share.restore(&state).unwrap();
        share.next().unwrap();
        assert!(resumed.next().unwrap().images.equal(&share.next().unwrap().images).unwrap());
        let plain = ten().loader(&LoaderOptions { augment: None, ..options(shifted) }).unwrap();
        assert!(plain.restore(&state).unwrap_err().message().contains("augment"));
    }

    #[test]
    fn unseeded_draws_depend_on_the_batch_and_leave_the_generator() {
        let draws = |s: &Map| {
            let images = tensor(s, "images");
            Ok(Tensor::rand(&images.shape(), DType::Float32, Device::Cpu, None)?.into_value())
        };
        let loader = ten().loader(&options(draws)).unwrap();
        let state = loader.state().unwrap();
        let before = rng::default_state(Device::Cpu).unwrap();
        let (first, second) = (loader.next().unwrap(), loader.next().unwrap());
        assert!(rng::default_state(Device::Cpu).unwrap().equal(&before).unwrap());
        assert!(!first.images.equal(&second.images).unwrap());
        loader.restore(&state).unwrap();
        assert!(loader.next().unwrap().images.equal(&first.images).unwrap());
    }

    #[test]
    fn a_wrong_result_is_an_error_after_which_the_batch_comes_again() {
        let of = |value: fn(&Map) -> Result<Value>| {
            let loader = ten().loader(&options(value)).unwrap();
            let message = loader.next().unwrap_err().message();
            assert_eq!(loader.position(), 0);
            message
        };
        let message = of(|s| Ok(tensor(s, "images").narrow(0, 0, 2)?.into_value()));
        assert!(message.contains("`augment` must return images [4, 1, H, W]"), "{message}");
        assert!(of(|_| Ok(Value::Int(3))).contains("images, or a map of `images` and `fields`"));
        let message = of(|s| Ok(Value::Map(Map::from([("image".to_string(), s["images"].clone())]))));
        assert!(message.contains("found the entry `image`"), "{message}");
        let message = of(|s| {
            let fields = Map::from([("a".to_string(), tensor(s, "images").narrow(0, 0, 1)?.into_value())]);
            Ok(Value::Map(Map::from([("fields".to_string(), Value::Map(fields))])))
        });
        assert!(message.contains("field `a` of shape [4, ..]"), "{message}");
        assert!(of(|_| Err(Error::argument("no"))).contains("no"));
    }
}
