//! The configuration's keys, for people: a table for the README and the comments of `xrfit check`.

use std::fmt::Write;

use crate::kernels;

use super::settings::Settings;

/// A key of the configuration file.
struct Key {
    key: &'static str,
    default: &'static str,
    unit: &'static str,
    meaning: &'static str,
}

const fn key(
    key: &'static str,
    default: &'static str,
    unit: &'static str,
    meaning: &'static str,
) -> Key {
    Key { key, default, unit, meaning }
}

#[rustfmt::skip]
const KEYS: [Key; 43] = [
    key("compat", "none", "", "follow the conventions of `xrf-maps` or `mapstorch` where no other key says otherwise"),
    key("elements", "the override file's", "", "what to fit: `Fe` K lines, `Pb_L` L lines, `Pb_M` M lines, `Si_Cl` pile-up; or `auto` alone: what the summed spectrum shows"),
    key("incident_kev", "the override file's, else the scan's", "keV", "incident photon energy"),
    key("line_library", "built-in", "", "MAPS' `xrf_library.csv`; a path is relative to the configuration file"),
    key("henke", "`henke.xdr` beside it", "", "attenuation table of the line library"),
    key("scan.detector", "`each`", "", "detector elements to fit: a number from 0, `sum` or `each`"),
    key("scan.pad_channels", "0; xrf-maps: 2048", "channels", "extend shorter spectra with zeros to this many channels"),
    key("model.crystal", "`Si`", "", "detector crystal: `Si` or `Ge`"),
    key("model.pair_energy_ev", "3.58 (Si), 2.96 (Ge); compat: 3.58", "eV", "energy per electron-hole pair"),
    key("model.tail", "`maps`", "", "low-energy tail: `maps` (exponential dropped above the line), `hypermet` (textbook) or `none`"),
    key("model.escape_shift", "`local`; xrf-maps: `first`; mapstorch: `mean`", "", "channel spacing that places the escape peak"),
    key("model.mu_fraction", "`detector`; xrf-maps: `element`", "", "mass in mu_fraction; `element` too where an override file's steps or linear tails use it"),
    key("model.l_weights", "`vacancies`; compat: `yields`", "", "weights of the L1, L2, L3 lines: `vacancies` that the beam makes, or `yields` alone, as always with branching factors"),
    key("model.m_ratios", "`line-data`; xrf-maps: `equal`; mapstorch: `ma1-only`", "", "ratios of M lines"),
    key("model.line_gate", "`own`; compat: its own", "", "edge that the beam must exceed: `own`, `xrf-maps` or `mapstorch`"),
    key("model.pileup_gate", "`components`; xrf-maps: `sum`", "", "pile-up exists above both edges (`components`), or above its sum energy (`sum`)"),
    key("fit.min_kev", "1", "keV", "lower end of the fit window"),
    key("fit.max_kev", "incident + 1", "keV", "upper end of the fit window"),
    key("fit.free", "`default`", "", "free shape parameters: `none`, `default` (ENERGY_OFFSET FWHM_SCALE, changed by the override file's `_FITTING` tags), `four` (ENERGY_OFFSET ENERGY_SLOPE FWHM_OFFSET FWHM_FANOPRIME), `paper` (MapsTorch's twelve) or a list"),
    key("fit.priors", "`scan`; with another `fit.free` than `default`: `none`", "", "priors of free shapes that have no `prior_width`: twice how they scatter over the `scan` (newton's), or `none`"),
    key("fit.objective", "`poisson`; compat: `mse`", "", "what is minimised: `mse` (mean squared error), `poisson` (deviance) or `chi2` (weighted squares)"),
    key("fit.weights", "`expected`; xrf-maps: `xrf-maps`", "", "weights of `chi2`: `expected` (1 over the model with background, renewed as the fit goes), `xrf-maps` (smoothed 1/(1 + counts)) or `none`"),
    key("fit.optimizer", "`newton`; compat: `adam`", "", "`adam`; `newton`: to the end in a few steps, amplitudes not below 0; or `nnls`: amplitudes alone"),
    key("fit.iterations", "500", "steps", "most steps of the optimiser; newton needs 5 to 20"),
    key("fit.tolerance", "1e-5", "1", "relative gain over 50 steps below which a fit ends; 0: never"),
    key("fit.background", "`pooled`; compat: `snip`", "", "`pooled` (splines, found in the sum of all spectra with its lines, times a factor of each pixel), `snip-sum` (the same with SNIP of the sum), `snip` (of each pixel) or `none`"),
    key("fit.precision", "`f32`", "", "arithmetic: `f32` or `f64`"),
    key("fit.start", "`solve`", "", "where amplitudes start: `solve` from a non-negative linear fit, or `flat` from 1 count"),
    key("fit.limits", "false", "", "for each pixel and component also what 95 % of its likelihood lies below, and the counts that would be found (takes about as long as the fit)"),
    key("fit.clip_net_counts", "false; xrf-maps: true", "", "counts below the background count as zero in linear solves"),
    key("fit.first_pass", "`run`; `skip` where ENERGY_SLOPE is given", "", "`run` or `skip` the calibration on the summed spectrum"),
    key("fit.first_pass_free", "`paper` and COMPTON_GAMMA", "", "shape parameters that the first pass fits: as `fit.free`, which is for the pixels"),
    key("snip.order", "`simultaneous`; xrf-maps: `in-place`", "", "order in which SNIP updates channels"),
    key("snip.width", "0.5", "1", "MAPS' SNIP_WIDTH"),
    key("parameters.NAME.value", "see the parameters", "", "start of a shape parameter, in its unit"),
    key("parameters.NAME.min", "see the parameters", "", "lower bound, in the parameter's unit"),
    key("parameters.NAME.max", "see the parameters", "", "upper bound, in the parameter's unit"),
    key("parameters.NAME.free", "by `fit.free`", "", "fitted, whatever `fit.free` says"),
    key("parameters.NAME.rate", "see the parameters", "", "Adam's learning rate, in the parameter's unit per step"),
    key("parameters.NAME.prior_width", "none", "", "standard deviation of what is known of it already, around its value or what the first pass finds, in its unit"),
    key("branching.COMPONENT.lines", "all 1", "1", "factor of each line over MAPS' literature value (4 for K, 12 for L, 4 for M)"),
    key("branching.COMPONENT.families", "all 1", "1", "factors of the L1, L2 and L3 lines"),
    key("branching.COMPONENT.width", "1", "1", "multiplier of the tail length"),
];

