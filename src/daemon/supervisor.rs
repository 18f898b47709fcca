//! The supervisor as the parent knows it: the program `rustgi supervise`, which starts and replaces the workers. It is
//! started when the first configuration with groups has been read, outlives configurations, and ends when httpd does: by a
//! message, or because nobody is at the other end of its channel any more.

use super::desired;
use crate::config::store;
use crate::httpd::parent::{self, Fate, Kept, Phase};
use crate::httpd::{Pool, ServerRec, log, process};
use crate::python;
use exchange::{Code, Level};
use link::{Board, Channel, Queue, Shared};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wire::Master;
use wire::control::{self, Desired, FromSupervisor, ToSupervisor};

/// How many states may wait in the channel of a supervisor that does not read. Each is small there, whatever its length.
const STATES: u32 = 8;
/// A supervisor that has not acknowledged a state for so many seconds is reported in the log.
const SILENT: i64 = 10;
/// One that has not for so many seconds is killed, and another one is started.
const LOST: i64 = 60;

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
    let told = match kept {
        Some(kept) => hand_over(main, kept).or_else(|_| start_and_tell(main)),
        None => start_and_tell(main),
    };
    if let Err(error) = told {
        log::note_code(Level::Critical, Code::SupervisorMissing, &error.to_string());
    }
    watch(main);
    parent::at_end_of_configuration(main, end);
}

/// What the secrets of the groups are derived from: the same as long as httpd's parent lives, so that children of the configuration
/// before go on.
fn master(kept: Option<Kept>) -> io::Result<Master> {
    if let Some(kept) = kept {
        return Ok(kept.master);
    }
    let mut master = Master::default();
    getrandom::fill(&mut master).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(master)
}

/// A child of httpd has ended: the threads that its requests had reserved are free again, and its requests no longer wait.
pub fn child_ended(main: ServerRec<'_>, pid: u32) {
    let Some(kept) = Kept::find(main) else { return };
    let queue = kept.queue_file().and_then(|file| Shared::<Queue>::adopt(file)?.map_for_now());
    let board = kept.board_file().and_then(|file| Shared::<Board>::adopt(file)?.map_for_now());
    let (Ok(queue), Ok(board)) = (queue, board) else { return };
    queue.reclaim(pid);
    for group in 0..Board::GROUPS {
        queue.hand_over(None, group, || board.candidates(group));
    }
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
    if let Err(error) = start_and_tell(main) {
        log::note_code(Level::Critical, Code::SupervisorMissing, &error.to_string());
    }
    watch(main);
}

/// What httpd's parent does every few seconds: where a supervisor is missing, it tries again; where one has not
/// acknowledged what it was told, it tells it again, reports it, or replaces it.
pub fn look_after(main: ServerRec<'_>) {
    let Some(kept) = Kept::find(main) else { return };
    if parent::phase() != Phase::Running || parent::stops_at_once() {
        return;
    }
    if kept.supervisor == 0 {
        start_anew(main);
        return;
    }
    // Its end is noticed elsewhere.
    let Ok(mut kept) = hear(main, kept) else { return };
    if kept.is_behind && kept.taken == kept.sent {
        let _ = hand_over(main, kept);
        return;
    }
    match verdict(&kept, parent::seconds()) {
        Verdict::Well => {}
        Verdict::Silent => {
            kept.is_reported = true;
            kept.keep(main);
            let text = format!(
                "process {} has not for {SILENT} s; workers serve as they are. It is killed after {LOST} s, and another one is started",
                kept.supervisor
            );
            log::note_code(Level::Error, Code::SupervisorSilent, &text);
        }
        Verdict::Lost => {
            let text = format!("process {} has not for {LOST} s, and is killed", kept.supervisor);
            log::note_code(Level::Error, Code::SupervisorSilent, &text);
            // It is not killed twice: what is told of its end starts another one.
            kept.silent_since = parent::seconds();
            kept.keep(main);
            parent::kill(kept.supervisor);
        }
    }
}

/// What to think of a supervisor.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Well,
    /// It is to be reported.
    Silent,
    /// It is to be replaced.
    Lost,
}

fn verdict(kept: &Kept, now: i64) -> Verdict {
    if kept.taken == kept.sent {
        return Verdict::Well;
    }
    match now - kept.silent_since {
        LOST.. => Verdict::Lost,
        SILENT.. if !kept.is_reported => Verdict::Silent,
        _ => Verdict::Well,
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
        if remaining(until).is_none() {
            // It does not run, and would never end.
            parent::kill(kept.supervisor);
        }
    });
}

/// Tells the supervisor to end, which may have been told before. The end of the channel says the same.
fn stop(main: ServerRec<'_>) {
    if let Some(channel) = Kept::find(main).and_then(Kept::channel) {
        let _ = channel.try_send(&control::encode(&ToSupervisor::Stop), &[]);
    }
}

fn remaining(until: Instant) -> Option<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    (!left.is_zero()).then_some(left)
}

fn start_and_tell(main: ServerRec<'_>) -> io::Result<()> {
    let kept = start(main).inspect_err(|_| {
        if let Some(kept) = Kept::find(main) {
            Kept { supervisor: 0, ..kept }.keep(main);
        }
    })?;
    kept.keep(main);
    hand_over(main, kept)
}

