//! Promise: a map fitted by Newton on the deviance holds the uncertainty of each count, and counts that may be below
//! 0; both say what they are.

#[path = "common/program.rs"]
mod program;

use hdf5::types::VarLenUnicode;

fn unit(data: &hdf5::Dataset) -> String {
    let label = data.attr("units").expect("a unit");
    match label.read_scalar::<VarLenUnicode>() {
        Ok(text) => text.to_string(),
        Err(_) => {
            let text = label.read_scalar::<hdf5::types::FixedAscii<64>>();
            text.expect("text").to_string()
        }
    }
}

#[test]
fn a_map_by_newton_has_its_uncertainties() {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = program::simulate(folder.path(), [5, 7]);
    let out = folder.path().join("maps.h5");
    let mut command = program::map_by("newton", &scan, &out);
    program::succeed(command.args(["--objective", "poisson", "--iterations", "50"]));
    let file = hdf5::File::open(&out).expect("a map file opens");
    let own = file.group("MAPS/XRF_Analyzed/Fitted/xrfit").expect("xrfit's own group");
    let read = |name: &str| own.dataset(name).expect(name).read_raw::<f32>().expect(name);
    let status: Vec<u8> = own.dataset("Status").expect("status").read_raw().expect("status");
    let [counts, sigma, signed] = ["Counts", "Counts_Sigma", "Counts_Signed"].map(read);
    let fitted: Vec<usize> = (0..counts.len()).filter(|i| status[i % status.len()] == 0).collect();
    let converged = status.iter().filter(|s| **s == 0).count();
    assert!(converged > status.len() / 2, "{converged} of {} pixels converged", status.len());
    for &i in &fitted {
        assert!(counts[i] >= 0.0, "counts are {}", counts[i]);
        assert!(sigma[i] > 0.0, "the sigma of {} counts is {}", counts[i], sigma[i]);
        assert!(signed[i].is_finite(), "{} counts are {} signed", counts[i], signed[i]);
    }
    let below = fitted.iter().filter(|&&i| signed[i] < 0.0).count();
    let none = fitted.iter().filter(|&&i| counts[i] == 0.0).count();
    assert!((below > 0) == (none > 0), "{below} signed counts are below 0, {none} counts are 0");
    for name in ["Counts_Sigma", "Counts_Signed"] {
        assert_eq!(unit(&own.dataset(name).expect(name)), "counts", "unit of {name}");
    }
    assert_eq!(unit(&own.dataset("Parameters_Sigma/ENERGY_OFFSET").expect("a sigma")), "keV");
    let deviance = read("Reduced_Deviance");
    let pixels = (0..status.len()).filter(|p| status[*p] == 0);
    assert!(pixels.map(|p| deviance[p]).all(|d| d > 0.1 && d < 10.0), "{deviance:?}");
}
