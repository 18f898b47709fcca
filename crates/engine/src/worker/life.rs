//! A worker from its first message to its end, on the thread that Python has started with.
#![expect(unsafe_code, reason = "ends the process at once where Python cannot end it")]

use super::journal::{self, Journal};
use super::post::{self, Post};
use super::steering::Steering;
use super::{forks, prober, service, signals, threads};
use crate::host::Host;
use crate::preload::{self, Loading};
use crate::script::{Purpose, modification_time};
use crate::{attach, events, shutdown};
use exchange::{Code, InterpreterOptions, Level, Preload, Settings};
use link::{Channel, Shared};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use wire::control::{self, FromWorker, ToWorker};

/// What the first message brought.
struct Begin {
    post: &'static Post,
    settings: Settings,
    channel: Channel,
    listener: Option<OwnedFd>,
    scripts: Vec<control::Script>,
}

/// Lives until it is over; the exit code. Called attached, and attached afterwards.
pub fn live() -> i32 {
    let begin = match hear() {
        Ok(begin) => begin,
        Err(error) => {
            let code = Code::WorkerMisled;
            journal::note(Level::Critical, &format!("{code}: {}: {error}.", code.text()));
            return 1;
        }
    };
    forks::watch();
    let Begin { post, settings, channel, listener, scripts } = begin;
    match Host::adopt(settings, Box::new(Journal)) {
        Some(host) => attach::set_free(|| lead(post, host, channel, listener, &scripts)),
        None => 1,
    }
}

/// Ends the process now, running nothing of Python's.
pub fn leave_at_once(code: i32) -> ! {
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(code) }
}

/// Makes this process not dumpable: other processes of the same user can then neither trace it nor read its memory, which holds the
/// secret of its group. Does nothing where core dumps are wanted (`CoreDumpDirectory`), because the kernel writes no core dump of a
/// process that is not dumpable.
fn hide_memory() -> io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior};
    if getrlimit(Resource::Core).current == Some(0) {
        set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    }
    Ok(())
}

/// Takes the channel that the process was started with as its standard input, and hears the first message.
fn hear() -> io::Result<Begin> {
    hide_memory()?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(nothing()?)?;
    forks::withhold(socket.as_raw_fd());
    let reports = Channel::new(rustix::io::fcntl_dupfd_cloexec(&socket, 3)?);
    let mut channel = Channel::new(socket);
    let (message, descriptors) = channel.receive()?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let message = control::decode(&message).map_err(io::Error::other)?;
    let ToWorker::Begin { number, options, group: _, log_level, clients, secret, scripts } =
        message
    else {
        return Err(io::Error::other("it was not told to begin"));
    };
    journal::set_level(log_level);
    let mut descriptors = descriptors.into_iter();
    let listener = if options.threads > 0 { descriptors.next() } else { None };
    if let Some(listener) = &listener {
        forks::withhold(listener.as_raw_fd());
    }
    let page = descriptors.next().ok_or_else(|| io::Error::other("it has no page"))?;
    let pairs = options.settings.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()));
    let mut settings = Settings::from_pairs(pairs).map_err(io::Error::other)?;
    if options.threads == 0 {
        unrestrict(&mut settings);
    }
    let post = Post::new(number, options, clients, secret, Shared::adopt(page)?, reports)?;
    Ok(Begin { post: post::take(post), settings, channel, listener, scripts })
}

/// A file of which nothing can be read. A root directory of one's own need not have devices.
fn nothing() -> io::Result<OwnedFd> {
    match std::fs::File::open("/dev/null") {
        Ok(null) => Ok(null.into()),
        Err(_) => Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?.0),
    }
}

/// A process that runs scripts handles its signals itself.
fn unrestrict(settings: &mut Settings) {
    let lift = |options: &mut InterpreterOptions| options.restrict_signal = None;
    settings.restrict_signal = false;
    settings.options.iter_mut().for_each(lift);
}

/// Leads the process from here to its end.
fn lead(
    post: &'static Post,
    host: &'static Host,
    channel: Channel,
    listener: Option<OwnedFd>,
    scripts: &[control::Script],
) -> i32 {
    let serves = post.options.threads > 0;
    let install = if serves { signals::install } else { signals::install_for_scripts };
    install(post.bell());
    if let Err(error) = Steering::start(post, host, channel, listener) {
        return give_up(host, &error);
    }
    // From here on the control thread notices the death of the supervisor and lets requests finish.
    let _ = rustix::process::set_parent_process_death_signal(None);
    use_locale(post, host);
    if !serves {
        post.say(&FromWorker::Ready { failed: Vec::new(), tried: Vec::new() });
        service::run(post, host);
        return end(post, host);
    }
    let (failed, tried) = load(post, host, scripts);
    // A script may have put its own in their place, which could not run while this thread waits.
    install(post.bell());
    if post.course.has_ended() {
        return end(post, host);
    }
    let threads = match threads::start(post, host) {
        Ok(threads) => threads,
        Err(error) => return give_up(host, &error),
    };
    post.course.serve();
    post.ring();
    post.say(&FromWorker::Ready { failed, tried });
    post.course.wait();
    stopping(post, host);
    for thread in threads {
        // It has caught its panics, if there were any.
        let _ = thread.join();
    }
    post.connections.close_all();
    end(post, host)
}

