//! Failures as values: a code that never changes its meaning, whose fault it is, and what the client is told.
//!
//! Codes below 1000 are mod_wsgi's own, for the same events; ours begin at 1000. A code is never given to another event.

use std::fmt;

/// Who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Who sent the request.
    Client,
    /// Who wrote the application.
    Application,
    /// Who wrote the configuration.
    Configuration,
    /// The machine, the network, httpd.
    Carrier,
    /// The authors of mod_rustgi.
    Ourselves,
}

macro_rules! codes {
    ($($number:literal $id:ident $owner:ident $status:literal $text:literal;)*) => {
        /// The register of failures that are told to operators.
        #[repr(u16)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $(#[doc = $text] $id = $number),* }

        impl Code {
            /// All of them, by number.
            pub const ALL: &'static [Code] = &[$(Code::$id),*];

            /// Who can mend it.
            pub const fn owner(self) -> Owner { match self { $(Code::$id => Owner::$owner),* } }

            /// The status that the client gets if no answer was started; 0 where no request is concerned.
            pub const fn status(self) -> u16 { match self { $(Code::$id => $status),* } }

            /// What happened, in a few words. The log line adds the particulars.
            pub const fn text(self) -> &'static str { match self { $(Code::$id => $text),* } }

            /// The code with this number.
            pub fn from_number(number: u16) -> Option<Code> {
                Code::ALL.iter().copied().find(|code| *code as u16 == number)
            }
        }
    };
}

