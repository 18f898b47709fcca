//! One request from its head to its end: find the interpreter, make environ, call the application, send what it
//! produces, close it, and say how it went. Read top-down.

use crate::adapter::{check_started, send};
use crate::bundle::Bundle;
use crate::environ::{self, Template};
use crate::file_wrapper::{File, FileWrapper};
use crate::host::Host;
use crate::py::{Attached, Kind, Object, Py, Raised, raise, take_exception};
use crate::request::Request;
use crate::script::{SCRIPT_RUNNING, Script, note_request_timeout};
use crate::seat::Seat;
use crate::state::State;
use crate::watch::Watch;
use crate::{attach, events, log, reply, report, startup};
use exchange::{Code, Exchange, Failure, Head, Level, Outcome, Part, Push, WriteError};
use std::sync::Arc;

/// How the part of a request that needs Python ended.
pub enum Ending {
    /// There is nothing more to do.
    Over(Outcome),
    /// The whole answer [has been gathered](reply), and only has to be sent: about so many bytes.
    Reply(usize),
}

/// Answers one request.
pub fn serve(host: &Host, exchange: &mut dyn Exchange) -> Outcome {
    let interpreter = match host.interpreter(exchange) {
        Ok(interpreter) => interpreter,
        Err(code) => return Outcome::Unanswered(code.into()),
    };
    let ending = attach::enter(interpreter, |attached, seat| in_python(attached, seat, exchange));
    finish(ending, exchange)
}

/// What is left to do of a request when Python is not needed any more.
pub fn finish(ending: Ending, exchange: &mut dyn Exchange) -> Outcome {
    startup::leave_if_forked();
    match ending {
        Ending::Over(outcome) => outcome,
        Ending::Reply(_) => reply::send(exchange).map_or_else(unsent, |()| Outcome::Done),
    }
}

/// What a failure to send means for the request.
fn unsent(error: WriteError) -> Outcome {
    match error {
        WriteError::Gone | WriteError::Answered => Outcome::Abandoned,
        WriteError::Refused => Outcome::Truncated(Code::AnswerRefused.into()),
    }
}

/// The part of a request that needs Python, in the interpreter that the thread is attached to.
pub fn in_python(attached: &Attached, seat: &mut Seat, exchange: &mut dyn Exchange) -> Ending {
    let state = seat.interpreter.state();
    let (bundle, mut template) = match prepare(attached, seat, state) {
        Ok(prepared) => prepared,
        Err(raised) => {
            report::process(attached, &state.setup, raised, Code::InterpreterUnavailable, "");
            return Ending::Over(Outcome::Unanswered(Code::InterpreterUnavailable.into()));
        }
    };
    let request = Arc::clone(&bundle.request);
    let ending = request.lease.lend(attached, exchange, |head| {
        bundle.begin(attached, &head);
        log::serving(&request, || {
            let interpreter = seat.interpreter;
            let ending = interpreter
                .serving(attached, &request, || run(attached, seat, &mut template, &head, &bundle));
            log::finish_line(attached, &request);
            request.end(attached);
            ending
        })
    });
    seat.bundle = bundle.end(attached);
    seat.template = template.when_sound(attached);
    ending
}

/// The objects of the request before and the template of its environ, or new ones. The template holds the streams of the
/// bundle, so a new one of either is joined to the other.
fn prepare(attached: &Attached, seat: &mut Seat, state: &State) -> Py<(Bundle, Box<Template>)> {
    let joined = seat.template.is_some() && seat.bundle.is_some();
    let mut template = match seat.template.take() {
        Some(template) => template,
        None => Template::new(attached, state)?,
    };
    let bundle = match seat.bundle.take() {
        Some(bundle) => bundle,
        None => Bundle::new(attached, state, seat.interpreter)?,
    };
    if !joined {
        let (input, errors) = (bundle.input.get(attached), bundle.errors.get(attached));
        template.set_streams(attached, state, input, errors)?;
    }
    Ok((bundle, template))
}

