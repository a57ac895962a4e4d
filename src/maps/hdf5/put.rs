//! Datasets and attributes as the tree wants them.

use hdf5::types::{FixedAscii, VarLenUnicode};
use hdf5::{Dataset, Group, H5Type, Location, Result};
use ndarray::{ArrayRef, Dimension};

/// A dataset; anything larger than a few numbers is shuffled and deflated, in chunks of one map.
pub(super) fn array<T: H5Type + Clone, D: Dimension>(
    group: &Group,
    name: &str,
    data: &ArrayRef<T, D>,
) -> Result<Dataset> {
    let shape = data.shape().to_vec();
    let data = data.as_standard_layout();
    if data.len() < 64 {
        return group.new_dataset_builder().with_data(&data).create(name);
    }
    let mut chunk = shape.clone();
    if chunk.len() == 3 {
        chunk[0] = 1;
    }
    group.new_dataset_builder().with_data(&data).chunk(chunk).shuffle().deflate(1).create(name)
}

/// Fixed strings of 256 bytes, as XRF-Maps writes names and units.
pub(super) fn names<S: AsRef<str>>(group: &Group, name: &str, values: &[S]) -> Result<Dataset> {
    let fixed: Vec<FixedAscii<256>> = values
        .iter()
        .map(|v| FixedAscii::from_ascii(&ascii(v.as_ref())).expect("short ASCII fits"))
        .collect();
    group.new_dataset_builder().with_data(&fixed).create(name)
}

/// In ASCII, so that `\u{b5}m` becomes `um` and not `m`.
fn ascii(value: &str) -> String {
    let mut written = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\0' => {}
            '\u{b5}' | '\u{3bc}' => written.push('u'),
            '\u{b0}' => written.push_str("deg"),
            '\u{c5}' | '\u{212b}' => written.push('A'),
            c => written.push(if c.is_ascii() { c } else { '?' }),
        }
    }
    written.truncate(255);
    written
}

fn text(value: &str) -> VarLenUnicode {
    value.replace('\0', "").parse().expect("no NUL is left")
}

/// A number as an attribute, where it is one.
pub(super) fn number(data: &Dataset, name: &str, value: f64) -> Result<()> {
    if value.is_nan() {
        return Ok(());
    }
    data.new_attr::<f64>().create(name)?.write_scalar(&value)
}

/// One string of any length.
pub(super) fn string(group: &Group, name: &str, value: &str) -> Result<()> {
    group.new_dataset::<VarLenUnicode>().create(name)?.write_scalar(&text(value))
}

/// Strings of any length.
pub(super) fn strings<S: AsRef<str>>(group: &Group, name: &str, values: &[S]) -> Result<()> {
    let values: Vec<VarLenUnicode> = values.iter().map(|v| text(v.as_ref())).collect();
    group.new_dataset_builder().with_data(&values).create(name).map(drop)
}

/// One number.
pub(super) fn scalar<T: H5Type>(group: &Group, name: &str, value: T) -> Result<Dataset> {
    let data = group.new_dataset::<T>().create(name)?;
    data.write_scalar(&value)?;
    Ok(data)
}

/// A string attribute.
pub(super) fn label(location: &Location, name: &str, value: &str) -> Result<()> {
    location.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&text(value))
}

/// A list of strings as attribute.
pub(super) fn labels(location: &Location, name: &str, values: &[&str]) -> Result<()> {
    let values: Vec<VarLenUnicode> = values.iter().map(|v| text(v)).collect();
    location.new_attr_builder().with_data(&values).create(name).map(drop)
}

/// A group with its NeXus class.
pub(super) fn group(parent: &Group, name: &str, class: &str) -> Result<Group> {
    let group = parent.create_group(name)?;
    label(&group, "NX_class", class)?;
    Ok(group)
}
