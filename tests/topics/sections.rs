//! What `<Directory>`, `<Files>` and `.htaccess` say of the script of an alias: it holds for each request as it does for the
//! first one, though the module has httpd merge it only once where it can be nothing else.

use super::mounting::{builder, divided};
use crate::harness::Server;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// As many requests as it takes until nothing is anybody's first one, with one child.
const SEVERAL: usize = 4;

fn statuses(server: &Server, path: &str) -> Vec<u16> {
    (0..SEVERAL).map(|_| server.get(path).status).collect()
}

/// What a variable of `environ` is for several requests.
fn values(server: &Server, path: &str, name: &str) -> Vec<String> {
    let value = |_| server.get(path).json()[name].as_str().unwrap_or("none").to_owned();
    (0..SEVERAL).map(value).collect()
}

#[test]
fn every_request_gets_what_the_sections_of_its_virtual_host_say() {
    let server = builder()
        .children(1, 4)
        .load(&["env", "headers"])
        .config(
            "WSGIScriptAlias /file @apps@/e.wsgi\n\
             <Directory \"@apps@\">\n    SetEnv SAID directory\n</Directory>\n\
             <Files e.wsgi>\n    SetEnv FILE e\n</Files>\n\
             <VirtualHost *:@port@>\n    ServerName one\n</VirtualHost>\n\
             <VirtualHost *:@port@>\n    ServerName two\n\
             <Directory \"@apps@\">\n    SetEnv SAID two\n</Directory>\n</VirtualHost>\n\
             <VirtualHost *:@port@>\n    ServerName three\n\
             <Directory \"@apps@\">\n    Require all denied\n</Directory>\n</VirtualHost>\n\
             <VirtualHost *:@port@>\n    ServerName four\n\
             <Directory \"@apps@\">\n    AllowOverride All\n</Directory>\n</VirtualHost>",
        )
        .start();
    for round in 0..SEVERAL {
        let four = format!("in round {round}");
        let htaccess = format!("SetEnv SAID \"{four}\"\n");
        fs::write(server.root().join("apps/.htaccess"), htaccess).unwrap();
        let hosts = [("one", "directory"), ("four", &*four), ("two", "two"), ("three", "")];
        for (host, said) in hosts {
            let answer = server.send("GET", "/file/info", &[("Host", host)], b"");
            if said.is_empty() {
                assert_eq!(answer.status, 403, "{host}");
                continue;
            }
            let environ = answer.json();
            assert_eq!((&environ["SAID"], &environ["FILE"]), (&said.into(), &"e".into()), "{host}");
            assert_eq!(divided(&answer), ("/file".to_owned(), "/info".to_owned()));
        }
    }
}

