//! The supervisor as the parent knows it: the program `rustgi supervise`, which starts and replaces the workers. It is
//! started when the first configuration with groups has been read, outlives configurations, and ends when httpd does: by a
//! message, or because nobody is at the other end of its channel any more.

use super::desired;
use crate::config::store;
use crate::httpd::parent::{self, Fate, Kept, Phase};
use crate::httpd::{Pool, ServerRec, log, process};
use exchange::{Code, Level};
use link::{Board, Channel, Shared};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wire::control::{self, Desired, FromSupervisor, ToSupervisor};

/// How long the supervisor may take to say where it has put what it was told.
const PATIENCE: Duration = Duration::from_secs(10);

/// A supervisor that ends so soon after its start would do so again.
const SOON: i64 = 2;

/// The configuration has been read: tells the supervisor what shall run, and starts it if there is none.
pub fn configure(main: ServerRec<'_>) {
    if parent::phase() == Phase::Trying {
        return;
    }
    let Some(resolved) = store::of_server(main).resolved.get() else { return };
    let kept = Kept::find(main);
    if resolved.plan.daemons.is_empty() && kept.is_none() {
        return;
    }
    let desired = desired::all(main, resolved.plan);
    let told = match kept {
        Some(kept) => tell(main, kept, &desired).or_else(|_| start_and_tell(main, &desired)),
        None => start_and_tell(main, &desired),
    };
    match told {
        Ok(places) => {
            for (daemon, place) in resolved.plan.daemons.iter().zip(places) {
                let _ = daemon.place.set(place);
            }
        }
        Err(error) => log::note_code(Level::Critical, Code::SupervisorMissing, &error.to_string()),
    }
    watch(main);
    parent::at_end_of_configuration(main, end);
}

/// Has a supervisor that ends be followed by another.
fn watch(main: ServerRec<'_>) {
    if let Some(kept) = Kept::find(main).filter(|kept| kept.supervisor != 0) {
        parent::watch(main, kept.supervisor, |fate| {
            ServerRec::with_main(|main| match fate {
                Fate::Ended => replace(main),
                // Children of httpd that wait for workers would keep it waiting.
                Fate::ToEnd => stop(main),
            });
        });
    }
}

/// The supervisor has ended, which it does not do by itself.
fn replace(main: ServerRec<'_>) {
    let Some(kept) = Kept::find(main) else { return };
    if parent::stops_at_once() || parent::phase() == Phase::Ending {
        return;
    }
    if parent::seconds() - kept.since < SOON {
        let why = "it had only just been started; another one follows in a while";
        log::note_code(Level::Error, Code::SupervisorDied, why);
        Kept { supervisor: 0, ..kept }.keep(main);
        return;
    }
    log::note_code(Level::Error, Code::SupervisorDied, "another one is started");
    start_anew(main);
}

fn start_anew(main: ServerRec<'_>) {
    let Some(resolved) = store::of_server(main).resolved.get() else { return };
    let desired = desired::all(main, resolved.plan);
    if let Err(error) = start_and_tell(main, &desired) {
        log::note_code(Level::Critical, Code::SupervisorMissing, &error.to_string());
    }
    watch(main);
}

/// What httpd's parent does every few seconds: where a supervisor is missing, it tries again.
pub fn look_after(main: ServerRec<'_>) {
    let is_missing = Kept::find(main).is_some_and(|kept| kept.supervisor == 0);
    if is_missing && parent::phase() == Phase::Running && !parent::stops_at_once() {
        start_anew(main);
    }
}

/// The configuration goes. If httpd goes as well, so do the supervisor and its workers.
fn end() {
    if parent::phase() != Phase::Ending {
        return;
    }
    ServerRec::with_main(|main| {
        let Some(kept) = Kept::find(main) else { return };
        let plan = store::of_server(main).resolved.get().map(|resolved| resolved.plan);
        let daemons = plan.map(|plan| plan.daemons.as_slice()).unwrap_or_default();
        let longest = |name: &str, otherwise: u64| {
            let of = |daemon: &crate::config::daemon::Daemon<'_>| {
                daemon.options.number_or(name, otherwise)
            };
            daemons.iter().map(of).max().unwrap_or(otherwise)
        };
        let patience = Duration::from_secs(longest("shutdown-timeout", 5) + 2);
        stop(main);
        let Some(mut channel) = kept.channel() else { return };
        // The end of the channel is the end of the supervisor.
        let until = Instant::now() + patience;
        while channel.try_receive().is_ok() {
            let Some(left) = remaining(until) else { break };
            process::wait_readable(channel.as_fd(), left);
        }
    });
}

/// Tells the supervisor to end, which may have been told before.
fn stop(main: ServerRec<'_>) {
    if let Some(channel) = Kept::find(main).and_then(Kept::channel) {
        let _ = channel.send(&control::encode(&ToSupervisor::Stop), &[]);
    }
}

