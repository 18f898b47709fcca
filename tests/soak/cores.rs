//! Core dumps: while the soak runs, the kernel writes them to a directory of the soak, also those of processes that have
//! changed their user. A watching process puts the kernel's settings back when the soak ends, however it ends.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const PATTERN: &str = "/proc/sys/kernel/core_pattern";
/// 2: the kernel writes core dumps of processes that have changed their user, readable by root alone; such processes still cannot be
/// traced.
const DUMPABLE: &str = "/proc/sys/fs/suid_dumpable";

/// Waits for the end of its input. If the input is not the word `done`, the soak has been killed, and this ends httpd.
const WATCH: &str = r#"
read word
[ "$word" = done ] || kill -TERM "$(cat "$1/run/httpd.pid")"
printf '%s\n' "$2" > "$4"
printf '%s\n' "$3" > "$5"
"#;

/// Prints the shared object and the function of each frame of the thread that crashed.
const STACK: &str = r#"
import gdb
frame = gdb.newest_frame()
for _ in range(60):
    if frame is None:
        break
    print('FRAME', gdb.solib_name(frame.pc()) or 'program', frame.name())
    frame = frame.older()
"#;

/// Where core dumps go.
pub struct Cores {
    /// `None` where the kernel's settings cannot be changed.
    place: Option<TempDir>,
    watch: Option<Child>,
}

/// A process of which there is a core dump.
#[derive(Debug)]
pub struct Crash {
    pub pid: i32,
    pub program: PathBuf,
    /// Innermost first: the shared object and the function.
    pub frames: Vec<String>,
}

impl Crash {
    /// Whether code of this project was running.
    pub fn is_ours(&self) -> bool {
        let of_ours =
            |frame: &String| frame.contains("mod_rustgi.so") || frame.contains("/_rustgi.");
        self.frames.iter().any(of_ours)
    }
}

impl Cores {
    /// Sends core dumps to a directory until this is dropped. The server will be in the directory `root`.
    pub fn collect(root: &Path) -> Cores {
        let none = Cores { place: None, watch: None };
        if !nix::unistd::geteuid().is_root() {
            return none;
        }
        let settings = (fs::read_to_string(PATTERN), fs::read_to_string(DUMPABLE));
        let (Ok(pattern), Ok(dumpable)) = settings else { return none };
        let place = tempfile::Builder::new().prefix("rustgi-soak-").tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        let watch = Command::new("sh")
            .args(["-c", WATCH, "sh"])
            .arg(root)
            .args([pattern.trim_end(), dumpable.trim_end(), PATTERN, DUMPABLE])
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("sh runs");
        let new = format!("{}/core.%p.%E", place.path().display());
        let set = fs::write(DUMPABLE, "2").and_then(|()| fs::write(PATTERN, new));
        let cores = Cores { place: Some(place), watch: Some(watch) };
        match set {
            Ok(()) => cores,
            Err(_) => none,
        }
    }

    /// Where they go, for a message.
    pub fn description(&self) -> String {
        match &self.place {
            Some(place) => format!("in {}", place.path().display()),
            None => "off, as the kernel's settings cannot be changed".to_owned(),
        }
    }

    /// All core dumps, with their stacks.
    pub fn crashes(&self) -> Vec<Crash> {
        let Some(place) = &self.place else { return Vec::new() };
        let entries = fs::read_dir(place.path()).into_iter().flatten().flatten();
        let crash = |core: PathBuf| {
            let name = core.file_name()?.to_str()?;
            let (pid, program) = name.strip_prefix("core.")?.split_once('.')?;
            let program = PathBuf::from(program.replace('!', "/"));
            let frames = self.frames(&program, &core);
            Some(Crash { pid: pid.parse().ok()?, program, frames })
        };
        entries.filter_map(|entry| crash(entry.path())).collect()
    }

    fn frames(&self, program: &Path, core: &Path) -> Vec<String> {
        let script = core.with_file_name("stack.py");
        let _ = fs::write(&script, STACK);
        let asked = Command::new("gdb")
            .args(["-batch", "-nx", "-x"])
            .arg(&script)
            .arg(program)
            .arg(core)
            .output();
        let Ok(asked) = asked else { return vec!["gdb does not run".to_owned()] };
        let said = String::from_utf8_lossy(&asked.stdout).into_owned();
        said.lines().filter_map(|line| line.strip_prefix("FRAME ")).map(str::to_owned).collect()
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        if let Some(mut watch) = self.watch.take() {
            let _ = watch.stdin.take().map(|mut input| input.write_all(b"done\n"));
            let _ = watch.wait();
        }
    }
}
