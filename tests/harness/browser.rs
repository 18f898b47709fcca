//! A headless Chromium, driven through ChromeDriver by the WebDriver protocol. Made by a test where both are installed
//! (Debian: chromium, chromium-driver); ends when it is dropped.

use super::{Connection, request, wait_for};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The name of an element's number in the protocol.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser with one window.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    /// Its profile.
    _home: TempDir,
}

impl Browser {
    /// Starts one; says why not, where it is not installed.
    pub fn start() -> Result<Browser, String> {
        let chromium = on_the_path("chromium").ok_or("chromium is not installed")?;
        let driver = on_the_path("chromedriver").ok_or("chromedriver is not installed")?;
        let home = tempfile::Builder::new().prefix("rustgi-browser-").tempdir().unwrap();
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .env("HOME", home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver runs");
        let port = announced_port(&mut driver);
        let mut browser = Browser { driver, port, session: String::new(), _home: home };
        let profile = format!("--user-data-dir={}", browser._home.path().join("profile").display());
        // As root there is no sandbox; nothing but the page under test is fetched.
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            profile.as_str(),
        ];
        let options = json!({"binary": chromium, "args": arguments});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let session = browser.say("POST", "/session", &wanted);
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        // An element may be on a page that is only coming.
        browser.command("POST", "/timeouts", &json!({"implicit": 15_000}));
        Ok(browser)
    }

    pub fn open(&self, address: &str) {
        self.command("POST", "/url", &json!({"url": address}));
    }

    /// Waits for a page with this title. A click may return before the page is there that it leads to.
    #[track_caller]
    pub fn await_title(&self, title: &str) {
        let is = || self.command("GET", "/title", &Value::Null).as_str() == Some(title);
        wait_for(title, || is().then_some(()));
    }

    /// Waits for the page with this address.
    #[track_caller]
    pub fn await_address(&self, address: &str) {
        let is = || self.command("GET", "/url", &Value::Null).as_str() == Some(address);
        wait_for(address, || is().then_some(()));
    }

    /// Types into the element that a CSS selector names.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.command("POST", &format!("{element}/value"), &json!({"text": text}));
    }

    /// Clicks.
    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.command("POST", &format!("{element}/click"), &json!({}));
    }

    /// What a reader sees of an element.
    pub fn text(&self, selector: &str) -> String {
        let element = self.element(selector);
        let text = self.command("GET", &format!("{element}/text"), &Value::Null);
        text.as_str().unwrap().to_owned()
    }

    /// The value of a property of styles, as it is applied.
    pub fn style(&self, selector: &str, property: &str) -> String {
        let element = self.element(selector);
        let value = self.command("GET", &format!("{element}/css/{property}"), &Value::Null);
        value.as_str().unwrap().to_owned()
    }

    fn element(&self, selector: &str) -> String {
        let wanted = json!({"using": "css selector", "value": selector});
        let found = self.command("POST", "/element", &wanted);
        format!("/element/{}", found[ELEMENT].as_str().unwrap())
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.say(method, &format!("{}{path}", self.session), body)
    }

    fn say(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let host = format!("localhost:{}", self.port);
        let headers = [("Host", host.as_str()), ("Content-Type", "application/json")];
        let mut connection = Connection::open(self.port);
        connection.send(request(method, path, &headers, body.as_bytes()));
        let answer = connection.receive();
        let mut told: Value = serde_json::from_slice(&answer.body).expect("WebDriver speaks JSON");
        assert_eq!(answer.status, 200, "{method} {path} {body}: {told}");
        told["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser is in a process group of its own and does not go with its driver; so it is told to go, also when
        // the test has failed.
        if !self.session.is_empty() {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.command("DELETE", "", &Value::Null)
            }));
        }
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.driver.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.driver.wait();
    }
}

/// The port that ChromeDriver says it has been given.
fn announced_port(driver: &mut Child) -> u16 {
    let told = BufReader::new(driver.stdout.take().unwrap());
    for line in told.lines() {
        let line = line.unwrap();
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            return port.trim_end_matches('.').parse().expect("a port is a number");
        }
    }
    panic!("chromedriver ended without a port");
}

fn on_the_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}