/// Runs the application and sends what it produces.
fn run(
    attached: &Attached,
    seat: &mut Seat,
    template: &mut Template,
    head: &Head<'_>,
    bundle: &Bundle,
) -> Ending {
    let request = &*bundle.request;
    let interpreter = seat.interpreter;
    let state = interpreter.state();
    let script = match interpreter.scripts.find(attached, &head.script, seat.script) {
        Ok(script) => script,
        Err(raised) => {
            let codes = (Code::ScriptUnreadable, Code::ScriptUnreadable);
            let code = report::request(attached, request, raised, &head.script.path, codes);
            return Ending::Over(Outcome::Unanswered(code.into()));
        }
    };
    seat.script = Some(script);
    let application = match script.application(attached, request, &head.script) {
        Ok(application) => application,
        Err(code) => return Ending::Over(Outcome::Unanswered(code.into())),
    };
    let call = Call { attached, state, request, script };
    let watch = Watch::begin(attached, request, head);
    let result = template.environ(attached, state, head).and_then(|environ| {
        if head.native {
            environ::set_native(attached, state, &environ, request)?;
        }
        let application = match &watch {
            Some(watch) => watch.started(attached, request, application, &environ)?,
            None => application,
        };
        application.call([&environ, bundle.start_response.get(attached)])
    });
    let ending = match result {
        Ok(result) => call.answer(&result),
        Err(raised) => Ending::Over(call.failed(raised)),
    };
    if let Some(watch) = watch {
        watch.end(attached, request, call.status(&ending));
    }
    ending
}

/// One call of an application.
struct Call<'a> {
    attached: &'a Attached,
    state: &'static State,
    request: &'a Request,
    script: &'static Script,
}

/// Why producing the body stopped.
enum Stopped {
    /// The application raised.
    Raised(Raised),
    /// The answer cannot reach the client.
    Unsent(WriteError),
}

impl From<Raised> for Stopped {
    fn from(raised: Raised) -> Self {
        Stopped::Raised(raised)
    }
}

impl<'a> Call<'a> {
    /// Sends what the application returned, in the way that suits it.
    fn answer(&self, result: &Object<'a>) -> Ending {
        if result.is_plain_sequence() {
            if let Some(size) = reply::gather(self.attached, self.request, result) {
                return Ending::Reply(size);
            }
        }
        let wrapper = self.state.file_wrapper.value(result);
        let produced = match wrapper.filter(|_| FileWrapper::is_iterated_by_us(result)) {
            Some(wrapper) => match wrapper.regular_file(self.attached, &self.state.names) {
                Some(file) if !self.is_committed() => self.send_file(&file),
                _ => self.iterate(result),
            },
            None => self.iterate(result),
        };
        let produced = produced.and_then(|()| self.finish());
        let outcome = match produced {
            Ok(outcome) => outcome,
            Err(Stopped::Raised(raised)) => self.failed(raised),
            Err(Stopped::Unsent(error)) => unsent(error),
        };
        self.close(result);
        Ending::Over(outcome)
    }

    /// The status of the request, as far as the application has decided it.
    fn status(&self, ending: &Ending) -> u16 {
        match ending {
            Ending::Over(Outcome::Unanswered(failure)) => failure.status(),
            _ => self.request.answering.take(self.attached).status().unwrap_or(500),
        }
    }

    fn is_committed(&self) -> bool {
        self.request.answering.take(self.attached).committed
    }

    /// Sends the items of the iterable, each before the next is asked for.
    fn iterate(&self, result: &Object<'_>) -> Result<(), Stopped> {
        let items = result.iter()?;
        if result.is_plain_sequence() && result.items_len() == 1 {
            self.infer_length(result);
        }
        while let Some(item) = items.next()? {
            let Some(bytes) = item.bytes() else {
                let message = format!(
                    "sequence of byte string values expected, value of type {} found",
                    item.type_name()
                );
                return Err(raise(self.attached, Kind::Type, &message).into());
            };
            if bytes.is_empty() {
                continue;
            }
            check_started(self.attached, self.request)?;
            send(self.attached, self.request, bytes, Push::Flush).map_err(Stopped::Unsent)?;
        }
        Ok(())
    }