codes! {
    34   PeerRefused              Carrier       0   "A process that may not send requests has connected";
    35   SubInterpreterFailed     Carrier       500 "A sub-interpreter could not be created";
    36   PythonNotStarted         Configuration 0   "Python could not be initialised";
    41   PasswordScriptMissing    Configuration 500 "AuthBasicProvider wsgi needs WSGIAuthUserScript";
    42   PasswordUnavailable      Configuration 500 "Python is not available to check a password";
    43   PasswordFunctionMissing  Application   500 "The script does not contain check_password";
    44   HashScriptMissing        Configuration 500 "AuthDigestProvider wsgi needs WSGIAuthUserScript";
    45   HashUnavailable          Configuration 500 "Python is not available to get the hash of a password";
    46   HashFunctionMissing      Application   500 "The script does not contain get_realm_hash";
    48   GroupsUnavailable        Configuration 403 "Python is not available to get the groups of a user";
    49   GroupNotLatin1           Application   403 "groups_for_user gave a group that is not latin-1";
    50   GroupNotText             Application   403 "groups_for_user gave a group that is neither str nor bytes";
    51   GroupsNotIterable        Application   403 "groups_for_user gave nothing that can be iterated";
    52   GroupsFunctionMissing    Application   403 "The script does not contain groups_for_user";
    54   AccessUnavailable        Configuration 403 "Python is not available to check the access of a client";
    55   AccessNotBool            Application   403 "allow_access gave neither True, False nor None";
    56   AccessFunctionMissing    Application   403 "The script does not contain allow_access";
    57   AccessDenied             Client        403 "The client was denied by allow_access";
    58   GroupsScriptMissing      Configuration 403 "Require wsgi-group needs WSGIAuthGroupScript";
    59   UserInNoGroup            Client        403 "The user is not in any group";
    60   UserInOtherGroups        Client        403 "The user is in none of the required groups";
    79   LocaleUnavailable        Configuration 0   "The locale is not available";
    81   ScriptOutsideJail        Configuration 502 "The script is not below the chroot of its process group";
    84   QueueTimedOut            Carrier       504 "The request has waited longer than queue-timeout";
    86   DispatchUnavailable      Configuration 500 "Python is not available to dispatch a request";
    87   InterpreterUnavailable   Carrier       500 "The interpreter for the request could not be acquired";
    89   CallableMissing          Application   500 "The script does not contain the WSGI callable";
    91   PathEntryFailed          Configuration 0   "A directory could not be added to sys.path";
    97   ExitSystemExit           Application   0   "SystemExit was raised by an atexit function";
    98   ExitException            Application   0   "An exception was raised by an atexit function";
    105  ScriptUnreadable         Application   500 "The script could not be read or compiled";
    106  PreloadUnreadable        Application   0   "The script could not be read or compiled when the process started";
    107  ScriptSystemExit         Application   500 "SystemExit was raised while the script was executed";
    108  PreloadSystemExit        Application   0   "SystemExit was raised while the script was executed when the process started";
    109  ScriptException          Application   500 "An exception was raised while the script was executed";
    110  PreloadException         Application   0   "An exception was raised while the script was executed when the process started";
    112  CallbackException        Application   0   "An exception was raised by a callback";
    116  WorkerFull               Carrier       503 "No connection to a process of the group could be made within connect-timeout";
    117  WorkerUnreachable        Carrier       503 "No process of the group can be reached";
    119  WorkerBrokeOff           Application   502 "A process ended in the middle of an answer";
    124  WorkersRestarting        Carrier       503 "The processes of the group were restarted again and again";
    134  ExecNotAllowed           Configuration 403 "Options ExecCGI is off for the script";
    135  ScriptMissing            Client        404 "The script does not exist";
    136  ScriptIsDirectory        Client        403 "The script is a directory";
    137  PathInfoRefused          Client        404 "AcceptPathInfo is off and the request has path information";
    138  TransferEncodingUnknown  Client        501 "The Transfer-Encoding of the request is not supported";
    139  ChunkedRefused           Client        411 "Chunked request bodies are not enabled";
    141  ContentLengthInvalid     Client        400 "The Content-Length of the request is not a number";
    143  EmbeddedRestricted       Configuration 500 "WSGIRestrictEmbedded lets no application run in the children of the server";
    144  HeaderTooLong            Application   500 "A header of the answer is longer than header-buffer-size";
    145  WorkerTimedOut           Application   504 "A process did not answer within socket-timeout";
    146  AnswerMissing            Application   502 "A process ended before it had answered";
    148  AnswerMalformed          Ourselves     500 "A process sent what is no answer";
    149  ProcessGroupNotAllowed   Configuration 500 "WSGIRestrictProcess does not allow the process group";
    151  ProcessGroupUnknown      Configuration 500 "The process group is not configured";
    152  ProcessGroupOfOthers     Configuration 500 "The process group belongs to a virtual host with another ServerName";
    174  ApplicationException     Application   500 "An exception was raised while the script was running";
    175  ApplicationSystemExit    Application   500 "SystemExit was raised while the script was running";
    176  UserEmpty                Application   500 "check_password gave an empty user name";
    177  PasswordNotBool          Application   500 "check_password gave neither True, False, None nor a str";
    178  HashEmpty                Application   500 "get_realm_hash gave an empty hash";
    179  HashNotText              Application   500 "get_realm_hash gave neither None, str nor bytes";
    188  StartException           Configuration 0   "An exception was raised while an interpreter was set up";
    190  CallbackSystemExit       Application   0   "SystemExit was raised by a callback";
    194  CloseLookUpFailed        Application   500 "Looking up close() of the response raised an exception";
    198  OwnGilUnsupported        Configuration 0   "This Python has no interpreters with their own lock";
    199  SwitchIntervalSkipped    Configuration 0   "A switch interval for one interpreter needs a lock of its own";
    200  FreeThreadingUnsupported Configuration 0   "This Python is not a free-threaded one";
    201  FreeThreadingPerProcess  Configuration 0   "WSGIFreeThreading holds for a whole process; it is ignored where application-group= is given";
    202  OwnGilSkipped            Configuration 0   "A free-threaded Python has no locks of its own to give";
    203  SwitchIntervalUseless    Configuration 0   "A free-threaded Python does not switch, so WSGISwitchInterval is ignored";
    205  SwitchIntervalUselessHere Configuration 0  "A free-threaded Python does not switch, so the WSGISwitchInterval of a section is ignored";
    210  EmbeddedUnavailable      Configuration 500 "Python is not running in this process";
    1000 BodyTooLarge             Client        413 "The request body exceeds LimitRequestBody";
    1001 ResponseTooShort         Application   500 "The response is shorter than its Content-Length";
    1002 RequestTimeout           Application   504 "RequestTimeout was raised in the application";
    1003 EngineMissing            Configuration 0   "There is no engine for the configured Python";
    1004 LibpythonMissing         Configuration 0   "The configured Python has no shared library";
    1005 InterpreterRefused       Configuration 0   "The configured Python cannot be run";
    1006 EngineMismatch           Configuration 0   "The engine and the module are of different versions";
    1007 NotForSubInterpreters    Configuration 500 "An extension module cannot be imported in a sub-interpreter";
    1008 ShutdownTimedOut         Application   0   "Python did not finish in time and was left";
    1009 AnswerRefused            Carrier       500 "The server could not take the response";
    1010 Panic                    Ourselves     500 "An internal error was caught";
    1011 UnusableInProcess        Application   500 "The process cannot run the request, as it was forked by an application";
    1012 ResponseUnread           Carrier       500 "A file of the response could not be read";
    1014 DirectiveGone            Configuration 0   "Something in the configuration has no effect any more";
    1015 NameWithNul              Application   500 "A script gave a name with a NUL in it";
    1016 GenerationRefused        Application   0   "New workers could not take over; those that were there go on";
    1017 WorkersFailing           Application   503 "No worker of the daemon process group stays alive";
    1018 WorkerDied               Application   0   "A worker ended unexpectedly";
    1019 WorkerNotStarted         Configuration 0   "A worker could not be started";
    1020 WorkerKilled             Application   0   "A worker did not end in time and was killed";
    1021 ServesNoRequests         Configuration 503 "The daemon process group runs service scripts and serves no requests";
    1022 SupervisorConfused       Ourselves     0   "The supervisor of workers was told something it does not understand";
    1023 SocketFailed             Carrier       0   "The socket of a worker could not be made";
    1024 LimitFailed              Configuration 0   "A limit of a worker could not be set";
    1025 BoardFull                Configuration 0   "There are more groups or workers than can be";
    1026 ScriptChanged            Ourselves     503 "The script has changed, and processes with the new one are being started";
    1027 FrameMalformed           Ourselves     0   "A process has sent what is no request";
    1028 WorkerMisled             Ourselves     0   "A worker was not told what it is to do";
    1029 SupervisorGone           Carrier       0   "The supervisor has gone";
    1030 ThreadUnavailable        Carrier       0   "A thread could not be started";
    1031 DeadlockDetected         Application   0   "The lock of the main interpreter could not be taken in time";
    1036 SupervisorMissing        Configuration 0   "The processes of WSGIDaemonProcess could not be started";
    1037 SupervisorDied           Ourselves     0   "The program that looks after processes has ended";
    1038 ScriptOfOthers           Configuration 403 "The script does not belong to whom script-user or script-group says";
    1039 RequestTooLarge          Client        431 "The request is too large for a process of its own";
    1040 NoWorker                 Carrier       503 "The group has no process that serves";
    1041 BodyNotGathered          Carrier       0   "The body of the request could not be kept";
    1042 AnswerNotKept            Carrier       500 "The answer could not be kept for a client that reads slowly";
    1043 ConnectionNotMade        Carrier       0   "A connection of the server could not be made";
    1050 SpoolFull                Configuration 0   "No room to spool within spool-limit";
    1051 RequestTimedOut          Application   504 "A request took longer than request-timeout, and its process was replaced";
    1060 SocketsRemoved           Carrier       0   "The directory of sockets had been removed";
    1070 MemoryLimitReached       Application   0   "A worker has reached its memory limit";
    1071 ScriptSlow               Application   0   "A script takes a long time to load";
    1072 TimeoutExpired           Application   0   "A timeout has expired";
    1080 EnvironmentFileRefused   Configuration 0   "The environment-file of a process group cannot be used";
    1081 InterpreterSilent        Configuration 503 "The Python of a process group has not answered yet";
    1082 SupervisorSilent         Carrier       0   "The supervisor has not acknowledged the configuration";
}

