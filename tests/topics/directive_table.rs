//! Every directive in a private httpd: accepted where it may stand, refused elsewhere, refused with arguments that cannot be,
//! each time in the words that its row says (`directive_rows.rs`). The rows are held against the reference page, which is
//! held against the table that httpd parses with, and `docs/directive-tests.md` is made of them:
//!
//!     RUSTGI_WRITE=1 cargo test -p rustgi-tests --test server -- the_page_of_directives

use super::directive_rows::ROWS;
use crate::harness::{Builder, Installation, Server};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Global,
    Server,
    ServerOrDirectory,
    FileInfo,
    AuthConfig,
    Anywhere,
}

/// One directive.
pub struct Row {
    pub name: &'static str,
    pub place: Place,
    /// Arguments that are accepted. `@python@` stands for `sys.prefix` of the Python under test.
    pub accepts: &'static [&'static str],
    /// Arguments that are refused, and what is said after the name; `...` stands for anything.
    pub refuses: &'static [(&'static str, &'static str)],
    /// The tests that show it in force, as `topic::test`.
    pub shown_by: &'static [&'static str],
}

/// The sections that a directive may be tried in.
const SECTIONS: &[&str] =
    &["", "VirtualHost *:80", "Directory /x", "Location /x", "Files x", "If \"true\""];

impl Place {
    /// Whether a directive of this place is accepted in a section.
    fn takes(self, section: &str) -> bool {
        let is_directory = !section.is_empty() && !section.starts_with("VirtualHost");
        match self {
            Place::Global => section.is_empty(),
            Place::Server => !is_directory,
            Place::ServerOrDirectory | Place::FileInfo | Place::Anywhere => true,
            Place::AuthConfig => is_directory,
        }
    }

    /// As the reference page says it.
    fn describe(self) -> &'static str {
        match self {
            Place::Global => "main server",
            Place::Server => "servers",
            Place::ServerOrDirectory => "servers, directories",
            Place::FileInfo => "servers, directories, .htaccess with AllowOverride FileInfo",
            Place::AuthConfig => "directories, .htaccess with AllowOverride AuthConfig",
            Place::Anywhere => "servers, directories, .htaccess",
        }
    }
}

/// The row of a directive.
pub fn row(name: &str) -> &'static Row {
    ROWS.iter().find(|row| row.name == name).expect("every directive has a row")
}

fn inside(section: &str, line: &str) -> String {
    match section.split(' ').next() {
        Some("") | None => line.to_owned(),
        Some(name) => format!("<{section}>\n{line}\n</{name}>"),
    }
}

/// Whether `httpd -t` accepts the configuration, and what it says.
fn check(config: &str) -> (bool, String) {
    let checked = Server::builder().config(config).check();
    (checked.accepted, checked.said)
}

impl Row {
    fn is_section(&self) -> bool {
        self.name == "WSGIInterpreterOptions"
    }

    /// Its name as it begins a line, and as messages begin with it.
    fn title(&self) -> String {
        if self.is_section() { format!("<{}", self.name) } else { self.name.to_owned() }
    }

    /// The line that has these arguments.
    fn line(&self, arguments: &str) -> String {
        let title = self.title();
        if self.is_section() {
            return format!("{title} {arguments}>\n</{}>", self.name);
        }
        format!("{title} {arguments}")
    }

    /// Arguments that are accepted, to try places with.
    fn some_arguments(&self) -> String {
        with_python(self.accepts[0])
    }

    pub fn is_accepted_where_it_may_stand(&self) {
        let mut config = String::new();
        for (turn, section) in SECTIONS.iter().enumerate().filter(|(_, s)| self.place.takes(s)) {
            for (number, arguments) in self.accepts.iter().enumerate() {
                let mut arguments = with_python(arguments);
                if self.name == "WSGIDaemonProcess" {
                    // Every group of processes has a name of its own.
                    arguments = arguments.replacen("name", &format!("name{turn}-{number}"), 1);
                }
                config += &inside(section, &self.line(&arguments));
                config.push('\n');
            }
        }
        let (accepted, said) = check(&config);
        assert!(accepted, "{config}\n{said}");
    }

