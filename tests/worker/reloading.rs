//! Scripts that change while a worker has them.

use crate::driver::{Ask, Plan, Python, Worker};
use exchange::Preload;
use std::fs;
use std::time::{Duration, SystemTime};
use wire::End;
use wire::control::{self, FromWorker, Script, ToWorker};

fn text(answer: &str) -> String {
    format!(
        "def application(environ, start_response):\n    \
         start_response('200 OK', [])\n    return [b'{answer}']\n"
    )
}

fn reloading<'a>() -> Ask<'a> {
    Ask { reloading: true, ..Ask::get("/") }
}

/// Writes the script anew, as of so many seconds ago.
fn change(worker: &Worker, content: &str, age: u64) {
    let path = worker.directory().join("app.wsgi");
    fs::write(&path, content).unwrap();
    let time = SystemTime::now() - Duration::from_secs(age);
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
}

fn changes(worker: &mut Worker) -> usize {
    worker.heard().iter().filter(|message| matches!(message, FromWorker::Changed(_))).count()
}

#[test]
fn one_request_waits_for_the_new_script_and_the_others_do_not() {
    for python in Python::all() {
        let mut worker = Worker::serving(&python, Plan::threads(2), &text("old"));
        let mut client = worker.connect();
        assert_eq!(client.ask(&reloading()).text(), "old");
        assert_eq!(changes(&mut worker), 0);
        change(&worker, &text("new"), 100);
        let answer = client.ask(&reloading());
        assert_eq!((answer.status, answer.end), (0, Some(End::Reloading)));
        assert!(answer.log().contains("has changed; it is loaded by new processes"));
        assert_eq!(client.ask(&reloading()).text(), "old");
        assert_eq!(changes(&mut worker), 1);
        let path = worker.directory().join("app.wsgi").into_os_string().into_encoded_bytes();
        worker.tell(&ToWorker::Keep(path), None);
        assert_eq!(client.ask(&reloading()).text(), "old");
        assert_eq!(changes(&mut worker), 0);
        change(&worker, &text("newer"), 50);
        assert_eq!(client.ask(&Ask { as_loaded: true, ..reloading() }).text(), "old");
        assert_eq!(client.ask(&Ask::get("/")).text(), "old");
        assert_eq!(changes(&mut worker), 0);
        assert_eq!(client.ask(&reloading()).end, Some(End::Reloading));
        assert_eq!(changes(&mut worker), 1);
        fs::remove_file(worker.directory().join("app.wsgi")).unwrap();
        assert_eq!(client.ask(&reloading()).end, Some(End::Reloading));
        assert_eq!(client.ask(&reloading()).text(), "old");
    }
}

#[test]
fn a_script_may_say_itself_that_it_wants_to_be_loaded_again() {
    for python in Python::all() {
        let script = text("old")
            + "def reload_required(path):\n    import os\n    return os.path.exists(path + '.stale')\n";
        let mut worker = Worker::serving(&python, Plan::threads(1), &script);
        let mut client = worker.connect();
        assert_eq!(client.ask(&reloading()).text(), "old");
        fs::write(worker.directory().join("app.wsgi.stale"), "").unwrap();
        assert_eq!(client.ask(&reloading()).end, Some(End::Reloading));
        assert_eq!(client.ask(&reloading()).text(), "old");
        let path = worker.directory().join("app.wsgi").into_os_string().into_encoded_bytes();
        worker.tell(&ToWorker::Keep(path), None);
        assert_eq!(client.ask(&reloading()).text(), "old");
        assert_eq!(changes(&mut worker), 1);
        std::thread::sleep(Duration::from_millis(2100));
        assert_eq!(client.ask(&reloading()).end, Some(End::Reloading));
        assert_eq!(changes(&mut worker), 1);
    }
}

