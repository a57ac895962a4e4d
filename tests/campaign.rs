//! Promise: of a campaign everything that can be mapped is mapped, once, whatever becomes of single scans, and what
//! became of each can be read. Its table says what is in the map files.

#[path = "common/campaign.rs"]
mod campaign;
#[path = "common/program.rs"]
mod program;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use campaign::{Case, LARGE, QUICK, code, said, slow, status_of};
use program::succeed;

/// Processes of the program that may be waited for take less.
const LIMIT: Duration = Duration::from_secs(60);

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn modified(file: &Path) -> std::time::SystemTime {
    file.metadata().and_then(|data| data.modified()).unwrap_or_else(|e| panic!("{file:?}: {e}"))
}

#[test]
fn a_corrupt_scan_stops_no_other_and_can_be_tried_again() {
    let case = Case::new(&format!("[[group]]\nscans = ['raw/*.h5']\n{QUICK}"));
    for (seed, name) in ["s1", "s2", "s4", "s5"].into_iter().enumerate() {
        case.simulate(&format!("raw/{name}.h5"), seed, &[]);
    }
    std::fs::write(case.path("raw/s3.h5"), "no scan").expect("a file");

    let planned = succeed(&mut case.campaign("plan"));
    let text = String::from_utf8_lossy(&planned.stdout).into_owned();
    assert!(text.contains("5 scans, 140 pixels") && text.contains("raw/s3.h5"), "plan says {text}");

    let run = case.campaign("run").output().expect("the program starts");
    assert_eq!(code(&run), 1, "exit code of a run with a corrupt scan: {}", said(&run));
    assert!(
        said(&run).contains("1 scan failed")
            && said(&run).contains("raw/s3.h5: no known scan format"),
        "{}",
        said(&run)
    );
    for name in ["s1", "s2", "s4", "s5"] {
        assert!(case.path(&format!("maps/{name}.h5")).exists(), "no map file of {name}");
    }
    assert!(!case.path("maps/s3.h5").exists(), "a map file of a corrupt scan");
    let status = status_of(&case);
    assert!(
        status.contains("5 scans: 4 done, 0 running, 0 interrupted, 1 failed, 0 waiting"),
        "{status}"
    );
    assert!(
        status.contains("2 raw/s3.h5: failed: ") && status.contains("no known scan format"),
        "{status}"
    );

    let before = modified(&case.path("maps/s1.h5"));
    case.simulate("raw/s3.h5", 7, &["--overwrite"]);
    succeed(&mut case.campaign("retry"));
    let status = status_of(&case);
    assert!(status.contains("5 scans: 5 done, 0 running, 0 interrupted, 0 failed"), "{status}");
    assert!(status.contains("175 of 175 pixels (100 %)"), "{status}");
    succeed(&mut case.campaign("run"));
    assert_eq!(before, modified(&case.path("maps/s1.h5")), "maps that were done were made again");
    let record = case.json("maps/state/0002.json");
    assert_eq!(record["state"], "done", "{record}");
    assert_eq!(record["pixels"], 35, "{record}");
    assert_eq!(record["unfitted"], 0, "{record}");
}

#[test]
fn a_number_stands_for_one_scan_also_in_a_job_array() {
    let case = Case::new(&format!("[[group]]\nscans = ['raw/*.h5']\n{QUICK}"));
    for (seed, name) in ["s1", "s2", "s3"].into_iter().enumerate() {
        case.simulate(&format!("raw/{name}.h5"), seed, &[]);
    }
    let unplanned = case.campaign("run").args(["--index", "1"]).output().expect("the program");
    assert_eq!(code(&unplanned), 1);
    assert!(said(&unplanned).contains("campaign plan"), "{}", said(&unplanned));

    succeed(&mut case.campaign("plan"));
    succeed(case.campaign("run").args(["--index", "1"]));
    let there = |name: &str| case.path(&format!("maps/{name}.h5")).exists();
    assert_eq!(["s1", "s2", "s3"].map(there), [false, true, false], "after --index 1");
    let before = modified(&case.path("maps/s2.h5"));
    let again = succeed(case.campaign("run").args(["--index", "1"]));
    assert!(said(&again).contains("entry 1 is done already"), "{}", said(&again));
    assert_eq!(before, modified(&case.path("maps/s2.h5")), "maps that were done were made again");

    succeed(case.campaign("run").env("SLURM_ARRAY_TASK_ID", "2"));
    assert_eq!(["s1", "s2", "s3"].map(there), [false, true, true], "after task 2 of an array");
    let beyond = case.campaign("run").args(["--index", "3"]).output().expect("the program");
    assert_eq!(code(&beyond), 1);
    assert!(
        said(&beyond).contains("there is no entry 3 (0 to 2 are planned)"),
        "{}",
        said(&beyond)
    );
}

