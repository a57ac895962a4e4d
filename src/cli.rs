//! What the user may type; nothing about how it is done.

mod words;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::words::{
    BackgroundArg, CompatArg, ObjectiveArg, OptimizerArg, PrecisionArg, PriorArg, SpectraArg,
};
use crate::config::{Choices, Detector, Free};
use crate::engine;
use crate::regions::Span;

/// Fits X-ray fluorescence raster scans, pixel by pixel, into elemental maps.
///
/// Energies are in keV, times in seconds, amplitudes in net counts of an element's first line.
#[derive(Parser, Debug)]
#[command(
    name = "xrfit",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 the command line is wrong, 75 stopped by a signal (go on with `map --resume`)"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Fits every pixel of a scan and writes elemental maps.
    Map(MapArgs),
    /// Finds calibration and peak shapes from the summed spectrum of a scan.
    ///
    /// From an element list and the incident energy it finds gains up to 20 % and offsets up to 0.2 keV off, and peaks
    /// twice or half as wide. Adam fits the sum on the CPU, in f64 at the end. --optimizer, --iterations and --precision are for the pixels: they go into the
    /// configuration that is written. Without --output and --override-out it is printed.
    Calibrate(CalibrateArgs),
    /// Fits the summed spectra of regions of a scan, from a mask or of rectangles.
    ///
    /// Everything but the regions is as with `map`: the first pass is that of the whole scan, and each sum is fitted
    /// from its shapes as a pixel is. Pixels with a count that is negative, saturated or no number are left out.
    Regions(RegionsArgs),
    /// Evaluates the forward model: energy axis, each component, sum, objective, gradient.
    ///
    /// The case is a TOML file. It must have `channels = [first, last]` (the window, counted from 0) and
    /// `[amplitudes]` in log10 counts by component (Fe, Pb_L, COHERENT_SCT_AMPLITUDE, COMPTON_AMPLITUDE), and may
    /// have `[parameters]` by MAPS name, `observed = "FILE.npy"`, `background = "snip"` or `"none"`, `objective`, `weights`,
    /// `line_table = "FILE.npz"` (in place of the built-in lines), and from the configuration `compat`,
    /// `incident_kev`, `line_library`, `henke`, `[model]`, `[snip]` and `[branching]`.
    Spectrum(SpectrumArgs),
    /// Writes a scan whose true maps are known, in /truth.
    Simulate(SimulateArgs),
    /// Compares the maps of a simulated scan with its truth: bias, scatter over the Cramér-Rao bound, pulls.
    ///
    /// The bound is the least standard deviation that an unbiased estimate from Poisson counts can have, with the
    /// amplitudes, the shape parameters that were free in the fit and the strength of the true background unknown.
    /// Strong lines have at least 20 counts and a bound of at most half of them, weak ones 1 to 20 counts. Bias and
    /// RMSE in units of the bound are taken pixel by pixel; an estimate below 0.001 counts is a zero.
    Score(ScoreArgs),
    /// Says what is in a file, what is missing, and what it can be used for.
    Inspect(InspectArgs),
    /// Prints the configuration with every default filled in.
    Check(CheckArgs),
    /// Lists what this machine offers: instruction set, CUDA devices, their compiler, MPI, HDF5.
    Devices,
}

/// What is fitted and how: shared by the commands that fit.
#[derive(Args, Debug, Clone)]
pub struct FitArgs {
    /// Configuration file (TOML); a detector N takes FILEN where that is there.
    #[arg(long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,
    /// MAPS override file; a detector N takes FILEN where that is there [default:
    /// maps_fit_parameters_override.txt beside the scan or in the folder above, unless there is --config or
    /// --elements].
    #[arg(long = "override", value_name = "FILE")]
    pub override_file: Option<PathBuf>,
    /// Line data: a MAPS xrf_library.csv, with henke.xdr beside it [default: built in].
    #[arg(long, value_name = "CSV")]
    pub line_library: Option<PathBuf>,
    /// Elements to fit: Fe (K lines), Pb_L, Pb_M, pile-ups as Si_Cl; auto: the first pass proposes what the summed
    /// spectrum shows, and says what speaks for each.
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    pub elements: Option<Vec<String>>,
    /// Incident photon energy in keV.
    #[arg(long, value_name = "KEV")]
    pub incident_kev: Option<f64>,
    /// Detector: 0, 1, ..., sum (of their counts) or each (by itself) [default: each].
    #[arg(long)]
    pub detector: Option<Detector>,
    /// Shape parameters that move: none, default (the energy axis's offset and all widths together), four (its offset
    /// and slope, both widths), paper (MapsTorch's twelve) or a list of MAPS names [default: default; in the first pass:
    /// paper and COMPTON_GAMMA].
    #[arg(long, value_name = "SET")]
    pub free: Option<Free>,
    /// What is minimised [default: poisson].
    #[arg(long)]
    pub objective: Option<ObjectiveArg>,
    /// What minimises [default: newton].
    #[arg(long)]
    pub optimizer: Option<OptimizerArg>,
    /// Most steps of the optimiser; Newton ends long before [default: 500].
    #[arg(long, value_name = "N")]
    pub iterations: Option<usize>,
    /// Maps of upper limits and detection limits too, of a likelihood.
    #[arg(long)]
    pub limits: bool,
    /// What is subtracted [default: pooled].
    #[arg(long)]
    pub background: Option<BackgroundArg>,
    /// Arithmetic of the channel loops [default: f32].
    #[arg(long)]
    pub precision: Option<PrecisionArg>,
    /// Follow the conventions of another program [default: none].
    #[arg(long)]
    pub compat: Option<CompatArg>,
}

