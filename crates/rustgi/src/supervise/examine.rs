//! Groups whose Python is still to be examined: the server's parent got no answer in time, or a bad one. `rustgi examine` runs
//! for each of them, its output is in the supervisor's poll set, and the group is configured when there is a result.

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

/// For how long an interpreter may not answer before the process that asks it is ended.
const DEADLINE: Time = Duration::from_secs(30);
/// How much longer the process may take that ends it.
const MARGIN: Time = Duration::from_secs(10);
/// For how long requests of a group without workers wait for the answer, before they get 503.
const GRACE: Time = Duration::from_secs(3);
/// The delay before an examination that has failed is repeated. It doubles each time.
const FIRST_DELAY: Time = Duration::from_secs(1);
/// The longest delay.
const LONGEST_DELAY: Time = Duration::from_secs(60);

/// As many interpreters are remembered. More have been configured only if the configuration has changed often.
const REMEMBERED: usize = 2048;

/// All groups that wait for an examination.
#[derive(Default)]
pub struct Examinations {
    all: Vec<Pending>,
    /// What is known about interpreters, by the examination.
    known: HashMap<Vec<u8>, Facts>,
}

/// A group that cannot run before its Python is known.
struct Pending {
    /// The group as the server wants it.
    wanted: Group,
    examination: Examination,
    begun: Time,
    running: Option<Running>,
    /// When the next examination begins, if none is running.
    next: Time,
    delay: Time,
    /// Why requests get 503, as the group was told last.
    told: Option<(u16, String)>,
}

/// A process that examines. It ends when its output is closed.
struct Running {
    output: ChildStdout,
    received: Vec<u8>,
    deadline: Time,
}

/// What to do with a group that the server wants.
pub enum Order {
    /// Configure it like this.
    Configure(Group),
    /// Leave it as it is. If there is no such group yet, start it like this: without workers.
    Wait(Group),
}

impl Examinations {
    /// The server wants this group from now on.
    pub fn order(&mut self, now: Time, wanted: Group) -> Order {
        self.forget(&wanted.name);
        let Some(examination) = wanted.examination.clone() else { return Order::Configure(wanted) };
        let told = wanted.unusable.clone();
        let next = if told.is_some() { now + FIRST_DELAY } else { now };
        let (running, delay) = (None, FIRST_DELAY);
        let order = match &told {
            Some(_) => Order::Configure(wanted.clone()),
            None => Order::Wait(Group { processes: 0, ..wanted.clone() }),
        };
        self.all.push(Pending { wanted, examination, begun: now, running, next, delay, told });
        order
    }

    /// The group is no longer wanted, or wanted differently.
    pub fn forget(&mut self, name: &[u8]) {
        self.all.retain(|pending| pending.wanted.name != name);
    }

    /// Only groups of these names are wanted.
    pub fn keep(&mut self, names: &[Vec<u8>]) {
        self.all.retain(|pending| names.contains(&pending.wanted.name));
    }

    /// No group is wanted any more.
    pub fn stop(&mut self) {
        self.all.clear();
    }

    /// An operator wants to know now.
    pub fn hurry(&mut self, now: Time, name: Option<&[u8]>) {
        let named = |pending: &&mut Pending| name.is_none_or(|name| pending.wanted.name == name);
        self.all.iter_mut().filter(named).for_each(|pending| pending.next = now);
    }

    /// What is to be watched.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let running = self.all.iter().filter_map(|pending| pending.running.as_ref());
        running.map(|running| running.output.as_fd())
    }

    /// When [`attend`](Examinations::attend) is to be called at the latest.
    pub fn next(&self) -> Option<Time> {
        let of = |pending: &Pending| match (&pending.running, &pending.told) {
            (Some(running), Some(_)) => running.deadline,
            (Some(running), None) => running.deadline.min(pending.begun + GRACE),
            (None, _) => pending.next,
        };
        self.all.iter().map(of).min()
    }

    /// Begins examinations, and reads what has come. The groups that are to be configured now.
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
                changed.extend(pending.tell(code_of(code), text));
            } else if pending.told.is_none() && now >= pending.begun + GRACE {
                let text = format!(
                    "{} has not answered for {} s; requests get 503 until it does",
                    name_of(&pending.examination),
                    GRACE.as_secs()
                );
                changed.extend(pending.tell(Code::InterpreterSilent, text));
            }
        }
        changed
    }

    /// What an operator is told about a group that waits.
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
        let last = pending.told.as_ref().map(|(code, text)| format!("; WSGI{code:04}: {text}"));
        Some(format!("{python} {state}, {since} s after it was wanted{}", last.unwrap_or_default()))
    }
}

impl Pending {
    fn begin(&mut self, now: Time, known: &HashMap<Vec<u8>, Facts>) -> io::Result<()> {
        let known = known.get(&key(&self.examination)).cloned();
        let known = known.or_else(|| self.examination.known.clone());
        self.running = Some(start(now, Examination { known, ..self.examination.clone() })?);
        Ok(())
    }

    /// The group as it is while its Python is unusable, unless it was told the same before.
    fn tell(&mut self, code: Code, text: String) -> Option<Group> {
        let told = Some((code as u16, text));
        if self.told == told {
            return None;
        }
        self.told.clone_from(&told);
        Some(Group { unusable: told, ..self.wanted.clone() })
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
    // It reads all of it before it does anything else, and reads nothing that a user controls. It is reaped as every
    // child of the supervisor is.
    process.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(&order))?;
    let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(Running { output, received: Vec::new(), deadline: now + DEADLINE + MARGIN })
}

impl Running {
    /// The result, if there is one.
    fn result(&mut self, now: Time, examination: &Examination) -> Option<Examined> {
        let has_ended = self.has_ended();
        let malformed = |why: &dyn std::fmt::Display| {
            let text =
                format!("{} was examined without a usable answer: {why}", name_of(examination));
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

    /// Reads what there is; whether there will be no more.
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

/// A code that an examination may give.
fn code_of(number: u16) -> Code {
    let known = Code::from_number(number);
    known.filter(|code| code.is_of_examination()).unwrap_or(Code::InterpreterRefused)
}