#[test]
fn shapes_are_found_once_for_all_scans_that_share_them() {
    let case = Case::new(&format!(
        "[[group]]\nscans = ['raw/*.h5']\ncalibrate_on = ['raw/s2.h5', 'raw/s4.h5']\n{QUICK}"
    ));
    for (seed, name) in ["s1", "s2", "s3", "s4", "s5"].into_iter().enumerate() {
        case.simulate(&format!("raw/{name}.h5"), seed, &[]);
    }
    let run = succeed(&mut case.campaign("run"));
    for scan in ["s2", "s4"] {
        let written = said(&run)
            .lines()
            .filter(|l| l.starts_with("wrote") && l.contains(&format!("{scan}.partial")))
            .count();
        assert_eq!(written, 1, "calibrations on {scan}: {}", said(&run));
    }
    let shapes = |toml: &str| {
        let table: toml::Table = toml.parse().expect("a configuration");
        let values = table["parameters"].as_table().expect("parameters").iter();
        let value = |(name, v): (&String, &toml::Value)| (name.clone(), v["value"].as_float());
        values.map(value).collect::<Vec<_>>()
    };
    let shared = ["s2", "s4"].map(|scan| {
        let file = case.path(&format!("maps/calibration/{scan}/fit.toml"));
        shapes(&std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file:?}: {e}")))
    });
    assert_ne!(shared[0], shared[1], "two scans with noise of their own have the same shapes");
    for (name, from) in [("s1", 0), ("s2", 0), ("s3", 0), ("s4", 1), ("s5", 1)] {
        let used = shapes(&case.configuration(&format!("maps/{name}.h5")));
        assert_eq!(used, shared[from], "shapes of {name}");
    }
    let list = case.json("maps/campaign.json");
    assert_eq!(list[0]["calibration"]["scan"], "raw/s2.h5", "{list}");
}

#[test]
fn planning_again_keeps_numbers_outputs_and_what_is_done() {
    let case = Case::new(&format!("[[group]]\nscans = ['raw/*.h5', 'more/s2.h5']\n{QUICK}"));
    case.simulate("raw/s2.h5", 1, &[]);
    case.simulate("more/s2.h5", 2, &[]);
    succeed(&mut case.campaign("run"));
    let outputs = |list: &serde_json::Value| -> Vec<(String, String)> {
        let entries = list.as_array().expect("a list").iter();
        let word = |value: &serde_json::Value| value.as_str().expect("a path").to_string();
        entries.map(|entry| (word(&entry["scan"]), word(&entry["output"]))).collect()
    };
    let before = outputs(&case.json("maps/campaign.json"));
    assert_ne!(before[0].1, before[1].1, "two scans write one file");

    case.simulate("raw/s1.h5", 3, &[]);
    case.write_manifest(&format!(
        "[[group]]\nscans = ['raw/*.h5', 'more/s2.h5', 'raw/s9.h5']\n{QUICK}"
    ));
    let planned = succeed(&mut case.campaign("plan"));
    let text = String::from_utf8_lossy(&planned.stdout).into_owned();
    assert!(
        text.contains("4 scans") && text.contains("2 done") && text.contains("raw/s9.h5"),
        "{text}"
    );
    let after = outputs(&case.json("maps/campaign.json"));
    assert_eq!(after[..2], before, "entries that were there before");
    assert_eq!(
        after[2..],
        [("raw/s1.h5", "s1.h5"), ("raw/s9.h5", "s9.h5")].map(|(s, o)| (s.into(), o.into()))
    );
    let status = status_of(&case);
    assert!(
        status.contains("4 scans: 2 done, 0 running, 0 interrupted, 0 failed, 2 waiting"),
        "{status}"
    );
}

#[test]
fn a_killed_process_is_a_failed_scan_and_the_next_one_comes() {
    let case = Case::new(&format!("[[group]]\nscans = ['raw/*.h5']\n{}", slow()));
    case.simulate("raw/s1.h5", 1, &LARGE);
    case.simulate("raw/s2.h5", 2, &[]);
    let run = case.campaign("run").stderr(Stdio::piped()).spawn().expect("the program starts");
    let process = wait_for("a record of the first scan", || {
        let record = case.maybe_json("maps/state/0000.json")?;
        record["process"].as_u64()
    });
    assert!(status_of(&case).contains("1 running"), "{}", status_of(&case));
    campaign::kill("KILL", process as u32);
    let run = run.wait_with_output().expect("the program ends");
    assert_eq!(code(&run), 1, "{}", said(&run));
    let status = status_of(&case);
    assert!(status.contains("2 scans: 1 done, 0 running, 0 interrupted, 1 failed"), "{status}");
    assert!(status.contains("was killed (signal 9"), "{status}");
}

