//! The httpd of this machine and the module that is tested, found once for the whole run.
//!
//! Module and engine are copied to a directory that every user can read: a child of httpd opens the engine after it has
//! dropped its privileges, and a checkout may lie where nobody else may look.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// What is there before any server is started.
pub struct Installation {
    /// The httpd executable.
    pub httpd: PathBuf,
    /// The directory of its loadable modules.
    pub modules: PathBuf,
    /// Names of the modules that are compiled into it: `core`, `log_config`, …
    built_in: Vec<String>,
    /// The copy of the module under test.
    pub module: PathBuf,
    /// The Python whose applications are run, as `PYTHON` of the build says it.
    pub python: PathBuf,
    shelf: TempDir,
}

impl Installation {
    /// The one of this run.
    pub fn get() -> &'static Installation {
        static FOUND: OnceLock<Installation> = OnceLock::new();
        FOUND.get_or_init(Installation::find)
    }

    /// The module as it was built, where it was built.
    pub fn built() -> PathBuf {
        match std::env::var_os("RUSTGI_MODULE") {
            Some(path) => PathBuf::from(path),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/mod_rustgi.so"),
        }
    }

    fn find() -> Installation {
        sweep();
        let prefix = format!("{SHELF}{}-", std::process::id());
        let shelf = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
        open_to_everybody(shelf.path());
        let httpd = match std::env::var_os("RUSTGI_HTTPD") {
            Some(path) => PathBuf::from(path),
            None => Path::new(&apxs("SBINDIR")).join(apxs("PROGNAME")),
        };
        let modules = match std::env::var_os("RUSTGI_HTTPD_MODULES") {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(apxs("LIBEXECDIR")),
        };
        let built_in = built_in_modules(&httpd);
        let module = shelve_module(shelf.path());
        let python = std::env::var_os("PYTHON").unwrap_or_else(|| "/usr/bin/python3".into()).into();
        Installation { httpd, modules, built_in, module, python, shelf }
    }

    /// The line that loads one of httpd's own modules; empty if it is compiled in.
    pub fn load_line(&self, name: &str) -> String {
        if self.built_in.iter().any(|built_in| built_in == name) {
            return String::new();
        }
        let file = self.modules.join(format!("mod_{name}.so"));
        assert!(file.exists(), "httpd has no module {name}: {} does not exist", file.display());
        format!("LoadModule {name}_module \"{}\"\n", file.display())
    }

    /// A self-signed certificate for `localhost` and its key, made once for the run.
    pub fn certificate(&self) -> (PathBuf, PathBuf) {
        static MADE: OnceLock<()> = OnceLock::new();
        let (certificate, key) =
            (self.shelf.path().join("tls.crt"), self.shelf.path().join("tls.key"));
        MADE.get_or_init(|| {
            let made = Command::new("openssl")
                .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
                .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
                .arg("-keyout")
                .arg(&key)
                .arg("-out")
                .arg(&certificate)
                .output()
                .expect("openssl runs");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            open_to_everybody(&key);
        });
        (certificate, key)
    }

    /// A module whose handler, `floor`, answers with twelve fixed bytes: what httpd itself costs.
    pub fn floor(&self) -> PathBuf {
        static MADE: OnceLock<()> = OnceLock::new();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/floor.c");
        MADE.get_or_init(|| {
            fs::copy(source, self.shelf.path().join("floor.c")).unwrap();
            let made = apxs_command()
                .args(["-c", "-Wc,-O2", "floor.c"])
                .current_dir(self.shelf.path())
                .output()
                .expect("apxs runs (Debian: apache2-dev)");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        });
        self.shelf.path().join(".libs/floor.so")
    }

    /// What a Python expression is in the Python under test, without any httpd.
    pub fn python_says(&self, expression: &str) -> String {
        let said = Command::new(&self.python)
            .args(["-c", &format!("import sys, sysconfig; print({expression})")])
            .output()
            .unwrap_or_else(|error| panic!("{} does not run: {error}", self.python.display()));
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }
}

/// How the names of the directories with copies begin; the number of the process that made them follows.
const SHELF: &str = "rustgi-module-";

/// Removes the copies of runs that have ended: what lives as long as a process is never dropped.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(SHELF).and_then(|rest| rest.split_once('-'));
        if owner.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Lets every user read a file, or enter a directory.
pub fn open_to_everybody(path: &Path) {
    let is_program = || path.metadata().is_ok_and(|found| found.permissions().mode() & 0o100 != 0);
    let mode = if path.is_dir() || is_program() { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn apxs_command() -> Command {
    Command::new(std::env::var_os("APXS").unwrap_or_else(|| "apxs".into()))
}

fn apxs(variable: &str) -> String {
    let asked = apxs_command().args(["-q", variable]).output().expect(
        "apxs runs (Debian: apache2-dev); RUSTGI_HTTPD and RUSTGI_HTTPD_MODULES do without it",
    );
    String::from_utf8(asked.stdout).unwrap().trim().to_owned()
}

fn built_in_modules(httpd: &Path) -> Vec<String> {
    let listed = Command::new(httpd).arg("-l").output().expect("httpd runs");
    String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter_map(|line| line.trim().strip_suffix(".c"))
        .map(|name| name.strip_prefix("mod_").unwrap_or(name).to_owned())
        .collect()
}

fn shelve_module(shelf: &Path) -> PathBuf {
    let built = Installation::built();
    assert!(built.exists(), "no module at {}: `make module` builds it", built.display());
    let module = shelf.join("mod_rustgi.so");
    fs::copy(&built, &module).unwrap();
    open_to_everybody(&module);
    let (from, to) = (built.with_file_name("rustgi"), shelf.join("rustgi"));
    if from.is_dir() {
        fs::create_dir(&to).unwrap();
        open_to_everybody(&to);
        for engine in fs::read_dir(&from).unwrap() {
            let engine = engine.unwrap().path();
            let copy = to.join(engine.file_name().unwrap());
            // With its mode: besides engines there is a program.
            fs::copy(&engine, &copy).unwrap();
        }
    }
    module
}