fn remaining(until: Instant) -> Option<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

fn start_and_tell(main: ServerRec<'_>, desired: &Desired) -> io::Result<Vec<u32>> {
    let kept = start(main).inspect_err(|_| {
        if let Some(kept) = Kept::find(main) {
            Kept { supervisor: 0, ..kept }.keep(main);
        }
    })?;
    kept.keep(main);
    tell(main, kept, desired)
}

/// Starts a supervisor, with the board that there is or a new one.
fn start(main: ServerRec<'_>) -> io::Result<Kept> {
    let before = Kept::find(main);
    let board = match before {
        Some(kept) => kept.board_file()?,
        None => OwnedFd::from(Shared::<Board>::create_for_readers("rustgi-board")?),
    };
    let (ours, theirs) = Channel::pair()?;
    // One that does not listen shall not keep httpd from restarting or ending.
    ours.set_send_timeout(PATIENCE)?;
    let program = program()?;
    let log = main.log_file().map(|file| file.try_clone_to_owned()).transpose()?;
    let child = Command::new(&program)
        .arg("supervise")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(board.try_clone()?))
        .stderr(log.map_or_else(Stdio::inherit, Stdio::from))
        .current_dir("/")
        // What a terminal sends to httpd is for httpd, which says what is to be done.
        .process_group(0)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
    if let Some(before) = before {
        before.forget_channel();
    }
    let board = match before {
        Some(kept) => kept.board,
        None => board.into_raw_fd(),
    };
    let channel = OwnedFd::from(ours).into_raw_fd();
    Ok(Kept {
        channel,
        board,
        supervisor: child.id(),
        parent: std::process::id(),
        since: parent::seconds(),
    })
}

/// The program beside the module.
fn program() -> io::Result<PathBuf> {
    let module = process::module_file();
    let program = module.map(|module| module.with_file_name("rustgi").join("rustgi"));
    program.filter(|program| program.is_file()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "there is no program rustgi in the directory rustgi beside mod_rustgi.so; `make install` puts it there",
        )
    })
}

/// Tells the supervisor what shall run. The places of the groups on the board.
fn tell(main: ServerRec<'_>, kept: Kept, desired: &Desired) -> io::Result<Vec<u32>> {
    let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
    let mut channel = kept.channel().ok_or_else(gone)?;
    // What was said before and nobody waited for.
    while channel.try_receive()?.is_some() {}
    let logs = logs(main, desired);
    let logs: Vec<BorrowedFd<'_>> = logs.iter().map(AsFd::as_fd).collect();
    channel.send(&control::encode(&ToSupervisor::Run(desired.clone())), &logs)?;
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some((message, _)) = channel.try_receive()? {
            let FromSupervisor::Taken(places) =
                control::decode(&message).map_err(io::Error::other)?;
            return Ok(places);
        }
        let silent = || io::Error::new(io::ErrorKind::TimedOut, "the supervisor says nothing");
        let left = remaining(until).ok_or_else(silent)?;
        process::wait_readable(channel.as_fd(), left);
    }
}

/// The logs that the message is about: the main server's, then that of each group that has another.
fn logs(main: ServerRec<'_>, desired: &Desired) -> Vec<OwnedFd> {
    let standard = || io::stderr().as_fd().try_clone_to_owned().ok();
    let of = |server: ServerRec<'_>| {
        server.log_file().and_then(|file| file.try_clone_to_owned().ok()).or_else(standard)
    };
    let plan = store::of_server(main).resolved.get().map(|resolved| resolved.plan);
    let daemons = plan.map(|plan| plan.daemons.as_slice()).unwrap_or_default();
    let hosts = daemons.iter().zip(&desired.groups);
    let hosts = hosts.filter(|(_, group)| group.has_log).filter_map(|(daemon, _)| daemon.host);
    std::iter::once(main).chain(hosts).filter_map(of).collect()
}

/// What the paths of sockets begin with.
pub fn prefix(main: ServerRec<'_>) -> Vec<u8> {
    let written = store::of_server(main).process.socket_prefix;
    let given = written.map(<[u8]>::to_vec);
    given.unwrap_or_else(|| {
        let standard =
            |pool: Pool<'_>| process::below_runtime_directory(pool, c"wsgi").map(<[u8]>::to_vec);
        main.with_configuration_pool(standard).unwrap_or_default()
    })
}

/// A child of httpd begins: what it inherited of the parent's and has no part in is closed. The board, if there is one.
pub fn inherit(main: ServerRec<'_>) -> Option<&'static Board> {
    let kept = Kept::find(main)?;
    let board = Shared::<Board>::adopt(kept.board_to_read().ok()?).ok()?.read().ok();
    if kept.parent != std::process::id() {
        // Only the parent is to be at this end, so that its end is seen; and nobody who runs here shall write to the board.
        kept.forget();
    }
    board
}
