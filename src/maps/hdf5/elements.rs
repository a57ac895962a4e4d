//! A map for each component that a viewer opens with a click: NeXus NXdata groups.
//!
//! Their images are virtual datasets, views of the component's plane of `Counts_Per_Sec`, so nothing is
//! stored twice.

use hdf5::{Dataset, Group, Result, Selection};
use ndarray::{Array3, s};

use super::put;
use crate::maps::MapFile;

/// Writes the group `Maps`; `values` is the beginning of the stack `[.., row, col]` at the path `stack`.
pub(super) fn write(
    parent: &Group,
    content: &MapFile,
    values: &Array3<f32>,
    (stack, unit): (&Dataset, &str),
) -> Result<()> {
    let group = put::group(parent, "Maps", "NXcollection")?;
    axes(&group, content)?;
    let (_, rows, cols) = values.dim();
    let extents = stack.shape();
    for (i, name) in content.maps.components.iter().enumerate() {
        let element = put::group(&group, name, "NXdata")?;
        let image = element
            .new_dataset::<f32>()
            .virtual_map(
                ".",
                stack.name(),
                extents.clone(),
                Selection::try_new(s![i..=i, .., ..])?,
                [rows, cols],
                Selection::try_new(s![.., ..])?,
            )
            .fill_value(f32::NAN)
            .shape([rows, cols])
            .create("map")?;
        put::label(&image, "units", unit)?;
        put::label(&image, "long_name", &format!("{name} [{unit}]"))?;
        for axis in ["y", "x"] {
            group.link_hard(axis, &format!("{name}/{axis}"))?;
        }
        put::label(&element, "signal", "map")?;
        put::labels(&element, "axes", &["y", "x"])?;
        put::label(&element, "title", name)?;
    }
    strongest(content, values).map_or(Ok(()), |name| put::label(&group, "default", name))
}

/// Positions of the rows and columns, with the unit that was recorded.
fn axes(group: &Group, content: &MapFile) -> Result<()> {
    let axes = &content.axes;
    for (axis, values, unit) in
        [("y", axes.y.column(0), &axes.y_unit), ("x", axes.x.row(0), &axes.x_unit)]
    {
        let data = put::array(group, axis, &values.to_owned())?;
        put::label(&data, "units", unit)?;
        let pixels = || format!("{axis} [pixel]");
        let name = if unit.is_empty() { pixels() } else { format!("{axis} [{unit}]") };
        put::label(&data, "long_name", &name)?;
    }
    Ok(())
}

/// The element with the most counts: what a viewer shows first.
fn strongest<'a>(content: &'a MapFile, values: &Array3<f32>) -> Option<&'a str> {
    let total = |map: ndarray::ArrayView2<'_, f32>| -> f64 {
        map.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v)).sum()
    };
    let named = content.maps.components.iter().zip(values.outer_iter());
    named
        .map(|(name, map)| (!name.ends_with("_AMPLITUDE"), total(map), name))
        .max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))
        .map(|(_, _, name)| name.as_str())
}
