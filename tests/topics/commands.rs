//! The commands of the Makefile that a user types: `make serve`, `make install`, `make uninstall`.

use crate::harness::{Connection, Installation, free_port, pid_of, request, wait_for};
use nix::sys::signal::{Signal, kill};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The checkout.
fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A script of `tools/`, told where the module that is under test was built.
fn tool(name: &str) -> Command {
    command_in_checkout(checkout().join("tools").join(name))
}

/// A command that runs in the checkout, told where the module that is under test was built.
fn command_in_checkout(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let target = Installation::built().parent().unwrap().parent().unwrap().to_owned();
    command
        .current_dir(checkout())
        .env("CARGO_TARGET_DIR", target)
        .env("PYTHON", &Installation::get().python)
        .env("APXS", std::env::var_os("APXS").unwrap_or_else(|| "apxs".into()))
        .env("DESTDIR", "");
    command
}

#[track_caller]
fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// `make serve`, running.
struct Serving {
    process: Child,
    port: u16,
    temporary: tempfile::TempDir,
}

impl Serving {
    fn start(app: &Path) -> Serving {
        let temporary = tempfile::tempdir().unwrap();
        crate::harness::open_to_everybody(temporary.path());
        let port = free_port();
        let said = temporary.path().join("said");
        let script = tool("serve.sh");
        // A run in the background (`make test &`) ignores Ctrl-C, and so would a shell that is started by it.
        let mut command = Command::new("env");
        command
            .arg("--default-signal=INT")
            .arg(script.get_program())
            .arg(app)
            .arg(port.to_string());
        command.envs(script.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let process = command
            .current_dir(checkout())
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .stdout(fs::File::create(&said).unwrap())
            .stderr(fs::File::create(temporary.path().join("complaints")).unwrap())
            .spawn()
            .unwrap();
        let mut serving = Serving { process, port, temporary };
        let url = format!("http://localhost:{port}/ answers");
        wait_for("the URL", || {
            assert!(serving.process.try_wait().unwrap().is_none(), "{}", serving.said());
            serving.said().contains(&url).then_some(())
        });
        serving
    }

    fn said(&self) -> String {
        ["said", "complaints"]
            .map(|name| fs::read_to_string(self.temporary.path().join(name)).unwrap())
            .concat()
    }

    #[track_caller]
    fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> crate::harness::Response {
        let mut connection = Connection::open(self.port);
        connection.send(request(method, target, headers, body));
        connection.receive()
    }

    /// As Ctrl-C does it.
    fn interrupt(&mut self) {
        kill(pid_of(&self.process), Signal::SIGINT).unwrap();
        wait_for("the end", || self.process.try_wait().unwrap());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // A test that has failed has said why; what is left of it is ended without another word.
        if std::thread::panicking() {
            let _ = kill(pid_of(&self.process), Signal::SIGTERM);
        } else if self.process.try_wait().unwrap().is_none() {
            self.interrupt();
        }
    }
}

/// The digest of these bytes, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    use std::io::Write;
    let mut sum =
        Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sum.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap()[..64].to_owned()
}

