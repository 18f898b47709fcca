//! `twine` and `pip` with pypiserver.

use super::clients::{User, noise, nothing_went_wrong, serving, writable};
use crate::harness::{Mpm, Server};

/// Makes a package of this name and version, in both forms, in `NAME/dist` of the user's home.
fn build(user: &User, name: &str, version: &str, needs: &str, content: &[u8]) {
    user.write(
        &format!("{name}/pyproject.toml"),
        format!(
            "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n\
             [project]\nname = '{name}'\nversion = '{version}'\ndependencies = [{needs}]\n\
             [tool.setuptools]\npackages = ['{name}']\npackage-data = {{ {name} = ['*.bin'] }}\n"
        ),
    );
    user.write(&format!("{name}/{name}/__init__.py"), format!("version = '{version}'\n"));
    user.write(&format!("{name}/{name}/noise.bin"), content);
    let form =
        "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')";
    let built =
        user.command("python").args(["-c", form]).current_dir(user.path(name)).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// Has twine upload files; what twine says, if that fails.
fn upload(user: &User, server: &Server, files: &[&str], password: &str) -> Result<(), String> {
    let done = user
        .command("python")
        .args(["-m", "twine", "upload", "--non-interactive", "--disable-progress-bar"])
        .args(["--username", "margaret", "--password", password])
        .args(["--repository-url", &format!("http://localhost:{}/pypi/", server.port)])
        .args(files)
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].concat();
    done.status.success().then_some(()).ok_or(String::from_utf8_lossy(&said).into_owned())
}

/// Installs into a directory of its own with nothing but the server's index, and says what the package says.
fn install(user: &User, server: &Server, form: &str, wanted: &str) -> String {
    let target = form.replace(':', "all");
    let installed = user
        .command("python")
        .args(["-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check"])
        .args(["--index-url", &format!("http://localhost:{}/pypi/simple/", server.port)])
        .args([form, ":all:", "--no-build-isolation", "--target", &target, wanted])
        .env("PIP_CONFIG_FILE", "/dev/null")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&installed.stderr);
    assert!(installed.status.success(), "{said}");
    let question = "import parcel, label; print(parcel.version, label.version)";
    let asked = user
        .command("python")
        .args(["-c", question])
        .env("PYTHONPATH", user.path(&target))
        .output()
        .unwrap();
    assert_eq!(user.read(&format!("{target}/parcel/noise.bin")), noise(2 << 20));
    String::from_utf8(asked.stdout).unwrap()
}

fn takes_and_gives_packages(mpm: Mpm) {
    let user = User::new();
    let server = serving(mpm)
        .config("WSGIScriptAlias /pypi @apps@/packages.wsgi\nWSGIPassAuthorization On")
        // Uploads that it has spooled wait in cycles for Python's collector.
        .files_may_stay_open()
        .start();
    let packages = writable(&server, "packages");
    build(&user, "label", "2.1", "", b"");
    build(&user, "parcel", "1.0", "'label >= 2'", &noise(2 << 20));
    let (label, parcel) = (
        ["label/dist/label-2.1.tar.gz", "label/dist/label-2.1-py3-none-any.whl"],
        ["parcel/dist/parcel-1.0.tar.gz", "parcel/dist/parcel-1.0-py3-none-any.whl"],
    );

    let refused = upload(&user, &server, &parcel, "wrong").unwrap_err();
    assert!(refused.contains("403 "), "{refused}");
    assert_eq!(packages.read_dir().unwrap().count(), 0);
    for files in [label, parcel] {
        upload(&user, &server, &files, "secret").unwrap();
    }
    let name = "parcel-1.0-py3-none-any.whl";
    assert_eq!(std::fs::read(packages.join(name)).unwrap(), user.read(parcel[1]));
    let again = upload(&user, &server, &parcel, "secret").unwrap_err();
    assert!(again.contains("400 "), "{again}"); // What twine knows from the public index.
    server.await_log("Cannot upload 'parcel-1.0-py3-none-any.whl' since it already exists!");

    assert_eq!(install(&user, &server, "--only-binary", "parcel"), "1.0 2.1\n");
    assert_eq!(install(&user, &server, "--no-binary", "parcel==1.0"), "1.0 2.1\n");
    nothing_went_wrong(&server);
}

#[test]
fn pypiserver_takes_from_twine_and_gives_to_pip_on_event() {
    takes_and_gives_packages(Mpm::Event);
}

#[test]
fn pypiserver_takes_from_twine_and_gives_to_pip_on_prefork() {
    takes_and_gives_packages(Mpm::Prefork);
}
