//! Physical constants, each with unit and source, and the limits of what a file can mean.

/// Channels of any spectrum recorded so far; a larger number is a damaged or a mistyped one.
pub const MOST_CHANNELS: usize = 65536;

/// The crystal that turns photons into charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Crystal {
    /// Silicon, 2.33 g/cm³.
    Si,
    /// Germanium, 5.323 g/cm³.
    Ge,
}

impl Crystal {
    /// Mean energy spent per electron-hole pair \[eV\].
    ///
    /// XRF-Maps' values: 3.58 for silicon since its commit 70558d9 (October 2024), 2.96 for germanium.
    pub const fn pair_energy_ev(self) -> f64 {
        match self {
            Crystal::Si => 3.58,
            Crystal::Ge => 2.96,
        }
    }

    /// Chemical symbol, the name in data tables.
    pub const fn symbol(self) -> &'static str {
        match self {
            Crystal::Si => "Si",
            Crystal::Ge => "Ge",
        }
    }
}