    pub fn is_refused_where_it_may_not_stand(&self) {
        if SECTIONS.iter().all(|section| self.place.takes(section)) {
            return self.is_refused_in_a_htaccess_file();
        }
        for section in SECTIONS.iter().filter(|section| !self.place.takes(section)) {
            let config = inside(section, &self.line(&self.some_arguments()));
            let (accepted, said) = check(&config);
            assert!(!accepted, "this was accepted:\n{config}");
            let is_told = said.contains("not allowed") || said.contains("cannot occur");
            assert!(said.contains(self.name) && is_told, "{config}\n{said}");
        }
    }

    fn is_refused_in_a_htaccess_file(&self) {
        let server = Server::builder()
            .load(&["mime"])
            .config("<Directory @docs@>\nAllowOverrideList ErrorDocument\n</Directory>")
            .file("docs/.htaccess", self.line(&self.some_arguments()))
            .file("docs/page.txt", "a page")
            .start();
        assert_eq!(server.get("/page.txt").status, 500);
        server.await_log(&format!("{} not allowed here", self.name));
    }

    pub fn is_refused_with_arguments_that_cannot_be(&self) {
        let section = if self.place == Place::AuthConfig { "Location /x" } else { "" };
        for (arguments, message) in self.refuses {
            let config = inside(section, &self.line(arguments));
            let (accepted, said) = check(&config);
            assert!(!accepted, "this was accepted:\n{config}");
            let expected = format!("{} {message}", self.title());
            // The log's own lines have a code in front.
            let is_said = said.lines().any(|line| {
                says(line, &expected)
                    || line.contains("WSGI") && says(line, &format!("...{expected}"))
            });
            assert!(is_said, "{config}\ndoes not say\n{expected}\nbut\n{said}");
        }
    }
}

fn with_python(arguments: &str) -> String {
    if !arguments.contains("@python@") {
        return arguments.to_owned();
    }
    arguments.replace("@python@", &Installation::get().python_says("sys.prefix"))
}

