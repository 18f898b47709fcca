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

/// Upper bound of the states in the channel of a supervisor that does not read. Each is a memfd, so any 8 of them fit into the socket.
const STATES: u32 = 8;
/// A supervisor that has not acknowledged a state for this many seconds is reported in the log.
const REPORT_AFTER: i64 = 10;
/// A supervisor that has not acknowledged a state for this many seconds is killed, and another one is started.
const KILL_AFTER: i64 = 60;

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
        Some(kept) => send_desired(main, kept).or_else(|_| start_and_tell(main)),
        None => start_and_tell(main),
    };
    if let Err(error) = told {
        log::note_code(Level::Critical, Code::SupervisorMissing, &error.to_string());
    }
    watch(main);
    parent::at_end_of_configuration(main, end);
}

/// The key from which the secrets of the groups are derived. It stays the same as long as httpd's parent lives, so that children of an
/// earlier configuration can still connect to workers.
fn master(kept: Option<Kept>) -> io::Result<Master> {
    if let Some(kept) = kept {
        return Ok(kept.master);
    }
    let mut master = Master::default();
    getrandom::fill(&mut master).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(master)
}

/// A child of httpd has ended: gives back the threads that its requests had reserved, and removes its waiting requests.
pub fn child_ended(main: ServerRec<'_>, pid: u32) {
    let Some(kept) = Kept::find(main) else { return };
    let queue = kept.queue_file().and_then(|file| Shared::<Queue>::adopt(file)?.map_for_now());
    let board = kept.board_file().and_then(|file| Shared::<Board>::adopt(file)?.map_for_now());
    let (Ok(queue), Ok(board)) = (queue, board) else { return };
    queue.reclaim(pid);
    for group in 0..Board::GROUPS {
        queue.grant_free_threads(None, group, || board.candidates(group));
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

/// httpd's parent calls this every few seconds. It starts a supervisor if there is none. If the supervisor has not acknowledged the last
/// state, it sends the newest state, reports the supervisor in the log, or kills it.
pub fn look_after(main: ServerRec<'_>) {
    let Some(kept) = Kept::find(main) else { return };
    if parent::phase() != Phase::Running || parent::stops_at_once() {
        return;
    }
    if kept.supervisor == 0 {
        start_anew(main);
        return;
    }
    // If the channel is closed, `watch` replaces the supervisor.
    let Ok(mut kept) = read_acknowledgements(main, kept) else { return };
    if kept.is_behind && kept.taken == kept.sent {
        let _ = send_desired(main, kept);
        return;
    }
    match health(&kept, parent::seconds()) {
        Health::Good => {}
        Health::Unresponsive => {
            kept.is_reported = true;
            kept.keep(main);
            let text = format!(
                "{}: process {}, for {REPORT_AFTER} s. The workers serve with the earlier configuration. httpd kills the supervisor after \
                 {KILL_AFTER} s and starts another one.",
                Code::SupervisorSilent.text(),
                kept.supervisor
            );
            log::note_code(Level::Error, Code::SupervisorSilent, &text);
        }
        Health::Dead => {
            let text = format!(
                "{}: process {}, for {KILL_AFTER} s. It is killed, and another one is started.",
                Code::SupervisorSilent.text(),
                kept.supervisor
            );
            log::note_code(Level::Error, Code::SupervisorSilent, &text);
            // The time starts again, so that it is not killed twice. `watch` starts another supervisor when this one has ended.
            kept.silent_since = parent::seconds();
            kept.keep(main);
            parent::kill(kept.supervisor);
        }
    }
}

/// The state of a supervisor.
#[derive(Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// It must be reported in the log.
    Unresponsive,
    /// It must be killed.
    Dead,
}

fn health(kept: &Kept, now: i64) -> Health {
    if kept.taken == kept.sent {
        return Health::Good;
    }
    match now - kept.silent_since {
        KILL_AFTER.. => Health::Dead,
        REPORT_AFTER.. if !kept.is_reported => Health::Unresponsive,
        _ => Health::Good,
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
            // It is stopped and would never end.
            parent::kill(kept.supervisor);
        }
    });
}

/// Tells the supervisor to end. If the message cannot be sent, the end of the channel tells it the same.
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
    send_desired(main, kept)
}

/// Starts a supervisor with the present board and request queue, or with new ones.
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

/// Reads the acknowledgements of the supervisor and stores the last one.
fn read_acknowledgements(main: ServerRec<'_>, kept: Kept) -> io::Result<Kept> {
    let mut channel = kept.channel().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut newest = kept;
    while let Some((message, _)) = channel.try_receive()? {
        let FromSupervisor::Taken(serial) = control::decode(&message).map_err(io::Error::other)?;
        newest =
            Kept { taken: serial, silent_since: parent::seconds(), is_reported: false, ..newest };
    }
    if newest != kept {
        newest.keep(main);
    }
    Ok(newest)
}

/// Sends the desired state, and does not wait until the supervisor has read it. If the supervisor has not acknowledged [`STATES`]
/// earlier ones, [`look_after`] sends the newest state when it has.
fn send_desired(main: ServerRec<'_>, kept: Kept) -> io::Result<()> {
    if kept.version != wire::VERSION {
        return Err(io::Error::other("the supervisor is of another version of mod_rustgi"));
    }
    let mut kept = read_acknowledgements(main, kept)?;
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
    channel.try_send(&control::encode(&ToSupervisor::Run(desired)), &logs)?;
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

/// What a child of httpd inherits from its parent.
pub struct Inherited {
    /// The board of groups and workers.
    pub board: &'static Board,
    /// The request queue.
    pub queue: &'static Queue,
    /// The key from which the secrets of the groups are derived.
    pub master: Master,
}

/// A child of httpd starts: maps the shared memory and closes the descriptors that only the parent may have.
pub fn inherit(main: ServerRec<'_>) -> Option<Inherited> {
    let kept = Kept::find(main)?;
    let board = Shared::<Board>::adopt(kept.board_to_read().ok()?).ok()?.read().ok();
    let queue = Shared::<Queue>::adopt(kept.queue_file().ok()?).ok()?.write().ok();
    if kept.parent != std::process::id() {
        // Only the parent may hold this end of the channel, so that the supervisor notices its end; and code in a child must not be able
        // to write to the board.
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
            (kept, 109, Health::Good),
            (kept, 110, Health::Unresponsive),
            (reported, 159, Health::Good),
            (reported, 160, Health::Dead),
            (kept, 160, Health::Dead),
            (Kept { taken: 7, ..kept }, 500, Health::Good),
        ] {
            assert_eq!(health(&kept, now), expected, "{now}");
        }
    }
}
