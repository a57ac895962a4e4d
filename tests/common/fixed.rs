//! A variable that a fit leaves alone.

use xrfit::problem::Variable;

pub fn fixed(start: f64) -> Variable {
    Variable { start, lower: -1e9, upper: 1e9, free: false, rate: 0.0, prior: None }
}
