//! Groups whose Python httpd's parent could not examine in time, or found unusable. The supervisor runs `rustgi examine` for each of
//! them, with its output in the supervisor's poll set, and configures the group when there is a result.

use super::crew::Time;
use super::log::show;
use crate::examine::this_program;
use exchange::Code;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdout, Command, Stdio};
use std::time::Duration;
use wire::control::{self, Examination, Examine, Examined, Facts, Group, encode};

/// After how long without an answer of the interpreter the examination is given up.
const DEADLINE: Time = Duration::from_secs(30);
/// How much longer the supervisor waits for `rustgi examine`, which gives up at the deadline and then kills its processes.
const MARGIN: Time = Duration::from_secs(10);
/// How long requests of a group without workers wait for the result before they get 503.
const GRACE: Time = Duration::from_secs(3);
/// The delay before a failed examination is repeated. It doubles each time.
const FIRST_DELAY: Time = Duration::from_secs(1);
/// The longest delay.
const LONGEST_DELAY: Time = Duration::from_secs(60);

/// Upper bound of the remembered interpreters. At the bound all are forgotten and examined again when they are needed.
const REMEMBERED: usize = 2048;

/// The groups that wait for an examination.
#[derive(Default)]
pub struct Examinations {
    all: Vec<Pending>,
    /// The facts of interpreters that were examined before, by the encoded examination.
    known: HashMap<Vec<u8>, Facts>,
}

/// A group that cannot be configured before its Python is known.
struct Pending {
    /// The group as httpd's parent has configured it.
    wanted: Group,
    examination: Examination,
    begun: Time,
    running: Option<Running>,
    /// When the next examination begins, if none runs.
    next: Time,
    delay: Time,
    /// Why requests get 503: the code and the text that the group has now.
    reported: Option<(u16, String)>,
}

/// A `rustgi examine` process. It ends when the supervisor closes its output.
struct Running {
    output: ChildStdout,
    received: Vec<u8>,
    deadline: Time,
}

/// What the supervisor must do with a configured group.
pub enum Order {
    /// Configure it like this.
    Configure(Group),
    /// Leave its workers as they are until the examination has a result. If there is no such group yet, start it like this: without
    /// workers.
    Wait(Group),
}

impl Examinations {
    /// The configuration has this group from now on.
    pub fn order(&mut self, now: Time, wanted: Group) -> Order {
        self.forget(&wanted.name);
        let Some(examination) = wanted.examination.clone() else { return Order::Configure(wanted) };
        let reported = wanted.unusable.clone();
        let next = if reported.is_some() { now + FIRST_DELAY } else { now };
        let (running, delay) = (None, FIRST_DELAY);
        let order = match &reported {
            Some(_) => Order::Configure(wanted.clone()),
            None => Order::Wait(Group { processes: 0, ..wanted.clone() }),
        };
        self.all.push(Pending { wanted, examination, begun: now, running, next, delay, reported });
        order
    }

    /// Cancels the examination for the group of this name.
    pub fn forget(&mut self, name: &[u8]) {
        self.all.retain(|pending| pending.wanted.name != name);
    }

    /// Cancels the examinations for groups of all other names.
    pub fn keep(&mut self, names: &[Vec<u8>]) {
        self.all.retain(|pending| names.contains(&pending.wanted.name));
    }

    /// Cancels all examinations.
    pub fn stop(&mut self) {
        self.all.clear();
    }

    /// `rustgi ctl reload`: begins the next examination of this group, or of all, at once.
    pub fn retry_now(&mut self, now: Time, name: Option<&[u8]>) {
        let named = |pending: &&mut Pending| name.is_none_or(|name| pending.wanted.name == name);
        self.all.iter_mut().filter(named).for_each(|pending| pending.next = now);
    }

