//! What the topics about real applications share.

use crate::harness::{Builder, Server, Venv, run};
use md5::{Digest, Md5};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Who may enter the admin of a Django site.
pub const ADMIN: (&str, &str) = ("margaret", "Pass & wörd=1");

/// So many bytes in which every place can be told from its neighbours.
pub fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| ((i * 31) ^ (i >> 8) ^ (i >> 17)) as u8).collect()
}

pub fn md5(content: &[u8]) -> String {
    Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A server in the making whose Python has the frameworks.
pub fn with_frameworks() -> Builder {
    Server::builder().config(&format!("WSGIPythonHome \"{}\"", Venv::get().home().display()))
}

/// Adds the Django site of `apps/django_site` under a name, with a fresh database, not mounted yet; its script is then
/// `@apps@/NAME/website/wsgi.py`. `let_write` comes after the start.
pub fn django_site(builder: Builder, name: &str) -> Builder {
    builder
        .tree("django_site", &format!("apps/{name}"))
        .file(&format!("data/{name}/site.sqlite3"), fresh_database())
}

/// Lets the children of httpd write to the database and the uploads of a Django site.
pub fn let_write(server: &Server, name: &str) {
    let data = server.root().join("data").join(name);
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    let database = data.join("site.sqlite3");
    fs::set_permissions(database, fs::Permissions::from_mode(0o666)).unwrap();
}

/// A migrated database with an administrator in it.
fn fresh_database() -> &'static [u8] {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    MADE.get_or_init(|| {
        let data = tempfile::tempdir().unwrap();
        let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("apps/django_site");
        let manage = |arguments: &[&str]| {
            run(Command::new(Venv::get().python())
                .arg("manage.py")
                .args(arguments)
                .current_dir(&site)
                .env("SITE_DATA", data.path())
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("DJANGO_SUPERUSER_PASSWORD", ADMIN.1))
        };
        manage(&["migrate", "--verbosity", "0"]);
        let email = "margaret@localhost";
        manage(&["createsuperuser", "--noinput", "--username", ADMIN.0, "--email", email]);
        fs::read(data.path().join("site.sqlite3")).unwrap()
    })
}
