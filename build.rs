//! Build script of the httpd module. Asks `apxs` (`APXS` in the environment names another) where httpd's headers are,
//! has bindgen read them through `apache/bindings.h`, and compiles what is C. The symbols of httpd and APR stay
//! undefined: httpd resolves them when it loads the module.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// What bindgen makes Rust of. Everything else in httpd's headers is left out, unless one of these needs it.
const ALLOWED: &[&str] = &[
    // configuration
    "module",
    "command_rec",
    "cmd_parms",
    "cmd_func",
    "cmd_how",
    "ap_check_cmd_context",
    "ap_walk_config",
    "ap_directive_t",
    "ap_server_root_relative",
    "ap_runtime_dir_relative",
    "ap_state_query",
    "ap_coredumpdir_configured",
    "ap_unixd_mpm_get_retained_data",
    "ap_get_module_config",
    "ap_set_module_config",
    "ap_add_version_component",
    "ap_exists_config_define",
    "mpm_child_status",
    // hooks
    "ap_hook_(check_config|post_config|child_init|child_status|monitor|generate_log_id|translate_name|map_to_storage|dirwalk_stat|open_htaccess|check_access|handler)",
    // the request and where it comes from
    "request_rec",
    "conn_rec",
    "server_rec",
    "process_rec",
    "core_dir_config",
    "ap_get_core_module_config",
    "ap_allow_options",
    "ap_get_limit_req_body",
    "ap_document_root",
    "ap_context_prefix",
    "ap_context_document_root",
    "ap_run_http_scheme",
    "ap_get_server_name_for_url",
    "ap_get_server_port",
    "ap_escape_html2",
    "ap_find_path_info",
    "ap_(directory|file)_walk",
    "ap_run_dirwalk_stat",
    "ap_get_request_note",
    "AP_NOTE_.*_WALK",
    "ap_construct_url",
    "ap_run_generate_log_id",
    // the server
    "ap_get_server_banner",
    "ap_get_server_description",
    "ap_get_server_built",
    "ap_show_mpm",
    "ap_mpm_query",
    "ap_server_conf",
    "ap_listeners",
    "ap_unixd_config",
    "ap_exists_scoreboard_image",
    "ap_copy_scoreboard_worker",
    "ap_get_scoreboard_(process|global)",
    // authentication
    "authn_provider",
    "authz_provider",
    "ap_register_auth_provider",
    "ap_get_useragent_host",
    "ap_psignature",
    "ap_satisfies",
    "ap_some_auth_required",
    // bodies
    "ap_get_brigade",
    "ap_pass_brigade",
    "ap_set_content_type",
    "ap_get_status_line",
    "ap_set_content_length",
    "ap_bucket_error_create",
    "ap_internal_redirect",
    "ap_get_conn_socket",
    "ap_filter_rec_t",
    // APR
    "apr_palloc",
    "apr_pool_(abort_get|create_unmanaged_ex|destroy)",
    "apr_pool_cleanup_register",
    "apr_pool_cleanup_null",
    "apr_pool_userdata_(get|set|setn)",
    "apr_proc_t",
    "apr_proc_other_child_(register|unregister)",
    "apr_socket_timeout_(get|set)",
    "apr_table_(make|elts|get|setn|set|addn|unset|clear|overlap)",
    "apr_table_entry_t",
    "apr_hash_get",
    "apr_brigade_(create|cleanup|insert_file)",
    "apr_bucket_(transient|heap|eos|flush)_create",
    "apr_bucket_file_enable_mmap",
    "apr_bucket_file_set_buf_size",
    "apr_file_open",
    "apr_os_file_get",
    "apr_os_sock_get",
    "apr_dynamic_fn_retrieve",
    "ap_pregcomp",
    "ap_regexec",
    "ap_pregsub",
    // numbers
    "OK",
    "DECLINED",
    "AP_DECLINED",
    "APLOG_.*",
    "MODULE_MAGIC_.*",
    "OPT_EXECCGI",
    "AP_SQ_.*",
    "APR_OC_REASON_.*",
    "M_GET",
    "RSRC_CONF",
    "ACCESS_CONF",
    "OR_FILEINFO",
    "OR_AUTHCFG",
    "OR_ALL",
    "AUTHN?Z?_.*",
    "AUTH_.*",
    "AP_AUTH_INTERNAL_PER_CONF",
    "REMOTE_HOST",
    "SATISFY_ANY",
    "SERVER_.*",
    "GLOBAL_ONLY",
    "NOT_IN_.*",
    "APR_HOOK_.*",
    "AP_REQ_.*",
    "AP_MODE_.*",
    "AP_FILTER_ERROR",
    "AP_FTYPE_.*",
    "AP_MPMQ_.*",
    "AP_CGI_PASS_AUTH_.*",
    "AP_CORE_CONFIG_.*",
    "AP_SERVER_.*_NUMBER",
    "AP_MAX_REG_MATCH",
    "HTTP_BAD_GATEWAY",
    "APR_EGENERAL",
    "APR_FOPEN_READ",
    "APR_FOPEN_SENDFILE_ENABLED",
    "APR_FINFO_MIN",
    "APR_OVERLAP_TABLES_SET",
    "APR_SUCCESS",
    // ours
    "rustgi_.*",
];

