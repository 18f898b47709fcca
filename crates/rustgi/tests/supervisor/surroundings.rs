//! What a worker finds around it: whom it runs as, its limits, its environment, its sockets.

use crate::harness::{READY, Supervised, group, until};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use wire::control::{Group, Identity};

fn status(pid: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').split_whitespace().collect::<Vec<_>>().join(" ")
}

fn limit(pid: u32, name: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().take(2).map(str::to_owned).collect()
}

fn environment(pid: u32) -> Vec<String> {
    let text = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let parts = text.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// Only root can become somebody else.
fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: this is not root");
    }
    is_root
}

#[test]
fn a_worker_runs_as_whom_it_is_told_and_cannot_go_back() {
    if !is_root() {
        return;
    }
    let identity = Identity {
        user: 65534,
        group: 65534,
        groups: vec![100, 33],
        name: b"nobody".to_vec(),
        home: b"/tmp".to_vec(),
        is_other: true,
    };
    let supervised = Supervised::of(Group { identity: Some(identity), ..group("g", 1) }, READY);
    let pid = supervised.ready(1)[0];
    assert_eq!(status(pid, "Uid"), "65534 65534 65534 65534");
    assert_eq!(status(pid, "Gid"), "65534 65534 65534 65534");
    assert_eq!(status(pid, "Groups"), "33 100 65534");
    assert_eq!(status(pid, "CapEff"), "0000000000000000");
    assert_eq!(status(pid, "SigBlk"), "0000000000000000");
    // Python's own: SIGPIPE and SIGXFSZ.
    let ignored = u64::from_str_radix(&status(pid, "SigIgn"), 16).unwrap();
    assert_eq!(ignored & 0x7fff_ffff, 1 << 12 | 1 << 24);
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/tmp"));
    let environment = environment(pid);
    for variable in ["HOME=/tmp", "USER=nobody"] {
        assert!(environment.iter().any(|it| it == variable), "{variable}: {environment:?}");
    }
}

#[test]
fn a_worker_that_cannot_enter_its_home_is_not_started_and_the_log_says_why() {
    let lost = Group { home: Some(b"/nowhere".to_vec()), ..group("g", 1) };
    let supervised = Supervised::of(lost, READY);
    supervised.await_log("WSGI1019: process group 'g': no worker could be started: the working");
    until("trouble", || supervised.group().trouble());
    let gone = Group { program: b"/nowhere/python3".to_vec(), ..group("h", 1) };
    let supervised = Supervised::of(gone, READY);
    supervised.await_log("/nowhere/python3: No such file or directory");
}

