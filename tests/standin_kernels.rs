//! Promise: kernels/fit.cu runs on the stand-in for the CUDA driver, through cudarc, as it does without a driver:
//! fits are those of tests/emulator/emulate.cpp, bit for bit, also from several threads. Launches that no card would
//! take are refused, and launches fail as asked.

#![cfg(feature = "cuda")]

#[path = "common/card.rs"]
mod card;
#[path = "common/oracle.rs"]
mod oracle;
#[path = "common/random.rs"]
mod random;
#[path = "common/standin.rs"]
mod standin;

use card::{Card, Loaded};
use cudarc::driver::sys::CUresult;
use ndarray::Array2;
use standin::emulator::{Spectra, Way};
use standin::{code, is_started, succeeds};
use xrfit::problem::{Background, Problem};

const WARP: Way = Way { team: "warp_f32", memory: "shared", order: "forward", blocks: 3 };

/// Four spectra of a random problem, to be fitted in a few steps.
fn problem() -> (random::Case, Problem) {
    let case = random::cases().swap_remove(5);
    let mut problem = case.problem.clone();
    (problem.background, problem.steps, problem.solve_start) = (Background::Snip, 5, true);
    for v in problem.amplitudes.iter_mut() {
        (v.free, v.rate, v.lower, v.upper) = (true, 0.02, -3.0, 12.0);
    }
    (case, problem)
}

fn spectra<'a>(case: &random::Case, problem: &'a Problem) -> Spectra<'a> {
    let factors = [1.0, 0.4, 0.0, 2.0];
    Spectra {
        problem,
        counts: Array2::from_shape_fn((4, problem.channels), |(i, c)| {
            (factors[i] * case.counts[c]).round()
        }),
        background: Array2::from_shape_fn((4, problem.count), |(_, c)| case.background[c]),
        starts: Array2::from_shape_fn((4, case.variables.len()), |(_, j)| case.variables[j]),
    }
}

/// Does something with four spectra on device 0.
fn with_spectra(way: Way, body: impl FnOnce(&Card, Loaded, &Spectra)) {
    let (case, problem) = problem();
    let spectra = spectra(&case, &problem);
    let card = Card::open(0).expect("a device");
    let loaded = card.load(&spectra, way).expect("memory");
    body(&card, loaded, &spectra);
}

#[test]
fn launches_that_no_card_takes_are_refused() {
    succeeds("launches_wrongly", &[]);
}

#[test]
#[ignore = "started by the test above"]
fn launches_wrongly() {
    if !is_started() {
        return;
    }
    use CUresult::{CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES};
    with_spectra(WARP, |card, mut loaded, _| {
        let kernel = card.kernel("xrf_fit_warp_f32").expect("it is there");
        let occupancy = kernel.occupancy_max_active_blocks_per_multiprocessor(32, 4096, None);
        assert_eq!(occupancy, Ok(32), "blocks of a multiprocessor");
        let too_many = loaded.launch("fit", 1, 64);
        assert_eq!(code(too_many), CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "64 threads for a warp");
        let too_few = loaded.launch("fit", 1, 16);
        assert_eq!(code(too_few), CUDA_ERROR_INVALID_VALUE, "16 threads for a warp");
        assert_eq!(code(loaded.launch("fit", 0, 32)), CUDA_ERROR_INVALID_VALUE, "no blocks");
        let refuses = |loaded: &Loaded, what: &str| {
            assert_eq!(code(loaded.launch("fit", 1, 32)), CUDA_ERROR_INVALID_VALUE, "{what}");
        };
        loaded.shared = 48 << 10;
        refuses(&loaded, "48 KiB and a static part");
        loaded.allowed = Some(40_000);
        refuses(&loaded, "more than allowed");
        loaded.allowed = Some(50_000);
        loaded.launch("fit", 1, 32).expect("more than 48 KiB, once it is allowed");
        loaded.shared = 228 << 10;
        refuses(&loaded, "228 KiB");
        loaded.allowed = Some(227 << 10);
        refuses(&loaded, "an attribute that leaves no room for the static part");
        (loaded.shared, loaded.allowed) = (64, None);
        let lost = loaded.launch("fit", 1, 32);
        assert_eq!(code(lost), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS, "a workspace too small");
    });
}

#[test]
fn an_array_outside_of_the_memory_loses_the_device() {
    let Some((log, said)) = succeeds("launches_with_a_short_array", &[]) else { return };
    assert!(said.contains("launch xrf_fit_warp_f32 refused: counts"), "{said}");
    assert_eq!(log.of("lost").len(), 1, "{:?}", log.events());
}