fn main() {
    for input in ["build.rs", "apache"] {
        println!("cargo:rerun-if-changed={input}");
    }
    for variable in ["APXS", "PYTHON"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let python = env::var("PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned());
    println!("cargo:rustc-env=RUSTGI_PYTHON={python}");

    let flags = httpd().compiler_flags();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    bind(&flags, &out.join("httpd.rs"));
    list_layouts(Path::new("apache/layout.c"), &out.join("layout.rs"));

    let mut shim = cc::Build::new();
    shim.files(["apache/shim.c", "apache/layout.c"]).include("apache");
    for flag in &flags {
        shim.flag(flag);
    }
    shim.compile("rustgi_shim");
}

/// Ends the build with a message that says what to install.
fn stop(what: &str, cure: &str) -> ! {
    println!("cargo:warning={what}");
    println!("cargo:warning={cure}");
    eprintln!("error: {what}\n       {cure}");
    exit(1);
}

/// The httpd that the module is built for, known by its `apxs`.
struct Httpd {
    apxs: String,
}

/// Finds `apxs`: the one that `APXS` names, or the first on the path.
fn httpd() -> Httpd {
    let candidates = match env::var("APXS") {
        Ok(named) => vec![named],
        Err(_) => vec!["apxs".to_owned(), "apxs2".to_owned()],
    };
    let found = candidates.iter().find(|apxs| {
        Command::new(apxs).args(["-q", "INCLUDEDIR"]).output().is_ok_and(|o| o.status.success())
    });
    match found {
        Some(apxs) => Httpd { apxs: apxs.clone() },
        None => stop(
            &format!("no working apxs found (tried: {})", candidates.join(", ")),
            "it comes with httpd's development files: apt-get install apache2-dev, dnf install httpd-devel, or set APXS=/path/to/apxs",
        ),
    }
}

impl Httpd {
    /// What `apxs -q` says of one name; empty if it knows nothing of it.
    fn query(&self, name: &str) -> String {
        Command::new(&self.apxs)
            .args(["-q", name])
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default()
    }

    /// The flags with which httpd's own modules are compiled, as far as they concern its headers.
    fn compiler_flags(&self) -> Vec<String> {
        let mut flags: Vec<String> =
            self.query("EXTRA_CPPFLAGS").split_whitespace().map(str::to_owned).collect();
        for name in ["INCLUDEDIR", "APR_INCLUDEDIR", "APU_INCLUDEDIR"] {
            let directory = self.query(name);
            if !directory.is_empty() {
                flags.push(format!("-I{directory}"));
            }
        }
        for name in ["APR_CONFIG", "APU_CONFIG"] {
            let config = self.query(name);
            if let Ok(output) = Command::new(config).arg("--includes").output() {
                let includes = String::from_utf8_lossy(&output.stdout).into_owned();
                flags.extend(includes.split_whitespace().map(str::to_owned));
            }
        }
        flags.dedup();
        flags
    }
}

/// Has bindgen make Rust of `apache/bindings.h`.
fn bind(flags: &[String], into: &Path) {
    // What the crate's `rust-version` understands.
    let oldest = bindgen::RustTarget::stable(85, 0).expect("a Rust that bindgen knows");
    let builder = bindgen::Builder::default()
        .rust_target(oldest)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .header("apache/bindings.h")
        .clang_arg("-Iapache")
        .clang_args(flags)
        .allowlist_recursively(true)
        .allowlist_item(ALLOWED.join("|"))
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .layout_tests(false)
        .derive_debug(false)
        .generate_comments(false)
        .merge_extern_blocks(true);
    let cure = "bindgen needs libclang (apt-get install libclang-dev, dnf install clang-devel) and httpd's and APR's headers (apache2-dev, httpd-devel)";
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.generate())) {
        Ok(Ok(bindings)) => bindings.write_to_file(into).expect("OUT_DIR can be written"),
        Ok(Err(error)) => stop(&format!("httpd's headers could not be read: {error}"), cure),
        Err(_) => stop("libclang could not be loaded", cure),
    }
}

/// Makes the list in `apache/layout.c` again from bindgen's types, for the test that compares the two.
fn list_layouts(c: &Path, into: &Path) {
    let text = fs::read_to_string(c).expect("apache/layout.c is part of the package");
    let mut rust = String::from("&[\n");
    for line in text.lines().map(str::trim) {
        if let Some(kind) = line.strip_prefix("STRUCT(").and_then(|rest| rest.strip_suffix("),")) {
            writeln!(rust, "    (\"{kind}\", size_of::<ffi::{kind}>()),")
                .expect("a String takes all");
        } else if let Some(both) =
            line.strip_prefix("FIELD(").and_then(|rest| rest.strip_suffix("),"))
        {
            let (kind, field) = both.split_once(", ").expect("FIELD(type, field)");
            writeln!(rust, "    (\"{kind}.{field}\", std::mem::offset_of!(ffi::{kind}, {field})),")
                .expect("a String takes all");
        }
    }
    rust.push_str("]\n");
    fs::write(into, rust).expect("OUT_DIR can be written");
}