/// Two markdown tables: every key of the configuration, and every shape parameter.
pub fn reference() -> String {
    let mut text = String::from("| key | default | unit | meaning |\n|---|---|---|---|\n");
    for Key { key, default, unit, meaning } in &KEYS {
        push(&mut text, format_args!("| `{key}` | {default} | {unit} | {meaning} |"));
    }
    text += "\n| parameter | default | bounds | unit | Adam's rate | meaning |\n|---|---|---|---|---|---|\n";
    for p in kernels::parameters() {
        let (value, lower, upper) = match p.name {
            "COHERENT_SCT_ENERGY" => ("incident".into(), "-6 %".into(), "+6 %".into()),
            "F_TAIL_LINEAR" => ("0; xrf-maps: 0.001".into(), short(p.lower), short(p.upper)),
            _ => (short(p.value), short(p.lower), short(p.upper)),
        };
        push(
            &mut text,
            format_args!(
                "| `{}` | {value} | {lower} to {upper} | {} | {:?} | {} |",
                p.name, p.unit, p.rate, p.meaning
            ),
        );
    }
    text
}

/// The settings as a configuration file whose lines say what they are; `--config` reads it.
pub fn check(settings: &Settings) -> String {
    let mut text = String::from("# Every key of the configuration, with all defaults filled in.\n");
    let mut section = String::new();
    for line in settings.to_toml().lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
            let parameter = section.strip_prefix("parameters.").unwrap_or_default();
            match kernels::parameters().iter().find(|p| Some(p.name) == parameter.strip_suffix('.'))
            {
                Some(p) => push(&mut text, format_args!("{line}  # {} [{}]", p.meaning, p.unit)),
                None => push(&mut text, format_args!("{line}")),
            }
            continue;
        }
        let name = line.split_once(" = ").map(|(name, _)| format!("{section}{name}"));
        match KEYS.iter().find(|k| Some(k.key) == name.as_deref()) {
            Some(Key { meaning, unit: "", .. }) => {
                push(&mut text, format_args!("{line}  # {meaning}"))
            }
            Some(Key { meaning, unit, .. }) => {
                push(&mut text, format_args!("{line}  # {meaning} [{unit}]"));
            }
            None => push(&mut text, format_args!("{line}")),
        }
    }
    text
}

fn short(x: f64) -> String {
    format!("{x:?}")
}

fn push(text: &mut String, line: std::fmt::Arguments) {
    writeln!(text, "{line}").expect("a string takes any text");
}
