//! Tells the compiler which Python this engine is for (`cfg(Py_3_12)` and the like; the interpreter is the one that
//! `PYO3_PYTHON` names), and for Pythons before 3.12 compiles the one thing that only their internal headers know.

fn main() {
    println!("cargo:rerun-if-changed=src/gilstate.c");
    // Python's symbols come from the process that loads the engine. Unit tests have none and call none of them.
    println!("cargo:rustc-link-arg=-Wl,--unresolved-symbols=ignore-all");
    pyo3_build_config::use_pyo3_cfgs();
    let config = pyo3_build_config::get();
    let version = config.version();
    if (version.major, version.minor) >= (3, 12) {
        return;
    }
    let python =
        config.executable().expect("an interpreter to ask for its headers; set PYO3_PYTHON");
    let asked = std::process::Command::new(python)
        .args(["-c", "import sysconfig; print(sysconfig.get_path('include'))"])
        .output()
        .expect("the interpreter runs");
    let include = String::from_utf8(asked.stdout).expect("a path in UTF-8");
    cc::Build::new()
        .include(include.trim())
        .define("Py_BUILD_CORE", None)
        .file("src/gilstate.c")
        .compile("rustgi_gilstate");
}