    /// The descriptors to poll.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let running = self.all.iter().filter_map(|pending| pending.running.as_ref());
        running.map(|running| running.output.as_fd())
    }

    /// When [`attend`](Examinations::attend) must be called at the latest.
    pub fn next(&self) -> Option<Time> {
        let of = |pending: &Pending| match (&pending.running, &pending.reported) {
            (Some(running), Some(_)) => running.deadline,
            (Some(running), None) => running.deadline.min(pending.begun + GRACE),
            (None, _) => pending.next,
        };
        self.all.iter().map(of).min()
    }

    /// Begins examinations and reads results. Returns the groups that must be configured now.
    pub fn attend(&mut self, now: Time) -> Vec<Group> {
        let mut changed = Vec::new();
        for at in (0..self.all.len()).rev() {
            let pending = &mut self.all[at];
            let result = match &mut pending.running {
                Some(running) => running.result(now, &pending.examination),
                None if pending.next <= now => {
                    pending.begin(now, &self.known).err().map(not_started)
                }
                None => None,
            };
            if let Some(Examined::Usable(found)) = result {
                let mut pending = self.all.swap_remove(at);
                if self.known.len() >= REMEMBERED {
                    self.known.clear();
                }
                self.known.insert(key(&pending.examination), found.facts.clone());
                pending.wanted.complete(&found);
                changed.push(pending.wanted);
                continue;
            }
            if let Some(Examined::Unusable(code, text)) = result {
                pending.running = None;
                pending.next = now + pending.delay;
                pending.delay = (pending.delay * 2).min(LONGEST_DELAY);
                changed.extend(pending.report(code_of(code), text));
            } else if pending.reported.is_none() && now >= pending.begun + GRACE {
                let text = format!(
                    "{} has not answered for {} s; requests get 503 until it does",
                    name_of(&pending.examination),
                    GRACE.as_secs()
                );
                changed.extend(pending.report(Code::InterpreterSilent, text));
            }
        }
        changed
    }

    /// The state of the examination of a group, for `rustgi ctl status`.
    pub fn about(&self, now: Time, name: &[u8]) -> Option<String> {
        let pending = self.all.iter().find(|pending| pending.wanted.name == name)?;
        let python = name_of(&pending.examination);
        let since = now.saturating_sub(pending.begun).as_secs();
        let state = match &pending.running {
            Some(_) => "is being examined".to_owned(),
            None => {
                let wait = pending.next.saturating_sub(now).as_secs();
                format!("is examined again in {wait} s")
            }
        };
        let last = pending.reported.as_ref().map(|(code, text)| format!("; WSGI{code:04}: {text}"));
        Some(format!(
            "{python} {state}, {since} s after it was configured{}",
            last.unwrap_or_default()
        ))
    }
}

impl Pending {
    fn begin(&mut self, now: Time, known: &HashMap<Vec<u8>, Facts>) -> io::Result<()> {
        let known = known.get(&key(&self.examination)).cloned();
        let known = known.or_else(|| self.examination.known.clone());
        self.running = Some(start(now, Examination { known, ..self.examination.clone() })?);
        Ok(())
    }

    /// The group with the reason why its Python is unusable, unless it has the same reason already.
    fn report(&mut self, code: Code, text: String) -> Option<Group> {
        let reported = Some((code as u16, text));
        if self.reported == reported {
            return None;
        }
        self.reported.clone_from(&reported);
        Some(Group { unusable: reported, ..self.wanted.clone() })
    }
}

fn not_started(error: io::Error) -> Examined {
    let text = format!("no process could be started to examine its Python: {error}");
    Examined::Unusable(Code::InterpreterRefused as u16, text)
}

fn start(now: Time, examination: Examination) -> io::Result<Running> {
    let mut process = Command::new(this_program())
        .arg("examine")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let time = DEADLINE.as_millis().try_into().unwrap_or(u32::MAX);
    let order = encode(&Examine { all: vec![examination], time });
    // This write cannot block for long: the process reads all of it before it does anything else. The supervisor reaps the process
    // like its other children.
    process.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(&order))?;
    let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(Running { output, received: Vec::new(), deadline: now + DEADLINE + MARGIN })
}

impl Running {
    /// The result, if there is one or the deadline is reached.
    fn result(&mut self, now: Time, examination: &Examination) -> Option<Examined> {
        let has_ended = self.has_ended();
        let malformed = |why: &dyn std::fmt::Display| {
            let text =
                format!("the examination of {} had no valid result: {why}", name_of(examination));
            Examined::Unusable(Code::InterpreterRefused as u16, text)
        };
        match control::results(&self.received, 1) {
            Err(error) => return Some(malformed(&error)),
            Ok((results, _)) => {
                if let Some((_, result)) = results.first() {
                    let read = Examined::read(examination, result);
                    return Some(read.unwrap_or_else(|error| malformed(&error)));
                }
            }
        }
        (has_ended || now >= self.deadline).then(|| {
            let text =
                format!("{} did not answer within {} s", name_of(examination), DEADLINE.as_secs());
            Examined::Unusable(Code::InterpreterSilent as u16, text)
        })
    }

    /// Reads the bytes that have arrived. `true` if no more will.
    fn has_ended(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.output.read(&mut buffer) {
                Ok(0) => return true,
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
            if self.received.len() > control::LONGEST_EXAMINED + 8 {
                return true;
            }
        }
    }
}

fn key(examination: &Examination) -> Vec<u8> {
    encode(&Examination { known: None, ..examination.clone() })
}

fn name_of(examination: &Examination) -> String {
    match &examination.python {
        control::Python::Program(program) => show(program).into_owned(),
        control::Python::Home(home, named_by) => {
            format!("the Python of {named_by} '{}'", show(home))
        }
    }
}

/// The code with this number, if the result of an examination may have it.
fn code_of(number: u16) -> Code {
    let known = Code::from_number(number);
    known.filter(|code| code.is_of_examination()).unwrap_or(Code::InterpreterRefused)
}