#[test]
fn limits_umask_environment_and_working_directory_are_as_told() {
    let told = Group {
        umask: Some(0o027),
        home: Some(b"/usr".to_vec()),
        cpu_time_limit: 1000,
        memory_limit: 1 << 30,
        virtual_memory_limit: 2 << 30,
        cpu_priority: 5,
        environment: vec![(b"COLOUR".to_vec(), Some(b"blue".to_vec())), (b"PATH".to_vec(), None)],
        ..group("g", 1)
    };
    let supervised = Supervised::of(told, READY);
    let pid = supervised.ready(1)[0];
    assert_eq!(status(pid, "Umask"), "0027");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/usr"));
    assert_eq!(limit(pid, "Max cpu time"), ["1000", "1002"]);
    assert_eq!(limit(pid, "Max data size"), ["1073741824", "1073741824"]);
    assert_eq!(limit(pid, "Max address space"), ["2147483648", "2147483648"]);
    assert_eq!(limit(pid, "Max core file size")[0], "0");
    let own = std::process::id();
    assert_eq!(limit(pid, "Max open files"), limit(own, "Max open files"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert_eq!(stat.rsplit(") ").next().unwrap().split(' ').nth(16), Some("5"));
    let environment = environment(pid);
    assert!(environment.iter().any(|it| it == "COLOUR=blue"), "{environment:?}");
    assert!(!environment.iter().any(|it| it.starts_with("PATH=")), "{environment:?}");
}

#[test]
fn a_worker_has_nothing_open_but_its_own() {
    let supervised = Supervised::of(group("g", 2), READY);
    let pid = supervised.ready(2)[1];
    let log = supervised.directory.path().join("error_log");
    let open = |number: &str| fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap();
    assert_eq!((open("1"), open("2")), (log.clone(), log));
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    // The standard ones, what came with the first message, and what the stand-in opens itself.
    assert!(entries.count() <= 8);
}

#[test]
fn sockets_belong_to_whom_they_are_for_and_nobody_else_gets_through() {
    let owned = Group { socket_user: Some(33), ..group("g", 1) };
    let supervised = Supervised::of(owned, READY);
    let (_, number, _) = until("a worker", || supervised.workers(link::State::Ready).pop());
    let directory = fs::metadata(supervised.sockets()).unwrap();
    let socket = fs::metadata(supervised.sockets().join(format!("{number}.sock"))).unwrap();
    assert_eq!(socket.permissions().mode() & 0o7777, 0o600);
    let control = fs::metadata(supervised.sockets().join("rustgi.control")).unwrap();
    assert_eq!(control.permissions().mode() & 0o7777, 0o600);
    let own = nix::unistd::geteuid();
    assert_eq!((control.uid(), directory.uid()), (own.as_raw(), own.as_raw()));
    let (mode, owner) = if own.is_root() { (0o711, 33) } else { (0o700, own.as_raw()) };
    assert_eq!((directory.permissions().mode() & 0o7777, socket.uid()), (mode, owner));
}

#[test]
fn removed_sockets_are_made_again_and_sent_to_their_workers() {
    let supervised = Supervised::of(group("g", 2), READY);
    let ready = supervised.ready(2);
    let sockets = supervised.sockets();
    let names = || {
        let entries = fs::read_dir(&sockets).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    assert_eq!(before.len(), 4, "{before:?}");
    fs::remove_dir_all(&sockets).unwrap();
    until("all are there again", || (names() == before).then_some(()));
    for pid in &ready {
        until("it is told", || supervised.heard(*pid).contains("(4, 1,").then_some(()));
    }
    supervised.await_log("WSGI1060");
    let mode = fs::metadata(&sockets).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, if nix::unistd::geteuid().is_root() { 0o711 } else { 0o700 });
    // A single socket, and the lock.
    for name in [&before[0], &before[2]] {
        fs::remove_file(sockets.join(name)).unwrap();
        until("it is there again", || (names() == before).then_some(()));
    }
    assert_eq!(supervised.ready(2), ready);
}

#[test]
fn a_group_with_a_log_of_its_own_writes_there_and_follows_it_when_it_is_opened_anew() {
    let mut supervised = Supervised::of(Group { has_log: true, ..group("own", 1) }, READY);
    let pid = supervised.ready(1)[0];
    let path = supervised.directory.path().join("own");
    until("a line", || fs::read_to_string(&path).unwrap().contains("was started").then_some(()));
    assert!(!supervised.log().contains("was started"), "{}", supervised.log());
    fs::rename(&path, path.with_extension("old")).unwrap();
    supervised.run_again();
    until("it is told", || supervised.heard(pid).contains("(3, 1,").then_some(()));
    until("a new line", || fs::read_to_string(&path).unwrap().contains("serves").then_some(()));
}

#[test]
fn a_directory_of_sockets_that_cannot_be_made_is_tried_again() {
    let mut supervised = Supervised::new(READY);
    let in_its_place = supervised.sockets();
    fs::write(&in_its_place, "").unwrap();
    supervised.run(vec![group("site", 1)]);
    supervised.await_log("no directory for sockets could be made");
    fs::remove_file(&in_its_place).unwrap();
    supervised.ready(1);
    assert!(in_its_place.is_dir());
}
