//! How far spectra are apart.

/// The largest magnitude; NaN where any value is.
pub fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m: f64, v| if m.is_nan() || v.abs() <= m { m } else { v.abs() })
}

/// The largest difference of two spectra, channel by channel.
pub fn worst<'a>(ours: impl IntoIterator<Item = &'a f64>, golden: &[f64]) -> f64 {
    let ours: Vec<f64> = ours.into_iter().copied().collect();
    assert_eq!(ours.len(), golden.len(), "channels");
    largest(&ours.iter().zip(golden).map(|(a, b)| a - b).collect::<Vec<f64>>())
}