#[test]
fn serve_shows_the_example_until_it_is_interrupted_and_leaves_nothing() {
    let mut serving = Serving::start(&checkout().join("examples/hello/app.wsgi"));
    let page = serving.send("GET", "/", &[("X-Odd", "<script>&\"'")], b"");
    assert_eq!(page.status, 200);
    for text in
        ["It works", "HTTP_X_ODD", "&lt;script&gt;&amp;&quot;&#x27;", "embedded", "wsgi.url_scheme"]
    {
        assert!(page.text().contains(text), "{text} is missing");
    }
    assert!(!page.text().contains("<script>"));

    let form = serving.send(
        "POST",
        "/form",
        &[("Content-Type", "application/x-www-form-urlencoded")],
        b"name=Zo%C3%AB&m=%3Cb%3E",
    );
    assert_eq!(form.json()["fields"], serde_json::json!([["name", "Zo\u{eb}"], ["m", "<b>"]]));

    let file: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let digest = sha256(&file);
    let bare = serving.send("PUT", "/upload", &[], &file).json();
    assert_eq!(
        (&bare["files"][0]["size"], &bare["files"][0]["sha256"]),
        (&3_000_000.into(), &digest.clone().into())
    );
    let mut parts =
        b"--limit\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a b.bin\"\r\n\r\n"
            .to_vec();
    parts.extend_from_slice(&file);
    parts.extend_from_slice(b"\r\n--limit--\r\n");
    let part = serving
        .send("POST", "/upload", &[("Content-Type", "multipart/form-data; boundary=limit")], &parts)
        .json();
    assert_eq!(
        part["files"][0],
        serde_json::json!({"name": "a b.bin", "size": 3_000_000, "sha256": digest})
    );

    for by in ["file", "generator"] {
        let answer = serving.send("GET", &format!("/download?bytes=1000000&by={by}"), &[], b"");
        assert!(answer.complete && answer.body == vec![0; 1_000_000], "{by}");
    }
    for (target, status) in
        [("/nowhere", 404), ("/form", 405), ("/download?bytes=x", 400), ("/download?bytes=-1", 400)]
    {
        assert_eq!(serving.send("GET", target, &[], b"").status, status, "{target}");
    }
    let cut = serving.send(
        "POST",
        "/upload",
        &[("Content-Type", "multipart/form-data; boundary=limit")],
        &parts[..500],
    );
    assert_eq!(cut.status, 400);

    serving.interrupt();
    let left: Vec<_> = fs::read_dir(serving.temporary.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(!serving.said().contains("exit signal"), "{}", serving.said());
    assert!(
        std::net::TcpStream::connect(("127.0.0.1", serving.port)).is_err(),
        "nobody answers any more"
    );
}

#[test]
fn serve_serves_an_application_that_only_its_owner_can_read() {
    let directory = tempfile::tempdir().unwrap();
    let app = directory.path().join("mine.wsgi");
    fs::write(directory.path().join("helper.py"), "TEXT = b'helped'").unwrap();
    fs::write(
        &app,
        "import helper\ndef application(e, s):\n    s('200 OK', [])\n    return [helper.TEXT]\n",
    )
    .unwrap();
    let serving = Serving::start(&app);
    assert_eq!(serving.send("GET", "/", &[], b"").text(), "helped");
}

#[test]
fn serve_says_what_is_wrong() {
    let missing = tool("serve.sh").args(["no/such/app.wsgi", "1"]).output().unwrap();
    assert!(!missing.status.success());
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no/such/app.wsgi"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = tool("serve.sh").arg("examples/hello/app.wsgi").arg(port).output().unwrap();
    assert!(!refused.status.success());
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("AH00072"),
        "httpd's own words are shown"
    );
}

#[test]
fn install_puts_everything_where_httpd_looks_and_uninstall_takes_it_away() {
    let stage = tempfile::tempdir().unwrap();
    done(tool("install.sh").env("DESTDIR", stage.path()));
    let modules = stage.path().join(Installation::get().modules.strip_prefix("/").unwrap());
    let suffix = Installation::get().python_says("sysconfig.get_config_var('EXT_SUFFIX')");
    let files = [modules.join("mod_rustgi.so"), modules.join(format!("rustgi/_rustgi{suffix}"))];
    for file in &files {
        assert!(file.is_file(), "{}", file.display());
    }
    fs::write(modules.join("mod_other.so"), "").unwrap();
    done(tool("install.sh").arg("--undo").env("DESTDIR", stage.path()));
    let left: Vec<_> =
        fs::read_dir(&modules).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["mod_other.so"]);
    done(tool("install.sh").arg("--undo").env("DESTDIR", stage.path()));
}

#[test]
fn the_module_links_no_python() {
    let linked = done(Command::new("ldd").arg(Installation::built()));
    assert!(!String::from_utf8_lossy(&linked.stdout).contains("python"));
}