impl FitArgs {
    /// Nothing was said about what to fit: an override file beside the scan may.
    pub fn says_nothing(&self) -> bool {
        self.override_file.is_none() && self.config.is_none() && self.elements.is_none()
    }

    /// What was typed, for the configuration.
    pub fn choices(&self) -> Choices {
        Choices {
            elements: self.elements.clone(),
            incident_kev: self.incident_kev,
            free: self.free.clone(),
            objective: self.objective.map(Into::into),
            optimizer: self.optimizer.map(Into::into),
            iterations: self.iterations,
            limits: self.limits.then_some(true),
            background: self.background.map(Into::into),
            precision: self.precision.map(Into::into),
            compat: self.compat.map(Into::into),
            line_library: self.line_library.clone(),
            henke: None,
            detector: self.detector,
        }
    }
}

/// How the work is done: none of it changes a result.
#[derive(Args, Debug, Clone)]
pub struct WorkArgs {
    /// What computes [default: the best there is].
    #[arg(long, value_enum, default_value = "auto", hide_default_value = true)]
    pub engine: engine::Choice,
    /// Threads per rank [default: the machine's cores shared by its ranks].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Pixels per tile: bounds the memory of a rank [default: by scan size and ranks, at most 4096].
    #[arg(long, value_name = "N")]
    pub tile_pixels: Option<usize>,
    /// Do not lock HDF5 files (parallel file systems without flock).
    #[arg(long)]
    pub no_file_locking: bool,
    /// Give up on a rank that has not answered for so long, with a tile in hand.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub rank_timeout: u64,
}

