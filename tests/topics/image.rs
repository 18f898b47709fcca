//! The image of httpd with the module in it (`docker/`): built on stand-ins for the official images, run, and stopped.

use std::io::Write;
use std::path::Path;
use std::process::Command;

/// What the script exits with when the machine cannot build images.
const SKIPPED: i32 = 77;

#[test]
fn the_image_serves_applications_made_from_it_and_stops_in_order() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docker/test.sh");
    let output = Command::new(script).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {}
        Some(SKIPPED) => {
            let why = said.lines().find(|line| line.starts_with("SKIPPED")).unwrap();
            let _ = writeln!(std::io::stderr(), "{why}");
        }
        _ => panic!("{said}"),
    }
}
