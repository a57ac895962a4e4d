//! The kernels as code for a device: compiled by NVRTC when they are first needed and kept on disk, or made ahead
//! of time.
//!
//! An image is looked for in this order: the file that `XRFIT_KERNELS` names; NVRTC, with what it made before in the
//! disk cache; the image that is installed beside the program. The sources travel in the program.

mod cache;
mod nvrtc;
mod places;

use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::problem::Precision;
use nvrtc::Nvrtc;

/// Who works on a spectrum; `kernels/device_teams.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Team {
    /// A warp.
    Warp,
    /// A block of four warps.
    Block,
}

/// Which of the kernels' variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// The team.
    pub team: Team,
    /// The scalar of the loops over channels.
    pub precision: Precision,
}

impl Kind {
    /// How the names of its entry points end: `warp_f32`, ...
    pub fn suffix(self) -> &'static str {
        match (self.team, self.precision) {
            (Team::Warp, Precision::F32) => "warp_f32",
            (Team::Warp, Precision::F64) => "warp_f64",
            (Team::Block, Precision::F32) => "block_f32",
            (Team::Block, Precision::F64) => "block_f64",
        }
    }

    /// Options that choose it in `kernels/fit.cu`.
    fn options(self) -> [String; 3] {
        let team = match self.team {
            Team::Warp => "Warp",
            Team::Block => "Block",
        };
        let scalar = match self.precision {
            Precision::F32 => "float",
            Precision::F64 => "double",
        };
        [
            format!("-DXRF_KIND={}", self.suffix()),
            format!("-DXRF_TEAM={team}"),
            format!("-DXRF_SCALAR={scalar}"),
        ]
    }
}

/// What a device needs.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The variant.
    pub kind: Kind,
    /// Compute capability: (9, 0).
    pub capability: (i32, i32),
    /// CUDA version that the driver supports: 12080 is 12.8. 0 when nobody will load the image.
    pub driver: i32,
    /// Macros of the kernels: `XRF_N_LINES=40`.
    pub defines: &'a [String],
}

/// Code for a device.
#[derive(Clone, Debug)]
pub struct Image {
    /// Cubin, fatbin, or PTX with its final NUL.
    pub bytes: Vec<u8>,
    /// Where it comes from, for the log and the result file: `NVRTC 12.9, sm_90, cached`.
    pub origin: String,
}

/// What the compiler makes of the kernels.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Cubin, or PTX with its final NUL for a device that this NVRTC does not know.
    pub image: Vec<u8>,
    /// The same as PTX.
    pub ptx: String,
    /// What the compiler says: warnings, and what options asked for.
    pub log: String,
}

macro_rules! sources {
    ($($name:literal),*) => { [$(($name, include_str!(concat!("../../../kernels/", $name)))),*] };
}

/// The entry points.
const ENTRIES: (&str, &str) = ("fit.cu", include_str!("../../../kernels/fit.cu"));

/// All that they include.
const HEADERS: [(&str, &str); 33] = sources![
    "abi.h",
    "adam.cuh",
    "box.cuh",
    "cholesky.cuh",
    "columns.cuh",
    "device_teams.cuh",
    "elements.cuh",
    "errors.cuh",
    "escape.cuh",
    "fit_spectrum.cuh",
    "fit_tile.cuh",
    "shared.cuh",
    "jacobian.cuh",
    "limits.cuh",
    "lineshape.cuh",
    "model.cuh",
    "newton.cuh",
    "normal.cuh",
    "objective.cuh",
    "parameters.cuh",
    "passes_device.cuh",
    "passes_thread.cuh",
    "peak_parts.cuh",
    "peaks.cuh",
    "portable.cuh",
    "priors.cuh",
    "scatter.cuh",
    "snip.cuh",
    "special.cuh",
    "team.cuh",
    "terms.cuh",
    "tile.h",
    "workspace.cuh"
];

/// The image of a device.
///
/// # Errors
///
/// When there is neither an image nor an NVRTC for it, or NVRTC refuses the kernels; the message says what is
/// missing and what to do.
pub fn image(wanted: &Wanted) -> Result<Image> {
    if let Some(path) = named() {
        return made_ahead(&path);
    }
    let why = match compiler(wanted).and_then(|nvrtc| cached(&nvrtc, wanted)) {
        Ok(image) => return Ok(image),
        Err(why) => why,
    };
    let Some(path) = installed() else { return Err(why) };
    log::debug!("{} is used: {why}", path.display());
    made_ahead(&path)
}

