//! Files in the layout of `torch.save`, written by hand.

use std::io::{Cursor, Write};

use super::*;

/// Writer of files in the layout of `torch.save`.
struct Writer {
    pickle: Vec<u8>,
    storages: Vec<Vec<u8>>,
    method: CompressionMethod,
}

impl Writer {
    fn new() -> Self {
        Self { pickle: b"\x80\x02".to_vec(), storages: Vec::new(), method: CompressionMethod::Stored }
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.pickle.extend(bytes);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    fn int(&mut self, number: i32) -> &mut Self {
        self.raw(b"J").raw(&number.to_le_bytes())
    }

    fn ints(&mut self, numbers: &[i32]) -> &mut Self {
        self.raw(b"(");
        for number in numbers {
            self.int(*number);
        }
        self.raw(b"t")
    }

    /// Adds a tensor over a new storage of `floats`.
    fn tensor(&mut self, floats: &[f32], offset: i32, shape: &[i32], strides: &[i32]) -> &mut Self {
        let key = self.storages.len().to_string();
        self.storages.push(floats.iter().flat_map(|x| x.to_le_bytes()).collect());
        self.raw(b"ctorch._utils\n_rebuild_tensor_v2\n((").text("storage").raw(b"ctorch\nFloatStorage\n");
        self.text(&key).text("cpu").int(floats.len() as i32).raw(b"tQ").int(offset);
        self.ints(shape).ints(strides).raw(b"\x89ccollections\nOrderedDict\n)RtR")
    }

    fn finish(&self) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::FileOptions::default().compression_method(self.method);
        let mut add = |name: &str, bytes: &[u8]| {
            zip.start_file(format!("weights/{name}"), options).unwrap();
            zip.write_all(bytes).unwrap();
        };
        add("data.pkl", &[&self.pickle[..], b"."].concat());
        add("byteorder", b"little");
        for (key, bytes) in self.storages.iter().enumerate() {
            add(&format!("data/{key}"), bytes);
        }
        zip.finish().unwrap().into_inner()
    }
}

fn read(bytes: Vec<u8>) -> Result<Loaded> {
    parse_pytorch(bytes, Path::new("w.pt"), Device::Cpu)
}

/// `{"model": {"a": 2 x 2, transposed, "b": a slice}, "step": 7, "list": [a scalar]}`.
fn nested() -> Writer {
    let mut w = Writer::new();
    w.raw(b"}(").text("model").raw(b"ccollections\nOrderedDict\n)Rq\x00(");
    w.text("a").tensor(&[1.0, 2.0, 3.0, 4.0], 0, &[2, 2], &[1, 2]);
    w.text("b").tensor(&[9.0, 5.0, 6.0], 1, &[2], &[1]);
    w.raw(b"u").raw(b"}").raw(b"b").text("step").int(7).text("list").raw(b"](");
    w.tensor(&[8.0], 0, &[], &[]).raw(b"eu");
    w
}

#[test]
fn nested_dictionaries_strides_and_slices_are_read() {
    let found = read(nested().finish()).unwrap().tensors;
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["list.0", "model.a", "model.b"]);
    assert_eq!(found["model.a"].to_f32().unwrap(), [1.0, 3.0, 2.0, 4.0]);
    assert_eq!(found["model.b"].to_f32().unwrap(), [5.0, 6.0]);
    assert_eq!((found["list.0"].shape(), found["list.0"].item().unwrap()), (vec![], 8.0));
}