#[test]
fn a_signal_stops_the_campaign_and_the_same_command_goes_on() {
    let case = Case::new(&format!("[[group]]\nscans = ['raw/*.h5']\n{}", slow()));
    case.simulate("raw/s1.h5", 1, &[]);
    case.simulate("raw/s2.h5", 2, &LARGE);
    case.simulate("raw/s3.h5", 3, &[]);
    let record = || case.maybe_json("maps/state/0001.json");
    let process = || record().map(|record| record["process"].clone());
    for signal in ["TERM", "INT", "USR1"] {
        let before = process();
        let run = case.campaign("run").stderr(Stdio::piped()).spawn().expect("the program starts");
        wait_for("a record and a ledger of the second scan", || {
            process().filter(|process| Some(process) != before.as_ref())?;
            case.path("maps/s2.h5.ledger").exists().then_some(())
        });
        campaign::kill(signal, run.id());
        let run = run.wait_with_output().expect("the program ends");
        assert_eq!(code(&run), 75, "after SIG{signal}: {}", said(&run));
        let record = record().expect("a record");
        assert_eq!(record["state"], "stopped", "after SIG{signal}: {record}\n{}", said(&run));
        let status = status_of(&case);
        assert!(
            status.contains("3 scans: 1 done, 0 running, 1 interrupted, 0 failed, 1 waiting"),
            "{status}"
        );
    }
    succeed(&mut case.campaign("run"));
    assert!(status_of(&case).contains("3 scans: 3 done"), "{}", status_of(&case));
    assert!(!case.path("maps/s2.h5.ledger").exists(), "a ledger of complete maps");
}

#[test]
fn of_several_who_begin_a_scan_at_once_one_does() {
    let case = Case::new(&format!("[[group]]\nscans = ['raw/*.h5']\n{}", slow()));
    case.simulate("raw/s1.h5", 1, &LARGE);
    succeed(&mut case.campaign("plan"));
    let begin = |_| {
        let mut run = case.campaign("run");
        run.args(["--index", "0"]).stderr(Stdio::piped()).spawn().expect("the program starts")
    };
    let runs: Vec<_> = (0..6).map(begin).collect();
    let ends = runs.into_iter().map(|run| run.wait_with_output().expect("the program ends"));
    let (done, others): (Vec<_>, Vec<_>) = ends.partition(|run| code(run) == 0);
    assert_eq!(done.len(), 1, "{:?}", done.iter().map(said).collect::<Vec<_>>());
    for other in &others {
        assert!(said(other).contains("wait until that ends"), "{}", said(other));
    }
    let status = status_of(&case);
    assert!(status.contains("1 done, 0 running"), "{status}");
}

#[test]
fn each_scan_can_have_several_ranks() {
    let version = std::process::Command::new("mpirun").arg("--version").output();
    if cfg!(not(feature = "mpi"))
        || !version.is_ok_and(|v| String::from_utf8_lossy(&v.stdout).contains("Open MPI"))
    {
        println!("skipped: there is no `mpirun` of Open MPI, or this build has no MPI");
        return;
    }
    let case = Case::new(&format!("[[group]]\nscans = ['raw/*.h5']\n{QUICK}"));
    case.simulate("raw/s1.h5", 1, &[]);
    case.simulate("raw/s2.h5", 2, &[]);
    std::fs::write(case.path("raw/s0.h5"), "no scan").expect("a file");
    let mut run = case.campaign("run");
    run.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    run.env("OMPI_MCA_rmaps_base_oversubscribe", "1");
    let run = run.args(["--ranks", "3"]).output().expect("the program starts");
    assert_eq!(code(&run), 1, "{}", said(&run));
    let status = status_of(&case);
    assert!(status.contains("3 scans: 2 done, 0 running, 0 interrupted, 1 failed"), "{status}");
    assert!(status.contains("no known scan format"), "{status}");
    let cluster = case.provenance("maps/s1.h5", "cluster");
    assert!(cluster.starts_with("3 ranks"), "the maps were made by {cluster}");
}

#[test]
fn a_manifest_that_cannot_be_meant_is_refused_and_says_what_is_wrong() {
    let scans = "scans = ['raw/*.h5']\n";
    for (manifest, complaint) in [
        (format!("[[group]]\n{scans}elemnts = ['Fe']\n"), "unknown field `elemnts`"),
        (format!("[[group]]\n{scans}options = ['--fre', 'four']\n"), "unexpected argument '--fre'"),
        (
            format!("[[group]]\n{scans}options = ['--overwrite']\n"),
            "cannot be used with '--overwrite'",
        ),
        (format!("[[group]]\n{scans}[[group]]\n{scans}"), "is in the groups group-1 and group-2"),
        ("[[group]]\nscans = []\n".into(), "no scan is found"),
        ("[[group]]\nscans = ['maps/s1.h5']\n".into(), "is in the output folder"),
        (String::new(), "there is no [[group]]"),
    ] {
        let case = Case::new(&manifest);
        case.simulate("raw/s1.h5", 1, &[]);
        let refused = case.campaign("plan").output().expect("the program starts");
        assert_eq!(code(&refused), 1, "{manifest}: {}", said(&refused));
        assert!(
            said(&refused).contains(complaint),
            "{manifest}\nis refused with {}",
            said(&refused)
        );
        assert!(said(&refused).contains("campaign.toml"), "no file is named: {}", said(&refused));
    }
}
