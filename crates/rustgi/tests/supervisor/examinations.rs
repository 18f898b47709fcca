//! Groups whose Python the supervisor examines: which groups wait, which results it accepts, and what it does until there is one.

use crate::harness::{READY, Supervised, group, lives, until};
use exchange::Code;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use wire::control::{Examination, Group, Python};

/// In an examination it prints the file `answer`, or hangs while there is a file `hang`. Otherwise it runs Python.
const PYTHON: &str = "#!/bin/sh
if [ \"$1\" = -I ]; then
    echo $$ >> @place@/examined
    while [ -e @place@/hang ]; do sleep 0.05; done
    cat @place@/answer
else
    exec /usr/bin/python3 \"$@\"
fi
";

const ANSWER: &str = "version\x003\x0011\x002\nprogram\0/own/name\nvenv\x000\nsuffix\0.so\nsite\0@place@/site\nlibraries\n";

/// A group whose Python is in the directory of the test.
fn examined(supervised: &Supervised, name: &str) -> Group {
    let place = supervised.directory.path();
    let fill = |text: &str| text.replace("@place@", place.to_str().unwrap());
    fs::create_dir_all(place.join("site")).unwrap();
    fs::write(place.join("site/_rustgi.so"), "").unwrap();
    fs::write(place.join("answer"), fill(ANSWER)).unwrap();
    let python = place.join("python3");
    fs::write(&python, fill(PYTHON)).unwrap();
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
    let python = Python::Program(python.to_str().unwrap().into());
    Group {
        program: Vec::new(),
        examination: Some(Examination { python, ..Examination::default() }),
        ..group(name, 1)
    }
}

fn write(supervised: &Supervised, name: &str, text: &str) {
    fs::write(supervised.directory.path().join(name), text).unwrap();
}

fn trouble(supervised: &Supervised) -> Option<u16> {
    supervised.group().trouble().map(|(code, _)| code)
}

#[test]
fn a_group_runs_when_its_python_has_been_examined_and_other_groups_do_not_wait_for_it() {
    let mut supervised = Supervised::new(READY);
    let wanted = examined(&supervised, "g");
    write(&supervised, "hang", "");
    supervised.run(vec![wanted, group("other", 1)]);
    until("the other group runs", || {
        let other = supervised.board.group(1)?;
        supervised
            .board
            .workers(other)
            .any(|(_, it)| it.state() == link::State::Ready)
            .then_some(())
    });
    // Requests wait for 3 s, as for a worker that starts, and are refused then.
    assert_eq!(until("trouble", || trouble(&supervised)), Code::InterpreterSilent as u16);
    supervised.await_log("WSGI1081: process group 'g': ");
    // After another configuration the group waits again, and its Python is not examined twice at the same time.
    supervised.run_again();
    fs::remove_file(supervised.directory.path().join("hang")).unwrap();
    supervised.ready(1);
    assert_eq!(trouble(&supervised), None);
}

#[test]
fn a_python_that_cannot_be_used_is_examined_again_until_it_can() {
    let mut supervised = Supervised::new(READY);
    let wanted = examined(&supervised, "g");
    let broken = wanted.examination.clone();
    let known = Some((Code::EngineMissing as u16, "there is none".to_owned()));
    write(&supervised, "answer", "nonsense\n");
    supervised.run(vec![Group { unusable: known, examination: broken, ..wanted.clone() }]);
    assert_eq!(until("trouble", || trouble(&supervised)), Code::EngineMissing as u16);
    // The reason differs from the one that httpd's parent had, so the supervisor logs it.
    until("another reason", || (trouble(&supervised) == Some(1005)).then_some(()));
    supervised.await_log("python3 cannot be run");
    examined(&supervised, "g");
    supervised.ready(1);
    assert_eq!(trouble(&supervised), None);
    assert_eq!(supervised.log().matches("python3 cannot be run").count(), 1);
}

#[test]
fn workers_serve_on_while_the_python_of_the_next_ones_does_not_answer() {
    let mut supervised = Supervised::new(READY);
    let wanted = examined(&supervised, "g");
    supervised.run(vec![wanted.clone()]);
    let old = supervised.ready(1)[0];
    write(&supervised, "hang", "");
    // Another file: the result of the first examination does not apply.
    let python = supervised.directory.path().join("python3");
    let text = fs::read_to_string(&python).unwrap();
    fs::write(&python, text + "# changed\n").unwrap();
    supervised.run(vec![Group { umask: Some(0o027), ..wanted }]);
    supervised.await_log("WSGI1081: process group 'g': ");
    assert!(lives(old));
    assert_eq!((supervised.ready(1)[0], trouble(&supervised)), (old, None));
    fs::remove_file(supervised.directory.path().join("hang")).unwrap();
    until("a new worker", || (supervised.ready(1)[0] != old).then_some(()));
}

#[test]
fn the_output_of_an_interpreter_is_bounded_and_affects_its_own_group_alone() {
    let mut supervised = Supervised::new(READY);
    let wanted = examined(&supervised, "g");
    for answer in [
        "x".repeat(1 << 20),
        "version\x003\x0011\x002\nsuffix\0.so\nsite\0/a\n".repeat(3000),
        "version\x002\x007\x001\nsuffix\0.so\nsite\0/a\n".to_owned(),
        "version\x00\nsuffix\nsite\n".to_owned(),
        format!(
            "version\x003\x0011\x002\nprogram\0{}\nsuffix\0.so\nsite\0{}/site\n",
            "/p".repeat(9000),
            supervised.directory.path().display()
        ),
    ] {
        write(&supervised, "answer", &answer);
        let before = supervised.log().matches("WSGI10").count();
        supervised.run(vec![Group { umask: Some(before as u32), ..wanted.clone() }]);
        until("a refusal", || (supervised.log().matches("WSGI10").count() > before).then_some(()));
        assert!(matches!(trouble(&supervised), Some(1003 | 1005)), "{:?}", trouble(&supervised));
        assert!(supervised.log().lines().all(|line| line.len() < 4097));
    }
    assert!(supervised.process.try_wait().unwrap().is_none());
}

#[test]
fn no_process_of_an_examination_outlives_the_supervisor() {
    let mut supervised = Supervised::new(READY);
    let wanted = examined(&supervised, "g");
    write(&supervised, "hang", "");
    supervised.run(vec![wanted]);
    let place = supervised.directory.path().join("examined");
    let pid = until("an examination", || fs::read_to_string(&place).ok()?.trim().parse().ok());
    assert!(lives(pid));
    supervised.stop();
    supervised.await_end();
    until("it has ended", || (!lives(pid)).then_some(()));
}
