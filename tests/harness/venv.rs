//! The virtual environments that real applications run in. Each is made by the first test that asks, with the ordinary
//! `venv` and `pip` of the Python under test, and kept beside what cargo builds until the list of what is in it changes.
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

/// Django, Flask and the others.
const FRAMEWORKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/requirements.txt");

/// Applications that have clients of their own, and those clients.
const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/requirements-clients.txt");

/// A Python with the packages of a list.
pub struct Venv {
    home: PathBuf,
}

impl Venv {
    /// The one with the frameworks.
    pub fn get() -> &'static Venv {
        static MADE: OnceLock<Venv> = OnceLock::new();
        MADE.get_or_init(|| Venv::find_or_make(FRAMEWORKS))
    }

    /// The one with the applications that have clients of their own.
    pub fn with_clients() -> &'static Venv {
        static MADE: OnceLock<Venv> = OnceLock::new();
        MADE.get_or_init(|| Venv::find_or_make(CLIENTS))
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

    fn find_or_make(requirements: &str) -> Venv {
        let shelf = shelf();
        fs::create_dir_all(&shelf).unwrap();
        super::installation::open_to_everybody(&shelf);
        let home = shelf.join(name(requirements));
        // Another run may be making the same one.
        let lock = File::create(home.with_extension("lock")).unwrap();
        let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap();
        let complete = home.join("complete");
        if !complete.exists() {
            make(&home, requirements);
            File::create(complete).unwrap();
        }
        drop(lock);
        Venv { home }
    }
}

fn make(home: &Path, requirements: &str) {
    let _ = fs::remove_dir_all(home);
    eprintln!("making {} (once for each {requirements})", home.display());
    let steps = r#"umask 022 && "$1" -m venv "$2" && "$2/bin/python" -m pip install --quiet --requirement "$3""#;
    run(Command::new("sh").args(["-c", steps, "sh"]).args([
        &Installation::get().python,
        home,
        Path::new(requirements),
    ]));
}

/// Differs where the Python differs or what is installed.
fn name(requirements: &str) -> String {
    use md5::{Digest, Md5};
    let python = Installation::get().python_says("sys.executable + sys.version");
    let text = [python.as_bytes(), &fs::read(requirements).unwrap()].concat();
    let digest: String = Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("venv-{}", &digest[..12])
}

fn shelf() -> PathBuf {
    // cargo names this directory to tests, but not to the soak, which is an example and has no virtual environments.
    let beside_the_build = Path::new(option_env!("CARGO_TARGET_TMPDIR").unwrap_or_default());
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
