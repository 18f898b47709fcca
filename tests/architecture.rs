//! The separations of the design, checked against the sources: who may name whom, where `unsafe` may stand, and that
//! each file says what it is.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the checkout.
struct Source {
    /// Its path, from the root of the checkout.
    name: String,
    text: String,
}

impl Source {
    /// Its lines with their numbers, without those that are nothing but a comment.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        lines.filter(|(_, line)| {
            !line.starts_with("//") && !line.starts_with('*') && !line.starts_with("/*")
        })
    }

    /// The identifiers of its code, with the numbers of their lines.
    fn identifiers(&self) -> impl Iterator<Item = (usize, &str)> {
        let apart = |c: char| !(c.is_alphanumeric() || c == '_');
        self.code()
            .flat_map(move |(number, line)| line.split(apart).map(move |word| (number, word)))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The files below these directories (or these files themselves) with one of these extensions; with any, if none is given.
fn sources(places: &[&str], extensions: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for place in places {
        collect(&root().join(place), extensions, &mut found);
    }
    assert!(!found.is_empty(), "there is nothing in {places:?}");
    found
}

fn collect(path: &Path, extensions: &[&str], found: &mut Vec<Source>) {
    let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    // In a second working tree it is a file.
    if name == ".git" {
        return;
    }
    if path.is_dir() {
        // What was built, fetched or is git's own.
        if ["target", "__pycache__"].iter().any(|skipped| path.ends_with(skipped))
            || (name.starts_with('.') && name != ".ci")
        {
            return;
        }
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in entries {
            collect(&entry, extensions, found);
        }
        return;
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if extensions.is_empty() || extensions.contains(&extension) {
        // A picture, say, is no source.
        if let Ok(text) = fs::read_to_string(path) {
            found.push(Source { name, text });
        }
    }
}

/// Fails with the places where an identifier is one that must not stand there.
#[track_caller]
fn never_names(sources: &[Source], forbidden: impl Fn(&str) -> bool) {
    let named: Vec<String> = sources
        .iter()
        .flat_map(|source| source.identifiers().map(move |(line, word)| (source, line, word)))
        .filter(|(_, _, word)| forbidden(word))
        .map(|(source, line, word)| format!("{}:{line}: {word}", source.name))
        .collect();
    assert!(named.is_empty(), "{}", named.join("\n"));
}

/// A name of Python's C interface, or of a crate for it. The word `Python` itself may stand in names of directives.
fn of_python(word: &str) -> bool {
    let word = word.trim_start_matches('_');
    word.starts_with("pyo3")
        || (word.starts_with("Py") && !word.starts_with("Python") && word.len() > 2)
}

/// A name of httpd's or APR's C interface. (`request_rec` is also a key of environ, which the engine sets.)
fn of_httpd(word: &str) -> bool {
    ["ap_", "apr_", "AP_", "APR_", "server_rec", "conn_rec", "httpd"]
        .iter()
        .any(|prefix| word.starts_with(prefix))
}

#[test]
fn the_module_never_names_python() {
    never_names(&sources(&["src", "build.rs"], &["rs"]), of_python);
    never_names(&sources(&["apache"], &["c", "h"]), of_python);
}

#[test]
fn the_engine_never_names_httpd() {
    never_names(&sources(&["crates/engine"], &["rs", "c", "h"]), of_httpd);
}

#[test]
fn the_interface_names_neither() {
    never_names(&sources(&["crates/exchange"], &["rs"]), |word| of_python(word) || of_httpd(word));
}

#[test]
fn what_is_between_processes_names_neither() {
    let sources = sources(&["crates/wire", "crates/link"], &["rs"]);
    never_names(&sources, |word| of_python(word) || of_httpd(word));
}

#[test]
fn frames_are_read_without_unsafe_code() {
    for source in sources(&["crates/wire/src"], &["rs"]) {
        assert!(!source.identifiers().any(|(_, word)| word == "unsafe"), "{}", source.name);
    }
}

#[test]
fn the_interface_needs_nothing_but_the_standard_library() {
    let manifest = fs::read_to_string(root().join("crates/exchange/Cargo.toml")).unwrap();
    assert!(!manifest.contains("dependencies"), "{manifest}");
}

/// The macro that makes the functions which httpd calls. What it makes stands in the files that use it.
const DOOR: &str = "src/httpd/callback.rs";

#[test]
fn unsafe_and_foreign_functions_stand_only_in_files_that_say_why() {
    let foreign = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "extern \"C\""];
    for source in sources(&["src", "crates", "build.rs"], &["rs"]) {
        let said = source.text.contains("unsafe_code") && source.text.contains("reason = \"");
        if said || source.name == DOOR {
            continue;
        }
        for (number, line) in source.code() {
            let stands = foreign.iter().any(|text| line.contains(text));
            assert!(!stands, "{}:{number}: {line}", source.name);
        }
    }
}

#[test]
fn the_compiler_refuses_unsafe_code_that_is_not_expected_in_every_package() {
    let manifest = |place: &str| fs::read_to_string(root().join(place).join("Cargo.toml")).unwrap();
    assert!(manifest("").contains("unsafe_code = \"deny\""));
    for package in [
        "",
        "crates/exchange",
        "crates/wire",
        "crates/link",
        "crates/engine",
        "crates/rustgi",
        "tests",
    ] {
        assert!(manifest(package).contains("[lints]\nworkspace = true"), "{package}");
    }
}

#[test]
fn every_function_that_httpd_calls_stops_panics() {
    for source in sources(&["src"], &["rs"]) {
        for (at, _) in source.text.match_indices("extern \"C\" fn ") {
            let (before, after) = source.text.split_at(at);
            let comment =
                before.lines().last().is_some_and(|line| line.trim_start().starts_with("//"));
            // A type has no body; a body goes through the door.
            let body =
                after.find(['{', ';', ',', '=']).filter(|end| after[*end..].starts_with('{'));
            let body = body.map(|begin| &after[begin..after.len().min(begin + 400)]);
            let guarded = body.is_none_or(|body| body.contains("guarded("));
            assert!(comment || guarded || source.name == DOOR, "{}: {}", source.name, &after[..60]);
        }
    }
}

#[test]
fn lints_are_expected_with_a_reason_and_never_just_allowed() {
    for source in sources(&["src", "crates", "tests", "build.rs"], &["rs"]) {
        for (number, line) in source.code() {
            let allowed = line.starts_with(concat!("#", "[allow("))
                || line.starts_with(concat!("#", "![allow("));
            assert!(!allowed, "{}:{number}: {line}", source.name);
        }
    }
}

#[test]
fn each_file_opens_by_saying_what_it_is() {
    for source in sources(&["src", "crates", "tests", "build.rs"], &["rs"]) {
        assert!(source.text.starts_with("//! "), "{}", source.name);
    }
    for source in sources(&["tools", ".ci/run"], &[]) {
        let mut lines = source.text.lines();
        assert!(lines.next().is_some_and(|line| line.starts_with("#!")), "{}", source.name);
        assert!(lines.next().is_some_and(|line| line.starts_with("# ")), "{}", source.name);
    }
}

#[test]
fn nothing_names_a_host_of_a_package_registry_or_a_place_of_one_machine() {
    let forbidden = [
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("static.crates", ".io"),
        concat!("index.crates", ".io"),
        concat!("deb.debian", ".org"),
        concat!("npmjs", ".org"),
        concat!("/opt", "/pythons"),
        concat!("/work", "/"),
    ];
    for source in sources(&["."], &[]) {
        for (index, line) in source.text.lines().enumerate() {
            let named = forbidden.iter().find(|text| line.contains(**text));
            assert!(named.is_none(), "{}:{}: {line}", source.name, index + 1);
        }
    }
}
