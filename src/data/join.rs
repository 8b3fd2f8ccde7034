//! Several data sets as one.

use std::collections::{BTreeMap, HashMap};

use super::Dataset;
use super::store::Store;
use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::Tensor;

/// Returns the images of all sets as one set. Classes are matched by name; if the sets have different ones, `note` is told.
pub(crate) fn join(sets: &[Dataset], note: impl FnOnce(&str)) -> Result<Dataset> {
    let [first, others @ ..] = sets else {
        return Err(Error::argument("expected at least one data set, found none"));
    };
    if let Some(other) = others.iter().find(|set| set.image_shape() != first.image_shape()) {
        return Err(Error::argument(format!(
            "expected images of one shape, found {:?} in {} and {:?} in {}",
            first.image_shape(),
            named(first),
            other.image_shape(),
            named(other)
        ))
        .hint("open the sets with the same `size` and `channels`"));
    }
    let class_names = class_names(sets)?;
    if let Some(set) = sets.iter().find(|set| set.class_names() != class_names) {
        let shared =
            class_names.iter().filter(|name| sets.iter().all(|set| set.class_names().contains(name)));
        note(&format!(
            "data::join: {} classes, of which {} are in all sets; {} has {}",
            class_names.len(),
            shared.count(),
            named(set),
            set.classes()
        ));
    }
    let labels = sets.iter().map(|set| labels(set, &class_names)).collect::<Result<Vec<_>>>()?;
    let stored: Vec<Store> = sets.iter().map(|set| set.stored().clone()).collect();
    let name = distinct(sets.iter().map(Dataset::name));
    let split = distinct(sets.iter().map(Dataset::split));
    Dataset::of_store(Store::join(&stored)?, &Tensor::cat(&labels, 0)?, &name, &split, class_names)?
        .with_stored_fields(fields(first, others)?)
}

fn named(set: &Dataset) -> String {
    format!("{} ({})", set.name(), set.split())
}

/// Returns the distinct texts in order, joined by ` + `.
fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut all: Vec<&str> = Vec::new();
    texts.for_each(|text| {
        if !all.contains(&text) {
            all.push(text);
        }
    });
    all.join(" + ")
}

/// Returns the names of all classes, in the order in which they occur.
fn class_names(sets: &[Dataset]) -> Result<Vec<String>> {
    let first = sets[0].class_names();
    if sets.iter().all(|set| set.class_names() == first) {
        return Ok(first.to_vec());
    }
    let (mut all, mut known) = (Vec::new(), HashMap::new());
    for set in sets {
        let mut own = HashMap::new();
        for name in set.class_names() {
            ensure!(
                own.insert(name, ()).is_none(),
                "classes are matched by name, but {} has two of the name \"{name}\"",
                named(set)
            );
            if known.insert(name, ()).is_none() {
                all.push(name.clone());
            }
        }
    }
    Ok(all)
}

/// Returns the labels of a set as numbers of the classes of all sets.
fn labels(set: &Dataset, all: &[String]) -> Result<Tensor> {
    if set.class_names() == all {
        return Ok(set.labels().clone());
    }
    let number: HashMap<&str, i64> = all.iter().map(String::as_str).zip(0..).collect();
    let numbers: Vec<i64> = set.class_names().iter().map(|name| number[name.as_str()]).collect();
    let labels: Vec<i64> = set.labels().to_i64()?.into_iter().map(|label| numbers[label as usize]).collect();
    Tensor::from_i64(&labels, &[labels.len() as i64])
}

/// Returns the fields of all sets, which must have the same ones.
fn fields(first: &Dataset, others: &[Dataset]) -> Result<BTreeMap<String, Store>> {
    let mut joined = BTreeMap::new();
    for (name, field) in first.stored_fields() {
        let mut parts = vec![field.clone()];
        for set in others {
            let Some(other) = set.stored_fields().get(name) else { return Err(missing(name, first, set)) };
            let about = |field: &Store| format!("{:?} {}", &field.shape()[1..], field.dtype().name());
            ensure!(
                about(field) == about(other),
                "expected the field `{name}` alike in all sets, found {} in {} and {} in {}",
                about(field),
                named(first),
                about(other),
                named(set)
            );
            parts.push(other.clone());
        }
        joined.insert(name.clone(), Store::join(&parts)?);
    }
    for set in others {
        if let Some(name) = set.stored_fields().keys().find(|name| !joined.contains_key(*name)) {
            return Err(missing(name, set, first));
        }
    }
    Ok(joined)
}

