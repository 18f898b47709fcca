//! The virtual environment that the applications of the frameworks run in. Made by the first test that asks, with the
//! ordinary `venv` and `pip` of the Python under test; kept beside what cargo builds until `requirements.txt` changes.
//!
//! Children of httpd read it after they have dropped root's privileges. Where they may not enter the directory of the
//! build, it is kept in `/var/tmp`.

use super::Installation;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/requirements.txt");

/// A Python with Django, Flask and the others.
pub struct Venv {
    home: PathBuf,
}

impl Venv {
    /// The one of this run.
    pub fn get() -> &'static Venv {
        static MADE: OnceLock<Venv> = OnceLock::new();
        MADE.get_or_init(Venv::find_or_make)
    }

    /// What `WSGIPythonHome` is told.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The interpreter.
    pub fn python(&self) -> PathBuf {
        self.home.join("bin/python")
    }

    /// Where an installed package lies.
    pub fn package(&self, name: &str) -> PathBuf {
        let said = run(Command::new(self.python())
            .args(["-c", &format!("import {name}; print({name}.__path__[0])")]));
        PathBuf::from(said.trim())
    }

    fn find_or_make() -> Venv {
        let shelf = shelf();
        fs::create_dir_all(&shelf).unwrap();
        super::installation::open_to_everybody(&shelf);
        let home = shelf.join(name());
        // Another run may be making the same one.
        let lock = File::create(home.with_extension("lock")).unwrap();
        let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap();
        let complete = home.join("complete");
        if !complete.exists() {
            make(&home);
            File::create(complete).unwrap();
        }
        drop(lock);
        Venv { home }
    }
}

fn make(home: &Path) {
    let _ = fs::remove_dir_all(home);
    eprintln!("making {} (once for each {REQUIREMENTS})", home.display());
    let steps = r#"umask 022 && "$1" -m venv "$2" && "$2/bin/python" -m pip install --quiet --requirement "$3""#;
    run(Command::new("sh").args(["-c", steps, "sh"]).args([
        &Installation::get().python,
        home,
        Path::new(REQUIREMENTS),
    ]));
}

/// Differs where the Python differs or what is installed.
fn name() -> String {
    use md5::{Digest, Md5};
    let python = Installation::get().python_says("sys.executable + sys.version");
    let text = [python.as_bytes(), &fs::read(REQUIREMENTS).unwrap()].concat();
    let digest: String = Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("venv-{}", &digest[..12])
}

fn shelf() -> PathBuf {
    let beside_the_build = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let open = |path: &Path| fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
    if beside_the_build.ancestors().all(open) {
        beside_the_build.to_owned()
    } else {
        PathBuf::from(format!("/var/tmp/rustgi-tests-{}", geteuid()))
    }
}

/// What a command prints; it must succeed.
pub fn run(command: &mut Command) -> String {
    let done = command.output().expect("the command runs");
    let (said, complained) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command:?}: {}\n{said}{complained}", done.status);
    said.into_owned()
}
