//! Everything that a map file says of its pixels, to be compared bit for bit.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;
use std::path::Path;

use hdf5::types::TypeDescriptor;

/// Bits of the numbers of each dataset, by path; not how and when they were made.
pub type Whole = BTreeMap<String, Vec<u64>>;

pub fn whole(file: &Path) -> Whole {
    let file = hdf5::File::open(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut found = Whole::new();
    visit(&file.group("MAPS/XRF_Analyzed").expect("maps"), &mut found);
    assert!(found.len() > 10, "datasets among {:?}", found.keys());
    found
}

fn visit(group: &hdf5::Group, found: &mut Whole) {
    for data in group.datasets().expect("datasets") {
        let kind = data.dtype().and_then(|kind| kind.to_descriptor()).expect("a type");
        if matches!(
            kind,
            TypeDescriptor::Float(_) | TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_)
        ) {
            let bits =
                data.read_raw::<f64>().expect("numbers").iter().map(|v| v.to_bits()).collect();
            found.insert(data.name(), bits);
        }
    }
    for inner in group.groups().expect("groups") {
        if !inner.name().ends_with("/Provenance") {
            visit(&inner, found);
        }
    }
}

/// Fails unless both say the same of every pixel.
pub fn assert_same(found: &Path, expected: &Whole, what: &str) {
    let found = whole(found);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    for (name, expected) in expected {
        let off = found[name].iter().zip(expected).filter(|(a, b)| a != b).count();
        assert!(
            off == 0 && found[name].len() == expected.len(),
            "{what}: {name} differs in {off} numbers"
        );
    }
}
