//! Attenuation of the detector crystals from a MAPS `henke.xdr` (Henke, Gullikson & Davis, At. Data
//! Nucl. Data Tables 54 (1993) 181), as XRF-Maps computes it.

use std::path::Path;

use super::{Crystal, Error, Result};

/// f2 of one crystal against the photon energy \[eV\], ascending.
#[derive(Clone, Debug)]
struct Table {
    energies: Vec<f64>,
    f2: Vec<f64>,
}

/// f2 of silicon and germanium, on the common grid and with the points near edges.
#[derive(Clone, Debug)]
pub(super) struct Henke {
    coarse: [Table; 2],
    full: [Table; 2],
}

const AVOGADRO: f64 = 6.022_045_31e23; // 1/mol, XRF-Maps' value
const HC_EV_ANGSTROM: f64 = 12_398.52; // XRF-Maps' value
const ELECTRON_RADIUS_CM: f64 = 2.817_938_070e-13;

impl Henke {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| {
            Error::file(
                path,
                format!(
                    "the attenuation table of the line library cannot be read ({e}); put henke.xdr \
                     beside the library, or leave --line-library out"
                ),
            )
        })?;
        Self::parse(&bytes).ok_or_else(|| {
            Error::file(path, "it is no henke.xdr, or is cut short; get a whole copy from XRF-Maps")
        })
    }

    /// Layout: element and energy counts, energies, f1 and f2 per element; then the count of
    /// near-edge points and, per element, how many are valid, energies, f1 and f2. All big-endian.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes };
        let elements = reader.count()?;
        let points = reader.count()?;
        if points == 0 || elements > bytes.len() / points {
            return None; // damaged counts
        }
        let energies = reader.floats(points)?;
        let f2 = (0..elements)
            .map(|_| reader.floats(points).and_then(|_| reader.floats(points)))
            .collect::<Option<Vec<_>>>()?;
        let extra = reader.count()?;
        let near_edges = (0..elements)
            .map(|_| {
                let valid = reader.count()?.min(extra);
                let energies = reader.floats(extra)?;
                reader.floats(extra)?;
                let f2 = reader.floats(extra)?;
                Some((energies[..valid].to_vec(), f2[..valid].to_vec()))
            })
            .collect::<Option<Vec<_>>>()?;
        let coarse = |crystal| {
            let f2 = f2.get(place(crystal))?.clone();
            Some(Table { energies: energies.clone(), f2 })
        };
        let full = |crystal| {
            let (more_energies, more_f2) = near_edges.get(place(crystal))?;
            Some(coarse(crystal)?.with(more_energies, more_f2))
        };
        Some(Self {
            coarse: [coarse(Crystal::Si)?, coarse(Crystal::Ge)?],
            full: [full(Crystal::Si)?, full(Crystal::Ge)?],
        })
    }

    /// mu at `energy` \[keV\] of a crystal whose atoms weigh `mass` \[g/mol\], \[cm²/g\]; `None`
    /// outside the table (10 eV to 30 keV).
    pub fn attenuation(
        &self,
        crystal: Crystal,
        energy: f64,
        mass: f64,
        near_edges: bool,
    ) -> Option<f64> {
        let tables = if near_edges { &self.full } else { &self.coarse };
        let ev = energy * 1000.0;
        let f2 = tables[matches!(crystal, Crystal::Ge) as usize].at(ev)?;
        // N = rho N_A / mass and beta = r_e lambda² N f2 / 2 pi; the density cancels in mu / rho
        let wavelength = HC_EV_ANGSTROM / ev;
        let beta_per_density = ELECTRON_RADIUS_CM * 1e-16 * wavelength * wavelength * AVOGADRO
            / mass
            / (2.0 * std::f64::consts::PI)
            * f2;
        Some(ev * 4.0 * std::f64::consts::PI * beta_per_density / 1.239_852 * 1e4)
    }
}

fn place(crystal: Crystal) -> usize {
    match crystal {
        Crystal::Si => 13,
        Crystal::Ge => 31,
    }
}

impl Table {
    fn with(self, energies: &[f64], f2: &[f64]) -> Self {
        let own = self.energies.into_iter().zip(self.f2);
        let mut points: Vec<(f64, f64)> =
            own.chain(energies.iter().copied().zip(f2.iter().copied())).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (energies, f2) = points.into_iter().unzip();
        Self { energies, f2 }
    }

    /// Straight line in the logarithms between the neighbours of `ev`.
    fn at(&self, ev: f64) -> Option<f64> {
        let above = self.energies.partition_point(|e| *e <= ev);
        let below = self.energies.partition_point(|e| *e < ev).checked_sub(1)?;
        let (low, high) = (self.energies[below].ln(), self.energies.get(above)?.ln());
        let fraction = (ev.ln() - low) / (high - low);
        let [f_low, f_high] = [below, above].map(|i| self.f2[i].abs().ln());
        Some((f_low + fraction * (f_high - f_low)).exp())
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn word(&mut self) -> Option<[u8; 4]> {
        let (word, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*word)
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(i32::from_be_bytes(self.word()?)).ok()
    }

    fn floats(&mut self, count: usize) -> Option<Vec<f64>> {
        // a damaged count must not become an allocation
        (count <= self.bytes.len() / 4)
            .then(|| {
                (0..count).map(|_| self.word().map(|w| f64::from(f32::from_be_bytes(w)))).collect()
            })
            .flatten()
    }
}
