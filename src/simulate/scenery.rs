//! What a simulated scan shows: how much of each element where, and the continuum.

use ndarray::Array1;

/// Element, share of the counts, and structure.
const ELEMENTS: [(&str, f64, Structure); 15] = [
    ("Si", 0.05, Structure::Uniform),
    ("P", 0.01, Structure::Cells),
    ("S", 0.02, Structure::Cells),
    ("Cl", 0.02, Structure::Cells),
    ("Ar", 0.10, Structure::Uniform),
    ("K", 0.05, Structure::Cells),
    ("Ca", 0.15, Structure::Veins),
    ("Ti", 0.03, Structure::Gradient),
    ("Cr", 0.01, Structure::Spots),
    ("Mn", 0.01, Structure::Veins),
    ("Fe", 0.15, Structure::Gradient),
    ("Co", 0.005, Structure::Spots),
    ("Ni", 0.01, Structure::Spots),
    ("Cu", 0.06, Structure::Cells),
    ("Zn", 0.03, Structure::Spots),
];

/// Shares of elastic and Compton scatter, and of the continuum.
const ELASTIC: f64 = 0.05;
const COMPTON: f64 = 0.15;
const CONTINUUM: f64 = 0.10;

#[derive(Clone, Copy)]
pub(super) enum Structure {
    Uniform,
    Gradient,
    Cells,
    Veins,
    Spots,
}

impl Structure {
    /// Relative strength at a place in the unit square, near 1 on average.
    pub(super) fn at(self, y: f64, x: f64) -> f64 {
        let wave = |f: f64, p: f64| (std::f64::consts::TAU * f + p).sin();
        match self {
            Structure::Uniform => 1.0,
            Structure::Gradient => 0.4 + 0.6 * (x + y),
            Structure::Cells => 0.2 + 1.6 * (0.5 + 0.5 * wave(3.0 * x, 0.3) * wave(2.0 * y, 1.1)),
            Structure::Veins => 0.3 + 3.0 * (-20.0 * (y - 0.5 - 0.2 * wave(x, 0.0)).powi(2)).exp(),
            Structure::Spots => {
                let spot =
                    |cy: f64, cx: f64| (-((y - cy).powi(2) + (x - cx).powi(2)) / 0.004).exp();
                0.1 + 12.0 * (spot(0.25, 0.3) + spot(0.6, 0.75) + spot(0.8, 0.2))
            }
        }
    }
}

/// Share of the counts and structure of a component.
pub(super) fn share(component: &str) -> (f64, Structure) {
    match component {
        "COHERENT_SCT_AMPLITUDE" => (ELASTIC, Structure::Uniform),
        "COMPTON_AMPLITUDE" => (COMPTON, Structure::Uniform),
        _ => ELEMENTS
            .iter()
            .find(|e| e.0 == component)
            .map_or((0.0, Structure::Uniform), |e| (e.1, e.2)),
    }
}

/// Names of the elements.
pub(super) fn elements() -> Vec<String> {
    ELEMENTS.iter().map(|e| e.0.to_string()).collect()
}

/// A smooth continuum, falling with energy, in a spectrum of `counts` counts.
pub(super) fn continuum(channels: usize, counts: f64) -> Array1<f64> {
    let shape: Array1<f64> =
        (0..channels).map(|c| (-(c as f64) / (0.25 * channels as f64)).exp()).collect();
    let sum = shape.sum();
    shape * (CONTINUUM * counts / sum)
}