#[test]
#[ignore = "started by the test above"]
fn launches_with_a_short_array() {
    if !is_started() {
        return;
    }
    with_spectra(WARP, |card, mut loaded, _| {
        loaded.tile.counts += 256;
        assert_eq!(code(loaded.run("fit")), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        assert_eq!(code(card.stream.synchronize()), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    });
}

#[test]
fn fits_are_those_of_the_emulator_bit_for_bit() {
    let Some((log, _)) = succeeds("fits_as_the_emulator", &[]) else { return };
    let launches = log.of("launch xrf_fit_block_f64 grid 3 block 128 shared ");
    assert_eq!(launches.len(), 2, "{:?}", log.events());
}

#[test]
#[ignore = "started by the test above"]
fn fits_as_the_emulator() {
    if !is_started() {
        return;
    }
    for team in ["warp_f32", "warp_f64", "block_f32", "block_f64"] {
        for memory in ["shared", "global"] {
            let way = Way { team, memory, ..WARP };
            with_spectra(way, |_, loaded, spectra| {
                let bits = |numbers: Vec<f64>| numbers.into_iter().map(f64::to_bits).collect();
                let fitted: Vec<u64> = bits(loaded.fit().expect("it fits"));
                let expected: Vec<u64> = bits(spectra.run("fit", way).0.collect());
                assert_eq!(fitted.len(), expected.len(), "numbers of a fit");
                assert!(fitted == expected, "{way:?}: the fit differs from that of emulate");
            });
        }
    }
}

#[test]
fn threads_fit_at_the_same_time() {
    succeeds("fits_on_two_threads", &[("XRF_STANDIN_DEVICES", "2")]);
}

#[test]
#[ignore = "started by the test above"]
fn fits_on_two_threads() {
    if !is_started() {
        return;
    }
    let (case, problem) = problem();
    let spectra = spectra(&case, &problem);
    let fit = |device: usize| {
        let card = Card::open(device).expect("a device");
        card.load(&spectra, WARP).and_then(|loaded| loaded.fit()).expect("it fits")
    };
    let bits = |numbers: Vec<f64>| numbers.into_iter().map(f64::to_bits).collect::<Vec<_>>();
    let alone = bits(fit(0));
    let together = std::thread::scope(|scope| {
        let threads = [0, 1, 0].map(|device| scope.spawn(move || fit(device)));
        threads.map(|thread| bits(thread.join().expect("it ends")))
    });
    assert!(together.iter().all(|fit| *fit == alone), "fits of threads differ");
}

/// Codes of four launches of a fit, each with its end.
fn four_launches() {
    with_spectra(WARP, |card, loaded, _| {
        code(loaded.run("prepare").and_then(|()| card.stream.synchronize()));
        let codes = [0; 4].map(|_| {
            format!("{:?}", code(loaded.run("fit").and_then(|()| card.stream.synchronize())))
        });
        println!("\ncodes: {}", codes.join(" ").replace("CUDA_", "").replace("ERROR_", ""));
    });
}

#[test]
#[ignore = "started by the tests below"]
fn launches_four_times() {
    if is_started() {
        four_launches();
    }
}

#[test]
fn launches_fail_as_asked() {
    let cases = [
        ("XRF_STANDIN_FAIL_LAUNCH", "2,4", "SUCCESS LAUNCH_FAILED SUCCESS LAUNCH_FAILED"),
        (
            "XRF_STANDIN_FAIL_LAUNCH",
            "all",
            "LAUNCH_FAILED LAUNCH_FAILED LAUNCH_FAILED LAUNCH_FAILED",
        ),
        ("XRF_STANDIN_LOST", "2", "SUCCESS ILLEGAL_ADDRESS ILLEGAL_ADDRESS ILLEGAL_ADDRESS"),
    ];
    for (variable, value, codes) in cases {
        let Some((log, said)) = succeeds("launches_four_times", &[(variable, value)]) else {
            return;
        };
        assert!(said.contains(&format!("codes: {codes}\n")), "{variable}={value}: {said}");
        let launches = log.of("launch xrf_fit_warp_f32 grid 3 block 32").len();
        let succeeded =
            if variable == "XRF_STANDIN_LOST" { 2 } else { codes.matches("SUCCESS").count() };
        assert_eq!(launches, succeeded, "{variable}={value}: launches in the log");
    }
}
