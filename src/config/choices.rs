//! Single choices of the user, as they are typed on a command line or in a configuration.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::kernels;
use crate::problem::{Background, Objective, Optimizer, Precision};
use crate::spelling::did_you_mean;

/// Parameters that MapsTorch's paper fits (`--free paper`).
pub const PAPER: [&str; 12] = [
    "COHERENT_SCT_ENERGY",
    "ENERGY_OFFSET",
    "ENERGY_SLOPE",
    "ENERGY_QUADRATIC",
    "COMPTON_ANGLE",
    "COMPTON_FWHM_CORR",
    "COMPTON_F_TAIL",
    "COMPTON_HI_F_TAIL",
    "FWHM_OFFSET",
    "FWHM_FANOPRIME",
    "F_TAIL_OFFSET",
    "KB_F_TAIL_OFFSET",
];

/// In place of elements: the first pass proposes them.
pub const PROPOSED: &str = "auto";

/// What the first pass finds beside [`PAPER`]: the summed spectrum tells how long the Compton peak's tail is.
pub const FIRST_PASS: [&str; 1] = ["COMPTON_GAMMA"];

/// Calibration and width of every pixel for itself (`--free four`).
pub const FOUR: [&str; 4] = ["ENERGY_OFFSET", "ENERGY_SLOPE", "FWHM_OFFSET", "FWHM_FANOPRIME"];

/// Parameters that are free when nobody says otherwise (`--free default`): what drifts in a scan.
pub const DEFAULT_FREE: [&str; 2] = ["ENERGY_OFFSET", "FWHM_SCALE"];

/// What the command line can say about a fit; `None` leaves it to the files and defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices {
    /// Components: `Si`, `Pb_L`, `Si_Cl`.
    pub elements: Option<Vec<String>>,
    /// Incident photon energy \[keV\].
    pub incident_kev: Option<f64>,
    /// Which shape parameters move.
    pub free: Option<Free>,
    /// What is minimised.
    pub objective: Option<Objective>,
    /// What minimises.
    pub optimizer: Option<Optimizer>,
    /// Steps of the optimiser.
    pub iterations: Option<usize>,
    /// Upper and detection limits too.
    pub limits: Option<bool>,
    /// What is added to the model.
    pub background: Option<Background>,
    /// Arithmetic of the fit.
    pub precision: Option<Precision>,
    /// Whose conventions hold where nothing else is said.
    pub compat: Option<Compat>,
    /// MAPS' `xrf_library.csv`.
    pub line_library: Option<PathBuf>,
    /// `henke.xdr`, when it is not beside the library.
    pub henke: Option<PathBuf>,
    /// Detector elements to fit.
    pub detector: Option<Detector>,
}

/// Another program whose conventions the defaults follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// XRF-Maps (43d4f29, 2026).
    XrfMaps,
    /// MapsTorch 0.0.2.
    Mapstorch,
}

/// Whether `map` calibrates on the summed spectrum before it fits pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FirstPass {
    /// It does.
    Run,
    /// The configured values are used as they are.
    Skip,
}

/// Where a pixel's free shapes have their priors from, beside those that parameters are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priors {
    /// How shapes scatter over the scan.
    Scan,
    /// They have none.
    None,
}

/// Where the fit's amplitudes start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// From a non-negative linear solve with the first-pass shapes.
    Solve,
    /// From one count each.
    Flat,
}

/// Name of a shape parameter that the model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ParameterName(usize);

impl ParameterName {
    /// Place among [`kernels::parameters`].
    pub fn index(self) -> usize {
        self.0
    }

    /// Parameters by name.
    ///
    /// # Panics
    ///
    /// When the model has no such parameter.
    pub fn known(names: &[&str]) -> Vec<Self> {
        names.iter().map(|n| n.parse().unwrap_or_else(|what| panic!("{what}"))).collect()
    }
}

impl FromStr for ParameterName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        kernels::parameter_index(name).map(Self).ok_or_else(|| {
            let near = did_you_mean(name, kernels::parameters().iter().map(|p| p.name));
            format!("the model has no parameter `{name}`{near}")
        })
    }
}

impl TryFrom<String> for ParameterName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<ParameterName> for String {
    fn from(name: ParameterName) -> String {
        name.to_string()
    }
}

impl fmt::Display for ParameterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(kernels::parameters()[self.0].name)
    }
}

/// Which shape parameters move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WordOrList", into = "WordOrList")]
pub enum Free {
    /// None: amplitudes alone.
    None,
    /// [`DEFAULT_FREE`], changed by the override file's `_FITTING` tags.
    Default,
    /// [`FOUR`].
    Four,
    /// [`PAPER`].
    Paper,
    /// These.
    List(Vec<ParameterName>),
}

impl FromStr for Free {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "default" => Ok(Self::Default),
            "four" => Ok(Self::Four),
            "paper" => Ok(Self::Paper),
            list => {
                let names = list.split(',').map(|name| name.trim().parse());
                names.collect::<Result<_, _>>().map(Self::List).map_err(|what| {
                    format!(
                        "{what}. Free can be none, default, four, paper or a list of parameters"
                    )
                })
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "`none`, `default`, `four`, `paper` or a list of parameter names")]
enum WordOrList {
    Word(String),
    List(Vec<String>),
}

impl TryFrom<WordOrList> for Free {
    type Error = String;

    fn try_from(given: WordOrList) -> Result<Self, String> {
        match given {
            WordOrList::Word(word) => word.parse(),
            WordOrList::List(names) => {
                names.iter().map(|n| n.parse()).collect::<Result<_, _>>().map(Self::List)
            }
        }
    }
}

impl From<Free> for WordOrList {
    fn from(free: Free) -> Self {
        match free {
            Free::None => Self::Word("none".into()),
            Free::Default => Self::Word("default".into()),
            Free::Four => Self::Word("four".into()),
            Free::Paper => Self::Word("paper".into()),
            Free::List(names) => Self::List(names.into_iter().map(String::from).collect()),
        }
    }
}

/// Which detector elements of a scan are fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WordOrNumber", into = "WordOrNumber")]
pub enum Detector {
    /// One, counted from 0.
    Index(usize),
    /// The sum of their counts, channel by channel.
    Sum,
    /// Each for itself.
    Each,
}

impl FromStr for Detector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sum" => Ok(Self::Sum),
            "each" => Ok(Self::Each),
            number => number
                .parse()
                .map(Self::Index)
                .map_err(|_| format!("`{number}` is no detector; give 0, 1, ..., sum or each")),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a detector number, `sum` or `each`")]
enum WordOrNumber {
    Number(usize),
    Word(String),
}

impl TryFrom<WordOrNumber> for Detector {
    type Error = String;

    fn try_from(given: WordOrNumber) -> Result<Self, String> {
        match given {
            WordOrNumber::Number(index) => Ok(Self::Index(index)),
            WordOrNumber::Word(word) => word.parse(),
        }
    }
}

impl From<Detector> for WordOrNumber {
    fn from(detector: Detector) -> Self {
        match detector {
            Detector::Index(index) => Self::Number(index),
            Detector::Sum => Self::Word("sum".into()),
            Detector::Each => Self::Word("each".into()),
        }
    }
}
