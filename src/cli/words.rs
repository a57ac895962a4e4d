//! Words that an option takes, and what they stand for.

use std::str::FromStr;

use clap::ValueEnum;

use crate::config::{Compat, ParameterName};
use crate::maps::SpectraPolicy;
use crate::problem::{Background, Objective, Optimizer, Precision};

macro_rules! value_enum {
    ($(#[$doc:meta])* $name:ident for $target:ty { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, ValueEnum)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }
        impl From<$name> for $target {
            fn from(typed: $name) -> Self {
                match typed { $($name::$variant => Self::$variant),+ }
            }
        }
    };
}

value_enum! {
    /// `--objective`.
    ObjectiveArg for Objective {
        /// Mean squared error.
        Mse,
        /// Poisson deviance: right for few counts.
        Poisson,
        /// Squares with the weights of fit.weights.
        Chi2,
    }
}
value_enum! {
    /// `--optimizer`.
    OptimizerArg for Optimizer {
        /// Adam on shapes and log10 amplitudes.
        Adam,
        /// Amplitudes alone, non-negative linear least squares.
        Nnls,
        /// Newton on shapes and non-negative amplitudes, to the end in a few steps.
        Newton,
    }
}
value_enum! {
    /// `--background`.
    BackgroundArg for Background {
        /// Splines, found in the sum of all spectra with its lines, times a factor of each pixel.
        Pooled,
        /// The same with SNIP of the sum.
        SnipSum,
        /// SNIP of each spectrum, frozen during its fit.
        Snip,
        /// None.
        None,
    }
}
value_enum! {
    /// `--precision`.
    PrecisionArg for Precision {
        /// Single precision.
        F32,
        /// Double precision, the reference.
        F64,
    }
}
value_enum! {
    /// `--compat`.
    CompatArg for Compat {
        /// XRF-Maps (needs --line-library).
        XrfMaps,
        /// MapsTorch 0.0.2.
        Mapstorch,
    }
}

value_enum! {
    /// `--spectra`.
    SpectraArg for SpectraPolicy {
        /// A link to the scan's own dataset.
        Link,
        /// A copy of the counts.
        Copy,
        /// Nothing but the summed spectrum.
        None,
    }
}

/// `--prior`: a shape parameter and its standard deviation.
#[derive(Clone, Copy, Debug)]
pub struct PriorArg {
    /// The parameter.
    pub parameter: ParameterName,
    /// Its standard deviation, in the parameter's unit.
    pub sigma: f64,
}

impl FromStr for PriorArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, sigma) =
            text.split_once('=').ok_or("write NAME=SIGMA, e.g. ENERGY_OFFSET=0.005")?;
        let sigma = sigma.parse().ok().filter(|sigma: &f64| sigma.is_finite() && *sigma > 0.0);
        let sigma = sigma.ok_or("a standard deviation is a number above 0")?;
        Ok(Self { parameter: name.parse()?, sigma })
    }
}