#[test]
fn a_worker_says_what_it_has_loaded_unless_it_was_told_to() {
    for python in Python::all() {
        let mut plan = Plan::threads(1);
        let script = |name: &str, group: &str| Script {
            path: name.into(),
            group: group.into(),
            main: group.is_empty(),
            callables: Vec::new(),
        };
        plan.settings.preload =
            vec![Preload { path: b"one.wsgi".to_vec(), main: true, ..Preload::default() }];
        plan.scripts =
            vec![script("two.wsgi", "group"), script("gone.wsgi", ""), script("bad.wsgi", "")];
        let print = |name: &str| format!("print('{name} is loaded')\n") + &text(name);
        let (one, two, app) = (print("one"), print("two"), print("app"));
        let files = [
            ("one.wsgi", one.as_str()),
            ("two.wsgi", two.as_str()),
            ("app.wsgi", app.as_str()),
            ("bad.wsgi", "import nothing_of_this_name\n"),
        ];
        let mut worker = plan.start(&python, &files);
        let (failed, tried) = worker.hear_until(|message| match message {
            FromWorker::Ready { failed, tried } => Some((failed.clone(), tried.clone())),
            _ => None,
        });
        let name =
            |path: &[u8]| String::from_utf8_lossy(path).rsplit('/').next().unwrap().to_owned();
        let tried: Vec<_> =
            tried.iter().map(|it| (name(&it.path), it.modified.is_some())).collect();
        let there = [("one", true), ("two", true), ("gone", false), ("bad", true)];
        assert_eq!(tried, there.map(|(name, is_there)| (format!("{name}.wsgi"), is_there)));
        let names: Vec<_> = failed.iter().map(|(path, _)| name(path)).collect();
        // A script that does not exist is no failure; the worker reports it as missing.
        assert_eq!(names, ["bad.wsgi"]);
        let reason = "WSGI0110: ModuleNotFoundError: No module named 'nothing_of_this_name'";
        assert_eq!(failed[0].1, reason);
        let log = worker.log();
        assert!(log.contains("one is loaded") && log.contains("two is loaded"), "{log}");
        let get = |script| Ask { script: Some(script), ..Ask::get("/") };
        let mut client = worker.connect();
        assert_eq!(client.ask(&get("one.wsgi")).text(), "one");
        assert_eq!(client.ask(&Ask { group: "group", ..get("two.wsgi") }).text(), "two");
        assert_eq!(client.ask(&get("app.wsgi")).text(), "app");
        assert_eq!(client.ask(&Ask { group: "other", ..get("app.wsgi") }).text(), "app");
        let loaded: Vec<_> = worker
            .heard()
            .into_iter()
            .map(|message| match message {
                FromWorker::Loaded(script) => {
                    assert_eq!(script.callables, [b"application"]);
                    (name(&script.path), script.group, script.main)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            ("one.wsgi".to_owned(), Vec::new(), true),
            ("two.wsgi".to_owned(), b"group".to_vec(), false),
            ("app.wsgi".to_owned(), Vec::new(), true),
            ("app.wsgi".to_owned(), b"other".to_vec(), false),
        ];
        assert_eq!(loaded, expected);
    }
}

#[test]
fn a_script_that_requests_use_must_have_one_of_the_callables_that_they_used() {
    let sources = [
        (text("there"), None),
        (text("there").replace("application", "other"), None),
        (text("there").replace("application", "third"), Some("'application'")),
        ("application = 7\n".to_owned(), Some("of type int")),
    ];
    for python in Python::all() {
        for (source, missing) in &sources {
            let callables = vec![b"other".to_vec(), b"application".to_vec()];
            let script =
                Script { path: b"app.wsgi".into(), main: true, callables, ..Script::default() };
            let plan = Plan { scripts: vec![script], ..Plan::threads(1) };
            let mut worker = plan.start(&python, &[("app.wsgi", source)]);
            let failed = worker.ready();
            match missing {
                None => assert_eq!(failed, []),
                Some(text) => {
                    assert!(failed[0].1.starts_with("WSGI0089: "), "{failed:?}");
                    assert!(failed[0].1.contains(text), "{failed:?}");
                }
            }
        }
    }
}

#[test]
fn a_callable_that_was_never_there_is_not_reported_to_the_supervisor() {
    for python in Python::all() {
        let source = "no_application = 1\n";
        let mut worker = Worker::serving(&python, Plan::threads(1), source);
        let answer = worker.get("/");
        assert!(answer.log().contains("WSGI0089"), "{}", answer.log());
        assert_eq!(worker.heard(), []);
    }
}

#[test]
fn a_script_of_another_owner_is_not_loaded() {
    let own = nix::unistd::geteuid().as_raw();
    let owner = |user| control::ScriptOwner { user: Some(user), group: None };
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    for python in Python::all() {
        let plan = |user| Plan::threads(1).with(|options| options.script_owner = owner(user));
        let worker = Worker::serving(&python, plan(own), &text("mine"));
        assert_eq!(worker.get("/").text(), "mine");
        let refused = |worker: &Worker| {
            let answer = worker.get("/");
            let code = exchange::Code::ScriptOfOthers;
            let expected = exchange::Outcome::Unanswered(code.into());
            assert_eq!(answer.end, Some(End::Served(expected)), "{answer:?}");
            assert!(answer.log().contains("WSGI1038"), "{}", answer.log());
            answer.log()
        };
        let worker = Worker::serving(&python, plan(own + 1), "print('it runs')");
        let log = refused(&worker);
        assert!(log.contains(&format!("the directory has owner {own}")), "{log}");
        assert!(!worker.log().contains("it runs"), "{}", worker.log());
        let worker = Worker::serving(&python, plan(own), "print('it runs')");
        fs::set_permissions(
            worker.directory().join("app.wsgi"),
            fs::Permissions::clone(&everybody),
        )
        .unwrap();
        let log = refused(&worker);
        assert!(log.contains("the file has owner") && log.contains("mode 666"), "{log}");
        // Scripts that are loaded before the first request are checked, too.
        let script = Script { path: b"app.wsgi".into(), main: true, ..Script::default() };
        let plan = Plan { scripts: vec![script], ..plan(own + 1) };
        let mut worker = plan.start(&python, &[("app.wsgi", "print('it runs')")]);
        let failed = worker.ready();
        assert!(failed[0].1.starts_with("WSGI1038: the directory has owner"), "{failed:?}");
        assert!(!worker.log().contains("it runs"), "{}", worker.log());
    }
}
