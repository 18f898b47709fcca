//! `rustgi ctl`: sends a command to a supervisor and prints its reply as a table. The administrator is often root, and other users
//! control names and messages in the reply, and can listen on sockets of their own. So it talks only to processes of root or of the user
//! who runs it, and escapes what it prints.

use crate::plain::{plain, plain_bytes};
use crate::supervise::CONTROL;
use clap::{Args, Subcommand};
use link::{Channel, Stream};
use std::error::Error;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wire::control::{Ask, GroupStatus, Told, decode, encode};

/// For how long a supervisor may not answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many characters of a text are printed.
const MOST: usize = 1000;
/// Runtime directories of httpd: that of the httpd that this program was built for, then those of distributions.
const DIRECTORIES: [Option<&str>; 3] =
    [option_env!("RUSTGI_RUNTIME_DIRECTORY"), Some("/run/apache2"), Some("/run/httpd")];

/// Which supervisor the command goes to.
#[derive(Args)]
pub struct Place {
    /// The socket of the supervisor.
    #[arg(long, conflicts_with = "directory")]
    socket: Option<PathBuf>,
    /// The directory in which httpd's supervisor makes its directory of sockets: httpd's runtime directory, or that of
    /// WSGISocketPrefix.
    ///
    /// Without it, the directory is that of the environment variable APACHE_RUN_DIR, or else the runtime directory of the
    /// httpd that this program was built for, /run/apache2 and /run/httpd. A socket is used only if root or you own it, the
    /// directory it is in, and the process that listens.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// What is asked.
#[derive(Subcommand)]
pub enum Word {
    /// Show the groups and their workers.
    Status,
    /// Replace all workers of a group, or of all, by new ones; no request is lost.
    Reload {
        /// The name of the group.
        group: Option<String>,
    },
}

/// Asks, and prints the answer.
pub fn run(place: &Place, word: Word) -> Result<(), Box<dyn Error>> {
    let stream = match &place.socket {
        Some(socket) => connect(socket, None)?,
        None => only(found(&directories(place)))?,
    };
    match word {
        Word::Status => match ask(stream, &Ask::Status)? {
            Told::Status(groups) => print!("{}", table(&groups)),
            Told::Reloading(_) => return Err("the supervisor answered something else".into()),
        },
        Word::Reload { group } => {
            let name = group.clone().map(String::into_bytes);
            match ask(stream, &Ask::Reload(name))? {
                Told::Reloading(0) if group.is_some() => return Err("no such group".into()),
                Told::Reloading(count) => println!("reloading {count}"),
                Told::Status(_) => return Err("the supervisor answered something else".into()),
            }
        }
    }
    Ok(())
}

fn ask(stream: Stream, ask: &Ask) -> Result<Told, Box<dyn Error>> {
    stream.set_timeout(Some(PATIENCE))?;
    let mut channel = Channel::new(OwnedFd::from(stream));
    channel.send(&encode(ask), &[])?;
    let (answer, _) = channel.receive()?.ok_or("the supervisor does not answer")?;
    Ok(decode(&answer)?)
}

/// Whether this is root or the user of this process. Processes of other users must neither read nor write what this process exchanges
/// with a supervisor.
fn is_trusted(user: u32) -> bool {
    user == 0 || user == nix::unistd::geteuid().as_raw()
}

/// Connects to a supervisor that root or this user has started, and that has this pid if one is given.
fn connect(socket: &Path, pid: Option<u32>) -> Result<Stream, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", socket.display());
    let stream = link::connect(socket, PATIENCE).map_err(failed)?;
    let peer = link::peer(&stream).map_err(failed)?;
    if !is_trusted(peer.user) {
        let user = peer.user;
        return Err(format!("{}: user {user} listens there, not root or you", socket.display()));
    }
    if pid.is_some_and(|pid| pid != peer.pid) {
        return Err(format!("{}: process {} listens there", socket.display(), peer.pid));
    }
    Ok(stream)
}

/// The directories in which supervisors are searched for.
fn directories(place: &Place) -> Vec<PathBuf> {
    let given = place.directory.clone();
    let given = given.or_else(|| std::env::var_os("APACHE_RUN_DIR").map(PathBuf::from));
    given.map_or_else(
        || DIRECTORIES.into_iter().flatten().map(PathBuf::from).collect(),
        |it| vec![it],
    )
}

/// A supervisor: its pid, its socket, and the connection to it or the error.
type Found = (u32, PathBuf, Result<Stream, String>);