/// Whether a line is the one expected, in which `...` stands for anything.
fn says(line: &str, expected: &str) -> bool {
    let mut parts = expected.split("...");
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut is_open = false;
    for part in parts {
        is_open = part.is_empty();
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    is_open || rest.is_empty()
}

#[test]
fn a_message_is_held_against_the_whole_of_the_line() {
    assert!(says("takes On or Off", "takes On or Off"));
    assert!(says("knows a, b, not 'c'", "knows ..., not 'c'"));
    assert!(says("takes one argument, and so on", "takes one argument, ..."));
    for wrong in ["takes On", "takes On or Off, not 'x'", "it takes On or Off"] {
        assert!(!says(wrong, "takes On or Off"), "{wrong}");
    }
    assert!(!says("knows a, b, not 'c', or so", "knows ..., not 'c'"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_default()
}

/// What the reference page says of each directive: its name, its default and where it may stand; of those that are gone
/// the name alone.
fn documented() -> Vec<(String, Option<(String, String)>)> {
    let page = read("docs/directives.md");
    let cells = |line: &str| -> Vec<String> {
        // A bar inside a cell is written with a backslash.
        line.replace("\\|", "\0").split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
    };
    let named = |cell: &str| cell.trim_start_matches('[').split('`').nth(1).map(str::to_owned);
    page.lines()
        .filter(|line| line.starts_with("| [`WSGI") || line.starts_with("| `WSGI"))
        .map(|line| {
            let cells = cells(line);
            let facts = (cells.len() == 6).then(|| (cells[3].clone(), cells[4].clone()));
            (named(&cells[1]).unwrap(), facts)
        })
        .collect()
}

#[test]
fn the_rows_are_all_the_directives_there_are_and_say_where_they_may_stand() {
    let documented = documented();
    let names: Vec<&str> = documented.iter().map(|(name, _)| name.as_str()).collect();
    let rows: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
    assert_eq!(rows, names);
    for (row, (name, facts)) in ROWS.iter().zip(&documented) {
        if let Some((_, place)) = facts {
            assert_eq!(row.place.describe(), place, "{name}");
        }
        assert!(!row.accepts.is_empty(), "{name}");
    }
}

#[test]
fn the_tests_that_rows_name_are_there() {
    for row in ROWS {
        for name in row.shown_by {
            let (topic, test) = name.split_once("::").unwrap();
            let source = read(&format!("tests/topics/{topic}.rs"));
            assert!(source.contains(&format!("\nfn {test}() {{")), "{}: {name}", row.name);
        }
    }
}

/// What is said in the sources and by no row, as it cannot be provoked with arguments.
const NOT_OF_ROWS: &[&str] = &[
    "is a section",
    "directive missing closing '>'",
    "the name of a global variable",
    "the beginning of a path",
    "a path only when httpd is started by root; chroot cannot be used when not root",
    "has no effect; it is",
    "is deprecated and does",
    "is of an older mod_wsgi and has no effect",
    "is of an older mod_wsgi and has no effect; see",
];

/// The texts of a source file, up to its unit tests, that are said of a directive that cannot be.
fn refusals(source: &str) -> Vec<String> {
    const BEFORE: &[&str] =
        &["Err(", "ok_or(", "ok_or_else(||", "map_err(|_|", "format!(", "EXPECTED: &str =", "||"];
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code: Vec<&str> =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n").replace("\\\n", "");
    let mut found = Vec::new();
    for (at, _) in code.match_indices('"') {
        let before = code[..at].trim_end();
        if BEFORE.iter().any(|end| before.ends_with(end)) {
            let text = code[at + 1..].split('"').next().unwrap();
            found.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    found
}

#[test]
fn every_refusal_in_the_sources_is_some_row_s() {
    let mut said: Vec<String> = NOT_OF_ROWS.iter().map(|text| (*text).to_owned()).collect();
    said.extend(ROWS.iter().flat_map(|row| row.refuses).map(|(_, message)| message.to_string()));
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("src/config")).unwrap() {
        let file = entry.unwrap().path();
        if file.ends_with("reference.rs") {
            continue;
        }
        for text in refusals(&std::fs::read_to_string(&file).unwrap()) {
            // What stands between two values.
            let pieces =
                text.split(['{', '}']).step_by(2).map(|piece| piece.trim_matches([' ', '\'']));
            for piece in pieces.filter(|piece| piece.len() > 8) {
                seen += 1;
                let is_said = said.iter().any(|message| message.contains(piece));
                assert!(is_said, "no row shows {piece:?} of {}", file.display());
            }
        }
    }
    assert!(seen > 40, "only {seen} texts were found");
}

/// `docs/directive-tests.md`
fn page() -> String {
    let mut text = String::from(
        "# Directives and their tests\n\nMade from the rows in `tests/topics/directive_rows.rs`, and compared with them by a test. To \
         make it anew:\n`RUSTGI_WRITE=1 cargo test -p rustgi-tests --test server -- the_page_of_directives`\n\n\
         Each directive has three tests of its own, which ask a real `httpd -t`; this is how to run those of one:\n\n    \
         cargo test -p rustgi-tests --test server -- directive_rows::WSGIScriptAlias\n\n\
         | directive | context | default | refused arguments | in force |\n|---|---|---|---|---|\n",
    );
    let documented = documented();
    for (row, (_, facts)) in ROWS.iter().zip(&documented) {
        let (name, place, count) = (row.name, row.place.describe(), row.refuses.len());
        let default = facts.as_ref().map_or("", |(default, _)| default).replace('|', "\\|");
        let tests: Vec<String> = row.shown_by.iter().map(|test| format!("`{test}`")).collect();
        let tests = tests.join(", ");
        let link = name.to_lowercase();
        writeln!(text, "| [`{name}`](#{link}) | {place} | {default} | {count} | {tests} |")
            .unwrap();
    }
    for row in ROWS {
        describe(&mut text, row);
    }
    text
}

fn describe(text: &mut String, row: &Row) {
    let cell = |line: &str| line.replace('|', "\\|").replace('\n', " ⏎ ");
    let name = row.name;
    writeln!(text, "\n## {name}\n").unwrap();
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        SECTIONS.iter().partition(|section| row.place.takes(section));
    let list = |sections: Vec<&&str>| -> String {
        let names = sections.iter().map(|section| match section.split(' ').next() {
            Some("") | None => "the main server".to_owned(),
            Some(name) => format!("`<{name}>`"),
        });
        names.collect::<Vec<_>>().join(", ")
    };
    writeln!(text, "`{name}::is_accepted_where_it_may_stand`, in {}:\n", list(here)).unwrap();
    for arguments in row.accepts {
        writeln!(text, "    {}", row.line(arguments).trim_end().replace('\n', "\n    ")).unwrap();
    }
    let elsewhere = match elsewhere.as_slice() {
        [] => "an `.htaccess` file that may not hold it".to_owned(),
        _ => list(elsewhere),
    };
    writeln!(text, "\n`{name}::is_refused_where_it_may_not_stand`: {elsewhere}.").unwrap();
    if row.refuses.is_empty() {
        return;
    }
    writeln!(text, "\n`{name}::is_refused_with_arguments_that_cannot_be`:\n").unwrap();
    writeln!(text, "| arguments | {} ... |\n|---|---|", row.title()).unwrap();
    for (arguments, message) in row.refuses {
        let arguments = match *arguments {
            "" => "none".to_owned(),
            arguments => format!("`{}`", cell(arguments)),
        };
        writeln!(text, "| {arguments} | {} |", cell(message)).unwrap();
    }
}

#[test]
fn the_page_of_directives_and_their_tests_is_what_the_rows_say() {
    let (name, made) = ("docs/directive-tests.md", page());
    if std::env::var_os("RUSTGI_WRITE").is_some() {
        std::fs::write(root().join(name), &made).unwrap();
    }
    assert!(read(name) == made, "{name} is not what the rows say; see the head of this file");
}

/// A server that reads one `.htaccess` file for each directive.
fn with_htaccess(allowed: &str) -> (Builder, Vec<(&'static Row, String)>) {
    let mut builder = Server::builder()
        .load(&["mime"])
        .config(&format!("<Directory @docs@>\nAllowOverride {allowed}\n</Directory>"));
    let mut asked = Vec::new();
    for (at, row) in ROWS.iter().enumerate() {
        builder = builder
            .file(&format!("docs/{at}/.htaccess"), row.line(&row.some_arguments()) + "\n")
            .file(&format!("docs/{at}/page.txt"), "a page");
        asked.push((row, format!("/{at}/page.txt")));
    }
    (builder, asked)
}

#[test]
fn a_htaccess_file_may_hold_what_is_allowed_there_and_no_more() {
    for (allowed, is_allowed) in [
        ("FileInfo", [Place::FileInfo, Place::Anywhere].as_slice()),
        ("AuthConfig", [Place::AuthConfig, Place::Anywhere].as_slice()),
        ("Limit", [Place::Anywhere].as_slice()),
    ] {
        let (builder, asked) = with_htaccess(allowed);
        let server = builder.start();
        for (Row { name, place, .. }, path) in asked {
            let status = server.get(&path).status;
            if !is_allowed.contains(place) {
                assert_eq!(status, 500, "{name} with AllowOverride {allowed}");
            } else if *name == "WSGIAccessScript" {
                assert_eq!(status, 403, "the script is not there, so nobody comes in");
            } else {
                assert_eq!(status, 200, "{name} with AllowOverride {allowed}");
            }
        }
    }
}