fn give_up(host: &'static Host, error: &io::Error) -> i32 {
    let code = Code::ThreadUnavailable;
    journal::note(Level::Critical, &format!("{code}: {}: {error}.", code.text()));
    attach::last(host.main(), |_| 1)
}

/// `locale=`
fn use_locale(post: &Post, host: &'static Host) {
    let Some(locale) = &post.options.locale else { return };
    let used = attach::enter(host.main(), |attached, seat| {
        let setup = &seat.interpreter.state().setup;
        let name = attached.path(locale)?;
        setup.use_locale.get(attached).call([&name])?.is_true()
    });
    if !used.is_ok_and(|used| used) {
        let code = Code::LocaleUnavailable;
        let name = String::from_utf8_lossy(locale);
        journal::note(Level::Warning, &format!("{code}: {}: '{name}'.", code.text()));
    }
}

fn may_be_there(path: &[u8]) -> bool {
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
    !matches!(path.try_exists(), Ok(false))
}

/// Scripts that could not be loaded, with the reason; and all scripts that the worker has tried to load.
type Loaded = (Vec<(Vec<u8>, String)>, Vec<control::Version>);

/// Loads the scripts that the configuration names, and those that earlier workers have loaded and that still exist.
fn load(post: &Post, host: &'static Host, scripts: &[control::Script]) -> Loaded {
    let version = |path: &[u8]| control::Version {
        path: path.to_vec(),
        // A script whose existence cannot be checked is kept: the attempt to load it reports the error.
        modified: modification_time(path).or_else(|| may_be_there(path).then_some(0)),
    };
    let configured = preload::configured().into_iter().map(|script| control::Script {
        path: script.path,
        group: if script.main { Vec::new() } else { script.application_group },
        main: script.main,
        callables: Vec::new(),
    });
    let configured: Vec<control::Script> = configured.collect();
    // The states are read before the scripts are loaded, so that a change in between counts as a new change.
    let mut tried: Vec<_> = configured.iter().map(|script| version(&script.path)).collect();
    let mut all: Vec<control::Script> = Vec::new();
    for script in &configured {
        post.expect_script(script);
        all.push(script.clone());
    }
    for script in scripts {
        let version = version(&script.path);
        let is_there = version.modified.is_some();
        tried.push(version);
        if !is_there {
            continue;
        }
        post.expect_script(script);
        match all.iter_mut().find(|known| known.is_same(script)) {
            Some(known) => known.add_callables(&script.callables),
            None => all.push(script.clone()),
        }
    }
    let all = all.into_iter().map(|script| {
        let is_used = !script.callables.is_empty();
        let configured = post.options.callables.iter().filter(|_| is_used).cloned();
        let callables = configured.chain(script.callables).collect();
        let (path, application_group, main) = (script.path, script.group, script.main);
        Loading { script: Preload { path, application_group, main }, callables }
    });
    let all: Vec<Loading> = all.collect();
    if !tried.is_empty() {
        post.say(&FromWorker::Trying(tried.clone()));
    }
    let failed = preload::each(host, &all, Purpose::Preload, || !post.course.has_ended());
    (failed, tried)
}

/// Tells the applications that the process ends, while requests may still be running.
fn stopping(post: &Post, host: &'static Host) {
    let reason = post.course.reason();
    for interpreter in host.subs().into_iter().chain([host.main()]) {
        attach::enter(interpreter, |attached, _| {
            events::process_stopping(attached, interpreter, reason);
        });
    }
}

/// Ends the applications and the sub-interpreters. Python ends the main one when this has come back.
fn end(post: &Post, host: &'static Host) -> i32 {
    // Scripts that have ended may have threads that are to be told.
    if post.options.threads > 0 {
        post.course.end();
    }
    if !crate::settings().destroy_interpreters {
        leave_at_once(0);
    }
    shutdown::finish_all(host.main(), &host.subs());
    prober::close();
    if !shutdown::clear(host.main(), &host.subs()) {
        leave_at_once(0);
    }
    0
}