/// A state dictionary written by Python's pickler, with parameters, views of one storage, an optimizer and numbers.
#[test]
fn a_pickle_of_python_is_read() {
    let bytes = include_bytes!("../../../../tests/fixtures/state_dict.pt").to_vec();
    let found = read(bytes).unwrap().tensors;
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    let expected = [
        "model.column",
        "model.half",
        "model.transposed",
        "model.whole",
        "optimizer.state.0.step",
        "optimizer.state.1.mask",
    ];
    assert_eq!(names, expected);
    assert_eq!(found["model.whole"].to_f32().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(found["model.transposed"].to_f32().unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(found["model.column"].to_f32().unwrap(), [1.0, 4.0]);
    assert_eq!(
        (found["model.half"].dtype(), found["model.half"].to_f32().unwrap()),
        (DType::BFloat16, vec![1.0, -2.0])
    );
    assert_eq!(found["optimizer.state.0.step"].to_i64().unwrap(), [-1, 0, 1 << 40]);
    assert_eq!(found["optimizer.state.1.mask"].dtype(), DType::Bool);
}

/// Objects of classes beside the weights, some of which would be harmful if they were built.
#[test]
fn what_is_no_tensor_is_passed_over_and_named() {
    let harmful = std::env::temp_dir().join(format!("spectral-harm-{}", std::process::id()));
    let mut w = Writer::new();
    w.raw(b"}(").text("ema").raw(b"}").text("w").tensor(&[1.0, 2.0], 0, &[2], &[1]).raw(b"s");
    w.text("args").raw(b"cargparse\nNamespace\n)\x81}").text("lr").raw(b"K\x01sb");
    w.text("path").raw(b"cpathlib\nPosixPath\n(").text("a").raw(b"tR");
    w.text("color").raw(b"c__main__\nColor\nK\x01\x85R");
    w.text("act").raw(b"c__main__\n<lambda>\n");
    w.text("day").raw(b"cdatetime\ndate\nC\x04\x07\xe9\x01\x02\x85R");
    w.text("seed").raw(b"\x8a\x09\xfb\xff\xff\xff\xff\xff\xff\xff\x00");
    w.text("exploit").raw(b"cposix\nsystem\n").text(&format!("touch {}", harmful.display())).raw(b"\x85R");
    w.text("inside").raw(b"](cbuiltins\neval\n").text("1/0").raw(b"\x85Reu");
    let loaded = read(w.finish()).unwrap();
    assert_eq!(loaded.tensors.keys().collect::<Vec<_>>(), ["ema.w"]);
    let [note] = &loaded.notes[..] else { panic!("{:?}", loaded.notes) };
    for named in [
        "`args` (argparse.Namespace)",
        "`path` (pathlib.PosixPath)",
        "`color` (__main__.Color)",
        "`act` (__main__.<lambda>)",
        "`day` (datetime.date)",
        "`exploit` (posix.system)",
        "`inside.0` (builtins.eval)",
    ] {
        assert!(note.contains(named), "{note}");
    }
    assert!(!note.contains("seed") && !harmful.exists());
}

#[test]
fn a_tensor_inside_a_foreign_object_is_an_error() {
    let mut w = Writer::new();
    w.raw(b"}")
        .text("net")
        .raw(b"c__main__\nNet\n)\x81}")
        .text("w")
        .tensor(&[1.0], 0, &[1], &[1])
        .raw(b"sbs");
    let error = read(w.finish()).unwrap_err();
    assert!(
        error.message().contains("`net` is created by `__main__.Net`, which is not supported, and contains"),
        "{error}"
    );
    // A tensor class that may interpret its elements in any way.
    let mut w = Writer::new();
    w.raw(b"}")
        .text("w")
        .raw(b"ctorch._utils\n_rebuild_sparse_tensor\n(")
        .tensor(&[1.0], 0, &[1], &[1])
        .raw(b"tRs");
    assert!(read(w.finish()).unwrap_err().message().contains("`torch._utils._rebuild_sparse_tensor`"));
}

#[test]
fn lazy_conjugates_and_signs_are_carried_out() {
    let complex = |metadata: &[(&str, bool)]| {
        let mut w = Writer::new();
        w.storages.push([1.0f32, 2.0, 3.0, -4.0].iter().flat_map(|x| x.to_le_bytes()).collect());
        w.raw(b"}").text("z").raw(b"ctorch._utils\n_rebuild_tensor_v2\n((").text("storage");
        w.raw(b"ctorch\nComplexFloatStorage\n").text("0").text("cpu").int(2).raw(b"tQ").int(0);
        w.ints(&[2]).ints(&[1]).raw(b"\x89ccollections\nOrderedDict\n)R}(");
        for (key, value) in metadata {
            w.text(key).raw(if *value { b"\x88" } else { b"\x89" });
        }
        w.raw(b"utRs");
        read(w.finish()).map(|loaded| format!("{:?}", loaded.tensors["z"].to_nested().unwrap()))
    };
    assert_eq!(complex(&[]).unwrap(), "[[1.0, 2.0], [3.0, -4.0]]");
    assert_eq!(complex(&[("conj", true)]).unwrap(), "[[1.0, -2.0], [3.0, 4.0]]");
    assert_eq!(complex(&[("conj", false), ("neg", true)]).unwrap(), "[[-1.0, -2.0], [-3.0, 4.0]]");
    assert_eq!(complex(&[("conj", true), ("neg", true)]).unwrap(), "[[-1.0, 2.0], [-3.0, -4.0]]");
    assert!(complex(&[("zero", true)]).unwrap_err().message().contains("not known"));
}

#[test]
fn keys_of_any_type_become_names_and_two_of_one_name_are_an_error() {
    let mut w = Writer::new();
    w.raw(b"}(G").raw(&0.5f64.to_be_bytes()).tensor(&[1.0], 0, &[1], &[1]);
    w.ints(&[1, 2]).tensor(&[2.0], 0, &[1], &[1]);
    w.raw(b"N").tensor(&[3.0], 0, &[1], &[1]).raw(b"\x88").tensor(&[4.0], 0, &[1], &[1]);
    w.raw(b"cm\nColor\nK\x03\x85R").tensor(&[5.0], 0, &[1], &[1]).raw(b"u");
    let found = read(w.finish()).unwrap().tensors;
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["(1, 2)", "0.5", "None", "True", "m.Color(3)"]);
    let mut w = Writer::new();
    w.raw(b"}(").text("a").raw(b"}").text("b").tensor(&[1.0], 0, &[1], &[1]).raw(b"s");
    w.text("a.b").tensor(&[2.0], 0, &[1], &[1]).raw(b"u");
    let error = read(w.finish()).unwrap_err();
    let expected = "w.pt: two tensors would have the name `a.b`: [\"a\"][\"b\"] and [\"a.b\"]";
    assert_eq!(error.message(), expected);
}

#[test]
fn bare_tensors_lists_and_views_of_any_stride_are_read() {
    let only = |offset, shape: &[i32], strides: &[i32]| {
        let mut w = Writer::new();
        w.tensor(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], offset, shape, strides);
        read(w.finish()).unwrap().tensors["tensor"].to_f32().unwrap()
    };
    assert_eq!(only(3, &[2], &[1]), [3.0, 4.0]);
    assert_eq!(only(5, &[], &[]), [5.0]);
    // Expanded, and overlapping as after `unfold`.
    assert_eq!(only(0, &[2, 3], &[0, 1]), [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
    assert_eq!(only(1, &[3, 2], &[1, 1]), [1.0, 2.0, 2.0, 3.0, 3.0, 4.0]);
    assert_eq!(only(2, &[4], &[0]), [2.0; 4]);
    let mut w = Writer::new();
    w.raw(b"(").tensor(&[1.0], 0, &[1], &[1]).tensor(&[2.0], 0, &[1], &[1]).raw(b"t");
    assert_eq!(read(w.finish()).unwrap().tensors.keys().collect::<Vec<_>>(), ["0", "1"]);
}

#[test]
fn tensors_with_attributes_and_of_unsigned_integers_are_read() {
    let mut w = Writer::new();
    w.raw(b"}(")
        .text("p")
        .raw(b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\n");
    w.raw(b"ctorch.nn.parameter\nParameter\n((").text("storage").raw(b"ctorch\nFloatStorage\n");
    w.storages.push(1.5f32.to_le_bytes().to_vec());
    w.text("0").text("cpu").int(1).raw(b"tQ").int(0).ints(&[1]).ints(&[1]).raw(b"\x89}t}tR");
    w.text("u").raw(b"ctorch._utils\n_rebuild_tensor_v3\n((").text("storage");
    w.storages.push(vec![1, 0, 255, 255]);
    w.raw(b"ctorch.storage\nUntypedStorage\n").text("1").text("cpu").int(4).raw(b"tQ").int(0);
    w.ints(&[2]).ints(&[1]).raw(b"\x89}ctorch\nuint16\ntRu");
    let found = read(w.finish()).unwrap().tensors;
    assert_eq!(found["p"].to_f32().unwrap(), [1.5]);
    assert_eq!(found["u"].to_i64().unwrap(), [1, 65535]);
}

#[test]
fn tensors_that_claim_more_than_they_have_are_refused() {
    for (offset, shape, strides) in [
        (0, &[3][..], &[1][..]),
        (1, &[2], &[1]),
        (0, &[i32::MAX, 1 << 20], &[0, 0]),
        (1, &[2, 2], &[0, 1]),
        (0, &[2], &[1000000]),
        (-1, &[1], &[1]),
        (0, &[2, 1], &[1]),
        (0, &[i32::MAX, i32::MAX, i32::MAX], &[1, 1, 1]),
    ] {
        let mut w = Writer::new();
        w.raw(b"}").text("w").tensor(&[1.0, 2.0], offset, shape, strides).raw(b"s");
        let error = read(w.finish()).unwrap_err();
        assert!(error.message().starts_with("w.pt: `w`: shape"), "{error}");
    }
    let mut w = Writer::new();
    w.raw(b"}").text("w").tensor(&[1.0, 2.0], 0, &[2], &[1]).raw(b"s");
    w.storages[0].pop();
    assert!(read(w.finish()).unwrap_err().message().contains("should hold 2 elements of float32, found 7"));
}

#[test]
fn programs_old_files_and_compressed_ones_are_named() {
    let old = [&b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..], &[0; 64]].concat();
    assert!(read(old).unwrap_err().message().contains("before version 1.6"));
    let mut pages = nested();
    pages.pickle = b"\x80\x02N".to_vec();
    assert!(read(pages.finish()).unwrap().tensors.is_empty());
    pages.method = CompressionMethod::Deflated;
    assert!(read(pages.finish()).unwrap_err().message().contains("is compressed"));
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(
        "readme.txt",
        zip::write::FileOptions::default().compression_method(CompressionMethod::Stored),
    )
    .unwrap();
    let other = zip.finish().unwrap().into_inner();
    assert!(read(other).unwrap_err().message().contains("no `data.pkl`"));
}

#[test]
fn a_value_that_holds_itself_comes_to_an_end() {
    let mut w = Writer::new();
    w.raw(b"]q\x00h\x00a");
    assert!(read(w.finish()).unwrap().tensors.is_empty());
    let mut w = Writer::new();
    w.raw(b"]q\x00(h\x00").tensor(&[1.0], 0, &[1], &[1]).raw(b"e");
    assert!(read(w.finish()).unwrap_err().message().contains("deep"));
    // Each list contains the previous one twice.
    let mut w = Writer::new();
    w.raw(b"]q\x00").tensor(&[1.0], 0, &[1], &[1]).raw(b"a");
    for i in 0..15u8 {
        w.raw(b"](").raw(&[b'h', i]).raw(&[b'h', i]).raw(&[b'h', i]).raw(b"e").raw(&[b'q', i + 1]);
    }
    assert!(read(w.finish()).unwrap_err().message().contains("values"));
}

#[test]
fn cut_and_flipped_files_never_panic() {
    let whole = nested().finish();
    let expected = read(whole.clone()).unwrap().tensors;
    for length in 0..whole.len() {
        assert!(read(whole[..length].to_vec()).is_err(), "{length} bytes");
    }
    let mut bytes = whole;
    for bit in 0..8 * bytes.len() {
        bytes[bit / 8] ^= 1 << (bit % 8);
        // The checksums of the zip file cover the entries; whatever can still be read must equal what was written.
        if let Ok(loaded) = read(bytes.clone()) {
            for (name, tensor) in &loaded.tensors {
                assert!(tensor.equal(&expected[name]).unwrap(), "bit {bit}: {name}");
            }
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}
