//! No bytes whatever make the override file's parser panic or give a number that is not finite.
//!
//! 100,000 seeded mutations of files as beamlines write them.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xrfit::config::override_file::{OverrideFile, parse};

const MUTATIONS: usize = 100_000;

const SEED_FILE: &str = "   comment: with a colon
VERSION: 5.0
DETECTOR_ELEMENTS: 1
ELEMENTS_TO_FIT: Si, P, Fe, Au_L, Pb_M
ELEMENTS_WITH_PILEUP: Si_Si, Si_Cl
CAL_OFFSET_[E_OFFSET]: -0.0041840752
CAL_OFFSET_[E_OFFSET]_MAX: 0.5
CAL_OFFSET_[E_OFFSET]_FITTING: limit_lo_hi
CAL_SLOPE_[E_LINEAR]: 9.5216077e-003
FWHM_FANOPRIME: 0.00022440446
F_TAIL_LINEAR: 1.6940659e-21
SNIP_WIDTH: 0.5
DETECTOR_MATERIAL: 1
MAX_ENERGY_TO_FIT: 11.0
SI_ESCAPE_FACTOR: 0.01
SI_ESCAPE_ENABLE: 1
WIDTH_MULTIPLIER: Fe, 1.5
BRANCHING_FAMILY_ADJUSTMENT_L: Pt_L, 0., 1., 1.
BRANCHING_RATIO_ADJUSTMENT_L: I_L, 1., 1., 0.45, 1.0, 0.45, 0.45, 0.6, 1., 0.3, 1., 1., 1.
BRANCHING_RATIO_ADJUSTMENT_K: Si, 1., 1., 2.9, 1.
BRANCHING_RATIO_ADJUSTMENT_M: Pb_M, 1., 0., 0., 0.
US_IC: 2xfm:scaler3_cts1.B
";

/// Pieces that are likely to upset a parser of numbers, lists and lines.
const PIECES: [&[u8]; 16] = [
    b":",
    b",",
    b"\n",
    b"\r\n",
    b"\0",
    b"nan",
    b"-inf",
    b"1e999",
    b"-1e-999",
    b"_MIN",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b" ",
    b"\t",
    b"0x1p3",
    b"99999999999999999999",
];

fn mutate(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..9) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes.truncate(at),
            2 => {
                let piece = PIECES.choose(rng).unwrap();
                bytes.splice(at..at, piece.iter().copied());
            }
            3 => {
                let end = (at + rng.random_range(0..40)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let end = (at + rng.random_range(0..200)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.extend(copy);
            }
        }
    }
}

fn assert_finite(file: &OverrideFile, round: usize) {
    let parameters = file.parameters.values().flat_map(|g| [g.value, g.lower, g.upper]);
    let factors = file.adjustments.values().flat_map(|a| a.factors.into_iter().chain([a.width]));
    let numbers =
        parameters.chain([file.min_kev, file.max_kev, file.snip_width]).flatten().chain(factors);
    // repeated factors multiply, and may overflow: the configuration refuses those by name
    for x in numbers {
        assert!(!x.is_nan(), "round {round}: {file:?}");
    }
}

#[test]
fn mutated_files_never_panic() {
    let mut rng = ChaCha8Rng::seed_from_u64(20261121);
    for round in 0..MUTATIONS {
        let mut bytes = SEED_FILE.as_bytes().to_vec();
        mutate(&mut bytes, &mut rng);
        assert_finite(&parse(&bytes), round);
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for round in 0..10_007 {
        let length = rng.random_range(0..513);
        let bytes: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        assert_finite(&parse(&bytes), round);
    }
}