fn missing(field: &str, set: &Dataset, other: &Dataset) -> Error {
    let text = format!("{} has the field `{field}`, but {} has none of this name", named(set), named(other));
    Error::argument(text).hint("`set.with_fields` adds it, with a row for each image")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::npz::Layout;
    use crate::data::{FromTensorsOptions, LoaderOptions, from_tensors};
    use crate::torch::DType;
    use crate::torch::io::{Rows, save_npz};

    fn set(bytes: &[u8], labels: &[i64], names: &[&str]) -> Dataset {
        let count = bytes.len() as i64 / 2;
        let images = Tensor::from_u8(bytes, &[count, 1, 1, 2]).unwrap();
        let class_names = names.iter().map(|name| name.to_string()).collect();
        let options = FromTensorsOptions { class_names, ..FromTensorsOptions::default() };
        from_tensors(&images, Tensor::from_i64(labels, &[count]).unwrap(), &options).unwrap()
    }

    fn quiet(sets: &[Dataset]) -> Result<Dataset> {
        join(sets, |note| panic!("{note}"))
    }

    #[test]
    fn classes_are_matched_by_name_and_fields_follow() {
        let a = set(&[0, 1, 2, 3], &[1, 0], &["cat", "dog"]);
        let b = set(&[4, 5, 6, 7, 8, 9], &[0, 1, 2], &["dog", "fox", "cat"]);
        let field = |set: &Dataset, start: i64| {
            let rows: Vec<i64> = (start..start + set.len() as i64).collect();
            set.with_fields([("row", Tensor::from_i64(&rows, &[rows.len() as i64]).unwrap())]).unwrap()
        };
        let mut told = String::new();
        let both = join(&[field(&a, 0), field(&b, 2)], |note| told = note.to_string()).unwrap();
        assert_eq!(both.class_names(), ["cat", "dog", "fox"]);
        assert_eq!(both.labels().to_i64().unwrap(), [1, 0, 1, 2, 0]);
        assert_eq!(both.stored().load().unwrap().to_u8().unwrap(), (0..10).collect::<Vec<u8>>());
        assert_eq!(both.fields().unwrap().get("row").unwrap().to_i64().unwrap(), [0, 1, 2, 3, 4]);
        assert!(told.contains("3 classes, of which 2 are in all sets"), "{told}");
        assert!(quiet(&[field(&a, 0), a.clone()]).unwrap_err().message().contains("has the field `row`"));
        assert!(quiet(&[a.clone(), field(&a, 0)]).unwrap_err().message().contains("has the field `row`"));
        let twice = set(&[1, 2], &[0], &["cat", "cat"]);
        assert!(quiet(&[a, twice]).unwrap_err().message().contains("two of the name \"cat\""));
    }

    #[test]
    fn parts_joined_again_are_the_set() {
        let whole = set(&(0..20).collect::<Vec<_>>(), &[0, 1, 0, 1, 0, 1, 0, 1, 0, 1], &["a", "b"]);
        let indices: Vec<i64> = (4..10).collect();
        let again = quiet(&[whole.take(4).unwrap(), whole.subset(&indices).unwrap()]).unwrap();
        let state = |set: &Dataset| set.loader(&LoaderOptions::default()).unwrap().state().unwrap();
        assert_eq!(format!("{:?}", state(&whole)), format!("{:?}", state(&again)));
        assert_eq!(again.name(), "tensors");
    }

    #[test]
    fn sets_in_files_and_in_memory_are_drawn_as_those_in_memory() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("rows.npz");
        let (a, b) =
            (set(&[0, 1, 2, 3], &[0, 1], &["a", "b"]), set(&[4, 5, 6, 7, 8, 9], &[1, 1, 0], &["a", "b"]));
        let tensor = b.stored().load().unwrap();
        save_npz(&path, &BTreeMap::from([("x".to_string(), tensor)])).unwrap();
        let rows = Rows::open(&path, "x").unwrap();
        let names = b.class_names().to_vec();
        let on_demand =
            Dataset::of_store(Store::of_rows(rows, Layout::Nchw), b.labels(), "tensors", "all", names)
                .unwrap();
        let memory = quiet(&[a.clone(), b.clone(), a.clone()]).unwrap();
        let mixed = quiet(&[a.clone(), on_demand, a.clone()]).unwrap();
        assert!(
            matches!(memory.stored(), Store::Tensor(_)) && matches!(mixed.stored(), Store::Joined { .. })
        );
        let options = LoaderOptions { batch: 3, flip: true, ..LoaderOptions::default() };
        let (one, other) = (memory.loader(&options).unwrap(), mixed.loader(&options).unwrap());
        for _ in 0..5 {
            let (x, y) = (one.next().unwrap(), other.next().unwrap());
            assert!(x.images.equal(&y.images).unwrap() && x.labels.equal(&y.labels).unwrap());
        }
        assert_eq!(format!("{:?}", one.state().unwrap()), format!("{:?}", other.state().unwrap()));
        let bytes = |set: &Dataset| set.subset(&[6, 2, 0]).unwrap().take(2).unwrap().stored().load().unwrap();
        assert!(bytes(&memory).equal(&bytes(&mixed)).unwrap());
        // Bytes and floats together are floats.
        let floats = from_tensors(
            a.images().unwrap(),
            a.labels(),
            FromTensorsOptions { class_names: a.class_names().to_vec(), ..FromTensorsOptions::default() },
        );
        let mixed = quiet(&[floats.unwrap(), b.clone()]).unwrap();
        assert_eq!(mixed.stored().dtype(), DType::Float32);
        assert!(mixed.images().unwrap().equal(&quiet(&[a, b]).unwrap().images().unwrap()).unwrap());
    }
}
