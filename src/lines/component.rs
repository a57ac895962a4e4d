//! Names of components.

use std::ops::Range;

/// The shell whose vacancies emit a group of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shell {
    /// Ka1 Ka2 Kb1 Kb2.
    K,
    /// La1 La2 Lb1 Lb2 Lb3 Lb4 Lg1 Lg2 Lg3 Lg4 Ll Ln.
    L,
    /// Ma1 Ma2 Mb Mg.
    M,
}

impl Shell {
    /// The shell's places among the twenty lines of an element.
    pub const fn slots(self) -> Range<usize> {
        match self {
            Shell::K => 0..4,
            Shell::L => 4..16,
            Shell::M => 16..20,
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Shell::K => "",
            Shell::L => "_L",
            Shell::M => "_M",
        }
    }
}

/// What one amplitude of a fit stands for, the two scatter peaks aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Component {
    /// The lines of one shell of an element.
    Lines {
        /// Chemical symbol.
        symbol: String,
        /// Which shell.
        shell: Shell,
    },
    /// Two K photons counted as one.
    Pileup {
        /// Chemical symbol of one.
        first: String,
        /// Chemical symbol of the other.
        second: String,
    },
}

impl Component {
    /// Lines of one shell of an element.
    pub fn lines(symbol: &str, shell: Shell) -> Self {
        Self::Lines { symbol: symbol.to_string(), shell }
    }

    /// Reads a name's form; whether the element exists is the library's business. `K` stands for
    /// potassium: `Si_K` is a pile-up.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        match name.split('_').collect::<Vec<_>>().as_slice() {
            ["", ..] | [.., ""] => {
                Err(format!("`{name}` names no component; write Fe, Pb_L, Pb_M or Si_Cl"))
            }
            [symbol] => Ok(Self::lines(symbol, Shell::K)),
            [symbol, "L"] => Ok(Self::lines(symbol, Shell::L)),
            [symbol, "M"] => Ok(Self::lines(symbol, Shell::M)),
            [first, second] => {
                Ok(Self::Pileup { first: first.to_string(), second: second.to_string() })
            }
            _ => Err(format!(
                "`{name}`: a pile-up is a pair of K lines such as Si_Cl (sums of three photons and of \
                 L or M lines are not modelled); leave it out"
            )),
        }
    }

    /// The name, as in `--elements` and in map files.
    pub fn name(&self) -> String {
        match self {
            Self::Lines { symbol, shell } => format!("{symbol}{}", shell.suffix()),
            Self::Pileup { first, second } => format!("{first}_{second}"),
        }
    }

    /// Symbols of the elements involved, one or two.
    pub fn symbols(&self) -> Vec<&str> {
        match self {
            Self::Lines { symbol, .. } => vec![symbol],
            Self::Pileup { first, second } => vec![first, second],
        }
    }

    /// True for a pile-up.
    pub fn is_pileup(&self) -> bool {
        matches!(self, Self::Pileup { .. })
    }

    /// Number of lines it can have: how many branching factors belong to it.
    pub fn line_count(&self) -> usize {
        match self {
            Self::Lines { shell, .. } => shell.slots().len(),
            Self::Pileup { .. } => 4,
        }
    }
}
