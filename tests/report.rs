//! Progress and numbers read well: in a batch log some ten lines, whatever the number of tiles, and no
//! sentence twice.

#[path = "common/program.rs"]
mod program;

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use log::Level;
use xrfit::report::{Progress, Screen, count, duration, log_line, progress_line, rate};

/// Paper that the test keeps while progress writes on it.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("paper").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn progress_of(tiles: usize, screen: Screen) -> String {
    let paper = Paper::default();
    let mut progress = Progress::shown_on(screen, Box::new(paper.clone()), 13 * tiles);
    for _ in 0..tiles {
        progress.advance(13);
    }
    progress.finish();
    let bytes = paper.0.lock().expect("paper").clone();
    String::from_utf8(bytes).expect("text")
}

#[test]
fn a_batch_log_gets_some_ten_lines_and_no_control_codes() {
    for (tiles, expected) in [(1, 1), (3, 3), (1001, 10)] {
        let text = progress_of(tiles, Screen::Plain);
        assert_eq!(text.lines().count(), expected, "lines for {tiles} tiles:\n{text}");
        assert!(!text.contains(['\r', '\x1b']), "{text:?}");
    }
    let text = progress_of(1001, Screen::Plain);
    assert!(text.contains("of 13,013 pixels (10 %)"), "{text}");
    assert!(
        text.lines().last().is_some_and(|line| line.starts_with("13,013 pixels in ")),
        "{text}"
    );
}

#[test]
fn a_terminal_keeps_one_line_and_leaves_it_finished() {
    let text = progress_of(1001, Screen::Terminal);
    assert_eq!(text.matches('\n').count(), 1, "line ends in {text:?}");
    assert!(text.ends_with("pixels/s\n"), "{text:?}");
}

#[test]
fn a_progress_line_tells_rate_and_time_left() {
    let line = progress_line(1250, 5000, Duration::from_secs(10));
    assert_eq!(line, "1,250 of 5,000 pixels (25 %), 125 pixels/s, 30 s left");
    assert_eq!(progress_line(0, 0, Duration::ZERO), "0 of 0 pixels (0 %)");
}

#[test]
fn numbers_read_as_a_person_writes_them() {
    for (n, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
        assert_eq!(count(n), expected, "count {n}");
    }
    for (n, expected) in [(1, "0.3"), (29, "9.7"), (30, "10"), (37035, "12,345")] {
        assert_eq!(rate(n, Duration::from_secs(3)), expected, "rate of {n} in 3 s");
    }
    let times = [
        (0.4249, "0.42 s"),
        (9.999, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (187.2, "3 min 07 s"),
        (7499.0, "2 h 05 min"),
    ];
    for (seconds, expected) in times {
        assert_eq!(duration(Duration::from_secs_f64(seconds)), expected, "{seconds} s");
    }
}

#[test]
fn only_other_ranks_name_themselves() {
    assert_eq!(log_line(0, Level::Info, "5 x 7 pixels"), "5 x 7 pixels");
    assert_eq!(log_line(0, Level::Warn, "no live time"), "warning: no live time");
    assert_eq!(log_line(3, Level::Error, "gone"), "rank 3: error: gone");
}

#[test]
fn a_note_about_the_configuration_comes_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let scan = program::simulate(folder.path(), [3, 5]);
    let override_file = folder.path().join("override.txt");
    let text = "ELEMENTS_TO_FIT: Ca, Fe\nCOHERENT_SCT_ENERGY: 10.0\nSRCURRENT: S:SRcurrentAI\n";
    std::fs::write(&override_file, text).expect("a file");
    let mut command = program::map(&scan, &folder.path().join("maps.h5"));
    let output = program::succeed(command.arg("--override").arg(&override_file));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let notes = said.lines().filter(|line| line.contains("SRCURRENT")).count();
    assert_eq!(notes, 1, "notes about SRCURRENT in:\n{said}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_no_command_in_a_panic() {
    let mut command = Command::new(program::XRFIT);
    command.args(["check", "--elements", "Fe", "--incident-kev", "10"]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success() && !said.contains("panicked"), "{}: {said}", ended.status);
}