/// Starts a supervisor, with the board and the request queue that there are or new ones.
fn start(main: ServerRec<'_>) -> io::Result<Kept> {
    let before = Kept::find(main);
    // The board of another version may have another layout.
    let same = before.filter(|kept| kept.version == wire::VERSION);
    let board = match same {
        Some(kept) => kept.board_file()?,
        None => OwnedFd::from(Shared::<Board>::create_for_readers("rustgi-board")?),
    };
    let queue = match same {
        Some(_) => None,
        None => Some(OwnedFd::from(Shared::<Queue>::create("rustgi-queue")?)),
    };
    let master = master(before)?;
    let (ours, theirs) = Channel::pair()?;
    let program = python::program()?;
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
    match before {
        Some(before) if same.is_none() => before.forget(),
        Some(before) => before.forget_channel(),
        None => {}
    }
    let (board, queue) = match (same, queue) {
        (Some(kept), _) => (kept.board, kept.queue),
        (None, queue) => (board.into_raw_fd(), queue.map_or(-1, IntoRawFd::into_raw_fd)),
    };
    let channel = OwnedFd::from(ours).into_raw_fd();
    Ok(Kept {
        channel,
        board,
        queue,
        master,
        supervisor: child.id(),
        parent: std::process::id(),
        since: parent::seconds(),
        version: wire::VERSION,
        sent: 0,
        taken: 0,
        silent_since: 0,
        is_behind: false,
        is_reported: false,
    })
}

/// Reads what the supervisor has acknowledged, and keeps that.
fn hear(main: ServerRec<'_>, kept: Kept) -> io::Result<Kept> {
    let mut channel = kept.channel().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut heard = kept;
    while let Some((message, _)) = channel.try_receive()? {
        let FromSupervisor::Taken(serial) = control::decode(&message).map_err(io::Error::other)?;
        heard =
            Kept { taken: serial, silent_since: parent::seconds(), is_reported: false, ..heard };
    }
    if heard != kept {
        heard.keep(main);
    }
    Ok(heard)
}

/// Hands over what shall run, and does not wait until the supervisor has read it. If it has not read several states
/// that came before, the newest follows when it has: see [`look_after`].
fn hand_over(main: ServerRec<'_>, kept: Kept) -> io::Result<()> {
    if kept.version != wire::VERSION {
        return Err(io::Error::other("the supervisor is of another version of mod_rustgi"));
    }
    let mut kept = hear(main, kept)?;
    if kept.sent.wrapping_sub(kept.taken) >= STATES {
        Kept { is_behind: true, ..kept }.keep(main);
        return Ok(());
    }
    let Some(resolved) = store::of_server(main).resolved.get() else { return Ok(()) };
    let serial = kept.sent.wrapping_add(1);
    let desired = Desired { serial, ..desired::all(main, resolved.plan, &kept.master) };
    let channel = kept.channel().ok_or(io::ErrorKind::BrokenPipe)?;
    let (logs, queue) = (logs(main, &desired), kept.queue_file()?);
    let mut logs: Vec<BorrowedFd<'_>> = logs.iter().map(AsFd::as_fd).collect();
    logs.insert(1, queue.as_fd());
    channel.hand_over(&control::encode(&ToSupervisor::Run(desired)), &logs)?;
    if kept.sent == kept.taken {
        kept.silent_since = parent::seconds();
    }
    Kept { sent: serial, is_behind: false, ..kept }.keep(main);
    Ok(())
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

/// What a child of httpd has from its parent.
pub struct Inherited {
    /// The groups and workers.
    pub board: &'static Board,
    /// The threads of workers that are reserved, and the requests that wait for one.
    pub queue: &'static Queue,
    /// What the secrets of the groups are derived from.
    pub master: Master,
}

/// A child of httpd begins: what it inherited of the parent's and has no part in is closed.
pub fn inherit(main: ServerRec<'_>) -> Option<Inherited> {
    let kept = Kept::find(main)?;
    let board = Shared::<Board>::adopt(kept.board_to_read().ok()?).ok()?.read().ok();
    let queue = Shared::<Queue>::adopt(kept.queue_file().ok()?).ok()?.write().ok();
    if kept.parent != std::process::id() {
        // Only the parent is to be at this end, so that its end is seen; and no program that runs in a child may write to the board.
        kept.forget();
    }
    Some(Inherited { board: board?, queue: queue?, master: kept.master })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_that_does_not_acknowledge_is_reported_once_and_replaced_later() {
        let kept = Kept {
            channel: 0,
            board: 0,
            queue: 0,
            master: Master::default(),
            supervisor: 1,
            parent: 0,
            since: 0,
            version: 0,
            sent: 7,
            taken: 6,
            silent_since: 100,
            is_behind: false,
            is_reported: false,
        };
        let reported = Kept { is_reported: true, ..kept };
        for (kept, now, expected) in [
            (kept, 109, Verdict::Well),
            (kept, 110, Verdict::Silent),
            (reported, 159, Verdict::Well),
            (reported, 160, Verdict::Lost),
            (kept, 160, Verdict::Lost),
            (Kept { taken: 7, ..kept }, 500, Verdict::Well),
        ] {
            assert_eq!(verdict(&kept, now), expected, "{now}");
        }
    }
}
