//! `rustgi ctl`: what an operator asks a supervisor, and the answer as a table.

use crate::supervise::CONTROL;
use clap::Subcommand;
use link::Channel;
use std::error::Error;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wire::control::{Ask, GroupStatus, Told, decode, encode};

/// For how long a supervisor may not answer.
const PATIENCE: Duration = Duration::from_secs(5);

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
pub fn run(socket: Option<PathBuf>, word: Word) -> Result<(), Box<dyn Error>> {
    let socket = match socket {
        Some(socket) => socket,
        None => only(found(&fs::read_to_string("/proc/net/unix")?))?,
    };
    match word {
        Word::Status => match ask(&socket, &Ask::Status)? {
            Told::Status(groups) => print!("{}", table(&groups)),
            Told::Reloading(_) => return Err("the supervisor answered something else".into()),
        },
        Word::Reload { group } => {
            let name = group.clone().map(String::into_bytes);
            match ask(&socket, &Ask::Reload(name))? {
                Told::Reloading(0) if group.is_some() => return Err("no such group".into()),
                Told::Reloading(count) => println!("reloading {count}"),
                Told::Status(_) => return Err("the supervisor answered something else".into()),
            }
        }
    }
    Ok(())
}

fn ask(socket: &Path, ask: &Ask) -> Result<Told, Box<dyn Error>> {
    let failed = |error: std::io::Error| format!("{}: {error}", socket.display());
    let stream = link::connect(socket, PATIENCE).map_err(failed)?;
    stream.set_timeout(Some(PATIENCE))?;
    let mut channel = Channel::new(OwnedFd::from(stream));
    channel.send(&encode(ask), &[]).map_err(failed)?;
    let (answer, _) = channel.receive().map_err(failed)?.ok_or("the supervisor does not answer")?;
    Ok(decode(&answer)?)
}

/// The sockets of supervisors that listen, by the kernel's list.
fn found(list: &str) -> Vec<PathBuf> {
    let paths = list.lines().filter_map(|line| line.split_whitespace().nth(7));
    let mut paths: Vec<_> =
        paths.map(PathBuf::from).filter(|path| path.ends_with(CONTROL)).collect();
    paths.sort();
    paths.dedup();
    paths
}

fn only(mut found: Vec<PathBuf>) -> Result<PathBuf, String> {
    match found.len() {
        0 => Err("no supervisor is running".to_owned()),
        1 => Ok(found.remove(0)),
        _ => {
            let paths: Vec<_> = found.iter().map(|path| path.display().to_string()).collect();
            Err(format!("there are several; say which with --socket: {}", paths.join(" ")))
        }
    }
}

fn table(groups: &[GroupStatus]) -> String {
    let head = ["GROUP", "GENERATION", "PID", "STATE", "BUSY", "SERVED", "AGE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut failures = String::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for group in groups {
        let name = String::from_utf8_lossy(&group.name).into_owned();
        for worker in &group.workers {
            rows.push(vec![
                name.clone(),
                worker.generation.to_string(),
                worker.pid.to_string(),
                worker.state.to_lowercase(),
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
    fn the_kernels_list_tells_where_supervisors_listen() {
        let list = "Num       RefCount Protocol Flags    Type St Inode Path\n\
                    ffff: 00000002 00000000 00010000 0001 01 1 /run/wsgi.7/rustgi.control\n\
                    ffff: 00000003 00000000 00000000 0001 03 2 /run/wsgi.7/rustgi.control\n\
                    ffff: 00000003 00000000 00000000 0001 03 3\n\
                    ffff: 00000002 00000000 00010000 0001 01 4 /run/wsgi.7/1.sock\n";
        assert_eq!(found(list), [PathBuf::from("/run/wsgi.7/rustgi.control")]);
    }

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
}