/// `xrfit map`.
#[derive(Args, Debug, Clone)]
pub struct MapArgs {
    /// Scan: EPICS MDA, MAPS_RAW or analysed MAPS HDF5.
    pub scan: PathBuf,
    /// Map file to write (HDF5); several detectors: FILE0, FILE1, ... and their sum in FILE.
    #[arg(short, long, value_name = "OUT.h5")]
    pub output: PathBuf,
    /// Spectra in the map file [default: link if the scan has them in HDF5 as MAPS does, else copy up to 256 MB, else none].
    #[arg(long)]
    pub spectra: Option<SpectraArg>,
    /// Also draw the maps: one picture per component and overview.png, in this folder.
    #[arg(long, value_name = "FOLDER")]
    pub png: Option<PathBuf>,
    /// Replace existing output, and begin anew where a run did not end.
    #[arg(long, conflicts_with = "resume")]
    pub overwrite: bool,
    /// Go on with a run that did not end, with any number of ranks and threads; without one begin, and where the map
    /// file is there be content.
    #[arg(long)]
    pub resume: bool,
    /// Go on also with another engine, precision or version of xrfit than that run had; the map file then says which
    /// pixels have which.
    #[arg(long, requires = "resume")]
    pub other_engine: bool,
    /// What is fitted and how.
    #[command(flatten)]
    pub fit: FitArgs,
    /// How the work is done.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// `xrfit calibrate`.
#[derive(Args, Debug, Clone)]
pub struct CalibrateArgs {
    /// Scan: EPICS MDA, MAPS_RAW or analysed MAPS HDF5.
    pub scan: PathBuf,
    /// Starts of the fit: the configured values, the best of two coarse searches (gains 25 % and offsets 0.2 keV around
    /// them, peak widths from half to twice theirs; at most 8), then random ones; 1: the configured values alone.
    #[arg(long, default_value_t = 9, value_name = "N")]
    pub starts: usize,
    /// Seed of the random starts.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Configuration file to write; several detectors: FILE0, FILE1, ...
    #[arg(short, long, value_name = "FIT.toml")]
    pub output: Option<PathBuf>,
    /// Override file to write (maps_fit_parameters_override.txt); several detectors: FILE0, FILE1, ...
    #[arg(long, value_name = "FILE")]
    pub override_out: Option<PathBuf>,
    /// Replace existing output.
    #[arg(long)]
    pub overwrite: bool,
    /// What is fitted and how.
    #[command(flatten)]
    pub fit: FitArgs,
    /// How the work is done.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// `xrfit regions`.
#[derive(Args, Debug, Clone)]
pub struct RegionsArgs {
    /// Scan: EPICS MDA, MAPS_RAW or analysed MAPS HDF5.
    pub scan: PathBuf,
    /// File to write (HDF5); several detectors: FILE0, FILE1, ...
    #[arg(short, long, value_name = "OUT.h5")]
    pub output: PathBuf,
    /// Mask with a whole number for each pixel, [row, col]: 0 outside, 1, 2, ... in the regions; true is 1. FILE.npy,
    /// FILE.h5:/path/of/dataset, or FILE.png in grey, where a single grey beside black is region 1.
    #[arg(long, value_name = "FILE", required_unless_present = "rows", conflicts_with_all = ["rows", "cols"])]
    pub mask: Option<PathBuf>,
    /// Rows of a rectangle, from a to before b, counted from 0 as in NumPy; `a:`, `:b` and `:` reach to the ends. Once
    /// for each rectangle, and rectangles may overlap.
    #[arg(long, value_name = "a:b", requires = "cols", allow_hyphen_values = true)]
    pub rows: Vec<Span>,
    /// Its columns, alike.
    #[arg(long, value_name = "c:d", requires = "rows", allow_hyphen_values = true)]
    pub cols: Vec<Span>,
    /// Name of a region, once for each in their order [default: region1, region2, ...].
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// Replace existing output.
    #[arg(long)]
    pub overwrite: bool,
    /// What is fitted and how.
    #[command(flatten)]
    pub fit: FitArgs,
    /// How the work is done.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// `xrfit spectrum`.
#[derive(Args, Debug, Clone)]
pub struct SpectrumArgs {
    /// Case of the forward model (TOML).
    #[arg(value_name = "CASE.toml")]
    pub case: PathBuf,
    /// HDF5 file to write.
    #[arg(short, long, value_name = "OUT.h5")]
    pub output: PathBuf,
    /// Spectrum to compare with: all channels from 0 on, one-dimensional [default: the case's `observed`].
    #[arg(long, value_name = "FILE.npy")]
    pub observed: Option<PathBuf>,
    /// Write the objective's gradient too.
    #[arg(long)]
    pub gradient: bool,
    /// Arithmetic of the channel loops [default: f64].
    #[arg(long)]
    pub precision: Option<PrecisionArg>,
    /// What computes [default: the best there is].
    #[arg(long, value_enum, default_value = "auto", hide_default_value = true)]
    pub engine: engine::Choice,
    /// Replace existing output.
    #[arg(long)]
    pub overwrite: bool,
}

/// `xrfit simulate`.
#[derive(Args, Debug, Clone)]
pub struct SimulateArgs {
    /// Scan to write (MAPS_RAW HDF5).
    #[arg(short, long, value_name = "SCAN.h5")]
    pub output: PathBuf,
    /// Rows.
    #[arg(long, default_value_t = 60)]
    pub rows: usize,
    /// Columns.
    #[arg(long, default_value_t = 80)]
    pub cols: usize,
    /// Channels of a spectrum.
    #[arg(long, default_value_t = 2048)]
    pub channels: usize,
    /// Mean counts of a pixel; several, as 300,1000,10000: bands of rows, the first above.
    #[arg(long, value_delimiter = ',', default_values_t = [3000.0])]
    pub counts: Vec<f64>,
    /// The same amplitudes in every pixel of a level, without structures.
    #[arg(long)]
    pub flat: bool,
    /// Detectors, which differ a little in gain, offset, width and solid angle (1 to 26).
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub detectors: usize,
    /// Relative error of the line data that fits know: the scan's line ratios scatter by it, and a step of up to a
    /// tenth of it is below each line (0 to 1).
    #[arg(long, value_name = "SIZE", default_value_t = 0.0)]
    pub model_error: f64,
    /// Seed.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Replace existing output.
    #[arg(long)]
    pub overwrite: bool,
}

/// `xrfit score`.
#[derive(Args, Debug, Clone)]
pub struct ScoreArgs {
    /// Map file of the simulated scan; of several detectors that of one.
    #[arg(value_name = "MAPS.h5")]
    pub maps: PathBuf,
    /// The simulated scan.
    #[arg(long, value_name = "SCAN.h5")]
    pub truth: PathBuf,
    /// Detector of the truth [default: N of a map file in MAPS.h5N, else the only one].
    #[arg(long, value_name = "N")]
    pub detector: Option<usize>,
    /// Standard deviation of a Gaussian prior on a free shape parameter, which the bound then takes into account
    /// [default: the fit's].
    #[arg(long, value_name = "NAME=SIGMA")]
    pub prior: Vec<PriorArg>,
    /// Score the counts that may be below 0, which are to be averaged, in place of those that may not.
    #[arg(long)]
    pub signed: bool,
    /// Write the table to a file too, FILE.csv or FILE.json.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace existing output.
    #[arg(long)]
    pub overwrite: bool,
    /// Threads [default: the machine's cores].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// `xrfit inspect`.
#[derive(Args, Debug, Clone)]
pub struct InspectArgs {
    /// Scan or map file.
    pub file: PathBuf,
    /// Do not lock HDF5 files.
    #[arg(long)]
    pub no_file_locking: bool,
}

/// `xrfit check`.
#[derive(Args, Debug, Clone)]
pub struct CheckArgs {
    /// What is fitted and how.
    #[command(flatten)]
    pub fit: FitArgs,
}
