//! One question about a request, from the script to the answer: access, passwords, groups, and where a request is to be
//! served. Everything but a clear answer is a refusal. Read top-down.

use crate::adapter::Adapter;
use crate::host::Host;
use crate::log::{self, Log};
use crate::py::{Attached, Object, Py, Raised};
use crate::request::Request;
use crate::script::{Purpose, SCRIPT_RUNNING, Script};
use crate::seat::Seat;
use crate::state::State;
use crate::{attach, environ, report};
use exchange::{Code, Exchange, Failure, Head, Level, Question, Reply};
use std::sync::Arc;

/// Asks the script that the exchange's head names.
pub fn ask(
    host: &Host,
    exchange: &mut dyn Exchange,
    question: Question<'_>,
    reply: &mut dyn FnMut(Reply<'_>),
) -> Result<(), Failure> {
    let interpreter = host.interpreter(exchange)?;
    let asked = attach::enter(interpreter, |attached, seat| {
        let request = Arc::new(Request::new(interpreter));
        request.lease.lend(attached, exchange, |head| {
            request.begin(attached, &head);
            log::serving(&request, || {
                let asked = in_python(attached, seat, &request, &head, question, reply);
                log::finish_line(attached, &request);
                request.end(attached);
                asked
            })
        })
    });
    asked.map_err(Failure::from)
}

fn in_python(
    attached: &Attached,
    seat: &mut Seat,
    request: &Arc<Request>,
    head: &Head<'_>,
    question: Question<'_>,
    reply: &mut dyn FnMut(Reply<'_>),
) -> Result<(), Code> {
    let interpreter = seat.interpreter;
    let unreadable = (Code::ScriptUnreadable, Code::ScriptUnreadable);
    let script = interpreter.scripts.find(attached, &head.script, None).map_err(|raised| {
        report::request(attached, request, raised, &head.script.path, unreadable)
    })?;
    let names = script.names(attached, request, &head.script, Purpose::Question)?;
    let asking = Asking { attached, request, script, names };
    let environ = asking.environ(interpreter.state(), head, question);
    let environ = environ.map_err(|raised| asking.report(raised))?;
    asking.ask(&environ, question, reply)
}

/// A script that is being asked.
struct Asking<'a> {
    attached: &'a Attached,
    request: &'a Arc<Request>,
    script: &'static Script,
    names: Object<'a>,
}

impl<'a> Asking<'a> {
    /// The reduced environ: the carrier's variables, a log, and what the TLS layer knows.
    fn environ(
        &self,
        state: &'static State,
        head: &Head<'_>,
        question: Question<'_>,
    ) -> Py<Object<'a>> {
        let attached = self.attached;
        let environ = attached.dict()?;
        for variable in head.variables.iter() {
            environ::set_variable(attached, state, &environ, &variable)?;
        }
        let log = state.log.instance(attached, Log::of_question(Arc::clone(self.request)))?;
        let stream = state.setup.text_stream.get(attached).call([&log])?;
        environ.dict_set(state.names.errors.get(attached), &stream)?;
        if head.native {
            environ::set_native(attached, state, &environ, self.request)?;
        }
        if question == Question::Dispatch {
            return Ok(environ);
        }
        for key in ["apache.version", "mod_wsgi.version"] {
            let key = attached.interned(key)?;
            if let Some(version) = state.base.get(attached).dict_get(&key)? {
                environ.dict_set(&key, &version)?;
            }
        }
        let adapter = Adapter { request: Arc::clone(self.request) };
        let adapter = state.adapter.instance(attached, adapter)?;
        let functions =
            [("mod_ssl.is_https", c"ssl_is_https"), ("mod_ssl.var_lookup", c"ssl_var_lookup")];
        for (key, method) in functions {
            environ.dict_set(&attached.interned(key)?, &adapter.get(method)?)?;
        }
        Ok(environ)
    }

    fn ask(
        &self,
        environ: &Object<'_>,
        question: Question<'_>,
        reply: &mut dyn FnMut(Reply<'_>),
    ) -> Result<(), Code> {
        match question {
            Question::Password { user, password } => {
                let missing = Code::PasswordFunctionMissing;
                let answer = self.call("check_password", missing, environ, &[user, password])?;
                self.password(&answer, reply)
            }
            Question::RealmHash { user, realm } => {
                let missing = Code::HashFunctionMissing;
                let answer = self.call("get_realm_hash", missing, environ, &[user, realm])?;
                self.hash(&answer, reply)
            }
            Question::Groups { user } => {
                let missing = Code::GroupsFunctionMissing;
                let answer = self.call("groups_for_user", missing, environ, &[user])?;
                self.groups(&answer, reply)
            }
            Question::Access { host } => {
                let missing = Code::AccessFunctionMissing;
                let answer = self.call("allow_access", missing, environ, &[host])?;
                self.access(&answer, reply)
            }
            Question::Dispatch => self.dispatch(environ, reply),
        }
    }

    fn password(&self, answer: &Object<'_>, reply: &mut dyn FnMut(Reply<'_>)) -> Result<(), Code> {
        if let Some(yes) = answer.as_bool() {
            reply(if yes { Reply::Yes } else { Reply::No });
        } else if answer.is_text() {
            let user = answer.encode_utf8().map_err(|raised| self.report(raised))?;
            match user.bytes() {
                Some(user @ [_, ..]) => reply(Reply::YesAs(user)),
                _ => return Err(self.refuse(Code::UserEmpty)),
            }
        } else if !answer.is_none() {
            return Err(self.refuse(Code::PasswordNotBool));
        }
        Ok(())
    }

    fn hash(&self, answer: &Object<'_>, reply: &mut dyn FnMut(Reply<'_>)) -> Result<(), Code> {
        if answer.is_none() {
            return Ok(());
        }
        let text = self.bytes_or_latin1(answer)?.ok_or_else(|| self.refuse(Code::HashNotText))?;
        match text.bytes() {
            Some(hash @ [_, ..]) => reply(Reply::Hash(hash)),
            _ => return Err(self.refuse(Code::HashEmpty)),
        }
        Ok(())
    }

    /// The groups count only when all of them could be had.
    fn groups(&self, answer: &Object<'_>, reply: &mut dyn FnMut(Reply<'_>)) -> Result<(), Code> {
        let items = answer.iter().map_err(|raised| {
            raised.forget();
            self.refuse(Code::GroupsNotIterable)
        })?;
        let mut groups = Vec::new();
        while let Some(item) = items.next().map_err(|raised| self.report(raised))? {
            let Some(text) = item.bytes().or_else(|| item.latin1_bytes()) else {
                let code = if item.is_text() { Code::GroupNotLatin1 } else { Code::GroupNotText };
                return Err(self.refuse(code));
            };
            groups.push(text.to_vec());
        }
        groups.iter().for_each(|group| reply(Reply::Group(group)));
        Ok(())
    }

    fn access(&self, answer: &Object<'_>, reply: &mut dyn FnMut(Reply<'_>)) -> Result<(), Code> {
        match answer.as_bool() {
            Some(yes) => reply(if yes { Reply::Yes } else { Reply::No }),
            None if answer.is_none() => {}
            None => return Err(self.refuse(Code::AccessNotBool)),
        }
        Ok(())
    }

    fn dispatch(&self, environ: &Object<'_>, reply: &mut dyn FnMut(Reply<'_>)) -> Result<(), Code> {
        type Said = for<'r> fn(&'r [u8]) -> Reply<'r>;
        let questions: [(&str, Said); 3] = [
            ("process_group", |name| Reply::ProcessGroup(name)),
            ("application_group", |name| Reply::ApplicationGroup(name)),
            ("callable_object", |name| Reply::CallableObject(name)),
        ];
        for (name, said) in questions {
            let Some(function) = self.function(name)? else { continue };
            let answer = function.call([environ]).map_err(|raised| self.report(raised))?;
            if answer.is_none() {
                continue;
            }
            let text = match self.bytes_or_latin1(&answer)? {
                Some(text) => text,
                None => {
                    let message = format!(
                        "{name}() must return str, bytes or None, not {}",
                        answer.type_name()
                    );
                    let raised = crate::py::raise(self.attached, crate::py::Kind::Type, &message);
                    return Err(self.report(raised));
                }
            };
            reply(said(text.bytes().unwrap_or_default()));
        }
        Ok(())
    }

    /// The `bytes` of a `bytes` or a latin-1 `str`; nothing for another type.
    fn bytes_or_latin1(&self, answer: &Object<'a>) -> Result<Option<Object<'a>>, Code> {
        if answer.is_text() {
            return answer.encode_latin1().map(Some).map_err(|raised| self.report(raised));
        }
        Ok(answer.bytes().is_some().then(|| answer.clone()))
    }

    fn function(&self, name: &str) -> Result<Option<Object<'a>>, Code> {
        let found = self.attached.interned(name).and_then(|name| self.names.dict_get(&name));
        found.map_err(|raised| self.report(raised))
    }

    fn call(
        &self,
        name: &str,
        missing: Code,
        environ: &Object<'_>,
        arguments: &[&[u8]],
    ) -> Result<Object<'a>, Code> {
        let function = self.function(name)?.ok_or_else(|| self.refuse(missing))?;
        let texts: Py<Vec<_>> = arguments.iter().map(|text| self.attached.latin1(text)).collect();
        let answer = texts.and_then(|texts| match texts.as_slice() {
            [first, second] => function.call([environ, first, second]),
            [first] => function.call([environ, first]),
            _ => unreachable!("every question has one argument or two"),
        });
        answer.map_err(|raised| self.report(raised))
    }

    fn report(&self, raised: Raised) -> Code {
        report::request(self.attached, self.request, raised, self.script.path(), SCRIPT_RUNNING)
    }

    fn refuse(&self, code: Code) -> Code {
        let line = format!("{code}: {}.", code.text());
        self.request.note_line(self.attached, Level::Error, &line);
        code
    }
}
