//! The keys of a MAPS override file.

/// What a key sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// The value of a shape parameter.
    Value(&'static str),
    /// Its lower bound.
    Lower(&'static str),
    /// Its upper bound.
    Upper(&'static str),
    /// Whether it is fitted, in words.
    Fitting(&'static str),
    /// Whether it is fitted, 0 or 1.
    Enable(&'static str),
    MinEnergy,
    MaxEnergy,
    SnipWidth,
    Detector,
    Elements,
    Pileups,
    Width,
    Branching,
    FamilyL,
    /// Accepted everywhere, obeyed nowhere.
    Silent,
}

/// MAPS' name of a shape parameter, its key in the file and the older alias. The escape fractions
/// have keys of their own.
pub(super) const PARAMETERS: [(&str, &str, &str); 21] = [
    ("ENERGY_OFFSET", "CAL_OFFSET_[E_OFFSET]", "e_offset"),
    ("ENERGY_SLOPE", "CAL_SLOPE_[E_LINEAR]", "e_linear"),
    ("ENERGY_QUADRATIC", "CAL_QUAD_[E_QUADRATIC]", "e_quadratic"),
    ("FWHM_OFFSET", "FWHM_OFFSET", "fwhm_offset"),
    ("FWHM_FANOPRIME", "FWHM_FANOPRIME", "fwhm_fanoprime"),
    ("COHERENT_SCT_ENERGY", "COHERENT_SCT_ENERGY", "coherent_sct_energy"),
    ("COMPTON_ANGLE", "COMPTON_ANGLE", "compton_angle"),
    ("COMPTON_FWHM_CORR", "COMPTON_FWHM_CORR", "compton_fwhm_corr"),
    ("COMPTON_F_STEP", "COMPTON_STEP", "compton_f_step"),
    ("COMPTON_F_TAIL", "COMPTON_F_TAIL", "compton_f_tail"),
    ("COMPTON_GAMMA", "COMPTON_GAMMA", "compton_gamma"),
    ("COMPTON_HI_F_TAIL", "COMPTON_HI_F_TAIL", "compton_hi_f_tail"),
    ("COMPTON_HI_GAMMA", "COMPTON_HI_GAMMA", "compton_hi_gamma"),
    ("F_STEP_OFFSET", "STEP_OFFSET", "f_step_offset"),
    ("F_STEP_LINEAR", "STEP_LINEAR", "f_step_linear"),
    ("F_TAIL_OFFSET", "F_TAIL_OFFSET", "f_tail_offset"),
    ("F_TAIL_LINEAR", "F_TAIL_LINEAR", "f_tail_linear"),
    ("KB_F_TAIL_OFFSET", "KB_F_TAIL_OFFSET", "kb_f_tail_offset"),
    ("KB_F_TAIL_LINEAR", "KB_F_TAIL_LINEAR", "kb_f_tail_linear"),
    ("GAMMA_OFFSET", "GAMMA_OFFSET", "gamma_offset"),
    ("GAMMA_LINEAR", "GAMMA_LINEAR", "gamma_linear"),
];

/// Looks a key up; `None` when it has no effect here.
pub(super) fn key(text: &str) -> Option<Key> {
    other(text).or_else(|| parameter(text))
}

fn parameter(text: &str) -> Option<Key> {
    let base = |name: &str| {
        PARAMETERS.iter().find(|(_, key, alias)| *key == name || *alias == name).map(|p| p.0)
    };
    let suffixed = |suffix: &str| text.strip_suffix(suffix).and_then(base);
    base(text)
        .map(Key::Value)
        .or_else(|| suffixed("_MIN").map(Key::Lower))
        .or_else(|| suffixed("_MAX").map(Key::Upper))
        .or_else(|| suffixed("_FITTING").map(Key::Fitting))
        .or_else(|| suffixed("_STEPSIZE").map(|_| Key::Silent))
}

fn other(text: &str) -> Option<Key> {
    Some(match text {
        "ELEMENTS_TO_FIT" => Key::Elements,
        "ELEMENTS_WITH_PILEUP" => Key::Pileups,
        "MIN_ENERGY_TO_FIT" => Key::MinEnergy,
        "MAX_ENERGY_TO_FIT" => Key::MaxEnergy,
        "SNIP_WIDTH" | "snip_width" => Key::SnipWidth,
        "DETECTOR_MATERIAL" => Key::Detector,
        "WIDTH_MULTIPLIER" => Key::Width,
        "BRANCHING_FAMILY_ADJUSTMENT_L" => Key::FamilyL,
        "BRANCHING_RATIO_ADJUSTMENT_K"
        | "BRANCHING_RATIO_ADJUSTMENT_L"
        | "BRANCHING_RATIO_ADJUSTMENT_M" => Key::Branching,
        "SI_ESCAPE_FACTOR" => Key::Value("SI_ESCAPE"),
        "GE_ESCAPE_FACTOR" => Key::Value("GE_ESCAPE"),
        "SI_ESCAPE_ENABLE" => Key::Enable("SI_ESCAPE"),
        "GE_ESCAPE_ENABLE" => Key::Enable("GE_ESCAPE"),
        "VERSION" | "DATE" | "DETECTOR_ELEMENTS" | "IDENTIFYING_NAME_[WHATEVERE_YOU_LIKE]" => {
            Key::Silent
        }
        _ => return None,
    })
}
