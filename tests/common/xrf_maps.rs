//! What XRF-Maps stored about a scan, and the problem that follows its conventions.
#![allow(dead_code, reason = "each test uses its part")]

use std::path::{Path, PathBuf};

use hdf5::types::FixedAscii;
use ndarray::{Array2, Array3, Axis};
use xrfit::config::{Choices, Compat, Free, ParameterName, Settings, Sources};
use xrfit::problem::{Objective, Optimizer, Problem};

use crate::common::shared;

/// A file of `data/xrfmaps_out`.
pub struct Stored(hdf5::File);

/// Maps of one of XRF-Maps' routines.
pub struct Analysis {
    /// Names of the components, scatter included.
    pub names: Vec<String>,
    /// As stored, `[component, row, col]` \[1/s\].
    pub rates: Array3<f64>,
    /// Net counts in each first line: rates times XRF-Maps' live time, `[component, row, col]`.
    pub counts: Array3<f64>,
    /// Sum of the fitted spectra, `[channel]` \[counts\].
    pub fitted: Vec<f64>,
    /// Sum of the backgrounds, `[channel]` \[counts\].
    pub background: Vec<f64>,
}

impl Stored {
    /// `None` where the data are absent.
    pub fn open(scan: &str) -> Option<Self> {
        let path = shared(&format!("data/xrfmaps_out/{scan}.mda.h50"))?;
        Some(Self(hdf5::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))))
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        self.dataset(name).read_raw().unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn dataset(&self, name: &str) -> hdf5::Dataset {
        self.0.dataset(name).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Spectra as XRF-Maps had them, `[pixels, channels]` \[counts\].
    pub fn spectra(&self) -> Array2<f32> {
        let data: Array3<f32> =
            self.dataset("MAPS/Spectra/mca_arr").read().unwrap_or_else(|e| panic!("mca_arr: {e}"));
        let (channels, rows, cols) = data.dim();
        let flat = data.into_shape_with_order((channels, rows * cols)).expect("a cuboid");
        flat.t().as_standard_layout().into_owned()
    }

    /// The maps of `routine`: `NNLS`, `SVD` or `Fitted`.
    pub fn analysis(&self, routine: &str) -> Analysis {
        let group = format!("MAPS/XRF_Analyzed/{routine}");
        let names: Vec<FixedAscii<256>> = self
            .dataset(&format!("{group}/Channel_Names"))
            .read_raw()
            .unwrap_or_else(|e| panic!("{group}: {e}"));
        let names = names.iter().map(|n| n.as_str().trim().to_string());
        let maps = self.dataset(&format!("{group}/Counts_Per_Sec"));
        let rates: Array3<f64> = maps.read().unwrap_or_else(|e| panic!("{group}: {e}"));
        let times = self.dataset("MAPS/Spectra/Elapsed_Livetime");
        let times: Array2<f64> = times.read().unwrap_or_else(|e| panic!("live time: {e}"));
        let (indices, names): (Vec<usize>, Vec<String>) =
            names.enumerate().filter(|(_, name)| !NO_COMPONENTS.contains(&name.as_str())).unzip();
        let rates = rates.select(Axis(0), &indices);
        Analysis {
            names,
            counts: &rates * &times,
            rates,
            fitted: self.numbers(&format!("{group}/Fitted_Integrated_Spectra")),
            background: self.numbers(&format!("{group}/FIT_Integrated_Background")),
        }
    }
}

/// Maps that XRF-Maps adds to those of the components.
const NO_COMPONENTS: [&str; 4] =
    ["Sum_Elastic_Inelastic", "Total_Fluorescence_Yield", "Fit_Residual", "Num_Iter"];

/// The override file and the line library that all stored files were made with.
pub fn inputs() -> Option<[PathBuf; 2]> {
    Some([
        shared("data/aps_2ide/maps_fit_parameters_override_optimised.txt")?,
        shared("data/aps_2ide/xrf_library.csv")?,
    ])
}

/// Amplitudes alone, under XRF-Maps' conventions.
pub fn problem(channels: usize) -> Option<Problem> {
    let [override_file, line_library] = inputs()?;
    let choices =
        Choices { free: Some(Free::None), optimizer: Some(Optimizer::Nnls), ..Choices::default() };
    Some(resolved(channels, &override_file, line_library, choices))
}

/// Newton on XRF-Maps' weighted squares with these shapes free, from the override file as it was shipped.
pub fn shipped(channels: usize, free: &[&str]) -> Option<Problem> {
    let [_, line_library] = inputs()?;
    let override_file = shared("data/aps_2ide/maps_fit_parameters_override.txt")?;
    let choices = Choices {
        free: Some(Free::List(ParameterName::known(free))),
        objective: Some(Objective::Chi2),
        optimizer: Some(Optimizer::Newton),
        ..Choices::default()
    };
    Some(resolved(channels, &override_file, line_library, choices))
}

fn resolved(
    channels: usize,
    override_file: &Path,
    line_library: PathBuf,
    choices: Choices,
) -> Problem {
    let choices =
        Choices { compat: Some(Compat::XrfMaps), line_library: Some(line_library), ..choices };
    let sources = Sources {
        config: None,
        override_file: Some(override_file),
        choices: &choices,
        scan_incident_kev: None,
    };
    let settings = Settings::resolve(&sources).unwrap_or_else(|e| panic!("{e}")).settings;
    settings.problem(channels).unwrap_or_else(|e| panic!("{e}"))
}