#[test]
fn htaccess_is_read_for_each_request() {
    let server = builder()
        .children(1, 4)
        .load(&["env"])
        .config(
            "WSGIScriptAlias /file @apps@/e.wsgi\n\
             <Directory \"@apps@\">\n    AllowOverride All\n</Directory>",
        )
        .start();
    assert_eq!(values(&server, "/file", "SAID"), ["none"; SEVERAL]);
    let path = server.root().join("apps/.htaccess");
    for said in ["once", "twice"] {
        fs::write(&path, format!("SetEnv SAID {said}\n")).unwrap();
        assert_eq!(values(&server, "/file", "SAID"), [said; SEVERAL]);
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(values(&server, "/file", "SAID"), ["none"; SEVERAL]);
}

/// Puts a link to it in the place of a file or directory.
fn turn_into_link(path: &Path) {
    let beside = path.with_extension("beside");
    fs::rename(path, &beside).unwrap();
    symlink(&beside, path).unwrap();
}

#[test]
fn links_are_looked_for_at_each_request_where_they_may_not_be_followed() {
    for options in ["-FollowSymLinks", "-FollowSymLinks +SymLinksIfOwnerMatch"] {
        let server = builder()
            .children(1, 4)
            .file("deep/er/e.wsgi", super::ENVIRON)
            .config(&format!(
                "WSGIScriptAlias /file @root@/deep/er/e.wsgi\n\
                 <Directory \"@root@/deep\">\n    Options {options}\n</Directory>",
            ))
            .start();
        assert_eq!(statuses(&server, "/file"), [200; SEVERAL]);
        turn_into_link(&server.root().join("deep/er"));
        // The owner is the same.
        let expected = if options.contains('+') { 200 } else { 403 };
        assert_eq!(statuses(&server, "/file"), [expected; SEVERAL], "{options}");
    }
}

/// An application that answers with this text.
fn saying(text: &str) -> String {
    format!(
        "def application(environ, start_response):\n    \
             start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
             return [b'{text}']\n"
    )
}

#[test]
fn a_link_on_the_way_may_be_turned_to_another_script() {
    let builder = Server::builder()
        .children(1, 4)
        .file("one/e.wsgi", saying("one"))
        .file("two/e.wsgi", saying("two"))
        .config("WSGIScriptAlias /file @root@/current/e.wsgi");
    let link = builder.root().join("current");
    let server = builder.start();
    for release in ["one", "two", "one"] {
        symlink(server.root().join(release), &link).unwrap();
        for _ in 0..SEVERAL {
            assert_eq!(server.get("/file").text(), release);
        }
        fs::remove_file(&link).unwrap();
        assert_eq!(statuses(&server, "/file"), [404; SEVERAL]);
    }
}

#[test]
fn a_script_that_goes_and_comes_back_is_missing_meanwhile() {
    let server = builder().children(1, 4).config("WSGIScriptAlias /file @apps@/e.wsgi").start();
    let (path, aside) = (server.root().join("apps/e.wsgi"), server.root().join("apps/aside"));
    for _ in 0..2 {
        assert_eq!(statuses(&server, "/file/a"), [200; SEVERAL]);
        fs::rename(&path, &aside).unwrap();
        assert_eq!(statuses(&server, "/file/a"), [404; SEVERAL]);
        fs::create_dir(&path).unwrap();
        assert_eq!(statuses(&server, "/file/a"), [404; SEVERAL]);
        fs::remove_dir(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
}

#[test]
fn what_a_pattern_finds_in_the_name_of_the_script_is_in_every_environ() {
    let server = builder()
        .children(1, 4)
        .load(&["env", "setenvif"])
        .config(
            "WSGIScriptAlias /file @apps@/e.wsgi\nSetEnvIf Request_Method (.*) MATCH_STEM=$1 OTHER=$1\n\
             <FilesMatch \"^(?<stem>.*)\\.wsgi$\">\n    SetEnv MATCHED yes\n</FilesMatch>\n\
             <DirectoryMatch \"/(?<last>apps)\">\n    SetEnv MATCHED_DIRECTORY yes\n</DirectoryMatch>",
        )
        .start();
    let expected = [
        ("MATCH_STEM", "e"),
        ("MATCH_LAST", "apps"),
        ("MATCHED", "yes"),
        ("MATCHED_DIRECTORY", "yes"),
        ("OTHER", "GET"),
    ];
    for (name, value) in expected {
        assert_eq!(values(&server, "/file", name), [value; SEVERAL], "{name}");
    }
}

#[test]
fn the_page_of_an_error_is_not_refused_by_what_has_refused_the_request() {
    let server = builder()
        .children(1, 4)
        .file("one/e.wsgi", saying("never"))
        .file("one/page.wsgi", saying("a page").replace("200 OK", "403 Forbidden"))
        .file("two/e.wsgi", saying("never"))
        .file("two/page.txt", "a page")
        .config(
            "WSGIScriptAlias /one @root@/one/e.wsgi\nWSGIScriptAlias /script @root@/one/page.wsgi\n\
             WSGIScriptAlias /two @root@/two/e.wsgi\nAlias /text @root@/two/page.txt\n\
             <Directory \"@root@/one\">\n    Require all denied\n    ErrorDocument 403 /script\n</Directory>\n\
             <Directory \"@root@/two\">\n    Require all denied\n    ErrorDocument 403 /text\n</Directory>",
        )
        .load(&["alias"])
        .start();
    for path in ["/one", "/two"] {
        for _ in 0..SEVERAL {
            let answer = server.get(path);
            assert_eq!((answer.status, answer.text()), (403, "a page"), "{path}");
        }
    }
}
