//! Configurations of the shapes that are found in the wild, written out anew: each is accepted by `httpd -t`, and a server
//! that has it answers.

use crate::harness::{Builder, Installation, Server, run};
use std::process::Command;

/// Answers with SCRIPT_NAME and PATH_INFO, whatever it is called.
const SAYS: &str = "
def application(environ, start_response):
    group = environ['mod_wsgi.process_group']
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Group', group)])
    return [f\"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}\".encode()]
app = handle_request = application
";

/// What is asked, and what is answered.
enum Asked {
    /// The application answers.
    Page(&'static str, &'static str),
    /// The application of a virtual host answers.
    PageOf(&'static str, &'static str, &'static str),
    /// The application answers in this group of daemon processes.
    Daemon(&'static str, &'static str, &'static str),
    /// httpd answers with a status.
    Status(&'static str, u16),
}
use Asked::{Daemon, Page, PageOf, Status};

/// A server with a configuration answers as expected.
#[track_caller]
fn serves(builder: Builder, config: &str, asked: &[Asked]) {
    // Another user than httpd's, with a home that need not be there.
    let config = config.replace("@user@", "nobody");
    let server = builder.app("app.wsgi", SAYS).config(&config).start();
    for asked in asked {
        match asked {
            Page(path, text) => assert_eq!(server.get(path).text(), *text, "{path}"),
            PageOf(host, path, text) => {
                let answer = server.send("GET", path, &[("Host", host)], b"");
                assert_eq!(answer.text(), *text, "{host}{path}");
            }
            Status(path, status) => assert_eq!(server.get(path).status, *status, "{path}"),
            Daemon(group, path, text) => {
                let answer = server.get(path);
                assert_eq!((answer.text(), answer.header("X-Group")), (*text, Some(*group)));
            }
        }
    }
}

/// With a virtual environment in `venv`.
fn with_venv(builder: Builder) -> Builder {
    let venv = builder.root().join("venv");
    let python = &Installation::get().python;
    run(Command::new(python).args(["-m", "venv", "--without-pip"]).arg(venv));
    builder
}

fn plain() -> Builder {
    Server::builder().embedded().load(&["alias", "mime", "dir", "env", "setenvif"])
}

#[test]
fn djangos_own_page_in_embedded_mode() {
    let config = "
WSGIScriptAlias / @root@/mysite.com/mysite/wsgi.py
WSGIPythonPath @root@/mysite.com

<Directory @root@/mysite.com/mysite>
<Files wsgi.py>
Require all granted
</Files>
</Directory>";
    serves(plain().file("mysite.com/mysite/wsgi.py", SAYS), config, &[Page("/a", "|/a")]);
}

#[test]
fn djangos_own_page_in_daemon_mode() {
    let config = "
WSGIDaemonProcess example.com python-home=@root@/venv python-path=/path/to/mysite.com
WSGIProcessGroup example.com
WSGIScriptAlias / @apps@/app.wsgi process-group=example.com";
    serves(with_venv(plain()), config, &[Daemon("example.com", "/", "|/")]);
}

#[test]
fn djangos_own_page_about_static_files() {
    let config = "
Alias /robots.txt @docs@/robots.txt
Alias /favicon.ico @docs@/favicon.ico
Alias /media/ @docs@/media/
Alias /static/ @docs@/static/

<Directory @docs@/static>
Require all granted
</Directory>
<Directory @docs@/media>
Require all granted
</Directory>

WSGIScriptAlias / @apps@/app.wsgi";
    let builder = plain().file("docs/robots.txt", "robots").file("docs/static/x.css", "css");
    serves(
        builder,
        config,
        &[
            Page("/robots.txt", "robots"),
            Page("/static/x.css", "css"),
            Page("/other", "|/other"),
            Status("/static/none", 404),
        ],
    );
}

#[test]
fn djangos_own_page_about_authentication() {
    let config = "
WSGIScriptAlias / @apps@/app.wsgi
WSGIPythonPath @apps@
WSGIApplicationGroup %{GLOBAL}
<Location \"/secret\">
    AuthType Basic
    AuthName \"Top Secret\"
    Require wsgi-group secret-agents
    AuthBasicProvider wsgi
    WSGIAuthUserScript @apps@/app.wsgi
    WSGIAuthGroupScript @apps@/app.wsgi
</Location>";
    serves(
        plain().load(&["auth_basic", "authn_core"]),
        config,
        &[Page("/open", "|/open"), Status("/secret", 401)],
    );
}

#[test]
fn keystone() {
    let config = "
Listen 127.0.0.1:@port2@
<VirtualHost *:@port2@>
    WSGIDaemonProcess keystone-public processes=5 threads=1 user=@user@ group=#65534 display-name=%{GROUP}
    WSGIProcessGroup keystone-public
    WSGIScriptAlias / @apps@/app.wsgi
    WSGIApplicationGroup %{GLOBAL}
    WSGIPassAuthorization On
    LimitRequestBody 114688
    <IfVersion >= 2.4>
      ErrorLogFormat \"%{cu}t %M\"
    </IfVersion>
    <Directory @apps@>
        <IfVersion >= 2.4>
            Require all granted
        </IfVersion>
        <IfVersion < 2.4>
            Order allow,deny
            Allow from all
        </IfVersion>
    </Directory>
</VirtualHost>

Alias /identity @apps@/app.wsgi
<Location /identity>
    SetHandler wsgi-script
    Options +ExecCGI
    WSGIProcessGroup keystone-public
    WSGIApplicationGroup %{GLOBAL}
    WSGIPassAuthorization On
</Location>";
    // The group stands in a host without a name of its own, which is the main server's.
    serves(
        plain().load(&["version"]),
        config,
        &[Daemon("keystone-public", "/identity", "/identity|")],
    );
}

#[test]
fn keystone_in_the_children() {
    let config = "
Alias /identity @apps@/app.wsgi
<Location /identity>
    SetHandler wsgi-script
    Options +ExecCGI
    WSGIApplicationGroup %{GLOBAL}
    WSGIPassAuthorization On
</Location>";
    serves(plain(), config, &[Page("/identity/v3", "/identity|/v3")]);
}

#[test]
fn horizon() {
    let config = "
WSGIScriptAlias /horizon @apps@/app.wsgi process-group=horizon
WSGIDaemonProcess horizon user=@user@ group=#65534 processes=3 threads=10 display-name=%{GROUP}
WSGIProcessGroup horizon
WSGIApplicationGroup %{GLOBAL}
Alias /static @docs@/static/
Alias /horizon/static @docs@/static/
<Directory @apps@>
  Require all granted
</Directory>
<Directory @docs@/static>
  Require all granted
</Directory>";
    let builder = plain().file("docs/static/x.js", "js");
    serves(
        builder,
        config,
        &[Page("/horizon/static/x.js", "js"), Daemon("horizon", "/horizon", "/horizon|")],
    );
}

#[test]
fn graphite() {
    let config = "
<IfModule !wsgi_module.c>
</IfModule>
WSGISocketPrefix run/wsgi
<VirtualHost *:@port@>
        ServerName graphite
        WSGIDaemonProcess graphite processes=5 threads=5 display-name='%{GROUP}' inactivity-timeout=120
        WSGIProcessGroup graphite
        WSGIApplicationGroup %{GLOBAL}
        WSGIImportScript @apps@/app.wsgi process-group=graphite application-group=%{GLOBAL}
        WSGIScriptAlias / @apps@/app.wsgi
        Alias /content/ @docs@/content/
        <Location \"/content/\">
                SetHandler None
        </Location>
        <Location \"/embedded\">
                WSGIProcessGroup %{GLOBAL}
        </Location>
        <Directory @apps@/>
                Options All
                AllowOverride All
                Require all granted
        </Directory>
</VirtualHost>";
    serves(
        plain().file("docs/content/x", "content"),
        config,
        &[
            Page("/content/x", "content"),
            Page("/embedded", "|/embedded"),
            Daemon("graphite", "/", "|/"),
        ],
    );
}

#[test]
fn pgadmin() {
    let config = "
WSGIDaemonProcess pgadmin processes=1 threads=25 python-home=@root@/venv
WSGIScriptAlias /pgadmin4 @apps@/app.wsgi

<Directory @apps@/>
    WSGIProcessGroup pgadmin
    WSGIApplicationGroup %{GLOBAL}
    Require all granted
</Directory>";
    serves(with_venv(plain()), config, &[Daemon("pgadmin", "/pgadmin4", "/pgadmin4|")]);
}

#[test]
fn hgweb() {
    let config = "
WSGIScriptAliasMatch ^/hg(.*) @apps@/app.wsgi$1
<Directory @apps@>
    Options ExecCGI FollowSymlinks
    AddHandler wsgi-script .wsgi
    AllowOverride None
    Require all granted
</Directory>";
    serves(plain(), config, &[Page("/hg/repo", "/hg|/repo"), Page("/hg", "/hg|")]);
}

#[test]
fn radicale() {
    let config = "
<IfModule mod_wsgi.c>
    WSGIDaemonProcess radicale user=@user@ threads=1 umask=0027
    WSGIScriptAlias /radicale @apps@/app.wsgi
    WSGIPassAuthorization On
    <Location /radicale>
        WSGIProcessGroup %{GLOBAL}
        WSGIChunkedRequest On
        RequestHeader set X-Script-Name /radicale
    </Location>
    WSGITrustedProxyHeaders X-Script-Name
</IfModule>";
    serves(plain().load(&["headers"]), config, &[Page("/radicale/.web/", "/radicale|/.web/")]);
}

#[test]
fn freeipa() {
    let config = "
WSGISocketPrefix @root@/run/wsgi
WSGIDaemonProcess ipa processes=4 threads=1 maximum-requests=500 \\
 user=@user@ group=#65534 display-name=%{GROUP} socket-timeout=2147483647 \\
 lang=C.UTF-8 locale=C.UTF-8
WSGIImportScript @apps@/app.wsgi process-group=ipa application-group=ipa
WSGIScriptAlias /ipa @apps@/app.wsgi
WSGIScriptReloading Off

<Location \"/ipa\">
  WSGIProcessGroup ipa
  WSGIApplicationGroup ipa
  <IfModule headers_module>
    Header always append X-Frame-Options DENY
  </IfModule>
</Location>
Alias /ipa/ui \"@docs@/ui\"
<Directory \"@docs@/ui\">
  SetHandler None
  Require all granted
</Directory>";
    let builder = plain().load(&["headers"]).file("docs/ui/index.html", "ui");
    serves(
        builder,
        config,
        &[Page("/ipa/ui/index.html", "ui"), Daemon("ipa", "/ipa/json", "/ipa|/json")],
    );
}

#[test]
fn webfaction() {
    let config = "
WSGILazyInitialization On
WSGIPythonPath @apps@:@apps@/lib/python2.7
WSGIRestrictStdin Off
WSGIRestrictStdout Off
WSGIRestrictSignal Off
KeepAlive Off
SetEnvIf X-Forwarded-SSL on HTTPS=1
WSGIDaemonProcess site processes=2 threads=12 python-path=@apps@ blocked-timeout=60
WSGIScriptAlias / @apps@/app.wsgi";
    serves(plain(), config, &[Page("/", "|/")]);
}

#[test]
fn a_hosting_panel() {
    let config = "
<VirtualHost *:@port@>
    ServerName example.com
    ServerAlias www.example.com
    ServerAdmin info@example.com
    DocumentRoot @docs@
    Alias /error/ @docs@/error/
    WSGIDaemonProcess example.com user=@user@ group=#65534 processes=1 threads=5 display-name=user home=@apps@ \\
        graceful-timeout=15 python-path=@apps@/venv/lib
    WSGIProcessGroup example.com
    WSGIApplicationGroup %{GLOBAL}
    WSGIScriptAlias / @apps@/app.wsgi
    <Directory @docs@>
        AllowOverride All
        Options +Includes -Indexes +ExecCGI
    </Directory>
    <Directory @docs@/error>
        AllowOverride All
    </Directory>
</VirtualHost>
<VirtualHost *:@port@>
    ServerName other.com
    WSGIScriptAlias / @apps@/app.wsgi
</VirtualHost>";
    serves(plain(), config, &[PageOf("other.com", "/x", "|/x"), Daemon("example.com", "/", "|/")]);
}

#[test]
fn a_configuration_written_by_puppet() {
    let config = "
<VirtualHost *:@port@>
  ServerName wsgi.example.com
  DocumentRoot \"@docs@\"
  <Directory \"@docs@\">
    Options Indexes FollowSymLinks MultiViews
    AllowOverride None
    Require all granted
  </Directory>
  ServerSignature Off
  ## WSGI configuration
  WSGIApplicationGroup %{GLOBAL}
  WSGIDaemonProcess wsgi display-name=%{GROUP} processes=2 threads=15
  WSGIImportScript @apps@/app.wsgi application-group=%{GLOBAL} process-group=wsgi
  WSGIProcessGroup wsgi
  WSGIScriptAlias /app \"@apps@/app.wsgi\"
  WSGIScriptAlias /plain \"@apps@/app.wsgi\" process-group=%{GLOBAL}
  WSGIPassAuthorization On
  WSGIChunkedRequest On
</VirtualHost>";
    serves(plain(), config, &[Page("/plain", "/plain|"), Daemon("wsgi", "/app", "/app|")]);
}

#[test]
fn flasks_own_page() {
    let config = "
<VirtualHost *>
    ServerName example.com
    WSGIDaemonProcess yourapplication user=@user@ group=#65534 threads=5
    WSGIScriptAlias / @apps@/app.wsgi
    <Directory @apps@>
        WSGIProcessGroup yourapplication
        WSGIApplicationGroup %{GLOBAL}
        Order deny,allow
        Allow from all
    </Directory>
</VirtualHost>";
    serves(
        plain().load(&["access_compat", "authz_host"]),
        config,
        &[Daemon("yourapplication", "/", "|/")],
    );
}

#[test]
fn trac() {
    let config = "
WSGIScriptAlias /trac @apps@/app.wsgi
<Directory @apps@>
    WSGIApplicationGroup %{GLOBAL}
    Require all granted
</Directory>
<Location /trac/login>
    AuthType Basic
    AuthName \"Trac\"
    AuthUserFile @root@/htpasswd
    Require valid-user
</Location>";
    let builder = plain()
        .load(&["auth_basic", "authn_core", "authn_file", "authz_user"])
        .file("htpasswd", "");
    serves(builder, config, &[Page("/trac/wiki", "/trac|/wiki"), Status("/trac/login", 401)]);
}

#[test]
fn scripts_among_files_with_a_rewritten_root() {
    let config = "
<Directory @docs@>
    AllowOverride All
    Options +ExecCGI +FollowSymLinks
</Directory>";
    let htaccess = "
AddHandler wsgi-script .wsgi
RewriteEngine On
RewriteBase /
RewriteCond %{REQUEST_FILENAME} !-f
RewriteRule ^(.*)$ site.wsgi/$1 [QSA,PT,L]
";
    let builder = plain()
        .load(&["rewrite"])
        .file("docs/site.wsgi", SAYS)
        .file("docs/file.txt", "a file")
        .file("docs/.htaccess", htaccess);
    serves(builder, config, &[Page("/file.txt", "a file"), Page("/a/b", "/site.wsgi|/a/b")]);
}

#[test]
fn a_whole_directory_of_scripts() {
    let config = "
<Directory @docs@/scripts>
    SetHandler wsgi-script
    Options +ExecCGI
    Require all granted
</Directory>
<Directory @docs@/scripts>
    <Files other.py>
        WSGICallableObject app
    </Files>
</Directory>";
    let builder = plain().file("docs/scripts/one.py", SAYS).file("docs/scripts/other.py", SAYS);
    serves(
        builder,
        config,
        &[
            Page("/scripts/one.py/x", "/scripts/one.py|/x"),
            Page("/scripts/other.py", "/scripts/other.py|"),
        ],
    );
}

#[test]
fn moinmoin() {
    let config = "
Alias /moin_static199/ \"@docs@/moin/\"
WSGIScriptAlias /wiki @apps@/app.wsgi
WSGIDaemonProcess moin user=@user@ home=@apps@ processes=5 threads=10 maximum-requests=1000 umask=0007
<Location /wiki>
    WSGIApplicationGroup moin
</Location>";
    let builder = plain().file("docs/moin/x.png", "png");
    serves(
        builder,
        config,
        &[Page("/moin_static199/x.png", "png"), Page("/wiki/FrontPage", "/wiki|/FrontPage")],
    );
}

#[test]
fn mailman_and_hyperkitty() {
    let config = "
Alias /mailman3/favicon.ico @docs@/favicon.ico
Alias /mailman3/static @docs@/static
<Directory \"@docs@/static\">
    Require all granted
</Directory>
<IfModule mod_wsgi.c>
    WSGIScriptAlias /mailman3 @apps@/app.wsgi
    WSGIDaemonProcess mailman3-web display-name=mailman threads=25 python-path=@apps@
    <Directory \"@apps@\">
        <Files app.wsgi>
            Require all granted
            WSGIProcessGroup mailman3-web
        </Files>
    </Directory>
</IfModule>";
    serves(
        plain().file("docs/static/x", "static"),
        config,
        &[
            Page("/mailman3/static/x", "static"),
            Daemon("mailman3-web", "/mailman3/lists", "/mailman3|/lists"),
        ],
    );
}

#[test]
fn the_wsgi_conf_of_debian_with_everything_said() {
    let config = "
<IfModule mod_wsgi.c>
    WSGISocketPrefix run/
    WSGIPythonOptimize 1
    WSGIPythonPath @apps@:@apps@/more
    WSGIPythonEggs @root@/eggs
    WSGIRestrictEmbedded Off
    WSGIRestrictStdin Off
    WSGIRestrictStdout On
    WSGIRestrictSignal On
    WSGICaseSensitivity On
    WSGIAcceptMutex default
    WSGILazyInitialization On
    WSGIPythonWarnings default
    WSGIScriptAlias /x @apps@/app.wsgi
</IfModule>";
    serves(plain(), config, &[Page("/x", "/x|")]);
}

#[test]
fn what_express_writes() {
    let config = "
<IfVersion < 2.4>
    LockFile @root@/run/accept.lock
</IfVersion>
WSGIRestrictEmbedded Off
WSGISocketPrefix @root@/run/wsgi
WSGISocketRotation Off
WSGIVerboseDebugging Off
WSGIServerMetrics On
WSGIRestrictProcess %{GLOBAL}
LogLevel alert
LogLevel wsgi_module:info
WSGIHandlerScript wsgi-handler '@apps@/app.wsgi' process-group='%{GLOBAL}' application-group=%{GLOBAL}
WSGIHandlerScript wsgi-resource '@apps@/app.wsgi' process-group='%{GLOBAL}' application-group=%{GLOBAL}
WSGIImportScript '@apps@/app.wsgi' process-group='%{GLOBAL}' application-group=%{GLOBAL}
WSGICallableObject handle_request
WSGIPassAuthorization On
WSGIChunkedRequest On
WSGIMapHEADToGET Auto
WSGIErrorOverride Off
WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Proto
WSGITrustedProxies 127.0.0.1 10.0.0.0/8
<Location />
    RewriteEngine On
    RewriteCond %{REQUEST_FILENAME} !-f
    RewriteRule .* - [H=wsgi-handler]
</Location>
<Location /mod_wsgi-status>
    WSGIRestrictProcess %{GLOBAL} other
</Location>";
    serves(
        plain().load(&["version", "rewrite"]).file("docs/x.txt", "file").log_level("notice"),
        config,
        &[Page("/x.txt", "file"), Status("/a/b", 200)],
    );
}

#[test]
fn a_site_with_and_without_tls() {
    let config = "
WSGIDaemonProcess site processes=2 threads=15
<VirtualHost 127.0.0.1:@port@>
    ServerName example.com
    WSGIScriptAlias /old @apps@/app.wsgi
    Redirect permanent /go https://example.com/
</VirtualHost>
<VirtualHost 127.0.0.1:@port@>
    ServerName secure.example.com
    WSGIProcessGroup site
    WSGIScriptAlias / @apps@/app.wsgi
</VirtualHost>";
    serves(plain(), config, &[PageOf("example.com", "/old", "/old|"), Status("/go", 301)]);
}

#[test]
fn many_sites_of_one_machine() {
    let config = "
<VirtualHost *:@port@>
    ServerName one.example.com
    WSGIScriptAlias / @apps@/app.wsgi application-group=one
</VirtualHost>
<VirtualHost *:@port@>
    ServerName two.example.com
    WSGIApplicationGroup %{SERVER}
    WSGIScriptAlias /app @apps@/app.wsgi
</VirtualHost>
<VirtualHost *:@port@>
    ServerName three.example.com
    WSGIScriptAlias /a @apps@/app.wsgi
    WSGIScriptAlias /a/b @apps@/app.wsgi
    <Directory @apps@>
        WSGIApplicationGroup %{RESOURCE}
    </Directory>
</VirtualHost>";
    serves(
        plain(),
        config,
        &[
            PageOf("one.example.com", "/", "|/"),
            PageOf("two.example.com", "/app/x", "/app|/x"),
            PageOf("three.example.com", "/a/b/c", "/a|/b/c"),
        ],
    );
}

#[test]
fn cobbler() {
    let config = "
WSGIScriptAliasMatch ^/cblr/svc/([^/]*) @apps@/app.wsgi
<VirtualHost *:@port@>
ServerName cobbler
<LocationMatch \"^/cblr/svc/\">
    Require all granted
    SetEnv VIRTUALENV
</LocationMatch>
</VirtualHost>";
    serves(plain(), config, &[Page("/cblr/svc/op/x", "/cblr/svc/op|/x")]);
}

#[test]
fn reviewboard() {
    let config = "
<VirtualHost *:@port@>
    ServerName reviews.example.com
    DocumentRoot \"@docs@\"
    ErrorDocument 500 /errordocs/500.html
    WSGIPassAuthorization On
    WSGIScriptAlias \"/\" \"@apps@/app.wsgi/\"
    <Directory \"@docs@\">
        AllowOverride All
        Require all granted
    </Directory>
    <Location \"/media/uploaded\">
        SetHandler None
        Options None
        AddType text/plain .html .htm .shtml .php
    </Location>
    Alias /media \"@docs@/media\"
</VirtualHost>";
    serves(
        plain().file("docs/media/x", "media"),
        config,
        &[Page("/media/x", "media"), Page("/r/1", "|/r/1")],
    );
}

#[test]
fn ckan() {
    let config = "
<VirtualHost 127.0.0.1:@port@>
    ServerName ckan
    WSGIScriptAlias / @apps@/app.wsgi
    # pass authorization info on (needed for rest api)
    WSGIPassAuthorization On
    # Deploy as a daemon (avoids conflicts between CKAN instances)
    WSGIDaemonProcess ckan_default display-name=ckan_default processes=2 threads=15
    WSGIProcessGroup ckan_default
    <Directory />
        Require all granted
    </Directory>
</VirtualHost>";
    serves(plain(), config, &[Daemon("ckan_default", "/", "|/")]);
}

#[test]
fn kallithea_behind_a_proxy() {
    let config = "
Listen 127.0.0.1:@port2@
<VirtualHost 127.0.0.1:@port@>
    ProxyPass / http://127.0.0.1:@port2@/
    ProxyPassReverse / http://127.0.0.1:@port2@/
    RequestHeader set X-Forwarded-Proto https
</VirtualHost>
<VirtualHost 127.0.0.1:@port2@>
    WSGIPassAuthorization On
    WSGITrustedProxyHeaders X-Forwarded-Proto X-Forwarded-For
    WSGITrustedProxies 127.0.0.0/8
    WSGIScriptAlias / @apps@/app.wsgi
</VirtualHost>";
    serves(plain().load(&["proxy", "proxy_http", "headers"]), config, &[Page("/r", "|/r")]);
}

#[test]
fn pyramids_own_page() {
    let config = "
# Use only 1 Python sub-interpreter.
WSGIApplicationGroup %{GLOBAL}
WSGIPassAuthorization On
WSGIDaemonProcess pyramid user=@user@ group=#65534 threads=4 \\
   python-path=/home/x/modwsgi/env/lib/python3.11/site-packages
WSGIScriptAlias /myapp @apps@/app.wsgi

<Directory @apps@>
  WSGIProcessGroup pyramid
  Require all granted
</Directory>";
    serves(plain(), config, &[Daemon("pyramid", "/myapp", "/myapp|")]);
}

#[test]
fn a_service_that_chooses_its_group_by_a_variable() {
    let config = "
SetEnvIf Request_URI ^/eu APPLICATION=europe
SetEnvIf Request_URI ^/us APPLICATION=america
WSGIApplicationGroup %{ENV:APPLICATION}
WSGICallableObject %{ENV:CALLABLE}
SetEnv CALLABLE app
WSGIScriptAliasMatch ^/(eu|us) @apps@/app.wsgi";
    serves(plain(), config, &[Page("/eu/x", "/eu|/x"), Page("/us", "/us|")]);
}

#[test]
fn the_modules_of_a_red_hat_server() {
    let config = "
<IfModule !wsgi_module>
    LoadModule wsgi_module modules/mod_wsgi_python3.so
</IfModule>
<IfModule wsgi_module>
    WSGIScriptAlias /x @apps@/app.wsgi
</IfModule>
<IfModule mod_wsgi.c>
    WSGIScriptAlias /y @apps@/app.wsgi
</IfModule>";
    serves(plain(), config, &[Page("/x", "/x|"), Page("/y", "/y|")]);
}

#[test]
fn a_script_for_each_user_by_a_rewrite_map_of_hosts() {
    let config = "
RewriteEngine On
RewriteRule ^/~([a-z]+)(/.*)?$ /users/$1.wsgi$2 [PT]
WSGIScriptAlias /users @apps@/users
<Directory @apps@/users>
    Require all granted
</Directory>";
    let builder = plain().load(&["rewrite"]).app("users/ann.wsgi", SAYS);
    serves(builder, config, &[Page("/~ann/x", "/users/ann.wsgi|/x"), Status("/~bob", 404)]);
}