    /// PEP 3333, "Handling the Content-Length Header": a sequence of one string is the whole body.
    fn infer_length(&self, result: &Object<'_>) {
        let item = result.item(0);
        let Some(bytes) = item.as_ref().and_then(Object::bytes) else { return };
        let mut answering = self.request.answering.take(self.attached);
        if answering.accepted && !answering.committed {
            answering.head.infer_length(bytes.len() as u64);
        }
    }

    /// Hands a regular file to the server.
    fn send_file(&self, file: &File) -> Result<(), Stopped> {
        check_started(self.attached, self.request)?;
        let there = file.size.saturating_sub(file.position);
        if startup::forked() {
            return Err(Stopped::Unsent(WriteError::Gone));
        }
        let mut answering = self.request.answering.take(self.attached);
        answering.head.infer_length(there);
        answering.committed = true;
        let length = answering.length().unwrap_or(there).min(there);
        let part = Part { offset: file.position, length };
        let header_only = answering.header_only();
        // The end goes with the file, so that filters see the whole answer at once (byte ranges); but not if it falls
        // short of what the application has declared.
        let push = if answering.length() == Some(length) { Push::Last } else { Push::Flush };
        let sent = self.attached.detach(|| {
            self.request.lease.with(|exchange| {
                answering.head.with_answer(|answer| exchange.start(answer))?;
                if header_only || length == 0 {
                    return Ok(length);
                }
                file.with_descriptor(|descriptor| exchange.send_file(descriptor, part, push))
            })
        });
        match sent.unwrap_or(Err(WriteError::Gone)) {
            Ok(count) => {
                answering.admit(usize::try_from(count).unwrap_or(usize::MAX));
                Ok(())
            }
            Err(error) => {
                answering.failed = Some(error);
                Err(Stopped::Unsent(error))
            }
        }
    }

    /// The body is complete: commits the head if nothing has, and compares what was produced with what was declared.
    fn finish(&self) -> Result<Outcome, Stopped> {
        check_started(self.attached, self.request)?;
        send(self.attached, self.request, b"", Push::Hold).map_err(Stopped::Unsent)?;
        let shortfall = self.request.answering.take(self.attached).shortfall();
        let Some((length, produced)) = shortfall else { return Ok(Outcome::Done) };
        let line = format!(
            "{}: {}: {produced} bytes of {length}. The connection is closed.",
            Code::ResponseTooShort,
            Code::ResponseTooShort.text(),
        );
        self.request.note_line(self.attached, Level::Error, &line);
        Ok(Outcome::Truncated(Code::ResponseTooShort.into()))
    }

    /// An exception of the application: reported, and told to the client as far as it still can be.
    fn failed(&self, raised: Raised) -> Outcome {
        let attached = self.attached;
        let exception = take_exception(attached, raised);
        let code = if exception.is_a(self.state.request_timeout.get(attached)) {
            note_request_timeout(attached, self.request)
        } else {
            events::request_exception(attached, self.request, &exception.value);
            let raised = exception.restore();
            report::request(attached, self.request, raised, self.script.path(), SCRIPT_RUNNING)
        };
        let failure = Failure::from(code);
        let answering = self.request.answering.take(attached);
        match (answering.failed, answering.committed) {
            (Some(WriteError::Gone | WriteError::Answered), _) => Outcome::Abandoned,
            (_, true) => Outcome::Truncated(failure),
            (_, false) => Outcome::Unanswered(failure),
        }
    }

    /// PEP 3333: `close()` of what the application returned is called in every ending.
    fn close(&self, result: &Object<'_>) {
        let report = |raised, codes| {
            report::request(self.attached, self.request, raised, self.script.path(), codes);
        };
        match result.attr_if_there(self.state.names.close.get(self.attached)) {
            Ok(None) => {}
            Ok(Some(close)) => {
                if let Err(raised) = close.call([]) {
                    let exception = take_exception(self.attached, raised);
                    events::request_exception(self.attached, self.request, &exception.value);
                    report(exception.restore(), SCRIPT_RUNNING);
                }
            }
            Err(raised) => report(raised, (Code::CloseLookUpFailed, Code::ApplicationSystemExit)),
        }
    }
}