/// Can there be an image for a device? Compiles nothing.
///
/// # Errors
///
/// What is missing, and what to do.
pub fn available(capability: (i32, i32), driver: i32) -> Result<()> {
    let kind = Kind { team: Team::Warp, precision: Precision::F32 };
    match ahead_of_time() {
        Some(_) => Ok(()),
        None => compiler(&Wanted { kind, capability, driver, defines: &[] }).map(drop),
    }
}

fn compiler(wanted: &Wanted) -> Result<Nvrtc> {
    Nvrtc::find(Some(wanted)).map_err(|missing| {
        Error::Engine(format!(
            "{missing} (the GPU's code is compiled when a fit starts); load a CUDA module, or pip install \
             nvidia-cuda-nvrtc-cu12 and name its folder in XRFIT_NVRTC, or name an image made ahead of time in \
             XRFIT_KERNELS"
        ))
    })
}

/// Compiles without the cache, with further options of NVRTC.
///
/// # Errors
///
/// When there is no NVRTC for the device, or it refuses the kernels.
pub fn compile(wanted: &Wanted, further: &[&str]) -> Result<Compiled> {
    let nvrtc = Nvrtc::find(Some(wanted)).map_err(Error::Engine)?;
    let further = further.iter().map(|option| (*option).to_string());
    nvrtc.compile(ENTRIES, &HEADERS, &options(&nvrtc, wanted, further)).map_err(Error::Engine)
}

/// NVRTC's version in words, or why there is none.
///
/// # Errors
///
/// When there is none.
pub fn nvrtc() -> Result<String> {
    Nvrtc::find(None).map(|nvrtc| nvrtc.describe()).map_err(Error::Engine)
}

/// The image made ahead of time that would be used, if there is one: it comes before NVRTC where `XRFIT_KERNELS` names
/// it, and after it where it is installed beside the program.
pub fn ahead_of_time() -> Option<PathBuf> {
    named().or_else(installed)
}

fn named() -> Option<PathBuf> {
    std::env::var_os("XRFIT_KERNELS").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// From the disk cache, or compiled and put there.
fn cached(nvrtc: &Nvrtc, wanted: &Wanted) -> Result<Image> {
    let options = options(nvrtc, wanted, []);
    let key = key(nvrtc, wanted, &options);
    let origin = format!("{}, {}", nvrtc.name(), nvrtc.target(wanted.capability));
    if let Some(bytes) = cache::read(&key) {
        return Ok(Image { bytes, origin: format!("{origin}, cached") });
    }
    let began = Instant::now();
    let compiled = nvrtc.compile(ENTRIES, &HEADERS, &options).map_err(Error::Engine)?;
    let seconds = began.elapsed().as_secs_f64();
    log::info!("compiled the kernels {} in {seconds:.1} s: {origin}", wanted.kind.suffix());
    if !compiled.log.is_empty() {
        log::debug!("the compiler says: {}", compiled.log);
    }
    cache::write(&key, &compiled.image);
    Ok(Image { bytes: compiled.image, origin })
}

fn options(
    nvrtc: &Nvrtc,
    wanted: &Wanted,
    further: impl IntoIterator<Item = String>,
) -> Vec<String> {
    let defines = wanted.defines.iter().map(|define| format!("-D{define}"));
    let target = nvrtc.target(wanted.capability).option();
    ["--std=c++17", "--ftz=true", "--prec-div=false", "--prec-sqrt=false"]
        .map(String::from)
        .into_iter()
        .chain(wanted.kind.options())
        .chain(defines)
        .chain([target])
        .chain(further)
        .collect()
}

/// Names what the image depends on.
fn key(nvrtc: &Nvrtc, wanted: &Wanted, options: &[String]) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    for (name, text) in [ENTRIES].iter().chain(&HEADERS) {
        add(name);
        add(text);
    }
    options.iter().for_each(|option| add(option));
    add(&nvrtc.name());
    add(&format!("{:?} {}", wanted.capability, wanted.driver));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An image that somebody compiled before.
fn made_ahead(path: &Path) -> Result<Image> {
    let mut bytes = std::fs::read(path).map_err(|e| {
        Error::Engine(format!(
            "{}: {e} (the GPU's code was to come from it); name another file in XRFIT_KERNELS, or unset it",
            path.display()
        ))
    })?;
    const CUBIN: &[u8] = b"\x7fELF";
    const FATBIN: &[u8] = b"\x50\xed\x55\xba";
    let binary = bytes.starts_with(CUBIN) || bytes.starts_with(FATBIN);
    if !binary && bytes.last() != Some(&0) {
        bytes.push(0);
    }
    Ok(Image { bytes, origin: path.display().to_string() })
}

/// The image that a site's build puts beside the program.
fn installed() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let path = program.parent()?.parent()?.join("lib/xrfit/fit.fatbin");
    path.is_file().then_some(path)
}
