//! Labels and fields of archives with names, links and parts that could shift or hide them.

use super::*;

/// The header of a NumPy array of one float32, and its value.
fn array(value: f32) -> Vec<u8> {
    let header = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }");
    [b"\x93NUMPY\x01\x00\x76\x00".as_slice(), header.as_bytes(), &value.to_le_bytes()].concat()
}

#[test]
fn fields_leave_the_labels_as_they_are() {
    let with_fields = ImageFolderOptions { fields: vec!["npy".to_string()], ..options() };
    let json = b"{\"labels\": [[\"00/a.png\", 5], [\"00/b.png\", 3], [\"01/c.png\", 3], [\"01/d.png\", 0]]}";
    let mut files = vec![("dataset.json", json.to_vec())];
    // The arrays come in another order than the images.
    for (i, name) in ["01/d", "00/b", "01/c", "00/a"].into_iter().enumerate() {
        let number = 4 - i as u8;
        files.push((String::leak(format!("{name}.png")), image(number)));
        files.push((String::leak(format!("{name}.npy")), array(f32::from(number) + 0.5)));
    }
    for (name, files) in [("edm", &files[..]), ("folders", &files[1..])] {
        for (ending, bytes) in [("zip", zipped(files, true)), ("tar", tarred(files))] {
            let (_place, path) = written(&format!("{name}.{ending}"), &bytes);
            let (plain, _) = open(&path).unwrap();
            let (set, _) = noted(std::slice::from_ref(&path), &with_fields).unwrap();
            let wanted = if name == "edm" { [5, 3, 3, 0] } else { [0, 0, 1, 1] };
            assert_eq!((labels(&set), labels(&plain)), (wanted.to_vec(), wanted.to_vec()), "{name}.{ending}");
            assert_eq!((set.class_names(), reds(&set)), (plain.class_names(), reds(&plain)));
            let rows = set.fields().unwrap().get("npy").unwrap().to_f64().unwrap();
            assert_eq!(rows, reds(&set).iter().map(|red| *red as f64 + 0.5).collect::<Vec<_>>());
        }
    }
    // Folders of splits are no classes, and digits are names.
    let splits = [
        ("train/a.png", image(1)),
        ("train/a.npy", array(1.0)),
        ("val/b.png", image(2)),
        ("val/b.npy", array(2.0)),
    ];
    let (_place, path) = written("splits.zip", &zipped(&splits, false));
    assert!(refused(&path, &with_fields).0.contains("expected classes, found splits"));
    let digits = [("5/a.png", image(1)), ("5/a.npy", array(1.0)), ("7/b.png", image(2))];
    let (_place, path) = written("digits.zip", &zipped(&digits, false));
    assert!(refused(&path, &with_fields).0.contains("1 sample has no array `npy`: "));
    let skipping = ImageFolderOptions { on_error: OnError::Skip, ..with_fields };
    let (set, _) = noted(&[path], &skipping).unwrap();
    assert_eq!((labels(&set), set.class_names()[0].as_str(), set.classes()), (vec![0], "5", 2));
}

#[test]
fn a_file_with_the_name_of_a_folder_shifts_no_labels() {
    let files =
        [("cat", Vec::new()), ("cat/0.png", image(1)), ("dog/1.png", image(2)), ("eel/2.png", image(3))];
    for (name, bytes) in [("clash.zip", zipped(&files, false)), ("clash.tar", tarred(&files))] {
        let (_place, path) = written(name, &bytes);
        let (set, notes) = open(&path).unwrap();
        assert_eq!(set.class_names(), ["cat", "dog", "eel"], "{name}");
        assert_eq!((labels(&set), reds(&set)), (vec![0, 1, 2], vec![1, 2, 3]));
        assert!(
            notes.contains("skipped 1 file that has the name of a folder, the first is `cat`"),
            "{notes}"
        );
    }
}

#[test]
fn classes_that_are_not_read_are_told() {
    let files = [
        ("a.v1.png", image(1)),
        ("a.v1.cls", b"cat".to_vec()),
        ("b.v1.png", image(2)),
        ("b.v1.cls", b"dog".to_vec()),
    ];
    let (_place, path) = written("dots.tar", &tarred(&files));
    let (set, notes) = open(&path).unwrap();
    assert_eq!(set.class_names(), ["images"]);
    assert!(
        notes.contains("2 `.cls` files of names with a further dot, such as a.v1.cls, are not read"),
        "{notes}"
    );
}

#[test]
fn large_and_damaged_facts_of_a_sample() {
    let facts = format!("{{\"note\": \"{}\", \"label\": 2}}", "x".repeat(70_000));
    let files = [("0.png", image(1)), ("0.json", facts.into_bytes())];
    let by_key = ImageFolderOptions { label_column: Some("label".to_string()), ..options() };
    let (_place, path) = written("large.tar", &tarred(&files));
    assert_eq!(labels(&noted(&[path], &by_key).unwrap().0), [2]);
    let files = [
        ("0.png", image(1)),
        ("0.cls", b"first class".to_vec()),
        ("1.png", image(2)),
        ("1.cls", b"other class".to_vec()),
    ];
    let mut bytes = zipped(&files, false);
    let at = bytes.windows(5).position(|five| five == b"other").unwrap();
    bytes[at] = b'X';
    let (_place, path) = written("damaged.zip", &bytes);
    let (message, _) = refused(&path, &options());
    assert!(message.contains("1.cls: ") && message.contains("checksum is wrong"), "{message}");
    let (set, notes) = noted(&[path], &skipping()).unwrap();
    assert_eq!((set.class_names(), reds(&set)), (&["first class".to_string()][..], vec![1]));
    assert!(notes.contains("1 sample has a class that cannot be read: "), "{notes}");
}

