//! `WSGIDaemonProcess` as it is written: what is refused and in which words, what is accepted, and a group whose Python cannot
//! be used.

use crate::harness::{Server, wait_for};

#[test]
fn what_a_group_cannot_be_is_refused_with_the_name_of_the_option() {
    for (arguments, words) in [
        ("", &["WSGIDaemonProcess", "name"][..]),
        ("a colour=red", &["colour"]),
        ("a threads", &["threads"]),
        ("a processes=0", &["processes", "from 1"]),
        ("a user=root", &["blocked from running as root"]),
        ("a user=nobody-has-this-name", &["user", "name of a user"]),
        ("a group=nobody-has-this-name", &["group", "name of a group"]),
        ("a supplementary-groups=daemon,nobody-has-this-name", &["supplementary-groups"]),
        ("a umask=8", &["umask", "octal"]),
        ("a home=relative", &["home", "absolute"]),
        ("a switch-interval=0", &["switch-interval", "above 0"]),
        ("a server-metrics=maybe", &["server-metrics", "On or Off"]),
        ("a header-buffer-size=100", &["header-buffer-size", "8192"]),
        ("a response-buffer-size=100", &["response-buffer-size", "65536"]),
        ("a script-user=daemon script-group=daemon", &["script-user", "script-group"]),
        ("a python=bin/python3", &["python", "absolute"]),
        ("a env=NAME", &["env", "NAME=VALUE"]),
        ("a environment-file=relative", &["environment-file", "absolute"]),
        ("a request-body=sometimes", &["request-body", "gather or stream"]),
        ("a\nWSGIDaemonProcess a", &["'a'", "duplicates"]),
    ] {
        let checked = Server::builder().config(&format!("WSGIDaemonProcess {arguments}")).check();
        assert!(!checked.accepted, "{arguments}");
        for word in words {
            assert!(checked.said.contains(word), "{arguments}: {word}: {}", checked.said);
        }
    }
}

#[test]
fn an_unusable_environment_file_is_reported_and_does_not_refuse_the_configuration() {
    for (file, words) in [
        ("@root@/httpd.conf", &["WSGI1080", "'a'", "NAME=VALUE", "line 1"][..]),
        ("@root@/missing", &["WSGI1080", "environment-file", "missing", "No such file"]),
    ] {
        let config = format!("WSGIDaemonProcess a environment-file={file}");
        let checked = Server::builder().config(&config).check();
        assert!(checked.accepted, "{file}");
        for word in words {
            let word = word.replace("'a'", "WSGIDaemonProcess a");
            assert!(checked.said.contains(&word), "{file}: {word}: {}", checked.said);
        }
    }
}

#[test]
fn every_option_has_a_value_that_is_accepted() {
    let all = "processes=2 threads=3 user=daemon group=daemon supplementary-groups=daemon umask=0027 home=/ \
        display-name=%{GROUP} script-user=root socket-user=daemon python-path=/a:/b python-eggs=/a \
        environment-file=@root@/environment env=A=1 env='B=two words' lang=C.UTF-8 locale=C.UTF-8 switch-interval=0.01 \
        stack-size=1048576 server-metrics=On listen-backlog=10 connect-timeout=1 socket-timeout=1 queue-timeout=1 \
        response-socket-timeout=1 response-flush-delay=1 response-buffer-size=65536 response-memory=1 \
        header-buffer-size=8192 request-body=stream request-body-memory=1 spool-limit=1 spool-directory=/x send-buffer-size=512 \
        receive-buffer-size=512 \
        maximum-requests=1 restart-interval=1 inactivity-timeout=1 deadlock-timeout=1 request-timeout=1 \
        interrupt-timeout=1 startup-timeout=1 graceful-timeout=1 eviction-timeout=1 shutdown-timeout=1 cpu-time-limit=1 \
        cpu-priority=1 memory-limit=1000000000 virtual-memory-limit=1000000000";
    let checked = Server::builder()
        .file("environment", "C=3\n")
        .config(&format!("WSGIDaemonProcess 'a name with blanks' {all}"))
        .config("WSGIDaemonProcess b script-group=daemon request-body=gather threads=abc")
        .check();
    assert!(checked.accepted, "{}", checked.said);
    let gone = "accept-mutex=flock blocked-timeout=1 newrelic-config-file=/a";
    let checked = Server::builder().config(&format!("WSGIDaemonProcess a {gone}")).check();
    assert!(checked.accepted, "{}", checked.said);
    for name in ["accept-mutex", "blocked-timeout", "newrelic-config-file"] {
        assert!(checked.said.contains(name), "{name}: {}", checked.said);
    }
}

#[test]
fn a_check_of_the_configuration_starts_nothing() {
    let builder = Server::builder().app("app.wsgi", "open('@root@/run/loaded', 'w')").config(
        "WSGIDaemonProcess a
WSGIImportScript @apps@/app.wsgi process-group=a application-group=%{GLOBAL}",
    );
    let root = tempfile::tempdir().unwrap();
    let kept = root.path().join("loaded");
    let builder = builder.app("app.wsgi", &format!("open({kept:?}, 'w')"));
    assert!(builder.check().accepted);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(!kept.exists());
}

#[test]
fn a_group_whose_python_cannot_be_used_refuses_and_the_others_serve() {
    let source = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [environ['mod_wsgi.process_group'].encode()]
";
    for option in ["python=/nowhere/at/all/python3", "python-home=/nowhere/at/all"] {
        let server = Server::builder()
            .app("app.wsgi", source)
            .embedded()
            .config(&format!(
                "WSGIDaemonProcess broken {option}
WSGIDaemonProcess sound threads=2
WSGIScriptAlias /broken @apps@/app.wsgi process-group=broken
WSGIScriptAlias /sound @apps@/app.wsgi process-group=sound"
            ))
            .start();
        assert_eq!(server.get("/sound").text(), "sound");
        let line = server.await_log("/nowhere/at/all");
        assert!(line.contains("broken"), "{line}");
        let answer = wait_for("a refusal", || {
            let answer = server.get("/broken");
            (answer.status == 503).then_some(answer)
        });
        assert!(answer.header("Retry-After").is_some());
    }
}