impl Code {
    /// Whether the result of an examination may have this code. The process that examines a Python runs as the user of a group and
    /// must not be able to report other events.
    pub const fn is_of_examination(self) -> bool {
        matches!(
            self,
            Code::EngineMissing
                | Code::LibpythonMissing
                | Code::InterpreterRefused
                | Code::InterpreterSilent
                | Code::EnvironmentFileRefused
        )
    }
}

impl fmt::Display for Code {
    /// As it begins a log line: `WSGI0089`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WSGI{:04}", *self as u16)
    }
}

/// A request that was not answered as asked.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub code: Code,
}

impl Failure {
    /// The status that the client gets if no answer was started.
    pub const fn status(self) -> u16 {
        self.code.status()
    }
}

impl From<Code> for Failure {
    fn from(code: Code) -> Self {
        Failure { code }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.code.text())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_in_order_and_no_number_is_given_twice() {
        assert!(Code::ALL.windows(2).all(|pair| (pair[0] as u16) < (pair[1] as u16)));
    }

    #[test]
    fn a_failure_reads_as_the_log_line_it_begins() {
        let failure = Failure::from(Code::CallableMissing);
        assert_eq!(failure.to_string(), "WSGI0089: The script does not contain the WSGI callable");
        assert_eq!(Code::from_number(89), Some(Code::CallableMissing));
        assert_eq!(Code::from_number(2), None);
    }
}
