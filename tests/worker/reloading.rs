//! Scripts that change while a worker has them.

use crate::driver::{Ask, Plan, Python, Worker};
use exchange::Preload;
use std::fs;
use std::time::{Duration, SystemTime};
use wire::End;
use wire::control::{FromWorker, Script, ToWorker};

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
        // One that is gone is no failure; the supervisor is told that it is.
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
                FromWorker::Loaded(script) => (name(&script.path), script.group, script.main),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [
            ("app.wsgi".to_owned(), Vec::new(), true),
            ("app.wsgi".to_owned(), b"other".to_vec(), false),
        ];
        assert_eq!(loaded, expected);
    }
}