/// The supervisors that have a directory in one of these. Directories and sockets of other users are ignored.
fn found(directories: &[PathBuf]) -> Result<Vec<Found>, String> {
    let mut found: Vec<Found> = Vec::new();
    for directory in directories {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Some(pid) = entry.path().extension().and_then(|it| it.to_str()?.parse().ok())
            else {
                continue;
            };
            let is_own = fs::symlink_metadata(entry.path()).is_ok_and(|it| is_trusted(it.uid()));
            let socket = entry.path().join(CONTROL);
            // A supervisor has a second name where WSGISocketPrefix has changed.
            if is_own && fs::symlink_metadata(&socket).is_ok_and(|it| is_trusted(it.uid())) {
                found.push((pid, socket.clone(), connect(&socket, Some(pid))));
            }
        }
    }
    if found.is_empty() {
        let places: Vec<_> = directories.iter().map(|it| it.display().to_string()).collect();
        let places = places.join(" ");
        return Err(format!("no supervisor is running in {places}; say where with --directory"));
    }
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    Ok(found)
}

fn only(found: Result<Vec<Found>, String>) -> Result<Stream, String> {
    let mut found = found?;
    // Supervisors that were killed leave their directories behind.
    if found.iter().any(|(_, _, stream)| stream.is_ok()) {
        found.retain(|(_, _, stream)| stream.is_ok());
    }
    found.dedup_by_key(|(pid, ..)| *pid);
    if found.len() > 1 {
        let paths: Vec<_> = found.iter().map(|(_, path, _)| path.display().to_string()).collect();
        return Err(format!("there are several; say which with --socket: {}", paths.join(" ")));
    }
    found.remove(0).2
}

fn table(groups: &[GroupStatus]) -> String {
    let head = ["GROUP", "GENERATION", "PID", "STATE", "BUSY", "SERVED", "AGE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut failures = String::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for group in groups {
        let name = plain_bytes(&group.name, MOST);
        for worker in &group.workers {
            rows.push(vec![
                name.clone(),
                worker.generation.to_string(),
                worker.pid.to_string(),
                plain(&worker.state.to_lowercase(), MOST),
                worker.busy.to_string(),
                worker.served.to_string(),
                age(worker.age),
            ]);
        }
        if group.workers.is_empty() {
            let dash = "-".to_owned();
            let mut row = vec![name.clone(), group.generation.to_string()];
            row.resize(head.len(), dash);
            rows.push(row);
        }
        if let Some((code, _)) = group.trouble {
            failures += &format!("{name}: requests get 503 (WSGI{code:04})\n");
        }
        if let Some((when, what)) = &group.failure {
            let what = plain(what, MOST);
            failures += &format!("{name}: {} ago: {what}\n", age(now.saturating_sub(*when)));
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text + &failures
}

fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::control::WorkerStatus;

    #[test]
    fn a_table_has_a_row_for_each_worker_and_says_what_failed_last() {
        let state = "Ready".to_owned();
        let worker = WorkerStatus { pid: 7, generation: 2, state, busy: 1, served: 30, age: 75 };
        let failure = Some((0, "WSGI1016: x".to_owned()));
        let group = GroupStatus {
            name: b"site".to_vec(),
            generation: 2,
            trouble: None,
            failure,
            workers: vec![worker],
        };
        let idle = GroupStatus { name: b"idle".to_vec(), ..GroupStatus::default() };
        let text = table(&[group, idle]);
        assert!(text.contains("site   2           7    ready  1     30      1m15s\n"), "{text}");
        assert!(text.contains("idle   0           -    -      -     -       -\n"), "{text}");
        assert!(text.contains("site: ") && text.contains("ago: WSGI1016: x"), "{text}");
    }

    #[test]
    fn control_characters_of_names_and_messages_are_escaped() {
        let state = "Ready\u{1b}[2J".to_owned();
        let worker = WorkerStatus { state, ..WorkerStatus::default() };
        let group = GroupStatus {
            name: b"si\x9bte\x1b]0;x\x07".to_vec(),
            failure: Some((0, "'/a\u{1b}[2J\r\u{202e}': SyntaxError\nroot# ".to_owned())),
            trouble: Some((1017, 0)),
            workers: vec![worker],
            ..GroupStatus::default()
        };
        let text = table(&[group]);
        assert!(text.chars().all(|char| char == '\n' || (' '..='~').contains(&char)), "{text:?}");
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("'/a\\u{1b}[2J\\r\\u{202e}': SyntaxError\\nroot# "), "{text}");
    }
}