/// A tar of entries with a type, the target of a link, and blocks between header and content.
fn typed(entries: &[(&str, u8, &str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, kind, target, content) in entries {
        let mut header = ::tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(::tar::EntryType::new(*kind));
        if !target.is_empty() {
            header.set_link_name(target).unwrap();
        }
        header.set_size(content.len() as u64);
        if *kind == b'S' {
            header.as_mut_bytes()[482] = 1;
        }
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        if *kind == b'S' {
            // Two blocks go on with the map, and the first says that another follows.
            let at = bytes.len();
            bytes.resize(at + 1024, 0);
            bytes[at + 504] = 1;
        }
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

#[test]
fn links_and_sparse_files_keep_their_place_in_a_tar() {
    let bytes = typed(&[
        ("0.png", b'0', "", image(1)),
        ("0.cls", b'0', "", b"0".to_vec()),
        ("1.png", b'1', "0.png", Vec::new()),
        ("1.cls", b'0', "", b"1".to_vec()),
        ("hole", b'S', "", vec![7; 600]),
        ("2.png", b'0', "", image(2)),
        ("2.cls", b'0', "", b"2".to_vec()),
    ]);
    let index = listing::parse(&bytes).unwrap();
    let names: Vec<&str> = index.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["0.png", "0.cls", "1.png", "1.cls", "2.png", "2.cls"]);
    assert_eq!((index.passed, index.cut), (vec![(What::Sparse, "hole".to_string())], None));
    let (_place, path) = written("links.tar", &bytes);
    let (set, _) = open(&path).unwrap();
    assert_eq!((labels(&set), reds(&set)), (vec![0, 1, 2], vec![1, 1, 2]));
}

#[test]
fn several_archives_with_labels_of_their_own_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let paths = [0, 1].map(|i| {
        let json = format!("{{\"labels\": [[\"train/a.png\", {i}]]}}");
        let files = [("train/a.png", image(i)), ("dataset.json", json.into_bytes())];
        let path = place.path().join(format!("sub-{i}.zip"));
        files::write(&path, zipped(&files, false)).unwrap();
        path
    });
    let error = noted(&paths, &options()).unwrap_err();
    assert!(error.hint_text().unwrap().contains("`data::join`"), "{error}");
    // A pattern may lead into archives.
    let (set, _) = noted(&[place.path().join("sub-*.zip/train")], &options()).unwrap();
    assert_eq!(reds(&set), [0, 1]);
}

#[test]
fn what_helps_with_arrays_is_what_the_hint_says() {
    let open = |path: &Path, options: &LatentsOptions| with_notes(|cx| latents(path, options, cx));
    let (_place, path) = written("lat.tar", &tarred(&[("0.npy", array(1.0))]));
    let (_, hint) = refused(&path, &options());
    assert!(hint.contains("in a zip file"), "{hint}");
    let shaped = |value| {
        let plain = array(value);
        let text = String::from_utf8_lossy(&plain[10..128]).replace("(1,), }      ", "(1, 1, 1), }");
        [&plain[..10], format!("{:<117}\n", text.trim_end()).as_bytes(), &plain[128..]].concat()
    };
    let json = b"{\"labels\": [[\"a/0.npy\", 1]]}".to_vec();
    let files = [("a/0.npy", shaped(1.0)), ("b/1.npy", shaped(2.0)), ("dataset.json", json)];
    let (_place, path) = written("lat.zip", &zipped(&files, false));
    let error = open(&path, &LatentsOptions::default()).0.unwrap_err();
    assert!(!error.hint_text().unwrap().contains("on_error"), "{error}");
    let unlabeled = LatentsOptions { labels: Some(String::new()), ..Default::default() };
    let (set, notes) = open(&path, &unlabeled);
    assert_eq!((labels(&set.unwrap()), notes.contains("of one class")), (vec![0, 0], false));
    let (_place, path) = written("lat.zip", &zipped(&files[..2], false));
    let (set, notes) = open(&path, &LatentsOptions::default());
    assert!(set.unwrap().classes() == 1 && notes.contains("all latents are of one class"), "{notes}");
}

#[test]
fn other_formats_are_counted_where_there_is_no_image() {
    let files = [("0.gif", b"x".to_vec()), ("dataset.json", b"{\"labels\": null}".to_vec())];
    let (_place, path) = written("gif.zip", &zipped(&files, false));
    assert!(
        refused(&path, &options()).1.contains("skipped 1 image files that are not PNG, JPEG or WebP"),
        "{path:?}"
    );
}
